"""A small case seen whole: every entry of every cotangent, claimed and measured, and what each output contributes to it."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from time import perf_counter

import numpy as np

from .. import differences
from ..evidence import Entry
from ..inner import Array, scale, signs
from ..law import Law, Side, Size
from ..probes import MARGIN, Field, Probe
from ..subjects import Subject

CALLS = 16                # forwards of one difference ladder
SMALL = 200               # entries of a case that are measured one by one, at 16 forwards each
SECONDS = 10.0            # that a picture may take …
TIMED = 3                 # … by the first of so many calls that is fast enough: on a busy machine one alone may have to wait
CELLS = 200_000           # entries × outputs that are kept
FITS = 0.01               # of the discrepancy: what a pattern may leave unexplained

Claims = Callable[[Sequence[Array]], Mapping[str, Array | None]]


@dataclass(frozen=True)
class Picture:
    """All cotangents of one case for one upstream. Outputs are one flat axis, o; `dy` is 0 where an output cannot be measured.

    part[k] (o, *shape): what output o contributes to the true cotangent of k, so that `pull(k, u)` is the cotangent for any upstream u.
    """
    x: Mapping[str, Array]
    claimed: Mapping[str, Array | None]
    part: Mapping[str, Array]
    true: Mapping[str, Array]
    bound: Mapping[str, Array]
    dy: Array                                          # (o,)
    y: Array                                           # (o,)
    shapes: tuple[tuple[int, ...], ...]                # of the outputs
    axes: Mapping[str, tuple[str, ...]]                # names of every array's axes; of the outputs under "", "1", "2", …
    sizes: Mapping[str, Size]
    before: Callable[[float], tuple[Mapping[str, Array | None], Mapping[str, Array | None]]]   # the claims of a call at smaller primals; those here after it
    moved: Callable[[float], Mapping[str, Array | None]]                                       # the claims after all that is read has moved by this share
    elsewhere: Callable[[Mapping[str, Array], Callable[[Array], Array]], Mapping[str, Array | None]]        # at other primals, for an upstream of the outputs

    def pull(self, k: str, u: Array) -> Array:
        """The true cotangent of `k` for the upstream `u` (o,), as far as outputs were measured."""
        weight = np.divide(u, self.dy, out=np.zeros(len(u), np.result_type(u, self.dy)), where=self.dy != 0)
        return np.asarray(np.tensordot(weight, self.part[k], 1))

    def claim(self, k: str) -> Array:
        """The claimed cotangent; zero where there is none, or none of its primal's shape."""
        return np.zeros(self.x[k].shape) if self.misshapen(k) else np.asarray(self.claimed[k])

    def misshapen(self, k: str) -> bool:
        """Whether there is no claim of the primal's shape."""
        d = self.claimed[k]
        return d is None or np.shape(d) != self.x[k].shape

    def wrong(self, k: str) -> Array:
        """Which entries of the claim cannot be right."""
        d = self.claim(k)
        eps = float(np.finfo(d.dtype).eps) if d.dtype.kind in "fc" else 0.0
        limit = MARGIN * (self.bound[k] + eps * (np.abs(self.true[k]) + np.max(np.abs(self.true[k]), initial=0.0)))
        return np.asarray(~(np.abs(d - self.true[k]) <= limit))

    def entries(self, k: str) -> list[Entry]:
        d = self.claim(k)
        return [Entry(tuple(map(int, i)), float(d[i].real), float(self.true[k][i].real), float(self.bound[k][i])) for i in np.ndindex(d.shape)]

    def fits(self, k: str, predicted: Array) -> bool:
        """Whether the claim is what is predicted, to a hundredth of what it is off by, and entry by entry."""
        d, t = self.claim(k), self.true[k]
        if predicted.shape != d.shape or not np.isfinite(predicted).all() or not np.isfinite(d).all():
            return False
        left, off = np.abs(predicted - d), np.abs(d - t)
        most, own = np.max(off, initial=0.0), np.maximum(np.abs(d), np.abs(predicted))
        return bool(np.all(left <= FITS * most) and np.all(left <= FITS * own + 1e-9 * np.max(own, initial=0.0) + MARGIN * self.bound[k]))

    def shape(self, k: str) -> tuple[int, ...]:
        """Of a primal, or of an output by its number ("" is the first)."""
        return self.x[k].shape if k in self.x else self.shapes[int(k or 0)]

    def outputs(self, u: Array) -> list[Array]:
        """Flat outputs in their shapes."""
        cuts = np.cumsum([int(np.prod(s)) for s in self.shapes])[:-1]
        return [part.reshape(s) for part, s in zip(np.split(u, cuts), self.shapes, strict=True)]

    @cached_property
    def right(self) -> tuple[str, ...]:
        return tuple(k for k in self.claimed if not self.misshapen(k) and not self.wrong(k).any())

    @classmethod
    def of_entries(cls, k: str, x: Array, entries: Sequence[Entry], sizes: Mapping[str, Size]) -> Picture:
        """Some entries of a large cotangent as a picture of its own: nothing is known of the outputs."""
        at = [e.index for e in entries]
        true, claimed, bound = (np.array([getattr(e, name) for e in entries]) for name in ("numeric", "claimed", "bound"))
        none = np.zeros(0)
        return cls({k: np.array([x[i] for i in at])}, {k: claimed}, {}, {k: true}, {k: bound}, none, none, (), {k: ("entry",)}, sizes, lambda share: ({}, {}),
                   lambda share: {}, lambda x, upstream: {})


