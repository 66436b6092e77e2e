"""What holds for every check: it leaves no trace, repeats itself, explains itself; and what single checks must not do."""
from __future__ import annotations

import random
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from wild import WILD, Stack, pair

import gradcheck
from gradcheck.checks import CHECKS, applicable
from gradcheck.checks.options import MOST, covering
from gradcheck.evidence import Evidence, Point, Verdict, gravest
from gradcheck.runner import judge_check
from gradcheck.strategies import points
from gradcheck.subjects import Case, Subject
from gradcheck.targets import find

CASES = {c.name: c for c in find("layers").cases}
SEVERAL = ["Dense", "Dropout", "BatchNorm1D", "DotProductAttention", "LSTMCell", "Embedding"]        # noise, buffers, a mask, states, integers


def subject(case: Case, dtype: str = "float64") -> Subject:
    return case.subject(points(case, 2, 3, dtype)[-1])


def world() -> dict[str, Any]:
    """All that is global and that a check might leave changed."""
    torch = getattr(sys.modules.get("torch"), "default_generator", None)
    return {"random": random.getstate(), "numpy": str(np.random.get_state(legacy=False)), "torch": torch and torch.get_state().numpy().tobytes(),
            "filters": list(warnings.filters), "errors": np.geterr(), "handler": np.geterrcall(), "print": np.get_printoptions(),
            "functions": {k: vars(np)[k] for k in ("empty", "empty_like", "zeros", "copy")}}


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("layer", SEVERAL)
def test_a_check_leaves_no_trace(layer: str, name: str) -> None:
    s = subject(CASES[layer], "float32" if name == "dtype" else "float64")
    if applicable(CHECKS[name], s):
        return
    before, primals = world(), {k: (v, v.tobytes()) for k, v in s.primals.items()}
    assert not [e for e in CHECKS[name].run(s) if e.verdict.bad]
    assert world() == before
    assert all(s.primals[k] is v and v.tobytes() == was for k, (v, was) in primals.items())


class Remembering:
    """A layer of its user's, with a weight, a generator and a history."""

    def __init__(self) -> None:
        self.W, self.dW, self.rng, self.calls = np.ones((3, 2)), np.zeros((3, 2)), np.random.default_rng(5), 0

    def forward(self, x: Any) -> Any:
        self.x, self.calls = x, self.calls + 1
        self.mask = (self.rng.random(x.shape) < 0.5) * 2.0
        return (x * self.mask) @ self.W

    def backward(self, dy: Any) -> Any:
        self.dW = (self.x * self.mask).T @ dy
        return dy @ self.W.T * self.mask


@pytest.mark.parametrize("name", [c.name for c in CHECKS.values() if c.default])
def test_a_check_leaves_the_layer_that_it_was_given_as_it_was(name: str) -> None:
    layer = Remembering()
    layer.forward(np.ones((2, 3)))
    before = {k: repr(v) for k, v in vars(layer).items()} | {"rng": str(layer.rng.bit_generator.state)}
    x = np.arange(6.0).reshape(2, 3) + 0.5
    given = x.tobytes()
    gradcheck.check(layer, x, checks=[name], profile="quick")
    assert {k: repr(v) for k, v in vars(layer).items()} | {"rng": str(layer.rng.bit_generator.state)} == before
    assert x.tobytes() == given


@pytest.mark.frameworks
def test_no_check_moves_the_generator_of_torch() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(3)
    before = world()
    gradcheck.check(Remembering, "n 3", profile="quick")
    assert world() == before


def test_a_layer_that_raises_leaves_no_trace_either() -> None:
    def broken(p: Any, dy: Any) -> Any:
        if np.empty is not genuine and np.isnan(np.empty(1)).all():
            raise RuntimeError("in the middle")
        return {"x": dy}
    genuine, before = np.empty, world()
    s = subject(pair(lambda p: p["x"], broken, x="n d"))
    found = list(judge_check(s, CHECKS["seed"]))
    assert [e.verdict for e in found] == [Verdict.FAIL] and "in the middle" in found[0].reason
    assert world() == before


def without_time(found: list[Evidence]) -> list[Evidence]:
    import msgspec
    return [msgspec.structs.replace(e, time_s=0.0) for e in found]


@pytest.mark.parametrize("name", [c.name for c in CHECKS.values() if c.default])
def test_a_check_repeats_itself(name: str) -> None:
    once, again = (without_time(list(judge_check(subject(CASES["Dense"]), CHECKS[name]))) for _ in range(2))
    assert once == again


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_says_what_it_cannot_see_and_how_to_fix(name: str) -> None:
    doc = CHECKS[name].doc
    assert doc.partition("\n")[0].endswith(".") and "How to fix:" in doc and ("Cannot see:" in doc or "Sees nothing" in doc or "sees nothing" in doc)


