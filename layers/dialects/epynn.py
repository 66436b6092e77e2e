"""EpyNN's spelling: six methods a layer, and dictionaries of dimensions, shapes, parameters, caches and gradients.

Sequences are (m, s, e): samples, steps, elements; images have their channels last. Gradients are sums over the samples.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from .. import activations, base, conv, data, dense, elementwise, losses, recurrent
from ..activations import Activation, Rules
from ..initializers import INITIALIZERS
from ..model import bar, mode
from ..pool import Pool2D
from ..schedules import Cyclic
from ..spec import suggest
from ..windows import pair
from . import View

Array = np.ndarray
Arrays = dict[str, Array]
Function = Callable[..., Array]
HPars = Mapping[str, Any] | None

HPARS = {"learning_rate": 0.1, "schedule": "steady", "decay_k": 0, "cycle_epochs": 0, "cycle_descent": 0, "ELU_alpha": 1, "LRELU_alpha": 0.3,
         "softmax_temperature": 1}
ROWS = {"identity": "identity", "relu": "relu", "lrelu": "leaky relu", "elu": "elu", "sigmoid": "sigmoid", "tanh": "tanh", "softmax": "softmax"}
TUNED = {"elu": ("alpha", "ELU_alpha"), "lrelu": ("alpha", "LRELU_alpha"), "softmax": ("temperature", "softmax_temperature")}
MAX_NORM = 0.25                                                      # of all gradients of a layer together, where they are clipped


# functions ----------------------------------------------------------------------------------------------------------------

def _activate(name: str) -> Function:
    def activate(x: ArrayLike, deriv: bool = False) -> Array:
        f, z = activations.activation(ROWS[name]), np.asarray(x, float)
        if not deriv or f.rules.grad is not None:
            return f.grad(z) if deriv else f(z)
        return np.stack([f.pull(np.broadcast_to(unit, z.shape), z, f(z)) for unit in np.eye(z.shape[-1])], axis=-2)   # a Jacobian for each line

    activate.__name__, activate.__doc__ = name, f"{ROWS[name]} of x, or its derivative there."
    return activate


identity, relu, lrelu, elu, sigmoid, tanh, softmax = OURS = tuple(map(_activate, ROWS))


@dataclass(frozen=True)
class Own(Activation):
    """A function of the caller's: fn(x), and elementwise fn(x, deriv=True)."""
    fn: Function = np.positive
    rules = property(lambda self: Rules(self.fn, lambda z, a: self.fn(z, deriv=True), None))   # type: ignore[assignment]
    __reduce__ = object.__reduce__   # type: ignore[assignment]


def xavier(shape: tuple[int, ...], rng: np.random.Generator | None = None) -> Array:
    """Normal, with the standard deviation √(2 / Σ shape)."""
    return (rng or np.random.default_rng()).standard_normal(shape) * np.sqrt(2 / sum(shape))


def orthogonal(shape: tuple[int, ...], rng: np.random.Generator | None = None) -> Array:
    """Orthonormal rows or columns, whichever are fewer."""
    return INITIALIZERS["orthogonal"](shape, rng or np.random.default_rng())


def _loss(name: str) -> Function:
    def loss(Y: ArrayLike, A: ArrayLike, deriv: bool = False) -> Array:
        row, y = losses.loss(name.lower()), np.asarray(A, float)
        return len(y) * row.cotangent(Y, y) if deriv else row.samples(Y, y)

    loss.__name__, loss.__doc__ = name, "One value for each sample, or the derivative in A of their sum."
    return loss


LOSSES = {name: _loss(name) for name in ("MSE", "MAE", "MSLE", "CCE", "BCE")}
MSE, MAE, MSLE, CCE, BCE = LOSSES.values()


def _known(se_hPars: HPars) -> HPars:
    """Errors: ValueError for a hyperparameter that there is not."""
    if unknown := set(se_hPars or ()) - set(HPARS):
        raise ValueError(suggest("hyperparameter", min(unknown), HPARS))
    return se_hPars


