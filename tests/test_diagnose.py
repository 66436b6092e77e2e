"""A failure says which entries, what kind of mistake, and what would repeat it: on small cases whole, on large ones by search."""
from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from math import log2
from pathlib import Path

import confusion
import failures
import numpy as np
import pytest

import gradcheck
from gradcheck import messages
from gradcheck.checks import CHECKS
from gradcheck.checks.adjoint import Trial
from gradcheck.diagnose import HYPOTHESES, UNRECOGNISED, pictures, regions
from gradcheck.evidence import Evidence, Point, Verdict
from gradcheck.messages import COLUMNS, LINES
from gradcheck.runner import run
from gradcheck.strategies import points, smallest
from gradcheck.subjects import Counter, Subject
from gradcheck.targets import find

ROOT = Path(__file__).parent.parent


# where, in words ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("at", "words"), [
    (np.s_[:, :], "all"), (np.s_[0, :], "rows=0"), (np.s_[-1:], "rows=-1"), (np.s_[-3:], "last 3 of 9 rows"), (np.s_[:4], "first 4 of 9 rows"),
    (np.s_[::8], "rows=0 and rows=-1 (the border)"), (np.s_[:, 3], "ch=3"), (np.s_[1:], "all rows but the first"),
    (np.s_[1::2, :2], "every 2nd of the 9 rows from 1 on, first 2 of 7 ch"),
    (np.s_[2:5], "rows=2…4 of 9"), (np.s_[4, 3], "rows=4, ch=3"), ([0, 4, 5], "rows=0, 4, 5"),
])
def test_a_set_of_entries_in_words_of_its_axes(at, words):
    chosen = np.zeros((9, 7), bool)
    chosen[at] = True
    assert regions.region(chosen, ("rows", "ch")) == words


def test_borders_diagonals_and_heaps():
    border = np.ones((5, 6), bool)
    border[1:-1, 1:-1] = False
    assert regions.region(border, ("rows", "cols")) == "rows=0 and rows=-1 (the border) and cols=0 and cols=-1 (the border)"
    assert regions.region(np.eye(4, dtype=bool), ("a", "b")) == "on the diagonal of a and b"
    assert regions.region(np.tri(4, k=-1, dtype=bool), ("a", "b")) == "below the diagonal of a and b"
    heap = np.zeros((6, 6), bool)
    heap[[1, 2, 4], [5, 0, 2]] = True
    assert regions.region(heap, ("a", "b")) == "3 of 36 entries, within a=1, 2, 4, b=0, 2, 5"


def test_entries_that_are_zero_either_way_do_not_spoil_the_words():
    chosen, idle = np.ones((4, 4), bool), np.zeros((4, 4), bool)
    chosen[2, 1], idle[2, 1] = False, True
    assert regions.region(chosen, ("a", "b"), idle) == "all"


# what kind -----------------------------------------------------------------------------------------------------------------------

def test_the_diagnosis_is_right_on_a_layer():
    """The whole table is `python -m tests.confusion`."""
    found = confusion.summary(list(confusion.table([c for c in find("layers").cases if c.name == "Dense"], wild=False)))
    assert found["with a pattern"] > 3 and found["to be looked at"] == [] and found["named all the same"] == 0


@pytest.mark.parametrize("name", confusion.WILD_KINDS)
def test_wild_defects_are_called_by_their_names(name):
    found = list(confusion.of_wild(name))
    assert found and all(f.said == confusion.WILD_KINDS[name] or f.truth != confusion.WILD_KINDS[name] for f in found), found
    assert any(f.said == confusion.WILD_KINDS[name] for f in found) and all(f.array and f.entry for f in found)


def test_what_fits_nothing_is_called_so():
    s = gradcheck.subject(lambda p: np.sin(p["x"]), lambda p, dy: {"x": dy * np.cos(p["x"]) + 0.1 * dy ** 2 * p["x"] ** 3}, x="n d")
    assert "not recognised: none of" in failing(s, "x").diagnosis


