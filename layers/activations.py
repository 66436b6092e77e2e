"""Activations: a row for each, holding a = f(z) and its first two derivatives as functions of (z, a).

At a kink the derivative is that of the left branch of `z > 0`: relu'(0) = 0.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr

from .spec import make

Array = np.ndarray
DENSITY, CUBIC = (2 * np.pi) ** -0.5, 0.044715                       # of the normal distribution at 0; of gelu's tanh form
FLAT = 40.0                                                          # beyond it gelu is 0 or z to the last bit
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772      # the fixed point of Klambauer et al. (2017)


class Rules(NamedTuple):
    """f(z), f'(z, a), f''(z, a); `pull(dy, z, a)` where dy ∘ f' is not the way (identity) or not true (softmax)."""
    fn: Callable[[Array], Array]
    grad: Callable[[Array, Array], Array] | None
    grad2: Callable[[Array, Array], Array] | None
    pull: Callable[[Array, Array, Array], Array] | None = None


@lru_cache(maxsize=8)
def ones(n: int, dtype: Any) -> Array:
    """A vector of ones, to be read only."""
    one = np.ones(n, dtype)
    one.flags.writeable = False
    return one


def total(x: Array, axis: int) -> Array:
    """The sum over the last axis (-1), or over all axes but that (0), as a product with ones: several times faster than `sum`, and
    rounded no worse over rows.
    """
    if axis == -1:
        return x @ ones(x.shape[-1], x.dtype)
    rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
    return ones(len(rows), x.dtype).dot(rows)                        # half of what @ costs where there are few


def sigmoid(z: Array) -> Array:
    a = np.negative(z, out=np.empty_like(z))
    with np.errstate(over="ignore"):                                 # exp overflows to inf, whose reciprocal is the right 0
        np.exp(a, out=a)
    a += 1
    return np.divide(1, a, out=a)


def softplus(z: Array) -> Array:
    """ln(1 + e^z), without overflow"""
    return np.maximum(z, 0) + np.log1p(np.exp(-abs(z)))


def softmax(z: Array, axis: int = -1) -> Array:
    """e^z / Σ e^z. Entries of -inf get 0, and a line of nothing else is all 0."""
    e = z - z.max(axis, keepdims=True, initial=np.finfo(z.dtype).min)
    np.exp(e, out=e)
    sums = total(e, -1)[..., None] if axis == -1 else e.sum(axis, keepdims=True)
    e *= 1 / np.maximum(sums, 1)                                     # which is below 1, then 0, only where all is -inf
    return e


def pull_softmax(dy: Array, y: Array, axis: int = -1) -> Array:
    """J' dy = y ∘ (dy − Σ dy ∘ y)."""
    dot = np.vecdot(dy, y)[..., None] if axis == -1 else (dy * y).sum(axis, keepdims=True)
    dz = dy - dot
    dz *= y
    return dz


def _zero(z: Array, a: Array) -> Array:
    return np.zeros_like(z)


def _pick(z: Array, high: float, low: Any) -> Array:
    """`high` where z > 0, else `low`, which is finite everywhere. Arithmetic: np.where costs a mispredicted branch an entry."""
    up = (z > 0).astype(z.dtype)
    return up * high + (1 - up) * low


def _elu(alpha: float = 1.0, scale: float = 1.0) -> Rules:
    low = scale * alpha
    return Rules(lambda z: scale * np.maximum(z, 0) + low * np.expm1(np.minimum(z, 0)),
                 lambda z, a: _pick(z, scale, low * np.exp(np.minimum(z, 0))),
                 lambda z, a: _pick(z, 0, low * np.exp(np.minimum(z, 0))))


def _gelu(approximate: bool = False) -> Rules:
    """z Φ(z), or its tanh form z/2 (1 + tanh u) with u = c (z + k z³) (Hendrycks and Gimpel, 2016)."""
    flat = lambda f: lambda z, a: f(np.clip(z, -FLAT, FLAT))         # 0 times an overflow is no number
    if not approximate:
        phi = lambda z: DENSITY * np.exp(-z * z / 2)
        cdf = lambda z, a: np.divide(a, z, out=np.full_like(z, 0.5), where=abs(z) > np.finfo(z.dtype).eps)   # dearer than all else: once
        bump = flat(lambda z: z * phi(z))
        return Rules(lambda z: z * ndtr(z), lambda z, a: cdf(z, a) + bump(z, a), flat(lambda z: phi(z) * (2 - z * z)))
    c = 2 * DENSITY
    t = lambda z: np.tanh(c * (z + CUBIC * z * z * z))
    du = lambda z: c * (1 + 3 * CUBIC * z * z)
    share = flat(lambda z: (1 + t(z)) / 2)
    return Rules(lambda z: z * share(z, z), flat(lambda z: (1 + t(z)) / 2 + z / 2 * (1 - t(z) ** 2) * du(z)),
                 flat(lambda z: (1 - t(z) ** 2) * (du(z) + z * (3 * CUBIC * c * z - t(z) * du(z) ** 2))))


