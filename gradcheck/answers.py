"""What a layer answers to one forward and its backward, and whether another way of asking gets the same answer.

The relation behind most of the battery: a change of circumstances (memory layout, other calls in between, a split batch)
must not change the numbers beyond the backward pass's own rounding. That rounding is measured, and only on suspicion.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .evidence import Evidence, Verdict
from .inner import Array, eps_of
from .probes import Field
from .rounding import DRAWS, MARGIN, carried, jittered
from .subjects import Arrays, Subject, Tape, copied

ROUNDINGS = 64.0          # of an array's largest entry: what another order of summation changes in passing; beyond it, rounding is measured
SHOWN = 3                 # departures that a reason lists

Answer = dict[str, Array]             # outputs `y` (or y1, y2, …) and cotangents `dx`, all copies; what was not returned is absent


def cotangent(k: str) -> str:
    """The name of primal `k`'s cotangent in an answer."""
    return f"d{k}"


def outputs(ys: Sequence[Array]) -> Answer:
    """The outputs under their names."""
    return {"y" if len(ys) == 1 else f"y{i + 1}": np.copy(y) for i, y in enumerate(ys)}


def cotangents(s: Subject, d: Mapping[str, Array | None]) -> Answer:
    """The cotangents of the differentiable primals under their names."""
    return {cotangent(k): np.copy(v) for k in s.differentiable if (v := d.get(k)) is not None}


def forward(s: Subject, tape: Tape, primals: Arrays) -> tuple[Array, ...]:
    """A counted forward on this tape, the arrays handed over as they are."""
    s.counter.forward += 1
    with np.errstate(all="ignore"):
        return tape.forward(primals)


def backward(s: Subject, tape: Tape, dys: Sequence[Array]) -> Answer:
    """A counted backward on this tape, the upstream handed over as it is."""
    s.counter.backward += 1
    with np.errstate(all="ignore"):
        return cotangents(s, tape.backward(*dys))


def ask(s: Subject, primals: Arrays, dys: Sequence[Array], tape: Tape | None = None) -> Answer:
    """The answer to one forward and its backward, on a fresh tape unless one is given."""
    tape = tape or s.tape()
    ys = outputs(forward(s, tape, primals))
    return {**ys, **backward(s, tape, dys)}


@dataclass(frozen=True)
class Question:
    """One call, and the answer that every other way of putting it must get as well."""
    subject: Subject
    primals: Arrays
    dys: tuple[Array, ...]

    @classmethod
    def at(cls, s: Subject, label: object, primals: Arrays | None = None) -> Question:
        """At the subject's point, or at other primals, with a random upstream of its own (ones, where backward takes none)."""
        here = copied(s.primals if primals is None else primals)
        field = Field(replace(s, primals=here))
        with np.errstate(all="ignore"):
            dys = field.upstream(s.rng("upstream", label)) if s.facts.upstream else tuple(map(np.ones_like, field.ys))
        return cls(s, here, dys)

    def ask(self, tape: Tape | None = None) -> Answer:
        """Ask with copies, which whatever happens to them leave the question as it was."""
        return ask(self.subject, copied(self.primals), [np.copy(dy) for dy in self.dys], tape)

    @cached_property
    def answer(self) -> Answer:
        return self.ask()

    def departures(self, other: Answer, only: Iterable[str] | None = None, slack: Callable[[str], float] = lambda k: 0.0) -> Iterator[str]:
        """Each array in which another answer is not this one, with its most departing entry.

        only: the arrays to compare. slack: how far the other answer may be off by the way it was put together.
        """
        for k in self.answer if only is None else only:
            a, b = self.answer.get(k), other.get(k)
            if a is None or b is None or a.shape != b.shape:
                if a is not b:
                    yield f"{k} is {_form(b)}, not {_form(a)}"
            elif not self.near(k, b) and not _same(a, b, room := self.room(k) + slack(k)):
                yield _first(k, a, b, room)

    def near(self, k: str, b: Array) -> bool:
        """Whether `b` is this array to within what any other order of summation may change; nothing is measured for it."""
        a = self.answer[k]
        return a.shape == b.shape and _same(a, b, ROUNDINGS * self._eps * _largest(a))

    def sums(self, total: Answer, part: Question, names: Iterable[str]) -> Iterator[str]:
        """Each of `names` whose total is not the sum of this answer and the other question's, within the rounding of both."""
        less = {k: total[k] - part.answer[k] for k in names if k in total and k in part.answer and total[k].shape == part.answer[k].shape}
        return self.departures(less, names, part.room)

    def room(self, k: str) -> float:
        """How far rounding may carry an entry of this array."""
        a = self.answer[k]
        return max(max(ROUNDINGS * self._precision, MARGIN * carried([a])) * _largest(a), self._moves.get(k, 0.0))

    @cached_property
    def _eps(self) -> float:
        return eps_of([*self.primals.values(), *(v for k, v in self.answer.items())])

    @cached_property
    def _precision(self) -> float:
        """The precision that the values really have: a layer may compute in float32 between float64 arrays."""
        return max(self._eps, Field(self.subject).precision) if self.subject.differentiable else self._eps

    @cached_property
    def _moves(self) -> dict[str, float]:
        """How far each array moves when all that the layer reads moves by one rounding; one that is rounding only is as large as what cancelled in it."""
        rng = self.subject.rng("rounding")
        moved = [ask(self.subject, {k: jittered(rng, x) for k, x in self.primals.items()}, [jittered(rng, dy) for dy in self.dys]) for _ in range(DRAWS)]
        gaps = {k: max((_gap(a, b[k]) for b in moved if k in b and b[k].shape == a.shape), default=0.0) for k, a in self.answer.items()}
        return {k: gap * (MARGIN if _largest(self.answer[k]) > ROUNDINGS * gap else ROUNDINGS) for k, gap in gaps.items()}


