"""Recurrent units, one step at a time (…Cell) or over a whole sequence: three units, each a step and its pullback, and one scan for all.

The input's share of every gate is one GEMM over all steps, and so is each weight's cotangent. Only what needs the state before, or the
cotangent after, is stepped, on arrays that stay in cache.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from .activations import ACTIVATIONS, Activation, activation, total
from .base import Act, Array, Layer, Out, Record, Vars, hyper, param, zero

FED_BACK = [a for a in ACTIVATIONS if a != "exponential"]            # which grows without bound
States = tuple[Array, ...]
Spans = list[tuple[Activation, slice]]


def gate(spec: Act) -> Activation:
    """An activation with a derivative for each entry. Errors: ValueError for one without."""
    if (fn := activation(spec)).rules.grad is None:
        raise ValueError(f"a recurrent unit takes an elementwise activation, {fn} mixes the units")
    return fn


def several(n: int) -> Any:
    """Admits one activation, or a sequence of n."""
    return lambda spec: each(spec, n)


def each(spec: Any, n: int) -> list[Activation]:
    """One activation for all of n gates, or one for each. Errors: ValueError for another number of them."""
    specs = [spec] * n if spec is None or isinstance(spec, str | Activation) else list(spec) if isinstance(spec, list | tuple) else [spec]
    if len(specs) != n:
        raise ValueError(f"expected one activation or {n}, got {len(specs)}")
    return [gate(s) for s in specs]


def spans(fns: list[Activation], m: int) -> Spans:
    """Neighbouring gates of one activation, joined: which, and the columns of m for each gate."""
    starts = [i for i in range(len(fns)) if i == 0 or fns[i] != fns[i - 1]]
    return [(fns[i], slice(i * m, j * m)) for i, j in zip(starts, [*starts[1:], len(fns)], strict=True)]


def squash(spans: Spans, Z: Array, G: Array) -> Array:
    """Fill the columns of G with the gates that Z holds."""
    for fn, at in spans:
        G[:, at] = fn(Z[:, at])
    return G


def unsquash(spans: Spans, dG: Array, Z: Array, G: Array) -> None:
    """Turn the cotangent of G = fns(Z) into that of Z, in place."""
    for fn, at in spans:
        dG[:, at] = fn.pull(dG[:, at], Z[:, at], G[:, at])


def flat(x: Array) -> Array:                                          # (t, n, m) -> (t n, m)
    return x.reshape(-1, x.shape[-1])


def outer(x: Array, dh: Array) -> Array:                              # (t, n, a), (t, n, b) -> (a, b)
    """The cotangent of a weight that x met at every step."""
    return flat(x).T @ flat(dh)


class Recurrent(Layer):
    """s_t = step(x_t Wx + b, s_{t−1}), the first of the states s being the output A.

    A unit has `fuse`, which joins its parameters to Wx, Wa and b, with all else that every step needs; `step`, which completes Z, given as
    the input's share, in place, and fills what it `keeps`; `pull`, the adjoint of `step`, which fills dZ and gives the cotangents of the
    states before; and `weights`, the parameters' cotangents. Residuals: X, Z, what is kept, each state after (A) and before (A_prev).
    """
    n_out: int = hyper(range(1, 5))
    states: ClassVar[tuple[str, ...]] = ("A",)
    keeps: ClassVar[dict[str, int]] = {}                              # name -> width, in n_out
    fuse: ClassVar[Callable[..., Vars]]                               # (p)
    step: ClassVar[Callable[..., States]]                             # (u, r, *states)
    pull: ClassVar[Callable[..., States]]                             # (u, r, dZ, *cotangents of the states)
    weights: ClassVar[Callable[..., Vars]]                            # (r, dZ)

    def scan(self, p: Vars, x: Array, *start: Array) -> tuple[States, Vars]:   # x (t, n, n_in), each state (n, n_out)
        u = self.fuse(p)
        Z = (flat(x) @ u.Wx).reshape(*x.shape[:2], len(u.b))          # Z (t, n, gates · n_out)
        Z += u.b
        r = {"Z": Z, **{k: np.empty((*x.shape[:2], width * self.n_out), Z.dtype) for k, width in self.keeps.items()}}
        states = [np.empty((len(x) + 1, *s.shape), np.result_type(Z, s)) for s in start]   # (t + 1, n, n_out)
        for S, s in zip(states, start, strict=True):
            S[0] = s
        for t in range(len(x)):
            after = self.step(u, Vars({k: v[t] for k, v in r.items()}), *(S[t] for S in states))
            for S, s in zip(states, after, strict=True):
                S[t + 1] = s
        for name, S in zip(self.states, states, strict=True):
            r |= {name: S[1:], name + "_prev": S[:-1]}
        return tuple(S[-1] for S in states), Vars(r, X=x)

    def unscan(self, p: Vars, r: Vars, dA: Array, *ds: Any) -> tuple[Array, States, Vars]:   # dA (t, n, n_out); ds after the last step
        u = self.fuse(p)
        u["WaT"] = np.ascontiguousarray(u.Wa.T)                       # half again as fast, for so few rows
        dZ = np.empty_like(r.Z, dA.dtype)                             # dZ (t, n, gates · n_out)
        for t in reversed(range(len(dA))):
            ds = self.pull(u, Vars({k: v[t] for k, v in r.items()}), dZ[t], dA[t] + ds[0], *ds[1:])
        return (flat(dZ) @ u.Wx.T).reshape(r.X.shape), tuple(ds), self.weights(r, dZ)


class Sequence(Recurrent):
    """A unit over all steps of (n, n_in, t), from states of 0; its outputs are (n, n_out, t)."""

    def fwd(self, p: Vars, x: Array) -> Out:                          # x  (n, n_in, t)
        start = np.zeros((len(x), self.n_out), x.dtype)
        _, r = self.scan(p, np.ascontiguousarray(x.transpose(2, 0, 1)), *(start,) * len(self.states))
        return r.A.transpose(1, 2, 0), r                              # y  (n, n_out, t)

    def bwd(self, p: Vars, r: Vars, dy: Array) -> Out:                # dy (n, n_out, t)
        dx, _, d = self.unscan(p, r, np.ascontiguousarray(dy.transpose(2, 0, 1)), *(0,) * len(self.states))
        return dx.transpose(1, 2, 0), d


class Cell(Recurrent):
    """A unit's single step. As a function it takes the states before and gives those after; `forward(Xt)` carries them from step to
    step, from 0 on, and `backward(dLdAt)`, called once for each step in reverse, carries their cotangents.
    """
    carried = States()                                                # the states after the last retained step
    carried_back = States()                                           # the cotangents of the states before the last one pulled back

    def fwd(self, p: Vars, x: Array, *s: Array) -> Out:               # x  (n, n_in), each of s (n, n_out)
        after, r = self.scan(p, x[None], *s)
        return after if len(after) > 1 else after[0], Vars({k: v[0] for k, v in r.items()})   # each (n, n_out)

    def bwd(self, p: Vars, r: Vars, dA: Array, *ds: Array) -> Out:    # each (n, n_out)
        dx, before, d = self.unscan(p, Vars({k: v[None] for k, v in r.items()}), dA[None], 0, *ds)
        return (dx[0], *before), d

    def _run(self, X: tuple[Any, ...], retain: bool, **given: Any) -> Any:
        """With X alone, from the states carried; with (X, A) or (X, A, C), from those given."""
        if len(X) == 1:
            x = self.admit(X[0])
            X = (x, *(self.carried or (np.zeros((*x.shape[:1], self.n_out), x.dtype),) * len(self.states)))
        y = super()._run(X, retain)
        if retain:
            self.carried, self.carried_back = y if isinstance(y, tuple) else (y,), ()
        return y

    def backward(self, dLdAt: Any, retain_grads: bool = True) -> Any:
        """dLdXt of the last step not yet pulled back; a list of upstreams, one for each step left, gives the list of theirs.
        For an LSTM the upstream may be (dLdAt, dLdCt).
        """
        if not self.tape or (isinstance(dLdAt, list) and len(dLdAt) != len(self.tape)):
            raise ValueError(f"{type(self).__name__}.backward: {len(self.tape) or 'no'} retained forward is left")
        if isinstance(dLdAt, list):
            return [self.backward(dy, retain_grads) for dy in reversed(dLdAt)][::-1]
        record: Record = self.tape[-1]
        given = dLdAt if isinstance(dLdAt, tuple) else (dLdAt, *(np.zeros(*like) for like in record.ys[1:]))
        dys = self._upstream(record, given)
        dys = [dy + c for dy, c in zip(dys, self.carried_back or (0,) * len(dys), strict=True)]
        dx, *before = self._pull(record, dys, retain_grads)
        self.tape, self.carried_back = self.tape[:-1], tuple(before)
        return dx

    def flush_gradients(self) -> None:
        super().flush_gradients()
        self.carried = self.carried_back = ()


class RNNUnit(Recurrent):
    """A = f(x Wax + bx + A_prev Waa + ba)"""
    act_fn: Act = hyper(FED_BACK, default="tanh", valid=gate)
    init: str = "glorot_uniform"
    Wax, Waa = param("n_in n_out"), param("n_out n_out")
    bx, ba = param("n_out", zero), param("n_out", zero)

    def fuse(self, p: Vars) -> Vars:
        return Vars(Wx=p.Wax, Wa=p.Waa, b=p.bx + p.ba, f=gate(self.act_fn))

    def step(self, u: Vars, r: Vars, A: Array) -> States:             # A (n, n_out)
        Z = r.Z
        Z += A @ u.Wa
        return (u.f(Z),)

    def pull(self, u: Vars, r: Vars, dZ: Array, dA: Array) -> States:  # dZ, dA (n, n_out)
        dZ[:] = u.f.pull(dA, r.Z, r.A)
        return (dZ @ u.WaT,)

    def weights(self, r: Vars, dZ: Array) -> Vars:
        db = total(dZ, 0)
        return Vars(Wax=outer(r.X, dZ), Waa=outer(r.A_prev, dZ), bx=db, ba=db.copy())


class Gated(Recurrent):
    """A unit of gates G = fns(Z), with parameters W… (n_out + n_in, n_out), the state's rows above the input's, and b…"""
    gates: ClassVar[str]
    fns: ClassVar[Any]                                                # the activations that squash the gates, and the one of what these make

    def n_z(self, n_in: int) -> int:
        return self.n_out + n_in

    def fuse(self, p: Vars) -> Vars:
        W = np.hstack([p["W" + g] for g in self.gates])               # (n_out + n_in, gates · n_out)
        gates, f = self.fns
        return Vars(Wx=W[self.n_out:], Wa=W[:self.n_out], b=np.hstack([p["b" + g] for g in self.gates]), f=f, spans=spans(gates, self.n_out))

    def weights(self, r: Vars, dZ: Array) -> Vars:
        dW = np.vstack([self.state_weights(r, dZ), outer(r.X, dZ), total(dZ, 0)])
        return Vars({k: v for g, dWg in zip(self.gates, self.parts(dW), strict=True) for k, v in (("W" + g, dWg[:-1]), ("b" + g, dWg[-1]))})

    def state_weights(self, r: Vars, dZ: Array) -> Array:             # (n_out, gates · n_out)
        return outer(r.A_prev, dZ)

    def parts(self, G: Array) -> list[Array]:
        """The columns of each gate."""
        return [G[..., i:i + self.n_out] for i in range(0, G.shape[-1], self.n_out)]

    def scan(self, p: Vars, x: Array, *start: Array) -> tuple[States, Vars]:
        after, r = super().scan(p, x, *start)
        return after, r | {"Cc" if g == "c" else "G" + g: part for g, part in zip(self.gates, self.parts(r.G), strict=True)}


class LSTMUnit(Gated):
    """C = Gf C_prev + Gu Cc, A = Go f(C), with Gf, Gu, Go = gate([A_prev, x] W + b) and Cc = f([A_prev, x] Wc + bc).

    `gate_fn` is one activation or (forget, update, output); `act_fn` one or (of Cc, of C) (Hochreiter and Schmidhuber, 1997).
    """
    act_fn: Any = hyper([*FED_BACK, ("softplus", "tanh")], default="tanh", valid=several(2))
    gate_fn: Any = hyper(["sigmoid", "tanh", "hard sigmoid", ("sigmoid", "tanh", "softplus")], default="sigmoid", valid=several(3))
    init: str = "glorot_uniform"
    Wf = Wu = Wo = Wc = param("n_z n_out")
    bf = bu = bo = bc = param("n_out", zero)
    gates, states, keeps = "fuoc", ("A", "C"), {"G": 4, "K": 1}

    @property
    def fns(self) -> tuple[list[Activation], Activation]:             # type: ignore[override]
        candidate, f = each(self.act_fn, 2)
        return [*each(self.gate_fn, 3), candidate], f

    def step(self, u: Vars, r: Vars, A: Array, C: Array) -> States:   # A, C (n, n_out)
        Z, K = r.Z, r.K
        Z += A @ u.Wa
        Gf, Gu, Go, Cc = self.parts(squash(u.spans, Z, r.G))
        C1 = Gf * C
        C1 += Gu * Cc
        K[:] = u.f(C1)
        return Go * K, C1

    def pull(self, u: Vars, r: Vars, dZ: Array, dA: Array, dC: Array) -> States:   # dZ (n, 4 n_out); dA, dC (n, n_out)
        dC = dC + u.f.pull(dA * r.Go, r.C, r.K)
        for out, a, b in zip(self.parts(dZ), (dC, dC, dA, dC), (r.C_prev, r.Cc, r.K, r.Gu), strict=True):
            np.multiply(a, b, out=out)
        unsquash(u.spans, dZ, r.Z, r.G)
        return dZ @ u.WaT, dC * r.Gf


class GRUUnit(Gated):
    """A = Gz A_prev + (1 − Gz) Cc with Gz, Gr = gate([A_prev, x] W + b), and Cc = f(x U + bc + Gr (A_prev V + ba)), or, to `reset`
    "before" the product, f(x U + bc + (Gr A_prev) V + ba); Wc is V above U. `gate_fn` is one activation or (update, reset)
    (Cho et al., 2014; "after" is cuDNN's and PyTorch's).
    """
    act_fn: Act = hyper(FED_BACK, default="tanh", valid=gate)
    gate_fn: Any = hyper(["sigmoid", "tanh", ("hard sigmoid", "sigmoid")], default="sigmoid", valid=several(2))
    init: str = "glorot_uniform"
    reset: str = hyper(["after", "before"], default="after")
    Wz = Wr = Wc = param("n_z n_out")
    bz = br = bc = ba = param("n_out", zero)
    gates, keeps = "zrc", {"G": 3, "Q": 1, "K": 1}
    fns = property(lambda self: (each(self.gate_fn, 2), gate(self.act_fn)))
    after = property(lambda self: self.reset == "after")

    def fuse(self, p: Vars) -> Vars:
        return super().fuse(p) | {"ba": p.ba}

    def step(self, u: Vars, r: Vars, A: Array) -> States:             # A (n, n_out)
        Z, G, Q, K, m = r.Z, r.G, r.Q, r.K, 2 * self.n_out            # m: where the candidate's columns begin
        k = A @ (u.Wa if self.after else u.Wa[:, :m])                 # the state's share of each gate
        Z[:, :m] += k[:, :m]
        Gz, Gr = self.parts(squash(u.spans, Z, G)[:, :m])
        Q[:] = A if self.after else Gr * A                            # what meets V
        K[:] = (k[:, m:] if self.after else Q @ u.Wa[:, m:]) + u.ba
        Z[:, m:] += Gr * K if self.after else K
        G[:, m:] = Cc = u.f(Z[:, m:])
        return (Cc + Gz * (A - Cc),)

    def pull(self, u: Vars, r: Vars, dZ: Array, dA: Array) -> States:   # dZ (n, 3 n_out), dA (n, n_out)
        m = 2 * self.n_out
        dz, dr, dc = self.parts(dZ)
        dc[:] = u.f.pull(dA * (1 - r.Gz), r.Z[:, m:], r.Cc)
        dQ = (dc * r.Gr if self.after else dc) @ u.WaT[m:]
        dz[:] = dA * (r.A_prev - r.Cc)
        dr[:] = dc * r.K if self.after else dQ * r.A_prev
        unsquash(u.spans, dZ, r.Z, r.G)
        return (dA * r.Gz + dZ[:, :m] @ u.WaT[:m] + (dQ if self.after else dQ * r.Gr),)

    def pull_K(self, r: Vars, dZ: Array) -> Array:                    # (t, n, n_out)
        return self.parts(dZ)[2] * r.Gr if self.after else self.parts(dZ)[2]

    def state_weights(self, r: Vars, dZ: Array) -> Array:
        return np.hstack([outer(r.A_prev, dZ[..., :2 * self.n_out]), outer(r.Q, self.pull_K(r, dZ))])

    def weights(self, r: Vars, dZ: Array) -> Vars:
        return super().weights(r, dZ) | {"ba": total(self.pull_K(r, dZ), 0)}


class RNNCell(RNNUnit, Cell):
    """One step of A = f(x Wax + bx + A_prev Waa + ba)."""
    law = "n n_in, n n_out -> n n_out"
    work = "2 n n_in n_out + 2 n n_out n_out"


class LSTMCell(LSTMUnit, Cell):
    law = "n n_in, n n_out, n n_out -> n n_out, n n_out"
    work = "8 n n_z n_out"


class GRUCell(GRUUnit, Cell):
    law = "n n_in, n n_out -> n n_out"
    work = "6 n n_z n_out"


class RNN(RNNUnit, Sequence):
    """A_t = f(x_t Wax + bx + A_{t−1} Waa + ba), A_0 = 0."""
    law = "n n_in t -> n n_out t"
    work = "2 n n_in n_out t + 2 n n_out n_out t"


class LSTM(LSTMUnit, Sequence):
    law = "n n_in t -> n n_out t"
    work = "8 n n_z n_out t"


class GRU(GRUUnit, Sequence):
    law = "n n_in t -> n n_out t"
    work = "6 n n_z n_out t"
