"""What `make check` visits: every layer, and of each every value of every option, in training and evaluation, in float64 and float32."""
from __future__ import annotations

import pytest

from gradcheck.checks import CHECKS
from gradcheck.runner import PROFILES, Plan
from gradcheck.targets import find
from layers import ACTIVATIONS, LOSSES, Layer, activation
from layers.spec import key

CASES = find("layers").cases
PLAN = Plan(tuple(c.name for c in CHECKS.values() if c.default), "default", 0)


def test_every_layer_is_a_case():
    ours = {k for k, c in Layer.registry.items() if c.__module__.startswith("layers.") and c.__module__.count(".") == 1}
    assert ours == {c.name for c in CASES} and not find("layers").not_checked


def test_every_activation_and_loss_is_a_case():
    cases = {key(c.name) for c in CASES}
    assert {key(activation(spec).name) for spec in [*ACTIVATIONS, "softmax"]} | {key(name) for name in LOSSES} <= cases


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_every_value_of_every_option_in_both_modes_and_dtypes(case):
    points = PLAN.points(case)
    domains = {f.name: f.metadata["domain"] for f in Layer.registry[case.name].__dataclass_fields__.values() if "domain" in f.metadata}
    assert {k: {repr(p.options[k]) for p in points} for k in domains} == {k: {*map(repr, v)} for k, v in domains.items()}
    assert {(p.dtype, p.train) for p in points} == {(dtype, train) for dtype in PROFILES["default"].points for train in (True, False)}
