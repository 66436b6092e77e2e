"""A cotangent too large to measure entry by entry: which of its entries are wrong, found by groups.

Residuals ⟨dy, J v⟩ − ⟨d, v⟩ add up over parts of v. With one direction and one upstream throughout, one backward and a
difference ladder a question tell whether a part holds anything wrong; following the larger half cannot lose it.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..evidence import Entry
from ..inner import Array, dot, scale
from ..judge import Reading
from ..probes import MARGIN, Field, Measured, Probe
from .regions import along

SAMPLED = 16              # entries of the box around what is wrong that are measured, to tell how much of it is
NEARER = 0.01             # of the widest step
FOUND = 3                 # wrong entries that are looked for one after the other before a box is drawn around them


@dataclass(frozen=True)
class Looking:
    """Measures single entries and parts of one primal's cotangent."""
    field: Field
    probe: Probe
    k: str
    d: Array
    claim: Callable[[Sequence[Array]], Array]          # the claimed cotangent for another upstream

    def measure(self, v: Array) -> Measured:
        """⟨dy, J v⟩; nearer where a kink within the steps leaves outputs out, which may be the wrong ones."""
        for reach in (1.0, NEARER):
            m = self.field.measure(Probe({self.k: v}, self.probe.dy), self.field.subject.rng("locate", self.k), reach, most=0.0)
            if not self.fewer(m):
                break
        return m

    def claimed(self, m: Measured) -> Array:
        """The cotangent that belongs to a measurement: outputs that it had to leave out are left out of the upstream too."""
        return self.claim(m.probe.dy) if self.fewer(m) else self.d

    def fewer(self, m: Measured) -> bool:
        """Whether outputs were left out, for a kink or what looked like one."""
        return any(not np.array_equal(a, b) for a, b in zip(m.probe.dy, self.probe.dy, strict=True))

    def entry(self, index: tuple[int, ...]) -> Entry:
        """The entry's true value, with its bound."""
        v = np.zeros(self.d.shape)
        v[index] = step = scale(self.field.subject.primals[self.k])[index]
        m = self.measure(v)
        return Entry(index=tuple(map(int, index)), claimed=float(self.claimed(m)[index].real), numeric=float(m.value / step), bound=float(m.bound / step))

    def is_wrong(self, e: Entry) -> bool:
        return Reading(e.numeric, e.bound + np.finfo(self.d.dtype).eps * abs(e.claimed), np.ones(1), np.array([e.claimed]), np.ones(1), 0.0).excess > 1

    def residual(self, chosen: Array) -> tuple[float, float, bool]:
        """⟨dy, J v⟩ − ⟨d, v⟩ for the chosen entries of v, its limit, and whether all outputs have a part in it. What is not finite weighs most."""
        v = np.where(chosen, self.probe.v[self.k], 0)
        m = self.measure(v)
        d = self.claimed(m)
        left, limit = m.value - dot(d, v), MARGIN * (m.bound + float(np.finfo(d.dtype).eps) * float(np.sum(np.abs(d * v))))
        return (left, limit, not self.fewer(m)) if np.isfinite(left) else (np.inf, 0.0, True)

    def within(self, among: Array, whole: float) -> tuple[int, ...]:
        """A wrong entry among those chosen, by halves: a ladder each."""
        chosen = np.flatnonzero(among)
        while len(chosen) > 1:
            first, second = np.array_split(chosen, 2)
            part, _, full = self.residual(self.only(first))
            rest = whole - part if full else self.residual(self.only(second))[0]
            chosen, whole = (second, rest) if abs(rest) > abs(part) else (first, part)
        return tuple(map(int, np.unravel_index(chosen[0], self.d.shape)))

    def only(self, flat: Array) -> Array:
        """The entries with these numbers."""
        mask = np.zeros(self.d.size, bool)
        mask[flat] = True
        return mask.reshape(self.d.shape)


@dataclass(frozen=True)
class Search:
    """What is wrong in a large cotangent: the entries measured, those of them that are wrong, and where all of it lies, in words."""
    entries: tuple[Entry, ...]
    wrong: tuple[Entry, ...]
    where: str


