"""Losses and metrics of targets t and predictions y, both (n, …): a row for each.

A loss is the mean over the n samples of one value each, so its cotangent carries 1/n; a sample's value is the mean over its outputs,
or, for the two categorical ones, the sum over its classes.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_softmax, xlogy

from gradcheck.law import ShapeError

from .activations import softmax
from .base import Array, Layer, Out, Vars
from .spec import pick

Pair = Callable[[Array, Array], Array]


class Loss(NamedTuple):
    """`each(t, y)`, of (n, m) arrays, is the value of every entry, `slope(t, y)` its derivative in y and `toward(t, y)` that in t, or None
    where t and y may change places; `mean`: over m, else summed.
    """
    each: Pair
    slope: Pair
    toward: Pair | None = None
    mean: bool = True

    def samples(self, t: ArrayLike, y: ArrayLike) -> Array:
        """One value for each sample, (n)."""
        t, y = _rows(t, y)
        return self.each(t, y).mean(1) if self.mean else self.each(t, y).sum(1)

    def __call__(self, t: ArrayLike, y: ArrayLike) -> float:
        values = self.samples(t, y)
        return float(values.sum() / max(1, len(values)))

    def cotangent(self, t: ArrayLike, y: ArrayLike) -> Array:
        """The derivative of the loss in y, of y's shape."""
        return self._share(self.slope, t, y)

    def target_cotangent(self, t: ArrayLike, y: ArrayLike) -> Array:
        """The derivative of the loss in t, of y's shape and dtype."""
        return self._share(self.toward or (lambda t, y: self.slope(y, t)), t, y)

    def _share(self, derivative: Pair, t: ArrayLike, y: ArrayLike) -> Array:
        t, rows = _rows(t, y)
        return (derivative(t, rows) / (rows.size if self.mean else len(rows))).reshape(np.shape(y))


