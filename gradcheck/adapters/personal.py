"""The layer that a person writes on an afternoon: forward and backward in any of the usual spellings.

What it is is found out by one run of a spare copy: whether forward returns a cache, what backward takes and returns, which
arrays have gradients. Nothing is guessed: where two readings fit, the error says how to name the right one.
"""
from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..subjects import Facts
from . import AdaptError, adapter
from .code import arguments
from .foreign import Array, Dialect, Foreign, Params
from .inputs import again
from .places import DICTIONARIES, SPELLINGS, Place, gradients, name_of, numeric, places

FORWARD = ("forward", "fwd", "call", "__call__")
BACKWARD = ("backward", "bwd", "backprop", "vjp", "pullback", "grad")
CACHES = frozenset({"cache", "caches", "ctx", "context", "saved", "memo", "tape", "residual", "residuals", "res", "memory", "state", "aux", "stash"})


def recognises(layer: object) -> bool:
    """Whether it has a forward and a backward under one of the usual names, or is a pair of such functions."""
    return _pair(layer) or (not isinstance(layer, type) and bool(_method(layer, FORWARD) and _method(layer, BACKWARD)))


@dataclass
class Pair:
    """Two functions that belong together."""
    forward: Callable[..., Any]
    backward: Callable[..., Any]


@dataclass
class Plan:
    """How the layer is to be read."""
    cache: bool = False                                    # forward returns (y, cache)
    order: tuple[str, ...] = ("dy",)                       # what backward takes: dy, cache, or an input by name
    trained: dict[str, Place] = field(default_factory=dict)
    gradient: dict[str, Place | None] = field(default_factory=dict)    # None: backward returns it
    positions: tuple[str, ...] = ()                        # the parameters whose gradients follow the inputs' in what is returned
    held: tuple[str, ...] = ()                             # arrays that have no gradient


