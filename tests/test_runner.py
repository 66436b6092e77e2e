"""The loop: the same seed gives the same report, whatever else is run, in whatever process; nothing outside is touched."""
from __future__ import annotations

import random
import shlex
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import msgspec
import numpy as np
import pytest
from user_files import HEAD, PERSONAL, RAISES, RIGHT, WRONG

import gradcheck
from gradcheck.evidence import Point, Verdict
from gradcheck.report.codec import timeless
from gradcheck.runner import LOW_PRECISION, PROFILES, run
from gradcheck.strategies import points
from gradcheck.targets import find

FEW = ("adjoint", "linear", "shapes", "repeat")      # enough to see whether data changes; each judges the same points
NOISY = """
import random, warnings


class Noisy(Layer):
    law = "n d -> n d"

    def fwd(self, p, x):
        np.random.seed(3), random.seed(3), np.random.rand(5), warnings.warn("look here")
        warnings.simplefilter("ignore")
        return x * x, Vars(X=x)

    def bwd(self, p, r, dy):
        np.random.rand(5)
        return 2 * r.X * dy, Vars()
"""
DIES = """
import os


class Dies(Layer):
    law = "n d -> n d"

    def fwd(self, p, x):
        os._exit(7)

    def bwd(self, p, r, dy):
        return dy, Vars()
"""


@pytest.fixture
def cases(folder):
    """The cases of a file with these texts."""
    def of(*texts, head=HEAD):
        (folder / "mine.py").write_text(head + "".join(texts))
        return find("mine.py").cases
    return of


def quick(given, **keywords):
    return run(given, profile="quick", **{"checks": FEW, **keywords})


def by_name(report):
    return {c.name: timeless(c) for c in report.cases}


def test_the_same_seed_gives_the_same_report(cases):
    given = cases(WRONG, RIGHT, RAISES)
    first, second = quick(given), quick(given)
    assert timeless(first) == timeless(second)
    assert by_name(first) != by_name(quick(given, seed=1))


def test_order_and_selection_of_cases_do_not_change_the_data(cases):
    given = cases(WRONG, RIGHT)
    whole = by_name(quick(given))
    assert whole == by_name(quick(given[::-1]))
    for case in given:
        assert by_name(quick([case])) == {case.name: whole[case.name]}


def test_selection_of_checks_does_not_change_the_data(cases):
    (wrong,) = cases(WRONG)
    whole = {(r.check, r.primal): timeless(r) for r in quick([wrong]).cases[0].rows}
    for check in FEW:
        for row in quick([wrong], checks=[check]).cases[0].rows:
            assert timeless(row) == whole[row.check, row.primal]


def test_worker_processes_find_what_a_serial_run_finds(cases):
    given = cases(WRONG, RIGHT, RAISES)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        assert timeless(quick(given, executor=executor).cases) == timeless(quick(given).cases)


def test_a_worker_that_dies_is_one_reported_error(cases):
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        (dead,) = quick(cases(DIES), executor=executor).cases
    assert dead.name == "Dies" and dead.verdict is Verdict.ERROR and dead.error.startswith("the worker crashed:")


def test_a_failure_is_repeated_by_its_line(cases):
    (wrong,) = cases(WRONG)
    (row,) = [r for r in quick([wrong]).cases[0].rows if r.failure and r.check == "adjoint"]
    words = shlex.split(row.failure.repeat)
    assert words[:4] == ["gradcheck", "run", "mine.py:Wrong", "--select"]
    at = msgspec.json.decode(words[words.index("--at") + 1], type=Point)
    assert at == row.failure.point
    (again,) = [r for r in run(find(words[2]).cases, checks=[words[4]], at=at).cases[0].rows if r.failure]
    assert timeless(again.failure.evidence) == timeless(row.failure.evidence)


