"""Files such as a user writes, for the tests of targets, runner and command line: right layers, a wrong one, and ones that cannot be judged."""
from __future__ import annotations

HEAD = """import numpy as np
from layers import Layer, Vars, hyper, param
"""

WRONG = '''
class Wrong(Layer):
    """y = x W + b, its dW averaged over the batch"""
    law = "n d -> n k"
    k: int = hyper(range(1, 4))
    init: str = "glorot_uniform"
    W = param("d k")
    b = param("k")

    def fwd(self, p, x):
        return x @ p.W + p.b, Vars(X=x)

    def bwd(self, p, r, dy):
        return dy @ p.W.T, Vars(W=r.X.T @ dy / len(dy), b=dy.sum(0))
'''

RIGHT = '''
class Right(Layer):
    """y = x^2"""
    law = "n d -> n d"

    def fwd(self, p, x):
        return x * x, Vars(X=x)

    def bwd(self, p, r, dy):
        return 2 * r.X * dy, Vars()
'''

RAISES = '''
class InConstructor(Layer):
    law = "n d -> n d"

    def __post_init__(self):
        raise RuntimeError("no licence")

    def fwd(self, p, x):
        return x, Vars()

    def bwd(self, p, r, dy):
        return dy, Vars()


class InForward(Layer):
    law = "n d -> n d"

    def fwd(self, p, x):
        raise KeyError("lost on the way there")

    def bwd(self, p, r, dy):
        return dy, Vars()


class InBackward(Layer):
    law = "n d -> n d"

    def fwd(self, p, x):
        return x, Vars()

    def bwd(self, p, r, dy):
        raise ZeroDivisionError("lost on the way back")


class InLaw(Layer):
    law = "n d -> -> n"

    def fwd(self, p, x):
        return x, Vars()

    def bwd(self, p, r, dy):
        return dy, Vars()
'''

PERSONAL = '''import numpy as np
import gradcheck


class Linear:
    def __init__(self, d_out=2):
        self.d_out, self.params, self.grads = d_out, {}, {}

    def forward(self, x):
        if "W" not in self.params:
            self.params["W"] = np.random.randn(x.shape[1], self.d_out)
        self.x = x
        return x @ self.params["W"]

    def backward(self, dy):
        self.grads["W"] = self.x.T @ dy
        return dy @ self.params["W"].T


linear = gradcheck.case(Linear, "n d", name="linear", options={"d_out": [1, 2]})
'''
