"""Where a layer keeps its arrays: attributes, dictionaries, lists, small objects, a closure's variables, layers within it.

A place is a path of steps from the layer: attributes and keys by name, entries of lists by index, `name()` for a method that
hands arrays out, `closure` for the variables that functions share with where they were made.
"""
from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any

import numpy as np

from .code import arguments
from .noise import filled

Step = str | int
Path = tuple[Step, ...]
Seen = dict[int, Any]     # by identity; the objects are kept, lest another takes over the number

VALUES = ("params", "parameters", "parameter", "_params", "p", "weights", "theta", "variables", "trainable_params", "trainable_parameters")
GRADIENTS = ("grads", "gradients", "_grads", "g", "dparams", "param_grads", "grad", "d", "dtheta")
PARAMETERS_OF = ("parameters", "params", "get_params", "get_parameters", "get_weights", "trainable_params", "trainable_parameters")       # methods …
GRADIENTS_OF = ("gradients", "grads", "get_grads", "get_gradients", "get_gradient", "get_param_grads", "grad_params")     # … in the same order
BOXES = (("data", "value", "val", "array"), ("grad", "gradient", "g", "d"))        # a parameter that is an object: its value, its gradient
SPELLINGS = ("d{}", "grad_{}", "{}_grad", "d_{}", "g{}", "grad{}", "{}grad", "gradient_{}", "{}_gradient", "nabla_{}", "{}_g", "g_{}")
OF = (r"d(?:[a-z]|loss|cost)_?d_?(\w+)", r"d_?(\w+)", r"(?:grads?|gradients?|nabla|g|delta|diff)_?(?:wrt_)?(\w+)",
      r"(\w+?)_?(?:grads?|gradients?|g|delta|diff)")                              # names of gradients: `dL_dW`, `_dW`, `grad_wrt_w`, `W_diff`
SAME = ({"w", "weight", "weights", "kernel", "kernels"}, {"b", "bias", "biases"}, {"x", "input", "inputs", "in"})   # words for one thing
RATES = ("learningrate", "learnrate", "lr", "lrate", "eta", "stepsize")                                         # said without underscores
OPAQUE = (type, types.ModuleType, types.FunctionType, types.MethodType, np.ndarray, np.generic, str, bytes)        # nothing of a layer's own within
CLOSURE = "closure"
DEEPEST = 8               # steps to the deepest array: layers in blocks in a model, and some more


class Cells(MutableMapping[str, Any]):
    """The variables that functions share with where they were made."""

    def __init__(self, functions: Iterable[Any]) -> None:
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


# one place -----------------------------------------------------------------------------------------------------------------------

def read(layer: Any, path: Path) -> Any:
    """What is at a place; None if nothing is."""
    for step in path:
        layer = entered(layer, step)
        if layer is None:
            return None
    return layer


def entered(held: Any, step: Step) -> Any:
    """One step into an object."""
    if step == CLOSURE:
        return Cells((held, *vars(held).values()) if hasattr(held, "__dict__") else (held,))
    if isinstance(step, int):
        return held[step] if isinstance(held, list | tuple) and step < len(held) else None
    if step.endswith("()"):
        return handed_out(getattr(held, step[:-2], None))
    return held.get(step) if isinstance(held, Mapping) else getattr(held, step, None)


def handed_out(method: Any) -> Any:
    """What a method without arguments hands out, a generator as a list; None if it is no such method."""
    if not callable(method) or isinstance(method, type) or arguments(method):
        return None
    try:
        found = method()
        found = list(found) if isinstance(found, Iterator) else found
    except Exception:                                        # it may need what is not there yet
        return None
    return found if isinstance(found, Mapping | list | tuple) else None


def write(layer: Any, path: Path, value: np.ndarray) -> None:
    """Put an array, or the number that stands for one, at a place. What lies in a tuple is filled in place."""
    held = read(layer, path[:-1])
    old = entered(held, path[-1])
    new = value if isinstance(old, np.ndarray) else value.item()
    if isinstance(held, tuple):
        old[...] = new
    else:
        keep(held, path[-1], new)


