"""`gradcheck init | doctor`: the first test of a project, and the state of the machine that runs it. Defaults from pyproject.toml."""
from __future__ import annotations

import platform
import shlex
import statistics
import sys
import time
import tomllib
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np

from .. import __version__
from ..environment import environment
from ..settings import FILE, SettingsError, parsed, settings, table_of
from .group import FAILED, OK, main

TEST = Path("tests") / "test_gradients.py"
STARTER = '''"""Every layer's backward is held against what its forward does. `pytest` runs it; so does `gradcheck run`, with a report."""
import gradcheck
import numpy as np


class Scale:                                   # in place of this, import your own
    """y = a x, entry by entry"""

    def __init__(self):
        self.a = np.random.randn(3)

    def forward(self, x):                      # x  (n, 3)
        self.x = x
        return self.a * x                      # y  (n, 3)

    def backward(self, dy):
        self.da = (self.x * dy).sum(0)
        return self.a * dy


@gradcheck.parametrize([
    gradcheck.case(Scale, "n 3"),              # the shape of what goes in: n is generated, 3 stays 3
])
def test_gradients(check):
    check()
'''
TABLE = f'''
[tool.gradcheck]
targets = ["{TEST.as_posix()}"]                # what `gradcheck run` judges when no target is named
profile = "default"                            # quick, default, thorough
'''
KEYS = {"targets": "targets", "profile": "profile", "seed": "seed", "select": "selected", "ignore": "ignored", "output": "outputs",
        "workers": "workers", "title": "title"}      # of the settings, and the parameter that each is the default of


class Configured(click.Command):
    """A command whose parameters are taken from `[tool.gradcheck]` where the command line is silent."""

    def make_context(self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any) -> click.Context:
        try:
            found = settings()
        except SettingsError as error:
            raise click.UsageError(str(error)) from error
        known = {p.name for p in self.params}
        return super().make_context(info_name, args, parent, default_map={p: getattr(found, k) for k, p in KEYS.items() if p in known}, **extra)


@main.command("init")
@click.argument("folder", default=".", type=click.Path(file_okay=False, path_type=Path))
def init_command(folder: Path) -> None:
    """Write a first test, and the settings, into a project. Nothing that is there is changed, but for a table added to pyproject.toml."""
    for path, write in {folder / TEST: _test, folder / FILE: _table}.items():
        click.echo(write(path))
    inside = "" if folder == Path() else f"cd {shlex.quote(str(folder))} && "
    click.echo(f"\nNow run\n  {inside}pytest {TEST.as_posix()}\n  {inside}gradcheck run -o report.html\nand put your own layer in the place of Scale.")


def _test(path: Path) -> str:
    if path.exists():
        return f"kept {path}, which is there already"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(STARTER, encoding="utf-8")
    return f"wrote {path}"


def _table(path: Path) -> str:
    """The table at the end of the file, unless it has one, or would not stay TOML with it. Errors: UsageError where it is none, or a setting is wrong."""
    try:
        table = table_of(path)
        if table is not None:
            parsed(table, str(path))
            return f"kept {path}, which has a table [tool.gradcheck]"
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    joined = text + "\n" * (bool(text) and not text.endswith("\n")) + TABLE.removeprefix("\n" * (not text))
    try:
        tomllib.loads(joined)
    except tomllib.TOMLDecodeError:                          # `tool` may be written in one line
        return f"kept {path}, to which no table can be added; add this where it fits:\n{TABLE}"
    path.write_text(joined, encoding="utf-8")
    return f"added [tool.gradcheck] to {path}" if text else f"wrote {path}"


# doctor --------------------------------------------------------------------------------------------------------------------------

@main.command("doctor")
def doctor_command() -> None:
    """Say what gradcheck finds here: versions, BLAS, threads, timer. Exits with 1 if something would spoil a measurement."""
    wrong = 0
    for name, (said, fault) in ((name, row()) for name, row in ROWS.items()):
        click.echo(f"{name:12} {said}")
        if fault:
            click.echo(f"{'':12} ! {fault}")
            wrong += 1
    sys.exit(FAILED if wrong else OK)


Row = tuple[str, str]                                        # what was found, and what is wrong with it, if anything


def _versions() -> Row:
    return ", ".join(f"{k} {v}" for k, v in environment().versions.items() if k != "gradcheck"), ""


def _blas() -> Row:
    found = environment().blas
    return f"{found or 'not found'}; checks use 1 thread", "" if found else "without it no one keeps the threads to one: sums may differ from run to run"


def _timer() -> Row:
    """The clock's smallest step as it shows, and what a reading costs."""
    readings = [time.perf_counter() for _ in range(10_000)]
    steps = [b - a for a, b in pairwise(readings) if b > a]
    step, cost = min(steps, default=1.0), (readings[-1] - readings[0]) / len(readings)
    return f"step {step * 1e9:.0f} ns, {cost * 1e9:.0f} ns a reading", "too coarse to time a small layer" if step > 1e-5 else ""


def _steady() -> Row:
    """How much the same work varies: ten products of two matrices."""
    a = np.ones((200, 200))
    times = []
    for _ in range(30):
        began = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - began)
    middle = statistics.median(times)
    spread = statistics.median(abs(t - middle) for t in times) / middle
    return f"the same work varies by {spread:.0%}", "times of this machine say little: it is busy with something else" if spread > 0.25 else ""


def _floats() -> Row:
    """Tiny numbers must not be flushed to zero: some libraries switch that on for the whole process."""
    flushed = not np.float64(5e-324) * np.float64(1.0) > 0
    return f"float64 eps {np.finfo(np.float64).eps:.1e}, long double {np.finfo(np.longdouble).nmant + 1} bits", \
        "subnormal numbers are flushed to zero: a library in this process has switched that on" if flushed else ""


def _plugin() -> Row:
    try:
        has = find_spec("pytest") is not None
    except ValueError:
        has = False
    return ("--gradcheck-report and more are options of pytest" if has else "pytest is not installed: only `gradcheck run` judges"), ""


def _settings() -> Row:
    try:
        return str(settings()), ""
    except SettingsError as error:
        return "wrong", str(error)


def _shadow() -> Row:
    """A user's own layers.py beside the project is legal: ours is then not to be had by that name."""
    spec = find_spec("layers")
    ours = spec is not None and spec.origin is not None and Path(spec.origin).parent.parent == Path(__file__).parents[2]
    return ("the one that comes with gradcheck" if ours else f"another: {spec.origin if spec else 'none'}; checks do not need ours"), ""


ROWS: dict[str, Callable[[], Row]] = {
    "gradcheck": lambda: (f"{__version__} at {Path(__file__).parents[1]}", ""),
    "python": lambda: (f"{platform.python_version()} at {sys.executable}", ""),
    "machine": lambda: (f"{environment().platform}, {environment().cpu}, {environment().cores} cores", ""),
    "packages": _versions, "BLAS": _blas, "timer": _timer, "load": _steady, "numbers": _floats, "pytest": _plugin, "layers": _shadow,
    "settings": _settings,
}
