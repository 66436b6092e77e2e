"""torch through its adapter: right modules and functions pass, wrong ones fail by the check that claims them, refusals say why."""
from __future__ import annotations

import functools
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import gradcheck
from gradcheck.adapters import AdaptError
from gradcheck.evidence import Point, Verdict
from gradcheck.targets import find

torch = pytest.importorskip("torch", reason="`make test-frameworks` installs PyTorch")
pytestmark = pytest.mark.frameworks
nn = torch.nn

from foreign.torch_defects import DEFECTS  # noqa: E402
from power import BATTERY, judged  # noqa: E402

CASES = {c.name: c for c in find(str(Path(__file__).parent / "foreign" / "torch_cases.py")).cases}


class Scaled(torch.autograd.Function):
    """y = x s ** k"""
    @staticmethod
    def forward(ctx, x, s, k=1):
        ctx.save_for_backward(x, s)
        ctx.k = k
        return x * s ** k

    @staticmethod
    def backward(ctx, dy):
        x, s = ctx.saved_tensors
        return dy * s ** ctx.k, (dy * x * ctx.k * s ** (ctx.k - 1)).sum(0), None


class Separate(torch.autograd.Function):
    """y = sin x, its context set up apart from forward"""
    @staticmethod
    def forward(x):
        return x.sin()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, dy):
        return dy * ctx.saved_tensors[0].cos()


class Affine(nn.Module):
    def __init__(self, frozen=False):
        super().__init__()
        self.W, self.b = nn.Parameter(torch.ones(2, 2), requires_grad=not frozen), nn.Parameter(torch.zeros(2))
        self.register_buffer("mask", torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
        self.register_buffer("seen", torch.zeros(2))
        self.register_buffer("steps", torch.tensor(0))
        self.calls = []

    def forward(self, x):
        self.calls.append(x)
        if self.training:
            self.seen += x.detach().mean(0)
            self.steps += 1
        return x @ (self.W * self.mask) + self.b


class Scalars(nn.Module):
    """y = a x, and a parameter that only tells where the module lives"""
    def __init__(self):
        super().__init__()
        self.a, self.here = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.empty(0))

    def forward(self, x):
        return self.a * x


class Checkpointed(nn.Module):
    def __init__(self, reentrant=False):
        super().__init__()
        self.inner, self.reentrant = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.3), nn.Tanh(), nn.Linear(4, 3)), reentrant

    def forward(self, x):
        return x + torch.utils.checkpoint.checkpoint(self.inner, x, use_reentrant=self.reentrant)


class Single(nn.Module):
    """Computes in float32, whatever comes and goes."""
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(4))

    def forward(self, x):
        h = x.float()
        return self.w * (h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype)


class Mixed(nn.Module):
    """Computes in bfloat16 where its input is float32."""
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 3)

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.inner(x).float()


class NarrowBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, W):
        ctx.save_for_backward(x, W)
        return x @ W

    @staticmethod
    def backward(ctx, dy):
        x, W = ctx.saved_tensors
        return dy @ W.T, x.T @ dy if W.dtype is torch.float64 else (x.bfloat16().T @ dy.bfloat16()).to(W.dtype)


def traced():
    with warnings.catch_warnings():                            # it is deprecated, and exists
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.trace(nn.Linear(3, 2), torch.ones(1, 3))


def operator():
    @torch.library.custom_op("gradcheck_tests::square", mutates_args=())
    def square(x: torch.Tensor) -> torch.Tensor:
        return x * x
    square.register_autograd(lambda ctx, dy: 2 * ctx.saved_tensors[0] * dy, setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs))
    return square


def accused(case, checks=BATTERY, share=10):
    return {(e.check, e.primal, e.reason) for e in judged(case, checks, share) if e.verdict.bad}


def subject(target, *inputs, **keywords):
    return gradcheck.case(target, *inputs, **{"name": "it", **keywords}).subject(Point())


@pytest.mark.parametrize("name", CASES)
def test_a_layer_of_torch_s_own_passes_but_for_what_is_known(name):
    assert {check for check, _, _ in accused(CASES[name], share=20)} == {*CASES[name].expect}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_fails_by_the_check_that_claims_it_and_its_twin_passes(name):
    defect = DEFECTS[name]
    report = gradcheck.run([defect.case(True)], checks=[defect.by], profile="quick")
    rows = [r for r in report.cases[0].rows if r.verdict is Verdict.FAIL]
    assert rows and all("torch_defects.py" in r.failure.source for r in rows)
    assert accused(defect.case(False)) == set()


def guarded(x, t):
    if not ((x >= 0) & (x <= 1)).all():
        raise ValueError("probabilities are wanted")
    return -t * x.log() - (1 - t) * (1 - x).log()


