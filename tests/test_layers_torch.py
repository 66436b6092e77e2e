"""Outputs and every cotangent equal PyTorch's, in float64, over generated shapes and every value of every option. One row a layer: PyTorch's
spelling of it. `pytest -s` prints the largest deviation of each.
"""
from __future__ import annotations

import zlib
from itertools import islice

import numpy as np
import pytest

from gradcheck.law import Law, ShapeError
from layers import ACTIVATIONS, Layer, Vars, activation
from layers.losses import Objective
from layers.pointwise import Pointwise

torch = pytest.importorskip("torch", reason="PyTorch is the reference of these tests; `make test-frameworks` installs it")
F = torch.nn.functional

pytestmark = pytest.mark.frameworks

RELATIVE = 1e-10                     # to the largest entry of each array
CANCELLED = 1e-2                     # the least that an array is compared with: where all but rounding cancels, nothing else is left
TRIALS = 30

ACT = {
    "identity": lambda z: z,
    "affine": lambda z, slope=1.0, intercept=0.0: slope * z + intercept,
    "relu": F.relu,
    "leaky relu": lambda z, alpha=0.3: F.leaky_relu(z, alpha),
    "elu": lambda z, alpha=1.0: F.elu(z, alpha),
    "selu": F.selu,
    "gelu": lambda z, approximate=False: F.gelu(z, approximate="tanh" if approximate else "none"),
    "sigmoid": torch.sigmoid,
    "hard sigmoid": lambda z: torch.clip(0.2 * z + 0.5, 0, 1),
    "tanh": torch.tanh,
    "softplus": lambda z: F.softplus(z, threshold=1e3),
    "exponential": torch.exp,
    "softmax": lambda z, temperature=1.0: F.softmax(z / temperature, -1),
}


def act(spec, z):
    a = activation(spec)
    return ACT[a.name](z, **dict(a.args))


def first(x):                        # channels last -> channels first
    return x.movedim(-1, 1)


def last(x):
    return x.movedim(1, -1)


def padded(layer, x):                # (n, ch, rows, cols), by the layer's own arithmetic, explicitly
    pads = layer.windows.cols.pads(x.shape[3]) + layer.windows.rows.pads(x.shape[2])
    return F.pad(x, pads)


def pair(v):
    return (v, v) if np.ndim(v) == 0 else tuple(v)


def conv1d(layer, p, x):
    x = F.pad(first(x), layer.windows.cols.pads(x.shape[1]))
    return act(layer.act_fn, last(F.conv1d(x, p.W.permute(2, 1, 0).contiguous(), p.b, layer.stride, dilation=layer.dilation + 1)))


def conv2d(layer, p, x):
    dilation = tuple(d + 1 for d in pair(layer.dilation))
    W = p.W.permute(3, 2, 0, 1).contiguous()
    return act(layer.act_fn, last(F.conv2d(padded(layer, first(x)), W, p.b, pair(layer.stride), dilation=dilation)))


def deconv2d(layer, p, x):
    rows, cols = layer.out_rows(x.shape[1]), layer.out_cols(x.shape[2])
    (top, _), (left, _) = layer.windows.rows.pads(rows), layer.windows.cols.pads(cols)
    full = F.conv_transpose2d(first(x), p.W.permute(2, 3, 0, 1).contiguous(), None, pair(layer.stride))
    full = F.pad(full, (0, cols, 0, rows))                            # "same" may reach beyond the last window: zeros there
    return act(layer.act_fn, last(full[:, :, top:top + rows, left:left + cols]) + p.b)


def pool2d(layer, p, x):
    k, s, x = pair(layer.kernel_shape), pair(layer.stride), padded(layer, first(x))
    return last(F.max_pool2d(x, k, s) if layer.mode == "max" else F.avg_pool2d(x, k, s))


def batchnorm(layer, p, x):
    return last(F.batch_norm(first(x), p.running_mean.clone(), p.running_var.clone(), p.scaler, p.intercept, p.train, 0.0, layer.epsilon))