# layers -------------------------------------------------------------------------------------------------------------------

class Layer:
    """What every layer has. A class with the six methods of `Template` is a layer of a network.

    d dimensions; fs, bs shapes ahead and back; p parameters; fc, bc what was computed ahead and back; g gradients; o other scalars.
    `se_hPars` overrides the network's hyperparameters, key by key; no dictionary of the caller's is written to.
    """

    def __init__(self, se_hPars: HPars = None) -> None:
        self.d, self.o, self.activation = dict[str, int](), dict[str, int](), dict[str, str]()
        self.fs, self.bs = dict[str, tuple[int, ...]](), dict[str, tuple[int, ...]]()
        self.p, self.g, self.fc, self.bc = Arrays(), Arrays(), Arrays(), Arrays()
        self.inherited, self.own = dict[str, Any](), _known(se_hPars)
        self.trainable, self.training, self.np_rng = True, True, np.random.default_rng()
        self.e, self.lrate = 0, list[float]()                        # the epoch, the rate of each

    @property
    def se_hPars(self) -> dict[str, Any]:
        """The defaults, under the network's hyperparameters, under the layer's own."""
        return {**HPARS, **self.inherited, **(self.own or {})}

    @se_hPars.setter
    def se_hPars(self, own: HPars) -> None:
        self.own = _known(own)

    def schedule(self, epochs: int) -> None:
        """Fill `lrate` for so many epochs."""
        h = self.se_hPars
        rule = Cyclic(h["schedule"], h["learning_rate"], h["decay_k"], h["cycle_epochs"], h["cycle_descent"], epochs)
        self.lrate = [rule.rate(e) for e in range(epochs)]

    def update_shapes(self, cache: Mapping[str, Array], shapes: dict[str, tuple[int, ...]]) -> None:
        shapes.update({k: np.shape(v) for k, v in cache.items()})


class Template(Layer):
    """Passes through, ahead and back."""

    def compute_shapes(self, A: Array) -> None:
        self.fs["X"] = A.shape
        self.d.update(m=A.shape[0], n=int(np.prod(A.shape[1:])))

    def initialize_parameters(self) -> None:
        """Fill `p`: here with nothing."""

    def forward(self, A: Any) -> Array:
        A = np.asarray(A)
        self.compute_shapes(A)
        self.fc = {"X": A, "A": A}
        self.update_shapes(self.fc, self.fs)
        return A

    def backward(self, dX: Any) -> Any:
        if np.shape(dX) != self.fs.get("A"):
            raise ValueError(f"{type(self).__name__}.backward: the upstream has shape {np.shape(dX)}, the output {self.fs.get('A')}")
        self.bc = {"dA": dX, "dX": dX}
        self.update_shapes(self.bc, self.bs)
        return dX

    def compute_gradients(self) -> None:
        """Fill `g` from the last backward: here with nothing."""

    def update_parameters(self) -> None:
        """p ← p − rate of the epoch · g, if `trainable`."""
        if self.trainable and not self.lrate:
            self.schedule(self.e + 1)
        for k, g in self.g.items() if self.trainable else ():
            self.p[k[1:]] = self.p[k[1:]] - self.lrate[self.e] * g


