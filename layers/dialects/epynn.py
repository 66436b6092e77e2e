"""EpyNN's spelling: six methods a layer, and dictionaries of dimensions, shapes, parameters, caches and gradients.

Sequences are (m, s, e): samples, steps, elements; images have their channels last. Gradients are sums over the samples.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from .. import base, conv, dense, elementwise, pool, recurrent
from ..activations import ROWS, Activation, Rules
from ..activations import activation as named_activation
from ..data import batches, one_hot, scale, split
from ..initializers import INITIALIZERS
from ..losses import loss as named_loss
from ..losses import metric as named_metric
from ..model import evaluating
from ..schedules import Cyclic
from . import View

Array = np.ndarray
Arrays = dict[str, Array]
Function = Callable[..., Array]

HPARS: dict[str, Any] = {"learning_rate": 0.1, "schedule": "steady", "decay_k": 0, "cycle_epochs": 0, "cycle_descent": 0,
                         "ELU_alpha": 1, "LRELU_alpha": 0.3, "softmax_temperature": 1}
TUNED = {"elu": ("alpha", "ELU_alpha"), "lrelu": ("alpha", "LRELU_alpha"), "softmax": ("temperature", "softmax_temperature")}
MAX_NORM = 0.25                                                      # of all gradients of a layer together, where they are clipped


# functions ----------------------------------------------------------------------------------------------------------------

def _activate(name: str, row: str) -> Function:
    def activate(x: ArrayLike, deriv: bool = False) -> Array:
        f, z = named_activation(row), np.asarray(x, float)
        if not deriv:
            return f(z)
        if f.rules.grad is not None:
            return f.grad(z)
        units = np.eye(z.shape[-1])                                  # the entries of a line depend on each other: one Jacobian a line
        return np.stack([f.pull(np.broadcast_to(unit, z.shape), z, f(z)) for unit in units], axis=-2)

    activate.__name__, activate.__doc__ = name, f"{row} of x, or its derivative there (of softmax the Jacobian of each line)."
    return activate


_NAMES = {"identity": "identity", "relu": "relu", "lrelu": "leaky relu", "elu": "elu", "sigmoid": "sigmoid", "tanh": "tanh", "softmax": "softmax"}
identity, relu, lrelu, elu, sigmoid, tanh, softmax = _OURS = tuple(_activate(name, row) for name, row in _NAMES.items())


@dataclass(frozen=True)
class Own(Activation):
    """A function of the caller's: fn(x) and fn(x, deriv=True), elementwise."""
    fn: Function = np.positive

    @property
    def rules(self) -> Rules:                                        # type: ignore[override]
        return Rules(self.fn, lambda z, a: self.fn(z, deriv=True), None)

    __reduce__ = object.__reduce__


def xavier(shape: Sequence[int], rng: np.random.Generator | None = None) -> Array:
    """Normal, with the standard deviation √(2 / Σ shape)."""
    return (rng or np.random.default_rng()).standard_normal(shape) * np.sqrt(2 / sum(shape))


def orthogonal(shape: Sequence[int], rng: np.random.Generator | None = None) -> Array:
    """Orthonormal rows or columns, whichever are fewer."""
    return INITIALIZERS["orthogonal"](tuple(shape), rng or np.random.default_rng())


def _loss(name: str) -> Function:
    def loss(Y: ArrayLike, A: ArrayLike, deriv: bool = False) -> Array:
        row, y = named_loss(name), np.asarray(A, float)
        return len(y) * row.cotangent(Y, y) if deriv else row.samples(Y, y)

    loss.__name__, loss.__doc__ = name.upper(), "One value for each sample, or the derivative in A of their sum."
    return loss


LOSSES = {name: _loss(name.lower()) for name in ("MSE", "MAE", "MSLE", "CCE", "BCE")}
MSE, MAE, MSLE, CCE, BCE = LOSSES.values()


# layers -------------------------------------------------------------------------------------------------------------------

