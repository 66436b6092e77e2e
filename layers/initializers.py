"""Initial weights: a row for each distribution, `(shape, rng) -> array`. The fans of a kernel (k…, in, out) count its receptive field."""
from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import ndtr, ndtri

from .spec import pick

Init = Callable[[tuple[int, ...], np.random.Generator], np.ndarray]


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """How many numbers enter, and leave, one output of a weight of this shape."""
    field = math.prod(shape[:-2])
    return max(1, field * math.prod(shape[-2:-1])), max(1, field * shape[-1] if shape else 1)


def _spread(drawn: str, variance: Callable[[int, int], float]) -> Init:
    """Zero mean and the variance that the fans ask for, uniform or normal."""
    def init(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        sigma = math.sqrt(variance(*fans(shape)))
        return rng.uniform(-1, 1, shape) * (sigma * math.sqrt(3)) if drawn == "uniform" else rng.standard_normal(shape) * sigma
    return init


def orthogonal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Orthonormal rows or columns, whichever are fewer (Saxe et al., 2014)."""
    rows, cols = math.prod(shape[:-1]), shape[-1] if shape else 1
    q, r = np.linalg.qr(rng.standard_normal((max(rows, cols), min(rows, cols))))
    q = q * np.where(np.diag(r) < 0, -1, 1)                          # else the signs are those of LAPACK, not uniform
    return (q if rows >= cols else q.T).reshape(shape)


INITIALIZERS: dict[str, Init] = {
    "glorot_uniform": _spread("uniform", lambda i, o: 2 / (i + o)),
    "glorot_normal":  _spread("normal", lambda i, o: 2 / (i + o)),
    "he_uniform":     _spread("uniform", lambda i, o: 2 / i),
    "he_normal":      _spread("normal", lambda i, o: 2 / i),
    "lecun_uniform":  _spread("uniform", lambda i, o: 1 / i),
    "std_normal":     _spread("normal", lambda i, o: 1),
    "trunc_normal":   lambda shape, rng: ndtri(rng.uniform(ndtr(-2), ndtr(2), shape)),   # within two deviations, by inversion
    "orthogonal":     orthogonal,
    "zeros":          lambda shape, rng: np.zeros(shape),
    "ones":           lambda shape, rng: np.ones(shape),
}


def initializer(spec: str | Init) -> Init:
    """The initializer that `spec` names, or `spec` itself if it is a function of (shape, rng)."""
    return spec if callable(spec) else pick(INITIALIZERS, spec, "initializer")
