"""Measure ⟨dy, J v⟩ of a subject along random directions, each number with its bound. Needs only forward calls.

A large output is reduced to at most `BUCKETS` partial inner products, so memory stays that of the primals. Components
that sit on a kink, or whose own table is spoilt by one, are left out of `dy` and counted: the rest is judged as finely.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from . import differences
from .inner import Array, direction, eps_of, rms, upstream
from .rounding import jittered, less
from .subjects import Arrays, Subject

BUCKETS = 4096            # components of one ladder
MOST_DROPPED = 0.5        # the share of components beyond which nothing is left out: the rest would not stand for the layer
MARGIN = 10.0             # K: a discrepancy beyond K bounds is an error; within, it is not
LOWER = tuple(float(np.finfo(t).eps) for t in (np.float32, np.float16))          # the precisions that values are rounded to on the way
ROUGH = 1e3               # values this many times rougher than their dtype were computed in a lower precision


def demand_of(eps: float) -> float:
    """The resolution asked for by default at this precision: 1e-7 in float64, 1e-3 in float32, 1e-1 in float16."""
    return float(10.0 ** round(0.45 * np.log10(eps)))


@dataclass(frozen=True)
class Probe:
    """Tangents by primal's name, and an upstream for each output."""
    v: Arrays
    dy: tuple[Array, ...]


@dataclass(frozen=True)
class Measured:
    """φ'(0) = ⟨dy, J v⟩ with |value − truth| ≤ bound, `probe.dy` being zero at what was left out."""
    probe: Probe
    value: float
    bound: float
    dropped: int                        # components left out because their own table was unclean: a kink within the steps
    kinked: int                         # components left out because the point is a kink of theirs
    components: int
    ladder: differences.Ladder          # of the one sum that was used
    step: float
    fine: bool                          # whether narrower steps would not serve: the bound is small, or mostly rounding


