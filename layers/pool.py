"""Pooling: the largest, or the mean, of each window."""
from __future__ import annotations

from typing import Any

import numpy as np

from .base import Array, Layer, Out, Vars, hyper
from .conv import KERNELS, PADS, STRIDES
from .windows import Windowed, wholes


class Pool2D(Windowed, Layer):
    """y = max or mean of each window. Padded zeros take part in both; of equal maxima the first takes the cotangent."""
    law = "n rows cols ch -> n out_rows out_cols ch"
    kernel_shape: Any = hyper(KERNELS, valid=wholes(1, 2))
    stride: Any = hyper(STRIDES, default=1, valid=wholes(1, 2))
    pad: Any = hyper(PADS, default=0, valid=wholes(0, 2, 4, names=("same",)))
    mode: str = hyper(["max", "average"], default="max")

    def fwd(self, p: Vars, x: Array) -> Out:                          # x  (n, rows, cols, ch)
        windows, best = self.windows, np.maximum if self.mode == "max" else np.add
        xp = windows.padded(x)
        first, *rest = (xp[at] for at in windows.places(*windows.grid(*x.shape[1:3]).windows))
        y = first.copy()                                              # y  (n, out_rows, out_cols, ch)
        for place in rest:
            best(y, place, out=y)
        if self.mode == "average":
            y *= 1 / (1 + len(rest))
        return y, Vars(X=x, Y=y)

    def bwd(self, p: Vars, r: Vars, dy: Array) -> Out:                # dy (n, out_rows, out_cols, ch)
        windows = self.windows
        dxp, places = windows.blank(r.X.shape, dy.dtype), windows.places(*dy.shape[1:3])
        if self.mode == "average":
            share = dy / len(places)
            for at in places:
                dxp[at] += share
        else:
            xp, left = windows.padded(r.X), dy.copy()                 # left: what no earlier place of the window has taken
            for at in places:
                taken = left * (xp[at] == r.Y)
                dxp[at] += taken
                left -= taken
        return dxp[windows.grid(*r.X.shape[1:3]).inner], Vars()
