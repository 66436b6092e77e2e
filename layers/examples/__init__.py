"""Networks for scikit-learn's handwritten digits: `python -m layers.examples.digits`, `….digits_dropout`, `….digits_conv`.

`--seed` makes a run reproducible, `--slugnet` spells the same network in that library's way.
"""
from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import data
from ..dialects import slugnet
from ..model import Model

Shaped = Callable[[data.Array], data.Array]


@dataclass(frozen=True)
class Example:
    """One network in both spellings, made from a seed, each with the shape of its images (n, 8, 8, 1)."""
    layers: Callable[[int], Model]
    slugnet: Callable[[int], slugnet.Model]
    epochs: int
    shapes: tuple[Shaped, Shaped]

    def run(self, seed: int = 0, in_slugnet: bool = False, progress: bool = False) -> float:
        """Train on four fifths of the digits; the accuracy on the last fifth."""
        (X, y), (X_test, y_test) = data.split(data.digits(), (4, 1), np.random.default_rng(seed))
        shaped, model = self.shapes[in_slugnet], (self.slugnet if in_slugnet else self.layers)(seed)
        if isinstance(model, Model):
            model.fit(shaped(X), y, self.epochs, progress=progress)
        else:
            model.n_epoch, model.progress = self.epochs, progress
            model.fit(shaped(X), y)
        return model.evaluate(shaped(X_test), y_test)["accuracy"]

    def main(self, arguments: list[str] | None = None) -> None:
        """`run` from the command line."""
        parser = argparse.ArgumentParser()
        parser.add_argument("--seed", type=int, default=0, help="of all random numbers")
        parser.add_argument("--slugnet", action="store_true", dest="in_slugnet", help="in slugnet's spelling")
        parser.add_argument("--quiet", action="store_false", dest="progress", help="no progress bar")
        start, accuracy = time.perf_counter(), self.run(**vars(parser.parse_args(arguments)))
        print(f"test accuracy {accuracy:.4f} after {time.perf_counter() - start:.1f} s")


def flat(images: data.Array) -> data.Array:
    return images.reshape(len(images), -1)


def falling(rule: str, rate: float, tenth: int, **given: Any) -> str:
    """An optimizer whose rate falls to a tenth every so many steps."""
    options = [f"{k}={v}" for k, v in given.items()]
    return f"{rule}({', '.join([*options, f'lr_scheduler=Exponential(initial_lr={rate}, stage_length={tenth}, decay=0.1)'])})"
