"""`gradcheck run`: judge layers."""
from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import NoReturn

import click
import msgspec

from .. import report
from ..evidence import NotChecked, Point, Report, Verdict
from ..messages import summary, verdict_sentence
from ..runner import PROFILES, run, select
from ..subjects import Case
from .group import FAILED, NOTHING, OK, USAGE, main
from .shared import found_in, pool, shown_progress


@main.command("run")
@click.argument("targets", nargs=-1, metavar="[TARGET]…")
@click.option("-k", "pattern", default="", help="Only cases whose name contains this.")
@click.option("--select", "selected", multiple=True, metavar="CHECK", help="Only this check; may be repeated.")
@click.option("--ignore", "ignored", multiple=True, metavar="CHECK", help="Not this check; may be repeated.")
@click.option("--profile", default="default", type=click.Choice(list(PROFILES)), show_default=True, help="How many points each case is judged at.")
@click.option("--seed", default=0, show_default=True, help="Of all that is random.")
@click.option("--at", "point", default="", metavar="JSON", help="One point, as a failure's repeat line gives it.")
@click.option("-j", "workers", default=1, show_default=True, help="Worker processes.")
@click.option("-o", "--output", "outputs", multiple=True, type=click.Path(dir_okay=False, path_type=Path),
              help="Write the report: .json, .html or .md; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--title", default="gradcheck", help="The report's heading.")
def run_command(targets: tuple[str, ...], pattern: str, selected: tuple[str, ...], ignored: tuple[str, ...], profile: str, seed: int, point: str,
                workers: int, outputs: tuple[Path, ...], as_json: bool, title: str) -> NoReturn:
    """Judge layers. TARGET: a module, `pkg.mod:attribute`, or a file."""
    if not targets:
        raise click.UsageError("name at least one target: a module, pkg.mod:attribute, or a file")
    at = _admitted(selected, ignored, point, outputs)
    with redirect_stdout(sys.stderr), pool(workers) as executor, shown_progress() as progress:     # what layers print is no result
        found, missing = found_in(targets)
        known = [c for f in found for c in f.cases]
        cases = [c for c in known if pattern in c.name]
        result = run(cases, checks=selected or None, ignore=ignored, seed=seed, profile=profile, at=at,
                     executor=executor, progress=progress, command=shlex.join(["gradcheck", *sys.argv[1:]]),
                     not_checked=[*missing, *(n for f in found for n in f.not_checked), *_unmatched(pattern, known, cases)])
    result = msgspec.structs.replace(result, title=title)
    for path in outputs:
        result.save(path)
    click.echo(report.to_json(result).decode() if as_json else _said(result))
    for path in outputs:
        click.echo(f"wrote {path}", err=True)
    sys.exit(_exit_code(result, bool(missing)))


def _admitted(selected: tuple[str, ...], ignored: tuple[str, ...], point: str, outputs: tuple[Path, ...]) -> Point | None:
    """The point that was given, if any. Errors: UsageError before anything is run, for what could not be done after it."""
    try:
        list(select(selected or None, ignored))
        if unknown := [path.name for path in outputs if path.suffix not in report.WRITERS]:
            raise ValueError(f"a report is saved as {', '.join(report.WRITERS)}, got {', '.join(unknown)}")
        return msgspec.json.decode(point, type=Point) if point else None
    except (ValueError, msgspec.DecodeError) as error:
        raise click.UsageError(f"--at takes the JSON that a repeat line has: {error}" if isinstance(error, msgspec.DecodeError) else str(error)) from error


def _unmatched(pattern: str, known: list[Case], cases: list[Case]) -> Iterator[NotChecked]:
    if known and not cases:
        yield NotChecked(what=f"-k {pattern}", why=f"none of the {len(known)} names holds it: {', '.join(c.name for c in known)}")


def _exit_code(result: Report, missing: bool) -> int:
    if any(c.verdict.bad or c.verdict is Verdict.UNDECIDED for c in result.cases):
        return FAILED
    return USAGE if missing else OK if result.cases else NOTHING


def _said(result: Report) -> str:
    if not result.cases:
        return "\n".join(["Nothing to check.", *(f"  {n.what}: {n.why}" for n in result.not_checked)])
    lines = summary(result).split("\n")
    head = verdict_sentence(result)
    return "\n".join([*_table(result), *lines[1:], "", head, *(f"  not checked: {n.what}: {n.why}" for n in result.not_checked)])


def _table(result: Report) -> Iterator[str]:
    """One line a case: its verdict, how finely, how much was run."""
    width = max(len(c.name) for c in result.cases)
    for c in result.cases:
        fine = max((r.coarsest.entry for r in c.rows if r.coarsest), default=None)
        calls = sum(r.calls.forward for r in c.rows)
        said = f"resolves {fine:.0e}" if fine is not None else ""
        yield f"{c.verdict:9} {c.name:{width}}  {said:16} {c.points:4} points {len(c.rows):3} rows {calls:8} forwards {c.time_s:6.1f} s"
