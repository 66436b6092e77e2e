"""torch: `nn.Module`, `autograd.Function`, and functions of tensors.

The parameters of a module are primals by their dotted names, its buffers are state that starts anew at each call. Inputs
are tensors of the very strides that the arrays have, on memory of their own: what is written into them without autograd's
knowledge is written back, so that it can be seen. A missing gradient means zero.
"""
from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, cached_property, partial
from typing import Any

import numpy as np

from ..evidence import Point
from ..subjects import Array, Arrays, copied, generator, seed_of
from . import AdaptError, adapter, trees
from .code import source_of, summary_of
from .foreign import generic
from .frameworks import Call, OtherNoise, Run, Traced, positional, upstreams_among
from .noise import held, rewinds

Tensor = Any              # torch is imported by nobody here: its types have no names
ONCE = "torch::autograd::Error"                              # the node that `once_differentiable` leaves, beside all ways to the inputs


def _torch() -> Any:
    return Torch.loaded()


def recognises(obj: object) -> bool:
    """A module, or an `autograd.Function`: its class, or the `apply` of it."""
    return _torch() is not None and (isinstance(obj, _torch().nn.Module) or Torch.is_function(obj))


@adapter(recognises)
class Torch(Traced):
    """Modules, Functions and functions of tensors."""
    framework = "torch"
    imports = ("import torch",)
    notes = ("inputs that are changed in place as autograd knows it are not judged by `pure`", "a gradient that torch does not return is zero")

    @classmethod
    def owns(cls, x: object) -> bool:
        return isinstance(x, _torch().Tensor)

    @classmethod
    def is_function(cls, function: object) -> bool:
        return function_class(function) is not None or isinstance(_bare(function), operators())

    @classmethod
    def traces(cls, function: Callable[..., Any], arguments: Sequence[Any]) -> str:
        y = function(*(_mapped(a, lambda x: leaf(x, x.dtype.kind in "fc")) for a in arguments))
        return "" if any(isinstance(t, _torch().Tensor) for _, t in trees.leaves(y)) else f"it returned {type(y).__name__}, not a tensor"

    def array(self, x: Any) -> Array:
        if not isinstance(x, _torch().Tensor):
            return np.asarray(x)
        if x.dtype == _torch().bfloat16:
            raise AdaptError("points are drawn in NumPy, which has no bfloat16: give the shape as text, or a tensor of float32")
        return lowered(x)

    def takes(self, layer: Any) -> Sequence[inspect.Parameter]:
        cls = function_class(layer)
        if cls is None:
            return positional(layer.forward) if isinstance(layer, _torch().nn.Module) else super().takes(layer)
        return [p for p in inputs_of(cls) if p.name not in getattr(layer, "keywords", {})]

    @classmethod
    def plain(cls, function: Any) -> Any:
        return function_class(function) or (function if isinstance(function, _torch().nn.Module) else super().plain(function))

    @cached_property
    def equation(self) -> str:
        return summary_of(self.specimen) if self._modular else super().equation

    @property
    def source(self) -> str:
        """Of the last Function on the way from the primals to the outputs; of what is composed, the forward; of an operator, what was registered."""
        if rule := getattr(_bare(self.specimen), "_backward_fn", None):
            return source_of(rule)
        return source_of(self.parts[0].backward) if self.parts else source_of(self.specimen.forward) if self._modular else super().source

    @property
    def _modular(self) -> bool:
        return isinstance(self.specimen, _torch().nn.Module)

    @cached_property
    def parts(self) -> tuple[Any, ...]:
        """The Functions that it is, or is made of, as far as a run at its simplest point shows."""
        if cls := function_class(self.specimen):
            return (cls,)
        try:
            run, primals = self.prepared(Point(), self.inputs.draw(Point()))
            tape = Tape(run, run.moving)
            tape.forward(copied(primals))
        except Exception:                                        # its simplest sizes do not fit
            return ()
        return tuple(dict.fromkeys(node._forward_cls for node in nodes(tape.ys) if is_written(node)))

    @cached_property
    def modes(self) -> tuple[bool, ...]:
        return (True, False) if self._modular else (True,)

    def ran(self, layer: Any, point: Point, xs: Sequence[Array]) -> tuple[Call, Arrays, tuple[str, ...]]:
        if not isinstance(layer, _torch().nn.Module):
            return lambda args, own: applied(layer)(*args), {}, ()
        module = _own(layer)
        module.train(point.train)
        if any(map(_torch().nn.parameter.is_lazy, (*module.parameters(), *module.buffers()))):
            module(*(_mapped(a, lambda x: leaf(x.astype("float32") if x.dtype.kind == "f" else x, False)) for a in self.arrange(xs)))
        rng = generator(point.seed, self.name, "parameters")
        found = dict(module.named_parameters())
        own = {k: _drawn(lowered(p), rng, point.dtype) for k, p in found.items()}
        own |= {k: _state(lowered(b), rng, point.dtype) for k, b in module.named_buffers()}
        for k, t in (*found.items(), *module.named_buffers()):
            t.data = tensor(np.copy(own[k]))                     # so that what reads the module itself finds the point's values too
        return Module(module), own, tuple(k for k, p in found.items() if p.requires_grad)

    def tape(self, run: Run, asked: Sequence[str]) -> Tape:
        return Tape(run, asked)

    def twice(self, run: Run) -> Twice:
        return Twice(run, run.moving)

    def shown(self, x: Array) -> str:
        grad = ".requires_grad_()" if x.dtype.kind in "fc" else ""
        return f"torch.from_numpy({super().shown(x)}){grad}"

    def built(self, options: Mapping[str, Any]) -> list[str]:
        return super().built({} if function_class(self.specimen) else options)

    def script(self, given: str, names: Sequence[str], options: Mapping[str, Any]) -> Sequence[str]:
        if cls := function_class(self.specimen):
            placed = _filled([p.name for p in inputs_of(cls)], names, {k: repr(v) for k, v in options.items()})
            return [f"y = layer.apply({', '.join(placed)})          # then torch.autograd.grad(y, …, dy)"]
        made = ["layer = layer.double()"] if self._modular else []
        return [*made, f"y = layer({given})          # then torch.autograd.grad(y, …, dy)"]


