"""Numerical derivatives with an error bound that is true.

`g(t)` is a vector of K components along one direction. A `Ladder` holds its central differences at a falling sequence
of steps; `extrapolate` turns them into a derivative and says how far from the truth it may be. Steps and bounds follow
from the precision of the values, claimed (`eps`) and measured (`noise`); there is nothing to tune.
Sources: Richardson and Ridders for the table, Moré and Wild for the noise of computed functions.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

Array = np.ndarray
Curve = Callable[[float], Array]

LEVELS = 6                # wide steps, for smooth functions; two far narrower ones stand below them, for all others
ORDER = 9                 # first step eps^(1/9): where the error of the table's eighth order meets rounding
SIGMAS = 4.0              # of the rounding noise that a bound covers
SAFETY = 3.0              # on the disagreement of neighbours, which estimates an error of nearly their own size
HOPELESS = 0.03           # noise beyond this share of the value itself: no format is so coarse, so the function is
PAIR = np.array([1.0, 0.37])                          # narrow steps come in twos: each is the other's witness
FAR = 10.0                # times as unclean as the typical component: spoilt by something of its own
DESCENT = 1 / 16          # how much narrower the next two are, where kinks lie within the last


@dataclass(frozen=True)
class Ladder:
    """Differences of K components at L steps, widest first; the last two are the narrow ones.

    odd (L, K): (g(h) − g(−h)) / 2h. even (L, K): (g(h) + g(−h) − 2 g(0)) / h, which vanishes with h unless 0 is a kink.
    noise (K,): the standard deviation of the rounding in each component. eps: the precision of values, and so of slopes from
    a value that is 0 at the point. Non-finite values stay: they are domain edges.
    """
    steps: Array
    odd: Array
    even: Array
    noise: Array
    eps: float
    calls: int

    @cached_property
    def kinked(self) -> Array:
        """Which components have a kink at the point, or are not finite beside it, as far as the two narrow steps tell.

        A central difference never sees a kink that it sits on: it agrees with itself, for every step, on the mean of two
        slopes. The even part does: it vanishes with h where g is smooth and stays where it is not.
        """
        (wide, narrow), h = np.abs(self.even[-2:]), self.steps[-1]
        with np.errstate(all="ignore"):
            stays = (narrow > 4 * SIGMAS * self.noise / h) & (narrow > 0.7 * wide)
        return np.asarray(stays | ~np.isfinite(self.odd[-2:]).all(axis=0) | ~np.isfinite(narrow))

    @cached_property
    def usable(self) -> Array:
        """Which components have a derivative that differences can see: no kink, more than noise, and not flat at narrow steps only.

        A dead unit near its kink and a value rounded to a coarse grid look alike: neither moves until a step is wide enough.
        """
        still = (self.odd == 0) & (self.even == 0)
        return np.asarray(~self.kinked & np.isfinite(self.noise) & (still.all(axis=0) | ~still[-2:].all(axis=0)))

    def total(self, kept: Array) -> Ladder:
        """The ladder of the sum of the components kept."""
        def add(rows: Array) -> Array:
            return np.asarray(rows[:, kept].sum(axis=1, keepdims=True))
        return replace(self, odd=add(self.odd), even=add(self.even), noise=np.sqrt(add(self.noise[None] ** 2))[0])


@dataclass(frozen=True)
class Slope:
    """A derivative and what is known of it: |value − truth| ≤ bound. Arrays over components."""
    value: Array
    bound: Array
    rounding: Array       # the part of the bound that narrower steps would only make larger
    step: Array           # the narrowest step that the value rests on

    @property
    def unclean(self) -> Array:
        """The part of the bound that is not rounding: truncation, or kinks within the steps."""
        with np.errstate(all="ignore"):
            return np.where(np.isfinite(self.bound), self.bound - self.rounding, np.inf)


def climb(g: Curve, g0: Array, noise: Array, eps: float, rng: np.random.Generator, reach: float = 1.0) -> Ladder:
    """Evaluate `g` at ± each step. `reach` < 1 shrinks the wide steps: another scale, for sharp features.

    The start is random and the ratio is not 2: on a fixed grid an oscillation can agree with itself at every level.
    """
    first, small = reach * eps ** (1 / ORDER), eps ** (3 / 8)
    ratio = np.clip((first / (4 * small)) ** (1 / (LEVELS - 1)), 1.5, 3.0) * rng.uniform(0.92, 1.08)
    wide = first * rng.uniform(0.7, 1.2) * ratio ** -np.arange(LEVELS)
    narrow = min(small, wide[-1] / 3) * rng.uniform(0.8, 1.2) * PAIR
    return _evaluated(g, g0, noise, eps, np.concatenate([wide, narrow]))


def descend(ladder: Ladder, g: Curve, g0: Array) -> Ladder:
    """The ladder with two narrower steps below it."""
    more = _evaluated(g, g0, ladder.noise, ladder.eps, ladder.steps[-2:] * DESCENT)
    steps, odd, even = (np.concatenate(pair) for pair in ((ladder.steps, more.steps), (ladder.odd, more.odd), (ladder.even, more.even)))
    return replace(more, steps=steps, odd=odd, even=even, calls=ladder.calls + more.calls)


def _evaluated(g: Curve, g0: Array, noise: Array, eps: float, steps: Array) -> Ladder:
    with np.errstate(all="ignore"):
        up, down = (np.stack([g(s * h) for h in steps]) for s in (1, -1))
        h = steps[:, None]
        return Ladder(steps, (up - down) / (2 * h), (up + down - 2 * g0) / h, noise, eps, 2 * len(steps))


def noise_of(g: Curve, g0: Array, eps: float, lower: float = 0.0) -> tuple[Array, Array]:
    """The standard deviation of each component's rounding, and which do not move at all: what is left of g when a smooth curve is taken away.

    Points lie on one side of 0 only and not on it, so that a kink or a jump there is not taken for noise; and unevenly, or a
    value that moves by whole units of its last place may look straight. Never below half a rounding of the value. Infinite
    where hardly anything but noise is left of the value: features finer than any step look the same, and nothing can be told.
    lower: a precision that the values may have been rounded to on the way; steps are as wide as it takes to see that.
    """
    at, basis = _uneven()
    step = max(eps, lower) ** (3 / 8) / 16
    with np.errstate(all="ignore"):
        values = np.stack([g(j * step) for j in at])
        left = basis.T @ (values - values[0])                                                      # (6, K): orthonormal parts of degree 3 … 8
        many, few = (np.sqrt(np.mean(left[k:] ** 2, axis=0)) for k in (0, 3))                      # the few are free of the signal
        size = np.where(g0 == 0, np.sqrt(np.mean(g0**2)), np.abs(g0))                              # a sum that cancels to 0 is as rough as the others
        seen = np.fmin(many, 3 * few)
        return np.where(seen > HOPELESS * np.max(np.abs([g0, *values]), axis=0), np.inf, np.fmax(seen, eps / 2 * size)), (values == g0).all(axis=0)


@lru_cache(maxsize=1)
def _uneven() -> tuple[Array, Array]:
    """Nine points from about 1 to 9, and the polynomials of degree 3 to 8 that are orthonormal on them."""
    at = 1 + np.arange(9) + 0.4 * np.sin(np.arange(9) ** 2)
    return at, np.linalg.qr(np.vander((at - 5) / 4, increasing=True))[0][:, 3:]


class Cells(NamedTuple):
    """The places of Neville's table: cell (i, j) extrapolates rows i−j … i; it is compared with the three that it could be made of."""
    row: Array            # (C,): i, of the cells that have neighbours
    cell: Array           # (C,): which of all cells each is
    near: Array           # (3, C): its neighbours among all cells


