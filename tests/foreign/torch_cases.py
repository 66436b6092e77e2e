"""Layers of torch.nn, as they come: parameters, buffers and both modes from the modules themselves."""
from __future__ import annotations

import torch
from torch import nn

import gradcheck

IMAGE = {"n": (1, 3), "rows": (1, 8), "cols": (1, 8)}
SEQUENCE = {"t": (1, 5), "s": (1, 5), "n": (1, 4)}

CASES = [
    gradcheck.case(nn.Linear, "n 4", name="torch.Linear", options={"in_features": [4], "out_features": [3, 1], "bias": [True, False]}),
    gradcheck.case(nn.Conv2d, "n 4 rows cols", name="torch.Conv2d", sizes=IMAGE,
                   options={"in_channels": [4], "out_channels": [2, 4], "kernel_size": [1, 2, 3], "stride": [1, 2], "padding": [0, 1], "groups": [1, 2]}),
    gradcheck.case(nn.ConvTranspose2d, "n 4 rows cols", name="torch.ConvTranspose2d", sizes=IMAGE,
                   options={"in_channels": [4], "out_channels": [2], "kernel_size": [1, 2, 3], "stride": [1, 2], "groups": [1, 2]}),
    gradcheck.case(nn.BatchNorm2d, "n 3 rows cols", name="torch.BatchNorm2d", sizes=IMAGE, options={"num_features": [3], "momentum": [0.1, None]}),
    gradcheck.case(nn.LayerNorm, "n t 4", name="torch.LayerNorm", options={"normalized_shape": [4], "eps": [1e-5, 0.1]}),
    gradcheck.case(nn.GroupNorm, "n 4 d", name="torch.GroupNorm", options={"num_groups": [2, 4, 1], "num_channels": [4]}),
    gradcheck.case(nn.LSTM, "t n 3", name="torch.LSTM", sizes=SEQUENCE,
                   options={"input_size": [3], "hidden_size": [2, 4], "num_layers": [1, 2], "bidirectional": [False, True]}),
    gradcheck.case(nn.LSTM, "t n 3", ("1 n 2", "1 n 2"), name="torch.LSTM (states given)", sizes=SEQUENCE,
                   options={"input_size": [3], "hidden_size": [2]}),
    gradcheck.case(nn.GRU, "t n 3", name="torch.GRU", sizes=SEQUENCE, options={"input_size": [3], "hidden_size": [2, 4], "num_layers": [1, 2]}),
    gradcheck.case(nn.MultiheadAttention, "t n 4", "s n 4", "s n 4", name="torch.MultiheadAttention", sizes=SEQUENCE,
                   options={"embed_dim": [4], "num_heads": [2, 1], "dropout": [0.0, 0.3]}),
    gradcheck.case(nn.Embedding, "n t int[0,7)", name="torch.Embedding", options={"num_embeddings": [7], "embedding_dim": [3], "sparse": [False, True]}),
    gradcheck.case(nn.MaxPool2d, "n 2 rows cols", name="torch.MaxPool2d", sizes=IMAGE,
                   options={"kernel_size": [2, 3], "stride": [1, 2], "return_indices": [False, True]}),
    gradcheck.case(nn.AvgPool2d, "n 2 rows cols", name="torch.AvgPool2d", sizes=IMAGE, options={"kernel_size": [2, 3], "stride": [1, 2], "padding": [0, 1]}),
    gradcheck.case(nn.Softmax, "n d", name="torch.Softmax", options={"dim": [-1, 0]}),
    gradcheck.case(nn.GELU, "n d", name="torch.GELU", options={"approximate": ["none", "tanh"]}),
    gradcheck.case(nn.ReLU, "n d", name="torch.ReLU", options={"inplace": [False, True]}),
    gradcheck.case(nn.Dropout, "n d", name="torch.Dropout", options={"p": [0.5, 0.2], "inplace": [False, True]}),
    gradcheck.case(lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(0.2), nn.LazyLinear(2)), "n 3", name="torch.Sequential"),
    gradcheck.case(nn.functional.cross_entropy, "n d", "n d in (0,1)", name="torch.cross_entropy", options={"reduction": ["mean", "sum", "none"]}),
    gradcheck.case(lambda x, W, y: torch.einsum("ni,ij,nj->n", x, W, y), "n i", "i j", "n j", name="torch.einsum", framework="torch"),
]
