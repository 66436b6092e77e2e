"""slugnet's spelling: `connect`, `call`, `backprop`; images are (n, channels, rows, cols), kernels (out, in, rows, cols)."""
from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from .. import base, conv, data, dense, elementwise, pool
from ..activations import Activation
from ..initializers import Init, initializer
from ..losses import loss as named_loss
from ..model import Training
from ..optimizers import SGD, Optimizer, RMSProp, optimizer  # noqa: F401
from . import View

Array = np.ndarray
Shape = tuple[int | None, ...]
LAST, FIRST = (0, 2, 3, 1), (0, 3, 1, 2)                             # where the axes of images come from: channels last, channels first

Noop, ReLU, Softmax, Tanh, Sigmoid = (partial(Activation, name) for name in ("identity", "relu", "softmax", "tanh", "sigmoid"))
GlorotUniform = partial(initializer, "glorot_uniform")
SoftmaxCategoricalCrossEntropy, BinaryCrossEntropy = partial(named_loss, "cce"), partial(named_loss, "bce")   # of probabilities


class Layer(View):
    """A core layer behind `connect`, `call` and `backprop`. Arrays are attributes: w and b, their gradients dw and db."""
    arrays: ClassVar[dict[str, tuple[str, tuple[int, ...]]]] = {}     # ours -> the core's, and its axes in our order
    images = False
    outshape: Shape | None = None

    def __init__(self, core: base.Layer, inshape: Any = None) -> None:
        self.core, self.inshape = core, inshape

    def connect(self, prev_layer: Any = None) -> None:
        """Draw the parameters for what `prev_layer` puts out, or for `inshape`. Errors: ValueError without either, if it has parameters."""
        shape = getattr(prev_layer, "outshape", None) or ((None, self.inshape) if isinstance(self.inshape, int) else self.inshape)
        if shape is None:
            if self.arrays:
                raise ValueError(f"{type(self).__name__} is the first layer that depends on the shape of its input: it needs inshape")
            return
        x = self._turn(np.empty((1, *shape[1:])), LAST)
        self.inshape, self.outshape = tuple(shape), (None, *self._turn(np.empty(self.core.out_shapes(x.shape)[0]), FIRST).shape[1:])
        drawn = self.core.draw("parameter", self.core.rng, self.core.bind(x.shape))
        self._publish("", drawn)
        self._publish("d", {k: np.zeros_like(v) for k, v in drawn.items()})

    def call(self, X: Any, train: bool = True) -> Array:
        """The output, in training or not; `backprop` works after either."""
        if self.arrays and self.outshape is None:
            raise ValueError(f"{type(self).__name__} has no parameters yet: connect() draws them")
        held = {k: getattr(self, ours).transpose(np.argsort(axes)) for ours, (k, axes) in self.arrays.items()}
        return self._turn(self.ahead(self._turn(X, LAST), held, train), FIRST)

    def backprop(self, nxt_grad: Any) -> Array:
        """The cotangent of the last input; dw and db are set anew."""
        dx, d = self.back(self._turn(nxt_grad, LAST))
        self._publish("d", d)
        return self._turn(dx, FIRST)

    def get_params(self) -> tuple[Array, ...]:
        return tuple(getattr(self, ours) for ours in self.arrays)

    def get_grads(self) -> tuple[Array, ...]:
        return tuple(getattr(self, f"d{ours}") for ours in self.arrays)

    def _publish(self, prefix: str, found: Any) -> None:
        vars(self).update({prefix + ours: found[k].transpose(axes) for ours, (k, axes) in self.arrays.items()})

    def _turn(self, x: Any, axes: tuple[int, ...]) -> Any:
        """Images with their axes in this order; what has not four axes is for the core to refuse."""
        return np.transpose(x, axes) if self.images and np.ndim(x) == 4 else x


class Dense(Layer):
    """f(X w + b)"""
    arrays: ClassVar = {"w": ("W", (0, 1)), "b": ("b", (0,))}

    def __init__(self, outshape: int, inshape: int | None = None, activation: Activation | None = None, init: Init | str = "glorot_uniform") -> None:
        super().__init__(dense.Dense(outshape, activation, init), inshape)   # type: ignore[arg-type]


