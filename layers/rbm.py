"""The restricted Boltzmann machine, trained by contrastive divergence."""
from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gradcheck.law import Shape

from .activations import sigmoid, softplus
from .base import Array, Layer, Out, Rng, Vars, hyper, noise, param, whole, zero


class RBM(Layer):
    """y = F(v) − F(v'), F(v) = −v·b_in − Σ softplus(v W + b_out) being the free energy of data v and of a reconstruction v'.

    Its gradient with v' held is that of contrastive divergence (Hinton, 2002). `forward` takes v' from K Gibbs steps that start at the
    data: probabilities for the visible units, binary samples for all hidden ones (Hinton, 2010).
    """
    law = "n n_in in [0,1] -> n"
    work = "4 n n_in n_out"
    n_out: int = hyper(range(1, 5))
    K: int = hyper(range(1, 4), default=1)
    init: str = "glorot_uniform"
    W = param("n_in n_out")
    b_in, b_out = param("n_in", zero), param("n_out", zero)

    @noise("n n_in", "in [0, 1]")
    def p_V_prime(self, shape: Shape, rng: Rng) -> Array:
        return rng.random(shape)

    def fwd(self, p: Vars, V: Array) -> Out:                          # V (n, n_in)
        H, H1 = V @ p.W + p.b_out, p.p_V_prime @ p.W + p.b_out        # H (n, n_out)
        gap = (p.p_V_prime - V) @ p.b_in + (softplus(H1) - softplus(H)).sum(1)
        return gap, Vars(V=V, p_H=sigmoid(H), p_V_prime=p.p_V_prime, p_H_prime=sigmoid(H1))

    def bwd(self, p: Vars, r: Vars, dy: Array) -> Out:                # dy (n)
        dH, dH1 = dy[:, None] * r.p_H, dy[:, None] * r.p_H_prime
        d = Vars(W=r.p_V_prime.T @ dH1 - r.V.T @ dH, b_in=dy @ (r.p_V_prime - r.V), b_out=(dH1 - dH).sum(0))
        return -dy[:, None] * p.b_in - dH @ p.W.T, d

    # sampling, and the shell around it ------------------------------------------------------------------------------------

    def gibbs(self, p: Vars, V: Array, steps: int) -> Array:
        """The visible probabilities after so many steps from V."""
        for _ in range(steps):
            H = self.binary(sigmoid(V @ p.W + p.b_out), V.dtype)
            V = sigmoid(H @ p.W.T + p.b_in)
        return V

    def binary(self, prob: Array, dtype: Any) -> Array:
        return (self.rng.random(prob.shape) < prob).astype(dtype)

    def admit(self, x: ArrayLike) -> Array:
        V = super().admit(x)
        if V.size and not 0 <= V.min() <= V.max() <= 1:
            raise ValueError(f"RBM takes values from 0 to 1, got {V.min()} to {V.max()}")
        return V

    def chance(self, p, axes, dtype, V, K=None):
        return Vars(p_V_prime=self.gibbs(p, V, self.K if K is None else K))

    def forward(self, V: ArrayLike, K: int | None = None, retain_derived: bool = True) -> Array:   # type: ignore[override]
        """The gap after K steps (None: the layer's own K)."""
        whole(1)(self.K if K is None else K)
        return self._run((V,), retain_derived, K=K)

    def backward(self, dLdY: Any = None, retain_grads: bool = True) -> None:
        """Add the gradients of the gaps' sum; `dLdY` weighs the examples. There is no input cotangent to hand on."""
        super().backward(dLdY if dLdY is not None else [np.ones(*record.ys[0]) for record in self.tape], retain_grads)

    def CD_update(self, X: ArrayLike) -> None:
        """One training step on X."""
        self.forward(X)
        self.backward()
        self.update()

    def reconstruct(self, X: ArrayLike, n_steps: int = 10, return_prob: bool = False) -> Array:
        """X after so many Gibbs steps: a binary sample, or the probabilities. Parameters and gradients stay as they are."""
        whole(1)(n_steps)
        V = self.admit(X)
        _, self.parameters = self._prepare(V)
        prob = self.gibbs(self.parameters, V, n_steps)
        return prob if return_prob else self.binary(prob, prob.dtype)
