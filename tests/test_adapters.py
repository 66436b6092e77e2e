"""Foreign layers as subjects: whatever the style, call and pullback are the layer's own, fresh each time, and nothing outside is touched."""
from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest

from gradcheck.adapters import AdaptError, epynn, functions, numpy_ml, personal, slugnet
from gradcheck.adapters.inputs import Inputs, again, sample
from gradcheck.adapters.noise import held
from gradcheck.adapters.options import Options
from gradcheck.evidence import Point
from gradcheck.law import Law

# --- six styles of the same layer, y = tanh(x W + b), each with a `wrong` switch that forgets the activation's derivative


class Dictionaries:
    """params and grads."""

    def __init__(self, wrong=False):
        rng = np.random.default_rng()
        self.wrong, self.params, self.grads = wrong, {"W": rng.normal(size=(4, 3)), "b": np.zeros(3)}, {}

    def forward(self, x):
        self.x, self.y = x, np.tanh(x @ self.params["W"] + self.params["b"])
        return self.y

    def backward(self, dy):
        dz = dy if self.wrong else dy * (1 - self.y ** 2)
        self.grads["W"], self.grads["b"] = self.x.T @ dz, dz.sum(0)
        return dz @ self.params["W"].T


class Attributes:
    """W, b and, after the first backward, dW, db."""

    def __init__(self, wrong=False):
        self.wrong, self.W, self.b = wrong, np.random.randn(4, 3), np.zeros(3)

    def __call__(self, x):
        self.x, self.z = x, x @ self.W + self.b
        return np.tanh(self.z)

    def backward(self, dout):
        self.dz = dout if self.wrong else dout / np.cosh(self.z) ** 2
        self.dW, self.db = self.x.T @ self.dz, self.dz.sum(axis=0)
        return self.dz @ self.W.T


class Suffixes(Attributes):
    """W_grad, b_grad; the layer is called forward."""
    forward = Attributes.__call__
    __call__ = None

    def backward(self, dout):
        dx = super().backward(dout)
        self.W_grad, self.b_grad = self.dW, self.db
        del self.dW, self.db
        return dx


class Cached:
    """Functional: forward returns (y, cache), backward returns everything by name."""

    def __init__(self, wrong=False):
        self.wrong, self.W, self.b = wrong, np.random.randn(4, 3), np.zeros(3)

    def forward(self, x):
        y = np.tanh(x @ self.W + self.b)
        return y, (x, y)

    def backward(self, dy, cache):
        x, y = cache
        dz = dy if self.wrong else dy * (1 - y * y)
        return {"x": dz @ self.W.T, "W": x.T @ dz, "b": dz.sum(0)}


def closures(wrong=False):
    """Two functions that share variables."""
    W, b, cache = np.random.randn(4, 3), np.zeros(3), {}

    def forward(x):
        cache["x"], cache["y"] = x, np.tanh(x @ W + b)
        return cache["y"]

    def backward(dy):
        dz = dy if wrong else dy * (1 - cache["y"] ** 2)
        return dz @ W.T, {"W": cache["x"].T @ dz, "b": dz.sum(0)}

    return forward, backward


class Boxes:
    """Parameters are objects with data and grad."""

    def __init__(self, wrong=False):
        self.wrong = wrong
        self.W, self.b = (SimpleNamespace(data=np.random.randn(*s), grad=None) for s in ((4, 3), (3,)))

    def forward(self, x):
        self.x, self.y = x, np.tanh(x @ self.W.data + self.b.data)
        return self.y

    def backward(self, dy):
        dz = dy if self.wrong else dy * (1 - self.y ** 2)
        self.W.grad, self.b.grad = self.x.T @ dz, dz.sum(0)
        return dz @ self.W.data.T


class Tuple(Cached):
    """backward returns (dx, dW, db) in that order, and the names are given."""

    def backward(self, dy, cache):
        d = super().backward(dy, cache)
        return d["x"], d["W"], d["b"]


class Lazy(Dictionaries):
    """Parameters exist from the first forward on."""

    def __init__(self, wrong=False):
        super().__init__(wrong)
        self.params = {}

    def forward(self, x):
        if not self.params:
            self.params = {"W": np.random.randn(x.shape[1], 3), "b": np.zeros(3)}
        return super().forward(x)


