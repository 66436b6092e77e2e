"""Is the diagnosis right? Every layer made wrong in known ways, and in ways that fit no pattern: what is said against what is so.

    python -m tests.confusion [LAYER…]

Three kinds of defects: a layer's cotangents changed on the way out, so that the pattern is known; its source changed, where the
pattern that is named is tried again at other points, with the unchanged layer's own cotangents for the truth and no difference
at all; and the wild defects that `adjoint` sees, of some of which somebody wrote down what they are.
"""
from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gradcheck.checks import CHECKS
from gradcheck.checks.adjoint import Trial
from gradcheck.diagnose import UNRECOGNISED, Picture, located, picture, recognise, telling
from gradcheck.diagnose.pictures import aligned, axes_of, elsewhere, jolted
from gradcheck.evidence import Evidence, Verdict
from gradcheck.inner import scale, upstream
from gradcheck.mutants import Swap, edits, installed, recompiled, swaps
from gradcheck.mutate import functions
from gradcheck.runner import undisturbed
from gradcheck.strategies import points
from gradcheck.subjects import Array, Case, Subject, Tape, generator
from gradcheck.targets import find

try:
    from .wild import WILD
except ImportError:                                        # run by pytest, which puts this folder on the path
    sys.path.insert(0, str(Path(__file__).parent))
    from wild import WILD

SEEN = 3e-7               # of an array's largest entry: a change beyond it must be found, and one below it may be
ROUNDING = 1e-12          # of the case's largest entry: beside it, an array is 0 for all that can be told
OUTPUTS = 9               # changes of what a layer returns, drawn for each …
SOURCES = 5               # … and mutants of its source

WILD_KINDS = {            # what the wild defects are, where they are something
    "only_the_first_upstream": "upstream", "upstream_ignored": "upstream", "a_constant_factor": "factor", "mean_for_sum": "mean for sum",
    "a_batch_mean_for_some": "sum for mean", "a_sign_in_one_argument": "sign", "softmax_entry_by_entry": "partial", "a_mean_term_is_missing": "term",
    "derivative_at_the_wrong_quantity": "slope", "outputs_in_each_other_s_slots": "another's", "a_gradient_is_missing": "missing",
    "rows_for_columns": "factor", "broadcast_axes_not_summed": "unsummed", "right_for_one_row": "partial", "shared_heads_counted_once": "partial",
    "a_conjugate_is_missing": "conjugate", "normalised_by_the_micro_batch": "mean for sum", "the_second_output_is_forgotten": "upstream",
    "a_stride_that_leaves_a_remainder": "reordered",
}


class Finding(NamedTuple):
    """One defect of one array: what it is, what was said, and whether the rest was right."""
    source: str               # "output", "source" or "wild"
    where: str
    truth: str                # the pattern's name; "" where nobody knows it
    said: str
    array: bool               # whether the arrays accused are those that are wrong
    entry: bool               # whether the worst entry is wrong
    holds: bool               # whether what was said is so: it is the truth, or holds at other points with exact cotangents


# defects on the way out ----------------------------------------------------------------------------------------------------------

Change = Callable[[Array, Subject, str], Array]


def _noise(d: Array, s: Subject, k: str) -> Array:
    return d * (1 + 0.1 * s.rng("noisy", k).standard_normal(d.shape))


def _entry(d: Array, s: Subject, k: str) -> Array:
    wrong = d.copy()
    wrong.flat[int(s.rng("one", k).integers(d.size))] += 0.37 * np.max(np.abs(d))
    return wrong


def _batch(s: Subject) -> int:
    return s.primals[s.inputs[0]].shape[0]


