"""Pooling: the largest, or the mean, of each window."""
from __future__ import annotations

from typing import Any

import numpy as np

from .base import Array, Layer, Out, Vars, hyper
from .windows import Windows, pads, pairs


class Pool2D(Layer):
    """y = max or mean of each window. Padded zeros take part in both; of equal maxima the first takes the cotangent."""
    law = "n rows cols ch -> n out_rows out_cols ch"
    kernel_shape: Any = hyper([1, 2, (2, 3), (3, 1)], valid=pairs(1))
    stride: Any = hyper([1, 2, (1, 3)], default=1, valid=pairs(1))
    pad: Any = hyper([0, 1, "same", (1, 0), (0, 1, 2, 1)], default=0, valid=pads(["same"], [2, 4]))
    mode: str = hyper(["max", "average"], default="max")

    windows = property(lambda self: Windows.of(self.kernel_shape, self.stride, self.pad))

    def out_rows(self, rows: int) -> int:
        return self.windows.rows.count(rows)

    def out_cols(self, cols: int) -> int:
        return self.windows.cols.count(cols)

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
