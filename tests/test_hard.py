"""Hard but right functions are never accused, and claims that look right to a careless step are."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special

import gradcheck
from gradcheck.evidence import Verdict
from gradcheck.subjects import Subject

Array = np.ndarray
CHECKS = ["adjoint", "linear", "values"]
F16, F32 = np.float16, np.float32


def normal(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape)


def of(call: Callable[..., Any], pullback: Callable[..., tuple[Array, ...]], **primals: Any) -> Subject:
    """Functions of arrays, and pullbacks from the upstream and the arrays to as many cotangents."""
    return gradcheck.subject(lambda p: call(*p.values()), lambda p, dy: dict(zip(p, pullback(dy, *p.values()), strict=True)), **primals)


def elementwise(call: Callable[[Array], Array], slope: Callable[[Array], Any], x: Any) -> Subject:
    return of(call, lambda dy, x: (dy * slope(x),), x=x)


def narrow_tanh(x: Array) -> Array:
    return np.tanh(x.astype(F32)).astype(float)


def bump(x: Array) -> Array:
    s = special.expit(x)
    return np.asarray(s * (1 - s))


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def top(x: Array) -> Array:
    return x.max(-1)


def chosen(x: Array) -> Array:
    return np.asarray(x == x.max(-1, keepdims=True))


def hits(x: Array) -> Array:
    return np.asarray(x == x.max(-1, keepdims=True), x.dtype)


def softmax_pullback(dy: Array, x: Array) -> tuple[Array]:
    p = special.softmax(x, -1)
    return (p * (dy - (dy * p).sum(-1, keepdims=True)),)


def standardised(x: Array, axis: int) -> Array:
    return (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + x.dtype.type(1e-5))


def standardised_pullback(dy: Array, x: Array, axis: int) -> tuple[Array]:
    y = standardised(x, axis)
    rest = dy - dy.mean(axis, keepdims=True) - y * (dy * y).mean(axis, keepdims=True)
    return (rest / np.sqrt(x.var(axis, keepdims=True) + x.dtype.type(1e-5)),)


def sort_pullback(dy: Array, x: Array) -> tuple[Array]:
    d = np.zeros_like(x)
    np.put_along_axis(d, np.argsort(x, -1), dy, -1)
    return (d,)


def median_pullback(dy: Array, x: Array) -> tuple[Array]:
    chosen = x == np.median(x, -1, keepdims=True)
    return (chosen / chosen.sum(-1, keepdims=True) * dy[:, None],)


def svd_pullback(dy: Array, x: Array) -> tuple[Array]:
    u, _, v = np.linalg.svd(x)
    return (u @ np.diag(dy) @ v,)


def matmul_pullback(dy: Array, x: Array, w: Array) -> tuple[Array, Array]:
    return dy @ w.conj().T, x.conj().T @ dy


def dense_pullback(dy: Array, x: Array, v: Array, w: Array) -> tuple[Array, ...]:
    """Of relu(x v) w, relu'(0) being 0."""
    dz = dy @ w.T * (x @ v > 0)
    return dz @ v.T, x.T @ dz, relu(x @ v).T @ dy


def least_of_largest_pullback(dy: Array, x: Array) -> tuple[Array]:
    d, rows = np.zeros_like(x), np.arange(len(x))
    j = x.max(-1).argmin(-1)
    d[rows, j, x[rows, j].argmax(-1)] = dy
    return (d,)


def newton(x: Array) -> Array:
    y = np.ones_like(x)
    for _ in range(60):
        y = (y + x / y) / 2
    return y


def some_zeros(n: int) -> Array:
    return np.where(np.arange(n) % 3 == 0, 0, normal(n))


SCALES = np.array([1e-8, 1, 1e8])