def layernorm(layer, p, x):
    return F.layer_norm(x, x.shape[1:], p.scaler, p.intercept, layer.epsilon)


def dropout(layer, p, x):
    return x * p.mask if p.train else x * (1 - layer.p) if layer.scaling == "inference" else x


def embedding(layer, p, x):
    return F.embedding_bag(x, p.W, mode=layer.pool)[:, None] if layer.pool else F.embedding(x, p.W)


def attention(layer, p, q, k, v):
    scores = q @ k.mT * (q.shape[-1] ** -0.5 if layer.scale else 1)
    w = torch.nan_to_num(F.softmax(scores.masked_fill(~p.mask, -torch.inf), -1))
    return (w * p.dropout_mask if p.train else w) @ v


def rnn_step(layer, p, x, a):
    return act(layer.act_fn, x @ p.Wax + p.bx + a @ p.Waa + p.ba),


def lstm_step(layer, p, x, a, c):
    gates = (layer.gate_fn,) * 3 if isinstance(layer.gate_fn, str) else layer.gate_fn
    fc, fn = (layer.act_fn,) * 2 if isinstance(layer.act_fn, str | None) else layer.act_fn
    z = torch.cat([a, x], 1)
    f, u, o, cc = (act(g, z @ p["W" + k] + p["b" + k]) for g, k in zip((*gates, fc), "fuoc", strict=True))
    c = f * c + u * cc
    return o * act(fn, c), c


def gru_step(layer, p, x, a):
    fz, fr = (layer.gate_fn,) * 2 if isinstance(layer.gate_fn, str) else layer.gate_fn
    ax, m = torch.cat([a, x], 1), layer.n_out
    z, r = act(fz, ax @ p.Wz + p.bz), act(fr, ax @ p.Wr + p.br)
    state = (r * a) @ p.Wc[:m] + p.ba if layer.reset == "before" else r * (a @ p.Wc[:m] + p.ba)
    return z * a + (1 - z) * act(layer.act_fn, x @ p.Wc[m:] + p.bc + state),


def cell(step):
    return lambda layer, p, x, *s: step(layer, p, x, *s)


def sequence(step):
    def run(layer, p, x):
        s, ys = (torch.zeros(len(x), layer.n_out, dtype=x.dtype),) * len(layer.states), []
        for t in range(x.shape[2]):
            s = step(layer, p, x[:, :, t], *s)
            ys.append(s[0])
        return torch.stack(ys, 2)
    return run


def rbm(layer, p, v):
    energy = lambda v: -v @ p.b_in - F.softplus(v @ p.W + p.b_out, threshold=1e3).sum(1)
    return energy(v) - energy(p.p_V_prime)


def pointwise(layer, p, x):
    y = act(layer.f, x)
    return torch.autograd.grad(y.sum(), x, create_graph=True)[0] + 0 * x if layer.order else y


LOSS = {
    "MSE": F.mse_loss, "MAE": F.l1_loss, "BCE": F.binary_cross_entropy, "SoftmaxCCE": F.cross_entropy,
    "MSLE": lambda y, t: F.mse_loss(torch.log1p(y), torch.log1p(t)),
    "CCE": lambda y, t: F.kl_div(y.log(), t, reduction="batchmean") + torch.special.entr(t).sum() / len(t),
}


def objective(layer, p, y, t):
    return LOSS[type(layer).__name__](y.reshape(len(y), -1), t.reshape(len(t), -1))


