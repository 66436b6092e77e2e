"""Layers as people write them, each judged by one line: the right version passes the whole battery, the wrong one fails for the array that is wrong.

Every style computes y = tanh(x W + b) unless it says otherwise, and takes `wrong`, which forgets to sum db over the batch or
the like. What a style is read as is stated in the report; what can be read in two ways, or in none, is an error that says how to name it.
"""
from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass, field
from functools import wraps
from types import SimpleNamespace

import numpy as np
import pytest

import gradcheck
from gradcheck.adapters import AdaptError
from gradcheck.evidence import Point

D, K = 3, 2


def weights():
    return np.random.randn(D, K), np.random.randn(K)


class Base:
    """What the styles share: the formula, on arrays that are given."""

    def __init__(self, wrong=False):
        self.wrong = wrong

    @staticmethod
    def out(x, W, b):
        return np.tanh(x @ W + b)

    def back(self, x, y, W, dy):
        dz = dy * (1 - y * y)
        return dz @ W.T, x.T @ dz, dz.sum(0) * (0.5 if self.wrong else 1.0)


# --- what is where: dictionaries, attributes, lists, boxes, methods ---------------------------------------------------------------

class Dictionaries(Base):
    def __init__(self, wrong=False):
        super().__init__(wrong)
        self.params, self.grads = dict(zip("Wb", weights(), strict=True)), {}

    def forward(self, x):
        self.x, self.y = x, self.out(x, **self.params)
        return self.y

    def backward(self, dy):
        dx, self.grads["W"], self.grads["b"] = self.back(self.x, self.y, self.params["W"], dy)
        return dx


class SpelledKeys(Dictionaries):
    """grads['dW'] for params['W']."""

    def backward(self, dy):
        dx, self.grads["dW"], self.grads["db"] = self.back(self.x, self.y, self.params["W"], dy)
        return dx


class Attributes(Base):
    names = "dW", "db"

    def __init__(self, wrong=False):
        super().__init__(wrong)
        self.W, self.b = weights()

    def forward(self, x):
        self.x, self.y = x, self.out(x, self.W, self.b)
        return self.y

    def backward(self, dy):
        dx, dW, db = self.back(self.x, self.y, self.W, dy)
        for name, d in zip(self.names, (dW, db), strict=True):
            setattr(self, name, d)
        return dx


class Suffixed(Attributes):
    names = "W_grad", "b_grad"


class Prefixed(Attributes):
    names = "grad_W", "grad_b"


class Words(Base):
    """weights and bias, dW and db; forward leaves its output and backward its cotangent, neither returns anything."""

    def __init__(self, wrong=False):
        super().__init__(wrong)
        self.weights, self.bias = weights()

    def forward(self, inputs, training):
        self.inputs, self.output = inputs, self.out(inputs, self.weights, self.bias)

    def backward(self, dvalues):
        self.dinputs, self.dweights, self.dbias = self.back(self.inputs, self.output, self.weights, dvalues)


class OtherWords(Attributes):
    """kernel and bias, whose gradients are called dW and db."""

    def __init__(self, wrong=False):
        Base.__init__(self, wrong)
        self.kernel, self.bias = weights()

    W = property(lambda self: self.kernel)
    b = property(lambda self: self.bias)


class LossOver(Attributes):
    names = "dL_dW", "dLdb"


class Private(Attributes):
    """Names that begin with underscores, and methods that are joined otherwise."""
    names = "_dW", "_Private__db"

    def __init__(self, wrong=False):
        Base.__init__(self, wrong)
        self._W, self.__b = weights()

    W, b = property(lambda self: self._W), property(lambda self: self.__b)
    forwardPropagate, backPropagate = Attributes.forward, lambda self, dy: Attributes.backward(self, dy)
    forward = None


class LeftUnderAnyName(Words):
    """backward leaves the input's cotangent where no name tells whose it is."""

    def backward(self, derivatives):
        super().backward(derivatives)
        self.derivatives = vars(self).pop("dinputs")


class KeepsOnDemand(Attributes):
    """forward keeps what backward needs if it is told to."""

    def forward(self, x, save_cache=False):
        y = self.out(x, self.W, self.b)
        if save_cache:
            self.x, self.y = x, y
        return y


