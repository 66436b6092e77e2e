"""The public names are those of the documentation, lazy, typed and documented; every example in a docstring runs; a Result shows itself."""
from __future__ import annotations

import ast
import doctest
import inspect
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import gradcheck
from gradcheck.adapters import ADAPTERS, AdaptError
from gradcheck.checks import CHECKS

FUNCTIONS = ("check", "case", "subject", "adapt", "run", "parametrize", "load", "register_check", "adapter")
TYPES = ("Result", "Report", "Evidence", "Verdict", "Subject", "Case")


class Scale:
    """y = a x"""

    def __init__(self, a=2.0, wrong=False):
        self.a, self.wrong = np.full(3, a), wrong

    def forward(self, x):
        self.x = x
        return self.a * x

    def backward(self, dy):
        self.da = (self.x * dy).sum(0)
        return self.a * dy * (1.5 if self.wrong else 1.0)


def quick(target, *inputs, **keywords):
    return gradcheck.check(target, *inputs, profile="quick", **{"checks": ["adjoint"], **keywords})


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_is_typed_documented_and_its_example_runs(name, folder):
    function = getattr(gradcheck, name)
    hints = inspect.signature(function)
    assert hints.return_annotation is not hints.empty and all(p.annotation is not p.empty for p in hints.parameters.values())
    assert "Errors: " in function.__doc__
    assert examined(function) > 0


@pytest.mark.parametrize(("owner", "name"), [("Result", None), ("Report", "save")])
def test_the_examples_of_types_run(owner, name, folder):
    thing = getattr(gradcheck, owner)
    assert examined(getattr(thing, name) if name else thing) > 0


def examined(thing):
    """How many lines of a docstring's example were run; each must print what it says."""
    test = doctest.DocTestParser().get_doctest(inspect.getdoc(thing), {}, thing.__qualname__, None, None)
    said, checks, adapters = [], dict(CHECKS), list(ADAPTERS)
    failures = doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    CHECKS.clear(), CHECKS.update(checks)                  # what an example registers is gone with it
    ADAPTERS[:] = adapters
    assert failures.failed == 0, "".join(said)
    return failures.attempted


def test_the_public_names_are_these():
    assert {*FUNCTIONS, *TYPES} == {*gradcheck.__all__}
    assert {*gradcheck.__all__} <= {*dir(gradcheck)}
    with pytest.raises(AttributeError, match="has no attribute 'chek'"):
        _ = gradcheck.chek


