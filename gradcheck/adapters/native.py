"""Layers with a law: pure `fwd` and `bwd` beside declared slots and hyperparameters, recognised by that alone."""
from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..evidence import Array as Line
from ..evidence import Point
from ..law import Law, Shape, ShapeError, Side
from ..subjects import Array, Arrays, Facts, Subject, copied, generator
from . import adapter
from .code import construction, literal, source_of
from .foreign import generic
from .inputs import coarse, sample

FACTS = Facts(tape="functional", contract=True)


def recognises(obj: object) -> bool:
    """A layer, or a class of layers, that declares a law and has the two pure functions."""
    return all(hasattr(obj, a) for a in ("law", "slots", "fwd", "bwd", "draw", "sample", "out_shapes"))


@adapter(recognises)
class Native:
    """A class of layers over the domains of its hyperparameters, or one configured layer."""
    adapter = "native"
    modes = (True, False)
    contract = FACTS.contract

    def __init__(self, factory: Callable[..., Any], inputs: Sequence[str] = (), *, options: Mapping[str, Sequence[Any]] | None = None,
                 params: Sequence[str] | None = None, name: str = "") -> None:
        self.make, self.inputs = factory, tuple(inputs)
        declared = {f.name: list(f.metadata["domain"]) for f in _fields(factory) if "domain" in f.metadata}
        self.domains = {**declared, **{k: list(v) for k, v in (options or {}).items()}}
        self.defaults = {f.name: f.default for f in _fields(factory) if f.default is not dataclasses.MISSING}
        self.layer = self._layer({k: v[0] for k, v in self.domains.items()})          # the simplest: declarations are read from it
        self.kind = type(self.layer)
        self.name = name or self.kind.__name__
        self.law_text, self.equation = str(self.layer.law), (inspect.getdoc(self.kind) or "").partition("\n\n")[0]
        self.source = source_of(self.kind.bwd)

    def law(self, options: Mapping[str, Any]) -> Law:
        """The law at these options, its inputs replaced by the shapes that the user gave, if any."""
        law = Law.parse(self._layer(options).law)
        return dataclasses.replace(law, inputs=tuple(map(Side.parse, self.inputs))) if self.inputs else law

    def fits(self, options: Mapping[str, Any], shapes: Sequence[Shape]) -> bool:
        try:
            self._layer(options).out_shapes(*shapes)
        except (ShapeError, ValueError):
            return False
        return True

    def build(self, point: Point) -> Subject:
        """Inputs as the layer samples them, parameters and buffers in general position, noise drawn once and held."""
        layer, law = self._layer(point.options), self.law(point.options)
        shapes = law.shapes(point.sizes, point.inputs or None)
        rng, axes = generator("values", point.seed, shapes), layer.bind(*shapes)
        xs = {n: _typed(layer.sample(rng, i, s), point.dtype) for i, (n, s) in enumerate(zip(input_names(len(shapes)), shapes, strict=True))}
        own = {kind: layer.draw(kind, rng, axes, point.dtype) for kind in ("parameter", "buffer", "noise")}
        own["parameter"] = {k: _typed(generic(v, rng), point.dtype) for k, v in own["parameter"].items()}
        own["buffer"] = {k: _typed(sample(Side.parse(layer.slots[k].domain).domain, v.shape, rng), point.dtype) for k, v in own["buffer"].items()}
        pure = Pure(layer, tuple(xs), type(layer.draw("noise", rng, axes, point.dtype)), point.train)
        primals = {**xs, **own["parameter"], **own["buffer"], **own["noise"]}
        moving = tuple(k for k, v in primals.items() if v.dtype.kind in "fc" and (k in xs or k in own["parameter"]))
        made = Subject(self.name, primals, moving, lambda: PureTape(pure), point, FACTS, tuple(xs), law, layer.out_shapes(*shapes),
                       lambda: self._shell(point), self.build, lambda: _ledger(pure, primals, layer, law), self.source)
        ways = {how: partial(ShellTape, self._shell, point, pure, how) for how in ("", *FEWER)}
        return dataclasses.replace(made, stateful=ways.pop(""), fewer=ways) if _holds(ways[""], primals, own["noise"]) else made

    def work(self, point: Point) -> float | None:
        """Floating-point operations of one forward, as the layer declares them: a sum of products of axes. None where it does not."""
        layer = self._layer(point.options)
        axes = layer.bind(*self.law(point.options).shapes(point.sizes, point.inputs or None))
        declared = getattr(layer, "work", "")
        return float(sum(math.prod(layer.shape(product, axes)) for product in declared.split("+"))) if declared else None

    def code(self, point: Point) -> str:
        """The lines that build the layer and its inputs, and run it forward and backward; its parameters are those that it draws."""
        given = {k: v for k, v in _tupled(point.options).items() if k not in self.defaults or v != self.defaults[k]}
        s = self.build(point)
        shapes = ", ".join(f"{k} {s.primals[k].shape}" for k in s.inputs)
        back = "np.ones_like(y)" if len(s.out_shapes or ()) < 2 else "tuple(map(np.ones_like, y))"
        return "\n".join([f"# {self.name} at {shapes}, {point.dtype}, {'train' if point.train else 'eval'}, seed {point.seed}", "import numpy as np",
                          *construction(self.kind, given), *(["layer.train(False)"] * (not point.train)), *(f"{k} = {literal(s.primals[k])}" for k in s.inputs),
                          f"y = layer.forward({', '.join(s.inputs)}); layer.backward({back})          # then layer.gradients"])

    def _layer(self, options: Mapping[str, Any]) -> Any:
        return self.make(**_tupled(options))

    def _shell(self, point: Point) -> Any:
        layer = self._layer(point.options)
        layer.rng = generator("shell", point.seed)
        return layer.train(point.train)


