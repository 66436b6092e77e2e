"""How far a backward pass's own rounding may carry it: measured, and only when an accusation hangs on it."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from .inner import Array, signs
from .subjects import Arrays, Subject

DRAWS = 8                 # pullbacks at points one rounding away
MARGIN = 3.0              # on the largest move seen among them
BESIDE = 2.0 ** -12       # relative: how far from a point's numbers those lie that have all digits
BITS = (8, 11, 24)        # of a significand: bfloat16, half and single precision


def spread(s: Subject, dys: Sequence[Array], k: str, measure: Callable[[Array], float], rng: np.random.Generator, eps: float = 0.0) -> float:
    """The largest `measure` of how primal `k`'s cotangent moves when all that the pullback reads moves by one rounding, or its sums round otherwise.

    eps: the precision of what is computed, where it is less than that of the arrays. A cotangent that is small by cancellation
    has the rounding of what cancelled; no multiple of its own size tells that. The moved ones are compared with each other: one
    that is another at the point alone is no rounding.
    """
    def pulled(primals: Arrays, upstream: Sequence[Array]) -> Array | None:
        with np.errstate(all="ignore"):
            return s.pullback(primals, upstream).get(k)

    moved = [pulled({n: jittered(rng, x, eps) for n, x in s.primals.items()}, [jittered(rng, dy, eps) for dy in dys]) for _ in range(DRAWS + 1)]
    factors = scales(rng)
    scaled = [pulled(s.primals, [rescaled(dy, c) for dy in dys]) for c in factors]
    known = [d for d in (*moved, *scaled) if d is not None]
    if len(known) < len(moved) + len(scaled) or any(d.shape != known[0].shape for d in known):
        return 0.0
    first, *others = known
    gaps = [less(d, first) for d in others[:DRAWS]]
    sums = [less(d / c, first) for d, c in zip(others[DRAWS:], factors, strict=True)]
    sizes = list(map(measure, [*gaps, *(summed(less(gap, sums[0]), first, s, dys, eps) for gap in sums[1:])]))
    return MARGIN * max(sizes) if np.isfinite(sizes).all() else 0.0


def scales(rng: np.random.Generator) -> list[float]:
    """Of the upstream: on each, a sum of equal addends has another rounding. One that is summed in turn errs by up to half a unit an addend, to one side."""
    return list(rng.uniform(1, 2, DRAWS))


def rescaled(dy: Array, c: float) -> Array:
    return np.asarray(dy * c, dy.dtype)


def summed(gap: Array, d: Array, s: Subject, dys: Sequence[Array], eps: float = 0.0) -> Array:
    """A departure of `d`, as far as summing in turn as many addends as the largest array has explains it in this precision."""
    unit = max(eps, *(float(np.finfo(x.dtype).eps) for x in (d, *dys) if x.dtype.kind in "fc")) / 2
    room = max(x.size for x in (*s.primals.values(), *dys)) * unit * np.abs(d)
    return np.asarray(gap * np.minimum(1, room / np.maximum(np.abs(gap), np.finfo(np.float64).tiny)))


def less(a: Array, b: Array) -> Array:
    """a − b in float64 at least."""
    with np.errstate(all="ignore"):
        return np.asarray(np.subtract(a, b, dtype=np.result_type(a, b, np.float64)))


def kept(dys: Sequence[Array], ys: Sequence[Array], eps: float) -> float:
    """How far ⟨d, v⟩ may be off because the values that forward kept are rounded, which no rounding of the inputs shows: 1 − y² where y is nearly 1."""
    return eps * sum(float(np.sum(np.abs(dy * y))) for dy, y in zip(dys, ys, strict=True))


def carried(arrays: Iterable[Array]) -> float:
    """The precision of the narrowest format that holds every entry: what was computed in it, and handed on in a wider one."""
    parts = [part[np.isfinite(part) & (part != 0)] for a in arrays if a.dtype.kind in "fc"
             for part in ((a.real, a.imag) if a.dtype.kind == "c" else (a,))]
    significands = np.frexp(np.concatenate(parts, dtype=np.float64))[0] if parts else np.empty(0)
    fits = (2.0 ** (1 - bits) for bits in BITS if (np.ldexp(significands, bits) % 1 == 0).all())
    return next(fits, float(np.finfo(np.float64).eps)) if significands.size else float(np.finfo(np.float64).eps)


def beside(s: Subject) -> Subject:
    """The layer at numbers beside its own, with all their digits: those drawn have so few that what is made of them looks like a narrower format's.

    At the very middle between two numbers of such a format, one rounding tells as much as its last place. Whole numbers stay.
    """
    rng = s.rng("beside")
    near = {k: np.copy(x) if x.dtype.kind not in "fc" or (x == np.round(x)).all() else np.asarray(x * (1 - BESIDE * rng.random(x.shape)), x.dtype)
            for k, x in s.primals.items()}
    try:
        with np.errstate(all="ignore"):
            fits = all(np.isfinite(y).all() for y in s(near))
    except Exception:                                      # its domain ends at the point
        return s
    return replace(s, primals=near) if fits else s


def jittered(rng: np.random.Generator, x: Array, eps: float = 0.0) -> Array:
    """Every entry by one unit in the last place, more or less: by exactly one, a mean of two would round as it did. `eps`: a coarser unit."""
    if x.dtype.kind not in "fc":
        return np.copy(x)
    return np.asarray(x * (1 + max(eps, np.finfo(x.dtype).eps) * signs(rng, x.shape)), x.dtype)
