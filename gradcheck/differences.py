"""Numerical derivatives with an error bound that is true.

`g(t)` is a vector of K components along one direction. A `Ladder` holds its central differences at a geometric sequence
of steps; `slope` extrapolates a weighted sum of the components and says how far from the truth it may be. Steps and
bounds follow from the precision of the values, claimed (`eps`) and measured (`noise`); there is nothing to tune.
Sources: Richardson and Ridders for the table, Moré and Wild for the noise of computed functions.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import comb

import numpy as np

Array = np.ndarray
Curve = Callable[[float], Array]

LEVELS = 7                # of the table; two far smaller steps stand beside it as its witnesses
ORDER = 9                 # first step eps^(1/9): where the error of the table's eighth order meets rounding
SIGMAS = 4.0              # of the rounding noise that a bound covers
SAFETY = 3.0              # on the disagreement of neighbours, which estimates an error of nearly their own size


@dataclass(frozen=True)
class Ladder:
    """Differences of K components at L steps, largest first; the last two are the witnesses.

    odd (L, K): (g(h) − g(−h)) / 2h. even (L, K): (g(h) + g(−h) − 2 g(0)) / h, which vanishes with h unless 0 is a kink.
    noise (K,): the standard deviation of the rounding in each component. Non-finite values stay: they are domain edges.
    """
    steps: Array
    odd: Array
    even: Array
    noise: Array
    calls: int

    @property
    def usable(self) -> Array:
        """Which components are finite and without a kink at the point itself, as far as the witnesses can tell.

        A central difference never sees a kink that it sits on: it agrees with itself, for every step, on the mean of
        two slopes. The even part does: it vanishes with h where g is smooth and stays where it is not.
        """
        (wide, narrow), h = np.abs(self.even[-2:]), self.steps[-1]
        with np.errstate(all="ignore"):
            kinked = (narrow > 4 * SIGMAS * self.noise / h) & (narrow > 0.7 * wide)
            return np.isfinite(self.odd[-2:]).all(axis=0) & np.isfinite(narrow) & ~kinked

    def total(self, kept: Array) -> Ladder:
        """The ladder of the sum of the components kept."""
        def add(rows: Array) -> Array:
            return rows[:, kept].sum(axis=1, keepdims=True)
        return Ladder(self.steps, add(self.odd), add(self.even), np.sqrt(add(self.noise[None] ** 2))[0], self.calls)


@dataclass(frozen=True)
class Slope:
    """A derivative and what is known of it: |value − truth| ≤ bound. Arrays over components, or numbers for one sum."""
    value: Array
    bound: Array
    step: Array           # the smallest step that the value rests on


def climb(g: Curve, g0: Array, noise: Array, eps: float, rng: np.random.Generator, reach: float = 1.0) -> Ladder:
    """Evaluate `g` at ± each step. `reach` < 1 shrinks every step of the table: another scale, for sharp features.

    The start is random and the ratio is not 2: on a fixed grid an oscillation can agree with itself at every level.
    """
    first, small = reach * eps ** (1 / ORDER), eps ** (3 / 8)
    ratio = np.clip((first / (4 * small)) ** (1 / (LEVELS - 1)), 1.5, 3.0) * rng.uniform(0.92, 1.08)
    table = first * rng.uniform(0.7, 1.2) * ratio ** -np.arange(LEVELS)
    witnesses = min(small, table[-1] / 3) * rng.uniform(0.8, 1.2) * np.array([1.0, 0.37])
    steps = np.concatenate([table, witnesses])
    with np.errstate(all="ignore"):
        up, down = (np.stack([g(s * h) for h in steps]) for s in (1, -1))
        h = steps[:, None]
        return Ladder(steps, (up - down) / (2 * h), (up + down - 2 * g0) / h, noise, 2 * len(steps))


def noise_of(g: Curve, g0: Array, eps: float) -> tuple[Array, int]:
    """The standard deviation of each component's rounding, and the calls it took (Moré and Wild's difference table).

    Points lie on one side of 0 only, so that a kink there is not taken for noise. Never below half a rounding of the value.
    """
    step, points = eps ** (3 / 8) / 2, 9
    values = np.stack([g0, *(g(j * step) for j in range(1, points))])
    with np.errstate(all="ignore"):
        seen = [np.sqrt(np.mean(np.diff(values, k, axis=0) ** 2, axis=0) / comb(2 * k, k)) for k in (3, 4, 5, 6)]
        return np.fmax(np.fmin.reduce(seen), eps / 2 * np.abs(g0)), points - 1


@lru_cache(maxsize=64)
def _weights(steps: tuple[float, ...]) -> tuple[Array, tuple[tuple[int, int], ...]]:
    """Rows of weights: cell (i, j) of the table extrapolates rows i−j … i to h² = 0 (Lagrange)."""
    x, cells, rows = np.square(steps), [], []
    for i in range(len(steps)):
        for j in range(i + 1):
            row, span = np.zeros(len(steps)), range(i - j, i + 1)
            for k in span:
                row[k] = np.prod([x[m] / (x[m] - x[k]) for m in span if m != k])
            cells.append((i, j))
            rows.append(row)
    return np.array(rows), tuple(cells)


def extrapolate(ladder: Ladder) -> Slope:
    """Each component's derivative from its own table, distrusted where the witnesses contradict it."""
    n = len(ladder.steps) - 2
    weights, cells = _weights(tuple(ladder.steps[:n]))
    rounding = SIGMAS * np.sqrt(np.sum((weights / ladder.steps[:n]) ** 2, axis=1) / 2)      # of each cell, for unit noise
    place = {c: k for k, c in enumerate(cells)}
    with np.errstate(all="ignore"):
        table = _nan_weighted(weights, ladder.odd[:n])                                     # (cells, K)
        error = np.full_like(table, np.inf)
        for (i, j), k in place.items():
            if j >= 1 and i >= 2:
                near = [place[c] for c in ((i, j - 1), (i - 1, j - 1), (i - 1, j)) if c in place]
                error[k] = SAFETY * np.max(np.abs(table[k] - table[near]), axis=0) + rounding[k] * ladder.noise
        error = np.where(np.isfinite(error), error, np.inf)
        best = np.argmin(error, axis=0)
        columns = np.arange(table.shape[1])
        value, bound = table[best, columns], error[best, columns]
        step = ladder.steps[:n][np.array([c[0] for c in cells])[best]]
        return _witnessed(ladder, value, bound, step)


