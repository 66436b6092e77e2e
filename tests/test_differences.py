"""The derivative's bound is true, and kinks, jumps, edges and noise are seen for what they are. `make calibrate` says how often."""
from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck import differences
from gradcheck.differences import Ladder, Slope, climb, extrapolate, noise_of
from gradcheck.evidence import Point
from gradcheck.probes import MARGIN, MOST_DROPPED, Field
from gradcheck.subjects import Array, Arrays, Subject

EPS = float(np.finfo(np.float64).eps)
seeds = st.integers(0, 2**32 - 1)
Curve = Callable[[float], Array]


def ladder_of(g: Curve, seed: int = 0, eps: float = EPS) -> Ladder:
    g0 = np.asarray(g(0.0))
    return climb(g, g0, noise_of(g, g0, eps)[0], eps, np.random.default_rng(seed))


def slope_of(g: Curve, seed: int = 0, eps: float = EPS) -> Slope:
    return extrapolate(ladder_of(g, seed, eps))


def descended(g: Curve, seed: int = 0) -> Slope:
    """As a probe goes on where the first ladder is not fine enough."""
    return extrapolate(differences.descend(ladder_of(g, seed), g, np.asarray(g(0.0))))


def holds(found: Slope, truth: Array) -> bool:
    """Within the margin of a verdict; that it is within the bound itself in 99.9 % is for `make calibrate` to show."""
    return bool(np.all(np.abs(found.value - truth) <= MARGIN * found.bound))


# ---- smooth functions

@given(seeds, st.integers(1, 12), st.floats(-8, 8))
def test_polynomials(seed: int, degree: int, decade: float) -> None:
    c = np.random.default_rng(seed).standard_normal((degree + 1, 5)) * 10**decade
    found = slope_of(lambda t: np.polynomial.polynomial.polyval(t, c), seed)
    assert holds(found, c[1]) and np.all(found.bound <= 1e-9 * np.abs(c).max(axis=0))


ANALYTIC = {
    "sin": (lambda t, w, a: np.sin(w * t + a), lambda w, a: w * np.cos(a)),
    "exp": (lambda t, w, a: np.exp(w * t + a), lambda w, a: w * np.exp(a)),
    "tanh": (lambda t, w, a: np.tanh(w * t + a), lambda w, a: w / np.cosh(a) ** 2),
    "pole": (lambda t, w, a: 1 / (w * t + 2 + a**2), lambda w, a: -w / (2 + a**2) ** 2),
    "bell": (lambda t, w, a: np.exp(-(w * t + a) ** 2), lambda w, a: -2 * a * w * np.exp(-a * a)),
}


@pytest.mark.parametrize("name", ANALYTIC)
@given(seed=seeds, sharpness=st.floats(-2, 2.5))
def test_analytic_functions_blunt_and_sharp(name: str, seed: int, sharpness: float) -> None:
    g, slope = ANALYTIC[name]
    w, a = 10**sharpness, np.random.default_rng(seed).uniform(-1.5, 1.5, 6)
    assert holds(slope_of(lambda t: g(t, w, a), seed), slope(w, a))


@given(seeds, st.sampled_from([100 * np.pi, 200 * np.pi, 400 * np.pi, 1000.0]))
def test_an_oscillation_does_not_agree_with_itself_by_accident(seed: int, w: float) -> None:
    found = slope_of(lambda t: np.sin(np.array([w]) * t), seed)
    assert holds(found, np.array([w])) and found.bound[0] < 1e-3 * w


def test_most_smooth_derivatives_are_fine() -> None:
    a = np.random.default_rng(0).uniform(-2, 2, 500)
    found = slope_of(lambda t: np.tanh(a * (1 + t)))
    error = np.abs(found.value - a / np.cosh(a) ** 2)
    assert np.mean(error <= found.bound) >= 0.999 and np.median(found.bound / np.abs(a)) < 1e-11


# ---- kinks, jumps, edges

@given(seeds, st.floats(1e-3, 1e3), st.floats(-1, 1))
def test_a_kink_at_the_point_is_seen(seed: int, gap: float, smooth: float) -> None:
    both = ladder_of(lambda t: np.array([gap * abs(t) + smooth * t + 1, np.sin(t) + 1]), seed)
    assert list(both.kinked) == [True, False] and list(both.usable) == [True] * False + [False, True]


