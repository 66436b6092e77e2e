"""What all foreign layers share: held noise, generic parameters, a fresh tape for every evaluation, a ledger of shapes.

A protocol is a `Dialect` (how one layer object is started, where its arrays are, how it runs); `Foreign` makes a family
of any dialect. Nothing here knows a package.
"""
from __future__ import annotations

import copy
import inspect
import math
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ..evidence import Array as Line
from ..evidence import Point
from ..law import Law, Shape
from ..subjects import Arrays, Facts, Subject, copied, generator, seed_of
from . import AdaptError
from .code import arguments, construction, literal, signature_of, source_of, summary_of
from .inputs import Inputs, coarse
from .noise import held, rewinds
from .options import Options
from .places import bare, objects

Array = np.ndarray
Params = Sequence[str] | Mapping[str, str] | None           # names of parameters, or each name with its gradient's
MODES = {True: {"train", "training"}, False: {"eval", "evaluate", "test", "testing", "inference", "infer", "predict"}}    # words of a switch, for its True
KEEPS = {"cache", "save", "store", "retain"}                    # words of an argument that has forward keep what backward needs


class Dialect(ABC):
    """One layer object and how its protocol drives it. A deep copy of a dialect is an independent layer."""

    def __init__(self, layer: Any, params: Params = None, many: bool = False) -> None:
        self.layer, self.params, self.many = layer, params, many        # many: the inputs are any number alike
        self.flags: dict[str, bool] = {}                                # arguments of forward that say whether it trains, by keyword

    def start(self, xs: Sequence[Array], spare: Callable[[], Any]) -> None:      # noqa: B027  most layers are ready
        """Bring the layer to where its parameters exist; `spare` builds another one like it. Errors: whatever it raises."""

    def widen(self, dtype: str) -> None:      # noqa: B027  most layers hold no gradients before a backward
        """Make the arrays that await gradients of this precision, where they had the parameters' own, which are about to be put in it."""

    def switch(self, train: bool) -> None:
        """Say whether the layer trains, in every way that it has."""
        for switch in switches(self.layer):
            switch(train)
        self.flags = {k: train is on for k, on in self._flags().items()} | dict.fromkeys(self._keeps(), True)

    @property
    def modal(self) -> bool:
        """Whether the layer can be told to train or not."""
        return any(switches(self.layer)) or bool(self._flags())

    def _flags(self) -> dict[str, bool]:
        """The arguments of forward that say whether it trains, each with its value if it does. An input may be called `test`, or `predict`."""
        found = {k: (mode_of(k), p.default) for k, p in signature_of(self.entry).items()}
        return {k: on for k, (on, default) in found.items() if on is not None and (isinstance(default, bool) or on and default is inspect.Parameter.empty)}

    def _keeps(self) -> list[str]:
        return [k for k, p in signature_of(self.entry).items() if p.default is False and KEEPS & {*words(k)}]

    @abstractmethod
    def arrays(self) -> dict[str, Array]:
        """Everything that `put` can change, by name."""

    @abstractmethod
    def trained(self) -> Iterable[str]:
        """Those of `arrays` that have gradients."""

    @abstractmethod
    def put(self, name: str, value: Array) -> None:
        """Make `value` the layer's array of that name."""

    @abstractmethod
    def forward(self, xs: Sequence[Array]) -> Any:
        """What the layer returns, without the outputs that have no upstream."""

    @abstractmethod
    def backward(self, dys: Sequence[Array]) -> tuple[Any, Mapping[str, Any]]:
        """What backward returns for the inputs, and the gradients of the parameters by name."""

    @property
    def entry(self) -> Callable[..., Any]:
        """The forward method."""
        return self.layer.forward                                # type: ignore[no-any-return]

    @property
    def exit(self) -> Callable[..., Any]:
        """The backward method."""
        return self.layer.backward                               # type: ignore[no-any-return]

    def packed(self, xs: Sequence[Any]) -> list[Any]:
        """The arguments of forward: the inputs, or one list of them where there are any number, or more than it has arguments.

        An argument with a default is one for an input if that is None.
        """
        return [list(xs)] if self.many and self.room < math.inf or self.room < len(xs) else list(xs)

    @cached_property
    def room(self) -> float:
        """How many inputs forward takes one by one: any number where it spreads them, or nobody says."""
        takes = [p for n, p in signature_of(self.entry).items() if n not in self.flags]
        if not takes or any(p.kind is p.VAR_POSITIONAL for p in takes):
            return math.inf
        return sum(p.default in (p.empty, None) for p in takes if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))

    @property
    def copies(self) -> bool:
        """Whether a deep copy is another layer. The variables of a function stay shared, and some objects refuse."""
        try:
            return not isinstance(self.layer, types.FunctionType) and copy.deepcopy(self.layer) is not self.layer
        except Exception:
            return False

    def names(self, count: int) -> tuple[str, ...]:
        """A name for each of `count` inputs: the arguments of forward where they correspond, else x0, x1, …"""
        takes = tuple(a for a in arguments(self.entry) if a not in self.flags)
        return takes if len(takes) == count and not set(takes) & set(self.arrays()) else tuple(f"x{i}" for i in range(count))

    def inert(self) -> Sequence[str]:
        """The inputs that have no cotangent, as was said."""
        return ()

    def facts(self) -> Facts:
        """What is known of the protocol, and of this layer."""
        return Facts(tape="last")

    def residuals(self) -> Mapping[str, Array]:
        """What forward and backward left in the layer, for the shape ledger."""
        return {}

    def listed(self, names: Sequence[str]) -> str:
        """The arguments of forward as code."""
        given = ", ".join(names)
        switched = [f"{k}={v}" for k, v in self.flags.items() if signature_of(self.entry)[k].default is not v]
        return ", ".join([f"[{given}]" if self.packed(names) != list(names) else given, *switched])

    def made(self, lines: list[str]) -> list[str]:
        """The lines that build the layer, or none where there is nothing to build."""
        return lines

    def script(self, names: Sequence[str]) -> str:
        """The lines that run the layer by hand."""
        return f"y = layer.forward({', '.join(names)})\ndy = np.ones_like(y)\ndx = layer.backward(dy)"


