"""Double backward."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from msgspec.structs import replace as changed

from ..answers import Question
from ..evidence import Evidence
from ..subjects import Subject
from . import check
from .adjoint import adjoint


@check("gradient", since="0.1.0", applies=lambda s: s.double is not None)
def second(s: Subject) -> Iterator[Evidence]:
    """⟨u, ∂(J′dy)·v⟩ = ⟨∂(J′dy)′u, v⟩: `adjoint` of the pullback, a function of the primals and the upstream.

    Differences are taken of the first backward, which `adjoint` judges; the claims are those of the second. That the
    Hessian is symmetric follows. Only for layers that have a double backward.
    Cannot see: a first backward that is wrong and differentiated rightly. How to fix: a saved intermediate is a function
    of the inputs too; differentiate through it, or recompute it.
    """
    assert s.double is not None
    first = Question.at(s, "second")
    upstream = {f"dy{i}" if i else "dy": dy for i, dy in enumerate(first.dys)}
    moving = (*s.differentiable, *(k for k, dy in upstream.items() if np.issubdtype(dy.dtype, np.inexact)))
    for e in adjoint(replace(s, name=f"{s.name} twice", primals={**s.primals, **upstream}, differentiable=moving, tape=s.double)):
        yield changed(e, marks=tuple(m for m in e.marks if m != "vacuous"))      # of what is linear it is zero, as measured beside the case's largest
