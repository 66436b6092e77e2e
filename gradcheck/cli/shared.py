"""What several commands need: targets, workers, progress."""
from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from .. import report
from ..evidence import NotChecked, Report, Verdict
from ..runner import Progress
from ..targets import Found, TargetError, find
from ..workers import fresh
from .group import FAILED, NOTHING, OK, USAGE

REPORT = click.Path(exists=True, dir_okay=False, path_type=Path)
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


def saved(path: Path) -> Report:
    """The report saved at `path`. Errors: UsageError saying what the file is instead."""
    try:
        return report.load(path)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def writable(paths: Iterable[Path]) -> None:
    """Errors: UsageError for a path whose ending says nothing, or where no file can be."""
    try:
        list(map(report.writable, paths))
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def written(whole: Report, paths: Iterable[Path], compare: Report | None = None) -> None:
    """Save a report at every path; each is named on stderr. Errors: UsageError, where it can be told before anything is written."""
    writable(paths)
    for path in paths:
        try:
            report.save(whole, path, compare=compare)
        except OSError as error:
            raise click.UsageError(f"cannot write {path}: {error.strerror}") from error
        click.echo(f"wrote {path}", err=True)


GITHUB = click.option("--github", is_flag=True, help="Add the summary to the page of the job in GitHub Actions; elsewhere, print it.")


def summarised(whole: Report, compare: Report | None = None) -> None:
    """The summary, on the page that a job of GitHub's is shown on; on stdout where there is none."""
    with click.open_file(os.environ.get("GITHUB_STEP_SUMMARY", "-"), "a", encoding="utf-8", errors="backslashreplace") as page:
        page.write(report.to_markdown(whole, compare))


def outcome(whole: Report, missing: bool = False) -> int:
    """The exit code that a report asks for; missing: whether a target could not be imported."""
    if any(c.verdict.bad or c.verdict is Verdict.UNDECIDED for c in whole.cases):
        return FAILED
    return USAGE if missing else OK if whole.cases else NOTHING


def regressed(found: report.Diff, fail_on: Iterable[str] = report.FAIL_ON) -> bool:
    """Whether anything became worse; says so on stderr."""
    if worse := found.regressions(fail_on):
        click.echo(f"{len(worse)} of these changes {'is a regression' if len(worse) == 1 else 'are regressions'}.", err=True)
    return bool(worse)


def command_line(without: Sequence[str] = ()) -> str:
    """The line that runs the present command again: what was typed, in the order of its parameters, less those named."""
    context = click.get_current_context()
    typed = [p for p in context.command.params if context.get_parameter_source(p.name or "") is ParameterSource.COMMANDLINE and p.name not in without]
    return shlex.join([*context.command_path.split(), *(word for p in typed for word in _words(p, context.params[p.name or ""]))])


def _words(parameter: click.Parameter, value: Any) -> list[str]:
    values = list(map(str, value if parameter.multiple or parameter.nargs != 1 else [value]))
    if isinstance(parameter, click.Argument):
        return values
    return [parameter.opts[-1]] if isinstance(parameter, click.Option) and parameter.is_flag else [w for v in values for w in (parameter.opts[-1], v)]


@contextmanager
def pool(workers: int) -> Iterator[ProcessPoolExecutor | None]:
    """Worker processes; none for one. Ctrl-C is this process's to answer: they do not hear it, and end with it."""
    if workers == 1:
        yield None
        return
    with fresh(workers) as pool:
        heard = signal.signal(signal.SIGINT, signal.SIG_IGN)               # a process is born deaf where its parent is
        for _ in range(workers):
            pool.submit(int)
        signal.signal(signal.SIGINT, heard)
        try:
            yield pool
        except KeyboardInterrupt:
            threading.excepthook = lambda _: None                          # what a pool's thread says of its end is no news
            for child in active_children():
                child.kill()
            raise


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """A bar on stderr: on a terminal only, never in CI, and not before two seconds are over."""
    if not sys.stderr.isatty() or os.environ.get("CI"):
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    columns = (TextColumn("{task.description:24}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    bar = Bar(*columns, console=Console(stderr=True), transient=True)
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
