"""The only loop: cases × points × checks, gathered into a report. Leaves global random state and warning filters as they were."""
from __future__ import annotations

import json
import sys
import time
import traceback
import warnings
from collections import Counter as Count
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing, contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np

from . import checks as battery
from .adapters.noise import sheltered
from .checks import CHECKS, Check
from .environment import environment, fingerprint, revision
from .evidence import Calls, CaseReport, Evidence, Failure, Ledger, NotChecked, Point, Report, Row, Verdict
from .gather import LOW_PRECISION as LOW_PRECISION
from .gather import Seen, Tally, failing, joined, row_of, simplest, tallied
from .messages import failure_text, repeat_line
from .report.codec import builtins
from .settings import meant
from .strategies import TRIAL, points, smallest
from .subjects import Case, Counter, Subject, seed_of
from .workers import Answer, Crash, Journal, Refused, Work, completed

T = TypeVar("T")
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
    "soak": Profile({"float64": 1200, "float32": 1200}, 5),
}
SHRINK_RUNS, SHRINK_SECONDS = 200, 20.0
SLICE, SLICES = 7, 64               # points that one unit judges at least, so that it outlasts its way; units of one case at most


def run(cases: Iterable[Case], *, checks: Sequence[str] | None = None, ignore: Sequence[str] = (), seed: int = 0, executor: Executor | None = None,
        profile: str = "default", at: Point | None = None, command: str = "", not_checked: Sequence[NotChecked] = (), unasked: Sequence[str] = (),
        progress: Progress = lambda what, done, total: None, shard: tuple[int, int] = (1, 1), fail_fast: bool = False,
        resume: str | Path | None = None) -> Report:
    """Judge every case and gather a report, the same one however it is run.

    checks: names, None for the default battery. at: one point, instead of the profile's. executor: any concurrent.futures.Executor;
    cases are then found again by their targets. shard: (i, n), the i-th of n parts, which `gradcheck.report.merge` joins. fail_fast: stop
    at the first case that is wrong. unasked: names of layers left out before. resume: a file for what is done, read again by the next run
    if this one is interrupted.
    Errors: ValueError for an unknown check or profile; Refused for a shard that cannot be, two cases that nothing tells apart, another file to resume.

    >>> import gradcheck
    >>> from layers import Add, Dense
    >>> report = gradcheck.run([gradcheck.case(Add), gradcheck.case(Dense)], checks=["linear"], profile="quick")
    >>> {case.name: str(case.verdict) for case in report.cases}
    {'Add': 'pass', 'Dense': 'pass'}
    """
    plan = Plan(tuple(select(checks, ignore)), profile, seed, at)
    known = told_apart(cases)
    named = {name: case for name, case in known.items() if within(shard, name)}
    started, began, judged = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter(), dict[str, CaseReport]()
    notes = Journal(Path(resume), fingerprint()) if resume else Journal()
    with closing(notes), closing(_judged(named, plan, executor, notes, progress)) as reports:
        for name, found in reports:
            judged[name] = msgspec.structs.replace(found, name=name)
            if fail_fast and found.verdict.bad:
                break
    skipped = [NotChecked(what=name, why="the run stopped at the first case that is wrong") for name in named if name not in judged]
    ordered = [judged[name] for name in named if name in judged]
    return Report(environment=environment(), command=command, profile=profile, seed=seed, revision=revision(), started=started,
                  time_s=time.perf_counter() - began, cases=tuple(ordered), checks=tuple(CHECKS[c].info for c in plan.checks),
                  not_checked=(*not_checked, *_unseen(ordered), *skipped), unasked=(*unasked, *(name for name in known if name not in judged)))


def select(names: Sequence[str] | None, ignore: Sequence[str] = ()) -> Iterator[str]:
    """The checks to run, in the battery's order. Errors: ValueError names the unknown one and the nearest known."""
    for name in (*(names or ()), *ignore):
        if name not in CHECKS:
            raise ValueError(f"there is no check {name!r}{meant(name, CHECKS)}; the checks are {', '.join(CHECKS)}")
    yield from (c.name for c in CHECKS.values() if (c.default if names is None else c.name in names) and c.name not in ignore)


