"""The adjoint identity, by finite differences."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from math import inf
from typing import Any

import numpy as np
from msgspec.structs import replace as changed

from .. import differences
from ..diagnose import Looking, located, picture, telling
from ..evidence import Evidence, Resolution, Sweep, Verdict
from ..inner import Array, direction, dot, dots, eps_of, scale
from ..judge import Judgement, Reading, could_fail, judge
from ..probes import BUCKETS, MARGIN, Field, Measured, Probe, demand_of
from ..rounding import kept, spread
from ..subgradient import judge_kinks
from ..subjects import Subject, copied
from . import check

PROBES = 3                # joint directions; the chance that a multi-entry error hides from all of them is below 1e-4
REACHES = (0.3, 3.0, 0.1) # of the widest step: further attempts, where a pass is too coarse
PARTINGS = 6              # ways to part a direction in two, before its slope is taken for a derivative's
ADDITIVE = 0.1            # of a discrepancy: what the parts may miss the whole by, and leave it an error
NEARER = (1e-5, 1e-8)     # of the steps: where features may lie that the usual ones jump over
LEFT_OUT = "output parts left out: a kink within the steps"
WIDER = 3.0 ** np.arange(1, 6)            # of the widest step: secants that a function in steps follows
FOLLOWED, BETTER = 2, 0.3 # how many secants agree with a claim, and to what share of its discrepancy, before it is looked at for jumps
JUMP = 100.0              # times as steep as it is claimed and measured to be, however near: a jump
KINKED = "every output is at a kink or outside the domain here"


@check("gradient", since="0.1.0", applies=lambda s: bool(s.differentiable), explain=lambda s, e: Trial(s).located(e))
def adjoint(s: Subject) -> Iterator[Evidence]:
    """⟨dy, J v⟩ = ⟨J′dy, v⟩ for random directions v of every primal and a random upstream dy.

    J v comes from extrapolated differences of the forward pass with an error bound of their own; J′dy is what the layer
    claims. One joint probe moves all primals; a primal is probed alone when the joint probe fails or is too coarse for
    it. FAIL: the discrepancy exceeds 10 bounds, and does so again on a second ladder. PASS states the smallest single
    entry error and the smallest common factor that would have failed.

    Cannot see: what is right at this point and wrong at another (shape, option, value, dtype), and state kept between
    calls. Where the point is a kink of an output entry, that entry is left out and counted.
    How to fix: start at the worst entry that is named; its ratio (claimed / numeric) tells the kind of mistake.
    """
    return Trial(s).evidence()


@dataclass(frozen=True)
class Probed:
    """A measured probe and the cotangents that the layer claims for its upstream, at the primals `x`, which move by `steps`."""
    measured: Measured
    d: dict[str, Array | None]
    x: Mapping[str, Array]
    steps: Mapping[str, Array]

    @cached_property
    def claims(self) -> dict[str, Array]:
        """The cotangents of the primals that the probe moves."""
        return {k: _array(self.d[k], self.x[k]) for k in self.measured.probe.v}

    @cached_property
    def parts(self) -> dict[str, float]:
        """⟨d, v⟩ of each."""
        return dots(self.claims, self.measured.probe.v)

    @cached_property
    def shares(self) -> float:
        """Σ |d v| over all of them: what the inner product's rounding is a fraction of."""
        return sum(float(np.sum(np.abs(d * self.measured.probe.v[k]))) for k, d in self.claims.items())

    @cached_property
    def largest(self) -> float:
        """The largest scaled cotangent entry of the whole case."""
        return max(float(np.max(np.abs(_array(d, self.x[k])) * self.steps[k], initial=0.0)) for k, d in self.d.items())


