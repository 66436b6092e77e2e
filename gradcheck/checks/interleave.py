"""Forwards and backwards of several calls do not mix."""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..answers import Answer, Question, attempt, backward, cotangent, forward, found, outputs, shuffled
from ..evidence import Evidence
from ..subjects import Subject, Tape, copied
from . import check


@check("state", since="0.1.0")
def interleave(s: Subject) -> Iterator[Evidence]:
    """Forward A, forward B, backward B, backward A give what A and B give alone.

    Two layers, or two calls of a function, must not know of each other. Of one layer only what its protocol promises is
    asked: the last forward's backward where the last forward is the tape, the sum where a list of upstreams is taken,
    nothing of a recurrent cell. Sees a cache on a class, a module or a function that a second forward overwrites, which
    no difference sees: it fills the cache with almost the same numbers.
    Cannot see: threads. How to fix: keep residuals where each forward has its own: returned, or in a list.
    """
    a, b = Question.at(s, "A"), Question.at(s, "B", shuffled(s, "interleave"))
    first, second = s.tape(), s.tape()
    ya, yb = _forward(s, first, a), _forward(s, second, b)
    db, da = _backward(s, second, b), _backward(s, first, a)
    yield found("interleave", "two layers", [*(f"A, after B: {w}" for w in a.departures(ya | da)), *(f"B, after A: {w}" for w in b.departures(yb | db))])
    if s.facts.tape == "last":
        tape = s.tape()
        _forward(s, tape, a)
        yield found("interleave", "one layer", b.departures(_forward(s, tape, b) | _backward(s, tape, b)))
    if s.facts.tape == "list":
        yield _summed(s, a, b)


def _summed(s: Subject, a: Question, b: Question) -> Evidence:
    """One layer, two forwards, one backward for both: the parameters' cotangents are the sums, the last input's its own."""
    tape = s.tape()
    _forward(s, tape, a)
    yb = _forward(s, tape, b)
    both, refused = attempt(lambda: backward(s, tape, [np.copy(dy) for dy in (*a.dys, *b.dys)]))
    if refused:                                            # no wrong gradient comes of it: an exception is an answer
        return found("interleave", "one layer", [], [f"two forwards before one backward are refused: {refused}"])
    own = [k for k in map(cotangent, s.differentiable) if k in b.answer and k not in map(cotangent, s.inputs)]
    rest = [k for k in b.answer if k not in own]
    return found("interleave", "one layer", [*b.departures(yb | both, rest), *b.sums(both, a, own)])


def _forward(s: Subject, tape: Tape, q: Question) -> Answer:
    return outputs(forward(s, tape, copied(q.primals)))


def _backward(s: Subject, tape: Tape, q: Question) -> Answer:
    return backward(s, tape, [np.copy(dy) for dy in q.dys])
