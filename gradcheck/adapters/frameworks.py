"""What torch, JAX and autograd have in common: functions of arrays whose pullback the framework derives, or is told.

A framework is a `Traced` family. It is asked for nothing until it is loaded: nobody can hold an object of a package that
was not imported. Of a bare function no type tells whose arrays it takes; then the arrays given say it, or a trial, or
`framework=`.
"""
from __future__ import annotations

import inspect
import sys
import types
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from ..evidence import Point
from ..subjects import Array, Arrays, Facts, Subject, Tape, copied, seed_of
from . import ADAPTERS, AdaptError, trees
from .code import arguments, construction, importable, lambda_of, literal, signature_of, source_of
from .foreign import Foreign, Params, ledger_of
from .inputs import is_strategy
from .noise import held

Call = Callable[[Sequence[Any], Mapping[str, Any]], Any]         # (arguments, own arrays by name) -> what the layer returns
FRAMEWORKS: dict[str, type[Traced]] = {}
ROOM = 16                 # the size of every axis at a second trial of a function that refuses small ones
FEWER = 8                 # primals, of which each in turn is asked for no gradient
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class Itself:
    """A factory of what is there already: a function, with the options as its keywords."""
    function: Callable[..., Any]

    def __call__(self, **options: Any) -> Callable[..., Any]:
        return partial(self.function, **options) if options else self.function


@dataclass(frozen=True)
class Run:
    """A function at one point: `call(arguments, own)` gives its outputs, nested as they come."""
    call: Call
    arrange: Callable[[Sequence[Any]], Sequence[Any]]            # the inputs, flat -> the arguments, nested
    names: tuple[str, ...]                                       # of the inputs, flat
    moving: tuple[str, ...]                                      # the primals that have cotangents
    who: str
    seed: int
    dtype: str

    def widened(self, primals: Mapping[str, Any]) -> bool:
        """Whether real primals come in another precision than the point's own: then noise may be drawn otherwise."""
        return any(x.dtype.kind == "f" and x.dtype != self.dtype for x in primals.values())

    def own(self, primals: Arrays) -> dict[str, Array]:
        """The primals in the point's own precision."""
        return {k: x.astype(self.dtype) if x.dtype.kind == "f" else np.copy(x) for k, x in primals.items()}


class OtherNoise(ValueError):
    """In another precision the function draws other noise: it is another function there."""


