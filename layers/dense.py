"""Layers of the form y = f(A(x, W) + b), A linear in both: the form itself, and the two with a matrix product."""
from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from gradcheck.law import Shape

from .activations import ACTIVATIONS, activation, total
from .base import Act, Array, Layer, Out, Rng, Vars, buffer, drawn, hyper, interval, param, zero


class Weighted(Layer):
    """y = f(A(x, W) + b), the bias along the last axis. A layer gives A as `apply`, and A's adjoints in x and W as `pull`."""
    apply: ClassVar[Callable[..., Array]]                             # (p, x)
    pull: ClassVar[Callable[..., tuple[Array, Array]]]                # (p, dz, x)
    f = property(lambda self: activation(self.act_fn))

    def fwd(self, p: Vars, x: Array) -> Out:                          # x  (n, …)
        z = self.apply(p, x)                                          # z  (n, …, out)
        z += p.b
        y = self.f(z)
        return y, Vars(X=x, Z=z, Y=y)

    def bwd(self, p: Vars, r: Vars, dy: Array) -> Out:                # dy (n, …, out)
        dz = self.f.pull(dy, r.Z, r.Y)
        dx, dW = self.pull(p, dz, r.X)
        return dx, Vars(Z=dz, W=dW, b=total(dz, 0))


class Dense(Weighted):
    """y = f(x W + b)"""
    law = "n n_in -> n n_out"
    work = "2 n n_in n_out"
    n_out: int = hyper(range(1, 6))
    act_fn: Act = hyper([*ACTIVATIONS, "softmax", "softmax(temperature=2.0)"], default=None, valid=activation)
    init: str = "glorot_uniform"
    W = param("n_in n_out")
    b = param("n_out", zero)

    def apply(self, p: Vars, x: Array) -> Array:                      # x  (n, n_in)
        return x.dot(p.W)                                             #    (n, n_out); dot costs half of @ where there is little

    def pull(self, p: Vars, dz: Array, x: Array) -> tuple[Array, Array]:  # dz (n, n_out)
        return dz.dot(p.W.T), x.T.dot(dz)


class SparseEvolution(Weighted):
    """y = f(x (W ∘ W_mask) + b) under a random mask of density epsilon (n_in + n_out) / (n_in n_out), at most 1.

    After each update the fraction `zeta` of the positive weights, and of the negative ones, that is nearest to 0 is dropped, and as many
    connections grow at random absent places with new weights (Mocanu et al., 2018).
    """
    law = "n n_in -> n n_out"
    work = "2 n n_in n_out"
    n_out: int = hyper(range(1, 6))
    zeta: float = hyper([0.0, 0.3], default=0.3, valid=interval(0, 1, closed=True))
    epsilon: float = hyper([20, 0.5], default=20, valid=interval(0, np.inf))
    act_fn: Act = hyper(ACTIVATIONS, default=None, valid=activation)
    init: str = "glorot_uniform"
    W = param("n_in n_out")
    b = param("n_out", zero)

    def connect(self, shape: Shape, rng: Rng) -> Array:
        return (rng.random(shape) < self.epsilon * sum(shape) / np.prod(shape)).astype(float)

    W_mask = buffer("n_in n_out", connect, "in {0, 1}")

    def apply(self, p: Vars, x: Array) -> Array:                      # x  (n, n_in)
        return x @ (p.W * p.W_mask)                                   #    (n, n_out)

    def pull(self, p: Vars, dz: Array, x: Array) -> tuple[Array, Array]:  # dz (n, n_out)
        return dz @ (p.W * p.W_mask).T, (x.T @ dz) * p.W_mask

    def update(self, cur_loss: float | None = None) -> None:
        super().update(cur_loss)
        if self.trainable and self.parameters:
            self.parameters = self.parameters | self.evolve(self.parameters.W, self.parameters.W_mask)

    def evolve(self, W: Array, mask: Array) -> Vars:
        """W and W_mask with the weakest connections replaced; their number stays."""
        w, kept = (W * mask).ravel(), mask.ravel().copy()
        for sign in (1, -1):
            of_sign = np.flatnonzero(sign * w > 0)
            kept[of_sign[np.argsort(abs(w[of_sign]))[:int(self.zeta * len(of_sign))]]] = 0
        grown = self.rng.choice(np.flatnonzero(kept == 0), int(mask.sum() - kept.sum()), replace=False)
        w[grown], kept[grown] = drawn(self, W.shape, self.rng).ravel()[grown], 1
        return Vars(W=(w * kept).reshape(W.shape), W_mask=kept.reshape(W.shape))