@dataclass(frozen=True)
class Trial:
    """All measurements of one subject: joint probes first, single primals where those do not decide."""
    subject: Subject
    probes: int = PROBES

    @cached_property
    def field(self) -> Field:
        """Where the forward pass is measured: the layer's float64 twin at the same point, where it has one."""
        field = Field(self.subject)
        if field.eps <= np.finfo(np.float64).eps:
            return field
        twin = Field(replace(self.subject, primals={k: _widened(x) for k, x in self.subject.primals.items()}))
        return twin if _is_twin(twin, field) else field

    @cached_property
    def eps(self) -> float:
        """The precision of what the layer itself reads."""
        return eps_of([self.subject.primals[k] for k in self.subject.differentiable])

    @cached_property
    def demand(self) -> float:
        """The resolution asked for: the user's, or what the layer's precision, claimed and measured, allows."""
        return self.subject.demand or demand_of(max(self.eps, self.field.precision))

    def evidence(self) -> Iterator[Evidence]:
        """One line for each primal."""
        names, first = list(self.subject.differentiable), self.probed(0)
        for k in [k for k in names if (why := misfit(first.d[k], self.subject.primals[k]))]:
            names.remove(k)
            yield Evidence(check="adjoint", primal=k, verdict=Verdict.FAIL, reason=why, measured=inf, probes=1)
        if not names:
            return
        whole = len(names) == len(self.subject.differentiable)
        joint = ([first] if whole else [self.probed(0, names)]) + [self.probed(i, names) for i in range(1, self.probes)]
        for k in names:
            yield self.of_primal(k, joint)

    def of_primal(self, k: str, joint: Sequence[Probed], kinks: bool = True) -> Evidence:
        """The verdict on one primal: from the joint probes if they pass finely enough, else from probes of it alone."""
        probed, readings = list(joint), [self.reading(k, p) for p in joint]
        found, accused = judge(readings), False
        if found.verdict is Verdict.FAIL or found.resolution.entry > self.demand:
            if len(joint[0].measured.probe.v) > 1:
                probed = [self.probed(f"{k} alone {i}", [k]) for i in range(self.probes)]
                readings = [self.reading(k, p) for p in probed]
                found = judge(readings)
            if found.verdict is Verdict.PASS and self.demand < found.resolution.entry < inf:
                probed += [self.probed(f"{k} on another scale {i}", [k], reach) for i, reach in enumerate(REACHES)]
                readings = [self.reading(k, p) for p in probed]
                found = judge(readings)
            if found.verdict is Verdict.FAIL:
                readings = [self.reading(k, p, self.spread(k, p)) for p in probed]
                found, accused = judge(readings), True
        worst = probed[readings.index(found.worst)]
        line = (self.failed if found.verdict is Verdict.FAIL else self.passed)(k, found, worst, readings)
        if accused and line.verdict is Verdict.UNDECIDED and line.reason.startswith("coarse"):
            line = changed(line, reason=f"off by {line.measured:.3g}, and one rounding of what backward reads moves the claim as much")
        return self.at_kinks(line) if kinks and any(p.measured.kinked for p in probed) and line.verdict is not Verdict.FAIL else line

    def at_kinks(self, line: Evidence) -> Evidence:
        """The evidence of the smooth part, joined by that of the output entries that have a kink at the point, unless these are few among very many."""
        if line.reason != KINKED and sum(y.size for y in self.field.ys) > BUCKETS:
            return changed(line, notes=(*line.notes, "the kinks are judged where the outputs are fewer"))
        kinks = judge_kinks(self.field, self.subject, line.primal, self.subject.rng("kinks", line.primal))
        if kinks.wrong:
            return changed(line, verdict=Verdict.FAIL, reason=kinks.wrong, marks=(*line.marks, "subgradient"))
        if kinks.rough and not kinks.judged:
            why = "the function jumps here, or has a feature sharper than any step"
            return _undecided(line, why) if line.reason == KINKED else changed(line, notes=(*line.notes, f"at {kinks.rough} outputs {why}"))
        if not kinks.judged:
            return self.beside(line)
        passed = Verdict.PASS if line.reason == KINKED else line.verdict
        resolution = Resolution(entry=kinks.slack, factor=kinks.slack) if line.reason == KINKED else line.resolution
        marks = (*(m for m in line.marks if m != "vacuous" or line.reason != KINKED), "subgradient")
        return changed(line, verdict=passed, reason="" if passed is Verdict.PASS else line.reason, resolution=resolution, marks=marks,
                       notes=(*line.notes, f"{kinks.judged} kinks at the point: the claim is a mixture of their sides"))

    def beside(self, line: Evidence) -> Evidence:
        """The evidence where no side of a kink could be verified: too many meet, or the layer is wrong on the sides as well."""
        moves = self.subject.rng("beside", line.primal)
        x, reach = self.subject.primals, self.field.eps ** 0.25
        near = {**x, **{k: np.asarray(x[k] + reach * direction(moves, x[k]), x[k].dtype) for k in self.subject.differentiable}}
        if all(np.isfinite(y).all() for y in self.field.there(copied(near))):
            trial = Trial(replace(self.subject, primals=near))
            found = trial.of_primal(line.primal, [trial.probed(f"beside {i}", [line.primal]) for i in range(self.probes)], kinks=False)
            if found.verdict is Verdict.FAIL:
                return changed(line, verdict=Verdict.FAIL, reason=f"beside the kink at the point {found.reason}", measured=found.measured, bound=found.bound)
        return changed(line, notes=(*line.notes, "the kinks were not judged: several feed one output, or no side could be verified"))

    def probed(self, label: object, names: Sequence[str] | None = None, reach: float = 1.0) -> Probed:
        """Measure a random probe that moves `names`, then ask the layer for its cotangents."""
        rng = self.subject.rng("adjoint", label)
        measured = self.field.measure(self.field.probe(rng, names), rng, reach)
        return self.heard(measured, self.claims(measured.probe.dy))

    def heard(self, measured: Measured, d: dict[str, Array | None]) -> Probed:
        return Probed(measured, d, self.subject.primals, self.steps)

    @cached_property
    def steps(self) -> dict[str, Array]:
        """How far the entries of each primal may move."""
        return {k: scale(self.subject.primals[k]) for k in self.subject.differentiable}

    def claims(self, dys: Sequence[Array]) -> dict[str, Array | None]:
        """The layer's own cotangents; its upstream in its own dtype."""
        with np.errstate(all="ignore"):
            d = self.subject.pullback(self.subject.primals, self.upstream(dys))
        return {k: d.get(k) for k in self.subject.differentiable}

    def upstream(self, dys: Sequence[Array]) -> list[Array]:
        """An upstream in the dtypes of the layer's own outputs."""
        return [dy.astype(dtype) for dy, dtype in zip(dys, self.dtypes, strict=True)]

    @cached_property
    def dtypes(self) -> tuple[np.dtype[Any], ...]:
        return tuple(y.dtype for y in (self.field if self.field.subject is self.subject else Field(self.subject)).ys)

    def reading(self, k: str, p: Probed, spread: float = 0.0) -> Reading:
        """What a probe says of primal `k`: the bound covers the differences, the inner products and the backward's rounding."""
        rest = sum(part for name, part in p.parts.items() if name != k)
        return Reading(p.measured.value - rest, p.measured.bound + max(self.eps * p.shares, spread), p.measured.probe.v[k], p.claims[k], p.steps[k], p.largest)

    def spread(self, k: str, p: Probed) -> float:
        """How much ⟨d, v⟩ moves when all that the backward pass reads moves by one rounding; asked only before a FAIL."""
        v = p.measured.probe.v[k]
        moved = spread(self.subject, self.upstream(p.measured.probe.dy), k, lambda moved: abs(dot(moved, v)), self.subject.rng("spread", k),
                       self.field.precision)
        return max(moved, kept(p.measured.probe.dy, self.field.ys, self.eps))

    def doubt(self, k: str, worst: Probed) -> str:
        """Why a discrepancy may not be the layer's fault; "" if it is."""
        if not self.confirmed(k, worst):
            return "two measurements of the same direction disagree"
        if not self.additive(k, worst):
            return "the point is a kink: slopes along parts of a direction do not add up"
        if self.stepped(k, worst):
            return "the values move in jumps, and as claimed from jump to jump: they are rounded to a grid coarser than the steps"
        nearer = any(self.right_nearer(k, worst, zoom) for zoom in NEARER)
        return "the claim is right on far smaller steps: the function has features finer than the usual ones" if nearer else ""

    def confirmed(self, k: str, worst: Probed) -> bool:
        """Whether the same direction fails again when measured with another ladder on smaller steps."""
        shorter = Probe({name: v / 3 for name, v in worst.measured.probe.v.items()}, worst.measured.probe.dy)
        again = self.field.measure(shorter, self.subject.rng("confirm", k), reach=0.5)
        d = worst.d if again.dropped + again.kinked == 0 else self.claims(again.probe.dy)
        return judge([self.reading(k, self.heard(again, d), self.spread(k, worst) / 3)]).verdict is Verdict.FAIL

    def additive(self, k: str, worst: Probed) -> bool:
        """Whether slopes along parts of the direction add up. The median of tied values has a slope along every line, and no derivative."""
        m, rng = worst.measured, self.subject.rng("parts", k)
        h = float(m.ladder.steps[-1])
        rounding = differences.SIGMAS * float(np.linalg.norm(self.field.noise(m.probe))) / h
        allowed = max(ADDITIVE * self.reading(k, worst).residual, MARGIN * rounding)
        for _ in range(PARTINGS):
            first = {name: rng.random(v.shape) < 0.5 for name, v in m.probe.v.items()}
            parts = [{name: np.where(first[name] == side, v, 0) for name, v in m.probe.v.items()} for side in (True, False)]
            whole, one, other = (self.field.short(Probe(v, m.probe.dy), h) for v in (m.probe.v, *parts))
            if abs(one + other - whole) > allowed:
                return False
        return True

    def stepped(self, k: str, worst: Probed) -> bool:
        """Whether the function changes as claimed over wide steps, in jumps: between them it has another slope, or none at all."""
        m, r = worst.measured, self.reading(k, worst)
        curve, rest = self.field.curve(m.probe), m.value - r.value
        with np.errstate(all="ignore"):
            phi = cache(lambda t: float(np.sum(curve(t))))
            ends = [t for t in m.ladder.steps[0] * WIDER if abs((phi(t) - phi(-t)) / (2 * t) - rest - r.claim) <= BETTER * r.residual]
            if len(ends) < FOLLOWED:
                return False
            low, high = differences.steepest(phi, m.value, ends[0], self.field.eps)
            jump, noise = abs(phi(high) - phi(low)), float(np.linalg.norm(self.field.noise(m.probe)))
        return jump > MARGIN * noise and jump > JUMP * (high - low) * max(abs(m.value), abs(rest + r.claim))

    def right_nearer(self, k: str, worst: Probed, zoom: float) -> bool:
        """Whether far smaller steps, finely enough, agree with the claim: then the function has features that the usual ones jump over."""
        near = Probe({name: zoom * t for name, t in worst.measured.probe.v.items()}, worst.measured.probe.dy)
        m = replace(self.field, zoom=zoom).measure(near, self.subject.rng("nearer", k, zoom), most=0.0)
        r = self.reading(k, self.heard(m, worst.d))
        return m.kinked == 0 and r.excess <= 1 and MARGIN * r.limit < zoom * self.reading(k, worst).residual and abs(r.value) > r.limit

    def failed(self, k: str, found: Judgement, worst: Probed, readings: Sequence[Reading]) -> Evidence:
        d, edge = worst.d[k], worst.measured.kinked > 0
        line = self.line(k, found, worst, readings)
        if d is not None and not np.isfinite(d).all() and edge:
            return _undecided(line, "the cotangent is not finite, and the point is a kink or the edge of the domain")
        if not np.isfinite(worst.measured.value):
            return _undecided(line, "the function is not finite along every direction tried")
        if doubt := self.doubt(k, worst):
            return _undecided(line, doubt)
        r = found.worst
        off = f"⟨d, v⟩ is {r.claim:.6g}, ⟨dy, J v⟩ is {r.value:.6g}: off by {r.residual:.3g}, a right claim by {r.limit:.0e} at most"
        reason = "no cotangent was returned, and it is not zero" if d is None else off if np.isfinite(d).all() else "the cotangent is not finite"
        return changed(line, verdict=Verdict.FAIL, reason=reason, marks=tuple(m for m in line.marks if m != "vacuous"))

    def located(self, e: Evidence) -> Evidence:
        """A failure with its worst entries and the kind of mistake: from this point seen whole, and others that tell the axes apart."""
        trials = [self, *map(Trial, telling(self.subject))]
        found = [picture(t.field, t.claims, t.subject.rng("picture")) for t in trials]
        return located(e, found[0], [p for p in found[1:] if p], lambda: self.looking(e.primal))

    def looking(self, k: str) -> Looking:
        """The probe of primal `k` alone that exceeds its limit most, to be taken apart."""
        return self.taken_apart(max((self.probed(f"{k} alone {i}", [k]) for i in range(PROBES)), key=lambda p: self.reading(k, p).excess), k)

    def taken_apart(self, p: Probed, k: str) -> Looking:
        """A probe, to be measured in parts of primal `k`."""
        x = self.subject.primals[k]
        return Looking(self.field, p.measured.probe, k, _array(p.d[k], x), lambda dys: _array(self.claims(dys)[k], x))

    def passed(self, k: str, found: Judgement, worst: Probed, readings: Sequence[Reading]) -> Evidence:
        line = self.line(k, found, worst, readings)
        if not np.isfinite(worst.measured.bound):
            return _undecided(line, "no step gives a derivative with a bound: the function is rough, or not finite, here")
        if worst.measured.components == worst.measured.kinked:
            return _undecided(line, KINKED)
        if not could_fail(readings, self.subject.rng("power", k)):
            return _undecided(line, "an error just above the resolution would not have failed")
        if found.resolution.entry > self.demand and found.worst.case > 0:
            return _undecided(line, f"coarse: resolves {found.resolution.entry:.1e} of the largest entry, {self.demand:.0e} is asked for")
        return line

    def line(self, k: str, found: Judgement, worst: Probed, readings: Sequence[Reading]) -> Evidence:
        m = worst.measured
        notes = [f"{m.dropped} of {m.components} {LEFT_OUT}"] * bool(m.dropped)
        notes += [f"{m.kinked} of {m.components} output parts left out: a kink at the point, or the domain's edge"] * bool(m.kinked)
        marks = ["vacuous"] * found.vacuous + ["twin"] * (self.field.subject is not self.subject)
        return Evidence(check="adjoint", primal=k, verdict=Verdict.PASS, measured=found.worst.residual, bound=found.worst.limit,
                        resolution=found.resolution, marks=tuple(marks), notes=tuple(notes), probes=len(readings), sweep=_sweep(m))


