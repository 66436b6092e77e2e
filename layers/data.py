"""Preparing data: splitting, batches, one-hot codes, scaling. A data set is a tuple of columns with as many rows, say (X, Y)."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Array = np.ndarray
Columns = Sequence[Any]                        # arrays, or lists where rows differ in length


def size(columns: Columns) -> int:
    """The number of rows. Errors: ValueError if the columns do not agree on it."""
    lengths = [len(c) for c in columns]
    if len(set(lengths)) != 1:
        raise ValueError(f"columns of one length make a data set, got {', '.join(map(str, lengths)) or 'no columns'}")
    return lengths[0]


def take(columns: Columns, rows: Array) -> tuple[Any, ...]:
    """The columns at these rows: arrays of arrays, lists of lists."""
    return tuple(c[rows] if isinstance(c, np.ndarray) else [c[i] for i in rows] for c in columns)


def split(columns: Columns, sizes: Sequence[float], rng: np.random.Generator | None = None) -> list[tuple[Any, ...]]:
    """A data set for each of the relative `sizes`, together all rows, in their order or, given `rng`, shuffled.

    >>> [len(x) for x, in split((range(10),), (2, 1, 0))]
    [7, 3, 0]
    """
    shares = np.array(sizes, float)
    if shares.ndim != 1 or not shares.size or (shares < 0).any() or not 0 < shares.sum() < np.inf:
        raise ValueError(f"relative sizes are finite numbers from 0 on, one of them above, got {sizes!r}")
    ends = np.rint(np.cumsum(shares) / shares.sum() * size(columns)).astype(int)
    order = _order(columns, rng)
    return [take(columns, order[a:b]) for a, b in pairwise([0, *ends])]


def batches(columns: Columns, batch_size: int | None = None, rng: np.random.Generator | None = None) -> Iterator[tuple[Any, ...]]:
    """Data sets of `batch_size` rows (None: all), the last one of the rest, in their order or, given `rng`, shuffled."""
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"a batch has one row or more, got batch_size={batch_size}")
    order = _order(columns, rng)
    step = batch_size or max(1, len(order))
    return (take(columns, order[i:i + step]) for i in range(0, max(1, len(order)), step))


def one_hot(x: ArrayLike, classes: ArrayLike | None = None) -> Array:
    """(…) -> (…, c): 1 at the place of each entry among the sorted `classes` (None: those that occur), 0 elsewhere; `decode` is its inverse.

    Errors: ValueError for an entry that is no class.
    """
    a = np.asarray(x)
    known = np.unique(a if classes is None else np.asarray(classes))
    place = np.searchsorted(known, a).clip(max=max(0, known.size - 1))
    if a.size and (not known.size or (unknown := a[known[place] != a]).size):
        raise ValueError(f"no class {(unknown if known.size else a.ravel())[0].item()!r} among {', '.join(map(str, known)) or 'none'}")
    return np.eye(known.size)[place]


def decode(codes: ArrayLike, classes: ArrayLike) -> Array:
    """(…, c) -> (…): the class at the largest entry."""
    return np.unique(np.asarray(classes))[np.argmax(codes, -1)]


def scale(x: ArrayLike, like: ArrayLike | None = None) -> Array:
    """All of x into [0, 1] by one minimum and one maximum: its own, or those of `like`. Constant data become 0."""
    a, known = np.asarray(x), np.asarray(x if like is None else like)
    a = a if a.dtype.kind == "f" else a.astype(float)
    low, high = (known.min(), known.max()) if known.size else (0, 0)
    return (a - low) / (high - low) if high > low else np.zeros_like(a)


def digits() -> tuple[Array, Array]:
    """scikit-learn's 1797 handwritten digits: images (n, 8, 8, 1) in [0, 1] and one-hot labels (n, 10)."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ImportError("the handwritten digits come with scikit-learn: pip install 'gradcheck[examples]'") from None
    images, labels = load_digits(return_X_y=True)
    return scale(images).reshape(-1, 8, 8, 1), one_hot(labels)


def _order(columns: Columns, rng: np.random.Generator | None) -> Array:
    n = size(columns)
    return np.arange(n) if rng is None else rng.permutation(n)