class Lists:
    """params and grads are lists, the gradients written into arrays that are there from the start."""

    def __init__(self, wrong=False):
        self.wrong, self.params = wrong, [np.random.randn(4, 3), np.zeros(3)]
        self.grads = [np.zeros_like(p) for p in self.params]

    def forward(self, x):
        W, b = self.params
        self.x, self.out = x, np.tanh(x @ W + b)
        return self.out

    def backward(self, dout):
        dz = dout if self.wrong else dout * (1 - self.out ** 2)
        self.grads[0][...], self.grads[1][...] = self.x.T @ dz, dz.sum(0)
        return dz @ self.params[0].T


STYLES = [(Dictionaries, None), (Attributes, None), (Suffixes, None), (Cached, None), (closures, None), (Boxes, None), (Tuple, ["W", "b"]), (Lazy, None)]


def truth(p, dy):
    dz = dy * (1 - np.tanh(p["x"] @ p["W"] + p["b"]) ** 2)
    return {"x": dz @ p["W"].T, "W": p["x"].T @ dz, "b": dz.sum(0)}


@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize(("style", "params"), STYLES, ids=lambda v: getattr(v, "__name__", ""))
def test_every_style_is_read_as_it_is(style, params, wrong):
    family = personal.Personal(lambda: style(wrong), ["n 4"], params=params)
    assert personal.recognises(style())
    s = family.build(Point(sizes={"n": 5}, seed=1))
    assert set(s.differentiable) == {"x", "W", "b"} and s.inputs == ("x",)
    assert np.all(s.primals["b"] != 0), "parameters are in general position"
    dy = s.rng("dy").normal(size=(5, 3))
    np.testing.assert_allclose(s(s.primals)[0], np.tanh(s.primals["x"] @ s.primals["W"] + s.primals["b"]), rtol=1e-12)
    got, want = s.pullback(s.primals, [dy]), truth(s.primals, dy)
    for k, d in want.items():
        assert np.allclose(got[k], d, rtol=1e-9) is not wrong, k
    again_ = s.pullback(s.primals, [dy])
    assert all(np.array_equal(got[k], again_[k]) for k in got), "every evaluation starts anew"


@pytest.mark.parametrize(("style", "params"), STYLES, ids=lambda v: getattr(v, "__name__", ""))
def test_what_was_recognised_is_said(style, params):
    s = personal.Personal(style, ["n 4"], params=params).build(Point())
    assert "W (" in " ".join(s.facts.notes)
    roles = {(a.name, a.role) for a in s.ledger()}
    assert {("x", "input"), ("W", "parameter"), ("y", "output"), ("dW", "cotangent")} <= roles


@pytest.mark.parametrize("wrong", [False, True])
def test_lists_of_parameters(wrong):
    s = personal.Personal(lambda: Lists(wrong), ["n 4"]).build(Point(seed=4))
    assert s.differentiable == ("x", "params0", "params1") and np.all(s.primals["params1"] != 0)
    dy = np.ones((3, 3))
    got, want = s.pullback(s.primals, [dy]), truth({"x": s.primals["x"], "W": s.primals["params0"], "b": s.primals["params1"]}, dy)
    assert np.allclose(got["params0"], want["W"]) is np.allclose(got["x"], want["x"]) is not wrong


def test_params_restrict_what_is_trained():
    s = personal.Personal(Dictionaries, ["n 4"], params=["W"]).build(Point())
    assert s.differentiable == ("x", "W") and "held" in " ".join(s.facts.notes)


def test_a_list_of_inputs():
    class Product:
        def forward(self, xs):
            self.xs = xs
            return np.prod(xs, axis=0)

        def backward(self, dy):
            return [dy * np.prod([b for j, b in enumerate(self.xs) if j != i], axis=0) for i in range(len(self.xs))]

    s = personal.Personal(Product, ["[n d]"]).build(Point(inputs=3))
    assert s.inputs == ("x0", "x1", "x2")
    dy = np.ones((3, 4))
    np.testing.assert_allclose(s.pullback(s.primals, [dy])["x1"], s.primals["x0"] * s.primals["x2"])


def test_two_functions_with_a_cache_in_the_manner_of_a_course():
    def affine_forward(x, w, b):
        return x @ w + b, (x, w)

    def affine_backward(dout, cache):
        x, w = cache
        return dout @ w.T, x.T @ dout, dout.sum(0)

    s = personal.Personal(lambda: (affine_forward, affine_backward), ["n d", "d k", "k"]).build(Point())
    assert s.inputs == ("x", "w", "b") and s.facts.tape == "functional"
    dy = np.ones(s(s.primals)[0].shape)
    np.testing.assert_allclose(s.pullback(s.primals, [dy])["w"], s.primals["x"].T @ dy)


