"""Inputs as people give them: shapes as text (`"n d"`, `"n t int[0,10)"`), arrays, or Hypothesis strategies; and values drawn for them at a point."""
from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from ..evidence import Point
from ..law import Domain, Law, Shape, Side
from ..subjects import generator

Array = np.ndarray
GRID = 10                 # binary digits kept in every other drawn value, which is then short to read; the rest keep all of theirs
DRAWS = 10                # of a strategy, the last of which is used
FIRST_SIZE = 3            # of the first axis where a point names no sizes; the next ones are larger, so that a transpose shows


def coarse(x: Array) -> Array:
    """`x`, every other entry rounded to `GRID` binary digits by its own exponent."""
    mantissa, exponent = np.frexp(x)
    return _mixed(np.ldexp(np.round(np.ldexp(mantissa, GRID)), exponent - GRID), x)


def _mixed(short: Array, whole: Array) -> Array:
    """Every other entry with all its digits: in numbers that are short a cast to a narrower type changes nothing."""
    x = np.array(short)
    x.flat[1::2] = np.asarray(whole).flat[1::2]
    return x


def sample(domain: Domain, shape: Shape, rng: np.random.Generator) -> Array:
    """Entries of a domain in general position: normal values, shifted or squeezed between the bounds, never on an open one."""
    if domain.choices:
        return rng.choice(np.array(domain.choices), shape)
    if domain.integer:
        low = math.ceil(domain.low) + (not domain.closed[0] and domain.low == math.ceil(domain.low))
        high = math.floor(domain.high) - (not domain.closed[1] and domain.high == math.floor(domain.high))
        return rng.integers(low, high, shape, endpoint=True)
    x = coarse(rng.standard_normal(shape))
    if math.isfinite(domain.low) and math.isfinite(domain.high):
        share = rng.uniform(1, 2 ** GRID, shape)
        return np.asarray(domain.low + (domain.high - domain.low) * _mixed(np.floor(share), share) / 2 ** GRID)
    if math.isfinite(domain.low):
        return np.asarray(domain.low + np.abs(x) + 2.0 ** -GRID)
    return np.asarray(domain.high - np.abs(x) - 2.0 ** -GRID) if math.isfinite(domain.high) else x


def again(x: Array, rng: np.random.Generator) -> Array:
    """The entries of `x` in another order: sign, range and integers stay, and no new ties appear. Masks stay as they are."""
    return rng.permutation(x.ravel()).reshape(x.shape) if x.dtype.kind in "fciu" else x


def is_strategy(x: Any) -> bool:
    """Whether it is a strategy of Hypothesis, which nobody has who did not import it."""
    known = sys.modules.get("hypothesis.strategies")
    return known is not None and isinstance(x, known.SearchStrategy)


@lru_cache(maxsize=512)
def examples(strategies: tuple[Any, ...], seed: int) -> tuple[Array, ...]:
    """One value of each, drawn together, so that what they share is shared: the last of a few, since Hypothesis begins with the simplest.

    It depends on the seed alone: `hypothesis.seed` counts even where a CI profile derandomises. Errors: ValueError where none is finite.
    """
    from hypothesis import HealthCheck, Phase, Verbosity, given, settings
    from hypothesis import seed as seeded
    from hypothesis import strategies as st
    found: list[tuple[Array, ...]] = []

    @seeded(seed)
    @settings(max_examples=DRAWS, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck),
              verbosity=Verbosity.quiet)
    @given(st.tuples(*strategies))
    def collect(values: tuple[Any, ...]) -> None:
        found.append(tuple(map(np.asarray, values)))

    collect()
    finite = [f for f in found if all(np.isfinite(x).all() for x in f if x.dtype.kind in "fc")]
    if not finite:
        raise ValueError(f"in {len(found)} draws the strategies gave no finite value: bound their elements")
    return finite[-1]


def coarsest(arrays: Iterable[Array]) -> str:
    """The real floating-point dtype with the least precision among arrays; of none: float64."""
    return str(min((x.dtype for x in arrays if x.dtype.kind == "f"), key=lambda d: d.itemsize, default=np.dtype(np.float64)))


@dataclass(frozen=True)
class Inputs:
    """What was given for each input: a text per array (or `"[n d]"` alone, for any number alike), an array, or a strategy of arrays.

    Errors: LawError where a text is no shape.
    """
    given: tuple[Any, ...]

    def __post_init__(self) -> None:
        for x in self.given:
            if not isinstance(x, str | np.ndarray) and not is_strategy(x):
                raise TypeError(f"an input is a shape as text, an array or a Hypothesis strategy, got {type(x).__name__}: {x!r}")
        _ = self.law

    @cached_property
    def law(self) -> Law | None:
        """The law of the inputs given as text, which share their axes; None if there are none."""
        texts = [x for x in self.given if isinstance(x, str)]
        return Law.parse(", ".join(texts)) if texts else None

    @property
    def text(self) -> str:
        """As a report shows them."""
        return ", ".join(x if isinstance(x, str) else f"array {x.shape}" if isinstance(x, np.ndarray) else f"strategy {x!r}" for x in self.given)

    def shapes(self, point: Point) -> tuple[Shape, ...]:
        """The shapes of the inputs given as text; axes that the point does not name take small unequal sizes."""
        if self.law is None:
            return ()
        first = {a: (FIRST_SIZE + i,) if a == "*" else FIRST_SIZE + i for i, a in enumerate(self.law.axes)}
        sizes = {a: tuple(n) if isinstance(n, list | tuple) else n for a, n in point.sizes.items()}
        return self.law.shapes(first | sizes, (point.inputs or 2) if self.law.many else None)

    def draw(self, point: Point) -> tuple[Array, ...]:
        """The inputs at a point. Arrays are as given at seed 0; at others their entries change places. Strategies are drawn anew at each."""
        drawn = self._drawn(iter(self.shapes(point)), point.seed, point.inputs or 2)
        return tuple(x.astype(min(x.dtype, np.dtype(point.dtype), key=lambda d: d.itemsize)) if x.dtype.kind == "f" else x for x in drawn)

    @property
    def widest(self) -> str:
        """The dtype of the points with most precision: arrays that were given in a lower one are judged in that."""
        return coarsest(x for x in self.given if isinstance(x, np.ndarray))

    def fill(self, shapes: Sequence[Shape]) -> tuple[Array, ...]:
        """Inputs of these shapes, for a trial."""
        return self._drawn(iter(shapes), 0, len(shapes))

    def _drawn(self, shapes: Iterator[Shape], seed: int, count: int) -> tuple[Array, ...]:
        strategies = tuple(x for x in self.given if is_strategy(x))
        fresh = iter(examples(strategies, seed) if strategies else ())
        return tuple(np.copy(next(fresh)) if is_strategy(s) else _draw(s, shapes, seed, i) for i, s in enumerate(self.sources(count)))

    def axes(self, count: int) -> tuple[str, ...]:
        """The axes of each of `count` inputs as its text names them; "" for arrays."""
        return tuple(" ".join(s.terms) if isinstance(s, Side) else "" for s in self.sources(count))

    def sources(self, count: int) -> list[Any]:
        """What each input is drawn from, in order; `count` inputs where the text takes any number."""
        return [s for x in self.given for s in (Law.parse(x).sides(count) if isinstance(x, str) else (x,))]


def _draw(source: Side | Array, shapes: Iterator[Shape], seed: int, i: int) -> Array:
    rng = generator(seed, "input", i)
    if isinstance(source, Side):
        return sample(source.domain, tuple(next(shapes)), rng)
    return again(source, rng) if seed else np.copy(source)
