"""Kinks at the point: is the claimed cotangent one that the function has nearby?

Where an output entry has a kink, central differences agree on the mean of two slopes, and a right claim is any mixture of
the cotangents on the sides of the kink (Clarke's subdifferential). The sides are found by small random displacements, where
the layer is smooth: there its own pullback is verified by differences, and the claim at the kink must be a mixture of those
that were verified. One that seems to lie outside is looked for where it would be: a convex function has its extreme
cotangents in the direction of the displacement. The mixture is the same one for all inputs: of two that are equal both may not
take all. One output entry at a time, because the mixtures of many kinks together are too wide a set to tell anything.

Only kinks that all bend the same way are held to that. Where some bend up and others down, the chain rule through the parts,
each with a subgradient of its own, is right and need not be a mixture of the whole's sides: a relu net's, where all its
units are at 0, is 0 by convention.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from .inner import Array, direction, dot, scale
from .probes import MARGIN, Field
from .subjects import Subject

ENTRIES = 8               # kinked output entries that are judged
ROOM = 4096               # entries of all primals times those; where the primals are large, fewer are judged: a kink is local
NOISE = 16                # roundings of a value that a difference of two may hold
SETTLED = 0.1             # of the gap between the slopes: how far each may still move while the step shrinks 64 times
PAIRS, MOST_PAIRS = 8, 48 # displacements there and back: at first, and where more sides turn up
SEEN = 4                  # how often each side must be seen on average, or some may be missing
AIMED, AIMED_PAIRS, AIM = 3, 4, 0.05      # before an accusation: rounds, displacements where the missing side would be, and how much else moves there
BENDS = 24                # pairs of directions at a point
NEAR = (1.0, 0.3, 0.1, 0.03, -1.0, -0.3, -0.1, -0.03)      # how far apart: few units turn between directions that nearly agree; −: nearly opposed
BENT = 64                 # square roots of eps: of the largest slope, what a bend must exceed
FLIPS = 2                 # points at which the layer's other arrays have other signs: a unit that its weight turns over is one part of several
GIVEN_UP = 2              # entries whose sides are too many to be found; the rest will be alike
SOME = 2                  # at least so many kinked entries must be wrong, where there are so many: one may be a rounding's whim


@dataclass(frozen=True)
class Kinks:
    """What the kinked entries say of one primal's claim."""
    judged: int               # entries whose sides were all found
    rough: int                # entries where slopes do not settle: a jump, or a feature sharper than any step
    wrong: str                # why the claim is no mixture of them; "" if it is one
    slack: float              # the coarsest of the comparisons, relative to the largest cotangent


def kinks_of(field: Field, rng: np.random.Generator) -> tuple[list[tuple[int, int]], int]:
    """(output, flat index) of entries with a kink at the point, and how many more are rough there in another way.

    At a kink the slopes to either side, (f(h) − f(0)) / h and (f(0) − f(−h)) / h, each settle as h shrinks, on different
    limits. A jump, and a feature that is sharper than the steps, have slopes that do not settle.
    """
    s = field.subject
    v = {k: direction(rng, s.primals[k]) for k in s.differentiable}
    steps = field.eps ** (3 / 8) / np.array([1.0, 8.0, 64.0])
    around = [(field.outputs(v, h), field.outputs(v, -h)) for h in steps]
    found: list[tuple[int, int]] = []
    rough = 0
    for o, y in enumerate(field.ys):
        with np.errstate(all="ignore"):
            right, left = (np.stack([sign * _less(pair[side][o], y) / h for pair, h in zip(around, steps, strict=True)]) for side, sign in ((0, 1), (1, -1)))
            noise = NOISE * field.eps * (np.abs(y) / steps[-1] + np.abs(right[0]) + np.abs(left[0]))
            gap, drift = np.abs(right[-1] - left[-1]), np.maximum(np.ptp(np.abs(right), axis=0), np.ptp(np.abs(left), axis=0))
            kink = (gap > noise) & (drift <= SETTLED * gap + noise)
        found += [(o, int(i)) for i in np.flatnonzero(kink)]
        rough += int(np.sum((gap > noise) & ~kink & (drift > SETTLED * gap)))
    return found, rough


