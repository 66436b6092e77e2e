"""Reports of parts of one run, joined."""
from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterable
from typing import Any, TypeVar

from msgspec.structs import replace

from ..evidence import Bench, CaseReport, Report, Row
from .codec import builtins, canonical, timeless
from .words import named

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
SAME = ("schema_version", "title", "profile", "seed", "revision", "command")     # what all shards of a run have in common


def merge(reports: Iterable[Report]) -> Report:
    """The report of the whole run, whatever order its shards come in; times add up.

    Errors: ValueError on no report, on reports of different runs, on two verdicts for one row.
    """
    shards = [replace(r, command=re.sub(r"\s+--shard[ =]\S+", "", r.command)) for r in reports]
    if not shards:
        raise ValueError("merge takes at least one report, got none")
    for name in SAME:
        if len(values := sorted({str(getattr(s, name)) for s in shards})) > 1:
            raise ValueError(f"these are not shards of one run: {name} is {values[0]!r} in one and {values[1]!r} in another")
    return canonical(replace(
        shards[0],
        environment=_least(s.environment for s in shards),
        started=min(s.started for s in shards),
        time_s=_sum(s.time_s for s in shards),
        cases=tuple(_case(parts) for parts in _by_key((c.name, c) for s in shards for c in s.cases).values()),
        checks=tuple(_least(infos) for infos in _by_key((c.name, c) for s in shards for c in s.checks).values()),
        not_checked=tuple(_by_key((n, n) for s in shards for n in s.not_checked)),
        unasked=_unasked(shards),
        bench=_bench([s.bench for s in shards if s.bench]),
        mutation=tuple(_least(same) for same in _by_key((m.case, m) for s in shards for m in s.mutation).values()),
        extra=_extra(shards)))


def _case(parts: list[CaseReport]) -> CaseReport:
    rows = _by_key(((r.check, r.primal), r) for p in parts for r in p.rows).values()
    return replace(
        _least(parts),
        points=max(p.points for p in parts),
        rows=tuple(_row(parts[0].name, same) for same in rows),
        ledger=_least([p.ledger for p in parts if p.ledger] or [None]),
        error="\n".join(sorted({p.error for p in parts if p.error})),
        time_s=_sum(p.time_s for p in parts))


def _row(case: str, rows: list[Row]) -> Row:
    if any(timeless(r) != timeless(rows[0]) for r in rows):
        raise ValueError(f"two shards judged {case}/{rows[0].check}/{rows[0].primal}, and not alike")
    return _least(rows)


def _unasked(shards: list[Report]) -> tuple[str, ...]:
    """What no shard was asked for."""
    judged = {name for s in shards for c in s.cases for name in (c.name, *(named(c.name, r.check) for r in c.rows))}
    return tuple(set.intersection(*(set(s.unasked) for s in shards)) - judged)


def _bench(parts: list[Bench]) -> Bench | None:
    """What the shards timed. Ratios to the reference workload hold on any machine; a machine's peaks hold for it alone, and the lower ones are kept."""
    if not parts:
        return None
    timings = _by_key((t.id, t) for b in parts for t in b.timings).values()
    scalings = _by_key(((s.case, s.dtype, s.axis, s.side), s) for b in parts for s in b.scalings).values()
    peaks = _by_key((p.dtype, p) for b in parts for p in b.peaks).values()
    return Bench(_least(b.reference for b in parts), tuple(min(same, key=lambda p: p.gflops) for same in peaks),
                 tuple(map(_least, timings)), tuple(map(_least, scalings)))


def _extra(shards: list[Report]) -> dict[str, Any]:
    """What the shards add of their own; the machines too, where they differ."""
    own = {key: _least(values) for key, values in _by_key(pair for s in shards for pair in s.extra.items()).items()}
    machines = _by_key((_text(s.environment), s.environment) for s in shards)
    return own if len(machines) == 1 else {**own, "environments": [builtins(machines[text][0]) for text in sorted(machines)]}


def _by_key(pairs: Iterable[tuple[K, T]]) -> dict[K, list[T]]:
    groups: dict[K, list[T]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def _text(value: Any) -> str:
    return json.dumps(timeless(value), sort_keys=True)


def _least(values: Iterable[T]) -> T:
    """The one whose JSON sorts first: a choice that does not depend on the order."""
    return min(values, key=_text)


def _sum(times: Iterable[float]) -> float:
    return sum(sorted(times))                    # sorted: a sum of floats depends on the order