def test_every_check_that_must_has_a_defect_of_its_own() -> None:
    claimed = {w.by for w in WILD.values()}
    assert {c.name for c in CHECKS.values()} - claimed == {"jacobian", "options", "network"}


@pytest.mark.parametrize("name", ["options", "network", "jacobian"])
@pytest.mark.parametrize("layer", ["Dense", "Multiply", "Pool2D"])
def test_checks_that_run_by_name_pass_right_layers(layer: str, name: str) -> None:
    s = subject(CASES[layer])
    assert applicable(CHECKS[name], s) or not [e for e in judge_check(s, CHECKS[name]) if e.verdict.bad]


def test_options_finds_the_value_that_is_wrong() -> None:
    case = gradcheck.case(type("Stack", (Stack,), {"wrong": True}), "n d", name="stack", options={"depth": [1, 2, 3]})
    found = list(judge_check(case.subject(points(case, 1, 0)[0]), CHECKS["options"]))
    assert any(e.verdict is Verdict.FAIL and "depth=3" in e.reason for e in found)


def test_network_sees_a_cache_that_a_second_use_overwrites() -> None:
    case = WILD["one_cache_for_all"].case(True)
    assert [e.verdict for e in judge_check(subject(case), CHECKS["network"])] == [Verdict.FAIL]


def test_every_two_values_meet() -> None:
    domains = {k: list(range(n)) for k, n in {"a": 5, "b": 4, "c": 3, "d": 2}.items()}
    rows = list(covering(domains))
    assert len(rows) <= MOST
    assert all(any(r[a] == i and r[b] == j for r in rows) for a in domains for b in domains if a < b for i in domains[a] for j in domains[b])
    assert len(list(covering({"a": [1, 2], "b": [1, 2, 3]}))) == 6


class Norm:
    """Columns scaled by a weight; how its gradients are clipped, if they are, is a subclass' business."""
    bound = 0.0

    def __init__(self) -> None:
        self.w, self.dw = np.ones(2), np.zeros(2)

    def forward(self, x: Any) -> Any:
        self.x = x
        return np.sin(x) * self.w

    def backward(self, dy: Any) -> Any:
        self.dw = self.clipped((dy * np.sin(self.x)).sum(0))
        return dy * self.w * np.cos(self.x)

    def clipped(self, g: Any) -> Any:
        return g * min(1.0, self.bound / (np.linalg.norm(g) + 1e-9)) if self.bound else g


class Entries(Norm):
    """Clips every entry."""

    def clipped(self, g: Any) -> Any:
        return np.clip(g, -self.bound, self.bound)


class Largest:
    """The largest of each row; `mode` says which of equal ones gets the gradient."""
    mode = "first"

    def forward(self, x: Any) -> Any:
        self.x = x
        return x.max(1)

    def backward(self, dy: Any) -> Any:
        tied = self.x == self.x.max(1, keepdims=True)
        first, last = tied & (tied.cumsum(1) == 1), tied & (tied[:, ::-1].cumsum(1)[:, ::-1] == 1)
        return dy[:, None] * {"first": first, "last": last, "split": tied / tied.sum(1, keepdims=True)}[self.mode]


class Identity:
    """Hands on what it is given: the very array, or a copy."""
    copies = False

    def forward(self, x: Any) -> Any:
        return x.copy() if self.copies else x

    def backward(self, dy: Any) -> Any:
        return dy.copy() if self.copies else dy


class Rectifier:
    """Works in its input, in its upstream, in both or in neither."""
    where = ""

    def forward(self, x: Any) -> Any:
        y = np.maximum(x, 0, out=x if "x" in self.where else None)
        self.open = y > 0
        return y

    def backward(self, dy: Any) -> Any:
        return np.multiply(dy, self.open, out=dy if "upstream" in self.where else None)


