"""A report as Markdown, for the summary page of a CI run."""
from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from ..evidence import Bench, CaseReport, Report, Verdict
from .changes import KINDS, alike, also, diff
from .notation import clip, coarse, count, number, seconds, visible
from .words import WORD, caveats, gravity, ordered, resolution, row_id, rows, sentence, tally, unchecked, why

ROWS = 200                     # of all tables together: what a summary page still shows at ease
CELL = 300                     # characters of a cell; with ROWS and TOLD it keeps any report far under 1 MiB
TOLD = 20                      # failures that come with their whole message
MESSAGE = 25, 200              # … in so many lines of so many characters
ICON = {Verdict.FAIL: "❌", Verdict.ERROR: "💥", Verdict.XPASS: "❗", Verdict.UNDECIDED: "❔", Verdict.XFAIL: "➖",
        Verdict.PASS: "✅", Verdict.SKIPPED: "⏭️"}

Lines = Iterator[tuple[str, ...]]


def to_markdown(report: Report, compare: Report | None = None) -> str:
    """The verdict, what changed since `compare`, the failures, then every layer: at most `ROWS` rows, under 1 MiB."""
    tables = {
        ("Changes", "row", "what"): _changes(compare, report) if compare else iter(()),
        ("Failures", "verdict", "what"): _failures(report),
        ("Layers", "verdict", "resolution", "checks"): map(_layer, ordered(report)),
        ("Mutants of", "noticed", "survived", "set aside"): (
            (m.case, f"{m.killed} of {m.killed + m.survived}", str(m.survived), str(m.equivalent)) for m in report.mutation),
        ("Speed of", "forward", "backward", "× reference"): (
            (t.id, seconds(t.forward.median_s), seconds(t.backward.median_s), number(t.relative, 3)) for t in (report.bench or Bench()).timings),
        ("Not checked", "why"): ((n.what, n.why) for n in unchecked(report)),
    }
    room, parts = ROWS, [f"## {ICON[report.verdict]} {_safe(sentence(report), 3 * CELL)}", _safe(caveats(report), CELL)]
    for columns, lines in tables.items():
        shown = list(islice(lines, room))
        room -= len(shown)
        parts += [_table(columns, shown)] * bool(shown) + ["More rows are in the full report."] * (next(lines, None) is not None)
    return "\n\n".join(filter(None, [*parts, *_messages(report), _facts(report), _fenced(report.command)])) + "\n"


def _changes(old: Report, new: Report) -> Lines:
    found = diff(old, new)
    return ((kind.heading, same[0].id + also(same), same[0].text) for name, kind in KINDS.items() for same in alike(found.of(name)))


def _failures(report: Report) -> Lines:
    yield from ((c.name, _verdict(Verdict.ERROR), c.error) for c in ordered(report) if c.error)
    yield from ((row_id(c.name, r), _verdict(r.verdict), why(r)) for c, r in gravity(rows(report)) if r.verdict.bad)


def _layer(case: CaseReport) -> tuple[str, ...]:
    entry = resolution(case.rows)
    checks = ", ".join(f"{n} {WORD[v]}" for v, n in tally(r.verdict for r in case.rows).items())
    return case.name, _verdict(case.verdict), coarse(entry) if entry is not None else "", checks


def _verdict(verdict: Verdict) -> str:
    return f"{ICON[verdict]} {WORD[verdict]}"


def _facts(report: Report) -> str:
    facts = [count(sum(c.points for c in report.cases), "point"), seconds(report.time_s), f"profile {report.profile}",
             f"seed {report.seed}", *([f"revision {report.revision}"] if report.revision else [])]
    return _safe(" · ".join(facts), CELL)


def _messages(report: Report) -> Iterator[str]:
    told = ((row_id(c.name, r), r.failure.text) for c, r in gravity(rows(report)) if r.failure)
    for name, text in islice(told, TOLD):
        lines = [line[:MESSAGE[1]] for line in text.splitlines()[:MESSAGE[0]]]
        yield f"<details><summary>{_safe(name, CELL)}</summary>\n\n" + _fenced("\n".join(lines)) + "\n\n</details>"


def _table(columns: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    head = [" | ".join(columns), " | ".join("---" for _ in columns)]
    return "\n".join(f"| {line} |" for line in [*head, *(" | ".join(_safe(cell, CELL) for cell in line) for line in lines)])


def _fenced(text: str) -> str:
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{fence}\n{visible(text)}\n{fence}"


def _safe(text: str, width: int) -> str:
    """Plain text in Markdown: one line, clipped, nothing in it is markup."""
    return re.sub(r"([\\`*_{}\[\]<>|~#&])", r"\\\1", visible(clip(text, width)))
