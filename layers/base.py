"""A layer is two pure functions, `fwd` and `bwd`, in a thin stateful shell.

A subclass declares its law, its hyperparameters and its arrays, then writes the two functions:

    fwd(p, *xs)     -> y, r       r: the residuals, under their documented names
    bwd(p, r, *dys) -> dxs, d     d: cotangents by name, one for each parameter at least

`p` holds all that `fwd` may read besides its inputs: parameters, buffers, noise and `train`. Where there are several inputs or outputs,
`dxs` and `y` are tuples. An axis in a law is bound by an input's shape, else a hyperparameter, else a method whose arguments are axes.
What forward returns and what it keeps may share memory, as in `Flatten`: read it, do not write into it.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import MISSING, Field, dataclass, field, fields
from inspect import getdoc
from itertools import repeat
from numbers import Integral
from operator import attrgetter, is_
from typing import Any, ClassVar, NamedTuple, Self, dataclass_transform

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from gradcheck.law import Law, Shape, ShapeError, Side, Size, resolve

from .activations import Activation
from .initializers import initializer
from .optimizers import Optimizer, optimizer
from .spec import state, suggest

Array = np.ndarray
Act = str | Activation | None
Axes = Mapping[str, Size]
Rng = np.random.Generator
Out = tuple[Any, "Vars"]             # what fwd and bwd return
Draw = Callable[[Any, Shape, Rng], Array]
METHODS = frozenset(dir(dict))
like = attrgetter("shape", "dtype")


class Vars(dict[str, Any]):
    """A dict whose entries are attributes too: p.W is p["W"]."""
    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:                     # four times faster than to fail first, then __getattr__
        return self[name] if name in self and name not in METHODS else object.__getattribute__(self, name)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no {name!r} among {', '.join(self) or 'nothing'}")

    def __or__(self, other: Mapping[str, Any]) -> Vars:               # type: ignore[override]
        return Vars({**self, **other})


# declarations -------------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Slot:
    """One array that a layer owns: its axes, how it is drawn, how it lives, and which values it may take ("": any real)."""
    axes: str
    draw: Draw
    kind: str                       # "parameter": trained | "buffer": kept, not trained | "noise": new at each forward
    domain: str = ""


drawn: Draw = lambda layer, shape, rng: initializer(layer.init)(shape, rng)
zero: Draw = lambda layer, shape, rng: np.zeros(shape)
one: Draw = lambda layer, shape, rng: np.ones(shape)


def param(axes: str, draw: Draw = drawn) -> Any:
    return Slot(axes, draw, "parameter")


def buffer(axes: str, draw: Draw, domain: str = "") -> Any:
    return Slot(axes, draw, "buffer", domain)


def noise(axes: str, domain: str = "") -> Callable[[Draw], Any]:
    """Decorates the method that draws it."""
    return lambda draw: Slot(axes, draw, "noise", domain)


def hyper(domain: range | list[Any], default: Any = MISSING, valid: Callable[[Any], Any] | None = None) -> Any:
    """A hyperparameter and the values a test may draw for it, simplest first. `valid` raises ValueError or TypeError on a value that
    cannot be; without it a range admits whole numbers from its start on, a list its own kind of thing: names, truth values, numbers.
    """
    kind = whole(domain.start) if isinstance(domain, range) else one_of(domain)
    return field(default=default, metadata={"domain": domain, "valid": valid or kind})


def must(expected: str, holds: Callable[[Any], bool], names: Iterable[Any] = ()) -> Callable[[Any], None]:
    """Admits what holds. Errors: ValueError says what was expected, or for a text which of the `names` is nearest."""
    def valid(v: Any) -> None:
        if not holds(v):
            raise ValueError(suggest("value", v, names) if names and isinstance(v, str) else f"expected {expected}, got {v!r}")
    return valid


def is_whole(v: Any, low: float) -> bool:
    return isinstance(v, Integral) and not isinstance(v, bool) and int(v) >= low


def whole(low: float = -np.inf) -> Callable[[Any], None]:
    """A whole number, `low` or more."""
    return must("a whole number" + (f" from {low} on" if low > -np.inf else ""), lambda v: is_whole(v, low))


def interval(low: float, high: float, closed: bool = False) -> Callable[[Any], None]:
    """A real number, low <= v < high; `closed` admits high too."""
    real = lambda v: isinstance(v, int | float | np.number) and not isinstance(v, bool)
    return must(f"a number in [{low}, {high}{']' if closed else ')'}", lambda v: real(v) and (low <= v < high or (closed and v == high)))


def one_of(choices: list[Any]) -> Callable[[Any], None]:
    return must(f"one of {choices}", lambda v: any(v is c or (type(v) is type(c) and v == c) for c in choices), choices)


VALID: dict[str, Callable[[Any], Any]] = {"init": initializer, "optimizer": optimizer}   # the options that no test varies


class Plan(NamedTuple):
    """The axes, and the dtype of new arrays, that follow from the options and from all arrays' shapes and dtypes: inputs, then parameters."""
    arrays: list[tuple[Shape, np.dtype[Any]]]
    options: tuple[Any, ...]
    axes: dict[str, Size]
    dtype: DTypeLike