class SinglePrecision(Dictionaries):
    """Parameters, and the arrays that await their gradients, are in float32."""

    def __init__(self, wrong=False):
        super().__init__(wrong)
        self.params = {k: v.astype(np.float32) for k, v in self.params.items()}
        self.grads = {k: np.zeros_like(v) for k, v in self.params.items()}

    def backward(self, dy):
        dx, self.grads["W"][...], self.grads["b"][...] = self.back(self.x, self.y, self.params["W"], dy)
        return dx


class Boxes(Base):
    box = staticmethod(lambda value: SimpleNamespace(data=value, grad=None))
    value, gradient = "data", "grad"

    def __init__(self, wrong=False):
        super().__init__(wrong)
        self.W, self.b = map(self.box, weights())

    def forward(self, x):
        self.x, self.y = x, self.out(x, getattr(self.W, self.value), getattr(self.b, self.value))
        return self.y

    def backward(self, dy):
        dx, dW, db = self.back(self.x, self.y, getattr(self.W, self.value), dy)
        setattr(self.W, self.gradient, dW), setattr(self.b, self.gradient, db)
        return dx


@dataclass
class Parameter:
    value: np.ndarray
    grad: np.ndarray = field(init=False)

    def __post_init__(self):
        self.grad = np.zeros_like(self.value)


class Parameters(Boxes):
    """Objects of a class of their own, and a method that hands them out."""
    box, value = Parameter, "value"

    def parameters(self):
        return [self.W, self.b]


class Lists(Base):
    def __init__(self, wrong=False):
        super().__init__(wrong)
        self.params = [*weights()]
        self.grads = [np.zeros_like(p) for p in self.params]

    def forward(self, x):
        self.x, self.y = x, self.out(x, *self.params)
        return self.y

    def backward(self, dy):
        dx, self.grads[0][...], self.grads[1][...] = self.back(self.x, self.y, self.params[0], dy)
        return dx


class Methods(Attributes):
    """Private names; two methods hand out parameters and gradients, in one order."""

    def __init__(self, wrong=False):
        Base.__init__(self, wrong)
        self._u, self._v = weights()

    W, b = property(lambda self: self._u), property(lambda self: self._v)

    def backward(self, dy):
        dx, self._first, self._second = self.back(self.x, self.y, self._u, dy)
        return dx

    def parameters(self):
        return [self._u, self._v]

    def gradients(self):
        return [self._first, self._second]


class Pairs(Methods):
    """One method yields pairs of a parameter and its gradient."""
    parameters = gradients = None

    def backward(self, dy):
        dx, self._first, self._second = self.back(self.x, self.y, self._u, dy)
        return dx

    def params(self):
        yield self._u, getattr(self, "_first", None)
        yield self._v, getattr(self, "_second", None)


class Slotted(Attributes):
    __slots__ = ("W", "b", "dW", "db", "x", "y")


# --- what backward returns -------------------------------------------------------------------------------------------------------

class Returns(Attributes):
    def backward(self, dy):
        return self.back(self.x, self.y, self.W, dy)


class ReturnsDictionary(Returns):
    def backward(self, dy):
        return dict(zip(("dx", "dW", "db"), super().backward(dy), strict=True))


class ReturnsBoth(Returns):
    def backward(self, dy):
        dx, dW, db = super().backward(dy)
        return dx, {"W": dW, "b": db}


class ReturnsLists(Returns):
    def backward(self, dy):
        dx, dW, db = super().backward(dy)
        return dx, [dW, db]


class ReturnsNested(Returns):
    def backward(self, dy):
        dx, dW, db = super().backward(dy)
        return {"dX": dx, "grads": {"dW": dW, "db": db}}


class ReturnsNamed(Returns):
    Gradients = namedtuple("Gradients", "dx dW db")

    def backward(self, dy):
        return self.Gradients(*super().backward(dy))


# --- what backward takes ---------------------------------------------------------------------------------------------------------

class Cached(Attributes):
    def forward(self, x, training=True):
        y = self.out(x, self.W, self.b)
        return y, (x, y)

    def backward(self, dout, cache):
        dx, dW, db = self.back(*cache, self.W, dout)
        return dx, {"W": dW, "b": db}


class CacheFirst(Cached):
    def backward(self, cache, dout):
        return super().backward(dout, cache)


