"""The layers as numpy-ml, EpyNN and slugnet spell them: every name, signature, dictionary and convention, by the public names."""
from __future__ import annotations

import copy
import inspect
import re

import numpy as np
import pytest

import gradcheck
import layers
from layers.data import one_hot
from layers.dialects import epynn, numpy_ml, slugnet

RNG = np.random.default_rng
EXACT = {"rtol": 1e-12, "atol": 1e-13}


def draw(*shape, seed=0):
    return RNG(seed).standard_normal(shape)


def parameters_of(f, skip=0):
    return {k: p.default for k, p in list(inspect.signature(f).parameters.items())[skip:]}


NONE = inspect.Parameter.empty

# numpy-ml -------------------------------------------------------------------------------------------------------------------

GLOROT = {"init": "glorot_uniform"}
NUMPY_ML = {
    "Add": {"act_fn": None}, "Multiply": {"act_fn": None}, "Flatten": {"keep_dim": "first"}, "Softmax": {"dim": -1},
    "FullyConnected": {"n_out": NONE, "act_fn": None, **GLOROT},
    "SparseEvolution": {"n_out": NONE, "zeta": 0.3, "epsilon": 20, "act_fn": None, **GLOROT},
    "BatchNorm1D": {"momentum": 0.9, "epsilon": 1e-5}, "BatchNorm2D": {"momentum": 0.9, "epsilon": 1e-5},
    "LayerNorm1D": {"epsilon": 1e-5}, "LayerNorm2D": {"epsilon": 1e-5},
    "Embedding": {"n_out": NONE, "vocab_size": NONE, "pool": None, **GLOROT},
    "DotProductAttention": {"scale": True, "dropout_p": 0, **GLOROT},
    "RBM": {"n_out": NONE, "K": 1, **GLOROT},
    "Conv1D": {"out_ch": NONE, "kernel_width": NONE, "pad": 0, "stride": 1, "dilation": 0, "act_fn": None, **GLOROT},
    "Conv2D": {"out_ch": NONE, "kernel_shape": NONE, "pad": 0, "stride": 1, "dilation": 0, "act_fn": None, "optimizer": None, **GLOROT},
    "Deconv2D": {"out_ch": NONE, "kernel_shape": NONE, "pad": 0, "stride": 1, "act_fn": None, "optimizer": None, **GLOROT},
    "Pool2D": {"kernel_shape": NONE, "stride": 1, "pad": 0, "mode": "max"},
    "RNN": {"n_out": NONE, "act_fn": "tanh", **GLOROT}, "RNNCell": {"n_out": NONE, "act_fn": "tanh", **GLOROT},
    "LSTM": {"n_out": NONE, "act_fn": "tanh", "gate_fn": "sigmoid", **GLOROT}, "LSTMCell": {"n_out": NONE, "act_fn": "tanh", "gate_fn": "sigmoid", **GLOROT},
}


@pytest.mark.parametrize("name", NUMPY_ML)
def test_numpy_ml_signatures(name):
    want = {"optimizer": None} | NUMPY_ML[name] if "optimizer" in NUMPY_ML[name] else NUMPY_ML[name] | {"optimizer": None}
    assert {k: v.lower() if isinstance(v, str) else v for k, v in parameters_of(getattr(numpy_ml, name)).items()} == want
    assert [*parameters_of(getattr(numpy_ml, name))][:-1 if list(want)[-1] == "optimizer" else None] == list(NUMPY_ML[name])


def test_numpy_ml_shell():
    layer = numpy_ml.FullyConnected(3, act_fn="Leaky ReLU(alpha=0.2)", init="he_normal", optimizer="SGD(lr=0.5, momentum=0.9)")
    assert isinstance(layer, numpy_ml.LayerBase) and numpy_ml.LayerBase()
    X = draw(5, 4)
    Y = layer.forward(X)
    assert set(layer.parameters) == set(layer.gradients) == {"W", "b"} and layer.derived_variables["Z"][0].shape == (5, 3)
    dX = layer.backward(np.ones_like(Y))
    twin = numpy_ml.FullyConnected(3).set_params(layer.summary())
    assert dX.shape == X.shape and np.array_equal(twin.forward(X), Y) and layer.summary()["layer"] == "Dense"
    layer.update(cur_loss=1.0)
    assert not layer.gradients.W.any() and layer.optimizer.steps == 1


def test_numpy_ml_takes_lists_where_it_documents_them():
    xs = [draw(3, 4, seed=i) for i in range(3)]
    for cls, rule in ((numpy_ml.Add, sum), (numpy_ml.Multiply, lambda a: np.prod(a, axis=0))):
        layer = cls()
        assert np.allclose(layer.forward(xs), rule(xs), **EXACT)
        dxs = layer.backward(np.ones((3, 4)))
        assert isinstance(dxs, list) and len(dxs) == 3
    cell = numpy_ml.LSTMCell(2)
    At, Ct = cell.forward(xs[0])
    assert At.shape == Ct.shape == (3, 2) and cell.backward(np.ones((3, 2))).shape == (3, 4)


def test_numpy_ml_optimizers_and_schedulers():
    given = {n: parameters_of(getattr(numpy_ml, n)) for n in ("SGD", "AdaGrad", "RMSProp", "Adam")}
    assert {n: p["lr"] for n, p in given.items()} == {"SGD": 0.01, "AdaGrad": 0.01, "RMSProp": 0.001, "Adam": 0.001}
    assert given["SGD"]["momentum"] == 0 and given["RMSProp"]["decay"] == 0.9 and {p["eps"] for n, p in given.items() if n != "SGD"} == {1e-7}
    assert (given["Adam"]["decay1"], given["Adam"]["decay2"]) == (0.9, 0.999) and given["SGD"]["clip_norm"] is given["SGD"]["lr_scheduler"] is None
    rates = [numpy_ml.ConstantScheduler(), numpy_ml.ExponentialScheduler(), numpy_ml.NoamScheduler(), numpy_ml.KingScheduler()]
    assert [type(layers.schedule(str(r))) for r in rates] == [type(r) for r in rates] and all(r.rate(0, 1.0) > 0 for r in rates)