def test_backward_may_be_handed_the_inputs_again():
    class Square:
        def forward(self, x):
            return x * x

        def grad(self, x, dy):
            return 2 * x * dy

    s = personal.Personal(Square, ["n"]).build(Point())
    np.testing.assert_allclose(s.pullback(s.primals, [np.ones(3)])["x"], 2 * s.primals["x"])


def test_a_number_may_be_a_parameter():
    class PReLU:
        alpha, dalpha = 0.25, 0.0

        def __init__(self):
            self.alpha = 0.25

        def forward(self, x):
            self.x = x
            return np.where(x > 0, x, self.alpha * x)

        def backward(self, dy):
            self.dalpha = float((dy * np.minimum(self.x, 0)).sum())
            return np.where(self.x > 0, dy, self.alpha * dy)

    s = personal.Personal(PReLU, ["n d"]).build(Point())
    assert s.differentiable == ("x", "alpha") and s.primals["alpha"].shape == ()
    assert s.pullback(s.primals, [np.ones((3, 4))])["alpha"] == pytest.approx(np.minimum(s.primals["x"], 0).sum())


def test_modes_are_found():
    class Half(Attributes):
        training = True

        def __init__(self):
            super().__init__()
            self.training = True

        def __call__(self, x):
            return super().__call__(x) * (1.0 if self.training else 0.5)

    family = personal.Personal(Half, ["n 4"])
    assert family.modes == (True, False)
    a, b = (family.build(Point(train=t)) for t in (True, False))
    np.testing.assert_allclose(a(a.primals)[0], 2 * b(b.primals)[0])


class TwoGradients(Attributes):
    def backward(self, dout):
        dx = super().backward(dout)
        self.grad_W = 2 * self.dW
        return dx


class ThreeArrays(Cached):
    """Two biases of one shape: the order in which gradients are returned does not tell which is whose."""

    def __init__(self):
        super().__init__()
        self.c = np.ones(3)

    def forward(self, x):
        y, cache = super().forward(x)
        return y * self.c, (*cache, self.c)

    def backward(self, dy, cache):
        x, y, c = cache
        d = super().backward(dy * c, (x, y))
        return d["x"], d["W"], d["b"], (dy * y).sum(0)


class TwoUpstreams:
    def forward(self, x):
        return x

    def backward(self, u, v):
        return u


@pytest.mark.parametrize(("layer", "params", "says"), [
    (TwoGradients, None, "params={'W': '…'}"),
    (ThreeArrays, None, "params=['W', 'b']"),
    (Dictionaries, ["U"], "no array called 'U'"),
    (TwoUpstreams, None, "call the saved values `cache`"),
])
def test_what_is_ambiguous_is_an_error_that_says_how_to_name_it(layer, params, says):
    family = personal.Personal(layer, ["n 4"], params=params)
    with pytest.raises(AdaptError, match=says.replace("[", r"\[").replace("(", r"\(").replace("{", r"\{")):
        family.build(Point())
    with pytest.raises(AdaptError):
        family.fits({}, [(3, 4)])


def test_an_ambiguous_gradient_can_be_named():
    s = personal.Personal(TwoGradients, ["n 4"], params={"W": "dW", "b": "db"}).build(Point())
    dy = np.ones((3, 3))
    np.testing.assert_allclose(s.pullback(s.primals, [dy])["W"], truth(s.primals, dy)["W"])


def test_an_error_in_backward_does_not_hide_the_layer():
    class Raises(Dictionaries):
        def backward(self, dy):
            raise IndexError("of theirs")

    family = personal.Personal(Raises, ["n 4"])
    assert family.fits({}, [(3, 4)])
    s = family.build(Point())
    with pytest.raises(IndexError, match="of theirs"):
        s.pullback(s.primals, [np.ones((3, 3))])


# --- the other protocols


