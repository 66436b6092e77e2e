"""A user's own package in an environment of its own: both wheels built and installed, pytest run where no source of ours lies.

The environment is filled from the package index. Where that cannot be reached, what gradcheck needs comes from this environment
through a .pth file; gradcheck itself is the installed wheel in either case.
"""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OWN = ROOT / "tests" / "own_package"
SOURCES = ("gradcheck", "layers", "pyproject.toml", "README.md", "LICENSE")
NEEDED = ("pytest", "pytest-xdist")
FAILED = pytest.ExitCode.TESTS_FAILED


def ran(*command, cwd, **environment):
    """A command in an environment without this one's paths."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST", "VIRTUAL_ENV", "COV", "PIP_"))}
    return subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=400, env=clean | environment)


def built(name, folder, sources):
    """The wheel of a project, from a copy of its sources."""
    copy = folder / name
    copy.mkdir()
    for source in sources:
        (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / source.name)
    done = ran(sys.executable, "-m", "pip", "wheel", "-q", copy, "--no-deps", "--no-build-isolation", "-w", folder, cwd=folder)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob(f"{name}-*.whl")
    return wheel


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A Python that has both packages, and a folder with the tests of the user's."""
    folder = tmp_path_factory.mktemp("fresh")
    wheels = [built("gradcheck", folder, [ROOT / s for s in SOURCES]), built("tinynet", folder, [OWN / "pyproject.toml", OWN / "tinynet"])]
    assert ran(sys.executable, "-m", "venv", folder / "venv", cwd=folder).returncode == 0
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = (python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--timeout", "5", "--retries", "0")
    if ran(*pip, *wheels, *NEEDED, cwd=folder).returncode:
        (next(folder.glob("venv/**/site-packages")) / "offline.pth").write_text(sysconfig.get_path("purelib"))
        assert ran(*pip, "--no-deps", *wheels, cwd=folder).returncode == 0
    shutil.copytree(OWN / "checks", folder / "work" / "checks")
    shutil.copy(OWN / "pyproject.toml", folder / "work")
    return python, folder / "work"


def judged(environment, *arguments, **variables):
    """pytest there: what it printed, its exit code, and how many items ended in which way."""
    python, work = environment
    done = ran(python, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:benchmark", *arguments, cwd=work, COLUMNS="100", **variables)
    counts = Counter({what: int(n) for n, what in re.findall(r"(\d+) (passed|failed|skipped)", done.stdout.splitlines()[-1])})
    return done.stdout + done.stderr, done.returncode, counts


def test_gradcheck_is_the_installed_wheel(environment):
    python, work = environment
    place = Path(ran(python, "-c", "import gradcheck; print(gradcheck.__file__)", cwd=work).stdout.strip())
    assert place.is_relative_to(work.parent / "venv")


def test_pytest_shows_an_item_for_each_check_and_one_readable_failure(environment):
    shown, code, counts = judged(environment, "-k", "adjoint or linear or chain")
    assert (code, counts) == (FAILED, Counter(passed=6, failed=1)), shown
    (text,) = re.findall(r"^_+ test_gradients\[leaky-adjoint\] _+$\n(.*?)^=+ short", shown, re.M | re.S)
    assert text.startswith("FAIL  leaky: adjoint of x") and len(text.splitlines()) <= 25 and "look at" in text
    repeat = text.splitlines()[-1].replace("pytest ", "", 1).replace("'", "").split(" ", 2)
    again, code, counts = judged(environment, *repeat)
    assert (code, counts) == (FAILED, Counter(failed=1))
    assert all(line in again for line in text.splitlines() if "claimed" in line or "case" in line or "array(" in line)


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_a_report_is_written(environment, workers, tmp_path):
    shown, code, _ = judged(environment, *workers, "--gradcheck-report", tmp_path / "out.html", "-k", "adjoint or chain")
    page = (tmp_path / "out.html").read_text()
    assert code == FAILED and f"wrote {tmp_path / 'out.html'}" in shown
    assert all(name in page for name in ("Affine", "leaky", "fragile")) and "LeakyReLU" in page


def test_a_worker_that_is_killed_is_one_crashed_item(environment, tmp_path):
    shown, code, counts = judged(environment, "-n", "2", "-k", "adjoint", "--gradcheck-report", tmp_path / "out.html", TINYNET_CRASHES="1")
    assert (code, counts) == (FAILED, Counter(passed=1, failed=2)), shown
    assert "crashed while running 'checks/test_layers.py::test_gradients[fragile-adjoint]'" in shown
    page = (tmp_path / "out.html").read_text()
    assert "the process died while this check ran" in page and "Affine" in page


def test_the_command_line_judges_the_same_cases(environment):
    python, work = environment
    done = ran(python, "-m", "gradcheck", "run", "--select", "adjoint", cwd=work)
    assert done.returncode == 1, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()[:3]] == [["pass", "Affine"], ["fail", "leaky"], ["pass", "fragile"]]