@dataclass(frozen=True)
class Field:
    """A subject as a function of a step along a direction. `zoom` is the size of the directions that its noise is measured on."""
    subject: Subject
    zoom: float = 1.0

    @cached_property
    def ys(self) -> tuple[Array, ...]:
        """The outputs at the point."""
        return self.subject(self.subject.primals)

    @cached_property
    def eps(self) -> float:
        """The precision of what the layer reads and returns, as its dtypes claim it."""
        s = self.subject
        return eps_of([*self.ys, *(s.primals[k] for k in s.differentiable)])

    @cached_property
    def _rehearsal(self) -> tuple[Array, float]:
        """From a probe of its own: the rounding noise of each component for an upstream of norm 1, and that of all relative to the values."""
        probe = self.probe(self.subject.rng("noise"))
        here = self._reduce(probe.dy, self.ys)
        noise, still = differences.noise_of(self.curve(probe), here, self.eps)
        if still.sum() > still.size / 2:
            noise = self._rounded(self.curve(probe), here, still, noise)
        known = np.isfinite(noise)
        return noise / self._norms(probe.dy), float(np.linalg.norm(noise[known]) / (np.linalg.norm(here[known]) or 1.0))

    def _rounded(self, curve: differences.Curve, here: Array, still: Array, noise: Array) -> Array:
        """The noise of values that rest on small steps because they were rounded to a lower precision, if they were: then they move by roundings of it."""
        lower = [eps for eps in LOWER if eps > self.eps]
        moved = still & (curve(lower[-1] ** (3 / 8)) != here) if lower else ~still
        for eps in lower if moved.sum() > still.size / 2 else ():
            coarse, rests = differences.noise_of(curve, here, self.eps, eps)
            if np.mean(rests[moved]) < 0.5 and np.median(coarse[moved]) < eps * np.median(np.abs(here[moved])):
                return coarse
        return noise

    @property
    def precision(self) -> float:
        """The precision that the values turn out to have: that of their dtype, unless they are far rougher (float32 inside float64)."""
        seen = 2 * self._rehearsal[1]
        return seen if ROUGH * self.eps < seen < 1 else self.eps

    def noise(self, probe: Probe) -> Array:
        """The rounding noise of each component of a probe."""
        with np.errstate(invalid="ignore"):
            norms = self._norms(probe.dy)
            return np.where(norms > 0, self._rehearsal[0] * norms, 0.0)

    def probe(self, rng: np.random.Generator, names: Sequence[str] | None = None) -> Probe:
        """A random probe that moves the primals `names`, all differentiable ones by default."""
        s = self.subject
        return Probe({k: self.zoom * direction(rng, s.primals[k]) for k in names or s.differentiable}, self.upstream(rng))

    def upstream(self, rng: np.random.Generator) -> tuple[Array, ...]:
        """A random cotangent for each output."""
        return upstream(rng, self.ys, self._sizes)

    @cached_property
    def _sizes(self) -> tuple[float, ...]:
        """How large each of several outputs is. One that is small by cancellation, at most rounding perhaps, is as large as what cancelled."""
        sizes = tuple(map(rms, self.ys))
        if len(sizes) < 2:
            return sizes
        rng = self.subject.rng("sizes")
        beside = self.there({k: jittered(rng, x) for k, x in self.subject.primals.items()})
        return tuple(max(size, rms(less(y, near)) / self.eps) for size, y, near in zip(sizes, self.ys, beside, strict=True))

    def outputs(self, v: Arrays, t: float) -> tuple[Array, ...]:
        """The outputs at x + t v, on arrays made for this call alone."""
        return self.there({k: _moved(x, t, v[k]) if k in v else np.copy(x) for k, x in self.subject.primals.items()})

    def there(self, primals: dict[str, Array]) -> tuple[Array, ...]:
        """The outputs at other primals, which are given away; NaN where the layer, which takes the point's own, raises: beyond its domain."""
        ys = self.ys
        try:
            return self.subject.consume(primals)
        except Exception:
            return tuple(np.full(y.shape, np.nan, np.result_type(y, np.float16)) for y in ys)

    def curve(self, probe: Probe) -> differences.Curve:
        """t -> the components dy ∘ f(x + t v), summed in buckets."""
        return lambda t: self._reduce(probe.dy, self.outputs(probe.v, t))

    def short(self, probe: Probe, h: float) -> float:
        """One central difference of the whole sum."""
        g = self.curve(probe)
        with np.errstate(all="ignore"):
            return float(np.sum(g(h) - g(-h))) / (2 * h)

    def measure(self, probe: Probe, rng: np.random.Generator, reach: float = 1.0, most: float = MOST_DROPPED) -> Measured:
        """⟨dy, J v⟩ by differences, without at most the share `most` of unclean components.

        Calls: 16 forwards, and 4 more where kinks lie within the narrowest steps; for the first probe, those of the noise.
        """
        curve, here = self.curve(probe), self._reduce(probe.dy, self.ys)
        ladder = differences.climb(curve, here, self.noise(probe), self.precision, rng, reach)
        found = self._settled(probe, ladder, most)
        return found if found.fine else self._settled(probe, differences.descend(ladder, curve, here), most)

    def _settled(self, probe: Probe, ladder: differences.Ladder, most: float) -> Measured:
        """What a ladder says of its probe."""
        goal = demand_of(self.precision) / (10 * MARGIN) * float(np.linalg.norm(ladder.odd[-2, ladder.usable]))
        kept, found = differences.clean(ladder, most, goal)
        value, bound, unclean, step = (float(a[0]) for a in (found.value, found.bound, found.unclean, found.step))
        kinked, left = int(ladder.kinked.sum()), int((~kept).sum())
        return Measured(replace(probe, dy=self._masked(probe.dy, kept)), value, bound, left - kinked, kinked, len(kept), ladder.total(kept), step,
                        bound <= goal or unclean < bound / 2)

    def _reduce(self, dys: Sequence[Array], ys: Sequence[Array]) -> Array:
        """The components of Re ⟨dy, y⟩: its terms, or their sums in buckets."""
        with np.errstate(all="ignore"):
            parts = [(np.conj(dy) * y).real.astype(np.float64).ravel() for dy, y in zip(dys, ys, strict=True)]
            flat = np.concatenate(parts) if len(parts) != 1 else parts[0]
            return flat if flat.size <= BUCKETS else np.add.reduceat(flat, self._starts(flat.size))

    def _norms(self, dys: Sequence[Array]) -> Array:
        """The norm of the upstream of each component."""
        return np.asarray(np.sqrt(self._reduce(dys, dys)))

    def _masked(self, dys: Sequence[Array], kept: Array) -> tuple[Array, ...]:
        """The upstreams, zero at the components that are not kept."""
        if kept.all():
            return tuple(dys)
        size = sum(dy.size for dy in dys)
        owner = np.arange(size) if size <= BUCKETS else np.searchsorted(self._starts(size), np.arange(size), side="right") - 1
        mask, masked = kept[owner], []
        for dy in dys:
            masked.append(np.where(mask[:dy.size].reshape(dy.shape), dy, dy.dtype.type(0)))
            mask = mask[dy.size:]
        return tuple(masked)

    @staticmethod
    def _starts(size: int) -> Array:
        return np.linspace(0, size, BUCKETS, endpoint=False).astype(int)


def _moved(x: Array, t: float, v: Array) -> Array:
    """x + t v in x's dtype, with one array more where the dtypes agree."""
    step = np.asarray(v * t)
    return np.asarray(np.add(x, step, out=step) if step.dtype == x.dtype else np.add(x, step, dtype=x.dtype, casting="same_kind"))