def test_what_is_written_over_is_told_from_what_is_added():
    """Repeated indices, and overlapping windows along one axis and along two."""
    table, at = np.arange(15.0).reshape(5, 3) / 7, np.array([0, 3, 1, 3, 0])

    def last(p, dy):
        d = np.zeros_like(p["E"])
        d[at] = dy
        return {"E": d}
    assert "every entry of dE has the share of the last axis 0 alone" in failing(
        gradcheck.subject(lambda p: p["E"][at], last, E=table), "E").diagnosis

    def gathered(p, dy):
        d = np.zeros_like(p["E"])
        d[p["i"]] = dy
        return {"E": d}
    case = gradcheck.case(gradcheck.subject(lambda p: p["E"][p["i"]], gathered, E=table, i="n int[0,5)"), name="gathered")
    told = [text for p in points(case, 6, 0) for text in _said(case.subject(p), "E")]
    assert told and all("every entry of dE has the share of the last n alone" in text for text in told)

    def windows(x):
        return np.lib.stride_tricks.sliding_window_view(x, (2, 2)).sum((2, 3))

    def once(p, dy):
        d = np.zeros_like(p["x"])
        for i, j in np.ndindex(dy.shape):
            d[i:i + 2, j:j + 2] = dy[i, j]
        return {"x": d}
    s = gradcheck.subject(lambda p: windows(p["x"]), once, x="rows cols")
    assert "every entry of dx has the share of the last axis 0 and axis 1 alone" in failing(s, "x").diagnosis


@pytest.mark.parametrize(("factor", "said"), [
    (3**0.5, "1.7321 = √3"), (1 / 3, "0.33333 = 1/3"), (8**-0.5, "0.35355 = 1/√8"), (0.5, "0.5;"), (1.2345678, "1.2346;")])
def test_factors_that_are_roots_or_inverses_are_called_so(factor, said):
    s = gradcheck.subject(lambda p: np.sin(p["x"]), lambda p, dy: {"x": factor * dy * np.cos(p["x"])}, x="n d")
    assert f"dx is the true value × {said}" in failing(s, "x").diagnosis + ";"


@pytest.mark.parametrize(("scale", "said"), [(0.2, "dx is the upstream itself"), (-1, "dx has the wrong sign")])
def test_a_local_derivative_that_is_missing_is_no_factor(scale, said):
    assert said in failing(gradcheck.subject(lambda p: scale * p["x"], lambda p, dy: {"x": dy}, x="n d"), "x").diagnosis


def test_a_factor_beside_the_upstream_that_is_forgotten():
    """The gain of a norm, which everything before it must see."""
    def norm(p):
        c = p["x"] - p["x"].mean(-1, keepdims=True)
        return c * p["g"]

    def pull(p, dy):
        c = p["x"] - p["x"].mean(-1, keepdims=True)
        return {"x": dy - dy.mean(-1, keepdims=True), "g": (dy * c).sum(0)}
    assert "g is missing beside the upstream" in failing(gradcheck.subject(norm, pull, x="n d", g="d"), "x").diagnosis


@pytest.mark.parametrize(("wrong", "said"), [
    (lambda d: np.clip(d, -0.3, 0.3), "dx is the true value within ±0.3"), (lambda d: np.where(abs(d) > 0.3, 0.1, d), "not recognised")])
def test_a_clip_is_named_with_its_limit(wrong, said):
    assert said in failing(gradcheck.subject(lambda p: np.sin(p["x"]), lambda p, dy: {"x": wrong(dy * np.cos(p["x"]))}, x="n d"), "x").diagnosis


SQUARE, KERNEL = np.random.default_rng(0).standard_normal((3, 3)), np.random.default_rng(1).standard_normal((3, 2, 4))


def _norm(x, axis):
    return (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + 1e-5)


def _valid(p):
    return sum(p["x"][:, i:i + p["x"].shape[1] - 2] @ w for i, w in enumerate(p["W"]))


def _unflipped(p, dy):
    dz, d = dy * (1 - np.tanh(_valid(p)) ** 2), np.zeros_like(p["x"])
    for i, w in enumerate(p["W"][::-1]):
        d[:, i:i + dy.shape[1]] += dz @ w.T
    return d