class Viewed(View, Template):
    """A core layer behind the six methods. A subclass tells, by tables and inverse pairs, how names and axes differ."""
    dims: ClassVar[dict[str, str]] = {"m": "n", "n": "*"}             # dimension -> axis of the core's law
    cache: ClassVar[dict[str, str]] = {"Z": "Z"}                     # name in `fc` -> residual
    gates: ClassVar[dict[str, tuple[str, ...]]] = {"act_fn": ("activate",)}   # option of the core -> our functions

    def __init__(self, core: base.Layer, se_hPars: HPars = None, initialization: Function | None = None, **functions: Function) -> None:
        super().__init__(se_hPars)
        self.core, self.initialization = core, initialization
        vars(self).update(functions)
        if strings := [k for k, f in functions.items() if not callable(f)]:
            raise TypeError(f"{type(self).__name__}: {strings[0]} is a function of (x, deriv=False), got {functions[strings[0]]!r}")
        self.activation = {k: getattr(f, "__name__", str(f)) for k, f in functions.items()}
        self.trained = [k for k, s in core.slots.items() if s.kind == "parameter"]
        self.trainable = bool(self.trained)

    def tuned(self, f: Function) -> Activation:
        """A function with this layer's hyperparameters, as they are now."""
        if f not in OURS:
            return Own(str(f), (), f)
        name = f.__name__
        return Activation(ROWS[name], ((TUNED[name][0], self.se_hPars[TUNED[name][1]]),) if name in TUNED else ())

    def show(self, core: Mapping[str, Array]) -> Arrays:
        """Parameters, or their cotangents, as they are called here; `hide` is the inverse."""
        return {k: v[None] if k == "b" else v for k, v in core.items()}

    def hide(self, shown: Mapping[str, Array]) -> Arrays:
        return {k: v[0] if k == "b" else v for k, v in shown.items()}

    def turn(self, A: Array) -> Array:
        """An input, output or cotangent as the core has it, and back again: its own inverse."""
        return A

    def intermediate(self, r: Array) -> Array:
        return r

    def compute_shapes(self, A: Array) -> None:
        x = self.turn(A).shape
        self.core.out_shapes(x)
        axes = self.core.bind(x)
        self.d.update({k: int(np.prod(self.core.shape(axis, axes))) for k, axis in self.dims.items()})
        shown = self.show({k: np.empty(self.core.shape(self.core.slots[k].axes, axes)) for k in self.trained})
        self.fs.update({"X": A.shape, **{k: v.shape for k, v in shown.items()}})
        self.names = list(shown)

    def initialize_parameters(self) -> None:
        self.p = {k: self.initialization(self.fs[k], rng=self.np_rng) if k[0] != "b" else np.zeros(self.fs[k]) for k in self.names}   # type: ignore[misc]

    def forward(self, A: Any) -> Array:
        A = np.asarray(A)
        self.compute_shapes(A)
        if missing := [k for k in self.names if k not in self.p]:
            raise ValueError(f"{type(self).__name__} has no {' '.join(missing)} yet: initialize_parameters() draws them")
        for option, names in self.gates.items() if self.activation else ():
            f = tuple(self.tuned(getattr(self, k)) for k in names)
            setattr(self.core, option, f if len(f) > 1 else f[0])
        self.core.rng = self.np_rng
        y = self.turn(self.ahead(self.turn(A), self.hide(self.p), self.training))
        kept = {**self.core.tape[-1].p, **self.core.tape[-1].r}
        self.fc = {"X": A, **{k: self.intermediate(kept[name]) for k, name in self.cache.items() if name in kept}, "A": y}
        self.update_shapes(self.fc, self.fs)
        return y

    def backward(self, dX: Any) -> Array:
        dx, self.cotangents = self.back(self.turn(np.asarray(dX)))
        between = {f"d{k}": self.cotangents[name] for k, name in self.cache.items() if name in self.cotangents}
        self.bc = {"dA": np.asarray(dX), **between, "dX": self.turn(dx)}
        self.update_shapes(self.bc, self.bs)
        return self.bc["dX"]

    def compute_gradients(self) -> None:
        if not self.bc:
            raise ValueError(f"{type(self).__name__}: there is no backward to take gradients from")
        self.g = {f"d{k}": v for k, v in self.show({k: self.cotangents[k] for k in self.trained}).items()}
        self.update_shapes(self.g, self.bs)


