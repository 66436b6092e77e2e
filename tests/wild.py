"""Real gradient bugs, each re-expressed in about ten lines of our own beside its corrected twin.

Every function takes `wrong` and returns the case to judge: the defect, or the twin that differs in nothing else. The
decorator says which class of bug it is, which check must see it, and where such a bug was reported.
"""
from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

import gradcheck
from gradcheck.adapters.functions import Functions
from gradcheck.evidence import Point
from gradcheck.subjects import Array, Case, Subject
from layers.base import Layer, Vars
from layers.dense import Dense

Primals = Mapping[str, Array]
Make = Callable[[bool], Case]


@dataclass(frozen=True)
class Wild:
    """One defect: its class, the check that claims it, the reports."""
    name: str
    kind: str
    by: str
    reports: str
    make: Make

    @property
    def doc(self) -> str:
        return (inspect.getdoc(self.make) or "").partition("\n")[0]

    def case(self, wrong: bool) -> Case:
        return replace(self.make(wrong), name=f"{self.kind} {self.name.replace('_', ' ')}{'' if wrong else ', corrected'}")


def collection() -> tuple[dict[str, Wild], Callable[..., Callable[[Make], Make]]]:
    """An empty collection of defects, and the decorator (kind, by, reports) that adds one."""
    found: dict[str, Wild] = {}

    def claimed(kind: str, by: str, reports: str = "") -> Callable[[Make], Make]:
        def register(make: Make) -> Make:
            found[make.__name__] = Wild(make.__name__, kind, by, reports, make)
            return make
        return register
    return found, claimed


WILD, wild = collection()


def pair(call: Callable[..., Any], pullback: Callable[..., Any], *, sizes: Mapping[str, tuple[int, int]] | None = None,
         convention: Mapping[str, str] | None = None, **primals: Any) -> Case:
    """Two functions as a case."""
    return Case("", "", Functions(call, pullback, primals), sizes or {}, convention=convention or {})


def native(cls: type[Layer]) -> Case:
    """A layer with a law; taken out of the registry, in which a test's classes have no place."""
    Layer.registry.pop(cls.registered, None)
    return gradcheck.case(cls)


# A. the formula is wrong at any random point -------------------------------------------------------------------------------

@wild("A1", "linear", "chainer#1175; SeanNaren/warp-ctc#69; k2-fsa/k2#341")
def upstream_ignored(wrong):
    """A loss whose gradient is the same whatever comes from above."""
    return pair(lambda p: np.sum(np.where(abs(p["x"]) < 1, p["x"] ** 2 / 2, abs(p["x"]) - 0.5)),
                lambda p, dy: {"x": np.clip(p["x"], -1, 1) * (1.0 if wrong else dy)}, x="n d")


@wild("A1", "linear", "StackExchange and framework threads on clipping inside a backward; EpyNN's recurrent layers clip by default")
def upstream_clipped(wrong):
    """Gradients are clipped inside the pullback, at a size that ordinary upstreams do not reach."""
    return pair(lambda p: np.tanh(p["x"]), lambda p, dy: {"x": (np.clip(dy, -50, 50) if wrong else dy) * (1 - np.tanh(p["x"]) ** 2)}, x="n d")


@wild("A1", "linear", "gradients taken for noise below a threshold, by mechanism; the clipping above, the other way round")
def small_upstreams_dropped(wrong):
    """What is below 1e-4 is taken for zero, to save work."""
    return pair(lambda p: np.tanh(p["x"]), lambda p, dy: {"x": np.where(abs(dy) < 1e-4 * wrong, 0, dy) * (1 - np.tanh(p["x"]) ** 2)}, x="n d")


@wild("A1", "linear", "y.sum().backward() is every example's upstream; a shortcut for it, by mechanism")
def an_upstream_of_ones_taken_for_none(wrong):
    """Where all of the upstream is 1 it is left out, and with it what it is multiplied by."""
    return pair(lambda p: np.sin(p["x"]), lambda p, dy: {"x": dy if wrong and (dy == 1).all() else dy * np.cos(p["x"])}, x="n d")


@wild("A1", "linear", "Liger-Kernel#968 (all gradients 0 if token 0 is ignored), by mechanism")
def skipped_if_the_first_upstream_is_zero(wrong):
    """Nothing flows where nothing comes from the first entry."""
    return pair(lambda p: np.sin(p["x"]), lambda p, dy: {"x": dy * np.cos(p["x"]) * (0 if wrong and dy.size and dy.flat[0] == 0 else 1)}, x="n d")


@wild("A2", "adjoint", "Liger-Kernel#968, #680, #1298")
def only_the_first_upstream(wrong):
    """reduction="none": every row is scaled by the upstream of row 0."""
    return pair(lambda p: (p["x"] ** 2).sum(1), lambda p, dy: {"x": 2 * p["x"] * (dy[0] if wrong else dy[:, None])}, x="n d")


@wild("A3", "adjoint", "graphdeco-inria/gaussian-splatting#551; pocketpy/cTensor#3; markroxor/fromscratchtoml#65")
def a_constant_factor(wrong):
    """dW is half of what it should be."""
    return pair(lambda p: p["x"] @ p["W"], lambda p, dy: {"x": dy @ p["W"].T, "W": (0.5 if wrong else 1) * p["x"].T @ dy}, x="n d", W="d k")


@wild("A4", "adjoint", "kvfrans/notes#5; hunkim/DeepLearningZeroToAll#173; fetchai/ledger#1580")
def mean_for_sum(wrong):
    """The bias' gradient is averaged over the batch, the weights' is summed."""
    return pair(lambda p: p["x"] @ p["W"] + p["b"],
                lambda p, dy: {"x": dy @ p["W"].T, "W": p["x"].T @ dy, "b": dy.mean(0) if wrong else dy.sum(0)}, x="n d", W="d k", b="k")


@wild("A4", "adjoint", "as above, where the mean is meant: declared, it must hold for every parameter")
def a_batch_mean_for_some(wrong):
    """The convention says that gradients are means over the batch; one of them is a sum."""
    return gradcheck.case(lambda: Averaging(wrong), "n 3", convention={"batch mean": "gradients are means over the batch"})


class Averaging:
    def __init__(self, wrong):
        self.wrong, self.params, self.grads = wrong, {"W": np.ones((3, 2)), "b": np.zeros(2)}, {}

    def forward(self, x):
        self.x = x
        return x @ self.params["W"] + self.params["b"]

    def backward(self, dy):
        n = max(1, len(dy))
        self.grads["W"], self.grads["b"] = self.x.T @ dy / n, dy.sum(0) / (1 if self.wrong else n)
        return dy @ self.params["W"].T


class Loss:
    """The mean of squares, whose backward takes no upstream."""
    wrong = False

    def forward(self, x):
        self.x = x
        return (x ** 2).mean()

    def backward(self):
        return 2 * self.x / (len(self.x) if self.wrong else self.x.size)


@wild("A4", "adjoint", "hunkim/DeepLearningZeroToAll#173, of a loss")
def a_loss_divided_by_its_rows(wrong):
    """The loss is a mean over all entries, its gradient over the rows."""
    return gradcheck.case(type("Loss", (Loss,), {"wrong": wrong}), "n d")


@wild("A5", "adjoint", "jax#3213, #13048")
def a_sign_in_one_argument(wrong):
    """The second argument's derivative is negated."""
    return pair(lambda p: np.sin(p["x"]) * p["y"],
                lambda p, dy: {"x": dy * np.cos(p["x"]) * p["y"], "y": (-dy if wrong else dy) * np.sin(p["x"])}, x="n d", y="n d")


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@wild("A6", "adjoint", "deeplearning4j/libnd4j#440; mlpack#2360, #3469; wkcn/mobula#3; pocketpy/cTensor#31")
def softmax_entry_by_entry(wrong):
    """The diagonal of the Jacobian alone."""
    def pull(p, dy):
        y = softmax(p["x"])
        return {"x": y * (1 - y) * dy if wrong else y * (dy - (dy * y).sum(-1, keepdims=True))}
    return pair(lambda p: softmax(p["x"]), pull, x="n d")