class Layer:
    """What every layer has. A class with the six methods of `Template` is a layer of a network.

    d dimensions; fs, bs shapes ahead and back; p parameters; fc, bc what was computed ahead and back; g gradients; o other scalars.
    `se_hPars` overrides the network's hyperparameters, key by key; no dictionary of the caller's is written to.
    """
    trainable = True

    def __init__(self, se_hPars: Mapping[str, Any] | None = None) -> None:
        self.d, self.o = dict[str, int](), dict[str, int]()
        self.fs, self.bs = dict[str, tuple[int, ...]](), dict[str, tuple[int, ...]]()
        self.p, self.fc, self.bc, self.g = Arrays(), Arrays(), Arrays(), Arrays()
        self.activation: dict[str, str] = {}
        self.inherited: Mapping[str, Any] | None = None              # the network's, once it has them
        self.se_hPars = se_hPars
        self.e, self.lrate, self.training = 0, list[float](), True
        self.np_rng = np.random.default_rng()

    @property
    def se_hPars(self) -> dict[str, Any] | None:
        return None if self.inherited is None and self._own is None else {**(self.inherited or {}), **(self._own or {})}

    @se_hPars.setter
    def se_hPars(self, own: Mapping[str, Any] | None) -> None:
        self._own = own

    @property
    def hPars(self) -> dict[str, Any]:
        """All hyperparameters, with the defaults where nobody has said anything."""
        return {**HPARS, **(self.se_hPars or {})}

    def schedule(self, epochs: int) -> None:
        """Fill `lrate`, the learning rate of each epoch."""
        h = self.hPars
        rule = Cyclic(h["schedule"], h["learning_rate"], h["decay_k"], h["cycle_epochs"], h["cycle_descent"], epochs)
        self.lrate = [rule.rate(e) for e in range(epochs)]

    def update_shapes(self, cache: Mapping[str, Array], shapes: dict[str, tuple[int, ...]]) -> None:
        shapes.update({k: np.shape(v) for k, v in cache.items()})

    def children(self) -> tuple[()]:
        return ()


class Template(Layer):
    """Passes through, ahead and back."""

    def compute_shapes(self, A: Array) -> None:
        self.fs["X"] = A.shape
        self.d.update(m=A.shape[0], n=int(np.prod(A.shape[1:])))

    def initialize_parameters(self) -> None:
        """Draw what is in `p`: nothing here."""

    def forward(self, A: Any) -> Array:
        A = np.asarray(A)
        self.compute_shapes(A)
        self.fc = {"X": A, "A": A}
        self.update_shapes(self.fc, self.fs)
        return A

    def backward(self, dX: Any) -> Array | None:
        if np.shape(dX) != self.fs.get("A"):
            raise ValueError(f"{type(self).__name__}.backward: the upstream has shape {np.shape(dX)}, the output {self.fs.get('A')}")
        self.bc = {"dA": dX, "dX": dX}
        self.update_shapes(self.bc, self.bs)
        return dX                                                    # type: ignore[no-any-return]

    def compute_gradients(self) -> None:
        """Fill `g` from the last backward: with nothing here."""

    def update_parameters(self) -> None:
        """p ← p − rate of the epoch · g, if `trainable`."""
        if self.trainable and not self.lrate:
            self.schedule(self.e + 1)
        for k, g in self.g.items() if self.trainable else ():
            self.p[k[1:]] = self.p[k[1:]] - self.lrate[self.e] * g


