"""What a row gets does not depend on the rows beside it."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from ..answers import Answer, Question, attempt, cotangent, forward, found, outputs, shuffled
from ..evidence import Evidence
from ..inner import Array
from ..subjects import Subject
from . import check

BORDERS = (127, 129, 255, 257, 511, 513, 1023, 1025)      # rows of the large batch: beside the sizes of blocks, index types and kernels
ROOM = 2 ** 16            # entries of the large batch's largest array


@check("state", since="0.1.0", applies=lambda s: bool(s.inputs))
def batch(s: Subject) -> Iterator[Evidence]:
    """f([a; b]) = [f(a); f(b)], so the inputs' cotangents are those of a and of b, and the parameters' their sum.

    Judged only where the forward pass obeys it, which batch norm does not. The batch is split into its first row and the
    rest, put together in the other order, repeated up to 127 … 1025 rows, and emptied.
    Sees a mean for a sum, a last block that is dropped, an index type that overflows, a kernel for large sizes that is
    wrong, and a gradient that stays from the last batch when this one is empty: without a single difference.
    Cannot see: what is wrong alike for every row. How to fix: sum over the batch; count rows, not blocks.
    """
    rows = Rows.of(s)
    if rows is None or not rows.independent:
        return
    n = rows.n
    if n > 1:
        first, rest = np.arange(1), np.arange(1, n)
        yield from rows.evidence("split", [first, rest])
        yield from rows.evidence("reordered", [rest, first])
    many = int(s.rng("batch").choice([b for b in BORDERS if b * rows.width <= ROOM] or [2 * n + 1]))
    yield from rows.evidence("large", [np.arange(n)] * (many // n) + [np.arange(many % n)] * bool(many % n))
    yield from rows.emptied()


@dataclass(frozen=True)
class Rows:
    """A subject whose arrays `split`, and all outputs, have one row for each of `n` examples along their first axis."""
    subject: Subject
    split: tuple[str, ...]
    n: int

    @classmethod
    def of(cls, s: Subject) -> Rows | None:
        """None where the inputs have no common first axis, or the outputs do not have it."""
        split, n = _split(s), s.primals[s.inputs[0]].shape[:1]
        rows = cls(s, split, n[0]) if n and n[0] and s.primals[s.inputs[0]].size and all(s.primals[k].shape[:1] == n for k in split) else None
        return rows if rows and all(dy.shape[:1] == n for dy in rows.whole.dys) else None

    @cached_property
    def whole(self) -> Question:
        return Question.at(self.subject, "batch")

    @property
    def width(self) -> int:
        """Entries of a row of the largest array."""
        return max(a.size // self.n for a in [*(self.subject.primals[k] for k in self.split), *self.whole.dys])

    @property
    def independent(self) -> bool:
        """Whether the forward pass treats rows by themselves: another batch below this one changes nothing in this one's outputs."""
        other = shuffled(self.subject, "batch")
        both = {k: np.concatenate([x, other[k]]) if k in self.split else x for k, x in self.whole.primals.items()}
        ys, refused = attempt(lambda: outputs(forward(self.subject, self.subject.tape(), both)))
        mine = {k: y[:self.n] for k, y in ys.items() if y.shape[:1] == (2 * self.n,)}
        return not refused and not list(self.whole.departures(mine, [k for k in self.whole.answer if k.startswith("y")]))

    def take(self, rows: Array) -> Question:
        """The question for these rows alone."""
        primals = {k: x[rows] if k in self.split else x for k, x in self.whole.primals.items()}
        return replace(self.whole, primals=primals, dys=tuple(dy[rows] for dy in self.whole.dys))

    def evidence(self, how: str, parts: Sequence[Array]) -> Iterator[Evidence]:
        """The parts in one call against each alone; nothing where they are refused, or the forward pass mixes them."""
        whole = self.take(np.concatenate(parts))
        asked = {p.tobytes(): attempt(self.take(p).ask) for p in {p.tobytes(): p for p in parts}.values()}
        if any(refused for _, refused in asked.values()) or attempt(lambda: whole.answer)[1]:
            return
        apart = [asked[p.tobytes()][0] for p in parts]
        put = self.together(apart)
        if not list(whole.departures(put, [k for k in put if k.startswith("y")])):
            rest = [k for k in put if not k.startswith("y")]
            yield found("batch", how, (f"taken apart, {w}" for w in whole.departures(put, rest, partial(self.slack, sum(map(len, parts))))))

    def together(self, answers: Sequence[Answer]) -> Answer:
        """Rows one below the other; what belongs to all rows, summed."""
        rowwise = set(map(cotangent, self.split))
        return {k: (np.concatenate if k.startswith("y") or k in rowwise else np.add.reduce)([a[k] for a in answers])   # type: ignore[operator]
                for k in answers[0] if all(k in a for a in answers)}

    def slack(self, rows: int, k: str) -> float:
        """What N addends summed one by one may be off by: copies of a row round alike, so that N / 2 roundings of every addend add up."""
        addends = rows * max(dy.size // self.n for dy in self.whole.dys)
        return 0.0 if k in map(cotangent, self.split) else addends / 2 * rows / self.n * self.whole.room(k)

    def emptied(self) -> Iterator[Evidence]:
        """No rows: no output, and cotangents of zero. A layer that refuses an empty batch in words is right too."""
        answer, refused = attempt(self.take(np.arange(0)).ask)
        if not refused and not any(v.size for k, v in answer.items() if k.startswith("y")):
            yield found("batch", "empty", (f"{k} is {v.ravel()[0]:.6g} where there is no row, not 0" for k, v in answer.items() if (v != 0).any()))


def _split(s: Subject) -> tuple[str, ...]:
    """The inputs, and the noise held with them, whose first axis is that of the first input; by name where a law gives names."""
    axes = {line.name: line.axes.split() for line in s.ledger() if line.role in ("input", "noise")} if s.ledger else {}
    lead, first = axes.get(s.inputs[0], [])[:1], s.primals[s.inputs[0]]
    if lead == ["*"] and first.ndim < len(axes[s.inputs[0]]):
        return ()
    named = tuple(k for k, a in axes.items() if a[:1] == lead and k in s.primals) if lead else ()
    return named or tuple(k for k in s.inputs if s.primals[k].shape[:1] == first.shape[:1])