def test_who_reads_types_sees_the_names_that_are_there():
    tree = ast.parse(Path(gradcheck.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    assert {alias.asname: node.module for node in block.body for alias in node.names} == gradcheck._HOME
    assert (Path(gradcheck.__file__).parent / "py.typed").exists()


def drawn(draw, shape):
    return draw(hnp.arrays(np.float64, shape, elements=st.floats(-3, 3)))


@st.composite
def matrices(draw):
    return drawn(draw, (draw(st.integers(1, 5)), 3))


ARRAY = np.arange(6.0).reshape(2, 3) + 0.5


@pytest.mark.parametrize(("target", "inputs"), [
    (gradcheck.case(Scale, "n 3"), []),
    (gradcheck.subject(lambda p: 2 * p["x"], lambda p, dy: {"x": 2 * dy}, x="n d"), []),
    (Scale, ["n 3"]),
    (Scale(), ["n 3"]),
    (lambda: Scale(3.0), ["n 3"]),
    (Scale, [ARRAY]),
    (Scale, [matrices()]),
    (gradcheck.subject(lambda p: 2 * p["x"], lambda p, dy: {"x": 2 * dy}, x=matrices()), []),
], ids=["case", "subject", "class", "layer", "factory", "array", "strategy", "strategy of a subject"])
def test_what_check_takes(target, inputs):
    result = quick(target, *inputs)
    assert result and result.verdict == "pass" and {e.primal for e in result.evidence} >= {"x"}, result


@pytest.mark.parametrize("inputs", [["n 3"], [ARRAY], [matrices()]], ids=["text", "array", "strategy"])
def test_a_wrong_layer_fails_whatever_the_inputs_are_given_as(inputs):
    result = quick(lambda: Scale(wrong=True), *inputs)
    assert not result and {e.primal for e in result.evidence if e.verdict == "fail"} == {"x"}
    assert "ratio 1.5" in str(result)


def test_strategies_are_drawn_alike_in_every_run_and_together():
    shared = st.shared(st.integers(1, 4), key="n")
    two = [shared.flatmap(lambda n: hnp.arrays(np.float64, (n, 2), elements=st.floats(-1, 1))) for _ in range(2)]

    class Product:
        def forward(self, a, b):
            self.a, self.b = a, b
            return a * b

        def backward(self, dy):
            return dy * self.b, dy * self.a

    first, second = (quick(Product, *two, name="product") for _ in range(2))
    assert first and [e.measured for e in first.evidence] == [e.measured for e in second.evidence]
    case = gradcheck.case(Product, *two)
    from gradcheck.strategies import points
    shapes = {case.subject(p).primals["a"].shape for p in points(case, 20, 0)}
    assert len(shapes) > 1 and all(case.subject(p).primals["a"].shape == case.subject(p).primals["b"].shape for p in points(case, 20, 0))


@pytest.mark.parametrize(("call", "error", "says"), [
    (lambda: gradcheck.check(Scale), AdaptError, 'Scale needs the shape of what goes in: gradcheck.case(Scale, "n d")'),
    (lambda: gradcheck.check(Scale, 3), TypeError, "an input is a shape as text, an array or a Hypothesis strategy, got int: 3"),
    (lambda: gradcheck.check(Scale, "n 3)"), ValueError, "n 3)"),
    (lambda: gradcheck.check(3, "n 3"), AdaptError, "none of the protocols known"),
    (lambda: gradcheck.check(gradcheck.case(Scale, "n 3"), "n 4"), TypeError, "the case 'Scale' says itself what it is judged with, got 'n 4' beside it"),
    (lambda: gradcheck.check(Scale, "n 3", checks=["adjont"]), ValueError, "there is no check 'adjont'"),
    (lambda: gradcheck.check(Scale, "n 3", profile="slow"), ValueError, "there is no profile 'slow'"),
    (lambda: gradcheck.load("nowhere.json"), OSError, "nowhere.json"),
])
def test_a_mistake_says_what_was_asked_and_what_came(call, error, says):
    with pytest.raises(error) as raised:
        call()
    assert says in str(raised.value)


class Tags(HTMLParser):
    """The tags and the text of a page; every tag is closed."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_a_result_shows_itself_in_a_terminal_and_a_notebook():
    right, wrong = quick(Scale, "n 3"), quick(lambda: Scale(wrong=True), "n 3", name="<script>alert(1)</script>")
    assert str(right) == repr(right) and str(right).startswith("1 layer is right")
    assert "FAIL  <script>alert(1)</script>: adjoint of x" in str(wrong)
    for result, words in ((right, ["right", "pass", "adjoint"]), (wrong, ["wrong", "fail", "adjoint", "<script>alert(1)</script>", "ratio 1.5"])):
        page = Tags(result._repr_html_())
        assert "script" not in page.tags and {"table", "th", "td", "details"} <= {*page.tags}
        assert all(any(w in t for t in page.text) for w in words) and len(result._repr_html_()) < 10_000
    assert {"http", "src="} & {*str(right._repr_html_())} == set()


def test_adapt_gives_a_subject():
    subject = gradcheck.adapt(Scale(2.0), "n 3")
    assert isinstance(subject, gradcheck.Subject) and subject.inputs == ("x",) and set(subject.differentiable) == {"x", "a"}
    (y,) = subject(subject.primals)
    np.testing.assert_allclose(y, subject.primals["a"] * subject.primals["x"])


def test_nothing_outside_is_touched():
    layer, state = Scale(), np.random.get_state()[1].copy()
    before = dict(vars(layer))
    assert quick(layer, "n 3")
    assert vars(layer).keys() == before.keys() and layer.a is before["a"] and np.array_equal(np.random.get_state()[1], state)
    assert "hypothesis" in sys.modules            # imported here; that gradcheck does not is tested in test_formalities
