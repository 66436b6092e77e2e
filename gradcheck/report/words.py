"""What a report says, in words: the same in every rendering."""
from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable
from math import inf

from ..evidence import CaseReport, NotChecked, Report, Row, Verdict
from .notation import clip, coarse, count

WORD = {                                       # gravest first: the order in which a reader wants them
    Verdict.FAIL: "fail",
    Verdict.ERROR: "error",
    Verdict.XPASS: "unexpected pass",
    Verdict.UNDECIDED: "undecided",
    Verdict.XFAIL: "known failure",
    Verdict.PASS: "pass",
    Verdict.SKIPPED: "skipped",
}
SEVERITY = {verdict: i for i, verdict in enumerate(WORD)}
MEANING = {
    Verdict.FAIL: "the claim and the measurement differ by more than both of their errors together, twice measured",
    Verdict.ERROR: "the layer, or the way it was called, raised an exception: nothing could be said",
    Verdict.XPASS: "declared as a known failure, yet it passes: the declaration can go",
    Verdict.UNDECIDED: "the evidence is too weak to say; the reason is given",
    Verdict.XFAIL: "fails, as its case declares with a reason",
    Verdict.PASS: "no error larger than the stated resolution",
    Verdict.SKIPPED: "does not apply here, or was not asked for",
}
_CLAUSE = {                                    # of a number of layers: one, many
    Verdict.FAIL: ("is wrong", "are wrong"),
    Verdict.ERROR: ("stopped with an error", "stopped with an error"),
    Verdict.XPASS: ("passes against expectation", "pass against expectation"),
    Verdict.UNDECIDED: ("stays undecided", "stay undecided"),
    Verdict.XFAIL: ("fails as declared", "fail as declared"),
    Verdict.PASS: ("is right", "are right"),
    Verdict.SKIPPED: ("was skipped", "were skipped"),
}
USUAL = "twin"                                 # a mark that says how low precision was measured: nothing to remark
HIGHEST = ""                                   # stands for the dtype of the highest precision that was run
NAMED = 3                                      # so many layers are named in a sentence


def sentence(report: Report) -> str:
    """The verdict on the whole run."""
    return ". ".join(clauses(report)) + "."


def clauses(report: Report) -> list[str]:
    """The verdict on the whole run, the gravest part first, which says of how many layers it speaks; then what else was measured."""
    names = {v: [c.name for c in report.cases if c.verdict is v] for v in WORD}
    said = [_clause(v, names[v], report) for v in WORD if names[v]]
    return [*_of_all(said, len(report.cases)), *measured(report)] or ["Nothing was checked: this run held no layer"]


def _of_all(said: list[str], layers: int) -> list[str]:
    """`1 is wrong` of one layer as `1 layer is wrong`, of three as `1 of 3 layers is wrong`, of all as `All 3 layers are wrong`."""
    if not said:
        return []
    number_of, _, what = said[0].partition(" ")
    whole = count(layers, "layer")
    subject = f"{number_of} of {whole}" if said[1:] else f"{'All ' * (layers > 1)}{whole}"
    return [f"{subject} {what}", *said[1:]]


def measured(report: Report) -> list[str]:
    """What was measured besides right and wrong."""
    timed = len({t.case for t in report.bench.timings}) if report.bench else 0
    killed, of = sum(m.killed for m in report.mutation), sum(m.killed + m.survived for m in report.mutation)
    return ([f"{count(timed, 'layer')} {'was' if timed == 1 else 'were'} timed"] * (timed > 0)
            + [f"{killed:,} of {count(of, 'mutant')} of {count(len(report.mutation), 'layer')} {'was' if killed == 1 else 'were'} caught"] * (of > 0))


def _clause(verdict: Verdict, names: list[str], report: Report) -> str:
    clause = f"{len(names)} {_CLAUSE[verdict][len(names) > 1]}"
    if verdict is Verdict.PASS:
        found = largest(pair for c in report.cases if c.verdict is verdict for pair in resolutions(c.rows).items())
        within = [f"to within {coarse(e)} of the largest entry" if d == HIGHEST else f"and {coarse(e)} in {d}" for d, e in found.items()]
        return ", ".join([clause, *within])
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{clause}: {', '.join(map(clip, names[:NAMED]))}{more}"


def caveats(report: Report) -> str:
    """What the verdict leaves open, in one sentence; empty where nothing is."""
    open_rows = sum(r.verdict is Verdict.UNDECIDED for c in report.cases for r in c.rows)
    unseen = len(unchecked(report)) - len(_idle(report))          # what is at no point there leaves nothing open
    parts = [f"{count(open_rows, 'row')} undecided"] * (open_rows > 0)
    parts += [f"{count(unseen, 'thing')} {'was' if unseen == 1 else 'were'} not checked"] * (unseen > 0)
    return "; ".join(parts) + "." * bool(parts)


