"""`gradcheck report | schema`: a saved report in another form."""
from __future__ import annotations

from pathlib import Path

import click
import msgspec

from .. import report
from .group import main


@main.command("report")
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="What to write: .html, .md or .json.")
def report_command(source: Path, output: Path) -> None:
    """Render a saved report. Needs none of the layers that it speaks of."""
    try:
        report.load(source).save(output)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    click.echo(f"wrote {output}", err=True)


@main.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of a report."""
    click.echo(msgspec.json.format(msgspec.json.encode(report.schema()), indent=2).decode())
