"""The battery's accusations and acquittals of real packages are those of FINDINGS.md, which were established without it."""
from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

import gradcheck
from gradcheck.targets import find

HERE = Path(__file__).parent
CHECKS = ["adjoint", "linear", "shapes", "pure", "repeat", "interleave"]
RAISES = {("adjoint", ""), ("linear", ""), ("shapes", ""), ("pure", ""), ("repeat", ""), ("interleave", "")}

WRONG = {                                          # case -> (check, primal) that must be accused, or raise, and nothing else
    "numpy_ml.Embedding": {("adjoint", "W")},
    "numpy_ml.Softmax": {("adjoint", "X")},
    "numpy_ml.Softmax (3 axes)": {("adjoint", "X")} | RAISES,
    "numpy_ml.SparseEvolution": {("adjoint", "W")},
    "numpy_ml.DotProductAttention (dropout)": {("adjoint", "Q"), ("adjoint", "K")},
    "numpy_ml.Dropout(FullyConnected)": {("adjoint", "X"), ("pure", "backward")},
    "numpy_ml.Pool2D (max, padded)": {("adjoint", "X")} | RAISES,
    "numpy_ml.RNN": {("build", "")},
    "numpy_ml.LSTM": {("build", "")},
    "numpy_ml.RBM": {("build", "")},
    "epynn.Dense (softmax, temperature)": {("adjoint", "A"), ("adjoint", "W"), ("adjoint", "b")},
    "epynn.Convolution (padded)": {("adjoint", "A"), ("shapes", "A")},
    "epynn.Pooling (mean)": {("adjoint", "A")},
    "epynn.Pooling (ties)": {("adjoint", "A")},
}
PERHAPS = {"epynn.Pooling": {("adjoint", "A")}}    # two drawn entries of a window may be equal, and then it is wrong


def cases(package: str) -> list[gradcheck.Case]:
    if find_spec(package) is None:                 # not importorskip: numpy_ml's import needs what its file of cases lends it
        pytest.skip(f"{package} is not installed")
    return list(find(str(HERE / f"{package}_cases.py")).cases)


@pytest.mark.parametrize("package", ["numpy_ml", "epynn"])
def test_accusations_and_acquittals(package):
    report = gradcheck.run(cases(package), checks=CHECKS, profile="quick")
    assert {c.name for c in report.cases} >= {name for name in WRONG | PERHAPS if name.startswith(package)}
    for case in report.cases:
        accused = {(r.check, r.primal) for r in case.rows if r.verdict in ("fail", "error", "xfail", "xpass")}
        assert accused - PERHAPS.get(case.name, set()) == WRONG.get(case.name, set()), case.name