# EpyNN ------------------------------------------------------------------------------------------------------------------------

RECURRENT = {"clip_gradients": False, "sequences": False, "se_hPars": None}
EPYNN = {
    "Layer": {"se_hPars": None}, "Template": {},
    "Embedding": {"X_data": None, "Y_data": None, "relative_size": (2, 1, 0), "batch_size": None, "X_encode": False, "Y_encode": False, "X_scale": False},
    "Dense": {"units": 1, "activate": epynn.sigmoid, "initialization": epynn.xavier, "se_hPars": None},
    "RNN": {"unit_cells": 1, "activate": epynn.tanh, "initialization": epynn.xavier, **RECURRENT, "clip_gradients": True},
    "LSTM": {"unit_cells": 1, "activate": epynn.tanh, "activate_output": epynn.sigmoid, "activate_candidate": epynn.tanh, "activate_input": epynn.sigmoid,
             "activate_forget": epynn.sigmoid, "initialization": epynn.orthogonal, **RECURRENT},
    "GRU": {"unit_cells": 1, "activate": epynn.tanh, "activate_update": epynn.sigmoid, "activate_reset": epynn.sigmoid,
            "initialization": epynn.orthogonal, **RECURRENT},
    "Convolution": {"unit_filters": 1, "filter_size": (3, 3), "strides": None, "padding": 0, "activate": epynn.relu, "initialization": epynn.xavier,
                    "use_bias": True, "se_hPars": None},
    "Pooling": {"pool_size": (2, 2), "strides": None, "pool": np.max}, "Dropout": {"drop_prob": 0.5, "axis": ()}, "Flatten": {},
}


@pytest.mark.parametrize("name", EPYNN)
def test_epynn_signatures(name):
    assert list(parameters_of(getattr(epynn, name).__init__, 1).items()) == [*EPYNN[name].items()] or not EPYNN[name]
    assert not EPYNN[name] or list(parameters_of(getattr(epynn, name))) == [*EPYNN[name]]
    getattr(epynn, name)()


def made(layer, A):
    layer.np_rng = RNG(3)
    layer.compute_shapes(A)
    layer.initialize_parameters()
    return layer


CHECKED = {
    "dense": (lambda: epynn.Dense(3), "m n"), "softmax": (lambda: epynn.Dense(3, epynn.softmax, se_hPars={"softmax_temperature": 3}), "m n"),
    "elu": (lambda: epynn.Dense(2, epynn.elu, epynn.orthogonal, {"ELU_alpha": 0.7}), "m n"), "lrelu": (lambda: epynn.Dense(2, epynn.lrelu), "m n"),
    "rnn": (lambda: epynn.RNN(3, clip_gradients=False), "m s e"), "rnns": (lambda: epynn.RNN(2, epynn.sigmoid, clip_gradients=False, sequences=True), "m s e"),
    "lstm": (lambda: epynn.LSTM(2, activate_forget=epynn.tanh), "m s e"), "lstms": (lambda: epynn.LSTM(2, sequences=True), "m s e"),
    "gru": (lambda: epynn.GRU(2), "m s e"), "grus": (lambda: epynn.GRU(2, activate_reset=epynn.tanh, sequences=True), "m s e"),
    "convolution": (lambda: epynn.Convolution(2, (2, 3), (1, 2), 1, epynn.elu), "m h w d"),
    "no bias": (lambda: epynn.Convolution(2, 2, use_bias=False), "m h w d"),
    "pooling": (lambda: epynn.Pooling(), "m h w d"), "least": (lambda: epynn.Pooling((2, 1), (1, 2), np.min), "m h w d"),
    "dropout": (lambda: epynn.Dropout(0.3, (1,)), "m n"), "flatten": (lambda: epynn.Flatten(), "m h w d"), "template": (lambda: epynn.Template(), "m h w d"),
    "slugnet dense": (lambda: slugnet.Dense(3, activation=slugnet.Tanh()), "n d"),
    "slugnet softmax": (lambda: slugnet.Dense(3, activation=slugnet.Softmax()), "n d"),
    "slugnet convolution": (lambda: slugnet.Convolution(2, (3, 2), 2, activation=slugnet.Sigmoid()), "n ch rows cols"),
    "mean": (lambda: slugnet.MeanPooling((2, 3)), "n ch rows cols"), "max": (lambda: slugnet.MaxPooling(2), "n ch rows cols"),
    "slugnet flatten": (lambda: slugnet.Flatten(), "n ch rows cols"), "slugnet dropout": (lambda: slugnet.Dropout(0.4), "n d"),
}


@pytest.mark.parametrize("name", CHECKED)
def test_the_checker_passes_the_dialects(name):
    make, shape = CHECKED[name]
    result = gradcheck.check(make, shape, profile="quick", checks=["adjoint", "linear", "shapes", "pure", "repeat"])
    assert result, str(result)


