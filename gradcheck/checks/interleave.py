"""Forwards and backwards of several calls do not mix."""
from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..answers import Answer, Question, ask, attempt, backward, cotangent, forward, found, outputs, shuffled
from ..diagnose.memory import explained
from ..evidence import Evidence
from ..inner import Array
from ..rows import Rows
from ..subjects import Arrays, Subject, Tape, copied
from . import check


@check("state", since="0.1.0", explain=explained)
def interleave(s: Subject) -> Iterator[Evidence]:
    """Forward A, forward B, backward B, backward A give what A and B give alone.

    Two layers, or two calls of a function, must not know of each other. Of one layer only what its protocol promises is
    asked: the last forward's backward where the last forward is the tape, the sum where a list of upstreams is taken,
    nothing of a recurrent cell. Called in turn, with other inputs, other weights, more rows and fewer, it must answer each
    time as a new one does, the second time over with new numbers in the same arrays, as an optimizer leaves them; and after a
    call in the other mode, train or eval, wherever that changes no output. Sees a cache on a class, a module or a function
    that a second forward overwrites, which no difference sees: it fills the cache with almost the same numbers; a work array
    kept at another call's size, a weight kept in another form after an update, or known by its `id`; a mask or statistic of
    training in an evaluation; a dictionary that is the default argument of all layers of a kind.
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
    if s.facts.tape == "last" and getattr(s.tape(), "modal", False):
        yield _other_mode(s, a, b)
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


def _other_mode(s: Subject, a: Question, b: Question) -> Evidence:
    """B in the other mode, then A; where its outputs are still those of A alone, so must be its cotangents."""
    tape = s.tape()
    tape.switch(not s.point.train)                         # type: ignore[attr-defined]
    attempt(lambda: b.ask(tape))
    tape.switch(s.point.train)                             # type: ignore[attr-defined]
    answer, refused = attempt(lambda: a.ask(tape))
    ys = [k for k in a.answer if k.startswith("y")]
    moved = bool(refused) or any(not a.near(k, answer[k]) for k in ys)      # running statistics are meant to move
    return found("interleave", "the other mode", [] if moved else [f"after a call in the other mode {w}" for w in a.departures(answer)],
                 ["not judged: a call in the other mode changes the outputs"] * moved)


def _in_turn(s: Subject, questions: Sequence[Question]) -> Evidence:
    """One layer, asked everything twice over. A gradient may be that of the call, or be added to what was there."""
    tape, before, last, wrong = s.tape(), Answer(), questions[0], list[str]()
    own, held = set(map(cotangent, _own(s))), dict[str, Array]()
    for i, q in enumerate([*questions, *questions]):
        given = copied(q.primals) if i < len(questions) else _refilled(held, q.primals)
        answer, refused = attempt(lambda q=q, given=given: ask(s, given, [np.copy(dy) for dy in q.dys], tape))       # type: ignore[misc]
        if refused:                                        # no wrong gradient comes of it: an exception is an answer
            return found("interleave", "in turn", wrong, [f"a call after others is refused: {refused}"])
        added = {k: answer[k] - before[k] for k in own & answer.keys() & before.keys() if answer[k].shape == before[k].shape}
        wrong += q.departures(answer, [k for k in q.answer if k not in added or q.near(k, answer[k]) or list(q.departures(added, [k], last.room))])
        before, last = answer, q
    return found("interleave", "in turn", dict.fromkeys(wrong))


def _refilled(held: dict[str, Array], primals: Arrays) -> dict[str, Array]:
    """The primals in the arrays that are held, where they fit; those that do not, anew."""
    for k, x in primals.items():
        if k in held and held[k].shape == x.shape and held[k].dtype == x.dtype:
            held[k][...] = x
        else:
            held[k] = np.copy(x)
    return dict(held)


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