class Dense(Viewed):
    """A = activate(X W + b), W (n, u), b (1, u)"""
    dims: ClassVar = {"m": "n", "n": "n_in", "u": "n_out"}

    def __init__(self, units: int = 1, activate: Function = sigmoid, initialization: Function = xavier, se_hPars: HPars = None) -> None:
        super().__init__(dense.Dense(units), se_hPars, initialization, activate=activate)
        self.d["u"] = units


class Recurrent(Viewed):
    """A unit over the steps of (m, s, e): all states (m, s, u), or the last alone, (m, u). The common norm of its gradients may be clipped."""
    dims: ClassVar = {"m": "n", "s": "t", "e": "n_in", "u": "n_out"}
    weights: ClassVar[dict[str, str]] = {}                           # gate -> the core's

    def __init__(self, core: Any, initialization: Function, clip_gradients: bool, sequences: bool, se_hPars: HPars, **functions: Function) -> None:
        super().__init__(core, se_hPars, initialization, **functions)
        self.clip_gradients, self.sequences, self.d["u"] = clip_gradients, sequences, core.n_out

    def show(self, core: Mapping[str, Array]) -> Arrays:
        u = self.d["u"]
        return {kind + gate: array for gate, k in self.weights.items()
                for kind, array in (("U", core["W" + k][u:]), ("V", core["W" + k][:u]), ("b", core["b" + k][None]))}

    def hide(self, shown: Mapping[str, Array]) -> Arrays:
        held = {"W" + k: np.vstack([shown["V" + gate], shown["U" + gate]]) for gate, k in self.weights.items()}
        unused = {k: np.zeros(self.d["u"]) for k in self.trained if k == "ba"}   # a second bias would add nothing
        return held | unused | {"b" + k: shown["b" + gate][0] for gate, k in self.weights.items()}

    def turn(self, A: Array) -> Array:
        return A.swapaxes(1, 2) if A.ndim == 3 else A

    def intermediate(self, r: Array) -> Array:
        return r.swapaxes(0, 1)

    def forward(self, A: Any) -> Array:
        h = super().forward(A)
        self.fc["A"] = h if self.sequences else h[:, -1]
        self.update_shapes(self.fc, self.fs)
        return self.fc["A"]

    def backward(self, dX: Any) -> Array:
        dA = dy = np.asarray(dX)
        if not self.sequences and dA.shape == self.fs.get("A"):      # a cotangent for every step: 0 but for the last
            dy = np.concatenate([np.zeros((len(dA), self.d["s"] - 1, self.d["u"]), dA.dtype), dA[:, None]], axis=1)
        dx = super().backward(dy)
        self.bc["dA"] = dA
        self.update_shapes(self.bc, self.bs)
        return dx

    def compute_gradients(self) -> None:
        super().compute_gradients()
        norm = np.sqrt(sum(np.sum(g * g) for g in self.g.values()))
        if self.clip_gradients and norm > MAX_NORM:
            self.g = {k: g * (MAX_NORM / norm) for k, g in self.g.items()}


class RNN(Recurrent):
    """h = activate(X U + h_prev V + b)"""
    cache: ClassVar = {"hp": "A_prev", "h_": "Z", "h": "A"}

    def __init__(self, unit_cells: int = 1, activate: Function = tanh, initialization: Function = xavier, clip_gradients: bool = True,
                 sequences: bool = False, se_hPars: HPars = None) -> None:
        super().__init__(recurrent.RNN(unit_cells), initialization, clip_gradients, sequences, se_hPars, activate=activate)

    def show(self, core: Mapping[str, Array]) -> Arrays:
        return {"U": core["Wax"], "V": core["Waa"], "b": core["bx"][None]}

    def hide(self, shown: Mapping[str, Array]) -> Arrays:
        return super().hide({}) | {"Wax": shown["U"], "Waa": shown["V"], "bx": shown["b"][0]}


