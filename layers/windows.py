"""Sliding windows over the two middle axes of (n, rows, cols, ch), and what can be done with them: all that convolution and pooling share.

With u the unfolding of padded images into windows, W a kernel (kr, kc, c, o), and ⟨ , ⟩ the sum of products:

    correlate(x, W) = u(x) W        spread(y, W) = u'(y W'), its adjoint in x        weigh(x, y) = u(x)' y, its adjoint in W
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from gradcheck.law import ShapeError

from .base import Array, is_whole, must

Pad = int | str | tuple[int, ...]
CACHE = 2 ** 19                     # bytes to work on at a time: what fits a core's cache, with as much again beside it


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


def wholes(low: int, *counts: int, names: tuple[str, ...] = ()) -> Callable[[Any], None]:
    """Admits a whole number from `low` on, one of these counts of them, or one of these names."""
    others = "".join(f", or {' or '.join(map(repr, these))}{of}" for these, of in ((counts, " of them"), (names, "")) if these)
    several = lambda v: np.ndim(v) == 1 and len(v) in counts and all(is_whole(i, low) for i in v)
    return must(f"a whole number from {low} on{others}", lambda v: v in names if isinstance(v, str) else is_whole(v, low) or several(v), names)


class Windowed:
    """What a layer over the windows of images has: `kernel_shape`, `stride` and `pad`, the sizes of its law, and `windows` themselves."""
    kernel_shape: Any
    stride: Any
    pad: Any
    dilation: Any = 0
    windows = property(lambda self: Windows.of(self.kernel_shape, self.stride, self.pad, self.dilation))
    kernel_rows = property(lambda self: pair(self.kernel_shape)[0])
    kernel_cols = property(lambda self: pair(self.kernel_shape)[1])

    def out_rows(self, rows: int) -> int:
        return self.windows.rows.count(rows)

    def out_cols(self, cols: int) -> int:
        return self.windows.cols.count(cols)


class Grid(NamedTuple):
    """Images of one size among their padding: the number of windows, the padded size, and where the image lies in it."""
    windows: tuple[int, int]
    padded: tuple[int, int]
    inner: tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of both axes."""
    rows: Axis
    cols: Axis

    @classmethod
    def of(cls, kernel: Any, stride: Any = 1, pad: Any = 0, dilation: Any = 0) -> Windows:
        """As the layers spell it: numbers or pairs; `pad` a number, (rows, cols), (top, bottom, left, right) or a name."""
        try:
            return _windows(kernel, stride, pad, dilation)
        except TypeError:                                            # a list or an array, which cannot be looked up
            return _windows(*(tuple(v) if np.ndim(v) else v for v in (kernel, stride, pad, dilation)))

    @lru_cache                                                        # noqa: B019
    def grid(self, rows: int, cols: int) -> Grid:
        """Errors: ShapeError if such an image holds no window."""
        (top, bottom), (left, right) = self.rows.pads(rows), self.cols.pads(cols)
        return Grid((self.rows.count(rows), self.cols.count(cols)), (rows + top + bottom, cols + left + right),
                    (slice(None), slice(top, top + rows), slice(left, left + cols)))

    @lru_cache                                                        # noqa: B019
    def places(self, R: int, C: int) -> list[tuple[slice, slice, slice]]:
        """For each place in the kernel, in order, where it lies in the padded images."""
        kernel = product(range(self.rows.kernel), range(self.cols.kernel))
        return [(slice(None), self.rows.reach(i, R), self.cols.reach(j, C)) for i, j in kernel]

    def blank(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Zeros for the padded images of `shape`."""
        return np.zeros((shape[0], *self.grid(*shape[1:3]).padded, shape[3]), dtype)

    def padded(self, x: Array) -> Array:                             # (n, rows, cols, ch) -> (n, H, W, ch)
        grid = self.grid(*x.shape[1:3])
        if grid.padded == x.shape[1:3]:
            return x
        xp = self.blank(x.shape, x.dtype)
        xp[grid.inner] = x
        return xp

    def unfold(self, x: Array) -> Iterator[tuple[slice, list[Array]]]:
        """The windows, a few images at a time: which, and for each row of the kernel what it meets, (few, R C, kc c), until the next few.

        A padded row is unfolded once, along its columns, for all the windows that it is in.
        """
        (R, C), xp, kernel = self.grid(*x.shape[1:3]).windows, self.padded(x), self.cols.kernel
        few = max(1, CACHE // max(1, xp.shape[1] * C * kernel * x.shape[3] * x.itemsize))
        held = np.empty((min(few, len(x)), xp.shape[1], C, kernel, x.shape[3]), x.dtype)
        for i in range(0, len(x), few):
            block = xp[i:i + few]
            lines = held[:len(block)]
            for j in range(kernel):
                lines[:, :, :, j] = block[:, :, self.cols.reach(j, C)]
            yield slice(i, i + few), [lines[:, self.rows.reach(k, R)].reshape(len(block), R * C, -1) for k in range(self.rows.kernel)]

    def correlate(self, x: Array, W: Array) -> Array:                # x (n, rows, cols, c), W (kr, kc, c, o)
        R, C = self.grid(*x.shape[1:3]).windows
        y = np.empty((len(x), R * C, W.shape[3]), np.result_type(x, W))
        first, *rest = W.reshape(len(W), -1, W.shape[3])
        for at, (u, *us) in self.unfold(x):
            block = np.matmul(u, first, out=y[at])
            for u, w in zip(us, rest, strict=True):
                block += u @ w
        return y.reshape(len(x), R, C, W.shape[3])                   # y (n, R, C, o)

    def weigh(self, x: Array, y: Array) -> Array:                    # x (n, rows, cols, c), y (n, R, C, o)
        shape = (self.rows.kernel, self.cols.kernel, x.shape[3], y.shape[3])
        dW = np.zeros((shape[0], shape[1] * shape[2], shape[3]), np.result_type(x, y))
        rows = y.reshape(len(y), y.shape[1] * y.shape[2], shape[3])
        for at, us in self.unfold(x):
            for u, d in zip(us, dW, strict=True):
                d += (u.swapaxes(1, 2) @ rows[at]).sum(0)
        return dW.reshape(shape)                                     # dW (kr, kc, c, o)

    def spread(self, y: Array, W: Array, shape: tuple[int, ...]) -> Array:   # y (n, R, C, o), W (kr, kc, c, o)
        x, size = self.blank(shape, np.result_type(y, W)), (-1, *y.shape[1:3], shape[3])
        kernels = W.reshape(-1, *W.shape[2:]).swapaxes(1, 2).copy()
        few = max(1, CACHE // max(1, y[:1].size * y.itemsize))
        for i in range(0, len(y), few):
            block, part = x[i:i + few], y[i:i + few].reshape(-1, y.shape[3])
            for at, w in zip(self.places(*y.shape[1:3]), kernels, strict=True):
                block[at] += (part @ w).reshape(size)
        return x[self.grid(*shape[1:3]).inner]                       # x (n, rows, cols, c)


@lru_cache
def _windows(kernel: Any, stride: Any, pad: Any, dilation: Any) -> Windows:
    sides = (pad,) * 2 if isinstance(pad, str) else (pad[:2], pad[2:]) if np.size(pad) == 4 else [(k, k) for k in pair(pad)]
    return Windows(*(Axis(k, s, p, d + 1) for k, s, p, d in zip(pair(kernel), pair(stride), sides, pair(dilation), strict=True)))