class ListLayer:
    """The numpy-ml protocol: lazy parameters, a list as tape, gradients that add up, a running mean."""

    def __init__(self, act=None):
        self.X, self.parameters, self.gradients, self.derived_variables, self.is_initialized = [], {"W": None}, {}, {}, False
        self.act = act

    def forward(self, X, retain_derived=True):
        if not self.is_initialized:
            self.parameters = {"W": np.random.randn(X.shape[1], 2), "mean": np.zeros(X.shape[1])}
            self.gradients, self.derived_variables, self.is_initialized = {"W": np.zeros((X.shape[1], 2))}, {"Z": []}, True
        Z = (X - self.parameters["mean"]) @ self.parameters["W"]
        if retain_derived:
            self.X.append(X)
            self.derived_variables["Z"].append(Z)
        return Z if self.act is None else self.act(Z)

    def backward(self, dLdY, retain_grads=True):
        dLdY = dLdY if isinstance(dLdY, list) else [dLdY]
        dXs = []
        for dy, X in zip(dLdY, self.X, strict=True):
            self.gradients["W"] += (X - self.parameters["mean"]).T @ dy
            dXs.append(dy @ self.parameters["W"].T)
        return dXs[0] if len(dXs) == 1 else dXs

    def flush_gradients(self):
        self.X = []


def test_the_list_protocol():
    layer = ListLayer()
    assert numpy_ml.recognises(layer) and not numpy_ml.recognises(Dictionaries())
    s = numpy_ml.NumpyML(ListLayer, ["n d"]).build(Point(seed=2))
    assert s.differentiable == ("X", "W") and set(s.primals) == {"X", "W", "mean"} and s.facts.tape == "list"
    u, v = np.ones((3, 2)), np.arange(6.0).reshape(3, 2)
    np.testing.assert_allclose(s.pullback(s.primals, [u])["W"], s.primals["X"].T @ u)
    tape = s.tape()
    for _ in range(2):
        tape.forward(dict(s.primals))
    np.testing.assert_allclose(tape.backward(u, v)["W"], s.primals["X"].T @ (u + v), err_msg="one upstream for each forward")


class Cell:
    """A recurrent cell of that protocol: h' = h w + x, steps walked backwards; the second output has no upstream."""

    def __init__(self):
        self.n_timesteps, self.is_initialized = None, False
        self.parameters, self.gradients, self.derived_variables = {"w": None}, {}, {}

    def forward(self, Xt):
        if not self.is_initialized:
            self.parameters, self.gradients, self.is_initialized = {"w": np.array([0.5])}, {"w": np.zeros(1)}, True
            self.derived_variables, self.later = {"h": [np.zeros_like(Xt)]}, 0.0
        self.derived_variables["h"].append(self.derived_variables["h"][-1] * self.parameters["w"] + Xt)
        self.step = len(self.derived_variables["h"]) - 1
        return self.derived_variables["h"][-1], Xt

    def backward(self, dA):
        d = dA + self.later
        self.step -= 1
        self.gradients["w"] += (d * self.derived_variables["h"][self.step]).sum()
        self.later = d * self.parameters["w"]
        return d

    def flush_gradients(self):
        pass


def test_a_cell_is_walked_backwards_and_its_first_step_is_a_held_past():
    s = numpy_ml.NumpyML(Cell, ["[n]"]).build(Point(inputs=2, sizes={"n": 1}))
    assert s.facts.tape == "recurrent" and "no upstream" in " ".join(s.facts.notes)
    ys = s(s.primals)
    w, x1 = s.primals["w"], s.primals["x1"]
    past = (ys[0] - s.primals["x0"]) / w
    np.testing.assert_allclose(ys[1], ys[0] * w + x1)
    d = s.pullback(s.primals, [np.zeros(1), np.ones(1)])
    np.testing.assert_allclose(d["w"], ys[0] + w * past)
    np.testing.assert_allclose(d["x0"], w)


class Network:
    """The EpyNN protocol."""

    def __init__(self, bias=True):
        self.p, self.g, self.d, self.fs, self.bias = {}, {}, {}, {}, bias

    def compute_shapes(self, A):
        self.fs["W"] = (A.shape[1], 2)

    def initialize_parameters(self):
        self.p = {"W": self.np_rng.normal(size=self.fs["W"]), "b": np.zeros((1, 2))}

    def forward(self, A):
        self.X = A
        return A @ self.p["W"] + self.p["b"]

    def backward(self, dX):
        self.dZ = dX
        return dX @ self.p["W"].T

    def compute_gradients(self):
        self.g = {"dW": self.X.T @ self.dZ, "db": self.dZ.sum(0) if self.bias else 0.0}


