"""Three layers of somebody's, none of which has heard of gradcheck. One of them is wrong, and one can be told to take the process along."""
import os

import numpy as np


class Affine:
    """y = x W + b"""

    def __init__(self, n_in, n_out):
        self.W, self.b = np.random.randn(n_in, n_out) / np.sqrt(n_in), np.zeros(n_out)

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dy):
        self.dW, self.db = self.x.T @ dy, dy.sum(axis=0)
        return dy @ self.W.T


class LeakyReLU:
    """y = x where x > 0, else slope x"""

    def __init__(self, slope=0.1):
        self.slope = slope

    def forward(self, x):
        self.y = np.where(x > 0, x, self.slope * x)
        return self.y

    def backward(self, dy):
        return np.where(self.y > 0, dy, self.slope * self.y * dy)        # the mistake: the slope alone is the derivative


class Fragile(Affine):
    """A layer whose C code, if it had any, would crash."""

    def forward(self, x):
        if os.environ.get("TINYNET_CRASHES"):
            os._exit(11)
        return super().forward(x)
