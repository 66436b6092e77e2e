"""Timings: the same cases, whatever layer they are of; statistics that are what they say. How long anything takes is asserted nowhere."""
from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from user_files import HEAD, PERSONAL, RIGHT

import gradcheck
from gradcheck import bench, timing
from gradcheck.subjects import Case
from gradcheck.targets import find

KEEPS = '''
class Keeps(Layer):
    """y = x², a copy of x kept for the backward pass"""
    law = "n d -> n d"
    work = "n d + 2 n"

    def fwd(self, p, x):
        return x * x, Vars(X=x.copy())

    def bwd(self, p, r, dy):
        return 2 * r.X * dy, Vars()
'''
BREAKS = RIGHT.replace("Right", "Breaks").replace("return 2", "raise KeyError('not today'); return 2")


# statistics ---------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("n", [5, 12, 101])
def test_the_interval_is_what_resampling_finds(n):
    rng = np.random.default_rng(n)
    x = rng.exponential(size=n)
    medians = np.median(rng.choice(x, (20_000, n)), axis=1)
    e = timing.estimate(x)
    assert e.value == np.median(x) and e.low <= e.value <= e.high
    for end, share in ((e.low, 0.025), (e.high, 0.975)):
        rank = np.searchsorted(np.sort(x), end)
        assert np.sort(x)[max(rank - 1, 0)] <= np.quantile(medians, share) <= np.sort(x)[min(rank + 1, n - 1)]


def test_of_many_rounds_quantiles_are_kept_and_no_outlier_is_lost():
    times = np.r_[np.full(5000, 1e-3), 9.0]
    s = timing.spread(times)
    assert len(s.quantiles_s) == timing.QUANTILES and s.quantiles_s[-1] == 9.0 and s.rounds == 5001
    assert (s.median_s, s.low_s, s.high_s) == (1e-3, 1e-3, 1e-3)
    assert timing.spread([3.0, 1.0, 2.0]).quantiles_s == (1.0, 2.0, 3.0)


def test_an_exponent_is_found_through_what_slows_a_whole_round():
    sizes = [4, 8, 16, 32]
    rounds = np.random.default_rng(0).uniform(1, 5, (50, 1)) * np.array(sizes) ** 1.7
    e = timing.exponent(sizes, rounds)
    np.testing.assert_allclose([e.value, e.low, e.high], 1.7)


def test_calls_are_timed_in_turns():
    order = []
    times = timing.in_turns({k: lambda k=k: order.append(k) or sum(range(100_000)) for k in "ab"}, 0.0)
    assert {k: len(t) for k, t in times.items()} == {"a": timing.ROUNDS[0], "b": timing.ROUNDS[0]}
    first = order.index("b")
    assert all({*order[i:i + 2]} == {"a", "b"} or i < 2 * first + 2 for i in range(len(order) - 1) if (i - len(order)) % 2 == 0 and i > len(order) - 8)


def test_the_machine_has_peaks():
    p = timing.peak("float32")
    assert p.dtype == "float32" and p.gflops > 0 and p.gbs > 0


# layers -------------------------------------------------------------------------------------------------------------------------

@pytest.fixture
def cases(folder):
    def of(*texts, head=HEAD, name="mine.py"):
        (folder / name).write_text(head + "".join(texts))
        return find(name).cases
    return of


def test_three_sizes_in_both_precisions(cases):
    (case,) = cases(RIGHT)
    found = {(size, p.dtype): p.sizes for size, p in bench.points(case)}
    assert {k for k, _ in found} == {*bench.SIZES} and {d for _, d in found} == {*bench.DTYPES}
    assert found["medium", "float64"] == {"n": 64, "d": 64} and found["large", "float32"] == {"n": 256, "d": 256}
    bounded = replace(case, sizes={"d": (2, 5)})
    assert [p.sizes for size, p in bench.points(bounded, ["float64"]) if size == "large"] == [{"n": 256, "d": 5}]


def test_an_option_that_is_an_axis_grows_with_the_others():
    (case,) = find("layers:Dense").cases
    assert bench.sized(case, 2**12).options["n_out"] == 64
    assert bench.sized(case, 2**12, stretch={"n": 4}).sizes == {"n": 256, "n_in": 64}


def test_work_is_what_the_law_declares(cases):
    (case,) = cases(KEEPS)
    point = bench.sized(case, 2**12)
    assert bench._work(case, point) == bench.BACKWARD * (64 * 64 + 2 * 64)
    assert bench._work(cases(RIGHT, name="other.py")[0], point) is None
    for name in ("Dense", "Conv2D", "LSTM", "DotProductAttention"):
        (layer,) = find(f"layers:{name}").cases
        small, large = (bench.sized(layer, n) for n in (2**8, 2**12))
        assert 0 < bench._work(layer, small) < bench._work(layer, large)


def test_memory_is_what_is_held_beyond_the_arguments(cases):
    (keeps,), size = cases(KEEPS), 256 * 256 * 8
    peak, residuals = bench.Pass.of(keeps, bench.sized(keeps, 2**16)).memory()
    assert size <= residuals < 1.1 * size and 3 * size <= peak < 5.1 * size            # x², its copy; then 2 x, 2 x dy


def test_a_layer_that_keeps_its_forwards_gets_a_tape_for_each(cases):
    (case,) = cases(head=PERSONAL)
    run = bench.Pass.of(case, bench.sized(case, 2**8))
    assert not run.reusable
    for side in bench.SIDES:
        assert run.call(side)() is not None


@pytest.mark.parametrize("timed", bench.items(find("layers:Softmax").cases, ["float64"])[:2], ids=str)
def test_items_for_a_test_file_of_ones_own(timed, benchmark):
    timed(benchmark)


def test_the_command_times_what_it_can_and_says_what_it_cannot(folder, cases):
    cases(KEEPS, BREAKS)
    done = subprocess.run([sys.executable, "-m", "gradcheck", "bench", "mine.py", "--dtype", "float64", "-o", "b.json", "-o", "b.html"], cwd=folder,
                          env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = gradcheck.load(folder / "b.json")
    assert [t.id for t in found.bench.timings] == [f"Keeps/float64/{size}" for size in bench.SIZES]
    for t in found.bench.timings:
        assert t.forward.low_s <= t.forward.median_s <= t.forward.high_s and len(t.forward.quantiles_s) <= timing.QUANTILES
        assert t.ratio == pytest.approx(t.backward.median_s / t.forward.median_s) and t.relative_low <= t.relative <= t.relative_high
        assert t.gflops > 0 and t.gbs > 0 and t.roofline > 0 and t.residual_bytes > 0
    assert {(s.axis, s.side): s.declared for s in found.bench.scalings} == {(a, side): pytest.approx(1.0, abs=0.05) for a in "nd" for side in bench.SIDES}
    assert {n.what.partition("/")[0] for n in found.not_checked} == {"Breaks"} and "could not be timed" in done.stdout
    assert found.bench.reference == bench.REFERENCE and [p.dtype for p in found.bench.peaks] == ["float64"]


def test_without_pytest_benchmark_it_says_what_is_missing(monkeypatch, cases):
    monkeypatch.setitem(sys.modules, "pytest_benchmark", None)
    with pytest.raises(bench.Unavailable, match="pip install"):
        bench.bench(cases(RIGHT))


def test_no_layer_is_timed_that_was_given_as_a_point_alone():
    case = Case("arrays", "", gradcheck.case(gradcheck.subject(lambda p: 2 * p["x"], lambda p, dy: {"x": 2 * dy}, x=np.ones(3))).family)
    assert [size for size, _ in bench.points(case, ["float64"])] == ["small"]