class CacheOfItsOwn(Attributes):
    """forward returns (out, cache), and keeps the cache as well."""

    def forward(self, x):
        self.saved = {"x": x, "y": self.out(x, self.W, self.b)}
        return self.saved["y"], self.saved

    def backward(self, dout):
        dx, self.dW, self.db = self.back(self.saved["x"], self.saved["y"], self.W, dout)
        return dx


class InputAgain(Attributes):
    def forward(self, x):
        return self.out(x, self.W, self.b)

    def backward(self, x, dy):
        dx, self.dW, self.db = self.back(x, self.forward(x), self.W, dy)
        return dx


class InputLast(InputAgain):
    def backward(self, dy, x):
        return super().backward(x, dy)


class InputByAnotherName(InputAgain):
    def backward(self, grad_output, layer_input):
        return super().backward(layer_input, grad_output)


class Vjp(InputAgain):
    __call__ = InputAgain.forward
    forward = None

    def vjp(self, x, v):
        dx, dW, db = self.back(x, self(x), self.W, v)
        return {"x": dx, "W": dW, "b": db}

    backward = None


class Steps(Attributes):
    """backward takes a learning rate, and the step too."""

    def backward(self, output_gradient, learning_rate):
        dx, dW, db = self.back(self.x, self.y, self.W, output_gradient)
        self.W -= learning_rate * dW
        self.b -= learning_rate * db
        return dx


class StepsByItself(Attributes):
    def __init__(self, wrong=False):
        super().__init__(wrong)
        self.lr = 0.01

    def backward(self, dy):
        dx, dW, db = self.back(self.x, self.y, self.W, dy)
        self.W, self.b = self.W - self.lr * dW, self.b - self.lr * db
        return dx


class Adaptive:
    """An optimizer with a memory: its step is not along the gradient, nor as large."""

    def __init__(self, learn_rate=0.01):
        self.learn_rate, self.mean, self.square = learn_rate, 0.0, 0.0

    def update(self, w, grad):
        self.mean, self.square = 0.9 * self.mean + 0.1 * grad, 0.99 * self.square + 0.01 * grad ** 2
        return w - self.learn_rate * self.mean / (np.sqrt(self.square) + 1e-8)


class StepsAdaptively(Attributes):
    def __init__(self, wrong=False):
        super().__init__(wrong)
        self.of_W, self.of_b = Adaptive(), Adaptive()

    def backward(self, dy):
        dx, dW, db = self.back(self.x, self.y, self.W, dy)
        self.W, self.b = self.of_W.update(self.W, dW), self.of_b.update(self.b, db)
        return dx


class NormalStep(Attributes):
    """y = W (x - mean) + b over the batch: at an upstream of ones, W has no gradient, and takes no step."""

    def __init__(self, wrong=False):
        super().__init__(wrong)
        self.lr, self.W = 0.1, np.ones(D)
        self.b = np.zeros(D)

    def forward(self, x):
        self.x = x - x.mean(0)
        return self.W * self.x + self.b

    def backward(self, dy):
        dx = self.W * (dy - dy.mean(0))
        self.W, self.b = self.W - self.lr * (self.x * dy).sum(0), self.b - self.lr * dy.sum(0) * (0.5 if self.wrong else 1)
        return dx


# --- how it is made --------------------------------------------------------------------------------------------------------------

class Lazy(Attributes):
    def __init__(self, wrong=False):
        Base.__init__(self, wrong)
        self.W = self.b = None

    def forward(self, x):
        if self.W is None:
            self.W, self.b = np.random.randn(x.shape[1], K), np.zeros(K)
        return super().forward(x)


class WithMore(Attributes):
    """A model of an afternoon: with a fit, a history, an optimizer's state, and a switch."""

    def __init__(self, wrong=False):
        super().__init__(wrong)
        self.training, self.history, self.m, self.lr = True, [0.5], np.zeros((D, K)), 0.1

    def fit(self, X, y):
        raise RuntimeError("a check never fits")


class Twice(Attributes):
    """Every array is there twice: by attribute and in a dictionary that is handed out."""

    def __init__(self, wrong=False):
        super().__init__(wrong)
        self.params = {"W": self.W, "b": self.b}

    def backward(self, dy):
        dx = super().backward(dy)
        self.grads = {"W": self.dW, "b": self.db}
        return dx


class Chain:
    """Layers in a list, each of another style."""

    def __init__(self, wrong=False):
        self.layers = [Attributes(), Boxed(K), Dictionaries(wrong)]
        self.layers[2].params["W"] = np.random.randn(K, K)

    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dy):
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        return dy