def picture(field: Field, claims: Claims, rng: np.random.Generator) -> Picture | None:
    """Every entry measured; None where there are too many, or nothing can be measured."""
    s = field.subject
    names = [k for k in s.differentiable if s.primals[k].size]
    entries, outputs = sum(s.primals[k].size for k in names), sum(y.size for y in field.ys)
    if not 0 < entries <= SMALL or entries * outputs > CELLS or outputs > CELLS // 50:
        return None
    if all(CALLS * entries * _seconds(s) > SECONDS for _ in range(TIMED)):
        return None
    dys = field.upstream(rng)
    flat = np.concatenate([dy.ravel() for dy in dys])
    ladders = {k: list(_ladders(field, k, dys, rng)) for k in names}
    kept = np.logical_and.reduce([rung.usable for of in ladders.values() for rung, _ in of])
    if not kept.any():
        return None
    masked = tuple(np.asarray(m, dy.dtype).reshape(dy.shape) for m, dy in zip(_split(flat * kept, dys), dys, strict=True))
    part, true, bound = {}, {}, {}
    for k in names:
        part[k], true[k], bound[k] = _assembled(ladders[k], kept, s.primals[k])
    mine = claims(masked)

    def before(share: float) -> tuple[Mapping[str, Array | None], Mapping[str, Array | None]]:
        smaller = {k: np.asarray(share * x, x.dtype) if k in names else x for k, x in s.primals.items()}
        with np.errstate(all="ignore"):
            return s.pullback(smaller, [np.asarray(share * dy, dy.dtype) for dy in masked]), claims(masked)

    return Picture(s.primals, {k: mine.get(k) for k in names}, part, true, bound, flat * kept, np.concatenate([y.ravel() for y in field.ys]),
                   tuple(y.shape for y in field.ys), axes_of(s, field.ys), s.point.sizes, before, partial(jolted, s, names, masked), partial(elsewhere, s))


def jolted(s: Subject, names: Sequence[str], dys: Sequence[Array], share: float) -> Mapping[str, Array | None]:
    """The claims where each number that the pullback reads is larger or smaller by a share of it of its own."""
    rng = s.rng("jolted")

    def near(x: Array) -> Array:
        return np.asarray(x * (1 + share * signs(rng, x.shape)), x.dtype)

    with np.errstate(all="ignore"):
        return s.pullback({k: near(x) if k in names else x for k, x in s.primals.items()}, [near(dy) for dy in dys])


def elsewhere(s: Subject, x: Mapping[str, Array], upstream: Callable[[Array], Array]) -> Mapping[str, Array | None]:
    """The claims at other primals, for an upstream that is made of the outputs there; none where the layer refuses."""
    try:
        with np.errstate(all="ignore"):
            ys = s(dict(x))
            flat = upstream(np.concatenate([y.ravel() for y in ys]))
            return s.pullback(dict(x), [np.asarray(dy, y.dtype).reshape(y.shape) for dy, y in zip(_split(flat, ys), ys, strict=True)])
    except Exception:
        return {}


def _seconds(s: Subject) -> float:
    """What one forward takes."""
    began, _ = perf_counter(), s(s.primals)
    return perf_counter() - began


