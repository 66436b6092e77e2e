"""What changed from one run to the next."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median

from ..evidence import Bench, Report, Row, Scaling, Timing, Verdict
from .notation import clip, coarse, memory, number, seconds
from .words import NAMED, WORD, named, rows, tally, why

COARSER = 10.0                 # a pass is coarser if its resolution grew by this factor
SLOWER = 1.25                  # a layer is slower if, beyond both intervals, it takes this many times what it took of the reference workload
GROWN = 1.1                    # memory is counted, not timed: a tenth more is no noise
SHOWN = 50                     # changes of one kind that are spelt out
LONGER = 2.0                   # checks took longer by this factor and by a second, at the pace of the whole run:
LONGER_S = 1.0                 # single wall times move by a third by themselves

Rows = Mapping[tuple[str, str, str], Row]          # by case, check and primal


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
    "slower": Kind("Slower"),
    "grown": Kind("Needs more memory"),
    "failing": Kind("Still failing"),
    "fixed": Kind("Fixed"),
    "added": Kind("Newly checked"),
    "unasked": Kind("Not asked for this time"),
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
        return "\n\n".join(_listed(heading, group) for heading, group in groups if group) or "Nothing changed."


def _listed(heading: str, group: tuple[Change, ...]) -> str:
    told = alike(group)
    more = [f"  and {sum(map(len, told[SHOWN:]))} more"] * (len(told) > SHOWN)
    return "\n".join([f"{heading} ({len(group)})", *(f"  {same[0].id}{also(same)}: {same[0].text}" for same in told[:SHOWN]), *more])


def alike(group: Iterable[Change]) -> list[list[Change]]:
    """The changes of a layer that say the same in one; what was not asked for is one whatever the layer."""
    found: dict[tuple[str, str], list[Change]] = {}
    for c in group:
        found.setdefault((c.text, "" if c.kind == "unasked" else c.id.partition("/")[0]), []).append(c)
    return list(found.values())


def also(same: list[Change]) -> str:
    """`, values/W and 3 more`: what says the same as the first of these."""
    _, *others = [c.id if c.kind == "unasked" else c.id.partition("/")[2] for c in same]
    return "".join(f", {name}" for name in others[:2 * NAMED]) + f" and {len(others) - 2 * NAMED} more" * (len(others) > 2 * NAMED)


def diff(old: Report, new: Report) -> Diff:
    """What changed from `old` to `new`, row by row; a row that is gone counts as `removed`, unless `new` was not asked for it."""
    found = sorted([*_cases(old, new), *_rows(old, new), *_bench(old.bench or Bench(), new.bench or Bench())], key=lambda c: (list(KINDS).index(c.kind), c.id))
    return Diff(tuple(found))


def _cases(old: Report, new: Report) -> Iterator[Change]:
    before, pace = {c.name: c for c in old.cases}, _pace(old, new)
    for case in new.cases:
        was = before.get(case.name)
        if case.error:
            yield Change("failing" if was and was.error else "failed", case.name, f"could not be judged: {clip(case.error, 120)}")
        elif was and was.error:
            yield Change("fixed", case.name, f"could not be judged before: {clip(was.error, 120)}")
        elif was and was.time_s and case.time_s > max(LONGER * pace * was.time_s, pace * was.time_s + LONGER_S):
            yield Change("slower", case.name, f"its checks took {seconds(was.time_s)} before, {seconds(case.time_s)} now")


def _pace(old: Report, new: Report) -> float:
    """How much longer a layer's checks took on the whole: another machine, or a busy one."""
    before = {c.name: c.time_s for c in old.cases}
    return median([c.time_s / before[c.name] for c in new.cases if before.get(c.name)] or [1.0])


def _bench(old: Bench, new: Bench) -> Iterator[Change]:
    """What takes longer, by its ratio to the reference workload, grows faster or needs more memory than before."""
    timings, scalings = {t.id: t for t in old.timings}, {_line(s): s for s in old.scalings}
    for now in new.timings:
        if was := timings.get(now.id):
            yield from (Change(kind, now.id, text) for kind, text in _timed(was, now))
    for line in new.scalings:
        if (known := scalings.get(_line(line))) and line.low > known.high:
            yield Change("slower", _line(line), f"time grew with the power {number(known.exponent, 3)} of {line.axis} before, {number(line.exponent, 3)} now")