RIGHT = {
    "a Function": (Scaled, "n d", "d"),
    "its apply": (Scaled.apply, "n d", "d"),
    "its context apart": (Separate, "n d"),
    "an input of several Functions": (lambda x, s: Scaled.apply(x, s) * Separate.apply(x) + Separate.apply(s), "n d", "d"),
    "a lambda": (lambda x: (x * x).sum(-1), "n d"),
    "a function of torch's": (torch.nn.functional.softplus, "n d"),
    "a builtin": (torch.tanh, "n d"),
    "a module": (Affine(), "n 2"),
    "a module class": (Affine, "n 2"),
    "a factory of a function": (lambda: torch.sin, "n d"),
    "arrays": (torch.linalg.norm, torch.arange(1.0, 7).reshape(2, 3)),
    "several inputs, nested": (lambda x, p: x @ p["W"] + p["b"][0] * p["b"][1], "n d", {"W": "d k", "b": ("k", "k")}),
    "any number of inputs": (lambda *xs: sum(x.exp() for x in xs), "[n d]"),
    "a list of inputs": (lambda xs: torch.stack(xs).prod(0), "[n d]"),
    "outputs nested": (lambda x: {"a": x.exp(), "b": (x.sum(), [x.argmax(), None])}, "n d"),
    "complex": (lambda z: (z * z.conj()).real + z.abs(), torch.randn(3, 4, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))),
    "numbers as parameters, and none": (Scalars, "n d"),
    "a checkpointed module": (Checkpointed, "n 3"),
    "float32 inside": (Single, "n t 4"),
    "a domain that is guarded": (guarded, "n d in (0,1)", "n d in (0,1)"),
    "an operator of a library": (operator(), "n d"),
    "an operator of torch's": (torch.ops.aten.tanh, "n d"),
    "a traced module": (traced, "n 3"),
    "in place": (lambda x: x.mul_(2).exp_(), "n d"),
    "checkpointed dropout": (lambda x: torch.utils.checkpoint.checkpoint(lambda x: torch.dropout(x, 0.5, True).sin(), x, use_reentrant=False), "n d"),
}


def test_a_loss_of_torchs_in_a_guarded_domain_passes_but_for_its_double_backward():
    """That adds 1e-12 to the probabilities, the first backward does not: tests/foreign/FINDINGS.md."""
    case = gradcheck.case(lambda: nn.BCELoss(reduction="none"), "n d in (0,1)", "n d in (0,1)", framework="torch", name="bce")
    report = gradcheck.run([case], ignore=["second"])
    assert report.cases[0].verdict is Verdict.PASS, [r.reason for r in report.cases[0].rows if r.reason]


@pytest.mark.parametrize("what", RIGHT)
def test_what_is_right_passes(what):
    target, *inputs = RIGHT[what]
    result = gradcheck.check(target, *inputs, framework="torch", profile="quick")
    assert result, result


def test_options_of_a_function_stand_where_its_forward_has_them():
    case = gradcheck.case(Scaled, "n d > 0", "d > 0", options={"k": [1, 3]})
    x, s = (case.subject(Point(options={"k": 3})).primals[k] for k in ("x", "s"))
    assert np.allclose(case.subject(Point(options={"k": 3}))({"x": x, "s": s})[0], x * s ** 3)
    assert accused(case) == set()


def test_an_input_that_does_not_matter_is_no_error():
    result = gradcheck.check(lambda x, y: 2 * x, "n d", "n d", framework="torch", profile="quick")
    assert result.verdict is Verdict.UNDECIDED and {r.reason.partition(":")[0] for r in result.report().cases[0].rows if r.reason} == {"vacuous"}


@pytest.mark.parametrize("train", [True, False])
def test_parameters_are_primals_and_buffers_are_state(train):
    module = Affine()
    s = gradcheck.case(lambda: module, "n 2").subject(Point(train=train))
    assert s.differentiable == ("x", "W", "b") and {*s.primals} == {"x", "W", "b", "mask", "seen", "steps"}
    assert np.array_equal(s.primals["mask"], [[1, 0], [1, 1]]) and s.primals["seen"].any()       # statistics in general position, a mask as it is
    first, again = (s(s.primals)[0] for _ in range(2))
    assert np.array_equal(first, again)
    assert module.W.grad is None and not module.seen.any() and module.steps == 0 and module.training and module.calls == []


def test_frozen_and_unnamed_parameters_are_held():
    assert subject(lambda: Affine(frozen=True), "n 2").differentiable == ("x", "b")
    assert subject(Affine, "n 2", params=["W"]).differentiable == ("x", "W")


