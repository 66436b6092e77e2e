"""The pullback is linear in its upstream."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf

import numpy as np

from ..answers import found
from ..conventions import SMALL, bound_of
from ..evidence import Evidence, Verdict
from ..inner import Array, eps_of, scale
from ..probes import MARGIN, Field
from ..rounding import beside, carried, kept, spread
from ..subjects import Subject
from . import check
from .adjoint import misfit

POWER = -4.0              # a power of two: sums and products scale by it without rounding
NEGATIVE = -1.7           # a general factor; the other is large
LARGE = {8: (2.0 ** 40, 1e3), 4: (2.0 ** 20, 1e3), 2: (2.0 ** 4, 12.3)}      # by bytes of an entry: a power to pass any clipping, its
#                           inverse below any threshold; and a general factor that passes most
HALF = 2.0 ** -10         # of this precision, or less, are formats that overflow early
SHARE = 0.5               # of the entries are zero where half of them are
CLIPPED = 1e-3            # relative: how well a bound is met, for layers that add an epsilon to a norm
ROUNDINGS = 64.0          # of the largest entry, per square root of the entries summed; a wrong pullback is off by its own size


@check("gradient", since="0.1.0", applies=lambda s: bool(s.differentiable) and s.facts.upstream)
def linear(s: Subject) -> Iterator[Evidence]:
    """J′(a·u + b·v) = a·J′u + b·J′v, and J′0 = 0, for negative, very large and very small a, b.

    First with a = −4 and a = 2^±40 (2^±20 in float32), where sums and products scale to the bit; then with general a, b
    within rounding, and with upstreams that loops have and random ones do not: ones, zero but for one entry, zero in half of
    them. Calls no differences. Sees an upstream that is ignored, squared, clipped, cut off below a threshold, taken in
    absolute value, used in one entry only, or skipped where another entry is 0.
    Cannot see: a linear map that is the wrong one (`adjoint` does).
    How to fix: a pullback multiplies by the upstream; look for a branch, a clip or a power of it. Gradient clipping
    belongs to the optimizer; where it is meant, declare the convention "clips": for a very large upstream the largest entry
    of what is clipped, or its norm, must then be the bound that is declared.
    """
    s = beside(s)
    rng, field = s.rng("linear"), Field(s)
    ys, u, v = field.ys, field.upstream(rng), field.upstream(rng)
    parts = _parts(rng, u)
    with np.errstate(all="ignore"):
        at_u = s.pullback(s.primals, u)
        large, b = LARGE[_bytes(ys, [d for k, d in at_u.items() if d is not None and not misfit(d, s.primals[k])])]
        a, powers = NEGATIVE, (POWER,) if "clips" in s.convention else (POWER, large, 1 / large)
        both = [_times(a, x) + _times(b, z) for x, z in zip(u, v, strict=True)]
        pulled = [at_u, *(s.pullback(s.primals, dys) for dys in (v, both, *([_times(c, x) for x in u] for c in (0.0, *powers))))]
        halves = {name: [s.pullback(s.primals, dys) for dys in two] for name, two in parts.items()}
    rounding = ROUNDINGS * eps_of([s.primals[k] for k in s.differentiable]) * np.sqrt(sum(y.size for y in ys))
    for k in s.differentiable:
        def measured(weights: Sequence[float], k: str = k) -> float:
            """Of the three pullbacks that are compared: one of them may be zero by luck, to the bit, where the others are rounding."""
            eps, size = max(eps_of([s.primals[k]]), field.precision), float(np.median(scale(s.primals[k])))
            return sum(c * max(spread(s, dys, k, _largest, s.rng("linear", k), eps), kept(dys, ys, eps) / size)
                       for c, dys in zip(weights, (u, v, both), strict=True) if c)
        sides = {name: [d.get(k) for d in two] for name, two in halves.items()}
        yield _evidence(k, s.primals[k], [d.get(k) for d in pulled], sides, powers, (a, b), rounding, measured)
    if "clips" in s.convention:
        yield found("linear", "clips", _clipped(s, u, pulled[0]))


def _clipped(s: Subject, u: Sequence[Array], unclipped: Mapping[str, Array | None]) -> Iterator[str]:
    """What is clipped at a very large upstream, and not to the bound that is declared: of every entry, of each array's norm, or of the norm of all."""
    bound, large = bound_of(s.convention), 2.0 ** 30
    pulled = s.pullback(s.primals, [_times(large / SMALL, dy) for dy in u])
    clipped = [d * SMALL for k in s.differentiable if (d := pulled.get(k)) is not None and (here := unclipped.get(k)) is not None
               and _largest(here) and _largest(d * SMALL / large - here) > CLIPPED * _largest(here)]
    sizes = [[_largest(d) for d in clipped], [float(np.linalg.norm(d)) for d in clipped], [float(np.sqrt(sum(np.sum(np.square(d)) for d in clipped)))]]
    if clipped and not any(np.allclose(size, bound, rtol=CLIPPED) for size in sizes):
        yield f"clipping to {bound:g} is declared; the largest entries are {_text(sizes[0])}, the norms {_text(sizes[1])}, together {sizes[2][0]:.4g}"
    if not clipped:
        yield f"clipping to {bound:g} is declared, and an upstream of {large:g} is not clipped"