def _timed(was: Timing, now: Timing) -> Iterator[tuple[str, str]]:
    if now.relative > SLOWER * was.relative and (now.relative_low or now.relative) > (was.relative_high or was.relative):
        yield "slower", f"{number(was.relative, 3)} of the reference workload before, {number(now.relative, 3)} now"
    for what, before, after in (("at its peak", was.peak_bytes, now.peak_bytes), ("kept for backward", was.residual_bytes, now.residual_bytes)):
        if before and after > GROWN * before:
            yield "grown", f"{memory(before)} {what} before, {memory(after)} now"


def _line(s: Scaling) -> str:
    return f"{s.case}/{s.dtype}/{s.side}/{s.axis}"


def _rows(old: Report, new: Report) -> Iterator[Change]:
    before, after = _judged(old), _judged(new)
    errors = {c.name for c in new.cases if c.error}                  # said once, of the case
    for key in before.keys() & after.keys():
        if change := _change(before[key], after[key]):
            yield Change(change[0], named(*key), change[1])
    gone = {k: r for k, r in before.items() if k not in after and k[0] not in errors}
    asked = {k: r for k, r in gone.items() if not _is_unasked(*k[:2], new)}
    yield from _only(asked, after, "removed", "before, not judged now")
    yield from (Change("unasked", c.id, "judged before") for c in _only({k: gone[k] for k in gone.keys() - asked.keys()}, after, "unasked", ""))
    for key, row in after.items():
        if key not in before and row.verdict.bad:
            yield Change("failed", named(*key), f"{WORD[row.verdict]}: {reason(row)}")
    yield from _only({k: r for k, r in after.items() if not r.verdict.bad}, before, "added", "now")


def _is_unasked(case: str, check: str, report: Report) -> bool:
    """Whether a run left this out on purpose: by a name, a part of its targets, or the choice of checks."""
    return not {case, named(case, check)}.isdisjoint(report.unasked) or bool(report.checks) and check not in {c.name for c in report.checks}


def _only(these: Rows, others: Rows, kind: str, when: str) -> Iterator[Change]:
    """What is in these rows and not in the others; a layer or a check that is not there at all is one change."""
    known = {part for case, check, _ in others for part in ((case,), (case, check))}
    groups: dict[tuple[str, ...], list[Row]] = {}
    for case, check, primal in these.keys() - others.keys():
        whole = next((part for part in ((case,), (case, check)) if part not in known), (case, check, primal))
        groups.setdefault(whole, []).append(these[case, check, primal])
    yield from (Change(kind, named(*part), f"{_counted(found)} {when}") for part, found in groups.items())


def _counted(found: list[Row]) -> str:
    """`pass` of one row, `37 pass, 2 undecided` of several."""
    return ", ".join(f"{n} {WORD[v]}" if found[1:] else WORD[v] for v, n in tally(r.verdict for r in found).items())


def _judged(report: Report) -> Rows:
    return {(c.name, r.check, r.primal): r for c, r in rows(report) if r.verdict is not Verdict.SKIPPED}


def _change(old: Row, new: Row) -> tuple[str, str] | None:
    """Of which kind, and in what words; None where nothing happened."""
    if new.verdict.bad:
        return ("failing" if old.verdict.bad else "failed"), f"{WORD[new.verdict]}: {reason(new)}"
    if new.verdict is Verdict.UNDECIDED:
        return None if old.verdict is Verdict.UNDECIDED else ("undecided", f"{WORD[old.verdict]} before; now {reason(new)}")
    if old.verdict.bad or old.verdict is Verdict.UNDECIDED:
        return "fixed", f"{WORD[old.verdict]} before, {WORD[new.verdict]} now"
    if old.coarsest and new.coarsest and new.coarsest.entry > COARSER * old.coarsest.entry:
        return "coarser", f"{coarse(old.coarsest.entry)} before, {coarse(new.coarsest.entry)} now"
    return None


def reason(row: Row) -> str:
    """Why a row is not right, on one line."""
    return clip(why(row) or "no reason given", 160)
