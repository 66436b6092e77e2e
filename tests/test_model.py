"""A model: a graph of layers that is itself a layer; fitting it, using it, keeping it."""
from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

import gradcheck
from gradcheck.law import ShapeError
from layers import (
    SGD,
    Add,
    BatchNorm1D,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Layer,
    LSTMCell,
    Model,
    Multiply,
    Pool2D,
    RNNCell,
    SparseEvolution,
    one_hot,
)
from layers.model import NETS

RNG = np.random.default_rng


def rows(n=12, m=4, seed=0):
    return RNG(seed).standard_normal((n, m))


def labelled(n=240, seed=0):
    X = RNG(seed).standard_normal((n, 4))
    return X, one_hot(X[:, :3].argmax(1), range(3))


def classifier(**given):
    return Model([Dense(8, "tanh"), Dense(3, "softmax")], **{"loss": "cce", "optimizer": "Adam(lr=0.02)", "metrics": ["accuracy"], "seed": 1, **given})


# the whole as one layer ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("net", NETS, ids=lambda net: str(net[0]["layer"]))
def test_the_checker_passes_every_net_that_the_model_declares(net):
    result = gradcheck.check(lambda: Model(net), profile="quick")
    assert result, str(result)


def test_the_checker_draws_models_from_the_declaration():
    result = gradcheck.check(Model, profile="quick", checks=["adjoint", "errors"])
    assert result, str(result)


CHAIN = lambda: Model([Dense(3, "tanh"), Dropout(0.3), Dense(2, "softmax")])
DIAMOND = lambda: Model([Dense(3, "elu"), (Dense(3, "tanh"), 0), (Multiply(), 0, 1), (Add(), 2, 0, -1)])
TWICE = lambda: Model([Dense(4, "tanh"), Dense(4), 1, 1, (Add(), 0, 3)])
NESTED = lambda: Model([Dense(3), Model([Dense(3, "sigmoid"), (Add(), 0, -1)]), 0, 1])


@pytest.mark.parametrize(("make", "shape"), [(CHAIN, "n d"), (DIAMOND, "n 3"), (TWICE, "n d"), (NESTED, "n 3")], ids=["chain", "diamond", "twice", "nested"])
def test_the_checker_passes_compositions(make, shape):
    result = gradcheck.check(make, shape, checks=["adjoint", "linear", "shapes", "pure", "repeat"])
    assert result, str(result)


def test_the_checker_sees_a_wrong_layer_inside():
    class Wrong(Dense):
        law = Dense.law

        def bwd(self, p, r, dy):
            dx, d = super().bwd(p, r, dy)
            return dx, d | {"b": 1.001 * d.b}

    try:
        assert not gradcheck.check(lambda: Model([Dense(3, "tanh"), Wrong(2)]), "n d", checks=["adjoint"])
    finally:
        del Layer.registry["Wrong"]


