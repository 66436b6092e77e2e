"""Every entry of small cotangents."""
from __future__ import annotations

from collections.abc import Iterator
from math import inf

import numpy as np

from ..diagnose import SMALL, Picture, recognise
from ..evidence import Evidence, Verdict
from ..subjects import Subject
from . import check
from .adjoint import Trial, misfit


@check("gradient", since="0.1.0", applies=lambda s: any(s.primals[k].size <= SMALL for k in s.differentiable), default=False)
def jacobian(s: Subject) -> Iterator[Evidence]:
    """(J′dy)_i = ⟨dy, J e_i⟩ for every entry i of every primal of at most 200 entries, one upstream dy.

    At 18 forwards an entry it shows the whole picture of a mistake, and runs by name.
    Cannot see: anything that `adjoint` does not.
    How to fix: read the map of errors; a row, a border or a diagonal says which index is wrong.
    """
    trial = Trial(s)
    probed = trial.probed("jacobian")
    for k in (k for k in s.differentiable if s.primals[k].size <= SMALL):
        d = probed.d[k]
        if d is None or misfit(d, s.primals[k]):
            yield Evidence(check="jacobian", primal=k, verdict=Verdict.FAIL, reason=misfit(d, s.primals[k]) or "no cotangent was returned", measured=inf)
            continue
        look = trial.taken_apart(probed, k)
        entries = [look.entry(i) for i in np.ndindex(d.shape)]
        wrong = [e for e in entries if look.is_wrong(e)]
        largest = max((abs(e.claimed - e.numeric) for e in entries), default=0.0)
        yield Evidence(check="jacobian", primal=k, verdict=Verdict.FAIL if wrong else Verdict.PASS, measured=largest, probes=len(entries),
                       bound=10 * max((e.bound for e in entries), default=0.0), worst=tuple(wrong[:5]),
                       diagnosis=recognise([Picture.of_entries(k, s.primals[k], entries, s.point.sizes)], k).sentence if wrong else "")
