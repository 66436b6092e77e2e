"""The numpy-ml protocol: forward(X) / backward(dLdY), `parameters` and `gradients` by name, residuals in `derived_variables`.

Parameters may come into being at the first forward, from the global generator. Gradients add up. Inputs of which any number
are taken come as one list. A cell that counts its steps is run once for each input, and backwards in reverse.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..subjects import Facts
from . import adapter
from .code import arguments, signature_of
from .foreign import Array, Dialect, Foreign, Params

PROTOCOL = ("forward", "backward", "flush_gradients", "parameters", "gradients", "derived_variables")


def recognises(layer: Any) -> bool:
    """Whether a built layer speaks this protocol."""
    return all(hasattr(layer, k) for k in PROTOCOL) and isinstance(layer.parameters, Mapping) and isinstance(layer.gradients, Mapping)


class Driver(Dialect):
    """A layer of that protocol."""

    def __init__(self, layer: Any, params: Params = None, many: bool = False) -> None:
        super().__init__(layer, params, many)
        self.calls: list[int] = []               # how many outputs each forward of this tape gave
        self.dropped = 0                         # outputs of a forward that have no upstream

    def start(self, xs: Sequence[Array], spare: Callable[[], Any]) -> None:
        """A forward that leaves no trace creates what is created lazily. A cell knows none: its first step stays, as a held past."""
        if not getattr(self.layer, "is_initialized", True):
            keep = {"retain_derived": False} if "retain_derived" in signature_of(self.entry) else {}
            self._judged(self.entry(*(xs[:1] if self.cell else self.packed(xs)), **keep))

    @property
    def cell(self) -> bool:
        """Whether the layer counts its steps."""
        return hasattr(self.layer, "n_timesteps") and len(arguments(self.entry)) == 1 and not hasattr(self.layer, "cell")

    def arrays(self) -> dict[str, Array]:
        return {k: v for k, v in self.layer.parameters.items() if isinstance(v, np.ndarray)}

    def trained(self) -> Iterable[str]:
        return [k for k in self.arrays() if k in self.layer.gradients]

    def put(self, name: str, value: Array) -> None:
        self.layer.parameters[name] = value

    def forward(self, xs: Sequence[Array]) -> Any:
        steps = [[x] for x in xs] if self.cell else [self.packed(xs)]
        ys = [y for step in steps for y in self._judged(self.entry(*step))]
        self.calls.append(len(ys))
        return ys

    def backward(self, dys: Sequence[Array]) -> tuple[Any, Mapping[str, Any]]:
        if self.cell:
            return [self.exit(dy) for dy in reversed(dys)][::-1], self.layer.gradients
        several = len(dys) > self.calls[-1]      # one upstream for each forward on this tape
        dxs = self.exit(*self._upstream(list(dys) if several else dys))
        return (dxs[-1] if several and isinstance(dxs, list) else dxs), self.layer.gradients

    def facts(self) -> Facts:
        notes = [f"recognised by {', '.join(PROTOCOL)}", "gradients add up"]
        if self.cell:
            notes.append("a cell: one step for each input, walked backwards; the step before them is a held past")
        if self.dropped:
            notes.append(f"the last {self.dropped} output{'s have' if self.dropped > 1 else ' has'} no upstream in backward: not judged")
        return Facts(tape="recurrent" if self.cell else "list", upstream=self.slots > 0, notes=tuple(notes))

    def residuals(self) -> Mapping[str, Array]:
        latest = {k: v[-1] if isinstance(v, list) and v else v for k, v in self.layer.derived_variables.items()}
        return {k: v for k, v in latest.items() if isinstance(v, np.ndarray)}

    def script(self, names: Sequence[str]) -> str:
        if self.cell:
            return "\n".join([*(f"y = layer.forward({n})" for n in names), "dy = np.ones_like(y)", *["dx = layer.backward(dy)"] * len(names)])
        return f"y = layer.forward({self.listed(names)})\ndy = np.ones_like(y)\ndx = layer.backward(dy)          # then layer.gradients"

    @property
    def slots(self) -> int:
        """How many upstreams backward takes."""
        return len(arguments(self.exit))

    def _judged(self, y: Any) -> list[Any]:
        ys = list(y) if isinstance(y, list | tuple) else [y]
        self.dropped = max(0, len(ys) - max(self.slots, 1))
        return ys[:max(self.slots, 1)]

    def _upstream(self, dys: Sequence[Array]) -> list[Any]:
        return [] if not self.slots else [dys] if isinstance(dys, list) else list(dys)


@adapter(recognises)
class NumpyML(Foreign):
    """Layers of the numpy-ml protocol."""
    adapter = "numpy-ml"
    dialect = Driver