REFERENCE = {
    **{cls.__name__: pointwise for cls in Pointwise.__subclasses__()},
    **{cls.__name__: objective for cls in Objective.__subclasses__()},
    "Dense": lambda layer, p, x: act(layer.act_fn, x @ p.W + p.b),
    "SparseEvolution": lambda layer, p, x: act(layer.act_fn, x @ (p.W * p.W_mask) + p.b),
    "Add": lambda layer, p, *xs: act(layer.act_fn, sum(xs)),
    "Multiply": lambda layer, p, *xs: act(layer.act_fn, torch.stack(xs).prod(0)),
    "Flatten": lambda layer, p, x: x.reshape({"first": (len(x), -1), "last": (-1, x.shape[-1]), -1: (1, -1)}[layer.keep_dim]),
    "Softmax": lambda layer, p, x: F.softmax(x, layer.dim),
    "Dropout": dropout,
    "BatchNorm1D": batchnorm, "BatchNorm2D": batchnorm, "LayerNorm1D": layernorm, "LayerNorm2D": layernorm,
    "Conv1D": conv1d, "Conv2D": conv2d, "Deconv2D": deconv2d, "Pool2D": pool2d,
    "Embedding": embedding, "DotProductAttention": attention,
    "RNNCell": cell(rnn_step), "LSTMCell": cell(lstm_step), "GRUCell": cell(gru_step),
    "RNN": sequence(rnn_step), "LSTM": sequence(lstm_step), "GRU": sequence(gru_step),
    "RBM": rbm,
}


def choices(cls, rng):
    """Options without end, every value of each as often as any other."""
    domains = {f.name: f.metadata["domain"] for f in cls.__dataclass_fields__.values() if "domain" in f.metadata}
    while True:
        columns = {k: np.resize(rng.permutation(len(v)), TRIALS) for k, v in domains.items()}
        columns = {k: rng.permutation(v) for k, v in columns.items()}
        yield from ({k: domains[k][columns[k][i]] for k in domains} for i in range(TRIALS))


def draw(layer, rng):
    """Shapes that fit the layer, and all that it reads; None if no shape was found to fit."""
    cls = type(layer)
    law = Law.parse(layer.law)
    for _ in range(50):
        sizes = {a: getattr(layer, a, None) if a in cls.__dataclass_fields__ else int(rng.integers(1, 8)) for a in law.axes}
        sizes |= {"*": tuple(int(i) for i in rng.integers(1, 4, rng.integers(1, 3)))} if "*" in sizes else {}
        shapes = law.shapes(sizes, 3 if law.many else None)
        try:
            layer.out_shapes(*shapes)
        except ShapeError:
            continue
        lone = "running_mean" in layer.slots and shapes[0][:-1] == (1,) * (len(shapes[0]) - 1)   # PyTorch has no statistics of one value
        p = Vars(train=bool(rng.integers(2)) and not lone)
        for kind in ("parameter", "buffer", "noise"):
            p = p | layer.draw(kind, rng, layer.bind(*shapes))
        p = p | {k: v + 0.1 * rng.standard_normal(v.shape) for k, v in p.items() if k in layer.slots and layer.slots[k].kind == "parameter"}
        return p, [layer.sample(rng, i, s) for i, s in enumerate(shapes)]
    return None


def tensors(values, leaves):
    return [torch.tensor(v, requires_grad=leaf and v.dtype.kind == "f") if isinstance(v, np.ndarray) else v
            for v, leaf in zip(values, leaves, strict=True)]


def deviation(name, ours, theirs):
    """The largest difference, relative to the largest entry; at most RELATIVE."""
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape, name
    found = np.abs(ours - theirs).max(initial=0) / np.abs(theirs).max(initial=CANCELLED)
    assert found <= RELATIVE, name
    return found


@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_equals_pytorch(name):
    rng, cls, worst, compared = np.random.default_rng(zlib.crc32(name.encode())), Layer.registry[name], 0.0, {}
    for options in islice(choices(cls, rng), TRIALS):
        layer = cls(**options)
        p, xs = draw(layer, rng) or (None, None)
        if p is not None:
            worst = max(worst, *compare(layer, p, xs, rng))
            compared = {k: compared.get(k, set()) | {repr(v)} for k, v in options.items()}
    assert compared == {f.name: {*map(repr, f.metadata["domain"])} for f in cls.__dataclass_fields__.values() if "domain" in f.metadata}
    print(f"{name}: {worst:.0e}")


