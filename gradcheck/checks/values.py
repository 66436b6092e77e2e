"""Values that random points do not have."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import inf

import numpy as np
from msgspec.structs import replace as changed

from ..answers import Question, attempt, cotangent, found
from ..evidence import Evidence, Verdict, gravest
from ..inner import Array, scale
from ..judge import judge
from ..law import Domain
from ..probes import MARGIN, Field, Probe
from ..subjects import Arrays, Subject
from ..ties import at_ties
from . import check
from .adjoint import LEFT_OUT, Trial

MEASURED = 3              # recipes whose derivative is measured at a point; for all others the claims must be finite
LARGE = 1000              # entries of a point at which one recipe is measured: what a value does wrong does not wait for a size
TOGETHER = 0.5            # how often all inputs are special at once; otherwise it is one of them, and always one parameter
OWN = ("a few zeros", "zeros alone", "one value throughout", "a scale of 1e-8")          # what a parameter takes
SHARE = 0.25              # of the entries that become special, where not all do
ROUND = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 6.0, 10.0, 20.0)       # where people put thresholds; the options of the layer are others
LEVELS = (1.0, 30.0, 90.0, 800.0) # where clipping and series begin, beyond the precision of a sigmoid, of exp in float32, of exp in float64
ROUGHER = 30.0            # times the relative noise of the values at the ordinary point
FEW = float(np.finfo(np.float16).eps) / 8     # from this precision on, values have the digits of a half
TIED = ("repeated values", "one value throughout")      # where a declared way to break ties shows
FINE = 1e-6               # of the steps: a failure must be seen on these as well
FINER = (1e-4, 1e-6)      # of the steps: where a slope that bends at the point is straight enough
DIRECTIONS = 4            # in which a function is looked at before a claim that is not finite is called wrong
STEPS = (1e-5, 1e-7)      # at which a function is finite around a point, and its slopes agree in size, if it is Lipschitz there
STEEPER = 3.0             # factor by which slopes at the smaller step may exceed those at the larger

Recipe = Callable[[np.random.Generator, Array], Array]


@check("gradient", since="0.1.0", applies=lambda s: any(s.primals[k].dtype.kind in "fiu" for k in s.inputs or s.differentiable))
def values(s: Subject) -> Iterator[Evidence]:
    """At zeros, ties, thresholds, ±1, ±30, ±90, ±800, subnormals, scales of 1e±8, heavy tails: ⟨dy, J v⟩ = ⟨J′dy, v⟩, and finite where f is.

    Inputs, all or one of them, take a few special entries among ordinary ones, or special ones only; integers take repeated
    values; a parameter takes zeros, one value throughout and a small scale. Signs, ranges and indicators of the point's own
    arrays are kept. Claims must be finite wherever the function is finite and Lipschitz around the point; three recipes a
    point (one where it is large) are measured as `adjoint` measures, and it asks for no resolution of its own. At a kink the
    claim must be a mixture of the cotangents on its sides; where the convention "ties" says which mixture, that one.
    Cannot see: a value that no recipe makes. A forward that overflows is not its business.
    How to fix: no division by an input that may be 0, no difference of two infinities, no `0 · inf`; add for repeated indices.
    """
    seen: dict[str, list[Evidence]] = {}
    left, ordinary = MEASURED if sum(x.size for x in s.primals.values()) <= LARGE else 1, _size(s)
    for name, recipe, among in _recipes(s):
        there = _special(s, recipe, among, s.rng("values", name))
        if there is not None:
            for e in (*(_measured(there, s, ordinary) if left else ()), *_finite(there)):
                reason = e.reason and f"with {name}: {e.reason}"
                seen.setdefault(e.primal, []).append(changed(e, check="values", resolution=None, reason=reason, notes=(name, *e.notes),
                                                                    marks=tuple(m for m in e.marks if m != "vacuous")))
            left -= left > 0
            if name in TIED and s.convention.get("ties"):
                seen.setdefault("ties", []).append(found("values", "ties", at_ties(there, s.convention["ties"])))
    for several in seen.values():
        worst = gravest(e.verdict for e in several)
        yield next(e for e in several if e.verdict is worst)


def _recipes(s: Subject) -> list[tuple[str, Recipe, Sequence[str]]]:
    """Every recipe in random order, with the arrays of which all, or one, may take it."""
    own = [k for k in s.differentiable if k not in s.inputs] if s.inputs else []
    options = [float(v) for v in s.point.options.values() if isinstance(v, int | float) and v]
    thresholds = _among([*ROUND, *map(abs, options)])
    known = {**RECIPES, "a few thresholds": _few(thresholds), "thresholds alone": thresholds}
    listed: list[tuple[str, Recipe, Sequence[str]]] = [(name, recipe, s.inputs or s.differentiable) for name, recipe in known.items()]
    listed += [(f"{name} in a parameter", RECIPES[name], own) for name in OWN if own]
    return [listed[i] for i in s.rng("values").permutation(len(listed))]


def somewhere(s: Subject, label: str) -> Subject | None:
    """The subject with values of one recipe, for another check to ask its question there; None where it is none of its own."""
    rng = s.rng(label, "somewhere")
    _, recipe, among = (listed := _recipes(s))[int(rng.integers(len(listed)))]
    return _special(s, recipe, among, rng)


def _special(s: Subject, recipe: Recipe, among: Sequence[str], rng: np.random.Generator) -> Subject | None:
    """The subject with special values; None where they are as before, or the function is not finite there."""
    together = rng.random() < TOGETHER and among[0] in (s.inputs or s.differentiable)
    chosen = {k: s.primals[k] for k in (among if together else [among[int(rng.integers(len(among)))]])}
    domains = {k: side.domain for k, side in zip(s.inputs, s.law.sides(len(s.inputs)), strict=False)} if s.law else {}
    other = {k: _admissible(x, recipe(rng, x), domains.get(k, Domain())) for k, x in chosen.items()}
    if all(np.array_equal(other[k], x) for k, x in chosen.items()):
        return None
    there = replace(s, primals={**s.primals, **other})
    return there if _finite_at(there, there.primals) else None


def _measured(s: Subject, usual: Subject, ordinary: float) -> Iterator[Evidence]:
    """As `adjoint` judges. Four things are no accusation: what is left where everything is saturated or cancelled away, which is the
    rounding of gates that are 1 or 0, in the precision that they turn out to have, or rests below it; what only coarse steps show, which at
    1e8, or beside an epsilon, jump over the function's features; a slope seen through values far rougher than elsewhere, which at
    1e8 may be the steps of a staircase; and those of a layer that computes in half precision, whose range ends early.
    """
    trial, at = Trial(replace(s, demand=inf), probes=1), Trial(usual)
    whole = MARGIN * ordinary
    size = whole * _largest(s) / max(_largest(usual), float(np.finfo(np.float32).tiny))
    if all(np.max(np.abs(y), initial=0.0) <= whole * trial.field.eps for y in trial.field.ys):
        size = max(size, whole)                            # values that are no more than the rounding of what cancelled in them
    for e in trial.evidence():
        unsure = e.verdict is Verdict.FAIL and "subgradient" not in e.marks and (
            e.measured <= size * max(trial.eps, at.field.precision) or at.field.precision > at.field.eps and _rests(trial, e.primal)
            or not _lipschitz(s, trial.field) or np.isfinite(e.measured) and not _finely(trial, e.primal)
            or trial.field.precision > ROUGHER * at.field.precision or trial.eps < FEW < at.field.precision)
        yield changed(e, verdict=Verdict.UNDECIDED, reason="saturated away, near overflow, or with features finer than the steps") if unsure else (
            _left_out(trial, e, at) if e.verdict is Verdict.PASS and any(LEFT_OUT in n for n in e.notes) else e)


def _rests(trial: Trial, k: str) -> bool:
    """Whether the values do not move at all: where a layer rounds them, they may lie below what it can tell."""
    return not trial.probed("rests", [k]).measured.ladder.odd.any()


def _left_out(trial: Trial, e: Evidence, at: Trial) -> Evidence:
    """The evidence, or a failure that only far smaller steps show: the slope bends at the point, where steps of the usual size say little.

    Not where values are rougher than their dtype, here or at the ordinary point: so small steps may stay on one stair.
    """
    smooth = all(t.field.precision <= t.field.eps for t in (trial, at)) and not trial.probed("left out", [e.primal]).measured.kinked
    if not smooth or not all(_moves(trial, e.primal, step) and _finely(trial, e.primal, step) for step in FINER) or not _lipschitz(trial.subject, trial.field):
        return e
    reason = f"on {FINER[0]:g} of the usual steps the function has another slope than is claimed for {e.primal}"
    return changed(e, verdict=Verdict.FAIL, measured=inf, reason=reason)


def _finely(trial: Trial, k: str, step: float = FINE) -> bool:
    """Whether primal `k` fails on far smaller steps as well."""
    rng = trial.subject.rng("finely", k)
    probe = trial.field.probe(rng, [k])
    m = replace(trial.field, zoom=step).measure(Probe({k: step * probe.v[k]}, probe.dy), rng)
    p = trial.heard(m, trial.claims(m.probe.dy))
    return judge([trial.reading(k, p)]).verdict is Verdict.FAIL and judge([trial.reading(k, p, trial.spread(k, p))]).verdict is Verdict.FAIL


def _moves(trial: Trial, k: str, step: float) -> bool:
    """Whether the function is seen to have a slope on such steps, or whatever it is stays within one rounding of its values.

    Not where a part of it rests that moves on the usual steps: so small ones may stay on a stair.
    """
    field, rng = replace(trial.field, zoom=step), trial.subject.rng("moves", k)
    probe = field.probe(rng, [k])
    m, curve = field.measure(probe, rng), field.curve(probe)
    near, usual = m.ladder.steps[0], m.ladder.steps[0] / step
    with np.errstate(all="ignore"):
        here, (rests, far) = curve(0.0), ([curve(sign * t) for sign in (1, -1)] for t in (near, usual))
    on_stairs = np.logical_and.reduce([y == here for y in rests]) & np.logical_or.reduce([y != here for y in far])
    return not on_stairs.any() and abs(m.value) > MARGIN * m.bound


def _size(s: Subject) -> float:
    """The sum of all shares ⟨d, v⟩ and of all values at the ordinary point."""
    q = Question.at(s, "values")
    claims = {k: q.answer[cotangent(k)] for k in s.differentiable if cotangent(k) in q.answer}
    shares = [np.abs(d) * scale(s.primals[k]) for k, d in claims.items() if d.shape == s.primals[k].shape]
    values = [np.abs(q.answer[k]) for k in q.answer if k.startswith("y")]
    return float(sum(np.sum(a[np.isfinite(a)]) for a in (*shares, *values)))


def _largest(s: Subject) -> float:
    return max((float(np.max(np.abs(s.primals[k]), initial=0.0)) for k in s.inputs or s.differentiable), default=0.0)


def _finite(s: Subject) -> Iterator[Evidence]:
    """A claim that is not finite is wrong where the function is finite and Lipschitz all around."""
    answer, raised = attempt(Question.at(s, "values").ask)
    bad = {k: d for k in s.differentiable if (d := answer.get(cotangent(k))) is not None and not np.isfinite(d).all()}
    if raised or not bad:
        return
    field = Trial(s).field
    whole = _lipschitz(s, field)
    for k, d in bad.items():
        if not whole and not _lipschitz(s, field, [k]):      # beside others that stay at the edge of their domain it may be smooth
            continue
        at = tuple(map(int, np.argwhere(~np.isfinite(d))[0]))
        yield Evidence(check="values", primal=k, verdict=Verdict.FAIL, measured=inf,
                       reason=f"the cotangent of {k}[{', '.join(map(str, at))}] is {d[at]}; the function is finite and Lipschitz around")


def _lipschitz(s: Subject, field: Field, names: Sequence[str] | None = None) -> bool:
    """Whether the function is finite on both sides in several directions, no steeper from nearer, and it and its slope are far from overflow."""
    rng = field.subject.rng("Lipschitz")
    most = float(np.sqrt(np.finfo(s.point.dtype).max))
    for _ in range(DIRECTIONS):
        v = field.probe(rng, names).v
        with np.errstate(all="ignore"):
            slopes = np.array([[_distance(field.outputs(v, sign * h), field.ys) / h for h in STEPS] for sign in (1, -1)])
        least = min((float(np.min(np.abs(t), initial=1.0)) for t in v.values()), default=1.0)      # an entry of 1e-309 makes 1 / x infinite
        if not (slopes < most * min(least, 1.0)).all() or (slopes[:, 1] > STEEPER * slopes[:, 0]).any():
            return False
    return True


def _distance(ys: tuple[Array, ...], others: tuple[Array, ...]) -> float:
    return max((float(np.max(np.abs(a - b), initial=0.0)) for a, b in zip(ys, others, strict=True)), default=0.0)


def _finite_at(s: Subject, primals: Arrays) -> bool:
    try:
        with np.errstate(all="ignore"):
            return all(np.isfinite(y).all() for y in s(primals))
    except Exception:                                      # values that the layer refuses in words are none of its own
        return False


def _few(value: Recipe) -> Recipe:
    """Special entries among ordinary ones, at least one of them."""
    def mixed(rng: np.random.Generator, x: Array) -> Array:
        chosen = rng.random(x.shape) < SHARE
        chosen.flat[rng.integers(max(1, x.size)):][:1] = True
        return np.where(chosen, value(rng, x), x)
    return mixed


def _real(value: Recipe) -> Recipe:
    """For integers nothing is special but their repetition."""
    return lambda rng, x: value(rng, x) if x.dtype.kind == "f" else x


def _at(level: float) -> Recipe:
    return _among([level])


def _among(levels: Sequence[float]) -> Recipe:
    return _real(lambda rng, x: rng.choice([*levels, *(-level for level in levels)], x.shape))


def _times(factor: float) -> Recipe:
    return _real(lambda rng, x: x * factor)


RECIPES: dict[str, Recipe] = {
    "a few zeros": _few(_at(0.0)),
    "zeros alone": _at(0.0),
    "repeated values": lambda rng, x: rng.choice(x.ravel()[:2], x.shape) if x.size else x,
    "one value throughout": lambda rng, x: np.full(x.shape, rng.choice(x.ravel())) if x.size else x,
    **{f"a few ±{level:g}": _few(_at(level)) for level in LEVELS},
    **{f"±{level:g} alone": _at(level) for level in LEVELS},
    "a few subnormal numbers": _few(_real(lambda rng, x: rng.choice([-1, 1], x.shape) * np.finfo(x.dtype).tiny / 8)),
    "a scale of 1e8": _times(1e8),
    "a scale of 1e-8": _times(1e-8),
    "entries in order": lambda rng, x: np.sort(x, int(rng.integers(x.ndim))) if x.ndim else x,
    "heavy tails": _real(lambda rng, x: x * np.clip(np.abs(rng.standard_cauchy(x.shape)), 0.01, 1e4)),
}


def _admissible(x: Array, new: Array, domain: Domain) -> Array:
    """The new entries, with the signs and the range that the old ones keep to; the old one wherever that cannot be."""
    if x.dtype.kind == "b" or domain.choices or x.dtype.kind == "f" and np.isin(x, (0, 1)).all():
        return x
    if x.dtype.kind == "f" and x.size and x.min() >= 0:
        new = np.minimum(np.abs(new), 1) if x.max() <= 1 else np.abs(new)
    low, high = (np.greater_equal if c else np.greater for c in domain.closed)
    kept = low(new, domain.low) & high(domain.high, new)
    return np.where(kept, new, x).astype(x.dtype)
