"""Layers without weights that keep the shape, or only rearrange it."""
from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from gradcheck.law import Shape, ShapeError

from .activations import ACTIVATIONS, activation, pull_softmax, softmax
from .base import Act, Array, Layer, Out, Rng, Vars, hyper, interval, noise, whole


class Add(Layer):
    """y = f(x₁ + x₂ + …)"""
    law = "[n *] -> n *"
    act_fn: Act = hyper(ACTIVATIONS, default=None, valid=activation)

    def fwd(self, p: Vars, *xs: Array) -> Out:                        # each (n, *)
        z = reduce(np.add, xs)
        y = activation(self.act_fn)(z)
        return y, Vars(X=xs, Z=z, Y=y)

    def bwd(self, p: Vars, r: Vars, dy: Array) -> Out:                # dy (n, *)
        dz = activation(self.act_fn).pull(dy, r.Z, r.Y)
        return (dz,) * len(r.X), Vars(Z=dz)


class Multiply(Layer):
    """y = f(x₁ x₂ …); each cotangent is a product of the other inputs, never a quotient, so that zeros are no exception."""
    law = "[n *] -> n *"
    act_fn: Act = hyper(ACTIVATIONS, default=None, valid=activation)

    def fwd(self, p: Vars, *xs: Array) -> Out:                        # each (n, *)
        z = reduce(np.multiply, xs)
        y = activation(self.act_fn)(z)
        return y, Vars(X=xs, Z=z, Y=y)

    def bwd(self, p: Vars, r: Vars, dy: Array) -> Out:                # dy (n, *)
        dz = activation(self.act_fn).pull(dy, r.Z, r.Y)
        before, after = [dz], [np.ones_like(dz)]                      # dz times the inputs before; the product of those after
        for x, x_back in zip(r.X[:-1], r.X[:0:-1], strict=True):
            before.append(before[-1] * x)
            after.append(after[-1] * x_back)
        return tuple(a * b for a, b in zip(before, reversed(after), strict=True)), Vars(Z=dz)


class Flatten(Layer):
    """y = x as a matrix that keeps the first axis, the last, or (-1) neither."""
    keep_dim: Any = hyper(["first", "last", -1], default="first")

    @property
    def law(self) -> str:                                             # type: ignore[override]
        return {"first": "n * -> n (*)", "last": "* n -> (*) n", -1: "* -> 1 (*)"}[self.keep_dim]

    def fwd(self, p: Vars, x: Array) -> Out:
        return x.reshape(self.out_shapes(x.shape)[0]), Vars(shape=x.shape)

    def bwd(self, p: Vars, r: Vars, dy: Array) -> Out:
        return dy.reshape(r.shape), Vars()


class Softmax(Layer):
    """y_i = e^{x_i} / Σ_j e^{x_j} along axis `dim`."""
    dim: int = hyper([-1, 0, 1, -2], default=-1, valid=whole())

    @property
    def law(self) -> str:                                             # type: ignore[override]
        ahead = [f"a{i}" for i in range(self.dim)] if self.dim >= 0 else ["*"]
        behind = [f"b{i}" for i in range(-1 - self.dim)] if self.dim < 0 else ["*"]
        return "{0} -> {0}".format(" ".join([*ahead, "d", *behind]))

    def fwd(self, p: Vars, x: Array) -> Out:
        y = softmax(x, self.dim)
        return y, Vars(Y=y)

    def bwd(self, p: Vars, r: Vars, dy: Array) -> Out:
        return pull_softmax(dy, r.Y, self.dim), Vars()


class Dropout(Layer):
    """y = x ∘ mask in training, entries of the mask being 0 with probability p; y = x otherwise. The mask is scaled by 1 / (1 − p), or,
    with `scaling="inference"`, the output outside training by 1 − p. The axes in `axis` share one mask value.
    """
    law = "n * -> n *"
    p: float = hyper([0.0, 0.3, 0.9], default=0.5, valid=interval(0, 1))
    axis: Any = hyper([(), (1,), (0, -1)], default=(), valid=lambda v: [whole()(a) for a in np.atleast_1d(v)])
    scaling: str = hyper(["training", "inference"], default="training")

    @noise("n *", "in {0, c}")
    def mask(self, shape: Shape, rng: Rng) -> Array:
        axes = range(len(shape)) if self.p == 0 else np.atleast_1d(np.array(self.axis, int))   # with p = 0 all may share the 1
        shared = {a % len(shape) for a in axes}
        kept = rng.random([1 if i in shared else m for i, m in enumerate(shape)]) >= self.p
        return kept / (1 - self.p if self.scaling == "training" else 1)

    def bind(self, *shapes: Shape):
        for a in np.atleast_1d(np.array(self.axis, int)):
            if not -len(shapes[0]) <= a < len(shapes[0]):
                raise ShapeError(f"Dropout has axis={self.axis}, got shape {shapes[0]}")
        return super().bind(*shapes)

    def scaled(self, p: Vars, x: Array) -> Array:
        """x times the mask or the factor; x itself where that is 1 throughout."""
        if self.p == 0 or not (p.train or self.scaling == "inference"):
            return x
        return x * (p.mask if p.train else 1 - self.p)

    def fwd(self, p: Vars, x: Array) -> Out:                          # x  (n, *)
        return self.scaled(p, x), Vars()

    def bwd(self, p: Vars, r: Vars, dy: Array) -> Out:                # dy (n, *)
        return self.scaled(p, dy), Vars()
