"""The layers of numpy-ml 0.1.2, unmodified, over their hyperparameters: `gradcheck run tests/foreign/numpy_ml_cases.py`.

RNN, LSTM and RBM cannot be constructed; that is what the report says of them. What is wrong in the others was established
without this package and is listed in FINDINGS.md. On Python >= 3.10 the import needs names that `collections` no longer has; they are lent to it
here and nowhere else.
"""
from __future__ import annotations

import collections
import collections.abc
import warnings

import numpy as np

import gradcheck

if not hasattr(collections, "Hashable"):
    collections.Hashable = collections.abc.Hashable              # type: ignore[attr-defined]
with warnings.catch_warnings():
    warnings.simplefilter("ignore")                              # it says what else it would like to have installed
    from numpy_ml.neural_nets import activations, layers
    from numpy_ml.neural_nets.wrappers import Dropout

ACT = [None, "Tanh", "Sigmoid", "ReLU", "Leaky ReLU(alpha=0.3)", "Affine(slope=2, intercept=1)",
       activations.ELU(), activations.SELU(), activations.SoftPlus(), activations.HardSigmoid(), activations.Exponential()]
FEW = [None, "Tanh", "ReLU"]                                     # where the activation is not what is in question
TIED = np.array([3.0, -1.0, 2.0, 3.0, -1.0, 0.5, 3.0, 2.0, -1.0, -1.0, 0.5, 3.0, 2.0, 2.0, -1.0, 0.5]).reshape(1, 4, 4, 1)
IMAGE = {"rows": (3, 6), "cols": (3, 6), "ch": (1, 3), "n": (1, 3)}


class SparseEvolution(layers.SparseEvolution):                   # type: ignore[misc]
    """Its own _init_params calls np.random.binomial with an argument that never existed; this one draws the same mask."""

    def _init_params(self) -> None:
        draw = layers.WeightInitializer(str(self.act_fn), mode=self.init)
        self.parameters = {"W": draw((self.n_in, self.n_out)), "b": np.zeros((1, self.n_out)),
                           "W_mask": np.random.binomial(1, 0.5, size=(self.n_in, self.n_out))}
        self.gradients = {k: np.zeros_like(self.parameters[k]) for k in "Wb"}
        self.derived_variables, self.is_initialized = {"Z": []}, True


