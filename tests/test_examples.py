"""The networks for handwritten digits reach what they promise, in both spellings, and again with the same seed."""
from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

pytest.importorskip("sklearn", reason="the digits come with scikit-learn; the extra `examples` installs it")
pytestmark = pytest.mark.frameworks

LEAST = {"digits": 0.95, "digits_dropout": 0.95, "digits_conv": 0.97}


def example(name):
    return import_module(f"layers.examples.{name}").EXAMPLE


@pytest.mark.parametrize("name", LEAST)
@pytest.mark.parametrize("in_slugnet", [False, True], ids=["layers", "slugnet"])
def test_accuracy(name, in_slugnet):
    assert example(name).run(in_slugnet=in_slugnet) >= LEAST[name]


def test_the_seed_decides():
    once, again, other = (example("digits").layers(seed) for seed in (1, 1, 2))
    X = __import__("numpy").ones((2, 64))
    assert (once.predict(X) == again.predict(X)).all() and (once.predict(X) != other.predict(X)).any()


def test_the_command_line():
    done = subprocess.run([sys.executable, "-m", "layers.examples.digits"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "test accuracy 0.9" in done.stdout and "100%" in done.stderr
    again = subprocess.run([sys.executable, "-m", "layers.examples.digits", "--quiet"], capture_output=True, text=True, timeout=60)
    assert again.stdout.split()[:3] == done.stdout.split()[:3] and not again.stderr
