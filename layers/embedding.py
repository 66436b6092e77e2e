"""Rows of a table, looked up by number."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csc_array

from gradcheck.law import Shape, ShapeError

from .base import Array, Layer, Out, Rng, Vars, hyper, numbers, param

ABSENT = -1                          # fills up the shorter of several lists of ids; only `admit` writes it
FEW = 64                             # ids, to which a sparse matrix is not worth its making


class Embedding(Layer):
    """y = W[ids], or with `pool` the sum or mean of W[ids] over each example's ids. These may be lists of any length; an empty one gives 0.
    Ids have no cotangent, and no dtype to follow: W is of the layer's `dtype`, float64 unless that is set.
    """
    n_out: int = hyper(range(1, 5))
    vocab_size: int = hyper(range(1, 7))
    pool: str | None = hyper([None, "sum", "mean"], default=None)
    init: str = "glorot_uniform"
    W = param("vocab_size n_out")

    @property
    def law(self) -> str:                                             # type: ignore[override]
        return f"n n_in -> n {'1' if self.pool else 'n_in'} n_out"

    def sample(self, rng: Rng, i: int, shape: Shape) -> Array:
        return rng.integers(self.vocab_size, size=shape)

    def admit(self, x: Any) -> Array:
        """Ids as an array, lists of different lengths filled up. Errors: TypeError unless integers, ValueError unless in the vocabulary."""
        if not self.pool or isinstance(x, np.ndarray) or not isinstance(x, Iterable):
            return self._ids(x)
        rows = [self._ids(row) for row in x]
        if deep := [row.shape for row in rows if row.ndim != 1]:
            raise ShapeError(f"Embedding with pool={self.pool!r} takes one list of ids for each example, got one of shape {deep[0]}")
        ids = np.full((len(rows), max([1, *map(len, rows)])), ABSENT)
        for row, out in zip(rows, ids, strict=True):
            out[:len(row)] = row
        return ids

    def _ids(self, x: ArrayLike) -> Array:
        ids = numbers(x, "iu", "Embedding takes integer ids")
        if ids.size and ids.astype(np.uint64, copy=False).max() >= self.vocab_size:   # -1 is 2^64 - 1
            raise ValueError(f"Embedding has ids from 0 to {self.vocab_size - 1}, got {ids.min()} to {ids.max()}")
        return ids

    def lookup(self, ids: ArrayLike) -> Array:
        """(M,) -> (M, n_out), retaining nothing; on a new layer too."""
        found = self._ids(ids)
        self.parameters = self.parameters or self.draw("parameter", self.rng, {}, self.dtype or np.float64)
        return self.parameters.W[found]

    def counts(self, ids: Array, dtype: Any) -> csc_array:
        """The matrix C' with y = C W: for each id how often, or with which share, each row of y holds it."""
        if not self.pool:
            return csc_array((np.ones(ids.size, dtype), ids.ravel(), np.arange(ids.size + 1)), (self.vocab_size, ids.size))
        there = ids != ABSENT                                         # a row of y is that of one example
        sizes = there.sum(1)
        share = 1 / np.maximum(1, sizes) if self.pool == "mean" else np.ones(len(ids))
        ends = np.concatenate([[0], sizes.cumsum()])
        return csc_array((np.repeat(share, sizes).astype(dtype), ids[there], ends), (self.vocab_size, len(ids)))

    def fwd(self, p: Vars, ids: Array) -> Out:                        # ids (n, n_in)
        y = p.W.take(ids, 0) if not self.pool else (self.counts(ids, p.W.dtype).T @ p.W)[:, None]
        return y, Vars(X=ids)                                         # y (n, n_in or 1, n_out)

    def bwd(self, p: Vars, r: Vars, dy: Array) -> Out:                # dy (n, n_in or 1, n_out)
        if self.pool or r.X.size > FEW:
            return None, Vars(W=self.counts(r.X, dy.dtype) @ dy.reshape(-1, self.n_out))
        dW = np.zeros((self.vocab_size, self.n_out), dy.dtype)
        np.add.at(dW, r.X, dy)
        return None, Vars(W=dW)
