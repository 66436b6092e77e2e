"""Outputs obey the law, and each cotangent has the form of its primal."""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..evidence import Evidence, Verdict
from ..inner import upstream
from ..subjects import Subject
from . import check
from .adjoint import misfit


@check("gradient", since="0.1.0")
def shapes(s: Subject) -> Iterator[Evidence]:
    """shape(y) is what the law says; shape(J′dy) = shape(x) for every primal x, and the dtype is kept.

    Run over generated sizes, which hold 1, primes, unequal sizes and strides that leave a remainder. A missing or
    mis-shaped cotangent is wrong in any protocol; an output that departs from a declared law, or a dtype that is not
    kept, only where the layer promises the contract. An integer primal has no cotangent, which is not a zero cotangent.
    Cannot see: right shapes with wrong numbers. How to fix: sum a cotangent over the axes that its primal was broadcast along.
    """
    ys = s(s.primals)
    yield _outputs(s, [y.shape for y in ys])
    d = s.pullback(s.primals, upstream(s.rng("shapes"), ys))
    for k in s.differentiable:
        yield _cotangent(s, k, d.get(k))


def _outputs(s: Subject, got: list[tuple[int, ...]]) -> Evidence:
    want = s.out_shapes
    wrong = want is not None and s.facts.contract and list(want) != got
    return _evidence("y", f"the law gives {_text(want)}, the layer returned {_text(got)}" if wrong and want else "")


def _cotangent(s: Subject, k: str, d: np.ndarray | None) -> Evidence:
    x = s.primals[k]
    if d is None:
        return _evidence(k, "no cotangent was returned")
    wrong = misfit(d, x)
    if not wrong and s.facts.contract and d.dtype != x.dtype:
        wrong = f"the cotangent is {d.dtype}, its primal {x.dtype}"
    return _evidence(k, wrong)


def _evidence(k: str, wrong: str) -> Evidence:
    return Evidence(check="shapes", primal=k, verdict=Verdict.FAIL if wrong else Verdict.PASS, reason=wrong, measured=float(bool(wrong)))


def _text(shapes_: object) -> str:
    return " and ".join(map(str, shapes_)) if isinstance(shapes_, list | tuple) else str(shapes_)
