"""The command line. stdout is the result, stderr the progress; exit codes are a contract."""
from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext, redirect_stdout
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec

from . import __version__, report
from .checks import CHECKS
from .evidence import NotChecked, Point, Report, Verdict
from .messages import summary, verdict_sentence
from .runner import PROFILES, Progress, run, select
from .subjects import Case
from .targets import Found, TargetError, find

OK, FAILED, USAGE, INTERNAL, NOTHING, REGRESSION = range(6)
FIRST_SHOWN = 2.0         # seconds without a word; then progress is shown


class Gradcheck(click.Group):
    """Turns our own crash into exit code 3, with the line that helps to report it."""

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

    Exit codes: 0 right, 1 a check failed or stayed undecided, 2 usage, 3 gradcheck itself failed, 4 nothing to check, 5 diff found a regression.
    """


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
    with redirect_stdout(sys.stderr), _pool(workers) as executor, _progress() as progress:     # what layers print is no result
        found, missing = _found(targets)
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


@main.command("list")
@click.argument("targets", nargs=-1, metavar="[TARGET]…")
def list_command(targets: tuple[str, ...]) -> NoReturn:
    """List the cases of targets; without a target, the checks."""
    if not targets:
        for check in CHECKS.values():
            click.echo(f"{check.name:12} {check.category:9} {check.info.summary}")
        sys.exit(OK)
    with redirect_stdout(sys.stderr):
        found, missing = _found(targets)
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
        raise click.UsageError(f"there is no check {check!r}; the checks are {', '.join(CHECKS)}")
    known = CHECKS[check]
    click.echo(f"{known.name}  ({known.category}, since {known.since}{'' if known.default else ', runs by name only'})\n\n{known.doc}")


@main.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of a report."""
    click.echo(msgspec.json.format(msgspec.json.encode(report.schema()), indent=2).decode())


def _admitted(selected: tuple[str, ...], ignored: tuple[str, ...], point: str, outputs: tuple[Path, ...]) -> Point | None:
    """The point that was given, if any. Errors: UsageError before anything is run, for what could not be done after it."""
    try:
        list(select(selected or None, ignored))
        if unknown := [path.name for path in outputs if path.suffix not in report.WRITERS]:
            raise ValueError(f"a report is saved as {', '.join(report.WRITERS)}, got {', '.join(unknown)}")
        return msgspec.json.decode(point, type=Point) if point else None
    except (ValueError, msgspec.DecodeError) as error:
        raise click.UsageError(f"--at takes the JSON that a repeat line has: {error}" if isinstance(error, msgspec.DecodeError) else str(error)) from error


def _found(targets: tuple[str, ...]) -> tuple[list[Found], list[NotChecked]]:
    """The cases of each target; one that cannot be imported does not keep the others from being judged."""
    found, missing = [], []
    for target in targets:
        try:
            found.append(find(target))
        except TargetError as error:
            click.echo(f"error: {error}", err=True)
            missing.append(NotChecked(what=target, why=str(error)))
    return found, missing


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


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor | None]:
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) if workers > 1 else nullcontext() as pool:
        yield pool


@contextmanager
def _progress() -> Iterator[Progress]:
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
