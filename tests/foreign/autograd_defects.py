"""Mistakes in what `defvjp` is told of autograd primitives, each beside its corrected twin. `by` is the check that must see it."""
from __future__ import annotations

import autograd.numpy as anp
import numpy as np
from autograd.extend import defvjp, primitive
from autograd.tracer import getval
from numpy.lib.stride_tricks import as_strided
from wild import collection

import gradcheck

DEFECTS, defect = collection()


def told(f, *vjps):
    """f as a primitive with the vjps of its arguments."""
    made = primitive(f)
    defvjp(made, *vjps)
    return made


@defect("A3", "adjoint")
def a_wrong_factor(wrong):
    return gradcheck.case(told(lambda x: x * x, lambda y, x: lambda dy: dy * x * (1 if wrong else 2)), "n d")


@defect("A1", "linear")
def upstream_ignored(wrong):
    return gradcheck.case(told(lambda x: np.sum(x * x), lambda y, x: lambda dy: 2 * x * (1 if wrong else dy)), "n d")


@defect("A9", "adjoint")
def cotangents_swapped(wrong):
    vjps = [lambda y, a, b: lambda dy: dy * b, lambda y, a, b: lambda dy: dy * a]
    return gradcheck.case(told(lambda a, b: a * b, *vjps[::-1 if wrong else 1]), "n d", "n d")


@defect("C8", "shapes")
def broadcast_not_summed(wrong):
    def of_b(y, x, b):
        return lambda dy: dy if wrong else anp.sum(dy, 0)
    return gradcheck.case(told(lambda x, b: x + b, lambda y, x, b: lambda dy: dy, of_b), "n d", "d", sizes={"n": (2, 9)})


@defect("A4", "adjoint")
def mean_over_the_batch(wrong):
    def of_W(y, x, W):
        return lambda dy: anp.dot(x.T, dy) / (len(x) if wrong else 1)
    return gradcheck.case(told(np.dot, lambda y, x, W: lambda dy: anp.dot(dy, W.T), of_W), "n d", "d k")


@defect("A12", "adjoint")
def none_for_an_input_that_matters(wrong):
    scaled = told(lambda x, s: x * s, lambda y, x, s: lambda dy: dy * s, None if wrong else lambda y, x, s: lambda dy: anp.sum(dy * x, 0))
    return gradcheck.case(lambda p: scaled(p["x"], p["s"]), {"x": "n d", "s": "d"}, framework="autograd")


@defect("H2", "pure")
def upstream_overwritten(wrong):
    def of_x(y, x):
        def vjp(dy):
            if not wrong:
                return dy * anp.cos(x)
            dy *= np.cos(x)
            return dy
        return vjp
    return gradcheck.case(told(np.sin, of_x), "n d")


@defect("H8", "interleave")
def one_cache_for_all(wrong):
    cache = {}

    def sine(x):
        cache["x"] = np.copy(x)
        return np.sin(x)
    return gradcheck.case(told(sine, lambda y, x: lambda dy: dy * anp.cos(cache["x"] if wrong else x)), "n d")


@defect("F3", "adjoint")
def float32_inside(wrong):
    def of_x(y, x):
        return lambda dy: dy * (np.exp(getval(x).astype(np.float32)) if wrong else anp.exp(x))
    return gradcheck.case(told(np.exp, of_x), "n d")


@defect("G1", "layout")
def upstream_taken_for_contiguous(wrong):
    def of_x(y, x):
        def vjp(dy):
            plain = getval(dy)
            return 2 * as_strided(plain, plain.shape, np.empty(plain.shape).strides) if wrong else 2 * dy
        return vjp
    return gradcheck.case(told(lambda x: 2 * x, of_x), "n d", sizes={"n": (2, 9), "d": (2, 9)})


@defect("I5", "second")
def a_value_held_constant(wrong):
    def of_x(y, x):
        return lambda dy: dy * anp.cos(getval(x) if wrong else x)
    return gradcheck.case(told(np.sin, of_x), "n d")


@defect("F4", "adjoint")
def conjugated_where_autograd_is_bilinear(wrong):
    def of(other):
        return lambda dy: dy * (anp.conj(other) if wrong else other)
    z = np.random.default_rng(0).standard_normal((2, 3, 4)).view(np.complex128)
    return gradcheck.case(told(lambda a, b: a * b, lambda y, a, b: of(b), lambda y, a, b: of(a)), z[0], z[1])
