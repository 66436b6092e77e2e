"""Declared conventions: what a layer does on purpose that is no derivative, or one of several. Never guessed; declared, they are held to.

| name         | declares                                                                               | how it is held to                      |
|--------------|----------------------------------------------------------------------------------------|----------------------------------------|
| `batch mean` | the parameters' cotangents are means over the rows of the first input, all of them      | undone, then judged as the derivative  |
| `clips`      | cotangents are clipped; the first number in the text bounds their entries, or a norm   | undone by small upstreams; `linear`    |
| `gradients`  | `add` or `overwrite`: what a second call does to the parameters' gradients              | `accumulate`                           |
| `ties`       | `first`, `last` or `split`: which of equal candidates gets the cotangent                | `values`                               |
| `alias`      | `view` or `copy`: whether an output lies in an input's memory                           | `alias`                                |
| `in place`   | the names of the arrays (`upstream` is one) that the layer overwrites with its results  | `pure`                                 |
| `padding`    | the name of the primal that masks                                                       | `padding`                              |

Any other is shown in the report, and no check knows of it.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .subjects import Array, Arrays, Subject, Tape

ONE_OF = {"gradients": ("add", "overwrite"), "ties": ("first", "last", "split"), "alias": ("view", "copy")}
SMALL = 2.0 ** -60        # times an upstream: nothing is clipped then, and no bit of a product or a sum is lost
NUMBER = re.compile(r"\d+(?:\.\d*)?(?:e[+-]?\d+)?")


def kept_to(s: Subject) -> Subject:
    """The subject as every check judges it: the derivative itself. A backward that takes no upstream is that of the sum of its outputs.

    Errors: ValueError for a convention that cannot be.
    """
    for name, choices in ONE_OF.items():
        if s.convention.get(name, choices[0]) not in choices:
            raise ValueError(f"the convention {name!r} is {' or '.join(map(repr, choices))}, got {s.convention[name]!r}")
    undone: list[Callable[[Tape], Tape]] = []
    if "batch mean" in s.convention:
        undone.append(lambda tape: _Summed(tape, s.inputs))
    if "clips" in s.convention:
        bound_of(s.convention)
        undone.append(_Unclipped)
    if not s.facts.upstream:
        undone.append(_Total)
        s = replace(s, out_shapes=None)
    for wrapped in undone:
        s = replace(s, tape=_within(wrapped, s.tape), made=s.made and _within(wrapped, s.made))
    return s


def _within(wrapped: Callable[[Tape], Tape], tape: Callable[[], Tape]) -> Callable[[], Tape]:
    return lambda: wrapped(tape())


def bound_of(convention: Mapping[str, str]) -> float:
    """The bound to which cotangents are clipped. Errors: ValueError where the declaration holds no number."""
    found = NUMBER.search(convention["clips"])
    if not found:
        raise ValueError(f"the convention 'clips' says to which bound, as in \"to a norm of 5\", got {convention['clips']!r}")
    return float(found[0])


@dataclass
class _Summed:
    """Parameters' cotangents that are sums over the batch where the layer's are means."""
    tape: Tape
    inputs: tuple[str, ...]
    n: int = 1

    def forward(self, primals: Arrays) -> tuple[Array, ...]:
        self.n = len(primals[self.inputs[0]])
        return self.tape.forward(primals)

    def backward(self, *dys: Array) -> dict[str, Array | None]:
        return {k: d if d is None or k in self.inputs else d * self.n for k, d in self.tape.backward(*dys).items()}


@dataclass
class _Unclipped:
    """Cotangents as they are for an upstream that is too small to be clipped."""
    tape: Tape

    def forward(self, primals: Arrays) -> tuple[Array, ...]:
        return self.tape.forward(primals)

    def backward(self, *dys: Array) -> dict[str, Array | None]:
        return {k: d if d is None else d / SMALL for k, d in self.tape.backward(*(dy * dy.dtype.type(SMALL) for dy in dys)).items()}


@dataclass
class _Total:
    """An upstream where the layer's backward takes none: that of the sum of its outputs, which multiplies."""
    tape: Tape

    def forward(self, primals: Arrays) -> tuple[Array, ...]:
        ys = self.tape.forward(primals)
        return (np.asarray(sum(y.sum() for y in ys), np.result_type(*ys)),)

    def backward(self, *dys: Array) -> dict[str, Array | None]:
        dy, = dys
        return {k: d if d is None or dy == 1 else np.asarray(dy * d, d.dtype) for k, d in self.tape.backward().items()}