DECLARED = [                # convention, what is declared, the check that holds to it, the layer, an attribute as declared and otherwise
    ("clips", "to a norm of 5", "linear", Norm, "bound", 5.0, 4.0),
    ("clips", "entries at 0.25", "linear", Entries, "bound", 0.25, 1.0),
    ("clips", "to a norm of 5", "linear", Norm, "bound", 5.0, 0.0),
    *(("ties", mode, "values", Largest, "mode", mode, other) for mode, other in (("first", "split"), ("last", "first"), ("split", "last"))),
    ("alias", "view", "alias", Identity, "copies", False, True),
    ("alias", "copy", "alias", Identity, "copies", True, False),
    ("in place", "x", "pure", Rectifier, "where", "x", ""),
    ("in place", "x", "pure", Rectifier, "where", "x", "x upstream"),
    ("in place", "x, upstream", "pure", Rectifier, "where", "x upstream", "x"),
]


@pytest.mark.parametrize("row", DECLARED, ids=lambda row: f"{row[0]}: {row[1]}, not {row[-1]}")
def test_a_declared_convention_is_verified_as_declared(row: tuple[Any, ...]) -> None:
    convention, declared, by, layer, attribute, right, wrong = row

    def judged(value: Any) -> Any:
        made = type(layer.__name__, (layer,), {attribute: value})
        return gradcheck.check(made, "n 2" if issubclass(layer, Norm) else "n d", convention={convention: declared})
    assert judged(right)
    found = judged(wrong).report().cases[0]
    assert {r.check for r in found.rows if r.verdict is Verdict.FAIL} == {by}
    assert found.convention == {convention: declared}


def test_what_is_not_declared_is_judged_as_a_derivative() -> None:
    clipping = gradcheck.check(type("Norm", (Norm,), {"bound": 5.0}), "n 2")
    assert {r.check for r in clipping.report().cases[0].rows if r.verdict is Verdict.FAIL} >= {"linear"}
    assert not gradcheck.check(type("Rectifier", (Rectifier,), {"where": "x"}), "n d", checks=["pure"])
    assert gradcheck.check(type("Largest", (Largest,), {"mode": "split"}), "n d", checks=["values"])


@pytest.mark.parametrize("convention", [{"gradients": "sum"}, {"ties": "random"}, {"alias": "yes"}, {"clips": "sometimes"}])
def test_a_convention_that_cannot_be_is_refused(convention: dict[str, str]) -> None:
    found = gradcheck.check(Identity, "n d", convention=convention, profile="quick").report().cases[0]
    assert found.verdict is Verdict.ERROR and next(iter(convention.values())) in found.error


@pytest.mark.parametrize("declared, verdict", [("add", Verdict.PASS), ("overwrite", Verdict.FAIL)])
def test_a_declared_protocol_is_held_to(declared: str, verdict: Verdict) -> None:
    from dataclasses import replace
    case = replace(WILD["assigned_where_added"].case(False), convention={"gradients": declared})
    assert [e.verdict for e in judge_check(subject(case), CHECKS["accumulate"])] == [verdict]


def test_a_mean_over_the_rows_that_count_is_no_mean_over_all() -> None:
    """Copies of a batch have its mean, however many of its rows count; their share in the gradient is another."""
    def counted(p: Any) -> Any:
        return p["t"] > 0

    def forward(p: Any) -> Any:
        return ((p["x"] ** 2).sum(1) * counted(p)).sum() / max(counted(p).sum(), 1)

    def pull(p: Any, dy: Any) -> Any:
        return {"x": dy * 2 * p["x"] * counted(p)[:, None] / max(counted(p).sum(), 1)}
    assert gradcheck.check(pair(forward, pull, x="n d", t="n int[0,1]"), checks=["batch"])


def test_a_sigmoid_on_its_last_stair_is_not_accused() -> None:
    """Beyond 30 it moves by whole roundings of 1: on small steps not at all."""
    from gradcheck.evidence import Point
    s = CASES["Sigmoid"].subject(Point(sizes={"*": ()}, options={"order": 1}, seed=1401983242))
    assert not [e for e in judge_check(s, CHECKS["values"]) if e.verdict.bad]


@pytest.mark.parametrize("part", ["ones", "one entry", "half of the entries"])
def test_linear_says_which_upstream_is_treated_otherwise(part: str) -> None:
    treated = {"ones": lambda dy: (dy == 1).all(), "one entry": lambda dy: (dy != 0).sum() == 1, "half of the entries": lambda dy: (dy == 0).any() and dy.any()}
    s = gradcheck.subject(lambda p: np.sin(p["x"]), lambda p, dy: {"x": dy * np.cos(p["x"]) * (2 if dy.size > 1 and treated[part](dy) else 1)}, x="n d")
    found, = judge_check(s, CHECKS["linear"])
    assert found.verdict is Verdict.FAIL and (part in found.reason or part == "half of the entries")