def misfit(d: Array | None, x: Array) -> str:
    """What is wrong with a cotangent's form; "" if nothing. A missing one is judged by its value, which is zero."""
    if d is None:
        return ""
    if not isinstance(d, np.ndarray | np.generic):
        return f"the cotangent is a {type(d).__name__}, not an array"
    return "" if d.shape == x.shape else f"the cotangent has shape {d.shape}, its primal {x.shape}"


def _array(d: Array | None, like: Array) -> Array:
    """The cotangent as it enters inner products: zero where there is none, or none of its primal's shape."""
    return np.zeros_like(like) if d is None or misfit(d, like) else d


def _widened(x: Array) -> Array:
    wide = {"f": np.float64, "c": np.complex128}.get(x.dtype.kind)
    return x.astype(wide) if wide else x


def _is_twin(twin: Field, field: Field) -> bool:
    """Whether the float64 run is the same function, in float64: dtype, measured noise, and outputs all say so."""
    try:
        wide, narrow = twin.ys, field.ys
    except Exception:                                  # a layer that takes no float64 simply has no twin
        return False
    same = all(w.dtype.itemsize >= 8 and np.allclose(w, n, rtol=demand_of(field.eps), atol=demand_of(field.eps) * np.max(np.abs(w), initial=0))
               for w, n in zip(wide, narrow, strict=True))
    return bool(same and twin.precision < 1e3 * np.finfo(np.float64).eps)


def _sweep(m: Measured) -> Sweep:
    size = abs(m.value) or 1.0
    error = np.abs(m.ladder.odd[:, 0] - m.value) / size
    return Sweep(step=tuple(map(float, m.ladder.steps)), error=tuple(map(float, error)), chosen=m.step, bound=m.bound / size)


def _undecided(e: Evidence, why: str) -> Evidence:
    return changed(e, verdict=Verdict.UNDECIDED, reason=why)
