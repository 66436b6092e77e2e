"""What each kind of mistake would make of the truth: a function each, from a picture and an array's name to readings and their predictions."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, permutations
from typing import NamedTuple

import numpy as np

from ..inner import Array
from .pictures import FITS, Picture

Guess = tuple[str, Array | None]                       # a reading in words, and the cotangent that it predicts; None: the claim, whatever it is
LAST = "the last axis"     # for layers of any rank, where it has no other name
OWN = "a number of its own at every point"
NEARLY = 1e-3             # from 1: a factor that is written as a difference from it


def _axes(p: Picture, k: str) -> Iterator[tuple[int, str]]:
    """The axes of `k` that have more than one place, by their names."""
    wide = [a for a, n in enumerate(p.x[k].shape) if n > 1]
    yield from ((a, p.axes[k][a]) for a in wide)
    yield from ((a, LAST) for a in wide if a == p.x[k].ndim - 1)


def same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and bool(np.all(np.abs(a - b) <= 1e-12 * np.max(np.abs(b), initial=0.0)))


# what each predicts --------------------------------------------------------------------------------------------------------------

def missing(p: Picture, k: str) -> Iterator[Guess]:
    if p.claimed[k] is None:
        yield "", p.claim(k)


def unsummed(p: Picture, k: str) -> Iterator[Guess]:
    """The claim has axes more than its primal; summed, it is right."""
    d, t = p.claimed[k], p.true[k]
    if d is None or np.ndim(d) < t.ndim:
        return
    for axes in (c for r in range(1, np.ndim(d) + 1) for c in combinations(range(np.ndim(d)), r)):
        total = np.sum(d, axis=axes)
        if total.size == t.size and np.allclose(total.reshape(t.shape), t, rtol=FITS, atol=FITS * np.max(np.abs(t), initial=0.0)):
            names = p.axes.get("", ()) if np.ndim(d) == len(p.axes.get("", ())) else ()
            yield " and ".join(names[a] if names else f"its axis {a}" for a in axes), p.claim(k)


def laid_out(p: Picture, k: str) -> Iterator[Guess]:
    """The right entries in another shape."""
    d, t = p.claimed[k], p.true[k]
    if d is None or not p.misshapen(k) or np.size(d) != t.size:
        return
    room = FITS * np.max(np.abs(t), initial=0.0)
    for words, form in {"transposed": np.transpose(d), "reshaped": np.asarray(d)}.items():
        if (form.shape == t.shape or words == "reshaped") and np.allclose(form.reshape(t.shape), t, rtol=FITS, atol=room):
            yield f"{words}: of shape {np.shape(d)}", p.claim(k)


def zero(p: Picture, k: str) -> Iterator[Guess]:
    if not p.misshapen(k):
        yield "", np.zeros(p.x[k].shape)


def factor(p: Picture, k: str) -> Iterator[Guess]:
    """One ratio for all entries, read as a number and as all that has that value here."""
    d, t = p.claim(k), p.true[k]
    large = np.abs(t) > 1e-3 * np.max(np.abs(t), initial=0.0)
    if np.iscomplexobj(d) or not large.any():
        return
    common = float(np.median(d[large] / t[large]))
    if common == 0 or not np.isfinite(common):
        return
    yield from ((said, common * t) for said in _named(common, p))
    if large.sum() > 1:
        yield OWN, common * t


POWERS = {"1/{}": -1.0, "{}": 1.0, "1/√{}": -0.5, "√{}": 0.5}
EXACT, LARGE = 1e-6, 1024 # whole numbers of which a factor is not taken for the root, or the inverse


def _named(factor: float, p: Picture) -> Iterator[str]:
    """The number, then what it is of the sizes of axes: one, its root or inverse, before the ratio or product of several."""
    sign, size = "−" if factor < 0 else "", abs(factor)
    yield f"{sign}(1 {'+' if size > 1 else '−'} {abs(size - 1):.2g})" if 1e-9 < abs(size - 1) < NEARLY else f"{sign}{size:.5g}"
    axes = {a: n for a, n in sizes_of(p).items() if n > 1}
    pairs, triples = ({f"({' · '.join(of)})": int(np.prod([axes[a] for a in of])) for of in combinations(axes, r)} for r in (2, 3))
    ratios = {f"{a}/{b}": axes[a] / axes[b] for a, b in permutations(axes, 2)}
    less = {form.format(a): value for a, n in axes.items()
            for form, value in {"{0}/({0} − 1)": n / (n - 1), "({0} − 1)/{0}": (n - 1) / n, "1/({0} − 1)": 1 / (n - 1), "({0} − 1)": n - 1}.items()}
    one, two, three = ({form.format(a): n**power for form, power in POWERS.items() for a, n in of.items()} for of in (axes, pairs, triples))
    yield from (sign + said for said, value in {**one, **ratios, **two, **less, **three}.items() if abs(size - value) <= 1e-4 * value)
    if abs(float(f"{size:.5g}") - size) > EXACT * size:                # five digits do not say it all
        whole = {form: size ** (1 / power) for form, power in POWERS.items()}
        yield from (sign + form.format(round(n)) for form, n in whole.items() if 1 < n < LARGE and abs(n - round(n)) <= EXACT * n)


def sizes_of(p: Picture) -> dict[str, int]:
    """The sizes of the axes that have a name, and where `*` stands for any number of them, of the first output's that have none."""
    named = {a: n for a, n in p.sizes.items() if isinstance(n, int)}
    any_rank = p.shapes and len(named) < len(p.sizes)
    return named | ({a: n for a, n in zip(p.axes[""], p.shapes[0], strict=True) if a not in named} if any_rank else {})