def shuffled(s: Subject, label: object, also: Iterable[str] = ()) -> dict[str, Array]:
    """Other primals of the same kind: the entries of each input, and of `also`, in another order, real ones smaller by a quarter as well."""
    rng, primals = s.rng("shuffled", label), copied(s.primals)
    return primals | {k: _other(rng, primals[k]) for k in (*s.inputs, *also)}


def _other(rng: np.random.Generator, x: Array) -> Array:
    moved = rng.permutation(x.ravel()).reshape(x.shape)
    indicator = np.isin(x, (0, 1)).all()                   # a mask, or an indicator, stays one
    return np.asarray(0.75 * moved, x.dtype) if x.dtype.kind == "f" and not indicator else moved


def found(check: str, primal: str, wrong: Iterable[str], notes: Sequence[str] = (), diagnosis: str = "") -> Evidence:
    """FAIL if anything is wrong, with the first few sentences of it."""
    wrong = list(wrong)
    reason = "; ".join(wrong[:SHOWN]) + (f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else "")
    return Evidence(check=check, primal=primal, verdict=Verdict.FAIL if wrong else Verdict.PASS, reason=reason, measured=float(len(wrong)),
                    notes=tuple(notes), diagnosis=diagnosis if wrong else "")


def attempt(asked: Callable[[], Answer]) -> tuple[Answer, str]:
    """The answer, or what the layer raised instead, in words."""
    try:
        return asked(), ""
    except Exception as error:
        return {}, f"{type(error).__name__}: {error}"


def _same(a: Array, b: Array, room: float) -> bool:
    """Whether `b` is `a` to `room`, wherever `a` is finite: an overflow may come out otherwise by rounding."""
    if np.array_equal(a, b, equal_nan=a.dtype.kind in "fc" and b.dtype.kind in "fc"):
        return True
    return bool(np.all(_departure(a, b) <= room))


def _departure(a: Array, b: Array) -> Array:
    """|a − b| entry by entry: 0 where `a` is not finite, infinite where `b` alone is not."""
    with np.errstate(all="ignore"):
        gap = np.abs(np.subtract(a, b, dtype=np.result_type(a, b, np.float64)))
    return np.where(np.isfinite(a), np.where(np.isfinite(gap), gap, np.inf), 0.0)


def _first(k: str, a: Array, b: Array, room: float) -> str:
    gap = _departure(a, b)
    at = np.unravel_index(int(np.argmax(gap)), gap.shape)
    where = f"[{', '.join(map(str, at))}]" if gap.ndim else ""
    return f"{k}{where} is {b[at]:.6g}, not {a[at]:.6g} (rounding allows {room:.1g}; {int((gap > room).sum())} of {gap.size} entries)"


def _gap(a: Array, b: Array) -> float:
    largest = float(np.max(_departure(a, b), initial=0.0))
    return largest if np.isfinite(largest) else 0.0


def _largest(a: Array) -> float:
    finite = np.abs(a[np.isfinite(a)]) if a.dtype.kind in "fc" else np.abs(a)
    return float(np.max(finite, initial=0.0))


def _form(a: Array | None) -> str:
    return "missing" if a is None else f"of shape {a.shape}"