@given(seeds, st.floats(-7, -0.8), st.floats(0.1, 10), st.sampled_from([-1, 1]))
def test_a_kink_within_the_steps_never_makes_the_bound_untrue(seed: int, decade: float, gap: float, side: int) -> None:
    at = side * 10**decade
    found = slope_of(lambda t: np.array([np.exp(t) + gap * max(side * (t - at), 0.0)]), seed)
    assert holds(found, np.array([1.0]))


@given(seeds, st.integers(1, 200))
def test_many_kinks_within_the_steps(seed: int, kinks: int) -> None:
    rng = np.random.default_rng(seed)
    at, gap = rng.choice([-1, 1], kinks) * 10 ** rng.uniform(-5, 0, kinks), rng.standard_normal(kinks)
    found = slope_of(lambda t: np.array([t + np.sum(gap * np.maximum(np.sign(at) * (t - at), 0))]), seed)
    assert holds(found, np.array([1.0]))


@given(seeds, st.floats(1e-6, 1e3))
def test_a_jump_at_the_point_has_no_derivative(seed: int, size: float) -> None:
    found = ladder_of(lambda t: np.array([t + size * (t >= 0) + 1]), seed)
    assert not found.usable[0] or extrapolate(found).bound[0] > 1


@given(seeds, st.floats(-6, -0.5))
def test_a_domain_edge_within_the_steps(seed: int, decade: float) -> None:
    edge = 10**decade
    with np.errstate(invalid="ignore"):
        found = descended(lambda t: np.sqrt(np.array([t + edge])), seed)
    assert holds(found, np.array([0.5 / np.sqrt(edge)])) and np.isfinite(found.bound[0])


def test_on_the_edge_of_the_domain_nothing_is_usable() -> None:
    with np.errstate(all="ignore"):
        assert not ladder_of(lambda t: np.sqrt(np.array([t]))).usable.any()
        assert not ladder_of(lambda t: np.log(np.array([t]))).usable.any()


def test_flat_near_and_moving_further_off_is_not_told_apart() -> None:
    """A dead unit, and 1 + x at x = 1e-12, which moves by whole units of 1's last place."""
    found = ladder_of(lambda t: np.array([max(t - 1e-3, 0.0), np.log(1 + 1e-12 * (1 + t)), 0.0, np.sin(t)]))
    assert list(found.usable) == [False, False, True, True] and not found.kinked.any()


# ---- noise

@given(seeds, st.floats(-14, -2))
def test_random_noise_is_measured(seed: int, decade: float) -> None:
    rng, size = np.random.default_rng(seed), 10**decade
    found, still = noise_of(lambda t: np.sin(t + np.arange(400.0)) + size * rng.standard_normal(400), np.sin(np.arange(400.0)), EPS)
    assert 0.5 * size < np.median(found) < 2 * size and np.mean(found > size / 5) > 0.95 and not still.any()


@given(seeds, st.floats(0.1, 10))
def test_noise_is_not_the_signal(seed: int, w: float) -> None:
    x = np.random.default_rng(seed).uniform(-3, 3, 50)
    g = lambda t: np.sin(w * x * (1 + t)) + np.abs(t)      # and not the kink at 0
    assert np.all(noise_of(g, g(0.0), EPS)[0] < 1e-14 * (1 + w))


def test_float32_inside_float64_is_seen() -> None:
    x = np.linspace(0.1, 3, 300)
    g = lambda t: np.tanh((x * (1 + t)).astype(np.float32)).astype(np.float64)
    assert 1e-8 < np.median(noise_of(g, g(0.0), EPS)[0]) < 1e-7


def test_values_that_rest_are_told() -> None:
    x = np.array([0.3, 0.7, 3.0])
    g = lambda t: np.array([*np.tanh(x * (1 + t)).astype(np.float16).astype(float), 1.0, t])
    assert noise_of(g, g(0.0), EPS)[1].tolist() == [True] * 4 + [False]
    assert not noise_of(g, g(0.0), float(np.finfo(np.float16).eps))[1][:2].any()


