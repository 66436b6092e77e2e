"""From a layer of any framework to a family of subjects. One file an adapter; the first that recognises an object takes it.

A framework is imported inside its adapter only, and only when an object of it is given. The import lines at the end are
the table of contents, the most specific protocol first.
"""
from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import FunctionType
from typing import Any

from ..evidence import Point
from ..law import Law, Shape
from ..subjects import Family, Subject
from .options import Options

Recognises = Callable[[object], bool]
ADAPTERS: list[tuple[Recognises, type]] = []


def adapter(recognises: Recognises) -> Callable[[type], type]:
    """Register a Family class for the objects that `recognises` accepts; it is called (factory, inputs, options=, params=, name=).

    Those registered last are asked last. Errors: none here; a layer that no adapter recognises is an AdaptError of `gradcheck.case`.

    >>> import gradcheck, numpy as np
    >>> from gradcheck.adapters.functions import Functions
    >>> @gradcheck.adapter(lambda layer: hasattr(layer, "value") and hasattr(layer, "slope"))
    ... class Curve(Functions):                  # a layer that is `value(x)` and its derivative `slope(x)`
    ...     adapter = "curve"
    ...     def __init__(self, factory, inputs, *, options=None, params=None, name=""):
    ...         layer = factory()
    ...         super().__init__(lambda p: layer.value(p["x"]), lambda p, dy: {"x": dy * layer.slope(p["x"])}, {"x": inputs[0]}, name=name)
    >>> class Sine:
    ...     value, slope = staticmethod(np.sin), staticmethod(np.cos)
    >>> gradcheck.check(Sine, "n", profile="quick").verdict
    <Verdict.PASS: 'pass'>
    """
    def register(family: type) -> type:
        ADAPTERS.append((recognises, family))
        return family
    return register


class AdaptError(TypeError):
    """No adapter recognises the object, or what it needs was not said."""


class Broken:
    """A layer that cannot be constructed: a report shows why, and the other layers are judged."""
    adapter = law_text = equation = source = ""
    modes: tuple[bool, ...] = (True,)
    contract = False

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.domains: Mapping[str, Sequence[Any]] = {}

    def law(self, options: Mapping[str, Any]) -> Law | None:
        return None

    def fits(self, options: Mapping[str, Any], shapes: Sequence[Shape]) -> bool:
        return True

    def build(self, point: Point) -> Subject:
        raise self.error

    def code(self, point: Point) -> str:
        return f"# {type(self.error).__name__}: {self.error}"


def adapt(factory: Callable[..., Any], *inputs: Any, options: Mapping[str, Sequence[Any]] | None = None,
          params: Sequence[str] | None = None, name: str = "", framework: str | None = None) -> Family:
    """The family of subjects that `factory` builds: a layer class, a function that returns a layer, or a function of a framework's arrays itself.

    inputs: shapes as text (`"n rows cols 2"`) or arrays, one each; a layer with a law needs none. options: keyword -> its values, simplest first.
    What the factory raises is the family's answer at every point. Errors: AdaptError when no protocol is recognised, or the inputs are missing.
    """
    if framework is None and not options and personal.gives_gradients(factory, inputs):
        factory = personal.Valued(factory)
    simplest = Options.of(options).values({}, _called(factory))
    itself = frameworks.is_itself(factory, options, framework)
    if not itself and not isinstance(factory, type | FunctionType) and _first(factory):
        factory = partial(copy.deepcopy, factory)                # a layer that exists already is built by copying it
    described = itself or (isinstance(factory, type) and _first(factory))
    try:
        made = factory if described else factory(**simplest)
    except Exception as error:
        return Broken(error)
    family = _first(made) or (personal.Personal if personal.gives_pullback(made, inputs) else frameworks.family_of(made, inputs, framework))
    if family is None:
        raise AdaptError(f"{_called(factory)} makes a {type(made).__name__}, which has none of the protocols known: a law with fwd and bwd, "
                         "forward and backward, connect/call/backprop, a function of torch's, JAX's or autograd's arrays; "
                         "for two bare functions use gradcheck.subject(call, pullback, x=…)")
    return family(frameworks.Itself(factory) if itself else factory, inputs, options=options, params=params, name=name)   # type: ignore[no-any-return]


def _first(obj: object) -> type | None:
    return next((family for recognises, family in ADAPTERS if recognises(obj)), None)


def _called(factory: object) -> str:
    return getattr(factory, "__name__", None) or type(factory).__name__


from . import frameworks, native, torch, jax, autograd, numpy_ml, epynn, slugnet, personal  # noqa: E402, F401, I001
from .frameworks import is_itself as is_itself  # noqa: E402
