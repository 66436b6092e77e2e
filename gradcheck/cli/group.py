"""The group that all commands join, and the exit codes, which are a contract."""
from __future__ import annotations

import os
import sys
from typing import Any

import click

from .. import __version__

OK, FAILED, USAGE, INTERNAL, NOTHING, REGRESSION = range(6)
INTERRUPTED = 130                          # as a shell has it for Ctrl-C


class Gradcheck(click.Group):
    """Turns our own crash into exit code 3, with the line that helps to report it, and Ctrl-C into its own."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            click.echo("; ".join(["interrupted", *map(str, error.args)]), err=True)
            sys.exit(INTERRUPTED)

    def main(self, *args: Any, **keywords: Any) -> Any:
        try:
            return super().main(*args, **keywords)
        except Exception as error:
            if os.environ.get("GRADCHECK_DEBUG"):
                raise
            click.echo(f"gradcheck itself failed: {type(error).__name__}: {error}\n  set GRADCHECK_DEBUG=1 to see where", err=True)
            sys.exit(INTERNAL)


@click.group(cls=Gradcheck, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="gradcheck")
def main() -> None:
    """Prove or refute hand-written backward passes.

    Exit codes: 0 right, 1 a check failed or stayed undecided, 2 usage, 3 gradcheck itself failed, 4 nothing to check, 5 diff found a regression,
    130 interrupted.
    """
