"""How a layer of a person's own is to be read, found out by running a spare copy of it.

Names suggest and the run decides: an array is a parameter only if forward leaves it alone and a gradient of it is found after
backward. Where two readings fit, or none, the AdaptError says how to name the right one: a layer is never accused of being
driven in a way that it was not made for.
"""
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from . import AdaptError
from .code import arguments, signature_of
from .inputs import again
from .places import (
    CLOSURE,
    GRADIENTS,
    SAME,
    SPELLINGS,
    VALUES,
    Path,
    alike,
    bare,
    gradients,
    is_rate,
    name_of,
    numeric,
    objects,
    places,
    read,
    shown,
    word,
    write,
)

if TYPE_CHECKING:
    from .personal import Driver

Array = np.ndarray
CACHES = frozenset({"cache", "caches", "ctx", "context", "saved", "memo", "tape", "residual", "residuals", "res", "memory", "state", "aux", "stash"})
OUTPUTS = ("output", "outputs", "out", "y", "Y", "A", "a", "activation", "result")             # where a forward that returns nothing leaves it
DERIVATIVES = ("grad", "gradient", "derivative", "deriv", "prime")                              # of an elementwise function, at its input
TARGETS = frozenset({"target", "label", "true", "truth", "actual", "expected", "desired", "gt", "groundtruth", "ytrue", "ytruth", "tgt"})   # or y, t of a loss
RATE = 2.0 ** 60          # of an update that is to show its gradient: the parameter's own digits are then beyond the last of the step
RETURNED, UPDATE, SUM = "returned", "update", "sum"                                             # where a gradient is, if not in one place
ALONG = 1e-6              # how far a step may lie off the gradient's direction: far above rounding, far below any other rule's step


@dataclass(frozen=True)
class Source:
    """Where a gradient is found after a backward: a place in the layer, an entry of what was returned, or the step that an update took."""
    kind: str = ""
    path: tuple[Any, ...] = ()                             # of a sum: the places of its terms

    def __str__(self) -> str:
        if self.kind == SUM:
            return " + ".join(shown(p) for p in self.path)       # type: ignore[arg-type]
        return f"{self.kind} {''.join(map(str, self.path))}".strip() if self.kind else shown(self.path)


@dataclass
class Plan:
    """How the layer is to be read."""
    output: str = ""                                       # the attribute that has the output, where forward returns nothing
    only: int | None = None                                # the one of several outputs that has an upstream
    cache: bool = False                                    # forward returns (y, cache)
    pull: bool = False                                     # forward returns (y, pullback)
    rated: bool = False                                    # backward takes a step itself, at a learning rate that the layer holds
    order: tuple[str, ...] = ("dy",)                       # what backward takes: dy, dys (all in one), cache, rate, or an input by name
    factor: bool = False                                   # backward is the derivative of an elementwise function, and lacks the factor dy
    trained: dict[str, tuple[Path, ...]] = field(default_factory=dict)       # every place that has the very array
    gradient: dict[str, Source] = field(default_factory=dict)
    inputs: dict[str, Source] = field(default_factory=dict)                  # of the inputs' cotangents that are not returned
    inert: tuple[str, ...] = ()                            # inputs that have no cotangent, as was said
    held: tuple[str, ...] = ()                             # arrays that have no gradient
    steps: tuple[str, ...] = ()                            # parameters that backward also moves along their gradients


@dataclass(frozen=True)
class Returned:
    """What backward returned: in order, and by name."""
    flat: list[Any]
    named: dict[str, Any]

    @classmethod
    def of(cls, value: Any) -> Returned:
        """Tuples and lists are spread, within one another too; dictionaries, named tuples and dataclasses are names."""
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        if hasattr(value, "_asdict"):
            value = value._asdict()
        if isinstance(value, Mapping):
            inner = [cls.of(v) for v in value.values() if isinstance(v, Mapping)]
            return cls([], {**{str(k): v for k, v in value.items() if not isinstance(v, Mapping)}, **{k: v for r in inner for k, v in r.named.items()}})
        if isinstance(value, tuple | list):
            parts = [cls.of(v) for v in value]
            return cls([v for p in parts for v in p.flat], {k: v for p in parts for k, v in p.named.items()})
        return cls([value], {})

    def key(self, name: str) -> str | None:
        """The key of a cotangent: the primal's own name, or one that a gradient of it has."""
        last = name.rpartition(".")[2]
        known = [k for n in (name, last) for k in (n, *(s.format(n) for s in SPELLINGS))]
        return next((k for k in known if k in self.named), None) or next((k for k in self.named if alike(k, last) or word(k) == word(last)), None)