SHIFTS = (1, -1, 2, -2)


def reordered(p: Picture, k: str) -> Iterator[Guess]:
    """The right entries in other places."""
    t, names = p.true[k], p.axes[k]
    orders = list(permutations(range(t.ndim)))[1:] if 1 < t.ndim < 5 else []
    for order in orders:
        said = " ".join(names[a] for a in order)
        if tuple(t.shape[a] for a in order) == t.shape:
            yield f"transposed, as if its axes were {said}", t.transpose(order)
        yield f"laid out as if its axes were {said}", t.transpose(order).reshape(t.shape)
        yield f"read as if its axes were {said}", t.reshape([t.shape[a] for a in order]).transpose(np.argsort(order))
    for a, name in _axes(p, k):
        yield f"back to front along {name}", np.flip(t, a)
        yield from ((f"shifted by {s:+d} along {name}", np.roll(t, s, a)) for s in SHIFTS if abs(s) < t.shape[a])
        for s in (s for s in SHIFTS if abs(s) < t.shape[a]):
            moved, fill = np.roll(t, s, a), np.s_[:s] if s > 0 else np.s_[s:]
            at = (slice(None),) * a + (fill,)
            for said, new in {"zeros": 0, "other values": p.claim(k)[at]}.items():
                moved[at] = new
                if not same(np.delete(moved, fill, a), np.delete(t, fill, a)):        # or nothing but the border is known to be wrong
                    yield f"shifted by {s:+d} along {name}, with {said} moved in", moved.copy() if 2 * abs(s) <= t.shape[a] else None


def another(p: Picture, k: str) -> Iterator[Guess]:
    for other, t in p.true.items():
        if other != k and t.shape == p.x[k].shape:
            d = p.claimed[other]
            swapped = d is not None and p.fits(other, p.true[k]) if p.true[k].shape == p.x[other].shape else False
            yield f"d{other}" + (f", and d{other} that of d{k}" if swapped else ""), t


def upstream(p: Picture, k: str) -> Iterator[Guess]:
    """What another upstream would give."""
    yield from ((said, p.pull(k, u)) for said, u in _upstreams(p))


