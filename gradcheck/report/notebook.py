"""A report as a notebook shows it: the verdict, a line for each check, the failures in full. Styled in place, no script."""
from __future__ import annotations

from collections.abc import Iterator
from html import escape

from ..evidence import CaseReport, Report, Row, Verdict, gravest
from .notation import coarse, visible
from .words import WORD, caveats, ordered, resolution, sentence, why

COLOUR = {Verdict.PASS: "#2e7d32", Verdict.FAIL: "#c62828", Verdict.ERROR: "#c62828", Verdict.XPASS: "#c62828"}
OTHER = "#8a6d00"
MARK = {Verdict.PASS: "✓", Verdict.FAIL: "✗", Verdict.ERROR: "!", Verdict.XPASS: "✗", Verdict.XFAIL: "≈", Verdict.SKIPPED: "–",
        Verdict.UNDECIDED: "?"}
CELL = "padding:.1em .8em .1em 0;text-align:left;vertical-align:top"


def to_notebook(report: Report) -> str:
    """HTML for one output cell; what a layer is called, and says, is text in it."""
    edge = COLOUR.get(report.verdict, OTHER)
    inside = [f"<strong>{MARK[report.verdict]} {_text(sentence(report))}</strong> {_text(caveats(report))}", *map(_case, ordered(report))]
    return f'<div style="border-left:.3em solid {edge};padding-left:.8em">{"".join(inside)}</div>'


def _case(case: CaseReport) -> str:
    found = [f"<pre>{_text(case.error)}</pre>"] * bool(case.error)
    failures = [(r, r.failure.text) for r in case.rows if r.failure]
    found += [f"<pre>{_text(text)}</pre>" for _, text in failures[:1]]
    found += [f"<details><summary>{_text(f'{r.check} {r.primal}')}</summary><pre>{_text(text)}</pre></details>" for r, text in failures[1:]]
    head = "".join(f'<th scope="col" style="{CELL}">{h}</th>' for h in ("check", "of", "verdict", "resolution", ""))
    table = f'<table><caption style="text-align:left">{_text(case.name)}: {_text(case.law)}</caption><tr>{head}</tr>{"".join(_lines(case))}</table>'
    return f"<details{' open' * case.verdict.bad}><summary>{_text(case.name)}: {WORD[case.verdict]}</summary>{table}{''.join(found)}</details>"


def _lines(case: CaseReport) -> Iterator[str]:
    """One line for each check: what it judged, how it ended, how finely."""
    of: dict[str, list[Row]] = {}
    for row in case.rows:
        of.setdefault(row.check, []).append(row)
    for check, rows in of.items():
        verdict, fine = gravest(r.verdict for r in rows), resolution(rows)
        said = "; ".join(dict.fromkeys(why(r) for r in rows if r.verdict is verdict)) if verdict is not Verdict.PASS else ""
        primals = ", ".join(r.primal for r in rows if r.primal)
        cells = (check, primals, f"{MARK[verdict]} {WORD[verdict]}", coarse(fine) if fine is not None else "", said)
        yield "<tr>" + "".join(f'<td style="{CELL}">{_text(c)}</td>' for c in cells) + "</tr>"


def _text(words: str) -> str:
    return escape(visible(words))
