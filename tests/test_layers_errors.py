"""Bad input and bad options are refused with a sentence that names the layer, what is wanted and what came; nothing has changed then."""
from __future__ import annotations

import re
from copy import deepcopy

import numpy as np
import pytest
from test_layers_shell import NAMES, build, inputs, same, upstream

from gradcheck.law import ShapeError
from layers import (
    ELU,
    GRU,
    LSTM,
    MSE,
    RBM,
    RNN,
    Add,
    BatchNorm1D,
    Conv1D,
    Conv2D,
    Deconv2D,
    Dense,
    DotProductAttention,
    Dropout,
    Embedding,
    Flatten,
    LayerNorm2D,
    LSTMCell,
    Pool2D,
    ReLU,
    Softmax,
    SparseEvolution,
    activation,
    initializer,
    loss,
    metric,
    optimizer,
    schedule,
)

x23, x234, x2345 = (np.ones(s) for s in ((2, 3), (2, 3, 4), (2, 3, 4, 5)))

INPUTS = [                                                            # layer, inputs, what the message says
    (Dense(3), [x234], r"Dense takes (n, n_in), got shape (2, 3, 4)"),
    (Dense(3), [np.ones(3)], r"Dense takes (n, n_in), got shape (3,)"),
    (Dense(3), [x23, x23], r"Dense takes 1 input, got 2"),
    (Dense(3), [np.ones((2, 0))], r"Dense cannot map shape (2, 0): n_in would be 0"),
    (Conv2D(2, 3), [x234], r"Conv2D takes (n, rows, cols, in_ch)"),
    (Conv2D(2, (2, 7), pad=1), [x2345], r"Conv2D cannot map shape (2, 3, 4, 5): a kernel over 7 entries does not fit into 4, padded to 6"),
    (Conv1D(2, 4), [x234], r"Conv1D cannot map shape (2, 3, 4): a kernel over 4 entries does not fit into 3"),
    (Pool2D(5), [x2345], r"Pool2D cannot map"),
    (Deconv2D(2, 2, pad=9), [x2345], r"Deconv2D cannot map"),
    (Add(), [x23, x234], r"Add: input 2 takes (n, *)"),
    (Add(), [], r"Add takes one or more input"),
    (Softmax(2), [x23], r"Softmax takes (a0, a1, d, *), got shape (2, 3)"),
    (Softmax(-3), [x23], r"Softmax takes"),
    (Dropout(axis=(3,)), [x23], r"Dropout has axis=(3,), got shape (2, 3)"),
    (LSTM(2), [np.ones((2, 3, 0))], r"LSTM cannot map shape (2, 3, 0): t would be 0"),
    (LSTMCell(2), [x23, np.ones((2, 5)), np.ones((2, 5))], r"LSTMCell has n_out=2, got n_out=5"),
    (DotProductAttention(), [x234, x234, np.ones((2, 9, 4))], r"DotProductAttention: input 3"),
    (LayerNorm2D(), [x23], r"LayerNorm2D takes (n, rows, cols, ch)"),
    (Embedding(2, 5), [[[0, 5]]], r"Embedding has ids from 0 to 4, got 0 to 5"),
    (Embedding(2, 5), [[[-1, 2]]], r"Embedding has ids from 0 to 4, got -1 to 2"),
    (Embedding(2, 5, "sum"), [[[1], [2, 7]]], r"Embedding has ids from 0 to 4, got 2 to 7"),
    (Embedding(2, 5, "sum"), [[1, 2]], r"Embedding with pool='sum' takes one list of ids for each example, got one of shape ()"),
    (MSE(), [x23], r"MSE takes 2 inputs, got 1"),
    (MSE(), [x23, np.ones((2, 4))], r"MSE: input 2 takes (n, *) with *=(3,)"),
    (RBM(2), [2 * x23], r"RBM takes values from 0 to 1, got 2.0 to 2.0"),
]
TYPES = [
    (Dense(3), [x23 + 1j], r"Dense takes real numbers, got ndarray of complex128"),
    (Dense(3), [[["a", "b"]]], r"Dense takes real numbers, got list of <U1"),
    (Dense(3), [[[1, 2], [3]]], r"Dense takes real numbers, got a ragged list"),
    (Dense(3), [None], r"Dense takes real numbers, got NoneType of object"),
    (BatchNorm1D(), [np.array([[None]])], r"BatchNorm1D takes real numbers, got ndarray of object"),
    (Embedding(2, 5), [x23], r"Embedding takes integer ids, got ndarray of float64"),
    (Embedding(2, 5), [[[True]]], r"Embedding takes integer ids, got list of bool"),
]


