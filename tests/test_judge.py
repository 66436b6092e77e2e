"""Verdicts and resolutions are exact: an error just above what is stated fails, one just below what is allowed passes."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gradcheck.checks import CHECKS
from gradcheck.evidence import Point, Verdict
from gradcheck.inner import direction, dot, scale
from gradcheck.judge import SMALLEST, Reading, could_fail, judge
from gradcheck.probes import MARGIN, demand_of
from gradcheck.subjects import Array, Arrays, Subject

seeds = st.integers(0, 2**32 - 1)
LARGEST = 1.5             # magnitude of a probe's entry, in units of its primal's scale


def reading(seed: int, n: int = 20, bound: float = 1e-10, share: float = 0.5) -> Reading:
    """A right claim whose residual is `share` of what a right claim's may be; the bound in units of Σ |d v|."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(n) * 10 ** rng.uniform(-3, 3)
    d, v = rng.standard_normal(n), direction(rng, x)
    bound *= float(np.sum(np.abs(d * v)))               # a bound is never finer than the rounding of the inner product
    return Reading(dot(d, v) + share * MARGIN * bound * rng.choice([-1, 1]), bound, v, d, scale(x), float(np.max(np.abs(d) * scale(x))))


def wrong_by(r: Reading, scaled: float, at: int) -> Reading:
    """One entry off by `scaled`, in units of how far its primal's entry may move; in the direction that adds to the residual."""
    d = r.d.copy()
    d[at] += scaled / r.steps[at] * np.sign(r.v[at]) * np.sign(r.claim - r.value or 1)
    return replace(r, d=d)


@given(seeds, st.floats(0, 0.99))
def test_a_right_claim_passes(seed: int, share: float) -> None:
    found = judge([reading(seed + i, share=share) for i in range(3)])
    assert found.verdict is Verdict.PASS and found.worst.excess <= 1


@given(seeds, st.integers(0, 19), st.floats(0, 0.9))
def test_an_entry_error_above_the_resolution_fails_wherever_it_is(seed: int, at: int, share: float) -> None:
    r = reading(seed, share=share)
    resolution = judge([r]).resolution.entry
    for sign in (-1, 1):
        assert judge([wrong_by(r, sign * 1.001 * resolution * r.largest, at)]).verdict is Verdict.FAIL


@given(seeds, st.integers(0, 19))
def test_an_entry_error_that_a_right_claim_may_have_passes(seed: int, at: int) -> None:
    r = reading(seed, share=0.0)
    assert judge([wrong_by(r, 0.99 * r.limit / LARGEST, at)]).verdict is Verdict.PASS


@given(seeds, st.floats(0, 0.9), st.sampled_from([-1, 1]))
def test_a_factor_above_the_resolution_fails_and_one_below_the_limit_passes(seed: int, share: float, sign: int) -> None:
    r = reading(seed, share=share)
    assume(not r.vacuous)
    factor = judge([r]).resolution.factor
    assert judge([replace(r, d=r.d * (1 + sign * 1.001 * factor))]).verdict is Verdict.FAIL
    within = 0.99 * (r.limit - r.residual) / abs(r.claim)
    assert judge([replace(r, d=r.d * (1 + sign * within))]).verdict is Verdict.PASS


@given(seeds)
def test_the_resolution_is_the_formula(seed: int) -> None:
    rs = [reading(seed + i, bound=10.0**-i) for i in range(8, 12)]
    found = judge(rs).resolution
    assert found.entry == pytest.approx(min((MARGIN * r.bound + r.residual) / (SMALLEST * np.max(np.abs(r.d) * r.steps)) for r in rs))
    assert found.factor == pytest.approx(min((MARGIN * r.bound + r.residual) / abs(dot(r.d, r.v)) for r in rs))


@given(seeds)
def test_one_probe_that_exceeds_its_limit_is_enough(seed: int) -> None:
    good, bad = reading(seed), reading(seed + 1, share=1.01)
    assert judge([good, bad, good]).verdict is Verdict.FAIL and judge([good, bad, good]).worst is bad


@given(seeds, st.floats(1e-13, 1e-3))
def test_every_pass_could_have_failed(seed: int, bound: float) -> None:
    rs = [reading(seed + i, bound=bound, share=0.3) for i in range(3)]
    assert judge(rs).verdict is Verdict.PASS and could_fail(rs, np.random.default_rng(seed))


def test_what_is_not_finite_fails() -> None:
    r = reading(0)
    assert judge([replace(r, d=np.where(np.arange(20) == 3, np.nan, r.d))]).verdict is Verdict.FAIL


def test_a_zero_gradient_is_vacuous_and_judged_against_the_case() -> None:
    x, v = np.ones(4), np.array([0.7, -1.2, 0.9, 1.1])
    r = Reading(1e-13, 1e-12, v, np.zeros(4), scale(x), case=5.0)
    found = judge([r])
    assert found.verdict is Verdict.PASS and found.vacuous and found.resolution.entry == pytest.approx((1e-11 + 1e-13) / 0.5 / 5.0)
    assert found.resolution.factor == np.inf and could_fail([r], np.random.default_rng(0))


def test_the_demand_follows_from_the_precision() -> None:
    assert [demand_of(float(np.finfo(t).eps)) for t in (np.float64, np.float32, np.float16)] == pytest.approx([1e-7, 1e-3, 1e-1])


class Dense:
    """y = tanh(x W); its cotangents are multiplied by 1 + `error`."""
    error = 0.0

    def forward(self, primals: Arrays) -> tuple[Array, ...]:
        self.primals, self.y = primals, np.tanh(primals["x"] @ primals["W"])
        return (self.y,)

    def backward(self, *dys: Array) -> dict[str, Array | None]:
        dz = dys[0] * (1 - self.y**2) * (1 + self.error)
        return {"x": dz @ self.primals["W"].T, "W": self.primals["x"].T @ dz}


class Off(Dense):
    error = 1e-9


def dense(n: int, tape: type[Dense] = Dense) -> Subject:
    rng = np.random.default_rng(0)
    return Subject("dense", {"x": rng.standard_normal((2, n)), "W": rng.standard_normal((n, n)) / n**0.5}, ("x", "W"), tape, Point())


def test_a_million_parameters_cost_few_calls() -> None:
    s = dense(1000)
    found = list(CHECKS["adjoint"].run(s))
    assert all(e.verdict is Verdict.PASS and e.resolution is not None and e.resolution.entry < 1e-7 for e in found)
    probes = max(e.probes for e in found)
    assert s.counter.forward <= 24 * probes and s.counter.backward <= probes


@pytest.mark.parametrize("n", [2, 30, 300])
def test_a_factor_of_a_billionth_is_seen(n: int) -> None:
    assert all(e.verdict is Verdict.FAIL for e in CHECKS["adjoint"].run(dense(n, Off)))