@pytest.mark.parametrize(("bias", "trained"), [(True, ("A", "W", "b")), (False, ("A", "W"))])
def test_the_dictionaries_p_and_g(bias, trained):
    assert epynn.recognises(Network())
    s = epynn.EpyNN(lambda: Network(bias), ["n d"]).build(Point())
    assert s.differentiable == trained
    d = s.pullback(s.primals, [np.ones((3, 2))])
    np.testing.assert_allclose(d["W"], s.primals["A"].T @ np.ones((3, 2)))
    assert not bias or d["b"].shape == (1, 2)


class Connected:
    """The slugnet protocol."""

    def __init__(self, outshape, p=0.5):
        self.out, self.p = outshape, p

    def connect(self, prev_layer=None):
        self.w, self.dw = np.random.randn(prev_layer.outshape[-1], self.out), None

    def call(self, X, train=True):
        self.X = X * (np.random.rand(*X.shape) > self.p) if train else X * (1 - self.p)
        return self.X @ self.w

    def backprop(self, g):
        self.dw = self.X.T @ g
        return g @ self.w.T * (self.X != 0)


def test_connect_call_backprop_with_its_mask_held():
    assert slugnet.recognises(Connected(2))
    family = slugnet.Slugnet(lambda: Connected(2), ["n d"])
    assert family.modes == (True, False)
    s = family.build(Point(sizes={"n": 6, "d": 5}))
    assert np.array_equal(s(s.primals)[0], s(s.primals)[0]), "the mask is the same at every call"
    d = s.pullback(s.primals, [np.ones((6, 2))])
    assert d["w"].shape == (5, 2) and np.any(d["X"] == 0)


# --- two functions


def test_two_functions():
    s = functions.subject(lambda p: p["x"] @ p["W"], lambda p, dy: {"x": dy @ p["W"].T, "W": p["x"].T @ dy}, x="n d", W="d k", name="matmul")
    assert s.differentiable == ("x", "W") and s.primals["x"].shape[1] == s.primals["W"].shape[0]
    other = s.at(sizes={"n": 7, "d": 2, "k": 5}, seed=3)
    assert other.primals["x"].shape == (7, 2) and other.primals["W"].shape == (2, 5)
    dy = np.ones((7, 5))
    np.testing.assert_allclose(other.pullback(other.primals, [dy])["W"], other.primals["x"].T @ dy)


def test_arrays_are_resampled_from_their_own_entries():
    x, ids = np.array([0.5, 2.0, 3.0]), np.array([0, 1, 2])
    s = functions.subject(lambda p: p["x"][p["ids"]], lambda p, dy: {"x": np.bincount(p["ids"], dy, 3)}, x=x, ids=ids)
    assert np.array_equal(s.primals["x"], x) and s.differentiable == ("x",)
    other = s.at(seed=5)
    assert sorted(other.primals["x"]) == sorted(x) and other.primals["ids"].dtype == ids.dtype
    family = functions.Given(s)
    assert family.law({}) is None and family.build(Point(seed=5)).primals.keys() == s.primals.keys()


def test_a_name_that_is_no_primal_is_an_error():
    s = functions.subject(lambda p: p["x"], lambda p, dy: {"X": dy}, x="n")
    with pytest.raises(AdaptError, match="returned X, and the primals are x"):
        s.pullback(s.primals, [np.ones(3)])


def test_several_outputs_come_as_arguments_or_as_one_tuple():
    def call(p):
        return p["x"], 2 * p["x"]

    for back in (lambda p, a, b: {"x": a + 2 * b}, lambda p, dys: {"x": dys[0] + 2 * dys[1]}):
        s = functions.subject(call, back, x="n")
        np.testing.assert_allclose(s.pullback(s.primals, [np.ones(3), np.ones(3)])["x"], 3 * np.ones(3))


# --- what all share


@pytest.mark.parametrize(("text", "inside"), [
    ("n", lambda x: np.any(x < 0)), ("n > 0", lambda x: np.all(x > 0)), ("n >= 0", lambda x: np.all(x >= 0)),
    ("n in (2,3)", lambda x: np.all((x > 2) & (x < 3))),
    ("n int[0,4)", lambda x: x.dtype.kind == "i" and set(x) == {0, 1, 2, 3}), ("n int(0,4]", lambda x: set(x) == {1, 2, 3, 4}),
])
def test_samples_lie_in_their_domain(text, inside):
    x = sample(Law.parse(text).inputs[0].domain, (200,), np.random.default_rng(0))
    short = np.mean(x == x.astype(np.float32))
    assert inside(x) and (short == 1 if x.dtype.kind == "i" else 0.4 < short < 0.6), "every other one has few binary digits"


