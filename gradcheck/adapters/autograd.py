"""autograd: functions of its arrays, and what `primitive` and `defvjp` say of them."""
from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from . import adapter, trees
from .code import source_of
from .frameworks import Functional


def recognises(obj: object) -> bool:
    """A primitive, which bears a mark."""
    return Autograd.loaded() is not None and Autograd.is_function(obj)


@adapter(recognises)
class Autograd(Functional):
    """Primitives, and functions composed of them."""
    framework = "autograd"
    imports = ("from autograd import make_vjp",)
    notes = ("an input without a way to the output has the cotangent zero",)

    @classmethod
    def owns(cls, x: object) -> bool:
        return isinstance(x, cls.loaded().extend.Box)

    @classmethod
    def is_function(cls, function: object) -> bool:
        return bool(getattr(function, "_is_autograd_primitive", False))

    @classmethod
    def traces(cls, function: Callable[..., Any], arguments: Sequence[Any]) -> str:
        followed: list[bool] = []

        def watched(args: Any) -> Any:
            ys = list(spread(function(*args)))
            followed.append(any(map(cls.owns, ys)))
            return _builtins().tuple(ys)
        _quietly(cls.loaded().core.make_vjp, watched, tuple(arguments))
        return "" if followed[0] else "its result does not depend on its arguments"

    @property
    def source(self) -> str:
        """Of the first vjp that was given for a primitive, which `defvjp` keeps by argument."""
        rule = self.loaded().core.primitive_vjps.get(self.specimen)
        told = [v for c in getattr(rule, "__closure__", None) or () if isinstance(c.cell_contents, dict) for v in c.cell_contents.values()]
        return next(filter(None, map(source_of, told)), "") or super().source

    @classmethod
    def plain(cls, function: Any) -> Any:
        return super().plain(getattr(function, "fun", function))

    def outputs(self, y: Any) -> list[Any]:
        return [v for v in spread(y) if np.asarray(_value(v)).dtype.kind in "fc"]

    def vjp(self, call: Callable[..., list[Any]], xs: Sequence[Any]) -> tuple[list[Any], Callable[[Sequence[Any]], list[Any]]]:
        """A cotangent that was returned in another shape comes as it is: autograd would fail to add it up, or stretch it."""
        core, conj, misshapen = self.loaded().core, self.loaded().numpy.conj, dict[int, Any]()

        def entered(inputs: Any) -> Any:
            return _builtins().tuple(call(*(entrance()(inputs[i], i, misshapen) for i in range(len(xs)))))
        pull, ys = _quietly(core.make_vjp, entered, _builtins().tuple(xs))

        def pulled(dys: Sequence[Any]) -> list[Any]:
            misshapen.clear()
            found = _quietly(pull, _builtins().tuple([_conjugate(conj, dy) for dy in dys]))
            return [_conjugate(conj, misshapen[i] if i in misshapen else found[i]) for i in range(len(xs))]
        return [ys[i] for i in range(len(_value(ys)))], pulled

    def script(self, given: str, names: Sequence[str], options: Mapping[str, Any]) -> Sequence[str]:
        return [f"pull, y = make_vjp(layer)({given})          # of the first argument; then pull(dy)"]


def spread(y: Any) -> Iterator[Any]:
    """The leaves of what a function returned; a traced sequence is one object."""
    for _, v in trees.leaves(y):
        inside = _value(v)
        if isinstance(inside, tuple | list):
            yield from (leaf for i in range(len(inside)) for leaf in spread(v[i]))
        else:
            yield v


@cache
def entrance() -> Any:
    """The primitive (x, i, misshapen) -> x that an input comes in through. It keeps back a cotangent of another shape."""
    extend = Autograd.loaded().extend

    def keep(x: Any, i: int, misshapen: dict[int, Any]) -> Callable[[Any], Any]:
        def vjp(dy: Any) -> Any:
            if np.shape(_value(dy)) == np.shape(_value(x)):
                return dy
            misshapen[i] = dy
            return extend.vspace(x).zeros()
        return vjp
    enter = extend.primitive(lambda x, i, misshapen: x)
    extend.defvjp(enter, lambda ans, x, i, misshapen: keep(x, i, misshapen))
    return enter


def _builtins() -> Any:
    return Autograd.loaded().builtins


def _value(x: Any) -> Any:
    """What is traced, without its trace."""
    while Autograd.owns(x):
        x = x._value
    return x


def _conjugate(conj: Any, x: Any) -> Any:
    return conj(x) if np.iscomplexobj(_value(x)) else x


def _quietly(function: Callable[..., Any], *args: Any) -> Any:
    """A call without the warning that an output depends on no input, which is a cotangent of zero."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Output seems independent of input")
        return function(*args)
