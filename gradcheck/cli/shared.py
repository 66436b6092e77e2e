"""What several commands need: targets, workers, progress."""
from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from multiprocessing import get_context

import click

from ..evidence import NotChecked
from ..runner import Progress
from ..targets import Found, TargetError, find

FIRST_SHOWN = 2.0         # seconds without a word; then progress is shown


def found_in(targets: tuple[str, ...]) -> tuple[list[Found], list[NotChecked]]:
    """The cases of each target; one that cannot be imported does not keep the others from being judged."""
    found, missing = [], []
    for target in targets:
        try:
            found.append(find(target))
        except TargetError as error:
            click.echo(f"error: {error}", err=True)
            missing.append(NotChecked(what=target, why=str(error)))
    return found, missing


@contextmanager
def pool(workers: int) -> Iterator[ProcessPoolExecutor | None]:
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) if workers > 1 else nullcontext() as pool:
        yield pool


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """A bar on stderr: on a terminal only, never in CI, and not before two seconds are over."""
    if not sys.stderr.isatty() or os.environ.get("CI"):
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar
    bar = Bar(TextColumn("{task.description:24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=Console(stderr=True), transient=True)
    task, began = bar.add_task("", total=None), time.monotonic()

    def show(what: str, done: int, total: int) -> None:
        if not bar.live.is_started and time.monotonic() - began > FIRST_SHOWN and done < total:
            bar.start()
        bar.update(task, description=what, completed=done, total=total)

    try:
        yield show
    finally:
        if bar.live.is_started:
            bar.stop()