@pytest.mark.parametrize(("layer", "xs", "says", "error"), [(*row, ValueError) for row in INPUTS] + [(*row, TypeError) for row in TYPES])
def test_input(layer, xs, says, error):
    state = deepcopy(layer.rng.bit_generator.state)
    with pytest.raises(error, match=re.escape(says)):
        layer.forward(*xs)
    assert not layer.parameters and not layer.tape and layer.rng.bit_generator.state == state


OPTIONS = [                                                           # what is called, what the message says
    (lambda: Dense(0), "Dense: n_out=0: expected a whole number from 1 on, got 0"),
    (lambda: Dense(2.5), "Dense: n_out=2.5"),
    (lambda: Dense(True), "Dense: n_out=True"),
    (lambda: Dense(2, "rleu"), "Dense: act_fn='rleu': unknown activation 'rleu'; did you mean 'relu'?"),
    (lambda: Dense(2, "elu(beta=1)"), "Dense: act_fn='elu(beta=1)'"),
    (lambda: Dense(2, "elu(alpha="), "cannot read 'elu(alpha='"),
    (lambda: Dense(2, init="glorot_unifrom"), "did you mean 'glorot_uniform'?"),
    (lambda: Dense(2, optimizer="adma"), "Dense: optimizer='adma': unknown optimizer 'adma'; did you mean 'Adam'?"),
    (lambda: Dense(2, optimizer="SGD(rate=1)"), "optimizer 'SGD(rate=1)'"),
    (lambda: Pool2D(2, mode="averge"), "Pool2D: mode='averge': unknown value 'averge'; did you mean 'average'?"),
    (lambda: Conv2D(2, 3, pad="smae"), "Conv2D: pad='smae': unknown value 'smae'; did you mean 'same'?"),
    (lambda: Conv2D(2, 3, pad="causal"), "Conv2D: pad='causal'"),
    (lambda: Conv2D(2, 3, pad=(1, 2, 3)), "Conv2D: pad=(1, 2, 3)"),
    (lambda: Conv2D(2, 3, pad=-1), "Conv2D: pad=-1"),
    (lambda: Conv2D(2, (3, 0)), "Conv2D: kernel_shape=(3, 0): expected a whole number from 1 on, or 2 of them"),
    (lambda: Conv1D(2, 3, stride=0), "Conv1D: stride=0"),
    (lambda: Dropout(1.0), "Dropout: p=1.0: expected a number in [0, 1), got 1.0"),
    (lambda: Dropout(scaling="train"), "Dropout: scaling='train': unknown value 'train'; did you mean 'training'?"),
    (lambda: Embedding(2, 5, pool="avg"), "Embedding: pool='avg'"),
    (lambda: Flatten("middle"), "Flatten: keep_dim='middle'"),
    (lambda: LSTM(2, gate_fn=("tanh", "tanh")), "LSTM: gate_fn=('tanh', 'tanh'): expected one activation or 3, got 2"),
    (lambda: GRU(2, reset="later"), "GRU: reset='later'"),
    (lambda: RNN(2, act_fn=3), "RNN: act_fn=3: the activation is given by its name or as an object, not as int"),
    (lambda: SparseEvolution(2, zeta=1.5), "SparseEvolution: zeta=1.5"),
    (lambda: LSTM(2, act_fn="softmax"), "a recurrent unit takes an elementwise activation, softmax mixes the units"),
    (lambda: Softmax(1.5), "Softmax: dim=1.5: expected a whole number, got 1.5"),
    (lambda: Dropout(True), "Dropout: p=True: expected a number in [0, 1), got True"),
    (lambda: ELU(alpha="a"), "ELU: alpha='a': expected a number"),
    (lambda: ReLU(order=2), "ReLU: order=2: expected one of [0, 1], got 2"),
    (lambda: Dense(2).set_params(3), "Dense.set_params takes a dict as summary() gives it, got int"),
    (lambda: Dense(2).set_params({"w": x23}), "Dense: unknown name 'w'; did you mean 'W'?"),
    (lambda: Dense(2).set_params({"hyperparameters": {"n_out": -1}}), "Dense: n_out=-1"),
    (lambda: RBM(2).forward(x23, K=0), "expected a whole number from 1 on, got 0"),
    (lambda: RBM(2).reconstruct(x23, 0), "expected a whole number from 1 on, got 0"),
    (lambda: activation("tahn"), "did you mean 'tanh'?"),
    (lambda: initializer("he"), "unknown initializer 'he'"),
    (lambda: optimizer("adamm"), "did you mean 'Adam'?"),
    (lambda: optimizer("SGD(lr='x')"), "SGD: lr='x': expected a number"),
    (lambda: schedule("Noam(warmup_steps='x')"), "Noam: warmup_steps='x': expected a number"),
    (lambda: schedule("kong"), "did you mean 'King'?"),
    (lambda: schedule("Cyclic(kind='exp_decy')"), "did you mean 'exp_decay'?"),
    (lambda: loss("msee"), "did you mean 'mse'?"),
    (lambda: metric("accurcy"), "did you mean 'accuracy'?"),
    (lambda: loss("mse")(x23, x234), "a loss takes targets and predictions of one shape (n, …), got (2, 3) and (2, 3, 4)"),
]