def _text(sizes: Sequence[float]) -> str:
    return ", ".join(f"{size:.4g}" for size in sizes)


def _bytes(ys: Sequence[Array], cotangents: Sequence[Array]) -> int:
    """Of an entry in the narrowest format that the outputs or the cotangents have, or were computed in."""
    narrowest = min((np.finfo(y.dtype).dtype.itemsize for y in ys if y.dtype.kind in "fc"), default=8)
    return 2 if any(carried([d]) >= HALF for d in cotangents) else min(narrowest, 8)


def _parts(rng: np.random.Generator, u: Sequence[Array]) -> dict[str, tuple[list[Array], list[Array]]]:
    """u as the sum of two upstreams, in each of the ways that a layer may treat otherwise."""
    def parted(taken: Callable[[Array], Array]) -> tuple[list[Array], list[Array]]:
        parts = [np.asarray(taken(x), x.dtype) for x in u]
        return parts, [x - part for x, part in zip(u, parts, strict=True)]

    chosen = int(rng.integers(max(1, sum(x.size for x in u))))
    starts = np.cumsum([0, *(x.size for x in u)])
    single = iter([np.arange(x.size).reshape(x.shape) == chosen - start for x, start in zip(u, starts, strict=False)])
    return {"ones": parted(np.ones_like), "one entry": parted(lambda x: np.where(next(single), x, 0)),
            "half of the entries": parted(lambda x: np.where(rng.random(x.shape) < SHARE, x, 0))}


def _evidence(k: str, x: Array, pulled: list[Array | None], sides: Mapping[str, list[Array | None]], powers: Sequence[float],
              general: tuple[float, float], rounding: float, measured: Callable[[Sequence[float]], float]) -> Evidence:
    if any(d is None or misfit(d, x) for d in (*pulled, *(d for two in sides.values() for d in two))):
        return Evidence(check="linear", primal=k, verdict=Verdict.UNDECIDED, reason="a cotangent is missing or mis-shaped: see `shapes`")
    if not all(np.isfinite(d).all() for d in pulled[:2] if d is not None):
        return Evidence(check="linear", primal=k, verdict=Verdict.UNDECIDED, reason="the cotangent is not finite here: see `adjoint` and `values`")
    at_u, at_v, at_both, at_zero, *at_powers = (np.asarray(d, np.result_type(d, np.float64)) for d in pulled if d is not None)
    at_power, (a, b) = at_powers[0], general
    rounding = max(rounding, MARGIN * carried([at_u, at_v, at_both]))
    gaps: Mapping[str, tuple[float, float, Sequence[float]]] = {                             # (gap, bound, weights of the pullbacks at u, v and both)
        **{f"J′({c:.4g}u) = {c:.4g} J′u": (_largest(at / c - at_u), rounding * _largest(at_u), (2.0, 0.0, 0.0))
           for c, at in zip(powers, at_powers, strict=True) if _normal(c * at_u, x)},
        "J′0 = 0": (_largest(at_zero), 0.0, (0.0, 0.0, 0.0)),
        **{f"J′({a:g}u + {b:g}v) = {a:g} J′u + {b:g} J′v": (_largest(at_both - a * at_u - b * at_v), rounding * whole, (abs(a), abs(b), 1.0))
           for whole in [_largest(a * at_u) + _largest(b * at_v)] if whole == 0 or _normal(np.asarray(whole), x)},
        **{f"J′u = J′(w) + J′(u − w), w being {name},": (_largest(at_u - one - other), rounding * (_largest(at_u) + _largest(one) + _largest(other)),
                                                         (3.0, 0.0, 0.0))
           for name, two in sides.items() for one, other in [[np.asarray(d, at_u.dtype) for d in two]]},
    }
    said, (gap, bound, weights) = max(gaps.items(), key=lambda g: _excess(*g[1][:2]))
    if _excess(gap, bound) > 1 and gap > 0 and np.isfinite(gap):
        bound = max(bound, MARGIN * measured(weights))    # small by cancellation: its rounding is that of what cancelled
    failed = _excess(gap, bound) > 1
    return Evidence(check="linear", primal=k, verdict=Verdict.FAIL if failed else Verdict.PASS, measured=gap, bound=bound,
                    reason=f"{said} is off by {gap:.3g}, rounding allows {bound:.1g}" if failed else "",
                    diagnosis=_kind(at_u, at_power) if failed else "", marks=("vacuous",) if not at_u.any() and not at_v.any() else ())


def _normal(d: Array, x: Array) -> bool:
    """Whether the largest entries are far from overflow and from underflow in the primal's dtype."""
    known = np.finfo(x.dtype)
    return bool(known.tiny / known.eps < _largest(d) < known.max * known.eps)


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
