"""`gradcheck mutate`: would the checks notice a mistake?"""
from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import NoReturn

import click

from .. import report
from ..checks import CHECKS
from ..environment import environment, revision
from ..evidence import Mutation, NotChecked, Report, Survivor
from ..mutate import mutate
from ..runner import PROFILES, select
from .group import FAILED, NOTHING, OK, USAGE, main
from .shared import found_in, shown_progress, writable, written


@main.command("mutate")
@click.argument("targets", nargs=-1, metavar="[TARGET]…")
@click.option("-k", "pattern", default="", help="Only cases whose name contains this.")
@click.option("--select", "selected", multiple=True, metavar="CHECK", help="Only this check; may be repeated.")
@click.option("--ignore", "ignored", multiple=True, metavar="CHECK", help="Not this check; may be repeated.")
@click.option("--profile", default="default", type=click.Choice(list(PROFILES)), show_default=True, help="How many points each mutant is judged at.")
@click.option("--max", "most", type=click.IntRange(1), help="At most so many mutants a layer, chosen at random.")
@click.option("--seed", default=0, show_default=True, help="Of all that is random, that choice included.")
@click.option("--timeout", "limit", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
              help="Without a sign of life from a mutant, after which it counts as hung. Default: by what the original takes.")
@click.option("-j", "workers", default=1, type=click.IntRange(1), show_default=True, help="Worker processes.")
@click.option("-o", "--output", "outputs", multiple=True, type=click.Path(dir_okay=False, path_type=Path),
              help="Write the report: .json, .html or .md; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--title", default="gradcheck mutate", help="The report's heading.")
def mutate_command(targets: tuple[str, ...], pattern: str, selected: tuple[str, ...], ignored: tuple[str, ...], profile: str, most: int | None, seed: int,
                   limit: float | None, workers: int, outputs: tuple[Path, ...], as_json: bool, title: str) -> NoReturn:
    """Make a layer's backward wrong in one place at a time: do its checks notice? TARGET: a module, `pkg.mod:attribute`, or a file.

    Exits 0 if every mutant was noticed but those that compute the same, 1 if one survived.
    """
    if not targets:
        raise click.UsageError("name at least one target: a module, pkg.mod:attribute, or a file")
    try:
        checks = list(select(selected or None, ignored))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    writable(outputs)
    started, began = datetime.now(UTC).isoformat(timespec="seconds"), perf_counter()
    with redirect_stdout(sys.stderr), shown_progress() as progress:      # what layers print is no result
        found, missing = found_in(targets)
        cases = [c for f in found for c in f.cases if pattern in c.name]
        scores = [mutate(c, checks=checks, profile=profile, seed=seed, workers=workers, most=most, limit=limit, progress=progress)[0] for c in cases]
    barren = [NotChecked(what=s.case, why="there is no source of its backward pass that could be changed") for s in scores if not _judged(s)]
    scores = [s for s in scores if _judged(s)]
    whole = Report(environment=environment(), command=shlex.join(["gradcheck", *sys.argv[1:]]), title=title, profile=profile, seed=seed,
                   revision=revision(), started=started, time_s=perf_counter() - began, checks=tuple(CHECKS[c].info for c in checks),
                   not_checked=(*missing, *(n for f in found for n in f.not_checked), *barren), mutation=tuple(scores))
    click.echo(report.to_json(whole).decode() if as_json else "\n".join(_said(scores, whole.not_checked)))
    written(whole, outputs)
    sys.exit(FAILED if any(s.survived for s in scores) else USAGE if missing else OK if scores else NOTHING)


def _judged(s: Mutation) -> int:
    return s.killed + s.survived + s.equivalent


def _said(scores: Sequence[Mutation], unseen: Sequence[NotChecked]) -> Iterator[str]:
    """The survivors, then a line for each layer."""
    for s in scores:
        yield from (line for survivor in s.survivors for line in _survivor(s.case, survivor))
    scores = [*scores, *([_total(scores)] if len(scores) > 1 else [])]
    width = max((len(s.case) for s in scores), default=0)
    for s in scores:
        aside = f", {s.equivalent} set aside as equivalent" if s.equivalent else ""
        yield f"{s.case:{width}}  {s.score:6.1%} of {s.killed + s.survived} mutants noticed ({s.alone:.1%} by adjoint alone){aside}"
    yield from (f"not checked: {n.what}: {n.why}" for n in unseen)
    if not scores:
        yield "Nothing to mutate."


def _total(scores: Sequence[Mutation]) -> Mutation:
    killed, survived, equivalent = (sum(getattr(s, n) for s in scores) for n in ("killed", "survived", "equivalent"))
    return Mutation(case="all", killed=killed, survived=survived, equivalent=equivalent, kills={"adjoint": sum(s.kills.get("adjoint", 0) for s in scores)})


def _survivor(case: str, s: Survivor) -> Iterator[str]:
    yield f"SURVIVED  {case}: {s.what}, at {s.where}"
    yield from (f"  {line}" for line in s.diff.splitlines() if not line.startswith("@@"))
    yield f"  would be seen at  {s.add}\n"