def _upstreams(p: Picture) -> Iterator[tuple[str, Array]]:
    outs, live = p.outputs(p.dy), p.dy != 0
    yield "1, whatever it is", np.where(live, 1.0, 0)
    yield "its absolute value", np.abs(p.dy)
    yield "its sign", np.sign(p.dy)
    if not np.iscomplexobj(p.dy):
        yield "itself within ±1", np.clip(p.dy, -1, 1)
    yield "its first entry alone", np.where(live, p.dy.ravel()[0], 0)
    yield "its mean", np.where(live, p.dy.mean(), 0)
    yield "its sum", np.where(live, p.dy.sum(), 0)
    for i in range(len(outs)) if len(outs) > 1 else ():
        yield f"0 at output {i + 1} of {len(outs)}", np.concatenate([np.ravel(o * (j != i)) for j, o in enumerate(outs)])
    for i, dy in enumerate(outs):
        for a, name in enumerate(p.axes[str(i or "")]):
            def put(new: Array, i: int = i) -> Array:
                return np.where(live, np.concatenate([np.ravel(np.broadcast_to(new, o.shape) if j == i else o) for j, o in enumerate(outs)]), 0)
            if dy.shape[a] > 1:
                yield f"that of {name}=0 throughout", put(np.take(dy, [0], a))
                yield f"that of {name}=-1 throughout", put(np.take(dy, [-1], a))
                yield f"its mean over {name}", put(dy.mean(a, keepdims=True))
                yield f"its sum over {name}", put(dy.sum(a, keepdims=True))
                yield f"back to front along {name}", put(np.flip(dy, a))
                yield from ((f"shifted by {s:+d} along {name}", put(np.roll(dy, s, a))) for s in SHIFTS if abs(s) < dy.shape[a])
        for a, b in combinations(range(dy.ndim), 2):
            if dy.shape[a] == dy.shape[b] > 1:
                yield f"transposed in {p.axes[str(i or '')][a]} and {p.axes[str(i or '')][b]}", put(np.swapaxes(dy, a, b))


def partial(p: Picture, k: str) -> Iterator[Guess]:
    """The contributions of some outputs alone."""
    start = 0
    for i, shape in enumerate(p.shapes):
        size, names = int(np.prod(shape)), p.axes[str(i or "")]
        own = np.zeros(len(p.dy), bool)
        own[start:start + size], start = True, start + size
        where = np.indices(shape).reshape(len(shape), size)
        for a, name in enumerate(names):
            n = shape[a]
            picks = {f"{name}=0 alone": where[a] == 0, f"{name}=-1 alone": where[a] == n - 1, f"all {name} but the first": where[a] > 0,
                     f"all {name} but the last": where[a] < n - 1, f"every 2nd {name}": where[a] % 2 == 0} if n > 1 else {}
            for said, chosen in picks.items():
                mask = ~own
                mask[own] = chosen
                yield f"{said}", p.pull(k, p.dy * mask)
        for a, b in _alike(p, k, i):
            yield from _matching(p, k, own, where[a], a, b, names[a])


def _alike(p: Picture, k: str, i: int) -> Iterator[tuple[int, int]]:
    """Axes of output i that are axes of `k` as well: by name, or by their place and size where there are none."""
    outs, mine = p.axes[str(i or "")], p.axes[k]
    for a, name in enumerate(outs):
        if p.shapes[i][a] > 1:
            same = [b for b, other in enumerate(mine) if other == name and p.x[k].shape[b] == p.shapes[i][a]]
            yield from ((a, b) for b in same)


MATCHES: dict[str, Callable[[Array, Array], Array]] = {
    "the same {}": np.equal, "another {}": np.not_equal, "later {}, and the same": np.greater_equal, "earlier {}, and the same": np.less_equal}


