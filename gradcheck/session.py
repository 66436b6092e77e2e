"""Gradient checks within one pytest session: what judges, and what gathers the records into a report.

A record is a Report of one item as JSON text on the item's TestReport. So it comes from a worker process with the outcome it
belongs to, and a worker that dies loses one item. That item's setup has sent beforehand what to say of it then.
"""
from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from . import api, report, runner
from .checks import CHECKS
from .environment import environment, revision
from .evidence import CaseReport, Failure, NotChecked, Point, Report, Row, Verdict
from .messages import failure_text, told
from .report.codec import from_json, to_json
from .report.words import named
from .settings import meant, settings
from .subjects import Case

PLANNED, FOUND = "gradcheck_planned", "gradcheck_found"          # attributes of a TestReport: what an item would judge, what it judged
PHASES = ("setup", "call", "teardown")                           # any other `when` tells of a process that died
WHERE = re.compile(r"-n(\d+|auto|logical)?|--(numprocesses|dist|maxprocesses|gradcheck-report)")     # options that change no verdict …
BARE = {"-n", "--numprocesses", "--dist", "--maxprocesses", "--gradcheck-report"}                   # … and those of them whose value may follow

MADE = "made"                                                    # in a plan's `extra`: every item that its process collected


class Item(NamedTuple):
    """One check of one case; no check where a test judges what it likes."""
    name: str
    target: str
    check: str = ""


@dataclass
class Session:
    """How this process judges: checks, profile, seed, point."""
    config: pytest.Config
    plan: runner.Plan
    known: dict[tuple[str, str], Case] = field(default_factory=dict)
    made: list[Item] = field(default_factory=list)       # every item, to be told once to who records

    def judges(self, metafunc: pytest.Metafunc, marks: Sequence[pytest.Mark]) -> list[Bound]:
        """What a marked test is run with: one for each case and check. Errors: CollectError says what is wrong with the mark."""
        where = f"{metafunc.definition.nodeid}: gradcheck.parametrize"
        try:
            cases = [c for mark in marks for c in _marked(mark, metafunc.definition.path)]
            if "check" not in metafunc.fixturenames or not cases:
                raise ValueError("the test must take the argument `check`" if cases else "there is no case to judge")
            found = [Bound(self, case, check) for case in self._targeted(cases, metafunc.definition.path) for check in self._checks(case)]
        except (ValueError, TypeError) as error:
            raise pytest.Collector.CollectError(f"{where}: {error}") from None
        self.made += [Item(b.case.name, b.case.target, b.check) for b in found]
        return found

    def judge(self, item: pytest.Item) -> Judge:
        """What the `gradcheck` fixture of a test judges with."""
        return Judge(self).begun(item)

    def run(self, case: Case, checks: Sequence[str]) -> Report:
        return runner.run([case], checks=checks, seed=self.plan.seed, profile=self.plan.profile, at=self.plan.at)

    def _checks(self, case: Case) -> list[str]:
        return [c for c in self.plan.checks if CHECKS[c].category != "contract" or case.family.contract]

    def _targeted(self, cases: Sequence[Case], path: Path) -> Iterator[Case]:
        """The cases with the name under which `gradcheck run` finds them. Errors: ValueError where two would have the same."""
        place = os.path.relpath(path, self.config.invocation_params.dir)
        for case in cases:
            if self.known.setdefault((place, case.name), case).family is not case.family:
                raise ValueError(f"two cases of {place} are called {case.name!r}; give one of them another name=")
            yield replace(case, target=f"{place}:{case.name}")