class Module:
    """A module as a function of its inputs and of its own tensors. What it keeps of itself otherwise starts anew at each call."""

    def __init__(self, module: Any) -> None:
        self.module, self.rewinds = module, rewinds(module)
        self.kept = {m: dict(vars(m)) for m in module.modules()}
        names = {id(t): k for k, t in (*module.named_parameters(), *module.named_buffers())}
        self.places = [(m, kind, k, names[id(t)]) for m in self.kept for kind in ("_parameters", "_buffers") for k, t in getattr(m, kind).items()
                       if t is not None]                         # one tensor in two places has one name

    def __call__(self, args: Sequence[Any], own: Mapping[str, Any]) -> Any:
        for m, kept in self.kept.items():
            vars(m).clear()
            vars(m).update({k: copy.copy(v) if type(v) in (list, dict, set) else v for k, v in kept.items()})
        for rewind in self.rewinds:
            rewind()
        self.hold(own)
        return self.module(*args)

    def hold(self, own: Mapping[str, Any]) -> None:
        """Make these the module's tensors, until others are: what is checkpointed runs again on the way back, and reads them."""
        for m, kind, k, name in self.places:
            getattr(m, kind)[k] = own[name]


class Tape:
    """One graph. `asked`: the primals that require a gradient."""

    def __init__(self, run: Run, asked: Sequence[str]) -> None:
        self.run, self.asked = run, tuple(asked)

    def forward(self, primals: Arrays) -> tuple[Array, ...]:
        return tuple(map(lowered, self.traced(primals)))

    def backward(self, *dys: Array) -> dict[str, Array | None]:
        return self.pulled([tensor(dy) for dy in dys])

    def traced(self, primals: Arrays) -> list[Tensor]:
        """The outputs that are real or complex tensors, with their graph."""
        run, torch = self.run, _torch()
        self.primals = primals
        laid = {k: x if k in run.names else np.asarray(x, order="C") if k in run.moving else np.copy(x, order="C") for k, x in primals.items()}
        self.leaves = {k: leaf(x, k in self.asked, k in run.names) for k, x in laid.items()}      # a module's own arrays are contiguous, as it makes them
        with torch.enable_grad(), held(seed_of(run.seed, "forward")):
            self.xs = [entrance().apply(self.leaves[k]) if k in self.asked else self.leaves[k] for k in run.names]
            self.ways = [x.grad_fn for x in self.xs]
            start = torch.get_rng_state()
            y = run.call(run.arrange(self.xs), self.own)
            self.end = torch.get_rng_state()
        if not torch.equal(start, self.end):
            if run.widened(primals):
                self.compare_noise()
            if not all(x.flags.c_contiguous for x in primals.values()):      # noise is drawn in the order of memory: in this one it would be another
                return self.traced({k: np.copy(x, order="C") for k, x in primals.items()})
        self.ys = [t for _, t in trees.leaves(y) if isinstance(t, torch.Tensor) and (t.is_floating_point() or t.is_complex())]
        self.write_back()
        if not self.ys:
            kind = f"a tensor of {y.dtype}" if isinstance(y, torch.Tensor) else type(y).__name__
            raise AdaptError(f"{run.who} returned {kind} where a real tensor was expected: there is nothing to differentiate")
        return self.ys

    @property
    def own(self) -> dict[str, Tensor]:
        """The layer's own tensors."""
        return {k: t for k, t in self.leaves.items() if k not in self.run.names}

    @contextmanager
    def back(self) -> Iterator[None]:
        """Within it backward runs: noise is held, and a module has this tape's tensors."""
        if isinstance(self.run.call, Module):
            self.run.call.hold(self.own)
        with held(seed_of(self.run.seed, "backward")):
            yield

    def pulled(self, dys: Sequence[Tensor]) -> dict[str, Array | None]:
        """The cotangents; one that a Function returned in another shape as it returned it, before the engine sums it up."""
        ends = self.leaves | dict(zip(self.run.names, self.ways, strict=True))
        with self.back(), watched(self.ys, ends) as raw:
            found = gradients(self.ys, [self.leaves[k] for k in self.asked], dys)
        self.write_back()
        return {k: lowered(raw.get(k, d)) for k, d in zip(self.asked, found, strict=True)}

    def compare_noise(self) -> None:
        """Errors: OtherNoise where in the point's own precision the generator is advanced otherwise."""
        narrow = Tape(self.run, ())
        narrow.traced(self.run.own(self.primals))
        if not _torch().equal(narrow.end, self.end):
            raise OtherNoise(f"{self.run.who} draws other noise in another precision")

    def write_back(self) -> None:
        """Hand a change of an input to its array, unless autograd was told of it: then the input has another history now."""
        for k, x, way in zip(self.run.names, self.xs, self.ways, strict=True):
            if x.grad_fn is way and self.primals[k].flags.writeable:
                np.copyto(self.primals[k], self.leaves[k].detach().numpy())


