"""The stateful shell around every layer: retaining, accumulating, freezing, flushing, updating, summaries."""
from __future__ import annotations

import pickle
from copy import deepcopy

import numpy as np
import pytest

from gradcheck.law import Law
from layers import (
    GRU,
    LSTM,
    RBM,
    RNN,
    SGD,
    Adam,
    Add,
    BatchNorm1D,
    BatchNorm2D,
    Conv2D,
    Deconv2D,
    Dense,
    DotProductAttention,
    Dropout,
    Embedding,
    GRUCell,
    Layer,
    LSTMCell,
    Multiply,
    Pool2D,
    RNNCell,
    SparseEvolution,
    activation,
)

REQUIRED = {"n_out": 3, "vocab_size": 5, "out_ch": 2, "kernel_shape": 2, "kernel_width": 2}
NAMES = sorted(k for k, c in Layer.registry.items() if c.__module__.startswith("layers.") and c.__module__ != "layers.model")
CELLS = {"RNNCell", "LSTMCell", "GRUCell"}


def build(name, **options):
    cls = Layer.registry[name]
    layer = cls(**{k: v for k, v in REQUIRED.items() if k in cls.__dataclass_fields__} | options)
    layer.rng = np.random.default_rng(1)
    return layer


def inputs(layer, seed=0, dtype=np.float64):
    """What `forward` takes: a cell's states are its own."""
    law, rng = Law.parse(layer.law), np.random.default_rng(seed)
    shapes = law.shapes({a: (3,) if a == "*" else getattr(layer, a, 4) if a in REQUIRED else 4 for a in law.axes}, 2 if law.many else None)
    xs = [layer.sample(rng, i, s) for i, s in enumerate(shapes)][:1 if type(layer).__name__ in CELLS else None]
    return [x.astype(dtype) if x.dtype.kind == "f" else x for x in xs]


def upstream(y, seed=9):
    one = lambda a: np.random.default_rng(seed).standard_normal(a.shape).astype(a.dtype)
    return tuple(map(one, y)) if isinstance(y, tuple) else one(y)


def leaves(tree):
    """Every array and value in nested dicts and sequences, with its path."""
    if isinstance(tree, dict):
        return [((k, *path), v) for k in tree for path, v in leaves(tree[k])]
    if isinstance(tree, list | tuple):
        return [((i, *path), v) for i, item in enumerate(tree) for path, v in leaves(item)]
    return [((), tree)]


def same(a, b):
    a, b = leaves(a), leaves(b)
    return [p for p, _ in a] == [p for p, _ in b] and all(np.array_equal(v, w) for (_, v), (_, w) in zip(a, b, strict=True))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_follows_the_input(name, dtype):
    layer = build(name)
    layer.dtype = dtype if name == "Embedding" else None              # integer input has no dtype to follow
    y = layer.forward(*inputs(layer, dtype=dtype))
    dx = layer.backward(upstream(y))
    arrays = [v for _, v in leaves([y, dx, layer.parameters, layer.gradients]) if isinstance(v, np.ndarray)]
    assert {a.dtype for a in arrays} == {np.dtype(dtype)}


@pytest.mark.parametrize("name", sorted(set(NAMES) - CELLS))         # a cell's forwards are steps of one sequence
def test_gradients_accumulate_over_retained_forwards(name):
    layer = build(name)
    dys = [upstream(layer.forward(*inputs(layer, seed)), seed) for seed in (1, 2)]
    tape = layer.tape
    layer.backward(dys)
    both, alone = layer.gradients, []
    for record, dy in zip(tape, dys, strict=True):
        layer.flush_gradients()
        layer.tape = [record]
        layer.backward(dy)
        alone.append(layer.gradients)
    assert all(np.allclose(g, alone[0][k] + alone[1][k], rtol=1e-14) for k, g in both.items())


@pytest.mark.parametrize("name", NAMES)
def test_without_retaining_nothing_stays(name):
    layer = build(name)
    layer.forward(*inputs(layer), retain_derived=False)
    kept = deepcopy(layer.parameters)
    layer.forward(*inputs(layer, 5), retain_derived=False)
    assert not layer.tape and not layer.derived_variables and same(layer.parameters, kept)
    with pytest.raises(ValueError, match=name):
        layer.backward(np.zeros(3))