def opened(config: pytest.Config) -> Session:
    """The session that the options and [tool.gradcheck] describe. Errors: UsageError before anything runs."""
    option: Callable[[str], Any] = lambda name: config.getoption(f"gradcheck_{name}")
    try:
        mine = settings(config.rootpath)
        at = msgspec.json.decode(option("at"), type=Point) if option("at") else None
        checks = tuple(runner.select(option("only") or mine.select or None, option("skip") or mine.ignore))
        seed = mine.seed if option("seed") is None else option("seed")
        session = Session(config, runner.Plan(checks, option("profile") or mine.profile, seed, at))
        if (option("report") or option("baseline")) and not hasattr(config, "workerinput"):
            config.pluginmanager.register(Recorder.of(config, session.plan), "gradcheck-recorder")
        return session
    except (ValueError, OSError) as error:                            # msgspec's DecodeError is a ValueError
        raise pytest.UsageError(f"gradcheck: {error}") from None


def _marked(mark: pytest.Mark, path: Path) -> Iterator[Case]:
    """The cases of a mark, with the failures that its file declares."""
    given = [c for arg in mark.args for c in (arg if isinstance(arg, list | tuple) else [arg])]
    cases = [api.as_case(c) for c in given]
    listed = mark.kwargs.get("expected_failures")
    expected = expectations(path.parent / listed, cases) if listed else {}
    yield from (replace(c, expect={**c.expect, **expected.get(c.name, {})}) for c in cases)


