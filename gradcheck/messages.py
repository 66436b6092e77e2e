"""What a person reads when something failed: at most 25 lines, the line that repeats it among them."""
from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterable, Iterator

import msgspec

from .evidence import CaseReport, Entry, Failure, Point, Report, Row, Verdict
from .report.words import sentence

LINES, COLUMNS = 25, 100
UNKNOWN = "is not recognised"
NEAR = 5e-4               # from 1: a ratio whose four digits would be 1.000


def repeat_line(target: str, name: str, check: str, point: Point) -> str:
    """The command that runs this check at this point again; for what was not found by its target, the call."""
    spec = msgspec.json.encode(point).decode()
    if not target:
        return f"gradcheck.check(…, checks=[{check!r}], at={spec!r})"
    return f"gradcheck run {shlex.quote(_target(target, name))} --select {check} --at {shlex.quote(spec)}"


def failure_text(name: str, failure: Failure, most: int = LINES - 1) -> str:
    """Verdict, case, worst entries, diagnosis, where to look, how to repeat: `most` lines of a terminal with `COLUMNS` columns."""
    e = failure.evidence
    lines = [f"FAIL  {name}: {e.check}" + (f" of {e.primal}" if e.primal else "")]
    lines += _wrapped("  case     ", failure.code, 7)
    if e.reason:
        lines += _wrapped("  why      ", e.reason, 4)
    lines += [f"  {_entry(e.primal, entry)}" for entry in e.worst[:3]]
    if e.diagnosis:
        lines += _wrapped("  that is  ", e.diagnosis, 4)
    if failure.source:
        lines.append(f"  look at  {failure.source}")
    rows = -(-len(failure.repeat) // COLUMNS)          # no line break is put into it: it is there to be copied
    return "\n".join([*lines[:max(most - 1 - rows, 1)], "  repeat   with the next line", failure.repeat])


def told(case: CaseReport) -> str:
    """What is wrong with one case, for where there is room for `LINES` lines: the first failure in full, the others by name."""
    brief = [line for trouble in _troubles(case, full=False) for line in _wrapped("", trouble, 4)][:LINES // 2]
    first = next((row.failure for row in _shown(case) if row.failure), None)
    return "\n".join([*([failure_text(case.name, first, LINES - len(brief))] if first else []), *brief])


def _entry(primal: str, e: Entry) -> str:
    ratio = f" (ratio {_ratio(e.claimed / e.numeric)})" if e.numeric else ""
    return f"{primal}[{', '.join(map(str, e.index))}]: claimed {e.claimed:.9g}, numeric {e.numeric:.9g} ± {e.bound:.0e}{ratio}"


def _ratio(r: float) -> str:
    """Four digits, or how far it is from 1."""
    near = abs(r - 1)
    return f"1 {'+' if r > 1 else '−'} {near:.1e}" if 0 < near < NEAR else f"{r + 0.0:.4g}"


def _wrapped(label: str, text: str, most: int) -> list[str]:
    """A labelled paragraph; its later lines stand under its first."""
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, COLUMNS - len(label)) or [""]]
    kept = lines[:most] + (["…"] if len(lines) > most else [])
    return [(label if i == 0 else " " * len(label)) + line for i, line in enumerate(kept)]


def _target(target: str, name: str) -> str:
    return target if target.endswith(f":{name}") else f"{target}:{name}"


def summary(report: Report) -> str:
    """The report in a few lines: the verdict in words, then of every case what did not pass."""
    return "\n".join([sentence(report), *(line for case in report.cases for line in _troubles(case))])


def _troubles(case: CaseReport, full: bool = True) -> Iterator[str]:
    """What is wrong with a case: its error, its first failure (if `full`), and one line for all rows with the same verdict and reason."""
    if case.error:
        yield f"ERROR  {case.name}: {case.error}"
    failed = _shown(case)
    same: dict[tuple[str, str], list[Row]] = {}
    for row in case.rows:
        if row.verdict not in (Verdict.PASS, Verdict.FAIL) and row.reason != case.error:
            same.setdefault((row.verdict.upper(), row.reason), []).append(row)
    yield from (f"{verdict}  {case.name}: {_where(rows)}: {reason}" for (verdict, reason), rows in same.items())
    yield from (f"\n{row.failure.text}" for row in failed[:1] if row.failure and full)
    if failed[1:]:
        yield f"FAIL  {case.name}: also {_where(failed[1:])}"


def _shown(case: CaseReport) -> list[Row]:
    """The rows that failed, the most telling first: of the first check, and of a kind that was recognised."""
    failed = [row for row in case.rows if row.verdict is Verdict.FAIL]
    return sorted(failed, key=lambda row: (row.check != failed[0].check, not row.failure or UNKNOWN in row.failure.evidence.diagnosis))


def _where(rows: Iterable[Row]) -> str:
    """`adjoint of W, b; pure`: each check with what it judged."""
    of: dict[str, list[str]] = {}
    for row in rows:
        of.setdefault(row.check, []).append(row.primal)
    return "; ".join(f"{check} of {', '.join(filter(None, primals))}" if any(primals) else check for check, primals in of.items())