class LSTM(Recurrent):
    """C = f C_prev + i g, h = o activate(C): gates forget, input, candidate, output."""
    weights: ClassVar = {"f": "f", "i": "u", "g": "c", "o": "o"}
    cache: ClassVar = {"hp": "A_prev", "Cp_": "C_prev", "f": "Gf", "i": "Gu", "g": "Cc", "o": "Go", "C_": "C", "C": "K", "h": "A"}
    gates: ClassVar = {"act_fn": ("activate_candidate", "activate"), "gate_fn": ("activate_forget", "activate_input", "activate_output")}

    def __init__(self, unit_cells: int = 1, activate: Function = tanh, activate_output: Function = sigmoid, activate_candidate: Function = tanh,
                 activate_input: Function = sigmoid, activate_forget: Function = sigmoid, initialization: Function = orthogonal,
                 clip_gradients: bool = False, sequences: bool = False, se_hPars: HPars = None) -> None:
        super().__init__(recurrent.LSTM(unit_cells), initialization, clip_gradients, sequences, se_hPars, activate=activate, activate_output=activate_output,
                         activate_candidate=activate_candidate, activate_input=activate_input, activate_forget=activate_forget)


class GRU(Recurrent):
    """h = z h_prev + (1 − z) hh, hh = activate(X Uhh + (r h_prev) Vhh + bhh): gates update, reset."""
    weights: ClassVar = {"z": "z", "r": "r", "hh": "c"}
    cache: ClassVar = {"hp": "A_prev", "z_": "Zz", "z": "Gz", "r_": "Zr", "r": "Gr", "hh_": "Zc", "hh": "Cc", "h": "A"}
    gates: ClassVar = {"act_fn": ("activate",), "gate_fn": ("activate_update", "activate_reset")}

    def __init__(self, unit_cells: int = 1, activate: Function = tanh, activate_update: Function = sigmoid, activate_reset: Function = sigmoid,
                 initialization: Function = orthogonal, clip_gradients: bool = False, sequences: bool = False, se_hPars: HPars = None) -> None:
        super().__init__(recurrent.GRU(unit_cells, reset="before"), initialization, clip_gradients, sequences, se_hPars,
                         activate=activate, activate_update=activate_update, activate_reset=activate_reset)


class Convolution(Viewed):
    """A = activate(X ⋆ W + b), W (fh, fw, d, u), b (u); strides of None are the size of the filter."""
    dims: ClassVar = {"m": "n", "h": "rows", "w": "cols", "d": "in_ch", "oh": "out_rows", "ow": "out_cols"}

    def __init__(self, unit_filters: int = 1, filter_size: Any = (3, 3), strides: Any = None, padding: int = 0, activate: Function = relu,
                 initialization: Function = xavier, use_bias: bool = True, se_hPars: HPars = None) -> None:
        strides = filter_size if strides is None else strides
        super().__init__(conv.Conv2D(unit_filters, filter_size, padding, strides), se_hPars, initialization, activate=activate)
        self.use_bias = use_bias
        self.d.update(zip(("fh", "fw", "sh", "sw", "p", "u"), (*pair(filter_size), *pair(strides), padding, unit_filters), strict=True))

    def show(self, core: Mapping[str, Array]) -> Arrays:
        return {k: v for k, v in core.items() if k != "b" or self.use_bias}

    def hide(self, shown: Mapping[str, Array]) -> Arrays:
        return {"b": np.zeros(self.d["u"]), **shown}


class Pooling(Viewed):
    """The largest of each window, or with np.min the smallest, which is the largest of −X, negative."""
    dims: ClassVar = {"m": "n", "h": "rows", "w": "cols", "d": "ch", "oh": "out_rows", "ow": "out_cols"}
    signs: ClassVar[dict[Any, int]] = {np.max: 1, np.min: -1}

    def __init__(self, pool_size: Any = (2, 2), strides: Any = None, pool: Callable[..., Any] = np.max) -> None:
        if pool not in self.signs:
            raise ValueError(f"Pooling takes np.max or np.min, got {pool!r}")
        strides = pool_size if strides is None else strides
        super().__init__(Pool2D(pool_size, strides))
        self.pool, self.sign = pool, self.signs[pool]
        self.d.update(zip(("ph", "pw", "sh", "sw"), (*pair(pool_size), *pair(strides)), strict=True))

    def turn(self, A: Array) -> Array:
        return self.sign * A


