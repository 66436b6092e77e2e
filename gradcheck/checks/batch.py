"""What a row gets does not depend on the rows beside it."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..answers import Answer, Question, attempt, cotangent, forward, found, outputs, shuffled
from ..evidence import Evidence
from ..inner import Array
from ..rows import Rows
from ..subjects import Subject, copied
from . import check

BORDERS = (127, 129, 255, 257, 511, 513, 1023, 1025)      # rows of the large batch: beside the sizes of blocks, index types and kernels
UNLIKE = 0.1              # by what share a row may shrink, to be unlike its copies
ROOM = 2 ** 16            # entries of the large batch's largest array


@check("state", since="0.1.0", applies=lambda s: bool(s.inputs))
def batch(s: Subject) -> Iterator[Evidence]:
    """f([a; b]) = [f(a); f(b)], so the inputs' cotangents are those of a and of b, and the parameters' their sum.

    A loss may be the sum of both instead, or their mean, and so are its cotangents then. Judged only where the forward pass
    obeys one of these, which batch norm does not. The batch is split into its first row and the
    rest, put together in the other order, repeated up to 127 … 1025 rows, and emptied.
    Sees a mean for a sum, a last block that is dropped, an index type that overflows, a kernel for large sizes that is
    wrong, and a gradient that stays from the last batch when this one is empty: without a single difference.
    Cannot see: what is wrong alike for every row. How to fix: sum over the batch; count rows, not blocks.
    """
    rows = Rows.of(s)
    joined = rows and _joined(rows)
    if not rows or not joined:
        return
    n = rows.n
    if n > 1:
        first, rest = np.arange(1), np.arange(1, n)
        yield from _apart(rows, joined, "split", [first, rest])
        yield from _apart(rows, joined, "reordered", [rest, first])
    many = int(s.rng("batch").choice([b for b in BORDERS if b * rows.width <= ROOM] or [2 * n + 1]))
    yield from _apart(rows, joined, "large", [np.arange(n)] * (many // n) + [np.arange(many % n)] * bool(many % n))
    if joined is BESIDE:
        yield from _emptied(rows)


@dataclass(frozen=True)
class Way:
    """How the outputs of two batches make those of both together: `weight` of a part is its share in the whole, of so many rows each."""
    join: Callable[[Sequence[Array]], Array]
    weight: Callable[[int, int], float]


BESIDE = Way(np.concatenate, lambda part, whole: 1.0)
SUMMED = Way(np.add.reduce, lambda part, whole: 1.0)
AVERAGED = Way(np.add.reduce, lambda part, whole: part / whole)


def _joined(rows: Rows) -> Way | None:
    """How the forward pass treats a batch that this one is the first half of; None where it mixes rows in another way."""
    s, other = rows.subject, shuffled(rows.subject, "batch")
    both = {k: np.concatenate([x, other[k]]) if k in rows.split else x for k, x in rows.whole.primals.items()}
    (mine, refused), (theirs, also) = (attempt(lambda primals=primals: outputs(forward(s, s.tape(), primals))) for primals in (both, other))    # type: ignore[misc]
    ways = (BESIDE,) if rows.kept else (SUMMED, AVERAGED)
    return None if refused or also else next((w for w in ways if _makes(rows, w, mine, theirs)), None)


def _makes(rows: Rows, way: Way, both: Answer, other: Answer) -> bool:
    """Whether the outputs of this batch and of the other make those of both."""
    weight = way.weight(rows.n, 2 * rows.n)
    ys = [k for k in rows.whole.answer if k.startswith("y")]
    if way is BESIDE:
        return not list(rows.whole.departures({k: both[k][:rows.n] for k in ys if both[k].shape[:1] == (2 * rows.n,)}, ys))
    alike = all(both[k].shape == other[k].shape for k in ys)      # some outputs may have rows where others are sums
    return alike and not list(rows.whole.departures({k: both[k] / weight - other[k] for k in ys}, ys, lambda k: 2 * rows.whole.room(k)))


def _apart(rows: Rows, way: Way, how: str, parts: Sequence[Array]) -> Iterator[Evidence]:
    """The parts in one call against each alone; nothing where they are refused, or the forward pass mixes them."""
    whole, count = rows.take(np.concatenate(parts)), sum(map(len, parts))
    asked = {p.tobytes(): attempt(rows.take(p).ask) for p in {p.tobytes(): p for p in parts}.values()}
    if any(refused for _, refused in asked.values()) or attempt(lambda: whole.answer)[1]:
        return
    put = _together(rows, way, [asked[p.tobytes()][0] for p in parts], [way.weight(len(p), count) for p in parts])
    if not list(whole.departures(put, [k for k in put if k.startswith("y")])) and (way is BESIDE or _holds(rows, way, parts)):
        rest = [k for k in put if not k.startswith("y")]
        yield found("batch", how, (f"taken apart, {w}" for w in whole.departures(put, rest, partial(_slack, rows, count))))


def _holds(rows: Rows, way: Way, parts: Sequence[Array]) -> bool:
    """Whether the outputs still make up those of all where every row is another: a mean over the rows that count is that of copies, however many do."""
    s, rng, count = rows.subject, rows.subject.rng("holds"), sum(map(len, parts))
    moved = [{k: _unlike(rng, x[p]) if k in rows.split else x for k, x in rows.whole.primals.items()} for p in parts]
    all_ = Question(s, {k: np.concatenate([m[k] for m in moved]) if k in rows.split else x for k, x in rows.whole.primals.items()}, rows.whole.dys)
    alone, refused = [outputs(forward(s, s.tape(), copied(m))) for m in moved], attempt(lambda: all_.answer)[1]
    put = {k: way.join([np.asarray(way.weight(len(p), count) * a[k], a[k].dtype) for a, p in zip(alone, parts, strict=True)]) for k in alone[0]}
    return not refused and not list(all_.departures(put, put))


def _unlike(rng: np.random.Generator, x: Array) -> Array:
    """Every row scaled by a number of its own."""
    return np.asarray(x * (1 - UNLIKE * rng.random((len(x), *(1,) * (x.ndim - 1)))), x.dtype) if x.dtype.kind in "fc" else x


def _together(rows: Rows, way: Way, answers: Sequence[Answer], weights: Sequence[float]) -> Answer:
    """Rows one below the other; what belongs to all rows, summed."""
    rowwise = {k for k in map(cotangent, rows.split) if all(a[k].ndim for a in answers if k in a)}       # one that is mis-shaped is `shapes`' to name
    return {k: (way.join if k.startswith("y") else np.concatenate if k in rowwise else np.add.reduce)(              # type: ignore[operator]
                [np.asarray(w * a[k], a[k].dtype) for a, w in zip(answers, weights, strict=True)])
            for k in answers[0] if all(k in a for a in answers) and len({a[k].shape[(k in rowwise):] for a in answers if not k.startswith("y")}) < 2}


def _slack(rows: Rows, count: int, k: str) -> float:
    """What N addends summed one by one may be off by: copies of a row, or of an entry, round alike, so that N / 2 roundings of every addend add up."""
    return 0.0 if k in map(cotangent, rows.split) else rows.width * count / 2 * count / rows.n * rows.whole.room(k)


def _emptied(rows: Rows) -> Iterator[Evidence]:
    """No rows: no output, and cotangents of zero. A layer that refuses an empty batch in words is right too."""
    answer, refused = attempt(rows.take(np.arange(0)).ask)
    if not refused and not any(v.size for k, v in answer.items() if k.startswith("y")):
        yield found("batch", "empty", (f"{k} is {v.ravel()[0]:.6g} where there is no row, not 0" for k, v in answer.items() if (v != 0).any()))