class Viewed(View, Template):
    """A core layer behind the six methods. A subclass tells, by tables and small inverse pairs, how its names and axes differ."""
    dims: ClassVar[dict[str, str]] = {}                              # dimension -> axis of the core's law, or attribute of the core
    cache: ClassVar[dict[str, str]] = {}                             # what `fc` shows -> its residual

    def __init__(self, core: base.Layer, se_hPars: Mapping[str, Any] | None = None, initialization: Function | None = None, **functions: Function) -> None:
        super().__init__(se_hPars)
        self.core, self.initialization, self.functions = core, initialization, tuple(functions)
        vars(self).update(functions)
        self.activation = {k: f.__name__ for k, f in functions.items()}
        self.trainable = bool(self._slots())

    def _slots(self) -> list[str]:
        return [k for k, s in self.core.slots.items() if s.kind == "parameter"]

    def tuned(self) -> dict[str, Activation]:
        """The layer's functions as they are now, with its own hyperparameters."""
        return {k: self._tuned(getattr(self, k)) for k in self.functions}

    def _tuned(self, f: Function) -> Activation:
        if f not in _OURS:
            return Own(f.__name__, (), f)
        name = f.__name__
        return Activation(_NAMES[name], ((TUNED[name][0], self.hPars[TUNED[name][1]]),) if name in TUNED else ())

    # inverse pairs: parameters and arrays as the core has them, and as they are shown here
    def show(self, core: Mapping[str, Array]) -> Arrays:
        return {k: v[None] if k == "b" else v for k, v in core.items()}

    def hide(self, shown: Mapping[str, Array]) -> Arrays:
        return {k: v[0] if k == "b" else v for k, v in shown.items()}

    def enter(self, A: Array) -> Array:
        return A

    def leave(self, y: Array) -> Array:
        return y

    def enter_back(self, dx: Array) -> Array:
        return dx

    def leave_back(self, dA: Array) -> Array:
        return dA

    def configure(self, **act: Activation) -> None:
        """Give the core its activations."""
        vars(self.core).update({"act_fn": f for f in act.values()})

    # the six methods
    def compute_shapes(self, A: Array) -> None:
        axes = self.core.bind(self.enter(A).shape)
        self.core.out_shapes(self.enter(A).shape)
        empty = {k: np.empty(self.core.shape(self.core.slots[k].axes, axes)) for k in self._slots()}
        self.fs.update({"X": A.shape, **{k: v.shape for k, v in self.show(empty).items()}})
        self.d.update({k: int(np.prod(self.core.shape(axis, axes))) for k, axis in self.dims.items()})

    def initialize_parameters(self) -> None:
        shapes = {k: v for k, v in self.fs.items() if k[0] in "WUVb"}
        self.p = {k: np.zeros(v) if k[0] == "b" else self.initialization(v, rng=self.np_rng) for k, v in shapes.items()}   # type: ignore[misc]

    def forward(self, A: Any) -> Array:
        A = np.asarray(A)
        self.compute_shapes(A)
        self.configure(**self.tuned())
        self.core.rng = self.np_rng
        y = self.leave(self.ahead(self.enter(A), self.hide(self.p), self.training))
        record = self.core.tape[-1]
        self.fc = {"X": A, **{k: self.intermediate({**record.p, **record.r}[name]) for k, name in self.cache.items()}, "A": y}
        self.update_shapes(self.fc, self.fs)
        return y

    def intermediate(self, r: Array) -> Array:
        """A residual, its axes in our order."""
        return r

    def backward(self, dX: Any) -> Array:
        dx, self.cotangents = self.back(self.leave_back(np.asarray(dX)))
        between = {f"d{k}": self.cotangents[name] for k, name in self.cache.items() if name in self.cotangents}
        self.bc = {"dA": np.asarray(dX), **between, "dX": self.enter_back(dx)}
        self.update_shapes(self.bc, self.bs)
        return self.bc["dX"]

    def compute_gradients(self) -> None:
        if "dX" not in self.bc:
            raise ValueError(f"{type(self).__name__}: there is no backward to compute gradients from")
        self.g = {f"d{k}": v for k, v in self.show({k: self.cotangents[k] for k in self._slots()}).items()}
        self.update_shapes(self.g, self.bs)


class Dense(Viewed):
    """A = activate(X W + b), W (n, u), b (1, u)"""
    dims: ClassVar = {"m": "n", "n": "n_in", "u": "n_out"}
    cache: ClassVar = {"Z": "Z"}

    def __init__(self, units: int = 1, activate: Function = sigmoid, initialization: Function = xavier, se_hPars: Mapping[str, Any] | None = None) -> None:
        super().__init__(dense.Dense(units), se_hPars, initialization, activate=activate)
        self.d["u"] = units