ROWS: dict[str, Callable[..., Rules]] = {
    "identity":     lambda: Rules(lambda z: z, lambda z, a: np.ones_like(z), _zero, lambda dy, z, a: dy),
    "affine":       lambda slope=1.0, intercept=0.0: Rules(lambda z: slope * z + intercept, lambda z, a: np.full_like(z, slope), _zero),
    "relu":         lambda: Rules(lambda z: np.maximum(z, 0), lambda z, a: (z > 0).astype(z.dtype), _zero),
    "leaky relu":   lambda alpha=0.3: Rules(lambda z: np.maximum(z, 0) + alpha * np.minimum(z, 0), lambda z, a: _pick(z, 1, alpha), _zero),
    "elu":          lambda alpha=1.0: _elu(alpha),
    "selu":         lambda: _elu(SELU_ALPHA, SELU_SCALE),
    "gelu":         _gelu,
    "sigmoid":      lambda: Rules(sigmoid, lambda z, a: a * (1.0 - a), lambda z, a: a * (1.0 - a) * (1.0 - 2.0 * a)),
    "hard sigmoid": lambda: Rules(lambda z: np.clip(0.2 * z + 0.5, 0, 1),
                                  lambda z, a: 0.2 * (abs(z) < 2.5).astype(z.dtype), _zero),
    "tanh":         lambda: Rules(np.tanh, lambda z, a: 1.0 - a * a, lambda z, a: -2.0 * a * (1.0 - a * a)),
    "softplus":     lambda: Rules(softplus, lambda z, a: sigmoid(z), lambda z, a: sigmoid(z) * sigmoid(-z)),
    "exponential":  lambda: Rules(np.exp, lambda z, a: a, lambda z, a: a),
    "softmax":      lambda temperature=1.0: Rules(lambda z: softmax(z / temperature), None, None,
                                                  lambda dy, z, a: pull_softmax(dy, a) / temperature),
}


@dataclass(frozen=True)
class Activation:
    """One activation with its arguments; `str()` prints what `activation()` reads."""
    name: str
    args: tuple[tuple[str, Any], ...] = ()

    @cached_property
    def rules(self) -> Rules:
        return ROWS[self.name](**dict(self.args))

    def __call__(self, z: Array) -> Array:
        return self.rules.fn(z)

    def grad(self, z: Array, a: Array | None = None) -> Array:
        """f'(z), elementwise; `a` = f(z) if it is at hand."""
        return self._derivative(self.rules.grad, z, a)

    def grad2(self, z: Array, a: Array | None = None) -> Array:
        """f''(z), elementwise; `a` = f(z) if it is at hand."""
        return self._derivative(self.rules.grad2, z, a)

    def pull(self, dy: Array, z: Array, a: Array) -> Array:
        """The cotangent of z, given that of a = f(z)."""
        rules = self.rules
        return rules.pull(dy, z, a) if rules.pull else dy * rules.grad(z, a)   # type: ignore[misc]

    def _derivative(self, rule: Callable[[Array, Array], Array] | None, z: Array, a: Array | None) -> Array:
        if rule is None:
            raise TypeError(f"{self} mixes the entries of a line and has no elementwise derivative: use pull(dy, z, a)")
        return rule(z, self(z) if a is None else a)

    def __str__(self) -> str:
        return self.name + (f"({', '.join(f'{k}={v!r}' for k, v in self.args)})" if self.args else "")

    def __reduce__(self) -> tuple[Any, ...]:
        return activation, (str(self),)


def _maker(name: str) -> Callable[..., Activation]:
    def make_one(**args: Any) -> Activation:
        ROWS[name](**args)                                           # an unknown argument fails here, not at the first forward
        return Activation(name, tuple(args.items()))
    return make_one


def activation(spec: str | Activation | None) -> Activation:
    """The activation that `spec` names; None is the identity. Errors: ValueError for an unknown name, with the nearest known one."""
    if spec is None or isinstance(spec, str):
        return _named(spec or "identity")
    return spec if isinstance(spec, Activation) else make({}, spec, "activation")


@cache
def _named(spec: str) -> Activation:
    return make({name: _maker(name) for name in ROWS}, spec, "activation")


ACTIVATIONS: list[str | None] = [None, *(k for k in ROWS if k not in ("identity", "softmax")), "gelu(approximate=True)"]   # all elementwise