@pytest.mark.parametrize("name", NAMES)
def test_retain_grads_false_passes_back_only(name):
    layer, twin = build(name), build(name)
    y = layer.forward(*inputs(layer))
    twin.forward(*inputs(layer))
    assert same(layer.backward(upstream(y), retain_grads=False), twin.backward(upstream(y)))
    assert not any(g.any() for g in layer.gradients.values())


@pytest.mark.parametrize("name", NAMES)
def test_frozen_passes_back_and_stays(name):
    layer = build(name)
    layer.forward(*inputs(layer))
    layer.update()
    layer.freeze()
    before = deepcopy(layer.parameters)
    y = layer.forward(*inputs(layer))
    dx = layer.backward(upstream(y))
    assert not any(g.any() for g in layer.gradients.values())
    layer.update()
    assert same(layer.parameters, before) and not layer.tape
    assert name in ("Embedding", "RBM") or all(np.isfinite(v).all() for _, v in leaves(dx))
    layer.unfreeze()
    assert layer.trainable


@pytest.mark.parametrize("name", NAMES)
def test_update_descends_and_flushes(name):
    layer = build(name, optimizer="SGD(lr=0.5)")
    y = layer.forward(*inputs(layer))
    before = layer.parameters
    layer.backward(upstream(y))
    gradients = layer.gradients
    layer.update()
    assert not layer.tape and not any(g.any() for g in layer.gradients.values())
    if name != "SparseEvolution":                                     # which evolves afterwards
        assert all(np.array_equal(layer.parameters[k], before[k] - 0.5 * g) for k, g in gradients.items())
    assert gradients.keys() == {k for k, s in layer.slots.items() if s.kind == "parameter"}


@pytest.mark.parametrize("name", NAMES)
def test_summary_round_trip(name):
    layer = build(name, optimizer="Adam(lr=0.01, lr_scheduler=NoamScheduler(warmup_steps=10))")
    for seed in range(2):
        layer.backward(upstream(layer.forward(*inputs(layer, seed))))
        layer.update()
    summary = layer.summary()
    held = deepcopy(summary)
    twin = build(name).set_params(summary)
    assert isinstance(twin, Layer) and same(summary, held)
    assert same(twin.summary(), summary)
    for each in (layer, twin):
        each.rng = np.random.default_rng(3)
        each.y = each.forward(*inputs(layer, 7))
        each.backward(upstream(each.y))
        each.update()
    assert same(layer.y, twin.y) and same(layer.summary(), twin.summary())


@pytest.mark.parametrize("name", NAMES)
def test_flush_makes_new(name):
    layer, twin = build(name), build(name)
    layer.forward(*inputs(layer))
    layer.forward(*inputs(layer))
    layer.flush_gradients()
    assert not layer.tape and not layer.derived_variables
    twin.set_params({"parameters": layer.parameters})
    for each in (layer, twin):
        each.rng = np.random.default_rng(0)
    assert same(layer.forward(*inputs(layer)), twin.forward(*inputs(layer)))


@pytest.mark.parametrize("name", NAMES)
def test_empty_batch(name):
    layer = build(name)
    xs = [x[:0] for x in inputs(layer)]
    y = layer.forward(*xs)
    layer.backward(upstream(y))
    assert all(np.isfinite(g).all() and not g.any() for g in layer.gradients.values())
    layer.update()
    assert all(np.isfinite(v).all() for v in layer.parameters.values())


