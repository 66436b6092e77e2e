"""Which of equal candidates gets the cotangent: the convention "ties", held to.

Near a tie the layer is smooth, and one candidate is ahead. The claims there are the sides of the tie; at the tie itself
the claim must be the side of the first candidate, of the last, or the mean of all.
"""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .answers import cotangents, forward
from .inner import Array, direction
from .subjects import Arrays, Subject, copied

OUTPUTS = 6               # entries of the first output that are looked at
DRAWS = 60                # points nearby
SEEN = 12                 # how often each side must be seen on average, or some may be missing: of five, one in a million times
DRIFT = 4.0               # of what a claim may move between the tie and a point nearby, on its largest entry and the step


def at_ties(s: Subject, declared: str) -> Iterator[str]:
    """Where ties are not broken as declared, in words: at most one sentence for each array."""
    rng = s.rng("ties")
    ys = forward(s, s.tape(), copied(s.primals))
    for i in rng.permutation(ys[0].size)[:OUTPUTS]:
        dys = [np.zeros_like(y) for y in ys]
        dys[0].flat[i] = 1
        near = [_claims(s, _moved(s, rng), dys) for _ in range(DRAWS)]
        for k, claim in _claims(s, s.primals, dys).items():
            wrong = _otherwise(claim, [n[k] for n in near if k in n], declared)
            if wrong:
                yield f"at the tie of y[{', '.join(map(str, np.unravel_index(i, ys[0].shape)))}] the cotangent of {k[1:]} is {wrong}"
                return


def _otherwise(claim: Array, near: list[Array], declared: str) -> str:
    """What the claim is instead of what is declared; "" if it is that, or there is no tie."""
    slack = _reach(claim) * max(1.0, float(np.max(np.abs(near), initial=0.0))) * DRIFT
    sides: list[Array] = []
    for d in near:
        sides += [d] if all(np.max(np.abs(d - other), initial=0.0) > slack for other in sides) else []
    if len(sides) < 2 or SEEN * len(sides) > len(near):
        return ""
    mean = np.mean(sides, axis=0)
    sides.sort(key=lambda d: int(np.argmax(np.abs(d) - np.abs(mean))))
    wanted = {"first": sides[0], "last": sides[-1], "split": mean}[declared]
    off = float(np.max(np.abs(claim - wanted), initial=0.0))
    return f"not that of the convention {declared!r}: off by {off:.3g}, {len(sides)} candidates being equal" if off > slack else ""


def _claims(s: Subject, primals: Arrays, dys: list[Array]) -> dict[str, Array]:
    with np.errstate(all="ignore"):
        return {k: d for k, d in cotangents(s, s.pullback(primals, dys)).items() if k[1:] in (s.inputs or s.differentiable)}


def _moved(s: Subject, rng: np.random.Generator) -> Arrays:
    """The inputs a little off, so that nothing is tied."""
    return {k: np.asarray(x + _reach(x) * direction(rng, x), x.dtype) if k in s.differentiable and k in (s.inputs or s.differentiable) else x
            for k, x in s.primals.items()}


def _reach(x: Array) -> float:
    return float(np.finfo(x.dtype).eps ** 0.25)