class Twice(Tape):
    """The pullback as a function of the primals and the upstreams, and its own pullback."""

    def forward(self, primals: Arrays) -> tuple[Array, ...]:
        dys = [k for k, _ in upstreams_among(primals, self.run)]
        ys = self.traced({k: x for k, x in primals.items() if k not in dys})
        self.dys = {k: leaf(primals[k], True) for k in dys}
        with self.back():
            self.first = gradients(ys, [self.leaves[k] for k in self.asked], list(self.dys.values()), create_graph=True)
        return tuple(map(lowered, self.first))

    def backward(self, *us: Array) -> dict[str, Array | None]:
        wanted = {**{k: self.leaves[k] for k in self.asked}, **self.dys}
        if not any(d.requires_grad for d in self.first) or any(node.name() == ONCE for node in nodes(self.first)):
            raise AdaptError(f"{self.run.who} is not twice differentiable: its backward pass leaves no graph")
        with self.back():
            found = gradients(self.first, list(wanted.values()), [tensor(u) for u in us])
        return {k: lowered(d) for k, d in zip(wanted, found, strict=True)}


def gradients(ys: Sequence[Tensor], leaves: Sequence[Tensor], dys: Sequence[Tensor], create_graph: bool = False) -> list[Tensor]:
    """The cotangents of `leaves`, zero where torch returns none: an output without a graph has no derivative, and says so."""
    live = [(y, dy.to(y.dtype)) for y, dy in zip(ys, dys, strict=True) if y.requires_grad]
    if not live or not leaves:
        return [_torch().zeros_like(x) for x in leaves]
    ends, upstreams = [y for y, _ in live], [dy for _, dy in live]
    try:
        return list(_torch().autograd.grad(ends, leaves, upstreams, retain_graph=True, create_graph=create_graph, allow_unused=True, materialize_grads=True))
    except RuntimeError:                                         # a checkpoint that runs backward within backward wants the gradients in the leaves
        if create_graph or (found := accrued(ends, leaves, upstreams)) is None:
            raise
        return found


