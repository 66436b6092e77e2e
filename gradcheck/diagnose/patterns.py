"""What kind of mistake it is: a table of hypotheses, each with what it predicts, the most specific first. A new one is a row.

A hypothesis is accepted if in every picture (a small case seen whole) what it predicts is what is claimed, under one reading
that all pictures share: in batches of 3 and of 5, "a third" and "a fifth" are not the same factor, "1/n" is. Pictures with axes
of one place, where patterns look alike, speak against a reading only. Where none is accepted the kind is not recognised, and that is said.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from . import guesses
from .guesses import LAST, OWN, Guess, same, sizes_of
from .pictures import Picture

Predict = Callable[[Picture, str], Iterator[Guess]]
READINGS = 2              # of a pattern that are told, where several hold
SAME = re.compile(", with | for all of ")              # what follows makes no other reading: the first is told
UNRECOGNISED = "unrecognised"


class Hypothesis(NamedTuple):
    """One kind of mistake."""
    name: str
    predict: Predict
    sentence: str                                      # {d}: the cotangent; {how}: the reading
    cause: str                                         # the usual one, "" where the sentence says it all
    least: int = 2                                     # entries that must be wrong, over all pictures, for the match to tell anything
    only: str = ""                                     # what the readings must begin with; a number comes first, if it is the same everywhere
    sampled: bool = False                              # whether it can be told from some entries, without knowing what each output contributes


class Kind(NamedTuple):
    """The kind of mistake that was recognised."""
    name: str
    sentence: str
    cause: str = ""


def recognise(pictures: Sequence[Picture], k: str) -> Kind:
    """The first hypothesis that holds in every picture in which the cotangent of `k` is wrong."""
    bad = [p for p in pictures if _off(p, k)]
    wide = [[p for p in bad if min(p.x[k].shape, default=2) > 1 and min(sizes_of(p).values(), default=2) > 1],      # in one place all patterns look alike
            [p for p in bad if min(p.x[k].shape, default=1) > 1], [p for p in bad if p.x[k].size > 1], bad]
    telling = next((found for found in wide if found), [])
    others = [p for p in bad if all(p is not t for t in telling)]
    count = sum(int(p.wrong(k).sum()) or 1 for p in telling)
    for h in HYPOTHESES if telling and count else ():
        if count < h.least or not h.sampled and any(len(p.dy) == 0 for p in bad):
            continue
        shared = _shared((_readings(p, k, h) for p in [*telling, *others]), len(telling))
        if shared and re.match(h.only, " = ".join(shared)):
            return Kind(h.name, h.sentence.format(d=f"d{k}", how=" = ".join(shared)), h.cause)
    return Kind(UNRECOGNISED, f"d{k} is off in a way that is not recognised: none of {len(HYPOTHESES)} patterns fits")


def _off(p: Picture, k: str) -> bool:
    return k in p.claimed and (p.misshapen(k) or bool(p.wrong(k).any()))


def _readings(p: Picture, k: str, h: Hypothesis) -> dict[str, bool | None]:
    """Which readings of a hypothesis hold in a picture; None where it cannot tell. What is predicted must not be the truth itself."""
    found: dict[str, bool | None] = {}
    with np.errstate(all="ignore"):
        for said, predicted in h.predict(p, k):
            holds = None if predicted is None else h.name in FORMS or p.fits(k, predicted) and not same(predicted, p.true[k])
            found[said] = holds or found.get(said, holds)
    return found


def _shared(each: Iterator[dict[str, bool | None]], telling: int) -> list[str]:
    """The readings that all telling pictures have, one of them for certain, and that none of the others speaks against."""
    found: dict[str, bool | None] = next(each)
    for i, of in enumerate(each, 1):
        absent = False if i < telling else None
        found = {said: of.get(said) or holds for said, holds in found.items() if holds is not False and of.get(said, absent) is not False}
        if not found:
            return []
    sure = {SAME.split(said)[0]: said for said, holds in reversed(found.items()) if holds}
    said = list(reversed(sure.values()))
    return ([one for one in said if one != OWN and LAST not in one] or said)[:READINGS]


FORMS = {"missing", "unsummed", "another shape", "stale"}      # told by what was returned, not by a prediction

SIZE = rf"(?!{OWN})−?(\([^−+]+\)|axis \d+|[A-Za-z_]\w*)( =|$)"          # of an axis, or of several

HYPOTHESES: tuple[Hypothesis, ...] = (
    Hypothesis("missing", guesses.missing, "{d} is not returned", "a cotangent that was forgotten, or a parameter taken for a constant", 1),
    Hypothesis("unsummed", guesses.unsummed, "{d} still has {how}, over which it was to be summed", "a broadcast that was not undone", 1),
    Hypothesis("another shape", guesses.laid_out, "{d} has the right entries, {how}", "", 1),
    Hypothesis("zero", guesses.zero, "{d} is 0", "a term that was dropped, or an array that nobody filled", 1, sampled=True),
    Hypothesis("sign", guesses.factor, "{d} has the wrong sign", "", 1, "−1( =|$)", True),
    Hypothesis("mean for sum", guesses.factor, "{d} is the true value × {how}", "averaged, where it is to be summed", 1, r"−?1/[^√]", True),
    Hypothesis("sum for mean", guesses.factor, "{d} is the true value × {how}", "summed, where it is to be averaged", 1, SIZE, True),
    Hypothesis("scale", guesses.factor, "{d} is the true value × {how}", "a scale that is missing, or there twice", 1, "−?(1/)?√", True),
    Hypothesis("the upstream itself", guesses.itself, "{d} is the upstream itself", "the local derivative is missing"),
    Hypothesis("factor", guesses.factor, "{d} is the true value × {how}", "", 2, f"(?!{OWN})", True),
    Hypothesis("stale", guesses.stale, "{d} {how}", "a cache that outlives its call"),
    Hypothesis("narrow", guesses.narrow, "{d} is only as good as {how}", "a cast to a narrower type", sampled=True),
    Hypothesis("clipped", guesses.clipped, "{d} is the true value within {how}", "a clip, or a clamp"),
    Hypothesis("reordered", guesses.reordered, "{d} has the right entries in other places: {how}", "axes or indices mixed up"),
    Hypothesis("another's", guesses.another, "{d} is the cotangent of another: {how}", "results returned in the wrong slots"),
    Hypothesis("conjugate", guesses.conjugate, "{d} lacks a conjugate", "np.conj is missing where a complex factor is pulled back"),
    Hypothesis("summed", guesses.spread_sum, "{d} is {how}", "a sum over an axis that is the array's own"),
    Hypothesis("upstream", guesses.upstream, "{d} is what it would be if the upstream were {how}", "the upstream is not used as it comes"),
    Hypothesis("overwritten", guesses.overwritten, "every entry of {d} has {how} alone", "= where += is meant"),
    Hypothesis("partial", guesses.partial, "{d} is what comes from {how}", "a loop or a slice that leaves something out, or a link that is not followed"),
    Hypothesis("own factor", guesses.factor, "{d} is the true value × {how}", "", 4, OWN),
    Hypothesis("slope", guesses.slope, "in {d} {how}", "the activation's derivative"),
    Hypothesis("product", guesses.product, "{d} would be right but for one factor: {how}", ""),
    Hypothesis("transposed", guesses.transposed, "{d} is what the derivative makes of the upstream, not its transpose: along {how}",
               "a transpose or a flip that is missing, or a running sum in the wrong direction"),
    Hypothesis("arranged", guesses.arranged, "{d} would be right with {how}", "a transpose or a flip that is missing, or one too many"),
    Hypothesis("inverted", guesses.inverted, "{d} is 0 where the derivative is not, and not where it is", "a mask that is inverted"),
    Hypothesis("some zero", guesses.some_zero, "{d} is 0 where the derivative is not", "places that are never written, or masked by mistake", 1, sampled=True),
    Hypothesis("not zero", guesses.not_zero, "{d} is not 0 where the derivative is", "a mask that is missing", 1, sampled=True),
    Hypothesis("factors", guesses.slices, "each place on {how} has a factor of its own in {d}", ""),
    Hypothesis("term", guesses.term, "{d} is off by a term {how}", "a sum or a mean over that axis is missing, or is there twice", 4),
    Hypothesis("detached", guesses.detached, "{d} is off by {how}", "a mean and a variance that are taken for constants", 4),
)