MISTAKES = {                                               # forward, the wrong dx, the shapes, what is to be said
    "a square W": (lambda p: np.tanh(p["x"] @ SQUARE), lambda p, dy: dy * (1 - np.tanh(p["x"] @ SQUARE) ** 2) @ SQUARE,
                   {"x": "n 3"}, "not its transpose: along axis 1"),
    "a running sum": (lambda p: np.cumsum(p["x"], 1), lambda p, dy: np.cumsum(dy, 1), {"x": "n d"}, "not its transpose: along"),
    "a kernel": (lambda p: np.tanh(_valid(p)), _unflipped, {"x": KERNEL.reshape(2, 6, 2), "W": KERNEL}, "right with W back to front along axis 0"),
    "statistics of a batch": (lambda p: _norm(p["x"], (0, 1)), lambda p, dy: dy / np.sqrt(p["x"].var((0, 1)) + 1e-5),
                              {"x": "n t d"}, "one multiple of x for all of n and t;"),
    "statistics of a row": (lambda p: _norm(p["x"], 1), lambda p, dy: dy / np.sqrt(p["x"].var(1, keepdims=True) + 1e-5),
                            {"x": "n d"}, "one multiple of x for all of d;"),
    "a sample's variance": (lambda p: p["x"].var(0), lambda p, dy: 2 * dy * (p["x"] - p["x"].mean(0)) / max(1, len(p["x"]) - 1), {"x": "n d"}, "× n/(n − 1)"),
    "a mean over all": (lambda p: (p["x"] ** 2).sum(), lambda p, dy: 2 * dy * p["x"] / p["x"].size, {"x": "n t d"}, "× 1/(n · t · d)"),
    "any rank": (lambda p: np.sin(p["x"]), lambda p, dy: dy * np.cos(p["x"]) * p["x"].shape[1], {"x": "n * d"}, "× axis 1;"),
    "a millionth": (lambda p: np.sin(p["x"]), lambda p, dy: dy * np.cos(p["x"]) * (1 + 1e-6), {"x": "n d"}, "× (1 + 1e-06)"),
    "far less": (lambda p: np.sin(p["x"]), lambda p, dy: dy * np.cos(p["x"]) / 300, {"x": "n d"}, "× 0.0033333 = 1/300"),
    "two places": (lambda p: np.sin(p["x"]), lambda p, dy: np.roll(dy * np.cos(p["x"]), 2, 1), {"x": "n 5"}, "shifted by +2 along axis 1;"),
    "a mask of its own": (lambda p: p["x"].max(1), lambda p, dy: dy[:, None] * (p["x"] > 0), {"x": "n d"}, "not recognised"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_common_mistakes_are_called_what_they_are(name):
    f, wrong, shapes, said = MISTAKES[name]
    case = gradcheck.case(gradcheck.subject(f, lambda p, dy: {"x": wrong(p, dy)}, **shapes), name=name)
    places = (case.subject(p) for p in sorted(points(case, 12, 0), key=lambda p: sum(map(np.prod, p.sizes.values()))))
    assert said in next(text for s in places for text in _said(s, "x")) + ";"


def _said(s, k):
    yield from (Trial(s).located(e).diagnosis for e in CHECKS["adjoint"].run(s) if e.primal == k and e.verdict is Verdict.FAIL)


def test_one_number_that_is_wrong_is_not_wrong_alone():
    s = gradcheck.subject(lambda p: np.full(5000, p["s"].sum()), lambda p, dy: {"s": p["s"] + dy.sum()}, s=np.array([1.3]))
    assert failing(s, "s").diagnosis == "ds is wrong"


def test_of_several_arrays_the_one_that_tells_most_is_shown():
    """dW comes first, and is off in no known way."""
    def pull(p, dy):
        return {"W": p["x"].T @ dy + 0.1 * p["W"] ** 3, "x": -dy @ p["W"].T}
    case = gradcheck.case(gradcheck.subject(lambda p: p["x"] @ p["W"], pull, W="d k", x="n d"), name="two")
    text = messages.told(run([case], checks=["adjoint"], profile="quick").cases[0])
    assert text.startswith("FAIL  two: adjoint of x\n") and "dx has the wrong sign" in text and text.endswith("FAIL  two: also adjoint of W")


NARROWER = {"float32": lambda a: a.astype("f4").astype(float), "float16 or bfloat16": lambda a: a.astype("f2").astype(float),
            "not recognised": lambda a: a + 1e-7 * np.sin(3 * a), "is not recognised": lambda a: a + 1e-3 * np.sin(3 * a)}


@pytest.mark.parametrize("said", NARROWER)
def test_roundings_are_told_from_what_is_off_as_little(said):
    def pull(p, dy):
        dz = dy * (1 - np.tanh(p["x"] @ p["W"]) ** 2)
        return {"x": dz @ NARROWER[said](p["W"]).T, "W": p["x"].T @ dz}
    s = gradcheck.subject(lambda p: np.tanh(p["x"] @ p["W"]), pull, x="n d", W="d k")
    assert said in failing(s, "x").diagnosis


def test_a_border_cropped_at_one_side_is_a_shift():
    def crop(p, dy):
        d = np.zeros((len(dy), dy.shape[1] + 2))
        for i, w in enumerate((1.0, 2.0, -0.5)):
            d[:, i:i + dy.shape[1]] += w * dy
        return {"x": d[:, :dy.shape[1]]}
    f = lambda p: sum(w * np.pad(p["x"], ((0, 0), (1, 1)))[:, i:i + p["x"].shape[1]] for i, w in enumerate((1.0, 2.0, -0.5)))
    assert "shifted by +1 along d, with other values moved in" in failing(gradcheck.subject(f, crop, x="n d"), "x").diagnosis


def test_every_hypothesis_has_a_name_of_its_own_and_says_something():
    names = [h.name for h in HYPOTHESES]
    assert len(set(names)) == len(names) and UNRECOGNISED not in names
    assert all("{d}" in h.sentence for h in HYPOTHESES)


def failing(s: Subject, k: str) -> Evidence:
    """The located failure of a primal."""
    e = next(e for e in CHECKS["adjoint"].run(s) if e.primal == k)
    assert e.verdict is Verdict.FAIL
    return Trial(s).located(e)


# large arrays --------------------------------------------------------------------------------------------------------------------

SHAPE, LESS = (1000, 1000), (240, 400)


def large(wrong, shape=LESS) -> Subject:
    """y = Σ_rows w ∘ x with very many weights, whose cotangent `wrong` changes."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape)

    def pull(p, dy):
        dw = x * dy
        return {"w": wrong(dw) if wrong else dw}
    return replace(gradcheck.subject(lambda p: np.einsum("rc,rc->c", p["w"], x), pull, w=rng.standard_normal(shape)), counter=Counter())


def change(at, by):
    def wrong(d):
        d[at] = by(d[at])
        return d
    return wrong


def test_one_wrong_entry_in_a_million_is_found_with_few_calls():
    s = large(change((617, 42), lambda d: 3 * d + 1), SHAPE)
    look = Trial(s).looking("w")
    s.counter.forward = s.counter.backward = 0
    e = Trial(s).located(Evidence("adjoint", "w", Verdict.FAIL))
    assert e.worst[0].index == (617, 42) and "at w[617, 42] alone" in e.diagnosis
    assert s.counter.forward <= 24 * log2(look.d.size) + 120 <= 600 and s.counter.backward <= 6


@pytest.mark.parametrize(("at", "words"), [
    (np.s_[-3:], "last 3 of 240 axis 0"), (np.s_[:, 24], "axis 1=24"), (np.s_[0], "axis 0=0"), ((np.array([7, 180]), np.array([9, 390])), "at w["),
    (np.s_[100:200, 200:300], "axis 0=100…199 of 240, axis 1=200…299 of 400"),
])
def test_slices_blocks_and_several_entries_are_found(at, words):
    e, wrong = failing(large(change(at, lambda d: 0 * d)), "w"), np.zeros(LESS, bool)
    wrong[at] = True
    assert words in e.diagnosis and e.worst and all(wrong[x.index] for x in e.worst)


def test_a_factor_of_all_entries_of_a_large_array_is_recognised():
    assert "dw is the true value × 0.5" in failing(large(lambda d: 0.5 * d), "w").diagnosis


def test_an_entry_behind_a_kink_within_the_steps_is_found_from_nearer():
    """The gradient of the largest entry goes to the next largest as well, which is less than a step below."""
    x = np.random.default_rng(0).standard_normal((20, 16))
    x[7, [3, 11]] = x.max() + np.array([1, 1.01])
    s = gradcheck.subject(lambda p: p["x"].max(1), lambda p, dy: {"x": dy[:, None] * np.isclose(p["x"], p["x"].max(1, keepdims=True), atol=0.011)}, x=x)
    e = failing(s, "x")
    assert e.worst[0].index == (7, 3) and "at x[7, 3] alone" in e.diagnosis


def test_a_forward_that_had_to_wait_once_is_no_slow_one(monkeypatch):
    s = gradcheck.subject(lambda p: np.sin(p["x"]), lambda p, dy: {"x": 2 * dy * np.cos(p["x"])}, x="n d")
    waits = iter([100.0, 100.0, 1e-6] * 9)
    monkeypatch.setattr(pictures, "_seconds", lambda s: next(waits))
    assert "dx is the true value × 2" in failing(s, "x").diagnosis


def test_a_ratio_beside_1_says_how_far_from_it():
    said = [messages._ratio(r) for r in (0.5, 1 + 1e-6, 1 - 3e-5, -0.0, 1.0)]
    assert said == ["0.5", "1 + 1.0e-06", "1 − 3.0e-05", "0", "1"]


# shrinking -----------------------------------------------------------------------------------------------------------------------

def test_the_smallest_case_is_simple_in_every_respect():
    """Sizes, options, mode and dtype."""
    case = find("layers:Conv2D").cases[0]
    start = next(p for p in points(case, 5, 0, "float32") if not p.train)
    least = smallest(case, start, lambda p: True)
    assert least.dtype == "float64" and least.train and set(least.sizes.values()) == {1}
    assert all(case.family.domains[k].index(v) == 0 for k, v in least.options.items())


def test_the_smallest_case_keeps_to_the_sizes_declared():
    case = gradcheck.case(failures.Stale, "n d", sizes={"d": (3, 9)})
    assert smallest(case, points(case, 3, 0)[0], lambda p: True).sizes == {"n": 1, "d": 3}


def test_what_fails_in_one_dtype_only_keeps_it():
    case = find("layers:Dense").cases[0]
    start = points(case, 3, 0, "float32")[0]
    assert smallest(case, start, lambda p: p.dtype == "float32" and p.sizes["n"] >= 2 or p == start).dtype == "float32"


@pytest.mark.parametrize("name", [c.name for c in find("layers").cases])
def test_the_code_of_a_case_runs(name):
    case = next(c for c in find("layers").cases if c.name == name)
    for point in (*points(case, 2, 3), *points(case, 1, 3, "float32")):
        held: dict = {}
        exec(case.family.code(point), held)
        assert held["layer"].training is point.train and np.isfinite(held["y"] if not isinstance(held["y"], tuple) else held["y"][0]).all()


@pytest.mark.parametrize("case", failures.CASES, ids=lambda c: c.name)
def test_the_code_of_foreign_cases_runs(case):
    """As far as the layer does."""
    code = case.family.code(Point(sizes=failures.SIZES, seed=1) if case.family.law({}) else Point())
    with pytest.raises(IndexError) if case.name == "crashing" else nullcontext():
        exec(code, vars(failures).copy())


# what a person reads --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("title", failures.TEXTS)
def test_failure_texts_are_short(title):
    text = failures.TEXTS[title]()
    lines = text.splitlines()
    assert lines[0].startswith(("FAIL", "ERROR")) and sum(-(-max(len(line), 1) // COLUMNS) for line in lines) <= LINES


def test_the_page_of_failures_is_what_is_printed():
    assert failures.stable(failures.page()) == failures.stable((ROOT / "reports" / "failures.md").read_text()), "run `python tests/failures.py`"
