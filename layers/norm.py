"""Normalisation by statistics of the batch or of each example: of a matrix, along its axis 0 or 1."""
from __future__ import annotations

import numpy as np

from .base import Array, Layer, Out, Vars, buffer, hyper, interval, one, param, total, zero


def normalise(x: Array, axis: int, epsilon: float) -> tuple[Array, Array, Array, Array]:
    """(x − mean) / s with s = √(var + epsilon), and s, mean, var. Of no entries mean and var are 0."""
    count = max(1, x.shape[axis])
    mean = total(x, axis) / count
    N = x - mean
    var = total(N * N, axis) / count
    s = np.sqrt(var + epsilon)
    N *= 1 / s
    return N, s, mean, var


def centre(dN: Array, N: Array, axis: int) -> Array:
    """The adjoint of `normalise`, but for the factor 1 / s: dN − mean(dN) − N mean(dN ∘ N)."""
    count = max(1, N.shape[axis])
    out = N * (total(dN * N, axis) / -count)
    out -= total(dN, axis) / count
    out += dN
    return out


class Norm(Layer):
    """What both kinds share: N = (x − mean) / s as a matrix, then y = scaler N + intercept."""

    def affine(self, p: Vars, N: Array, x: Array) -> Array:           # N (rows, entries of scaler)
        y = N * p.scaler.reshape(-1)
        y += p.intercept.reshape(-1)
        return y.reshape(x.shape)

    def weights(self, p: Vars, r: Vars, dy: Array) -> Vars:           # dy as N
        return Vars(scaler=total(dy * r.N, 0).reshape(p.scaler.shape), intercept=total(dy, 0).reshape(p.scaler.shape))


class BatchNorm(Norm):
    """y = scaler (x − mean) / √(var + epsilon) + intercept for each channel. In training the statistics are the batch's, otherwise, and
    then for backward too, the running ones: running ← momentum · running + (1 − momentum) · batch, var with divisor n. Frozen, or
    without retaining the input, it normalises as in evaluation (Ioffe and Szegedy, 2015).
    """
    momentum: float = hyper([0.0, 0.9], default=0.9, valid=interval(0, 1, closed=True))
    epsilon: float = hyper([1e-5, 1e-2], default=1e-5, valid=interval(0, np.inf))
    scaler, intercept = param("ch", one), param("ch", zero)
    running_mean, running_var = buffer("ch", zero), buffer("ch", one, "> 0")

    def reset_running_stats(self) -> None:
        """Mean 0 and variance 1, as at first."""
        start = Vars(running_mean=0, running_var=1)
        self.parameters = self.parameters | {k: np.full_like(v, start[k]) for k, v in self.parameters.items() if k in start}

    def learning(self, retain: bool) -> bool:
        return self.training and self.trainable and retain

    def fwd(self, p: Vars, x: Array) -> Out:                          # x (n, …, ch)
        X = x.reshape(-1, x.shape[-1])                                # X, N (rows, ch)
        if not p.train:
            s = np.sqrt(p.running_var + self.epsilon)
            N = (X - p.running_mean) / s
            return self.affine(p, N, x), Vars(X=x, N=N, s=s)
        N, s, mean, var = normalise(X, 0, self.epsilon)
        kept = self.momentum if x.size else 1
        moved = {k: kept * p[k] + (1 - kept) * new[0] for k, new in (("running_mean", mean), ("running_var", var))}
        return self.affine(p, N, x), Vars(X=x, N=N, s=s, **moved)

    def bwd(self, p: Vars, r: Vars, dy: Array) -> Out:                # dy (n, …, ch)
        dY = dy.reshape(r.N.shape)
        dX = centre(dY, r.N, 0) if p.train else dY                    # dX (rows, ch)
        return (dX * (p.scaler / r.s)).reshape(dy.shape), self.weights(p, r, dY)


class LayerNorm(Norm):
    """y = scaler (x − mean) / √(var + epsilon) + intercept for each example, alike in training and evaluation (Ba et al., 2016)."""
    epsilon: float = hyper([1e-5, 1e-2], default=1e-5, valid=interval(0, np.inf))

    def fwd(self, p: Vars, x: Array) -> Out:                          # x (n, …)
        N, s, _, _ = normalise(x.reshape(len(x), -1) if x.size else x.reshape(0, p.scaler.size), 1, self.epsilon)
        return self.affine(p, N, x), Vars(X=x, N=N, s=s)              # N (n, m), s (n, 1)

    def bwd(self, p: Vars, r: Vars, dy: Array) -> Out:                # dy (n, …)
        dY = dy.reshape(r.N.shape)
        dX = centre(dY * p.scaler.reshape(-1), r.N, 1)                # dX (n, m)
        dX *= 1 / r.s
        return dX.reshape(dy.shape), self.weights(p, r, dY)


class BatchNorm1D(BatchNorm):
    __doc__ = BatchNorm.__doc__
    law = "n ch -> n ch"


class BatchNorm2D(BatchNorm):
    __doc__ = BatchNorm.__doc__
    law = "n rows cols ch -> n rows cols ch"


class LayerNorm1D(LayerNorm):
    __doc__ = LayerNorm.__doc__
    law = "n n_in -> n n_in"
    scaler, intercept = param("n_in", one), param("n_in", zero)


class LayerNorm2D(LayerNorm):
    __doc__ = LayerNorm.__doc__
    law = "n rows cols ch -> n rows cols ch"
    scaler, intercept = param("rows cols ch", one), param("rows cols ch", zero)
