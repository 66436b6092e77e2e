"""The smallest wrong gradient that each checker sees at its defaults: y = tanh(x W), W of n entries, wrong by a factor or in one entry."""
from __future__ import annotations

import sys
import warnings
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.util import find_spec
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from gradcheck.checks import CHECKS
from gradcheck.evidence import Point, Verdict
from gradcheck.subjects import Subject, generator

SIZES = {10: (5, 2), 1_000: (40, 25), 10_000: (100, 100), 1_000_000: (1000, 1000)}
DTYPES = ("float64", "float32")
LEVELS = tuple(10.0 ** (-k / 2) for k in range(-8, 27))      # relative errors from 10⁴ down to 10⁻¹³, two a decade
REPEATS = 3                                                   # other random directions: seen once by luck is not seen
DENSE = 10_000                                                # entries beyond which an entry-by-entry checker would run for hours

Array = np.ndarray


@dataclass(frozen=True)
class Problem:
    """W of n entries of like size, and the entry whose derivative is largest."""
    n: int
    dtype: str

    @cached_property
    def arrays(self) -> tuple[Array, Array]:
        rng, (rows, columns) = generator("sensitivity", self.n), SIZES[self.n]
        W = rng.uniform(0.5, 1.5, (rows, columns)) * rng.choice([-1, 1], (rows, columns)) / rows**0.5
        return rng.standard_normal((1, rows)).astype(self.dtype), W.astype(self.dtype)

    @cached_property
    def at(self) -> tuple[int, int]:
        x, W = self.arrays
        d = np.abs(x.T @ (1 - np.tanh(x @ W) ** 2))
        i, j = np.unravel_index(d.argmax(), d.shape)
        return int(i), int(j)


class Fault(NamedTuple):
    """Multiply all of the cotangent, or its largest entry alone, by 1 + size."""
    entry: bool
    size: float

    def spoil(self, p: Problem, d: Array) -> Array:
        d[p.at if self.entry else ...] *= 1 + self.size
        return d


@dataclass
class _Layer:
    """The layer as `gradcheck` sees it, with its fault."""
    problem: Problem
    fault: Fault

    def forward(self, primals: dict[str, Array]) -> tuple[Array, ...]:
        self.y = np.tanh(primals["x"] @ primals["W"])
        self.x = primals["x"]
        return (self.y,)

    def backward(self, dy: Array) -> dict[str, Array | None]:
        return {"W": self.fault.spoil(self.problem, self.x.T @ (dy * (1 - self.y**2)))}


def ours(p: Problem, fault: Fault, repeat: int) -> bool:
    s = Subject("tanh(x W)", dict(zip("xW", p.arrays, strict=True)), ("W",), lambda: _Layer(p, fault), Point(dtype=p.dtype, seed=repeat))
    return all(e.verdict is not Verdict.FAIL for e in CHECKS["adjoint"].run(s))


def torch_gradcheck(p: Problem, fault: Fault, repeat: int, fast: bool) -> bool:
    import torch
    x, W = map(torch.from_numpy, p.arrays)

    class Tanh(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, W: Any) -> Any:
            ctx.save_for_backward(y := torch.tanh(x @ W))
            return y

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            return torch.from_numpy(fault.spoil(p, (x.T @ (dy * (1 - ctx.saved_tensors[0] ** 2))).numpy()))

    module = sys.modules["torch.autograd.gradcheck"]                  # the attribute of that name is the function
    with patch.object(module, "_run_slow_mode_and_get_error", lambda *_: ""):      # for the message alone, it would take hours
        return torch.autograd.gradcheck(Tanh.apply, (W.clone().requires_grad_(),), fast_mode=fast, raise_exception=False)


def jax_check_grads(p: Problem, fault: Fault, repeat: int) -> bool:
    import jax
    from jax.test_util import check_grads
    with jax.enable_x64(p.dtype == "float64"):
        x, W = map(jax.numpy.asarray, p.arrays)
        f = jax.custom_vjp(lambda W: jax.numpy.tanh(x @ W))
        f.defvjp(lambda W: (y := f(W), y), lambda y, dy: (jax.numpy.asarray(fault.spoil(p, np.array(x.T @ (dy * (1 - y**2))))),))
        return _accepts(lambda: check_grads(f, (W,), order=1, modes=("rev",)))


def autograd_check_grads(p: Problem, fault: Fault, repeat: int) -> bool:
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads
    x, W = p.arrays
    f = primitive(lambda W: np.tanh(x @ W))
    defvjp(f, lambda y, W: lambda dy: fault.spoil(p, x.T @ (dy * (1 - y**2))))
    np.random.seed(repeat)                             # it draws from the global generator
    return _accepts(lambda: check_grads(f, modes=["rev"], order=1)(W))


def _accepts(check: Callable[[], object]) -> bool:
    try:
        check()
    except AssertionError:
        return False
    return True


class Checker(NamedTuple):
    name: str
    accepts: Callable[..., bool]
    package: str                  # that it needs
    dense: bool = False           # whether its cost grows with the entries


CHECKERS = (
    Checker("gradcheck (this one), adjoint", ours, "numpy"),
    Checker("torch gradcheck, slow", partial(torch_gradcheck, fast=False), "torch", dense=True),
    Checker("torch gradcheck, fast", partial(torch_gradcheck, fast=True), "torch"),
    Checker("jax check_grads, reverse", jax_check_grads, "jax"),
    Checker("autograd check_grads, reverse", autograd_check_grads, "autograd"),
)


def table() -> Iterator[dict[str, Any]]:
    """One row for each checker, dtype and size: the smallest factor and entry seen, relative; None where nothing up to 10⁴ is."""
    for c in CHECKERS:
        for dtype in DTYPES:
            for n in SIZES:
                yield {"checker": c.name, "dtype": dtype, "n": n, **_row(c, Problem(n, dtype))}
                if c.package == "jax":
                    import jax
                    jax.clear_caches()                 # every fault was another function, whose arrays would stay: gigabytes


def _row(c: Checker, p: Problem) -> dict[str, Any]:
    if find_spec(c.package) is None:
        return {"why": f"{c.package} is not installed"}
    if c.dense and p.n > DENSE:
        return {"why": f"{2 * p.n:.0e} calls"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not all(c.accepts(p, Fault(False, 0.0), r) for r in range(1 if c.dense else REPEATS)):
            return {"why": "rejects the right gradient"}
        return {kind: _smallest(c, p, entry) for kind, entry in (("factor", False), ("entry", True))}


def _smallest(c: Checker, p: Problem, entry: bool) -> float | None:
    """By halves of the list of sizes in one direction, then upwards until it is seen in the others too."""
    def seen(level: int, repeat: int) -> bool:
        return not c.accepts(p, Fault(entry, LEVELS[level]), repeat)

    first = bisect_left(range(len(LEVELS)), True, key=lambda level: not seen(level, 0)) - 1       # larger errors come first
    return next((LEVELS[k] for k in range(first, -1, -1) if c.dense or all(seen(k, r) for r in range(1, REPEATS))), None)