CHANGES: dict[str, tuple[str, Change]] = {
    "−1": ("sign", lambda d, s, k: -d),
    "½": ("factor", lambda d, s, k: 0.5 * d),
    "2": ("factor", lambda d, s, k: 2 * d),
    "1 + 1e-6": ("factor", lambda d, s, k: (1 + 1e-6) * d),
    "1/n": ("mean for sum", lambda d, s, k: d / _batch(s)),
    "n": ("sum for mean", lambda d, s, k: d * _batch(s)),
    "√n": ("scale", lambda d, s, k: d * np.sqrt(_batch(s))),
    "0": ("zero", lambda d, s, k: 0 * d),
    "none": ("missing", lambda d, s, k: None),                             # type: ignore[dict-item, return-value]
    "back to front": ("reordered", lambda d, s, k: np.flip(d, -1)),
    "shifted": ("reordered", lambda d, s, k: np.roll(d, 1, 0)),
    "the first place 0": ("some zero", lambda d, s, k: np.concatenate([0 * d[:1], d[1:]])),
    "in float32": ("narrow", lambda d, s, k: d.astype(np.float32).astype(d.dtype)),
    "averaged": ("summed", lambda d, s, k: np.broadcast_to(d.mean(-1, keepdims=True), d.shape).copy()),
    "a term": ("term", lambda d, s, k: d + d.mean(-1, keepdims=True)),
    "noise": (UNRECOGNISED, _noise),
    "one entry": (UNRECOGNISED, _entry),
    "a square": (UNRECOGNISED, lambda d, s, k: d + 0.3 * d * d * np.sign(np.roll(d.ravel(), 3)).reshape(d.shape)),
}


@dataclass
class Outgoing:
    """A tape whose cotangent of one primal is changed on the way out."""
    tape: Tape
    k: str
    change: Callable[[Array], Any]

    def forward(self, primals: Any) -> tuple[Array, ...]:
        return self.tape.forward(primals)

    def backward(self, *dys: Array) -> dict[str, Array | None]:
        d = self.tape.backward(*dys)
        return {**d, self.k: self.change(d[self.k])}       # type: ignore[arg-type]


def outgoing(s: Subject, k: str, change: Change) -> Subject:
    """The subject with one cotangent changed, here and wherever it is rebuilt."""
    return replace(s, tape=lambda: Outgoing(s.tape(), k, lambda d: change(d, s, k)), rebuild=lambda point: outgoing(s.rebuild(point), k, change))   # type: ignore[misc]


# what is so ----------------------------------------------------------------------------------------------------------------------

def exact(s: Subject, right: Subject) -> Picture:
    """A case seen whole without any difference: the truth is what the unchanged layer says, for the upstream and output by output."""
    rng = generator("exact", s.name, s.point.seed)
    ys = right(right.primals)
    dys = upstream(rng, ys)
    claimed, true = s.pullback(s.primals, dys), right.pullback(right.primals, dys)
    flat = np.concatenate([dy.ravel() for dy in dys])
    part: dict[str, list[Array]] = {k: [] for k in s.differentiable}
    for o in range(len(flat)):
        one = np.split(np.where(np.arange(len(flat)) == o, flat, 0), np.cumsum([dy.size for dy in dys])[:-1])
        d = right.pullback(right.primals, [a.reshape(dy.shape) for a, dy in zip(one, dys, strict=True)])
        for k in part:
            part[k].append(np.asarray(d[k]))

    def before(share: float) -> Any:
        return s.pullback({k: np.asarray(share * x, x.dtype) for k, x in s.primals.items()}, dys), s.pullback(s.primals, dys)

    bound = {k: 1e-13 * np.max(np.abs(true[k]), initial=0.0) * np.ones(s.primals[k].shape) for k in part}          # type: ignore[arg-type]
    return Picture(s.primals, {k: claimed.get(k) for k in part}, {k: np.stack(v) for k, v in part.items()}, {k: np.asarray(true[k]) for k in part}, bound,
                   flat, np.concatenate([y.ravel() for y in ys]), tuple(y.shape for y in ys), axes_of(right, ys), s.point.sizes, before,
                   partial(jolted, s, s.differentiable, dys), partial(elsewhere, s))


def differs(s: Subject, right: Subject, k: str) -> bool:
    """Whether the claims differ by enough to be seen. One that is missing says that it is zero, which here it may be."""
    dys = upstream(s.rng("differs"), right(right.primals))
    a, b = s.pullback(s.primals, dys).get(k), np.asarray(right.pullback(right.primals, dys)[k])
    if a is not None and np.shape(a) != b.shape:
        return True
    largest = {j: np.max(np.abs(d) * scale(s.primals[j]), initial=0.0) for j, d in right.pullback(right.primals, dys).items() if d is not None}
    off = np.max(np.abs((0 if a is None else a) - b) * scale(s.primals[k]), initial=0.0)
    return not off <= max(SEEN * largest[k], ROUNDING * max(largest.values()))      # what is not a number differs


