"""Kinks, ties and jumps at the point: right subgradients pass and say so, wrong ones fail, and what cannot be told is undecided."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradcheck.checks import CHECKS
from gradcheck.evidence import Evidence, Verdict
from gradcheck.subjects import Subject

Array = np.ndarray
Call, Pullback = Callable[[Array], Array], Callable[[Array, Array], Array]


class Tape:
    def __init__(self, call: Call, pullback: Pullback) -> None:
        self.call, self.pullback = call, pullback

    def forward(self, primals: dict[str, Array]) -> tuple[Array, ...]:
        self.x = primals["x"]
        return (self.call(self.x),)

    def backward(self, *dys: Array) -> dict[str, Array | None]:
        return {"x": self.pullback(self.x, *dys)}


def judged(call: Call, pullback: Pullback, x: Any) -> Evidence:
    return next(iter(CHECKS["adjoint"].run(Subject("f", {"x": np.asarray(x, float)}, ("x",), lambda: Tape(call, pullback)))))


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def claims(at_zero: float, below: float = 0.0, above: float = 1.0) -> Pullback:
    """The pullback of a function with these slopes below and above 0, and this claim at 0."""
    return lambda x, dy: dy * np.where(x > 0, above, np.where(x < 0, below, at_zero))


@pytest.mark.parametrize("n", [1, 3, 1000])
@pytest.mark.parametrize(("claim", "verdict"), [(0, "pass"), (0.5, "pass"), (1, "pass"), (1.5, "fail"), (-0.2, "fail")])
def test_relu_at_zero(n: int, claim: float, verdict: str) -> None:
    found = judged(relu, claims(claim), np.zeros(n))
    assert found.verdict == verdict and "subgradient" in found.marks


@pytest.mark.parametrize(("claim", "verdict"), [(0, "pass"), (1.5, "fail")])
def test_a_few_kinks_among_smooth_entries(claim: float, verdict: str) -> None:
    x = np.random.default_rng(0).standard_normal(50)
    x[::7] = 0
    assert judged(relu, claims(claim), x).verdict == verdict


@pytest.mark.parametrize(("claim", "verdict"), [(0.999, "pass"), (1, "pass"), (1.001, "pass"), (1.002, "fail"), (0.998, "fail")])
def test_a_small_kink_on_a_slope(claim: float, verdict: str) -> None:
    assert judged(lambda x: x + 1e-3 * np.abs(x), claims(claim, 0.999, 1.001), np.zeros(4)).verdict == verdict


def first(x: Array, dy: Array) -> Array:
    d = np.zeros_like(x)
    np.put_along_axis(d, x.argmax(-1)[..., None], dy[..., None], -1)
    return d


def split(x: Array, dy: Array) -> Array:
    tied = x == x.max(-1, keepdims=True)
    return dy[..., None] * tied / tied.sum(-1, keepdims=True)


def all_of_it(x: Array, dy: Array) -> Array:
    return dy[..., None] * (x == x.max(-1, keepdims=True))


@pytest.mark.parametrize("ties", [2, 3, 9])
@pytest.mark.parametrize(("pullback", "verdict"), [(first, "pass"), (split, "pass"), (all_of_it, "fail")])
def test_tied_groups(ties: int, pullback: Pullback, verdict: str) -> None:
    x = np.zeros((5, ties))
    x[3:] = np.random.default_rng(1).standard_normal((2, ties))
    assert judged(lambda x: x.max(-1), pullback, x).verdict == verdict


@pytest.mark.parametrize(("call", "pullback", "x", "verdict"), [
    pytest.param(np.abs, lambda x, dy: 0.1 * dy, [1e-3], "fail", id="|x| beside its kink, slope 0.1"),
    pytest.param(relu, lambda x, dy: 0.475 * dy, [-5e-4], "fail", id="relu beside its kink, slope 0.475"),
    pytest.param(relu, claims(0), [-5e-4], "pass", id="relu beside its kink"),
    pytest.param(lambda x: x**3, lambda x, dy: 3 * x**2 * dy, np.zeros(3), "pass", id="x³ at 0"),
    pytest.param(lambda x: np.abs(x) + 1e-3 * x**2, lambda x, dy: dy * (np.sign(x) + 2e-3 * x), np.zeros(4), "pass", id="|x| + 1e-3 x²"),
    pytest.param(np.floor, lambda x, dy: 0 * dy, np.zeros(3), "undecided", id="floor at its jump"),
])
def test_near_and_at(call: Call, pullback: Pullback, x: Any, verdict: str) -> None:
    assert judged(call, pullback, x).verdict == verdict


def test_many_kinks_behind_one_output_are_never_accused() -> None:
    rng = np.random.default_rng(2)
    for H, V in [(np.eye(6), rng.standard_normal((6, 4))), (np.abs(rng.standard_normal((6, 20))), np.abs(rng.standard_normal((20, 2))))]:
        right = judged(lambda x, H=H, V=V: relu(x @ H) @ V, lambda x, dy, H=H, V=V: (dy @ V.T * (x @ H > 0)) @ H.T, np.zeros((2, 6)))
        assert right.verdict is not Verdict.FAIL


@pytest.mark.parametrize("size", [10.0, 800.0, 1e5, 1e8])
def test_a_feature_sharper_than_the_step_is_no_kink(size: float) -> None:
    """Softmax at exact ties of large logits is smooth, and as steep as it claims."""
    def softmax(x: Array) -> Array:
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    x = size * np.array([[1.0, 1.0, -1.0], [1.0, 1.0, 1.0]])
    found = judged(lambda x: softmax(x * size), lambda x, dy: size * (y := softmax(x * size)) * (dy - (dy * y).sum(-1, keepdims=True)), x)
    assert found.verdict is not Verdict.FAIL
