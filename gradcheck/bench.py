"""How fast the layers are that are checked: the same cases, at three sizes, by pytest-benchmark.

pytest-benchmark calibrates and times; what is compared (with the reference workload, along an axis) is timed in turns.
Timing is serial, on one BLAS thread, and never a verdict: times are compared as ratios to a reference workload.
"""
from __future__ import annotations

import os
import sys
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from .evidence import Bench, NotChecked, Peak, Point, Scaling, Timing
from .inner import upstream
from .law import Size
from .runner import Progress, blame, undisturbed
from .subjects import Case, Subject, Tape, copied, seed_of
from .timing import Estimate, estimate, exponent, in_turns, peak, spread

Side = Literal["forward", "backward"]
SIDES: tuple[Side, ...] = get_args(Side)
DTYPES = ("float64", "float32")
SIZES = {"small": 2**8, "medium": 2**12, "large": 2**16}             # entries of an input, shared out evenly among its axes
STEPS = (1, 2, 4, 8)                                                 # multiples of an axis, at the medium size, along which times are followed
BACKWARD = 3.0                                                       # work of both passes, in forwards: a product is pulled back by two
RELATIVE_S, SCALING_S, ITEM_S = 0.05, 0.1, 0.05                      # time for each measurement
REFERENCE = "a product of two 96 x 96 matrices and tanh of 4096 numbers, float64"
UNWANTED = ("terminal", "cacheprovider", "randomly", "xdist", "cov")  # plugins: the session says nothing, keeps its order, and runs here
ITEMS = Path(__file__).with_name("bench_items.py")


class Unavailable(RuntimeError):
    """pytest or pytest-benchmark is not installed."""


# what is timed ------------------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Timed:
    """One pass of one case at one point: an item for pytest-benchmark, called with its fixture."""
    case: Case
    size: str
    point: Point
    side: Side

    def __str__(self) -> str:
        return f"{self.case.name}-{self.point.dtype}-{self.size}-{self.side}"

    def __call__(self, benchmark: Any) -> None:
        with undisturbed(), np.errstate(all="ignore"):
            run = Pass.of(self.case, self.point)
            if run.reusable:
                tape = run.ready(self.side)
                benchmark(lambda: run.go(self.side, tape))
            else:
                benchmark.pedantic(run.go, setup=lambda: ((self.side, run.ready(self.side)), {}), rounds=50)


@dataclass(frozen=True)
class Pass:
    """A layer at a point, ready to be run: a tape for each forward, a forward for each backward, outside of what is timed."""
    subject: Subject
    dys: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, case: Case, point: Point) -> Pass:
        s = case.subject(point)
        ys = s(s.primals)
        return cls(s, upstream(s.rng("bench"), ys) if s.facts.upstream else tuple(map(np.ones_like, ys)))

    @property
    def reusable(self) -> bool:
        """Whether one tape may be run again and again: it keeps nothing from one forward to the next."""
        return self.subject.facts.tape == "functional"

    def ready(self, side: Side) -> Tape:
        tape = self.subject.tape()
        if side == "backward":
            tape.forward(copied(self.subject.primals))
        return tape

    def go(self, side: Side, tape: Tape) -> object:
        return tape.forward(dict(self.subject.primals)) if side == "forward" else tape.backward(*self.dys)

    def both(self) -> None:
        tape = self.subject.tape()
        tape.forward(dict(self.subject.primals))
        tape.backward(*self.dys)

    def call(self, side: Side) -> Callable[[], object]:
        """What is timed in turns with others; a layer that keeps its forwards is timed with the making of its tape."""
        if not self.reusable:
            return lambda: self.go(side, self.ready(side))
        tape = self.ready(side)
        return lambda: self.go(side, tape)

    @property
    def traffic(self) -> int:
        """Bytes that both passes cannot do without: all that is read and written, once in each pass."""
        primals = sum(x.nbytes for x in self.subject.primals.values())
        moved = sum(self.subject.primals[k].nbytes for k in self.subject.differentiable)
        return 2 * primals + 2 * sum(dy.nbytes for dy in self.dys) + moved

    def memory(self) -> tuple[int, int]:
        """(the most that both passes held at once, what forward kept for backward), in bytes, beyond the arguments and the outputs."""
        tracemalloc.start()
        try:
            before, tape = tracemalloc.get_traced_memory()[0], self.subject.tape()
            ys = tape.forward(dict(self.subject.primals))
            held = tracemalloc.get_traced_memory()[0] - before - sum(y.nbytes for y in ys if y.base is None)
            tape.backward(*self.dys)
            return tracemalloc.get_traced_memory()[1] - before, max(held, 0)
        finally:
            tracemalloc.stop()


