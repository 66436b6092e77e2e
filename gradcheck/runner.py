"""The only loop: cases × points × checks, gathered into a report. Leaves global random state and warning filters as they were."""
from __future__ import annotations

import random
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from . import checks as battery
from .checks import CHECKS, Check
from .environment import environment, revision
from .evidence import Calls, CaseReport, Evidence, Failure, Ledger, NotChecked, Point, Report, Row, Verdict, gravest
from .messages import failure_text, repeat_line
from .strategies import TRIAL, points, smallest
from .subjects import Case, Counter, Subject

Progress = Callable[[str, int, int], None]         # what is being done, how much is done, of how much


@dataclass(frozen=True)
class Profile:
    """How many points of each dtype a case is judged at, and how many of them must pass finely enough."""
    points: Mapping[str, int]
    enough: int


PROFILES = {
    "quick": Profile({"float64": 3}, 1),
    "default": Profile({"float64": 20, "float32": 8}, 5),
    "thorough": Profile({"float64": 200, "float32": 80}, 5),
}
LOW_PRECISION = ("float32", "float16")              # where one failing point may be cancellation: a failure must recur
SHRINK_RUNS, SHRINK_SECONDS = 200, 20.0


def run(cases: Iterable[Case], *, checks: Sequence[str] | None = None, ignore: Sequence[str] = (), seed: int = 0, executor: Executor | None = None,
        profile: str = "default", at: Point | None = None, command: str = "", not_checked: Sequence[NotChecked] = (),
        progress: Progress = lambda what, done, total: None) -> Report:
    """Judge every case and gather a report.

    checks: names, None for the default battery. at: one point, instead of the profile's. executor: any concurrent.futures.Executor;
    cases are then found again by their targets. Errors: ValueError for an unknown check or profile.
    """
    cases, plan = list(cases), Plan(tuple(select(checks, ignore)), profile, seed, at)
    started, began = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    judged = list(_serial(cases, plan, progress) if executor is None else _spread(cases, plan, executor, progress))
    return Report(environment=environment(), command=command, profile=profile, seed=seed, revision=revision(), started=started,
                  time_s=time.perf_counter() - began, cases=tuple(judged), checks=tuple(CHECKS[c].info for c in plan.checks),
                  not_checked=(*not_checked, *_unseen(judged)))


def select(names: Sequence[str] | None, ignore: Sequence[str] = ()) -> Iterator[str]:
    """The checks to run, in the battery's order. Errors: ValueError names the unknown one and the nearest known."""
    for name in (*(names or ()), *ignore):
        if name not in CHECKS:
            raise ValueError(f"there is no check {name!r}; the checks are {', '.join(CHECKS)}")
    yield from (c.name for c in CHECKS.values() if (c.default if names is None else c.name in names) and c.name not in ignore)


@dataclass(frozen=True)
class Plan:
    """What to do with every case; picklable."""
    checks: tuple[str, ...]
    profile: str
    seed: int
    at: Point | None = None

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise ValueError(f"there is no profile {self.profile!r}; the profiles are {', '.join(PROFILES)}")

    def points(self, case: Case) -> list[Point]:
        if self.at is not None:
            return [self.at]
        return [p for dtype, n in PROFILES[self.profile].points.items() for p in points(case, n, self.seed, dtype)]


def _serial(cases: Sequence[Case], plan: Plan, progress: Progress) -> Iterator[CaseReport]:
    for i, case in enumerate(cases):
        progress(case.name, i, len(cases))
        yield judge_case(case, plan)
    progress("", len(cases), len(cases))


