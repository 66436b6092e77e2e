"""The EpyNN protocol: compute_shapes, initialize_parameters, forward, backward, compute_gradients; dictionaries `p` and `g` (`dW` for `W`).

The last forward is the tape and gradients are overwritten. They are applied as p -= rate · g, so a gradient that broadcasts
to its parameter's shape stands for it; a plain 0.0 means that the parameter is not trained.
"""
from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..subjects import Facts
from . import adapter
from .foreign import Array, Dialect, Foreign

PROTOCOL = ("compute_shapes", "initialize_parameters", "forward", "backward", "compute_gradients")


def recognises(layer: object) -> bool:
    """Whether a built layer speaks this protocol."""
    return all(callable(getattr(layer, k, None)) for k in PROTOCOL) and all(isinstance(getattr(layer, k, None), dict) for k in "pg")


class Driver(Dialect):
    """A layer of that protocol."""

    def start(self, xs: Sequence[Array], spare: Callable[[], Any]) -> None:
        """What its network does first; then one run of a copy, to see which parameters are trained."""
        if not hasattr(self.layer, "np_rng"):
            self.layer.np_rng = np.random.default_rng()            # a network would hand one to each of its layers
        self.layer.compute_shapes(xs[0])
        self.layer.initialize_parameters()
        self.untrained = self._idle(copy.deepcopy(self.layer), np.copy(xs[0]))

    def arrays(self) -> dict[str, Array]:
        return {k: v for k, v in self.layer.p.items() if isinstance(v, np.ndarray)}

    def trained(self) -> Iterable[str]:
        return [k for k in self.arrays() if k not in self.untrained]

    def put(self, name: str, value: Array) -> None:
        self.layer.p[name] = value

    def forward(self, xs: Sequence[Array]) -> Any:
        return self.layer.forward(*xs)

    def backward(self, dys: Sequence[Array]) -> tuple[Any, Mapping[str, Any]]:
        dx = self.layer.backward(*dys)
        self.layer.compute_gradients()
        return dx, {k: _spread(self.layer.g.get(f"d{k}"), v) for k, v in self.layer.p.items()}

    def facts(self) -> Facts:
        held = f"not trained: {', '.join(self.untrained)}" if self.untrained else "every parameter is trained"
        return Facts(tape="last", notes=(f"recognised by {', '.join(PROTOCOL)}, p, g", "gradients are overwritten, and broadcast to their parameters", held))

    def residuals(self) -> Mapping[str, Array]:
        return {k: v for cache in ("fc", "bc") for k, v in getattr(self.layer, cache, {}).items() if isinstance(v, np.ndarray)}

    def script(self, names: Sequence[str]) -> str:
        return (f"layer.np_rng = np.random.default_rng(0)\nlayer.compute_shapes({names[0]})\nlayer.initialize_parameters()\n"
                f"y = layer.forward({names[0]})\ndy = np.ones_like(y)\ndx = layer.backward(dy)\nlayer.compute_gradients()             # layer.g")

    def _idle(self, layer: Any, x: Array) -> tuple[str, ...]:
        try:
            layer.backward(np.ones_like(layer.forward(x)))
            layer.compute_gradients()
        except Exception:                                          # the checks meet it again, and report it
            return ()
        return tuple(k for k in layer.p if not isinstance(layer.g.get(f"d{k}", 0.0), np.ndarray))


def _spread(g: Any, p: Array) -> Any:
    """A gradient as the update takes it; one that does not fit is left as it is, to be accused."""
    try:
        return None if g is None else np.broadcast_to(g, p.shape)
    except ValueError:
        return g


@adapter(recognises)
class EpyNN(Foreign):
    """Layers of the EpyNN protocol."""
    adapter = "EpyNN"
    dialect = Driver