class Convolution(Layer):
    """f(X ⋆ w + b) on images; without an activation, f is relu."""
    arrays: ClassVar = {"w": ("W", (3, 2, 0, 1)), "b": ("b", (0,))}
    images = True

    def __init__(self, nb_kernel: int, kernel_size: Any, stride: Any = 1, inshape: Shape | None = None, init: Init | str = "glorot_uniform",
                 activation: Activation | None = None) -> None:
        super().__init__(conv.Conv2D(nb_kernel, kernel_size, stride=stride, act_fn=activation or "relu", init=init), inshape)   # type: ignore[arg-type]


class Pooling(Layer):
    """Windows that do not overlap; the remainder is dropped."""
    images, mode = True, ""

    def __init__(self, pool_size: Any, inshape: Shape | None = None) -> None:
        super().__init__(pool.Pool2D(pool_size, pool_size, mode=self.mode), inshape)


class MeanPooling(Pooling):
    mode = "average"


class MaxPooling(Pooling):
    mode = "max"


class Flatten(Layer):
    """(n, …) -> (n, the product)"""

    def __init__(self) -> None:
        super().__init__(elementwise.Flatten())


class Dropout(Layer):
    """A plain mask in training, times 1 − p otherwise; p is the probability of removal."""

    def __init__(self, p: float = 0.0) -> None:
        super().__init__(elementwise.Dropout(p, scaling="inference"))


class Model(Training):
    """Layers in a chain, connected as they are added. `lr` is the rate of every layer's own copy of `optimizer`; None is SGD."""

    def __init__(self, lr: float = 0.1, n_epoch: int = 10, batch_size: int = 32, layers: Any = None, optimizer: Optimizer | str | None = None,
                 loss: Any = "bce", validation_split: float = 0.2, metrics: Any = ("loss",), progress: bool = True, seed: int | None = None) -> None:
        self.lr, self.n_epoch, self.batch_size, self.optimizer, self.loss = lr, n_epoch, batch_size, optimizer, named_loss(loss)
        self.validation_split, self.progress, self.training = validation_split, progress, True
        self.shown, self.metrics = list(metrics), [m for m in metrics if m != "loss"]
        self.rng, self.layers = np.random.default_rng(seed), list[Layer]()
        for layer in layers or ():
            self.add_layer(layer)

    def add_layer(self, layer: Layer) -> None:
        """Put a layer behind the last one, connected to it. Errors: as those of `connect`; the model is then as it was."""
        (layer.core.rng,) = self.rng.spawn(1)
        layer.connect(self.layers[-1] if self.layers else None)
        layer.core.optimizer = optimizer(self.optimizer)
        layer.core.optimizer.lr = self.lr
        self.layers.append(layer)

    def fit(self, X: Any, y: ArrayLike) -> dict[str, list[float]]:     # type: ignore[override]
        """Train for `n_epoch` epochs, printing the statistics of training and validation after each; they are returned too."""
        return super().fit(X, np.asarray(y), self.n_epoch, self.batch_size, self.validation_split, self.progress, each=self._report)

    def transform(self, X: Any) -> Array:
        """The outputs for all rows, dropout off."""
        return self.predict(X)

    def forward(self, X: Any, retain_derived: bool = True) -> Array:
        for layer in self.layers:
            X = layer.call(X, train=self.training)
        return X

    def backward(self, g: Any) -> Array:
        for layer in reversed(self.layers):
            g = layer.backprop(g)
        return g

    def update(self, cur_loss: float | None = None) -> None:
        for layer in self.layers:
            grads = dict(zip(layer.arrays, layer.get_grads(), strict=True))
            vars(layer).update(layer.core.optimizer.update(vars(layer), grads, cur_loss))

    def flush_gradients(self) -> None:
        for layer in self.layers:
            layer.core.flush_gradients()

    def _report(self, epoch: int, scores: dict[str, float]) -> None:
        said = {who: "  ".join(f"{m} {scores[ahead + m]:.4f}" for m in self.shown if ahead + m in scores)
                for who, ahead in (("training", ""), ("validation", "val_"))}
        print(f"epoch {epoch + 1}/{self.n_epoch}", *(f"{who}: {text}" for who, text in said.items() if text), sep="  |  ")


def get_mnist() -> tuple[Array, Array]:
    """Handwritten digits, the set of 8 x 8 pixels that scikit-learn brings along: X (n, 64) in [0, 1] and one-hot y (n, 10)."""
    images, labels = data.digits()
    return images.reshape(len(images), -1), labels