class Foreign:
    """A family of layers that a factory builds and a dialect drives."""
    adapter: ClassVar[str]
    contract: ClassVar[bool] = False
    inputless: ClassVar[bool] = False                            # whether there are layers that take nothing
    dialect: ClassVar[type[Dialect]]

    def __init__(self, factory: Callable[..., Any], inputs: Sequence[str | Array], *, options: Mapping[str, Any] | None = None,
                 params: Params = None, name: str = "") -> None:
        self.factory, self.inputs, self.options, self.params = factory, Inputs(tuple(inputs)), Options.of(options), params
        self.name = name or getattr(factory, "__name__", type(factory).__name__)
        if not inputs and not self.inputless:
            raise AdaptError(f'{self.name} needs the shape of what goes in: gradcheck.case({self.name}, "n d"), one text or array for each input')
        self.law_text, self.domains = self.inputs.text, self.options.domains
        self.widest = self.inputs.widest

    @cached_property
    def specimen(self) -> Any:
        """A layer with the simplest options, for what it says of itself; None if it cannot even be constructed."""
        try:
            return self.construct(Point())
        except Exception:
            return None

    @cached_property
    def equation(self) -> str:
        return summary_of(self.specimen)

    @cached_property
    def source(self) -> str:
        return source_of(self.driven(self.specimen, True).exit) if self.specimen is not None else ""

    @cached_property
    def modes(self) -> tuple[bool, ...]:
        """Both, if the layer can be told which; but many a layer has a backward only while it trains, and keeps nothing for one otherwise."""
        modal = self.specimen is not None and self.driven(self.specimen, True).modal
        return (True, False) if modal and (self.untrained is None or self.pulls(True) is not None) else (True,)

    @cached_property
    def untrained(self) -> Exception | None:
        """What a backward raises while the layer does not train."""
        return self.pulls(False)

    def pulls(self, train: bool) -> Exception | None:
        """What a trial forward and backward raise, if they do."""
        point = Point(train=train)
        xs = self.inputs.draw(point)
        try:
            with held(0), np.errstate(all="ignore"):
                dialect = self.started(point, xs)
                dialect.backward([np.ones_like(y) for y in outputs_of(dialect.forward(xs), self.name)])
        except Exception as e:
            return e
        return None

    def law(self, options: Mapping[str, Any]) -> Law | None:
        return self.inputs.law

    def fits(self, options: Mapping[str, Any], shapes: Sequence[Shape]) -> bool:
        """Whether a trial construction and forward succeed."""
        return self.refusal(options, shapes) is None

    def refusal(self, options: Mapping[str, Any], shapes: Sequence[Shape]) -> Exception | None:
        """What the layer raises at these options and shapes, if it does. Errors: AdaptError, since no other shape would help."""
        xs = self.inputs.fill(shapes)
        try:
            with held(0), np.errstate(all="ignore"):
                outputs_of(self.started(Point(options=dict(options)), xs).forward(xs), self.name)
        except AdaptError:
            raise
        except Exception as e:
            return e
        return None

    def construct(self, point: Point) -> Any:
        """The layer itself. Errors: whatever its constructor raises; ValueError for an option that is not declared."""
        with held(seed_of(point.seed, "construction")):
            return self.factory(**self.options.values(point.options, self.name))

    def driven(self, layer: Any, train: bool) -> Dialect:
        """The layer with what drives it."""
        dialect = self.dialect(layer, self.params, self.inputs.law is not None and self.inputs.law.many)
        dialect.switch(train)
        return dialect

    def started(self, point: Point, xs: Sequence[Array]) -> Dialect:
        """The layer with its parameters there."""
        dialect = self.driven(self.construct(point), point.train)
        with held(seed_of(point.seed, "start")):
            dialect.start(xs, lambda: self.construct(point))
        dialect.widen(point.dtype)
        return dialect

    def build(self, point: Point) -> Subject:
        xs = self.inputs.draw(point)
        dialect = self.started(point, xs)
        names, arrays = dialect.names(len(xs)), dialect.arrays()
        trained = tuple(k for k in dialect.trained() if arrays[k].dtype.kind == "f" and (self.params is None or k in self.params))
        rng = generator(point.seed, self.name, "parameters")
        arrays |= {k: generic(arrays[k], rng).astype(point.dtype) for k in trained}
        primals = {**dict(zip(names, xs, strict=True)), **copied(arrays)}
        moving = (*(k for k in names if primals[k].dtype.kind == "f" and k not in dialect.inert()), *trained)
        copies = dialect.copies

        def made() -> Tape:
            return Tape(self.started(point, xs), names, moving, self.name, point.seed)

        def tape() -> Tape:
            return Tape(copy.deepcopy(dialect), names, moving, self.name, point.seed) if copies else made()

        facts = dialect.facts()
        only = len(self.modes) == 1 and "untrained" in vars(self)
        notes = [f"only judged while it trains: backward raised {type(self.untrained).__name__} otherwise"] * only
        facts = replace(facts, notes=(*facts.notes, *notes))
        subject = Subject(self.name, primals, moving, tape, point, facts, names, self.law(point.options), rebuild=self.build,
                          source=source_of(dialect.exit), made=made)
        return replace(subject, ledger=lambda: ledger_of(subject, self.inputs.axes(len(names))))

    def code(self, point: Point) -> str:
        xs = self.inputs.draw(point)
        dialect = self.started(point, xs)
        names = dialect.names(len(xs))
        switched = ["# and its switches as they are while it does not train"] * (not point.train and any(switches(dialect.layer)))
        made = dialect.made(construction(self.factory, self.options.values(point.options, self.name)))
        return "\n".join(["import numpy as np", *made, *switched, *(f"{n} = {literal(x)}" for n, x in zip(names, xs, strict=True)), dialect.script(names)])


