"""The same call gives the same answer."""
from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ..evidence import Evidence, Verdict
from ..inner import Array, eps_of, upstream
from ..subjects import Subject, copied
from . import check

ROUNDINGS = 64.0          # of the largest entry: what another order of summation may change


@check("state", since="0.1.0")
def repeat(s: Subject) -> Iterator[Evidence]:
    """f(x) = f(x) on the same layer and on a new one; J′dy the same again, and from one forward twice.

    A second backward may give the same, twice the parameters' cotangents (a layer that accumulates), or an exception
    (a layer that frees its residuals); anything else comes from a buffer that was not cleared. The same bits are expected;
    other bits within the noise of a summation's order pass with a note.
    Cannot see: state that only another call in between brings out (`interleave`).
    How to fix: clear work arrays at the start of a call, and draw random numbers from held noise.
    """
    first, again = s.tape(), s.tape()
    ys, new, same = first.forward(copied(s.primals)), again.forward(copied(s.primals)), None
    ys = tuple(map(np.copy, ys))
    same = again.forward(copied(s.primals)) if s.facts.tape in ("functional", "last") else new
    s.counter.forward += 2 + (same is not new)
    yield _evidence("y", _named(ys), [("a new layer's", _named(new)), ("the same layer's second", _named(same))])
    dys, names = upstream(s.rng("repeat"), ys), s.differentiable
    once = _kept(first.backward(*map(np.copy, dys)), names)
    other = s.tape()
    other.forward(copied(s.primals))
    s.counter.backward += 2
    yield _evidence("cotangents", once, [("a new layer's", _kept(other.backward(*map(np.copy, dys)), names))])
    if s.facts.tape == "functional" or s.facts.tape == "last":
        yield _twice(s, first, once, dys)


def _twice(s: Subject, tape: object, once: Mapping[str, Array], dys: tuple[Array, ...]) -> Evidence:
    """A second backward from the same forward: as the first, or with parameters accumulated."""
    try:
        twice = _kept(tape.backward(*map(np.copy, dys)), s.differentiable)     # type: ignore[attr-defined]
    except Exception as error:                        # residuals that were freed: the clearest answer of all
        return Evidence(check="repeat", primal="second backward", notes=(f"a second backward raises {type(error).__name__}",))
    doubled = {k: 2 * d if k in twice and k not in s.inputs and not _close(d, twice[k]) else d for k, d in once.items()}
    note = ("a second backward adds to the parameters' cotangents",) if any(doubled[k] is not once[k] for k in once) else ()
    found = _evidence("second backward", doubled, [("the second backward's", twice)])
    return found if found.verdict is Verdict.FAIL else Evidence(check="repeat", primal="second backward", notes=(*found.notes, *note))


def _evidence(what: str, first: Mapping[str, Array], others: list[tuple[str, Mapping[str, Array]]]) -> Evidence:
    wrong = [f"{whose} {k} is another: off by {_gap(first[k], got.get(k)):.3g}" for whose, got in others for k in first if not _close(first[k], got.get(k))]
    bits = all(np.array_equal(first[k], got[k], equal_nan=first[k].dtype.kind in "fc") for _, got in others for k in first if not wrong)
    return Evidence(check="repeat", primal=what, verdict=Verdict.FAIL if wrong else Verdict.PASS, measured=float(len(wrong)),
                    reason="; ".join(wrong), notes=() if bits or wrong else ("equal within rounding, not to the bit",))


def _close(a: Array, b: Array | None) -> bool:
    if b is None or a.shape != b.shape:
        return False
    finite = np.isfinite(a)
    if not np.array_equal(finite, np.isfinite(b)):
        return False
    largest = float(np.max(np.abs(a[finite]), initial=0.0))
    return bool(np.all(np.abs(a - b, where=finite, out=np.zeros(a.shape, a.dtype))[finite] <= ROUNDINGS * eps_of([a]) * largest))


def _gap(a: Array, b: Array | None) -> float:
    return float("inf") if b is None or a.shape != b.shape else float(np.nanmax(np.abs(a - b), initial=0.0))


def _named(ys: tuple[Array, ...]) -> dict[str, Array]:
    return {"output" if len(ys) == 1 else f"output {i + 1}": np.copy(y) for i, y in enumerate(ys)}


def _kept(d: Mapping[str, Array | None], names: tuple[str, ...]) -> dict[str, Array]:
    return {k: np.copy(d[k]) for k in names if d.get(k) is not None}           # type: ignore[arg-type]