def told_apart(cases: Iterable[Case]) -> dict[str, Case]:
    """Every case once, by the name that a report has for it: its own, with its target where several have that name.

    Errors: Refused for two cases of one name that no target tells apart.
    """
    once = list({case.target or id(case): case for case in cases}.values())
    count = Count(case.name for case in once)
    named = [(case.name if count[case.name] == 1 else f"{case.name} ({case.target})", case) for case in once]
    if twice := [case.name for _, case in named if count[case.name] > 1 and not case.target]:
        raise Refused(f"two cases are called {twice[0]!r}, and a report could not tell them apart; give one of them another name=")
    return dict(named)


def within(shard: tuple[int, int], name: str) -> bool:
    """Whether a case belongs to this part of a run: by its name alone, so that parts need not know of each other. Errors: Refused if there is no such part."""
    part, parts = shard
    if not 1 <= part <= parts:
        raise Refused(f"a shard is one of 1/{parts} to {parts}/{parts}, got {part}/{parts}" if parts > 0 else f"there are no {parts} shards")
    return seed_of("shard", name) % parts == part - 1


@dataclass(frozen=True)
class Plan:
    """What to do with every case."""
    checks: tuple[str, ...]
    profile: str
    seed: int
    at: Point | None = None

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise ValueError(f"there is no profile {self.profile!r}{meant(self.profile, PROFILES)}; the profiles are {', '.join(PROFILES)}")

    def points(self, case: Case) -> list[Point]:
        if self.at is not None:
            return [self.at]
        return [p for dtype, n in PROFILES[self.profile].points.items() for p in points(case, n, self.seed, dtype)]


# units of work ------------------------------------------------------------------------------------------------------------------

class Part(msgspec.Struct, frozen=True):
    """What was found at some of a case's points."""
    tallies: tuple[Tally, ...]
    time_s: float


class Unit(msgspec.Struct, frozen=True, omit_defaults=True):
    """A step in judging a case, which is found again by its target: all that a worker needs to know."""
    target: str
    name: str
    plan: Plan
    step: Literal["survey", "judge", "report"] = "survey"
    start: int = 0
    stop: int = 0
    parts: tuple[Part, ...] = ()


def encode(value: Any) -> bytes:
    """A value as JSON, not a number among the numbers too."""
    return json.dumps(builtins(value), sort_keys=True).encode()


def decode(data: bytes, kind: type[T]) -> T:
    return msgspec.convert(json.loads(data), kind, strict=False)          # not strict: "NaN" is a number


def work(unit: bytes) -> bytes:
    """A unit's answer, in any process. What the layer prints is no result: it goes to stderr."""
    todo = decode(unit, Unit)
    with redirect_stdout(sys.stderr):
        return encode(_found_again(todo.target, todo.name, encode(todo.plan)).step(todo))


@lru_cache(maxsize=256)
def _found_again(target: str, name: str, plan: bytes) -> Judge:
    from .targets import find
    return Judge(next(c for c in find(target).cases if c.name == name), decode(plan, Plan))


def _here(judges: Iterable[Judge]) -> Work:
    """The same work on cases that are here already, and need not be found."""
    known = {(j.case.target, j.case.name): j for j in judges}

    def work(unit: bytes) -> bytes:
        todo = decode(unit, Unit)
        return encode(known[todo.target, todo.name].step(todo))
    return work


def _judged(named: Mapping[str, Case], plan: Plan, executor: Executor | None, journal: Journal,
            progress: Progress) -> Generator[tuple[str, CaseReport], None, None]:
    """The report on every case, as it is ready."""
    names = [*named]
    working = _here(Judge(case, plan) for case in named.values()) if executor is None else work
    tasks = [judgement(Unit(case.target, case.name, plan)) for case in named.values()]
    for i, found in completed(tasks, working, executor, journal=journal, told=lambda i, done, known: progress(names[i], done, known)):
        yield names[i], found


