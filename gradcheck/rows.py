"""A subject taken apart by the rows of its batch: outputs have a row for each example, or are sums or means over them."""
from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from .answers import Question
from .inner import Array
from .subjects import Subject


@dataclass(frozen=True)
class Rows:
    """A subject whose arrays `split` have one row for each of `n` examples along their first axis."""
    subject: Subject
    split: tuple[str, ...]
    n: int

    @classmethod
    def of(cls, s: Subject) -> Rows | None:
        """None where the inputs have no common first axis, or no entry."""
        split, n = _split(s), s.primals[s.inputs[0]].shape[:1] if s.inputs else ()
        return cls(s, split, n[0]) if n and n[0] and s.primals[s.inputs[0]].size and all(s.primals[k].shape[:1] == n for k in split) else None

    @cached_property
    def kept(self) -> bool:
        """Whether all outputs have the rows too."""
        return all(dy.shape[:1] == (self.n,) for dy in self.whole.dys)

    @cached_property
    def whole(self) -> Question:
        return Question.at(self.subject, "batch")

    @property
    def width(self) -> int:
        """Entries of a row of the largest array."""
        return max(a.size // self.n for a in [*(self.subject.primals[k] for k in self.split), *self.whole.dys])

    def take(self, rows: Array) -> Question:
        """The question for these rows alone."""
        primals = {k: x[rows] if k in self.split else x for k, x in self.whole.primals.items()}
        return replace(self.whole, primals=primals, dys=tuple(dy[rows] if self.kept else dy for dy in self.whole.dys))


def _split(s: Subject) -> tuple[str, ...]:
    """The inputs, and the noise held with them, whose first axis is that of the first input; by name where a law gives names."""
    if not s.inputs:
        return ()
    axes = {line.name: line.axes.split() for line in s.ledger() if line.role in ("input", "noise")} if s.ledger else {}
    lead, first = axes.get(s.inputs[0], [])[:1], s.primals[s.inputs[0]]
    if lead == ["*"] and first.ndim < len(axes[s.inputs[0]]):
        return ()
    named = tuple(k for k, a in axes.items() if a[:1] == lead and k in s.primals) if lead else ()
    return named or tuple(k for k in s.inputs if s.primals[k].shape[:1] == first.shape[:1])
