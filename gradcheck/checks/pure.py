"""Nothing that the layer is given is changed."""
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from ..answers import Question, forward, found
from ..evidence import Evidence
from ..inner import Array
from ..subjects import Subject, copied
from . import check
from .values import somewhere


@check("state", since="0.1.0")
def pure(s: Subject) -> Iterator[Evidence]:
    """Inputs, parameters and upstream are the same bits after forward and after backward.

    A layer that writes into an array of its caller's spoils another layer that saved it, though its own gradient is right.
    Asked at the point, and once more with special values: some write only where something is large, or zero.
    The convention "in place" names arrays that it overwrites on purpose ("upstream" is one): then its result lies there.
    Cannot see: arrays that are returned and written later (`alias`), nor what a layer keeps to itself.
    How to fix: write into an array that was made in this call; `x = x + b` where `x += b` stood.
    """
    found_: dict[str, list[str]] = {}
    for there in filter(None, (s, somewhere(s, "pure"))):
        for when, wrong in _changes(there).items():
            found_.setdefault(when, []).extend(wrong)
    for when, wrong in found_.items():
        yield found("pure", when, wrong if when.startswith("in place") else [f"{when} changed {w}" for w in wrong])


def _changes(s: Subject) -> dict[str, list[str]]:
    """What forward, and backward, changed; and where results lie that are declared to overwrite something."""
    given, tape, lent = copied(s.primals), s.tape(), declared(s)
    before = copied(given)
    ys = forward(s, tape, given)
    kept = [k for k in before if k not in lent]
    wrong = {"forward": _changed(before, given, kept)}
    if given.keys() & lent:
        wrong["in place, forward"] = [*_elsewhere("an output", ys, {k: given[k] for k in lent & given.keys()})]
    dys = Question.at(s, "pure").dys
    handed = {f"the upstream of output {i + 1}": np.copy(dy) for i, dy in enumerate(dys)}
    sent, before, mine = copied(handed), copied(given), "upstream" in lent
    s.counter.backward += 1
    with np.errstate(all="ignore"):
        d = tape.backward(*handed.values())
    wrong["backward"] = [*_changed(before, given, kept), *([] if mine else _changed(sent, handed, handed))]
    if mine:
        wrong["in place, backward"] = [*_elsewhere("a cotangent", [x for x in d.values() if x is not None], handed)]
    return wrong


def declared(s: Subject) -> set[str]:
    """The arrays that the layer overwrites on purpose."""
    return set(re.findall(r"\w+", s.convention.get("in place", "")))


def _elsewhere(what: str, results: Sequence[Array], lent: Mapping[str, Array]) -> Iterator[str]:
    """The arrays that are declared to be overwritten, and in which no result lies."""
    return (f"{k} is declared to be overwritten, and {what} lies elsewhere" for k, x in lent.items() if not any(np.may_share_memory(r, x) for r in results))


def _changed(before: Mapping[str, Array], after: Mapping[str, Array], names: Iterable[str]) -> list[str]:
    """Each of `names` whose array is no longer the same, with its first changed entry."""
    return [f"{k}{_first(before[k], after[k])}" for k in names if not _same(before[k], after[k])]


def _same(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _first(a: Array, b: Array) -> str:
    if a.shape != b.shape or not a.ndim:
        return f": {a.shape} became {b.shape}" if a.shape != b.shape else f": {a} became {b}"
    at = tuple(map(int, np.argwhere(~((a == b) | ((a != a) & (b != b))))[0])) if not np.array_equal(a, b, equal_nan=a.dtype.kind in "fc") else (0,) * a.ndim
    return f"[{', '.join(map(str, at))}]: {a[at]:.6g} became {b[at]:.6g}"