def test_epynn_dense_dictionaries():
    layer, A = epynn.Dense(3, epynn.tanh), draw(5, 4)
    assert layer.d == {"u": 3} and layer.activation == {"activate": "tanh"} and layer.trainable and layer.activate is epynn.tanh
    assert layer.compute_shapes(A) is None and layer.fs == {"X": (5, 4), "W": (4, 3), "b": (1, 3)} and layer.d == {"m": 5, "n": 4, "u": 3}
    assert layer.initialize_parameters() is None and not layer.p["b"].any() and layer.p["W"].shape == (4, 3)
    W = layer.p["W"].copy()
    Y = layer.forward(A)
    assert np.allclose(layer.fc["Z"], A @ W, **EXACT) and np.allclose(Y, np.tanh(A @ W), **EXACT) and set(layer.fc) == {"X", "Z", "A"}
    assert layer.fs == {"X": (5, 4), "W": (4, 3), "b": (1, 3), "Z": (5, 3), "A": (5, 3)} and not layer.g
    dA = draw(5, 3, seed=1)
    dX = layer.backward(dA)
    dZ = dA * (1 - Y * Y)
    assert not layer.g and np.allclose(layer.bc["dZ"], dZ, **EXACT) and np.allclose(dX, dZ @ W.T, **EXACT) and set(layer.bc) == {"dA", "dZ", "dX"}
    assert layer.compute_gradients() is None
    assert np.allclose(layer.g["dW"], A.T @ dZ, **EXACT) and np.allclose(layer.g["db"], dZ.sum(0, keepdims=True), **EXACT)
    assert layer.bs == {"dA": (5, 3), "dZ": (5, 3), "dX": (5, 4), "dW": (4, 3), "db": (1, 3)}
    layer.backward(dA)
    layer.compute_gradients()
    assert np.allclose(layer.g["dW"], A.T @ dZ, **EXACT)                  # overwritten, not accumulated
    assert layer.update_parameters() is None and np.allclose(layer.p["W"], W - 0.1 * layer.g["dW"], **EXACT)


@pytest.mark.parametrize(("layer", "shape", "d", "names"), [
    (epynn.RNN(2), (3, 4, 5), {"m": 3, "s": 4, "e": 5, "u": 2}, {"U": (5, 2), "V": (2, 2), "b": (1, 2)}),
    (epynn.LSTM(2), (3, 4, 5), {"m": 3, "s": 4, "e": 5, "u": 2}, {k + g: v for g in "figo" for k, v in (("U", (5, 2)), ("V", (2, 2)), ("b", (1, 2)))}),
    (epynn.GRU(2), (3, 4, 5), {"m": 3, "s": 4, "e": 5, "u": 2},
     {k + g: v for g in ("z", "r", "hh") for k, v in (("U", (5, 2)), ("V", (2, 2)), ("b", (1, 2)))}),
    (epynn.Convolution(2, (2, 3)), (3, 7, 8, 2), {"m": 3, "h": 7, "w": 8, "d": 2, "oh": 3, "ow": 2, "fh": 2, "fw": 3, "sh": 2, "sw": 3, "p": 0, "u": 2},
     {"W": (2, 3, 2, 2), "b": (2,)}),
    (epynn.Convolution(2, 2, 1, use_bias=False), (3, 4, 4, 1), {"sh": 1, "sw": 1, "oh": 3, "ow": 3}, {"W": (2, 2, 1, 2)}),
    (epynn.Pooling((2, 3), 1), (3, 7, 8, 2), {"m": 3, "h": 7, "w": 8, "d": 2, "oh": 6, "ow": 6, "ph": 2, "pw": 3, "sh": 1, "sw": 1}, {}),
    (epynn.Dropout(0.5, 1), (3, 7, 8), {"m": 3, "n": 56}, {}), (epynn.Flatten(), (3, 7, 8), {"m": 3, "n": 56}, {}),
    (epynn.Template(), (3, 7, 8), {"m": 3, "n": 56}, {}), (epynn.Embedding(), (3, 7, 8), {"m": 3, "n": 56}, {}),
], ids=lambda v: type(v).__name__)
def test_epynn_shapes_and_dimensions(layer, shape, d, names):
    layer = copy.deepcopy(layer)
    made(layer, draw(*shape))
    assert layer.d.items() >= d.items() and {k: v for k, v in layer.fs.items() if k != "X"} == names == {k: v.shape for k, v in layer.p.items()}
    assert all(isinstance(v, int) for v in layer.d.values()) and all(isinstance(v, tuple) for v in layer.fs.values())
    Y = layer.forward(draw(*shape))
    dX = layer.backward(np.ones_like(Y))
    layer.compute_gradients()
    assert layer.fc["A"].shape == layer.fs["A"] == Y.shape == layer.bs["dA"] and layer.bc["dX"].shape == shape == layer.bs["dX"]
    assert (dX is None) == isinstance(layer, epynn.Embedding) and {k[1:]: v.shape for k, v in layer.g.items()} == names
    layer.update_parameters()


def test_epynn_trainable_defaults_and_frozen_layers():
    flags = {name: getattr(epynn, name)().trainable for name in EPYNN if name != "Layer"}
    assert flags == {"Template": True, "Embedding": False, "Dense": True, "RNN": True, "LSTM": True, "GRU": True, "Convolution": True,
                     "Pooling": False, "Dropout": False, "Flatten": False}
    layer = made(epynn.Dense(2), draw(3, 2))
    W = layer.p["W"]
    layer.trainable = False
    layer.backward(layer.forward(draw(3, 2)))
    layer.compute_gradients()
    layer.update_parameters()
    assert np.array_equal(layer.p["W"], W) and layer.g["dW"].any()


