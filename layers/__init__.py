"""Layers in NumPy, forward and backward written by hand. This page is the table of contents."""
# ruff: noqa: F401
# mypy: implicit-reexport
from .activations import ACTIVATIONS, Activation, activation
from .attention import DotProductAttention
from .base import Layer, Slot, Vars, buffer, hyper, noise, param
from .conv import Conv1D, Conv2D, Deconv2D
from .data import batches, decode, one_hot, scale, split
from .dense import Dense, SparseEvolution
from .elementwise import Add, Dropout, Flatten, Multiply, Softmax
from .embedding import Embedding
from .initializers import INITIALIZERS, initializer
from .losses import BCE, CCE, LOSSES, MAE, METRICS, MSE, MSLE, Loss, SoftmaxCCE, loss, metric
from .model import Model
from .norm import BatchNorm1D, BatchNorm2D, LayerNorm1D, LayerNorm2D
from .optimizers import OPTIMIZERS, SGD, AdaGrad, Adam, Optimizer, RMSProp, optimizer
from .pointwise import ELU, GELU, SELU, Affine, Exponential, HardSigmoid, Identity, LeakyReLU, ReLU, Sigmoid, Softplus, Tanh
from .pool import Pool2D
from .rbm import RBM
from .recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from .schedules import SCHEDULES, Schedule, schedule
