"""Subject: one layer at one point. Case: a layer with the domain of points at which it is judged."""
from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import msgspec
import numpy as np

from .conventions import kept_to
from .evidence import Array as Line
from .evidence import Calls, Point
from .law import Law, Shape

Array = np.ndarray
Arrays = Mapping[str, Array]


class Tape(Protocol):
    """A fresh copy of the layer at its point: one forward, then its backward, as the layer's own protocol has them."""
    def forward(self, primals: Arrays) -> tuple[Array, ...]:
        """The outputs, always as a tuple. `primals` holds every array by name and may be changed by a faulty layer."""
    def backward(self, *dys: Array) -> dict[str, Array | None]:
        """The cotangents by primal's name of the last forward; one upstream for each output."""


class Stateful(Tape, Protocol):
    """A layer that retains every forward until it is flushed, and adds up the gradients of its parameters."""
    layer: Any
    def pull(self, dys: Sequence[tuple[Array, ...]]) -> tuple[list[dict[str, Array | None]], dict[str, Array]]:
        """Pull back one upstream for each retained forward: the inputs' cotangents of each, and the accrued gradients."""
    def gradients(self) -> dict[str, Array]:
        """The accrued gradients, by parameter."""


@dataclass(frozen=True)
class Facts:
    """What an adapter knows of its protocol, stated once."""
    tape: Literal["functional", "last", "list", "recurrent"] = "functional"
    contract: bool = False                             # whether the checks of category `contract` may accuse it
    upstream: bool = True                              # whether backward takes one (RBMs and losses do not)
    notes: tuple[str, ...] = ()                        # what was recognised, for the report


@dataclass
class Counter:
    """How often a subject's layer was run; shared by all copies of the subject."""
    forward: int = 0
    backward: int = 0

    def snapshot(self) -> Calls:
        return Calls(forward=self.forward, backward=self.backward)


@dataclass(frozen=True)
class Subject:
    """One layer at one point: its primals by name, the call and the pullback. Every evaluation starts a fresh tape.

    `primals` holds every array that the outputs depend on; `differentiable` names those that have tangents.
    """
    name: str
    primals: Arrays
    differentiable: tuple[str, ...]
    tape: Callable[[], Tape]
    point: Point = Point()
    facts: Facts = Facts()
    inputs: tuple[str, ...] = ()                       # the primals that are inputs, in order; the rest belong to the layer
    law: Law | None = None
    out_shapes: tuple[Shape, ...] | None = None        # as declared; None where nothing is
    shell: Callable[[], Any] | None = None             # a fresh stateful layer, where it has the whole shell
    rebuild: Callable[[Point], Subject] | None = None  # the same layer at another point
    ledger: Callable[[], tuple[Line, ...]] | None = None
    source: str = ""                                   # file:line of the pullback
    demand: float | None = None                        # a finer resolution than the default, if the user asked
    convention: Mapping[str, str] = field(default_factory=dict)               # declared choice -> what it means
    options: Mapping[str, Sequence[Any]] = field(default_factory=dict)        # every option's values, as the layer's family declares them
    stateful: Callable[[], Stateful] | None = None     # the shell as a tape, its parameters and noise those of the primals
    double: Callable[[], Tape] | None = None           # primals and upstream -> cotangents, and back: double backward, where there is one
    fewer: Mapping[str, Callable[[], Tape]] = field(default_factory=dict)     # ways to ask for fewer cotangents, in words
    made: Callable[[], Tape] | None = None             # a tape of a layer constructed anew, where `tape` copies one: copies share nothing
    counter: Counter = field(default_factory=Counter)

    def __call__(self, primals: Arrays) -> tuple[Array, ...]:
        """The outputs at `primals`, which stay as they are whatever the layer does."""
        return self.consume(copied(primals))

    def consume(self, primals: dict[str, Array]) -> tuple[Array, ...]:
        """The outputs at `primals`, which are given away: a faulty layer may change them."""
        self.counter.forward += 1
        return self.tape().forward(primals)

    def pullback(self, primals: Arrays, dys: Sequence[Array]) -> dict[str, Array | None]:
        """The cotangents at `primals`, by name, as the layer claims them."""
        self.counter.forward += 1
        self.counter.backward += 1
        tape = self.tape()
        tape.forward(copied(primals))
        return tape.backward(*map(np.copy, dys))

    def rng(self, *label: object) -> np.random.Generator:
        """A generator of its own for each use, whatever else runs before it."""
        return generator(self.point.seed, self.name, *label)

    def at(self, **changes: Any) -> Subject:
        """The same layer at another point, its calls counted here. Errors: ValueError where it cannot be rebuilt."""
        if self.rebuild is None:
            raise ValueError(f"{self.name} was given as arrays: there is no other point")
        there = self.rebuild(replace_point(self.point, **changes))
        return kept_to(replace(there, counter=self.counter, demand=self.demand, convention=self.convention, options=self.options))


class Family(Protocol):
    """What an adapter makes of a layer: its declarations, and a subject for every point of them."""
    @property
    def adapter(self) -> str:
        """The adapter's name, for the report."""
    @property
    def law_text(self) -> str:
        """The law, or the inputs' shapes, as a report shows them."""
    @property
    def equation(self) -> str:
        """What the layer says of itself."""
    @property
    def source(self) -> str:
        """file:line of the pullback, "" if unknown."""
    @property
    def domains(self) -> Mapping[str, Sequence[Any]]:
        """Every option with its values as JSON, simplest first."""
    @property
    def modes(self) -> tuple[bool, ...]:
        """The values of `train` that make a difference, simplest first."""
    @property
    def contract(self) -> bool:
        """Whether the checks of category `contract` may accuse its layers."""
    def law(self, options: Mapping[str, Any]) -> Law | None:
        """The law at these options; None where the inputs were given as arrays."""
    def fits(self, options: Mapping[str, Any], shapes: Sequence[Shape]) -> bool:
        """Whether the layer with these options can take these shapes."""
    def build(self, point: Point) -> Subject:
        """The subject at a point. Errors: whatever the layer's constructor or first forward raises."""
    def code(self, point: Point) -> str:
        """The code that builds the layer and its inputs there, for a person to read and run."""


@dataclass(frozen=True)
class Case:
    """A layer with the domain of points at which it is judged; the unit that is listed, selected and reported."""
    name: str
    target: str                                        # what `gradcheck run` takes to find this case again
    family: Family
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    expect: Mapping[str, str] = field(default_factory=dict)          # check -> why it is known to fail
    convention: Mapping[str, str] = field(default_factory=dict)      # declared choice -> what it means
    demand: float | None = None

    def subject(self, point: Point) -> Subject:
        """The layer at `point`."""
        return kept_to(replace(self.family.build(point), name=self.name, demand=self.demand, convention=self.convention, options=self.family.domains))


def copied(primals: Arrays) -> dict[str, Array]:
    return {k: np.copy(v) for k, v in primals.items()}


def replace_point(point: Point, **changes: Any) -> Point:
    return msgspec.structs.replace(point, **changes)


def seed_of(*parts: object) -> int:
    """A seed that depends on nothing but `parts`: selection and order never change the data."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest())


def generator(*parts: object) -> np.random.Generator:
    return np.random.default_rng(seed_of(*parts))
