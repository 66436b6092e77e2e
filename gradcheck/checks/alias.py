"""What was returned stays as it was."""
from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ..answers import Question, backward, cotangent, forward, found, shuffled
from ..evidence import Evidence
from ..inner import Array
from ..subjects import Subject, copied
from . import check


@check("state", since="0.1.0")
def alias(s: Subject) -> Iterator[Evidence]:
    """An output or cotangent that was returned is the same bits after the layer was called again, forward and backward.

    Sees a work array that is handed out and used again. Gradients that a protocol publishes in a dictionary are meant to
    change and are not judged. Memory that is shared with an input, as in `Flatten`, is noted: it is no error.
    Cannot see: an array that the caller changes. How to fix: return a new array, or a copy of the work array.
    """
    a, b = Question.at(s, "alias"), Question.at(s, "alias again", shuffled(s, "alias"))
    given, tape = copied(a.primals), s.tape()
    ys = forward(s, tape, given)
    dys = [np.copy(dy) for dy in a.dys]
    s.counter.backward += 1
    with np.errstate(all="ignore"):
        d = tape.backward(*dys)
    held = {**{f"output {i + 1}": y for i, y in enumerate(ys)}, **{cotangent(k): d[k] for k in s.inputs if isinstance(d.get(k), np.ndarray)}}
    before = {k: np.copy(v) for k, v in held.items() if v is not None}
    for again in (tape, s.tape()) if s.facts.tape != "recurrent" else (s.tape(),):
        forward(s, again, copied(b.primals))
        if s.facts.tape != "list" or again is not tape:
            backward(s, again, [np.copy(dy) for dy in b.dys])
    shared = [f"{k} shares memory with {n}" for k, v in held.items() for n, x in {**given, **dict(zip(("the upstream",), dys, strict=False))}.items()
              if v is not None and np.may_share_memory(v, x)]
    yield found("alias", "returned", _changed(before, held), shared)


def _changed(before: Mapping[str, Array], now: Mapping[str, Array | None]) -> Iterator[str]:
    for k, was in before.items():
        v = now[k]
        if v is not None and v.tobytes() != was.tobytes():
            yield f"{k} changed after it was returned, when the layer was called again"
