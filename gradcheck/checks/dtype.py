"""In a lower precision the same, as well as that precision allows."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import inf

import numpy as np

from ..answers import Answer, Question, ask, attempt, cotangent, found
from ..evidence import Evidence
from ..inner import Array, direction, scale
from ..rounding import DRAWS, beside, jittered, less, rescaled, scales, summed
from ..subjects import Subject, copied, seed_of
from . import check

FACTOR = 3.0              # an error's RMS over that of the rounding that explains it: layers compute in several steps, each of which rounds

OTHERS = 4                # draws of other values on suspicion: a narrow type is one everywhere, a cancellation here and there
SHORT = 2.0 ** -24        # of the scale of what is read: steps at which a smooth function is straight, and its float64 rounding is another each time
SMOOTHED = (1, -3, 3, -1) # the third difference, which leaves the rounding alone
TELLING = 0.1             # least size of all cotangents beside that of the values: below it they are what is left of a cancellation


@check("gradient", since="0.1.0", applies=lambda s: s.point.dtype in ("float32", "float16") and bool(s.differentiable))
def dtype(s: Subject) -> Iterator[Evidence]:
    """RMS(J′dy in float32 − J′dy in float64) ≤ 3 RMS(what one rounding of all that is read changes), at the same numbers.

    The mean square over the entries shows what no single entry does: float16 in the middle of a float32 layer, a sum that
    stalls, a counter that is full. It is asked at the points of low precision, and must fail at other values of the same
    sizes too, and at two points, to count: a cancellation inside the layer loses as many bits at a single one. Nor does it count
    where float64 loses as many bits: then it is the formula that cancels, in any type. A forward pass that itself computes in less,
    as under autocast, is the reference: its cotangents are held to its own error.
    Cannot see: what is wrong alike in both precisions; whether the dtype is kept (`shapes`).
    How to fix: look for a cast, for a literal with a dtype, for an accumulator narrower than what it sums.
    """
    low = _question(s)
    errors, why = _errors(s, low)
    if why:
        yield found("dtype", "cotangents", [], [f"not judged: {why}"])
    for k, error in errors.items():
        beyond = error > _allowed(low.answer[k].size) and np.median([e.get(k, 0.0) for e in _elsewhere(s)] or [error]) > _allowed(OTHERS * low.answer[k].size)
        beyond = beyond and not _as_rough(s, low, k)
        yield found("dtype", k, [f"the RMS of {k}'s error is {error:.3g} times that of the rounding that explains it"] * bool(beyond))


def _allowed(size: int) -> float:
    """The mean square of few entries scatters widely."""
    return float(FACTOR * (1 + 2 / np.sqrt(max(1, size))))


def _elsewhere(s: Subject) -> Iterator[dict[str, float]]:
    """The errors at other values of the same sizes and options; nothing where there are none."""
    if s.rebuild is not None:
        others = [s.at(seed=seed_of(s.point.seed, "dtype", i) % 2**32) for i in range(OTHERS)]
        yield from (_errors(there, _question(there))[0] for there in others)


def _question(s: Subject) -> Question:
    return Question.at(s, "dtype", beside(s).primals)


def _errors(s: Subject, low: Question) -> tuple[dict[str, float], str]:
    """The RMS error of every array of the answer, in units of what one rounding of all that is read changes; or why there is none."""
    wide, refused = attempt(Question(s, {k: _wide(x) for k, x in low.primals.items()}, tuple(map(_wide, low.dys))).ask)
    if refused:
        return {}, f"float64 is refused, so there is nothing to compare with: {refused}"
    if _size(s, low) < TELLING * sum(float(np.sum(np.abs(dy * low.answer[k]))) for dy, k in zip(low.dys, low.answer, strict=False)):
        return {}, "they are small beside the values, whose rounding is theirs"
    eps = float(np.finfo(s.point.dtype).eps)
    errors = _in_units(s, low, wide, eps)
    own = max((error for k, error in errors.items() if k.startswith("y") and error > _allowed(low.answer[k].size)), default=0.0)
    return (_in_units(s, low, wide, own * eps) if 0 < own < inf else errors), ""


def _in_units(s: Subject, low: Question, wide: Answer, eps: float) -> dict[str, float]:
    """The RMS error of every array, in units of what roundings of this size of all that is read, and of sums, change."""
    rng = s.rng("dtype")
    judged = [k for k, a in low.answer.items() if a.dtype.kind in "fc" and k in wide and wide[k].shape == a.shape]
    jitters = [ask(s, {k: jittered(rng, x, eps) for k, x in low.primals.items()}, [jittered(rng, dy, eps) for dy in low.dys]) for _ in range(DRAWS)]
    moves = {k: [less(j[k], low.answer[k]) for j in jitters if k in j] for k in judged}
    errors = {k: _error(low.answer[k], wide[k], eps, moves[k]) for k in judged}
    if all(e <= _allowed(low.answer[k].size) for k, e in errors.items()):
        return errors
    return {k: _error(low.answer[k], wide[k], eps, moves[k], sums) for k, sums in _sums(s, low, judged, eps).items()}


def _as_rough(s: Subject, low: Question, k: str) -> bool:
    """Whether the float64 run is as rough in its own precision: then digits cancel in the formula itself, in whatever type it is computed."""
    wide = Question(s, {n: _wide(x) for n, x in low.primals.items()}, tuple(map(_wide, low.dys)))
    v = {n: direction(s.rng("rough"), wide.primals[n]) for n in s.differentiable}
    at = [ask(s, {n: x + i * SHORT * v[n] if n in v else np.copy(x) for n, x in wide.primals.items()}, [np.copy(dy) for dy in wide.dys])[k]
          for i in range(len(SMOOTHED))]
    rough = sum(c * a for c, a in zip(SMOOTHED, at, strict=True)) / np.linalg.norm(SMOOTHED)
    eps = float(np.finfo(s.point.dtype).eps / np.finfo(np.float64).eps)
    return _rms([less(low.answer[k], at[0])]) <= FACTOR * eps * _rms([np.asarray(rough)])


def _sums(s: Subject, low: Question, judged: Iterable[str], eps: float) -> dict[str, list[Array]]:
    """How far each array may be off because sums are made in turn: a cotangent as other scales of the upstream tell, an output as it is known to be."""
    others = [(c, ask(s, copied(low.primals), [rescaled(dy, c) for dy in low.dys])) for c in scales(s.rng("sums"))]
    gaps = {k: [less(other[k] / c, low.answer[k]) for c, other in others if k in other] if k in map(cotangent, s.differentiable) else
            [np.full(low.answer[k].shape, np.finfo(np.float64).max)] for k in judged}
    return {k: [summed(gap, low.answer[k], s, low.dys, eps) for gap in found] for k, found in gaps.items()}


def _size(s: Subject, q: Question) -> float:
    """Σ |d · x| over all entries that may move: how much the values change in one scale of everything."""
    return sum(float(np.sum(np.abs(d) * scale(s.primals[k]))) for k in s.differentiable if (d := q.answer.get(cotangent(k))) is not None
               and d.shape == s.primals[k].shape)


def _error(low: Array, wide: Array, eps: float, moves: Sequence[Array], sums: Sequence[Array] = ()) -> float:
    error, of_moves, of_sums = _rms([less(low, wide)]), _rms(moves), _rms(sums)
    rounding = max(eps / 2 * _rms([wide]), float(np.hypot(of_moves, of_sums)))
    return error / rounding if rounding else inf if error else 0.0


def _rms(gaps: Sequence[Array]) -> float:
    """The root mean square of all entries that are finite."""
    flat = np.abs(np.concatenate([np.ravel(g) for g in gaps])) if gaps else np.empty(0)
    flat = flat[np.isfinite(flat)]
    return float(np.sqrt(np.mean(np.square(flat)))) if flat.size else 0.0


def _wide(x: Array) -> Array:
    return x.astype(np.float64) if x.dtype.kind == "f" else np.copy(x)
