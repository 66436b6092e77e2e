"""Optimizers: a rule each, from a gradient and the moments kept so far to a step and the moments to keep."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import field
from typing import Any, ClassVar

import numpy as np

from .schedules import Schedule, schedule
from .spec import Row, make, restore

Array = np.ndarray
Moments = dict[str, Any]


class Optimizer(Row):
    """param ← param − step for the parameters of one layer. `rule(g, m, lr)` gives the step for a gradient g, and the moments to keep, m
    being those kept so far, {} at first. `clip_norm` bounds the norm of each gradient before; `lr_scheduler` (an object or its text)
    overrides `lr`; `str()` prints what `optimizer()` reads.
    """
    rule: ClassVar[Callable[..., tuple[Array, Moments]]]
    lr: float = 0.01
    clip_norm: float | None = field(default=None, kw_only=True)
    lr_scheduler: Schedule | str | None = field(default=None, kw_only=True)
    steps: int = field(default=0, init=False)
    moments: dict[str, Moments] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.lr_scheduler = None if self.lr_scheduler is None else schedule(self.lr_scheduler)

    def update(self, params: Mapping[str, Array], grads: Mapping[str, Array], cur_loss: float | None = None) -> dict[str, Array]:
        """New parameters, one step on; the arrays given stay as they are. `cur_loss` is for schedules that follow it."""
        rate = self.lr_scheduler.rate(self.steps, cur_loss) if isinstance(self.lr_scheduler, Schedule) else self.lr
        self.steps += 1
        return {name: params[name] - self._step(name, g, rate) for name, g in grads.items()}

    def _step(self, name: str, g: Array, rate: float) -> Array:
        if self.clip_norm is not None and (norm := np.linalg.norm(g)) > self.clip_norm:
            g = g * float(self.clip_norm / norm)
        step, self.moments[name] = self.rule(g, self.moments.get(name, {}), rate)
        return step


class SGD(Optimizer):
    """step = momentum · step before + lr · g"""
    momentum: float = 0.0

    def rule(self, g: Array, m: Moments, lr: float) -> tuple[Array, Moments]:
        step = lr * g + self.momentum * m.get("step", 0)
        return step, {"step": step} if self.momentum else {}


class AdaGrad(Optimizer):
    """step = lr · g / (√Σ g² + eps) (Duchi et al., 2011)"""
    eps: float = 1e-7

    def rule(self, g: Array, m: Moments, lr: float) -> tuple[Array, Moments]:
        square = m.get("square", 0) + g * g
        return lr * g / (np.sqrt(square) + self.eps), {"square": square}


class RMSProp(Optimizer):
    """step = lr · g / (√v + eps), v a running mean of g² (Hinton, 2012)"""
    lr: float = 0.001
    decay: float = 0.9
    eps: float = 1e-7

    def rule(self, g: Array, m: Moments, lr: float) -> tuple[Array, Moments]:
        square = self.decay * m.get("square", 0) + (1 - self.decay) * g * g
        return lr * g / (np.sqrt(square) + self.eps), {"square": square}


class Adam(Optimizer):
    """step = lr · m / (√v + eps), m and v running means of g and g², freed of their start at 0 (Kingma and Ba, 2015)"""
    lr: float = 0.001
    decay1: float = 0.9
    decay2: float = 0.999
    eps: float = 1e-7

    def rule(self, g: Array, m: Moments, lr: float) -> tuple[Array, Moments]:
        t = m.get("t", 0) + 1
        mean = self.decay1 * m.get("mean", 0) + (1 - self.decay1) * g
        square = self.decay2 * m.get("square", 0) + (1 - self.decay2) * g * g
        step = lr * (mean / (1 - self.decay1 ** t)) / (np.sqrt(square / (1 - self.decay2 ** t)) + self.eps)
        return step, {"t": t, "mean": mean, "square": square}


OPTIMIZERS: dict[str, type[Optimizer]] = {c.__name__: c for c in (SGD, AdaGrad, RMSProp, Adam)}


def optimizer(spec: str | Optimizer | Mapping[str, Any] | None) -> Optimizer:
    """A fresh optimizer, since its moments belong to one layer: what `spec` names, a copy of an object, or what `state()` described;
    None is SGD().
    """
    if isinstance(spec, Optimizer):
        return deepcopy(spec)
    if isinstance(spec, Mapping):
        return restore(OPTIMIZERS, spec, "optimizer")
    return make(OPTIMIZERS, "SGD" if spec is None else spec, "optimizer")