def keep(held: Any, step: Step, new: Any) -> None:
    """Make `new` what is one step into an object."""
    if isinstance(held, MutableMapping | list):
        held[step] = new                                     # type: ignore[index]
    else:
        setattr(held, str(step), new)


def name_of(path: Path) -> str:
    """The parameter's name: the path without what only holds parameters, `layers.0.W`; of an entry of a list, `params0`."""
    steps = [s for i, s in enumerate(path) if not _only_holds(path, i)]
    if isinstance(steps[-1], int):
        outer = steps[:-1] or [str(path[-2]).removesuffix("()")]
        return ".".join(map(str, outer)) + str(steps[-1])
    return ".".join(map(str, steps))


def shown(path: Path) -> str:
    """A place as one writes it: `params['W']`, `layers[0].dW`."""
    text = ""
    for i, step in enumerate(path):
        keyed = i > 0 and path[i - 1] in (*VALUES, *GRADIENTS)
        text += f"[{step}]" if isinstance(step, int) else f"[{step!r}]" if keyed else f".{step}" * (step != CLOSURE)
    return text.removeprefix(".")


def _only_holds(path: Path, i: int) -> bool:
    """Whether a step leads to a container of parameters, or into a parameter that is an object."""
    step, last = path[i], i == len(path) - 1
    if last:
        return i > 0 and step in BOXES[0] and path[i - 1] != CLOSURE and isinstance(path[i - 1], str) and path[i - 1] not in VALUES
    return step == CLOSURE or step in VALUES or isinstance(step, str) and step.endswith("()")


# all places ----------------------------------------------------------------------------------------------------------------------

def places(layer: Any) -> Iterator[tuple[Path, Any]]:
    """Every place of a floating-point array or number within a layer, with what is there."""
    yield from _within(layer, (), {})
    for name, value in entered(layer, CLOSURE).items():
        yield from _found((CLOSURE, name), value, {})


def _within(held: Any, path: Path, seen: Seen) -> Iterator[tuple[Path, Any]]:
    if id(held) in seen or len(path) >= DEEPEST:
        return
    seen[id(held)] = held
    for step, value in [*inside(held), *_handed_out(held)]:
        yield from _found((*path, step), value, seen)


def _handed_out(held: Any) -> Iterator[tuple[Step, Any]]:
    """What an object's own methods say its parameters are."""
    for name in PARAMETERS_OF:
        if not isinstance(held, type) and inspect.ismethod(getattr(held, name, None)):
            yield f"{name}()", handed_out(getattr(held, name))


def _found(path: Path, value: Any, seen: Seen) -> Iterator[tuple[Path, Any]]:
    if numeric(value):
        yield path, value
    else:
        yield from _within(value, path, seen)


def inside(held: Any) -> Iterator[tuple[Step, Any]]:
    """The steps that lead on from an object: its entries or attributes. Functions, classes and modules are not a layer's own."""
    if isinstance(held, Mapping):
        yield from ((k, v) for k, v in held.items() if isinstance(k, str))
    elif isinstance(held, list | tuple):
        yield from ((i, v) for i, v in enumerate(held) if not isinstance(v, float))
    elif not isinstance(held, OPAQUE):
        yield from getattr(held, "__dict__", {}).items()
        yield from ((n, getattr(held, n)) for c in type(held).__mro__ for n in _slots(c) if hasattr(held, n))


def _slots(cls: type) -> list[str]:
    names = cls.__dict__.get("__slots__", ())
    return [n for n in ([names] if isinstance(names, str) else names) if not n.startswith("__")]


def objects(layer: Any) -> Iterator[Any]:
    """The layer and every object within it that has attributes: layers of a chain, blocks, their optimizers."""
    return (held for _, held in holders(layer) if not isinstance(held, Mapping | list | tuple))


