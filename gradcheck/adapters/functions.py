"""Two bare functions: `call(primals) -> y` or a tuple, `pullback(primals, dy) -> {name: cotangent}`."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..evidence import Point
from ..law import Law, Shape
from ..subjects import Array, Arrays, Facts, Subject, seed_of
from . import AdaptError
from .code import arguments, literal, source_of
from .foreign import ledger_of, outputs_of
from .inputs import Inputs, coarsest
from .noise import held

Call = Callable[..., Any]
FACTS = Facts(tape="functional", notes=("two functions: call(primals) and pullback(primals, dy)",))


class Functions:
    """The family of two functions over the domain of their primals, each a shape as text or an array."""
    adapter = "functions"
    domains: Mapping[str, Sequence[Any]] = {}
    modes = (True,)
    contract = FACTS.contract

    def __init__(self, call: Call, pullback: Call, primals: Mapping[str, str | Array], *, name: str = "") -> None:
        self.call, self.pullback, self.names = call, pullback, tuple(primals)
        self.inputs = Inputs(tuple(primals.values()))
        self.widest = self.inputs.widest
        self.name = name or getattr(call, "__name__", "call")
        self.law_text = ", ".join(f"{k}: {Inputs((x,)).text}" for k, x in primals.items())
        self.equation, self.source = (call.__doc__ or "").strip().partition("\n\n")[0], source_of(pullback)

    def law(self, options: Mapping[str, Any]) -> Law | None:
        return self.inputs.law

    def fits(self, options: Mapping[str, Any], shapes: Sequence[Shape]) -> bool:
        """Whether a trial call succeeds."""
        try:
            with np.errstate(all="ignore"):
                PairTape(self, 0).forward(dict(zip(self.names, self.inputs.fill(shapes), strict=True)))
        except Exception:
            return False
        return True

    def build(self, point: Point) -> Subject:
        primals = dict(zip(self.names, self.inputs.draw(point), strict=True))
        moving = tuple(k for k, v in primals.items() if v.dtype.kind in "fc")
        made = Subject(self.name, primals, moving, lambda: PairTape(self, point.seed), point, FACTS, self.names, self.inputs.law, rebuild=self.build,
                       source=self.source)
        return replace(made, ledger=lambda: ledger_of(made, self.inputs.axes(len(primals))))

    def code(self, point: Point) -> str:
        values = ", ".join(f"{k!r}: {literal(v)}" for k, v in zip(self.names, self.inputs.draw(point), strict=True))
        back = getattr(self.pullback, "__name__", "pullback")
        return f"import numpy as np\nprimals = {{{values}}}\ny = {self.name}(primals)\ndy = np.ones_like(y)\nd = {back}(primals, dy)"


@dataclass(frozen=True)
class Given:
    """A subject that exists, as a family: its own point, and every other that it can be rebuilt at."""
    subject: Subject
    adapter = "functions"
    equation = ""
    domains: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    modes = (True,)

    @property
    def contract(self) -> bool:
        return self.subject.facts.contract

    @property
    def widest(self) -> str:
        return coarsest(self.subject.primals.values())

    @property
    def law_text(self) -> str:
        return self.subject.law.text if self.subject.law else ", ".join(f"{k} {v.shape}" for k, v in self.subject.primals.items())

    @property
    def source(self) -> str:
        return self.subject.source

    def law(self, options: Mapping[str, Any]) -> Law | None:
        return self.subject.law

    def fits(self, options: Mapping[str, Any], shapes: Sequence[Shape]) -> bool:
        """Whether the subject can be rebuilt and called at these shapes."""
        law = self.subject.law
        try:
            built = self.build(Point(sizes=law.bind(shapes), inputs=len(shapes) if law.many else 0) if law else Point())
            with np.errstate(all="ignore"):
                built(built.primals)
        except AdaptError:
            raise
        except Exception:
            return False
        return True

    def build(self, point: Point) -> Subject:
        return self.subject.rebuild(point) if self.subject.rebuild else self.subject

    def code(self, point: Point) -> str:
        return "\n".join(["import numpy as np", *(f"{k} = {literal(v)}" for k, v in self.build(point).primals.items())])


def subject(call: Call, pullback: Call, *, name: str = "", **primals: str | Array) -> Subject:
    """The subject of two functions at its first point: arrays as given, or small unequal sizes. Errors: LawError, TypeError for an input that is neither."""
    return Functions(call, pullback, primals, name=name).build(Point())


class PairTape:
    """One call, whose primals the pullback is given again. Several outputs: as many arguments, or one tuple."""

    def __init__(self, family: Functions, seed: int) -> None:
        self.family, self.seed = family, seed

    def forward(self, primals: Arrays) -> tuple[Array, ...]:
        self.primals = primals
        with held(seed_of(self.seed, "forward")):
            y = self.family.call(primals)
        self.several = isinstance(y, list | tuple)
        return outputs_of(y, self.family.name)

    def backward(self, *dys: Array) -> dict[str, Array | None]:
        spread = not self.several or len(arguments(self.family.pullback)) == 1 + len(dys) > 2
        with held(seed_of(self.seed, "forward")):
            found = self.family.pullback(self.primals, *(dys if spread else (dys,)))
        unknown = ", ".join(sorted(found.keys() - self.primals.keys()))
        if unknown:
            raise AdaptError(f"{self.family.name}: the pullback returned {unknown}, and the primals are {', '.join(self.primals)}")
        return {k: None if v is None else np.asarray(v) for k, v in found.items()}