class Boxed:
    """y = a x, entry by entry."""

    def __init__(self, n):
        self.a = Parameter(np.random.randn(n))

    def forward(self, x):
        self.x = x
        return self.a.value * x

    def backward(self, dy):
        self.a.grad = (self.x * dy).sum(0)
        return self.a.value * dy


class Block:
    """Layers as attributes, one of them in a block of its own."""

    def __init__(self, wrong=False):
        self.first, self.rest = Attributes(), SimpleNamespace(scale=Boxed(K), last=Boxed(K))
        self.factor = 0.5 if wrong else 1.0

    def forward(self, x):
        return self.rest.last.forward(self.rest.scale.forward(self.first.forward(x)))

    def backward(self, dy):
        dy = self.rest.scale.backward(self.rest.last.backward(dy))
        self.rest.last.a.grad = self.rest.last.a.grad * self.factor
        return self.first.backward(dy)


class Tied:
    """Two layers share one array: its gradient is the sum of theirs. The wrong one has half of a part."""

    def __init__(self, wrong=False):
        b = np.random.randn(D, D)
        self.first, self.second, self.last = Linear(b), Linear(b), Attributes(wrong)

    def forward(self, x):
        self.h = np.tanh(self.first.forward(x))
        return self.last.forward(self.second.forward(self.h))

    def backward(self, dy):
        return self.first.backward(self.second.backward(self.last.backward(dy)) * (1 - self.h ** 2))


class Unrolled:
    """One cell a step, made in forward, all with the layer's own array; the layer adds up their gradients, the wrong one half of each."""

    def __init__(self, wrong=False):
        self.b, self.W, self.cells = np.random.randn(D, D), np.random.randn(D, D), None
        self.part = 0.5 if wrong else 1.0

    def forward(self, x):
        self.cells = [Linear(self.b) for _ in range(3)]
        self.x, h = x, 0.0
        for cell in self.cells:
            h = np.tanh(x @ self.W + cell.forward(h + 0 * x))
            cell.y = h
        return h

    def backward(self, dy):
        dx, self.dW, self.db = 0.0, 0.0, 0.0
        for cell in reversed(self.cells):
            dz = dy * (1 - cell.y ** 2)
            dy = cell.backward(dz)
            dx, self.dW, self.db = dx + dz @ self.W.T, self.dW + self.x.T @ dz, self.db + self.part * cell.dW
        return dx


class Linear:
    def __init__(self, W):
        self.W = W

    def forward(self, x):
        self.x = x
        return x @ self.W

    def backward(self, dy):
        self.dW = self.x.T @ dy
        return dy @ self.W.T


class KeepsItsWeights(Attributes):
    """The cache that backward reads holds the weights as well, and some attributes hold nothing."""

    def __init__(self, wrong=False):
        super().__init__(wrong)
        self.mask, self.index, self.cache = None, np.arange(3), ()

    def forward(self, x):
        self.cache = (x, self.W, self.b, self.out(x, self.W, self.b))
        return self.cache[-1]

    def backward(self, dy):
        x, W, _, y = self.cache
        dx, self.dW, self.db = self.back(x, y, W, dy)
        return dx


class Optimizer:
    def __init__(self, lr):
        self.lr = lr

    def update(self, params, grads):
        for k in params:
            params[k] -= self.lr * grads[k]


class HasOptimizer(Dictionaries):
    """backward keeps the gradients, and has its optimizer take a step."""

    def __init__(self, wrong=False):
        super().__init__(wrong)
        self.optimizer = Optimizer(0.1)

    def backward(self, dy):
        dx = super().backward(dy)
        self.optimizer.update(self.params, self.grads)
        return dx


def closures(wrong=False):
    """Two functions that share variables."""
    (W, b), base, kept = weights(), Base(wrong), {}

    def forward(x):
        kept["x"], kept["y"] = x, base.out(x, W, b)
        return kept["y"]

    def backward(dy):
        dx, dW, db = base.back(kept["x"], kept["y"], W, dy)
        return dx, {"W": dW, "b": db}

    return forward, backward