@pytest.mark.parametrize(("narrow", "right"), [(False, True), (True, False)])
def test_a_formula_that_cancels_is_no_narrower_type(narrow: bool, right: bool) -> None:
    """(cos(x) x − sin(x)) / x² loses digits near 0 in any precision; float16 in its middle does so in float32 alone."""
    def pull(p: Any, dy: Any) -> Any:
        x = p["x"]
        c = np.cos(x).astype(np.float16).astype(x.dtype) if narrow and x.dtype == np.float32 else np.cos(x)
        return {"x": dy * (c * x - np.sin(x)) / x ** 2}
    found = gradcheck.check(pair(lambda p: np.sin(p["x"]) / p["x"], pull, x="n d > 0"), checks=["dtype"])
    assert (found.verdict is not Verdict.FAIL) == right


@pytest.mark.parametrize("narrow", [None, "float16"])
def test_a_sum_that_is_made_in_turn_is_no_fault_and_one_in_half_precision_is(narrow: str | None) -> None:
    def looked_up(p: Any) -> Any:
        return p["W"][p["ids"]].sum(1)

    def added(p: Any, dy: Any) -> Any:
        dW = np.zeros(p["W"].shape, narrow or p["W"].dtype)
        np.add.at(dW, p["ids"], np.broadcast_to(dy[:, None], (*p["ids"].shape, dy.shape[-1])))
        return {"W": dW.astype(p["W"].dtype)}

    case = pair(looked_up, added, W="2 d", ids="n t int[0,2)")
    found = [e for seed in range(3) for name in ("adjoint", "linear", "dtype")
             for e in judge_check(case.subject(Point(sizes={"n": 1, "t": 700, "d": 3}, dtype="float32", seed=seed)), CHECKS[name])]
    assert {e.verdict for e in found} == ({Verdict.PASS, Verdict.FAIL} if narrow else {Verdict.PASS}), [e.reason for e in found]


@pytest.mark.parametrize("right", [True, False])
def test_equal_addends_round_alike_in_a_batch_and_its_parts(right: bool) -> None:
    """Many ids of one row: the sum over all of the batch errs to one side, by more than rounding of its size."""
    def added(p: Any, dy: Any) -> Any:
        dW = np.zeros(p["W"].shape, p["W"].dtype)
        np.add.at(dW, p["ids"], np.broadcast_to(dy[:, None] / 1023, (*p["ids"].shape, 1)))
        return {"W": dW if right else dW * (1 - 1e-9 * len(dy))}

    case = pair(lambda p: p["W"][p["ids"]].mean(1), added, ids="n 1023 int[0,1)", W="1 1")
    found = [e for seed in range(20) for e in judge_check(case.subject(Point(sizes={"n": 7}, seed=seed)), CHECKS["batch"])]
    assert (gravest(e.verdict for e in found) is Verdict.FAIL) != right, [e.reason for e in found]


def test_a_mean_of_two_rounds_otherwise_one_rounding_away() -> None:
    """Of two numbers that each move by two units in the last place, the mean rounds alike, and what it costs is not seen."""
    point = Point(sizes={"n": 2, "ch": 3}, options={"momentum": 0.0, "epsilon": 1e-5}, dtype="float32", seed=2864259668)
    found = list(judge_check(CASES["BatchNorm1D"].subject(point), CHECKS["adjoint"]))
    assert {e.primal for e in found} == {"x", "scaler", "intercept"} and not [e.reason for e in found if e.verdict is Verdict.FAIL]


@pytest.mark.parametrize("right", [True, False])
def test_an_output_that_is_rounding_only_may_be_summed_in_another_order(right: bool) -> None:
    """A softmax and what its sum departs from 1, in Fortran order; the wrong one reads the memory there as if it were in C order."""
    def forward(p: Any) -> Any:
        e = np.exp(p["x"] - p["x"].max(-1, keepdims=True))
        y = e / e.sum(-1, keepdims=True)
        return y, y.sum(-1) - (1 if right or p["x"].flags.c_contiguous else 1 + 1e-11)

    def pull(p: Any, dy: Any, dz: Any) -> Any:
        y, d = forward(p)[0], dy + dz[:, None]
        return {"x": y * (d - (d * y).sum(-1, keepdims=True))}

    case = pair(forward, pull, x="n d")
    found = [e for seed in range(8) for e in judge_check(case.subject(Point(sizes={"n": 5, "d": 513}, seed=seed)), CHECKS["layout"])]
    assert (gravest(e.verdict for e in found) is Verdict.FAIL) != right, [e.reason for e in found]