def _matching(p: Picture, k: str, own: Array, there: Array, a: int, b: int, name: str) -> Iterator[Guess]:
    """The contributions of outputs whose place on an axis stands to that of the entry in some relation."""
    here = np.arange(p.x[k].shape[b]).reshape([-1 if c == b else 1 for c in range(p.x[k].ndim)])
    for said, relation in MATCHES.items():
        mask = relation(there.reshape(-1, *[1] * p.x[k].ndim), here[None])
        yield f"outputs of {said.format(name)} alone", p.true[k] - np.sum(np.where(mask, 0, p.part[k][own]), axis=0)


def overwritten(p: Picture, k: str) -> Iterator[Guess]:
    """Of the contributions along one axis of an output, or two, to each entry the last alone, or the first."""
    start, seen = 0, [p.true[k]]
    for i, shape in enumerate(p.shapes):
        size, names = int(np.prod(shape)), p.axes[str(i or "")]
        parts, start = p.part[k][start:start + size].reshape(*shape, *p.x[k].shape), start + size
        for axes in (c for r in (1, 2) for c in combinations([a for a, n in enumerate(shape) if n > 1], r)):
            rest = tuple(b for b in range(len(shape)) if b not in axes)
            each = parts.sum(rest).reshape(-1, *p.x[k].shape)
            said = " and ".join(names[a] for a in axes)
            for words, order in (("last", each[::-1]), ("first", each)):
                there = np.abs(order) > 1e-9 * np.max(np.abs(order), initial=0.0)
                at = np.argmax(there, axis=0)
                alone = p.true[k] - each.sum(0) + np.take_along_axis(order, at[None], 0)[0]
                if not any(same(alone, other) for other in seen):                     # two axes tell more than one, or nothing
                    seen.append(alone)
                    partial = np.ptp(at[there.any(0)]) == 0 and p.fits(k, alone)       # one place for all entries: as well that place alone
                    yield f"the share of the {words} {said}", None if partial else alone


def spread_sum(p: Picture, k: str) -> Iterator[Guess]:
    """Summed over an axis that the primal has, and spread over it again."""
    t = p.true[k]
    for a, name in _axes(p, k):
        yield f"summed over {name}", np.broadcast_to(t.sum(a, keepdims=True), t.shape)
        yield f"averaged over {name}", np.broadcast_to(t.mean(a, keepdims=True), t.shape)
        yield f"added up along {name}", np.cumsum(t, a)
        yield f"added up backwards along {name}", np.flip(np.cumsum(np.flip(t, a), a), a)


def product(p: Picture, k: str) -> Iterator[Guess]:
    """An array too many, or too few, among the factors."""
    t = p.true[k]
    for name, q in _factors(p, t.shape):
        yield f"{name} is missing among its factors", np.divide(t, q, out=np.zeros(t.shape, np.result_type(t, q, 1.0)), where=q != 0)
        yield f"{name} is a factor too many", t * q
    for name, q in _factors(p, p.shapes[0]) if len(p.shapes) == 1 else ():
        beside = np.broadcast_to(q, p.shapes[0]).ravel()
        yield f"{name} is missing beside the upstream", p.pull(k, np.divide(p.dy, beside, out=np.zeros_like(p.dy), where=beside != 0))
        yield f"{name} is there twice beside the upstream", p.pull(k, p.dy * beside)


def _factors(p: Picture, shape: tuple[int, ...]) -> Iterator[tuple[str, Array]]:
    """The primals, and outputs, that broadcast to a shape and are not the same everywhere."""
    outs = {("y" if len(p.shapes) == 1 else f"y{i + 1}"): y for i, y in enumerate(p.outputs(p.y))}
    for name, q in {**p.x, **outs}.items():
        if q.dtype.kind in "fc" and q.size > 1 and q.ndim <= len(shape) and q.shape == shape[len(shape) - q.ndim:]:
            yield name, q
        elif q.dtype.kind in "fc" and q.size > 1 and q.ndim < len(shape) and q.shape == shape[:q.ndim]:
            yield name, q.reshape(*q.shape, *[1] * (len(shape) - q.ndim))


class Activation(NamedTuple):
    """An elementwise function: its slope by its value, its argument by its value, its value by its argument."""
    of_value: Callable[[Array], Array]
    argument: Callable[[Array], Array]
    value: Callable[[Array], Array]
    said: str


