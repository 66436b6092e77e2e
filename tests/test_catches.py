"""Every cotangent of every layer, made wrong on purpose: what exceeds the stated resolution fails, by the same run that would have passed."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from gradcheck.checks import CHECKS
from gradcheck.evidence import Evidence, Verdict
from gradcheck.inner import scale
from gradcheck.runner import undisturbed
from gradcheck.strategies import points
from gradcheck.subjects import Array, Case, Subject, Tape
from gradcheck.targets import find

CASES = {c.name: c for c in find("layers").cases}
Change = Callable[[Array, Subject, str], Array]


class Mutant:
    """A tape whose cotangent of one primal is changed on the way out."""

    def __init__(self, tape: Tape, k: str, change: Callable[[Array], Array]) -> None:
        self.tape, self.k, self.change = tape, k, change

    def forward(self, primals: dict[str, Array]) -> tuple[Array, ...]:
        return self.tape.forward(primals)

    def backward(self, *dys: Array) -> dict[str, Array | None]:
        d = self.tape.backward(*dys)
        return {**d, self.k: self.change(d[self.k])}


def mutated(s: Subject, k: str, change: Change) -> Subject:
    return replace(s, tape=lambda: Mutant(s.tape(), k, lambda d: change(d, s, k)))


def one_entry(d: Array, s: Subject, k: str) -> Array:
    """One entry wrong by 1e-5 of the largest, both scaled by how far the primal's entries may move."""
    wrong, size = np.array(d), scale(s.primals[k])
    at = int(s.rng("entry", k).integers(d.size))
    wrong.flat[at] += 1e-5 * np.max(np.abs(d) * size) / size.flat[at]
    return wrong


MUTANTS: dict[str, Change] = {
    "x (1 + 1e-6)": lambda d, s, k: d * (1 + 1e-6),
    "x -1": lambda d, s, k: -d,
    "x 0": lambda d, s, k: 0 * d,
    "one entry": one_entry,
}
SIZE = {"x (1 + 1e-6)": 1e-6, "x -1": 2.0, "x 0": 1.0}          # of the common factor's error; of an entry: 1e-5


def verdict(s: Subject, k: str) -> Evidence:
    """What `adjoint` says of primal `k` alone."""
    return next(iter(CHECKS["adjoint"].run(replace(s, differentiable=(k,)))))


def exceeds(found: Evidence, how: str) -> bool:
    """Whether the mutant changes the cotangent by more than the resolution stated for the right one."""
    assert found.resolution is not None
    return found.resolution.factor < SIZE[how] if how in SIZE else found.resolution.entry < 1e-5


@pytest.mark.parametrize("name", CASES)
def test_mutants_fail_and_right_layers_pass(name: str) -> None:
    case, tried, small = CASES[name], 0, 0
    for point in points(case, 6, seed=1):
        s = case.subject(point)
        for k in s.differentiable:
            right = verdict(s, k)
            assert right.verdict is not Verdict.FAIL, (k, point)
            for how, change in MUTANTS.items() if right.verdict is Verdict.PASS and "vacuous" not in right.marks else ():
                tried += 1
                small += not exceeds(right, how)
                if exceeds(right, how):
                    assert verdict(mutated(s, k, change), k).verdict is Verdict.FAIL, (how, k, point)
    assert tried and small <= 0.02 * tried, f"{small} of {tried} mutants are below the resolution"


KINKS = ("MAE",)          # one output that sums the kinks of thousands of entries: between them no step is fine


@pytest.mark.parametrize("name", [n for n in CASES if n != "Model"])          # deep ReLU nets have points where kinks leave no fine step
def test_two_hundred_cases_of_each_layer(name: str) -> None:
    case = CASES[name]
    with undisturbed():
        found = [e for seed in range(4) for point in points(case, 50, seed) for e in CHECKS["adjoint"].run(case.subject(point))]
    undecided = [e for e in found if e.verdict is Verdict.UNDECIDED]
    assert not [e for e in found if e.verdict is Verdict.FAIL]
    assert name in KINKS or len(undecided) <= 0.005 * len(found) + 1, [e.reason for e in undecided]


def test_each_case_is_a_declared_layer() -> None:
    assert all(isinstance(c, Case) for c in CASES.values()) and len(CASES) >= 12
