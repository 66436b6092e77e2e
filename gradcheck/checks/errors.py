"""Bad input is refused in words, and leaves the layer as it was."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..evidence import Evidence, Verdict
from ..law import Law, Shape, ShapeError
from ..subjects import Array, Subject
from . import check


@check("contract", since="0.1.0", applies=lambda s: s.shell is not None and s.law is not None)
def errors(s: Subject) -> Iterator[Evidence]:
    """Inputs that the law refuses, wrong dtypes, a mis-shaped upstream and a backward without a forward raise in words.

    The exception is a ValueError or TypeError whose text names the layer and what came; afterwards parameters, gradients and
    the number of retained forwards are as before. Which shapes are bad is not guessed: the law refuses them.
    Cannot see: inputs that the law admits and the layer should not. How to fix: check at the start of forward, before anything is stored.
    """
    for trial in _trials(s):
        yield _evidence(s, trial)


class _Trial(NamedTuple):
    what: str                 # "forward" or "backward"
    given: str                # in words
    args: tuple[Any, ...]
    shown: str                # what the message must hold


def _trials(s: Subject) -> Iterator[_Trial]:
    xs = [s.primals[k] for k in s.inputs]
    for i, x in enumerate(xs):
        for shape in _bad_shapes(s, i, x.shape):
            yield _Trial("forward", f"input {i + 1} of shape {shape}", _with(xs, i, _of(x, shape)), str(shape))
        for dtype in (complex, object) if x.dtype.kind == "f" else (float, object):
            bad = np.full(x.shape, None, object) if dtype is object else x.astype(dtype) + (0.5 if dtype is float else 0.5j)
            if x.size:
                yield _Trial("forward", f"input {i + 1} of dtype {bad.dtype}", _with(xs, i, bad), str(bad.dtype))
    if s.facts.upstream and s.out_shapes:
        shape = (*s.out_shapes[0], 2)
        yield _Trial("backward", f"an upstream of shape {shape}", tuple(np.ones(w) for w in (shape, *s.out_shapes[1:])), str(shape))


def _bad_shapes(s: Subject, i: int, shape: Shape) -> Iterator[Shape]:
    """Shapes near the right one that the law refuses."""
    near: list[Shape] = [shape[1:], (*shape, 2), (*shape, 2, 3), *((*shape[:a], n + 1, *shape[a + 1:]) for a, n in enumerate(shape))]
    shapes = [s.primals[k].shape for k in s.inputs]
    return (bad for bad in dict.fromkeys(near) if not _admits(s.law, [*shapes[:i], bad, *shapes[i + 1:]]))


def _admits(law: Law | None, shapes: list[Shape]) -> bool:
    try:
        return law is None or bool(law.bind(shapes))
    except ShapeError:
        return False


def _evidence(s: Subject, trial: _Trial) -> Evidence:
    assert s.shell is not None
    layer = s.shell()
    ys = layer.forward(*(s.primals[k] for k in s.inputs))
    before = _state(layer)
    try:
        getattr(layer, trial.what)(*trial.args) if trial.what == "forward" else layer.backward(trial.args if isinstance(ys, tuple) else trial.args[0])
        wrong = f"{trial.what} accepted {trial.given}"
    except (ValueError, TypeError) as error:
        silent = [part for part in (type(layer).__name__, trial.shown) if part not in str(error)]
        wrong = f"{trial.what} given {trial.given} says {str(error)!r}, which does not name {' or '.join(silent)}" if silent else ""
    except Exception as error:
        wrong = f"{trial.what} given {trial.given} raised {type(error).__name__}, not ValueError or TypeError: {error}"
    if not wrong and not _same(before, _state(layer)):
        wrong = f"{trial.what} given {trial.given} raised, but changed the layer"
    return Evidence(check="errors", primal=trial.what, verdict=Verdict.FAIL if wrong else Verdict.PASS, reason=wrong, measured=float(bool(wrong)))


def _state(layer: Any) -> dict[str, Array]:
    held = {f"{kind}.{k}": np.copy(v) for kind in ("parameters", "gradients") for k, v in getattr(layer, kind, {}).items() if isinstance(v, np.ndarray)}
    return {**held, "retained": np.array(len(getattr(layer, "tape", ())))}


def _same(a: dict[str, Array], b: dict[str, Array]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k], equal_nan=True) for k in a)


def _of(x: Array, shape: Shape) -> Array:
    return np.resize(x, shape) if x.size else np.ones(shape, x.dtype)


def _with(xs: list[Array], i: int, bad: Array) -> tuple[Array, ...]:
    return (*xs[:i], bad, *xs[i + 1:])
