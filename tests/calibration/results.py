"""What many trials say, as JSON: tables, promises, figures.

Functions that constants were chosen on stand in rows of their own and count nowhere else.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from . import page
from .functions import Function
from .trials import Trial, summary

TRIALS, FUNCTIONS = 20_000, 40        # promised at least
SMOOTH = ("elementwise", "reduction", "normalisation", "softmax and attention", "recurrent", "oscillation", "scale", "poles", "sharp features",
          "domain edges", "complex")
QUARTERS = np.arange(-6, 2, 0.25)     # log10 of error / bound, for the histogram


def results(found: Sequence[Trial]) -> dict[str, Any]:
    """All of the page that trials tell."""
    said = [t for t in found if not t.function.tune] or found
    measured, promises = [t for t in said if t.left_out < 1], list(promised(said))
    counts, _ = np.histogram([np.log10(max(t.ratio, 1e-6)) for t in measured], [*QUARTERS, np.inf])
    return {"overall": summary(said), "promises": promises, "met": all(p["kept"] for p in promises),
            "families": [group(list(ts)) for _, ts in groupby(said, key=lambda t: (t.function.family, t.function.dtype))],
            "functions": [{**named(f), **summary(list(ts))} for f, ts in groupby(found, key=lambda t: t.function)],
            "misses": [{**named(t.function), "seed": t.seed, "ratio": t.ratio, "error": t.error / t.size, "bound": t.bound / t.size}
                       for t in sorted(measured, key=lambda t: -t.ratio) if t.ratio > 1],
            "points": {dtype: page.pixels([(t.bound / t.size, t.error / t.size) for t in measured if t.function.dtype == dtype and t.size > 0])
                       for dtype in page.COLOURS},
            "counts": [(10.0**low, int(n)) for low, n in zip(QUARTERS, counts, strict=True)]}


def promised(said: Sequence[Trial]) -> Iterator[dict[str, Any]]:
    """Each promise with what was measured."""
    overall, functions = summary(said), len({t.function for t in said})
    smooth, narrow = summary([t for t in said if t.function.family in SMOOTH]), summary([t for t in said if t.function.dtype == "float32"])
    for promise, measured, kept in (
            ("at least 40 functions", f"{functions}", functions >= FUNCTIONS),
            ("at least 20,000 trials", f"{overall['trials']}", overall["trials"] >= TRIALS),
            ("|error| ≤ bound in at least 99.9 %", page.share(overall["covered"]), overall["covered"] >= 0.999),
            ("never worse than 10 bounds", page.power(overall["worst"]), overall["worst"] <= 10),
            ("median bound at most 1e-11 for smooth functions in float64", page.power(smooth["median_bound"]), smooth["median_bound"] <= 1e-11),
            ("median bound at most 1e-4 in float32", page.power(narrow["median_bound"]), narrow["median_bound"] <= 1e-4),
            ("at most 20 calls a probe in the median", f"{overall['median_calls']:.1f}", overall["median_calls"] <= 20)):
        yield {"promise": promise, "measured": measured, "kept": bool(kept)}


def group(ts: list[Trial]) -> dict[str, Any]:
    f = ts[0].function
    return {"family": f.family, "dtype": f.dtype, "functions": len({t.function for t in ts}), **summary(ts)}


def named(f: Function) -> dict[str, str]:
    return {"family": f.family, "name": f.name, "dtype": f.dtype, "role": "tune" if f.tune else "report"}