def _ladders(field: Field, k: str, dys: Sequence[Array], rng: np.random.Generator) -> Iterator[tuple[differences.Ladder, float]]:
    """One ladder for each entry, or two where it is complex, with its step."""
    s = field.subject
    x, steps = s.primals[k], scale(s.primals[k])
    here = np.concatenate([(np.conj(dy) * y).real.ravel() for dy, y in zip(dys, field.ys, strict=True)])
    for i in np.ndindex(x.shape):
        for unit in (1.0, 1j) if np.iscomplexobj(x) else (1.0,):
            v = np.zeros(x.shape, x.dtype if np.iscomplexobj(x) else np.float64)
            v[i] = unit * steps[i]
            probe = Probe({k: v}, tuple(dys))
            yield differences.climb(field.curve(probe), here, field.noise(probe), field.precision, rng), float(steps[i])


def _assembled(ladders: Sequence[tuple[differences.Ladder, float]], kept: Array, x: Array) -> tuple[Array, Array, Array]:
    """What each output contributes to each entry, their sums, and how far those may be off."""
    each = [differences.extrapolate(rung).value * kept / step for rung, step in ladders]
    sums = [differences.extrapolate(rung.total(kept)) for rung, _ in ladders]
    values = [float(f.value[0]) / step for f, (_, step) in zip(sums, ladders, strict=True)]
    bounds = [float(f.bound[0]) / step for f, (_, step) in zip(sums, ladders, strict=True)]
    if np.iscomplexobj(x):
        each, values = [a + 1j * b for a, b in zip(each[::2], each[1::2], strict=True)], [a + 1j * b for a, b in zip(values[::2], values[1::2], strict=True)]  # type: ignore[misc]
        bounds = [a + b for a, b in zip(bounds[::2], bounds[1::2], strict=True)]
    part = np.where(kept[:, None], np.nan_to_num(np.stack(each, 1)), 0)
    return part.reshape(-1, *x.shape), np.array(values).reshape(x.shape), np.array(bounds).reshape(x.shape)


def _split(flat: Array, like: Sequence[Array]) -> list[Array]:
    return np.split(flat, np.cumsum([a.size for a in like])[:-1])


def aligned(pictures: Sequence[Picture]) -> list[Picture]:
    """The pictures, an axis that nobody named bearing the name of the only one that has its size in all of them."""
    sizes = [{a: n for a, n in p.sizes.items() if isinstance(n, int)} for p in pictures]

    def name(k: str, i: int, now: str) -> str:
        if not now.startswith("axis ") or any(len(p.axes[k]) != len(pictures[0].axes[k]) for p in pictures):
            return now
        fits = [a for a in sizes[0] if all(a in of and of[a] == p.shape(k)[i] for p, of in zip(pictures, sizes, strict=True))]
        return fits[0] if len(fits) == 1 and fits[0] not in pictures[0].axes[k] else now

    named = {k: tuple(name(k, i, now) for i, now in enumerate(axes)) for k, axes in pictures[0].axes.items()} if pictures else {}
    named = {k: v if len(set(v)) == len(v) else pictures[0].axes[k] for k, v in named.items()}
    return [replace(p, axes={k: named[k] if len(named.get(k, ())) == len(v) else v for k, v in p.axes.items()}) for p in pictures]


def axes_of(s: Subject, ys: Sequence[Array]) -> dict[str, tuple[str, ...]]:
    """A name for every axis of every array, from the law or the ledger; its number where nobody named it."""
    found = _declared(s)
    arrays = {**s.primals, **{str(i or ""): y for i, y in enumerate(ys)}}
    return {k: _named(found.get(k, ""), a.shape) for k, a in arrays.items()}


def _declared(s: Subject) -> dict[str, str]:
    try:
        lines = [line for line in s.ledger() if line.role in ("input", "parameter", "output")] if s.ledger else []
    except Exception:                                      # a layer that fails here fails in the checks, which say how
        lines = []
    outputs = [line for line in lines if line.role == "output"]
    named = {n: line.axes for line in lines if line.role != "output" for n in [line.name]}
    named |= {str(i or ""): line.axes for i, line in enumerate(outputs)}
    law = s.law if isinstance(s.law, Law) else None
    return named | ({k: _terms(side) for k, side in zip(s.inputs, law.sides(len(s.inputs)), strict=False)} if law else {})


def _terms(side: Side) -> str:
    return " ".join(map(str, side.terms))


def _named(text: str, shape: tuple[int, ...]) -> tuple[str, ...]:
    """The words of a side, one for each axis, `*` being as many as are left; the number of an axis that has none of its own."""
    words = [w for word in text.split() for w in ([""] * (len(shape) + 1 - len(text.split())) if word == "*" else [word])]
    words = words if len(words) == len(shape) else [""] * len(shape)
    return tuple(w if w.isidentifier() and words.count(w) == 1 else f"axis {i}" for i, w in enumerate(words))
