"""Where a cotangent is wrong, and what kind of mistake it is.

Small cases are measured whole (`pictures`), at the failing point and at a few of other sizes, whose axes can be told apart; what
is claimed there is held against a table of mistakes (`patterns`). Large cotangents are searched by groups (`search`). Where the
wrong entries lie is said in words of the axes (`regions`).
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from msgspec.structs import replace as changed

from ..evidence import Entry, Evidence
from ..inner import Array
from ..law import Size
from ..subjects import Subject
from .patterns import HYPOTHESES as HYPOTHESES
from .patterns import UNRECOGNISED as UNRECOGNISED
from .patterns import Kind as Kind
from .patterns import recognise as recognise
from .pictures import SMALL as SMALL
from .pictures import Picture as Picture
from .pictures import aligned, axes_of
from .pictures import picture as picture
from .regions import region
from .search import Looking as Looking
from .search import search

LISTED = 5                # worst entries that are kept
ANY = 2                   # a failure at so small a size is expected at any size
MAP = 16                  # rows and columns of the error map
TELLING = ((3, 2, 4), (4, 3, 2), (2, 5, 3))            # sizes, axis by axis, of the cases in which axes can be told apart …
CLOSER = ((2, 3, 4, 2, 3), (3, 4, 2, 1, 2), (1, 3, 5, 2, 2))    # … where there are more than three


def telling(s: Subject) -> Iterator[Subject]:
    """The same layer at small unequal sizes and other values, and at sizes a little above its own: where it takes them.

    A mistake that needs a large size does not show at the small ones; they are then left aside.
    """
    table, own = TELLING if len(s.point.sizes) <= len(TELLING[0]) else CLOSER, s.point.sizes
    small = [_sized(own, cycle(sizes)) for sizes in table]
    above = [{a: n + (n > ANY) if isinstance(n, int) else n for a, n in own.items()}]
    for i, sizes in enumerate([*small, *(above if above != [own] else [])]):
        try:
            there = s.at(sizes=sizes, seed=s.point.seed + 1 + i)
            there(there.primals)
        except Exception:                                  # sizes that the layer refuses tell nothing of its mistake
            continue
        yield there


def _sized(own: Mapping[str, Size], sizes: Iterator[int]) -> dict[str, Size]:
    """Every axis, and each of those that `*` stands for, of the next size."""
    return {a: next(sizes) if isinstance(of, int) else tuple(next(sizes) for _ in of or (1,)) for a, of in own.items()}


def located(e: Evidence, here: Picture | None, others: Sequence[Picture], look: Callable[[], Looking]) -> Evidence:
    """A failure with its worst entries and the kind of mistake. `here`: the failing point, if it is small; `others`: the telling ones."""
    k, seen = e.primal, aligned([p for p in (here, *others) if p])
    bad = [p for p in seen if k in p.claimed and (p.misshapen(k) or p.wrong(k).any())]
    if bad and (bad[0].misshapen(k) or here is not None and bad[0].x is here.x):
        shown = max(bad, key=lambda p: p.x[k].size)
        return changed(e, **_entries(bad[0], k), diagnosis=_said(recognise(seen, k), shown, seen, k))
    if here is not None and "subgradient" in e.marks:
        return _kinked(e)
    return _searched(e, look(), seen if bad else [])


def _entries(p: Picture, k: str) -> dict[str, Any]:
    """The worst entries and the map of a small case; none where no entry corresponds to one of the claim's."""
    if p.misshapen(k):
        return {}
    entries = p.entries(k)
    wrong = (x for x, bad in zip(entries, p.wrong(k).ravel(), strict=True) if bad)
    return {"worst": tuple(sorted(wrong, key=_order)[:LISTED]), "map": _map(p.x[k].shape, entries)}


def _kinked(e: Evidence) -> Evidence:
    return changed(e, diagnosis=f"only at kinks or ties: where the function is smooth, d{e.primal} is right")


def _searched(e: Evidence, look: Looking, seen: Sequence[Picture]) -> Evidence:
    """The worst entries of a large case, by search; the kind by small ones where it is wrong too, else by what the search came across."""
    s, k = look.field.subject, e.primal
    found = search(look, axes_of(s, look.field.ys)[k])
    if not found.wrong:
        return changed(e, diagnosis="what is off is spread thinly: no single entry is off by more than can be told")
    told = seen or [Picture.of_entries(k, s.primals[k], found.entries, s.point.sizes)]
    kind = recognise(told, k) if seen or len(found.wrong) > 1 else Kind(UNRECOGNISED, "")
    if kind.name == UNRECOGNISED:
        return changed(e, worst=found.wrong[:LISTED], diagnosis=f"d{k} is wrong {found.where}".rstrip())
    return changed(e, worst=found.wrong[:LISTED], diagnosis=_sentences(kind, found.where))


def _said(kind: Kind, shown: Picture, seen: Sequence[Picture], k: str) -> str:
    """The kind, what the others are, where, and the usual cause."""
    d, t = shown.claim(k), shown.true[k]
    where = "" if shown.misshapen(k) else region(shown.wrong(k), shown.axes[k], (d == 0) & (np.abs(t) <= shown.bound[k]))
    return _sentences(Kind(kind.name, kind.sentence + _siblings(kind, seen, k), kind.cause), where)


def _sentences(kind: Kind, where: str) -> str:
    said = [kind.sentence, f"wrong: {where}" if where and where != "all" else "", f"usually {kind.cause}" if kind.cause else ""]
    return "; ".join(filter(None, said))


def _siblings(kind: Kind, seen: Sequence[Picture], k: str) -> str:
    """What is to be said of the other cotangents."""
    others = [j for j in seen[0].claimed if j != k]
    right = [f"d{j}" for j in others if all(j in p.right for p in seen)]
    known = [] if kind.name == UNRECOGNISED else [j for j in others if f"d{j}" not in right]
    alike = [f"d{j}" for j in known if recognise(seen, j).sentence == kind.sentence.replace(f"d{k}", f"d{j}")]
    rest = [f"d{j}" for j in others if f"d{j}" not in (*right, *alike)]
    said = [(alike, "the same holds for {}", "the same holds for {}"), (right, "{} is right", "{} are right"), (rest, "{} is wrong too", "{} are wrong too")]
    return "".join(", " + (many if len(names) > 1 else one).format(_and(names)) for names, one, many in said if names)


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _order(e: Entry) -> float:
    return -abs(e.claimed - e.numeric) if np.isfinite(e.claimed - e.numeric) else -np.inf


def _map(shape: tuple[int, ...], entries: Sequence[Entry]) -> tuple[tuple[float, ...], ...]:
    """Relative errors of the block around the worst entry, the last axis along the columns."""
    largest = max((abs(e.numeric) for e in entries), default=0.0) or 1.0
    errors: Array = np.array([abs(e.claimed - e.numeric) / largest for e in entries]).reshape(-1, shape[-1] if shape else 1)
    at = np.unravel_index(int(np.argmax(errors)), errors.shape)
    lo = [max(0, min(int(a) - MAP // 2, n - MAP)) for a, n in zip(at, errors.shape, strict=True)]
    return tuple(tuple(map(float, row)) for row in errors[lo[0]:lo[0] + MAP, lo[1]:lo[1] + MAP])
