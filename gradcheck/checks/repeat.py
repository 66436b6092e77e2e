"""The same call gives the same answer."""
from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ..answers import Answer, Question, attempt, backward, cotangent, forward, found, outputs
from ..evidence import Evidence, Verdict
from ..subjects import Subject, copied
from . import check


@check("state", since="0.1.0")
def repeat(s: Subject) -> Iterator[Evidence]:
    """f(x) = f(x) on the same layer and on a new one; J′dy the same again, and from one forward twice.

    A second backward may give the same, twice the parameters' cotangents (a layer that accumulates), or an exception
    (a layer that frees its residuals); anything else comes from a buffer that was not cleared. The same bits are expected;
    other bits within the noise of a summation's order pass with a note.
    Cannot see: state that only another call in between brings out (`interleave`).
    How to fix: clear work arrays at the start of a call, and draw random numbers from held noise.
    """
    q, tape = Question.at(s, "repeat"), s.tape()
    new = q.ask(tape)
    again = {"a new layer's": new}
    if s.facts.tape in ("functional", "last"):
        again["the same layer's second"] = outputs(forward(s, tape, copied(q.primals)))
    ys = [k for k in q.answer if k.startswith("y")]
    yield _evidence("y", q, ys, again)
    yield _evidence("cotangents", q, [k for k in q.answer if k not in ys], {"a new layer's": new})
    if s.facts.tape in ("functional", "last"):
        yield _twice(s, q)


def _twice(s: Subject, q: Question) -> Evidence:
    """A second backward from the same forward: as the first, or with parameters accumulated."""
    tape = s.tape()
    q.ask(tape)
    twice, refused = attempt(lambda: backward(s, tape, [np.copy(dy) for dy in q.dys]))
    if refused:                                            # residuals that were freed: the clearest answer of all
        return found("repeat", "second backward", [], [f"a second backward is refused: {refused}"])
    own = [cotangent(k) for k in s.differentiable if k not in s.inputs]
    added = {k: twice[k] / 2 for k in own if k in twice and k in q.answer and not q.near(k, twice[k])}
    e = _evidence("second backward", q, [k for k in q.answer if not k.startswith("y")], {"the second backward's": twice | added})
    adds = [*e.notes, "a second backward adds to the cotangents of parameters"]
    return e if not added or e.verdict is Verdict.FAIL else found("repeat", "second backward", [], adds)


def _evidence(what: str, q: Question, names: list[str], others: Mapping[str, Answer]) -> Evidence:
    """What draws has no rounding to measure: any other order of summation is all that is allowed."""
    pairs = [(whose, k, other.get(k)) for whose, other in others.items() for k in names]
    wrong = [f"{whose} {k} is another" for whose, k, b in pairs if b is None or not q.near(k, b)]
    bits = all(b is not None and np.array_equal(q.answer[k], b, equal_nan=b.dtype.kind in "fc") for _, k, b in pairs)
    return found("repeat", what, wrong, () if bits else ("equal within rounding, not to the bit",))