def clean(ladder: Ladder, usable: Array, most: float, relative: float) -> Array:
    """Which usable components to keep so that their sum's bound is below `relative` × their size: all, if all serve.

    A kink within the steps spoils the tables of the components that it feeds. Those are left out, at most the share
    `most`; if more are unclean they are all kept, and the bound says how coarse the sum is.
    """
    whole, size = ladder.total(usable), float(np.sqrt(np.sum(ladder.odd[-2, usable] ** 2)))
    if usable.sum() < 2 or float(extrapolate(whole).bound[0]) <= relative * size:
        return usable
    kept = usable & (extrapolate(ladder).bound <= relative * size / np.sqrt(usable.sum()))
    return kept if kept.sum() > (1 - most) * usable.sum() else usable


def _witnessed(ladder: Ladder, value: Array, bound: Array, step: Array) -> Slope:
    """Replace what the two small steps contradict: a table can agree with itself across kinks, but not with them."""
    (a, b), (ha, hb) = ladder.odd[-2:], ladder.steps[-2:]
    small = SAFETY * np.abs(a - b) + SIGMAS * ladder.noise / hb
    wrong = ~(np.abs(value - a) <= bound + small) | (small < bound)
    return Slope(np.where(wrong, a, value), np.where(wrong, small, bound), np.where(wrong, ha, step))


def _nan_weighted(weights: Array, odd: Array) -> Array:
    """weights @ odd, where a non-finite row spoils only the cells that use it."""
    finite = np.isfinite(odd)
    table = weights @ np.where(finite, odd, 0.0)
    spoilt = (weights != 0).astype(float) @ (~finite).astype(float) > 0
    return np.where(spoilt, np.nan, table)
