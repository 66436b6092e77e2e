"""The layer that a person writes on an afternoon: forward and backward in any of the usual spellings, driven as `study` found it to be."""
from __future__ import annotations

import copy
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from inspect import signature
from typing import Any

import numpy as np

from ..evidence import Point
from ..subjects import Facts
from . import adapter, frameworks
from .code import arguments, signature_of, source_of
from .foreign import Array, Dialect, Foreign, Params
from .inputs import Inputs
from .noise import held
from .places import Path, holders, keep, places, read, shown, write
from .study import RATE, RETURNED, SUM, UPDATE, Plan, Returned, Source, is_upstream, rates, studied

FORWARD = ("forward", "fwd", "forward_pass", "forward_propagation", "forward_propagate", "forward_prop", "feedforward", "fprop", "call", "__call__",
           "_forward")
BACKWARD = ("backward", "bwd", "backward_pass", "backward_propagation", "backward_propagate", "backward_prop", "backpropagation", "backpropagate", "backprop",
            "bprop", "vjp", "pullback", "_backward", "grad", "gradient", "derivative", "deriv", "prime")             # or joined otherwise: `backPropagate`


def recognises(layer: object) -> bool:
    """Whether it has a forward and a backward under one of the usual names, or is a pair of such functions."""
    return _pair(layer) or (not isinstance(layer, type) and bool(_method(layer, FORWARD) and _method(layer, BACKWARD)))


def gives_pullback(layer: Any, inputs: Sequence[Any]) -> bool:
    """Whether what is called with these inputs returns (y, pullback); one trial says it, of a copy."""
    if isinstance(layer, type) or not inputs or _method(layer, FORWARD) is None:
        return False
    try:
        with held(0), np.errstate(all="ignore"):
            driver = Driver(copy.deepcopy(layer))
            driver.switch(True)
            y = driver.ran(Inputs(tuple(inputs)).draw(Point()))
    except Exception:                                      # it may be another framework's, which takes no such arrays
        return False
    return isinstance(y, tuple) and len(y) > 1 and callable(y[-1])


def gives_gradients(function: Any, inputs: Sequence[Any]) -> bool:
    """Whether a function of these inputs returns a number and arrays of their shapes, as a loss returns its gradients; one trial says it."""
    if not isinstance(function, types.FunctionType) or not inputs or len(arguments(function)) != len(inputs) or frameworks.concern(function):
        return False
    try:
        with held(0), np.errstate(all="ignore"):
            xs = Inputs(tuple(inputs)).draw(Point())
            y = function(*map(np.copy, xs))
    except Exception:                                      # it may take other arrays, or build a layer
        return False
    given = isinstance(y, tuple) and len(y) > 1 and all(isinstance(v, np.ndarray | np.floating | float) for v in y)
    return given and np.ndim(y[0]) == 0 and {np.shape(v) for v in y[1:]} <= {x.shape for x in xs if x.dtype.kind == "f"}


class Context:
    """What a static forward keeps for its backward: attributes, and what it saves, under whatever name that is read."""

    def __init__(self) -> None:
        self.kept: tuple[Any, ...] = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "kept":
            raise AttributeError(name)
        return self._keep if name.startswith("save") and not name.startswith("saved") else self.kept

    def _keep(self, *values: Any) -> None:
        self.kept = values


def in_context(layer: Any) -> Any:
    """The layer; where its forward and backward are static functions of a context, the two of them with one that they share."""
    both = _method(layer, FORWARD), _method(layer, BACKWARD)
    if not all(isinstance(f, types.FunctionType) and {*arguments(f)[:1]} & {"ctx", "context"} for f in both):
        return layer
    shared: list[Context] = []

    def bound(function: Any, fresh: bool) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            shared[:] = [Context()] if fresh else shared
            return function(shared[0], *args, **kwargs)
        call.__name__ = function.__name__
        call.__signature__ = signature(function).replace(parameters=[*signature_of(function).values()][1:])      # type: ignore[attr-defined]
        return call

    return Pair(bound(both[0], True), bound(both[1], False))


