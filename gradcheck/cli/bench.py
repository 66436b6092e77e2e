"""`gradcheck bench`: how fast layers are."""
from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import click

from .. import bench, report
from ..environment import environment, revision
from ..evidence import Bench, NotChecked, Report, Scaling, Timing
from ..report.notation import number, seconds
from .group import NOTHING, OK, USAGE, main
from .shared import command_line, found_in, shown_progress, writable, written


@main.command("bench")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET…")
@click.option("-k", "pattern", default="", help="Only cases whose name contains this.")
@click.option("--dtype", "dtypes", multiple=True, type=click.Choice(bench.DTYPES), default=bench.DTYPES, show_default=True, help="May be repeated.")
@click.option("-o", "--output", "outputs", multiple=True, type=click.Path(dir_okay=False, path_type=Path),
              help="Write the report: .json, .html or .md; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--title", default="timings", help="The report's heading.")
def bench_command(targets: tuple[str, ...], pattern: str, dtypes: tuple[str, ...], outputs: tuple[Path, ...], as_json: bool, title: str) -> NoReturn:
    """Time layers: the cases that `run` checks, at three sizes. TARGET: a module, `pkg.mod:attribute`, or a file."""
    writable(outputs)
    started, began = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    with redirect_stdout(sys.stderr), shown_progress() as progress:
        found, missing = found_in(targets)
        cases = [c for f in found for c in f.cases if pattern in c.name]
        idle = [n for f in found for n in f.not_checked]
        try:
            timed, untimed = bench.bench(cases, dtypes=dtypes, progress=progress) if cases else (Bench(), [])
        except bench.Unavailable as error:
            raise click.UsageError(str(error)) from error
    result = Report(environment=environment(), command=command_line(without=("outputs", "as_json")), title=title, revision=revision(), started=started,
                    time_s=time.perf_counter() - began, not_checked=(*missing, *idle, *untimed), bench=timed)
    written(result, outputs)
    click.echo(report.to_json(result).decode() if as_json else "\n".join(_said(result)))
    sys.exit(USAGE if missing else OK if timed.timings else NOTHING)


def _said(result: Report) -> Iterator[str]:
    bench = result.bench
    if not bench or not bench.timings:
        yield "Nothing to time."
    yield from (_line(t) for t in (bench.timings if bench else ()))
    yield from (_growth(s) for s in (bench.scalings if bench else ()))
    for peak in bench.peaks if bench else ():
        yield f"{peak.dtype}: this machine multiplies matrices at {number(peak.gflops, 3)} GFLOP/s and copies at {number(peak.gbs, 3)} GB/s on one thread"
    yield from (f"not timed: {_untimed(n)}" for n in result.not_checked)


def _line(t: Timing) -> str:
    rate = f"{number(t.gflops, 3)} GFLOP/s" if t.gflops else f"{number(t.gbs or 0.0, 3)} GB/s"
    share = f", {t.roofline:.0%} of what is possible" if t.roofline else ""
    return f"{t.id:40} forward {seconds(t.forward.median_s):>8} backward {seconds(t.backward.median_s):>8} (x {t.ratio:.2f})  {rate}{share}"


def _growth(s: Scaling) -> str:
    return f"{s.case}, {s.side}: time grows as {s.axis} to the {s.exponent:.2f} ({s.low:.2f} to {s.high:.2f})" + (
        f", its work as to the {s.declared:.2f}" if s.declared is not None else "")


def _untimed(n: NotChecked) -> str:
    return f"{n.what}: {n.why}"
