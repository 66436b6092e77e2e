"""The tables around the layers: losses, metrics, initializers, optimizers, schedules, and the generated table of the layers."""
from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

import layers
from layers import INITIALIZERS, LOSSES, OPTIMIZERS, SCHEDULES, SGD, Adam, Schedule, activation, initializer, loss, metric, optimizer, schedule
from layers.catalogue import table
from layers.schedules import Cyclic, King, Noam
from layers.spec import restore, state

README = Path(layers.__file__).with_name("README.md").read_text()


def test_the_readme_holds_the_table():
    assert table() in README, "stale: run `python -m layers.catalogue` and paste the table"


def test_the_readme_runs():
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(block, names)
    assert np.allclose(names["copy"].parameters.W, names["layer"].parameters.W)
    del layers.Layer.registry["Scale"]


def sides(name):
    rng = np.random.default_rng(0)
    t, y = rng.random((6, 4)), rng.random((6, 4))
    return (t / t.sum(1, keepdims=True), y / y.sum(1, keepdims=True)) if "cce" in name else (t, y)


@pytest.mark.parametrize("name", LOSSES)
def test_loss_cotangents_by_differences(name):
    t, y = sides(name)
    claimed, f = loss(name).cotangent(t, y), loss(name)
    h = 1e-6
    for at in np.ndindex(y.shape):
        e = np.zeros_like(y)
        e[at] = h
        assert math.isclose((f(t, y + e) - f(t, y - e)) / (2 * h), claimed[at], rel_tol=1e-7, abs_tol=1e-9)


def test_losses_and_their_normalisation():
    t, y = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.5, 0.5], [0.25, 0.75]])
    assert np.allclose(loss("mse").samples(t, y), [0.25, 0.0625]) and math.isclose(loss("MSE")(t, y), 0.15625)
    assert np.allclose(loss("mae").samples(t, y), [0.5, 0.25])
    assert np.allclose(loss("msle").samples(t, y), ((np.log1p(t) - np.log1p(y)) ** 2).mean(1))
    assert np.allclose(loss("bce").samples(t, y), -np.log([0.5, 0.75]))
    assert np.allclose(loss("cce").samples(t, y), -np.log([0.5, 0.75]))
    z = np.log(y)
    assert math.isclose(loss("softmax cce")(t, z), loss("cce")(t, y))
    assert np.allclose(loss("softmax_cce").cotangent(t, z), (y - t) / 2)


def test_losses_at_the_edge_are_finite():
    t, y = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    for name in ("bce", "cce"):
        assert np.isfinite(loss(name)(t, y)) and np.isfinite(loss(name).cotangent(t, y)).all()
    z = np.array([[800.0, -800.0]], np.float32)
    assert loss("softmax_cce")(t, z) == 0 and loss("softmax_cce").cotangent(t.astype(np.float32), z).dtype == np.float32


def test_metrics():
    t = np.eye(3)[[0, 0, 1, 1, 2, 2]]
    y = np.eye(3)[[0, 1, 1, 1, 2, 0]]
    assert metric("accuracy")(t, y) == 4 / 6
    assert math.isclose(metric("precision")(t, y), (1 / 2 + 2 / 3 + 1) / 3)
    assert math.isclose(metric("recall")(t, y), (1 / 2 + 1 + 1 / 2) / 3)
    assert math.isclose(metric("fscore")(t, y), (2 / 4 + 4 / 5 + 2 / 3) / 3)
    t, y = np.array([[1.0], [1], [0], [0]]), np.array([[0.9], [0.2], [0.8], [0.1]])
    assert [metric(m)(t, y) for m in ("accuracy", "precision", "recall", "fscore")] == [0.5] * 4
    assert metric("precision")(t, 0 * y) == 0


@pytest.mark.parametrize("name", INITIALIZERS)
def test_initializers(name):
    shape, rng = (3, 3, 40, 50), np.random.default_rng(0)
    W = initializer(name)(shape, rng)
    fan_in, fan_out = 9 * 40, 9 * 50
    deviation = {"glorot": (2 / (fan_in + fan_out)) ** 0.5, "he": (2 / fan_in) ** 0.5, "lecun": fan_in ** -0.5, "std": 1,
                 "trunc": 0.8796256610342398, "zeros": 0, "ones": 0, "orthogonal": fan_in ** -0.5}[name.split("_")[0]]
    assert W.shape == shape and math.isclose(W.std(), deviation, rel_tol=0.02)
    if name == "orthogonal":
        flat = W.reshape(-1, 50)
        assert np.allclose(flat.T @ flat, np.eye(50))
    assert all(initializer(name)(s, rng).shape == s for s in ((3,), (2, 0), (1, 1)))


