"""Mistakes in `torch.autograd.Function`s, modules and functions of tensors, each beside its corrected twin.

Every function takes `wrong` and returns the case to judge; `by` is the check that must see it.
"""
from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from wild import collection

import gradcheck

DEFECTS, defect = collection()


@defect("A3", "adjoint")
def a_wrong_factor(wrong):
    class Square(Function):
        @staticmethod
        def forward(ctx, x):                               # x  (n, d)
            ctx.save_for_backward(x)
            return x * x                                   # y  (n, d)

        @staticmethod
        def backward(ctx, dy):
            x, = ctx.saved_tensors
            return dy * x * (1 if wrong else 2)
    return gradcheck.case(Square, "n d")


@defect("A1", "linear")
def upstream_ignored(wrong):
    class Loss(Function):
        @staticmethod
        def forward(ctx, x, t):                            # x, t  (n, d)
            ctx.save_for_backward(x, t)
            return ((x - t) ** 2).sum()                    # y  ()

        @staticmethod
        def backward(ctx, dy):
            x, t = ctx.saved_tensors
            d = 2 * (x - t) * (1 if wrong else dy)
            return d, -d
    return gradcheck.case(Loss.apply, "n d", "n d")


@defect("A9", "adjoint")
def a_weight_transposed(wrong):
    class Product(Function):
        @staticmethod
        def forward(ctx, x, W):                            # x  (n, d), W  (d, d)
            ctx.save_for_backward(x, W)
            return x @ W.T

        @staticmethod
        def backward(ctx, dy):
            x, W = ctx.saved_tensors
            return dy @ W, x.T @ dy if wrong else dy.T @ x
    return gradcheck.case(Product, "n d", "d d", sizes={"d": (2, 5)})


@defect("G1", "layout")
def upstream_taken_for_contiguous(wrong):
    class Double(Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, dy):
            plain = torch.empty_strided(dy.shape, dy.stride()).stride() if not wrong else torch.empty(dy.shape).stride()
            return 2 * dy.as_strided(dy.shape, plain)      # as a kernel reads that is handed a pointer and a shape
    return gradcheck.case(Double, "n d", sizes={"n": (2, 9), "d": (2, 9)})


@defect("I3", "subset")
def a_branch_on_what_needs_a_gradient(wrong):
    class Product(Function):
        @staticmethod
        def forward(ctx, x, W):
            ctx.save_for_backward(x, W)
            return x @ W

        @staticmethod
        def backward(ctx, dy):
            x, W = ctx.saved_tensors
            if wrong and not ctx.needs_input_grad[0]:
                return None, None
            return dy @ W.T, x.T @ dy
    return gradcheck.case(Product, "n d", "d k")


@defect("H1", "pure")
def input_changed_in_forward(wrong):
    class Relu(Function):
        @staticmethod
        def forward(ctx, x):
            if wrong:
                x.clamp_(min=0)                            # and no mark_dirty: who holds x does not hear of it
            y = x.clamp(min=0)
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, dy):
            y, = ctx.saved_tensors
            return dy * (y > 0)
    return gradcheck.case(Relu, "n d")


@defect("H1", "pure")
def saved_tensor_changed_in_backward(wrong):
    class Exp(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.exp()

        @staticmethod
        def backward(ctx, dy):
            x, = ctx.saved_tensors
            if not wrong:
                return dy * x.exp()
            x.data.exp_()                                  # past the version counter, as a raw kernel writes
            return dy * x
    return gradcheck.case(Exp, "n d")


@defect("H8", "interleave")
def state_on_the_class(wrong):
    class Sine(Function):
        @staticmethod
        def forward(ctx, x):
            Sine.x = x.detach().clone()
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx, dy):
            return dy * (Sine.x if wrong else ctx.saved_tensors[0]).cos()
    return gradcheck.case(Sine, "n d")


@defect("H6", "adjoint")
def a_stale_cache(wrong):
    class Sine(Function):
        cache: dict = {}                                   # noqa: RUF012

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            ctx.slope = Sine.cache.setdefault(x.shape, x.cos().detach()) if wrong else None
            return x.sin()

        @staticmethod
        def backward(ctx, dy):
            return dy * (ctx.slope if wrong else ctx.saved_tensors[0].cos())
    return gradcheck.case(Sine, "n d")