RIGHT = {
    "relu at 0": lambda: elementwise(relu, lambda x: x > 0, np.zeros(5)),
    **{f"s (1 − s), {n} entries": lambda n=n: elementwise(bump, lambda x: bump(x) * (1 - 2 * special.expit(x)), normal(n)) for n in range(2, 6)},
    "√(1 + x²) − 1": lambda: elementwise(lambda x: np.sqrt(1 + x * x) - 1, lambda x: x / np.sqrt(1 + x * x), np.array([[0.740234375]])),
    "relu at 0, the other side": lambda: elementwise(relu, lambda x: x >= 0, np.zeros(5)),
    "relu at 0, between": lambda: elementwise(relu, lambda x: np.where(x == 0, 0.5, x > 0), some_zeros(12)),
    "relu at 1000 zeros": lambda: elementwise(relu, lambda x: x > 0, np.zeros(1000)),
    "clip at its edges": lambda: elementwise(lambda x: np.clip(x, -1, 1), lambda x: np.abs(x) <= 1, np.array([-1.0, 1, 0.5, 2])),
    "three-way ties, the first": lambda: of(top, lambda dy, x: (np.eye(3)[x.argmax(-1)] * dy[:, None],), x=np.ones((4, 3))),
    "three-way ties, split": lambda: of(top, lambda dy, x: (hits(x) / hits(x).sum(-1, keepdims=True) * dy[:, None],), x=np.ones((4, 3))),
    "relu net, all units at 0": lambda: of(lambda x, v, w: relu(x @ v) @ w, dense_pullback, x=np.zeros((2, 1)), v=normal(1, 5), w=normal(5, 2)),
    "least of the largest, tied": lambda: of(lambda x: x.max(-1).min(-1), least_of_largest_pullback, x=np.round(np.abs(normal(4, 3, 3)).clip(0, 1))),
    "sort at ties": lambda: of(lambda x: np.sort(x, -1), sort_pullback, x=normal(3, 7)),
    "median": lambda: of(lambda x: np.median(x, -1), median_pullback, x=normal(4, 5)),
    "largest magnitude, tied": lambda: of(lambda x: np.abs(x).max(keepdims=True), lambda dy, x: (dy * np.sign(x) * hits(np.abs(x)) / hits(np.abs(x)).sum(),),
                                          x=np.array([2.0, -2, 1, -2, 0])),
    "sum of magnitudes": lambda: of(lambda x: np.abs(x).sum(), lambda dy, x: (dy * np.sign(x),), x=np.array([0, 0, 1.0, -2, 0])),
    "|x| + 1e-3 x² at 0": lambda: elementwise(lambda x: np.abs(x) + 1e-3 * x * x, lambda x: np.sign(x) + 2e-3 * x, np.zeros(4)),
    "|x| + 1e-3 x² near 0": lambda: elementwise(lambda x: np.abs(x) + 1e-3 * x * x, lambda x: np.sign(x) + 2e-3 * x, 1e-3 * normal(4)),
    "x³ at 0": lambda: elementwise(lambda x: x**3, lambda x: 3 * x * x, np.zeros(4)),
    "floor": lambda: elementwise(np.floor, lambda x: 0.0, 5 * normal(4)),
    "x mod 1": lambda: elementwise(lambda x: np.mod(x, 1.0), lambda x: 1.0, normal(9)),
    "huber": lambda: elementwise(lambda x: np.where(np.abs(x) < 1, x * x / 2, np.abs(x) - 0.5), lambda x: np.clip(x, -1, 1), normal(30)),
    "sin(1000 x)": lambda: elementwise(lambda x: np.sin(1e3 * x), lambda x: 1e3 * np.cos(1e3 * x), normal(6)),
    "sin(1e7 x)": lambda: elementwise(lambda x: np.sin(1e7 * x), lambda x: 1e7 * np.cos(1e7 * x), normal(6)),
    "sin(1e9 x)": lambda: elementwise(lambda x: np.sin(1e9 * x), lambda x: 1e9 * np.cos(1e9 * x), normal(6)),
    "a ripple of 1e-6 at 1e8": lambda: elementwise(lambda x: x + 1e-6 * np.sin(1e8 * x), lambda x: 1 + 100 * np.cos(1e8 * x), normal(6)),
    "tanh(1e6 x)": lambda: elementwise(lambda x: np.tanh(1e6 * x), lambda x: 1e6 / np.cosh(np.clip(1e6 * x, -300, 300)) ** 2, np.array([1e-7, 0.2, -3e-6])),
    "sqrt near 0": lambda: elementwise(np.sqrt, lambda x: 0.5 / np.sqrt(x), np.array([1e-12, 1e-6, 1e-3, 1])),
    "sqrt at 0": lambda: elementwise(np.sqrt, lambda x: 0.5 / np.sqrt(x), np.array([0, 1e-6, 1e-3, 1])),
    "log(1e-7)": lambda: elementwise(np.log, lambda x: 1 / x, np.full(4, 1e-7)),
    "x log x beside 0": lambda: elementwise(lambda x: special.xlogy(x, x), lambda x: np.log(x) + 1, np.array([1e-300, 1e-10, 1])),
    "softplus at 800": lambda: elementwise(lambda x: np.logaddexp(0, x), special.expit, np.array([800.0, -800, 30, 0])),
    "sum of a batch norm": lambda: of(lambda x: standardised(x, 0).sum(0), lambda dy, x: (np.zeros_like(x),), x=normal(6, 3)),
    "a norm at 0": lambda: of(lambda x: np.sqrt((x * x).sum()), lambda dy, x: (dy * x / max(np.linalg.norm(x), 1e-300),), x=np.zeros(3)),
    "singular values": lambda: of(lambda x: np.linalg.svd(x, compute_uv=False), svd_pullback, x=normal(4, 4)),
    "square root by iteration": lambda: elementwise(newton, lambda x: 0.5 / np.sqrt(x), np.array([0.1, 1, 4])),
    "noise": lambda: elementwise(lambda x: np.sin(x) + 1e-9 * np.random.default_rng().standard_normal(x.shape), np.cos, normal(5)),
    "1e-8": lambda: elementwise(lambda x: x * x, lambda x: 2 * x, 1e-8 * normal(5)),
    "1e8": lambda: elementwise(lambda x: x * x, lambda x: 2 * x, 1e8 * normal(5)),
    "1e-8 and 1e8 in one array": lambda: elementwise(lambda x: np.sin(x / SCALES), lambda x: np.cos(x / SCALES) / SCALES, SCALES),
    "one number": lambda: elementwise(np.sin, np.cos, np.array(0.3)),
    "no entries": lambda: elementwise(np.sin, np.cos, np.zeros((0, 3))),
    "a constant": lambda: of(lambda x: np.ones(3), lambda dy, x: (np.zeros_like(x),), x=normal(4)),
    "saturated softmax": lambda: of(lambda x: special.softmax(x, -1), softmax_pullback, x=30 * normal(4, 5)),
    "float32 sin(x) + 1000": lambda: elementwise(lambda x: np.sin(x) + F32(1000), np.cos, normal(6).astype(F32)),
    "float32 inside float64": lambda: elementwise(narrow_tanh, lambda x: 1 - narrow_tanh(x) ** 2, normal(6)),
    "float32 alone": lambda: elementwise(special.ndtr, lambda x: np.exp(-x * x / 2, dtype=F32) / F32(np.sqrt(2 * np.pi)), normal(6).astype(F32)),
    "float32 softmax, saturated": lambda: of(lambda x: special.softmax(x, -1), softmax_pullback, x=(30 * normal(4, 5)).astype(F32)),
    "float32 layer norm of two": lambda: of(lambda x: standardised(x, -1), lambda dy, x: standardised_pullback(dy, x, -1), x=normal(5, 2).astype(F32)),
    "float32 batch norm of two": lambda: of(lambda x: standardised(x, 0), lambda dy, x: standardised_pullback(dy, x, 0), x=normal(2, 5).astype(F32)),
    "float16 tanh": lambda: elementwise(np.tanh, lambda x: 1 - np.tanh(x) ** 2, normal(6).astype(np.float16)),
    "float16 product": lambda: of(np.matmul, matmul_pullback, x=normal(4, 50).astype(np.float16), w=normal(50, 3).astype(np.float16)),
    "float16 inside float64": lambda: of(lambda x, w: (x.astype(F16) @ w.astype(F16)).astype(float), matmul_pullback, x=normal(4, 20), w=normal(20, 5)),
    "float32 (1 - cos x) / x²": lambda: elementwise(lambda x: (1 - np.cos(x)) / x**2, lambda x: (x * np.sin(x) - 4 * np.sin(x / 2) ** 2) / x**3,
                                                    np.array([1e-3, 3e-4, 1e-2], F32)),
    "complex square": lambda: elementwise(lambda x: x * x, lambda x: np.conj(2 * x), normal(4) + 1j * normal(8)[4:]),
    "complex product": lambda: of(np.matmul, matmul_pullback, x=normal(4, 5) + 1j, w=normal(5, 3) - 2j),
    "squared modulus": lambda: of(lambda x: (x * np.conj(x)).real, lambda dy, x: (2 * dy * x,), x=normal(4) + 1j * normal(8)[4:]),
    "complex64 exp": lambda: elementwise(np.exp, lambda x: np.conj(np.exp(x)), (normal(4) + 1j).astype(np.complex64)),
}