@wild("A7", "adjoint", "mlpack#1923")
def a_mean_term_is_missing(wrong):
    """Layer norm's backward forgets that the mean depends on x."""
    def norm(x):
        s = np.sqrt(x.var(-1, keepdims=True) + 1e-3)
        return (x - x.mean(-1, keepdims=True)) / s, s

    def pull(p, dy):
        N, s = norm(p["x"])
        return {"x": (dy - (0 if wrong else dy.mean(-1, keepdims=True)) - N * (dy * N).mean(-1, keepdims=True)) / s}
    return pair(lambda p: norm(p["x"])[0], pull, x="n d")


def sigmoid(x: Array) -> Array:
    return np.exp(-np.logaddexp(0, -x))


@wild("A8", "adjoint", "Bot-Academy/NeuralNetworkFromScratch#3; benoitfragit/libBrain#78; maziarraissi/backprop#1")
def derivative_at_the_wrong_quantity(wrong):
    """The activation's derivative, a function of z, is taken at a = f(z)."""
    def pull(p, dy):
        a = sigmoid(sigmoid(p["x"]) if wrong else p["x"])
        return {"x": dy * a * (1 - a)}
    return pair(lambda p: sigmoid(p["x"]), pull, x="n d")


@wild("A9", "adjoint", "NervanaSystems/neon#111; flash-linear-attention#155; ByteDance-Seed/Triton-distributed#185")
def outputs_in_each_other_s_slots(wrong):
    """A gated unit hands back the gate's gradient for the value's."""
    def pull(p, dy):
        du, dg = dy * sigmoid(p["g"]), dy * p["u"] * sigmoid(p["g"]) * (1 - sigmoid(p["g"]))
        return {"u": dg, "g": du} if wrong else {"u": du, "g": dg}
    return pair(lambda p: p["u"] * sigmoid(p["g"]), pull, u="n d", g="n d")


@wild("A10", "adjoint", "qixianbiao/RNN#2; ooples/AiDotNet#722; lhnguyen102/cuTAGI#77")
def the_recurrent_link_is_dropped(wrong):
    """h_t = tanh(x_t + w h_{t−1}), and nothing flows from step to step backwards: right for one step."""
    def states(p):
        h = [np.zeros(len(p["x"]))]
        for x in p["x"].T:
            h.append(np.tanh(x + p["w"] * h[-1]))
        return h

    def pull(p, dy):
        h, dh, dx, dw = states(p), 0.0, np.zeros_like(p["x"]), np.zeros(1)
        for t in reversed(range(p["x"].shape[1])):
            dx[:, t] = dz = (dy[:, t] + dh) * (1 - h[t + 1] ** 2)
            dw, dh = dw + (dz * h[t]).sum(), 0.0 if wrong else dz * p["w"]
        return {"x": dx, "w": dw.astype(p["w"].dtype)}
    return pair(lambda p: np.stack(states(p)[1:], 1).astype(p["x"].dtype), pull, x="n t", w="1")


@wild("A12", "shapes", "unslothai/unsloth#832, #4533; candle#2168, #3613; paiml/aprender#2196")
def a_gradient_is_missing(wrong):
    """RMS norm returns no gradient for its weight."""
    def pull(p, dy):
        r, g = np.sqrt((p["x"] ** 2).mean(-1, keepdims=True) + 1e-2), dy * p["w"]
        dx = g / r - p["x"] * (g * p["x"]).mean(-1, keepdims=True) / r ** 3
        return {"x": dx, "w": None if wrong else (dy * p["x"] / r).sum(0)}
    return pair(lambda p: p["w"] * p["x"] / np.sqrt((p["x"] ** 2).mean(-1, keepdims=True) + 1e-2), pull, x="n d", w="d")


# B. too small to be seen at ordinary inputs ----------------------------------------------------------------------------------

@wild("B1", "values", "chainer#4190; Lightning-AI/lightning-thunder#1848")
def epsilon_in_forward_alone(wrong):
    """y = x / (‖x‖ + ε) with ε = 1e-11, which backward leaves out: at a norm of 1 the error is 1e-11, at 1e-8 a thousandth."""
    eps = 1e-11

    def pull(p, dy):
        r = np.sqrt((p["x"] ** 2).sum(-1, keepdims=True))
        s, N = r + (0 if wrong else eps), p["x"] / np.where(r == 0, 1, r)
        return {"x": (dy - N * (dy * N).sum(-1, keepdims=True) * r / s) / s}
    return pair(lambda p: p["x"] / (np.sqrt((p["x"] ** 2).sum(-1, keepdims=True)) + eps), pull, x="n d", sizes={"d": (2, 9)})


# C. another option, shape or mode --------------------------------------------------------------------------------------------

class Convolution:
    """y_t = Σ_k x_{s t + δ k − p} w_k on (n, t), written as an afternoon's layer; a subclass says what its backward gets wrong."""
    wrong = ""

    def __init__(self, stride=1, dilation=1, pad=0):
        self.s, self.d, self.pad = stride, dilation, pad
        self.params, self.grads = {"w": np.ones(2)}, {}

    def taps(self, x):
        count = (x.shape[1] + 2 * self.pad - self.d * (len(self.params["w"]) - 1) - 1) // self.s + 1
        if count < 1:
            raise ValueError(f"{x.shape[1]} entries are fewer than the kernel spans")
        return [(k, slice(k * self.d, k * self.d + (count - 1) * self.s + 1, self.s)) for k in range(len(self.params["w"]))]

    def forward(self, x):
        self.x = np.pad(x, ((0, 0), (self.pad, self.pad)))
        return sum(self.params["w"][k] * self.x[:, at] for k, at in self.taps(x))

    def backward(self, dy):
        dx, n = np.zeros_like(self.x), self.x.shape[1]
        taps = self.taps(self.x[:, self.pad:n - self.pad])
        self.grads["w"] = np.array([(self.x[:, at] * dy).sum() for _, at in taps], dy.dtype)
        used = taps[-1][1].stop
        for k, at in taps:
            at = {"remainder": slice(at.start + n - used, at.stop + n - used, self.s),          # as if the last window ended at the border
                  "dilation": slice(k, k + at.stop - at.start, self.s)}.get(self.wrong, at)
            dx[:, at] += self.params["w"][k] * dy
        return dx[:, self.pad:n - self.pad] if self.wrong != "pad" else dx[:, :n - 2 * self.pad]


def convolution(defect: str, wrong: bool) -> Case:
    options = {"stride": [1, 2, 3], "dilation": [1, 2], "pad": [0, 1]}
    return gradcheck.case(type("Convolution", (Convolution,), {"wrong": defect if wrong else ""}), "n t", options=options)


@wild("C1", "adjoint", "FlagGems#1576; f-dangel/backpack#30; pytorch#25101; PKUFlyingPig/CMU10-714#6")
def a_stride_that_leaves_a_remainder(wrong):
    """dx is laid against the far border, right where the stride divides."""
    return convolution("remainder", wrong)


@wild("C2", "adjoint", "candle#2337; pytorch#63314; cybertronai/autograd-hacks#5")
def dilation_ignored_backwards(wrong):
    """The taps of dx stand side by side."""
    return convolution("dilation", wrong)


@wild("C2", "adjoint", "Kulbear/deep-learning-coursera#34")
def padding_cut_from_one_side(wrong):
    """The padding is removed from the end of dx alone."""
    return convolution("pad", wrong)