class Dropout(Viewed):
    """A = X D / (1 − drop_prob) in training; the axes in `axis` share one value of D."""
    cache: ClassVar = {"D": "mask"}

    def __init__(self, drop_prob: float = 0.5, axis: Any = ()) -> None:
        super().__init__(elementwise.Dropout(drop_prob, axis))
        self.drop_prob, self.axis = drop_prob, axis

    def intermediate(self, r: Array) -> Array:
        return r > 0


class Flatten(Viewed):
    """(m, …) -> (m, n)"""

    def __init__(self) -> None:
        super().__init__(elementwise.Flatten())


# data and network -----------------------------------------------------------------------------------------------------------

class dataSet:
    """Samples X and labels Y (m, …): y the labels as numbers, b how often each occurs; A the output and P the decisions, once predicted."""

    def __init__(self, X_data: ArrayLike, Y_data: ArrayLike | None = None, name: str = "dummy") -> None:
        self.name, self.X, self.A, self.P = name, np.asarray(X_data), np.array([]), np.array([])
        self.active, self.ids = len(self.X) > 0, np.arange(len(self.X))
        self.Y = None if Y_data is None else np.asarray(Y_data)[:, None] if np.ndim(Y_data) == 1 else np.asarray(Y_data)
        if self.Y is not None and self.active:
            self.y = self.Y.argmax(1) if self.Y.shape[1] > 1 else self.Y[:, 0]
            self.b = dict(zip(*(v.tolist() for v in np.unique(self.y, return_counts=True)), strict=True))


class Embedding(Template):
    """The input layer: data encoded one-hot (`X_encode`, `Y_encode`), scaled as a whole into [0, 1] (`X_scale`), split by `relative_size`
    into training, validation and test sets, the first into batches of `batch_size` (None: one).
    """

    def __init__(self, X_data: Any = None, Y_data: Any = None, relative_size: tuple[float, float, float] = (2, 1, 0), batch_size: int | None = None,
                 X_encode: bool = False, Y_encode: bool = False, X_scale: bool = False) -> None:
        super().__init__()
        self.trainable, self.batch_size, self.raw = False, batch_size, np.asarray([] if X_data is None else X_data)
        self.e2i = {word: i for i, word in enumerate(np.unique(self.raw).tolist())} if X_encode else {}
        self.i2e = {i: word for word, i in self.e2i.items()}
        if X_encode:
            self.d["e"] = len(self.e2i)
        X = self.prepared(self.raw, X_encode, X_scale)
        Y = None if Y_data is None else data.one_hot(Y_data) if Y_encode else np.asarray(Y_data)
        parts = data.split((X,) if Y is None else (X, Y), relative_size)
        self.dtrain, self.dval, self.dtest = (dataSet(*part, name=name) for part, name in zip(parts, ("dtrain", "dval", "dtest"), strict=True))   # type: ignore[misc]
        self.dsets = [s for s in (self.dtrain, self.dval, self.dtest) if s.active]

    def prepared(self, X: Any, X_encode: bool, X_scale: bool) -> Array:
        """New samples, scaled and encoded as the first ones were."""
        return data.one_hot(X, self.raw) if X_encode else data.scale(X, self.raw) if X_scale else np.asarray(X)

    def training_batches(self) -> Iterator[dataSet]:
        """The training set in new batches, shuffled anew. Errors: ValueError if there are no samples or no labels."""
        if not self.dtrain.active or self.dtrain.Y is None:
            raise ValueError(f"training needs samples and labels, the Embedding has {len(self.dtrain.ids)} training samples"
                             f"{'' if self.dtrain.Y is not None else ' and no labels'}")
        shuffled = data.batches((self.dtrain.X, self.dtrain.Y), self.batch_size, self.np_rng)
        return (dataSet(X, Y, str(i)) for i, (X, Y) in enumerate(shuffled))

    def backward(self, dX: Any) -> None:
        super().backward(dX)


