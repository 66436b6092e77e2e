"""Attention."""
from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck.law import Shape, ShapeError

from .base import Array, Layer, Out, Rng, Vars, hyper, interval, noise
from .elementwise import Dropout, Softmax


class DotProductAttention(Layer):
    """y = dropout(softmax(Q K' / √d_k)) V, the softmax over the keys; without the root if not `scale`. Axes before q and k are heads
    or batch. A mask, broadcast to (*, q, k), tells which keys a query may attend to; one without any gives 0 (Vaswani et al., 2017).
    `init` is accepted for symmetry: there are no weights.
    """
    law = "* q d_k, * k d_k, * k d_v -> * q d_v"
    work = "2 * q k d_k + 2 * q k d_v"
    scale: bool = hyper([True, False], default=True)
    dropout_p: float = hyper([0.0, 0.4], default=0.0, valid=interval(0, 1))
    init: str = "glorot_uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.softmax, self.dropout = Softmax(), Dropout(self.dropout_p)

    @noise("* q k", "in {0, c}")
    def dropout_mask(self, shape: Shape, rng: Rng) -> Array:
        return self.dropout.mask.draw(self.dropout, shape, rng)

    @noise("q k", "bool")
    def mask(self, shape: Shape, rng: Rng) -> Array:
        return rng.random(shape) < 0.8

    def forward(self, Q: Any, K: Any, V: Any, mask: Any = None, retain_derived: bool = True) -> Array:   # type: ignore[override]
        """The output; `mask` is boolean, True where a query may attend. Errors: ShapeError if it cannot be broadcast to (*, q, k)."""
        return self._run((Q, K, V), retain_derived, mask=mask)

    def chance(self, p, axes, dtype, *xs, mask=None):
        want = self.shape("* q k", axes)
        try:
            seen = None if mask is None else np.broadcast_to(np.asarray(mask, bool), want)
        except ValueError:
            raise ShapeError(f"DotProductAttention takes a mask that broadcasts to {want}, got shape {np.shape(mask)}") from None
        return Vars(dropout_mask=self._draw("dropout_mask", self.rng, axes, dtype), mask=seen)

    def fwd(self, p: Vars, Q: Array, K: Array, V: Array) -> Out:      # Q (*, q, d_k), K (*, k, d_k), V (*, k, d_v)
        c = Q.shape[-1] ** -0.5 if self.scale else 1.0
        S = (c * Q) @ K.swapaxes(-1, -2)                              # S (*, q, k)
        w, _ = self.softmax.fwd(p, S if p.mask is None else np.where(p.mask, S, -np.inf))
        D, _ = self.dropout.fwd(Vars(mask=p.dropout_mask, train=p.train), w)
        return D @ V, Vars(Q=Q, K=K, V=V, attention_weights=w, dropout_mask=p.dropout_mask, D=D)   # y (*, q, d_v)

    def bwd(self, p: Vars, r: Vars, dy: Array) -> Out:                # dy (*, q, d_v)
        c = r.Q.shape[-1] ** -0.5 if self.scale else 1.0
        dw, _ = self.dropout.bwd(Vars(mask=p.dropout_mask, train=p.train), Vars(), dy @ r.V.swapaxes(-1, -2))
        dS, _ = self.softmax.bwd(p, Vars(Y=r.attention_weights), dw)  # dS (*, q, k)
        dS *= c
        return (dS @ r.K, dS.swapaxes(-1, -2) @ r.Q, r.D.swapaxes(-1, -2) @ dy), Vars(S=dS)
