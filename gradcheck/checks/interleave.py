"""Forwards and backwards of several calls do not mix."""
from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..answers import Answer, Question, attempt, backward, cotangent, forward, found, outputs, shuffled
from ..diagnose.memory import explained
from ..evidence import Evidence
from ..rows import Rows
from ..subjects import Subject, Tape, copied
from . import check


@check("state", since="0.1.0", explain=explained)
def interleave(s: Subject) -> Iterator[Evidence]:
    """Forward A, forward B, backward B, backward A give what A and B give alone.

    Two layers, or two calls of a function, must not know of each other. Of one layer only what its protocol promises is
    asked: the last forward's backward where the last forward is the tape, the sum where a list of upstreams is taken,
    nothing of a recurrent cell. Called in turn, with other inputs, other weights, more rows and fewer, it must answer each
    time as a new one does. Sees a cache on a class, a module or a function that a second forward overwrites, which no
    difference sees: it fills the cache with almost the same numbers; a work array kept at another call's size, a weight kept
    in another form after an update; a dictionary that is the default argument of all layers of a kind.
    Cannot see: threads. How to fix: keep residuals where each forward has its own: returned, or in a list.
    """
    a, b = Question.at(s, "A"), Question.at(s, "B", shuffled(s, "interleave"))
    new = s.made or s.tape
    first, second = new(), new()
    ya, yb = _forward(s, first, a), _forward(s, second, b)
    db, da = _backward(s, second, b), _backward(s, first, a)
    yield found("interleave", "two layers", [*(f"A, after B: {w}" for w in a.departures(ya | da)), *(f"B, after A: {w}" for w in b.departures(yb | db))])
    if s.facts.tape == "last":
        tape = s.tape()
        _forward(s, tape, a)
        yield found("interleave", "one layer", b.departures(_forward(s, tape, b) | _backward(s, tape, b)))
    if s.facts.tape == "list":
        yield _summed(s, a, b)
    if s.facts.tape in ("functional", "last"):
        yield _in_turn(s, [a, b, Question.at(s, "C", shuffled(s, "weights", _own(s))), *_resized(s)])


def _summed(s: Subject, a: Question, b: Question) -> Evidence:
    """One layer, two forwards, one backward for both: the parameters' cotangents are the sums, the last input's its own."""
    tape = s.tape()
    _forward(s, tape, a)
    yb = _forward(s, tape, b)
    both, refused = attempt(lambda: backward(s, tape, [np.copy(dy) for dy in (*a.dys, *b.dys)]))
    if refused:                                            # no wrong gradient comes of it: an exception is an answer
        return found("interleave", "one layer", [], [f"two forwards before one backward are refused: {refused}"])
    own = [k for k in map(cotangent, _own(s)) if k in b.answer]
    rest = [k for k in b.answer if k not in own]
    return found("interleave", "one layer", [*b.departures(yb | both, rest), *b.sums(both, a, own)])


def _in_turn(s: Subject, questions: Sequence[Question]) -> Evidence:
    """One layer, asked everything twice over. A gradient may be that of the call, or be added to what was there."""
    tape, before, last, wrong = s.tape(), Answer(), questions[0], list[str]()
    own = set(map(cotangent, _own(s)))
    for q in [*questions, *questions]:
        answer, refused = attempt(lambda q=q: q.ask(tape))                               # type: ignore[misc]
        if refused:                                        # no wrong gradient comes of it: an exception is an answer
            return found("interleave", "in turn", wrong, [f"a call after others is refused: {refused}"])
        added = {k: answer[k] - before[k] for k in own & answer.keys() & before.keys() if answer[k].shape == before[k].shape}
        wrong += q.departures(answer, [k for k in q.answer if k not in added or q.near(k, answer[k]) or list(q.departures(added, [k], last.room))])
        before, last = answer, q
    return found("interleave", "in turn", dict.fromkeys(wrong))


def _resized(s: Subject) -> Iterator[Question]:
    """Twice as many rows and one row alone, as far as a new layer takes them."""
    rows = Rows.of(s)
    if rows is not None:
        asked = [rows.take(some) for some in (np.arange(2 * rows.n) % rows.n, np.arange(1))]
        yield from (q for q in asked if not attempt(lambda q=q: q.answer)[1])            # type: ignore[misc]


def _own(s: Subject) -> list[str]:
    """The layer's own arrays that have cotangents."""
    return [k for k in s.differentiable if k not in s.inputs]


def _forward(s: Subject, tape: Tape, q: Question) -> Answer:
    return outputs(forward(s, tape, copied(q.primals)))


def _backward(s: Subject, tape: Tape, q: Question) -> Answer:
    return backward(s, tape, [np.copy(dy) for dy in q.dys])