@dataclass(frozen=True)
class Pure:
    """A layer's two functions on dictionaries of arrays."""
    layer: Any
    inputs: tuple[str, ...]
    vars: Callable[..., Any]
    train: bool

    def split(self, primals: Arrays) -> tuple[Any, list[Array]]:
        held = {k: v for k, v in primals.items() if k not in self.inputs}
        return self.vars(held, train=self.train), [primals[k] for k in self.inputs]

    def fwd(self, primals: Arrays) -> tuple[tuple[Array, ...], Any, Any]:
        p, xs = self.split(primals)
        y, r = self.layer.fwd(p, *xs)
        return y if isinstance(y, tuple) else (y,), p, r

    def bwd(self, p: Any, r: Any, dys: Sequence[Array]) -> tuple[dict[str, Array | None], Mapping[str, Any]]:
        dxs, d = self.layer.bwd(p, r, *dys)
        dxs = tuple(dxs) if isinstance(dxs, tuple | list) else (dxs,)
        return {**dict(zip(self.inputs, dxs, strict=True)), **{k: d.get(k) for k in p}}, d


class PureTape:
    """One forward and its backwards."""

    def __init__(self, pure: Pure) -> None:
        self.pure = pure

    def forward(self, primals: Arrays) -> tuple[Array, ...]:
        ys, self.p, self.r = self.pure.fwd(primals)
        return ys

    def backward(self, *dys: Array) -> dict[str, Array | None]:
        return self.pure.bwd(self.p, self.r, dys)[0]


FEWER = ("a frozen layer", "a layer frozen after forward", "backward with retain_grads=False")


