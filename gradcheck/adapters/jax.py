"""JAX: functions of its arrays, `custom_vjp` and `jit` among them; arguments and results may be pytrees.

A point in float64 is judged inside `jax.enable_x64`; outside nothing changes. Integer arguments are held. A function that is long, or
has loops or branches, is compiled as a whole: otherwise JAX compiles each operation by itself, and the body of a loop anew at every call.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ..evidence import Point
from ..subjects import Array, Arrays
from . import adapter
from .code import source_of
from .frameworks import Functional, Itself, OtherNoise, Run
from .noise import held

BODIES = ("scan[", "while[", "cond[", "checkpoint[", "remat2[", "custom_linear_solve[")      # in a jaxpr: what holds functions of its own
LONG = 20                 # operations, of a function and its pullback, from which one program is made sooner than as many
DEEP = 9                  # wrappers within wrappers: a file's own objects may answer to any name
ROUNDINGS = 1e4           # of the largest output: what the values of `fwd` and of the function itself may differ by


class OtherValue(ValueError):
    """The forward rule of a `custom_vjp` computes another function."""


def recognises(obj: object) -> bool:
    """A function that JAX has wrapped: `custom_vjp`, `custom_jvp`, `jit`."""
    return Jax.loaded() is not None and Jax.is_function(obj)


@adapter(recognises)
class Jax(Functional):
    """Functions of JAX arrays and pytrees of them."""
    framework = "jax"
    imports = ("import jax",)

    @classmethod
    def owns(cls, x: object) -> bool:
        return isinstance(x, cls.loaded().Array)

    @classmethod
    def is_function(cls, function: object) -> bool:
        """What JAX wrapped, also within what it made of that: `vmap` hands on all attributes of a `custom_vjp`, and looks like a layer."""
        jax, known = cls.loaded(), list[Any]()
        while function is not None and len(known) < DEEP:
            known.append(function)
            function = function.func if isinstance(function, partial) else getattr(function, "__wrapped__", None)
        return any(isinstance(f, jax.custom_vjp | jax.custom_jvp | jax.stages.Wrapped) for f in known)

    @classmethod
    def traces(cls, function: Callable[..., Any], arguments: Sequence[Any]) -> str:
        shape = cls.loaded().eval_shape(function, *arguments)
        return "" if cls.loaded().tree_util.tree_leaves(shape) else "it returned no array"

    @classmethod
    def flattened(cls, tree: Any) -> tuple[list[str], list[Any], Callable[[Sequence[Any]], Any]]:
        util = cls.loaded().tree_util
        pairs, treedef = util.tree_flatten_with_path(tree)
        return [".".join(map(_key, path)) for path, _ in pairs], [x for _, x in pairs], lambda new: util.tree_unflatten(treedef, list(new))

    @property
    def source(self) -> str:
        """Of the backward rule, where one was given."""
        function = self.specimen.func if isinstance(self.specimen, partial) else self.specimen
        return source_of(getattr(function, "bwd", None)) or super().source

    def prepared(self, point: Point, xs: Sequence[Array]) -> tuple[Run, Arrays]:
        run, primals = super().prepared(point, xs)
        return (self.compiled(run) if self.is_long(run, primals) else run), primals

    def compiled(self, run: Run) -> Run:
        """Its call as one program for all points of the same shapes."""
        whole = self.loaded().jit(self.specimen if isinstance(self.factory, Itself) and not self.domains else lambda *args: run.call(args, {}))
        return replace(run, call=lambda args, own: whole(*args))

    def is_long(self, run: Run, primals: Arrays) -> bool:
        """Whether there are many operations, loops or branches in the function or in its pullback; no, where it cannot be traced."""
        jax = self.loaded()

        def both(xs: Sequence[Any]) -> Any:
            ys, pull = jax.vjp(lambda *xs: Functional.first(self, run, {**primals, **dict(zip(run.moving, xs, strict=True))}), *xs)
            return pull(list(map(jax.numpy.ones_like, ys)))
        try:
            with self.scope(primals.values()), held(0):
                text = str(jax.make_jaxpr(both)([primals[k] for k in run.moving]))
        except Exception:                                        # what is wrong with it is said where it is run
            return False
        return text.count(" = ") >= LONG or any(body in text for body in BODIES)

    def tried(self, run: Run, primals: Arrays) -> None:
        """Shapes alone tell it, without compiling anything, unless the function asks for values."""
        try:
            self.loaded().eval_shape(lambda primals: self.first(run, primals), primals)
        except self.loaded().errors.ConcretizationTypeError:
            super().tried(run, primals)

    def first(self, run: Run, primals: Mapping[str, Any]) -> list[Any]:
        if run.widened(primals) and not any(isinstance(x, self.loaded().core.Tracer) for x in primals.values()):
            drawn = [self.drawn(run, x) for x in (primals, run.own(primals))]
            if drawn[0] != drawn[1]:
                raise OtherNoise(f"{run.who} draws other noise in another precision")
        return super().first(run, primals)

    def drawn(self, run: Run, primals: Mapping[str, Any]) -> list[str]:
        """The random bits that the function asks for at arrays like these, as JAX writes them down; none where it asks for values."""
        jax = self.loaded()
        with jax.enable_x64(_wide(primals.values())):
            try:
                return re.findall(r"random_bits\[.*?\]", str(jax.make_jaxpr(lambda primals: Functional.first(self, run, primals))(primals)), re.DOTALL)
            except jax.errors.ConcretizationTypeError:
                return []

    def outputs(self, y: Any) -> list[Any]:
        jax = self.loaded()
        return [v for v in map(jax.numpy.asarray, jax.tree_util.tree_leaves(y)) if jax.numpy.issubdtype(v.dtype, jax.numpy.inexact)]

    def scope(self, arrays: Iterable[Array]) -> AbstractContextManager[Any]:
        return self.loaded().enable_x64(_wide(arrays) or self.loaded().config.jax_enable_x64)      # type: ignore[no-any-return]

    def vjp(self, call: Callable[..., list[Any]], xs: Sequence[Any]) -> tuple[list[Any], Callable[[Sequence[Any]], list[Any]]]:
        """The forward rule runs with the pullback only: its values must be those of the function."""
        jax = self.loaded()
        xs = list(map(jax.numpy.asarray, xs))
        ys = call(*xs)

        def pulled(dys: Sequence[Any]) -> list[Any]:
            again, pull = jax.vjp(call, *xs)
            _same(ys, again)
            return [_conjugate(d) for d in pull([_conjugate(jax.numpy.asarray(dy, y.dtype)) for dy, y in zip(dys, ys, strict=True)])]
        return ys, pulled

    def script(self, given: str, names: Sequence[str], options: Mapping[str, Any]) -> Sequence[str]:
        return ["with jax.enable_x64(True):", f"    y, pull = jax.vjp(layer, {given})", "    d = pull(y)          # or any other upstream like y"]


def _wide(arrays: Iterable[Array]) -> bool:
    return any(x.dtype in (np.float64, np.complex128) for x in arrays)


def _conjugate(x: Any) -> Any:
    return x.conj() if np.issubdtype(x.dtype, np.complexfloating) else x


def _same(ys: Sequence[Any], again: Sequence[Any]) -> None:
    """Errors: OtherValue where the forward rule's values are not the function's. What is only traced has no values yet."""
    for y, z in zip(ys, again, strict=True):
        if isinstance(y, Jax.loaded().core.Tracer):
            continue
        a, b = np.asarray(y), np.asarray(z)
        room = ROUNDINGS * float(np.finfo(a.dtype).eps) * float(np.max(np.abs(a), initial=0.0, where=np.isfinite(a)))
        if a.shape != b.shape or np.any(np.abs(a - b)[np.isfinite(a)] > room):
            raise OtherValue(f"the forward rule returns other values than the function: {b.ravel()[:3]} for {a.ravel()[:3]}")


def _key(entry: Any) -> str:
    """The plain name of a step into a pytree."""
    return str(next(getattr(entry, a) for a in ("key", "idx", "name") if hasattr(entry, a)))