@wild("C3", "adjoint", "pytorch#51430, #68868; mlx#2184")
def groups_in_another_order(wrong):
    """A grouped product hands each group the next one's gradient."""
    def forward(p):
        return np.einsum("ngi,gio->ngo", p["x"], p["W"])

    def pull(p, dy):
        return {"x": np.einsum("ngo,gio->ngi", dy, np.roll(p["W"], 1, 0) if wrong else p["W"]), "W": np.einsum("ngi,ngo->gio", p["x"], dy)}
    return pair(forward, pull, x="n g i", W="g i o")


@wild("C5", "adjoint", "renmengye/np-conv2d#2")
def rows_for_columns(wrong):
    """The mean over an image spreads its gradient by rows squared."""
    return pair(lambda p: p["x"].mean((1, 2)),
                lambda p, dy: {"x": np.ones_like(p["x"]) * (dy / (p["x"].shape[1] * p["x"].shape[1 if wrong else 2]))[:, None, None]}, x="n rows cols")


@wild("C6", "shapes", "FlagGems#5392; Liger-Kernel#1375; pytorch#1813")
def rank_two_assumed(wrong):
    """The weight's gradient is summed over the first axis, whatever the rank."""
    return pair(lambda p: p["x"] * p["w"], lambda p, dy: {"x": dy * p["w"], "w": (dy * p["x"]).sum(0 if wrong else tuple(range(dy.ndim - 1)))},
                x="* d", w="d")


@wild("C6", "adjoint", "Liger-Kernel#1375: tests have three axes, users have four")
def rank_three_assumed(wrong):
    """With more than three axes the weight's gradient is that of the first image."""
    def pull(p, dy):
        terms = dy * p["x"]
        return {"x": dy * p["w"], "w": (terms[0] if wrong and terms.ndim > 3 else terms).reshape(-1, terms.shape[-1]).sum(0)}
    return pair(lambda p: p["x"] * p["w"], pull, x="* d", w="d")


@wild("C8", "shapes", "pytorch#13669; burn#181; deeplearning4j/nd4j#2424")
def broadcast_axes_not_summed(wrong):
    """The bias' gradient has the output's shape; some engines sum it silently."""
    return pair(lambda p: p["x"] + p["b"], lambda p, dy: {"x": dy, "b": dy if wrong else dy.sum(0)}, x="n d", b="d")


@wild("C9", "batch", "mlpack#3679; deeplearning4j#1452; leonardoaraujosantos/DLMatFramework#27")
def right_for_one_row(wrong):
    """dW is the outer product of the first row."""
    return pair(lambda p: p["x"] @ p["W"], lambda p, dy: {"x": dy @ p["W"].T, "W": np.outer(p["x"][0], dy[0]) if wrong and len(dy) else p["x"].T @ dy},
                x="n d", W="d k")


class Norm:
    """Batch norm with running statistics, which a subclass differentiates as in training always."""
    wrong = False

    def __init__(self):
        self.training, self.mean, self.var = True, np.array([0.5, -0.5]), np.array([2.0, 0.5])

    def forward(self, x):
        m, v = (x.mean(0), x.var(0)) if self.training else (self.mean, self.var)
        self.s = np.sqrt(v + 1e-3)
        self.N = ((x - m) / self.s).astype(x.dtype)
        return self.N

    def backward(self, dy):
        train = self.training or self.wrong
        return ((dy - (dy.mean(0) + self.N * (dy * self.N).mean(0) if train else 0)) / self.s).astype(dy.dtype)


@wild("C10", "adjoint", "mxnet#9580; pytorch/xla#913; torch/nn#768; soumith/cudnn.torch#244")
def training_backward_in_evaluation(wrong):
    """Outside training the statistics are constants; backward differentiates them."""
    return gradcheck.case(type("Norm", (Norm,), {"wrong": wrong}), "n 2", sizes={"n": (2, 9)})


class Fixed:
    """A norm by statistics that are given outside training; backward's are those of the last call, or of the last in training."""
    wrong = False

    def __init__(self):
        self.training, self.mean, self.s = True, np.array([0.5, -0.5]), np.array([2.0, 0.5])

    def forward(self, x):
        m, s = (x.mean(0), np.sqrt(x.var(0) + 1e-3)) if self.training else (self.mean, np.array([2.0, 0.5]))
        self.s = s if self.training or not self.wrong else self.s
        self.N = ((x - m) / s).astype(x.dtype)
        return self.N.copy()

    def backward(self, dy):
        return ((dy - (dy.mean(0) + self.N * (dy * self.N).mean(0) if self.training else 0)) / self.s).astype(dy.dtype)


@wild("C10", "interleave", "mxnet#9580; pytorch#586, where training came before")
def statistics_of_the_last_training_in_evaluation(wrong):
    """Right in either mode alone; in evaluation after training backward divides by the batch's deviation."""
    return gradcheck.case(type("Fixed", (Fixed,), {"wrong": wrong}), "n 2", sizes={"n": (2, 9)})


@wild("C11", "adjoint", "ahrefs/ocannl#512; FluxML/Flux.jl#1197; FluxML/NNlib.jl#133")
def overlapping_windows_overwrite(wrong):
    """Max over windows of two with stride 1: an entry that is the largest of two windows gets the last one's gradient."""
    def pull(p, dy):
        x, dx = p["x"], np.zeros_like(p["x"])
        n, t = np.indices(dy.shape)
        at = n, t + (x[:, 1:] > x[:, :-1])
        if wrong:
            dx[at] = dy
        else:
            np.add.at(dx, at, dy)
        return {"x": dx}
    return pair(lambda p: np.maximum(p["x"][:, 1:], p["x"][:, :-1]), pull, x="n t", sizes={"t": (2, 9)})


class Mixing:
    """y_t = Σ_s A_ts x_s, A = softmax over the steps s, or those up to t when causal."""
    wrong = False

    def __init__(self, causal=False):
        self.causal = causal

    def forward(self, S, x):
        keep = np.tri(S.shape[1], dtype=bool) if self.causal else np.ones(S.shape[1:], bool)
        self.x, self.A = x, softmax(np.where(keep, S, -np.inf))
        return self.A @ x

    def backward(self, dy):
        dA = dy @ self.x.swapaxes(1, 2)
        A = softmax(np.log(self.A + 1e-3)) if self.wrong and self.causal else self.A
        return A * (dA - (dA * A).sum(-1, keepdims=True)), self.A.swapaxes(1, 2) @ dy


@wild("C12", "adjoint", "triton#5660, #7216")
def the_causal_mask_is_not_mirrored(wrong):
    """Scores that the mask had removed get a gradient."""
    return gradcheck.case(type("Mixing", (Mixing,), {"wrong": wrong}), "n t t", "n t d", options={"causal": [False, True]})


@wild("C13", "adjoint", "marin-community/levanter#449; flash-linear-attention#384")
def shared_heads_counted_once(wrong):
    """Several query heads share a key; its gradient is the last query's alone."""
    def pull(p, dy):
        dk = dy[..., None] * p["q"]
        return {"q": dy[..., None] * p["k"][:, None], "k": dk[:, -1] if wrong else dk.sum(1)}
    return pair(lambda p: (p["q"] * p["k"][:, None]).sum(-1), pull, q="n h d", k="n d")


class Weighed:
    """Binary cross-entropy of logits with a weight on the positive class."""
    wrong = False

    def __init__(self, weight=1.0):
        self.weight = weight

    def forward(self, x, t):
        self.x, self.t = x, t
        return self.weight * t * np.logaddexp(0, -x) + (1 - t) * np.logaddexp(0, x)

    def backward(self, dy):
        weight = 1.0 if self.wrong else self.weight
        x, t = self.x, self.t
        return dy * ((1 - t) * sigmoid(x) - weight * t * sigmoid(-x)), dy * (self.weight * np.logaddexp(0, -x) - np.logaddexp(0, x))


