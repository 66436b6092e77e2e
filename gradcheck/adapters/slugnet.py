"""The slugnet protocol: connect(previous), call(X, train), backprop(gradient); parameters and gradients as attributes `w` and `dw`."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..subjects import Facts
from . import adapter
from .foreign import Array, Dialect, Foreign


def recognises(layer: object) -> bool:
    """Whether a built layer speaks this protocol."""
    return not isinstance(layer, type) and all(callable(getattr(layer, k, None)) for k in ("connect", "call", "backprop"))


class Driver(Dialect):
    """A layer of that protocol, behind a layer that has the shape of its input."""

    @property
    def entry(self) -> Callable[..., Any]:
        return self.layer.call                                   # type: ignore[no-any-return]

    @property
    def exit(self) -> Callable[..., Any]:
        return self.layer.backprop                               # type: ignore[no-any-return]

    def start(self, xs: Sequence[Array], spare: Callable[[], Any]) -> None:
        self.layer.connect(SimpleNamespace(outshape=(None, *xs[0].shape[1:])))

    def arrays(self) -> dict[str, Array]:
        return {k: v for k, v in vars(self.layer).items() if isinstance(v, np.ndarray) and f"d{k}" in vars(self.layer)}

    def trained(self) -> Iterable[str]:
        return list(self.arrays())

    def put(self, name: str, value: Array) -> None:
        setattr(self.layer, name, value)

    def forward(self, xs: Sequence[Array]) -> Any:
        self.known = list(self.arrays())
        return self.layer.call(*xs, **self.flags)

    def backward(self, dys: Sequence[Array]) -> tuple[Any, Mapping[str, Any]]:
        return self.layer.backprop(*dys), {k: getattr(self.layer, f"d{k}") for k in self.known}

    def facts(self) -> Facts:
        pairs = ", ".join(f"{k}/d{k}" for k in self.arrays())
        return Facts(tape="last", notes=("recognised by connect, call, backprop", f"parameters: {pairs}" if pairs else "no parameters"))

    def script(self, names: Sequence[str]) -> str:
        return f"layer.connect()\ny = layer.call({names[0]})\ndy = np.ones_like(y)\ndx = layer.backprop(dy)          # then layer.dw, …"


@adapter(recognises)
class Slugnet(Foreign):
    """Layers of the slugnet protocol."""
    adapter = "slugnet"
    dialect = Driver
