"""What is masked does not matter."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..answers import Question, attempt, cotangent, found
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
    """With the end of an axis masked, what stands there changes nothing else, its cotangent is 0, and it may as well be cut off.

    The convention "padding" names the primal that masks: an array with true or 1 where an entry counts, or integers, which
    say how many entries of the axis behind their own count. The names of axes tell which arrays share a masked axis;
    outputs at masked places are left out. Sees a ragged tail that is never written, a bias or softplus that makes padding
    count, a mean over padded entries.
    Cannot see: a mask that is not declared. How to fix: mask after the nonlinearity, and divide by what counts.
    """
    axes, name = _axes(s), _mask(s)
    own = axes.get(name, [])
    for axis in _behind(own, axes) if s.primals[name].dtype.kind in "iu" else own:
        size = next((x.shape[_at(axes[k], axis)] for k, x in s.primals.items() if axis in axes.get(k, ())), 0)
        if axis != "*" and size > 1:
            last = Last(axes, axis)
            yield found("padding", axis, _wrong(s, last, {**s.primals, name: last.set(name, s.primals[name], 0) if axis in own else
                                                          np.minimum(s.primals[name], size - 1)}, name))


def _wrong(s: Subject, last: Last, masked: dict[str, Array], name: str) -> Iterator[str]:
    """The last entry masked: its own cotangents, then other contents there, then nothing there."""
    whole = Question.at(s, "padding", masked)
    ys = [k for k in whole.answer if k.startswith("y")]
    whole = replace(whole, dys=tuple(last.set(k, dy, 0) for k, dy in zip(ys, whole.dys, strict=True)))
    ruled = [k for k in s.inputs if last.has(k) and k != name and s.primals[k].dtype.kind == "f"]
    yield from (f"the cotangent of {k} is not 0 where {last.axis} is masked" for k in ruled
                if cotangent(k) in whole.answer and last.of(k, whole.answer[cotangent(k)]).any())
    rng = s.rng("garbage")
    other = replace(whole, primals=masked | {k: last.set(k, masked[k], GARBAGE * rng.standard_normal(masked[k].shape)) for k in ruled}).ask()
    same = other | {k: last.set(k, other[k], whole.answer[k]) for k in ys}
    yield from (f"with other contents where {last.axis} is masked, {w}" for w in whole.departures(same))
    short = replace(whole, primals={k: last.cut(k, x) for k, x in masked.items()}, dys=tuple(last.cut(k, dy) for k, dy in zip(ys, whole.dys, strict=True)))
    answer, refused = attempt(lambda: short.answer)
    if not refused and all(answer[k].shape == last.cut(k, whole.answer[k]).shape for k in ys):
        long = {k: last.cut(k if k in ys else k.removeprefix("d"), v) for k, v in whole.answer.items()}
        yield from (f"against the same with the end of {last.axis} cut off, {w}" for w in short.departures(long))


@dataclass(frozen=True)
class Last:
    """The last entry along an axis, of arrays whose axes have names."""
    axes: Axes
    axis: str

    def has(self, k: str) -> bool:
        return self.axis in self.axes.get(k, ())

    def set(self, k: str, x: Array, value: Array | float) -> Array:
        """A copy with `value` (a number, or an array like `x`) there."""
        x = np.copy(x)
        if self.has(k):
            at = self._at(k, x, -1)
            x[at] = value[at] if isinstance(value, np.ndarray) else value
        return x

    def of(self, k: str, x: Array) -> Array:
        return np.asarray(x[self._at(k, x, -1)])

    def cut(self, k: str, x: Array) -> Array:
        """The array without it."""
        return x[self._at(k, x, slice(None, -1))] if self.has(k) else x

    def _at(self, k: str, x: Array, where: int | slice) -> tuple[int | slice, ...]:
        return (slice(None),) * (_at(self.axes[k], self.axis) % x.ndim) + (where,)


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