def test_a_failing_call_is_repeated_by_its_line():
    def half(p, dy):
        return {"x": dy @ p["W"].T, "W": p["x"].T @ dy / 2}

    product = gradcheck.subject(lambda p: p["x"] @ p["W"], half, x="n d", W="d k")
    result = gradcheck.check(product, profile="quick", checks=["adjoint"])
    (failure,) = [row.failure for case in result.report().cases for row in case.rows if row.failure]
    at = failure.repeat.partition(", at=")[2].strip("')")
    again = gradcheck.check(product, profile="quick", checks=["adjoint"], at=at)
    assert not result and not again
    assert failure.evidence.worst in [e.worst for e in again.evidence]


def test_a_failure_is_shown_on_the_smallest_shape_and_simplest_options(cases):
    (wrong,) = cases(WRONG)
    (failure,) = [r.failure for r in run([wrong], checks=["adjoint"]).cases[0].rows if r.failure]
    assert failure.point.sizes == {"n": 2, "d": 1} and failure.point.options == {"k": 1}     # n = 1 is right: its mean is its sum


@pytest.mark.parametrize("personal", [False, True])
def test_global_state_is_left_as_it_was(cases, personal):
    given = cases(head=PERSONAL) if personal else cases(NOISY)
    np.random.seed(11), random.seed(12)
    before = (random.getstate(), np.random.get_state(legacy=False)["state"], [*warnings.filters], np.geterr(), np.get_printoptions())
    report = quick(given, checks=None)
    after = (random.getstate(), np.random.get_state(legacy=False)["state"], [*warnings.filters], np.geterr(), np.get_printoptions())
    np.testing.assert_equal(after, before)
    assert report.verdict is Verdict.PASS


def test_an_expected_failure_is_strict(cases):
    given = {c.name: c for c in cases(WRONG, RIGHT)}
    known = {name: replace(case, expect={"adjoint": "dW is a mean"}) for name, case in given.items()}
    rows = {c.name: {(r.check, r.primal): (str(r.verdict), r.reason) for r in c.rows} for c in quick(known.values(), checks=["adjoint"]).cases}
    assert rows["Wrong"]["adjoint", "W"] == ("xfail", "dW is a mean") and rows["Wrong"]["adjoint", "x"][0] == "pass"
    assert rows["Right"]["adjoint", "x"] == ("xpass", "passed, and was expected to fail: dW is a mean")
    assert [c.verdict.bad for c in quick(known.values(), checks=["adjoint"]).cases] == [False, True]



def test_every_value_of_every_option_and_mode_occurs(cases):
    (wrong,) = cases(WRONG)
    found = points(wrong, PROFILES["default"].points["float64"], seed=0)
    assert {p.options["k"] for p in found} == {1, 2, 3} and {p.train for p in found} == {True, False}
    assert len({repr(p) for p in found}) == len(found)
    assert [p.sizes for p in found] != [p.sizes for p in points(wrong, len(found), seed=1)]


def test_a_profile_judges_each_dtype_at_its_number_of_points(cases):
    (right,) = cases(RIGHT)
    (case,) = run([right], checks=["shapes"]).cases
    assert case.points == sum(PROFILES["default"].points.values())
    assert set(PROFILES["default"].points) & set(LOW_PRECISION)


def test_progress_is_told_before_and_after(cases):
    told = []
    quick(cases(WRONG, RIGHT), checks=["shapes"], progress=lambda *step: told.append(step))
    units = [done for _, done, _ in told]
    assert units == sorted(units) and {what for what, *_ in told} == {"Wrong", "Right"}
    assert units[0] == 0 and told[-1][1:] == (len(told) // 2,) * 2               # each unit is told when it is known and when it is done


@pytest.mark.parametrize(("keywords", "says"), [
    ({"checks": ["adjont"]}, "there is no check 'adjont'"),
    ({"ignore": ["adjont"]}, "there is no check 'adjont'"),
    ({"profile": "slow"}, "there is no profile 'slow'; the profiles are quick, default, thorough"),
])
def test_what_is_unknown_is_named(keywords, says):
    with pytest.raises(ValueError, match=says):
        run([], **keywords)