def accrued(ys: Sequence[Tensor], leaves: Sequence[Tensor], dys: Sequence[Tensor]) -> list[Tensor] | None:
    """The cotangents as `backward` leaves them in the leaves; None where that raises too."""
    for x in leaves:
        x.grad = None
    try:
        _torch().autograd.backward(ys, dys, retain_graph=True)
    except RuntimeError:
        return None
    return [_torch().zeros_like(x) if x.grad is None else x.grad for x in leaves]


def nodes(ys: Sequence[Tensor]) -> Iterator[Any]:
    """Every node of the graph behind the outputs, once."""
    left, seen = [y.grad_fn for y in ys], set()
    while left:
        node = left.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            left.extend(before for before, _ in node.next_functions)


@contextmanager
def watched(ys: Sequence[Tensor], primals: Mapping[str, Any]) -> Iterator[dict[str, Tensor]]:
    """What Functions return for a primal in another shape than its own, as long as backward runs. `primals`: the node, or leaf, of each.

    The engine sums such a cotangent to the right shape before any hook runs; whoever calls `backward` by hand gets it as it is.
    """
    raw: dict[str, Tensor] = {}

    def observed(node: Any, *dys: Tensor) -> Any:
        returned = type(node).apply(node, *dys)
        for (after, _), d in zip(node.next_functions, returned if isinstance(returned, tuple) else (returned,), strict=False):
            k = next((k for k, end in primals.items() if after is not None and (after is end or getattr(after, "variable", None) is end)), None)
            if k is not None and d is not None and tuple(d.shape) != _shape_of(after):
                raw[k] = d.detach().clone()
        return returned

    written = list(filter(is_written, nodes(ys)))
    for node in written:
        node.apply = partial(observed, node)
    try:
        yield raw
    finally:
        for node in written:
            del node.apply


def is_written(node: Any) -> bool:
    """Whether a node is a person's Function."""
    return hasattr(node, "_forward_cls") and node._forward_cls is not entrance()


def _shape_of(node: Any) -> Any:
    variable = getattr(node, "variable", None)
    return tuple(node._input_metadata[0].shape if variable is None else variable.shape)


@cache
def entrance() -> Any:
    """The Function x -> x that an input comes through: a tensor on the same memory that may be changed in place, as no leaf may."""
    class Entrance(_torch().autograd.Function):                  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.detach()

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Tensor:            # type: ignore[override]
            return dy
    return Entrance


def function_class(obj: object) -> Any:
    """The `autograd.Function` that a class, its `apply`, or either with options bound, stands for; None for anything else."""
    obj = _bare(obj)
    cls = obj if isinstance(obj, type) else getattr(obj, "__self__", None) if getattr(obj, "__name__", "") == "apply" else None
    return cls if isinstance(cls, type) and issubclass(cls, _torch().autograd.Function) else None


def _bare(obj: Any) -> Any:
    """What options were bound to."""
    while isinstance(obj, partial):
        obj = obj.func
    return obj


