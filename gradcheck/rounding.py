"""How far a backward pass's own rounding may carry it: measured, and only when an accusation hangs on it."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .inner import Array
from .subjects import Subject

DRAWS = 8                 # pullbacks at points one rounding away
MARGIN = 3.0              # on the largest move seen among them


def spread(s: Subject, dys: Sequence[Array], k: str, measure: Callable[[Array], float], rng: np.random.Generator) -> float:
    """The largest `measure` of how primal `k`'s cotangent moves when all that the pullback reads moves by one rounding.

    A cotangent that is small by cancellation has the rounding of what cancelled; no multiple of its own size tells that. The
    moved ones are compared with each other: one that is another at the point alone is no rounding.
    """
    with np.errstate(all="ignore"):
        first, *others = [s.pullback({n: jittered(rng, x) for n, x in s.primals.items()}, [jittered(rng, dy) for dy in dys]).get(k)
                          for _ in range(DRAWS + 1)]
    if first is None or any(d is None or d.shape != first.shape for d in others):
        return 0.0
    sizes = [measure(np.subtract(d, first, dtype=np.result_type(first, np.float64))) for d in others if d is not None]
    return MARGIN * max(sizes) if np.isfinite(sizes).all() else 0.0


def kept(dys: Sequence[Array], ys: Sequence[Array], eps: float) -> float:
    """How far ⟨d, v⟩ may be off because the values that forward kept are rounded, which no rounding of the inputs shows: 1 − y² where y is nearly 1."""
    return eps * sum(float(np.sum(np.abs(dy * y))) for dy, y in zip(dys, ys, strict=True))


def jittered(rng: np.random.Generator, x: Array) -> Array:
    """Every entry one unit in the last place up or down."""
    if x.dtype.kind not in "fc":
        return np.copy(x)
    return np.asarray(x * (1 + np.finfo(x.dtype).eps * rng.choice([-1, 1], x.shape)), x.dtype)