@pytest.mark.parametrize(("call", "says"), OPTIONS, ids=[says[:40] for _, says in OPTIONS])
def test_option(call, says):
    with pytest.raises((ValueError, TypeError), match=re.escape(says)):
        call()


@pytest.mark.parametrize("name", NAMES)
def test_a_built_layer_refuses_other_input_and_stays(name):
    layer = build(name)
    y = layer.forward(*inputs(layer))
    held, rng = deepcopy(layer.summary()), deepcopy(layer.rng.bit_generator.state)
    count = 3 if name == "DotProductAttention" else 1
    for x in ("text", np.ones((2, 9), complex), [[1.5], [2, 3]], np.ones((2,) * 6) if "*" not in layer.law else None):
        with pytest.raises((ValueError, TypeError), match=name):
            layer.forward(*[x] * count)
    for dy in (np.ones((7, 7, 7)), "text", 1j * np.ones(np.shape(y[0] if isinstance(y, tuple) else y))):
        with pytest.raises((ValueError, TypeError), match=name):
            layer.backward(dy)
    with pytest.raises(ValueError, match=name):
        layer.backward([upstream(y)] * 2)
    assert same(layer.summary(), held) and layer.rng.bit_generator.state == rng and len(layer.tape) == 1
    layer.backward(upstream(y))


def test_other_sizes_than_the_parameters():
    layer = Dense(3)
    layer.forward(x23)
    with pytest.raises(ShapeError, match=re.escape("Dense has W (n_in n_out) of shape (3, 3), this input needs (9, 3)")):
        layer.forward(np.ones((2, 9)))


def test_what_changes_between_two_forwards_is_seen():
    layer = Dense(3)
    layer.forward(x23)
    layer.act_fn = "relu"
    assert layer.forward(-100 * x23).min() >= 0
    layer.parameters["b"] = np.zeros(1)
    with pytest.raises(ShapeError, match=re.escape("Dense has b (n_out) of shape (1,), this input needs (3,)")):
        layer.forward(x23)


def test_king_needs_a_loss():
    layer = Dense(2, optimizer="SGD(lr_scheduler='King')")
    layer.backward(layer.forward(x23))
    with pytest.raises(ValueError, match="cur_loss"):
        layer.update()
    assert layer.tape
    layer.update(cur_loss=1.0)