class GivesPullback(Attributes):
    """Called, it returns its output and the function that pulls back."""
    backward = None

    def forward(self, x):
        y = self.out(x, self.W, self.b)

        def pullback(dy):
            dx, dW, db = self.back(x, y, self.W, dy)
            return dx, {"W": dW, "b": db}

        return y, pullback


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    x, w, _ = cache
    return dout @ w.T, x.T @ dout, dout.sum(axis=0)


def affine_backward_wrong(dout, cache):
    dx, dw, db = affine_backward(dout, cache)
    return dx, dw, db * 0.5


STYLES = [Dictionaries, SpelledKeys, Attributes, Suffixed, Prefixed, Words, OtherWords, LossOver, Private, LeftUnderAnyName, KeepsOnDemand,
          SinglePrecision, Boxes, Parameters, Lists, Methods, Pairs, Slotted,
          Returns, ReturnsDictionary, ReturnsBoth, ReturnsLists, ReturnsNested, ReturnsNamed,
          Cached, CacheFirst, CacheOfItsOwn, InputAgain, InputLast, InputByAnotherName, Vjp, Steps, StepsByItself, StepsAdaptively, NormalStep, Unrolled,
          Lazy, WithMore, Twice, Chain, Block, Tied, KeepsItsWeights, HasOptimizer, closures, GivesPullback]


def verdicts(result):
    """The failing checks with what they accuse; errors and undecided rows by their reasons."""
    case = result.report().cases[0]
    return {(r.check, r.primal, str(r.verdict)): r.reason for r in case.rows if r.verdict != "pass"} | ({"error": case.error} if case.error else {})


@pytest.mark.parametrize("style", STYLES, ids=lambda s: s.__name__)
def test_a_right_layer_passes_whatever_its_style(style):
    result = gradcheck.check(style, f"n {D}", profile="quick")
    assert result.verdict == "pass", verdicts(result)
    judged = {e.primal for e in result.evidence if e.check == "adjoint"}
    assert len(judged) >= 3, f"the inputs and every parameter are judged, got {judged}"


@pytest.mark.parametrize("style", STYLES, ids=lambda s: s.__name__)
def test_a_wrong_layer_fails_where_it_is_wrong(style):
    result = gradcheck.check(lambda: style(wrong=True), f"n {D}", profile="quick", checks=["adjoint"])
    found = {e.primal for e in result.evidence if e.verdict == "fail"}
    assert len(found) == 1 and found.pop().rpartition(".")[2] in ("b", "bias", "_v", "a", "params1", "_Private__b"), verdicts(result)


@pytest.mark.parametrize("wrong", [False, True])
def test_two_functions_of_a_course(wrong):
    result = gradcheck.check((affine_forward, affine_backward_wrong if wrong else affine_backward), "n d", "d k", "k", profile="quick")
    assert {r[1] for r in verdicts(result) if r[0] == "adjoint"} == ({"b"} if wrong else set())
    assert bool(result) is not wrong


def half_square_loss(x, t):
    """A loss that returns its gradient."""
    return 0.5 * np.sum((x - t) ** 2), x - t


class Product:
    """Static functions of a context, as those of a small autograd have them."""

    @staticmethod
    def forward(ctx, x, W):
        ctx.save_for_backward(x, W)
        ctx.scale = 2.0
        return ctx.scale * x @ W

    @staticmethod
    def backward(ctx, grad_output):
        x, W = ctx.saved_values
        return ctx.scale * grad_output @ W.T, ctx.scale * x.T @ grad_output


class WrongProduct(Product):
    @staticmethod
    def backward(ctx, grad_output):
        dx, dW = Product.backward(ctx, grad_output)
        return dx, dW / len(dx)


def test_a_loss_that_returns_its_gradient():
    assert gradcheck.check(half_square_loss, "n d", "n d", profile="quick")
    wrong = lambda x, t: (half_square_loss(x, t)[0], t - x)
    result = gradcheck.check(wrong, "n d", "n d", profile="quick", checks=["adjoint"], name="wrong")
    assert {k[:2] for k in verdicts(result)} == {("adjoint", "x")}


def test_static_functions_of_a_context():
    assert gradcheck.check(Product, "n d", "d k", profile="quick")
    result = gradcheck.check(WrongProduct, "n d", "d k", profile="quick", checks=["adjoint"])
    assert {k[:2] for k in verdicts(result)} == {("adjoint", "W")}


# --- several inputs and outputs, losses, derivatives ------------------------------------------------------------------------------

