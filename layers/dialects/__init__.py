"""The same layers as the authors of three NumPy libraries spell them: names, tables and views; what is computed is computed in `layers`."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..base import Array, Layer, Vars


class View:
    """A core layer in another spelling, which holds the arrays. The last forward is the tape; backward overwrites, it does not add up."""
    core: Layer

    def ahead(self, x: Any, parameters: Mapping[str, Array], training: bool) -> Array:
        """The core's output with these parameters. Errors: as the core's, and the tape is then as it was."""
        self.core.parameters, self.core.training = Vars(parameters), training
        y = self.core.forward(x)
        self.core.tape = self.core.tape[-1:]
        return y

    def back(self, dy: Any) -> tuple[Array, Vars]:
        """The cotangents of the input, and of all else by the core's names. Errors: ValueError without a forward."""
        if not self.core.tape:
            raise ValueError(f"{type(self).__name__}: there is no forward to go back through")
        record = self.core.tape[-1]
        return self.core.bwd(record.p, record.r, *self.core._upstream(record, dy))