@defect("F3", "adjoint")
def float32_inside(wrong):
    class Exp(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.exp()

        @staticmethod
        def backward(ctx, dy):
            x, = ctx.saved_tensors
            return (x.float() if wrong else x).exp() * dy
    return gradcheck.case(Exp, "n d")


@defect("H7", "alias")
def one_buffer_for_all_cotangents(wrong):
    class Sine(Function):
        buffers: dict = {}                                 # noqa: RUF012

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx, dy):
            x, = ctx.saved_tensors
            dx = dy * x.cos()
            return Sine.buffers.setdefault((x.shape, x.dtype), torch.empty_like(x)).copy_(dx) if wrong else dx
    return gradcheck.case(Sine, "n d")


@defect("H2", "pure")
def upstream_overwritten(wrong):
    class Sine(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx, dy):
            x, = ctx.saved_tensors
            return dy.mul_(x.cos()) if wrong else dy * x.cos()
    return gradcheck.case(Sine, "n d")


@defect("A12", "adjoint")
def none_for_an_input_that_matters(wrong):
    class Affine(Function):
        @staticmethod
        def forward(ctx, x, b):                            # x  (n, d), b  (d,)
            return x + b

        @staticmethod
        def backward(ctx, dy):
            return dy, None if wrong else dy.sum(0)
    return gradcheck.case(Affine, "n d", "d")


@defect("A4", "adjoint")
def mean_over_the_batch(wrong):
    class Affine(Function):
        @staticmethod
        def forward(ctx, x, W, b):
            ctx.save_for_backward(x, W)
            return x @ W + b

        @staticmethod
        def backward(ctx, dy):
            x, W = ctx.saved_tensors
            return dy @ W.T, x.T @ dy, dy.mean(0) if wrong else dy.sum(0)
    return gradcheck.case(Affine, "n d", "d k", "k")


