"""Hold every source of randomness that foreign code may use, its own generators and those of the process, and put these back as they were."""
from __future__ import annotations

import random
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from numpy.random import bit_generator as _entropy


@contextmanager
def held(seed: int) -> Iterator[None]:
    """Within it `random`, `np.random`, unseeded `default_rng()` and torch on the CPU (if loaded) all start from `seed`.

    Afterwards the global generators are where they were, or will be at the end of the `sheltered` block that it is in.
    It cannot hold what reads the operating system's entropy itself.
    """
    entropy = _entropy.randbits                                                                         # type: ignore[attr-defined]
    with sheltered():
        try:
            random.seed(seed)
            np.random.seed(seed % 2 ** 32)
            if torch := _torch():
                torch.manual_seed(seed % 2 ** 63)
            # an unseeded generator asks this function for its seed, however `default_rng` was imported
            _entropy.randbits = _randbits(seed)                                                         # type: ignore[attr-defined]
            yield
        finally:
            _entropy.randbits = entropy                                                                 # type: ignore[attr-defined]


@contextmanager
def sheltered() -> Iterator[None]:
    """Afterwards the global generators are where they were. Within another one nothing is kept: to keep them costs more than a small layer."""
    global _within_another
    if _within_another:
        yield
        return
    before, legacy, torch = random.getstate(), np.random.get_state(legacy=False), _torch()
    torch_before = torch.get_state() if torch else None
    _within_another = True
    try:
        yield
    finally:
        _within_another = False
        random.setstate(before)
        np.random.set_state(legacy)
        if torch:
            torch.set_state(torch_before)


_within_another = False


def _torch() -> Any:
    """torch's generator on the CPU, if torch is loaded."""
    return getattr(sys.modules.get("torch"), "default_generator", None)


def _randbits(seed: int) -> Callable[[int], int]:
    """Entropy from `seed`; the generator behind it is made when it is asked for."""
    made = cache(lambda: random.Random(seed))
    return lambda count: made().getrandbits(count)


@contextmanager
def filled_tensors() -> Iterator[None]:
    """Within it torch, if loaded, fills memory that it hands out unwritten with NaN, or the largest integer: so its deterministic mode does."""
    if (torch := sys.modules.get("torch")) is None:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        torch.use_deterministic_algorithms(True, warn_only=True)
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def rewinds(thing: Any) -> list[Callable[[], Any]]:
    """For each generator that an object holds, however deep, what sets it back to where it is now."""
    return [rewind for found in _within(thing, set()) if (rewind := _rewind(found))]


def _rewind(thing: Any) -> Callable[[], Any] | None:
    if isinstance(thing, np.random.Generator):
        state = thing.bit_generator.state
        return lambda: setattr(thing.bit_generator, "state", state)
    if isinstance(thing, np.random.RandomState):
        words = thing.get_state(legacy=False)
        return lambda: thing.set_state(words)
    if isinstance(thing, random.Random):
        own = thing.getstate()
        return lambda: thing.setstate(own)
    if (torch := sys.modules.get("torch")) and isinstance(thing, torch.Generator):
        drawn = thing.get_state()
        return lambda: thing.set_state(drawn)
    return None


def _within(thing: Any, seen: set[int]) -> Iterator[Any]:
    """The object and all that it holds: attributes, entries, the variables of closures. Modules and classes are not its own."""
    if id(thing) in seen or isinstance(thing, np.ndarray | str | bytes | int | float | type | types.ModuleType | None):
        return
    seen.add(id(thing))
    yield thing
    inside = [*getattr(thing, "__dict__", {}).values(), *(c.cell_contents for c in getattr(thing, "__closure__", None) or () if filled(c))]
    inside += list(thing.values()) if isinstance(thing, dict) else list(thing) if isinstance(thing, list | tuple | set) else []
    for inner in inside:
        yield from _within(inner, seen)


def filled(cell: types.CellType) -> bool:
    """Whether a closure's variable has a value yet."""
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