@pytest.mark.parametrize("name", NAMES)
def test_copies_and_pickles(name):
    layer = build(name)
    layer.forward(*inputs(layer))
    for twin in (deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert same(twin.summary(), layer.summary()) and str(twin) == str(layer)


def test_a_list_of_upstreams_gives_a_list():
    layer = build("Dense")
    x, y = inputs(layer)[0], build("Dense").forward(*inputs(build("Dense")))
    layer.forward(x), layer.forward(x)
    dxs = layer.backward([np.ones_like(y), 2 * np.ones_like(y)])
    assert isinstance(dxs, list) and np.allclose(dxs[1], 2 * dxs[0])
    with pytest.raises(ValueError, match="1 upstreams for 2 retained forwards"):
        layer.backward(np.ones_like(y))


def test_attention_gives_three_cotangents_each_a_list_if_several():
    layer = DotProductAttention()
    qkv = inputs(layer)
    y = layer.forward(*qkv)
    assert [d.shape for d in layer.backward(y)] == [x.shape for x in qkv]
    layer.forward(*qkv)
    dQ, dK, dV = layer.backward([y, y])
    assert all(isinstance(d, list) and len(d) == 2 for d in (dQ, dK, dV))


@pytest.mark.parametrize("cls", [Add, Multiply])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_one_list_of_inputs_or_several(cls, count):
    xs = [np.random.default_rng(i).standard_normal((2, 3)) for i in range(count)]
    y = cls().forward(xs)
    layer = cls()
    assert np.array_equal(y, layer.forward(*xs))
    dxs = layer.backward(np.ones_like(y))
    assert isinstance(dxs, list) and len(dxs) == count


def test_batchnorm_modes():
    layer, x = BatchNorm1D(momentum=0.75), np.random.default_rng(0).standard_normal((50, 2)) * 3 + 5
    y = layer.forward(x)
    assert np.allclose(y.mean(0), 0) and np.allclose(layer.parameters.running_mean, 0.25 * x.mean(0))
    assert np.allclose(layer.parameters.running_var, 0.75 + 0.25 * x.var(0))
    running = deepcopy(layer.parameters)
    plain = (x - running.running_mean) / np.sqrt(running.running_var + layer.epsilon)
    assert np.allclose(layer.forward(x, retain_derived=False), plain)
    layer.eval()
    assert np.allclose(layer.forward(x), plain) and same(layer.parameters, running)
    layer.reset_running_stats()
    assert not layer.parameters.running_mean.any() and (layer.parameters.running_var == 1).all()


def test_train_and_freeze_reach_into_the_parts():
    layer = DotProductAttention(dropout_p=0.5)
    layer.eval()
    layer.freeze()
    assert not layer.dropout.training and not layer.softmax.trainable
    assert layer.train() is layer and layer.dropout.training


def test_dropout_scalings_agree_in_the_mean():
    x = np.ones((400, 50))
    for scaling in ("training", "inference"):
        layer = Dropout(0.3, scaling=scaling)
        layer.rng = np.random.default_rng(0)
        assert abs(layer.forward(x).mean() - layer.eval().forward(x).mean()) < 0.02
    shared = Dropout(0.5, axis=(1,)).forward(x)
    assert (shared == shared[:, :1]).all()


def test_cells_step_forward_and_back_as_their_layers():
    x = np.random.default_rng(0).standard_normal((3, 4, 5))
    for cell, layer in ((RNNCell(2), RNN(2)), (LSTMCell(2), LSTM(2)), (GRUCell(2), GRU(2))):
        y = layer.forward(x)
        cell.set_params({"parameters": layer.parameters})
        steps = [cell.forward(x[:, :, t]) for t in range(5)]
        assert np.allclose(np.stack([s[0] if isinstance(s, tuple) else s for s in steps], 2), y)
        dx = layer.backward(np.cos(y))
        dxs = [cell.backward(np.cos(y[:, :, t])) for t in reversed(range(5))]
        assert np.allclose(np.stack(dxs[::-1], 2), dx)
        assert all(np.allclose(cell.gradients[k], g) for k, g in layer.gradients.items())
        cell.flush_gradients()
        for t in range(5):
            cell.forward(x[:, :, t])
        assert np.allclose(np.stack(cell.backward([np.cos(y[:, :, t]) for t in range(5)]), 2), dx)
        with pytest.raises(ValueError, match="no retained forward"):
            cell.backward(y[:, :, 0])


def test_embedding_ragged_and_lookup():
    layer = Embedding(3, 6, pool="mean")
    ids = [[1, 1, 4], [0], []]
    W = layer.lookup(range(6))
    y = layer.forward(ids)
    assert y.shape == (3, 1, 3) and np.allclose(y[:, 0], [W[[1, 1, 4]].mean(0), W[0], np.zeros(3)])
    assert layer.backward(np.ones_like(y)) is None
    assert np.allclose(layer.gradients.W[:, 0], [1, 2 / 3, 0, 0, 1 / 3, 0])
    assert np.allclose(layer.forward([[5, 2]], retain_derived=False)[0, 0], W[[5, 2]].mean(0))


def test_masked_attention():
    layer, rng = DotProductAttention(), np.random.default_rng(0)
    Q, K, V = (rng.standard_normal((2, 3, 4, 5)) for _ in range(3))
    mask = np.tril(np.ones((4, 4), bool))
    mask[0] = False
    y = layer.forward(Q, K, V, mask=mask)
    assert (y[:, :, 0] == 0).all() and np.allclose(y[:, :, 1], layer.forward(Q[:, :, 1:2], K[:, :, :2], V[:, :, :2])[:, :, 0])
    with pytest.raises(ValueError, match="mask"):
        layer.forward(Q, K, V, mask=np.ones((3, 3), bool))


def test_sparse_evolution_keeps_its_number_of_connections():
    layer = SparseEvolution(20, zeta=0.4, epsilon=3)
    layer.rng = np.random.default_rng(0)
    x = np.random.default_rng(1).standard_normal((5, 30))
    layer.backward(layer.forward(x))
    before = layer.parameters.W_mask
    layer.update()
    after = layer.parameters
    assert after.W_mask.sum() == before.sum() and (after.W_mask != before).any() and not after.W[after.W_mask == 0].any()
    full = SparseEvolution(5)
    full.forward(np.ones((1, 5)))
    assert full.parameters.W_mask.all()


def test_rbm_learns_and_reconstructs():
    patterns = np.repeat(np.array([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]], float), 20, 0)
    layer = RBM(4, K=2, optimizer=SGD(lr=0.02))
    layer.rng = np.random.default_rng(0)
    for _ in range(400):
        layer.CD_update(patterns)
    spoilt = patterns.copy()
    spoilt[:, 0] = 0.5
    held = deepcopy(layer.parameters)
    prob = layer.reconstruct(spoilt, 3, return_prob=True)
    assert prob.shape == patterns.shape and abs(prob - patterns).mean() < 0.15 and same(layer.parameters, held)
    assert set(np.unique(layer.reconstruct(spoilt))) <= {0.0, 1.0}
    layer.forward(patterns, K=5)
    assert layer.backward() is None and layer.gradients.W.any()


