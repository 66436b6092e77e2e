"""Activations as layers: one for each row, its arguments being the layer's, so that each is judged like any other layer."""
from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .activations import Activation, activation
from .base import Array, Layer, Out, Vars, hyper, interval


class Pointwise(Layer):
    """y = f(x), or with `order` 1 its derivative f'(x); f is the activation of the layer's name, with the layer's arguments."""
    arguments: ClassVar[tuple[str, ...]] = ()
    order: ClassVar[int] = 0                                          # a hyperparameter of every layer made by `pointwise`

    @property
    def f(self) -> Activation:
        return activation(f"{type(self).__name__}({', '.join(f'{k}={getattr(self, k)!r}' for k in self.arguments)})")

    def fwd(self, p: Vars, x: Array) -> Out:                          # x (*)
        y = self.f(x)
        return self.f.grad(x, y) if self.order else y, Vars(X=x, Y=y)

    def bwd(self, p: Vars, r: Vars, dy: Array) -> Out:                # dy (*)
        return dy * self.f.grad2(r.X, r.Y) if self.order else self.f.pull(dy, r.X, r.Y), Vars()


def pointwise(name: str, equation: str, **domains: list[Any]) -> type[Pointwise]:
    """The layer of one activation; `domains` are its arguments and their values, the default first."""
    options = {k: hyper(values, values[0], None if isinstance(values[0], bool) else interval(-np.inf, np.inf)) for k, values in domains.items()}
    options["order"] = hyper([0, 1], 0)
    body = {"__doc__": f"y = {equation}; with `order` 1 the derivative of that.", "__module__": __name__, "law": "* -> *", "arguments": tuple(domains)}
    return type(name, (Pointwise,), {**body, "__annotations__": dict.fromkeys(options, "Any"), **options})


Identity = pointwise("Identity", "x")
Affine = pointwise("Affine", "slope x + intercept", slope=[1.0, -2.0], intercept=[0.0, 0.5])
ReLU = pointwise("ReLU", "max(x, 0)")
LeakyReLU = pointwise("LeakyReLU", "max(x, 0) + alpha min(x, 0)", alpha=[0.3, 0.01])
ELU = pointwise("ELU", "x where x > 0, else alpha (e^x − 1)", alpha=[1.0, 0.3])
SELU = pointwise("SELU", "scale · ELU(x), the scale and alpha of Klambauer et al. (2017)")
GELU = pointwise("GELU", "x Φ(x), Φ the normal distribution, or its tanh form", approximate=[False, True])
Sigmoid = pointwise("Sigmoid", "1 / (1 + e^−x)")
HardSigmoid = pointwise("HardSigmoid", "0.2 x + ½ kept in [0, 1]")
Tanh = pointwise("Tanh", "tanh x")
Softplus = pointwise("Softplus", "ln(1 + e^x)")
Exponential = pointwise("Exponential", "e^x")
