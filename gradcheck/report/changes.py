"""What changed from one run to the next."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..evidence import CaseReport, Report, Row, Verdict
from .notation import clip, coarse, seconds
from .words import WORD, row_id, rows, why

COARSER = 10.0                 # a pass is coarser if its resolution grew by this factor
SLOWER = 2.0                   # a layer is slower if its checks took this many times as long: wall times move by a third by themselves …
SLOWER_S = 1.0                 # … and by a second more


@dataclass(frozen=True)
class Kind:
    """A way to change: its heading, and whether it makes a run a regression unless told otherwise."""
    heading: str
    regression: bool = False


KINDS = {                      # in the order in which a reader wants them
    "failed": Kind("New failures", regression=True),
    "undecided": Kind("No longer decided", regression=True),
    "removed": Kind("No longer checked", regression=True),
    "coarser": Kind(f"Passes with a resolution worse by ×{COARSER:.0f}"),
    "slower": Kind(f"Checks took more than ×{SLOWER:.0f} as long"),
    "failing": Kind("Still failing"),
    "fixed": Kind("Fixed"),
    "added": Kind("Newly checked"),
}
FAIL_ON = tuple(name for name, kind in KINDS.items() if kind.regression)


@dataclass(frozen=True)
class Change:
    """One change: of which kind, of which row (or case), and what there is to say about it."""
    kind: str
    id: str
    text: str


@dataclass(frozen=True)
class Diff:
    """All changes between two runs; `str` is what `gradcheck diff` prints."""
    changes: tuple[Change, ...]

    def of(self, *kinds: str) -> tuple[Change, ...]:
        """Those of the given kinds. Errors: ValueError on a kind that there is not."""
        if unknown := set(kinds) - set(KINDS):
            raise ValueError(f"changes are {', '.join(KINDS)}, got {', '.join(sorted(unknown))}")
        return tuple(c for c in self.changes if c.kind in kinds)

    def regressions(self, fail_on: Iterable[str] = FAIL_ON) -> tuple[Change, ...]:
        """The changes for which a build should stop."""
        return self.of(*fail_on)

    def __str__(self) -> str:
        groups = [(kind.heading, self.of(name)) for name, kind in KINDS.items()]
        return "\n\n".join(f"{heading} ({len(group)})\n" + "\n".join(f"  {c.id}: {c.text}" for c in group)
                           for heading, group in groups if group) or "Nothing changed."


def diff(old: Report, new: Report) -> Diff:
    """What changed from `old` to `new`, row by row; a row that is gone counts as `removed`."""
    found = sorted([*_cases(old, new), *_rows(old, new)], key=lambda c: (list(KINDS).index(c.kind), c.id))
    return Diff(tuple(found))


def _cases(old: Report, new: Report) -> Iterator[Change]:
    before = {c.name: c for c in old.cases}
    for case in new.cases:
        was = before.get(case.name)
        if case.error:
            yield Change("failing" if was and was.error else "failed", case.name, f"could not be judged: {clip(case.error, 120)}")
        elif was and was.error:
            yield Change("fixed", case.name, f"could not be judged before: {clip(was.error, 120)}")
        elif was and case.time_s > max(SLOWER * was.time_s, was.time_s + SLOWER_S):
            yield Change("slower", case.name, f"{seconds(was.time_s)} before, {seconds(case.time_s)} now")


def _rows(old: Report, new: Report) -> Iterator[Change]:
    before, after = _judged(old), _judged(new)
    errors = {c.name for c in new.cases if c.error}                  # said once, of the case
    for key in before | after:
        case, row = after.get(key) or before[key]
        change = _change(before[key][1] if key in before else None, after[key][1] if key in after else None)
        if change and not (case.name in errors and key not in after):
            yield Change(change[0], row_id(case.name, row), change[1])


def _judged(report: Report) -> dict[tuple[str, str, str], tuple[CaseReport, Row]]:
    return {(c.name, r.check, r.primal): (c, r) for c, r in rows(report) if r.verdict is not Verdict.SKIPPED}


def _change(old: Row | None, new: Row | None) -> tuple[str, str] | None:
    """Of which kind, and in what words; None where nothing happened."""
    if new is None:
        return "removed", f"{WORD[old.verdict]} before, not judged now" if old else ""
    if new.verdict.bad:
        return ("failing" if old and old.verdict.bad else "failed"), f"{WORD[new.verdict]}: {_reason(new)}"
    if old is None:
        return "added", WORD[new.verdict]
    if new.verdict is Verdict.UNDECIDED:
        return None if old.verdict is Verdict.UNDECIDED else ("undecided", f"{WORD[old.verdict]} before; now {_reason(new)}")
    if old.verdict.bad or old.verdict is Verdict.UNDECIDED:
        return "fixed", f"{WORD[old.verdict]} before, {WORD[new.verdict]} now"
    if old.coarsest and new.coarsest and new.coarsest.entry > COARSER * old.coarsest.entry:
        return "coarser", f"{coarse(old.coarsest.entry)} before, {coarse(new.coarsest.entry)} now"
    return None


def _reason(row: Row) -> str:
    return clip(why(row) or "no reason given", 160)