class TwoInputs:
    def forward(self, x1, x2):
        self.x1, self.x2 = x1, x2
        return x1 * np.tanh(x2)

    def backward(self, dy):
        t = np.tanh(self.x2)
        return dy * t, dy * self.x1 * (1 - t * t)


class ListOfInputs(TwoInputs):
    def forward(self, xs, training=True):
        return super().forward(*xs)

    def backward(self, dy):
        return list(super().backward(dy))


class WithMemory(TwoInputs):
    """The second input may be left out."""

    def forward(self, x, h=None):
        return super().forward(x, h)


class TwoOutputs:
    def forward(self, x):
        self.x = x
        return np.sin(x), np.cos(x)

    def backward(self, du, dv):
        return du * np.cos(self.x) - dv * np.sin(self.x)


class OptionalUpstream(TwoOutputs):
    def backward(self, du, dv=None):
        return super().backward(du, 0.0 if dv is None else dv)


class OneOfTwo(TwoOutputs):
    """The second output has no upstream: a last state, as one keeps it."""

    def forward(self, x):
        return super().forward(x)[0], x[:1]

    def backward(self, dy):
        return dy * np.cos(self.x)


class TwoOutputsInOne(TwoOutputs):
    def backward(self, dys):
        return super().backward(*dys)


class AnyNumber(TwoOutputs):
    def backward(self, *dys):
        return super().backward(*dys)


class Loss:
    def forward(self, prediction, target):
        self.r = prediction - target
        return 0.5 * np.sum(self.r ** 2)

    def backward(self):
        return self.r, -self.r


class LossOfInputs(Loss):
    def backward(self, prediction, target):
        return prediction - target, target - prediction


class LossOfThePrediction(Loss):
    """A target has no cotangent."""

    def forward(self, y_true, y_pred):
        return super().forward(y_pred, y_true)

    def backward(self):
        return self.r


class LossByEntry:
    """The derivative of each entry by the prediction."""

    def __call__(self, y, p):
        return -y * np.log1p(np.exp(-p)) + p ** 2

    def gradient(self, y, p):
        return y / (1 + np.exp(p)) + 2 * p


class Optional:
    """An upstream that may be left out."""

    def forward(self, x):
        self.y = np.tanh(x)
        return self.y

    def backward(self, grad_output=1.0):
        return grad_output * (1 - self.y ** 2)


class Derivative:
    """An elementwise function and its derivative at x: there is no upstream."""

    def __call__(self, x):
        return np.tanh(x)

    def grad(self, x):
        return 1 - np.tanh(x) ** 2


@pytest.mark.parametrize(("layer", "inputs"), [
    (TwoInputs, ["n d", "n d"]), (ListOfInputs, ["n d", "n d"]), (WithMemory, ["n d", "n d"]), (TwoOutputs, ["n d"]), (TwoOutputsInOne, ["n d"]),
    (OptionalUpstream, ["n d"]), (OneOfTwo, ["n d"]),
    (AnyNumber, ["n d"]), (Optional, ["n d"]),
    (Loss, ["n d", "n d"]), (LossOfInputs, ["n d", "n d"]), (Derivative, ["n d"]), (LossOfThePrediction, ["n d", "n d"]), (LossByEntry, ["n d", "n d"])])
def test_what_goes_in_and_comes_out(layer, inputs):
    result = gradcheck.check(layer, *inputs, profile="quick")
    assert result.verdict == "pass", verdicts(result)
    judged = {e.primal for e in result.evidence if e.check == "adjoint"}
    assert len(judged) == len(inputs) or judged in ({"y_pred"}, {"p"})
    backward = next(n for n in ("backward", "grad", "gradient") if hasattr(layer, n))
    right = getattr(layer, backward)
    other = type("Wrong", (layer,), {backward: wraps(right)(lambda self, *args: _scaled(right(self, *args)))})
    found = gradcheck.check(other, *inputs, profile="quick", checks=["adjoint"])
    assert found.verdict == "fail", verdicts(found)


def _scaled(d):
    return [_scaled(v) for v in d] if isinstance(d, list | tuple) else 1.01 * d


# --- what cannot be told is said, with the way to say it ---------------------------------------------------------------------------

class NoGradients(Attributes):
    """Computes dx alone."""

    def backward(self, dy):
        return self.back(self.x, self.y, self.W, dy)[0]