CASES = [
    gradcheck.case(lambda n_out, act_fn: layers.FullyConnected(n_out, act_fn=act_fn), "n d", name="numpy_ml.FullyConnected",
                   options={"n_out": [1, 2, 3], "act_fn": ACT}),
    gradcheck.case(SparseEvolution, "n d", name="numpy_ml.SparseEvolution", options={"n_out": [3, 4], "act_fn": FEW}),
    gradcheck.case(lambda vocab_size, pool: layers.Embedding(3, vocab_size, pool=pool), "n t int[0,5)", name="numpy_ml.Embedding",
                   options={"vocab_size": [5, 9], "pool": [None, "sum", "mean"]}),
    gradcheck.case(layers.Softmax, "n d", name="numpy_ml.Softmax", options={"dim": [-1, 1, 0]}),
    gradcheck.case(layers.Softmax, "n t d", name="numpy_ml.Softmax (3 axes)", options={"dim": [-1, 2, 1, 0]}),
    gradcheck.case(layers.Add, "[n d]", name="numpy_ml.Add", options={"act_fn": ACT}),
    gradcheck.case(layers.Multiply, "[n d]", name="numpy_ml.Multiply", options={"act_fn": ACT}),
    gradcheck.case(layers.Flatten, "n rows cols ch", name="numpy_ml.Flatten", options={"keep_dim": ["first", "last", -1]}),
    gradcheck.case(layers.BatchNorm1D, "n d", name="numpy_ml.BatchNorm1D", options={"momentum": [0.9, 0.5], "epsilon": [1e-5, 0.1]}),
    gradcheck.case(layers.BatchNorm2D, "n rows cols ch", name="numpy_ml.BatchNorm2D", options={"momentum": [0.9, 0.5], "epsilon": [1e-5, 0.1]}),
    gradcheck.case(layers.LayerNorm1D, "n d", name="numpy_ml.LayerNorm1D", options={"epsilon": [1e-5, 0.1]}),
    gradcheck.case(layers.LayerNorm2D, "n rows cols ch", name="numpy_ml.LayerNorm2D", options={"epsilon": [1e-5, 0.1]}),
    gradcheck.case(layers.DotProductAttention, "n d", "n d", "n k", name="numpy_ml.DotProductAttention", options={"scale": [True, False]}),
    gradcheck.case(layers.DotProductAttention, "b n d", "b n d", "b n k", name="numpy_ml.DotProductAttention (batch)",
                   options={"scale": [True, False]}),
    gradcheck.case(layers.DotProductAttention, "n d", "n d", "n k", name="numpy_ml.DotProductAttention (dropout)",
                   options={"dropout_p": [0.5, 0.2]}),
    gradcheck.case(lambda p: Dropout(layers.FullyConnected(3, act_fn="Tanh"), p), "n d", name="numpy_ml.Dropout(FullyConnected)",
                   options={"p": [0.5, 0.2]}),
    gradcheck.case(lambda kernel_width, stride, pad, dilation, act_fn: layers.Conv1D(2, kernel_width, pad, stride, dilation, act_fn=act_fn),
                   "n length ch", name="numpy_ml.Conv1D", sizes={"length": (3, 9), "ch": (1, 3), "n": (1, 3)},
                   options={"kernel_width": [1, 2, 3], "stride": [1, 2, 3], "pad": [0, 1, (1, 2), "same", "causal"], "dilation": [0, 1, 2],
                            "act_fn": FEW}),
    gradcheck.case(lambda kernel_shape, stride, pad, dilation, act_fn: layers.Conv2D(2, kernel_shape, pad, stride, dilation, act_fn=act_fn),
                   "n rows cols ch", name="numpy_ml.Conv2D", sizes=IMAGE,
                   options={"kernel_shape": [(1, 1), (2, 3), (3, 3)], "stride": [1, 2, 3], "pad": [0, 1, (1, 2), (1, 0, 2, 1), "same"],
                            "dilation": [0, 1], "act_fn": FEW}),
    gradcheck.case(lambda kernel_shape, stride, pad, act_fn: layers.Deconv2D(2, kernel_shape, pad, stride, act_fn=act_fn),
                   "n rows cols ch", name="numpy_ml.Deconv2D", sizes=IMAGE,
                   options={"kernel_shape": [(1, 1), (2, 3), (3, 3)], "stride": [1, 2, 3], "pad": [0, 1, (1, 2), (1, 0, 2, 1), "same"],
                            "act_fn": FEW}),
    gradcheck.case(layers.Pool2D, "n rows cols ch", name="numpy_ml.Pool2D (average)", sizes=IMAGE,
                   options={"mode": ["average"], "kernel_shape": [(1, 1), (2, 2), (2, 3)], "stride": [1, 2, 3], "pad": [0, 1, (1, 2), "same"]}),
    gradcheck.case(layers.Pool2D, "n rows cols ch", name="numpy_ml.Pool2D (max)", sizes=IMAGE,
                   options={"kernel_shape": [(1, 1), (2, 2), (2, 3)], "stride": [1, 2, 3]}),
    gradcheck.case(lambda stride: layers.Pool2D((2, 2), stride), TIED, name="numpy_ml.Pool2D (max, ties)", options={"stride": [1, 2]}),
    gradcheck.case(layers.Pool2D, "n rows cols ch", name="numpy_ml.Pool2D (max, padded)", sizes=IMAGE,
                   options={"kernel_shape": [(2, 2), (2, 3)], "stride": [1, 2], "pad": [1, (1, 2), "same"]}),
    gradcheck.case(layers.RNNCell, "[n d]", name="numpy_ml.RNNCell", options={"n_out": [2, 3], "act_fn": ["Tanh", "ReLU", "Sigmoid"]}),
    gradcheck.case(layers.LSTMCell, "[n d]", name="numpy_ml.LSTMCell", options={"n_out": [2, 3], "act_fn": ["Tanh", "ReLU"]}),
    *(gradcheck.case(kind, text, name=f"numpy_ml.{kind.__name__}", options={"n_out": [2, 3]})
      for kind, text in ((layers.RNN, "n d t"), (layers.LSTM, "n d t"), (layers.RBM, "n d in (0,1)"))),
]
