"""JAX through its adapter: `custom_vjp` rules and plain functions, pytrees, integers; right ones pass, wrong ones fail."""
from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest

import gradcheck
from gradcheck.adapters import AdaptError
from gradcheck.adapters.jax import OtherValue
from gradcheck.evidence import Point

jax = pytest.importorskip("jax", reason="`make test-frameworks` installs JAX")
pytestmark = pytest.mark.frameworks
jnp = jax.numpy

from foreign.jax_defects import DEFECTS, SMALL, rule  # noqa: E402
from power import BATTERY, judged  # noqa: E402

FEW = ("adjoint", "linear", "shapes", "pure", "dtype", "subset", "second")


def bad(case, checks=BATTERY):
    """What is accused at one point of each dtype."""
    return {(e.check, e.primal, e.reason) for e in judged(case, checks, share=20) if e.verdict.bad}


def subject(target, *inputs, point=Point(), **keywords):
    return gradcheck.case(target, *inputs, **{"name": "it", "framework": "jax", **keywords}).subject(point)


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_fails_by_the_check_that_claims_it_and_its_twin_passes(name):
    defect = DEFECTS[name]
    assert defect.by in {check for check, _, _ in bad(defect.case(True), [defect.by])}
    twin = defect.case(False)
    assert bad(twin) == set() and "jax_defects.py" in twin.family.source


class Pair(NamedTuple):
    a: object
    b: object


PLAIN = {
    "a function": (lambda x: jnp.sin(x) * x, "n d"),
    "compiled": (jax.jit(lambda x: x @ x.T), "n d"),
    "of jax.numpy": (jnp.tanh, "n d"),
    "a pytree of arguments": (lambda p, xs: p.a @ xs[0]["w"] + p.b, Pair("n d", "k"), ({"w": "d k"},)),
    "integers beside": (lambda x, i: (x[i], jnp.argmax(x), {"rest": x.sum()}), "4 d", "n int[0,4)"),
    "a custom_jvp": (jax.nn.relu, "n d"),
    "control flow on values": (lambda x: x * 2 if x.sum() > 0 else x * 3, "n d"),
    "a loop": (lambda W, x: jax.lax.scan(lambda h, t: (jnp.tanh(t + h @ W),) * 2, x[0], x), "d d", "n t d"),
    "a custom_vjp, mapped": (jax.vmap(rule(jnp.sin, lambda x: (jnp.sin(x), x), lambda x, dy: (dy * jnp.cos(x),))), "n d"),
    "half of the input used": (lambda x: x[:1] ** 2, "n d"),
    "complex": (lambda z: jnp.abs(z) ** 2 + (z * z).real, np.random.default_rng(0).standard_normal((3, 4)).view(np.complex128)),
    "noise held by a key": (lambda x, key: x * jax.random.bernoulli(key, 0.5, x.shape), "n d", np.array([0, 7], np.uint32)),
}


@pytest.mark.parametrize("what", PLAIN)
def test_what_jax_derives_itself_passes(what):
    function, *inputs = PLAIN[what]
    assert bad(gradcheck.case(function, *inputs, sizes=SMALL, framework="jax"), FEW) == set()


def test_leaves_of_pytrees_have_names():
    s = subject(PLAIN["a pytree of arguments"][0], Pair("n d", "k"), ({"w": "d k"},))
    assert s.inputs == ("p.a", "p.b", "xs.0.w") and s.differentiable == s.inputs
    assert subject(lambda x, i: x[i], "4 d", "n int[0,4)").differentiable == ("x",)


def test_double_precision_is_inside_only():
    s = subject(jnp.sin, "n d")
    y, = s(s.primals)
    assert y.dtype == np.float64 and np.allclose(y, np.sin(s.primals["x"]), rtol=1e-15, atol=0)
    assert jnp.asarray(np.ones(1)).dtype == np.float32
    low = subject(jnp.sin, "n d", point=Point(dtype="float32"))
    assert low(low.primals)[0].dtype == np.float32 == low.pullback(low.primals, low(low.primals))["x"].dtype


def test_noise_that_depends_on_the_precision_has_no_twin():
    function, *inputs = PLAIN["noise held by a key"]
    s = subject(function, *inputs, point=Point(dtype="float32"))
    assert np.isfinite(s(s.primals)[0]).all()
    with pytest.raises(ValueError, match="other noise"):
        s({k: x.astype("float64") if x.dtype.kind == "f" else x for k, x in s.primals.items()})


def test_a_forward_rule_of_another_function_is_an_error():
    case = gradcheck.case(rule(lambda x: x * x, lambda x: (1.5 * x * x, x), lambda x, dy: (2 * x * dy,)), "n d", sizes=SMALL, name="other")
    found = next(e for e in judged(case, ["adjoint"], share=20) if e.verdict.bad)
    assert found.verdict == "error" and OtherValue.__name__ in found.reason


def test_double_backward_is_the_pullbacks_own():
    tape, x = subject(lambda x: x ** 3, "d").double(), np.array([1.0, 2.0])
    assert np.allclose(tape.forward({"x": x, "dy": np.ones(2)})[0], 3 * x ** 2)
    found = tape.backward(np.ones(2))
    assert np.allclose(found["x"], 6 * x) and np.allclose(found["dy"], 3 * x ** 2)


@pytest.mark.parametrize(("target", "inputs", "why"), [
    (lambda x: 3, ["n d"], "nothing to differentiate"),
    (jax.jit(lambda x: x), [], "say the shape"),
    (lambda x: x @ jnp.ones((7, 2)), ["n 3"], "no combination"),
])
def test_a_refusal_says_why(target, inputs, why):
    try:
        said = str(gradcheck.check(target, *inputs, profile="quick", framework="jax", checks=["shapes"]))
    except AdaptError as e:
        said = str(e)
    assert why in said


def test_arrays_and_types_tell_the_framework():
    family = lambda *args, **keywords: gradcheck.case(*args, **keywords).family.adapter
    assert family(lambda x: 2 * x, jnp.ones(3)) == family(jax.jit(lambda x: x), "n") == family(partial(jax.custom_vjp(lambda x: x)), "n") == "jax"
    assert family(lambda x: jnp.where(x > 0, x, 0), "n") == "jax"


FILE = """
import jax
import jax.numpy as jnp
import gradcheck

@jax.custom_vjp
def square(x):
    return x * x

def square_bwd(x, dy):
    return (x * dy,)

square.defvjp(lambda x: (x * x, x), square_bwd)
case = gradcheck.case(square, "n d", sizes={"n": (1, 2), "d": (1, 2)}, name="square")
"""


def test_a_file_from_the_command_line(folder):
    (folder / "mine.py").write_text(FILE)
    run = [sys.executable, "-m", "gradcheck", "run", "mine.py", "--profile", "quick", "--select", "adjoint"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and "mine.py:10" in done.stdout and "ratio 0.5" in done.stdout, done.stdout + done.stderr


def test_the_code_of_a_point_runs():
    family = gradcheck.case(PLAIN["a pytree of arguments"][0], Pair("n d", "k"), ({"w": "d k"},), framework="jax").family
    found = {"jnp": jnp, "Pair": Pair}
    exec(family.code(Point()), found)
    assert found["y"].shape == (3, 5) and len(found["d"]) == 2