def expectations(path: Path, cases: Sequence[Case]) -> Mapping[str, Mapping[str, str]]:
    """What a file says of known failures, one `case-check: reason` a line: case -> check -> reason. `#` begins a remark.

    Errors: ValueError names the line: no such id, or no reason.
    """
    ids = {f"{c.name}-{check}": (c.name, check) for c in cases for check in CHECKS}
    found: dict[str, dict[str, str]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        id = max((i for i in ids if line.startswith(f"{i}:")), key=len, default="")
        reason = line[len(id) + 1:].strip()
        if not id or not reason:
            said = f"{id!r} has no reason" if id else f"there is no item {line.partition(':')[0]!r}{meant(line.partition(':')[0], ids)}"
            raise ValueError(f"{path.name}, line {number}: {said}; a line is `case-check: reason`")
        name, check = ids[id]
        found.setdefault(name, {})[check] = reason
    return found


@dataclass(eq=False)
class Judge:
    """What one test judges with, and what it has judged so far."""
    session: Session
    item: Any = None
    found: list[Report] = field(default_factory=list)

    def begun(self, item: pytest.Item) -> Judge:
        """For this run of this item: nothing judged yet."""
        self.item, self.found = item, []
        return self

    def of(self, target: Any, *inputs: Any, checks: Sequence[str] | None = None, **keywords: Any) -> api.Result:
        """Judge as `gradcheck.check` does; the test fails where the layer is wrong, undecided, or unexpectedly right."""
        __tracebackhide__ = True
        case = api.as_case(target, *inputs, **keywords)
        names = [r.cases[0].name for r in self.found]
        name = next(n for i in range(len(names) + 1) if (n := case.name if i == 0 else f"{case.name} ({i + 1})") not in names)
        allowed = self.session.plan.checks if checks is None else [c for c in runner.select(checks) if c in self.session.plan.checks]
        return self._record(replace(case, name=name, target=self.item.nodeid), allowed)

    @property
    def id_here(self) -> str:
        """The test as pytest takes it in the working directory; its own id counts from the root."""
        _, _, within = self.item.nodeid.partition("::")
        return f"{os.path.relpath(self.item.path, self.session.config.invocation_params.dir)}::{within}"

    def attach(self, to: pytest.TestReport) -> None:
        """The records as text on pytest's own report of a phase."""
        if to.when == "setup":
            setattr(to, PLANNED, to_json(self.planned()).decode())
        elif to.when == "call":
            setattr(to, FOUND, [to_json(r).decode() for r in self.found])

    def planned(self) -> Report:
        """What is to be said if the process dies now."""
        return self._of(CaseReport(name=self.item.name, target=self.item.nodeid, error="the process died while this test ran"))

    def _of(self, case: CaseReport) -> Report:
        made, self.session.made = self.session.made, []
        return Report(environment=environment(), command="", profile=self.session.plan.profile, seed=self.session.plan.seed, cases=(case,),
                      extra={MADE: made} if made else {})

    def _record(self, case: Case, checks: Sequence[str]) -> api.Result:
        __tracebackhide__ = True
        ran = self.session.run(case, checks)
        judged = _repeatable(ran.cases[0], self._repeat)
        self.found.append(msgspec.structs.replace(ran, cases=(judged,)))
        if judged.verdict.bad or judged.verdict is Verdict.UNDECIDED and (judged.rows or judged.error):
            pytest.fail(told(judged), pytrace=False)
        return api.Result(self.found[-1])

    def _repeat(self, row: Row, failure: Failure) -> str:
        """The line that runs this test's check again; the point is the session's, since the test may judge other layers."""
        plan = self.session.plan
        return shlex.join(["pytest", self.id_here, "--gradcheck-only", row.check, "--gradcheck-profile", plan.profile, "--gradcheck-seed", str(plan.seed)])


@dataclass(eq=False)
class Bound(Judge):
    """One check of one case: what a marked test is given as `check`, and calls."""
    case: Case = None                  # type: ignore[assignment]
    check: str = ""

    def __init__(self, session: Session, case: Case, check: str) -> None:
        super().__init__(session)
        self.case, self.check = case, check

    @property
    def id(self) -> str:
        return f"{self.case.name}-{self.check}"

    def __call__(self) -> api.Result:
        """Judge. The test fails, or ends as an expected failure, or is skipped where the check does not apply."""
        __tracebackhide__ = True
        result = self._record(self.case, [self.check])
        if result.verdict is Verdict.XFAIL:
            pytest.xfail(self.case.expect[self.check])
        if not result.report().cases[0].rows:
            pytest.skip(f"{self.check} does not apply to {self.case.name}")
        return result

    def __repr__(self) -> str:
        return self.id

    def attach(self, to: pytest.TestReport) -> None:
        if to.when == "call" and to.passed and not self.found:
            to.outcome, to.longrepr = "failed", f"{self.item.name} takes `check` and never calls it: nothing was checked"
        super().attach(to)

    def planned(self) -> Report:
        row = Row(check=self.check, primal="", verdict=Verdict.ERROR, reason="the process died while this check ran")
        return self._of(CaseReport(name=self.case.name, target=self.case.target, rows=(row,)))

    def _repeat(self, row: Row, failure: Failure) -> str:
        return shlex.join(["pytest", self.id_here, "--gradcheck-at", msgspec.json.encode(failure.point).decode()])


def _repeatable(case: CaseReport, repeat: Callable[[Row, Failure], str]) -> CaseReport:
    """The failures with lines that repeat them in pytest, which finds what a test file imports."""
    def told_again(row: Row) -> Row:
        if row.failure is None:
            return row
        failure = msgspec.structs.replace(row.failure, repeat=repeat(row, row.failure))
        return msgspec.structs.replace(row, failure=msgspec.structs.replace(failure, text=failure_text(case.name, failure)))

    return msgspec.structs.replace(case, rows=tuple(map(told_again, case.rows)))


@dataclass
class Recorder:
    """Gathers the records of all items, wherever they ran, and writes the reports. Registered only where one is asked for."""
    plan: runner.Plan
    command: str
    paths: Sequence[str]
    baseline: Report | None
    planned: dict[str, str] = field(default_factory=dict)
    found: dict[str, list[str]] = field(default_factory=dict)
    died: set[str] = field(default_factory=set)
    said: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, config: pytest.Config, plan: runner.Plan) -> Recorder:
        """Errors: ValueError for a suffix that no report has, or a baseline that is none; OSError where it cannot be read."""
        paths, baseline = config.getoption("gradcheck_report"), config.getoption("gradcheck_baseline")
        for path in paths:
            report.writable(path)
        return cls(plan, command_of(config.invocation_params.args), paths, report.load(baseline) if baseline else None)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        id = report.nodeid
        if (planned := getattr(report, PLANNED, None)) is not None:
            self.planned[id] = planned
        if (found := getattr(report, FOUND, None)) is not None:
            self.found[id] = found
        elif report.when not in PHASES and id in self.planned:
            self.died.add(id)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        result = self.report()
        for path in self.paths:
            try:
                report.save(result, path, compare=self.baseline)
                self.said.append(f"wrote {path}")
            except OSError as error:
                self.said.append(f"cannot write {path}: {error.strerror}")
                session.exitstatus = session.exitstatus or pytest.ExitCode.USAGE_ERROR
        changes = report.diff(self.baseline, result) if self.baseline else None
        if changes and changes.regressions():
            self.said[:0] = str(changes).splitlines()
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self.said:
            terminalreporter.write_line(f"gradcheck: {line}")

    def report(self) -> Report:
        """Everything that was judged, in an order that does not depend on who judged it when."""
        planned = {id: from_json(text) for id, text in self.planned.items()}
        whole = [from_json(text) for id in sorted(self.found) for text in self.found[id]]
        heads = {c.target: c for r in whole for c in r.cases}
        crashed = [_headed(planned[id], heads) for id in sorted(self.died)]
        silent = tuple(NotChecked(what=id, why="its test ended before the check") for id in sorted(planned.keys() - self.died) if not self.found.get(id))
        made = {Item(*item) for p in planned.values() for item in p.extra.get(MADE, ())}
        begun = {Item(c.name, c.target, r.check) for p in planned.values() for c in p.cases for r in c.rows}
        called = _told_apart([*made, *(Item(c.name, c.target) for r in (*whole, *crashed) for c in r.cases)])
        empty = Report(environment=environment(), command=self.command, profile=self.plan.profile, seed=self.plan.seed, not_checked=silent)
        alike = [msgspec.structs.replace(r, command=self.command, revision="", extra={}, cases=tuple(
            msgspec.structs.replace(c, name=called[c.target, c.name]) for c in r.cases)) for r in (*whole, *crashed)]
        return msgspec.structs.replace(report.merge([empty, *alike]), revision=revision(), environment=environment(),
                                       unasked=tuple(sorted(_left(made - begun, begun, called))))


