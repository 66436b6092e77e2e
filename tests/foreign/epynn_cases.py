"""The layers of EpyNN 1.2.13, unmodified, over their hyperparameters: `gradcheck run tests/foreign/epynn_cases.py`.

What is wrong in them was established without this package and is listed in FINDINGS.md. Its Embedding holds a data set and
has no gradient; it is not here.
"""
from __future__ import annotations

from typing import Any

import numpy as np
from epynn.commons import maths
from epynn.convolution.models import Convolution
from epynn.dense.models import Dense
from epynn.dropout.models import Dropout
from epynn.flatten.models import Flatten
from epynn.gru.models import GRU
from epynn.lstm.models import LSTM
from epynn.pooling.models import Pooling
from epynn.rnn.models import RNN
from epynn.settings import se_hPars
from epynn.template.models import Template

import gradcheck

ACT = [maths.tanh, maths.identity, maths.sigmoid, maths.relu, maths.lrelu, maths.elu]
IMAGE = {"rows": (3, 6), "cols": (3, 6), "ch": (1, 3), "n": (1, 3)}
STEPS = {"steps": (1, 4), "n": (1, 4), "d": (1, 4)}
CLIPPED = "clip_gradients=True scales all gradients of a layer down to a norm of 0.25: meant, and no derivative"


def tuned(layer: Any, **settings: Any) -> Any:
    """A layer with the settings of activations that a network would hand to it."""
    layer.se_hPars = {**se_hPars, **settings}
    return layer


def recurrent(kind: Any, *, clip: bool) -> Any:
    """Layers of a recurrent kind by their options."""
    return lambda units, sequences, activate: tuned(kind(units, activate=activate, sequences=sequences, clip_gradients=clip))


RECURRENT = {"units": [1, 2, 3], "sequences": [False, True], "activate": [maths.tanh, maths.identity, maths.relu]}

TIED = np.array([3.0, -1.0, 2.0, 3.0, -1.0, 0.5, 3.0, 2.0, -1.0, -1.0, 0.5, 3.0, 2.0, 2.0, -1.0, 0.5]).reshape(1, 4, 4, 1)

CASES = [
    gradcheck.case(lambda units, activate: tuned(Dense(units, activate)), "n d", name="epynn.Dense", options={"units": [1, 2, 3], "activate": ACT}),
    gradcheck.case(lambda units: tuned(Dense(units, maths.softmax)), "n d", name="epynn.Dense (softmax)", options={"units": [2, 3]}),
    gradcheck.case(lambda temperature: tuned(Dense(3, maths.softmax), softmax_temperature=temperature), "n d",
                   name="epynn.Dense (softmax, temperature)", options={"temperature": [2.0, 0.5]}),
    gradcheck.case(lambda alpha, activate: tuned(Dense(3, activate), ELU_alpha=alpha, LRELU_alpha=alpha), "n d", name="epynn.Dense (alpha)",
                   options={"alpha": [0.1, 0.9], "activate": [maths.elu, maths.lrelu]}),
    *(gradcheck.case(recurrent(kind, clip=False), "n steps d", name=f"epynn.{kind.__name__}", sizes=STEPS, options=RECURRENT) for kind in (RNN, LSTM, GRU)),
    gradcheck.case(recurrent(RNN, clip=True), "n steps d", name="epynn.RNN (clipped)", sizes=STEPS,
                   options={"units": [2], "sequences": [True], "activate": [maths.tanh]},
                   convention={"clips": CLIPPED}),
    gradcheck.case(lambda filters, size, strides, use_bias, activate: tuned(Convolution(filters, size, strides, activate=activate, use_bias=use_bias)),
                   "n rows cols ch", name="epynn.Convolution", sizes=IMAGE,
                   options={"filters": [1, 2], "size": [(1, 1), (2, 2), (2, 3), (3, 3)], "strides": [None, (1, 1), (2, 1)], "use_bias": [True, False],
                            "activate": [maths.tanh, maths.relu]}),
    gradcheck.case(lambda padding: tuned(Convolution(2, (2, 2), (1, 1), padding, activate=maths.tanh)), "n rows cols ch",
                   name="epynn.Convolution (padded)", sizes=IMAGE, options={"padding": [1, 2]}),
    gradcheck.case(lambda size, strides, pool: Pooling(size, strides, pool), "n rows cols ch", name="epynn.Pooling", sizes=IMAGE,
                   options={"size": [(1, 1), (2, 2), (2, 3), (3, 3)], "strides": [None, (1, 1), (2, 1)], "pool": [np.max, np.min]}),
    gradcheck.case(lambda pool: Pooling((2, 2), pool=pool), TIED, name="epynn.Pooling (ties)", options={"pool": [np.max, np.min]}),
    gradcheck.case(lambda pool: Pooling((2, 2), pool=pool), "n rows cols ch", name="epynn.Pooling (mean)", sizes=IMAGE, options={"pool": [np.mean]}),
    gradcheck.case(Dropout, "n d", name="epynn.Dropout", options={"drop_prob": [0.5, 0.2], "axis": [(), (0,), (1,)]}),
    gradcheck.case(Flatten, "n rows cols ch", name="epynn.Flatten"),
    gradcheck.case(Template, "n d", name="epynn.Template"),
]