class Sequence_(Viewed):
    """A unit over the steps of (m, s, e): all states (m, s, u), or the last one alone, (m, u). The gradients' common norm may be clipped."""
    dims: ClassVar = {"m": "n", "s": "t", "e": "n_in", "u": "n_out"}
    gates: ClassVar[dict[str, str]] = {}                             # ours -> the core's

    def __init__(self, core: base.Layer, initialization: Function, clip_gradients: bool, sequences: bool, se_hPars: Mapping[str, Any] | None,
                 **functions: Function) -> None:
        super().__init__(core, se_hPars, initialization, **functions)
        self.clip_gradients, self.sequences, self.d["u"] = clip_gradients, sequences, core.n_out   # type: ignore[attr-defined]

    def show(self, core: Mapping[str, Array]) -> Arrays:
        u = self.d["u"]
        return {f"{kind}{ours}": array for ours, k in self.gates.items()
                for kind, array in (("U", core["W" + k][u:]), ("V", core["W" + k][:u]), ("b", core["b" + k][None]))}

    def hide(self, shown: Mapping[str, Array]) -> Arrays:
        held = {"W" + k: np.vstack([shown["V" + ours], shown["U" + ours]]) for ours, k in self.gates.items()}
        return held | {"b" + k: shown["b" + ours][0] for ours, k in self.gates.items()}

    def enter(self, A: Array) -> Array:
        return A.swapaxes(1, 2) if A.ndim == 3 else A

    def leave(self, y: Array) -> Array:
        return y.swapaxes(1, 2) if self.sequences else y[..., -1]

    def enter_back(self, dx: Array) -> Array:
        return dx.swapaxes(1, 2)

    def leave_back(self, dA: Array) -> Array:
        """The output's cotangent for all steps: the last state alone is one of them."""
        if self.sequences or not self.core.tape or dA.shape != self.fs["A"]:
            return dA.swapaxes(1, 2) if dA.ndim == 3 else dA
        dy = np.zeros((*dA.shape, self.d["s"]), dA.dtype)
        dy[..., -1] = dA
        return dy

    def intermediate(self, r: Array) -> Array:
        return r.swapaxes(0, 1)

    def compute_gradients(self) -> None:
        super().compute_gradients()
        norm = np.sqrt(sum(np.sum(g * g) for g in self.g.values()))
        if self.clip_gradients and norm > MAX_NORM:
            self.g = {k: g * (MAX_NORM / norm) for k, g in self.g.items()}


class RNN(Sequence_):
    """h = activate(X U + h_prev V + b)"""
    cache: ClassVar = {"hp": "A_prev", "h_": "Z", "h": "A"}

    def __init__(self, unit_cells: int = 1, activate: Function = tanh, initialization: Function = xavier, clip_gradients: bool = True,
                 sequences: bool = False, se_hPars: Mapping[str, Any] | None = None) -> None:
        super().__init__(recurrent.RNN(unit_cells), initialization, clip_gradients, sequences, se_hPars, activate=activate)

    def show(self, core: Mapping[str, Array]) -> Arrays:
        return {"U": core["Wax"], "V": core["Waa"], "b": core["bx"][None]}

    def hide(self, shown: Mapping[str, Array]) -> Arrays:
        return {"Wax": shown["U"], "Waa": shown["V"], "bx": shown["b"][0], "ba": np.zeros_like(shown["b"][0])}   # one bias suffices


class LSTM(Sequence_):
    """C = f C_prev + i g, h = o activate(C): gates forget, input, candidate, output."""
    gates: ClassVar = {"f": "f", "i": "u", "g": "c", "o": "o"}
    cache: ClassVar = {"hp": "A_prev", "Cp_": "C_prev", "f": "Gf", "i": "Gu", "g": "Cc", "o": "Go", "C_": "C", "C": "K", "h": "A"}

    def __init__(self, unit_cells: int = 1, activate: Function = tanh, activate_output: Function = sigmoid, activate_candidate: Function = tanh,
                 activate_input: Function = sigmoid, activate_forget: Function = sigmoid, initialization: Function = orthogonal,
                 clip_gradients: bool = False, sequences: bool = False, se_hPars: Mapping[str, Any] | None = None) -> None:
        super().__init__(recurrent.LSTM(unit_cells), initialization, clip_gradients, sequences, se_hPars, activate=activate, activate_output=activate_output,
                         activate_candidate=activate_candidate, activate_input=activate_input, activate_forget=activate_forget)

    def configure(self, **act: Activation) -> None:
        vars(self.core).update(act_fn=(act["activate_candidate"], act["activate"]),
                               gate_fn=(act["activate_forget"], act["activate_input"], act["activate_output"]))