def test_the_command_line_takes_a_file_with_a_model(tmp_path):
    file = tmp_path / "net.py"
    file.write_text("import gradcheck\nfrom layers import Dense, Model\nnet = gradcheck.case(lambda: Model([Dense(3, 'tanh'), Dense(2)]), 'n d', name='net')\n")
    done = subprocess.run([sys.executable, "-m", "gradcheck", "run", str(file)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("net", NETS, ids=lambda net: str(net[0]["layer"]))
def test_the_shell_is_the_two_pure_functions(net):
    model = Model(net, seed=0)
    shape = {"n n_in": (3, 4), "n rows cols in_ch": (3, 5, 4, 2), "n n_in t": (3, 4, 5)}[model.law]
    x = model.sample(RNG(1), 0, shape)
    y = model.forward(x)
    dy = RNG(2).standard_normal(y.shape)
    dx = model.backward(dy)
    record = model.tape[0]
    assert model.out_shapes(shape) == (y.shape,) and record.p.keys() >= model.slots.keys() - {"1.mask"}
    pure_y, r = model.fwd(record.p | {"train": True}, x)
    pure_dx, d = model.bwd(record.p | {"train": True}, r, dy)
    assert np.array_equal(pure_y, y) and (dx is None or np.array_equal(pure_dx, dx))
    assert all(np.allclose(d[k], g, rtol=1e-14) for k, g in model.gradients.items())


def test_a_chain_is_its_layers_by_hand():
    a, b = Dense(3, "tanh"), Dense(2)
    model, x, dy = Model([a, b], seed=2), rows(5), rows(5, 2)
    y = model.forward(x)
    dx = model.backward(dy)
    A = np.tanh(x @ a.parameters.W + a.parameters.b)
    assert np.allclose(y, A @ b.parameters.W + b.parameters.b, rtol=1e-14)
    dz = dy @ b.parameters.W.T * (1 - A * A)
    assert np.allclose(dx, dz @ a.parameters.W.T, rtol=1e-13) and np.allclose(a.gradients.W, x.T @ dz, rtol=1e-13)
    assert model.gradients["1.W"] is b.gradients.W and set(model.parameters) == {"0.W", "0.b", "1.W", "1.b"}
    assert model.derived_variables["0.Z"][0].shape == (5, 3)


def test_weights_used_twice_add_up():
    a = Dense(4)
    model, x = Model([a, a]), rows()
    model.backward(np.ones_like(model.forward(x)))
    W, h = a.parameters.W, x @ a.parameters.W + a.parameters.b
    dy = np.ones((12, 4))
    assert np.allclose(a.gradients.W, h.T @ dy + x.T @ (dy @ W.T), rtol=1e-13)
    model.update()
    assert a.optimizer.steps == 1


def test_several_forwards_several_upstreams():
    model, xs = DIAMOND(), [rows(5, 3, 1), rows(5, 3, 2)]
    dys = [rows(5, 3, 3), rows(5, 3, 4)]
    for x in xs:
        model.forward(x)
    dxs = model.backward(dys)
    both = {k: v.copy() for k, v in model.gradients.items()}
    model.flush_gradients()
    for x, dy, dx in zip(xs, dys, dxs, strict=True):
        model.forward(x)
        assert np.allclose(model.backward(dy), dx, rtol=1e-14)
        model.tape = []
    assert all(np.allclose(v, both[k], rtol=1e-13) for k, v in model.gradients.items())
    with pytest.raises(ValueError, match="0 retained"):
        model.backward(dys[0])


def test_a_frozen_layer_passes_back_and_stays():
    model, (X, Y) = classifier(), labelled()
    model.predict(X)
    model.layers[0].freeze()
    before = copy.deepcopy(model.parameters)
    model.fit(X, Y, epochs=1, progress=False)
    changed = {k for k, v in model.parameters.items() if not np.array_equal(v, before[k])}
    assert changed == {"1.W", "1.b"}
    model.unfreeze()
    model.fit(X, Y, epochs=1, progress=False)
    assert not np.array_equal(model.parameters["0.W"], before["0.W"])


def test_modes_reach_all_layers_and_come_back():
    inner = Model([Dropout(0.5), Dense(3)])
    model = Model([BatchNorm1D(), inner, Dense(2)])
    model.eval()
    assert not inner.layers[0].training
    model.train()
    inner.layers[0].eval()
    X = rows(8)
    assert np.allclose(model.predict(X), model.predict(X, batch_size=3), rtol=1e-13)
    assert model.training and model.layers[0].training and not inner.layers[0].training and not model.tape
    model.evaluate(X, rows(8, 2))
    assert not model.layers[0].parameters.running_mean.any()


def test_dtype_follows_the_input():
    model = classifier()
    y = model.forward(rows().astype(np.float32))
    model.backward(y)
    assert {a.dtype for a in [y, *model.parameters.values(), *model.gradients.values()]} == {np.dtype(np.float32)}


# what cannot be ----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("layers", "words"), [
    ([], "one layer or more"), ([3], "place 0 is 3"), ([Dense(2), 5], "place 1 is 5"), (["Dense"], "place 0 is 'Dense'"),
    ([Dense(2), (Add(), 0, 2)], "reads 2"), ([Dense(2), (Dense(2), -2)], "reads -2"), ([Dense(2), (Dense(2), -1)], "output of place 0"),
    ([{"layer": "Dens", "n_out": 2}], "did you mean 'Dense'"),
])
def test_impossible_graphs(layers, words):
    with pytest.raises((ValueError, TypeError), match=f"Model: .*{words}"):
        Model(layers)


