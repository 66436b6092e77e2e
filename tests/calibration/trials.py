"""One trial: a point, a probe, what the engine says of it, and the truth for the very upstream that the engine kept."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradcheck.inner import dot
from gradcheck.probes import Field, Measured, Probe
from gradcheck.subjects import Arrays, Counter, Subject, generator

from .functions import Function

PROBES = 3                # at one point, as `adjoint` takes them: the noise is measured once for all
FLIPS = 16                # random sign changes of v, from which ‖d∘v‖₂ is known to about 18 %


@dataclass(frozen=True)
class Trial:
    """|error| against bound, in absolute numbers and in units of ‖d∘v‖₂."""
    function: Function
    error: float
    bound: float
    size: float               # ‖d∘v‖₂: the size of the derivative along such directions, which has no zeros to pass through
    calls: float              # forwards, the point's own shared among its probes
    left_out: float           # share of output components
    seed: int

    @property
    def ratio(self) -> float:
        return self.error / self.bound if self.bound > 0 else float(self.error > 0) * np.inf


@dataclass(frozen=True)
class _Forward:
    function: Function

    def forward(self, primals: Arrays) -> tuple[np.ndarray, ...]:
        return self.function.run(dict(primals))

    def backward(self, *dys: np.ndarray) -> dict[str, np.ndarray | None]:
        raise NotImplementedError("only forward passes are measured here")


def subject_of(f: Function, seed: int) -> Subject:
    """The function at a random point."""
    primals = f.draw(generator("calibration", f.family, f.name, seed))
    return Subject(f"{f.family}/{f.name}/{seed}", primals, tuple(primals), lambda: _Forward(f), counter=Counter())


def trials(f: Function, seed: int) -> Iterator[Trial]:
    """All probes of one point."""
    subject = subject_of(f, seed)
    field, found = Field(subject), []
    for i in range(PROBES):
        rng = subject.rng("probe", i)
        with np.errstate(all="ignore"):
            found.append(field.measure(field.probe(rng), rng))
    calls = subject.counter.forward / PROBES
    return (_trial(f, subject, m, calls, seed) for m in found)


def _trial(f: Function, s: Subject, m: Measured, calls: float, seed: int) -> Trial:
    rng, v = s.rng("flips"), m.probe.v
    flipped = ({k: t * rng.choice([-1.0, 1.0], t.shape) for k, t in v.items()} for _ in range(FLIPS))
    size = float(np.sqrt(np.mean([truth(f, s.primals, replace(m.probe, v=w)) ** 2 for w in flipped])))
    error = abs(m.value - truth(f, s.primals, m.probe))
    return Trial(f, error if np.isfinite(m.bound) else 0.0, m.bound, size, calls, (m.dropped + m.kinked) / m.components, seed)


def truth(f: Function, primals: Arrays, probe: Probe) -> float:
    """⟨dy, J v⟩, where an output that is left out has no say, whatever its derivative."""
    with np.errstate(all="ignore"):
        return sum(dot(dy, np.where(dy != 0, jv, 0)) for dy, jv in zip(probe.dy, f.derivative(dict(primals), dict(probe.v)), strict=True))


def summary(trials: Sequence[Trial]) -> dict[str, Any]:
    """What a table says of many trials. Where every output was left out nothing was measured, so nothing was promised: counted apart."""
    said = [t for t in trials if t.left_out < 1]
    ratio = np.array([t.ratio for t in said] or [0.0])
    relative = [t.bound / t.size if t.size > 0 else np.inf for t in said]
    return {"trials": len(said), "covered": float(np.mean(ratio <= 1)), "worst": float(ratio.max()),
            "beyond": int(np.sum(ratio > 1)), "beyond_10": int(np.sum(ratio > 10)),
            "median_bound": float(np.median(relative or [np.inf])), "median_calls": float(np.median([t.calls for t in trials])),
            "left_out": float(np.mean([t.left_out for t in trials])), "unmeasured": len(trials) - len(said)}
