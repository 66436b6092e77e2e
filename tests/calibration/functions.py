"""The functions on which the derivative's bound is put to the test, each with a truth that is no finite difference.

The truth is the complex step on the same formula in complex128, or a closed form, in mpmath where float64 would lose it.
The constants of `gradcheck.differences` were chosen on the functions marked `tune`; figures are reported on the others alone.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import mpmath
import numpy as np
from scipy import interpolate, special

Array = np.ndarray
Call = Callable[..., Any]
Draw = Callable[[np.random.Generator], Array]
TINY = 1e-30              # a complex step has no subtraction, so no rounding: it may be as small as one likes


@dataclass(frozen=True, eq=False)
class Function:
    """y = call(*point), as computed by `computed`; its directional derivative is the complex step of `call`, or `slope(point, tangents)`."""
    family: str
    name: str
    call: Call
    point: dict[str, Draw]
    dtype: str = "float64"
    computed: Call | None = None          # what the layer runs, where it is not `call` itself: in float32, by iteration, with noise
    slope: Call | None = None             # (*xs, *vs) -> J v, or a tuple of them
    tune: bool = False
    share: float = 1.0                    # of the usual number of points, for the costly ones

    def draw(self, rng: np.random.Generator) -> dict[str, Array]:
        dtype = {"float32": np.float32, "float16": np.float16}.get(self.dtype)
        return {k: x.astype(dtype) if dtype else x for k, x in ((k, draw(rng)) for k, draw in self.point.items())}

    def run(self, primals: dict[str, Array]) -> tuple[Array, ...]:
        """The outputs as a layer computes them."""
        return _tuple((self.computed or self.call)(*(primals[k] for k in self.point)))

    def derivative(self, primals: dict[str, Array], v: dict[str, Array]) -> tuple[Array, ...]:
        """J v, right to about one rounding of float64."""
        xs, vs = ([_wide(a[k]) for k in self.point] for a in (primals, v))
        if self.slope:
            return _tuple(self.slope(*xs, *vs))
        return tuple(np.imag(y) / TINY for y in _tuple(self.call(*(x + TINY * 1j * t for x, t in zip(xs, vs, strict=True)))))


def _wide(x: Array) -> Array:
    return x.astype(np.result_type(x, np.float64))


def _tuple(y: Any) -> tuple[Array, ...]:
    return tuple(map(np.asarray, y)) if isinstance(y, tuple) else (np.asarray(y),)


# ---- points

def normal(*shape: int, size: float = 1.0, at: float = 0.0) -> Draw:
    return lambda rng: at + size * rng.standard_normal(shape)


def uniform(low: float, high: float, *shape: int) -> Draw:
    return lambda rng: rng.uniform(low, high, shape)


def decades(low: int, high: int, *shape: int) -> Draw:
    """Either sign, magnitudes spread evenly over decades."""
    return lambda rng: rng.choice([-1.0, 1.0], shape) * 10 ** rng.uniform(low, high, shape)


def phases(*shape: int) -> Draw:
    return lambda rng: rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def spiked(draw: Draw, value: float = 0.0, share: float = 0.2) -> Draw:
    """Some entries exactly `value`."""
    def drawn(rng: np.random.Generator) -> Array:
        x = draw(rng)
        return np.where(rng.random(x.shape) < share, value, x)
    return drawn


def tied(*shape: int) -> Draw:
    """Half of the pairs along the last axis are equal."""
    def drawn(rng: np.random.Generator) -> Array:
        x = rng.standard_normal(shape)
        x[..., 1] = np.where(rng.random(shape[:-1]) < 0.5, x[..., 0], x[..., 1])
        return x
    return drawn


def weights(*sizes: int) -> dict[str, Draw]:
    """A chain of dense layers; the input is drawn first."""
    return {"x": normal(4, sizes[0]), **{f"W{i}": normal(a, b, size=(2 / a) ** 0.5) for i, (a, b) in enumerate(pairwise(sizes))}}


# ---- formulas that a complex step may pass through: comparisons look at the real part

def relu(z: Array) -> Array:
    return z * (z.real > 0)


def leaky(z: Array) -> Array:
    return np.where(z.real > 0, z, 0.01 * z)


def magnitude(z: Array) -> Array:
    return z * np.sign(z.real)


def top(z: Array, axis: int = -1) -> Array:
    return np.take_along_axis(z, np.expand_dims(z.real.argmax(axis), axis), axis).squeeze(axis)


def square(z: Array) -> Array:
    return z * z


def logistic(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def softplus(z: Array) -> Array:
    return relu(z) + np.log(1 + np.exp(-magnitude(z)))


def softmax(z: Array) -> Array:
    e = np.exp(z - z.real.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def cross_entropy(z: Array) -> Array:
    return np.log(np.exp(z - z.real.max(-1, keepdims=True)).sum(-1)) - (z[..., 0] - z.real.max(-1))


def normalised(x: Array, axis: int = -1, eps: float = 1e-5) -> Array:
    c = x - x.mean(axis, keepdims=True)
    return c / np.sqrt(square(c).mean(axis, keepdims=True) + eps)


def layer_norm(x: Array, g: Array, b: Array) -> Array:
    return g * normalised(x) + b


def attention(q: Array, k: Array, v: Array) -> Array:
    return softmax(q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5) @ v


def mlp(x: Array, *ws: Array, act: Call = relu) -> Array:
    for w in ws[:-1]:
        x = act(x @ w)
    return x @ ws[-1]


def rnn(x: Array, W: Array, U: Array) -> Array:
    h = np.zeros((x.shape[1], U.shape[0]), x.dtype)
    for step in x:
        h = np.tanh(step @ W + h @ U)
    return h


def gru(x: Array, W: Array, U: Array) -> Array:
    h = np.zeros((x.shape[1], U.shape[1]), x.dtype)
    for step in x:
        z, r = logistic(step @ W[0] + h @ U[0]), logistic(step @ W[1] + h @ U[1])
        h = z * h + (1 - z) * np.tanh(step @ W[2] + (r * h) @ U[2])
    return h


def lstm(x: Array, W: Array, U: Array) -> tuple[Array, Array]:
    h = c = np.zeros((x.shape[1], U.shape[1]), x.dtype)
    for step in x:
        i, f, o, g = (step @ w + h @ u for w, u in zip(W, U, strict=True))
        c = logistic(f + 1) * c + logistic(i) * np.tanh(g)
        h = logistic(o) * np.tanh(c)
    return h, c


def logistic_map(x: Array, turns: int = 12) -> Array:
    for _ in range(turns):
        x = 3.9 * x * (1 - x)
    return x


def convolved(x: Array, w: Array) -> Array:
    """conv 1d, relu, max pool by 2: x (batch, length), w (channels, 3)."""
    z = relu(np.stack([x[:, i:x.shape[1] - 2 + i] for i in range(3)], -1) @ w.T)
    return top(z[:, :z.shape[1] // 2 * 2].reshape(len(x), -1, 2, len(w)), axis=2)


def waves(x: Array) -> Array:
    k = np.arange(1, 400, 7)
    return (np.sin(x[..., None] * k) / k).sum(-1)


def fixed_point(x: Array, tolerance: float) -> Array:
    """y = x + tanh(y) / 2 by iteration."""
    y, last = x, np.inf
    while np.max(np.abs(np.real(y - last))) > tolerance:
        y, last = x + np.tanh(y) / 2, y
    return y


def newton_sqrt(x: Array) -> Array:
    y = np.ones_like(x)
    while np.max(np.abs(np.real(y * y - x))) > 1e-14 * np.max(np.abs(x)):
        y = (y + x / y) / 2
    return y


def bisected(x: Array) -> Array:
    """The root y of y³ + y = x, by 30 halvings of an interval."""
    low, high = np.full_like(x, -4), np.full_like(x, 4)
    for _ in range(30):
        y = (low + high) / 2
        low, high = np.where(y**3 + y < x, y, low), np.where(y**3 + y < x, high, y)
    return (low + high) / 2


def cubic_root_slope(x: Array, v: Array) -> Array:
    y = special.cbrt(x / 2 + np.sqrt(x**2 / 4 + 1 / 27)) + special.cbrt(x / 2 - np.sqrt(x**2 / 4 + 1 / 27))
    return v / (3 * y**2 + 1)


KNOTS = np.linspace(-6, 6, 601)
SPLINE = interpolate.CubicSpline(KNOTS, np.sin(KNOTS))


def interpolated_slope(x: Array, v: Array) -> Array:
    i = np.clip(np.searchsorted(KNOTS, x) - 1, 0, len(KNOTS) - 2)
    return (np.sin(KNOTS[i + 1]) - np.sin(KNOTS[i])) / (KNOTS[i + 1] - KNOTS[i]) * v


# ---- how a layer computes what the formula says

def single(call: Call) -> Call:
    """In float32, inside float64 arrays."""
    def computed(*xs: Array) -> Any:
        ys = call(*(x.astype(np.float32) for x in xs))
        return tuple(y.astype(np.float64) for y in ys) if isinstance(ys, tuple) else ys.astype(np.float64)
    return computed


def noisy(call: Call, size: float) -> Call:
    """With another relative error at each call."""
    rng = np.random.default_rng(11)
    return lambda *xs: call(*xs) * (1 + size * rng.standard_normal(np.shape(call(*xs))))


def rounded(call: Call, digits: int) -> Call:
    return lambda *xs: np.round(call(*xs), digits)


def exactly(formula: Callable[[Any], Any]) -> Call:
    """v · formula(x) in 50 digits, for derivatives that lose theirs in float64."""
    def one(x: float) -> float:
        with mpmath.workdps(50):
            return float(formula(mpmath.mpf(x)))
    return lambda x, v: np.vectorize(one, otypes=[float])(x) * v


# ---- the table

def tune(name: str, call: Call, options: dict[str, Any] | None = None, **point: Draw) -> Callable[[str], Function]:
    """A function on which constants may be chosen."""
    return lambda family: Function(family, name, call, point, tune=True, **(options or {}))


def report(name: str, call: Call, options: dict[str, Any] | None = None, **point: Draw) -> Callable[[str], Function]:
    """A function that is only reported on."""
    return lambda family: Function(family, name, call, point, **(options or {}))


def single_rows(row: Callable[..., Callable[[str], Function]], name: str, call: Call, dtype: str = "float32", **point: Draw) -> Callable[[str], Function]:
    """The same in float32: as arrays, or inside float64 arrays."""
    return row(name, call, {"dtype": dtype, "computed": single(call) if dtype == "float32 inside" else None}, **point)


narrow = partial(single_rows, report)
narrow_tune = partial(single_rows, tune)

FAMILIES: dict[str, Sequence[Callable[[str], Function]]] = {
    "elementwise": (
        tune("x exp(-x²)", lambda x: x * np.exp(-x * x), x=normal(9)),
        tune("sin", np.sin, x=normal(7)),
        tune("cubic", lambda x: x**3 - 2 * x, x=normal(5)),
        report("tanh", np.tanh, x=normal(12, size=2)),
        report("exp", np.exp, x=normal(6, size=3)),
        report("logistic", logistic, x=normal(30, size=4)),
        report("softplus", softplus, x=normal(10, size=5)),
        report("gelu", lambda x: x / 2 * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3))), x=normal(16)),
        report("swish", lambda x: x * logistic(x), x=normal(16, size=3)),
        report("arctan", np.arctan, x=normal(8, size=4)),
        report("erf", special.erf, x=normal(11)),
        report("log gamma", special.gammaln, {"slope": lambda x, v: special.digamma(x) * v}, x=uniform(0.1, 9, 5)),
        report("bessel", special.j0, {"slope": lambda x, v: -special.j1(x) * v}, x=uniform(0, 20, 5)),
        report("one number", lambda x: np.sin(x) * np.exp(x), x=normal(1)),
    ),
    "reduction": (
        tune("sum of squares", lambda x: square(x).sum(), x=normal(40)),
        tune("norm", lambda x: np.sqrt(square(x).sum(-1)), x=normal(3, 5)),
        report("log sum exp", lambda x: np.log(np.exp(x).sum(-1)), x=normal(3, 20, size=2)),
        report("product", lambda x: x.prod(-1), x=normal(4, 6)),
        report("variance", lambda x: square(x - x.mean(-1, keepdims=True)).mean(-1), x=normal(3, 10)),
        report("bilinear form", lambda x, A, y: np.sum((x @ A) * y), x=normal(4, 6), A=normal(6, 5), y=normal(4, 5)),
        report("log determinant", lambda A: np.linalg.slogdet(A)[1], {"slope": lambda A, V: np.trace(np.linalg.solve(A, V))}, A=normal(5, 5)),
        report("inverse", np.linalg.inv, A=normal(4, 4)),
        report("cumulative product", lambda x: np.cumprod(x, -1), x=normal(2, 8)),
        report("mean of 10⁵", lambda x: np.sin(x).mean(), {"share": 0.5}, x=normal(100_000)),
    ),
    "normalisation": (
        tune("rms norm", lambda x, g: g * x / np.sqrt(square(x).mean(-1, keepdims=True) + 1e-6), x=normal(3, 8), g=normal(8)),
        report("layer norm", layer_norm, x=normal(4, 6, size=3, at=1), g=normal(6), b=normal(6)),
        report("batch norm", partial(normalised, axis=0), x=normal(8, 5)),
        report("batch norm, batch 2", partial(normalised, axis=0), x=normal(2, 6)),
        report("sum of a batch norm", lambda x: normalised(x, 0).sum(), x=normal(8, 5)),
        report("weight norm", lambda x, w, g: x @ (g * w / np.sqrt(square(w).sum(0))), x=normal(3, 5), w=normal(5, 4), g=normal(4)),
    ),
    "softmax and attention": (
        tune("softmax", softmax, x=normal(4, 7)),
        report("sharp softmax", softmax, x=normal(4, 7, size=30)),
        report("cross entropy", cross_entropy, x=normal(6, 10, size=3)),
        report("attention", attention, q=normal(2, 5, 4), k=normal(2, 6, 4), v=normal(2, 6, 3)),
        report("sharp attention", attention, q=normal(2, 5, 4, size=6), k=normal(2, 6, 4, size=6), v=normal(2, 6, 3)),
    ),
    "recurrent": (
        tune("rnn, 20 steps", rnn, x=normal(20, 2, 3), W=normal(3, 5), U=normal(5, 5, size=0.5)),
        report("lstm, 10 steps", lstm, x=normal(10, 2, 3), W=normal(4, 3, 5), U=normal(4, 5, 5, size=0.5)),
        report("gru, 10 steps", gru, x=normal(10, 2, 3), W=normal(3, 3, 5), U=normal(3, 5, 5, size=0.5)),
        report("chaotic rnn, 20 steps", rnn, x=normal(20, 2, 3), W=normal(3, 5), U=normal(5, 5, size=2)),
        report("logistic map, 12 turns", logistic_map, x=uniform(0.1, 0.9, 3)),
    ),
    "kinked nets": (
        tune("relu, width 10", mlp, **weights(5, 10, 3)),
        tune("relu, depth 3", mlp, **weights(8, 40, 40, 4)),
        tune("abs net", partial(mlp, act=magnitude), **weights(6, 60, 2)),
        tune("squared relu, depth 3", partial(mlp, act=lambda z: square(relu(z))), **weights(6, 30, 30, 2)),
        tune("relu, width 3000", mlp, {"share": 0.4}, **weights(10, 3000, 3)),
        report("relu, width 30", mlp, **weights(7, 30, 4)),
        report("relu, width 300", mlp, **weights(12, 300, 5)),
        report("relu, width 2000, one output", mlp, {"share": 0.5}, **weights(10, 2000, 1)),
        report("relu, width 10⁴", mlp, {"share": 0.3}, **weights(8, 10_000, 3)),
        report("relu, width 10⁵", mlp, {"share": 0.1}, **weights(4, 100_000, 2)),
        report("relu, depth 5", mlp, **weights(10, 50, 50, 50, 50, 3)),
        report("leaky relu, depth 8", partial(mlp, act=leaky), **weights(6, 30, 30, 30, 30, 30, 30, 30, 2)),
        report("relu layer, 10⁴ outputs", lambda x, W: relu(x @ W), {"share": 0.5}, **weights(10, 2500)),
        report("conv, relu, max pool", convolved, x=normal(3, 40), w=normal(6, 3)),
        report("maxout", lambda x, W: top(np.einsum("ni,ijk->njk", x, W)), x=normal(5, 6), W=normal(6, 20, 4)),
        report("cubed relu, width 200", partial(mlp, act=lambda z: relu(z) ** 3), **weights(6, 200, 2)),
        report("hinge losses", lambda x, W: relu(1 - x @ W).sum(), x=normal(50, 6), W=normal(6, 8)),
    ),
    "oscillation": (
        tune("sin 100 x", lambda x: np.sin(100 * x), x=normal(4)),
        tune("wave packet", lambda x: np.cos(50 * x) * np.exp(-x * x), x=normal(6)),
        report("sin 1000 x", lambda x: np.sin(1000 * x), x=normal(4)),
        report("sin 400π x", lambda x: np.sin(400 * np.pi * x), x=uniform(1, 1, 1)),
        report("sin 100 Σx", lambda x: np.sin(100 * x.sum(-1)), x=normal(2, 20)),
        report("57 waves", waves, x=normal(5)),
        report("sin(1/x)", lambda x: np.sin(1 / x), x=uniform(0.01, 1, 5)),
    ),
    "cancellation": (
        tune("(1 - cos x) / x²", lambda x: (1 - np.cos(x)) / (x * x),
             {"slope": exactly(lambda x: (x * mpmath.sin(x) - 2 * (1 - mpmath.cos(x))) / x**3)}, x=decades(-4, -1, 4)),
        tune("sin + 1000", lambda x: np.sin(x) + 1000, x=normal(5)),
        report("(exp x - 1 - x) / x²", lambda x: (np.exp(x) - 1 - x) / (x * x),
               {"slope": exactly(lambda x: ((x - 2) * mpmath.exp(x) + x + 2) / x**3)}, x=decades(-4, -1, 4)),
        report("variance from moments", lambda x: (x * x).mean(-1) - square(x.mean(-1)), x=normal(3, 10, at=1000)),
        report("(sin x + 10⁶) - 10⁶", lambda x: (np.sin(x) + 1e6) - 1e6, x=normal(5)),
        report("log(1 + x) at 1e-8", lambda x: np.log(1 + x), x=decades(-9, -7, 4)),
        report("log(1 + x) at 1e-12", lambda x: np.log(1 + x), x=decades(-13, -11, 4)),
        report("tanh difference", lambda x, y: np.tanh(x) - np.tanh(x + 1e-6 * y), x=normal(5), y=normal(5)),
    ),
    "scale": (
        tune("huge inputs", lambda x: np.sin(x / 1e8) * x, x=normal(6, size=1e8)),
        tune("outputs of mixed scale", lambda x: np.exp(x) * 10.0 ** np.arange(-8, 9, 2), x=normal(9)),
        report("tiny inputs", lambda x: x * np.exp(1e8 * x), x=normal(6, size=1e-8)),
        report("mixed scales in one array", lambda x: np.tanh(x) * np.sqrt(1 + x * x), x=decades(-8, 8, 12)),
        report("tiny weights, huge inputs", lambda x, W: np.tanh(x @ W), x=normal(3, 4, size=1e8), W=normal(4, 5, size=1e-8)),
        report("tiny outputs", lambda x: 1e-30 * np.sin(x), x=normal(6)),
        report("zeros among the inputs", lambda x, W: np.tanh(x @ W), x=spiked(normal(3, 6)), W=spiked(normal(6, 4))),
    ),
    "poles": (
        tune("tan", np.tan, x=uniform(-1.55, 1.55, 5)),
        report("1 / (x - 1)", lambda x: 1 / (x - 1), x=uniform(1.001, 1.1, 5)),
        report("1 / (1 + (50 x)²)", lambda x: 1 / (1 + square(50 * x)), x=normal(5)),
        report("log of x - 1", lambda x: np.log(x - 1), x=uniform(1.0001, 1.01, 5)),
        report("x / (x² - y²)", lambda x, y: x / (x * x - y * y), x=uniform(1, 2, 4), y=uniform(0, 0.999, 4)),
    ),
    "sharp features": (
        tune("tanh 300 x", lambda x: np.tanh(300 * x), x=uniform(-0.02, 0.02, 5)),
        tune("a step at some distance", lambda x: x + np.tanh(1e4 * (x - 1.003)), x=uniform(0.99, 1.01, 3)),
        report("logistic 1000 (x - ½)", lambda x: logistic(1000 * (x - 0.5)), x=uniform(0.495, 0.505, 5)),
        report("narrow bump", lambda x: np.exp(-square((x - 1) / 1e-3)), x=uniform(0.997, 1.003, 3)),
        report("bump beside a slope", lambda x: 3 * x + np.exp(-square((x - 1) / 1e-4)), x=uniform(0.98, 1.02, 1)),
        report("softplus 100 x", lambda x: softplus(100 * x) / 100, x=normal(8, size=0.05, at=1)),
        report("√(x² + 1e-8)", lambda x: np.sqrt(x * x + 1e-8), x=spiked(normal(6), 1e-5)),
        report("sharp steps, many", lambda x, c: np.tanh(2000 * (x[:, None] - c)).sum(-1), x=uniform(0.5, 1, 3), c=uniform(0.5, 1, 40)),
    ),
    "domain edges": (
        tune("log, small beside large", np.log, x=lambda rng: 10 ** rng.uniform(-6, 0, 8)),
        report("sqrt, small beside large", np.sqrt, x=lambda rng: 10 ** rng.uniform(-7, 0, 8)),
        report("log(1e-7)", np.log, x=uniform(1e-8, 1e-7, 3)),
        report("x log x", lambda x: x * np.log(x), x=uniform(1e-5, 1, 6)),
        report("arcsin", np.arcsin, x=uniform(0.99, 1, 4)),
        report("x^1.5", lambda x: x**1.5, x=lambda rng: 10 ** rng.uniform(-6, 0, 6)),
        report("arccosh", np.arccosh, x=uniform(1.0001, 1.05, 4)),
    ),
    "float32": (
        narrow_tune("sin", np.sin, x=normal(7)),
        narrow_tune("exp", np.exp, x=normal(5)),
        narrow("tanh", np.tanh, x=normal(12)),
        narrow("dense, tanh", lambda x, W: np.tanh(x @ W), x=normal(4, 6), W=normal(6, 5, size=0.5)),
        narrow("softmax", softmax, x=normal(4, 7)),
        narrow("layer norm", layer_norm, x=normal(4, 6), g=normal(6), b=normal(6)),
        narrow("log sum exp", lambda x: np.log(np.exp(x).sum(-1)), x=normal(3, 20)),
        narrow("attention", attention, q=normal(2, 5, 4), k=normal(2, 6, 4), v=normal(2, 6, 3)),
        narrow("rnn, 10 steps", rnn, x=normal(10, 2, 3), W=normal(3, 5), U=normal(5, 5, size=0.5)),
        narrow("sum of 1000 squares", lambda x: square(x).sum(), x=normal(1000)),
    ),
    "float32, kinked or offset": (
        narrow_tune("relu, width 20", mlp, **weights(5, 20, 3)),
        narrow_tune("relu, width 200", mlp, **weights(9, 200, 2)),
        narrow_tune("abs, depth 3", partial(mlp, act=magnitude), **weights(6, 25, 25, 2)),
        narrow("relu, width 100", mlp, **weights(7, 100, 4)),
        narrow("relu, depth 3", mlp, **weights(8, 30, 30, 3)),
        narrow("sin + 1000", lambda x: np.sin(x) + 1000, x=normal(5)),
        narrow("sin 100 x", lambda x: np.sin(100 * x), x=normal(4)),
    ),
    "float32 inside float64": (
        narrow_tune("softmax", softmax, "float32 inside", x=normal(4, 7)),
        narrow("dense, tanh", lambda x, W: np.tanh(x @ W), "float32 inside", x=normal(4, 6), W=normal(6, 5, size=0.5)),
        narrow("layer norm", layer_norm, "float32 inside", x=normal(4, 6), g=normal(6), b=normal(6)),
        narrow("relu, width 100", mlp, "float32 inside", **weights(7, 100, 4)),
        narrow("one number", np.sin, "float32 inside", x=normal(1)),
    ),
    "iteration and noise": (
        tune("newton's root", newton_sqrt, x=uniform(0.5, 3, 4)),
        tune("noise 1e-10", np.tanh, {"computed": noisy(np.tanh, 1e-10)}, x=normal(5)),
        tune("fixed point to 1e-6", partial(fixed_point, tolerance=1e-6), x=normal(4)),
        report("fixed point to 1e-10", partial(fixed_point, tolerance=1e-10), x=normal(4)),
        report("bisection", bisected, {"slope": cubic_root_slope}, x=normal(4)),
        report("rounded to 9 digits", np.tanh, {"computed": rounded(np.tanh, 9)}, x=normal(5)),
        report("noise 1e-6", softmax, {"computed": noisy(softmax, 1e-6)}, x=normal(3, 5)),
        report("noise 1e-12, one number", np.sin, {"computed": noisy(np.sin, 1e-12)}, x=normal(1)),
        report("cubic spline, 600 knots", SPLINE, {"slope": lambda x, v: SPLINE(x, 1) * v}, x=uniform(-5, 5, 5)),
        report("linear interpolation, 600 knots", lambda x: np.interp(x, KNOTS, np.sin(KNOTS)), {"slope": interpolated_slope}, x=uniform(-5, 5, 5)),
    ),
    "complex": (
        tune("square", square, {"slope": lambda z, v: 2 * z * v}, z=phases(5)),
        report("exp", np.exp, {"slope": lambda z, v: np.exp(z) * v}, z=phases(6)),
        report("reciprocal", lambda z: 1 / z, {"slope": lambda z, v: -v / square(z)}, z=phases(6)),
        report("squared modulus", lambda z: np.abs(z) ** 2, {"slope": lambda z, v: 2 * (np.conj(z) * v).real}, z=phases(6)),
        report("matrix product", lambda a, b: a @ b, {"slope": lambda a, b, v, w: v @ b + a @ w}, a=phases(3, 4), b=phases(4, 2)),
        report("phase", lambda z: z / np.abs(z), {"slope": lambda z, v: v / np.abs(z) - z * (np.conj(z) * v).real / np.abs(z) ** 3}, z=phases(6)),
    ),
    "jumps": (
        tune("floor", lambda x: np.sin(x) + np.floor(5 * x.real), x=normal(6)),
        report("quantised beside smooth", lambda x: x + np.round(50 * x.real) / 50, x=normal(8)),
        report("top-1 gate", lambda x, W: x @ W * (np.arange(W.shape[1]) == (x @ W).real.argmax(-1)[:, None]), x=normal(6, 4), W=normal(4, 5)),
        report("small jumps", lambda x: np.tanh(x) + 1e-7 * np.floor(20 * x.real), x=normal(5)),
    ),
    "kinks at the point": (
        tune("|x|, zeros", magnitude, x=spiked(normal(20))),
        report("relu, zeros", relu, x=spiked(normal(30))),
        report("max pool, ties", top, x=tied(15, 2)),
        report("|x| + 1e-3 x², zeros", lambda x: magnitude(x) + 1e-3 * x * x, x=spiked(normal(20))),
        report("x + 1e-3 |x|, zeros", lambda x: x + 1e-3 * magnitude(x), x=spiked(normal(20))),
        report("x |x|, zeros", lambda x: x * magnitude(x), x=spiked(normal(20))),
        report("x³, zeros", lambda x: x**3, x=spiked(normal(20))),
    ),
}

FUNCTIONS: tuple[Function, ...] = tuple(row(family) for family, rows in FAMILIES.items() for row in rows)


def chosen(which: str) -> Iterator[Function]:
    """The functions of a family, or whose name contains the text; "tune" and "report" are those roles."""
    return (f for f in FUNCTIONS if which in ("", f.family, "tune" if f.tune else "report") or which in f.name)