def cotangents(returned: Returned, names: Sequence[str]) -> dict[str, Source]:
    """The inputs' cotangents among the names that were returned; one name that is left over belongs to one input that is."""
    found = {n: k for n in names if (k := returned.key(n)) is not None}
    if len(names) == 1 and not found:
        likely = [k for k in returned.named if alike(k, "x") or word(k) in ("dx", "dinputs", "in")]
        found = {names[0]: likely[0]} if len(likely) == 1 else {}
    return {n: Source(RETURNED, (k,)) for n, k in found.items()}


def studied(driver: Driver, xs: Sequence[Array]) -> Plan:
    """What a layer is, from a few runs of it, which leave it changed. Errors: AdaptError names what is ambiguous."""
    return Study(driver, xs).plan()


class Study:
    """One layer under observation."""

    def __init__(self, driver: Driver, xs: Sequence[Array]) -> None:
        self.driver, self.layer, self.xs = driver, driver.layer, [np.copy(x) for x in xs]
        self.names, self.params = driver.names(len(xs)), driver.params
        self.who, self.borrowed = self.driver.who, False

    def plan(self) -> Plan:
        steady = self._steady()
        plan = self.driver.plan = self._signature(self.y)
        try:
            if not self._pulls_back() and "dys" in plan.order:
                self._one_of(plan)
            if self.borrowed:
                self._linear()
        except AdaptError:
            raise
        except Exception:                                  # the checks meet it again, and report it
            return plan
        if not self.pulled:
            return plan
        before = self.before
        if plan.factor:
            self._elementwise()
        updated = {p for p in steady if not np.array_equal(before[p], read(self.layer, p), equal_nan=True)}
        self._inputs(plan)
        self._parameters(plan, _slots(self.layer, steady), updated)
        return plan

    def _pulls_back(self) -> bool:
        """Run forward and backward: whether they run, and what is returned has the inputs' shapes."""
        self.outputs, self.pulled = self._outputs(), False
        self.before = {p: np.copy(v) for p, v in places(self.layer)}
        try:
            self.returned = Returned.of(self.driver.pulled(self._upstreams()))
        except AdaptError:
            raise
        except Exception:                                  # the checks meet it again, and report it
            return False
        self.pulled = True
        return all(np.shape(v) == x.shape for v, x in zip(self.returned.flat, self.xs, strict=False) if v is not None)

    def _one_of(self, plan: Plan) -> None:
        """One upstream, though there are several outputs: it is that of the first one for which backward runs, beside which others are states or the like."""
        all_in_one, count = plan.order, len(self.outputs)
        plan.order = tuple("dy" if a == "dys" else a for a in plan.order)
        for plan.only in range(count):
            if self._pulls_back():
                return
        plan.only, plan.order = None, all_in_one
        self._pulls_back()

    def _linear(self) -> None:
        """Errors: AdaptError where what bears an input's name is no upstream, since backward is not zero where it is."""
        if any(np.any(v) for v in Returned.of(self.driver.pulled([0 * y for y in self.outputs])).flat):
            raise AdaptError(f"{self.who}: {self.driver.exit.__name__}({', '.join(self.names)}) is not zero where its argument is: that is no upstream; the "
                             "derivative of an elementwise function at its input is to be called `derivative`; or use gradcheck.subject(call, pullback, …)")
        self._pulls_back()

    def _steady(self) -> list[Path]:
        """The places that a forward leaves alone. What it makes anew is no parameter, though it may be the same by chance: a mask of two entries."""
        born = dict(places(self.layer))
        self.y = self.driver.ran(self.xs)
        before = {p: (v, np.copy(v)) for p, v in places(self.layer)}
        rng = np.random.default_rng(0)
        others = [again(x, rng) for x in self.xs]
        self.driver.ran([x * 0.75 if x.dtype.kind == "f" and np.array_equal(x, o) else o for x, o in zip(self.xs, others, strict=True)])
        now = {p: read(self.layer, p) for p in before if not any(p[:len(o)] == o for o in self.driver.optimizers())}
        return [p for p, (v, content) in before.items() if now.get(p) is not None and np.shape(now[p]) == content.shape
                and ((now[p] is v or not isinstance(v, np.ndarray)) and np.array_equal(content, now[p], equal_nan=True) or now[p] is born.get(p))]

    def _upstreams(self) -> list[Array]:
        """One for each output, in general position: at ones, a normalisation has no gradient of its scale."""
        rng = np.random.default_rng(1)
        return [np.asarray(1 + rng.random(o.shape), o.dtype if o.dtype.kind == "f" else float) for o in self.outputs]

    def _outputs(self) -> list[Array]:
        y = self.driver.forward(self.xs)
        return list(map(np.asarray, y)) if isinstance(y, list | tuple) else [np.asarray(y)]

    # what goes in and out --------------------------------------------------------------------------------------------------------

    def _signature(self, y: Any) -> Plan:
        """What forward returns and backward takes. Errors: AdaptError where that cannot be told."""
        ys, many = (list(y), True) if isinstance(y, list | tuple) else ([y], False)
        if many and len(ys) > 1 and callable(ys[-1]):
            return Plan(cache=True, pull=True, order=self._order(arguments(ys[-1]), len(ys) - 1, ys))
        if self.driver.one_way:
            raise AdaptError(f"{self.who} has no backward, and its {self.driver.entry.__name__} returns {type(y).__name__}, not (y, pullback)")
        opaque = many and len(ys) > 1 and not isinstance(ys[-1], np.ndarray | float | np.floating)
        takes = [a for a in _taken(self.driver.exit, len(ys) - opaque) if a not in self.driver.flags]
        if y is None:
            return Plan(output=self._left(), order=self._order(takes, 1, ys))
        named = any(a.lower() in CACHES for a in takes)
        if many and len(ys) > 1 and (opaque or named and len(takes) != len(ys) + 1):
            return Plan(cache=True, order=self._order(takes, len(ys) - 1, ys, cached=not named))
        if self._derives(takes) and np.ndim(y):
            return Plan(order=tuple(takes), factor=True)
        return Plan(order=self._order(takes, len(ys) if many else 1, ys))

    def _order(self, takes: Sequence[str], outputs: int, ys: Sequence[Any], cached: bool = False) -> tuple[str, ...]:
        """The role of each argument of backward: caches, rates and inputs by name, upstreams the rest; what is left over by its number."""
        role = {a: "cache" if a.lower() in CACHES else "rate" if is_rate(a) else a if a in self.names else "" for a in takes}
        if cached and "cache" not in role.values() and len(takes) == outputs + 1 and not any(role.values()):
            role[takes[-1]] = "cache"
        free = [a for a in takes if not role[a]]
        up = [a for a in free if is_upstream(a)]
        others = [a for a in free if a not in up]
        given = [n for n in self.names if n not in role.values()]
        if len(up) == outputs and others and len(others) == len(given):
            role |= dict(zip(others, given, strict=True))
        elif not free and len(takes) == outputs and not any(r in ("cache", "rate") for r in role.values()) and not self._loss(takes, ys):
            role, self.borrowed = dict.fromkeys(takes, ""), True      # upstreams that bear the inputs' names
        order = tuple(role[a] or "dy" for a in takes)
        if order.count("dy") == 1 and outputs > 1:
            order = tuple("dys" if a == "dy" else a for a in order)
        if order.count("dy") in (0, outputs) and ("dy" in order or "dys" in order or not takes or self._loss(takes, ys)):
            return order
        plural = "s" * (outputs != 1)
        raise AdaptError(f"{self.who}: {self.driver.entry.__name__} returned {outputs} output{plural} and backward takes ({', '.join(takes)}): call the saved "
                         "values `cache` if one of them is that, give inputs the names that forward has, or use gradcheck.subject(call, pullback, …)")

    def _loss(self, takes: Sequence[str], ys: Sequence[Any]) -> bool:
        """Whether it is a number whose gradient is asked for with the inputs alone."""
        return set(takes) == set(self.names) and all(np.ndim(y) == 0 for y in ys)

    def _derives(self, takes: Sequence[str]) -> bool:
        """Whether `grad(x)` asks for the derivative of an elementwise function at x: there is no upstream."""
        sources = [n for n in takes if not is_target(n, loss=len(takes) > 1)]
        return self.driver.exit.__name__ in DERIVATIVES and tuple(takes) == tuple(self.names) and len(sources) == 1

    def _elementwise(self) -> None:
        """Errors: AdaptError where a derivative without an upstream has another shape, or an output depends on several inputs."""
        judged = next(i for i, n in enumerate(self.names) if not is_target(n, loss=len(self.names) > 1))
        (y,), moved = self.outputs, list(map(np.copy, self.xs))
        moved[judged].flat[0] += 0.5
        other = np.asarray(self.driver.forward(moved))
        if y.shape != self.xs[judged].shape or np.count_nonzero((other != y).ravel()[1:]):
            raise AdaptError(f"{self.who}: {self.driver.exit.__name__}({', '.join(self.names)}) takes no upstream, and the function is not elementwise: "
                             "its result is no pullback; use gradcheck.subject(call, pullback, …)")

    def _left(self) -> str:
        """Where a forward that returns nothing leaves its output."""
        found = [n for n in OUTPUTS if isinstance(getattr(self.layer, n, None), np.ndarray)]
        if len(found) != 1:
            raise AdaptError(f"{self.who}: forward returned nothing, and the output is {' or '.join(found) or 'nowhere'}: return it")
        return found[0]

    # where cotangents are --------------------------------------------------------------------------------------------------------

    def _inputs(self, plan: Plan) -> None:
        """Where the inputs' cotangents are. Errors: AdaptError where there are none."""
        moving = [n for n, x in zip(self.names, self.xs, strict=True) if x.dtype.kind == "f"]
        if self.returned.named:
            plan.inputs = cotangents(self.returned, self.names)
        if plan.inputs or not moving:
            return
        if given := len([v for v in self.returned.flat if v is not None]):
            if given < len(moving):
                self._fewer(plan, moving, given)
            return
        if plan.factor:
            return
        said = self.params if isinstance(self.params, Mapping) else {}
        for name in moving:
            lying: list[Path] = [(said[name],)] if name in said else [p for p in gradients(self.layer, (name,)) if len(p) == 1]
            if lying := [p for p in lying if numeric(read(self.layer, p))] or self._left_behind(name, moving):
                plan.inputs[name] = Source(path=lying[0])
        if missing := [n for n in moving if n not in plan.inputs]:
            if self.params is None or set(said) & set(missing):
                raise AdaptError(f"{self.who}: backward returned nothing, and no cotangent of {', '.join(missing)} was found in the layer; "
                                 f"say where it is, params={{{missing[0]!r}: '…'}}, or params=['W', …] to judge the parameters alone")
            plan.inert = tuple(missing)

    def _fewer(self, plan: Plan, moving: Sequence[str], given: int) -> None:
        """Fewer cotangents than inputs: targets have none. Errors: AdaptError where that does not tell whose they are."""
        judged = [n for n in moving if n in self.params] if self.params and {*self.params} & {*moving} else self._sources(moving)
        if len(judged) != given:
            raise AdaptError(f"{self.who}: backward returned {given} cotangent{'s' * (given != 1)} for the inputs {', '.join(moving)}: name those that they "
                             f"belong to, params=['{moving[0]}'], beside the parameters if there are any; targets are known by names like `target` or `y_true`")
        plan.inputs = {n: Source(RETURNED, (i,)) for i, n in enumerate(judged)}
        plan.inert = tuple(n for n in moving if n not in judged)

    def _sources(self, names: Sequence[str]) -> list[str]:
        """The inputs that are no targets: of a loss, or whatever else is pulled back without an upstream, `y` is one too."""
        loss = not {"dy", "dys"} & {*self.driver.plan.order} or all(np.ndim(y) == 0 for y in self.outputs)
        return [n for n in names if not is_target(n, loss)]

    def _left_behind(self, name: str, moving: Sequence[str]) -> list[Path]:
        """The one array of the only input's shape that backward left in a layer without parameters of that shape, whatever it is called."""
        named = {g for p in self.before for g in gradients(self.layer, p)}
        shape = self.xs[self.names.index(name)].shape
        left = {id(v): p for p, v in places(self.layer) if isinstance(v, np.ndarray) and v.shape == shape and p not in named
                and not (p in self.before and np.array_equal(self.before[p], v, equal_nan=True))}
        plain = shape != self.outputs[0].shape or not named       # among others of its shape it may be the gradient before an affine map
        return [*left.values()] if len(moving) == len(left) == 1 and plain else []

    def _parameters(self, plan: Plan, slots: dict[tuple[Path, ...], Any], updated: set[Path]) -> None:
        """Which arrays are parameters, and where their gradients are."""
        lying = {s: self._lying(s, updated) for s in slots}
        taken = {p for sources in lying.values() for g in sources for p in [g.path] if not g.kind}
        lying = {s: g for s, g in lying.items() if not taken & set(s) and not any(step in GRADIENTS for p in s for step in p[:-1])}
        extras = self._extras(plan)
        if self.params is None:
            self._found(plan, lying, extras)
        else:
            self._said(plan, lying, extras)
        plan.steps = tuple(n for n in plan.trained if self._along(n, plan, updated))
        known = {p for paths in plan.trained.values() for p in paths}
        plan.held = tuple(sorted({name_of(s[0]) for s in lying if not known & set(s) and isinstance(slots[s], np.ndarray)}))

    def _lying(self, slot: tuple[Path, ...], updated: set[Path]) -> list[Source]:
        """Where gradients of a slot are, by name; several only if they differ."""
        keys = [k for p in slot if (k := self.returned.key(name_of(p))) is not None][:1]
        found = [Source(path=g) for p in slot for g in gradients(self.layer, p)] + [Source(RETURNED, (k,)) for k in keys]
        found = found or [Source(UPDATE)] * bool(updated & set(slot) and self._steps())
        if len(found) < 2 or found[0].kind == UPDATE:
            return found
        unlike: list[Source] = []                          # those of one value are one gradient, kept twice
        for s in found:
            if not any(np.array_equal(self.driver.found(s, ""), self.driver.found(u, "")) for u in unlike):
                unlike.append(s)
        unlike = [u for u in unlike if not any(_within(u, other) for other in unlike)]
        owners = {_owner(u.path) for u in unlike}
        shared = len(unlike) > 1 and len(owners) == len(unlike) and not any(u.kind for u in unlike)
        return [Source(SUM, tuple(u.path for u in unlike))] if shared else unlike      # an array that several layers share: each has its part

    def _along(self, name: str, plan: Plan, updated: set[Path]) -> bool:
        """Whether backward, besides, takes a step along a gradient: what it does with a parameter is then no mistake of its own."""
        path = plan.trained[name][0]
        if path not in updated or plan.gradient[name].kind == UPDATE:
            return False
        step, g = self.before[path] - read(self.layer, path), np.asarray(self.driver.found(plan.gradient[name], name))
        size = np.vdot(g, g)
        return bool(g.shape == step.shape and size and np.linalg.norm(step - g * np.vdot(step, g) / size) <= ALONG * np.linalg.norm(step))

    def _steps(self) -> bool:
        """Whether the size of the step that backward takes is known: it takes a rate, or the layer holds one."""
        self.driver.plan.rated = "rate" not in self.driver.plan.order and bool(rates(self.layer))
        return "rate" in self.driver.plan.order or self.driver.plan.rated

    def _extras(self, plan: Plan) -> list[Source]:
        """What was returned after the inputs' cotangents, in order. Errors: AdaptError where the inputs' are not what comes first."""
        if all(v is None for v in self.returned.flat):
            return []
        returned = [s for s in plan.inputs.values() if s.kind == RETURNED and isinstance(s.path[0], int)]
        first = len(returned) if plan.inputs else len(self.names)
        return [Source(RETURNED, (i,)) for i in range(first, len(self.returned.flat))]

    def _found(self, plan: Plan, lying: Mapping[tuple[Path, ...], list[Source]], extras: list[Source]) -> None:
        """The parameters as they show: by their gradients' names, or by shapes that leave no choice."""
        named = {s: g for s, g in lying.items() if g}
        if extras:
            rest = [s for s in lying if s not in named]
            named |= {s: [g] for s, g in self._by_shape(rest, extras).items()}
        elif named:
            named |= self._left_out([s for s in lying if s not in named], any(g.kind == UPDATE for sources in named.values() for g in sources))
        elif not named and (moving := self._influential(lying)):
            named = {s: [g] for s, g in self._fresh(moving).items()}
        for slot, sources in named.items():
            name = name_of(slot[0])
            if name in plan.trained:
                raise AdaptError(f"{self.who}: {name!r} is {shown(plan.trained[name][0])} and {shown(slot[0])}, which are different arrays: remove one of "
                                 "them, or say what is what with gradcheck.subject(call, pullback, …)")
            plan.trained[name], plan.gradient[name] = slot, self._only(name, sources)

    def _left_out(self, without: Sequence[tuple[Path, ...]], stepping: bool) -> dict[tuple[Path, ...], list[Source]]:
        """What is called as parameters are, and is one, but showed no gradient though others did. Where backward takes steps, it took none along it.

        Errors: AdaptError where it takes no steps.
        """
        known = {*map(min, SAME[:2]), "gamma", "beta"}
        lost = [s for s in self._influential(without) if isinstance(s[0][-1], str) and word(s[0][-1]).rstrip("0123456789") in known
                and getattr(read(self.layer, s[0][:-1]), "trainable", True)]
        if lost and not stepping:
            name = name_of(lost[0][0])
            raise AdaptError(f"{self.who}: the output depends on {name}, and no gradient of it was found after a backward, though others have one; say where "
                             f"it is, params={{{name!r}: '…'}}, beside the others, or name those that are trained, params=['…']")
        return {s: [Source(UPDATE)] for s in lost}

    def _said(self, plan: Plan, lying: Mapping[tuple[Path, ...], list[Source]], extras: list[Source]) -> None:
        """The parameters that were named. Errors: AdaptError for one that is not there, or whose gradient is not."""
        wanted = [n for n in self.params or () if n not in self.names]
        for name in wanted:
            plan.trained[name] = self._slot(name, lying)
        without = [n for n in wanted if not lying[plan.trained[n]] and not isinstance(self.params, Mapping)]
        if extras and len(without) != len(extras):
            raise AdaptError(f"{self.who}: backward returned {len(extras)} arrays after the cotangents of {', '.join(self.names)}, and of the parameters named "
                             f"{len(without)} have no gradient elsewhere: name those that they belong to, in that order: params=['W', 'b']")
        for name in wanted:
            sources = [extras[without.index(name)]] if extras and name in without else lying[plan.trained[name]]
            plan.gradient[name] = self._by_word(name, self.params[name]) if isinstance(self.params, Mapping) else self._only(name, sources)

    def _slot(self, name: str, lying: Mapping[tuple[Path, ...], list[Source]]) -> tuple[Path, ...]:
        """The array of a name, or of one whose last word it is."""
        known = {s: {name_of(p) for p in s} for s in lying}
        for fits in (lambda n: n == name, lambda n: n.rpartition(".")[2] == name):
            found = [s for s, names in known.items() if any(map(fits, names))]
            if len(found) == 1:
                return found[0]
            with_gradient = [s for s in found if lying[s]]
            if len(with_gradient) == 1:
                return with_gradient[0]
            if found:
                raise AdaptError(f"{self.who}: {name!r} is {' and '.join(shown(s[0]) for s in found)}, which are different arrays")
        others = ", ".join(sorted({name_of(s[0]) for s in lying})) or "none"
        raise AdaptError(f"{self.who}: no array called {name!r} was found; there are {others}")

    def _only(self, name: str, sources: list[Source]) -> Source:
        if not sources:
            raise AdaptError(f"{self.who}: no gradient of {name!r} was found after a backward; say where it is: params={{{name!r}: '…'}}")
        if len(sources) > 1:
            raise AdaptError(f"{self.who}: {name!r} has several gradients, {', '.join(map(str, sources))}; say which: params={{{name!r}: '…'}}")
        return sources[0]

    def _by_word(self, name: str, said: str) -> Source:
        """The gradient that was named."""
        if said in self.returned.named:
            return Source(RETURNED, (said,))
        found = [p for p, _ in places(self.layer) if said in (p[-1], shown(p), name_of(p), p[0])]
        found = found if len(found) == 1 else [p for p in found if p in gradients(self.layer, self.driver.plan.trained[name][0])] or found[:1]
        if not found:
            raise AdaptError(f"{self.who}: no gradient called {said!r} was found for {name!r}")
        return Source(path=found[0])

    def _by_shape(self, slots: Iterable[tuple[Path, ...]], extras: list[Source]) -> dict[tuple[Path, ...], Source]:
        """The parameters that what was returned belongs to, where only one has each shape."""
        arrays = [s for s in self._influential(slots) if isinstance(read(self.layer, s[0]), np.ndarray)]
        shapes = [np.shape(self.driver.found(e, "")) for e in extras]
        fitting = list(_bijections(arrays, shapes, lambda s: np.shape(read(self.layer, s[0]))))
        if len(fitting) == 1:
            return dict(zip(fitting[0], extras, strict=True))
        raise AdaptError(f"{self.who}: backward returned {len(extras)} arrays after the cotangent{'s' * (len(self.names) != 1)} of {', '.join(self.names)}; "
                         f"say which parameters they belong to, in that order: params=['W', 'b']")

    def _fresh(self, slots: Sequence[tuple[Path, ...]]) -> dict[tuple[Path, ...], Source]:
        """The gradients of parameters none of which has one by name: arrays beside them that are called as gradients are, of their shapes."""
        own = {p for s in slots for p in s}
        made = [p for p, v in places(self.layer) if p not in own and isinstance(v, np.ndarray) and any(_gradient_like(step) for step in p if step != CLOSURE)]
        fitting = list(_bijections(made, [np.shape(read(self.layer, s[0])) for s in slots], lambda p: np.shape(read(self.layer, p))))
        if len(fitting) == 1 and len(slots) == len(fitting[0]):
            return {s: Source(path=p) for s, p in zip(slots, fitting[0], strict=True)}
        arrays = ", ".join(shown(s[0]) for s in slots)
        them = "it" if len(slots) == 1 else "them"
        raise AdaptError(f"{self.who}: the output depends on {arrays}, and no gradient of {them} was found after a backward; say where it is, "
                         f"params={{{name_of(slots[0][0])!r}: '…'}}, or params=[] if nothing is trained; or use gradcheck.subject(call, pullback, …)")

    def _influential(self, slots: Iterable[tuple[Path, ...]]) -> list[tuple[Path, ...]]:
        """Those that the output depends on."""
        return [s for s in slots if isinstance(read(self.layer, s[0]), np.ndarray) and self._matters(s)]

    def _matters(self, slot: tuple[Path, ...]) -> bool:
        old = read(self.layer, slot[0])
        for path in slot:
            write(self.layer, path, np.asarray(old * 1.25 + 0.5))
        try:
            return any(not np.array_equal(a, b, equal_nan=True) for a, b in zip(self._outputs(), self.outputs, strict=True))
        except Exception:                                  # what cannot take another value decides the output too
            return True
        finally:
            for path in slot:
                write(self.layer, path, np.asarray(old))


