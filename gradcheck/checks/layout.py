"""The numbers do not depend on how arrays lie in memory."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..answers import Question, ask, attempt, found
from ..evidence import Evidence
from ..inner import Array
from ..subjects import Subject
from . import check


@check("state", since="0.1.0")
def layout(s: Subject) -> Iterator[Evidence]:
    """f and J′ of the same numbers are the same, within rounding, however these numbers lie in memory.

    Every primal and the upstream come in Fortran order, with two axes of three or more swapped, as every second entry of a
    larger array, as the left part of wider rows, with negative strides, read-only, at an odd address; inputs and upstream also
    with stride 0 along the first axis, the last, or all of them, as `y.sum()` hands its upstream back. All arrays lie so, or
    at some points the primals alone, at others the upstream alone.
    Sees `reshape`, `ravel("K")`, `as_strided` and raw buffers that take an array for contiguous, and an upstream that is
    read with the strides of an input.
    Cannot see: a layer that copies what it is given, then errs. A layer that refuses a layout in words is noted, and
    accused only if it promises the contract.
    How to fix: take strides from the array, not from its shape, or start with `np.ascontiguousarray`.
    """
    plain, whose = Question.at(s, "layout"), s.rng("layout")
    for name, way in LAYOUTS.items():
        if way.rank > max(x.ndim for x in (*plain.primals.values(), *plain.dys)):
            continue                                       # it would be a layout that was looked at already
        alone = ALONE[int(whose.integers(len(ALONE)))]
        yield _judged(s, name, [_departures(plain, way, *who) for who in (("primals", "upstream"), alone)])


@dataclass(frozen=True)
class Way:
    """How an array lies in memory: `lay` puts it there; where that changes numbers, `level` gives those that it has then."""
    lay: Callable[[Array], Array]
    level: Callable[[Array], Array] | None = None
    rank: int = 0                                          # axes that it takes to be a layout of its own


Told = tuple[list[str], str]          # what departs, and what the layer raised instead


def _departures(plain: Question, way: Way, *whose: str) -> Told:
    """What a layer answers when these arrays lie so, against the same numbers in ordinary arrays."""
    s = plain.subject
    chosen = [k for k in plain.primals if "primals" in whose and (way.level is None or k in s.inputs)]
    level = way.level or np.copy
    same = plain if way.level is None else Question(s, {**plain.primals, **{k: level(plain.primals[k]) for k in chosen}},
                                                    tuple(level(dy) if "upstream" in whose else dy for dy in plain.dys))
    primals = {k: way.lay(x) if k in chosen else np.copy(x) for k, x in same.primals.items()}
    answer, refused = attempt(lambda: ask(s, primals, [way.lay(dy) if "upstream" in whose else np.copy(dy) for dy in same.dys]))
    wrong = [] if refused else same.departures(answer, slack=lambda k: 0.0 if way.level is None else _alike(same) * same.room(k))
    return [w if len(whose) > 1 else f"with the {whose[0]} alone, {w}" for w in wrong], refused


def _alike(q: Question) -> float:
    """Equal addends round alike, and how many are summed one by one is a matter of strides: as many roundings as there are, each of the usual room."""
    return float(max(x.size for x in (*q.primals.values(), *q.dys)))


def _judged(s: Subject, name: str, told: Sequence[Told]) -> Evidence:
    wrong = [w for departing, _ in told for w in departing]
    said = [f"arrays of this layout are refused: {refused}" for _, refused in told[:1] if refused]
    return found("layout", name, wrong + said * s.facts.contract, [] if s.facts.contract else said)


def _sliced(x: Array) -> Array:
    """Every second entry along each axis of an array whose other entries are another number."""
    room = np.full([2 * n for n in x.shape], 1, x.dtype)
    view = room[(slice(None, None, 2),) * x.ndim + (...,)]
    view[...] = x
    return view


def _left(x: Array) -> Array:
    """The left part of wider rows."""
    room = np.full((*x.shape[:-1], x.shape[-1] + 1) if x.ndim else (), 1, x.dtype)
    view = room[..., :-1] if x.ndim else room
    view[...] = x
    return view


def _swapped(x: Array) -> Array:
    """With the last two axes in the other order."""
    return np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2) if x.ndim > 1 else np.copy(x)


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


def _flat(x: Array, axis: int = 0) -> Array:
    """The array with all entries along an axis equal to the first, and stride 0 there; integers, which may index, as they are."""
    return np.broadcast_to(x.take([0], axis), x.shape) if x.ndim and x.dtype.kind == "f" and x.shape[axis] else np.copy(x)


def _flat_across(x: Array) -> Array:
    return _flat(x, -1)


def _one(x: Array) -> Array:
    """The array with every entry equal to its first, and stride 0 along all axes."""
    return np.broadcast_to(x.ravel()[:1].reshape(()), x.shape) if x.size and x.dtype.kind == "f" else np.copy(x)


ALONE = (("primals",), ("upstream",))
LAYOUTS = {
    "Fortran order": Way(lambda x: np.array(x, order="F")),
    "two axes swapped": Way(_swapped, rank=3),
    "every second entry": Way(_sliced),
    "the left part of wider rows": Way(_left),
    "negative strides": Way(_reversed),
    "read-only": Way(_read_only),
    "odd address": Way(_misaligned),
    "stride 0": Way(_flat, lambda x: np.array(_flat(x))),
    "stride 0 along the last axis": Way(_flat_across, lambda x: np.array(_flat_across(x)), rank=2),
    "stride 0 throughout": Way(_one, lambda x: np.array(_one(x))),
}
