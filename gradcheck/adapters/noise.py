"""Hold every source of randomness that foreign code may use without asking, and put it back as it was."""
from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.random import bit_generator as _entropy


@contextmanager
def held(seed: int) -> Iterator[None]:
    """Within it `random`, `np.random`, unseeded `default_rng()` and torch (if loaded) all start from `seed`.

    Afterwards the global generators are where they were. It cannot hold what reads the operating system's entropy itself.
    """
    before, legacy, torch = random.getstate(), np.random.get_state(legacy=False), sys.modules.get("torch")
    entropy, words = _entropy.randbits, random.Random(seed)                       # type: ignore[attr-defined]
    torch_before = torch.random.get_rng_state() if torch else None
    try:
        random.seed(seed)
        np.random.seed(seed % 2 ** 32)
        # an unseeded generator asks this function for its seed, however `default_rng` was imported
        _set_entropy(words.getrandbits)
        if torch:
            torch.manual_seed(seed % 2 ** 63)
        yield
    finally:
        random.setstate(before)
        np.random.set_state(legacy)
        _set_entropy(entropy)
        if torch:
            torch.random.set_rng_state(torch_before)


def _set_entropy(function: Any) -> None:
    _entropy.randbits = function                                                  # type: ignore[attr-defined]
