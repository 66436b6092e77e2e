"""From evidence at many points to one row: tallies that add up in any order, each keeping only what the row will show.

A row shows counts and a handful of telling points, so a slice of ten points and a slice of a thousand come to the same size,
and the tally of a whole is that of its slices joined, whoever judged them and whichever was ready first.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TypeVar

import msgspec
import numpy as np
from msgspec.structs import replace

from .evidence import Calls, Evidence, Point, Row, Verdict, gravest

LOW_PRECISION = ("float32", "float16")              # where one failing point may be cancellation: a failure must recur
Dtype = str
K = TypeVar("K")


class Seen(msgspec.Struct, frozen=True):
    """What a check saw at one point, which is named by its place among the case's points."""
    at: int
    evidence: Evidence


class Tally(msgspec.Struct, frozen=True):
    """One check of one primal over some of a case's points."""
    check: str
    primal: str
    verdicts: dict[Dtype, dict[Verdict, int]]
    marks: dict[str, int]
    telling: int                                     # points that passed and were not vacuous
    calls: Calls
    probes: int
    time_s: float
    kept: tuple[Seen, ...]


def tallied(found: Iterable[Seen], points: Sequence[Point]) -> tuple[Tally, ...]:
    """The tally of every check and primal in `found`."""
    return joined((_single(s, points[s.at].dtype) for s in found), points)


def joined(tallies: Iterable[Tally], points: Sequence[Point]) -> tuple[Tally, ...]:
    """One tally for each check and primal: the sum, in whatever order the parts come."""
    return tuple(_sum(list(group), points) for _, group in groupby(sorted(tallies, key=_name), _name))


def _name(t: Tally) -> tuple[str, str]:
    return t.check, t.primal


def _single(s: Seen, dtype: str) -> Tally:
    e = s.evidence
    return Tally(e.check, e.primal, {dtype: {e.verdict: 1}}, dict(Counter(e.marks)), int(_tells(e)), e.calls, e.probes, e.time_s, (s,))


def _sum(parts: list[Tally], points: Sequence[Point]) -> Tally:
    verdicts: dict[str, Counter[Verdict]] = {}
    for part in parts:
        for dtype, counts in part.verdicts.items():
            verdicts.setdefault(dtype, Counter()).update(counts)
    return Tally(parts[0].check, parts[0].primal, {d: dict(c) for d, c in verdicts.items()}, _total(p.marks for p in parts),
                 sum(p.telling for p in parts), Calls(forward=sum(p.calls.forward for p in parts), backward=sum(p.calls.backward for p in parts)),
                 sum(p.probes for p in parts), sum(sorted(p.time_s for p in parts)), _kept([s for p in parts for s in p.kept], points))


def _total(counts: Iterable[Mapping[K, int]]) -> dict[K, int]:
    return dict(sum(map(Counter, counts), Counter[K]()))


def _kept(seen: list[Seen], points: Sequence[Point]) -> tuple[Seen, ...]:
    """The first of every verdict in either precision, the smallest failure, the finest and the coarsest pass of every dtype."""
    seen = sorted(seen, key=lambda s: s.at)
    firsts = {(s.evidence.verdict, points[s.at].dtype in LOW_PRECISION): s for s in reversed(seen)}
    failing = [s for s in seen if s.evidence.verdict is Verdict.FAIL]
    resolved = [of for d in {points[s.at].dtype for s in seen} if (of := _resolved(s for s in seen if points[s.at].dtype == d))]
    kept = [*firsts.values(), *(s for of in resolved for s in (of[0], of[-1])), *([simplest(failing, points)] if failing else [])]
    return tuple(s for s in seen if any(s is k for k in kept))


def simplest(seen: Iterable[Seen], points: Sequence[Point]) -> Seen:
    """The one at the point with the fewest entries, in the higher precision if there is a choice."""
    return min(seen, key=lambda s: (points[s.at].dtype in LOW_PRECISION, sum(int(np.prod(n)) for n in points[s.at].sizes.values()), s.at))


