"""Four failures as a person reads them, on layers that are wrong on purpose: `python tests/failures.py` writes reports/failures.md anew."""
from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import numpy as np

import gradcheck
from gradcheck.messages import told
from gradcheck.runner import run
from gradcheck.subjects import Case
from gradcheck.targets import find

ROOT = Path(__file__).parent.parent
SIZES = {"n": 3, "d": 4}
WEIGHTS = np.linspace(0.5, 1.5, 10 ** 6).reshape(1000, 1000)


class Crashing:
    """An index that runs over the edge."""

    def __init__(self):
        self.params, self.grads = {"w": np.ones(4)}, {}

    def forward(self, x):
        self.x = x
        return x * self.params["w"]

    def backward(self, dy):
        self.grads["w"] = np.array([(self.x[:, i + 1] * dy[:, i]).sum() for i in range(4)])
        return dy * self.params["w"]


class Unsummed:
    """A bias whose gradient keeps the batch."""

    def __init__(self):
        self.params, self.grads = {"b": np.zeros(4)}, {}

    def forward(self, x):
        return x + self.params["b"]

    def backward(self, dy):
        self.grads["b"] = dy
        return dy


class Stale:
    """What forward keeps is kept on the class."""

    def forward(self, x):
        Stale.x = x
        return np.sin(x)

    def backward(self, dy):
        return dy * np.cos(Stale.x)


def scaled(p):
    return (p["w"] * WEIGHTS).sum(0)


def scaled_vjp(p, dy):
    dw = WEIGHTS * dy
    dw[617, 42] *= 2
    return {"w": dw}


CASES = [
    gradcheck.case(gradcheck.subject(scaled, scaled_vjp, w=WEIGHTS), name="one of a million"),
    gradcheck.case(Crashing, "n 4", name="crashing"),
    gradcheck.case(Unsummed, "n 4", name="unsummed"),
    gradcheck.case(Stale, "n d", name="stale"),
]
CHECKS = {"one of a million": "adjoint", "crashing": "adjoint", "unsummed": "adjoint", "stale": "interleave"}


def text(name: str) -> str:
    """What a run of one check says of a case."""
    with chdir(ROOT):
        case: Case = next(c for c in find("tests/failures.py").cases if c.name == name)
        return told(run([case], checks=[CHECKS[name]], profile="quick").cases[0])


def _said(name: str) -> Callable[[], str]:
    return lambda: text(name)


TEXTS: dict[str, Callable[[], str]] = {
    "One entry of a million": _said("one of a million"), "A crash": _said("crashing"), "A wrong shape": _said("unsummed"), "A stale cache": _said("stale"),
}
HEAD = """# Four failures

What is printed when a backward pass is wrong: the smallest case that fails, as code; the worst entries with both values; the kind of
mistake and where it lies; the file and line to look at; the line that repeats it. The layers are in [tests/failures.py](../tests/failures.py),
and `python tests/failures.py` writes this page.
"""


def page() -> str:
    return HEAD + "".join(f"\n## {title}\n\n```console\n{say()}\n```\n" for title, say in TEXTS.items())


def stable(page: str) -> str:
    """The page without what differs from machine to machine: the rounding's share of a bound, and probes' own values."""
    return re.sub(r"± \S+|by \S+ at most|off by \S+|-?\d+\.\d{3,}(e-?\d+)?", "…", page)



if __name__ == "__main__":
    (ROOT / "reports" / "failures.md").write_text(page())