def judged(s: Subject) -> dict[str, Evidence]:
    return {e.primal: e for e in CHECKS["adjoint"].run(s)}


def diagnosed(s: Subject, e: Evidence) -> tuple[str, Evidence]:
    """The pattern's name, and the evidence as it would be shown."""
    trials = [Trial(s), *map(Trial, telling(s))]
    here, *others = [picture(t.field, t.claims, t.subject.rng("picture")) for t in trials]
    seen = [p for p in (here, *others) if p]
    return recognise(aligned(seen), e.primal).name, located(e, here, seen[here is not None:], lambda: Trial(s).looking(e.primal))


def really(e: Evidence, s: Subject, right: Subject) -> bool:
    """Whether the worst entry is one that the change made wrong, asked of the unchanged layer."""
    if not e.worst:                                        # of a cotangent that is missing, or of another shape, no entry is named
        d = s.pullback(s.primals, upstream(s.rng("really"), right(right.primals)))[e.primal]
        return d is None or np.shape(d) != s.primals[e.primal].shape
    fresh = [upstream(s.rng("really", i), right(right.primals)) for i in range(3)]
    pairs = [(s.pullback(s.primals, dys)[e.primal], right.pullback(right.primals, dys)[e.primal]) for dys in fresh]
    at = e.worst[0].index
    return any(a is None or a[at] != b[at] for a, b in pairs)                # type: ignore[index]


# the three sources ----------------------------------------------------------------------------------------------------------------

def _places(case: Case, count: int) -> Iterator[Subject]:
    """A few subjects that are small, and not too small."""
    made = (case.subject(point) for point in points(case, 40, seed=5))
    good = (s for s in made if s.rebuild and s.inputs and 8 <= sum(s.primals[k].size for k in s.differentiable) <= 150
            and any(_wide(s.primals[k]) for k in s.differentiable))
    yield from (s for _, s in zip(range(count), good, strict=False))


def _wide(x: Array) -> bool:
    """Whether each of its axes has places enough to be told from another."""
    return x.ndim > 0 and min(x.shape) > 1


def of_output(case: Case) -> Iterator[Finding]:
    """Every change of one array of a layer, drawn anew for each."""
    rng = generator("confusion", case.name)
    for right in _places(case, 1):
        for how in rng.choice(list(CHANGES), OUTPUTS, replace=False):
            truth, change = CHANGES[how]
            k = str(rng.choice([k for k in right.differentiable if _wide(right.primals[k])]))
            s = outgoing(right, k, change)
            if differs(s, right, k):
                yield from found("output", f"{case.name} d{k} {how}", truth, s, right, lambda s, k=k, change=change: _remade(s, k, change))   # type: ignore[misc]


def _remade(s: Subject, k: str, change: Change) -> Subject:
    """The right layer at the point of a changed one."""
    inner = s.tape
    return replace(s, tape=lambda: inner().tape, rebuild=None)               # type: ignore[attr-defined]


@dataclass
class Undone:
    """A tape that runs with a mutant taken out."""
    tape: Tape
    swapped: Sequence[Swap]

    def forward(self, primals: Any) -> tuple[Array, ...]:
        return self._undone(lambda: self.tape.forward(primals))

    def backward(self, *dys: Array) -> dict[str, Array | None]:
        return self._undone(lambda: self.tape.backward(*dys))

    def _undone(self, run: Callable[[], Any]) -> Any:
        for f, before, _ in self.swapped:
            f.__code__ = before
        try:
            return run()
        finally:
            for f, _, after in self.swapped:
                f.__code__ = after


