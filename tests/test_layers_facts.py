"""Facts of single layers that no law says: names, conventions, and the sentences of their docstrings, by plain examples."""
from __future__ import annotations

import numpy as np
import pytest

from layers import (
    GRU,
    LSTM,
    RBM,
    Conv1D,
    Conv2D,
    Deconv2D,
    Dense,
    DotProductAttention,
    Embedding,
    Flatten,
    GRUCell,
    Layer,
    LayerNorm1D,
    LSTMCell,
    Multiply,
    Pool2D,
    RNNCell,
    Softmax,
    SparseEvolution,
    Vars,
)


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def built(layer, *xs, seed=3):
    """The layer with parameters in general position, and its output."""
    layer.rng = np.random.default_rng(seed)
    layer.forward(*xs)
    layer.flush_gradients()
    layer.set_params({k: v + 0.1 * draw(*v.shape) for k, v in layer.parameters.items() if layer.slots[k].kind == "parameter"})
    return layer, layer.forward(*xs)


DERIVED = [
    (Dense(2, "tanh"), [draw(3, 4)], {"X", "Z"}),
    (LSTMCell(2), [draw(3, 4)], {"Gf", "Gu", "Go", "Cc", "C", "A"}),
    (LSTM(2), [draw(3, 4, 5)], {"Gf", "Gu", "Go", "Cc", "C", "A"}),
    (GRUCell(2), [draw(3, 4)], {"Gz", "Gr", "Cc", "A"}),
    (GRU(2), [draw(3, 4, 5)], {"Gz", "Gr", "Cc", "A"}),
    (RNNCell(2), [draw(3, 4)], {"X", "Z", "A"}),
    (DotProductAttention(), [draw(2, 3, 4)] * 3, {"attention_weights", "dropout_mask"}),
    (Conv2D(2, 3), [draw(2, 5, 5, 1)], {"X", "Z"}),
]
PARAMETERS = [
    (LSTM(2), {f"{kind}{g}" for kind in "Wb" for g in "fuoc"}, (6, 2)),
    (LSTMCell(2), {f"{kind}{g}" for kind in "Wb" for g in "fuoc"}, (6, 2)),
    (RNNCell(2), {"Wax", "Waa", "bx", "ba"}, (2, 2)),
]


@pytest.mark.parametrize(("layer", "xs", "names"), DERIVED, ids=[type(row[0]).__name__ for row in DERIVED])
def test_derived_variables_have_their_documented_names(layer, xs, names):
    layer.forward(*xs)
    layer.forward(*xs)
    assert names <= layer.derived_variables.keys() and all(len(layer.derived_variables[k]) == 2 for k in names)


@pytest.mark.parametrize(("layer", "names", "shape"), PARAMETERS, ids=[type(row[0]).__name__ for row in PARAMETERS])
def test_parameters_have_their_documented_names(layer, names, shape):
    layer.forward(draw(3, 4, 5) if type(layer) is LSTM else draw(3, 4))
    assert layer.parameters.keys() == names == layer.gradients.keys() and layer.parameters[min(names)].shape == shape


def test_the_state_stands_above_the_input():
    layer, _ = built(LSTMCell(2), draw(3, 4))
    x, a, c = draw(3, 4), draw(3, 2, seed=1), draw(3, 2, seed=2)
    p = layer.parameters
    gate = lambda k: 1 / (1 + np.exp(-(np.hstack([a, x]) @ p["W" + k] + p["b" + k])))
    C = gate("f") * c + gate("u") * np.tanh(np.hstack([a, x]) @ p.Wc + p.bc)
    A1, C1 = layer.forward(x, a, c)
    assert np.allclose(C1, C) and np.allclose(A1, gate("o") * np.tanh(C))


def test_a_layer_without_a_docstring_has_the_one_it_inherits():
    assert LSTM.__doc__ == LSTMCell.__doc__ and LSTM.__doc__.startswith("C = Gf C_prev + Gu Cc")
    assert type("Mine", (Dense,), {}).__doc__ == "y = f(x W + b)"
    del Layer.registry["Mine"]