class OneForgotten(Attributes):
    """Computes no gradient of b."""

    def backward(self, dy):
        dx, self.dW, _ = self.back(self.x, self.y, self.W, dy)
        return dx


class OneStepForgotten(Steps):
    """b stays where it is."""

    def backward(self, output_gradient, learning_rate):
        b = np.copy(self.b)
        dx = super().backward(output_gradient, learning_rate)
        self.b = b
        return dx


def test_a_step_that_is_not_taken_is_a_gradient_of_zero():
    result = gradcheck.check(OneStepForgotten, f"n {D}", profile="quick", checks=["adjoint"])
    assert {k[1] for k in verdicts(result)} == {"b"}


class OneForTwo(TwoInputs):
    def backward(self, dy):
        return super().backward(dy)[0]


class OtherNames(Attributes):
    names = "first", "second"


class ReturnsNothing(Attributes):
    def backward(self, dy):
        super().backward(dy)


class SoftmaxDerivative(Derivative):
    def __call__(self, x):
        e = np.exp(x - x.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)


class MeanOfTheCotangent(Loss):
    """One number, where the prediction has many."""

    def backward(self):
        return np.mean(self.r), -self.r


def test_a_number_for_an_array_is_a_mistake_and_no_error():
    result = gradcheck.check(MeanOfTheCotangent, "n d", "n d", profile="quick")
    assert result.verdict == "fail" and not [k for k in verdicts(result) if k[2] == "error"], verdicts(result)


class DerivativeOfTheOutput(Derivative):
    def backward(self, x):
        return 1 - x ** 2

    grad = None


class SquareWeights(Attributes):
    """U and V have one shape, and their gradients are returned in an order that nothing tells."""

    def __init__(self):
        self.U, self.V = np.random.randn(D, D), np.random.randn(D, D)

    def forward(self, x):
        self.x = x
        return x @ self.U @ self.V

    def backward(self, dy):
        return dy @ self.V.T @ self.U.T, self.x.T @ dy @ self.V.T, (self.x @ self.U).T @ dy


class Spoils(Attributes):
    """backward changes W in a way that is no step."""

    def backward(self, dy):
        dx = super().backward(dy)
        self.W[0, 0] += 1.0
        return dx


def test_a_change_that_is_no_step_is_a_mistake():
    result = gradcheck.check(Spoils, f"n {D}", profile="quick", checks=["pure"])
    assert result.verdict == "fail" and "backward changed W[0, 0]" in str(result)


class Rows:
    """A table that is looked up: whole numbers go in, and have no cotangent."""

    def __init__(self):
        self.table = np.random.randn(7, D)

    def forward(self, ids):
        self.ids = ids
        return self.table[ids]

    def backward(self, dy):
        self.dtable = np.zeros_like(self.table)
        np.add.at(self.dtable, self.ids, dy)


def test_whole_numbers_have_no_cotangent():
    result = gradcheck.check(Rows, "n t int[0,7)", profile="quick")
    assert result and {e.primal for e in result.evidence if e.check == "adjoint"} == {"table"}


class OutputAndMask:
    """Two arrays come out, one upstream goes in: is the second an output or a cache?"""

    def forward(self, x):
        return x * (x > 0), 1.0 * (x > 0)

    def backward(self, dy, which, more):
        return dy


@pytest.mark.parametrize(("layer", "says", "params", "judged"), [
    (NoGradients, "the output depends on W, b, and no gradient of them was found", [], {"x"}),
    (OneForgotten, "the output depends on b, and no gradient of it was found after a backward, though others have one", ["W"], {"x", "W"}),
    (OtherNames, "no gradient of them was found", {"W": "first", "b": "second"}, {"x", "W", "b"}),
    (ReturnsNothing, "no cotangent of x was found", ["W", "b"], {"W", "b"}),
    (SquareWeights, r"params=\['W', 'b'\]", ["U", "V"], {"x", "U", "V"}),
    (SoftmaxDerivative, "the function is not elementwise", None, None),
    (DerivativeOfTheOutput, "is not zero where its argument is", None, None),
    (OutputAndMask, "call the saved values `cache`", None, None),
])
def test_what_cannot_be_told_is_an_error_and_can_be_said(layer, says, params, judged):
    with pytest.raises(AdaptError, match=says):
        gradcheck.adapt(layer, f"n {D}")
    assert gradcheck.check(layer, f"n {D}", profile="quick", checks=["adjoint"]).verdict == "error"
    if judged:
        result = gradcheck.check(layer, f"n {D}", params=params, profile="quick")
        assert result and {e.primal for e in result.evidence if e.check == "adjoint"} == judged, verdicts(result)


