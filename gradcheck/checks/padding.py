"""What is masked does not matter."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ..answers import Answer, Question, cotangent, found
from ..evidence import Evidence
from ..inner import Array
from ..subjects import Subject
from . import check

GARBAGE = 1e3             # finite, since 0 · NaN is NaN: what a mask multiplies away cannot be asked to be no number

Axes = dict[str, list[str]]           # of every array by name, outputs as in an answer


def _mask(s: Subject) -> str:
    """The primal that says what counts: as the convention "padding" names it, or a boolean `mask` of a layer with a law of its own."""
    known = s.facts.contract and "mask" in s.primals and s.primals["mask"].dtype == bool
    return s.convention.get("padding", "mask" if known else "")


@check("state", since="0.1.0", applies=lambda s: _mask(s) in s.primals and s.ledger is not None)
def padding(s: Subject) -> Iterator[Evidence]:
    """With the end of an axis masked, what stands there changes no output and no cotangent, and its own cotangent is 0.

    The convention "padding" names the primal that masks: an array with true or 1 where an entry counts, or integers, which
    say how many entries of the axis behind their own count. The names of axes tell which arrays share a masked axis;
    outputs at masked places are left out. Sees a ragged tail that is never written, a bias or softplus that makes padding
    count, a mean over padded entries.
    Cannot see: a mask that is not declared. How to fix: mask after the nonlinearity, and divide by what counts.
    """
    axes, name = _axes(s), _mask(s)
    own = axes.get(name, [])
    lengths = s.primals[name].dtype.kind in "iu"
    for axis in _behind(own, axes) if lengths else own:
        size = next((a.shape[_at(axes[k], axis)] for k, a in s.primals.items() if axis in axes.get(k, ())), 0)
        if axis != "*" and size > 1:
            yield from _tail(s, axes, name, axis, size)


def _tail(s: Subject, axes: Axes, name: str, axis: str, size: int) -> Iterator[Evidence]:
    """The last entry along `axis` masked: the same with other contents there."""
    mask = np.minimum(s.primals[name], size - 1) if axis not in axes[name] else _filled(s.primals[name], axes[name], axis, 0)
    whole = Question.at(s, "padding", {**s.primals, name: mask})
    names = list(axes)
    dys = tuple(_filled(dy, axes.get(k, []), axis, 0) for k, dy in zip([k for k in names if k.startswith("y")], whole.dys, strict=False))
    whole = replace(whole, dys=dys if len(dys) == len(whole.dys) else whole.dys)
    ruled = [k for k in s.inputs if axis in axes.get(k, ()) and k != name and s.primals[k].dtype.kind == "f"]
    rng = s.rng("garbage")
    other = {k: _filled(x, axes[k], axis, GARBAGE * rng.standard_normal(x.shape)) if k in ruled else x for k, x in whole.primals.items()}
    answer = replace(whole, primals=other).ask()
    seen = {k: v for k, v in answer.items()} | {k: _filled(v, axes.get(k, []), axis, whole.answer[k]) for k, v in answer.items() if k.startswith("y")}
    own = [f"the cotangent of {k} is not 0 where {axis} is masked" for k in ruled if _part(whole.answer, cotangent(k), axes[k], axis).any()]
    yield found("padding", axis, [*own, *(f"with other contents where {axis} is masked, {w}" for w in whole.departures(seen))])


def _axes(s: Subject) -> Axes:
    """The names of the axes of inputs, noise and outputs; an output's only where the law gives them."""
    lines = s.ledger() if s.ledger else ()
    named: Axes = {line.name: line.axes.split() for line in lines if line.role in ("input", "noise", "buffer")}
    outs = [line for line in lines if line.role == "output"]
    return named | {"y" if len(outs) == 1 else f"y{i + 1}": line.axes.split() for i, line in enumerate(outs)}


def _behind(own: Sequence[str], axes: Axes) -> list[str]:
    """The axis that follows those of the lengths, in the first array that has them."""
    return next((a[len(own):len(own) + 1] for a in axes.values() if len(a) > len(own) and a[:len(own)] == list(own)), [])


def _at(axes: Sequence[str], axis: str) -> int:
    """The place of an axis; from the end, where any number of axes may stand before it."""
    i = list(axes).index(axis)
    return i - len(axes) if "*" in axes[:i] else i


def _part(answer: Answer, k: str, axes: Sequence[str], axis: str) -> Array:
    d = answer.get(k)
    return np.zeros(0) if d is None else np.take(d, -1, _at(axes, axis))


def _filled(x: Array, axes: Sequence[str], axis: str, value: object) -> Array:
    """A copy with `value` (a number, or an array like `x`) in the last entry along `axis`, where it has that axis."""
    if axis not in axes:
        return np.copy(x)
    last = (slice(None),) * (_at(axes, axis) % x.ndim) + (-1,)
    filled = np.copy(x)
    filled[last] = value[last] if isinstance(value, np.ndarray) else value
    return filled
