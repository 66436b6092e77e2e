"""What an answer that depends on other calls is made of: the residuals of the call before, its cotangents, or both added up."""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from msgspec.structs import replace as changed

from ..answers import Answer, Question, attempt, backward, cotangent, forward, outputs, shuffled
from ..evidence import Evidence
from ..subjects import Subject, copied

CLOSE = 1e-6              # relative: what different calls give is not so near by accident


def explained(s: Subject, e: Evidence) -> Evidence:
    """A failure of a check that lets calls A and B mix, with what A's cotangents are after B, where that can be told."""
    return changed(e, diagnosis="; ".join([*filter(None, [e.diagnosis]), *_mixtures(s)][:2]))


def _mixtures(s: Subject) -> Iterator[str]:
    a, b = Question.at(s, "A"), Question.at(s, "B", shuffled(s, "interleave"))
    after, refused = attempt(lambda: _after(s, a, b))
    crossed, misfit = attempt(lambda: Question(s, b.primals, a.dys).ask())
    if refused:
        return
    kinds = {"are those of the call before": b.answer, "are twice what they should be": {k: 2 * v for k, v in a.answer.items()},
             "read what a later forward kept, on the class, the module or the function": {} if misfit else crossed}
    for said, answer in kinds.items():
        same = [k for k in map(cotangent, s.differentiable) if k in after and not _equal(a, k, after) and _equals(after[k], answer.get(k))]
        if same:
            yield f"{', '.join(same)} {said}"


def _after(s: Subject, a: Question, b: Question) -> Answer:
    """What A's backward gives when B's forward and backward came between."""
    first, second = s.tape(), s.tape()
    outputs(forward(s, first, copied(a.primals)))
    forward(s, second, copied(b.primals))
    backward(s, second, [np.copy(dy) for dy in b.dys])
    return backward(s, first, [np.copy(dy) for dy in a.dys])


def _equal(q: Question, k: str, other: Answer) -> bool:
    return k not in q.answer or k not in other or q.near(k, other[k])


def _equals(x: np.ndarray, y: np.ndarray | None) -> bool:
    return y is not None and x.shape == y.shape and bool(np.allclose(x, y, rtol=CLOSE))