def test_epynn_recurrent_outputs_and_clipping():
    A = draw(3, 4, 5)
    last, every = made(epynn.RNN(2, clip_gradients=False), A), made(epynn.RNN(2, sequences=True, clip_gradients=False), A)
    every.p = last.p
    h = every.forward(A)
    assert h.shape == (3, 4, 2) and np.array_equal(last.forward(A), h[:, -1]) and last.fc["h"].shape == last.fc["hp"].shape == (3, 4, 2)
    step = np.tanh(A[:, 1] @ last.p["U"] + h[:, 0] @ last.p["V"] + last.p["b"])
    assert np.allclose(h[:, 1], step, **EXACT)
    clipped = made(epynn.RNN(2), A)
    clipped.forward(A)
    clipped.backward(100 * np.ones((3, 2)))
    clipped.compute_gradients()
    assert np.isclose(np.sqrt(sum((g * g).sum() for g in clipped.g.values())), 0.25, rtol=1e-12)


def test_epynn_gates():
    A, sg = draw(3, 2, 4), lambda z: 1 / (1 + np.exp(-z))
    lstm, gru = made(epynn.LSTM(2), A), made(epynn.GRU(2), A)
    lstm.forward(A), gru.forward(A)
    p, c = lstm.p, lstm.fc
    f, i, g, o = (fn(A[:, 1] @ p["U" + k] + c["hp"][:, 1] @ p["V" + k] + p["b" + k]) for k, fn in (("f", sg), ("i", sg), ("g", np.tanh), ("o", sg)))
    assert np.allclose(c["C_"][:, 1], f * c["Cp_"][:, 1] + i * g, **EXACT) and np.allclose(c["A"], o * np.tanh(c["C_"][:, 1]), **EXACT)
    p, c, h = gru.p, gru.fc, gru.fc["hp"][:, 1]
    z, r = (sg(A[:, 1] @ p["U" + k] + h @ p["V" + k] + p["b" + k]) for k in "zr")
    hh = np.tanh(A[:, 1] @ p["Uhh"] + (r * h) @ p["Vhh"] + p["bhh"])
    assert np.allclose(c["A"], z * h + (1 - z) * hh, **EXACT) and np.allclose(c["r"][:, 1], r, **EXACT)


def test_epynn_dropout_and_least():
    A = np.ones((50, 4))
    layer = epynn.Dropout(0.5, (1,))
    Y = layer.forward(A)
    assert layer.fc["D"].dtype == bool and set(np.unique(Y)) == {0, 2} and np.array_equal(Y, np.repeat(Y[:, :1], 4, axis=1))
    layer.training = False
    assert np.array_equal(layer.forward(A), A)
    x = draw(1, 4, 4, 1)
    assert np.array_equal(epynn.Pooling(pool=np.min).forward(x)[0, :, :, 0], x[0, :, :, 0].reshape(2, 2, 2, 2).min((1, 3)))
    with pytest.raises(ValueError, match=r"np\.max or np\.min"):
        epynn.Pooling(pool=np.median)