def _spread(cases: Sequence[Case], plan: Plan, executor: Executor, progress: Progress) -> Iterator[CaseReport]:
    """Each case in a worker; a worker that dies takes one case with it, which is reported as crashed."""
    order = {executor.submit(judge_target, case.target, case.name, plan): i for i, case in enumerate(cases)}
    found: dict[int, CaseReport] = {}
    for future in as_completed(order):
        case, crash = cases[order[future]], future.exception()
        found[order[future]] = (msgspec.convert(future.result(), CaseReport) if crash is None else
                                CaseReport(name=case.name, target=case.target, error=f"the worker crashed: {type(crash).__name__}: {crash}"))
        progress(case.name, len(found), len(cases))
    return iter([found[i] for i in sorted(found)])


def judge_target(target: str, name: str, plan: Plan) -> Any:
    """A work unit: find the case again and judge it; plain values both ways, safe to repeat. What the layer prints is no result: it goes to stderr."""
    from .targets import find
    with redirect_stdout(sys.stderr):
        found = judge_case(next(c for c in find(target).cases if c.name == name), plan)
    return msgspec.to_builtins(found, enc_hook=np.generic.item)      # a pickled struct would no longer know which fields are defaults


def judge_case(case: Case, plan: Plan) -> CaseReport:
    """All checks at all points of one case. An exception of the layer's is a row, or the case's error, never the run's end."""
    began, family = time.perf_counter(), case.family
    head = CaseReport(name=case.name, target=case.target, adapter=family.adapter, law=family.law_text, equation=family.equation, source=family.source,
                      domains={k: tuple(map(_plain, v)) for k, v in family.domains.items()}, convention=dict(case.convention))
    with undisturbed():
        try:
            where = plan.points(case)
        except Exception as error:
            return msgspec.structs.replace(head, error=blame(error), time_s=time.perf_counter() - began)
        if not where:
            return msgspec.structs.replace(head, error=_refused(case))
        seen: dict[tuple[str, str], list[tuple[Point, Evidence]]] = {}
        for point in where:
            for evidence in _at_point(case, point, plan.checks):
                seen.setdefault((evidence.check, evidence.primal), []).append((point, evidence))
        rows = tuple(_row(case, key, found, min(PROFILES[plan.profile].enough, len(where))) for key, found in seen.items())
        rows = rows if plan.at else _strict(case, rows)
        broken = [r for r in rows if r.check == "build"]
        return msgspec.structs.replace(head, points=len(where), rows=tuple(sorted(rows, key=_order)), ledger=_ledger(case, where[0]),
                                       error=broken[0].reason if broken and broken[0].points == {"error": len(where)} else "",
                                       time_s=time.perf_counter() - began)