class GRU(Sequence_):
    """h = z h_prev + (1 − z) hh, hh = activate(X Uhh + (r h_prev) Vhh + bhh): gates update, reset."""
    gates: ClassVar = {"z": "z", "r": "r", "hh": "c"}
    cache: ClassVar = {"hp": "A_prev", "z_": "Zz", "z": "Gz", "r_": "Zr", "r": "Gr", "hh_": "Zc", "hh": "Cc", "h": "A"}

    def __init__(self, unit_cells: int = 1, activate: Function = tanh, activate_update: Function = sigmoid, activate_reset: Function = sigmoid,
                 initialization: Function = orthogonal, clip_gradients: bool = False, sequences: bool = False,
                 se_hPars: Mapping[str, Any] | None = None) -> None:
        super().__init__(recurrent.GRU(unit_cells, reset="before"), initialization, clip_gradients, sequences, se_hPars,
                         activate=activate, activate_update=activate_update, activate_reset=activate_reset)

    def hide(self, shown: Mapping[str, Array]) -> Arrays:
        return super().hide(shown) | {"ba": np.zeros(self.d["u"])}

    def configure(self, **act: Activation) -> None:
        vars(self.core).update(act_fn=act["activate"], gate_fn=(act["activate_update"], act["activate_reset"]))


class Convolution(Viewed):
    """A = activate(X ⋆ W + b), W (fh, fw, d, u), b (u); without strides the windows do not overlap."""
    dims: ClassVar = {"m": "n", "h": "rows", "w": "cols", "d": "in_ch", "oh": "out_rows", "ow": "out_cols", "fh": "kernel_rows", "fw": "kernel_cols", "u": "out_ch"}
    cache: ClassVar = {"Z": "Z"}

    def __init__(self, unit_filters: int = 1, filter_size: Any = (3, 3), strides: Any = None, padding: int = 0, activate: Function = relu,
                 initialization: Function = xavier, use_bias: bool = True, se_hPars: Mapping[str, Any] | None = None) -> None:
        self.use_bias = use_bias
        super().__init__(conv.Conv2D(unit_filters, filter_size, padding, filter_size if strides is None else strides), se_hPars, initialization,
                         activate=activate)

    def show(self, core: Mapping[str, Array]) -> Arrays:
        return {k: v for k, v in core.items() if k != "b" or self.use_bias}

    def hide(self, shown: Mapping[str, Array]) -> Arrays:
        return {"b": np.zeros(self.d["u"]), **shown}


class Pooling(Viewed):
    """The largest of each window, or the smallest: with np.min, the largest of −X, negative."""
    dims: ClassVar = {k: v for k, v in Convolution.dims.items() if k[0] not in "fud"} | {"d": "ch"}
    SIGNS: ClassVar = {np.max: 1, np.min: -1}

    def __init__(self, pool_size: Any = (2, 2), strides: Any = None, pool: Callable[..., Any] = np.max) -> None:   # noqa: A002
        if pool not in self.SIGNS:
            raise ValueError(f"Pooling takes np.max or np.min, got pool={pool!r}")
        super().__init__(_pool(pool_size, pool_size if strides is None else strides), pool=pool)
        self.functions, self.sign = (), self.SIGNS[pool]

    def enter(self, A: Array) -> Array:
        return self.sign * A

    leave = enter_back = leave_back = enter


class Dropout(Viewed):
    """A = X D / (1 − drop_prob) in training; the axes in `axis` share one value of D."""
    cache: ClassVar = {"D": "mask"}

    def __init__(self, drop_prob: float = 0.5, axis: Any = ()) -> None:
        self.drop_prob, self.axis = drop_prob, tuple(np.atleast_1d(np.array(axis, int)).tolist())
        super().__init__(elementwise.Dropout(drop_prob, self.axis))

    def intermediate(self, r: Array) -> Array:
        return r > 0


class Flatten(Viewed):
    """(m, …) -> (m, n)"""

    def __init__(self) -> None:
        super().__init__(elementwise.Flatten())