def test_epynn_functions():
    x = np.array([[-2.0, 0.5, 1.0], [0.1, -0.2, 3.0]])
    for f in (epynn.identity, epynn.relu, epynn.lrelu, epynn.elu, epynn.sigmoid, epynn.tanh):
        slope = (f(x + 1e-6) - f(x - 1e-6)) / 2e-6
        assert np.allclose(f(x, deriv=True), slope, atol=1e-8) and f(x).shape == x.shape
    s = epynn.softmax(x)
    assert np.allclose(epynn.softmax(x, deriv=True), [np.diag(r) - np.outer(r, r) for r in s], **EXACT)
    assert [f.__name__ for f in (epynn.lrelu, epynn.xavier, epynn.orthogonal, epynn.MSE)] == ["lrelu", "xavier", "orthogonal", "MSE"]
    W = epynn.xavier((300, 200), RNG(0))
    assert abs(W.std() - np.sqrt(2 / 500)) < 1e-3 and epynn.xavier((3, 3, 2, 40), rng=RNG(0)).shape == (3, 3, 2, 40)
    Q = epynn.orthogonal((3, 5), RNG(0))
    assert np.allclose(Q @ Q.T, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("name", ["MSE", "MAE", "MSLE", "CCE", "BCE"])
def test_epynn_losses_are_per_sample_and_derive_their_sum(name):
    rng, f = RNG(1), getattr(epynn, name)
    Y, A = one_hot(rng.integers(0, 3, 6), range(3)), rng.uniform(0.1, 0.9, (6, 3))
    assert f(Y, A).shape == (6,)
    dA, v = f(Y, A, deriv=True), rng.standard_normal(A.shape)
    assert np.isclose((dA * v).sum(), (f(Y, A + 1e-6 * v) - f(Y, A - 1e-6 * v)).sum() / 2e-6, rtol=1e-7)
    mean = {"MSE": ((Y - A) ** 2).mean(1), "MAE": abs(Y - A).mean(1), "CCE": -np.log(A[Y == 1])}
    assert name not in mean or np.allclose(f(Y, A), mean[name], **EXACT)


def test_epynn_own_functions_are_legal():
    def square(x, deriv=False):
        return 2 * x if deriv else x * x

    layer = made(epynn.Dense(2, square, lambda shape, rng: np.ones(shape)), draw(3, 4))
    Y = layer.forward(draw(3, 4))
    assert np.allclose(Y, layer.fc["Z"] ** 2) and layer.activation == {"activate": "square"}
    layer.backward(np.ones_like(Y))
    assert np.allclose(layer.bc["dZ"], 2 * layer.fc["Z"])


def test_epynn_schedules():
    h = {"learning_rate": 0.4, "cycle_epochs": 3, "cycle_descent": 0.5, "decay_k": 0.2}
    e = np.arange(7)
    low = 0.4 * 0.5 ** (e // 3)
    want = {"steady": low, "exp_decay": low * np.exp(-0.2 * (e % 3)), "lin_decay": low / (1 + 20 * (e % 3))}
    for kind, rates in want.items():
        layer = epynn.Dense(1, se_hPars={**h, "schedule": kind})
        layer.schedule(7)
        assert np.allclose(layer.lrate, rates, **EXACT)
    layer = epynn.Dense(1, se_hPars={"schedule": "exp_decay"})
    layer.schedule(10)
    assert np.isclose(layer.lrate[-1], 0.1 * np.exp(-0.5 * 9)) and layer.lrate[0] == 0.1
    assert epynn.HPARS == {"learning_rate": 0.1, "schedule": "steady", "decay_k": 0, "cycle_epochs": 0, "cycle_descent": 0, "ELU_alpha": 1,
                           "LRELU_alpha": 0.3, "softmax_temperature": 1}


def spirals(n=90):
    rng = RNG(4)
    y = np.arange(n) % 3
    return (rng.standard_normal((n, 2)) / 3 + np.array([[0, 1.5], [1.5, -1], [-1.5, -1]])[y]).tolist(), y.tolist()


def network(**given):
    X, y = spirals()
    return epynn.EpyNN([epynn.Embedding(X, y, Y_encode=True, **given), epynn.Dense(8, epynn.elu), epynn.Dense(3, epynn.softmax)], name="spirals")


def test_epynn_network_learns_and_is_reproducible():
    nets = [network(batch_size=16, relative_size=(4, 1, 1)) for _ in range(2)]
    given = {"learning_rate": 0.01, "schedule": "exp_decay"}
    for net in nets:
        net.initialize(loss="CCE", se_hPars=given, metrics=["accuracy", "fscore"], seed=5)
        before = copy.deepcopy(net.layers[1].p)
        net.initialize(loss="CCE", se_hPars=given, metrics=["accuracy", "fscore"], seed=5)
        assert all(np.array_equal(v, net.layers[1].p[k]) for k, v in before.items()) and net.layers[1].g["dW"].any()   # a dry pass: no update
        net.train(12, progress=False)
    a, b = nets
    assert given == {"learning_rate": 0.01, "schedule": "exp_decay"} and a.embedding is a.layers[0]
    assert np.array_equal(a.layers[-1].p["W"], b.layers[-1].p["W"]) and a.metrics == b.metrics and set(a.metrics) == {"accuracy", "fscore", "CCE"}
    assert [len(v) for v in a.metrics["CCE"]] == [12, 12, 12] and a.metrics["accuracy"][1][-1] > 0.9
    assert [layer.o["seed"] for layer in a.layers] == [5, 6, 7] and len(a.layers[1].lrate) == 12
    a.train(3, progress=False)
    assert len(a.metrics["CCE"][0]) == 15 and a.epochs == 15 and len(a.layers[1].lrate) == 15
    dset = a.predict(spirals()[0])
    assert dset.A.shape == (90, 3) and (spirals()[1] == dset.P).mean() > 0.9


def test_epynn_one_step_is_the_summed_gradient():
    net = network()
    net.initialize("MSE", seed=1)
    layer, twin = net.layers[-1], copy.deepcopy(net)
    batch = next(twin.embedding.training_batches())
    twin.backward(epynn.MSE(batch.Y, twin.forward(batch.X), deriv=True))
    net.train(1, progress=False)
    assert np.allclose(layer.p["W"], twin.layers[-1].p["W"] - 0.1 * twin.layers[-1].g["dW"], **EXACT)


def test_epynn_hyperparameters_are_inherited_key_by_key():
    X, y = spirals()
    own = {"ELU_alpha": 0.5}
    net = epynn.EpyNN([epynn.Embedding(X, y, Y_encode=True), epynn.Dense(4, epynn.elu, se_hPars=own), epynn.Dense(4, epynn.elu), epynn.Dense(3, epynn.softmax)])
    assert net.layers[2].se_hPars == epynn.HPARS
    net.initialize("CCE", {"learning_rate": 0.3, "ELU_alpha": 2, "softmax_temperature": 5}, seed=0)
    assert (net.layers[1].se_hPars["ELU_alpha"], net.layers[2].se_hPars["ELU_alpha"], net.layers[1].se_hPars["learning_rate"]) == (0.5, 2, 0.3)
    assert own == {"ELU_alpha": 0.5} and epynn.HPARS["learning_rate"] == 0.1
    low = net.layers[2].fc
    assert np.allclose(low["A"], np.where(low["Z"] > 0, low["Z"], 2 * np.expm1(low["Z"])), **EXACT)
    out = net.layers[3].fc
    assert np.allclose(out["A"], np.exp(out["Z"] / 5) / np.exp(out["Z"] / 5).sum(1, keepdims=True), **EXACT)


def test_epynn_embedding():
    empty = epynn.Embedding()
    assert not empty.dsets and not empty.dtrain.active
    words = [["a", "b"], ["c", "a"], ["b", "b"]]
    layer = epynn.Embedding(words, [1, 0, 1], (2, 1, 0), X_encode=True)
    assert layer.d["e"] == 3 and layer.e2i == {"a": 0, "b": 1, "c": 2} and layer.i2e[2] == "c" and layer.dtrain.X.shape == (2, 2, 3)
    assert layer.dtrain.Y.shape == (2, 1) and layer.dtrain.b == {0: 1, 1: 1} and layer.dval.ids.tolist() == [0] and not layer.dtest.active
    constant = epynn.Embedding(np.full((4, 2), 3.0), [[1], [0], [1], [0]], X_scale=True)
    assert not constant.dtrain.X.any()
    scaled = epynn.Embedding([[1, 2], [3, 5]], [0, 1], (1, 0, 0), X_scale=True)
    assert scaled.dtrain.X.tolist() == [[0, 0.25], [0.5, 1]]
    assert [len(b.X) for b in epynn.Embedding(np.eye(5), np.eye(5), (1, 0, 0), batch_size=2).training_batches()] == [2, 2, 1]
    A = layer.forward(draw(2, 3))
    assert layer.backward(A) is None and np.array_equal(layer.bc["dX"], A)
    with pytest.raises(ValueError, match="no labels"):
        epynn.EpyNN([epynn.Embedding([[1.0], [2.0]]), epynn.Dense(1)]).initialize()


def test_epynn_takes_a_users_layer():
    class Shift(epynn.Layer):
        """Adds a constant that is learned."""

        def compute_shapes(self, A):
            self.fs["X"], self.fs["s"] = A.shape, (1, A.shape[1])

        def initialize_parameters(self):
            self.p["s"] = np.zeros(self.fs["s"])

        def forward(self, A):
            self.fc = {"X": A, "A": A + self.p["s"]}
            self.update_shapes(self.fc, self.fs)
            return self.fc["A"]

        def backward(self, dX):
            self.bc = {"dA": dX, "dX": dX}
            return dX

        def compute_gradients(self):
            self.g["ds"] = self.bc["dX"].sum(0, keepdims=True)

        def update_parameters(self):
            self.p["s"] = self.p["s"] - self.lrate[self.e] * self.g["ds"]

    X, y = spirals()
    net = epynn.EpyNN([epynn.Embedding(X, y, Y_encode=True), Shift(), epynn.Template(), epynn.Dense(3, epynn.softmax)])
    net.initialize("CCE", {"learning_rate": 0.01}, seed=1)
    net.train(3, progress=False)
    assert net.layers[1].p["s"].any() and net.layers[1].fs["A"][1] == 2 and net.metrics["CCE"][0][-1] < net.metrics["CCE"][0][0]
    assert gradcheck.check(Shift, "m n", profile="quick")


def test_epynn_predicts_without_dropout_and_as_it_was_trained():
    X, y = spirals()
    net = epynn.EpyNN([epynn.Embedding(X, y, Y_encode=True, X_scale=True), epynn.Dropout(0.5), epynn.Dense(3, epynn.softmax)])
    net.initialize("CCE", seed=1)
    assert np.array_equal(net.predict(X, X_scale=True).A, net.predict(X, X_scale=True).A) and net.layers[1].training
    assert np.allclose(net.predict(X[:1], X_scale=True).A, net.predict(X, X_scale=True).A[:1], **EXACT)     # scaled by the range it was trained with
    with pytest.raises(ValueError, match="did you mean"):
        net.initialize("MSEE")


@pytest.mark.parametrize("layer", [epynn.Dense(2), epynn.RNN(2), epynn.Convolution(1, 2), epynn.Pooling(), epynn.Flatten(), epynn.Dropout(), epynn.Template()],
                         ids=lambda v: type(v).__name__)
def test_epynn_backward_needs_a_forward(layer):
    with pytest.raises(ValueError, match=type(layer).__name__):
        copy.deepcopy(layer).backward(np.zeros((2, 2)))


@pytest.mark.frameworks
@pytest.mark.parametrize(("name", "options", "shape"), [
    ("Dense", {"units": 3}, (5, 4)), ("RNN", {"unit_cells": 2, "clip_gradients": True}, (3, 4, 5)), ("LSTM", {"unit_cells": 2, "sequences": True}, (3, 4, 5)),
    ("GRU", {"unit_cells": 2}, (3, 4, 5)), ("Convolution", {"unit_filters": 2, "filter_size": (2, 3), "strides": (1, 2)}, (2, 5, 7, 2)),
    ("Pooling", {"pool_size": (2, 3)}, (2, 4, 6, 2)), ("Flatten", {}, (2, 3, 4)), ("Template", {}, (2, 3)),
])
def test_epynn_itself_gives_the_same(name, options, shape):
    pytest.importorskip("epynn", reason="EpyNN is the reference of this test; `make test-frameworks` installs it")
    theirs = getattr(__import__(f"epynn.{name.lower()}.models", fromlist=[name]), name)(**options)
    ours = getattr(epynn, name)(**options)
    theirs.se_hPars, A = dict(epynn.HPARS), draw(*shape)
    for layer in (theirs, ours):
        made(layer, A)
    ours.p = copy.deepcopy(theirs.p)
    Y = ours.forward(A)
    assert np.allclose(theirs.forward(A), Y, **EXACT)
    dA = draw(*Y.shape, seed=2)
    assert np.allclose(theirs.backward(dA), ours.backward(dA), **EXACT)
    theirs.compute_gradients()
    ours.compute_gradients()
    assert theirs.g.keys() == ours.g.keys() and all(np.allclose(theirs.g[k], g, **EXACT) for k, g in ours.g.items())
    assert all(np.allclose(theirs.fc[k], v, **EXACT) for k, v in ours.fc.items()) and theirs.fs.items() >= {k: ours.fs[k] for k in ours.fc}.items()


# slugnet ------------------------------------------------------------------------------------------------------------------------

SLUGNET = {
    "Dense": ["outshape", "inshape", "activation", "init"], "Dropout": ["p"],
    "Convolution": ["nb_kernel", "kernel_size", "stride", "inshape", "init", "activation"],
    "MeanPooling": ["pool_size", "inshape"], "MaxPooling": ["pool_size", "inshape"], "Flatten": [],
}


@pytest.mark.parametrize("name", SLUGNET)
def test_slugnet_signatures(name):
    assert [*parameters_of(getattr(slugnet, name))] == SLUGNET[name]


def test_slugnet_dense():
    layer = slugnet.Dense(3, inshape=4, activation=slugnet.Tanh(), init=slugnet.GlorotUniform())
    layer.connect()
    X, g = draw(5, 4), draw(5, 3, seed=1)
    Y = layer.call(X)
    assert layer.outshape == (None, 3) and np.allclose(Y, np.tanh(X @ layer.w + layer.b), **EXACT)
    dz = g * (1 - Y * Y)
    for _ in range(2):                                                   # overwritten, not accumulated
        assert np.allclose(layer.backprop(g), dz @ layer.w.T, **EXACT)
        dw, db = layer.get_grads()
        assert np.allclose(dw, X.T @ dz, **EXACT) and np.allclose(db, dz.sum(0), **EXACT)
    assert all(a is b for a, b in zip(layer.get_params(), (layer.w, layer.b), strict=True))
    layer.w = np.ones((4, 3))
    assert np.allclose(layer.call(X, train=False), np.tanh(X.sum(1, keepdims=True) + layer.b), **EXACT)
    assert layer.backprop(g).shape == (5, 4)


def test_slugnet_shapes_follow_from_the_layer_before():
    with pytest.raises(ValueError, match=r"Dense is the first layer .* needs inshape"):
        slugnet.Dense(3).connect()
    with pytest.raises(ValueError, match=r"Convolution .* needs inshape"):
        slugnet.Convolution(1, (3, 3)).connect(slugnet.Dropout(0.1))
    with pytest.raises(ValueError, match="connect"):
        slugnet.Dense(3, inshape=2).call(draw(1, 2))
    with pytest.raises(ValueError, match="no forward"):
        slugnet.Flatten().backprop(draw(1, 2))
    assert slugnet.Dense(2).core is not slugnet.Dense(2).core


def test_slugnet_convolution_is_channels_first():
    layer = slugnet.Convolution(2, (2, 3), stride=2, inshape=(None, 3, 6, 7))
    layer.connect()
    X = draw(4, 3, 6, 7)
    assert layer.outshape == (None, 2, 3, 3) and layer.w.shape == (2, 3, 2, 3) and layer.b.shape == (2,)
    Y = layer.call(X)
    assert Y.shape == (4, 2, 3, 3) and np.isclose(Y[1, 0, 2, 1], max(0, (X[1, :, 4:6, 2:5] * layer.w[0]).sum()), rtol=1e-12)
    assert layer.backprop(np.ones_like(Y)).shape == X.shape and [g.shape for g in layer.get_grads()] == [(2, 3, 2, 3), (2,)]


@pytest.mark.parametrize(("cls", "rule"), [(slugnet.MeanPooling, np.mean), (slugnet.MaxPooling, np.max)])
def test_slugnet_pooling_drops_the_remainder(cls, rule):
    X = draw(2, 3, 5, 7)
    layer = cls((2, 3), inshape=(None, 3, 5, 7))
    layer.connect()
    Y = layer.call(X)
    assert layer.outshape == (None, 3, 2, 2) == (None, *Y.shape[1:]) and np.isclose(Y[1, 2, 1, 0], rule(X[1, 2, 2:4, :3]), rtol=1e-13)
    dX = layer.backprop(np.ones_like(Y))
    assert not dX[:, :, 4].any() and not dX[..., 6].any() and not layer.get_params() and not layer.get_grads()


def test_slugnet_dropout_scales_at_inference():
    assert slugnet.Dropout().core.p == 0
    layer, X = slugnet.Dropout(0.25), np.ones((400, 50))
    Y = layer.call(X)
    assert set(np.unique(Y)) == {0, 1} and abs(Y.mean() - 0.75) < 0.02 and np.array_equal(layer.backprop(X), Y)
    assert (layer.call(X, train=False) == 0.75).all() and (layer.backprop(X) == 0.75).all()


@pytest.mark.parametrize("sure", [1, 100])                               # of a wrong class, too
def test_slugnet_softmax_and_its_loss_give_the_mean_gradient(sure):
    layer = slugnet.Dense(4, inshape=3, activation=slugnet.Softmax())
    layer.connect()
    layer.w = sure * layer.w
    X, t = draw(6, 3), one_hot(np.arange(6) % 4, range(4))
    y = layer.call(X)
    dX = layer.backprop(slugnet.SoftmaxCategoricalCrossEntropy().cotangent(t, y))
    dz = (y - t) / 6
    assert np.allclose(layer.dw, X.T @ dz, **EXACT) and np.allclose(layer.db, dz.sum(0), **EXACT) and np.allclose(dX, dz @ layer.w.T, **EXACT)


def slug(**given):
    net = slugnet.Model(**{"lr": 0.05, "n_epoch": 4, "batch_size": 8, "loss": slugnet.SoftmaxCategoricalCrossEntropy(), "metrics": ["loss", "accuracy"],
                           "optimizer": slugnet.RMSProp(), "progress": False, "seed": 3, **given})
    net.add_layer(slugnet.Dense(8, inshape=2, activation=slugnet.ReLU()))
    net.add_layer(slugnet.Dropout(0.2))
    net.add_layer(slugnet.Dense(3, activation=slugnet.Softmax()))
    return net


def test_slugnet_model_defaults():
    defaults = parameters_of(slugnet.Model)
    assert {k: defaults[k] for k in ("lr", "batch_size", "layers", "validation_split", "progress")} == \
        {"lr": 0.1, "batch_size": 32, "layers": None, "validation_split": 0.2, "progress": True}
    net = slugnet.Model(layers=[slugnet.Dense(1, inshape=2, activation=slugnet.Sigmoid()), slugnet.Dense(1, activation=slugnet.Noop())])
    assert [layer.core.optimizer.lr for layer in net.layers] == [0.1, 0.1] and type(net.layers[0].core.optimizer) is slugnet.SGD
    assert layers.loss(net.loss) is slugnet.BinaryCrossEntropy() and net.shown == ["loss"] and net.layers[0].core.optimizer is not net.layers[1].core.optimizer


def test_slugnet_model_learns_prints_and_is_reproducible(capsys):
    X, y = spirals()
    X, y = np.array(X), one_hot(y)
    nets = [slug(), slug()]
    histories = [net.fit(X, y) for net in nets]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8 and all("training: loss" in line and "validation: loss" in line and line.count("accuracy") == 2 for line in lines)
    assert histories[0] == histories[1] and np.array_equal(nets[0].layers[0].w, nets[1].layers[0].w)
    P = nets[0].transform(X)
    assert P.shape == (90, 3) and np.array_equal(P, nets[0].transform(X)) and np.mean(P.argmax(1) == y.argmax(1)) > 0.9 and nets[0].training
    slug(metrics=["accuracy"], validation_split=0).fit(X, y)
    out = capsys.readouterr().out
    assert "loss" not in out and "validation" not in out


def test_slugnet_add_layer_keeps_the_model_on_error():
    net = slug()
    with pytest.raises(ValueError, match="Conv2D takes"):
        net.add_layer(slugnet.Convolution(1, (2, 2)))
    assert len(net.layers) == 3


def test_slugnet_documented_convolution_network():
    """Kernels 3 and 4 on 28 x 28: sides 28, 26, 13, 10, 5; 50 features; 10 outputs."""
    net = slugnet.Model(lr=0.001, n_epoch=1, batch_size=3, loss=slugnet.SoftmaxCategoricalCrossEntropy(), metrics=["loss", "accuracy"],
                        optimizer=slugnet.SGD(), progress=False, seed=0)
    for layer in (slugnet.Convolution(1, (3, 3), inshape=(None, 1, 28, 28)), slugnet.MeanPooling((2, 2)), slugnet.Convolution(2, (4, 4)),
                  slugnet.MeanPooling((2, 2)), slugnet.Flatten(), slugnet.Dense(10, activation=slugnet.Softmax())):
        net.add_layer(layer)
    assert [layer.outshape for layer in net.layers] == [(None, 1, 26, 26), (None, 1, 13, 13), (None, 2, 10, 10), (None, 2, 5, 5), (None, 50), (None, 10)]
    X, y = RNG(0).integers(0, 256, (15, 1, 28, 28)) / 255, one_hot(np.arange(15) % 10, range(10))
    history = net.fit(X, y)
    assert net.transform(X).shape == (15, 10) and np.isfinite(history["loss"][0])
    assert gradcheck.check(lambda: layers.Model([layers.Conv2D(1, 3, act_fn="relu"), layers.Pool2D(2, 2, mode="average"), layers.Conv2D(2, 4, act_fn="relu"),
                                                 layers.Pool2D(2, 2, mode="average"), layers.Flatten(), layers.Dense(10, "softmax")]),
                           "n 28 28 1", checks=["adjoint"], profile="quick", sizes={"n": (1, 2)})


@pytest.mark.frameworks
def test_slugnet_get_mnist():
    pytest.importorskip("sklearn", reason="scikit-learn brings the digits; the extra `examples` installs it")
    X, y = slugnet.get_mnist()
    assert X.shape == (1797, 64) and y.shape == (1797, 10) and X.min() == 0 and X.max() == 1 and (y.sum(1) == 1).all()


REFUSED = [                                                           # what is called, what the message says
    (lambda: epynn.Dense(2, activate="relu"), "Dense: activate is a function of (x, deriv=False), got 'relu'"),
    (lambda: epynn.Dense(2).forward(np.ones((2, 3))), "Dense has no W b yet: initialize_parameters() draws them"),
    (lambda: epynn.Dense(2, se_hPars={"ELU_alfa": 1}), "unknown hyperparameter 'ELU_alfa'; did you mean 'ELU_alpha'?"),
    (lambda: epynn.EpyNN([epynn.Embedding([[1.0]], [[1]]), epynn.Dense()]).initialize(se_hPars={"schedule": "exp_decy"}), "did you mean 'exp_decay'?"),
    (lambda: epynn.Dense(2).compute_shapes(np.ones((2, 3, 4))), "Dense takes (n, n_in), got shape (2, 3, 4)"),
    (lambda: slugnet.Model(loss="cee"), "unknown loss 'cee'; did you mean 'cce'?"),
    (lambda: slugnet.Convolution(1, (5, 5), inshape=(None, 1, 3, 3)).connect(), "a kernel over 5 entries does not fit into 3"),
    (lambda: numpy_ml.FullyConnected(3).forward(np.ones(3)), "takes (n, n_in), got shape (3,)"),
]


@pytest.mark.parametrize(("call", "says"), REFUSED, ids=[says[:40] for _, says in REFUSED])
def test_what_cannot_be_is_refused_in_words(call, says):
    with pytest.raises((ValueError, TypeError), match=re.escape(says)):
        call()