@cache
def operators() -> tuple[type, ...]:
    """The types of torch's own callables that take tensors: operators of a library, a person's or torch's, and scripted functions."""
    torch = _torch()
    return type(torch.ops.aten.sin), type(torch.ops.aten.sin.default), torch.library.CustomOpDef, torch.jit.ScriptFunction


def applied(function: Any) -> Callable[..., Any]:
    """What is called with tensors. `apply` takes no keywords: the options of a Function go where its forward has them."""
    cls = function_class(function)
    if cls is None:
        return function                                          # type: ignore[no-any-return]
    options = getattr(function, "keywords", {})
    return lambda *xs: cls.apply(*_filled([p.name for p in inputs_of(cls)], xs, options))


def _filled(takes: Sequence[str], xs: Sequence[Any], options: Mapping[str, Any]) -> Iterator[Any]:
    """The options by their names, the inputs in order at all other places, as far as they go."""
    rest = iter(xs)
    for name in takes if options else ():
        if name in options:
            yield options[name]
        elif (x := next(rest, rest)) is not rest:
            yield x
    yield from rest


def inputs_of(cls: Any) -> list[inspect.Parameter]:
    """The arguments of a Function's forward after its context, which it has not where `setup_context` is written."""
    separate = cls.setup_context is not _torch().autograd.Function.setup_context
    return positional(cls.forward)[not separate:]


def leaf(x: Array, grad: bool, apart: bool = True) -> Tensor:
    """The array as a leaf of a graph; `apart`: on memory of its own, with the same strides and what lies between them."""
    t = tensor(x)
    if apart and t.is_contiguous():
        t = t.clone()
    elif apart:
        t = _torch().empty(0, dtype=t.dtype).set_(t.untyped_storage().clone(), t.storage_offset(), t.shape, t.stride())
    return t.requires_grad_() if grad else t


def tensor(x: Array) -> Tensor:
    """The array as a tensor, on the same memory. Errors: what torch says of negative strides; TypeError for an odd address."""
    if not x.flags.aligned:
        raise TypeError("torch takes a tensor's address for a multiple of its entries' size")
    with warnings.catch_warnings():                              # torch has no read-only tensors, and says so
        warnings.simplefilter("ignore", UserWarning)
        return _canonical(_torch().from_numpy(np.asarray(x)))


def _canonical(t: Tensor) -> Tensor:
    """The tensor with torch's own strides for axes of size 1, where any would do, if its entries lie in the order of a memory format."""
    torch = _torch()
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for known in (torch.contiguous_format, *([formats[t.ndim]] if t.ndim in formats else [])):
        if t.is_contiguous(memory_format=known):
            return t.as_strided(t.shape, torch.empty(t.shape, device="meta").contiguous(memory_format=known).stride())
    return t


def lowered(t: Tensor) -> Array:
    """The tensor as an array, on the same memory where that can be; a dtype that NumPy lacks as float32."""
    torch, t = _torch(), t.detach()
    t = t if t.layout is torch.strided else t.to_dense()
    narrow = t.is_floating_point() and t.dtype.itemsize <= 2 and t.dtype is not torch.float16
    return (t.float() if narrow else t).numpy(force=True)        # type: ignore[no-any-return]


def _mapped(tree: Any, change: Callable[[Any], Any]) -> Any:
    return trees.rebuilt(tree, (change(x) for _, x in trees.leaves(tree)))


def _own(module: Any) -> Any:
    """A copy, which may be changed. A module that refuses to be copied was made for this point anyway."""
    try:
        return copy.deepcopy(module)
    except Exception:
        return module


def _drawn(x: Array, rng: np.random.Generator, dtype: str) -> Array:
    """A parameter in general position."""
    return generic(x, rng).astype(dtype) if x.dtype.kind == "f" else np.copy(x)


def _state(x: Array, rng: np.random.Generator, dtype: str) -> Array:
    """A buffer: statistics that were never updated, one number throughout, in general position; whatever else it holds, as it is."""
    if x.dtype.kind != "f":
        return np.copy(x)
    fresh = x.ndim > 0 and x.size > 0 and np.isfinite(x).all() and (x == x.flat[0]).all()
    return (generic(x, rng) if fresh else x).astype(dtype)
