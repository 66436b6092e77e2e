"""What holds for every check: it leaves no trace, repeats itself, explains itself; and what single checks must not do."""
from __future__ import annotations

import random
import warnings
from typing import Any

import numpy as np
import pytest
from wild import WILD, Stack, pair

import gradcheck
from gradcheck.checks import CHECKS, applicable
from gradcheck.checks.options import MOST, covering
from gradcheck.evidence import Evidence, Verdict
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
    return {"random": random.getstate(), "numpy": str(np.random.get_state(legacy=False)), "filters": list(warnings.filters), "errors": np.geterr(),
            "functions": {k: vars(np)[k] for k in ("empty", "empty_like", "zeros", "copy")}, "print": np.get_printoptions()}


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


def test_a_layer_that_raises_leaves_no_trace_either() -> None:
    def broken(p: Any, dy: Any) -> Any:
        if np.empty is not genuine:
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


@pytest.mark.parametrize("declared, verdict", [("add", Verdict.PASS), ("overwrite", Verdict.FAIL)])
def test_a_declared_protocol_is_held_to(declared: str, verdict: Verdict) -> None:
    from dataclasses import replace
    case = replace(WILD["assigned_where_added"].case(False), convention={"gradients": declared})
    assert [e.verdict for e in judge_check(subject(case), CHECKS["accumulate"])] == [verdict]
