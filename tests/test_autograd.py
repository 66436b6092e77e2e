"""autograd through its adapter: what `defvjp` is told of primitives, and functions composed of them; right ones pass, wrong ones fail."""
from __future__ import annotations

import numpy as np
import pytest

import gradcheck
from gradcheck.adapters import AdaptError
from gradcheck.evidence import Point, Verdict

autograd = pytest.importorskip("autograd", reason="`make test-frameworks` installs autograd")
pytestmark = pytest.mark.frameworks
anp = autograd.numpy

from foreign.autograd_defects import DEFECTS, told  # noqa: E402
from power import BATTERY, judged  # noqa: E402


def subject(target, *inputs, **keywords):
    return gradcheck.case(target, *inputs, **{"name": "it", "framework": "autograd", **keywords}).subject(Point())


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_fails_by_the_check_that_claims_it_and_its_twin_passes(name):
    defect = DEFECTS[name]
    report = gradcheck.run([defect.case(True)], checks=[defect.by], profile="quick")
    assert [r for r in report.cases[0].rows if r.verdict is Verdict.FAIL] and "autograd_defects.py" in report.cases[0].source
    assert {(e.check, e.primal, e.reason) for e in judged(defect.case(False), BATTERY, share=10) if e.verdict.bad} == set()


COMPOSED = {
    "a function": (lambda x: anp.tanh(x) @ anp.ones(x.shape[1]), "n d"),
    "of autograd.numpy": (anp.exp, "n d"),
    "several outputs": (lambda x: (anp.sum(x ** 2), {"y": anp.sin(x), "i": anp.argmax(x)}), "n d"),
    "a primitive of two outputs": (told(lambda x: (2 * x, x * x), lambda y, x: lambda dy: 2 * dy[0] + 2 * x * dy[1]), "n d"),
    "nested arguments": (lambda p, x: anp.dot(x, p["W"]) + p["b"], {"W": "d k", "b": "k"}, "n d"),
    "integers beside": (lambda x, i: x[i] ** 2, "4 d", "n int[0,4)"),
    "complex": (lambda z: anp.real(z * anp.conj(z)) + anp.real(z ** 2), np.random.default_rng(0).standard_normal((3, 4)).view(np.complex128)),
    "noise": (lambda x: x * (np.random.random_sample(x.shape) < 0.5), "n d"),
}


@pytest.mark.parametrize("what", COMPOSED)
def test_what_autograd_derives_itself_passes(what):
    function, *inputs = COMPOSED[what]
    result = gradcheck.check(function, *inputs, profile="quick", framework="autograd")
    assert result, result


def test_an_input_that_does_not_matter_has_the_cotangent_zero():
    s = subject(lambda x, y: 2 * x, "n d", "n d")
    assert not s.pullback(s.primals, [np.ones_like(s.primals["x"])])["y"].any()


def test_a_cotangent_of_another_shape_is_handed_on_as_it_is():
    s = subject(told(lambda x, b: x + b, lambda y, x, b: lambda dy: dy, lambda y, x, b: lambda dy: dy), "n d", "d")
    assert s.pullback(s.primals, [np.ones_like(s.primals["x"])])["b"].shape == s.primals["x"].shape


def test_double_backward_is_the_pullbacks_own():
    tape, x = subject(lambda x: x ** 3, "d").double(), np.array([1.0, 2.0])
    assert np.allclose(tape.forward({"x": x, "dy": np.ones(2)})[0], 3 * x ** 2)
    found = tape.backward(np.ones(2))
    assert np.allclose(found["x"], 6 * x) and np.allclose(found["dy"], 3 * x ** 2)


@pytest.mark.parametrize(("target", "inputs", "why"), [
    (lambda x: "text", ["n d"], "nothing to differentiate"),
    (anp.tanh, [], "say the shape"),
    (lambda x: anp.dot(x, np.ones((7, 2))), ["n 3"], "no combination"),
    (told(lambda x: 2 * x, lambda y, x: lambda dy: 1 / 0), ["n d"], "ZeroDivisionError"),
])
def test_a_refusal_says_why(target, inputs, why):
    try:
        said = str(gradcheck.check(target, *inputs, profile="quick", framework="autograd", checks=["adjoint"]))
    except AdaptError as e:
        said = str(e)
    assert why in said


def test_a_trial_tells_the_framework():
    assert gradcheck.case(lambda x: anp.sum(anp.sin(x)), "n d").family.adapter == "autograd"
    assert gradcheck.case(told(np.sin, lambda y, x: lambda dy: dy), "n d").family.adapter == "autograd"


def test_the_code_of_a_point_runs():
    found = {"anp": anp}
    exec(gradcheck.case(COMPOSED["nested arguments"][0], {"W": "d k", "b": "k"}, "n d", framework="autograd").family.code(Point()), found)
    assert found["pull"](found["y"])["W"].shape == (3, 4)
