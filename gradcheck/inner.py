"""Inner products, scales and random directions of arrays and of dictionaries of arrays."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

Array = np.ndarray
SAMPLE = 10_000           # entries are enough to tell what is typical


def dot(a: Array, b: Array) -> float:
    """The real inner product Re Σ conj(a) b, in float64 whatever the dtype; complex arrays are pairs of reals."""
    wide = np.complex128 if np.iscomplexobj(a) or np.iscomplexobj(b) else np.float64
    return float(np.vdot(np.asarray(a, wide), np.asarray(b, wide)).real)


def dots(a: Mapping[str, Array], b: Mapping[str, Array]) -> dict[str, float]:
    """The inner product of each array of `b` with its namesake in `a`."""
    return {k: dot(a[k], b[k]) for k in b}


def scale(x: Array) -> Array:
    """How far each entry may sensibly move, all > 0: |x|, never below the typical magnitude × 1e-3; zeros move by that magnitude, or 1.

    A plain |x| never moves a zero; one number for the whole array moves small entries out of their domain.
    """
    size = np.asarray(np.abs(x)).astype(np.float64, copy=False)
    typical = _typical(size.ravel()[::max(1, size.size // SAMPLE)]) or _typical(size)
    if not typical:
        return np.ones(size.shape)
    size[(size == 0) | ~np.isfinite(size)] = typical
    return np.maximum(size, typical * 1e-3, out=size)


def _typical(size: Array) -> float:
    """The median of the magnitudes that are numbers and not 0; of none: 0."""
    known = size[np.isfinite(size) & (size > 0)]
    return float(np.median(known)) if known.size else 0.0


def signs(rng: np.random.Generator, shape: Sequence[int], complex_: bool = False) -> Array:
    """Random signs (complex: phases) with magnitudes in [0.5, 1.5]: equal errors do not cancel, and no entry goes unseen."""
    magnitude = np.asarray(rng.uniform(0.5, 1.5, shape))
    if complex_:
        return np.asarray(magnitude * np.exp(2j * np.pi * rng.random(shape)))
    return np.negative(magnitude, out=magnitude, where=rng.random(shape) < 0.5)


def direction(rng: np.random.Generator, x: Array) -> Array:
    """A tangent at `x`: signs scaled to each entry's own size."""
    v = signs(rng, x.shape, np.iscomplexobj(x))
    return np.asarray(np.multiply(v, scale(x), out=v))


def upstream(rng: np.random.Generator, ys: Iterable[Array], sizes: Iterable[float] | None = None) -> tuple[Array, ...]:
    """A cotangent for each output; with several outputs, none drowns the others by its size."""
    ys = tuple(ys)
    parts = map(_unit, map(rms, ys) if sizes is None else sizes) if len(ys) > 1 else (1.0,)
    return tuple(np.asarray(signs(rng, y.shape, np.iscomplexobj(y)) / part, y.dtype) for y, part in zip(ys, parts, strict=True))


def rms(y: Array) -> float:
    """The root of the mean square; of what is empty or not finite: 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        size = float(np.sqrt(np.mean(np.abs(y).astype(np.float64) ** 2))) if y.size else 0.0
    return size if np.isfinite(size) else 0.0


def _unit(size: float) -> float:
    """A size to divide an upstream by: it must not overflow, nor its float32 twin, where all outputs are subnormal."""
    return size if size > np.sqrt(np.finfo(np.float32).tiny) else 1.0


def eps_of(arrays: Iterable[Array]) -> float:
    """The coarsest machine precision among the floating-point arrays; of none: float64's."""
    return float(max((np.finfo(a.dtype).eps for a in arrays if a.dtype.kind in "fc"), default=np.finfo(np.float64).eps))
