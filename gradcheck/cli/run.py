"""`gradcheck run`: judge layers."""
from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import NoReturn

import click
import msgspec

from .. import report
from ..evidence import NotChecked, Point, Report
from ..messages import summary
from ..report.notation import coarse
from ..report.words import resolution
from ..runner import PROFILES, run, select
from ..subjects import Case
from ..workers import Refused
from .group import REGRESSION, main
from .shared import GITHUB, REPORT, command_line, found_in, outcome, pool, regressed, saved, shown_progress, summarised, writable, written
from .start import Configured

SHARD = re.compile(r"(\d+)/(\d+)")
HOW = ("workers", "resume", "outputs", "as_json", "baseline", "github")      # parameters that change nothing in a report


@main.command("run", cls=Configured)
@click.argument("targets", nargs=-1, metavar="[TARGET]…")
@click.option("-k", "pattern", default="", help="Only cases whose name contains this.")
@click.option("--select", "selected", multiple=True, metavar="CHECK", help="Only this check; may be repeated.")
@click.option("--ignore", "ignored", multiple=True, metavar="CHECK", help="Not this check; may be repeated.")
@click.option("--profile", default="default", type=click.Choice(list(PROFILES)), show_default=True, help="How many points each case is judged at.")
@click.option("--seed", default=0, show_default=True, help="Of all that is random.")
@click.option("--at", "point", default="", metavar="JSON", help="One point, as a failure's repeat line gives it.")
@click.option("-j", "workers", default=1, show_default=True, type=click.IntRange(min=1), help="Worker processes.")
@click.option("-x", "--fail-fast", is_flag=True, help="Stop at the first case that is wrong.")
@click.option("--shard", default="1/1", show_default=True, metavar="I/N", help="Only this part of N; `gradcheck merge` joins their reports.")
@click.option("--resume", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Note in FILE what is done; if the run is interrupted, the same command goes on from there.")
@click.option("-o", "--output", "outputs", multiple=True, type=click.Path(dir_okay=False, path_type=Path),
              help="Write the report: .json, .html or .md; may be repeated.")
@click.option("--baseline", type=REPORT, help="A saved report: say what changed since, there and in the pages, and exit with 5 if that is a regression.")
@GITHUB
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--title", default="gradcheck", help="The report's heading.")
def run_command(targets: tuple[str, ...], pattern: str, selected: tuple[str, ...], ignored: tuple[str, ...], profile: str, seed: int, point: str,
                workers: int, fail_fast: bool, shard: str, resume: Path | None, outputs: tuple[Path, ...], baseline: Path | None,
                github: bool, as_json: bool, title: str) -> NoReturn:
    """Judge layers. TARGET: a module, `pkg.mod:attribute`, or a file."""
    if not targets:
        raise click.UsageError("name at least one target: a module, pkg.mod:attribute, or a file (or `targets` in [tool.gradcheck] of pyproject.toml)")
    at, part = _admitted(selected, ignored, point, outputs), _part(shard)
    older = saved(baseline) if baseline else None
    with redirect_stdout(sys.stderr), pool(workers) as executor, shown_progress() as progress:     # what layers print is no result
        found, missing = found_in(targets)
        known = [c for f in found for c in f.cases]
        cases = [c for c in known if pattern in c.name]
        if at:
            _fits(at, cases)
        try:
            result = run(cases, checks=selected or None, ignore=ignored, seed=seed, profile=profile, at=at, shard=part, fail_fast=fail_fast, resume=resume,
                         executor=executor, progress=progress, command=command_line(without=HOW),
                         unasked=[c.name for c in (*known, *(o for f in found for o in f.others)) if c.target not in {c.target for c in cases}],
                         not_checked=[*missing, *(n for f in found for n in f.not_checked), *_unmatched(pattern, known, cases)])
        except Refused as error:
            raise click.UsageError(str(error)) from error
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"the same command goes on from {resume}" if resume else "with --resume FILE it could go on") from None
    result = msgspec.structs.replace(result, title=title)
    click.echo(report.to_json(result).decode() if as_json else _said(result))
    written(result, outputs, older)
    if github:
        summarised(result, older)
    sys.exit(REGRESSION if older and _became_worse(older, result, as_json) else outcome(result, bool(missing)))


def _became_worse(older: Report, result: Report, as_json: bool) -> bool:
    """Whether there is a regression; what changed is part of the result where that is for people."""
    changes = report.diff(older, result)
    click.echo(f"\n{changes}", err=as_json)
    return regressed(changes)


def _admitted(selected: tuple[str, ...], ignored: tuple[str, ...], point: str, outputs: tuple[Path, ...]) -> Point | None:
    """The point that was given, if any. Errors: UsageError before anything is run, for what could not be done after it."""
    try:
        list(select(selected or None, ignored))
        writable(outputs)
        return msgspec.json.decode(point, type=Point) if point else None
    except (ValueError, msgspec.DecodeError) as error:
        raise click.UsageError(f"--at takes the JSON that a repeat line has: {error}" if isinstance(error, msgspec.DecodeError) else str(error)) from error


def _fits(at: Point, cases: list[Case]) -> None:
    """Errors: UsageError where the point is none of a case's."""
    if any(n < 0 for sizes in at.sizes.values() for n in (sizes if isinstance(sizes, tuple) else [sizes])):
        raise click.UsageError(f"--at: sizes are 0 or more, got {dict(at.sizes)}")
    for case in cases:
        if odd := at.options.keys() - case.family.domains.keys():
            raise click.UsageError(f"--at: {case.name} has no option {', '.join(sorted(odd))}; it has {', '.join(case.family.domains) or 'none'}")
        if lost := [a for a in _axes(case, at) if a not in at.sizes]:
            raise click.UsageError(f"--at: {case.name} needs a size for {', '.join(lost)}, got {', '.join(at.sizes) or 'none'}")


def _axes(case: Case, at: Point) -> tuple[str, ...]:
    try:
        law = case.family.law({k: v[0] for k, v in case.family.domains.items()} | at.options)
    except Exception:                                        # the run says what is wrong with it
        return ()
    return law.axes if law else ()


def _part(shard: str) -> tuple[int, int]:
    """2/5 as numbers. Errors: UsageError if it is something else."""
    if not (match := SHARD.fullmatch(shard)):
        raise click.UsageError(f"--shard takes the part and the number of parts, as in 2/5, got {shard!r}")
    return int(match[1]), int(match[2])


def _unmatched(pattern: str, known: list[Case], cases: list[Case]) -> Iterator[NotChecked]:
    if known and not cases:
        yield NotChecked(what=f"-k {pattern}", why=f"none of the {len(known)} names holds it: {', '.join(c.name for c in known)}")


def _said(result: Report) -> str:
    if not result.cases:
        return "\n".join(["Nothing to check.", *(f"  {n.what}: {n.why}" for n in result.not_checked)])
    head, *lines = summary(result).split("\n")
    return "\n".join([*_table(result), *lines, "", head, *(f"  not checked: {n.what}: {n.why}" for n in result.not_checked)])


def _table(result: Report) -> Iterator[str]:
    """One line a case: its verdict, how finely, how much was run."""
    width = max(len(c.name) for c in result.cases)
    for c in result.cases:
        fine = resolution(c.rows)
        calls = sum(r.calls.forward for r in c.rows)
        said = f"resolves {coarse(fine)}" if fine is not None else ""
        yield f"{c.verdict:9} {c.name:{width}}  {said:16} {c.points:4} points {len(c.rows):3} rows {calls:8} forwards {c.time_s:6.1f} s"