def of_source(case: Case) -> Iterator[Finding]:
    """Mutants of a layer's source: what is said of them must hold elsewhere too."""
    rng, places = generator("sources", case.name), list(_places(case, 1))
    mutants = [(code, e) for code in functions(case) for e in edits(code)]
    for i in rng.permutation(len(mutants))[:SOURCES] if places else ():
        code, edit = mutants[int(i)]
        new = recompiled(code, edit)
        if new is not None:
            swapped = swaps(code, new)
            with installed(code, new):
                try:
                    s = places[0]
                    right = undone(s, swapped)
                    if any(differs(s, right, k) for k in s.differentiable):
                        where = f"{case.name} {Path(edit.file).name}:{edit.line} {edit.kind}"
                        yield from found("source", where, None, s, right, partial(undone, swapped=swapped))
                except Exception:                          # a mutant that raises is an error, and needs no diagnosis
                    continue


def undone(s: Subject, swapped: Sequence[Swap]) -> Subject:
    return replace(s, tape=lambda: Undone(s.tape(), swapped))


def of_wild(name: str) -> Iterator[Finding]:
    """A wild defect, at the first point where `adjoint` sees it."""
    wrong, twin = WILD[name].case(True), WILD[name].case(False)
    for point in points(wrong, 12, seed=3):
        s, right = wrong.subject(point), twin.subject(point)
        if any(e.verdict is Verdict.FAIL for e in judged(s).values()):
            yield from found("wild", name, WILD_KINDS.get(name, ""), s, right, lambda s: twin.subject(s.point))
            return


def found(source: str, where: str, truth: str | None, s: Subject, right: Subject, righted: Callable[[Subject], Subject]) -> Iterator[Finding]:
    """What is said of each array that fails. `truth`: None where only other points can tell; `righted`: the right layer there."""
    seen = judged(s)
    failing = {k for k, e in seen.items() if e.verdict is Verdict.FAIL}
    array = failing == {k for k in s.differentiable if differs(s, right, k)}
    for k in sorted(failing):
        said, e = diagnosed(s, seen[k])
        there = [t.at(seed=t.point.seed + 100) for t in telling(s)]
        elsewhere = recognise(aligned([exact(t, righted(t)) for t in there]), k).name if there and "unsummed" not in (said, truth) else said
        so = elsewhere if truth in (None, "") else truth
        yield Finding(source, f"{where}, d{k}", so or "", said, array, really(e, s, right), said in (so, elsewhere))


# the table --------------------------------------------------------------------------------------------------------------------------

def table(cases: Sequence[Case] | None = None, wild: bool = True) -> Iterator[Finding]:
    """All findings; plain data."""
    with undisturbed(), np.errstate(all="ignore"):
        for name in WILD if wild else ():
            yield from of_wild(name)
        for case in find("layers").cases if cases is None else cases:
            yield from (*of_output(case), *of_source(case))


SOURCE = {"wild": "wild defects", "output": "mutants of what a layer returns", "source": "mutants of a layer's source"}


def counted(findings: Sequence[Finding]) -> dict[str, int]:
    """How many are as they should be."""
    known = [f for f in findings if f.truth not in ("", UNRECOGNISED)]
    none = [f for f in findings if f.truth == UNRECOGNISED]
    return {"defects": len(findings), "arrays right": sum(f.array for f in findings), "worst entries really wrong": sum(f.entry for f in findings),
            "with a pattern": len(known), "named rightly": sum(f.holds for f in known), "not recognised": sum(f.said == UNRECOGNISED for f in known),
            "without one": len(none), "named all the same": sum(not f.holds for f in none)}


def summary(findings: Sequence[Finding]) -> dict[str, Any]:
    """The numbers, for each kind of defects too, and every finding that is not as it should be."""
    return {**counted(findings), "kinds": {said: counted([f for f in findings if f.source == source]) for source, said in SOURCE.items()},
            "confusion": {f"{truth} → {said}": n for (truth, said), n in sorted(Counter((f.truth, f.said) for f in findings).items())},
            "to be looked at": [f._asdict() for f in findings if not (f.array and f.entry and f.holds)]}


def main() -> None:
    names = set(sys.argv[1:])
    cases = [c for c in find("layers").cases if not names or c.name in names]
    for k, v in summary(list(table(cases, wild=not names))).items():
        rows = [f"{name}: {n}" for name, n in v.items()] if isinstance(v, dict) else list(map(str, v)) if isinstance(v, list) else None
        print(f"{k}: {v}" if rows is None else "\n  ".join([f"{k}:", *rows]))


if __name__ == "__main__":
    main()
