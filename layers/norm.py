"""Normalisation by statistics of the batch or of each example: of a matrix, along its axis 0 or 1."""
from __future__ import annotations

import math

import numpy as np

from .activations import total
from .base import Array, Layer, Out, Vars, buffer, hyper, interval, one, param, zero


def products(x: Array, y: Array, axis: int) -> Array:                # (r, c), (r, c) -> (c) or (r)
    """The sum of x ∘ y over one axis of a matrix, without an array of the products."""
    return np.einsum("ij,ij->j", x, y) if axis == 0 else np.vecdot(x, y)


def fold(v: Array, ch: int) -> Array:                                # (k ch) -> (ch)
    return v if v.size == ch else v.reshape(-1, ch).sum(0)


def spread(v: Array, x: Array) -> Array:                             # (ch), (rows, k ch) -> (k ch)
    return v if v.size == x.shape[1] else np.concatenate([v] * (x.shape[1] // v.size))


class BatchNorm(Layer):
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
        ch, count = x.shape[-1], max(1, x.size // x.shape[-1])
        X = x.reshape(-1, math.prod(x.shape[1:][-2:]))                # X, C (rows, k ch): short rows would be slow
        mean = fold(total(X, 0), ch) / count if p.train else p.running_mean
        C = X - spread(mean, X)
        var = fold(products(C, C, 0), ch) / count if p.train else p.running_var
        s = np.sqrt(var + self.epsilon)
        y = C * spread(p.scaler / s, X)
        y += spread(p.intercept, X)
        kept = self.momentum if p.train and x.size else 1
        moved = {k: kept * p[k] + (1 - kept) * new for k, new in (("running_mean", mean), ("running_var", var))}
        return y.reshape(x.shape), Vars(X=x, C=C, s=s, **moved)

    def bwd(self, p: Vars, r: Vars, dy: Array) -> Out:                # dy (n, …, ch)
        ch, count, dY = dy.shape[-1], max(1, dy.size // dy.shape[-1]), dy.reshape(r.C.shape)
        d = Vars(scaler=fold(products(dY, r.C, 0), ch) / r.s, intercept=fold(total(dY, 0), ch))
        slope = spread(p.scaler / r.s, dY)
        if not p.train:
            return (dY * slope).reshape(dy.shape), d
        dX = r.C * spread(d.scaler / (-count * r.s), dY)              # dy − mean(dy) − N mean(dy ∘ N), with N = C / s
        dX += dY
        dX -= spread(d.intercept / count, dY)
        dX *= slope
        return dX.reshape(dy.shape), d


class LayerNorm(Layer):
    """y = scaler (x − mean) / √(var + epsilon) + intercept for each example, alike in training and evaluation (Ba et al., 2016)."""
    epsilon: float = hyper([1e-5, 1e-2], default=1e-5, valid=interval(0, np.inf))

    def fwd(self, p: Vars, x: Array) -> Out:                          # x (n, …)
        m, scaler, intercept = p.scaler.size, p.scaler.reshape(-1), p.intercept.reshape(-1)
        X = x.reshape(len(x), m)                                      # X, N (n, m)
        N = X - total(X, -1)[:, None] / m
        s = np.sqrt(products(N, N, 1)[:, None] / m + self.epsilon)    # s (n, 1)
        N *= 1 / s
        y = N * scaler
        y += intercept
        return y.reshape(x.shape), Vars(X=x, N=N, s=s)

    def bwd(self, p: Vars, r: Vars, dy: Array) -> Out:                # dy (n, …)
        m, dY = p.scaler.size, dy.reshape(r.N.shape)
        dN = dY * p.scaler.reshape(-1)
        dX = r.N * (products(dN, r.N, 1)[:, None] / -m)               # dN − mean(dN) − N mean(dN ∘ N), over s
        dX += dN
        dX -= total(dN, -1)[:, None] / m
        dX *= 1 / r.s
        return dX.reshape(dy.shape), Vars(scaler=products(dY, r.N, 0).reshape(p.scaler.shape), intercept=total(dY, 0).reshape(p.scaler.shape))


class BatchNorm1D(BatchNorm):
    law = "n ch -> n ch"


class BatchNorm2D(BatchNorm):
    law = "n rows cols ch -> n rows cols ch"


class LayerNorm1D(LayerNorm):
    law = "n n_in -> n n_in"
    scaler, intercept = param("n_in", one), param("n_in", zero)


class LayerNorm2D(LayerNorm):
    law = "n rows cols ch -> n rows cols ch"
    scaler, intercept = param("rows cols ch", one), param("rows cols ch", zero)
