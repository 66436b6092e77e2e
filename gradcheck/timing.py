"""Times with their spread: what is measured side by side is measured in turns, so that what else the machine does falls on all alike."""
from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from .evidence import Peak, Spread

Array = np.ndarray
Call = Callable[[], object]
PEAK_S = 1.0              # to find the best of
QUANTILES = 200           # of all rounds that a report keeps: outliers stay, and a file of a thousand timings stays readable
COVERED = 0.95            # of intervals
LEAST_S = 2e-4            # a measurement lasts so long at least: a thousand times what reading the clock costs
ROUNDS = (5, 200)         # at least, so that an interval exists; at most, since the median knows enough by then
GEMM, COPY = 384, 2**24   # rows of the square matrices, bytes of the copied array: beyond a core's caches, and over before anybody interrupts


@dataclass(frozen=True)
class Estimate:
    """A median with its bootstrap interval."""
    value: float
    low: float
    high: float


def estimate(samples: Array | Sequence[float]) -> Estimate:
    """The median and the percentile-bootstrap interval of it, exactly: a resample's median exceeds the k-th of n with a binomial chance."""
    x = np.sort(np.asarray(samples, float))
    n = x.size
    below = binom.sf((n - 1) // 2, n, np.arange(1, n + 1) / n)        # P(median of a resample <= x_k)
    low, high = (x[min(int(np.searchsorted(below, q)), n - 1)] for q in ((1 - COVERED) / 2, (1 + COVERED) / 2))
    return Estimate(float(np.median(x)), float(low), float(high))


def spread(samples: Array | Sequence[float]) -> Spread:
    """The times of all rounds as a report keeps them."""
    x, e = np.asarray(samples, float), estimate(samples)
    kept = np.quantile(x, np.linspace(0, 1, min(x.size, QUANTILES)))
    return Spread(median_s=e.value, low_s=e.low, high_s=e.high, quantiles_s=tuple(map(float, kept)), rounds=int(x.size))


def in_turns(calls: Mapping[str, Call], budget_s: float, least: int = ROUNDS[0]) -> dict[str, Array]:
    """Seconds a call of each, round by round: every round runs all of them, each round begins with another one.

    There are `least` rounds, and more while the budget lasts. A call that is over before the clock has moved far is
    repeated, and what it took is divided by how often.
    """
    names, often = [*calls], {k: _often(call) for k, call in calls.items()}
    times: dict[str, list[float]] = {k: [] for k in names}
    with undistracted():
        end = time.perf_counter() + budget_s
        for i in range(ROUNDS[1]):
            if i >= least and time.perf_counter() > end:
                break
            for k in names[i % len(names):] + names[:i % len(names)]:
                times[k].append(_once(calls[k], often[k]))
    return {k: np.array(t) for k, t in times.items()}


def exponent(sizes: Sequence[float], times: Array) -> Estimate:
    """e in time ~ size ** e, from rounds (rounds, sizes) in each of which all sizes were timed."""
    x = np.log(sizes) - np.mean(np.log(sizes))
    return estimate(np.log(times) @ x / (x @ x))


def peak(dtype: str) -> Peak:
    """The best that this machine does in `dtype`: a large matrix product, and a large copy. With as many threads as are allowed now."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((GEMM, GEMM)).astype(dtype) for _ in range(2))
    x = np.ones(COPY // a.itemsize, dtype)
    y = np.empty_like(x)
    best = {k: float(t.min()) for k, t in in_turns({"product": lambda: a @ b, "copy": lambda: np.copyto(y, x)}, PEAK_S).items()}
    return Peak(dtype=dtype, gflops=2 * GEMM**3 / best["product"] / 1e9, gbs=2 * COPY / best["copy"] / 1e9)


@contextmanager
def undistracted() -> Iterator[None]:
    """Without garbage collection."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _often(call: Call) -> int:
    first = _once(call, 1)                             # which may build what the others find
    return max(1, round(LEAST_S / max(_once(call, 1), 1e-7))) if first < 100 * LEAST_S else 1


def _once(call: Call, often: int) -> float:
    began = time.perf_counter()
    for _ in range(often):
        call()
    return (time.perf_counter() - began) / often