LOGIT = lambda y: np.log(y / (1 - y))
ACTIVATIONS: Mapping[str, Activation] = {
    "tanh": Activation(lambda a: 1 - a**2, np.arctanh, np.tanh, "1 − a²"),
    "sigmoid": Activation(lambda a: a * (1 - a), LOGIT, lambda z: 1 / (1 + np.exp(-z)), "a (1 − a)"),
    "exp": Activation(lambda a: a, np.log, np.exp, "a"),
    "softplus": Activation(lambda a: -np.expm1(-a), lambda a: np.log(np.expm1(a)), lambda z: np.logaddexp(0, z), "1 − exp(−a)"),
    "a square": Activation(lambda a: 2 * np.sqrt(a), np.sqrt, np.square, "2z"),
    "a square root": Activation(lambda a: 1 / (2 * a), np.square, np.sqrt, "1/(2a)"),
}


def _active(p: Picture) -> Iterator[tuple[str, Activation, Array]]:
    """The activations that the outputs may be values of, with their slopes there."""
    live = p.dy != 0
    for name, f in ACTIVATIONS.items():
        slope = f.of_value(p.y)
        if np.isfinite(slope[live]).all() and (slope[live] != 0).all() and np.ptp(slope[live]) > 0:
            yield name, f, slope


def slope(p: Picture, k: str) -> Iterator[Guess]:
    """The upstream divided by the slope of an activation, multiplied once more, or taken at another place."""
    for name, f, slope in _active(p):
        z, again = f.argument(p.y), f.value(p.y)
        yield f"the slope of {name}, {f.said}, is missing", p.pull(k, p.dy / slope)
        yield f"the slope of {name}, {f.said}, is there twice", p.pull(k, p.dy * slope)
        yield f"the slope of {name}, {f.said}, is taken at z, and a = f(z) is meant", p.pull(k, p.dy * f.of_value(z) / slope)
        yield f"the slope of {name} is taken at a = f(z), and z is meant", p.pull(k, p.dy * f.of_value(again) / slope)


def transposed(p: Picture, k: str) -> Iterator[Guess]:
    """J dz for Jᵀ dz, along all axes that primal and output share or along some; dz is the upstream behind an activation, or as it is."""
    shape, rank, seen = p.x[k].shape, p.x[k].ndim, [p.true[k]]
    if len(p.shapes) != 1 or len(p.shapes[0]) != rank or not (p.dy != 0).all():
        return
    alike = [a for a in range(rank) if shape[a] == p.shapes[0][a] > 1]
    for slope in (np.ones(len(p.dy)), *(slope for _, _, slope in _active(p))):
        j = (p.part[k] / (p.dy * slope).reshape(-1, *[1] * rank)).reshape(*p.shapes[0], *shape)
        for axes in (c for r in range(1, rank + 1) for c in combinations(alike, r)):
            order = [(i + rank) % (2 * rank) if i % rank in axes else i for i in range(2 * rank)]
            predicted = np.tensordot((p.dy * slope).reshape(p.shapes[0]), j.transpose(order), rank)
            if not any(same(predicted, other) for other in seen):     # along a batch nothing is exchanged
                seen.append(predicted)
                yield " and ".join(p.axes[k][a] for a in axes), predicted


def arranged(p: Picture, k: str) -> Iterator[Guess]:
    """Right once another array, or it itself, is transposed or back to front: as the layer says where that array is so, in forward too."""
    slopes = [lambda y: np.ones(len(y)), *(f.of_value for _, f, _ in _active(p))]
    for name in p.claimed:
        for said, q in _arrangements(p.x[name], p.axes[name]):
            for slope in slopes:
                d = p.elsewhere({**p.x, name: q}, lambda y, slope=slope: p.dy * slope(p.y) / slope(y)).get(k)     # type: ignore[misc]
                if d is not None and np.shape(d) == p.true[k].shape and np.all(np.abs(d - p.true[k]) <= FITS * np.abs(p.claim(k) - p.true[k]).max()):
                    yield f"{name} {said}", p.claim(k)