@pytest.mark.parametrize(("layer", "notes"), [
    (Attributes, ["forward and backward(dy)", "parameters: W (W, gradient dW), b (b, gradient db)"]),
    (Words, ["the output is output", "the cotangent of inputs is dinputs"]),
    (Cached, ["forward and backward(dy, cache); forward returns (y, cache)", "parameters: W (W, gradient returned W)"]),
    (Steps, ["backward(dy, rate)", "W (W, gradient update)", "backward changes the parameters"]),
    (Chain, ["layers.0.W (layers[0].W, gradient layers[0].dW)", "layers.1.a (layers[1].a.value, gradient layers[1].a.grad)"]),
    (WithMore, ["held, since no gradient was found: m"]),
    (Tied, ["first.W (first.W, gradient first.dW + second.dW)"]),
    (HasOptimizer, ["backward takes a step along the gradients of W, b, and it is put back"]),
])
def test_what_was_recognised_is_said(layer, notes):
    said = "\n".join(gradcheck.adapt(layer, f"n {D}").facts.notes)
    assert [n for n in notes if n not in said] == [], said


def test_a_layer_that_is_given_is_left_as_it_was():
    W, b = weights()
    layer = Steps()
    layer.W, layer.b = W, b
    before = W.copy(), b.copy()
    assert gradcheck.check(layer, f"n {D}", profile="quick", checks=["adjoint"])
    assert gradcheck.check(lambda: _with(Steps(), W, b), f"n {D}", profile="quick", checks=["adjoint"])
    assert layer.W is W and np.array_equal(W, before[0]) and np.array_equal(b, before[1]) and not hasattr(layer, "x")


def _with(layer, W, b):
    layer.W, layer.b = W, b
    return layer


def test_fewer_cotangents_than_inputs_are_named():
    with pytest.raises(AdaptError, match="backward returned 1 cotangent for the inputs x1, x2: name those"):
        gradcheck.adapt(OneForTwo, "n d", "n d")
    result = gradcheck.check(OneForTwo, "n d", "n d", params=["x1"], profile="quick")
    assert result and {e.primal for e in result.evidence if e.check == "adjoint"} == {"x1"}


class Dropped:
    """Scales while it does not train, and then keeps nothing for a backward."""

    def __init__(self):
        self.mask = None

    def forward(self, x, train_flg=True):
        if not train_flg:
            return 0.5 * x
        self.mask = 1.0 * (np.random.rand(*x.shape) > 0.5)
        return x * self.mask

    def backward(self, dy):
        return dy * self.mask


class DroppedOrNot(Dropped):
    """The same, with a backward for both, which is wrong where it is not training."""

    def forward(self, x, inference=False):
        self.mask = 1.0
        return super().forward(x, train_flg=not inference)


def test_a_small_mask_that_is_drawn_alike_twice_is_no_parameter():
    case = gradcheck.case(Dropped, "n")
    assert {case.subject(Point(sizes={"n": 1}, seed=s)).differentiable for s in range(8)} == {("x",)}


def test_a_backward_that_is_there_in_training_alone_is_judged_there():
    result = gradcheck.check(Dropped, "n d", profile="quick")
    assert result, verdicts(result)
    assert "only judged while it trains: backward raised TypeError otherwise" in result.report().cases[0].notes
    found = gradcheck.check(DroppedOrNot, "n d", profile="quick", checks=["adjoint"])
    assert found.verdict == "fail" and "layer.forward(x, inference=True)" in str(found)


def test_switches_reach_layers_within_layers():
    class Half:
        def __init__(self):
            self.training = True

        def forward(self, x):
            self.k = 1.0 if self.training else 0.5
            return self.k * x

        def backward(self, dy):
            return self.k * dy

    class Holder:
        def __init__(self):
            self.inner = [Half()]

        def forward(self, x):
            return self.inner[0].forward(x)

        def backward(self, dy):
            return self.inner[0].backward(dy)

    assert gradcheck.case(Holder, "n").family.modes == (True, False)