def _slots(layer: Any, steady: Sequence[Path]) -> dict[tuple[Path, ...], Any]:
    """The steady arrays, each with every place that has it; a number has one place."""
    groups: dict[Any, list[Path]] = {}
    values = {p: read(layer, p) for p in steady}
    for path, value in values.items():
        groups.setdefault(id(value) if isinstance(value, np.ndarray) else path, []).append(path)
    near = lambda p: (any(isinstance(s, str) and s.endswith("()") for s in p), len(p))          # by attribute before by method, and nearest first
    return {tuple(sorted(paths, key=near)): values[paths[0]] for paths in groups.values()}


def _owner(path: Path) -> Path:
    """The object whose gradient it is, without the containers that it keeps gradients in."""
    return tuple(s for s in path[:-1] if s not in (*VALUES, *GRADIENTS) and not (isinstance(s, str) and s.endswith("()")))


def _within(inner: Source, outer: Source) -> bool:
    """Whether a gradient's object lies within that of another, which has the whole: cells that a forward made, and the layer that adds up theirs."""
    own, other = _owner(inner.path), _owner(outer.path)
    return not inner.kind and not outer.kind and own != other and own[:len(other)] == other


def _bijections(pool: Sequence[Any], shapes: Sequence[tuple[int, ...]], shape_of: Callable[[Any], tuple[int, ...]]) -> Iterator[tuple[Any, ...]]:
    """The ways to give each shape another member of the pool; none where that would be too many to be one."""
    fitting = [[c for c in pool if shape_of(c) == s] for s in shapes]
    if all(fitting) and max(map(len, fitting)) <= 3:
        yield from _chosen(fitting, ())