class Driver(Dialect):
    """A layer of a style of its own."""

    def __init__(self, layer: Any, params: Params = None, many: bool = False) -> None:
        super().__init__(Pair(*layer) if _pair(layer) else layer, params, many)
        self.plan = Plan()
        self.cached: Any = None
        self.xs: Sequence[Array] = ()

    @property
    def entry(self) -> Callable[..., Any]:
        return _method(self.layer, FORWARD)                # type: ignore[return-value]

    @property
    def exit(self) -> Callable[..., Any]:
        return _method(self.layer, BACKWARD)               # type: ignore[return-value]

    @property
    def copies(self) -> bool:
        return not isinstance(self.layer, Pair | types.FunctionType) and super().copies

    def start(self, xs: Sequence[Array], spare: Callable[[], Any]) -> None:
        """Run a spare layer once, and read from it what this one is. A parameter that forward creates is created here too."""
        trial = Driver(spare(), self.params, self.many)
        trial.flags = self.flags
        self.plan = trial.study([np.copy(x) for x in xs])
        if any(p.read(self.layer) is None for p in self.plan.trained.values()):
            self.entry(*self.packed([np.copy(x) for x in xs]), **self.flags)

    def arrays(self) -> dict[str, Array]:
        return {k: np.asarray(p.read(self.layer)) for k, p in self.plan.trained.items()}

    def trained(self) -> Iterable[str]:
        return list(self.plan.trained)

    def put(self, name: str, value: Array) -> None:
        self.plan.trained[name].write(self.layer, value)

    def forward(self, xs: Sequence[Array]) -> Any:
        y, self.xs = self.entry(*self.packed(xs), **self.flags), list(xs)
        if not self.plan.cache:
            return y
        self.cached = y[-1]
        return y[0] if len(y) == 2 else y[:-1]

    def backward(self, dys: Sequence[Array]) -> tuple[Any, Mapping[str, Any]]:
        returned = self._pull(dys)
        dxs, own = _split(returned, self.names(len(self.xs)), self.plan.positions)
        lying = {k: g.read(self.layer) if g else _spelled(own, k) for k, g in self.plan.gradient.items()}
        return dxs, lying

    def facts(self) -> Facts:
        p = self.plan
        pairs = ", ".join(f"{k} ({p.trained[k]}, gradient {p.gradient[k] or 'returned'})" for k in p.trained)
        notes = [f"{self.entry.__name__} and {self.exit.__name__}({', '.join(p.order)})" + ("; forward returns (y, cache)" if p.cache else ""),
                 f"parameters: {pairs}" if pairs else "no parameters were found: name them with params=[…] if there are any"]
        if p.held:
            notes.append(f"held, since no gradient was found: {', '.join(p.held)}")
        return Facts(tape="functional" if p.cache else "last", upstream=bool(p.order), notes=tuple(notes))

    def script(self, names: Sequence[str]) -> str:
        entry = self.entry.__name__
        call = "layer" if entry == "__call__" else f"layer.{entry}"
        return (f"y{', cache' if self.plan.cache else ''} = {call}({self.listed(names)})\n"
                f"layer.{self.exit.__name__}({', '.join(self.plan.order)})          # dy: an array like y")

    def study(self, xs: Sequence[Array]) -> Plan:
        """What the layer is, from one forward and one backward of it. Errors: AdaptError names what is ambiguous."""
        born = {p: p.read(self.layer) for p in places(self.layer)}
        y = self.entry(*self.packed(xs), **self.flags)
        before = {p: np.copy(p.read(self.layer)) for p in places(self.layer)}
        self._rerun(xs)
        now = {p: p.read(self.layer) for p in before}
        steady = [p for p, v in before.items() if np.array_equal(v, now[p], equal_nan=True) or now[p] is born.get(p)]
        names = self.names(len(xs))
        self.plan = plan = _signature(arguments(self.exit), y, names, self.entry.__name__)
        outputs = self.forward(xs)
        dys = [np.ones_like(o) for o in (outputs if isinstance(outputs, list | tuple) else [outputs])]
        try:
            returned = self._pull(dys)
        except Exception:                                  # the checks meet it again, and report it
            return plan
        self._parameters(plan, steady, returned, names)
        return plan

    def _parameters(self, plan: Plan, steady: list[Place], returned: Any, names: Sequence[str]) -> None:
        extra, own = _extra(returned, len(names))
        found: dict[str, list[tuple[Place, list[Place | None]]]] = {}
        for place in steady:
            lying: list[Place | None] = [*gradients(self.layer, place)]
            if not lying and (_spelled(own, name_of(place)) is not None or self.params is not None):
                lying = [None]
            found.setdefault(name_of(place), []).append((place, lying))
        taken = {g for candidates in found.values() for _, lying in candidates for g in lying if g}
        found = {k: [(p, g) for p, g in v if p not in taken and p.holder not in DICTIONARIES[1]] for k, v in found.items()}
        wanted = list(self.params) if self.params is not None else [k for k, v in found.items() if any(g for _, g in v)]
        for name in wanted:
            plan.trained[name] = self._place(name, found)
            plan.gradient[name] = self._gradient(name, next(g for p, g in found[name] if p == plan.trained[name]), own, extra)
        if extra:
            plan.positions = self._positions(wanted, extra, names)
        plan.held = tuple(k for k, v in found.items() if v and k not in wanted and isinstance(v[0][0].read(self.layer), np.ndarray))

    def _place(self, name: str, found: Mapping[str, list[tuple[Place, list[Place | None]]]]) -> Place:
        candidates = [p for p, g in found.get(name, []) if g]
        if not candidates:
            others = ", ".join(k for k, v in found.items() if v) or "none"
            raise AdaptError(f"{self._who}: no array called {name!r} was found; there are {others}")
        if any(p.read(self.layer) is not candidates[0].read(self.layer) for p in candidates):
            raise AdaptError(f"{self._who}: {name!r} is {' and '.join(map(str, candidates))}, which are different arrays: remove one of them, "
                             "or say what is what with gradcheck.subject(call, pullback, …)")
        return candidates[0]

    def _gradient(self, name: str, lying: list[Place | None], own: Mapping[str, Any], extra: int) -> Place | None:
        if isinstance(self.params, Mapping):
            said = self.params[name]
            lying = [g for g in lying if g and said in (g.key, g.holder)]
            if not lying and said not in own:
                raise AdaptError(f"{self._who}: no gradient called {said!r} was found for {name!r}")
            return lying[0] if lying else None
        if lying == [None] and not extra and _spelled(own, name) is None:
            raise AdaptError(f"{self._who}: no gradient of {name!r} was found after a backward; say where it is: params={{{name!r}: '…'}}")
        values = [g.read(self.layer) for g in lying if g]
        if any(v is not values[0] and not np.array_equal(v, values[0]) for v in values):
            several = ", ".join(str(g) for g in lying)
            raise AdaptError(f"{self._who}: {name!r} has several gradients, {several}; say which: params={{{name!r}: '…'}}")
        return lying[0]

    def _positions(self, wanted: Sequence[str], extra: int, names: Sequence[str]) -> tuple[str, ...]:
        returned = [k for k in wanted if self.plan.gradient[k] is None]
        if len(returned) == extra:
            return tuple(returned)
        raise AdaptError(f"{self._who}: backward returned {extra} arrays after the cotangent{'s' * (len(names) != 1)} of {', '.join(names)}; "
                         f"say which parameters they belong to, in that order: params=['W', 'b']")

    def _pull(self, dys: Sequence[Array]) -> Any:
        given = iter(dys)
        inputs = dict(zip(self.names(len(self.xs)), self.xs, strict=True))
        return self.exit(*(self.cached if a == "cache" else next(given) if a == "dy" else inputs[a] for a in self.plan.order))

    def _rerun(self, xs: Sequence[Array]) -> None:
        """Other inputs: what a forward makes anew from them is no parameter. (What was there before and is changed in place may be one.)"""
        rng = np.random.default_rng(0)
        others = [again(x, rng) for x in xs]
        others = [x * 0.75 if x.dtype.kind == "f" and np.array_equal(x, o) else o for x, o in zip(xs, others, strict=True)]
        self.entry(*self.packed(others), **self.flags)

    @property
    def _who(self) -> str:
        return type(self.layer).__name__