def search(look: Looking, names: Sequence[str]) -> Search:
    """A wrong entry by halves; then whether it is alone, or one of a few, or of a slice, or of a box: each by what residual is left outside."""
    among, seen = np.ones(look.d.shape, bool), list[Entry]()
    whole, limit, _ = look.residual(among)
    left = whole
    for _ in range(FOUND):
        at = look.within(among, left)
        seen.append(look.entry(at))
        if not look.is_wrong(seen[-1]):                    # too small to be told alone: what is off is spread thinly
            break
        among[at] = False
        left -= _share(look, seen[-1])
        if abs(left) <= max(2 * limit, 1e-9 * abs(whole)):
            return Search(tuple(seen), _worst(look, seen), f"at {_listed(look.k, seen)} alone" if look.d.size > 1 else "")
        if len(seen) == 1 and (slices := [a for a in range(among.ndim) if _nothing_outside(look, {a: (at[a], at[a])}, limit)]):
            return _boxed(look, {a: (at[a], at[a]) for a in slices}, seen, names)
    box = {a: _range(look, a, limit) for a in range(among.ndim)}
    return _boxed(look, {a: r for a, r in box.items() if r != (0, among.shape[a] - 1)}, seen, names)


def _share(look: Looking, e: Entry) -> float:
    return (e.numeric - e.claimed) * float(look.probe.v[look.k][e.index].real)


def _listed(k: str, seen: Sequence[Entry]) -> str:
    return ", ".join(f"{k}[{', '.join(map(str, e.index))}]" for e in seen)


Box = dict[int, tuple[int, int]]                           # axis -> the first and the last place


def _inside(shape: tuple[int, ...], box: Box) -> Array:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(box[a][0], box[a][1] + 1) if a in box else slice(None) for a in range(len(shape)))] = True
    return mask


def _nothing_outside(look: Looking, box: Box, limit: float) -> bool:
    left, own, _ = look.residual(~_inside(look.d.shape, box))
    return abs(left) <= max(limit, own)


def _range(look: Looking, axis: int, limit: float) -> tuple[int, int]:
    """The first and the last place along an axis that hold something wrong: what lies before, and what lies after, has no residual."""
    n = look.d.shape[axis]
    first = _last_true(n, lambda m: _nothing_outside(look, {axis: (m, n - 1)}, limit))
    last = n - 1 - _last_true(n - first, lambda m: _nothing_outside(look, {axis: (0, n - 1 - m)}, limit))
    return first, last


def _last_true(n: int, holds: Callable[[int], bool]) -> int:
    """The largest m < n for which `holds`, where it holds up to some m and no further; 0 holds. By doubling, then by halves: few questions if m is small."""
    low, high = 0, 1
    while high < n and holds(high):
        low, high = high, 2 * high
    high = min(high, n)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _boxed(look: Looking, box: Box, seen: list[Entry], names: Sequence[str]) -> Search:
    """Entries sampled from a box that holds all that is wrong tell how much of it is."""
    inside = np.flatnonzero(_inside(look.d.shape, box))
    rng = look.field.subject.rng("sample", look.k)
    chosen = rng.choice(inside, min(SAMPLED, len(inside)), replace=False)
    sample = [look.entry(tuple(map(int, np.unravel_index(i, look.d.shape)))) for i in chosen]
    bad = [e for e in sample if look.is_wrong(e)]
    words = ", ".join(along(_places(r, look.d.shape[a]), names[a]) for a, r in box.items()) or "all over the array"
    much = "" if len(bad) == len(sample) else f": {len(bad)} of {len(sample)} entries looked at there are wrong"
    entries = [*seen, *(e for e in sample if e.index not in {s.index for s in seen})]
    return Search(tuple(entries), _worst(look, entries), f"at {words}{much}" if box else f"{words}{much}")


def _places(r: tuple[int, int], n: int) -> Array:
    places = np.zeros(n, bool)
    places[r[0]:r[1] + 1] = True
    return places


def _worst(look: Looking, entries: Sequence[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted((e for e in entries if look.is_wrong(e)), key=lambda e: -abs(e.claimed - e.numeric)))