class Traced(Foreign):
    """A family of functions, or layers, of a framework's arrays, given as shapes, as NumPy arrays or as the framework's own."""
    framework: ClassVar[str]
    inputless = True
    notes: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        if name := vars(cls).get("framework"):
            FRAMEWORKS[name], cls.adapter = cls, name

    def __init__(self, factory: Callable[..., Any], inputs: Sequence[Any], *, options: Mapping[str, Any] | None = None,
                 params: Params = None, name: str = "") -> None:
        paths, flat, self.rebuilt = self.flattened(tuple(inputs))
        self.paths, self.arguments = paths, tuple(inputs)
        super().__init__(factory, [x if isinstance(x, str) or is_strategy(x) else self.array(x) for x in flat], options=options, params=params, name=name)
        if not inputs and any(p.default is p.empty for p in self.takes(self.specimen)):
            raise AdaptError(f'{self.name} takes arrays: say the shape of each ("n d", "n t int[0,10)"), or give arrays')

    @classmethod
    def loaded(cls) -> Any:
        """The framework's package; None as long as nobody imported it."""
        return sys.modules.get(cls.framework)

    @classmethod
    @abstractmethod
    def owns(cls, x: object) -> bool:
        """Whether `x` is an array of the framework's."""

    @classmethod
    @abstractmethod
    def is_function(cls, function: object) -> bool:
        """Whether its type shows that it is a function of the framework's arrays."""

    @classmethod
    @abstractmethod
    def traces(cls, function: Callable[..., Any], arguments: Sequence[Any]) -> str:
        """"" if the framework can follow the function at these NumPy arrays, else why not. Errors: whatever the function raises."""

    @abstractmethod
    def tape(self, run: Run, asked: Sequence[str]) -> Tape:
        """A fresh tape, which gives the cotangents of `asked`."""

    @abstractmethod
    def twice(self, run: Run) -> Tape:
        """A fresh tape of the pullback: primals and upstreams `dy`, `dy1`, … -> the cotangents of `moving`, and back."""

    def array(self, x: Any) -> Array:
        """What was given as NumPy has it."""
        return np.asarray(x)

    @classmethod
    def flattened(cls, tree: Any) -> tuple[list[str], list[Any], Callable[[Sequence[Any]], Any]]:
        """The paths and leaves of a tree, and the way back from other leaves."""
        pairs = list(trees.leaves(tree))
        return [p for p, _ in pairs], [x for _, x in pairs], lambda new: trees.rebuilt(tree, iter(new))

    def takes(self, layer: Any) -> Sequence[inspect.Parameter]:
        """The positional arguments, in order, that the inputs may fill; none where nobody says."""
        return positional(self.plain(layer))

    @classmethod
    def plain(cls, function: Any) -> Any:
        """The function as a person wrote it, behind what wraps it."""
        while isinstance(function, partial):
            function = function.func
        return inspect.unwrap(function) if callable(function) else function

    def ran(self, layer: Any, point: Point, xs: Sequence[Array]) -> tuple[Call, Arrays, tuple[str, ...]]:
        """How the layer is called, its own arrays by name in general position, and which of them have gradients."""
        return lambda args, own: layer(*args), {}, ()

    @cached_property
    def equation(self) -> str:
        return inspect.cleandoc(getattr(self.plain(self.specimen), "__doc__", None) or "").partition("\n\n")[0]

    @property
    def source(self) -> str:
        return source_of(self.plain(self.specimen))

    @cached_property
    def modes(self) -> tuple[bool, ...]:
        return (True,)

    def prepared(self, point: Point, xs: Sequence[Array]) -> tuple[Run, Arrays]:
        """The function at a point, and its primals."""
        layer = self.construct(point)
        call, own, trained = self.ran(layer, point, xs)
        names = self.named(layer, len(xs), own)
        chosen = tuple(k for k in trained if own[k].size and (self.params is None or k in self.params))
        primals = {**dict(zip(names, xs, strict=True)), **own}
        moving = (*(k for k in names if primals[k].dtype.kind in "fc"), *chosen)
        return Run(call, self.arrange, names, moving, self.name, point.seed, point.dtype), primals

    def arrange(self, xs: Sequence[Any]) -> Sequence[Any]:
        """The inputs as arguments, nested as they were given; any number alike as one list where there is one argument, else spread."""
        if self.inputs.law is None or not self.inputs.law.many:
            return self.rebuilt(xs)                              # type: ignore[no-any-return]
        return [list(xs)] if len(self.takes(self.specimen)) == 1 else list(xs)

    def named(self, layer: Any, count: int, own: Mapping[str, Any]) -> tuple[str, ...]:
        """A name for each input: its argument's, with its path where that is nested; x0, x1, … where they would be ambiguous."""
        takes = [p.name for p in self.takes(layer)]
        heads = [p.partition(".") for p in self.paths]
        if len(self.paths) == count and len(takes) >= len(self.arguments):
            found = tuple(f"{takes[int(head)]}{dot}{rest}" for head, dot, rest in heads)
            if not set(found) & own.keys():
                return found
        return tuple(f"x{i}" for i in range(count))

    def refusal(self, options: Mapping[str, Any], shapes: Sequence[Any]) -> Exception | None:
        xs = self.inputs.fill(shapes)
        try:
            with held(0), np.errstate(all="ignore"):
                self.tried(*self.prepared(Point(options=dict(options)), xs))
        except AdaptError:
            raise
        except Exception as e:
            return e
        return None

    def tried(self, run: Run, primals: Arrays) -> None:
        """A trial run. Errors: whatever the function raises."""
        self.tape(run, ()).forward(copied(primals))

    def build(self, point: Point) -> Subject:
        xs = self.inputs.draw(point)
        run, primals = self.prepared(point, xs)
        rest = {k: tuple(m for m in run.moving if m != k) for k in run.moving[:FEWER]} if len(run.moving) > 1 else {}
        fewer = {f"no gradient of {k}": partial(self.tape, run, others) for k, others in rest.items()}
        made = Subject(self.name, primals, run.moving, lambda: self.tape(run, run.moving), point, Facts(notes=self.notes), run.names,
                       self.law(point.options), rebuild=self.build, source=self.source, fewer=fewer)
        return replace(made, double=self.double(made, run), ledger=lambda: ledger_of(made, self.inputs.axes(len(xs))))

    def double(self, made: Subject, run: Run) -> Callable[[], Tape] | None:
        """The double backward, where the framework can tell one from a function that is not twice differentiable."""
        try:
            with np.errstate(all="ignore"):
                dys = dict(upstreams(map(np.ones_like, made.tape().forward(copied(made.primals)))))
                tape = self.twice(run)
                tape.backward(*map(np.ones_like, tape.forward({**copied(made.primals), **dys})))
        except Exception:                                        # in the words of its own: once differentiable
            return None
        return lambda: self.twice(run)

    def code(self, point: Point) -> str:
        xs = self.inputs.draw(point)
        names = tuple(n.replace(".", "_") for n in self.prepared(point, xs)[0].names)
        given = ", ".join(trees.written(a, it) for it in [iter(names)] for a in self.arrange(names))
        options = self.options.values(point.options, self.name)
        return "\n".join(["import numpy as np", *self.imports, *self.built(options),
                          *(f"{n} = {self.shown(x)}" for n, x in zip(names, xs, strict=True)), *self.script(given, names, options)])

    imports: ClassVar[tuple[str, ...]]

    def built(self, options: Mapping[str, Any]) -> list[str]:
        """The lines that make `layer`: a construction, or the function's own name."""
        if not isinstance(self.factory, Itself):
            return construction(self.factory, options)
        function, keywords = self.plain(self.factory.function), ", ".join(f"{k}={v!r}" for k, v in options.items())
        name = getattr(function, "__qualname__", "")
        text = lambda_of(function) or name or "function"
        found = name.isidentifier() and importable(function)
        lines = ["import functools"] * bool(keywords)
        lines += [f"from {function.__module__} import {name}"] if found else [f"# names as in {source_of(function) or 'the file of cases'}"]
        return [*lines, f"layer = {f'functools.partial({text}, {keywords})' if keywords else text}"]

    def shown(self, x: Array) -> str:
        """An array as code."""
        return literal(x)

    @abstractmethod
    def script(self, given: str, names: Sequence[str], options: Mapping[str, Any]) -> Sequence[str]:
        """The lines that call `layer` with the arguments `given`, made of `names`, and pull an upstream back."""


