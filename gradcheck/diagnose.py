"""Where a cotangent is wrong, and what kind of mistake it is."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .evidence import Entry
from .inner import Array, dot, scale
from .judge import Reading
from .law import Size
from .probes import Field, Measured, Probe

SMALL = 200               # entries that are measured one by one; larger primals are searched by halves
LISTED = 5                # worst entries that are kept
SAME = 1e-4               # how far ratios may scatter and still be one factor
MAP = 16                  # rows and columns of the error map


@dataclass(frozen=True)
class Place:
    """The worst entries, the kind of mistake in a sentence, and relative errors as a picture."""
    worst: tuple[Entry, ...]
    diagnosis: str
    map: tuple[tuple[float, ...], ...] = ()


def locate(field: Field, probe: Probe, k: str, d: Array) -> Place:
    """The wrong entries of the claimed cotangent `d` of primal `k` for the probe's upstream."""
    look = Looking(field, probe, k, d)
    where = list(np.ndindex(d.shape)) if d.size <= SMALL else sorted({look.search(), *look.sample()})
    entries = [look.entry(i) for i in where]
    wrong = sorted((e for e in entries if look.is_wrong(e)), key=lambda e: -_error(e) if np.isfinite(_error(e)) else -np.inf)
    return Place(tuple(wrong[:LISTED]), diagnose(entries, wrong, field.subject.point.sizes), _map(d, entries) if d.size <= SMALL else ())


@dataclass(frozen=True)
class Looking:
    """Measures single entries and subsets of one primal's cotangent."""
    field: Field
    probe: Probe
    k: str
    d: Array

    def measure(self, v: Array) -> Measured:
        return self.field.measure(Probe({self.k: v}, self.probe.dy), self.field.subject.rng("locate", self.k), most=0.0)

    def entry(self, index: tuple[int, ...]) -> Entry:
        """The entry's true value, with its bound. The output parts that are left out here are zero in the claim's upstream too."""
        v = np.zeros(self.d.shape)
        v[index] = step = scale(self.field.subject.primals[self.k])[index]
        m = self.measure(v)
        return Entry(index=tuple(map(int, index)), claimed=float(self.d[index].real), numeric=m.value / step, bound=m.bound / step)

    def is_wrong(self, e: Entry) -> bool:
        x = self.field.subject.primals[self.k]
        return Reading(e.numeric, e.bound + np.finfo(self.d.dtype).eps * abs(e.claimed), np.ones(1), np.array([e.claimed]), x.flat[:1], 0.0).excess > 1

    def search(self) -> tuple[int, ...]:
        """A wrong entry by halves: residuals of a direction's two halves add up, so following the larger cannot lose it."""
        v, chosen = self.probe.v[self.k], np.arange(self.d.size)
        whole = self.residual(v, chosen)
        while len(chosen) > 1:
            first, second = np.array_split(chosen, 2)
            part = self.residual(v, first)
            chosen, whole = (second, whole - part) if abs(whole - part) > abs(part) else (first, part)
        return tuple(map(int, np.unravel_index(chosen[0], self.d.shape)))

    def residual(self, v: Array, chosen: Array) -> float:
        """⟨dy, J v⟩ − ⟨d, v⟩ for the chosen entries of `v`; what is not finite weighs most."""
        part = np.zeros(v.size, v.dtype)
        part[chosen] = v.flat[chosen]
        residual = self.measure(part.reshape(v.shape)).value - dot(self.d.ravel()[chosen], part[chosen])
        return residual if np.isfinite(residual) else np.inf

    def sample(self) -> list[tuple[int, ...]]:
        """A few entries from everywhere: what the pattern of a mistake that is spread out is read from."""
        flat = self.field.subject.rng("sample", self.k).choice(self.d.size, 24, replace=False)
        return [tuple(map(int, np.unravel_index(i, self.d.shape))) for i in flat]


class Seen(NamedTuple):
    """What a hypothesis is judged by: claimed and true values of the entries measured, and of the wrong ones among them."""
    claimed: Array
    true: Array
    wrong: Array              # of bool
    sizes: Mapping[str, Size] # of the axes, for factors that are one of them


Hypothesis = Callable[[Seen], Iterator[str]]


def diagnose(entries: Sequence[Entry], wrong: Sequence[Entry], sizes: Mapping[str, Size]) -> str:
    """The first hypothesis that explains what was measured, as a sentence; "" where none does."""
    listed = {e.index for e in wrong}
    seen = Seen(np.array([e.claimed for e in entries]), np.array([e.numeric for e in entries]), np.array([e.index in listed for e in entries], bool), sizes)
    return next((said for guess in GUESSES for said in guess(seen)), "") if wrong else ""


def _missing(s: Seen) -> Iterator[str]:
    if np.all(s.claimed[s.wrong] == 0):
        yield "the claim is zero where the derivative is not" + ("" if np.all(s.claimed == 0) else f", at {s.wrong.sum()} of {len(s.wrong)} entries looked at")


def _zero(s: Seen) -> Iterator[str]:
    if np.all(np.abs(s.true[s.wrong]) < 1e-6 * np.max(np.abs(s.claimed[s.wrong]))):
        yield "the claim is not zero where the derivative is"


def _factor(s: Seen) -> Iterator[str]:
    """One ratio at every wrong entry, and no right entry but where both are zero."""
    with np.errstate(all="ignore"):
        ratio = s.claimed[s.wrong] / s.true[s.wrong]
    common = float(np.median(ratio))
    if np.isfinite(ratio).all() and np.all(np.abs(ratio - common) <= SAME * abs(common)) and (s.wrong | (s.claimed == 0)).all():
        yield f"every entry is the true value × {common:.6g}" + _named(common, s.sizes)


POWERS = {"1/{}": -1.0, "{}": 1.0, "1/√{}": -0.5, "√{}": 0.5}


def _named(factor: float, sizes: Mapping[str, Size]) -> str:
    """` = 1/n`, where the factor is the size of an axis, or its inverse or root, or the inverse of that."""
    axes = {a: n for a, n in sizes.items() if isinstance(n, int) and n > 1}
    near = [form.format(a) for form, power in POWERS.items() for a, n in axes.items() if abs(abs(factor) - n**power) <= SAME * n**power]
    return (" = " + " or ".join(("−" if factor < 0 else "") + name for name in near)) if near else ""


GUESSES: tuple[Hypothesis, ...] = (_missing, _zero, _factor)


def _error(e: Entry) -> float:
    return abs(e.claimed - e.numeric)


def _map(d: Array, entries: list[Entry]) -> tuple[tuple[float, ...], ...]:
    """Relative errors of the block around the worst entry, the last axis along the columns."""
    largest = max((abs(e.numeric) for e in entries), default=0.0) or 1.0
    errors = np.array([_error(e) / largest for e in entries]).reshape(-1, d.shape[-1] if d.ndim else 1)
    at = np.unravel_index(int(np.argmax(errors)), errors.shape)
    lo = [max(0, min(int(a) - MAP // 2, n - MAP)) for a, n in zip(at, errors.shape, strict=True)]
    return tuple(tuple(map(float, row)) for row in errors[lo[0]:lo[0] + MAP, lo[1]:lo[1] + MAP])