def test_options_as_text_and_objects():
    layer = Dense(2, "Leaky ReLU(alpha=0.2)", "he_normal", "RMSProp(lr=0.05, lr_scheduler=ExponentialScheduler(decay=0.5))")
    assert layer.optimizer.lr == 0.05 and layer.optimizer.lr_scheduler.decay == 0.5
    assert layer.hyperparameters["act_fn"] == "Leaky ReLU(alpha=0.2)"
    assert Dense(2, act_fn=activation("elu(alpha=2)")).hyperparameters["act_fn"] == "elu(alpha=2)"
    shared = Adam()
    first, second = Dense(2, optimizer=shared), Dense(2, optimizer=shared)
    assert first.optimizer is not second.optimizer


def test_positional_order():
    """As numpy-ml documents it."""
    assert Conv2D(2, 3, 1, 2, 0, "relu", "SGD(lr=1)", "he_normal").optimizer.lr == 1
    assert Deconv2D(2, 3, 1, 2, "relu", "SGD(lr=1)", "he_normal").init == "he_normal"
    assert Pool2D(2, 1, 0, "average", None).mode == "average"
    assert LSTM(2, "Tanh", "Sigmoid", "he_normal", "SGD(lr=1)").optimizer.lr == 1
    assert RNN(2, "Tanh", "he_normal", "SGD(lr=1)").optimizer.lr == 1
    assert DotProductAttention(True, 0.1, "he_normal", None).dropout_p == 0.1
    assert BatchNorm2D(0.8, 1e-3, "SGD(lr=1)").epsilon == 1e-3
    assert SparseEvolution(2, 0.1, 5, "relu", "he_normal", "SGD(lr=1)").epsilon == 5
    assert Embedding(2, 3, "sum", "he_normal", "SGD(lr=1)").pool == "sum"