def items(cases: Iterable[Case], dtypes: Sequence[str] = DTYPES) -> list[Timed]:
    """Both passes of every case at every size, for a test file of one's own that pytest-benchmark times:

    >>> @pytest.mark.parametrize("timed", gradcheck.bench.items(CASES), ids=str)
    ... def test_speed(timed, benchmark):
    ...     timed(benchmark)
    """
    return [Timed(case, size, point, side) for case in cases for size, point in points(case, dtypes) for side in SIDES]


def points(case: Case, dtypes: Sequence[str] = DTYPES) -> Iterator[tuple[str, Point]]:
    """The case at every size and dtype. Of options, the least simple value; one that is an axis of the output is as long as the input's."""
    for dtype in dtypes:
        for size, entries in SIZES.items():
            if (point := sized(case, entries, dtype)) is not None:
                yield size, point


def sized(case: Case, entries: int, dtype: str = "float64", stretch: Mapping[str, int] | None = None) -> Point | None:
    """The point with about so many entries in an input, an axis stretched by a factor; None where the layer takes none of them."""
    family, options = case.family, {k: v[-1] for k, v in case.family.domains.items()} | dict(getattr(case.family, "defaults", {}))
    options = {k: v for k, v in options.items() if k in family.domains}
    law = family.law(options)
    if law is None:
        return Point(options=options, dtype=dtype, train=family.modes[0], seed=1) if entries == SIZES["small"] and not stretch else None
    longest = max(len(side.names) for side in law.inputs)
    side = max(1, round(entries ** (1 / longest)))
    widths = {name for out in law.outputs or () for name in out.names} & {k for k, v in options.items() if type(v) is int}
    sizes = {a: _length(case, a, side * (stretch or {}).get(a, 1)) for a in law.axes}
    for wide in (dict.fromkeys(widths, side), {}):
        point = Point(sizes=sizes, options=options | wide, inputs=2 if law.many else 0, dtype=dtype, train=family.modes[0], seed=seed_of(case.name) % 2**32)
        if _runs(case, point):
            return point
    return None


def _length(case: Case, axis: str, side: int) -> Size:
    if axis == "*":
        return (side,)
    low, high = case.sizes.get(axis, (1, side))
    return min(max(side, low), high)


def _runs(case: Case, point: Point) -> bool:
    law = case.family.law(point.options)
    try:
        return law is not None and case.family.fits(point.options, law.shapes(point.sizes, point.inputs or None)) and bool(case.subject(point))
    except Exception:                                  # a width that the layer does not take
        return False


# what comes of it ---------------------------------------------------------------------------------------------------------------

def bench(cases: Iterable[Case], *, dtypes: Sequence[str] = DTYPES, progress: Progress = lambda what, done, total: None) -> tuple[Bench, list[NotChecked]]:
    """Time every case, and what could not be timed. Errors: Unavailable without pytest-benchmark."""
    cases, missing = list(cases), list[NotChecked]()
    with undisturbed():
        found = list(_timeable(cases, dtypes, missing))
        rounds = _by_pytest([Timed(case, size, point, side) for case, size, point in found for side in SIDES])
        peaks = {dtype: peak(dtype) for dtype in dtypes}
        timings, scalings = list[Timing](), list[Scaling]()
        for i, (case, size, point) in enumerate(found):
            progress(case.name, i, len(found))
            samples = {side: rounds.get(str(Timed(case, size, point, side))) for side in SIDES}
            if not all(samples.values()):
                missing.append(NotChecked(what=f"{case.name}/{point.dtype}/{size}", why="it could not be timed: forward or backward raises there"))
                continue
            timings.append(_timing(case, size, point, samples, peaks[point.dtype]))
            if size == "medium" and point.dtype == dtypes[0]:
                scalings.extend(_scalings(case))
    return Bench(reference=REFERENCE, peaks=tuple(peaks.values()), timings=tuple(timings), scalings=tuple(scalings)), missing


def _timeable(cases: Iterable[Case], dtypes: Sequence[str], missing: list[NotChecked]) -> Iterator[tuple[Case, str, Point]]:
    for case in cases:
        try:
            found = [(case, size, point) for size, point in points(case, dtypes)]
        except Exception as error:
            missing.append(NotChecked(what=case.name, why=f"it could not be timed: {blame(error)}"))
            continue
        missing += [NotChecked(what=case.name, why="it could not be timed: it takes none of the sizes")] * (not found)
        yield from found