def test_set_params_takes_a_flat_dict_and_returns_the_layer():
    layer = Dense(2).set_params({"W": np.ones((3, 2)), "b": np.zeros(2), "act_fn": "relu"})
    assert isinstance(layer, Dense) and layer.act_fn == "relu" and (layer.forward(np.ones((1, 3))) == 3).all()


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [0, 1])
@pytest.mark.parametrize("pad", ["same", "causal"])
def test_named_padding_keeps_the_length_at_every_stride(stride, dilation, pad):
    for l_in in range(1, 9):
        assert Conv1D(2, 3, pad, stride, dilation).out_shapes((1, l_in, 2)) == ((1, l_in, 2),)
    assert Conv2D(2, (2, 3), "same", stride, dilation).out_shapes((1, 5, 6, 1)) == ((1, 5, 6, 2),)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_causal_sees_nothing_later(stride):
    x = draw(1, 7, 2)
    layer, y = built(Conv1D(3, 3, "causal", stride, 1), x)
    for t in range(7):
        later = x.copy()
        later[:, t + 1:] = 99
        assert np.allclose(layer.forward(later)[:, :t + 1], y[:, :t + 1])


@pytest.mark.parametrize("pad", [0, 1, (1, 0), (0, 1, 2, 1), "same"])
@pytest.mark.parametrize("stride", [1, (2, 3)])
def test_deconvolution_is_the_adjoint(pad, stride):
    z = draw(2, 5, 6, 3)
    deconv, y = built(Deconv2D(2, (3, 2), pad, stride), z)
    conv, _ = built(Conv2D(3, (3, 2), pad, stride), y)
    conv.set_params({"W": deconv.parameters.W.swapaxes(2, 3), "b": np.zeros(3)})
    other = draw(*y.shape, seed=4)
    want = conv.forward(other)
    rows, cols = (min(a, b) for a, b in zip(want.shape[1:3], z.shape[1:3], strict=True))       # of a stride, the remainder is not reached
    inside = np.zeros_like(z)
    inside[:, :rows, :cols] = z[:, :rows, :cols]
    y = deconv.forward(inside) - deconv.parameters.b
    assert np.isclose((y * other).sum(), (inside[:, :rows, :cols] * want[:, :rows, :cols]).sum())


def test_four_paddings_are_top_bottom_left_right():
    x = np.ones((1, 1, 1, 1))
    y = Pool2D(1, 1, (1, 2, 3, 4), "average").forward(x)
    assert y.shape == (1, 4, 8, 1) and y[0, 1, 3, 0] == 1 and y.sum() == 1


def test_a_padded_zero_counts_and_may_win():
    x = -np.ones((1, 2, 2, 1))
    layer = Pool2D(2, 2, 1)
    assert not layer.forward(x).any() and not layer.backward(np.ones((1, 2, 2, 1))).any()
    assert np.allclose(Pool2D(2, 2, 1, "average").forward(x), -0.25)


def test_attention_of_other_lengths_and_widths():
    Q, K, V = draw(5, 3), draw(7, 3, seed=1), draw(7, 2, seed=2)
    y = DotProductAttention(scale=False).forward(Q, K, V)
    w = np.exp(Q @ K.T)
    assert np.allclose(y, w / w.sum(1, keepdims=True) @ V)


def test_dropout_acts_on_the_weights_in_training_only():
    layer, qkv = DotProductAttention(dropout_p=0.5), [draw(2, 6, 4, seed=i) for i in range(3)]
    layer.forward(*qkv)
    w, mask = (layer.derived_variables[k][0] for k in ("attention_weights", "dropout_mask"))
    assert np.allclose(w.sum(-1), 1) and set(np.unique(mask)) == {0.0, 2.0}
    assert np.allclose(layer.eval().forward(*qkv), w @ qkv[2])


