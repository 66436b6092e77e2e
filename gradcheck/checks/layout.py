"""The numbers do not depend on how arrays lie in memory."""
from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..answers import Answer, Question, ask, attempt, found
from ..evidence import Evidence
from ..inner import Array
from ..subjects import Subject
from . import check


@check("state", since="0.1.0")
def layout(s: Subject) -> Iterator[Evidence]:
    """f and J′ of the same numbers are the same, within rounding, however these numbers lie in memory.

    Every primal and the upstream come in Fortran order, as every second entry of a larger array, with negative strides,
    read-only, at an odd address; inputs and upstream also with stride 0, as `y.sum()` hands its upstream back.
    Sees `reshape`, `ravel("K")`, `as_strided` and raw buffers that take an array for contiguous.
    Cannot see: a layer that copies what it is given, then errs. A layer that refuses a layout in words is noted, and
    accused only if it promises the contract.
    How to fix: take strides from the array, not from its shape, or start with `np.ascontiguousarray`.
    """
    plain = Question.at(s, "layout")
    for name, lay in LAYOUTS.items():
        yield _evidence(s, name, plain, lambda lay=lay: ask(s, {k: lay(x) for k, x in plain.primals.items()}, [lay(dy) for dy in plain.dys]))   # type: ignore[misc]
    alike = Question(s, {k: _level(x) if k in s.inputs else x for k, x in plain.primals.items()}, tuple(map(_level, plain.dys)))
    yield _evidence(s, "stride 0", alike, lambda: ask(s, {k: _flat(x) if k in s.inputs else np.copy(x) for k, x in alike.primals.items()},
                                                      [_flat(dy) for dy in alike.dys]))


def _evidence(s: Subject, name: str, plain: Question, asked: Callable[[], Answer]) -> Evidence:
    answer, refused = attempt(asked)
    if not refused:
        return found("layout", name, plain.departures(answer))
    said = f"arrays of this layout are refused: {refused}"
    return found("layout", name, [said] if s.facts.contract else [], [] if s.facts.contract else [said])


def _sliced(x: Array) -> Array:
    """Every second entry along each axis of an array whose other entries are another number."""
    room = np.full([2 * n for n in x.shape], 1, x.dtype)
    view = room[(slice(None, None, 2),) * x.ndim + (...,)]
    view[...] = x
    return view


def _reversed(x: Array) -> Array:
    back = (slice(None, None, -1),) * x.ndim + (...,)
    return np.ascontiguousarray(x[back]).reshape(x.shape)[back]


def _read_only(x: Array) -> Array:
    x = np.copy(x)
    x.flags.writeable = False
    return x


def _misaligned(x: Array) -> Array:
    raw = np.empty(x.nbytes + 1, np.uint8)
    odd = raw[1:].view(x.dtype).reshape(x.shape)
    odd[...] = x
    return odd


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "Fortran order": lambda x: np.array(x, order="F"),
    "every second entry": _sliced,
    "negative strides": _reversed,
    "read-only": _read_only,
    "odd address": _misaligned,
}


def _level(x: Array) -> Array:
    """The array with every row equal to its first; integers, which may index, as they are."""
    return np.array(np.broadcast_to(x[:1], x.shape)) if x.ndim and x.dtype.kind == "f" and len(x) else np.copy(x)


def _flat(x: Array) -> Array:
    """The same numbers with stride 0 along the first axis."""
    return np.broadcast_to(x[:1], x.shape) if x.ndim and x.dtype.kind == "f" and len(x) else np.copy(x)
