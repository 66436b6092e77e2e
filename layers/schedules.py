"""Learning rates. A `Schedule` tells the rate of a step; the cyclic ones, of an epoch."""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import field
from typing import Any, ClassVar

import numpy as np
from scipy.special import ndtr

from .spec import Row, make, pick, restore


class Schedule(Row):
    """Its `rate(step, loss)`, steps and epochs counted from 0. `str()` prints what `schedule()` reads."""
    rate: ClassVar[Callable[..., float]]


class Constant(Schedule):
    """lr"""
    lr: float = 0.01

    def rate(self, step: int, loss: float | None = None) -> float:
        return self.lr


class Exponential(Schedule):
    """initial_lr · decay^(step / stage_length); with `staircase` the exponent is rounded down."""
    initial_lr: float = 0.01
    stage_length: int = 500
    staircase: bool = False
    decay: float = 0.1

    def rate(self, step: int, loss: float | None = None) -> float:
        stage = step // self.stage_length if self.staircase else step / self.stage_length
        return self.initial_lr * self.decay ** stage


class Noam(Schedule):
    """scale · model_dim^-½ · min(s^-½, s · warmup^-3/2) with s = step + 1 (Vaswani et al., 2017)."""
    model_dim: int = 512
    scale_factor: float = 1
    warmup_steps: int = 4000

    def rate(self, step: int, loss: float | None = None) -> float:
        s = step + 1
        return self.scale_factor * self.model_dim ** -0.5 * min(s ** -0.5, s * self.warmup_steps ** -1.5)


class King(Schedule):
    """Multiply the rate by `decay` when the loss has not fallen for `patience` steps, judged with and without its highest tenth.

    A stretch of losses falls if the slope of its regression line is below zero with probability 0.51 or more (King, 2018).
    """
    initial_lr: float = 0.01
    patience: int = 1000
    decay: float = 0.99
    losses: list[float] = field(default_factory=list, init=False)
    current: float | None = field(default=None, init=False)

    def rate(self, step: int, loss: float | None = None) -> float:
        if loss is None:
            raise ValueError("King's schedule follows the loss: call update(cur_loss=…)")
        self.current = self.initial_lr if self.current is None else self.current
        self.losses = [*self.losses, float(loss)][-math.ceil(1.1 * (self.patience + 1)):]
        calm = [v for v in self.losses if v <= np.quantile(self.losses, 0.9)]
        if self._stalled(self.losses) and self._stalled(calm):
            self.current *= self.decay
        return self.current

    def _stalled(self, losses: list[float]) -> bool:
        tail = np.array(losses[-self.patience - 1:])
        n = len(tail)
        if n <= self.patience or n < 3:
            return False
        x = np.arange(n) - (n - 1) / 2
        slope = x @ tail / (x @ x)
        deviation = math.sqrt(np.sum((tail - tail.mean() - slope * x) ** 2) / (n - 2) / (x @ x))
        return ndtr(-slope / deviation) < 0.51 if deviation else slope >= 0


class Cyclic(Schedule):
    """The rate of epoch e, in cycles of c = cycle_epochs epochs (0: one cycle over all `epochs`), each starting lower by `cycle_descent`.

    With u = lr (1 − cycle_descent)^(e // c) and k = decay_k (0: 5 / c, which ends near 0.7 %):
    steady u · exp_decay u e^(−k (e mod c)) · lin_decay u / (1 + 100 k (e mod c)).
    """
    kind: str = "steady"
    lr: float = 0.1
    decay_k: float = 0.0
    cycle_epochs: int = 0
    cycle_descent: float = 0.0
    epochs: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        pick(SHAPES, self.kind, "schedule")

    def rate(self, step: int, loss: float | None = None) -> float:
        c = self.cycle_epochs or max(self.epochs, step + 1)
        return self.lr * (1 - self.cycle_descent) ** (step // c) * SHAPES[self.kind](self.decay_k or 5 / c, step % c)


SHAPES = {
    "steady":    lambda k, e: 1.0,
    "exp_decay": lambda k, e: math.exp(-k * e),
    "lin_decay": lambda k, e: 1 / (1 + 100 * k * e),
}
SCHEDULES: dict[str, type[Schedule]] = {c.__name__: c for c in (Constant, Exponential, Noam, King, Cyclic)}


def schedule(spec: str | Schedule | dict[str, Any]) -> Schedule:
    """The schedule that `spec` names, or that `state()` described."""
    return spec if isinstance(spec, Schedule) else restore(SCHEDULES, spec, "scheduler") if isinstance(spec, dict) \
        else make(SCHEDULES, spec, "scheduler")
