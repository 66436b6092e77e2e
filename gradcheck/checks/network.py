"""A layer used twice in one network."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..evidence import Evidence
from ..subjects import Array, Arrays, Subject, Tape
from . import check
from .adjoint import adjoint

SECOND = 0.5              # what the second use reads: half of the first one's inputs


@check("gradient", since="0.1.0", applies=lambda s: bool(s.differentiable) and s.facts.tape in ("functional", "last", "list"), default=False)
def network(s: Subject) -> Iterator[Evidence]:
    """g(x) = f(x) + f(x/2), one layer with its weights used twice, both forwards before both backwards: `adjoint` of g.

    A diamond: x feeds two branches that share all parameters, and their cotangents meet again.
    It shows the whole at work, and runs by name.
    Cannot see: anything that `adjoint` with `interleave` and `accumulate` does not.
    How to fix: as they say.
    """
    real = [k for k in s.inputs if k in s.differentiable]
    yield from adjoint(replace(s, name=f"{s.name} twice", tape=lambda: Diamond((s.tape(), s.tape()), real)))


class Diamond:
    """Two tapes of one layer as the branches of one function."""

    def __init__(self, branches: tuple[Tape, Tape], inputs: list[str]) -> None:
        self.branches, self.inputs = branches, inputs

    def forward(self, primals: Arrays) -> tuple[Array, ...]:
        half = {k: np.asarray(SECOND * x, x.dtype) if k in self.inputs else np.copy(x) for k, x in primals.items()}
        first, second = [tape.forward(p) for tape, p in zip(self.branches, (primals, half), strict=True)]
        return tuple(a + b for a, b in zip(first, second, strict=True))

    def backward(self, *dys: Array) -> dict[str, Array | None]:
        one, two = (tape.backward(*map(np.copy, dys)) for tape in self.branches)
        return {k: _sum(one.get(k), two.get(k), SECOND if k in self.inputs else 1.0) for k in one.keys() | two.keys()}


def _sum(a: Array | None, b: Array | None, share: float) -> Array | None:
    return None if a is None or b is None else np.asarray(a + share * b, a.dtype)