def _arrangements(q: Array, names: Sequence[str]) -> Iterator[tuple[str, Array]]:
    """The array in other orders: those in which a layer may have read it, undone."""
    wide = [a for a in range(q.ndim) if q.shape[a] > 1 and q.dtype.kind in "fc"]
    yield from ((f"transposed in {names[a]} and {names[b]}", q.swapaxes(a, b)) for a, b in combinations(wide, 2) if q.shape[a] == q.shape[b])
    yield from ((f"back to front along {' and '.join(names[a] for a in c)}", np.flip(q, c)) for r in (1, 2) for c in combinations(wide, r))
    yield from ((f"shifted by {s:+d} along {names[a]}", np.roll(q, s, a)) for a in wide if q.shape[a] > 2 for s in (1, -1))


def clipped(p: Picture, k: str) -> Iterator[Guess]:
    """Cut off at the largest magnitude that is claimed."""
    d, t = p.claim(k), p.true[k]
    most = np.max(np.abs(d), initial=0.0)
    if not np.iscomplexobj(d) and most and (np.abs(t) > most).any():
        yield f"±{most:.5g}", np.clip(t, -most, most)


def itself(p: Picture, k: str) -> Iterator[Guess]:
    """The upstream as it came."""
    yield from (("", dy) for dy in p.outputs(p.dy) if dy.shape == p.x[k].shape and (dy != 0).all())


def conjugate(p: Picture, k: str) -> Iterator[Guess]:
    if np.iscomplexobj(p.part[k]):
        j = np.divide(np.conj(p.part[k]), np.conj(p.dy).reshape(-1, *[1] * p.x[k].ndim), out=np.zeros_like(p.part[k]),
                      where=(p.dy != 0).reshape(-1, *[1] * p.x[k].ndim))
        yield "", np.tensordot(p.dy, j, 1)
        yield "as a whole", np.conj(p.true[k])


def term(p: Picture, k: str) -> Iterator[Guess]:
    """A term that is constant along axes, or a multiple there of a primal, the output or the upstream."""
    t = p.true[k]
    factors = {f" times {n}": q for n, q in _factors(p, t.shape) if q.shape == t.shape}
    upstream = {f" times dy{i or ''}": dy for i, dy in enumerate(p.outputs(p.dy)) if dy.shape == t.shape}
    return _fitted(p, k, {f"that is one number{n}": [q] for n, q in {"": np.ones(t.shape), **factors, **upstream}.items()})


def detached(p: Picture, k: str) -> Iterator[Guess]:
    """What a mean and a variance would give back: a number, and a multiple of the array, for all that they are taken over."""
    return _fitted(p, k, {f"one number and one multiple of {k}": [np.ones(p.x[k].shape), p.x[k]]})


FEW = 3                   # entries, in which a term is found whatever they are


def _fitted(p: Picture, k: str, bases: Mapping[str, Sequence[Array]]) -> Iterator[Guess]:
    """The truth and what some arrays, each times a number of its own for all of some axes, best explain of the rest."""
    t, off = p.true[k], p.claim(k) - p.true[k]
    wide = list(_axes(p, k)) if np.isfinite(off).all() else []
    for chosen in (c for r in range(len(wide), 0, -1) for c in combinations(wide, r) if len({a for a, _ in c}) == r):
        axes, last = [a for a, _ in chosen], range(-len(chosen), 0)
        moved = np.moveaxis(off, axes, last)
        count = int(np.prod([t.shape[a] for a in axes]))
        for said, of in bases.items():
            each = [np.moveaxis(q, axes, last).reshape(-1, count) for q in of]
            fit = _projected(moved.reshape(-1, count), np.stack(each, -1)) if count > len(of) and t.size > FEW else None
            words = f"{said} for all of {' and '.join(name for _, name in chosen)}"
            yield words, None if fit is None else t + np.moveaxis(fit.reshape(moved.shape), last, axes)


