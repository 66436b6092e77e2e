"""Convolutions: cross-correlation of (n, …, channels) with kernels (k…, in_ch, out_ch), and its adjoint.

`stride` and `dilation`, the number of entries skipped between two of the kernel, are numbers or (rows, cols); `pad` is a number,
(rows, cols), (top, bottom, left, right), or "same", which keeps the length at every stride.
"""
from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .activations import ACTIVATIONS, activation
from .base import Act, Array, Vars, hyper, param, zero
from .dense import Weighted
from .windows import Windowed, Windows, wholes

KERNELS, PADS, STRIDES = [1, 2, (2, 3), (3, 1)], [0, 1, "same", (1, 0), (0, 1, 2, 1)], [1, 2, (1, 3)]


class Conv1D(Weighted):
    """y = f(pad(x) ⋆ W + b) along the middle axis. `pad` is a number, (left, right), "same", or "causal": all of it ahead, so that no
    output sees a later input.
    """
    law = "n l_in in_ch -> n l_out out_ch"
    work = "2 n l_out out_ch kernel_width in_ch"
    out_ch: int = hyper(range(1, 4))
    kernel_width: int = hyper(range(1, 4))
    pad: Any = hyper([0, 1, "same", "causal", (2, 1)], default=0, valid=wholes(0, 2, names=("same", "causal")))
    stride: int = hyper(range(1, 4), default=1)
    dilation: int = hyper(range(3), default=0)
    act_fn: Act = hyper(ACTIVATIONS, default=None, valid=activation)
    init: str = "glorot_uniform"
    W = param("kernel_width in_ch out_ch")
    b = param("out_ch", zero)

    @property
    def windows(self) -> Windows:
        pad = self.pad if isinstance(self.pad, str) else (0, 0, *(self.pad if np.ndim(self.pad) else (self.pad, self.pad)))
        return Windows.of((1, self.kernel_width), (1, self.stride), pad, (0, self.dilation))

    def l_out(self, l_in: int) -> int:
        return self.windows.cols.count(l_in)

    def apply(self, p: Vars, x: Array) -> Array:                      # x  (n, l_in, in_ch)
        return self.windows.correlate(x[:, None], p.W[None])[:, 0]    #    (n, l_out, out_ch)

    def pull(self, p: Vars, dz: Array, x: Array) -> tuple[Array, Array]:  # dz (n, l_out, out_ch)
        x, dz = x[:, None], dz[:, None]
        return self.windows.spread(dz, p.W[None], x.shape)[:, 0], self.windows.weigh(x, dz)[0]


class Kernel2D(Windowed, Weighted):
    """What the two convolutions of images have in common: options and arrays."""
    out_ch: int = hyper(range(1, 4))
    kernel_shape: Any = hyper(KERNELS, valid=wholes(1, 2))
    pad: Any = hyper(PADS, default=0, valid=wholes(0, 2, 4, names=("same",)))
    stride: Any = hyper(STRIDES, default=1, valid=wholes(1, 2))
    dilation: Any = hyper([0, 1, (2, 0)], default=0, valid=wholes(0, 2))
    act_fn: Act = hyper(ACTIVATIONS, default=None, valid=activation)
    optimizer: Any = None
    init: str = "glorot_uniform"
    W = param("kernel_rows kernel_cols in_ch out_ch")
    b = param("out_ch", zero)


class Conv2D(Kernel2D):
    """y = f(pad(x) ⋆ W + b)"""
    law = "n rows cols in_ch -> n out_rows out_cols out_ch"
    work = "2 n out_rows out_cols out_ch kernel_rows kernel_cols in_ch"

    def apply(self, p: Vars, x: Array) -> Array:                      # x  (n, rows, cols, in_ch)
        return self.windows.correlate(x, p.W)                         #    (n, out_rows, out_cols, out_ch)

    def pull(self, p: Vars, dz: Array, x: Array) -> tuple[Array, Array]:  # dz (n, out_rows, out_cols, out_ch)
        return self.windows.spread(dz, p.W, x.shape), self.windows.weigh(x, dz)


class Deconv2D(Kernel2D):
    """y = f(x ⋆' W + b), ⋆' being Conv2D's adjoint: each entry of x lays its multiple of the kernel into y, whose `pad` is cut off."""
    law = "n rows cols in_ch -> n out_rows out_cols out_ch"
    work = "2 n rows cols in_ch kernel_rows kernel_cols out_ch"
    dilation: ClassVar[int] = 0                                       # type: ignore[misc]  # which is no option here

    def out_rows(self, rows: int) -> int:
        return self.windows.rows.size(rows)

    def out_cols(self, cols: int) -> int:
        return self.windows.cols.size(cols)

    def apply(self, p: Vars, x: Array) -> Array:                      # x  (n, rows, cols, in_ch)
        shape = (len(x), self.out_rows(x.shape[1]), self.out_cols(x.shape[2]), self.out_ch)
        return self.windows.spread(x, p.W.swapaxes(2, 3), shape)      #    (n, out_rows, out_cols, out_ch)

    def pull(self, p: Vars, dz: Array, x: Array) -> tuple[Array, Array]:  # dz (n, out_rows, out_cols, out_ch)
        return self.windows.correlate(dz, p.W.swapaxes(2, 3)), self.windows.weigh(dz, x).swapaxes(2, 3)