def _strict(case: Case, rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """An expected failure that occurred nowhere is reported: what was known of the layer is no longer so."""
    stale = case.expect.keys() - {r.check for r in rows if r.verdict is Verdict.XFAIL}
    return tuple(msgspec.structs.replace(r, verdict=Verdict.XPASS, reason=f"passed, and was expected to fail: {case.expect[r.check]}")
                 if r.check in stale and r.verdict is Verdict.PASS else r for r in rows)


def _refused(case: Case) -> str:
    """Why there is no point: what the layer raises with its simplest options at sizes that leave room."""
    said = "no combination of options and sizes was found that the layer takes"
    options = {k: v[0] for k, v in case.family.domains.items()}
    try:
        law = case.family.law(options)
        subject = case.subject(Point(sizes={a: () if a == "*" else TRIAL for a in law.axes} if law else {}, options=options))
        subject(subject.primals)
    except Exception as error:
        return f"{said}: {blame(error)}"
    return said


def _at_point(case: Case, point: Point, names: Sequence[str]) -> Iterator[Evidence]:
    """The evidence of every applicable check; a layer that cannot be built there is evidence too."""
    try:
        subject = case.subject(point)
    except Exception as error:
        yield Evidence(check="build", verdict=Verdict.ERROR, reason=blame(error))
        return
    for name in names:
        if not battery.applicable(CHECKS[name], subject):
            yield from judge_check(subject, CHECKS[name])


def judge_check(subject: Subject, check: Check) -> Iterator[Evidence]:
    """The evidence of one check, with calls and time; an exception is evidence with the verdict `error`."""
    subject = replace(subject, counter=Counter())
    began, found = time.perf_counter(), []
    try:
        found = list(check.run(subject))
    except Exception as error:
        found = [Evidence(check=check.name, verdict=Verdict.ERROR, reason=blame(error))]
    share = max(len(found), 1)
    for i, e in enumerate(found):                      # the layer's calls serve all primals: they are booked once
        yield msgspec.structs.replace(e, check=check.name, calls=subject.counter.snapshot() if i == 0 else Calls(),
                                      time_s=(time.perf_counter() - began) / share)


def _row(case: Case, key: tuple[str, str], found: list[tuple[Point, Evidence]], enough: int) -> Row:
    """One check of one primal over all points."""
    found = _recurring(found)
    verdicts = [e.verdict for _, e in found]
    passed = [(p, e) for p, e in found if e.verdict is Verdict.PASS]
    telling = [(p, e) for p, e in passed if "vacuous" not in e.marks]
    verdict, reason = _verdict(found, len(telling), enough)
    dtypes = sorted({p.dtype for p, e in telling if e.resolution}, key=lambda d: float(np.finfo(d).eps))
    resolved = {d: sorted(((p, e) for p, e in telling if e.resolution and p.dtype == d), key=lambda f: _entry(f[1])) for d in dtypes}
    best = resolved[dtypes[0]] if dtypes else []
    example = best[-1] if best else next(((p, e) for p, e in found if e.verdict is not Verdict.PASS), found[0])
    failing = [(p, e) for p, e in found if e.verdict is Verdict.FAIL]
    failure = _failure(case, key, failing) if failing and verdict is Verdict.FAIL else None
    if failure and case.expect.get(key[0]):
        verdict, reason = Verdict.XFAIL, case.expect[key[0]]
    return Row(check=key[0], primal=key[1], verdict=verdict, points={str(v): verdicts.count(v) for v in dict.fromkeys(verdicts)}, reason=reason,
               marks=_marks(found), finest=best[0][1].resolution if best else None, coarsest=best[-1][1].resolution if best else None,
               coarsest_of={d: r for d, of in resolved.items() if (r := of[-1][1].resolution)}, example=example[1], at=example[0], failure=failure,
               calls=Calls(forward=sum(e.calls.forward for _, e in found), backward=sum(e.calls.backward for _, e in found)),
               probes=sum(e.probes for _, e in found), time_s=sum(e.time_s for _, e in found))


def _entry(e: Evidence) -> float:
    return e.resolution.entry if e.resolution else 0.0


def _verdict(found: list[tuple[Point, Evidence]], telling: int, enough: int) -> tuple[Verdict, str]:
    """A row passes if nothing failed and enough points passed finely; single coarse or vacuous points do not count against it."""
    worst = gravest(e.verdict for _, e in found)
    if worst in (Verdict.ERROR, Verdict.FAIL):
        return worst, next(e.reason for _, e in found if e.verdict is worst)
    if telling >= min(enough, len(found)):
        return Verdict.PASS, ""
    if worst is Verdict.UNDECIDED:
        return Verdict.UNDECIDED, next(e.reason for _, e in found if e.verdict is worst)
    return Verdict.UNDECIDED, f"vacuous: the cotangent cannot be told from zero at {len(found) - telling} of {len(found)} points"


def _recurring(found: list[tuple[Point, Evidence]]) -> list[tuple[Point, Evidence]]:
    """A failure in low precision counts if it recurs or float64 fails as well: at a single point it may be cancellation."""
    low = [p for p, e in found if e.verdict is Verdict.FAIL and p.dtype in LOW_PRECISION]
    high = any(e.verdict is Verdict.FAIL and p.dtype not in LOW_PRECISION for p, e in found)
    if high or len(low) != 1 or len(found) == 1:
        return found
    why = "one point in low precision failed, and no other: cancellation cannot be excluded"
    return [(p, msgspec.structs.replace(e, verdict=Verdict.UNDECIDED, reason=why) if e.verdict is Verdict.FAIL else e) for p, e in found]


def _failure(case: Case, key: tuple[str, str], failing: list[tuple[Point, Evidence]]) -> Failure:
    """The failing point with the fewest entries, shrunk as far as the same check still fails for the same primal."""
    check, primal = key
    latest = {repr(p): e for p, e in failing}
    deadline = time.perf_counter() + SHRINK_SECONDS

    def fails(point: Point) -> bool:
        if time.perf_counter() > deadline:
            return False
        found = next((e for e in _at_point(case, point, [check]) if e.primal == primal and e.verdict is Verdict.FAIL), None)
        if found:
            latest[repr(point)] = found
        return found is not None

    start = min(failing, key=lambda f: (f[0].dtype in LOW_PRECISION, sum(int(np.prod(n)) for n in f[0].sizes.values())))[0]
    point = smallest(case, start, fails, SHRINK_RUNS)
    failure = Failure(point=point, code=_code(case, point), repeat=repeat_line(case.target, case.name, check, point), source=case.family.source,
                      text="", evidence=_explained(case, point, latest[repr(point)]))
    return msgspec.structs.replace(failure, text=failure_text(case.name, failure))


def _explained(case: Case, point: Point, evidence: Evidence) -> Evidence:
    """With the place and the kind of the mistake, where the check can tell."""
    explain = CHECKS[evidence.check].explain
    try:
        return explain(case.subject(point), evidence) if explain else evidence
    except Exception as error:                         # the verdict stands without it
        return msgspec.structs.replace(evidence, notes=(*evidence.notes, f"not located: {blame(error)}"))


def _code(case: Case, point: Point) -> str:
    try:
        return case.family.code(point)
    except Exception as error:                         # a layer that cannot be built cannot be printed either
        return f"# {case.name}: {blame(error)}"


def _ledger(case: Case, point: Point) -> Ledger | None:
    try:
        subject = case.subject(point)
        return Ledger(point=point, code=_code(case, point), arrays=subject.ledger()) if subject.ledger else None
    except Exception:                                  # its error stands in a row already
        return None


def _unseen(judged: Iterable[CaseReport]) -> Iterator[NotChecked]:
    for case in judged:
        for row in case.rows:
            if row.verdict is Verdict.UNDECIDED and row.marks.get("vacuous", 0) == sum(row.points.values()):
                yield NotChecked(what=f"{case.name}/{row.check}/{row.primal}", why="its cotangent was zero at every point")


def blame(error: BaseException) -> str:
    """The exception with the last line of theirs that it came through: neither ours nor NumPy's."""
    tools = tuple(str(Path(file).parent) for file in (__file__, np.__file__))
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if not f.filename.startswith(tools)] or frames
    where = f" (at {Path(theirs[-1].filename).name}:{theirs[-1].lineno}: {theirs[-1].line})" if theirs else ""
    return f"{type(error).__name__}: {str(error) or 'no message'}{where}"


@contextmanager
def undisturbed() -> Iterator[None]:
    """One BLAS thread, no warnings of a layer's shown, and global random state put back afterwards."""
    from threadpoolctl import threadpool_limits
    legacy, state = np.random.get_state(legacy=False), random.getstate()
    try:
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore")
            yield
    finally:
        np.random.set_state(legacy)
        random.setstate(state)


def _marks(found: list[tuple[Point, Evidence]]) -> dict[str, int]:
    marks = [m for _, e in found for m in e.marks]
    return {m: marks.count(m) for m in dict.fromkeys(marks)}


def _order(row: Row) -> tuple[int, str]:
    names = list(CHECKS)
    return (names.index(row.check) if row.check in names else -1, row.primal)


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool | None | tuple | list) else repr(value)