def test_shapes_share_their_axes_and_take_a_points_sizes():
    given = Inputs(("n d", "d k"))
    assert given.shapes(Point()) == ((3, 4), (4, 5))
    assert given.shapes(Point(sizes={"d": 9})) == ((3, 9), (9, 5))
    assert Inputs(("n * d",)).shapes(Point(sizes={"*": (2, 2)})) == ((3, 2, 2, 5),)


def test_a_mask_is_no_array_to_shuffle():
    mask = np.tril(np.ones((3, 3), bool))
    assert np.array_equal(again(mask, np.random.default_rng(0)), mask)


def test_options_have_labels_and_a_way_back():
    options = Options.of({"pool": [np.max, np.mean], "kernel": [(1, 1), (2, 2)], "act": {"id": abs}, "n": range(1, 3)})
    assert options.domains == {"pool": ("max", "mean"), "kernel": ("(1, 1)", "(2, 2)"), "act": ("id",), "n": (1, 2)}
    assert options.values({"pool": "mean", "kernel": "(2, 2)"}, "L") == {"pool": np.mean, "kernel": (2, 2), "act": abs, "n": 1}
    with pytest.raises(ValueError, match="two values called 'max'"):
        Options.of({"pool": [np.max, SimpleNamespace(__name__="max")]})
    with pytest.raises(ValueError, match="L has the options pool"):
        options.values({"stride": 1}, "L")


def test_noise_is_held_and_global_state_is_put_back():
    def draw():
        return random.random(), np.random.rand(), np.random.default_rng().random(), np.random.RandomState().rand()

    random.seed(1)
    np.random.seed(1)
    want = random.random(), np.random.rand()
    random.seed(1)
    np.random.seed(1)
    with held(7):
        a = draw()
    with held(7):
        b = draw()
    assert a == b and (random.random(), np.random.rand()) == want
    assert np.random.default_rng().random() != a[2]


def test_a_layers_own_generator_is_held_too():
    class Noisy:
        def __init__(self):
            self.rng = np.random.default_rng()

        def forward(self, x):
            self.mask = self.rng.random(x.shape) > 0.5
            return x * self.mask

        def backward(self, dy):
            return dy * self.mask

    s = personal.Personal(Noisy, ["n"]).build(Point(sizes={"n": 50}))
    tape = s.tape()
    a, b = (tape.forward(dict(s.primals))[0] for _ in range(2))
    assert np.array_equal(a, b) and np.array_equal(a, s(s.primals)[0])


def test_a_faulty_layer_can_be_seen_to_change_its_primals():
    class Greedy(Dictionaries):
        def forward(self, x):
            self.params["W"] *= 2
            return super().forward(x)

    s = personal.Personal(Greedy, ["n 4"]).build(Point())
    given = {k: np.copy(v) for k, v in s.primals.items()}
    s.tape().forward(given)
    assert not np.array_equal(given["W"], s.primals["W"]) and np.array_equal(given["x"], s.primals["x"])


def test_code_is_a_persons_to_run():
    family = numpy_ml.NumpyML(lambda act: ListLayer(act), ["n d"], options={"act": {"none": None, "tanh": np.tanh}})
    code = family.code(Point(options={"act": "tanh"}))
    assert "lambda act: ListLayer(act)" in code and "act=np.tanh" in code and "layer.backward(dy)" in code
    scope = {"ListLayer": ListLayer, "dy": np.ones((3, 2))}
    exec(code, scope)
    assert scope["dx"].shape == (3, 4)


def test_a_constructor_that_raises_is_met_when_the_layer_is_built():
    class Never:
        def __init__(self):
            raise RuntimeError("of theirs")

    family = personal.Personal(Never, ["n"])
    assert family.equation == "" and family.source == "" and not family.fits({}, [(3,)])
    with pytest.raises(RuntimeError, match="of theirs"):
        family.build(Point())


@pytest.mark.parametrize(("adapter", "layer"), [(personal, Dictionaries), (slugnet, Connected), (numpy_ml, ListLayer), (epynn, Network)])
def test_a_class_is_not_taken_for_a_layer(adapter, layer):
    assert not adapter.recognises(layer)
