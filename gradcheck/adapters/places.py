"""Where an afternoon's layer keeps its parameters and their gradients: dictionaries, lists, attributes, small objects, a closure's variables."""
from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .noise import filled

DICTIONARIES = (("params", "parameters", "p", "weights"), ("grads", "gradients", "g", "dparams"))   # of values, of gradients
SPELLINGS = ("d{}", "grad_{}", "{}_grad", "d_{}", "g{}")      # a gradient's name beside its parameter's
BOXES = (("data", "value", "val"), ("grad", "g"))             # a parameter that is an object: its value, its gradient
CLOSURE = "closure"


@dataclass(frozen=True)
class Place:
    """An entry of a layer: of one of its dictionaries, lists or boxes (`holder`), of the layer itself (""), or of its functions' closure."""
    holder: str
    key: str | int

    def read(self, layer: Any) -> Any:
        """What is there; None if nothing is."""
        held = holder_of(layer, self.holder)
        if isinstance(self.key, int):
            return held[self.key] if isinstance(held, list) and self.key < len(held) else None
        return held.get(self.key) if isinstance(held, Mapping) else getattr(held, self.key, None)

    def write(self, layer: Any, value: Any) -> None:
        """Put `value` there, and wherever else the layer keeps that very array."""
        old = self.read(layer)
        value = value if isinstance(old, np.ndarray) else value.item()
        for place in [self, *(p for p in places(layer) if isinstance(old, np.ndarray) and p.read(layer) is old and p != self)]:
            held: Any = holder_of(layer, place.holder)
            if isinstance(held, MutableMapping | list):
                held[place.key] = value                      # type: ignore[index]
            else:
                setattr(held, str(place.key), value)

    @property
    def boxed(self) -> bool:
        """Whether it lies in a small object of its own."""
        return self.key in BOXES[0] + BOXES[1] and self.holder not in ("", CLOSURE, *DICTIONARIES[0], *DICTIONARIES[1])

    def __str__(self) -> str:
        return f"{self.holder}.{self.key}" if self.boxed else str(self.key) if self.holder in ("", CLOSURE) else f"{self.holder}[{self.key!r}]"


class Cells(MutableMapping[str, Any]):
    """The variables that functions share with where they were made."""

    def __init__(self, functions: tuple[Any, ...]) -> None:
        inner = [f for f in functions if isinstance(f, types.FunctionType)]
        self.cells = {n: c for f in inner for n, c in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True)}

    def __getitem__(self, name: str) -> Any:
        return self.cells[name].cell_contents

    def __setitem__(self, name: str, value: Any) -> None:
        self.cells[name].cell_contents = value

    def __delitem__(self, name: str) -> None:
        raise TypeError("a closure's variable cannot be removed")

    def __iter__(self) -> Iterator[str]:
        return (n for n, c in self.cells.items() if filled(c))

    def __len__(self) -> int:
        return len(list(iter(self)))


def holder_of(layer: Any, holder: str) -> Any:
    """The object that `Place.holder` names."""
    if holder == CLOSURE:
        return Cells((layer, *getattr(layer, "__dict__", {}).values()))
    return getattr(layer, holder, None) if holder else layer


def places(layer: Any) -> Iterator[Place]:
    """Every place of a number or an array, one level deep."""
    for name, value in [*_attributes(layer)]:
        if numeric(value):
            yield Place("", name)
        elif isinstance(value, Mapping):
            yield from (Place(name, k) for k, v in value.items() if isinstance(k, str) and numeric(v))
        elif isinstance(value, list):
            yield from (Place(name, i) for i, v in enumerate(value) if isinstance(v, np.ndarray) and numeric(v))
        else:
            yield from (Place(name, k) for k in BOXES[0] if isinstance(getattr(value, k, None), np.ndarray))
    yield from (Place(CLOSURE, k) for k, v in holder_of(layer, CLOSURE).items() if numeric(v))


def gradients(layer: Any, place: Place) -> Iterator[Place]:
    """The places where the gradient of what is at `place` may lie, and something numeric does."""
    holder, key = place.holder, place.key
    spelled = [s.format(key) for s in SPELLINGS]
    beside = [Place(g, k) for g in DICTIONARIES[1] for k in [key, *spelled]]
    if isinstance(key, int):
        found = [Place(g, key) for g in (*DICTIONARIES[1], *(s.format(holder) for s in SPELLINGS))]
    elif place.boxed:
        found = [Place(holder, k) for k in BOXES[1]]
    elif holder in ("", CLOSURE):
        found = [*(Place(holder, k) for k in spelled), *beside]
    else:
        found = [*beside, *(Place("", k) for k in spelled)]
    return (g for g in found if numeric(g.read(layer)))


def name_of(place: Place) -> str:
    """The parameter's name: its key, the attribute that holds its box, or the list's name with its index."""
    return place.holder if place.boxed else f"{place.holder}{place.key}" if isinstance(place.key, int) else place.key


def numeric(value: Any) -> bool:
    """A floating-point array or number; a truth value or an integer is no parameter."""
    return isinstance(value, float | np.floating) or (isinstance(value, np.ndarray) and value.dtype.kind == "f")


def _attributes(layer: Any) -> list[tuple[str, Any]]:
    slots = [n for c in type(layer).__mro__ for n in getattr(c, "__slots__", ()) if hasattr(layer, n)]
    return [*getattr(layer, "__dict__", {}).items(), *((n, getattr(layer, n)) for n in slots if n != "__dict__")]