@dataclass(frozen=True)
class Valued:
    """A function that returns a number and its gradients, as a factory of the pair that it stands for."""
    function: Callable[..., Any]

    @property
    def __name__(self) -> str:
        return self.function.__name__

    def __call__(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        return wraps(self.function)(lambda *xs: self.function(*xs)[0]), wraps(self.function)(lambda *xs: list(self.function(*xs)[1:]))


@dataclass
class Pair:
    """Two functions that belong together."""
    forward: Callable[..., Any]
    backward: Callable[..., Any]


class PlainSteps:
    """An optimizer whose `update(w, g)`, or whatever it calls that, is `w - RATE g`; in all else it is the one that it stands for."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "optimizer":       # asked for by a copy, before there is anything
            raise AttributeError(name)
        method = getattr(self.optimizer, name)
        return partial(self._stepped, method) if callable(method) else method

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._stepped(self.optimizer, *args, **kwargs)

    @staticmethod
    def _stepped(method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        arrays = {n: a for n, a in signature(method).bind(*args, **kwargs).arguments.items() if isinstance(a, np.ndarray)}
        if len(arrays) != 2 or len({a.shape for a in arrays.values()}) != 1:
            return method(*args, **kwargs)
        w, g = (np.copy(arrays[n]) for n in sorted(arrays, key=is_upstream))
        moved, plain = method(*args, **kwargs), w - RATE * g
        if moved is None:                                      # it moves the array itself
            arrays[min(arrays, key=is_upstream)][...] = plain
        return None if moved is None else plain


class Driver(Dialect):
    """A layer of a style of its own."""

    def __init__(self, layer: Any, params: Params = None, many: bool = False) -> None:
        super().__init__(Pair(*layer) if _pair(layer) else in_context(layer), params, many)
        self.plan = Plan()
        self.cached: Any = None                            # what forward returned beside the output
        self.xs: Sequence[Array] = ()
        self.returned = Returned([], {})
        self.before: dict[str, tuple[Array, Array]] = {}   # of parameters that backward moves: the array itself, and what was in it

    def __deepcopy__(self, memo: dict[int, Any]) -> Driver:
        """The layer is another one; what is known of it is the same."""
        other = copy.copy(self)
        other.layer, other.xs, other.cached, other.before = copy.deepcopy(self.layer, memo), (), None, {}
        return other

    @property
    def entry(self) -> Callable[..., Any]:
        return _method(self.layer, FORWARD)                # type: ignore[return-value]

    @property
    def exit(self) -> Callable[..., Any]:
        return _method(self.layer, BACKWARD) or self.entry

    @property
    def who(self) -> str:
        """What it is called in an error."""
        return self.entry.__name__ if isinstance(self.layer, Pair) else type(self.layer).__name__

    @property
    def one_way(self) -> bool:
        """Whether it has no backward of its own: forward returns it."""
        return _method(self.layer, BACKWARD) is None

    @property
    def copies(self) -> bool:
        return not isinstance(self.layer, Pair | types.FunctionType | types.ModuleType) and super().copies

    def start(self, xs: Sequence[Array], spare: Callable[[], Any]) -> None:
        """Run a spare layer, and read from it what this one is. A parameter that forward creates is created here too."""
        made = spare()
        trial = Driver(copy.deepcopy(made) if self.copies else made, self.params, self.many)
        trial.flags = self.flags
        self.plan = studied(trial, xs)
        if any(read(self.layer, paths[0]) is None for paths in self.plan.trained.values()):
            self.ran([np.copy(x) for x in xs])
        if self.plan.rated:
            self.step_plainly()

    def step_plainly(self) -> None:
        """Let an update show its gradient: every rate is `RATE`, and an optimizer takes plain steps, without a memory."""
        found = self.optimizers()
        for holder, name in rates(self.layer):
            setattr(holder, name, RATE)
        for path, v in found.items():
            keep(read(self.layer, path[:-1]), path[-1], PlainSteps(v))

    def optimizers(self) -> dict[Path, Any]:
        """The objects within the layer that hold a rate, and are no layers."""
        return {path: v for path, v in holders(self.layer) if path and rates(v, within=False) and not recognises(v)}

    def widen(self, dtype: str) -> None:
        waiting = [(k, path) for k, s in self.plan.gradient.items() if not s.kind or s.kind == SUM for path in (s.path if s.kind else (s.path,))]
        for name, path in waiting:
            v, own = read(self.layer, path), read(self.layer, self.plan.trained[name][0])
            if isinstance(v, np.ndarray) and isinstance(own, np.ndarray) and v.dtype == own.dtype and v.dtype.itemsize < np.dtype(dtype).itemsize:
                for place in [p for p, other in places(self.layer) if other is v]:
                    write(self.layer, place, v.astype(dtype))

    def arrays(self) -> dict[str, Array]:
        return {k: np.asarray(read(self.layer, paths[0])) for k, paths in self.plan.trained.items()}

    def trained(self) -> Iterable[str]:
        return list(self.plan.trained)

    def inert(self) -> Sequence[str]:
        return self.plan.inert

    def put(self, name: str, value: Array) -> None:
        first, *others = self.plan.trained[name]
        old = read(self.layer, first)
        for path in [first, *(p for p in others if read(self.layer, p) is old)]:        # a cache may have it only after a forward
            write(self.layer, path, value)

    def ran(self, xs: Sequence[Array]) -> Any:
        """What forward returns."""
        return self.entry(*self.packed(xs), **self.flags)

    def forward(self, xs: Sequence[Array]) -> Any:
        self.xs, y = list(xs), self.ran(xs)
        if self.plan.output:
            return getattr(self.layer, self.plan.output)
        if self.plan.cache:
            self.cached = y[-1]
            y = y[0] if len(y) == 2 else y[:-1]
        return y if self.plan.only is None else y[self.plan.only]

    def pulled(self, dys: Sequence[Array]) -> Any:
        """What backward returns, given its arguments in the order that it takes them."""
        given = iter(dys)
        inputs = dict(zip(self.names(len(self.xs)), self.xs, strict=True))
        roles: dict[str, Callable[[], Any]] = {"dy": lambda: next(given), "dys": lambda: tuple(dys), "cache": lambda: self.cached, "rate": lambda: RATE}
        back = self.cached if self.plan.pull else self.exit
        returned = back(*(roles[a]() if a in roles else inputs[a] for a in self.plan.order))
        self.returned = Returned.of(returned)
        return returned

    def backward(self, dys: Sequence[Array]) -> tuple[Any, Mapping[str, Any]]:
        stepping = [k for k, s in self.plan.gradient.items() if s.kind == UPDATE or k in self.plan.steps]
        self.before = {k: (v, np.copy(v)) for k in stepping for v in [read(self.layer, self.plan.trained[k][0])]}
        self.pulled(dys)
        own = {k: self.found(s, k) for k, s in self.plan.gradient.items()}
        self._step_back()
        factor = dys[0] if self.plan.factor else 1
        if self.plan.inputs or self.plan.inert:
            return {k: factor * v if self.plan.factor else v for k, s in self.plan.inputs.items() for v in [self.found(s, k)]}, own
        if self.plan.factor:
            return factor * self.returned.flat[0], own
        later = {s.path[0] for s in self.plan.gradient.values() if s.kind == RETURNED}
        return [v for i, v in enumerate(self.returned.flat) if i not in later], own

    def found(self, source: Source, name: str) -> Any:
        """A gradient, from where it is."""
        if source.kind == UPDATE:
            return (self.before[name][1] - read(self.layer, self.plan.trained[name][0])) / RATE
        if source.kind == SUM:
            return sum(self.found(Source(path=p), name) for p in source.path)          # type: ignore[arg-type]
        if source.kind == RETURNED:
            (key,) = source.path
            return self.returned.named.get(key) if isinstance(key, str) else self.returned.flat[key] if key < len(self.returned.flat) else None
        return read(self.layer, source.path)

    def _step_back(self) -> None:
        """A pullback moves no parameter: the step that showed the gradient is undone."""
        for name, (array, content) in self.before.items():
            if isinstance(array, np.ndarray):
                array[...] = content
            self.put(name, np.asarray(array))

    def facts(self) -> Facts:
        p = self.plan
        pairs = ", ".join(f"{k} ({shown(p.trained[k][0])}, gradient {p.gradient[k]})" for k in p.trained)
        how = f"; forward returns (y, {'pullback' if p.pull else 'cache'})" if p.cache else f"; the output is {p.output}" if p.output else ""
        back = "pullback" if p.pull else self.exit.__name__
        notes = [f"{self.entry.__name__} and {back}({', '.join(p.order)})" + how,
                 f"parameters: {pairs}" if pairs else "no parameters were found: name them with params=[…] if there are any"]
        notes += [f"the cotangent of {k} is {s}" for k, s in p.inputs.items() if not s.kind]
        notes += [f"{back} takes one upstream, that of output {p.only}: the others are not judged"] * (p.only is not None)
        notes += [f"{back} takes no upstream: it is the factor of an elementwise pullback"] * p.factor
        notes += [f"{back} changes the parameters: their gradients are the steps that it takes, and it is put back"] * (Source(UPDATE) in p.gradient.values())
        notes += [f"{back} takes a step along the gradients of {', '.join(p.steps)}, and it is put back"] * bool(p.steps)
        notes += [f"held, since no gradient was found: {', '.join(p.held)}"] * bool(p.held)
        notes += [f"not judged, since no cotangent is returned: {', '.join(p.inert)}"] * bool(p.inert)
        return Facts(tape="functional" if p.cache else "last", upstream=p.factor or {"dy", "dys"} & {*p.order} != set(), notes=tuple(notes))

    def made(self, lines: list[str]) -> list[str]:
        return [f"# functions as in {source_of(self.exit) or 'the file of cases'}"] if isinstance(self.layer, Pair) else lines

    def script(self, names: Sequence[str]) -> str:
        p, entry, y = self.plan, self.entry.__name__, "y" if "y" not in names else "out"
        of = "" if isinstance(self.layer, Pair) else "layer."
        call = f"{'layer' if entry == '__call__' else f'{of}{entry}'}({self.listed(names)})"
        made = "" if p.output else f"{y}{', pullback' if p.pull else ', cache' if p.cache else ''} = "
        upstream = f"dy = np.ones_like({y})\n" if "dy" in p.order and made else ""
        return f"{made}{call}\n{upstream}{'pullback' if p.pull else f'{of}{self.exit.__name__}'}({', '.join(p.order)})"


def _method(layer: Any, names: Sequence[str]) -> Callable[..., Any] | None:
    found = next((f for f in (getattr(layer, n, None) for n in names) if callable(f)), None) or _joined_otherwise(layer, names)
    return layer if isinstance(layer, types.FunctionType) and found == layer.__call__ else found


def _joined_otherwise(layer: Any, names: Sequence[str]) -> Callable[..., Any] | None:
    known = {_plain(n): n for n in dir(layer) if not n.startswith("__")}
    return next((f for n in names if _plain(n) in known and callable(f := getattr(layer, known[_plain(n)]))), None)


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _pair(layer: object) -> bool:
    return isinstance(layer, tuple | list) and len(layer) == 2 and all(map(callable, layer)) and not any(isinstance(f, type) for f in layer)


@adapter(recognises)
class Personal(Foreign):
    """Layers of a person's own."""
    adapter = "personal"
    dialect = Driver