def judgement(of: Unit) -> Generator[list[bytes], list[Answer], CaseReport]:
    """The steps in judging one case: how many points, what is found at slices of them, the report on it all."""
    (survey,) = yield [encode(of)]
    if isinstance(survey, Crash):
        return _crashed(of, survey)
    count = decode(survey, int)
    width = max(SLICE, -(-count // SLICES))
    slices = [(i, min(i + width, count)) for i in range(0, count, width)]
    parts = yield [encode(msgspec.structs.replace(of, step="judge", start=i, stop=j)) for i, j in slices]
    known = [part for part in parts if isinstance(part, bytes)]
    if parts and not known:
        return _crashed(of, parts[0])
    (whole,) = yield [_with_parts(encode(msgspec.structs.replace(of, step="report")), known)]
    if isinstance(whole, Crash):
        return _crashed(of, whole)
    lost = [f"{_why(part)}, at points {i + 1} to {j} of {count}" for (i, j), part in zip(slices, parts, strict=True) if isinstance(part, Crash)]
    found = decode(whole, CaseReport)
    return msgspec.structs.replace(found, error="\n".join([*filter(None, [found.error]), *lost]))


def _with_parts(unit: bytes, parts: Sequence[bytes]) -> bytes:
    """The unit with its `parts`, which are JSON already: they pass through here by the megabyte, and nobody here reads them."""
    return b"%b, \"parts\": [%b]}" % (unit.removesuffix(b"}"), b", ".join(parts))


def _crashed(of: Unit, crash: Answer) -> CaseReport:
    return CaseReport(name=of.name, target=of.target, error=_why(crash))


def _why(crash: Answer) -> str:
    return f"the worker crashed: {crash.why}" if isinstance(crash, Crash) else ""


# one case -----------------------------------------------------------------------------------------------------------------------

def judge_case(case: Case, plan: Plan) -> CaseReport:
    """All checks at all points of one case."""
    judge = Judge(case, plan)
    return judge.report([judge.judge(0, judge.survey())])


@dataclass(frozen=True)
class Judge:
    """One case under one plan. An exception of the layer's is a row, or the case's error, never the run's end."""
    case: Case
    plan: Plan

    @cached_property
    def points(self) -> list[Point]:
        return self.plan.points(self.case)

    def step(self, todo: Unit) -> Any:
        """What the unit asks for."""
        if todo.step == "survey":
            return self.survey()
        return self.judge(todo.start, todo.stop) if todo.step == "judge" else self.report(todo.parts)

    def survey(self) -> int:
        """At how many points the case is judged; 0 where they cannot be told, which `report` explains."""
        with undisturbed():
            try:
                return len(self.points)
            except Exception:
                return 0

    def judge(self, start: int, stop: int) -> Part:
        """What the checks find at these points."""
        began = time.perf_counter()
        with undisturbed():
            seen = [Seen(i, e) for i in range(start, stop) for e in _at_point(self.case, self.points[i], self.plan.checks)]
        return Part(tallied(seen, self.points) if seen else (), time.perf_counter() - began)

    def report(self, parts: Iterable[Part]) -> CaseReport:
        """The report on the case, from all that was found at its points; failures are shrunk and located."""
        parts, began, case, family = [*parts], time.perf_counter(), self.case, self.case.family
        head = CaseReport(name=case.name, target=case.target, adapter=family.adapter, law=family.law_text, equation=family.equation,
                          source=family.source, domains={k: tuple(map(_plain, v)) for k, v in family.domains.items()}, convention=dict(case.convention))
        with undisturbed():
            try:
                found = self._found(parts) if self.points else {"error": _refused(case)}
            except Exception as error:
                found = {"error": blame(error)}
        return msgspec.structs.replace(head, **found, time_s=sum(sorted(p.time_s for p in parts)) + time.perf_counter() - began)

    def _found(self, parts: Sequence[Part]) -> dict[str, Any]:
        rows = tuple(map(self._row, joined((t for p in parts for t in p.tallies), self.points)))
        rows = rows if self.plan.at else _strict(self.case, rows)
        broken = [r for r in rows if r.check == "build" and r.points == {"error": len(self.points)}]
        return {"points": len(self.points), "rows": tuple(sorted(rows, key=_order)), "ledger": _ledger(self.case, self.points[0]),
                "notes": _notes(self.case, self.points[0]), "error": broken[0].reason if broken else ""}

    def _row(self, tally: Tally) -> Row:
        """A row; where it fails with its failure shrunk, unless that was expected."""
        found = row_of(tally, self.points, min(PROFILES[self.plan.profile].enough, len(self.points)))
        if found.verdict is not Verdict.FAIL:
            return found
        failure, known = self._failure(simplest(failing(tally), self.points)), self.case.expect.get(tally.check)
        return msgspec.structs.replace(found, failure=failure, **({"verdict": Verdict.XFAIL, "reason": known} if known else {}))

    def _failure(self, start: Seen) -> Failure:
        """The simplest point at which the same check still fails for the same primal."""
        case, check, primal = self.case, start.evidence.check, start.evidence.primal
        latest = {repr(self.points[start.at]): start.evidence}
        deadline = time.perf_counter() + SHRINK_SECONDS

        def fails(point: Point) -> bool:
            if time.perf_counter() > deadline:
                return False
            found = next((e for e in _at_point(case, point, [check]) if e.primal == primal and e.verdict is Verdict.FAIL), None)
            if found:
                latest[repr(point)] = found
            return found is not None

        point = smallest(case, self.points[start.at], fails, SHRINK_RUNS)
        failure = Failure(point=point, code=_code(case, point), repeat=repeat_line(case.target, case.name, check, point), source=case.family.source,
                          text="", evidence=_explained(case, point, latest[repr(point)]))
        return msgspec.structs.replace(failure, text=failure_text(case.name, failure))


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


def _notes(case: Case, point: Point) -> tuple[str, ...]:
    try:
        return case.subject(point).facts.notes
    except Exception:
        return ()


def _unseen(judged: Iterable[CaseReport]) -> Iterator[NotChecked]:
    for case in judged:
        for row in case.rows:
            if row.verdict is Verdict.UNDECIDED and row.points == {"pass": row.marks.get("vacuous")}:
                yield NotChecked(what=f"{case.name}/{row.check}/{row.primal}", why="its cotangent was zero at every point")


def blame(error: BaseException) -> str:
    """The exception with the last line of theirs that it came through, neither ours nor NumPy's; one of our own says all itself."""
    if type(error).__module__.startswith(__package__):
        return f"{type(error).__name__}: {error}"
    tools = tuple(str(Path(file).parent) for file in (__file__, np.__file__))
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if not f.filename.startswith(tools)] or frames
    where = f" (at {Path(theirs[-1].filename).name}:{theirs[-1].lineno}: {theirs[-1].line})" if theirs else ""
    return f"{type(error).__name__}: {str(error) or 'no message'}{where}"


@contextmanager
def undisturbed() -> Iterator[None]:
    """One BLAS thread, no warnings of a layer's shown, and global random state put back afterwards."""
    from threadpoolctl import threadpool_limits
    with sheltered(), warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        yield


def _marks(found: list[tuple[Point, Evidence]]) -> dict[str, int]:
    marks = [m for _, e in found for m in e.marks]
    return {m: marks.count(m) for m in dict.fromkeys(marks)}


def _order(row: Row) -> tuple[int, str]:
    names = list(CHECKS)
    return (names.index(row.check) if row.check in names else -1, row.primal)


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | float | bool | None | tuple | list) else repr(value)