def holders(layer: Any) -> Iterator[tuple[Path, Any]]:
    """The layer and every object or container within it, each with one place of it, the nearest first."""
    seen: set[int] = set()
    waiting: list[tuple[Path, Any]] = [((), layer)]
    while waiting:
        path, held = waiting.pop(0)
        if id(held) in seen:
            continue
        seen.add(id(held))
        yield path, held
        waiting += [((*path, s), v) for s, v in inside(held) if isinstance(v, Mapping | list | tuple) or hasattr(v, "__dict__") and not isinstance(v, OPAQUE)]


def is_rate(name: str) -> bool:
    """Whether a name is that of a learning rate."""
    return bare(name).lower().replace("_", "") in RATES


def numeric(value: Any) -> bool:
    """A floating-point array or number; a truth value or an integer is no parameter."""
    return isinstance(value, float | np.floating) or (isinstance(value, np.ndarray) and value.dtype.kind == "f")


# gradients -----------------------------------------------------------------------------------------------------------------------

def gradients(layer: Any, path: Path) -> list[Path]:
    """The places where the gradient of what is at `path` may lie, and something numeric does; those of its very name, else of a word for it."""
    for candidates in (_named(path), _alike(layer, path)):
        found = [p for p in dict.fromkeys(candidates) if numeric(read(layer, p))]
        if found:
            return found
    return []


def _named(path: Path) -> Iterator[Path]:
    """By name: a container for a container (`params` → `grads`), a spelling for a name (`W` → `dW`), the grad of a box, the second of a pair."""
    for i, head in enumerate(path):
        own, tail = path[:i], path[i + 1:]
        if tail and (head in VALUES or isinstance(head, str) and head.removesuffix("()") in PARAMETERS_OF):
            yield from ((*own, g, *t) for g in (*GRADIENTS, *(f"{m}()" for m in GRADIENTS_OF)) for t in ends(tail))
            yield from ((*own, *t) for t in ends(tail) if t != tail and len(t) == 1)
        if isinstance(head, str) and not head.endswith("()"):
            yield from ((*own, s.format(head), *tail) for s in SPELLINGS)
        if not tail:
            yield from ((*own, g, *t) for g in GRADIENTS for t in ends((head,)))
        if tail in [(b,) for b in BOXES[0]]:
            yield from ((*own, head, b) for b in BOXES[1])
        if len(tail) == 2 and isinstance(tail[0], int) and tail[1] == 0:
            yield (*own, head, tail[0], 1)


def ends(tail: Path) -> Iterator[Path]:
    """A path within a container as it is, and with the gradient's spelling of its last step."""
    yield tail
    if isinstance(tail[-1], str):
        yield from ((*tail[:-1], s.format(tail[-1])) for s in SPELLINGS)


def _alike(layer: Any, path: Path) -> Iterator[Path]:
    """By another word for the name: `weights` → `dW`, beside it or in a container of gradients."""
    own = path[:-1] if isinstance(path[-1], str) else ()
    if not isinstance(path[-1], str):
        return
    held = own[:-1] if own and own[-1] in VALUES else own
    for prefix in (held, *((*held, g) for g in GRADIENTS)):
        yield from ((*prefix, step) for step, _ in inside(read(layer, prefix)) if isinstance(step, str) and alike(step, path[-1]))


def alike(gradient: str, name: str) -> bool:
    """Whether a name is that of the gradient of another, whatever the case and the word: `dW` of `weights`."""
    found = (re.fullmatch(pattern, bare(gradient), re.IGNORECASE) for pattern in OF)
    return any(match and word(match[1]) == word(name) for match in found)


def bare(name: str) -> str:
    """A name without what makes it private: `_W`, and `__W` as Python keeps it."""
    return re.sub(r"^_[A-Za-z0-9]+__|^_+", "", name)


def word(name: str) -> str:
    """One word for all that are said of the same thing, with what tells two of them apart: `weights_1` as `w1`."""
    plain = bare(name).lower().replace("_", "")
    stem, number = re.fullmatch(r"(\D*?)(\d*)", plain).groups() if re.fullmatch(r"\D*\d*", plain) else (plain, "")    # type: ignore[union-attr]
    return next((min(words) for words in SAME if stem in words), stem) + number