class EpyNN:
    """A network: an Embedding and the layers behind it. `metrics[name]` is a list of values, one for each epoch, for each set of data."""

    def __init__(self, layers: list[Any], name: str = "EpyNN") -> None:
        self.layers, self.embedding, self.name = layers, layers[0], name
        self.e, self.epochs, self.initialized = 0, 0, False

    def initialize(self, loss: str = "MSE", se_hPars: HPars = None, metrics: Any = ("accuracy",), seed: int | None = None) -> None:
        """Draw all parameters and go once ahead and back on a batch, without an update. Each layer gets a seed of its own."""
        if loss not in LOSSES:
            raise ValueError(suggest("loss", loss, LOSSES))
        self.training_loss = LOSSES[loss]
        self.rules: dict[str, Any] = {**{m: losses.metric(m) for m in metrics}, loss: lambda Y, A: self.training_loss(Y, A).mean()}
        self.metrics: dict[str, list[list[float]]] = {m: [[] for _ in self.embedding.dsets] for m in self.rules}
        for i, layer in enumerate(self.layers):
            layer.o.update({} if seed is None else {"seed": seed + i})
            layer.np_rng, layer.inherited = np.random.default_rng(layer.o.get("seed")), dict(_known(se_hPars) or {})
            layer.schedule(1)                                        # refuses what no schedule is
        batch = next(self.embedding.training_batches())
        A = batch.X
        for layer in self.layers:
            layer.compute_shapes(A)
            layer.initialize_parameters()
            A = layer.forward(A)
        self.backward(self.training_loss(batch.Y, A, deriv=True))
        self.e, self.epochs, self.initialized = 0, 0, True

    def forward(self, X: Any) -> Array:
        for layer in self.layers:
            layer.e = self.e
            X = layer.forward(X)
        return X                                                     # type: ignore[no-any-return]

    def backward(self, dA: Any) -> None:
        for layer in reversed(self.layers):
            dA = layer.backward(dA)
            layer.compute_gradients()

    def train(self, epochs: int, progress: bool = True) -> None:
        """Train for so many more epochs, on new batches in each."""
        if not self.initialized:
            self.initialize()
        first, self.epochs = self.epochs, self.epochs + epochs
        for layer in self.layers:
            layer.schedule(self.epochs)
        with bar(epochs, progress) as advance:
            for e in range(first, self.epochs):
                self.e = e
                for batch in self.embedding.training_batches():
                    self.backward(self.training_loss(batch.Y, self.forward(batch.X), deriv=True))
                    for layer in self.layers:
                        layer.update_parameters()
                self.evaluate()
                advance({m: values[0][-1] for m, values in self.metrics.items()})

    def evaluate(self) -> None:
        """Append each metric of each set, dropout off."""
        for k, dset in enumerate(self.embedding.dsets):
            self._decide(dset)
            for m, rule in self.rules.items():
                self.metrics[m][k].append(float(rule(dset.Y, dset.A)))

    def predict(self, X_data: Any, X_encode: bool = False, X_scale: bool = False) -> dataSet:
        """The output A and the decisions P for samples, dropout off."""
        return self._decide(dataSet(self.embedding.prepared(X_data, X_encode, X_scale)))

    def _decide(self, dset: dataSet) -> dataSet:
        with mode(self.layers, False):
            dset.A = self.forward(dset.X)
        dset.P = dset.A.argmax(1) if dset.A.shape[1] > 1 else np.around(dset.A)
        return dset