class Tape:
    """One fresh layer. The arrays of the primals themselves are put into it, so that a change which it makes can be seen."""

    def __init__(self, dialect: Dialect, names: Sequence[str], moving: Sequence[str], who: str, seed: int) -> None:
        self.dialect, self.names, self.moving, self.who, self.seed = dialect, names, moving, who, seed
        self.rewinds = rewinds(dialect.layer)

    @property
    def modal(self) -> bool:
        """Whether `switch` makes a difference."""
        return self.dialect.modal

    def switch(self, train: bool) -> None:
        """Say whether the layer trains, from here on."""
        self.dialect.switch(train)

    def forward(self, primals: Arrays) -> tuple[Array, ...]:
        for k in primals.keys() - set(self.names):
            self.dialect.put(k, primals[k])
        for rewind in self.rewinds:
            rewind()
        with held(seed_of(self.seed, "forward")):
            return outputs_of(self.dialect.forward([primals[k] for k in self.names]), self.who)

    def backward(self, *dys: Array) -> dict[str, Array | None]:
        with held(seed_of(self.seed, "backward")):
            dxs, gradients = self.dialect.backward(dys)
        moving = [k for k in self.names if k in self.moving]
        found = {**share_out(dxs, self.names, moving, self.who), **{k: copy.copy(v) for k, v in gradients.items()}}
        return {k: None if found.get(k) is None else np.asarray(found[k]) for k in self.moving}


