"""Hold every source of randomness that foreign code may use, its own generators and those of the process, and put these back as they were."""
from __future__ import annotations

import random
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.random import bit_generator as _entropy


@contextmanager
def held(seed: int) -> Iterator[None]:
    """Within it `random`, `np.random`, unseeded `default_rng()` and torch on the CPU (if loaded) all start from `seed`.

    Afterwards the global generators are where they were. It cannot hold what reads the operating system's entropy itself.
    """
    before, legacy, entropy = random.getstate(), np.random.get_state(legacy=False), _entropy.randbits   # type: ignore[attr-defined]
    torch = getattr(sys.modules.get("torch"), "default_generator", None)
    torch_before = torch.get_state() if torch else None
    try:
        random.seed(seed)
        np.random.seed(seed % 2 ** 32)
        if torch:
            torch.manual_seed(seed % 2 ** 63)
        # an unseeded generator asks this function for its seed, however `default_rng` was imported
        _entropy.randbits = random.Random(seed).getrandbits                                             # type: ignore[attr-defined]
        yield
    finally:
        _entropy.randbits = entropy                                                                     # type: ignore[attr-defined]
        random.setstate(before)
        np.random.set_state(legacy)
        if torch:
            torch.set_state(torch_before)


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
