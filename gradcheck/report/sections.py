"""The parts of the page, each a function of the report; SECTIONS is the table of contents."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, groupby
from typing import Any, NamedTuple
from urllib.parse import quote

from ..evidence import Array, Calls, CaseReport, CheckInfo, Mutation, Report, Resolution, Row, Sweep, Verdict, gravest
from . import words
from .changes import KINDS, Change, Kind, alike, diff
from .speed import Speed, speed

CATEGORIES = ("gradient", "state", "contract")
BACKWARD = ("upstream", "cotangent")
CURVES = 48                    # V-curves a page, the coarsest of each layer: the others look alike and are in the JSON


class Section(NamedTuple):
    """A part of the page: a template and what it shows; left out where that is None."""
    name: str                                  # of its template and its anchor
    title: str
    view: Callable[[Report, Report | None], Any]


class Cell(NamedTuple):
    """What the table says of one check of one layer."""
    check: str
    verdict: Verdict
    entry: float | None


class Fault(NamedTuple):
    """Why a layer is wrong: the row that says so and the checks that say the same; no row where it could not be judged."""
    case: CaseReport
    row: Row | None
    checks: tuple[str, ...]

    @property
    def anchor(self) -> str:
        return "failure:" + (anchor(words.row_id(self.case.name, self.row)) if self.row else anchor(self.case.name))


class Block(NamedTuple):
    """All rows of one check of one layer, or of all checks that passed and have nothing to tell; and what they took together."""
    checks: tuple[str, ...]
    lines: list[Row]                           # a primal's own, or one for several primals
    calls: Calls
    time_s: float


class Layer(NamedTuple):
    """A layer as the table and its details show it."""
    case: CaseReport
    cells: list[Cell | None]
    blocks: list[Block]
    curves: list[tuple[str, Sweep, Resolution | None]]
    more: int                                  # V-curves that are not shown
    passes: list[tuple[str, list[Array], bool]]     # the ledger, forward and backward; whether its dtypes differ
    timed: bool                                # whether the section on speed speaks of it


def anchor(*parts: str) -> str:
    """`Conv2D/adjoint` as an id that a link can name, whatever is in it."""
    return quote("/".join(parts), safe="/", errors="backslashreplace")


def columns(report: Report) -> list[CheckInfo]:
    """The checks that judged something, gradients first; one that the report does not explain comes last."""
    known = {c.name: c for c in report.checks}
    used = {r.check for _, r in words.rows(report)}
    infos = [known.get(name) or CheckInfo(name, "contract", "", "", "") for name in used]
    return sorted(infos, key=lambda c: (CATEGORIES.index(c.category), c.name))


def _changes(report: Report, compare: Report | None) -> list[tuple[Kind, list[list[tuple[Change, str]]]]] | None:
    """By kind, those that say the same together, each with the anchor of what it speaks of; "" where that is not on the page any more."""
    if compare is None:
        return None
    found, places = diff(compare, report), _places(report)
    return [(kind, [[(c, _place(c, places)) for c in same] for same in alike(group)]) for name, kind in KINDS.items() if (group := found.of(name))]


def _places(report: Report) -> set[str]:
    """Every layer, every check of one, and the timings of one."""
    timed = report.bench.timings if report.bench else ()
    return {*(anchor(c.name) for c in report.cases), *(anchor(c.name, r.check) for c, r in words.rows(report)), *(f"speed:{anchor(t.case)}" for t in timed)}


def _place(change: Change, places: set[str]) -> str:
    """The narrowest place on the page that holds what changed."""
    parts = anchor(change.id).split("/")
    wider = ["/".join(parts[:n]) for n in range(len(parts), 0, -1)]
    where = [f"speed:{w}" for w in wider] * (change.kind in ("slower", "grown")) + wider
    return next((w for w in where if w in places), "")


def _failures(report: Report, _: Report | None) -> list[list[Fault]] | None:
    """The layers that are wrong or could not run, gravest first, each with all that is."""
    checks = [c.name for c in columns(report)]
    return [faults for case in words.ordered(report) if (faults := list(_faults(case, checks)))] or None


def _faults(case: CaseReport, checks: list[str]) -> Iterator[Fault]:
    """What could not run, then every row that is bad, gravest and gradients first; those that give the same reason and show no case together."""
    if case.error:
        yield Fault(case, None, ())
    same: dict[object, list[Row]] = {}
    bad = (r for r in case.rows if r.verdict.bad and not (case.error and r.reason == case.error))
    for row in sorted(bad, key=lambda r: (words.SEVERITY[r.verdict], checks.index(r.check), r.primal)):
        same.setdefault((row.check, row.primal) if row.failure else words.why(row), []).append(row)
    yield from (Fault(case, rows[0], tuple(r.check for r in rows)) for rows in same.values())


def _undecided(report: Report, _: Report | None) -> list[tuple[CaseReport, Row]] | None:
    return [(c, r) for c, r in words.rows(report) if r.verdict is Verdict.UNDECIDED] or None


def _layers(report: Report, _: Report | None) -> dict[str, Any] | None:
    checks = columns(report)
    groups = [(name, span) for name in CATEGORIES if (span := sum(c.category == name for c in checks))]
    curves = max(1, min(6, CURVES // max(1, len(report.cases))))
    timed = {t.case for t in report.bench.timings} if report.bench else set()
    layers = [_layer(c, checks, curves, c.name in timed) for c in words.ordered(report)]
    return {"checks": checks, "groups": groups, "layers": layers} if layers else None


def _layer(case: CaseReport, checks: list[CheckInfo], most: int, timed: bool) -> Layer:
    rows = {c.name: found for c in checks if (found := sorted((r for r in case.rows if r.check == c.name), key=_by_ledger(case)))}
    curves = list(_curves(case))
    return Layer(case, [_cell(c.name, rows[c.name]) if c.name in rows else None for c in checks], _blocks(rows, words.keenest(case.rows)),
                 curves[:most], len(curves[most:]), _passes(case.ledger.arrays if case.ledger else ()), timed)


def _blocks(rows: dict[str, list[Row]], keenest: list[Row]) -> list[Block]:
    """A line for each row that has something of its own to tell; the others of its check share one, and checks of such lines too."""
    plain = {check: found for check, found in rows.items() if all(map(_plain, found))}
    blocks = [_block((check,), found, keenest) for check, found in rows.items() if check not in plain]
    return [*blocks, _block(tuple(plain), list(chain(*plain.values())), keenest)] if plain else blocks


def _plain(row: Row) -> bool:
    return row.verdict is Verdict.PASS and not row.coarsest and not words.remarks(row)


def _block(checks: tuple[str, ...], rows: list[Row], keenest: list[Row]) -> Block:
    shared = [r for r in rows if r.verdict is Verdict.PASS and r not in keenest]
    lines = [r for r in rows if r not in shared]
    calls = Calls(sum(r.calls.forward for r in rows), sum(r.calls.backward for r in rows))
    return Block(checks, [*lines, together(shared)] if shared else lines, calls, sum(r.time_s for r in rows))


def together(rows: list[Row]) -> Row:
    """Rows that passed as if they were one: points and marks add up, resolutions span."""
    finest = [r.finest for r in rows if r.finest]
    coarsest = [r.coarsest for r in rows if r.coarsest]
    names = ", ".join(r.primal for r in rows) if len({r.check for r in rows}) == 1 else ""
    return Row(rows[0].check, names, Verdict.PASS, points=_sums(r.points for r in rows), marks=_sums(r.marks for r in rows),
               finest=min(finest, key=_entry, default=None), coarsest=max(coarsest, key=_entry, default=None))


def _entry(of: Resolution) -> float:
    return of.entry


def _sums(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    return dict(sum(map(Counter, counts), Counter()))


def _cell(check: str, rows: list[Row]) -> Cell:
    verdict = gravest([r.verdict for r in rows if r.verdict is not Verdict.SKIPPED])
    return Cell(check, verdict, words.resolution(rows) if verdict is Verdict.PASS else None)


def _by_ledger(case: CaseReport) -> Callable[[Row], tuple[int, str]]:
    """Primals in the order in which the layer has them."""
    places = {a.name: i for i, a in enumerate(case.ledger.arrays)} if case.ledger else {}
    return lambda row: (places.get(row.primal, len(places)), row.primal)


def _passes(arrays: tuple[Array, ...]) -> list[tuple[str, list[Array], bool]]:
    """Forward and backward, arrays that are alike in one line; and whether there is more than one dtype."""
    sides = {"Forward": [a for a in arrays if a.role not in BACKWARD], "Backward": [a for a in arrays if a.role in BACKWARD]}
    mixed = len({a.dtype for a in arrays}) > 1
    return [(title, _alike(side), mixed) for title, side in sides.items() if side]


def _alike(arrays: list[Array]) -> list[Array]:
    groups = groupby(arrays, key=lambda a: (a.role, a.axes, a.shape, a.dtype))
    return [Array(", ".join(a.name for a in group), *kind) for kind, group in groups]


def _curves(case: CaseReport) -> Iterator[tuple[str, Sweep, Resolution | None]]:
    """The differences behind a layer's finest passes, the coarsest of them first; primals that were measured together share one."""
    shared: dict[Sweep, list[Row]] = {}
    for row in sorted(words.keenest(case.rows), key=lambda r: -(r.coarsest.entry if r.coarsest else 0)):
        if row.example and row.example.sweep:
            shared.setdefault(row.example.sweep, []).append(row)
    for sweep, rows in shared.items():
        yield ", ".join(r.primal or "the layer" for r in rows), sweep, rows[0].coarsest


def sweeps(report: Report) -> Iterator[Sweep]:
    """The differences that a page may draw."""
    for case in report.cases:
        seen = [*(r.example for r in words.keenest(case.rows)), *(r.failure.evidence for r in case.rows if r.failure)]
        yield from (e.sweep for e in seen if e and e.sweep)


def _mutation(report: Report, _: Report | None) -> list[Mutation] | None:
    """The layers, those whose mutants survive first."""
    return sorted(report.mutation, key=lambda m: (m.score, m.case)) or None


def _speed(report: Report, _: Report | None) -> Speed | None:
    return speed(report)


def _always(report: Report, _: Report | None) -> Report:
    return report


SECTIONS = (
    Section("failures", "Failures", _failures),
    Section("undecided", "Undecided", _undecided),
    Section("changes", "What changed", _changes),
    Section("layers", "Layers", _layers),
    Section("mutation", "Would a mistake be noticed?", _mutation),
    Section("speed", "Speed", _speed),
    Section("details", "Layer by layer", _layers),
    Section("environment", "Where it ran", _always),
    Section("glossary", "How to read this", _always),
)