def _chosen(fitting: list[list[Any]], so_far: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if not fitting:
        yield so_far
        return
    for c in fitting[0]:
        if c not in so_far:
            yield from _chosen(fitting[1:], (*so_far, c))


def _taken(function: Callable[..., Any], outputs: int) -> tuple[str, ...]:
    """The arguments of a backward: those that must be given, with upstreams that need not be if there are as many outputs; else as many as there
    are outputs, or one that is called as upstreams are."""
    known = signature_of(function)
    if must := arguments(function):
        more = [n for n, p in known.items() if p.default is None and is_upstream(n)]
        return (*must, *more) if len(more) + len([n for n in must if is_upstream(n)]) == outputs else must
    if any(p.kind is p.VAR_POSITIONAL for p in known.values()):
        return tuple(f"dy{i}" for i in range(outputs))
    return tuple(n for n, p in known.items() if p.kind is not p.VAR_KEYWORD and is_upstream(n))[:1]


def is_target(name: str, loss: bool) -> bool:
    """Whether an input is called as targets are, which have no cotangent."""
    plain = bare(name).lower().replace("_", "")
    return bool({plain, plain.removesuffix("s")} & TARGETS) or loss and plain in ("y", "t")


def is_upstream(name: str) -> bool:
    """Whether an argument is called as upstreams are."""
    plain = name.lower()
    return plain.startswith(("d", "grad", "up", "delta", "err", "cot", "ct", "v_", "g_", "accum")) or plain.endswith(("grad", "gradient", "delta", "error"))\
        or plain in ("g", "v", "u", "gy", "seed")


def _gradient_like(step: Any) -> bool:
    return isinstance(step, str) and (step in GRADIENTS or any(alike(step, stem) for stem in [_stem(step)] if stem))


def _stem(name: str) -> str:
    plain = name.lower()
    for start in ("gradient_", "grad_", "nabla_", "d_", "grad", "d"):
        if plain.startswith(start):
            return plain.removeprefix(start)
    return plain.removesuffix("gradient").removesuffix("grad").rstrip("_") if plain.endswith(("grad", "gradient")) else ""


def rates(layer: Any, within: bool = True) -> list[tuple[Any, str]]:
    """The learning rates that a layer, or an optimizer within it, holds."""
    holding = [held for held in (objects(layer) if within else [layer]) if hasattr(held, "__dict__")]
    return [(held, n) for held in holding for n, v in vars(held).items() if is_rate(n) and isinstance(v, float)]
