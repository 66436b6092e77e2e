"""What was returned stays as it was."""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..answers import Question, attempt, cotangent, forward, found, shuffled
from ..evidence import Evidence
from ..subjects import Subject, copied
from . import check


@check("state", since="0.1.0")
def alias(s: Subject) -> Iterator[Evidence]:
    """An output or cotangent that was returned is the same bits after the layer was called again, forward and backward.

    Sees a work array that is handed out and used again. Gradients that a protocol publishes in a dictionary are meant to
    change and are not judged. Memory that is shared with an input, as in `Flatten`, is noted: it is no error, unless the
    convention "alias" declares a "copy"; a "view" that is declared must be one.
    Cannot see: an array that the caller changes. How to fix: return a new array, or a copy of the work array.
    """
    a, b = Question.at(s, "alias"), Question.at(s, "alias again", shuffled(s, "alias"))
    given, tape = copied(a.primals), s.tape()
    ys = forward(s, tape, given)
    dys = [np.copy(dy) for dy in a.dys]
    s.counter.backward += 1
    with np.errstate(all="ignore"):
        d = tape.backward(*dys)
    held = {**{f"output {i + 1}": y for i, y in enumerate(ys)}, **{cotangent(k): v for k in s.inputs if (v := d.get(k)) is not None}}
    before = {k: np.copy(v) for k, v in held.items()}
    for again in (tape, s.tape()):
        attempt(lambda again=again: b.ask(again))          # type: ignore[misc]      # a layer may refuse a second call: nothing changes then
    lent = {**given, **{f"upstream {i + 1}": dy for i, dy in enumerate(dys)}}
    shared = [f"{k} shares memory with {n}" for k, v in held.items() for n, x in lent.items() if np.may_share_memory(v, x)]
    changed = [k for k, v in held.items() if v.tobytes() != before[k].tobytes()]
    yield found("alias", "returned", (f"{k} changed after it was returned, when the layer was called again" for k in changed), shared)
    if declared := s.convention.get("alias"):
        views = [f"output {i + 1} shares memory with {k}" for i, y in enumerate(ys) for k in s.inputs if np.may_share_memory(y, given[k])]
        missing = ["no output shares memory with an input, and the convention declares a view"] * (not views)
        yield found("alias", "outputs", missing if declared == "view" else [f"{v}, and the convention declares a copy" for v in views])