class Functional(Traced):
    """A framework whose pullback is a function like any other: its pullback in turn is the double backward."""

    @abstractmethod
    def vjp(self, call: Callable[..., list[Any]], xs: Sequence[Any]) -> tuple[list[Any], Callable[[Sequence[Any]], list[Any]]]:
        """The outputs of `call(*xs)`, and upstreams -> cotangents, None where the framework finds no way to an input.

        ⟨d, v⟩ is the real inner product Re Σ conj(d) v, of which a complex cotangent is the conjugate of a transpose.
        """

    @abstractmethod
    def outputs(self, y: Any) -> list[Any]:
        """The leaves of what a function returned that are real or complex."""

    def scope(self, arrays: Iterable[Array]) -> AbstractContextManager[Any]:
        """Within which these arrays keep their dtypes."""
        return nullcontext()

    def tape(self, run: Run, asked: Sequence[str]) -> Tape:
        return FunctionalTape(self, run, asked, self.first)

    def twice(self, run: Run) -> Tape:
        return FunctionalTape(self, run, run.moving, self.second)

    def first(self, run: Run, primals: Mapping[str, Any]) -> list[Any]:
        """The outputs at the primals. Errors: AdaptError where none is real or complex."""
        y = run.call(run.arrange([primals[k] for k in run.names]), {})
        if not (found := self.outputs(y)):
            raise AdaptError(f"{run.who} returned {type(y).__name__} where an array was expected: there is nothing to differentiate")
        return found

    def second(self, run: Run, primals: Mapping[str, Any]) -> list[Any]:
        """The cotangents at the primals and at the upstreams among them."""
        _, pull = self.vjp(lambda *xs: self.first(run, {**primals, **dict(zip(run.moving, xs, strict=True))}), [primals[k] for k in run.moving])
        return [np.zeros(np.shape(primals[k])) if d is None else d for k, d in
                zip(run.moving, pull([dy for k, dy in upstreams_among(primals, run)]), strict=True)]


class FunctionalTape:
    """One call of `what(run, primals)`, and its pullback."""

    def __init__(self, framework: Functional, run: Run, asked: Sequence[str], what: Callable[[Run, Mapping[str, Any]], list[Any]]) -> None:
        self.framework, self.run, self.asked, self.what = framework, run, tuple(asked), what

    def forward(self, primals: Arrays) -> tuple[Array, ...]:
        self.primals = primals
        self.moving = [*self.asked, *(k for k, _ in upstreams_among(primals, self.run))]
        with self.framework.scope(primals.values()), held(seed_of(self.run.seed, "forward")):
            ys, self.pull = self.framework.vjp(self.called, [primals[k] for k in self.moving])
            return tuple(map(np.asarray, ys))

    def backward(self, *dys: Array) -> dict[str, Array | None]:
        with self.framework.scope((*self.primals.values(), *dys)), held(seed_of(self.run.seed, "forward")):
            found = self.pull(dys)
        return {k: np.zeros_like(self.primals[k]) if d is None else np.asarray(d) for k, d in zip(self.moving, found, strict=True)}

    def called(self, *xs: Any) -> list[Any]:
        return self.what(self.run, {**self.primals, **dict(zip(self.moving, xs, strict=True))})


