"""`gradcheck diff | merge`: what several reports say together."""
from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import click
import msgspec

from .. import report
from ..report.changes import KINDS
from .group import OK, REGRESSION, main
from .shared import REPORT, outcome, regressed, saved, written


@main.command("diff")
@click.argument("old", type=REPORT)
@click.argument("new", type=REPORT)
@click.option("--fail-on", multiple=True, type=click.Choice([*KINDS]), default=report.FAIL_ON, show_default=True,
              help="A kind of change that is a regression; may be repeated, and replaces the default.")
@click.option("--json", "as_json", is_flag=True, help="Print the changes as JSON.")
def diff_command(old: Path, new: Path, fail_on: tuple[str, ...], as_json: bool) -> NoReturn:
    """Say what changed from one report to another. Exits with 5 if that is a regression.

    What is no longer checked counts as one. Slower means: beyond the noise of both runs, by the ratio to the reference workload.
    """
    found = report.diff(saved(old), saved(new))
    click.echo(msgspec.json.encode(found.changes).decode() if as_json else str(found))
    sys.exit(REGRESSION if regressed(found, fail_on) else OK)


@main.command("merge")
@click.argument("shards", nargs=-1, required=True, type=REPORT)
@click.option("-o", "--output", "outputs", multiple=True, required=True, type=click.Path(dir_okay=False, path_type=Path),
              help="What to write: .json, .html, .md or .ctrf.json; may be repeated.")
def merge_command(shards: tuple[Path, ...], outputs: tuple[Path, ...]) -> NoReturn:
    """Join the reports of `gradcheck run --shard 1/n` … `n/n`. Says of the whole what the one run would have said, and exits as it would."""
    try:
        whole = report.merge(map(saved, shards))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    written(whole, outputs)
    click.echo(report.sentence(whole))
    sys.exit(outcome(whole))