def _tells(e: Evidence) -> bool:
    return e.verdict is Verdict.PASS and "vacuous" not in e.marks


def _entry(s: Seen) -> float:
    return s.evidence.resolution.entry if s.evidence.resolution else 0.0


def _resolved(seen: Iterable[Seen]) -> list[Seen]:
    """The telling passes that state a resolution, the finest first."""
    return sorted((s for s in seen if _tells(s.evidence) and s.evidence.resolution), key=lambda s: (_entry(s), s.at))


# the row ------------------------------------------------------------------------------------------------------------------------

def row_of(tally: Tally, points: Sequence[Point], enough: int) -> Row:
    """One check of one primal over all points; `enough` of them must have passed finely."""
    tally = _recurring(tally)
    counts = _total(tally.verdicts.values())
    verdict, reason = _verdict(tally, counts, enough)
    by_dtype = {d: _resolved(s for s in tally.kept if points[s.at].dtype == d) for d in sorted(tally.verdicts, key=lambda d: float(np.finfo(d).eps))}
    best = next((of for of in by_dtype.values() if of), [])
    example = best[-1] if best else next((s for s in tally.kept if s.evidence.verdict is not Verdict.PASS), tally.kept[0])
    return Row(check=tally.check, primal=tally.primal, verdict=verdict, points={str(v): counts[v] for v in Verdict if v in counts}, reason=reason,
               marks=tally.marks, finest=best[0].evidence.resolution if best else None, coarsest=best[-1].evidence.resolution if best else None,
               coarsest_of={d: r for d, of in by_dtype.items() if of and (r := of[-1].evidence.resolution)}, example=example.evidence,
               at=points[example.at], calls=tally.calls, probes=tally.probes, time_s=tally.time_s)


def failing(tally: Tally) -> Iterator[Seen]:
    """The failures that were kept, unless they may all be cancellation."""
    return (s for s in _recurring(tally).kept if s.evidence.verdict is Verdict.FAIL)


def _verdict(tally: Tally, counts: Mapping[Verdict, int], enough: int) -> tuple[Verdict, str]:
    """A row passes if nothing failed and enough points passed finely; single coarse or vacuous points do not count against it.

    An array that few points have passes if all of them passed and most were not zero: a zero is judged too, against the case's largest.
    """
    worst, total = gravest(counts), sum(counts.values())
    if worst in (Verdict.ERROR, Verdict.FAIL):
        return worst, _why(tally, worst)
    if tally.telling >= min(enough, total) or worst is Verdict.PASS and tally.telling > total / 2:
        return Verdict.PASS, ""
    if worst is Verdict.UNDECIDED:
        return Verdict.UNDECIDED, _why(tally, worst)
    return Verdict.UNDECIDED, f"vacuous: the cotangent cannot be told from zero at {total - tally.telling} of {total} points"


def _why(tally: Tally, verdict: Verdict) -> str:
    return next(s.evidence.reason for s in tally.kept if s.evidence.verdict is verdict)


def _recurring(tally: Tally) -> Tally:
    """A failure in low precision counts if it recurs or float64 fails as well: at a single point it may be cancellation."""
    fails = {d: c[Verdict.FAIL] for d, c in tally.verdicts.items() if c.get(Verdict.FAIL)}
    if len(fails) != 1 or not set(fails) <= {*LOW_PRECISION} or sum(fails.values()) > 1 or sum(sum(c.values()) for c in tally.verdicts.values()) == 1:
        return tally
    why, (dtype,) = "one point in low precision failed, and no other: cancellation cannot be excluded", fails
    counts = Counter(tally.verdicts[dtype]) - Counter([Verdict.FAIL]) + Counter([Verdict.UNDECIDED])
    kept = tuple(Seen(s.at, replace(s.evidence, verdict=Verdict.UNDECIDED, reason=why)) if s.evidence.verdict is Verdict.FAIL else s for s in tally.kept)
    return replace(tally, verdicts={**tally.verdicts, dtype: dict(counts)}, kept=kept)