def compare(layer, p, xs, rng):
    """The deviation of every output and cotangent."""
    trained = [k for k in p if k in layer.slots and layer.slots[k].kind == "parameter"]
    tp = Vars(zip(p, tensors(p.values(), [k in trained for k in p]), strict=True))
    txs = tensors(xs, [True] * len(xs))
    y, r = layer.fwd(p, *xs)
    ty = REFERENCE[type(layer).__name__](layer, tp, *txs)
    ys, tys = (y, ty) if isinstance(y, tuple) else ((y,), ty if isinstance(ty, tuple) else (ty,))
    dys = [rng.standard_normal(a.shape) for a in ys]
    dx, d = layer.bwd(p, r, *dys)
    torch.autograd.backward(tys, [torch.tensor(a) for a in dys])
    yield from (deviation(f"{layer}: output {i}", a, b) for i, (a, b) in enumerate(zip(ys, tys, strict=True)))
    for i, (a, b) in enumerate(zip(dx if isinstance(dx, tuple) else (dx,), txs, strict=True)):
        assert (a is None) == (b.grad is None)
        yield 0.0 if a is None else deviation(f"{layer}: input {i}", a, b.grad)
    yield from (deviation(f"{layer}: {k}", d[k], tp[k].grad) for k in trained)


def test_every_layer_has_its_reference():
    assert {k for k, c in Layer.registry.items() if c.__module__.startswith("layers.") and c.__module__ != "layers.model"} == set(REFERENCE)


@pytest.mark.parametrize("spec", [*ACTIVATIONS, "elu(alpha=0.7)", "affine(slope=2, intercept=-1)"], ids=str)
def test_activations_and_both_derivatives(spec):
    z = torch.tensor(np.random.default_rng(0).standard_normal(200) * 4, requires_grad=True)
    a, f = act(spec, z), activation(spec)
    da, = torch.autograd.grad(a.sum(), z, create_graph=True)
    dda, = torch.autograd.grad(da.sum(), z, allow_unused=True) if da.requires_grad else (None,)
    x = z.detach().numpy()
    deviation("f", f(x), a)
    deviation("f'", f.grad(x), da)
    deviation("f''", f.grad2(x), dda if dda is not None else torch.zeros_like(z))


UNITS = {"RNN": ("Wax", "Waa"), "LSTM": "ufco", "GRU": "rzc"}          # PyTorch's order of the gates: i f g o, and r z n


@pytest.mark.parametrize("name", UNITS)
def test_the_units_are_pytorchs_own(name):
    """Its modules with our weights, gate for gate; its second bias is 0 but for the GRU's candidate."""
    rng, (n, i, t, m) = np.random.default_rng(1), (3, 4, 5, 2)
    layer, x, dy = Layer.registry[name](m), rng.standard_normal((n, i, t)), rng.standard_normal((n, m, t))
    p = layer.draw("parameter", rng, layer.bind(x.shape))
    p = p | {k: rng.standard_normal(v.shape) for k, v in p.items()}
    theirs, gates = getattr(torch.nn, name)(i, m, batch_first=True, dtype=torch.float64), UNITS[name]
    W = [p[g if g in p else "W" + g] for g in gates]
    own = [p.Wax, p.Waa] if name == "RNN" else [np.hstack([w[m:] for w in W]), np.hstack([w[:m] for w in W])]
    first = p.bx if name == "RNN" else np.hstack([p["b" + g] for g in gates])
    second = np.hstack([np.zeros(len(first) - m), p.ba]) if "ba" in p else np.zeros_like(first)
    for tensor, value in zip(theirs.parameters(), (own[0].T, own[1].T, first, second), strict=True):
        tensor.data = torch.tensor(np.ascontiguousarray(value))
    tx = torch.tensor(x, requires_grad=True)
    ty = theirs(tx.mT)[0].mT
    ty.backward(torch.tensor(dy))
    y, r = layer.fwd(p | {"train": True}, x)
    dx, d = layer.bwd(p, r, dy)
    db = d.bx if name == "RNN" else np.hstack([d["b" + g] for g in gates])
    for what, a, b in (("y", y, ty), ("dx", dx, tx.grad), ("db", db, theirs.bias_ih_l0.grad)):
        deviation(f"{name}: {what}", a, b)