def share_out(dxs: Any, names: Sequence[str], moving: Sequence[str], who: str) -> Mapping[str, Any]:
    """Which input each returned cotangent belongs to. Errors: AdaptError where their number fits neither all inputs nor the differentiable ones."""
    if isinstance(dxs, Mapping):
        return dxs
    given = list(dxs) if isinstance(dxs, list | tuple) else [dxs]
    for wanted in (names, moving):
        if len(given) == len(wanted):
            return dict(zip(wanted, given, strict=True))
    if all(g is None for g in given):
        return {}
    raise AdaptError(f"{who}: backward returned {len(given)} cotangent{'s' * (len(given) != 1)} for the input{'s' * (len(names) != 1)} {', '.join(names)}")


def outputs_of(y: Any, who: str) -> tuple[Array, ...]:
    """The outputs as a tuple. Errors: AdaptError where forward returned anything but numbers."""
    ys = tuple(np.asarray(v) for v in (y if isinstance(y, list | tuple) else (y,)))
    for v in ys:
        if v.dtype.kind not in "fciub":
            raise AdaptError(f"{who}: forward returned {type(y).__name__} where an array was expected: there is nothing to differentiate")
    return ys


def generic(x: Array, rng: np.random.Generator) -> Array:
    """A parameter in general position: zeros move, the rest changes its size and keeps its sign. All ones, or all zeros, would hide mistakes."""
    z = rng.standard_normal(x.shape)
    return coarse(np.where(x == 0, z / 2, x * np.exp(0.3 * z)))


def switches(layer: Any) -> Iterator[Callable[[bool], Any]]:
    """The ways to say whether the layer trains, of it and of those within it: methods train() and eval(), or an attribute that is True or False."""
    for part in objects(layer):
        to_train, to_eval = getattr(part, "train", None), getattr(part, "eval", None)
        if inspect.ismethod(to_train) and inspect.ismethod(to_eval) and not arguments(to_train) and not arguments(to_eval):
            yield lambda train, on=to_train, off=to_eval: (on if train else off)()       # type: ignore[misc]
        attributes = {k: v for c in reversed(type(part).__mro__) for k, v in vars(c).items()} | getattr(part, "__dict__", {})
        for k, v in attributes.items():
            if isinstance(v, bool) and (on := mode_of(k)) is not None:
                yield lambda train, part=part, k=k, on=on: setattr(part, k, train is on)              # type: ignore[misc]


def mode_of(name: str) -> bool | None:
    """Whether a switch of this name is on while a layer trains, or off: `is_training`, `train_flg`, `test_mode`; None if it is no such switch."""
    return next((on for on, said in MODES.items() if said & {*words(name)}), None)


def words(name: str) -> list[str]:
    return bare(name).lower().split("_")


def ledger_of(subject: Subject, axes: Sequence[str]) -> tuple[Line, ...]:
    """Every array of one forward and one backward with its shape; `axes` names those of each input."""
    tape, named = subject.tape(), dict(zip(subject.inputs, axes, strict=True))
    ys, rng = tape.forward(copied(subject.primals)), subject.rng("ledger")
    dys = [rng.standard_normal(y.shape) for y in ys]
    cotangents = tape.backward(*dys)
    residuals = tape.dialect.residuals() if isinstance(tape, Tape) else {}
    rows = {"input": {k: subject.primals[k] for k in subject.inputs},
            "parameter": {k: v for k, v in subject.primals.items() if k in subject.differentiable and k not in named},
            "buffer": {k: v for k, v in subject.primals.items() if k not in subject.differentiable and k not in named},
            "residual": residuals, "output": dict(enumerated("y", ys)), "upstream": dict(enumerated("dy", dys)),
            "cotangent": {f"d{k}": v for k, v in cotangents.items() if v is not None}}
    return tuple(Line(name=k, role=role, axes=named.get(k, ""), shape=tuple(v.shape), dtype=str(v.dtype))        # type: ignore[arg-type]
                 for role, found in rows.items() for k, v in found.items())


def enumerated(stem: str, arrays: Sequence[Array]) -> Iterator[tuple[str, Array]]:
    """A name for each array: the stem alone where there is one only."""
    return ((stem if len(arrays) == 1 else f"{stem}{i}", a) for i, a in enumerate(arrays))