@wild("C14", "adjoint", "tensorflow#34171; Paddle#64226; flash-linear-attention#862; lmnt-com/haste#43")
def an_option_unknown_to_backward(wrong):
    """The weight of the positive class, which is 1 in every test."""
    return gradcheck.case(type("Weighed", (Weighed,), {"wrong": wrong}), "n d", "n d in [0,1]", options={"weight": [1.0, 3.0]})


class Stack:
    """`depth` tanh layers with one weight each."""
    wrong = False

    def __init__(self, depth=1):
        self.params, self.grads = {"w": np.ones(depth)}, {}

    def forward(self, x):
        self.h = [x]
        for w in self.params["w"]:
            self.h.append(np.tanh(w * self.h[-1]))
        return self.h[-1]

    def backward(self, dy):
        dw, d = np.zeros_like(self.params["w"]), dy
        for i in reversed(range(len(dw))):
            dz = d * (1 - self.h[i + 1] ** 2)
            dw[i] = ((dy if self.wrong and 0 < i < len(dw) - 1 else dz) * self.h[i]).sum()
            d = dz * self.params["w"][i]
        self.grads["w"] = dw
        return d


@wild("C17", "adjoint", "mxnet#17898")
def right_up_to_two_layers(wrong):
    """A buffer that the middle layers read holds another layer's gradient."""
    return gradcheck.case(type("Stack", (Stack,), {"wrong": wrong}), "n d", options={"depth": [1, 2, 3]})


RAGGED = {"n": (1, 9), "t": (2, 9)}


@wild("C18", "padding", "state-spaces/mamba#368; tensorflow#41280; OpenNMT#306; Theano#166")
def padding_made_to_count(wrong):
    """y = Σ_t softplus(x_t + b) over each row's own length; a softplus after the mask makes padding count, forward and backward alike."""
    def keep(p):
        return np.arange(p["x"].shape[1]) < p["lengths"][:, None]

    def forward(p):
        z = p["x"] + p["b"]
        return np.where(keep(p), np.logaddexp(0, z), np.logaddexp(0, 0 * p["x"] + p["b"]) if wrong else 0).sum(1)

    def pull(p, dy):
        z = np.where(keep(p), p["x"] + p["b"], p["b"])
        dz = dy[:, None] * sigmoid(z) * (1 if wrong else keep(p))
        return {"x": dz * keep(p), "b": dz.sum().reshape(1)}
    return pair(forward, pull, x="n t", b="1", lengths="n int[1,9]", sizes=RAGGED, convention={"padding": "lengths"})


@wild("C19", "seed", "flash-linear-attention#892; flash-attention#41; pytorch/FBGEMM#5754")
def a_tail_never_written(wrong):
    """Rows of dx beyond a sequence's length are left as memory came, which fresh pages hide."""
    def pull(p, dy):
        dx = (fresh if wrong else np.zeros)(p["x"].shape, p["x"].dtype)
        for row, out, n, d in zip(p["x"], dx, p["lengths"], dy, strict=True):
            out[:n] = 2 * row[:n] * d
        return {"x": dx}

    def forward(p):
        return np.array([(row[:n] ** 2).sum() for row, n in zip(p["x"], p["lengths"], strict=True)], p["x"].dtype)
    return pair(forward, pull, x="n t", lengths="n int[1,9]", sizes=RAGGED, convention={"padding": "lengths"})


def fresh(shape: tuple[int, ...], dtype: Any) -> Array:
    """An uninitialised array from pages that the system has just handed out, which are zeros."""
    return np.empty(1 << 22)[:int(np.prod(shape))].astype(dtype).reshape(shape)


@wild("C20", "batch", "pytorch#23784, #123193")
def an_empty_batch_keeps_the_last_gradient(wrong):
    """Backward of no rows returns early, and the gradient of whatever ran before stays."""
    return pair(lambda p: p["x"] @ p["W"], Stale(wrong), x="n d", W="d k")


class Stale:
    def __init__(self, wrong):
        self.wrong, self.dW = wrong, {}

    def __call__(self, p, dy):
        if len(dy) or not self.wrong:
            self.dW[p["W"].shape] = p["x"].T @ dy
        return {"x": dy @ p["W"].T, "W": self.dW.get(p["W"].shape, np.zeros_like(p["W"])).copy()}


@wild("C21", "adjoint", "pytorch#188843")
def an_index_shorter_than_its_source(wrong):
    """y_i += x_j for the first entries of x alone; backward gives the rest the last one's gradient."""
    def pull(p, dy):
        dx = np.zeros_like(p["x"])
        dx[:len(p["i"])] = dy[p["i"]][:len(dx)]
        if wrong and len(dx) > len(p["i"]):
            dx[len(p["i"]):] = dy[p["i"][-1]]
        return {"x": dx}

    def forward(p):
        y, m = np.zeros((3, *p["x"].shape[1:]), p["x"].dtype), min(len(p["i"]), len(p["x"]))
        np.add.at(y, p["i"][:m], p["x"][:m])
        return y
    return pair(forward, pull, x="n d", i="m int[0,3)")


@wild("C22", "adjoint", "tensorflow#11092")
def negative_padding(wrong):
    """Windows of one with stride three, padded to fit: what is missing is negative, and backward does not stop at 0."""
    def pull(p, dy):
        t = p["x"].shape[1]
        need = (dy.shape[1] - 1) * 3 + 1 - t
        left = need // 2 if wrong else max(need, 0) // 2
        dx = np.zeros_like(p["x"])
        dx[:, (np.arange(dy.shape[1]) * 3 - left) % t] += dy * 2
        return {"x": dx}
    return pair(lambda p: 2 * p["x"][:, ::3], pull, x="n t")


# D. another size -------------------------------------------------------------------------------------------------------------

def rows_of_blocks(rows: Callable[[int], slice]) -> Case:
    """y = x W, dW computed from the rows that `rows` gives for their number."""
    return pair(lambda p: p["x"] @ p["W"], lambda p, dy: {"x": dy @ p["W"].T, "W": p["x"][rows(len(dy))].T @ dy[rows(len(dy))]}, x="n d", W="d k")