class ShellTape:
    """The stateful layer, its parameters set to the primals and its noise held. `how`: one of FEWER, or "" for all cotangents."""

    def __init__(self, shell: Callable[[Point], Any], point: Point, pure: Pure, how: str = "") -> None:
        self.layer, self.pure, self.how, self.outputs = shell(point), pure, how, 1
        if how == FEWER[0]:
            self.layer.freeze()

    def forward(self, primals: Arrays) -> tuple[Array, ...]:
        held, xs = self.pure.split(primals)
        own = {kind: type(held)({k: v for k, v in held.items() if k in self.layer.slots and self.layer.slots[k].kind == kind})
               for kind in ("parameter", "buffer", "noise")}
        self.layer.parameters = own["parameter"] | own["buffer"]
        self.layer.chance = lambda *_, **__: own["noise"]
        y = self.layer.forward(*xs)
        if self.how == FEWER[1]:
            self.layer.freeze()
        ys = y if isinstance(y, tuple) else (y,)
        self.outputs = len(ys)
        return ys

    def backward(self, *dys: Array) -> dict[str, Array | None]:
        dx = self.layer.backward(self._upstream(dys), **({"retain_grads": False} if self.how == FEWER[2] else {}))
        return {**self._inputs(dx), **({} if self.how else self.gradients())}

    def pull(self, dys: Sequence[tuple[Array, ...]]) -> tuple[list[dict[str, Array | None]], dict[str, Array]]:
        dxs = self.layer.backward([self._upstream(dy) for dy in dys])
        each = zip(*dxs, strict=True) if isinstance(dxs, tuple) else dxs or [None] * len(dys)
        return [self._inputs(dx) for dx in each], self.gradients()

    def gradients(self) -> dict[str, Array]:
        return {k: np.copy(v) for k, v in self.layer.gradients.items()}

    def _upstream(self, dys: Sequence[Array]) -> Any:
        return tuple(dys) if self.outputs > 1 else dys[0]

    def _inputs(self, dx: Any) -> dict[str, Array | None]:
        """What backward returned for the inputs; a cell returns that of its first alone, and carries the others itself."""
        return dict(zip(self.pure.inputs, dx if isinstance(dx, tuple | list) else (dx,), strict=False))


def _holds(shell: Callable[[], ShellTape], primals: Arrays, noise: Arrays) -> bool:
    """Whether there is a stateful layer that can be handed its noise. One of several layers draws the noise of each for itself."""
    try:
        tape = shell()
        with np.errstate(all="ignore"):
            tape.forward(copied(primals)) if noise else None
        return hasattr(tape.layer, "flush_gradients") and all(np.array_equal(tape.layer.tape[-1].p.get(k), v) for k, v in noise.items())
    except Exception:                                      # a layer that fails here fails in every check, and they say how
        return False


def input_names(count: int) -> tuple[str, ...]:
    return ("x",) if count == 1 else tuple(f"x{i}" for i in range(count))


def _ledger(pure: Pure, primals: Arrays, layer: Any, law: Law) -> tuple[Line, ...]:
    """Every array of one forward and one backward, under the names that the layer gives them."""
    ys, p, r = pure.fwd(primals)
    dys = [np.ones_like(y) for y in ys]
    dxs, d = pure.bwd(p, r, dys)
    axes = {**{n: " ".join(s.terms) for n, s in zip(pure.inputs, law.sides(len(pure.inputs)), strict=True)}, **{k: s.axes for k, s in layer.slots.items()}}
    outs = {("y" if len(ys) == 1 else f"y{i}"): y for i, y in enumerate(ys)}
    sides = {n: " ".join(s.terms) for n, s in zip(outs, law.outputs or (), strict=False)}
    role = {k: s.kind for k, s in layer.slots.items()}
    lines = [Line(k, role.get(k, "input"), axes.get(k, ""), v.shape, str(v.dtype)) for k, v in primals.items()]
    lines += [Line(k, "residual", "", v.shape, str(v.dtype)) for k, v in r.items() if isinstance(v, np.ndarray) and k not in role]
    lines += [Line(k, "output", sides.get(k, ""), v.shape, str(v.dtype)) for k, v in outs.items()]
    lines += [Line(f"d{k}", "upstream", sides.get(k, ""), v.shape, str(v.dtype)) for k, v in zip(outs, dys, strict=True)]
    back = {**{k: v for k, v in d.items() if k not in dxs}, **dxs}
    return (*lines, *(Line(f"d{k}", "cotangent", axes.get(k, ""), v.shape, str(v.dtype)) for k, v in back.items() if isinstance(v, np.ndarray)))


def _fields(factory: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(factory) if dataclasses.is_dataclass(factory) and isinstance(factory, type) else ()


def _typed(x: Array, dtype: str) -> Array:
    """Real entries in this dtype, every other one short to read; integers as they are."""
    return coarse(x).astype(dtype) if x.dtype.kind == "f" else x


def _tupled(options: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has lists where Python has tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