def upstreams_among(primals: Mapping[str, Any], run: Run) -> list[tuple[str, Any]]:
    """The upstreams that stand beside the primals in double backward."""
    return [(k, primals[k]) for k, _ in upstreams(primals) if k in primals and k not in run.names]


def positional(function: Any) -> list[inspect.Parameter]:
    """The arguments of a function that need no keyword."""
    return [p for p in signature_of(function).values() if p.kind in POSITIONAL]


def upstreams(dys: Any) -> Iterator[tuple[str, Array]]:
    """Each upstream under the name that double backward knows it by."""
    return ((f"dy{i}" if i else "dy", dy) for i, dy in enumerate(dys))


def is_itself(target: Any, options: Mapping[str, Any] | None = None, framework: str | None = None) -> bool:
    """Whether it is to be differentiated itself, and does not build what is: its type says so, or it needs more than the options.

    A layer object of any protocol is neither, nor is a class.
    """
    known = [f for f in FRAMEWORKS.values() if f.loaded()]
    if any(f.is_function(target) for f in known):
        return True
    if not known or isinstance(target, type) or not callable(target) or any(recognises(target) for recognises, _ in ADAPTERS):
        return False
    spread = framework and any(p.kind is p.VAR_POSITIONAL for p in signature_of(target).values())
    return bool(spread or inspect.isbuiltin(Traced.plain(target)) or set(arguments(target)) - set(options or {}))


def concern(function: types.FunctionType) -> bool:
    """Whether a function was written where a framework was imported."""
    modules = (v.__name__ for v in function.__globals__.values() if isinstance(v, types.ModuleType))
    return any(m.partition(".")[0] in FRAMEWORKS for m in modules)


def family_of(function: Any, inputs: Sequence[Any], framework: str | None) -> type[Traced] | None:
    """The framework whose arrays a function takes: the one named, its own type's, that of arrays given, or the one that can follow it.

    None where it is no function. Errors: AdaptError where none can, or several.
    """
    if framework is not None:
        return _called(framework) if callable(function) else None
    known = [f for f in FRAMEWORKS.values() if f.loaded()]
    sure = [f for f in known if f.is_function(function) or any(f.owns(x) for x in f.flattened(tuple(inputs))[1])]
    if sure or not callable(function) or isinstance(function, type):
        return sure[0] if sure else None
    said = {f: _tried(f, function, inputs) for f in known}
    able = [f for f, why in said.items() if not why]
    if len(able) == 1:
        return able[0]
    who = getattr(function, "__name__", None) or type(function).__name__
    if able:
        raise AdaptError(f"{who} can be followed by {' and '.join(f.framework for f in able)}: say which is meant, framework={able[0].framework!r}")
    if said:
        raise AdaptError(f"{who} is no layer and builds none; as a function of arrays, " + "; ".join(f"{f.framework}: {why}" for f, why in said.items())
                         + f". Say whose arrays it takes, framework={known[0].framework!r}, or give it arrays that it takes")
    return None


def _called(framework: str) -> type[Traced]:
    if framework not in FRAMEWORKS:
        raise AdaptError(f"the frameworks are {', '.join(FRAMEWORKS)}, got {framework!r}")
    try:
        import_module(framework)
    except ImportError as e:
        raise AdaptError(f"{framework} cannot be imported here: {e}") from e
    return FRAMEWORKS[framework]


def _tried(family: type[Traced], function: Callable[..., Any], inputs: Sequence[Any]) -> str:
    """Why the framework cannot follow the function at small sizes, nor at larger ones; "" if it can."""
    why = ""
    for size in (None, ROOM):
        trial = family(Itself(function), inputs)
        law = trial.inputs.law
        sizes = {a: () if a == "*" else size for a in law.axes} if law and size else {}
        try:
            with held(0), np.errstate(all="ignore"):
                why = family.traces(function, trial.arrange(trial.inputs.draw(Point(sizes=sizes))))      # type: ignore[arg-type]
        except Exception as e:
            why = f"{type(e).__name__}: {str(e).partition(chr(10))[0]}"
        if not why:
            return ""
    return why