@lru_cache
def _cells(rows: int) -> Cells:
    place = {c: k for k, c in enumerate((i, j) for i in range(rows) for j in range(i + 1))}
    judged = [(i, j) for i, j in place if i >= 2 and j >= 1]
    near = [[place.get(c, place[i, j - 1]) for c in ((i, j - 1), (i - 1, j - 1), (i - 1, j))] for i, j in judged]
    return Cells(np.array([i for i, _ in judged]), np.array([place[c] for c in judged]), np.array(near).T)


def _weights(x: Array) -> Array:
    """All cells' weights on the rows: each extrapolates to x = 0 the polynomial through its rows, by Neville's rule."""
    w = {(i, 0): unit for i, unit in enumerate(np.eye(len(x)))}
    cells = [(i, j) for i in range(len(x)) for j in range(i + 1)]
    for i, j in cells:
        if j:
            w[i, j] = (x[i - j] * w[i, j - 1] - x[i] * w[i - 1, j - 1]) / (x[i - j] - x[i])
    return np.array([w[c] for c in cells])


def steepest(phi: Callable[[float], float], slope: float, end: float, eps: float) -> tuple[float, float]:
    """A narrow interval within ±`end` where `phi` departs most from its slope at 0, by halving: if `phi` jumps, a jump."""
    low, high = -end, end
    while high - low > end * eps**0.75:
        middle = (low + high) / 2
        low, high = max(((low, middle), (middle, high)), key=lambda ab: abs(phi(ab[1]) - phi(ab[0]) - slope * (ab[1] - ab[0])))
    return low, high


