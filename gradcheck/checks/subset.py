"""Asking for less does not change the rest."""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..answers import Question, ask, cotangent, found
from ..evidence import Evidence
from ..subjects import Subject, copied
from . import check


@check("state", since="0.1.0", applies=lambda s: bool(s.fewer) or len(_slots(s)) > 1)
def subset(s: Subject) -> Iterator[Evidence]:
    """The cotangents asked for are the same when others are not: parameters frozen, inputs without a gradient, one output used.

    J′(dy₁, 0) + J′(0, dy₂) = J′(dy₁, dy₂) where there are several outputs; a frozen layer hands on the same input cotangent,
    wherever its forward is the same. Sees a branch on what needs a gradient that skips what others need.
    Cannot see: a subset that the protocol has no way to ask for. How to fix: compute what is shared before that branch.
    """
    whole = Question.at(s, "subset")
    for how, tape in s.fewer.items():
        part = ask(s, copied(whole.primals), [np.copy(dy) for dy in whole.dys], tape())
        if not list(whole.departures(part, [k for k in part if k.startswith("y")])):      # frozen, a layer may be another function
            yield found("subset", how, whole.departures(part, part))
    if len(whole.dys) > 1:
        yield _one_by_one(s, whole)


def _one_by_one(s: Subject, whole: Question) -> Evidence:
    """The cotangents of each output alone add up to those of all."""
    alone = [ask(s, copied(whole.primals), [dy * (i == j) for j, dy in enumerate(whole.dys)]) for i in range(len(whole.dys))]
    names = [cotangent(k) for k in s.differentiable]
    total = {k: np.add.reduce([one[k] for one in alone]) for k in names if all(k in one for one in alone)}
    return found("subset", "one output at a time", whole.departures(whole.answer | total, total))


def _slots(s: Subject) -> tuple[object, ...]:
    """One for each output, as far as they are declared; the layer is not run for it."""
    return s.out_shapes or (s.law.outputs if s.law else None) or (None, None)