class Record(NamedTuple):
    """One retained forward: what it read, what it kept, and each output's shape and dtype."""
    p: Vars
    r: Vars
    ys: list[tuple[Shape, np.dtype[Any]]]


# the layer ----------------------------------------------------------------------------------------------------------------

@dataclass_transform(eq_default=False, field_specifiers=(hyper, field))
class Layer:
    law: ClassVar[Any]
    slots: ClassVar[dict[str, Slot]]
    kinds: ClassVar[dict[str, list[str]]]                             # the slots' names by their kind
    _fields: ClassVar[dict[str, Field[Any]]]                          # the constructor's arguments
    _settings: ClassVar[Callable[[Layer], tuple[Any, ...]]]           # what a plan depends on beside the arrays
    registry: ClassVar[dict[str, type[Layer]]] = {}
    registered: ClassVar[str]                                         # the layer's name there, and in what is saved
    optimizer: Any = field(default=None, kw_only=True)                # the last argument of every layer that does not place it itself
    dtype: ClassVar[DTypeLike | None] = None                          # of new parameters; None: that of the input

    def __init_subclass__(cls) -> None:
        """Make a dataclass of it, which without a docstring has the one it inherits, gather its slots, and enter it into the registry
        unless it is abstract: has no law.
        """
        cls.__doc__ = getdoc(cls)
        if "slots" not in vars(cls):                                  # a layer made of layers tells them by a property
            cls.slots = {k: v for c in reversed(cls.__mro__) for k, v in vars(c).items() if isinstance(v, Slot)}
        if hasattr(cls, "law"):
            known = Layer.registry.get(cls.__name__)                  # somebody's own layer may be called as one of ours
            cls.registered = cls.__name__ if known is None or known.__module__ == cls.__module__ else f"{cls.__module__}.{cls.__name__}"
            Layer.registry[cls.registered] = cls
            if "optimizer" not in cls.__annotations__:
                cls.__annotations__["optimizer"], cls.optimizer = "Any", None
        dataclass(eq=False)(cls)
        cls._fields = {f.name: f for f in fields(cls)}                # type: ignore[arg-type]
        cls._settings = attrgetter("dtype", *cls._fields)
        slots = cls.slots if isinstance(cls.slots, dict) else {}
        cls.kinds = {kind: [k for k, s in slots.items() if s.kind == kind] for kind in ("parameter", "buffer", "noise")}

    def __post_init__(self) -> None:
        for name, f in self._fields.items():
            self._validate(name, f.metadata.get("valid") or VALID.get(name, lambda v: v))
        self.optimizer = optimizer(self.optimizer)
        self.rng = np.random.default_rng()
        self.trainable, self.training = True, True
        self.parameters, self.accrued = Vars(), Vars()                # parameters: all that persists, buffers included
        self._last: Plan | None = None                                # that of the last forward
        self.tape: list[Record] = []

    def _validate(self, name: str, valid: Callable[[Any], Any]) -> Any:
        try:
            return valid(getattr(self, name))
        except (ValueError, TypeError) as e:
            raise type(e)(f"{type(self).__name__}: {name}={getattr(self, name)!r}: {e}") from None

    # the law ----------------------------------------------------------------------------------------------------------

    def bind(self, *shapes: Shape) -> dict[str, Size]:
        """The size of every input axis. Errors: ShapeError if the shapes do not fit the law, or an axis its hyperparameter."""
        axes = Law.parse(self.law).bind(shapes, type(self).__name__)
        for axis in axes.keys() & self._fields.keys():
            if axes[axis] != getattr(self, axis):
                raise ShapeError(f"{type(self).__name__} has {axis}={getattr(self, axis)}, got {axis}={axes[axis]} in {shapes}")
        return axes

    def shape(self, text: str | Side, axes: Axes) -> Shape:
        """The sizes of the axes named in `text`."""
        side = Side.parse(text) if isinstance(text, str) else text
        return side.shape(lambda axis: resolve(axis, axes, self))

    def out_shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        """The shapes of the outputs. Errors: ShapeError if an axis other than the batch's would be empty."""
        axes, law = self.bind(*shapes), Law.parse(self.law)
        try:
            sizes = {name: resolve(name, axes, self) for side in law.inputs + (law.outputs or ()) for name in side.names}
            if empty := [name for name, n in sizes.items() if n == 0 and name != "n"]:
                raise ShapeError(f"{' and '.join(empty)} would be 0")
        except ShapeError as e:
            raise ShapeError(f"{type(self).__name__} cannot map shape {' and '.join(map(str, shapes))}: {e}") from None
        return tuple(self.shape(side, axes) for side in law.outputs or ())

    def draw(self, kind: str, rng: Rng, axes: Axes, dtype: DTypeLike = np.float64) -> Vars:
        """An array for every slot of that kind."""
        return Vars({k: self._draw(k, rng, axes, dtype) for k, s in self.slots.items() if s.kind == kind})

    def _draw(self, name: str, rng: Rng, axes: Axes, dtype: DTypeLike) -> Array:
        a = self.slots[name].draw(self, self.shape(self.slots[name].axes, axes), rng)
        return a.astype(dtype, copy=False) if a.dtype.kind == "f" else a

    def sample(self, rng: Rng, i: int, shape: Shape) -> Array:
        """An admissible i-th input: of the law's domain, off its bounds, where the law states one."""
        domain = Law.parse(self.law).sides(i + 1)[i].domain
        return rng.standard_normal(shape) if domain.anything else rng.uniform(domain.low + 0.05, min(domain.high, domain.low + 1) - 0.05, shape)

    # the two pure functions -------------------------------------------------------------------------------------------

    def fwd(self, p: Vars, *xs: Any, **_: Any) -> Out:
        raise NotImplementedError

    def bwd(self, p: Vars, r: Vars, *dys: Any, **_: Any) -> Out:
        raise NotImplementedError

    # what the shell asks of a layer; override where the answer differs ---------------------------------------------------

    def admit(self, x: ArrayLike) -> Array:
        """An input as an array of floating numbers. Errors: TypeError for anything but real numbers."""
        return x if type(x) is Array and x.dtype.kind == "f" else _real(x, f"{type(self).__name__} takes real numbers")

    def chance(self, p: Vars, axes: Axes, dtype: DTypeLike, *xs: Any, **given: Any) -> Vars:
        """The noise of one forward, which may depend on what it reads; `given` are forward's own keywords."""
        return self.draw("noise", self.rng, axes, dtype)

    def learning(self, retain: bool) -> bool:
        """Whether one forward behaves as in training: p.train."""
        return self.training

    # the shell ------------------------------------------------------------------------------------------------------------

    def forward(self, *X: Any, retain_derived: bool = True) -> Any:
        """The output, retained for `backward` unless `retain_derived` is False. Errors leave the layer as it was: TypeError for what is
        not real numbers, ShapeError (a ValueError) for what does not fit the law or the parameters.
        """
        return self._run(X, retain_derived)

    def _run(self, X: tuple[Any, ...], retain: bool, **given: Any) -> Any:
        one_list = len(X) == 1 and isinstance(X[0], (list, tuple)) and Law.parse(self.law).many
        xs = tuple(map(self.admit, X[0] if one_list else X))
        plan, parameters = self._prepare(*xs)
        p = Vars({**parameters, "train": self.learning(retain)})
        if self.kinds["noise"]:
            p.update(self.chance(p, plan.axes, plan.dtype, *xs, **given))
        y, r = self.fwd(p, *xs)
        self._last, self.parameters = plan, parameters
        if retain:
            if self.kinds["buffer"] and p.train:
                self.parameters = parameters | {k: r[k] for k in self.kinds["buffer"] if k in r}
            self.tape.append(Record(p, r, [*map(like, _several(y))]))
        return y

    def _prepare(self, *xs: Array) -> tuple[Plan, Vars]:
        """The plan, that of the last forward if arrays and options are alike, and the parameters. Errors: ShapeError if the inputs fit
        neither the law nor the parameters.
        """
        options, last, present = type(self)._settings(self), self._last, self.parameters
        if last and last.arrays == [*map(like, (*xs, *dict.values(present)))] and all(map(is_, last.options, options)):
            return last, present
        shapes = [x.shape for x in xs]
        self.out_shapes(*shapes)
        axes = self.bind(*shapes)
        dtype = self.dtype or np.result_type(*[x.dtype for x in xs if x.dtype.kind == "f"] or [np.dtype(float)])
        parameters = self._complete(axes, dtype)
        return Plan([*map(like, (*xs, *parameters.values()))], options, axes, dtype), parameters

    def _complete(self, axes: Axes, dtype: DTypeLike) -> Vars:
        """The parameters, with those that do not exist yet drawn. Errors: ShapeError if the present ones are of other axes."""
        present, own = self.parameters, {k: s.axes for k, s in self.slots.items() if s.kind != "noise"}
        for name, a in present.items():
            if a.shape != (shape := self.shape(own[name], axes)):
                raise ShapeError(f"{type(self).__name__} has {name} ({own[name]}) of shape {a.shape}, this input needs {shape}")
        return Vars({k: present[k] if k in present else self._draw(k, self.rng, axes, dtype) for k in own})

    def backward(self, dLdY: Any, retain_grads: bool = True) -> Any:
        """The cotangent of the input (a tuple if there are several); those of the parameters are added to `gradients` if `retain_grads`.

        After several retained forwards `dLdY` is the list of their upstreams, and so is what returns. Errors: ValueError without a
        retained forward, or if an upstream has not its output's shape; TypeError if it is not real.
        """
        given = dLdY if isinstance(dLdY, list) else [dLdY]
        if not self.tape or len(self.tape) != len(given):
            raise ValueError(f"{type(self).__name__}.backward got {len(given)} upstreams for {len(self.tape)} retained forwards")
        upstreams = [*map(self._upstream, self.tape, given)]
        dxs = [*map(self._pull, self.tape, upstreams, repeat(retain_grads))]
        return dxs[0] if len(dxs) == 1 else tuple(map(list, zip(*dxs, strict=True))) if isinstance(dxs[0], tuple) else dxs

    def _upstream(self, record: Record, dy: Any) -> list[Array]:
        if type(dy) is Array and record.ys == [like(dy)]:             # as nearly always
            return [dy]
        dys = [_real(a, f"{type(self).__name__}.backward takes real numbers") for a in _several(dy)]
        if [a.shape for a in dys] != [shape for shape, _ in record.ys]:
            raise ShapeError(f"{type(self).__name__}.backward: the upstream has shape {' and '.join(str(a.shape) for a in dys)}, "
                             f"the output {' and '.join(str(shape) for shape, _ in record.ys)}")
        return [a.astype(dtype) for a, (_, dtype) in zip(dys, record.ys, strict=True)]

    def _pull(self, record: Record, dys: list[Array], retain_grads: bool) -> Any:
        dx, d = self.bwd(record.p, record.r, *dys)
        if retain_grads and self.trainable:
            accrued = self.accrued
            accrued.update({k: accrued[k] + d[k] if k in accrued else d[k] for k in self.kinds["parameter"]})
        return list(dx) if isinstance(dx, tuple) and Law.parse(self.law).many else dx

    @property
    def gradients(self) -> Vars:
        """What has accrued for each parameter that is trained; zeros at first."""
        return Vars({k: self.accrued[k] if k in self.accrued else np.zeros_like(v) for k, v in self.parameters.items() if self.slots[k].kind == "parameter"})

    @gradients.setter
    def gradients(self, new: Mapping[str, Array]) -> None:
        self.accrued = Vars(new)

    def update(self, cur_loss: float | None = None) -> None:
        """One optimizer step with the accrued gradients, unless frozen; then flush. `cur_loss` is for schedules that follow it."""
        if self.trainable and self.parameters:
            self.parameters = self.parameters | self.optimizer.update(self.parameters, self.gradients, cur_loss)
        self.flush_gradients()

    def flush_gradients(self) -> None:
        """Forget the retained forwards and the accrued gradients."""
        self.tape, self.accrued = [], Vars()

    def freeze(self) -> None:
        """Keep the parameters as they are; cotangents still pass through."""
        self._set(trainable=False)

    def unfreeze(self) -> None:
        self._set(trainable=True)

    def train(self, mode: bool = True) -> Self:
        self._set(training=mode)
        return self

    def eval(self) -> Self:
        return self.train(False)

    def _set(self, **flags: bool) -> None:
        vars(self).update(flags)
        for child in self.children():
            child._set(**flags)

    def children(self) -> Iterator[Layer]:
        """The layers that this one is made of."""
        return (v for v in vars(self).values() if isinstance(v, Layer))

    # what it tells of itself ------------------------------------------------------------------------------------------------

    @property
    def derived_variables(self) -> Vars:
        """The residuals by name, a list with an entry for each retained forward."""
        return Vars({k: [record.r[k] for record in self.tape] for k in (self.tape[0].r if self.tape else ())})

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Every constructor argument in a form that `set_params` reads back, the optimizer with its memory."""
        values = {name: getattr(self, name) for name in self._fields}
        return {"layer": self.registered} | {k: state(v) if isinstance(v, Optimizer) else str(v) if isinstance(v, Activation) else v
                                                 for k, v in values.items()}

    def summary(self) -> dict[str, Any]:
        """A copy of all that makes this layer: `set_params` reads it back."""
        return deepcopy({"layer": self.registered, "parameters": dict(self.parameters), "hyperparameters": self.hyperparameters})

    def set_params(self, summary_dict: Mapping[str, Any]) -> Self:
        """Take over parameters and hyperparameters, nested as in `summary()` or flat; what is lacking stays. Returns the layer.

        Errors: ValueError for an unknown name or an inadmissible value, TypeError for what is no dict; nothing has changed then.
        """
        if not isinstance(summary_dict, Mapping):
            raise TypeError(f"{type(self).__name__}.set_params takes a dict as summary() gives it, got {type(summary_dict).__name__}")
        given = {**summary_dict, **summary_dict.get("parameters", {}), **summary_dict.get("hyperparameters", {})}
        given = {k: v for k, v in given.items() if k not in ("layer", "parameters", "hyperparameters")}
        persist = [k for k, s in self.slots.items() if s.kind != "noise"]
        if unknown := given.keys() - self._fields.keys() - {*persist}:
            raise ValueError(f"{type(self).__name__}: {suggest('name', min(unknown), [*sorted(self._fields), *persist])}")
        twin = type(self)(**{k: given.get(k, v) for k, v in self.hyperparameters.items() if k in self._fields})   # refuses
        wanted = f"a parameter of {type(self).__name__} holds real numbers"
        self._adopt(twin, Vars({k: _real(given[k], wanted).copy() for k in persist if k in given}))
        return self

    def _adopt(self, twin: Self, arrays: Vars) -> None:
        """Become like `twin`, but for the arrays not given."""
        vars(self).update({k: v for k, v in vars(twin).items() if k in self._fields or isinstance(v, Layer)})
        self.accrued = Vars({k: g for k, g in self.accrued.items() if k not in arrays})
        self.parameters = self.parameters | arrays


def _several(y: Any) -> tuple[Any, ...]:
    return y if isinstance(y, tuple) else (y,)


def numbers(x: ArrayLike, kinds: str, wanted: str) -> Array:
    """`x` as an array whose dtype is of one of these kinds. Errors: TypeError says what is wanted and what came."""
    if type(x) is np.ndarray and x.dtype.kind in kinds:
        return x
    try:
        a = np.asarray(x)
    except ValueError:
        raise TypeError(f"{wanted}, got a ragged {type(x).__name__}") from None
    a = a if a.size else a.astype(a.dtype if a.dtype.kind in kinds else kinds[0])
    if a.dtype.kind not in kinds:
        raise TypeError(f"{wanted}, got {type(x).__name__} of {a.dtype}")
    return a


def _real(x: ArrayLike, wanted: str) -> Array:
    a = numbers(x, "fiub", wanted)
    return a if a.dtype.kind == "f" else a.astype(float)