@pytest.mark.parametrize("eps", [3e-11, 1e-10])
def test_features_finer_than_the_steps_stray(eps: float) -> None:
    """sin(1e5 x) on the steps of a precision that is thought lower: wide ones agree by accident, and not with what narrower ones see."""
    off = []
    for seed in range(300):
        x, v = np.random.default_rng(seed).uniform(0.5, [1, 1, 1, 1.5, 1.5, 1.5]).reshape(2, 3)
        ladder = ladder_of(lambda t, x=x, v=v: np.sin(1e5 * (x + t * v)), seed, eps)
        kept = ladder.usable
        off += [not holds(extrapolate(ladder.total(kept)), (1e5 * np.cos(1e5 * x) * v)[kept].sum())]
    assert np.mean(off) < 0.02


def test_a_function_that_is_nothing_but_noise_has_no_derivative() -> None:
    """sin(1e10 x): its features are finer than any step, and so is the rounding of its argument."""
    x = np.random.default_rng(0).uniform(1, 2, 50)
    found = ladder_of(lambda t: np.sin(1e10 * x * (1 + t)))
    assert np.isinf(found.noise).mean() > 0.9 and not found.usable[np.isinf(found.noise)].any()


def test_noise_is_never_less_than_half_a_rounding() -> None:
    assert np.all(noise_of(lambda t: np.array([3.0, 0.0]), np.array([3.0, 0.0]), EPS)[0] >= [1.5 * EPS, EPS])


@given(seeds, st.floats(-13, -5))
def test_the_bound_covers_noise(seed: int, decade: float) -> None:
    rng = np.random.default_rng(seed)
    assert holds(slope_of(lambda t: np.exp(t) + 10**decade * rng.standard_normal(8), seed), np.ones(8))


# ---- sums of components

@given(seeds)
def test_the_total_is_the_ladder_of_the_sum(seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal(30)
    one, kept = ladder_of(lambda t: np.sin(x + t), seed), x > 0
    if kept.any():
        whole = ladder_of(lambda t: np.sin(x[kept] + t).sum(keepdims=True), seed)
        assert np.allclose(one.total(kept).odd, whole.odd, atol=1e-7) and holds(extrapolate(one.total(kept)), np.cos(x[kept]).sum(keepdims=True))


def test_only_spoilt_components_are_left_out() -> None:
    at = np.full(100, 1e9)
    at[:7] = 3e-6                                       # kinks that leave no clean step
    ladder = ladder_of(lambda t: np.sin(t + np.arange(100)) + np.where(t > at, t - at, 0))
    for goal in (1e-8, 1e-30):                          # also one that nothing reaches
        kept, found = differences.clean(ladder, MOST_DROPPED, goal)
        assert not kept[:7].any() and kept[7:].sum() > 90 and holds(found, np.cos(np.arange(100))[kept].sum())
        assert differences.clean(ladder, 0.05, goal)[0].all()       # more than may be left out: all stay, and the bound says so


def test_noise_alone_leaves_nothing_out() -> None:
    rng = np.random.default_rng(0)
    ladder = ladder_of(lambda t: np.sin(t + np.arange(100)) + 1e-6 * rng.standard_normal(100))
    assert differences.clean(ladder, MOST_DROPPED, 1e-11)[0].sum() >= 98


# ---- cost

class Squares:
    """y = |x|² / 2n."""

    def forward(self, primals: Arrays) -> tuple[Array, ...]:
        x = primals["x"]
        return (np.array([np.vdot(x, x) / (2 * x.size)]),)

    def backward(self, *dys: Array) -> dict[str, Array | None]:
        raise AssertionError("differences need no backward pass")


def test_ten_million_entries_in_four_times_their_memory() -> None:
    x = np.random.default_rng(0).standard_normal(10_000_000)
    s = Subject("squares", {"x": x}, ("x",), Squares, Point())
    field, rng = Field(s), s.rng("test")
    tracemalloc.start()
    try:
        measured = field.measure(field.probe(rng), rng)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= 4 * x.nbytes and s.counter.forward <= 26
    assert abs(measured.value - float(np.vdot(measured.probe.dy[0] * x, measured.probe.v["x"])) / x.size) <= measured.bound
