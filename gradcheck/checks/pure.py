"""Nothing that the layer is given is changed."""
from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ..evidence import Evidence, Verdict
from ..inner import Array, upstream
from ..subjects import Subject, copied
from . import check


@check("state", since="0.1.0")
def pure(s: Subject) -> Iterator[Evidence]:
    """Inputs, parameters and upstream are the same bits after forward and after backward.

    A layer that writes into an array of its caller's spoils another layer that saved it, though its own gradient is right.
    Cannot see: arrays that are returned and written later (`alias`), nor what a layer keeps to itself.
    How to fix: write into an array that was made in this call; `x = x + b` where `x += b` stood.
    """
    given, tape = copied(s.primals), s.tape()
    s.counter.forward, s.counter.backward = s.counter.forward + 1, s.counter.backward + 1
    before = copied(given)
    ys = tape.forward(given)
    yield _evidence("forward", _changed(before, given))
    dys = upstream(s.rng("pure"), [np.copy(y) for y in ys])
    handed = {f"the upstream of output {i + 1}": dy for i, dy in enumerate(dys)}
    kept = copied(handed)
    before = copied(given)
    tape.backward(*handed.values())
    yield _evidence("backward", [*_changed(before, given), *_changed(kept, handed)])


def _changed(before: Mapping[str, Array], after: Mapping[str, Array]) -> list[str]:
    """Each array that is no longer the same, with its first changed entry."""
    return [f"{k}{_first(before[k], after[k])}" for k in before if not _same(before[k], after[k])]


def _same(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _first(a: Array, b: Array) -> str:
    if a.shape != b.shape or not a.ndim:
        return f": {a.shape} became {b.shape}" if a.shape != b.shape else f": {a} became {b}"
    at = tuple(map(int, np.argwhere(~((a == b) | ((a != a) & (b != b))))[0])) if not np.array_equal(a, b, equal_nan=a.dtype.kind in "fc") else (0,) * a.ndim
    return f"[{', '.join(map(str, at))}]: {a[at]:.6g} became {b[at]:.6g}"


def _evidence(when: str, changed: list[str]) -> Evidence:
    return Evidence(check="pure", primal=when, verdict=Verdict.FAIL if changed else Verdict.PASS, measured=float(len(changed)),
                    reason=f"{when} changed " + "; ".join(changed) if changed else "")
