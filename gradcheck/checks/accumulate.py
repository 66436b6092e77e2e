"""Gradients are overwritten, or added up, as one protocol for all parameters."""
from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..answers import Answer, Question, attempt, cotangent, cotangents, forward, found, outputs, shuffled
from ..evidence import Evidence
from ..inner import Array
from ..subjects import Stateful, Subject, copied
from . import check

ADD, OVERWRITE = "add", "overwrite"


def _applies(s: Subject) -> bool:
    return s.stateful is not None or s.facts.tape == "last" and any(k not in s.inputs for k in s.differentiable)


@check("state", since="0.1.0", applies=_applies)
def accumulate(s: Subject) -> Iterator[Evidence]:
    """After calls A and B the gradients are g_B or g_A + g_B, one of the two for all parameters; an input's cotangent is B's.

    A layer that takes a list of upstreams gives the sum over its forwards, and after a flush it is as new. Where nobody
    says which protocol it is, either is right, and the report tells which; the convention "gradients": "add" or
    "overwrite" is held to. Sees scratch that a forward leaves in a gradient, and a second use of a weight that is lost.
    Cannot see: how an optimizer clears gradients. How to fix: `+=` on every gradient, or on none.
    """
    a, b = Question.at(s, "A"), Question.at(s, "B", shuffled(s, "accumulate"))
    yield from _listed(s, s.stateful, a, b) if s.stateful else [_in_turn(s, a, b)]


def _in_turn(s: Subject, a: Question, b: Question) -> Evidence:
    """Forward and backward of A, a forward that nothing comes of, forward and backward of B, on one layer."""
    tape = s.tape()

    def asked() -> Answer:
        a.ask(tape)
        forward(s, tape, copied(a.primals))
        return b.ask(tape)

    after, refused = attempt(asked)
    if refused:                                            # no wrong gradient comes of it: an exception is an answer
        return found("accumulate", "gradients", [], [f"a second call is refused: {refused}"])
    own = [k for k in map(cotangent, s.differentiable) if k not in map(cotangent, s.inputs)]
    moving = [k for k in own if k in after and k in a.answer and a.answer[k].any()]
    adds = [k for k in moving if list(b.departures(after, [k])) and not list(b.sums(after, a, [k]))]
    wrong = list(b.departures(after, [k for k in b.answer if k not in adds]))
    if adds and len(adds) < len(moving):
        wrong.append(f"{', '.join(adds)} add up over calls, {', '.join(k for k in moving if k not in adds)} do not")
    does, declared = ADD if adds else OVERWRITE, s.convention.get("gradients")
    if not wrong and declared in (ADD, OVERWRITE) and moving and declared != does:
        wrong.append(f"the gradients {_said(does)}, and the convention declares that they {_said(declared)}")
    return found("accumulate", "gradients", wrong, [f"the gradients {_said(does)}"] if moving else [])


def _said(protocol: str) -> str:
    return "add up over calls" if protocol == ADD else "are overwritten by each call"


def _listed(s: Subject, stateful: object, a: Question, b: Question) -> Iterator[Evidence]:
    """Two forwards and a backward for both; then a flush, and A alone."""
    assert callable(stateful)
    one: Stateful = stateful()
    alone = [_alone(s, stateful(), q) for q in (a, b)]
    if any(cotangent(k) not in alone[0] for k in s.inputs if k in s.differentiable and alone[0].keys() & set(map(cotangent, s.inputs))):
        return                                             # a cell, which hands its states' cotangents from step to step itself
    s.counter.forward, s.counter.backward = s.counter.forward + 2, s.counter.backward + 2
    with np.errstate(all="ignore"):
        for q in (a, b):
            one.forward(copied(q.primals))
        dxs, gradients = one.pull([tuple(map(np.copy, q.dys)) for q in (a, b)])
    yield found("accumulate", "a list of upstreams", _wrong(s, a, b, alone, dxs, gradients))
    one.layer.flush_gradients()
    left = [cotangent(k) for k, g in one.gradients().items() if g.any()]
    again = _alone(s, one, a)
    yield found("accumulate", "after a flush", [*(f"{k} is not zero after a flush" for k in left), *a.departures(a.answer | again)])


def _wrong(s: Subject, a: Question, b: Question, alone: Sequence[Answer], dxs: Sequence[dict[str, Array | None]], gradients: dict[str, Array]) -> Iterator[str]:
    for q, single, dx in zip((a, b), alone, dxs, strict=True):
        yield from q.departures(q.answer | {k: v for k, v in cotangents(s, dx).items() if k in single}, single.keys() & q.answer.keys())
    total = {cotangent(k): g for k, g in gradients.items()}
    yield from b.sums(total, a, [k for k in total if k in a.answer])


def _alone(s: Subject, tape: Stateful, q: Question) -> Answer:
    s.counter.forward, s.counter.backward = s.counter.forward + 1, s.counter.backward + 1
    with np.errstate(all="ignore"):
        ys = outputs(tape.forward(copied(q.primals)))
        return ys | cotangents(s, tape.backward(*map(np.copy, q.dys)))
