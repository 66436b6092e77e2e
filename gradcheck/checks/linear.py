"""The pullback is linear in its upstream."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import inf

import numpy as np

from ..evidence import Evidence, Verdict
from ..inner import Array, eps_of, upstream
from ..probes import MARGIN
from ..rounding import spread
from ..subjects import Subject
from . import check
from .adjoint import misfit

POWER = -4.0              # a power of two: sums and products scale by it without rounding
GENERAL = (-1.7, 1e3)     # negative, and large enough to pass any clipping
ROUNDINGS = 64.0          # of the largest entry, per square root of the entries summed; a wrong pullback is off by its own size


@check("gradient", since="0.1.0", applies=lambda s: bool(s.differentiable) and s.facts.upstream)
def linear(s: Subject) -> Iterator[Evidence]:
    """J′(a·u + b·v) = a·J′u + b·J′v, and J′0 = 0, for negative and large a, b.

    First with a = −4, where sums and products scale to the bit; then with general a, b within rounding. Calls no
    differences. Sees an upstream that is ignored, squared, clipped, taken in absolute value, or used in one entry only.
    Cannot see: a linear map that is the wrong one (`adjoint` does).
    How to fix: a pullback multiplies by the upstream; look for a branch, a clip or a power of it. Gradient clipping
    belongs to the optimizer; where it is meant, declare the convention "clips".
    """
    rng, ys = s.rng("linear"), s(s.primals)
    u, v = upstream(rng, ys), upstream(rng, ys)
    a, b = GENERAL
    both = [_times(a, x) + _times(b, z) for x, z in zip(u, v, strict=True)]
    pulled = [s.pullback(s.primals, dys) for dys in (u, v, [_times(POWER, x) for x in u], [_times(0, x) for x in u], both)]
    rounding = ROUNDINGS * eps_of([s.primals[k] for k in s.differentiable]) * np.sqrt(sum(y.size for y in ys))
    for k in s.differentiable:
        def measured(k: str = k) -> float:
            """Of the three pullbacks that are compared: one of them may be zero by luck, to the bit, where the others are rounding."""
            return sum(c * spread(s, dys, k, _largest, s.rng("linear", k)) for c, dys in ((abs(a), u), (abs(b), v), (1.0, both)))
        yield _evidence(k, s.primals[k], [d.get(k) for d in pulled], rounding, measured)


def _evidence(k: str, x: Array, pulled: list[Array | None], rounding: float, measured: Callable[[], float]) -> Evidence:
    if any(d is None or misfit(d, x) for d in pulled):
        return Evidence(check="linear", primal=k, verdict=Verdict.UNDECIDED, reason="a cotangent is missing or mis-shaped: see `shapes`")
    if not all(np.isfinite(d).all() for d in pulled[:2] if d is not None):
        return Evidence(check="linear", primal=k, verdict=Verdict.UNDECIDED, reason="the cotangent is not finite here: see `adjoint` and `values`")
    at_u, at_v, at_power, at_zero, at_both = (np.asarray(d, np.result_type(d, np.float64)) for d in pulled if d is not None)
    a, b = GENERAL
    gaps: Mapping[str, tuple[float, float]] = {
        f"J′({POWER:g}u) = {POWER:g} J′u": (_largest(at_power - POWER * at_u), rounding * _largest(POWER * at_u)),
        "J′0 = 0": (_largest(at_zero), 0.0),
        f"J′({a:g}u + {b:g}v) = {a:g} J′u + {b:g} J′v": (_largest(at_both - a * at_u - b * at_v), rounding * (_largest(a * at_u) + _largest(b * at_v))),
    }
    said, (gap, bound) = max(gaps.items(), key=lambda g: _excess(*g[1]))
    if _excess(gap, bound) > 1 and gap > 0 and np.isfinite(gap):
        bound = max(bound, MARGIN * measured())           # small by cancellation: its rounding is that of what cancelled
    failed = _excess(gap, bound) > 1
    return Evidence(check="linear", primal=k, verdict=Verdict.FAIL if failed else Verdict.PASS, measured=gap, bound=bound,
                    reason=f"{said} is off by {gap:.3g}, rounding allows {bound:.1g}" if failed else "",
                    diagnosis=_kind(at_u, at_power) if failed else "", marks=("vacuous",) if not at_u.any() and not at_v.any() else ())


def _kind(at_u: Array, at_power: Array) -> str:
    """What a pullback does instead of scaling with its upstream."""
    if np.array_equal(at_u, at_power):
        return "the cotangent does not depend on the upstream's size: it is ignored, clipped or reduced to signs"
    if np.allclose(at_power, abs(POWER) * at_u):
        return "the cotangent depends on the upstream's absolute value"
    if np.allclose(at_power, POWER**2 * at_u):
        return "the cotangent grows with the upstream's square"
    return "the cotangent is not proportional to the upstream: look for clipping, a constant or a branch on it"


def _times(a: float, y: Array) -> Array:
    return np.asarray(a * y, y.dtype)


def _largest(d: Array) -> float:
    return float(np.max(np.abs(d), initial=0.0))


def _excess(gap: float, bound: float) -> float:
    return inf if not np.isfinite(gap) else gap / bound if bound > 0 else (inf if gap > 0 else 0.0)
