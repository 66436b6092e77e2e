"""The stateful layer gives what its two functions give."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..answers import Question, ask, found
from ..evidence import Evidence
from ..inner import Array
from ..subjects import Stateful, Subject, copied
from . import check


@check("contract", since="0.1.0", applies=lambda s: s.stateful is not None)
def shell(s: Subject) -> Iterator[Evidence]:
    """layer.forward and layer.backward give the functions' y, dx and gradients; what must leave no trace leaves none.

    A forward with retain_derived=False and a frozen layer's backward and update change nothing; update moves the parameters
    and flushes; set_params(summary()) makes the same layer.
    Cannot see: what an optimizer does with the gradients. How to fix: change state at the rim, in one place.
    """
    assert s.stateful is not None
    plain, tape = Question.at(s, "shell"), s.stateful()
    answer = ask(s, copied(plain.primals), plain.dys, tape)
    yield found("shell", "functions", plain.departures(answer, answer))
    yield found("shell", "update", _updated(s, tape))
    yield found("shell", "retain_derived=False", _unretained(s, s.stateful()))
    yield found("shell", "freeze", _frozen(s, s.stateful(), plain))
    yield found("shell", "summary", _restored(s, tape))


def _updated(s: Subject, tape: Stateful) -> Iterator[str]:
    layer, before = tape.layer, _arrays(tape.layer.parameters)
    moving = {k for k, g in tape.gradients().items() if np.isfinite(g).all() and np.abs(g).max(initial=0) > 1e-3 * np.abs(before[k]).max(initial=0)}
    layer.update()
    yield from (f"{k} has a gradient and did not move" for k in sorted(moving) if np.array_equal(before[k], layer.parameters[k], equal_nan=True))
    yield from (f"the gradient of {k} is not zero after update" for k, g in tape.gradients().items() if g.any())
    yield from ["a forward is still retained after update"] * bool(layer.tape)


def _unretained(s: Subject, tape: Stateful) -> Iterator[str]:
    _forward(s, tape, s.primals)
    tape.layer.flush_gradients()
    before = _arrays(tape.layer.parameters)
    s.counter.forward += 1
    with np.errstate(all="ignore"):
        tape.layer.forward(*(np.copy(s.primals[k]) for k in s.inputs), retain_derived=False)
    yield from ["it is retained all the same"] * bool(tape.layer.tape)
    yield from _moved(before, tape.layer.parameters)


def _frozen(s: Subject, tape: Stateful, q: Question) -> Iterator[str]:
    tape.layer.freeze()
    _forward(s, tape, s.primals)
    before = _arrays(tape.layer.parameters)
    s.counter.backward += 1
    with np.errstate(all="ignore"):
        tape.backward(*map(np.copy, q.dys))
    yield from (f"the gradient of {k} accrued" for k, g in tape.gradients().items() if g.any())
    tape.layer.update()
    yield from _moved(before, tape.layer.parameters)


def _restored(s: Subject, tape: Stateful) -> Iterator[str]:
    assert s.stateful is not None
    other = s.stateful().layer.set_params(tape.layer.summary())
    yield from _moved(_arrays(tape.layer.parameters), other.parameters)
    told, again = tape.layer.hyperparameters, other.hyperparameters
    yield from (f"{k} is {again.get(k)!r}, not {v!r}" for k, v in told.items() if repr(again.get(k)) != repr(v))


def _forward(s: Subject, tape: Stateful, primals: Mapping[str, Array]) -> None:
    s.counter.forward += 1
    with np.errstate(all="ignore"):
        tape.forward(copied(primals))


def _arrays(held: Mapping[str, Any]) -> dict[str, Array]:
    return {k: np.copy(v) for k, v in held.items()}


def _moved(before: Mapping[str, Array], after: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{k} changed" for k, v in before.items() if k not in after or not np.array_equal(v, after[k], equal_nan=True))