def judge_kinks(field: Field, layer: Subject, k: str, rng: np.random.Generator) -> Kinks:
    """Judge the claim for primal `k` at up to `ENTRIES` kinked output entries, one upstream each."""
    entries, rough = kinks_of(field, rng)
    most = max(SOME, min(ENTRIES, ROOM // max(1, sum(x.size for x in layer.primals.values()))))
    chosen = [entries[i] for i in rng.permutation(len(entries))[:most]]
    found: list[tuple[str, float]] = []
    ways: list[Array] = []                             # asked for before an accusation only
    for tried, (o, i) in enumerate(chosen):
        if tried - len(found) >= GIVEN_UP:
            break
        verdict = _judge_entry(field, layer, k, o, i, rng)
        if verdict is not None and verdict[0]:
            ways = ways or both_ways(field, k, rng)
            verdict = None if ways[o].flat[i] else verdict
        found += [verdict] if verdict is not None else []
    wrong = [why for why, _ in found if why]
    return Kinks(len(found), rough, wrong[0] if wrong and len(wrong) >= min(SOME, len(chosen)) else "", max((slack for _, slack in found), default=0.0))


def both_ways(field: Field, k: str, rng: np.random.Generator) -> list[Array]:
    """Of each output, which entries bend up in some directions and down in others, at the point or where other arrays than `k` have other signs.

    A bend is f'(u) + f'(w) − f'(u + w): never negative for a convex function, never positive for a concave one.
    """
    s = field.subject
    others = [n for n in s.differentiable if n != k and s.primals[n].dtype.kind == "f"]
    flips = [{n: -s.primals[n] for n in others}, *({n: s.primals[n] * rng.choice([-1, 1], s.primals[n].shape).astype(s.primals[n].dtype)
                                                   for n in others} for _ in range(FLIPS))] if others else []
    up, down = ([np.zeros(y.shape, bool) for y in field.ys] for _ in range(2))
    for there in (field, *(Field(replace(s, primals={**s.primals, **flip})) for flip in flips)):
        for n in range(BENDS):
            for bend, some, less in zip(_bends(there, rng, NEAR[n % len(NEAR)]), up, down, strict=True):
                some |= bend > 0
                less |= bend < 0
    return [some & less for some, less in zip(up, down, strict=True)]


def _bends(field: Field, rng: np.random.Generator, apart: float) -> list[Array]:
    """The bend of every output entry along two random directions; 0 where it is rounding, or curvature, which halves with the step."""
    u, r = ({k: direction(rng, field.subject.primals[k]) for k in field.subject.differentiable} for _ in range(2))
    w = {k: np.sign(apart) * u[k] + abs(apart) * r[k] for k in u}
    h = field.eps ** 0.5
    with np.errstate(all="ignore"):
        wide, narrow = ([[_less(a, y) / t for a, y in zip(field.outputs(v, t), field.ys, strict=True)] for v in (u, w, {k: u[k] + w[k] for k in u})]
                        for t in (h, h / 2))
        found = []
        for o, y in enumerate(field.ys):
            (a, b, c), (p, q, r_) = ([slopes[o] for slopes in at] for at in (wide, narrow))
            bend = np.real(2 * (p + q - r_) - (a + b - c))
            found.append(np.where(np.abs(bend) > BENT * h * np.fmax(np.abs(a), np.abs(c)) + NOISE * field.eps * np.abs(y) / h, bend, 0.0))
    return found


def _judge_entry(field: Field, layer: Subject, k: str, o: int, i: int, rng: np.random.Generator) -> tuple[str, float] | None:
    """Why the claim at this output entry is no mixture of its sides ("" if it is), and how coarsely that was seen; None if it cannot be told."""
    dys = [np.zeros(y.shape, y.dtype) for y in field.ys]
    dys[o].flat[i] = 1
    sides, slack = _sides(field, layer, k, dys, rng)
    d = _claim(layer, dict(layer.primals), k, dys)
    if sides is None or d is None:
        return None
    where = f"at the kink of y[{', '.join(map(str, np.unravel_index(i, field.ys[o].shape)))}]"
    for _ in range(AIMED):
        if outside := _outside(d, sides, slack, layer, k):
            aimed, drift = _seen(field, layer, k, dys, rng, AIMED_PAIRS, outside.along)
            sides, slack = np.array([*sides, *aimed]), max(slack, drift)
    outside = _outside(d, sides, slack, layer, k)
    return f"{where} {outside.why}" if outside else "", slack / max(float(np.max(np.abs(sides))), np.finfo(float).tiny)


def _sides(field: Field, layer: Subject, k: str, dys: Sequence[Array], rng: np.random.Generator) -> tuple[Array | None, float]:
    """The verified cotangents nearby, (count, n), and how far they may still be from their limits. None while some side may be missing."""
    found: list[Array] = []
    slack, drawn = 0.0, 0
    while drawn < MOST_PAIRS:
        more, drift = _seen(field, layer, k, dys, rng, PAIRS)
        found, slack, drawn = found + more, max(slack, drift), drawn + PAIRS
        if len(found) < drawn:                         # fewer than half could be verified
            return None, slack
        different = _distinct(np.array(found), slack)
        if SEEN * different <= len(found):
            return np.array(found), slack
        if 2 * different > len(found):                 # hardly any side was met twice: there are too many
            return None, slack
    return None, slack


def _seen(field: Field, layer: Subject, k: str, dys: Sequence[Array], rng: np.random.Generator, pairs: int,
          along: Array | None = None) -> tuple[list[Array], float]:
    """Verified cotangents on either side of `pairs` random displacements, and their largest drift. `along`: where the primals move above all."""
    found, slack = [], 0.0
    for _ in range(pairs):
        u = {name: direction(rng, layer.primals[name]) for name in layer.differentiable}
        if along is not None:
            most = np.max(np.abs(along))
            u = {name: AIM * t for name, t in u.items()} | {name: AIM * u[name] + scale(layer.primals[name]) * part / most
                                                            for name, part in _parts(layer, k, along).items()}
        for sign in (1.0, -1.0):
            limit, drift = _limit(field, layer, k, dys, u, sign, rng)
            found += [limit] if limit is not None else []
            slack = max(slack, drift)
    return found, slack


def _limit(field: Field, layer: Subject, k: str, dys: Sequence[Array], u: dict[str, Array], sign: float,
           rng: np.random.Generator) -> tuple[Array | None, float]:
    """The claim a little to one side, extrapolated to the point from two distances, if differences there confirm it; and its drift."""
    reach = sign * field.eps ** (1 / 4)
    try:
        far, near = (_claim(layer, _moved(layer, u, t), k, dys) for t in (reach, reach / 2))
    except Exception:                                      # beyond the domain
        return None, 0.0
    if far is None or near is None or not _verified(field, layer, k, near, dys, _moved(field.subject, u, reach / 2), rng):
        return None, 0.0
    rounding = MARGIN * np.finfo(layer.primals[k].dtype).eps * float(np.max(np.abs(near), initial=0.0))
    return 2 * near - far, float(np.max(np.abs(near - far), initial=0.0)) + rounding


def _verified(field: Field, layer: Subject, k: str, d: Array, dys: Sequence[Array], at: dict[str, Array], rng: np.random.Generator) -> bool:
    """Whether two short central differences there, which agree with each other, agree with ⟨d, v⟩."""
    v = {n: direction(rng, layer.primals[n]) for n in _names(layer, k)}
    parts = _parts(layer, k, d)
    step = field.eps ** (1 / 4) / 50
    slopes = []
    for h in (step, 0.4 * step):
        up, down = (field.there({n: np.add(x, t * v[n], dtype=x.dtype) if n in v else np.copy(x) for n, x in at.items()}) for t in (h, -h))
        slopes.append(sum(dot(dy, (a - b) / (2 * h)) for dy, a, b in zip(dys, up, down, strict=True)))
    size = max(float(np.max(np.abs(y), initial=0.0)) for y in field.ys) + abs(slopes[0]) * step
    noise = MARGIN * (field.eps * size / step + abs(slopes[0] - slopes[1]) + np.finfo(layer.primals[k].dtype).eps *
                      sum(float(np.sum(np.abs(parts[n] * v[n]))) for n in v))
    return bool(abs(slopes[1] - sum(dot(parts[n], v[n]) for n in v)) <= noise)


class Outside(NamedTuple):
    """Why a claim is no mixture of the sides, and along what it lies outside."""
    why: str
    along: Array


def _outside(d: Array, sides: Array, slack: float, layer: Subject, k: str) -> Outside | None:
    """An entry of primal `k` in `d` beyond all sides, or a move in a direction in which all sides agree; None if there is neither."""
    shape, mine = layer.primals[k].shape, slice(0, layer.primals[k].size)
    low, high = sides.min(axis=0) - slack, sides.max(axis=0) + slack
    beyond = np.maximum(low - d, d - high)[mine]
    at = int(np.argmax(beyond))
    if beyond[at] > 0:
        index = ", ".join(map(str, np.unravel_index(at, shape)))
        why = f"{k}[{index}] is claimed as {d[at]:.6g}; on its sides it lies between {low[at] + slack:.6g} and {high[at] - slack:.6g}"
        return Outside(why, np.eye(1, len(d), at)[0])
    middle = sides.mean(axis=0)
    _, sizes, axes = np.linalg.svd(sides - middle, full_matrices=False)
    span = axes[sizes > slack + np.finfo(float).eps * sizes.max(initial=0.0) * len(d)]
    rest = d - middle - (d - middle) @ span.T @ span
    off = float(np.linalg.norm(rest))
    if off <= 4 * slack * np.sqrt(len(d)) + 1e-9 * np.linalg.norm(d):
        return None
    return Outside(f"the claim for {' and '.join(_names(layer, k))} is no mixture of its sides: off by {off:.3g} where they all agree", rest)


def _less(a: Array, b: Array) -> Array:
    wide = np.complex128 if np.iscomplexobj(a) else np.float64
    return np.asarray(np.subtract(a, b, dtype=wide))


def _distinct(sides: Array, slack: float) -> int:
    """How many different cotangents there are among them."""
    kept: list[Array] = []
    for d in sides:
        if all(np.max(np.abs(d - other), initial=0.0) > 2 * slack for other in kept):
            kept.append(d)
    return len(kept)


def _moved(s: Subject, u: dict[str, Array], t: float) -> dict[str, Array]:
    return {k: np.add(x, t * u[k], dtype=x.dtype, casting="same_kind") if k in u else np.copy(x) for k, x in s.primals.items()}


def _names(layer: Subject, k: str) -> tuple[str, ...]:
    """Primal `k`, and all other inputs if it is the first of them: once is enough."""
    inputs = [n for n in layer.inputs if n in layer.differentiable]
    return tuple(inputs) if inputs[:1] == [k] else (k,)


def _parts(layer: Subject, k: str, d: Array) -> dict[str, Array]:
    """Cotangents that stand one behind the other, by primal's name."""
    names = _names(layer, k)
    ends = np.cumsum([layer.primals[n].size for n in names])
    return {n: part.reshape(layer.primals[n].shape) for n, part in zip(names, np.split(d, ends[:-1]), strict=True)}


def _claim(layer: Subject, primals: dict[str, Array], k: str, dys: Sequence[Array]) -> Array | None:
    """The claim for primal `k`, and for those that are judged with it, one behind the other; None if one is missing, or not finite."""
    with np.errstate(all="ignore"):
        found = layer.pullback(primals, dys)
    ds = [found.get(n) for n in _names(layer, k)]
    if any(d is None or np.shape(d) != layer.primals[n].shape or not np.isfinite(d).all() for d, n in zip(ds, _names(layer, k), strict=True)):
        return None
    return np.concatenate([np.ravel(d).astype(np.float64) for d in ds if d is not None])
