"""The points of a plan: what is generated for layers with a law, and for other people's from a shape given as text."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradcheck
from gradcheck.checks import CHECKS
from gradcheck.evidence import Point
from gradcheck.strategies import points, smallest
from gradcheck.subjects import Case
from gradcheck.targets import find

CASES = {c.name: c for c in find("layers").cases}


class Windows:
    """The sum over windows of `size` entries, every `stride`-th."""

    def __init__(self, size: int = 1, stride: int = 1) -> None:
        self.size, self.stride = size, stride

    def forward(self, x: Any) -> Any:
        self.shape = x.shape
        if x.shape[1] < self.size:
            raise ValueError(f"a window of {self.size} does not fit {x.shape[1]} entries")
        return np.lib.stride_tricks.sliding_window_view(x, self.size, 1)[:, ::self.stride].sum(-1)

    def backward(self, dy: Any) -> Any:
        dx = np.zeros(self.shape, dy.dtype)
        for k in range(self.size):
            dx[:, k:k + (dy.shape[1] - 1) * self.stride + 1:self.stride] += dy
        return dx


def windows() -> Case:
    return gradcheck.case(Windows, "n t", options={"size": [1, 2, 3], "stride": [1, 2, 3]})


def plan(case: Case, count: int = 20) -> list[Point]:
    return points(case, count, 0)


@pytest.mark.parametrize("case", [windows(), CASES["Dense"], CASES["LayerNorm1D"]], ids=lambda c: c.name)
def test_sizes_are_one_prime_unequal_and_beside_powers_of_two(case: Case) -> None:
    found = plan(case)
    sizes = {n for p in found for n in p.sizes.values()}
    assert 1 in sizes and sizes & {3, 5, 7, 13} and {n for n in sizes if n > 16}
    assert sizes & {2 ** k - 1 for k in range(5, 8)} or sizes & {2 ** k + 1 for k in range(5, 8)}
    assert any(len(set(p.sizes.values())) == len(p.sizes) for p in found)
    assert max(sizes) <= 2 ** 7 + 1


def test_a_thorough_plan_goes_beside_larger_blocks() -> None:
    sizes = {n for p in plan(windows(), 200) for n in p.sizes.values()}
    assert {2 ** 10 - 1, 2 ** 10, 2 ** 10 + 1} & sizes and {2 ** 9 + 1} & sizes
    assert {2 ** k + b for k in (5, 6, 7) for b in (-1, 0, 1)} & sizes


def test_a_quick_plan_stays_small() -> None:
    assert max(n for p in plan(windows(), 3) for n in p.sizes.values()) <= 17


def test_strides_leave_remainders_and_divide_too() -> None:
    rest = {(p.sizes["t"] - p.options["size"]) % p.options["stride"] for p in plan(windows()) if p.options["stride"] > 1}
    assert rest >= {0, 1, 2}


def test_every_value_of_every_option_occurs_as_often_as_any_other() -> None:
    for case in (windows(), CASES["Dense"], CASES["Pool2D"]):
        for name, domain in case.family.domains.items():
            count = [sum(p.options[name] == v for p in plan(case)) for v in domain]
            assert min(count) >= 1 and max(count) - min(count) <= 1 + len(domain), (case.name, name, count)


def test_both_modes_occur_where_there_are_two() -> None:
    assert {p.train for p in plan(CASES["BatchNorm1D"])} == {True, False}


def test_every_axis_is_the_largest_in_its_turn_and_a_multiple_of_blocks_too() -> None:
    found = plan(gradcheck.case(Windows, "n t"))
    for axis in ("n", "t"):
        assert {2 ** 7, 2 ** 7 + 1} <= {p.sizes[axis] for p in found}


def test_any_number_of_axes_may_make_rank_four() -> None:
    from wild import pair
    any_ = pair(lambda p: p["x"], lambda p, dy: {"x": dy}, x="* d")
    assert {len(p.sizes["*"]) for p in plan(any_)} >= {0, 1, 2, 3}


def test_most_pairs_of_options_meet() -> None:
    class Four(Windows):
        def __init__(self, a: int = 0, b: int = 0, ready: bool = False) -> None:
            super().__init__()

    met = {(p.options["a"], p.options["b"]) for p in plan(gradcheck.case(Four, "n t", options={"a": [0, 1, 2, 3], "b": [0, 1, 2, 3]}))}
    assert len(met) >= 14


def test_an_option_that_is_true_or_false_states_no_axis() -> None:
    class Flagged(Windows):
        def __init__(self, t: bool = False) -> None:
            super().__init__()

    assert len(plan(gradcheck.case(Flagged, "n t", options={"t": [False, True]}))) == 20


def test_a_plan_depends_on_nothing_but_its_case_and_seed() -> None:
    assert plan(windows()) == plan(windows()) != points(windows(), 20, 1)


def test_declared_sizes_are_kept_to() -> None:
    case = gradcheck.case(Windows, "n t", sizes={"n": (2, 4), "t": (5, 40)})
    assert {p.sizes["n"] for p in plan(case)} <= {2, 3, 4} and all(5 <= p.sizes["t"] <= 40 for p in plan(case))


@pytest.mark.parametrize("text", ["n d", "n d > 0", "n d in [0,1)"])
def test_every_other_number_has_all_its_digits(text: str) -> None:
    """A cast of what is read to float32, or to float16, changes nothing in short ones."""
    s = gradcheck.subject(lambda p: 2 * p["x"], lambda p, dy: {"x": 2 * dy}, x=text)
    x = s.at(sizes={"n": 4, "d": 5}).primals["x"].ravel()
    assert (x[::2].astype(np.float32) == x[::2]).all() and (x[1::2].astype(np.float32) != x[1::2]).all()


def test_what_is_kept_in_a_narrower_type_is_seen() -> None:
    s = gradcheck.subject(lambda p: p["x"] @ p["W"], lambda p, dy: {"x": dy @ p["W"].astype("float32").T.astype(float), "W": p["x"].T @ dy}, x="n d", W="d k")
    assert {e.primal: str(e.verdict) for e in CHECKS["adjoint"].run(s)} == {"x": "fail", "W": "pass"}


def test_an_empty_batch_is_asked_for_where_it_is_legal() -> None:
    seen: list[int] = []

    class Watching(Windows):
        def forward(self, x: Any) -> Any:
            seen.append(len(x))
            return super().forward(x)
    assert gradcheck.check(Watching, "n t", profile="quick")
    assert 0 in seen and max(seen) > 100


def test_the_smallest_point_is_sought_among_legal_ones_only() -> None:
    """Options may change the law: a model of a dense layer has no rows."""
    case = CASES["Model"]
    start = next(p for p in plan(case, 40) if "rows" in p.sizes)
    assert smallest(case, start, lambda p: True, runs=30).sizes.keys() <= start.sizes.keys()


def test_where_nothing_fits_each_shape_is_asked_for_once():
    class Refuses:
        def forward(self, x):
            asked.append(x.shape)
            raise ValueError(f"no {x.shape}")

        def backward(self, dy):
            return dy
    asked: list[tuple[int, ...]] = []
    case = gradcheck.case(Refuses, "n 3")
    asked.clear()
    assert points(case, 3, 0) == [] and len(asked) == len({*asked})