TORCH = {"SGD": ("SGD", {"lr": 0.1, "momentum": 0.9}, {}), "AdaGrad": ("Adagrad", {"lr": 0.1}, {"eps": 1e-7}),
         "RMSProp": ("RMSprop", {"lr": 0.01, "decay": 0.8}, {"alpha": 0.8, "eps": 1e-7}), "Adam": ("Adam", {"lr": 0.05}, {"eps": 1e-7})}


@pytest.mark.frameworks
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_equal_pytorch(name):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference of this test")
    rng, (theirs, ours, more) = np.random.default_rng(0), TORCH[name]
    params = {"W": rng.standard_normal((3, 4)), "b": rng.standard_normal(4)}
    tensors = {k: torch.tensor(v, requires_grad=True) for k, v in params.items()}
    step, same = OPTIMIZERS[name](**ours), {k: v for k, v in ours.items() if k != "decay"}
    reference = getattr(torch.optim, theirs)(tensors.values(), **same, **more)
    for _ in range(6):
        grads = {k: rng.standard_normal(v.shape) for k, v in params.items()}
        params = step.update(params, grads)
        for k, g in grads.items():
            tensors[k].grad = torch.tensor(g)
        reference.step()
    assert all(np.allclose(v, tensors[k].detach().numpy(), rtol=1e-12) for k, v in params.items())


def test_optimizer_clips_schedules_and_prints():
    sgd = optimizer("SGD(lr=1, clip_norm=2, lr_scheduler=ExponentialScheduler(initial_lr=0.5, stage_length=1, decay=0.1))")
    params = {"W": np.zeros(2)}
    assert np.allclose(sgd.update(params, {"W": np.array([30.0, 40.0])})["W"], [-0.6, -0.8]) and not params["W"].any()
    assert np.allclose(sgd.update(params, {"W": np.array([1.0, 0.0])})["W"], [-0.05, 0])
    assert str(optimizer(str(sgd))) == str(sgd)
    assert optimizer("adam") == Adam() and optimizer(None) == SGD()


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_restored_with_their_memory(name):
    one = SCHEDULES[name](patience=3) if name == "King" else SCHEDULES[name]()
    for step in range(6):
        one.rate(step, 1.0)
    two = restore(SCHEDULES, state(one), "scheduler")
    assert two == one and [one.rate(s, 1.0) for s in range(6, 12)] == [two.rate(s, 1.0) for s in range(6, 12)]
    assert schedule(str(one)).rate(0, 1.0) > 0


def test_rows_of_ones_own_are_dataclasses():
    class Halving(Schedule):
        lr: float = 1.0

        def rate(self, step, loss=None):
            return self.lr / 2 ** step

    sgd, params = SGD(lr_scheduler=Halving(4.0)), {"W": np.zeros(1)}
    assert [float(sgd.update(params, {"W": np.ones(1)})["W"][0]) for _ in range(3)] == [-4, -2, -1]
    assert str(sgd) == "SGD(lr_scheduler=Halving(lr=4.0))"
    with pytest.raises(ValueError, match="Halving: lr='x': expected a number"):
        Halving("x")


def test_cyclic_schedules():
    lin = Cyclic("lin_decay", lr=2, decay_k=0.1, cycle_epochs=3, cycle_descent=0.5)
    assert np.allclose([lin.rate(e) for e in range(4)], [2, 2 / 11, 2 / 21, 1])
    exp = Cyclic("exp_decay", lr=2, cycle_epochs=5)
    assert np.allclose([exp.rate(e) for e in (0, 1, 4, 5)], [2, 2 * math.exp(-1), 2 * math.exp(-4), 2])
    assert Cyclic("exp_decay", lr=1, epochs=10).rate(9) == math.exp(-4.5)
    assert [Cyclic("steady", lr=1, decay_k=3).rate(e) for e in (0, 7)] == [1, 1]


def test_noam_rises_then_falls():
    rates = [Noam(warmup_steps=10).rate(s) for s in range(30)]
    assert rates.index(max(rates)) == 9 and math.isclose(rates[9], (512 * 10) ** -0.5)


def test_king_waits_for_a_stall():
    falling, flat = King(patience=5, decay=0.5), King(patience=5, decay=0.5)
    assert {falling.rate(s, 10.0 - s) for s in range(20)} == {0.01}
    assert flat.rate(0, 1.0) == 0.01 and [flat.rate(s, 1.0) for s in range(1, 20)][-1] < 0.01


@pytest.mark.parametrize("spec", ["sigmoid", "tanh", "softplus", "gelu", "elu", "exponential", "selu"])
def test_activations_far_out(spec):
    f, z = activation(spec), np.array([-800.0, -90, -30, 0, 30, 90, 700])
    for values in (f(z), f.grad(z), f.grad2(z)):
        assert np.isfinite(values).all()