@defect("A9", "adjoint")
def cotangents_swapped(wrong):
    class Product(Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return a * b

        @staticmethod
        def backward(ctx, dy):
            a, b = ctx.saved_tensors
            return (dy * a, dy * b) if wrong else (dy * b, dy * a)
    return gradcheck.case(Product, "n d", "n d")


@defect("C8", "shapes")
def broadcast_not_summed(wrong):
    class Scale(Function):
        @staticmethod
        def forward(ctx, x, s):                            # x  (n, d), s  (d,)
            ctx.save_for_backward(x, s)
            return x * s

        @staticmethod
        def backward(ctx, dy):
            x, s = ctx.saved_tensors
            return dy * s, dy * x if wrong else (dy * x).sum(0)      # the engine sums in silence, and whoever calls backward does not
    return gradcheck.case(Scale, "n d", "d")


@defect("A8", "adjoint")
def mask_inverted(wrong):
    class Relu(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mask = x > 0
            return x * ctx.mask

        @staticmethod
        def backward(ctx, dy):
            return dy * (~ctx.mask if wrong else ctx.mask)
    return gradcheck.case(Relu, "n d")


@defect("I1", "adjoint")
def a_fresh_mask(wrong):
    class Dropout(Function):
        @staticmethod
        def forward(ctx, x, p):
            ctx.p, ctx.mask = p, torch.rand_like(x) > p
            return x * ctx.mask / (1 - p)

        @staticmethod
        def backward(ctx, dy):
            mask = torch.rand_like(dy) > ctx.p if wrong else ctx.mask
            return dy * mask / (1 - ctx.p), None
    return gradcheck.case(Dropout, "n d", options={"p": [0.5, 0.25]})


@defect("A7", "adjoint")
def a_path_cut_by_detach(wrong):
    def unit(x):                                           # x  (n, d)
        size = x.norm(dim=-1, keepdim=True)
        return x / (size.detach() if wrong else size)
    return gradcheck.case(unit, "n d", framework="torch", sizes={"d": (2, 9)})


@defect("I4", "adjoint")
def an_output_flagged_in_error(wrong):
    class Norms(Function):
        @staticmethod
        def forward(ctx, x):
            y, n = x * x, x.exp()
            ctx.save_for_backward(x)
            if wrong:
                ctx.mark_non_differentiable(n)
            return y, n

        @staticmethod
        def backward(ctx, dy, dn):
            x, = ctx.saved_tensors
            return 2 * x * dy + (0 if wrong else x.exp() * dn)
    return gradcheck.case(Norms, "n d")


@defect("E1", "adjoint")
def repeated_indices_lost(wrong):
    class Take(Function):
        @staticmethod
        def forward(ctx, W, i):                            # W  (v, d), i  (n,)
            ctx.save_for_backward(i)
            ctx.shape = W.shape
            return W[i]                                    # y  (n, d)

        @staticmethod
        def backward(ctx, dy):
            i, = ctx.saved_tensors
            return torch.zeros(ctx.shape, dtype=dy.dtype).index_put((i,), dy, accumulate=not wrong), None
    return gradcheck.case(Take, "3 d", "n int[0,3)", sizes={"n": (4, 9)})


@defect("I5", "second")
def an_intermediate_saved(wrong):
    class Tanh(Function):
        @staticmethod
        def forward(ctx, x):
            t = x.exp()                                    # neither an input nor an output: the second backward takes it for a constant
            ctx.save_for_backward(t if wrong else x)
            return (t - 1 / t) / (t + 1 / t)

        @staticmethod
        def backward(ctx, dy):
            t = ctx.saved_tensors[0] if wrong else ctx.saved_tensors[0].exp()
            return dy * 4 / (t + 1 / t) ** 2
    return gradcheck.case(Tanh, "n d")


@defect("I5", "adjoint")
def right_but_once_differentiable(wrong):
    class Tanh(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x.tanh() ** 2)
            return x.tanh()

        @staticmethod
        @once_differentiable
        def backward(ctx, dy):
            return dy * (1 - ctx.saved_tensors[0] * (0.5 if wrong else 1))
    return gradcheck.case(Tanh, "n d")


@defect("A6", "adjoint")
def softmax_entry_by_entry(wrong):
    class Softmax(Function):
        @staticmethod
        def forward(ctx, x):
            y = x.softmax(-1)
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, dy):
            y, = ctx.saved_tensors
            return y * (1 - y) * dy if wrong else y * (dy - (y * dy).sum(-1, keepdim=True))
    return gradcheck.case(Softmax, "n d", sizes={"d": (3, 9)})


@defect("LIN", "linear")
def upstream_clipped(wrong):
    class Identity(Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, dy):
            return dy.clamp(-1, 1) if wrong else dy
    return gradcheck.case(Identity, "n d")


@defect("D1", "adjoint")
def the_last_block_dropped(wrong):
    class Product(Function):
        @staticmethod
        def forward(ctx, x, W):
            ctx.save_for_backward(x, W)
            return x @ W

        @staticmethod
        def backward(ctx, dy):
            x, W = ctx.saved_tensors
            n = len(x) // 4 * 4 if wrong else len(x)
            return dy @ W.T, x[:n].T @ dy[:n]
    return gradcheck.case(Product, "n d", "d k")


@defect("C10", "adjoint")
def training_in_eval_mode(wrong):
    class Normalise(Function):
        @staticmethod
        def forward(ctx, x, mean, train):                  # x  (n, d), mean  (d,)
            ctx.train = train
            return x - (x.mean(0) if train else mean)

        @staticmethod
        def backward(ctx, dy):
            return dy - dy.mean(0) if wrong or ctx.train else dy, None, None

    class Centre(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(3))

        def forward(self, x):
            return Normalise.apply(x, self.mean, self.training)
    return gradcheck.case(Centre, "n 3")


@defect("I2", "seed")
def memory_never_written(wrong):
    class First(Function):
        @staticmethod
        def forward(ctx, x):                               # x  (n, d)
            ctx.save_for_backward(x)
            return x[:, 0] * 2                             # y  (n,)

        @staticmethod
        def backward(ctx, dy):
            x, = ctx.saved_tensors
            dx = torch.empty_like(x) if wrong else torch.zeros_like(x)
            dx[:, 0] = 2 * dy
            return dx
    return gradcheck.case(First, "n d", sizes={"d": (2, 9)})


@defect("F4", "adjoint")
def conjugate_missing(wrong):
    class Product(Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return a * b

        @staticmethod
        def backward(ctx, dy):
            a, b = ctx.saved_tensors
            return (dy * b, dy * a) if wrong else (dy * b.conj(), dy * a.conj())
    z = np.random.default_rng(0).standard_normal((2, 3, 4)).view(np.complex128)
    return gradcheck.case(Product, z[0], z[1])


@defect("A10", "adjoint")
def the_state_s_link_dropped(wrong):
    class Cell(nn.Module):
        def __init__(self):
            super().__init__()
            self.W = nn.Parameter(torch.randn(3, 3))

        def forward(self, x, h):                           # x  (t, n, 3), h  (n, 3)
            ys = []
            for step in x:
                h = torch.tanh(step + (h.detach() if wrong else h) @ self.W)
                ys.append(h)
            return torch.stack(ys), h
    return gradcheck.case(Cell, "t n 3", "n 3", sizes={"t": (2, 4)})