def _left(out: Iterable[Item], begun: Iterable[Item], called: Mapping[tuple[str, str], str]) -> set[str]:
    """The items that were collected and never begun; those of a layer of which none was, as the layer."""
    some = {(i.target, i.name) for i in begun}
    return {named(called[i.target, i.name], *[i.check] * ((i.target, i.name) in some)) for i in out}


def _headed(crashed: Report, heads: Mapping[str, CaseReport]) -> Report:
    """A crash with what other items found out about its case."""
    (case,) = crashed.cases
    known = msgspec.structs.replace(heads[case.target], rows=case.rows, error=case.error) if case.target in heads and case.rows else case
    return msgspec.structs.replace(crashed, cases=(known,))


def _told_apart(items: Sequence[Item]) -> dict[tuple[str, str], str]:
    """What a report calls a case, by target and name: its name, unless several have it; then with its target, but for the only one that is parametrised."""
    of: dict[str, dict[str, bool]] = {}
    for i in items:
        of.setdefault(i.name, {}).setdefault(i.target, bool(i.check))
    return {(target, name): name if len(targets) == 1 or mine and sum(targets.values()) == 1 else f"{name} ({target})"
            for name, targets in of.items() for target, mine in targets.items()}


def command_of(args: Sequence[str]) -> str:
    """The line that runs the session again, without what says only where it runs and where its report goes."""
    kept, args = ["pytest"], list(map(str, args))
    while args:
        arg = args.pop(0)
        if not WHERE.fullmatch(arg.partition("=")[0]):
            kept.append(arg)
        elif arg in BARE and args:
            args.pop(0)
    return shlex.join(kept)
