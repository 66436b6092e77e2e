"""Mistakes in `jax.custom_vjp` rules, each beside its corrected twin. `by` is the check that must see it."""
from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from wild import collection

import gradcheck

DEFECTS, defect = collection()
SMALL = {"n": (2, 3), "d": (2, 4), "k": (2, 3)}            # few shapes: each is compiled anew


def rule(f, fwd, bwd, **keywords):
    """f with its two rules."""
    made = jax.custom_vjp(f, **keywords)
    made.defvjp(fwd, bwd)
    return made


@defect("A3", "adjoint")
def a_wrong_factor(wrong):
    def bwd(x, dy):
        return (dy * x * (1 if wrong else 2),)
    return gradcheck.case(rule(lambda x: x * x, lambda x: (x * x, x), bwd), "n d", sizes=SMALL)


@defect("A1", "linear")
def upstream_ignored(wrong):
    def loss(x, t):                                        # x, t  (n, d)
        return jnp.sum((x - t) ** 2)                       # y  ()

    def bwd(r, dy):
        d = 2 * r * (1 if wrong else dy)
        return d, -d
    return gradcheck.case(rule(loss, lambda x, t: (loss(x, t), x - t), bwd), "n d", "n d", sizes=SMALL)


@defect("A5", "adjoint")
def a_sign_of_the_second_argument(wrong):
    def f(x, y):
        return jnp.sin(x) * y

    def bwd(r, dz):
        x, y = r
        return dz * jnp.cos(x) * y, dz * jnp.sin(x) * (-1 if wrong else 1)
    return gradcheck.case(rule(f, lambda x, y: (f(x, y), (x, y)), bwd), "n d", "n d", sizes=SMALL)


@defect("A4", "adjoint")
def mean_over_the_batch(wrong):
    def dense(p, x):                                       # p  {W (d, k), b (k,)}, x  (n, d)
        return x @ p["W"] + p["b"]

    def bwd(r, dy):
        p, x = r
        return {"W": x.T @ dy, "b": dy.mean(0) if wrong else dy.sum(0)}, dy @ p["W"].T
    return gradcheck.case(rule(dense, lambda p, x: (dense(p, x), (p, x)), bwd), {"W": "d k", "b": "k"}, "n d", sizes=SMALL)


@defect("A8", "adjoint")
def the_activation_s_derivative_at_its_value(wrong):
    def fwd(x):
        y = jnp.tanh(x)
        return y, y

    def bwd(y, dy):
        return (dy * (1 - (jnp.tanh(y) if wrong else y) ** 2),)
    return gradcheck.case(rule(jnp.tanh, fwd, bwd), "n d", sizes=SMALL)


@defect("C14", "adjoint")
def an_option_not_mirrored(wrong):
    def bwd(k, x, dy):
        return (dy * (2 * x if wrong else k * x ** (k - 1)),)
    power = rule(lambda k, x: x ** k, lambda k, x: (x ** k, x), bwd, nondiff_argnums=(0,))
    return gradcheck.case(lambda x, k: power(k, x), "n d", options={"k": [3, 4]}, framework="jax", sizes=SMALL)


@defect("E1", "adjoint")
def repeated_indices_lost(wrong):
    def take(W, i):                                        # W  (v, d), i  (n,)
        return W[i]                                        # y  (n, d)

    def bwd(r, dy):
        W, i = r
        zero = jnp.zeros_like(W)
        return zero.at[i].set(dy) if wrong else zero.at[i].add(dy), np.zeros(i.shape, jax.dtypes.float0)
    return gradcheck.case(rule(take, lambda W, i: (take(W, i), (W, i)), bwd), "3 d", "n int[0,3)", sizes={"n": (4, 5), "d": (2, 3)})


@defect("LIN", "linear")
def upstream_clipped(wrong):
    def bwd(_, dy):
        return (jnp.clip(dy, -1, 1) if wrong else dy,)
    return gradcheck.case(rule(lambda x: x, lambda x: (x, None), bwd), "n d", sizes=SMALL)


@defect("I4", "adjoint")
def an_output_s_upstream_dropped(wrong):
    def f(x):
        return {"value": jnp.sum(x * x, -1), "index": jnp.argmax(x, -1), "rest": (jnp.exp(x),)}

    def bwd(x, dy):
        return (2 * x * dy["value"][:, None] + (0 if wrong else jnp.exp(x) * dy["rest"][0]),)
    return gradcheck.case(rule(f, lambda x: (f(x), x), bwd), "n d", sizes=SMALL)


@defect("F4", "adjoint")
def conjugated_where_jax_is_bilinear(wrong):
    def bwd(r, dy):
        a, b = r
        return (dy * jnp.conj(b), dy * jnp.conj(a)) if wrong else (dy * b, dy * a)
    z = np.random.default_rng(0).standard_normal((2, 3, 4)).view(np.complex128)
    return gradcheck.case(rule(lambda a, b: a * b, lambda a, b: (a * b, (a, b)), bwd), z[0], z[1])


@defect("I5", "second")
def the_pullback_s_own_rule_is_wrong(wrong):
    @jax.custom_vjp
    def slope(x, dy):
        return dy * jnp.cos(x)
    slope.defvjp(lambda x, dy: (slope(x, dy), (x, dy)), lambda r, u: (-r[1] * jnp.sin(r[0]) * u * (2 if wrong else 1), jnp.cos(r[0]) * u))
    return gradcheck.case(rule(jnp.sin, lambda x: (jnp.sin(x), x), lambda x, dy: (slope(x, dy),)), "n d", sizes=SMALL)


@defect("A12", "adjoint")
def none_for_an_input_that_matters(wrong):
    def f(x, scale):
        return x * scale

    def bwd(r, dy):
        x, scale = r
        return dy * scale, None if wrong else jnp.sum(dy * x, 0)
    return gradcheck.case(jax.jit(rule(f, lambda x, scale: (f(x, scale), (x, scale)), bwd)), "n d", "d", sizes=SMALL)
