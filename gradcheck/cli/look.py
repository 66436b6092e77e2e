"""`gradcheck list | explain`: what there is to check, and by what."""
from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import NoReturn

import click

from ..checks import CHECKS
from ..settings import meant
from .group import NOTHING, OK, USAGE, main
from .shared import found_in


@main.command("list")
@click.argument("targets", nargs=-1, metavar="[TARGET]…")
def list_command(targets: tuple[str, ...]) -> NoReturn:
    """List the cases of targets; without a target, the checks."""
    if not targets:
        for check in CHECKS.values():
            click.echo(f"{check.name:12} {check.category:9} {check.info.summary}")
        sys.exit(OK)
    with redirect_stdout(sys.stderr):
        found, missing = found_in(targets)
    cases = [c for f in found for c in f.cases]
    for case in cases:
        click.echo(f"{case.target:40} {case.family.adapter:10} {case.family.law_text}")
    for what in (n for f in found for n in f.not_checked):
        click.echo(f"{what.what:40} not checked: {what.why}")
    sys.exit(USAGE if missing else OK if cases else NOTHING)


@main.command("explain")
@click.argument("check")
def explain_command(check: str) -> None:
    """Explain a check: its equation, what it cannot see, how to fix what it finds."""
    if check not in CHECKS:
        raise click.UsageError(f"there is no check {check!r}{meant(check, CHECKS)}; the checks are {', '.join(CHECKS)}")
    known = CHECKS[check]
    click.echo(f"{known.name}  ({known.category}, since {known.since}{'' if known.default else ', runs by name only'})\n\n{known.doc}")