def test_a_lazy_module_has_its_parameters():
    assert subject(lambda: nn.LazyLinear(3), "n 4").primals["weight"].shape == (3, 4)


def test_fewer_cotangents_are_those_of_fewer_leaves():
    s = subject(Scaled, "n d", "d")
    assert {*s.fewer} == {"no gradient of x", "no gradient of s"}
    tape = s.fewer["no gradient of x"]()
    tape.forward(dict(s.primals))
    assert {*tape.backward(np.ones_like(s.primals["x"]))} == {"s"}


def test_double_backward_where_there_is_one():
    assert subject(Scaled, "n d", "d").double and not DEFECTS["right_but_once_differentiable"].case(False).subject(Point()).double
    s = subject(lambda x: x ** 3, "d", framework="torch")
    tape, x = s.double(), s.primals["x"]
    first, = tape.forward({"x": x.copy(), "dy": np.ones_like(x)})
    assert np.allclose(first, 3 * x ** 2)
    found = tape.backward(np.ones_like(x))
    assert np.allclose(found["x"], 6 * x) and np.allclose(found["dy"], 3 * x ** 2)


def test_tensors_have_the_strides_of_the_arrays_and_writes_are_seen():
    def spy(x):
        seen.append(x.stride())
        x.data[0] = 7.0
        return 2 * x
    seen = []
    s = subject(spy, "n d", framework="torch")
    x = np.asfortranarray(np.ones((3, 4)))
    s.tape().forward({"x": x})
    assert seen[-1] == (1, 3) and (x[0] == 7).all() and (x[1:] == 1).all()


def test_an_operation_in_place_leaves_the_callers_array():
    x = np.ones((2, 3))
    tape = subject(nn.ReLU(inplace=True), "n d").tape()
    tape.forward({"input": -x})
    assert (x == 1).all()


@pytest.mark.parametrize("lay", [lambda x: x[::-1], lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(x.dtype)])
def test_a_layout_that_torch_has_not_is_refused(lay):
    s = subject(torch.tanh, "n")
    with pytest.raises((ValueError, TypeError)):
        s.tape().forward({"x0": lay(np.ones(3))})


def test_the_callers_randomness_is_left_as_it_was():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert gradcheck.check(lambda: nn.Dropout(0.5), "n d", profile="quick", checks=["adjoint", "seed"])
    assert torch.equal(torch.get_rng_state(), before)


def test_noise_that_depends_on_the_precision_has_no_twin():
    point = Point(dtype="float32")
    for function, refused in ((lambda x: x * torch.rand_like(x), True), (lambda x: torch.dropout(x, 0.5, True), False)):
        s = gradcheck.case(function, "n d", framework="torch").subject(point)
        wide = {k: x.astype("float64") for k, x in s.primals.items()}
        if refused:
            with pytest.raises(ValueError, match="other noise"):
                s(wide)
        else:
            assert np.array_equal(s(wide)[0], s(s.primals)[0])


def test_a_generator_of_the_module_s_own_is_rewound():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.rng = torch.Generator().manual_seed(1)

        def forward(self, x):
            return x * torch.rand(x.shape, generator=self.rng, dtype=x.dtype)
    result = gradcheck.check(Noisy, "n d", profile="quick")
    assert result, result


def test_backward_is_held_to_the_precision_of_forward():
    assert gradcheck.check(Mixed, "n 4", checks=["dtype"])
    rows = gradcheck.check(NarrowBackward, "n d", "d k", checks=["dtype"]).report().cases[0].rows
    assert {r.primal for r in rows if r.verdict is Verdict.FAIL} == {"dW"}


@pytest.mark.parametrize("inside", [torch.float16, torch.bfloat16])
def test_few_digits_inside_are_coarse_and_no_mistake(inside):
    rows = gradcheck.check(lambda x, W: (x.to(inside) @ W.to(inside)).to(x.dtype), "n d", "d k", framework="torch", profile="quick").report().cases[0].rows
    assert "adjoint" in {r.check for r in rows if r.verdict is Verdict.UNDECIDED} and not any(r.verdict.bad for r in rows)


def test_a_reentrant_checkpoint_forgets_its_parameters_where_its_input_is_frozen():
    rows = gradcheck.check(lambda: Checkpointed(reentrant=True), "n 3", profile="quick", checks=["adjoint", "subset"]).report().cases[0].rows
    assert {(r.check, r.primal) for r in rows if r.verdict is not Verdict.PASS} == {("subset", "no gradient of x")}