@pytest.mark.parametrize("given", [{"loss": "mss"}, {"metrics": ["acuracy"]}, {"optimizer": "SDG"}])
def test_unknown_names_meet_suggestions(given):
    with pytest.raises(ValueError, match="did you mean"):
        Model([Dense(2)], **given)


def test_a_layer_cannot_be_at_two_levels():
    a = Dense(3)
    with pytest.raises(ValueError, match="inside the layer of another place"):
        Model([a, Model([a, Dense(3)])])


@pytest.mark.parametrize(("model", "x", "words"), [
    (Model([Dense(3), Flatten(), Conv2D(2, 2)]), np.zeros((2, 4)), "place 2: Conv2D takes"),
    (Model([Dense(3), RNNCell(2)]), np.zeros((2, 4)), "place 1: RNNCell"),
    (Model([(LSTMCell(2), -1, -1, -1)]), np.zeros((2, 2)), "2 outputs"),
    (Model([Dense(3), Dense(2)]), np.zeros((2, 4, 1)), r"takes \(n, n_in\)"),
    (Model([Conv2D(2, 2), Pool2D(3), Flatten()]), np.zeros((1, 3, 3, 1)), "place 1: Pool2D cannot map"),
])
def test_shapes_that_do_not_fit_name_the_place(model, x, words):
    with pytest.raises(ShapeError, match=words):
        model.forward(x)
    assert not model.tape and not model.parameters


def test_a_place_that_refuses_leaves_the_model_as_it_was():
    model = Model([BatchNorm1D(), Dense(3), Dense(2)])
    model.layers[2].forward(rows(3, 5), retain_derived=False)            # its weights are for 5 features
    with pytest.raises(ShapeError, match=r"place 2: Dense has W .* of shape \(5, 2\)"):
        model.forward(rows())
    assert set(model.parameters) == {"2.W", "2.b"} and not model.tape and not any(layer.tape for layer in model.layers)
    with pytest.raises(TypeError, match="place 0: BatchNorm1D takes real numbers"):
        model.forward([["a"]])


def test_a_failing_step_leaves_no_tape():
    model, (X, Y) = classifier(), labelled()
    with pytest.raises(ShapeError):
        model.fit(X, Y[:, :2], progress=False)
    assert not model.tape
    with pytest.raises(ValueError, match="240, 3"):
        model.fit(X, Y[:3])
    with pytest.raises(ValueError, match=r"no rows to train on: 2 given, validation_split=0\.9"):
        model.fit(X[:2], Y[:2], validation_split=0.9)


# training ----------------------------------------------------------------------------------------------------------------------

def test_fit_learns_and_reports():
    X, Y = labelled()
    model, seen = classifier(), []
    history = model.fit(X, Y, epochs=20, batch_size=16, validation_split=0.25, progress=False, each=lambda epoch, scores: seen.append((epoch, scores)))
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"} and all(len(v) == 20 for v in history.values())
    assert history["val_accuracy"][-1] > 0.9 and history["loss"][-1] < history["loss"][0] / 2
    assert [e for e, _ in seen] == list(range(20)) and seen[-1][1]["loss"] == history["loss"][-1]
    scores = model.evaluate(X, Y)
    assert scores["accuracy"] == np.mean(model.predict(X).argmax(1) == Y.argmax(1)) and not model.tape


def test_fit_is_reproducible_by_seed():
    X, Y = labelled()
    fit = lambda seed: Model([Dense(5, "relu"), Dropout(0.3), Dense(3, "softmax")], "cce", seed=seed).fit(X, Y, 3, validation_split=0.2, progress=False)
    assert fit(5) == fit(5) != fit(6)


def test_one_step_is_the_mean_gradient():
    X, Y = labelled(8)
    model = Model([Dense(3)], "mse", SGD(lr=1.0), seed=0)
    y = model.predict(X)
    W = model.parameters["0.W"].copy()
    model.fit(X, Y, 1, batch_size=None, progress=False)
    assert np.allclose(W - model.parameters["0.W"], X.T @ (2 * (y - Y) / Y.size), rtol=1e-12)


