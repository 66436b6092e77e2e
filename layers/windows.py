"""Sliding windows over the two middle axes of (n, rows, cols, ch), and what can be done with them: all that convolution and pooling share.

With u the unfolding of padded images into windows, W a kernel (kr, kc, c, o), and ⟨ , ⟩ the sum of products:

    correlate(x, W) = u(x) W        spread(y, W) = u'(y W'), its adjoint in x        weigh(x, y) = u(x)' y, its adjoint in W
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product
from numbers import Integral
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gradcheck.law import ShapeError

from .base import Array, is_whole
from .spec import suggest

Pad = int | str | tuple[int, ...]
CACHE = 2 ** 20                     # bytes of windows to unfold at a time: what fits a core's cache next to the kernel


@dataclass(frozen=True)
class Axis:
    """Windows along one axis: `kernel` entries, `step` apart; `stride` from one to the next; `pad` before and after, or by name."""
    kernel: int
    stride: int = 1
    pad: tuple[int, int] | str = (0, 0)
    step: int = 1

    @property
    def span(self) -> int:
        return (self.kernel - 1) * self.step + 1

    def pads(self, size: int) -> tuple[int, int]:
        """The padding of `size` entries. Named ones keep the length at every stride: "same" on both sides, "causal" before."""
        if not isinstance(self.pad, str):
            return self.pad
        total = self.stride * (size - 1) + self.span - size
        return (total, 0) if self.pad == "causal" else (total // 2, total - total // 2)

    def count(self, size: int) -> int:
        """How many windows `size` entries hold. Errors: ShapeError if not one."""
        padded = size + sum(self.pads(size))
        if padded < self.span:
            raise ShapeError(f"a kernel over {self.span} entries does not fit into {size}, padded to {padded}")
        return (padded - self.span) // self.stride + 1

    def size(self, count: int) -> int:
        """The smallest size that holds `count` windows. Errors: ShapeError if the padding leaves nothing."""
        size = count if isinstance(self.pad, str) else self.stride * (count - 1) + self.span - sum(self.pad)
        if size < 1:
            raise ShapeError(f"{count} windows over {self.span} entries, less padding {self.pad}, leave {size}")
        return size

    def reach(self, i: int, count: int) -> slice:
        """Where the i-th entries of the windows lie."""
        return slice(i * self.step, i * self.step + (count - 1) * self.stride + 1, self.stride)


def pair(v: Any) -> tuple[int, int]:
    """An int for both axes, or one for each."""
    return (int(v), int(v)) if isinstance(v, Integral) else tuple(v)   # type: ignore[return-value]


def pairs(low: int) -> Callable[[Any], None]:
    """Admits a whole number from `low` on, or two."""
    def valid(v: Any) -> None:
        if not (is_whole(v, low) or (np.ndim(v) == 1 and len(v) == 2 and all(is_whole(i, low) for i in v))):
            raise ValueError(f"expected a whole number from {low} on, or a pair of them, got {v!r}")
    return valid


def pads(names: list[str], counts: list[int]) -> Callable[[Any], None]:
    """Admits one of these names, a whole number from 0 on, or one of these counts of them."""
    def valid(v: Any) -> None:
        if isinstance(v, str) and v not in names:
            raise ValueError(suggest("padding", v, names))
        if not (isinstance(v, str) or is_whole(v, 0) or (np.ndim(v) == 1 and len(v) in counts and all(is_whole(i, 0) for i in v))):
            raise ValueError(f"expected a whole number from 0 on, {' or '.join(map(str, counts))} of them, or one of {names}, got {v!r}")
    return valid


@dataclass(frozen=True)
class Windows:
    """The windows of both axes."""
    rows: Axis
    cols: Axis

    @classmethod
    def of(cls, kernel: Any, stride: Any = 1, pad: Any = 0, dilation: Any = 0) -> Windows:
        """As the layers spell it: numbers or pairs; `pad` a number, (rows, cols), (top, bottom, left, right) or a name."""
        given: Any = (v if isinstance(v, str | Integral) else tuple(v) for v in (kernel, stride, pad, dilation))
        return _windows(*given)

    def padded(self, x: Array) -> Array:                             # (n, rows, cols, ch) -> (n, H, W, ch)
        if not any(self.rows.pads(x.shape[1]) + self.cols.pads(x.shape[2])):
            return x
        xp = self.blank(x.shape, x.dtype)
        self.inner(xp, x.shape)[:] = x
        return xp

    def counts(self, shape: tuple[int, ...]) -> tuple[int, int]:
        return self.rows.count(shape[1]), self.cols.count(shape[2])

    @lru_cache                                                        # noqa: B019
    def slices(self, R: int, C: int) -> list[tuple[slice, slice, slice]]:
        """For each place in the kernel, in order, where it lies in the padded images."""
        places = product(range(self.rows.kernel), range(self.cols.kernel))
        return [(slice(None), self.rows.reach(i, R), self.cols.reach(j, C)) for i, j in places]

    def inner(self, x: Array, shape: tuple[int, ...]) -> Array:      # padded images -> those of `shape` within
        (top, _), (left, _) = self.rows.pads(shape[1]), self.cols.pads(shape[2])
        return x[:, top:top + shape[1], left:left + shape[2]]

    def blank(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Zeros for the padded images of `shape`."""
        n, rows, cols, ch = shape
        return np.zeros((n, rows + sum(self.rows.pads(rows)), cols + sum(self.cols.pads(cols)), ch), dtype)

    def view(self, x: Array, R: int, C: int) -> Array:               # padded (n, H, W, c) -> (n, R, C, kr, kc, c)
        a, b, (sn, sr, sc, sch) = self.rows, self.cols, x.strides
        return as_strided(x, (len(x), R, C, a.kernel, b.kernel, x.shape[3]),
                          (sn, sr * a.stride, sc * b.stride, sr * a.step, sc * b.step, sch), writeable=False)

    def unfold(self, x: Array) -> Iterator[tuple[slice, Array]]:
        """The windows, a few images at a time: which, and a matrix with a row for each window."""
        R, C = self.counts(x.shape)
        w = self.view(self.padded(x), R, C)                          # w (n, R, C, kr, kc, c)
        few = max(1, CACHE // max(1, w[:1].size * x.itemsize))
        for i in range(0, len(x), few):
            block = w[i:i + few]
            yield slice(i, i + len(block)), block.reshape(len(block) * R * C, -1)

    def correlate(self, x: Array, W: Array) -> Array:                # x (n, rows, cols, c), W (kr, kc, c, o)
        y = np.empty((len(x), *self.counts(x.shape), W.shape[3]), np.result_type(x, W))
        for at, u in self.unfold(x):
            np.matmul(u, W.reshape(-1, W.shape[3]), out=y[at].reshape(-1, W.shape[3]))
        return y                                                     # y (n, R, C, o)

    def weigh(self, x: Array, y: Array) -> Array:                    # x (n, rows, cols, c), y (n, R, C, o)
        shape = (self.rows.kernel, self.cols.kernel, x.shape[3], y.shape[3])
        dW = np.zeros((x.shape[3] * shape[0] * shape[1], shape[3]), np.result_type(x, y))
        for at, u in self.unfold(x):
            dW += u.T @ y[at].reshape(-1, shape[3])
        return dW.reshape(shape)                                     # dW (kr, kc, c, o)

    def spread(self, y: Array, W: Array, shape: tuple[int, ...]) -> Array:   # y (n, R, C, o), W (kr, kc, c, o)
        x = self.blank(shape, np.result_type(y, W))
        kernels = W.reshape(-1, *W.shape[2:])
        few = max(1, CACHE // max(1, y[:1].size * y.itemsize))
        for i in range(0, len(y), few):
            part = y[i:i + few].reshape(-1, y.shape[3])
            for at, w in zip(self.slices(*y.shape[1:3]), kernels, strict=True):
                x[i:i + few][at] += (part @ w.T).reshape(-1, *y.shape[1:3], shape[3])
        return self.inner(x, shape)                                  # x (n, rows, cols, c)


@cache
def _windows(kernel: Any, stride: Any, pad: Any, dilation: Any) -> Windows:
    sides = (pad,) * 2 if isinstance(pad, str) else (pad[:2], pad[2:]) if np.size(pad) == 4 else [(k, k) for k in pair(pad)]
    return Windows(*(Axis(k, s, p, d + 1) for k, s, p, d in zip(pair(kernel), pair(stride), sides, pair(dilation), strict=True)))
