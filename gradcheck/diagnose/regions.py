"""A set of entries in words of its axes: `rows=0 and rows=-1 (the border)`, `last 3 of 1027 rows`, `all`. Pure."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..inner import Array

LISTED = 4                # places of an axis that are listed where no words fit


def region(chosen: Array, names: Sequence[str], idle: Array | None = None) -> str:
    """The chosen entries in words. idle: entries of which it does not matter whether they are chosen (right and wrong are both 0 there)."""
    idle = np.zeros(chosen.shape, bool) if idle is None else idle & ~chosen
    if not chosen.any():
        return "none"
    if (chosen | idle).all():
        return "all"
    spread = _spread(chosen)
    box = _box(spread)
    if not (box & ~chosen & ~idle).any():
        return ", ".join(along(p, n) for p, n in zip(spread, names, strict=True) if not p.all())
    return _outside(chosen, idle, names) or _diagonal(chosen, idle, names) or _some(chosen, spread, names)


def _spread(chosen: Array) -> list[Array]:
    """Which places of each axis hold a chosen entry."""
    return [np.asarray(chosen.any(axis=tuple(b for b in range(chosen.ndim) if b != a))) for a in range(chosen.ndim)]


def _box(spread: Sequence[Array]) -> Array:
    """The entries whose place on every axis is among those given."""
    box = np.ones([1] * len(spread), bool)
    for a, p in enumerate(spread):
        box = box & p.reshape([-1 if b == a else 1 for b in range(len(spread))])
    return box


def _outside(chosen: Array, idle: Array, names: Sequence[str]) -> str:
    """Everything but a box in the middle: a border."""
    rest = ~(chosen | idle)
    spread = _spread(rest)
    if (_box(spread) != rest).any():
        return ""
    return " and ".join(along(~p, n) for p, n in zip(spread, names, strict=True) if not p.all())


DIAGONALS = {"on the diagonal": np.equal, "off the diagonal": np.not_equal, "above the diagonal": np.less, "below the diagonal": np.greater}


def _diagonal(chosen: Array, idle: Array, names: Sequence[str]) -> str:
    grid = np.indices(chosen.shape)
    pairs = [(a, b) for a in range(chosen.ndim) for b in range(a + 1, chosen.ndim) if chosen.shape[a] == chosen.shape[b] > 1]
    return next((f"{words} of {names[a]} and {names[b]}" for a, b in pairs for words, where in DIAGONALS.items()
                 if ((where(grid[a], grid[b]) == chosen) | idle).all()), "")


def _some(chosen: Array, spread: Sequence[Array], names: Sequence[str]) -> str:
    within = [along(p, n) for p, n in zip(spread, names, strict=True) if not p.all()]
    return f"{chosen.sum()} of {chosen.size} entries" + (f", within {', '.join(within)}" if within else "")


def along(chosen: Array, name: str) -> str:
    """Some places of one axis."""
    at, n = np.flatnonzero(chosen), len(chosen)
    if len(at) == 1:
        return f"{name}={at[0]}" if at[0] < n - 1 or n == 1 else f"{name}=-1"
    if len(at) == 2 and at[0] == 0 and at[1] == n - 1 and n > 2:
        return f"{name}=0 and {name}=-1 (the border)"
    if len(at) == at[-1] - at[0] + 1:
        return _block(int(at[0]), int(at[-1]), n, name)
    if len(at) == n - 1:
        return f"all {name} but {np.flatnonzero(~chosen)[0]}"
    steps = set(np.diff(at).tolist())
    if len(steps) == 1 and len(at) > 2 and (step := steps.pop()) > 1 and at[-1] + step >= n and at[0] < step:
        return f"every {_ordinal(step)} of the {n} {name} from {at[0]} on"
    return f"{name}={', '.join(map(str, at[:LISTED]))}" + (f" and {len(at) - LISTED} more of {n}" if len(at) > LISTED else "")


def _block(first: int, last: int, n: int, name: str) -> str:
    if first == 0 and last == n - 2:
        return f"all {name} but the last"
    if last == n - 1:
        return f"all {name} but the first" if first == 1 else f"last {n - first} of {n} {name}"
    return f"first {last + 1} of {n} {name}" if first == 0 else f"{name}={first}…{last} of {n}"


def _ordinal(n: int) -> str:
    return {2: "2nd", 3: "3rd"}.get(n, f"{n}th")
