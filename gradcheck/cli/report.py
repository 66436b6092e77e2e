"""`gradcheck report | schema`: a saved report in another form."""
from __future__ import annotations

from pathlib import Path

import click
import msgspec

from .. import report
from .group import main
from .shared import GITHUB, REPORT, saved, summarised, written


@main.command("report")
@click.argument("source", type=REPORT)
@click.option("-o", "--output", "outputs", multiple=True, type=click.Path(dir_okay=False, path_type=Path),
              help="What to write: .html, .md, .json or .ctrf.json; may be repeated.")
@click.option("--compare", type=REPORT, help="An older report: the pages then say what changed since.")
@click.option("--bare", is_flag=True, help="Verdicts and resolutions alone: a baseline for `diff` that is small enough to keep.")
@GITHUB
def report_command(source: Path, outputs: tuple[Path, ...], compare: Path | None, bare: bool, github: bool) -> None:
    """Render a saved report. Needs none of the layers that it speaks of."""
    if not outputs and not github:
        raise click.UsageError("say what to write with -o, or --github")
    found, older = saved(source), saved(compare) if compare else None
    written(report.bare(found) if bare else found, outputs, older)
    if github:
        summarised(found, older)


@main.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of a report."""
    click.echo(msgspec.json.format(msgspec.json.encode(report.schema()), indent=2).decode())