def test_the_optimizer_is_each_layers_own():
    model = Model([Dense(2), Dense(2)], optimizer="Adam")
    assert type(model.layers[0].optimizer).__name__ == "Adam" and model.layers[0].optimizer is not model.layers[1].optimizer
    assert [layer.optimizer.lr for layer in Model([Dense(2, optimizer="SGD(lr=0.5)"), Dense(2)]).layers] == [0.5, 0.01]


def test_a_sparse_layer_rewires_and_ragged_ids_are_batched():
    model = Model([Embedding(6, 9, pool="mean"), Flatten(), SparseEvolution(4, epsilon=1), Dense(3, "softmax")], "cce", "SGD(lr=0.1)", seed=0)
    X = [list(RNG(i).integers(0, 9, 1 + i % 4)) for i in range(20)]
    model.predict(X)
    mask = model.parameters["2.W_mask"].copy()
    model.fit(X, one_hot(np.arange(20) % 3), 2, batch_size=6, progress=False)
    assert mask.sum() == model.parameters["2.W_mask"].sum() and (mask != model.parameters["2.W_mask"]).any()


def test_the_progress_bar_is_on_the_error_stream(capsys):
    X, Y = labelled(20)
    classifier().fit(X, Y, 1)
    out, err = capsys.readouterr()
    assert not out and "100%" in err and "loss" in err and "accuracy" in err
    classifier().fit(X, Y, 1, progress=False)
    assert capsys.readouterr() == ("", "")


# keeping -----------------------------------------------------------------------------------------------------------------------

def test_set_params_reads_summary_back():
    X, _ = labelled()
    model, other = TWICE(), TWICE()
    model.forward(X)
    model.backward(model.forward(X, retain_derived=False))
    model.update()
    assert other.set_params(model.summary()) is other
    assert np.array_equal(other.predict(X), model.predict(X)) and other.layers[1] is other.layers[2]
    other.set_params({"1.b": np.ones(4), "loss": "mae"})
    assert (other.layers[1].parameters.b == 1).all() and other.loss == "mae" and np.array_equal(other.parameters["0.W"], model.parameters["0.W"])


@pytest.mark.parametrize(("given", "words"), [({"0.Q": 1}, "did you mean '0.b'|unknown name '0.Q'"), ({"loss": "mss"}, "mse"), ({"0.W": "a"}, "real"),
                                              ({"layers": [{"layer": "Dense", "n_out": 3}]}, "keeps the layers")])
def test_set_params_changes_nothing_on_error(given, words):
    model = classifier()
    model.predict(rows())
    before = model.summary()
    with pytest.raises((ValueError, TypeError), match=words):
        model.set_params({"1.b": np.ones(3), **given})
    assert str(model.summary()) == str(before)


def test_save_and_load(tmp_path):
    X, Y = labelled()
    model = Model([Dense(6, "tanh"), BatchNorm1D(), (Dropout(0.2, (1,)), 1), (Dense(6), 2), 3, (Add(), 1, 4), Dense(3, "softmax")],
                  "cce", "SGD(momentum=0.5, lr_scheduler=Exponential(initial_lr=0.1))", ["accuracy", "fscore"], seed=3)
    model.fit(X, Y, 2, progress=False)
    model.save(tmp_path / "net")
    twin = Model.load(tmp_path / "net")
    assert np.array_equal(twin.predict(X), model.predict(X)) and twin.layers[2].axis == (1,) and twin.layers[3] is twin.layers[4]
    assert str(twin.summary()["hyperparameters"]) == str(model.summary()["hyperparameters"])
    for one in (model, twin):                                            # the optimizer's memory comes along
        one.eval()
        one.backward(np.ones_like(one.forward(X)))
        one.update()
    assert all(np.array_equal(v, model.parameters[k]) for k, v in twin.parameters.items())


def test_what_has_no_name_is_not_saved(tmp_path):
    with pytest.raises(TypeError, match="names and numbers"):
        Model([Dense(2, init=lambda shape, rng: np.ones(shape))]).save(tmp_path / "net")


def test_copies_are_independent():
    model = DIAMOND()
    x = rows(4, 3)
    model.forward(x, retain_derived=False)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(twin.predict(x), model.predict(x))
        twin.parameters = twin.parameters | {"0.b": np.ones(3)}
        assert not np.array_equal(twin.predict(x), model.predict(x))