def _projected(off: Array, bases: Array) -> Array:
    """Of each row (g, m) the part that is a combination of its bases (g, m, b)."""
    return np.asarray((bases @ (np.linalg.pinv(bases) @ off[..., None]))[..., 0])


def slices(p: Picture, k: str) -> Iterator[Guess]:
    """A factor for each place on an axis."""
    d, t = p.claim(k), p.true[k]
    for a, name in _axes(p, k):
        rest = tuple(b for b in range(t.ndim) if b != a)
        if t.size // t.shape[a] > 2:
            yield name, t * (np.sum(d * t, rest, keepdims=True) / np.sum(t * t, rest, keepdims=True))


def some_zero(p: Picture, k: str) -> Iterator[Guess]:
    d = p.claim(k)
    yield "", np.where(p.wrong(k), 0, d) if (d[p.wrong(k)] == 0).all() else np.zeros(d.shape)


def inverted(p: Picture, k: str) -> Iterator[Guess]:
    d, t, none = p.claim(k), p.true[k], 1e-9 * np.max(np.abs(p.true[k]), initial=0.0)
    if (np.abs(t) <= none).any() and (np.abs(t) > none).any():
        yield "", d if ((np.abs(d) <= none) != (np.abs(t) <= none)).all() else t


def not_zero(p: Picture, k: str) -> Iterator[Guess]:
    d, t, wrong = p.claim(k), p.true[k], p.wrong(k)
    yield "", d if (np.abs(t[wrong]) <= 1e-7 * np.max(np.abs(d[wrong]), initial=0.0)).all() else t


def narrow(p: Picture, k: str) -> Iterator[Guess]:
    """Every entry is a number of a narrower format, or off by as much as it jumps, by roundings in the middle, while all that is read moves a little."""
    d, t = p.claim(k), p.true[k]
    if d.dtype != np.float64 or not np.isfinite(d).all():
        return
    wrong, off, size = p.wrong(k), np.abs(d - t), np.max(np.abs(t), initial=0.0)
    for dtype, said in NARROW.items():
        eps = float(np.finfo(dtype).eps)
        if np.max(off, initial=0.0) <= 16 * eps * size:
            kept = d.size > 1 and np.array_equal(d.astype(dtype).astype(d.dtype), d)
            if kept or wrong.sum() > 3 and _rough(*(np.median(_roughness(p, k, by)[wrong]) / np.median(off[wrong]) for by in (eps, FAR * eps))):
                yield said, d
                return


NARROW = {"float32": "float32", "float16": "float16 or bfloat16"}
ROUGH, FAR = 0.5, 4       # times its error a claim jumps by at least that is off by its roundings, however far it moves; one off smoothly by moves⁴


def _rough(jump: float, farther: float) -> bool:
    return jump > ROUGH and farther < FAR**3 * jump


def _roughness(p: Picture, k: str, by: float) -> Array:
    """The fourth difference of the claim over near points: eight times its rounding, and next to nothing of what is smooth."""
    near = {h: p.moved(h * by).get(k) for h in (-2, -1, 1, 2)}
    if any(d is None or np.shape(d) != p.x[k].shape for d in near.values()):
        return np.zeros(p.x[k].shape)
    return np.abs(near[-2] + near[2] - 4 * (near[-1] + near[1]) + 6 * p.claim(k))      # type: ignore[operator, no-any-return]


def stale(p: Picture, k: str) -> Iterator[Guess]:
    """What another call was given just before, whatever that was."""
    seen = [(other.get(k), again.get(k)) for other, again in map(p.before, (0.75, 0.5))]
    if all(b is not None and d is not None and np.array_equal(b, d) for b, d in seen) and not np.array_equal(seen[0][0], seen[1][0]):     # type: ignore[arg-type]
        yield "is that of the call before", p.claim(k)
