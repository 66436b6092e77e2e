"""The report that is kept with the sources: what a later run is compared with."""
from __future__ import annotations

from msgspec.structs import replace

from ..evidence import Bench, CaseReport, Report, Resolution, Row, Timing, Verdict
from .changes import reason
from .notation import rounded_up


def bare(report: Report) -> Report:
    """What `diff` needs of a report and no more: every verdict and its resolution, rounded up, without evidence or the time of checks.

    It is a report like any other, small enough to be tracked, and differs by little from that of another machine.
    """
    return replace(report, time_s=0.0, checks=(), not_checked=(), unasked=(), mutation=(), extra={}, bench=report.bench and _timed(report.bench),
                   cases=tuple(CaseReport(c.name, c.target, points=c.points, error=c.error, rows=tuple(map(_judged, c.rows))) for c in report.cases))


def _judged(row: Row) -> Row:
    fine = row.coarsest and Resolution(rounded_up(row.coarsest.entry), rounded_up(row.coarsest.factor))
    return Row(row.check, row.primal, row.verdict, reason="" if row.verdict is Verdict.PASS else reason(row), coarsest=fine)


def _timed(bench: Bench) -> Bench:
    """Ratios, bytes and exponents; not the rounds behind them."""
    return replace(bench, timings=tuple(map(_without_rounds, bench.timings)), scalings=tuple(replace(s, sizes=(), times_s=()) for s in bench.scalings))


def _without_rounds(timing: Timing) -> Timing:
    return replace(timing, forward=replace(timing.forward, quantiles_s=()), backward=replace(timing.backward, quantiles_s=()))
