"""Nothing comes from memory that nobody wrote, nor from noise that nobody holds."""
from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..adapters.noise import filled_tensors
from ..answers import Question, attempt, found
from ..evidence import Evidence
from ..inner import Array
from ..subjects import Arrays, Subject
from . import check
from .values import somewhere

FREED = 8                 # arrays of each size that are filled and freed: allocators keep a few of a size for the next request
LARGEST = 80_000          # bytes; larger blocks go back to the system and come back as zeros


@check("state", since="0.1.0")
def seed(s: Subject) -> Iterator[Evidence]:
    """The answer is the same when fresh memory holds NaN, and when the global random generators stand elsewhere.

    `np.empty` and `np.empty_like` give arrays of NaN, or of the largest integer, while the layer runs, and blocks of the
    sizes that it needs are filled with NaN and freed before. A layer that promises the contract draws its noise before
    forward and is handed it: it may not draw from a global generator. Fresh memory is asked for at the point, and once more
    with special values: some entries are left unwritten only where something is zero, or masked.
    Cannot see: memory that C code allocates by itself, an `empty` that was imported by name, a race.
    How to fix: `np.zeros`, or write every entry, the ragged tail included; keep forward's mask for backward.
    """
    wrong = [w for there in filter(None, (s, somewhere(s, "seed"))) for w in _filled_in(Question.at(there, "seed"))]
    yield found("seed", "fresh memory", [f"with NaN in fresh memory {w}" for w in wrong])
    if s.facts.contract:
        plain = Question.at(s, "seed")
        with elsewhere():
            answer = plain.ask()
        wrong = [k for k, a in plain.answer.items() if k not in answer or not plain.near(k, answer[k])]      # what draws has no rounding to measure
        yield found("seed", "global generators", (f"{k} is another when the global generators stand elsewhere" for k in wrong))


def _filled_in(plain: Question) -> Iterator[str]:
    """What departs, or is raised, when fresh memory holds NaN instead of zeros."""
    with fresh(0.0, plain.primals):                        # the reference: recycled memory may hold NaN already, and no difference would show
        known = plain.answer
    with fresh(np.nan, plain.primals, known), filled_tensors():
        answer, raised = attempt(plain.ask)
    yield from [f"it raises {raised}"] if raised else plain.departures(answer)


@contextmanager
def fresh(value: float, *like: Arrays) -> Iterator[None]:
    """Fresh memory is full of `value` inside, blocks of the sizes in `like` among it; what was changed for it is put back whatever happens."""
    kept: dict[str, Any] = {"empty": np.empty, "empty_like": np.empty_like}
    try:
        vars(np).update({name: _filled(make, value) for name, make in kept.items()})
        for x in (x for arrays in like for x in arrays.values() if x.nbytes <= LARGEST):
            _freed(x.nbytes, value)
        yield
    finally:
        vars(np).update(kept)


def _freed(size: int, value: float) -> None:
    """Blocks of so many bytes, filled and given back: of exactly that size, by which NumPy keeps the small ones; all bits set is NaN in every precision."""
    _ = [np.full(size, 255 * np.isnan(value), np.uint8) for _ in range(FREED)]


@contextmanager
def elsewhere() -> Iterator[None]:
    """The global generators stand at another place inside, and where they stood afterwards."""
    legacy, state = np.random.get_state(legacy=False), random.getstate()
    try:
        np.random.seed(int(np.random.randint(2 ** 31)))
        random.seed(random.random())
        yield
    finally:
        np.random.set_state(legacy)
        random.setstate(state)


def _filled(make: Callable[..., Any], value: float) -> Any:
    """`make`, whose array holds `value`; for NaN, the largest integer where it holds integers."""
    def filled(*args: Any, **kwargs: Any) -> Array:
        a: Array = make(*args, **kwargs)
        if a.dtype.kind in "fciu":
            a[...] = np.iinfo(a.dtype).max if np.isnan(value) and a.dtype.kind in "iu" else value
        return a
    return filled