WRONG = {
    "|x| at 1e-3, slope 0.1": lambda: elementwise(np.abs, lambda x: 0.1, np.array([1e-3])),
    "relu at −5e-4, slope 0.475": lambda: elementwise(relu, lambda x: 0.475, np.array([-5e-4])),
    "relu at 0, slope 1.5": lambda: elementwise(relu, lambda x: np.where(x == 0, 1.5, x > 0), np.zeros(1)),
    "relu at 0, slope −0.2": lambda: elementwise(relu, lambda x: np.where(x == 0, -0.2, x > 0), np.zeros(1)),
    "relu at 100 zeros, slope 1.5": lambda: elementwise(relu, lambda x: np.where(x == 0, 1.5, x > 0), some_zeros(300)),
    "relu at 1000 zeros, slope 1.5": lambda: elementwise(relu, lambda x: np.where(x == 0, 1.5, x > 0), np.zeros(1000)),
    "three-way ties, each in full": lambda: of(top, lambda dy, x: (hits(x) * dy[:, None],), x=np.ones((4, 3))),
    "x + 1e-3 |x| at 0, slope 1.002": lambda: elementwise(lambda x: x + 1e-3 * np.abs(x), lambda x: 1.002, np.zeros(1)),
    **{f"zero for a slope of {size:g}": lambda size=size: elementwise(lambda x: size * np.sin(x), lambda x: 0.0, normal(4))
       for size in (1e-200, 1e-30, 1e-8, 1.0, 1e8)},
    "zero beside a thousand million": lambda: of(lambda x, y: 1e-6 * np.sin(x)[:, None] + 1e3 * y, lambda dy, x, y: (0 * x, 1e3 * dy),
                                                 x=normal(4), y=normal(4, 2)),
    "a factor of 1 + 1e-8": lambda: elementwise(np.sin, lambda x: (1 + 1e-8) * np.cos(x), normal(5)),
    "a slope 1e-8 too large": lambda: elementwise(np.sin, lambda x: np.cos(x) + 1e-8, normal(5)),
    "a gate that jumps, a thousandth too much": lambda: of(lambda x, w: x @ w * chosen(x @ w), lambda dy, x, w: (
        1.001 * (dy * chosen(x @ w)) @ w.T, x.T @ (dy * chosen(x @ w))), x=normal(6, 4), w=normal(5, 4).T),
    "rounded to 6 digits, a tenth too much": lambda: elementwise(lambda x: np.round(np.sin(x), 6), lambda x: 1.1 * np.cos(x), normal(6)),
    "sin(1000 x), twice": lambda: elementwise(lambda x: np.sin(1e3 * x), lambda x: 2e3 * np.cos(1e3 * x), normal(6)),
    "float16, half as much again": lambda: elementwise(np.tanh, lambda x: (1 - np.tanh(x) ** 2) * x.dtype.type(1.5), normal(6).astype(np.float16)),
    "float32, a thousandth too much": lambda: elementwise(np.tanh, lambda x: (1 - np.tanh(x) ** 2) * F32(1.001), normal(6).astype(F32)),
    "float32 sin(x) + 1000, twice": lambda: elementwise(lambda x: np.sin(x) + F32(1000), lambda x: 2 * np.cos(x), normal(6).astype(F32)),
    "float32 inside float64, zero": lambda: elementwise(narrow_tanh, lambda x: 0.0, normal(6)),
    "complex square, not conjugate": lambda: elementwise(lambda x: x * x, lambda x: 2 * x, normal(4) + 1j * normal(8)[4:]),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_functions_are_never_accused(name: str) -> None:
    (case,) = gradcheck.check(RIGHT[name](), checks=CHECKS).report().cases
    assert not case.error, case.error
    for row in case.rows:
        assert row.verdict in (Verdict.PASS, Verdict.UNDECIDED) and not row.failure, f"{row.check} of {row.primal}: {row.reason}"
        assert row.verdict is Verdict.PASS or row.reason


@pytest.mark.parametrize("name", WRONG)
def test_wrong_claims_fail(name: str) -> None:
    result = gradcheck.check(WRONG[name](), checks=["adjoint"])
    assert result.verdict is Verdict.FAIL and any(e.verdict is Verdict.FAIL and e.reason for e in result.evidence)