def extrapolate(ladder: Ladder) -> Slope:
    """Each component's derivative from the cell of its table with the smallest bound, among those that no narrower row contradicts.

    A cell's error is what its neighbours disagree by. A kink within the steps may leave them in agreement by accident; but
    it bends the even part as well, whose cells would have to agree by another accident, and narrower steps do not see it.
    Features finer than the steps may agree by accident too; but the plain differences of narrower steps then stray further.
    """
    h = ladder.steps[:, None]
    (row, cell, near), weights = _cells(len(h)), _weights(ladder.steps**2)

    def apart(table: Array) -> Array:
        return np.asarray(np.fmax.reduce([np.abs(table[cell] - table[k]) for k in near]))      # beyond a domain edge there may be none

    with np.errstate(all="ignore"):
        odd, even = _table(weights, ladder.odd), _table(weights, ladder.even / h)
        rounding = SIGMAS * np.sqrt(np.sum((weights[cell] / h.T) ** 2, axis=1) / 2)[:, None] * ladder.noise + ladder.eps * np.abs(odd[cell])
        bent = apart(even) - SIGMAS * np.max([_even_noise(weights[cell] - weights[k], h.T) for k in near], axis=0)[:, None] * ladder.noise
        value = odd[cell]
        error = rounding + SAFETY * (apart(odd) + h[row] * np.fmax(bent, 0.0)) + _stray(row, value, ladder.odd, SIGMAS * ladder.noise / h) + _unsettled(ladder)
        error = _uncontradicted(row, value, np.where(np.isfinite(error), error, np.inf))
    best, columns = np.argmin(error, axis=0), np.arange(error.shape[1])
    return Slope(value[best, columns], error[best, columns], rounding[best, columns], h[row[best], 0])


def _even_noise(weights: Array, h: Array) -> Array:
    """The standard deviation of Σ w (g(h) + g(−h) − 2 g(0)) / h² for unit noise; that of g(0) is in every term."""
    return np.asarray(np.sqrt(2 * np.sum((weights / h**2) ** 2, axis=1) + 4 * np.sum(weights / h**2, axis=1) ** 2))


def _stray(row: Array, value: Array, odd: Array, rounding: Array) -> Array:
    """How much further from the cell's value the differences are on narrower steps than its own are, beyond their rounding; where g is smooth, nearer."""
    def beyond(high: Array, low: Array) -> Array:
        return np.asarray(np.fmax(high - value, value - low))
    below = np.fmax.accumulate((odd - rounding)[::-1])[::-1], np.fmin.accumulate((odd + rounding)[::-1])[::-1]
    after = np.minimum(row + 1, len(odd) - 1)
    far = np.where((row + 1 < len(odd))[:, None], beyond(below[0][after], below[1][after]), 0.0)
    return np.asarray(np.fmax(far - beyond(np.fmax.accumulate(odd)[row], np.fmin.accumulate(odd)[row]), 0.0))


def _unsettled(ladder: Ladder) -> Array:
    """How far the even part is from shrinking with the narrow steps: what bends it there, kinks or finer features, is in the odd part as well."""
    (wide, narrow), (h, least) = ladder.even[-2:], ladder.steps[-2:]
    return np.asarray(np.fmax(np.abs(narrow - wide * least / h) - SIGMAS * 6**0.5 * ladder.noise / least, 0.0))


def _uncontradicted(row: Array, value: Array, error: Array) -> Array:
    """The errors, infinite where the interval value ± error does not meet those of all narrower rows."""
    low, high, found = value - error, value + error, error.copy()
    for i in range(row[0], row[-1]):
        floor, ceiling = np.fmax.reduce(low[row > i]), np.fmin.reduce(high[row > i])
        found[row == i] = np.where((low[row == i] > ceiling) | (high[row == i] < floor), np.inf, error[row == i])
    return found


def _table(weights: Array, rows: Array) -> Array:
    """weights @ rows, where a non-finite row spoils only the cells that use it."""
    finite = np.isfinite(rows)
    if finite.all():
        return np.asarray(weights @ rows)
    spoilt = (weights != 0).astype(float) @ (~finite).astype(float) > 0
    return np.where(spoilt, np.nan, weights @ np.where(finite, rows, 0.0))


def clean(ladder: Ladder, most: float, goal: float) -> tuple[Array, Slope]:
    """Which usable components to keep so that the bound of their sum is below `goal`, and the sum's derivative.

    A kink within the steps spoils the tables of the components that it feeds. Those are left out, at most the share
    `most`, if that helps: all are kept if all serve, or if most are spoilt; the bound then says how coarse the sum is.
    Where nothing reaches the goal, a component is spoilt that is far worse than the typical one.
    """
    usable = ladder.usable
    whole = extrapolate(ladder.total(usable))
    if usable.sum() < 2 or whole.bound[0] <= goal:
        return usable, whole
    unclean = extrapolate(ladder).unclean
    kept = usable & (unclean <= max(goal / np.sqrt(usable.sum()), FAR * np.median(unclean[usable])))
    rest = extrapolate(ladder.total(kept))
    return (kept, rest) if kept.sum() > (1 - most) * usable.sum() and rest.bound[0] < whole.bound[0] / 2 else (usable, whole)
