"""numpy-ml's names. Signatures, strings, dictionaries and their keys are those of the layers themselves."""
# ruff: noqa: F401
from ..attention import DotProductAttention
from ..base import Layer as LayerBase
from ..conv import Conv1D, Conv2D, Deconv2D
from ..dense import Dense as FullyConnected
from ..dense import SparseEvolution
from ..elementwise import Add, Flatten, Multiply, Softmax
from ..embedding import Embedding
from ..norm import BatchNorm1D, BatchNorm2D, LayerNorm1D, LayerNorm2D
from ..optimizers import SGD, AdaGrad, Adam, RMSProp
from ..pool import Pool2D
from ..rbm import RBM
from ..recurrent import LSTM, RNN, LSTMCell, RNNCell
from ..schedules import Constant as ConstantScheduler
from ..schedules import Exponential as ExponentialScheduler
from ..schedules import King as KingScheduler
from ..schedules import Noam as NoamScheduler