def _signature(takes: Sequence[str], y: Any, names: Sequence[str], entry: str) -> Plan:
    """What backward's arguments are: upstreams, the cache, inputs. Errors: AdaptError where they cannot be told apart."""
    ys = list(y) if isinstance(y, list | tuple) else [y]
    named = [a for a in takes if a in CACHES]
    opaque = len(ys) > 1 and not (isinstance(ys[-1], np.ndarray | float | np.floating))
    if len(ys) > 1 and len(takes) == len(ys) and (named or opaque):
        cache = named[0] if named else takes[-1]
        return Plan(cache=True, order=tuple("cache" if a == cache else "dy" for a in takes))
    outputs = 1 if isinstance(y, np.ndarray) or numeric(y) else len(ys)
    order = ("dy",) * len(takes) if len(takes) == outputs else tuple(a if a in names else "dy" for a in takes)
    if order.count("dy") == outputs or not takes:
        return Plan(order=order)
    raise AdaptError(f"{entry} returned {outputs} output{'s' * (outputs != 1)} and backward takes ({', '.join(takes)}): call the saved values `cache` "
                     f"if one of them is that, give inputs the names that {entry} has, or use gradcheck.subject(call, pullback, …)")


def _extra(returned: Any, inputs: int) -> tuple[int, Mapping[str, Any]]:
    """How many arrays follow those of the inputs in what backward returned, and the gradients returned by name."""
    if isinstance(returned, Mapping):
        return 0, returned
    if not isinstance(returned, tuple):
        return 0, {}
    named = next((r for r in returned if isinstance(r, Mapping)), {})
    return (0 if named else max(0, len(returned) - inputs)), named


def _split(returned: Any, names: Sequence[str], positions: Sequence[str]) -> tuple[Any, Mapping[str, Any]]:
    """What belongs to the inputs and, by name, to the parameters."""
    if isinstance(returned, Mapping):
        return {n: _spelled(returned, n) for n in names}, returned
    if not isinstance(returned, tuple):
        return returned, {}
    own = next((r for r in returned if isinstance(r, Mapping)), None)
    if own is not None:
        rest = [r for r in returned if r is not own]
        return (rest[0] if len(rest) == 1 and isinstance(rest[0], list) else rest or None), own
    if positions:
        cut = len(returned) - len(positions)
        return (returned[0] if cut == 1 and isinstance(returned[0], list) else returned[:cut]), dict(zip(positions, returned[cut:], strict=True))
    return returned, {}


def _spelled(found: Mapping[str, Any], name: str) -> Any:
    """The entry under a name or one of its gradient's spellings; None if there is none."""
    return next((found[k] for k in (name, *(s.format(name) for s in SPELLINGS)) if k in found), None)


def _method(layer: Any, names: Sequence[str]) -> Callable[..., Any] | None:
    found = next((f for f in (getattr(layer, n, None) for n in names) if callable(f)), None)
    return layer if isinstance(layer, types.FunctionType) and found == layer.__call__ else found


def _pair(layer: object) -> bool:
    return isinstance(layer, tuple | list) and len(layer) == 2 and all(map(callable, layer))


@adapter(recognises)
class Personal(Foreign):
    """Layers of a person's own."""
    adapter = "personal"
    dialect = Driver