def _by_pytest(timed: Sequence[Timed]) -> dict[str, list[float]]:
    """Seconds of every round, by item. The items run in one pytest session of their own."""
    try:
        import pytest
        import pytest_benchmark  # noqa: F401
    except ImportError as error:
        raise Unavailable(f"timing needs {error.name}, which is not installed: pip install 'gradcheck[bench]'") from None
    session = Session(timed)
    with redirect_stdout(sys.stderr):
        ended = pytest.main([str(ITEMS), "-c", os.devnull, "--rootdir", str(ITEMS.parent), *(word for name in UNWANTED for word in ("-p", f"no:{name}")),
                             "--benchmark-only", "--benchmark-disable-gc", f"--benchmark-max-time={ITEM_S}", "--benchmark-min-rounds=7"], plugins=[session])
    if ended not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"pytest, which was to time the items, ended with {ended!r}")
    return session.rounds


@dataclass(eq=False)
class Session:
    """A pytest plugin: what `bench_items` times, and the rounds that it measured."""
    timed: Sequence[Timed]
    rounds: dict[str, list[float]] = field(default_factory=dict)

    def note(self, timed: Timed, benchmark: Any) -> None:
        self.rounds[str(timed)] = list(benchmark.stats.stats.data)


def _timing(case: Case, size: str, point: Point, samples: Mapping[Side, list[float] | None], best: Peak) -> Timing:
    forward, backward = (spread(samples[side] or []) for side in SIDES)
    run = Pass.of(case, point)
    relative = _relative(run)
    peak_bytes, residual_bytes = run.memory()
    both = forward.median_s + backward.median_s
    work, gbs = _work(case, point), run.traffic / both / 1e9
    gflops = work / both / 1e9 if work else None
    intensity = work / run.traffic if work else None
    allowed = min(best.gflops, intensity * best.gbs) if intensity else None
    return Timing(case=case.name, dtype=point.dtype, size=size, point=point, forward=forward, backward=backward,
                  ratio=backward.median_s / forward.median_s, relative=relative.value, relative_low=relative.low, relative_high=relative.high,
                  gflops=gflops, gbs=gbs, intensity=intensity, roofline=gflops / allowed if gflops and allowed else None,
                  peak_bytes=peak_bytes, residual_bytes=residual_bytes)


def _relative(run: Pass) -> Estimate:
    """Both passes, in units of the reference workload, round by round."""
    times = in_turns({"run": run.both, "reference": reference()}, RELATIVE_S)
    return estimate(times["run"] / times["reference"])


@cache
def reference() -> Callable[[], object]:
    """The workload that REFERENCE describes: some arithmetic, some memory, some calls."""
    rng = np.random.default_rng(0)
    a, x = rng.standard_normal((96, 96)), rng.standard_normal(4096)
    return lambda: (a @ a, np.tanh(x))


def _work(case: Case, point: Point) -> float | None:
    """Floating-point operations of both passes, as the layer declares them; None where it does not."""
    declared = getattr(case.family, "work", None)
    forward = declared(point) if declared else None
    return BACKWARD * forward if forward else None


def _scalings(case: Case) -> Iterator[Scaling]:
    """How both passes grow along every axis of the inputs, the others held at the medium size."""
    law = case.family.law((sized(case, SIZES["medium"]) or Point()).options)
    for axis in (a for a in (law.axes if law else ()) if a != "*"):
        stretched = [sized(case, SIZES["medium"], stretch={axis: k}) for k in STEPS]
        at = {int(p.sizes[axis]): p for p in stretched if p is not None}                          # type: ignore[arg-type]
        if len(at) > 2:
            yield from _scaling(case, axis, at)


def _scaling(case: Case, axis: str, at: Mapping[int, Point]) -> Iterator[Scaling]:
    runs = {n: Pass.of(case, p) for n, p in at.items()}
    times = in_turns({f"{side} {n}": run.call(side) for n, run in runs.items() for side in SIDES}, SCALING_S)
    works = [_work(case, p) for p in at.values()]
    declared = exponent([*at], np.array([works], float)).value if all(works) else None
    for side in SIDES:
        e = exponent([*at], np.stack([times[f"{side} {n}"] for n in at], axis=1))
        yield Scaling(case=case.name, side=side, axis=axis, dtype="float64", sizes=tuple(at), times_s=tuple(float(np.median(times[f"{side} {n}"])) for n in at),
                      exponent=e.value, low=e.low, high=e.high, declared=declared)