def unchecked(report: Report) -> list[NotChecked]:
    """What was not looked at: what the run says, then the checks that were skipped, by reason."""
    skipped: dict[tuple[str, str], list[str]] = {}
    for case, row in rows(report):
        if row.verdict is Verdict.SKIPPED:
            skipped.setdefault((row.check, row.reason), []).append(f"{case.name}.{row.primal}" if row.primal else case.name)
    return [*report.not_checked, *_unasked(report), *_idle(report), *(NotChecked(f"{check} of {_listed(names)}", reason or "no reason given")
                                   for (check, reason), names in sorted(skipped.items()))]


def _unasked(report: Report) -> list[NotChecked]:
    names = [name for name in report.unasked if name not in {n.what for n in report.not_checked}]
    return [NotChecked(_listed(names), "not asked for")] if names else []


def _idle(report: Report) -> list[NotChecked]:
    """The checks that were asked for and found nothing to judge."""
    used = {row.check for _, row in rows(report)}
    idle = [c.name for c in report.checks if c.name not in used]
    return [NotChecked(", ".join(idle), "at no point of any layer was there what it looks at" if len(idle) == 1 else
                       "at no point of any layer was there what they look at")] if idle and used else []


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(clip, names[:2 * NAMED]))
    return f"{shown} and {len(names) - 2 * NAMED} more" if len(names) > 2 * NAMED else shown


def rows(report: Report) -> list[tuple[CaseReport, Row]]:
    return [(c, r) for c in report.cases for r in c.rows]


def ordered(report: Report) -> list[CaseReport]:
    """The layers, those that need a reader first; then by name."""
    return sorted(report.cases, key=lambda c: (SEVERITY[c.verdict], c.name.casefold(), c.name))


def gravity(found: Iterable[tuple[CaseReport, Row]]) -> list[tuple[CaseReport, Row]]:
    """The rows, gravest first, else in the order they come in."""
    return sorted(found, key=lambda pair: SEVERITY[pair[1].verdict])


def tally(verdicts: Iterable[Verdict]) -> dict[Verdict, int]:
    """How many of each, gravest first, none of zero."""
    counts = Counter(verdicts)
    return {v: counts[v] for v in WORD if counts[v]}


def keenest(of: Iterable[Row]) -> list[Row]:
    """For each primal of a layer the row that saw it finest, of those that passed.

    Other checks look at the same array at harder points, where no check can be fine; what they add is not resolution.
    """
    best: dict[str, Row] = {}
    for row in of:
        if row.verdict is Verdict.PASS and row.coarsest and _entry(row) < _entry(best.get(row.primal)):
            best[row.primal] = row
    return list(best.values())


def _entry(row: Row | None) -> float:
    return row.coarsest.entry if row and row.coarsest else inf


def resolution(of: Iterable[Row]) -> float | None:
    """The smallest wrong entry of any array that would have failed at every point; of the rows of one layer."""
    return resolutions(of).get(HIGHEST)


def resolutions(of: Iterable[Row]) -> dict[str, float]:
    """The same by dtype, the highest precision first: in a lower one a layer's own rounding hides more."""
    seen = [({HIGHEST: row.coarsest, **{d: r for d, r in row.coarsest_of.items() if r != row.coarsest}}) for row in keenest(of)]
    return largest((dtype, r.entry) for found in seen for dtype, r in found.items() if r)


def largest(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    """For each name its largest value, by name."""
    found: dict[str, float] = {}
    for name, value in pairs:
        found[name] = max(value, found.get(name, value))
    return dict(sorted(found.items()))


def row_id(case: str, row: Row) -> str:
    """The stable name of a row."""
    return named(case, row.check, row.primal)


def named(*parts: str) -> str:
    """The stable name of a layer, of a check of it, or of a row."""
    return "/".join(parts).rstrip("/")


def again(case: CaseReport, *checks: str) -> str:
    """The line that runs one case again, all checks or the given ones."""
    return shlex.join(["gradcheck", "run", case.target, *(word for check in checks for word in ("--select", check))])


def why(row: Row) -> str:
    """What a row has to say for itself: the kind of mistake, or the reason."""
    seen = row.failure.evidence if row.failure else row.example
    said = (seen.diagnosis, seen.reason) if seen else ("", "")
    return said[0] or (row.reason if not row.failure else "") or said[1] or row.reason


def remarks(row: Row) -> str:
    """What a passing row leaves to say: its marks, and the points that did not pass; of others, the reason."""
    counts = {what: n for what, n in {**row.marks, **row.points}.items() if what not in (USUAL, Verdict.PASS)}
    said = [f"{what} × {n}" for what, n in counts.items()]
    return ", ".join([clip(why(row), 160)] if row.verdict is not Verdict.PASS else said)
