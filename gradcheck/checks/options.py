"""Every value of every option."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import Any

from msgspec.structs import replace as changed

from ..evidence import Evidence, Verdict, gravest
from ..subjects import Subject
from . import check
from .adjoint import adjoint
from .shapes import shapes

MOST = 64                 # combinations that are all tried; of more, as many as it takes that every two values meet

Options = Mapping[str, Any]


@check("gradient", since="0.1.0", applies=lambda s: s.rebuild is not None and any(len(v) > 1 for v in s.options.values()), default=False)
def options(s: Subject) -> Iterator[Evidence]:
    """`adjoint` and `shapes` at this point's sizes, over all combinations of option values up to 64, else over every pair of values.

    A run draws options so that each value occurs as often as any other, and judges `adjoint` and `shapes` there; this check
    adds the combinations. It runs by name. A combination that does not fit the sizes is counted.
    Cannot see: anything that `adjoint` and `shapes` do not at the combination where it shows.
    How to fix: the options that are named, one by one from their simplest value.
    """
    found: dict[str, list[Evidence]] = {}
    unfit = 0
    for chosen in covering(s.options):
        try:
            there = s.at(options=dict(chosen))
            there(there.primals)
        except Exception:                                  # sizes that these options cannot take; `errors` asks how it says so
            unfit += 1
            continue
        for e in (*adjoint(there), *shapes(there)):
            found.setdefault(e.primal, []).append(changed(e, reason=e.reason and f"{e.reason} (with {_text(chosen)})"))
    for k, seen in found.items():
        verdict = gravest(e.verdict for e in seen if e.verdict is not Verdict.UNDECIDED)
        worst = next(e for e in seen if e.verdict is verdict or verdict is Verdict.SKIPPED)
        notes = (f"{len(seen)} judgements; {unfit} combinations do not fit these sizes",)
        yield changed(worst, check="options", primal=k, notes=notes, resolution=None, sweep=None)


def covering(domains: Mapping[str, Sequence[Any]]) -> Iterator[Options]:
    """All combinations, or rows in which every two values of two options meet, each row meeting as many new pairs as it can."""
    count = 1
    for values in domains.values():
        count *= len(values)
    if count <= MOST:
        yield from (dict(zip(domains, row, strict=True)) for row in product(*domains.values()))
        return
    left = {(a, i, b, j) for a, b in combinations(domains, 2) for i in range(len(domains[a])) for j in range(len(domains[b]))}
    while left:
        a, i, b, j = min(left)
        row = {a: i, b: j}
        for k in (k for k in domains if k not in row):
            row[k] = max(range(len(domains[k])), key=lambda v, k=k: _new(left, {**row, k: v}))       # type: ignore[misc]
        left = {p for p in left if not _holds(row, p)}
        yield {k: domains[k][row[k]] for k in domains}


Pair = tuple[str, int, str, int]


def _holds(row: Mapping[str, int], pair: Pair) -> bool:
    a, i, b, j = pair
    return row.get(a) == i and row.get(b) == j


def _new(left: set[Pair], row: Mapping[str, int]) -> int:
    """How many pairs that have not met yet meet in this row."""
    return sum(_holds(row, p) for p in left)


def _text(chosen: Options) -> str:
    return ", ".join(f"{k}={v!r}" for k, v in chosen.items())
