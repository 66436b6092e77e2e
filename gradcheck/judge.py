"""From discrepancies and bounds to a verdict with an exact resolution. Arithmetic only: no layer is called here."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .evidence import Resolution, Verdict
from .inner import Array, dot
from .probes import MARGIN

SMALLEST = 0.5            # the least magnitude of a probe's entry, in units of its primal's scale


@dataclass(frozen=True)
class Reading:
    """One probe as one primal sees it, everything else that the probe moves having been subtracted."""
    value: float                        # ⟨dy, J v⟩ as measured
    bound: float                        # how far from ⟨d, v⟩ a right claim may be
    v: Array                            # the tangent
    d: Array                            # the claimed cotangent
    steps: Array                        # how far each entry of the primal may move: its scale
    case: float                         # the largest scaled cotangent entry of the whole case

    @cached_property
    def claim(self) -> float:
        return dot(self.d, self.v)

    @property
    def residual(self) -> float:
        return abs(self.value - self.claim)

    @property
    def limit(self) -> float:
        """What a right claim's residual does not exceed."""
        return MARGIN * self.bound

    @property
    def excess(self) -> float:
        """Residual over limit: beyond 1 the claim is wrong. Not finite: infinitely so."""
        if not np.isfinite(self.residual):
            return np.inf
        return self.residual / self.limit if self.limit > 0 else np.inf if self.residual > 0 else 0.0

    @cached_property
    def largest(self) -> float:
        """The largest cotangent entry, scaled by how far its primal's entry may move."""
        return float(np.max(np.abs(self.d) * self.steps, initial=0.0))

    @property
    def visible(self) -> float:
        """The smallest scaled error of one entry that certainly exceeds the limit: e·|v_i| ≥ e·s_i/2."""
        return (self.limit + self.residual) / SMALLEST

    @property
    def vacuous(self) -> bool:
        """Whether the claim cannot be told from zero."""
        return self.largest <= self.visible

    @property
    def entry(self) -> float:
        """`visible`, relative to the primal's largest entry, or to the case's where the primal has none to speak of."""
        return _ratio(self.visible, max(self.largest, self.case) if self.vacuous else self.largest)

    @property
    def factor(self) -> float:
        """The smallest common factor 1 + factor that certainly exceeds the limit."""
        return np.inf if self.vacuous else _ratio(self.limit + self.residual, abs(self.claim))


@dataclass(frozen=True)
class Judgement:
    """The verdict over all readings of one primal, with its resolution and the reading nearest to failing."""
    verdict: Verdict
    worst: Reading
    resolution: Resolution
    vacuous: bool


def judge(readings: Sequence[Reading]) -> Judgement:
    """FAIL if any residual exceeds its limit, else PASS with the smallest error that would have exceeded one."""
    worst = max(readings, key=lambda r: r.excess)
    resolution = Resolution(entry=min(r.entry for r in readings), factor=min(r.factor for r in readings))
    return Judgement(Verdict.FAIL if worst.excess > 1 else Verdict.PASS, worst, resolution, all(r.vacuous for r in readings))


def could_fail(readings: Sequence[Reading], rng: np.random.Generator) -> bool:
    """Whether errors just above the stated resolution fail by the same judge: one wrong entry, and a common factor."""
    by_entry, by_factor = min(readings, key=lambda r: r.entry), min(readings, key=lambda r: r.factor)
    size = np.asarray(max(1.01 * by_entry.visible, np.finfo(np.float64).tiny ** 0.5) / by_entry.steps)
    wrong = _wide(by_entry.d)
    at = int(rng.integers(wrong.size)) if wrong.size else 0
    turn = by_entry.v.flat[at] / abs(by_entry.v.flat[at]) if wrong.size else 1.0
    wrong.flat[at:at + 1] += size.flat[at:at + 1] * turn
    mutants = [replace(by_entry, d=wrong)]
    if np.isfinite(by_factor.factor):
        mutants.append(replace(by_factor, d=_wide(by_factor.d) * (1 + 1.01 * by_factor.factor)))
    return not wrong.size or all(judge([m]).verdict is Verdict.FAIL for m in mutants)


def _ratio(a: float, b: float) -> float:
    return a / b if b > 0 else np.inf if a > 0 else 0.0


def _wide(d: Array) -> Array:
    """A copy that holds an error far below the last place of its own dtype. An array also of a number: NumPy's operations return one for no axes."""
    return np.array(d, np.result_type(d, np.float64))
