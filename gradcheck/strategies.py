"""Points of a layer's domain from its declarations alone: spread over the whole of it, and simpler ones than a given point."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .evidence import Point
from .law import Law, Size
from .subjects import Case, generator, replace_point, seed_of

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

SIZES = (1, 2, 3, 5, 4, 7, 8, 9, 13, 16, 17)     # one, primes, unequal, a power of two and its neighbours; simplest first
MOST = {1: 11, 2: 11, 3: 8, 4: 6}                # how many of them for so many axes: a point is judged in milliseconds
EVERY = 6                                        # points from one that has sizes beside the borders of blocks to the next
WIDE = 2 ** 13                                   # entries of the largest input there
BESIDE = (1, -1, 0)                              # where a border is crossed: one more than 2^k first, which is no multiple of any block
TRIAL = 16                                       # size of the other axes while the least size of one is sought
ROOM = 24                                        # how far above a drawn size the least that fits may lie
ATTEMPTS = 50                                    # to find sizes that fit some options, before these are given up


def points(case: Case, count: int, seed: int, dtype: str = "float64") -> list[Point]:
    """`count` different points, drawn so that every value of every option and every mode occurs as often as any other.

    Options are a Latin hypercube over the domains, sizes are random and every sixth time large: 2^k − 1, 2^k or 2^k + 1 along as
    many axes as there is room for, up to k = 7 for 20 points and 10 for 200. All depends on the case's name and `seed` alone.
    """
    rng = generator("points", case.name, seed, dtype)
    family = case.family
    dtype = min(dtype, getattr(family, "widest", dtype), key=lambda d: np.dtype(d).itemsize)      # arrays given in less precision are judged in it
    columns = {k: _balanced(rng, range(len(v)), count) for k, v in family.domains.items()}
    modes = _balanced(rng, range(len(family.modes)), count)
    wide = _wide(rng, count)
    found: dict[str, Point] = {}
    for i in range(count):
        options = {k: family.domains[k][columns[k][i]] for k in columns}
        for attempt in range(ATTEMPTS):
            sizes = _sizes(case, options, rng)
            if sizes is not None:
                sizes = _widened(case, options, *sizes, wide, rng) if i % EVERY == EVERY - 1 else sizes
                point = Point(sizes[0], options, sizes[1], dtype, family.modes[modes[i]], seed_of(case.name, seed, dtype, i, attempt) % 2**32)
                found.setdefault(repr(point), point)
                break
            options = {k: _one(rng, v) for k, v in family.domains.items()}
    return list(found.values())


def simpler(case: Case, point: Point) -> SearchStrategy[Point]:
    """Points at least as simple as `point` in every option and size, in mode and dtype: where Hypothesis looks for the smallest that still fails."""
    from hypothesis import strategies as st

    @st.composite
    def draw_simpler(draw: DrawFn) -> Point:
        options = {k: draw(st.sampled_from(_up_to(case.family.domains[k], v))) for k, v in point.options.items()}
        sizes = {axis: draw(_smaller(n)) for axis, n in point.sizes.items()}
        inputs = draw(st.integers(1, point.inputs)) if point.inputs else 0
        dtype = draw(st.sampled_from(list(dict.fromkeys([Point().dtype, point.dtype]))))
        train = draw(st.sampled_from(_up_to(case.family.modes, point.train)))
        return replace_point(point, options=options, sizes=sizes, inputs=inputs, dtype=dtype, train=train)

    return draw_simpler()


def smallest(case: Case, point: Point, fails: Callable[[Point], bool], runs: int = 200) -> Point:
    """The simplest point found within `runs` runs that still fails; the given one if none does."""
    from hypothesis import HealthCheck, Phase, Verbosity, settings
    from hypothesis import find as search
    from hypothesis.errors import Flaky, NoSuchExample

    best, seen = point, {repr(point): True}            # Hypothesis asks some of them more than once

    def still(candidate: Point) -> bool:
        nonlocal best
        key = repr(candidate)
        if key not in seen:
            seen[key] = len(seen) <= runs and _legal(case, candidate) and fails(candidate)
        best = candidate if seen[key] else best
        return seen[key]

    quiet = settings(max_examples=runs, database=None, deadline=None, derandomize=True, phases=[Phase.generate, Phase.shrink],
                     suppress_health_check=list(HealthCheck), verbosity=Verbosity.quiet)
    try:
        return search(simpler(case, point), still, settings=quiet)
    except (NoSuchExample, Flaky):                     # Flaky: the time for shrinking was up between two runs of one point
        return best


def _sizes(case: Case, options: Mapping[str, Any], rng: np.random.Generator) -> tuple[dict[str, Size], int] | None:
    """Sizes of the input axes that the layer with these options takes, and the number of inputs where it takes any."""
    law = case.family.law(options)
    if law is None:
        return {}, 0
    count = int(rng.integers(1, 4)) if law.many else 0
    known = SIZES[:MOST.get(len(law.axes), 5)]
    given = {a: v for a, v in options.items() if a in law.axes and isinstance(v, int)}        # an axis that an option states
    sizes: dict[str, Size] = {a: _many(rng) if a == "*" else given[a] if a in given else _drawn(case, a, known, rng) for a in law.axes}
    if _fits(case, law, options, sizes, count):
        return sizes, count
    for a in (a for a in law.axes if a != "*"):
        trial = {b: n if b == "*" else TRIAL for b, n in sizes.items()}
        low, high = int(sizes[a]), case.sizes.get(a, (1, int(sizes[a]) + ROOM))[1]      # type: ignore[arg-type]
        sizes[a] = next((n for n in range(low, high + 1) if _fits(case, law, options, trial | {a: n}, count)), low)
    return (sizes, count) if _fits(case, law, options, sizes, count) else None


def _wide(rng: np.random.Generator, count: int) -> list[int]:
    """Sizes beside 2^k, the largest k first: it shows what goes wrong from some size on, and with every smaller block."""
    top = int(np.log2(max(count, 1))) + 3
    return [2 ** k + b for k in range(top, 4, -1) for b in BESIDE]


def _widened(case: Case, options: Mapping[str, Any], sizes: dict[str, Size], count: int, wide: Sequence[int],
             rng: np.random.Generator) -> tuple[dict[str, Size], int]:
    """The sizes with axes as large as there is room for, in random order; an axis that the layer or the case keeps small stays so."""
    law = case.family.law(options)
    if law is None:
        return sizes, count
    for a in rng.permutation([a for a in law.axes if a not in options]):
        n = int(wide[min(int(rng.exponential(len(wide) / 6)), len(wide) - 1)])
        other: dict[str, Size] = {**sizes, a: (*sizes[a][:-1], n) if a == "*" else n}         # type: ignore[index]
        room = max(int(np.prod(s)) for s in law.shapes(other, count or None)) <= WIDE
        if room and n <= case.sizes.get(a, (1, n))[1] and _fits(case, law, options, other, count):
            sizes = other
    return sizes, count


def _fits(case: Case, law: Law, options: Mapping[str, Any], sizes: Mapping[str, Size], count: int) -> bool:
    return case.family.fits(options, law.shapes(sizes, count or None))


def _legal(case: Case, point: Point) -> bool:
    law = case.family.law(point.options)
    return law is None or point.sizes.keys() >= set(law.axes) and _fits(case, law, point.options, point.sizes, point.inputs)     # options may change the law


def _drawn(case: Case, axis: str, known: Sequence[int], rng: np.random.Generator) -> int:
    low, high = case.sizes.get(axis, (1, known[-1]))
    return int(rng.choice([n for n in known if low <= n <= high] or range(low, high + 1)))


def _many(rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(int(n) for n in rng.choice(SIZES[:4], rng.integers(0, 3)))


def _smaller(n: Any) -> SearchStrategy[Any]:
    from hypothesis import strategies as st
    if isinstance(n, int):
        return st.integers(min(1, n), n)
    return st.lists(st.integers(1, max(n, default=1)), max_size=len(n)).map(tuple)


def _up_to(domain: Sequence[Any], value: Any) -> list[Any]:
    """The values of a domain that are at least as simple as `value`."""
    at = next((i for i, v in enumerate(domain) if _json(v) == _json(value)), None)
    return list(domain[:at + 1]) if at is not None else [value]


def _json(v: Any) -> Any:
    return list(v) if isinstance(v, tuple) else (type(v).__name__, v)


def _balanced(rng: np.random.Generator, values: range, count: int) -> list[int]:
    """`count` of the values, each as often as any other, in random order."""
    return [int(v) for v in rng.permutation(np.resize(rng.permutation(values), count))]


def _one(rng: np.random.Generator, values: Sequence[Any]) -> Any:
    return values[int(rng.integers(len(values)))]