def _rows(t: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    t, y = np.asarray(t), np.asarray(y)
    if t.shape != y.shape or y.ndim == 0:
        raise ShapeError(f"a loss takes targets and predictions of one shape (n, …), got {t.shape} and {y.shape}")
    y = y if y.dtype.kind == "f" else y.astype(float)
    matrix = len(y), math.prod(y.shape[1:])
    return t.reshape(matrix).astype(y.dtype), y.reshape(matrix)


def _open(y: Array) -> Array:
    """Probabilities kept off 0 and 1 by the machine precision, so that a log and a slope exist; a loss goes on along its tangent there."""
    eps = np.finfo(y.dtype).eps
    return np.clip(y, eps, 1 - eps)


def _log_odds(y: Array) -> Array:
    """ln (1 − y) / y"""
    c = _open(y)
    return np.log1p(-c) - np.log(c) - (y - c) / (c * (1 - c))


def _bce(t: Array, y: Array) -> Array:
    c = _open(y)
    return -xlogy(t, c) - xlogy(1 - t, 1 - c) + _bce_slope(t, y) * (y - c)


def _bce_slope(t: Array, y: Array) -> Array:
    c = _open(y)
    return (c - t) / (c * (1 - c))


def _above(y: Array) -> Array:
    """Probabilities kept off 0 by the least normal number: of a softmax's, y · t/y is then t however sure it is of another class."""
    return np.maximum(y, np.finfo(y.dtype).tiny)


def _ln(y: Array) -> Array:
    """ln y, from the least normal number down along its tangent there."""
    c = _above(y)
    return np.log(c) + (y - c) / c


LOSSES: dict[str, Loss] = {
    "mse":  Loss(lambda t, y: (y - t) ** 2, lambda t, y: 2 * (y - t)),
    "mae":  Loss(lambda t, y: abs(y - t), lambda t, y: np.sign(y - t)),
    "msle": Loss(lambda t, y: (np.log1p(y) - np.log1p(t)) ** 2, lambda t, y: 2 * (np.log1p(y) - np.log1p(t)) / (1 + y)),
    "bce":  Loss(_bce, _bce_slope, lambda t, y: _log_odds(y)),
    "cce":  Loss(lambda t, y: -t * _ln(y), lambda t, y: -t / _above(y), lambda t, y: -_ln(y), mean=False),
    "softmax_cce": Loss(lambda t, z: -t * log_softmax(z, 1), lambda t, z: softmax(z) * t.sum(1, keepdims=True) - t,   # cce of softmax(z)
                        lambda t, z: -log_softmax(z, 1), mean=False),
}


def loss(spec: str | Loss) -> Loss:
    """The loss of that name, or itself. Errors: ValueError for an unknown name, with the nearest known one."""
    return spec if isinstance(spec, Loss) else pick(LOSSES, spec, "loss")


# losses as layers ---------------------------------------------------------------------------------------------------------

class Objective(Layer):
    """The loss of the layer's name, of predictions y and targets t; `backward(1.0)` gives the cotangents of both."""
    row = property(lambda self: loss(type(self).__name__))

    def fwd(self, p: Vars, y: Array, t: Array) -> Out:                # y, t (n, *)
        return np.asarray(self.row(t, y), y.dtype), Vars(Y=y, T=t)

    def bwd(self, p: Vars, r: Vars, dl: Array) -> Out:                # dl ()
        return (dl * self.row.cotangent(r.T, r.Y), dl * self.row.target_cotangent(r.T, r.Y)), Vars()


def objective(name: str, equation: str, domain: str = "") -> type[Objective]:
    """The layer of one loss, whose predictions and targets are of this domain."""
    side = f"n * {domain}".strip()
    return type(name, (Objective,), {"__doc__": f"l = mean over the samples of {equation}.", "__module__": __name__, "law": f"{side}, {side} ->"})


MSE = objective("MSE", "mean (y − t)²")
MAE = objective("MAE", "mean |y − t|")
MSLE = objective("MSLE", "mean (ln(1 + y) − ln(1 + t))²", ">= 0")
BCE = objective("BCE", "mean −t ln y − (1 − t) ln(1 − y)", "in (0,1)")
CCE = objective("CCE", "Σ −t ln y", "in (0,1)")
SoftmaxCCE = objective("SoftmaxCCE", "Σ −t ln softmax(y)")


# metrics ------------------------------------------------------------------------------------------------------------------

def confusion(t: ArrayLike, y: ArrayLike) -> Array:
    """How often class i (row) was taken for class j (column). Several outputs: the largest names the class; one: whether it passes ½."""
    t, y = _rows(t, y)
    m = y.shape[1]
    real, said = (a.argmax(1) if m > 1 else (a[:, 0] > 0.5).astype(int) for a in (t, y))
    return np.bincount(real * max(2, m) + said, minlength=max(2, m) ** 2).reshape(max(2, m), -1)


def _score(rule: Callable[[Array, Array, Array], Array]) -> Callable[[ArrayLike, ArrayLike], float]:
    """The mean over the classes (one output: the positive class alone) of a ratio of hits, said and real counts; 0 / 0 counts as 0."""
    def metric(t: ArrayLike, y: ArrayLike) -> float:
        c = confusion(t, y).astype(float)
        scores = np.nan_to_num(rule(np.diag(c), c.sum(0), c.sum(1)))
        return float(scores.mean() if np.size(y) > len(np.asarray(y)) else scores[1])
    return metric


def _ratio(a: Array, b: Array) -> Array:
    return np.divide(a, b, out=np.zeros_like(a), where=b != 0)


def accuracy(t: ArrayLike, y: ArrayLike) -> float:
    """The share of samples whose class is right."""
    c = confusion(t, y)
    return float(np.trace(c) / max(1, c.sum()))


METRICS: dict[str, Callable[[ArrayLike, ArrayLike], float]] = {
    "accuracy":  accuracy,
    "precision": _score(lambda hits, said, real: _ratio(hits, said)),
    "recall":    _score(lambda hits, said, real: _ratio(hits, real)),
    "fscore":    _score(lambda hits, said, real: _ratio(2 * hits, said + real)),
}


def metric(spec: str | Callable[[ArrayLike, ArrayLike], float]) -> Callable[[ArrayLike, ArrayLike], float]:
    """The metric of that name, or itself."""
    return spec if callable(spec) else pick(METRICS, spec, "metric")