def test_density_of_sparse_evolution():
    layer = SparseEvolution(200, epsilon=10)
    layer.rng = np.random.default_rng(0)
    layer.forward(draw(1, 300))
    assert abs(layer.parameters.W_mask.mean() - 10 * 500 / 60000) < 0.01
    W, mask = layer.parameters.W, layer.parameters.W_mask
    grown = layer.evolve(W, mask)
    dropped = (mask == 1) & (grown.W != W)
    for sign in (1, -1):
        mine = (mask == 1) & (sign * W > 0)
        assert abs(dropped[mine].mean() - layer.zeta) < 0.01 and abs(W[mine & dropped]).max() <= abs(W[mine & ~dropped]).min()


def test_gradients_of_contrastive_divergence():
    layer, _ = built(RBM(4), np.random.default_rng(0).random((6, 3)))
    sigma = lambda z: 1 / (1 + np.exp(-z))
    v, w = (layer.tape[0].r[k] for k in ("V", "p_V_prime"))
    p = layer.parameters
    h, g = sigma(v @ p.W + p.b_out), sigma(w @ p.W + p.b_out)
    assert layer.backward() is None
    assert np.allclose(layer.gradients.W, w.T @ g - v.T @ h)
    assert np.allclose(layer.gradients.b_in, (w - v).sum(0)) and np.allclose(layer.gradients.b_out, (g - h).sum(0))


def test_forms_of_flatten_softmax_and_pooled_embedding():
    x = draw(2, 3, 4)
    assert [Flatten(k).forward(x).shape for k in ("first", "last", -1)] == [(2, 12), (6, 4), (1, 24)]
    assert np.allclose(Softmax(1).forward(x).sum(1), 1)
    assert Embedding(3, 9, "sum").forward([[1, 2], [3]]).shape == (2, 1, 3) and Embedding(3, 9).lookup([4, 4]).shape == (2, 3)


def test_zeros_are_legal_factors():
    layer = Multiply()
    layer.forward([np.zeros((1, 1)), np.full((1, 1), 2.0), np.full((1, 1), 3.0)])
    assert [float(d.item()) for d in layer.backward(np.ones((1, 1)))] == [6, 0, 0]


def test_layer_normalisation_is_alike_in_both_modes():
    layer, x = LayerNorm1D(epsilon=0), draw(4, 5)
    y = layer.forward(x)
    assert np.allclose(y.mean(1), 0) and np.allclose(y.var(1), 1) and np.array_equal(layer.eval().forward(x), y)


@pytest.mark.parametrize("options", [{}, {"pad": 1}, {"stride": (2, 1), "pad": "same"}, {"dilation": (0, 1)}], ids=str)
def test_a_convolution_is_the_same_however_many_images_it_takes_at_a_time(options, monkeypatch):
    layer, rng = Conv2D(3, (2, 3), **options), np.random.default_rng(0)
    x = rng.standard_normal((5, 6, 7, 2))
    dy = rng.standard_normal(layer.forward(x).shape)
    found = []
    for cache in (1, 2000, 2**20):                                    # one image, two or so, all
        monkeypatch.setattr("layers.windows.CACHE", cache)
        layer.flush_gradients()
        found.append([layer.forward(x), layer.backward(dy), *layer.gradients.values()])
    for others in found[1:]:
        for a, b in zip(found[0], others, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-12)


def test_few_ids_have_the_cotangent_of_many(monkeypatch):
    layer, ids = Embedding(3, 7), np.array([[1, 2, 1], [6, 1, 0]])
    dy = np.random.default_rng(0).standard_normal(layer.forward(ids).shape)
    layer.backward(dy)
    few = layer.gradients.W
    layer.flush_gradients()
    monkeypatch.setattr("layers.embedding.FEW", 0)
    layer.forward(ids)
    layer.backward(dy)
    np.testing.assert_allclose(few, layer.gradients.W, rtol=1e-15)


def test_an_array_may_be_named_as_a_method_of_dictionaries():
    p = Vars(items=1, W=2)
    assert list(p.items()) == [("items", 1), ("W", 2)] and p.W == 2 and p["items"] == 1
    with pytest.raises(AttributeError, match="no 'b' among items, W"):
        _ = p.b