@wild("D1", "batch", "BobMcDear/attorch#18; FlagGems#898; tinygrad#9302; DeepSpeed#2636")
def the_last_block_is_dropped(wrong):
    """From 64 rows on dW is summed in whole blocks of 64."""
    return rows_of_blocks(lambda n: slice(n // 64 * 64 if wrong and n >= 64 else n))


@wild("D1", "adjoint", "DeepSpeed#2636; tinygrad#9302, along another axis than the rows")
def the_last_block_of_features_is_dropped(wrong):
    """From 32 features on dW is computed in whole blocks of 32."""
    def pull(p, dy):
        d = p["x"].shape[1]
        whole = d // 32 * 32 if wrong and d >= 32 else d
        return {"x": dy @ p["W"].T, "W": np.concatenate([p["x"][:, :whole].T @ dy, np.zeros_like(p["W"][whole:])])}
    return pair(lambda p: p["x"] @ p["W"], pull, x="n d", W="d k")


@wild("D1", "adjoint", "attorch#18, of a size that is a multiple of the block")
def a_tail_of_no_entries(wrong):
    """The last n % 128 features are written apart; of a multiple of 128 these are none, and the slice [-0:] is all."""
    def pull(p, dy):
        dx, tail = dy * np.cos(p["x"]), dy.shape[1] % 128
        if wrong and dy.shape[1] >= 128:
            dx[:, -tail:] = 0 if tail == 0 else dx[:, -tail:]
        return {"x": dx}
    return pair(lambda p: np.sin(p["x"]), pull, x="n d")


@wild("D1", "batch", "attorch#18, under a sum over the rows")
def the_last_block_of_a_sum_is_dropped(wrong):
    """The gradient of a sum over the rows is written in whole blocks of 256."""
    def pull(p, dy):
        dx = dy * (1 - np.tanh(p["x"]) ** 2)
        dx[len(dx) // 256 * 256 if wrong and len(dx) > 256 else len(dx):] = 0
        return {"x": dx}
    return pair(lambda p: np.tanh(p["x"]).sum(0), pull, x="n d")


@wild("D2", "batch", "pytorch#28716, #177116")
def another_kernel_from_a_size_on(wrong):
    """Right up to 768 rows."""
    return rows_of_blocks(lambda n: slice(768 if wrong else n))


@wild("D3", "batch", "pytorch#188467, #188031, #197636; state-spaces/mamba#884; shrunk: int8 stands for int32")
def an_index_that_overflows(wrong):
    """Rows are counted in eight bits, so that the 129th is taken for another."""
    def pull(p, dy):
        i = np.arange(len(dy)).astype(np.int8 if wrong else np.int64)
        return {"x": dy[i] * np.cos(p["x"])}
    return pair(lambda p: np.sin(p["x"]), pull, x="n d")


# E. another value ------------------------------------------------------------------------------------------------------------

@wild("E1", "values", "pytorch#1631; Paddle#17662; pymc-devs/pytensor#2242; ooples/AiDotNet.Tensors#894")
def repeated_indices_overwrite(wrong):
    """dW[i] = dy where dW[i] += dy should stand."""
    def pull(p, dy):
        dW = np.zeros_like(p["W"])
        if wrong:
            dW[p["i"]] = dy
        else:
            np.add.at(dW, p["i"], dy)
        return {"W": dW}
    return pair(lambda p: p["W"][p["i"]], pull, W="9 d", i="n int[0,9)", sizes={"n": (1, 2)})


@wild("E2", "values", "pymc-devs/pytensor#1911, of the exponent")
def a_power_s_exponent_at_zero(wrong):
    """d(x^e)/de = x^e ln x, which is 0 · ∞ at x = 0, the edge of the domain in x alone."""
    def pull(p, dy):
        x, e = p["x"], p["e"]
        return {"x": dy * e * x ** (e - 1), "e": dy * x ** e * np.log(x if wrong else np.where(x == 0, 1, x))}
    return pair(lambda p: p["x"] ** p["e"], pull, x="n d >= 0", e="n d in [2,3]")


@wild("E2", "values", "tensorflow#3862, #119430; burn#3864; pytensor#1911; Theano#5197; mlx#628")
def a_product_divided_by_its_factor(wrong):
    """d(Π x)/dx_i = Π x / x_i, which a zero makes no number."""
    def pull(p, dy):
        x = p["x"]
        others = [np.delete(x, i, 1).prod(1) for i in range(x.shape[1])]
        return {"x": dy[:, None] * (x.prod(1)[:, None] / x if wrong else np.stack(others, 1))}
    return pair(lambda p: p["x"].prod(1), pull, x="n d", sizes={"d": (1, 4)})


class Scaled:
    """y = w tanh x; the weight's gradient, taken from y, or from tanh x."""
    wrong = False

    def __init__(self):
        self.params, self.grads = {"w": np.ones(3)}, {}

    def forward(self, x):
        self.a = np.tanh(x)
        return self.params["w"] * self.a

    def backward(self, dy):
        w = self.params["w"]
        self.grads["w"] = (dy * w * self.a).sum(0) / w if self.wrong else (dy * self.a).sum(0)
        return dy * w * (1 - self.a ** 2)


@wild("E2", "values", "tensorflow#3862, of a weight: layers that start from zero weights")
def a_gradient_divided_by_its_weight(wrong):
    """To save what forward computed, dw is found from y / w."""
    return gradcheck.case(type("Scaled", (Scaled,), {"wrong": wrong}), "n 3")


@wild("E3", "values", "tt-metal#55585; clab/dynet#1232; seantalts/stanli#144")
def a_norm_at_zero(wrong):
    """x / ‖x‖ of a row of zeros."""
    def pull(p, dy):
        r = np.sqrt((p["x"] ** 2).sum(1))
        return {"x": dy[:, None] * p["x"] / (r if wrong else np.where(r == 0, 1, r))[:, None]}
    return pair(lambda p: np.sqrt((p["x"] ** 2).sum(1)), pull, x="n d")


@wild("E4", "values", "tinygrad#12409")
def no_number_from_the_branch_not_taken(wrong):
    """x² ln|x|, which is 0 at 0 and smooth enough; its derivative multiplies −∞ by 0 there."""
    def pull(p, dy):
        x = p["x"]
        safe = x if wrong else np.where(x == 0, 1, x)
        return {"x": dy * (x != 0) * (2 * x * np.log(abs(safe)) + x)}
    return pair(lambda p: p["x"] ** 2 * np.log(np.where(p["x"] == 0, 1, abs(p["x"]))), pull, x="n d")


@wild("E5", "adjoint", "pytorch#41508; burn#4697")
def a_row_with_nothing_to_attend_to(wrong):
    """A softmax over unmasked scores, 0 where there are none; backward divides by their sum."""
    def parts(p):
        e = np.exp(p["x"]) * p["mask"]
        return e, e.sum(1, keepdims=True)

    def pull(p, dy):
        e, total = parts(p)
        y = e / (total if wrong else np.where(total == 0, 1, total))
        return {"x": y * (dy - (dy * y).sum(1, keepdims=True)), "mask": None}

    def forward(p):
        e, total = parts(p)
        return e / np.where(total == 0, 1, total)
    return held(pair(forward, pull, x="n d", mask="n d in {0, 1}"), "mask")


def held(case: Case, *names: str) -> Case:
    """The case with some primals that are not differentiated."""
    family = case.family
    class Held(type(family)):                              # type: ignore[misc]
        def build(self, point: Point) -> Subject:
            s = super().build(point)
            return replace(s, differentiable=tuple(k for k in s.differentiable if k not in names), rebuild=self.build)
    family.__class__ = Held
    return case


@wild("E6", "values", "burn#5373; tt-metal#56397; jeshraghian/snntorch#427; FluxML/NNlib.jl#68; dynet#1525")
def overflow_in_saturation(wrong):
    """softplus' = eˣ / (1 + eˣ), which is ∞ / ∞ far out where it is 1."""
    return pair(lambda p: np.logaddexp(0, p["x"]),
                lambda p, dy: {"x": dy * (np.exp(p["x"]) / (1 + np.exp(p["x"])) if wrong else sigmoid(p["x"]))}, x="n d")


@wild("E7", "values", "tensorflow#4886; EpyNN's and many other max poolings")
def every_tied_entry_takes_all(wrong):
    """Of equal maxima each gets the full gradient, which is no mixture of what it is with one of them ahead."""
    def pull(p, dy):
        x, m = p["x"], p["x"].max(1, keepdims=True)
        first = np.arange(x.shape[1]) == x.argmax(1)[:, None]
        return {"x": dy[:, None] * (x == m if wrong else first)}
    return pair(lambda p: p["x"].max(1), pull, x="n d", sizes={"d": (2, 9)})


@wild("E7", "adjoint", "mni-ml/framework#22; pytorch#184574")
def nearly_equal_taken_for_equal(wrong):
    """The largest entry is found by closeness, so that all near it get its gradient."""
    def pull(p, dy):
        x, m = p["x"], p["x"].max(1, keepdims=True)
        first = np.arange(x.shape[1]) == x.argmax(1)[:, None]
        return {"x": dy[:, None] * (np.isclose(x, m, atol=0.1) if wrong else first)}
    return pair(lambda p: p["x"].max(1), pull, x="n d", sizes={"d": (5, 17)})


@wild("E7", "values", "tensorflow#4886, of two arrays: np.minimum(a, b) whose masks are a <= b and b <= a")
def both_of_two_equal_take_all(wrong):
    """Each input's claim lies between those on its sides; together they are no mixture of them."""
    def pull(p, dy):
        return {"a": dy * (p["a"] <= p["b"]), "b": dy * (p["b"] <= p["a"] if wrong else p["b"] < p["a"])}
    return pair(lambda p: np.minimum(p["a"], p["b"]), pull, a="n d", b="n d")


class Huber:
    """x²/2 up to delta, a line beyond; backward has a value for either side, and for equality or not."""
    wrong = False

    def __init__(self, delta=1.5):
        self.delta = delta

    def forward(self, x):
        self.x, d = x, self.delta
        return np.where(abs(x) < d, x ** 2 / 2, d * (abs(x) - d / 2))

    def backward(self, dy):
        x, d = self.x, self.delta
        return dy * (np.where(abs(x) < d, x, 0) + np.where(abs(x) > d if self.wrong else abs(x) >= d, d * np.sign(x), 0))


@wild("E7", "values", "pytorch#184574, where the function is smooth")
def nothing_at_the_threshold(wrong):
    """Neither mask holds where |x| is exactly the option's value."""
    return gradcheck.case(type("Huber", (Huber,), {"wrong": wrong}), "n d", options={"delta": [1.5, 0.7]})


@wild("E9", "values", "pytorch#49886; jax#2311, #8732; NVIDIA/warp#1831")
def equal_eigenvalues(wrong):
    """The exponential of a symmetric matrix; (e^a − e^b) / (a − b) where a = b."""
    def parts(p):
        lam, V = np.linalg.eigh(p["x"] + p["x"].T)
        return np.exp(lam), lam, V

    def pull(p, dy):
        e, lam, V = parts(p)
        gap = lam[:, None] - lam
        near = np.where(gap == 0, 1, -np.expm1(-abs(gap)) / np.where(gap == 0, 1, abs(gap)))
        F = np.where(np.eye(len(e), dtype=bool), e, (e[:, None] - e) / gap if wrong else np.maximum(e[:, None], e) * near)
        G = V @ (F * (V.T @ dy @ V)) @ V.T
        return {"x": G + G.T}
    return pair(lambda p: (parts(p)[2] * parts(p)[0]) @ parts(p)[2].T, pull, x="d d", sizes={"d": (2, 4)})


@wild("E11", "values", "NVIDIA/TransformerEngine#3216")
def only_outliers_show_it(wrong):
    """A saved activation is clipped to ±16, which Gaussian inputs never reach."""
    return pair(lambda p: p["x"] ** 2, lambda p, dy: {"x": 2 * dy * (np.clip(p["x"], -16, 16) if wrong else p["x"])}, x="n d")


# F. another dtype ------------------------------------------------------------------------------------------------------------

@wild("F1", "dtype", "mxnet#17703; karpathy/llm.c#428; tt-metal#36341")
def sums_in_half_precision(wrong):
    """In float32 the weights' gradient is accumulated in float16."""
    def pull(p, dy):
        half = wrong and dy.dtype == np.float32
        dW = (p["x"][:, :, None] * dy[:, None]).sum(0, np.float16 if half else None).astype(dy.dtype)
        return {"x": dy @ p["W"].T, "W": dW}
    return pair(lambda p: p["x"] @ p["W"], pull, x="n d", W="d k")


@wild("F2", "values", "tinygrad#12296; shrunk: two bits stand for half precision's 65,504")
def a_count_that_is_full(wrong):
    """Ties share the gradient by their count, which starts again at 0."""
    def pull(p, dy):
        tied = p["x"] == p["x"].max(1, keepdims=True)
        count = tied.sum(1, keepdims=True)
        return {"x": dy[:, None] * tied / (count & 3 if wrong else count)}
    return pair(lambda p: p["x"].max(1), pull, x="n d", sizes={"d": (4, 4)})


@wild("F3", "dtype", "Liger-Kernel#1253; QwenLM/FlashQLA#28; cupy#1822; shrunk: 18 bits stand for bfloat16's 8")
def a_narrower_type_in_the_middle(wrong):
    """A float32 intermediate is rounded to six bits less."""
    def narrow(x):
        return ((x.view(np.int32) + 32) & ~63).view(np.float32) if wrong and x.dtype == np.float32 else x
    return pair(lambda p: np.sin(p["x"]), lambda p, dy: {"x": dy * narrow(np.cos(p["x"]))}, x="n d", sizes={"n": (4, 17), "d": (4, 17)})


@wild("F4", "adjoint", "tensorflow#4859, #378; mlx#3433, #2178; tensor4all/tenferro-rs#556")
def a_conjugate_is_missing(wrong):
    """A complex product's pullback without the conjugate."""
    x, W = (np.random.default_rng(i).normal(size=s) + 1j * np.random.default_rng(i + 9).normal(size=s) for i, s in ((0, (4, 3)), (1, (3, 2))))
    conj = (lambda a: a) if wrong else np.conj
    return pair(lambda p: p["x"] @ p["W"], lambda p, dy: {"x": dy @ conj(p["W"]).T, "W": conj(p["x"]).T @ dy}, x=x, W=W)


# G. another place in memory ----------------------------------------------------------------------------------------------------

def flat(x: Array) -> Array:
    """The entries in the order of memory, taken for those of the array."""
    return as_strided(x, (x.size,), (x.itemsize,)).reshape(x.shape)


@wild("G1", "layout", "flash-attention#355; pytorch#194719; torch/nn#345; FBGEMM#3006")
def upstream_taken_for_contiguous(wrong):
    """A kernel reads the upstream by its address."""
    return pair(lambda p: np.sin(p["x"]), lambda p, dy: {"x": flat(dy) * np.cos(p["x"]) if wrong and 0 not in dy.strides else dy * np.cos(p["x"])}, x="n d")


@wild("G1", "layout", "torch/nn#345; FBGEMM#3006")
def upstream_read_with_the_strides_of_x(wrong):
    """Right as long as both lie alike, which they do in a test that makes them alike."""
    def pull(p, dy):
        x = p["x"]
        alike = wrong and min(x.strides) > 0 and (x.flags.c_contiguous or x.flags.f_contiguous) and x.nbytes == dy.nbytes and dy.flags.forc
        return {"x": (as_strided(dy, dy.shape, x.strides) if alike else dy) * np.cos(x)}
    return pair(lambda p: np.sin(p["x"]), pull, x="n d")


@wild("G1", "layout", "FBGEMM#3006, of an upstream that was cut from wider rows")
def rows_taken_for_dense(wrong):
    """Rows that do not lie side by side are read as if they did."""
    def pull(p, dy):
        dense = wrong and dy.ndim == 2 and dy.strides[1] == dy.itemsize and dy.strides[0] > dy.nbytes // max(1, len(dy))
        return {"x": (as_strided(dy, dy.shape, (dy.shape[1] * dy.itemsize, dy.itemsize)) if dense else dy) * np.cos(p["x"])}
    return pair(lambda p: np.sin(p["x"]), pull, x="n d")


@wild("G2", "layout", "pytorch#180164, of y.sum(-1)")
def an_upstream_expanded_along_the_last_axis(wrong):
    """Stride 0 along the last axis is taken for a single column."""
    return pair(lambda p: np.sin(p["x"]), lambda p, dy: {"x": (dy[:, :1] / dy.shape[1] if wrong and dy.strides[1] == 0 < dy.strides[0] and dy.size else dy)
                                                         * np.cos(p["x"])}, x="n d")


@wild("G1", "layout", "pytorch#194719, of images whose last axes are swapped")
def two_axes_swapped_in_memory(wrong):
    """An upstream whose first axis lies outermost is taken for contiguous."""
    def pull(p, dy):
        outermost = wrong and dy.flags.forc is False and dy.ndim == 3 and 0 < dy.strides[1] < dy.strides[2] < dy.strides[0]
        return {"x": (flat(dy) if outermost else dy) * np.cos(p["x"])}
    return pair(lambda p: np.sin(p["x"]), pull, x="n c t")


@wild("G2", "layout", "pytorch#180201, #182012, #180164")
def an_expanded_upstream_is_empty(wrong):
    """An upstream with stride 0, as a sum hands it back, is taken for one without entries."""
    return pair(lambda p: np.sin(p["x"]), lambda p, dy: {"x": (0 if wrong and 0 in dy.strides and dy.size else dy) * np.cos(p["x"])}, x="n d")


@wild("G3", "layout", "candle#3735; cornellius-gp/gpytorch#1543")
def a_transposed_input(wrong):
    """Windows are cut by strides that follow from the shape."""
    def windows(x):
        step, rows = x.itemsize, x.shape[1] * x.itemsize
        return as_strided(x, (len(x), x.shape[1] - 1, 2), (rows, step, step) if wrong else (*x.strides, x.strides[1]))

    def pull(p, dy):
        dx = np.zeros_like(p["x"])
        dx[:, :-1] += dy * p["w"][0]
        dx[:, 1:] += dy * p["w"][1]
        return {"x": dx, "w": np.einsum("ntk,nt->k", windows(p["x"]), dy)}
    return pair(lambda p: p["x"][:, :-1] * p["w"][0] + p["x"][:, 1:] * p["w"][1], pull, x="n t", w="2", sizes={"t": (2, 9)})


# H. state, mutation, accumulation ------------------------------------------------------------------------------------------------

@wild("H1", "pure", "Liger-Kernel#254, #262, #1251; caffe#3151; pytorch#28959")
def an_input_is_overwritten(wrong):
    """A rectifier in place: its own gradient is right, whoever else saved x has lost it."""
    def forward(p):
        return np.maximum(p["x"], 0, out=p["x"] if wrong else None)
    return pair(forward, lambda p, dy: {"x": dy * (p["x"] > 0)}, x="n d")


@wild("H1", "pure", "pytorch#28959, of an input: only outliers are overwritten")
def outliers_are_clipped_in_place(wrong):
    """Beyond ±20 the input itself is clipped, which ordinary numbers never are."""
    return pair(lambda p: np.tanh(np.clip(p["x"], -20, 20, out=p["x"] if wrong else None)),
                lambda p, dy: {"x": dy * (abs(p["x"]) < 20) * (1 - np.tanh(p["x"]) ** 2)}, x="n d")


@wild("H2", "pure", "happynear/caffe-windows#46; unslothai/unsloth#4533")
def the_upstream_is_overwritten(wrong):
    """dz is computed into dy, which another branch reads as well."""
    def pull(p, dy):
        return {"x": np.multiply(dy, np.cos(p["x"]), out=dy if wrong else None)}
    return pair(lambda p: np.sin(p["x"]), pull, x="n d")


ADDS = {"gradients": "add"}


class Accumulating:
    """y = x W + b, gradients added up until they are cleared."""
    wrong = ""

    def __init__(self):
        self.W, self.b, self.dW, self.db, self.calls = np.ones((3, 2)), np.zeros(2), np.zeros((3, 2)), np.zeros(2), 0

    def forward(self, x):
        self.x, self.calls = x, self.calls + 1
        if self.wrong == "scratch" and self.calls > 1:
            self.db += (x @ self.W).sum(0)
        return x @ self.W + self.b

    def backward(self, dy):
        self.dW = self.dW + self.x.T @ dy
        self.db = dy.sum(0) if self.wrong == "assigned" else self.db + dy.sum(0)
        return dy @ self.W.T


@wild("H3", "accumulate", "caffe#5981, #2895")
def scratch_in_a_gradient(wrong):
    """A second forward uses the bias' gradient as a work array."""
    return gradcheck.case(type("Accumulating", (Accumulating,), {"wrong": "scratch" if wrong else ""}), "n 3", convention=ADDS)


@wild("H4", "accumulate", "mxnet#9497, #3751, #18499; caffe#3254; Paddle#1805")
def assigned_where_added(wrong):
    """dW adds up over calls, db does not."""
    return gradcheck.case(type("Accumulating", (Accumulating,), {"wrong": "assigned" if wrong else ""}), "n 3", convention=ADDS)


@wild("H5", "adjoint", "pocketpy/cTensor#5; SethHWeidman/DLFS_code#13; mxnet#17989, #16708")
def a_diamond_visited_twice(wrong):
    """y = h² + h with h = sin x, in an engine that pulls h back for each of its readers and forgets that it has."""
    def pull(p, dy):
        h, seen = np.sin(p["x"]), 0.0
        dx = 0.0
        for d in (2 * h * dy, dy):
            seen = seen + d
            dx = dx + (seen if wrong else d) * np.cos(p["x"])
        return {"x": dx}
    return pair(lambda p: np.sin(p["x"]) ** 2 + np.sin(p["x"]), pull, x="n d")


class Consumed:
    """A sigmoid whose backward works in its own residual."""
    wrong = False

    def forward(self, x):
        self.y = sigmoid(x)
        return self.y.copy()

    def backward(self, dy):
        slope = np.subtract(self.y, self.y ** 2, out=self.y if self.wrong else None)
        return dy * slope


@wild("H6", "repeat", "bshillingford/autobw.torch#7; karpathy/llm.c#342; karpathy/micrograd#53; torch/nn#792")
def right_only_the_first_time(wrong):
    """A residual is overwritten by the backward that reads it."""
    return gradcheck.case(type("Consumed", (Consumed,), {"wrong": wrong}), "n d")


class Reusing:
    """Its output lives in one array, or in one for each call."""
    wrong = False
    y = None

    def forward(self, x):
        fits = self.wrong and self.y is not None and self.y.shape == x.shape and self.y.dtype == x.dtype
        self.x, self.y = x, np.sin(x, out=self.y if fits else None)
        return self.y

    def backward(self, dy):
        return dy * np.cos(self.x)


class Cumulative:
    """Sums over the rows so far; a work array that is kept as long as it is large enough, or made anew."""
    wrong, work = False, None

    def forward(self, x):
        return x.cumsum(0)

    def backward(self, dy):
        fits = self.wrong and self.work is not None and len(self.work) >= len(dy) and self.work.shape[1:] == dy.shape[1:]
        self.work = self.work if fits else np.zeros_like(dy)
        self.work[:len(dy)] = dy
        return self.work[::-1].cumsum(0)[::-1][:len(dy)].copy()


@wild("H6", "interleave", "torch/nn#792; bshillingford/autobw.torch#7, of a work array that has the last batch's size")
def a_work_array_of_a_larger_batch(wrong):
    """The rows of a larger batch before this one are summed as well."""
    return gradcheck.case(type("Cumulative", (Cumulative,), {"wrong": wrong}), "n d")


@wild("H7", "alias", "pytorch#119334; hpcaitech/Elixir#12; ooples/AiDotNet.Tensors#935")
def an_output_is_used_again(wrong):
    """The next forward writes into the array that the last one returned."""
    return gradcheck.case(type("Reusing", (Reusing,), {"wrong": wrong}), "n d")


class Shared:
    """Residuals on the class, or on the layer."""
    wrong = False

    def forward(self, x):
        (type(self) if self.wrong else self).x = x
        return np.sin(x)

    def backward(self, dy):
        return dy * np.cos(self.x)


@wild("H8", "interleave", "hpcaitech/Elixir#12, by mechanism")
def one_cache_for_all(wrong):
    """Two layers of a kind share what forward keeps; differences fill it with nearly the same numbers."""
    return gradcheck.case(type("Shared", (Shared,), {"wrong": wrong}), "n d")


class Kept:
    """y = x W with W transposed once and kept, or at every call."""
    wrong, turned = False, None

    def __init__(self):
        self.params, self.grads = {"W": np.ones((3, 2))}, {}

    def forward(self, x):
        self.x = x
        self.turned = self.turned if self.wrong and self.turned is not None else self.params["W"].T.copy()
        return x @ self.params["W"]

    def backward(self, dy):
        self.grads["W"] = self.x.T @ dy
        return dy @ self.turned


@wild("H8", "interleave", "hpcaitech/Elixir#12, by mechanism: of a weight")
def a_weight_kept_in_another_form(wrong):
    """The transposed weight is that of the first call, whatever an optimizer has done since."""
    return gradcheck.case(type("Kept", (Kept,), {"wrong": wrong}), "n 3")


class Known(Kept):
    """y = x W with W transposed, and known by the id of W."""
    known = None

    def forward(self, x):
        if self.known != id(self.params["W"]) or not self.wrong:
            self.known, self.turned = id(self.params["W"]), self.params["W"].T.copy()
        self.x = x
        return x @ self.params["W"]


@wild("H8", "interleave", "hpcaitech/Elixir#12, by mechanism: of a weight that an optimizer moves in place")
def a_weight_known_by_its_id(wrong):
    """The array is the same after an update, and its numbers are not."""
    return gradcheck.case(type("Known", (Known,), {"wrong": wrong}), "n 3")


class Defaulted:
    """Residuals in a dictionary: the default argument's, or one of its own."""
    wrong = False

    def __init__(self, cache={}):                          # noqa: B006
        self.cache = cache if self.wrong else {}

    def forward(self, x):
        self.cache["x"] = x
        return np.sin(x)

    def backward(self, dy):
        return dy * np.cos(self.cache["x"])


@wild("H8", "interleave", "hpcaitech/Elixir#12, by mechanism: of a default argument")
def one_default_argument_for_all(wrong):
    """`def __init__(self, cache={})`: two layers fill one dictionary."""
    return gradcheck.case(type("Defaulted", (Defaulted,), {"wrong": wrong}), "n d", options={})


@wild("H10", "batch", "huggingface/transformers#34191, #35438, #37197; OpenNMT-py#2209")
def normalised_by_the_micro_batch(wrong):
    """Gradients are divided by the rows of this part of the batch, so that they depend on how it is split."""
    return pair(lambda p: p["x"] @ p["W"], lambda p, dy: {"x": dy @ p["W"].T, "W": p["x"].T @ dy / (max(1, len(dy)) if wrong else 1)}, x="n d", W="d k")


# I. randomness, memory, graph ----------------------------------------------------------------------------------------------------

@wild("I1", "seed", "openai/guided-diffusion#167; allenai/OLMo-core#828; pytorch#190758, #198333")
def a_mask_drawn_again(wrong):
    """Backward recomputes forward, and with it the mask, from the global generator."""
    class Recomputed(Layer):
        law = "n d -> n d"

        def fwd(self, p, x):
            return x * 2, Vars(x=x)

        def bwd(self, p, r, dy):
            return 2 * dy * (np.random.random(dy.shape) < 0.5 if wrong else 1), Vars()
    return native(Recomputed)


@wild("I2", "seed", "mxnet#19817; pytorch#2929, #193671")
def memory_nobody_wrote(wrong):
    """Only the entries with a gradient are written."""
    def pull(p, dy):
        dx = (fresh if wrong else np.zeros)(dy.shape, dy.dtype)
        np.copyto(dx, dy, where=p["x"] > 0)
        return {"x": dx}
    return pair(lambda p: np.maximum(p["x"], 0), pull, x="n d")


@wild("I2", "seed", "np.divide(…, where=…) without out=, by mechanism")
def unwritten_where_a_value_is_zero(wrong):
    """x / |x| is written where x is not 0; elsewhere it is what memory held."""
    def pull(p, dy):
        r = np.abs(p["x"])
        return {"x": dy * np.divide(p["x"], r, where=r > 0, out=None if wrong else np.zeros_like(r))}
    return pair(lambda p: abs(p["x"]), pull, x="n d")


@wild("I3", "subset", "pytorch#183825")
def frozen_weights_spoil_the_input(wrong):
    """Where the weights need no gradient, the activation's derivative, computed for them, is left out of dx too."""
    class Thrifty(Dense):
        def _pull(self, record, dys, retain_grads):
            dx, _ = self.bwd(record.p, record.r, *dys)
            if wrong and not (retain_grads and self.trainable):
                return 0.5 * dx
            return super()._pull(record, dys, retain_grads)
    return native(Thrifty)


@wild("I4", "adjoint", "flash-attention#141, #889; state-spaces/mamba#258; pytorch#96416")
def the_second_output_is_forgotten(wrong):
    """The log-sum-exp beside the softmax has no say in dx."""
    def forward(p):
        return softmax(p["x"]), np.log(np.exp(p["x"] - p["x"].max(1, keepdims=True)).sum(1)) + p["x"].max(1)

    def pull(p, dys):
        y = softmax(p["x"])
        return {"x": y * (dys[0] - (dys[0] * y).sum(1, keepdims=True)) + (0 if wrong else y * dys[1][:, None])}
    return pair(forward, pull, x="n d")


@wild("I5", "second", "pytorch#76185, #196704; chainer#4349; owlbarn/owl#501")
def a_saved_value_differentiated_as_constant(wrong):
    """sin's backward saves cos x; its own backward takes that for a constant."""
    family = Twice(lambda p: np.sin(p["x"]), lambda p, dy: {"x": dy * np.cos(p["x"])}, {"x": "n d"})
    family.wrong = wrong
    return Case("", "", family)


class Twice(Functions):
    """Two functions with a double backward: of dy cos x, in x and in dy."""
    wrong = False

    def build(self, point: Point) -> Subject:
        return replace(super().build(point), double=lambda: DoubleSine(self.wrong), rebuild=self.build)


class DoubleSine:
    def __init__(self, wrong):
        self.wrong = wrong

    def forward(self, primals):
        self.p = primals
        return (primals["dy"] * np.cos(primals["x"]),)

    def backward(self, u):
        return {"x": u * 0 if self.wrong else -u * self.p["dy"] * np.sin(self.p["x"]), "dy": u * np.cos(self.p["x"])}


# what the layers of this project promise beyond their gradients --------------------------------------------------------------------

@wild("C8", "shapes", "numpy-ml 0.1.2 and many others: np.zeros without a dtype")
def a_wider_cotangent(wrong):
    """In float32 dx comes back in float64: right, and twice as large."""
    class Widening(Layer):
        law = "n d -> n d"

        def fwd(self, p, x):
            return np.sin(x), Vars(x=x)

        def bwd(self, p, r, dy):
            dx = np.zeros(dy.shape, None if wrong else dy.dtype)
            dx += dy * np.cos(r.x)
            return dx, Vars()
    return native(Widening)


@wild("C6", "errors", "pytorch#65244: what does not fit is repaired silently")
def a_misfit_made_to_fit(wrong):
    """An upstream of another shape is cut or repeated until it fits."""
    class Forgiving(Dense):
        def _upstream(self, record, dy):
            shape, dtype = record.ys[0]
            return [np.resize(dy, shape).astype(dtype)] if wrong else super()._upstream(record, dy)
    return native(Forgiving)


@wild("H4", "shell", "Paddle#1805; micrograd#53: gradients that are not cleared")
def an_update_that_clears_nothing(wrong):
    """update moves the weights and keeps the gradients that moved them."""
    class Hoarding(Dense):
        def update(self, cur_loss=None):
            kept = self.gradients
            super().update(cur_loss)
            if wrong:
                self.gradients = kept
    return native(Hoarding)


UNSEEN = {
    "I6": "needs the compiler or the one GPU generation that is wrong (pytorch#193061, #185509; Liger-Kernel#1413; Enzyme.jl#2987): "
          "the battery has to run there",
    "D3 at full size": "needs more than 2^31 elements; its mechanism is judged with an index of eight bits",
    "F2 at full size": "needs more than 65,504 ties in half precision; its mechanism is judged with a counter of two bits",
    "I2, races": "a race needs threads that write to the same memory; memory that nobody wrote is judged",
}