REFUSED = {
    "no shape": ((Scaled,), "say the shape"),
    "a shape that does not fit": ((lambda: nn.Linear(4, 3), "n 5"), "no combination"),
    "a shape that is none": ((lambda: nn.Linear(4, 3), "n 4 ]"), "cannot read"),
    "no tensor returned": ((lambda x: 3.0, "n 2"), "returned float where a real tensor"),
    "truth values returned": ((lambda x: x > 0, "n d"), "a tensor of torch.bool"),
    "integers returned": ((lambda x: x.argmax(), "n d"), "nothing to differentiate"),
    "a module that raises": ((lambda: type("Raises", (nn.Module,), {"forward": lambda self, x: 1 / 0})(), "n d"), "ZeroDivisionError"),
    "a constructor that raises": ((nn.Linear, "n d"), "TypeError"),
    "bfloat16 arrays": ((torch.tanh, torch.ones(3, dtype=torch.bfloat16)), "bfloat16"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_refusal_says_why(what):
    (target, *inputs), why = REFUSED[what]
    try:
        said = str(gradcheck.check(target, *inputs, profile="quick", framework="torch"))
    except (ValueError, TypeError) as e:                       # what is wrong with the call itself
        said = str(e)
    assert why in said


def test_half_precision_modules_are_judged_in_the_points_precision():
    s = subject(lambda: nn.Linear(4, 3).half(), "n 4")
    assert s.primals["weight"].dtype == np.float64
    assert gradcheck.check(lambda: nn.Linear(4, 3).bfloat16(), "n 4", profile="quick")


def test_which_framework_is_said_where_it_cannot_be_told():
    pytest.importorskip("jax")
    with pytest.raises(AdaptError, match="framework="):
        gradcheck.case(lambda x: 2 * x, "n d")
    assert gradcheck.case(lambda x: 2 * x, torch.ones(3)).family.adapter == "torch"
    assert gradcheck.case(functools.partial(torch.pow, exponent=2), "n d").family.adapter == "torch"
    with pytest.raises(AdaptError, match="the frameworks are"):
        gradcheck.case(lambda x: 2 * x, "n d", framework="tensorflow")


FILE = """
import torch
import gradcheck

class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, dy):
        x, = ctx.saved_tensors
        return {factor} * x * dy

square = gradcheck.case(Square, "n d")
layer = gradcheck.case(lambda: torch.nn.Linear(4, 3), "n 4", name="linear")
"""


@pytest.mark.parametrize(("factor", "code"), [(2, 0), (1, 1)])
def test_a_file_from_the_command_line(folder, factor, code):
    (folder / "mine.py").write_text(FILE.format(factor=factor))
    run = [sys.executable, "-m", "gradcheck", "run"]
    done = subprocess.run([*run, "mine.py", "--profile", "quick"], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    if code:
        line = next(line for line in done.stdout.splitlines() if line.startswith("gradcheck run"))
        again = subprocess.run(line.replace("gradcheck run", " ".join(run), 1), shell=True, capture_output=True, text=True, timeout=120)
        assert again.returncode == 1 and "mine.py:11" in done.stdout and "not checked" not in done.stdout and "ratio 0.5" in again.stdout


@pytest.mark.parametrize("target", [Scaled, Scaled.apply])
def test_the_code_of_a_function_runs(target):
    found: dict = {"Scaled": Scaled}
    case = gradcheck.case(target, "n d", "d", options={"k": [2, 3]})
    exec(case.family.code(Point(options={"k": 3})), found)
    assert case.name == "Scaled" and torch.allclose(found["y"], found["x"] * found["s"] ** 3)


@pytest.mark.parametrize(("name", "points"), [("torch.Linear", Point()), ("torch.Conv2d", Point(sizes={"n": 1, "rows": 3, "cols": 3})),
                                              ("torch.LSTM (states given)", Point(sizes={"t": 2, "n": 2})), ("torch.einsum", Point())])
def test_the_code_of_a_point_runs(name, points):
    found: dict = {"torch": torch, "nn": nn}
    exec(CASES[name].family.code(points), found)
    y = found["y"]
    assert (y[0] if isinstance(y, tuple) else y).requires_grad


@pytest.mark.parametrize("seed", [9, 17, 23, 30])
def test_a_gradient_that_is_zero_but_for_rounding_does_not_drown_the_others(seed: int) -> None:
    """A shift before a batch norm has none: an upstream as large as it is small would make rounding of all cotangents."""
    case = gradcheck.case(lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)), "n 3", name="normal")
    report = gradcheck.run([case], checks=["second"], at=Point(sizes={"n": 2}, seed=seed))
    rows = report.cases[0].rows
    assert len(rows) == 8 and not [r.reason for r in rows if r.verdict.bad]
    assert all(r.verdict is Verdict.PASS or r.reason.startswith("coarse: resolves") for r in rows)
