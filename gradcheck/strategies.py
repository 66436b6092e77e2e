"""Points of a layer's domain from its declarations alone: spread over the whole of it, and simpler ones than a given point."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .evidence import Point
from .law import Law, Shape, Size
from .subjects import Case, Family, generator, replace_point, seed_of

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

SIZES = (1, 2, 3, 5, 4, 7, 8, 9, 13, 16, 17)     # one, primes, unequal, a power of two and its neighbours; simplest first
MOST = {1: 11, 2: 11, 3: 8, 4: 6}                # how many of them for so many axes: a point is judged in milliseconds
EVERY = 5                                        # points from one that has sizes beside the borders of blocks to the next
WIDE = 2 ** 13                                   # entries of the largest input there
BESIDE = (1, 0, -1)                              # where a border is crossed: one more than 2^k first, a multiple of every block, one less
REST = 3                                         # further axes where a layer takes any number of them: rank 4 is that of images
TRIAL = 16                                       # size of the other axes while the least size of one is sought
ROOM = 24                                        # how far above a drawn size the least that fits may lie
DRAWN = 30                                       # columns of an option, of which one is taken
MODE = ""                                        # the column that says whether the layer trains
ATTEMPTS = 50                                    # to find sizes that fit some options, before these are given up


def points(case: Case, count: int, seed: int, dtype: str = "float64") -> list[Point]:
    """`count` different points, drawn so that every value of every option and every mode occurs as often as any other.

    Options are a Latin hypercube over the domains in which as many pairs of values meet as can, sizes are random and every fifth time
    large: 2^k − 1, 2^k or 2^k + 1 along as many axes as there is room for, up to k = 7 for 20 points and 10 for 200; the axes take turns
    in being the largest. All depends on the case's name and `seed` alone.
    """
    rng = generator("points", case.name, seed, dtype)
    family = _Asked(case.family)
    case = replace(case, family=family)                # type: ignore[arg-type]
    dtype = min(dtype, getattr(family, "widest", dtype), key=lambda d: np.dtype(d).itemsize)      # arrays given in less precision are judged in it
    columns = _meeting(rng, {**{k: range(len(v)) for k, v in family.domains.items()}, MODE: range(len(family.modes))}, count)
    wide, first = _wide(count), int(rng.integers(len(SIZES)))
    found: dict[str, Point] = {}
    for i in range(count):
        options = {k: v[columns[k][i]] for k, v in family.domains.items()}
        for attempt in range(ATTEMPTS):
            sizes = _sizes(case, options, rng)
            if sizes is not None:
                sizes = _widened(case, options, *sizes, wide, i // EVERY, first, rng) if i % EVERY == EVERY - 1 else sizes
                point = Point(sizes[0], options, sizes[1], dtype, family.modes[columns[MODE][i]], seed_of(case.name, seed, dtype, i, attempt) % 2**32)
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
        sizes = {axis: draw(_smaller(n, case.sizes.get(axis, (1, n))[0])) for axis, n in point.sizes.items()}
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


class _Asked:
    """A family that is asked once only whether it takes some shapes: where none fit, the same ones come up again and again."""

    def __init__(self, family: Family) -> None:
        self.family, self.known = family, dict[str, bool]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.family, name)

    def fits(self, options: Mapping[str, Any], shapes: Sequence[Shape]) -> bool:
        key = repr((options, shapes))
        if key not in self.known:
            self.known[key] = self.family.fits(options, shapes)
        return self.known[key]


def _sizes(case: Case, options: Mapping[str, Any], rng: np.random.Generator) -> tuple[dict[str, Size], int] | None:
    """Sizes of the input axes that the layer with these options takes, and the number of inputs where it takes any."""
    law = case.family.law(options)
    if law is None:
        return {}, 0
    count = int(rng.integers(1, 4)) if law.many else 0
    known = SIZES[:MOST.get(len(law.axes), 5)]
    given = {a: v for a, v in options.items() if a in law.axes and type(v) is int}        # an axis that an option states
    sizes: dict[str, Size] = {a: _many(rng) if a == "*" else given[a] if a in given else _drawn(case, a, known, rng) for a in law.axes}
    if _fits(case, law, options, sizes, count):
        return sizes, count
    for a in (a for a in law.axes if a != "*"):
        trial = {b: n if b == "*" else TRIAL for b, n in sizes.items()}
        low, high = int(sizes[a]), case.sizes.get(a, (1, int(sizes[a]) + ROOM))[1]      # type: ignore[arg-type]
        sizes[a] = next((n for n in range(low, high + 1) if _fits(case, law, options, trial | {a: n}, count)), low)
    return (sizes, count) if _fits(case, law, options, sizes, count) else None


def _wide(count: int) -> list[int]:
    """Sizes beside 2^k, the largest k first: it shows what goes wrong from some size on, and with every smaller block."""
    top = int(np.log2(max(count, 1))) + 3
    return [2 ** k + b for k in range(top, 4, -1) for b in BESIDE]


def _widened(case: Case, options: Mapping[str, Any], sizes: dict[str, Size], count: int, wide: Sequence[int], turn: int, first: int,
             rng: np.random.Generator) -> tuple[dict[str, Size], int]:
    """The sizes with axes as large as there is room for; an axis that the layer or the case keeps small stays so.

    At every `turn` another axis comes first, and takes the largest size, the next one once all axes had that; one other takes any that fits.
    """
    law = case.family.law(options)
    axes = [a for a in law.axes if a not in options] if law else []
    if law is None or not axes:
        return sizes, count

    def with_(a: str, n: int) -> dict[str, Size]:
        return {**sizes, a: (*sizes[a][:-1], n) if a == "*" else n}                           # type: ignore[index]

    lead = (first + turn) % len(axes)
    rest = [axes[i] for i in rng.permutation(len(axes)) if i != lead]
    for a in [axes[lead], *rest[:1]]:
        roomy = [n for n in wide if max(int(np.prod(s)) for s in law.shapes(with_(a, n), count or None)) <= WIDE and n <= case.sizes.get(a, (1, n))[1]]
        n = roomy[turn // len(axes) % min(len(BESIDE), len(roomy)) if a == axes[lead] else int(rng.integers(len(roomy)))] if roomy else 0
        if n and _fits(case, law, options, with_(a, n), count):
            sizes = with_(a, n)
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
    return tuple(int(n) for n in rng.choice(SIZES[:4], rng.integers(0, REST + 1)))


def _smaller(n: Any, least: int = 1) -> SearchStrategy[Any]:
    from hypothesis import strategies as st
    if isinstance(n, int):
        return st.integers(min(least, n), n)
    return st.lists(st.integers(1, max(n, default=1)), max_size=len(n)).map(tuple)


def _up_to(domain: Sequence[Any], value: Any) -> list[Any]:
    """The values of a domain that are at least as simple as `value`."""
    at = next((i for i, v in enumerate(domain) if _json(v) == _json(value)), None)
    return list(domain[:at + 1]) if at is not None else [value]


def _json(v: Any) -> Any:
    return list(v) if isinstance(v, tuple) else (type(v).__name__, v)


def _meeting(rng: np.random.Generator, domains: Mapping[str, range], count: int) -> dict[str, list[int]]:
    """A column for each domain, every value in it as often as any other: each column is the one of a few in which most pairs of values are new."""
    columns: dict[str, list[int]] = {}
    for k, values in domains.items():
        drawn = [_balanced(rng, values, count) for _ in range(DRAWN if columns and len(values) > 1 else 1)]
        columns[k] = max(drawn, key=lambda column: sum(len(set(zip(column, other, strict=True))) for other in columns.values()))
    return columns


def _balanced(rng: np.random.Generator, values: range, count: int) -> list[int]:
    """`count` of the values, each as often as any other, in random order."""
    return [int(v) for v in rng.permutation(np.resize(rng.permutation(values), count))]


def _one(rng: np.random.Generator, values: Sequence[Any]) -> Any:
    return values[int(rng.integers(len(values)))]

