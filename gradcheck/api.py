"""The functions that people call: `check`, `case`, `subject`."""
from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from . import runner
from .adapters import adapt
from .adapters.functions import Given
from .adapters.functions import subject as of_functions
from .evidence import Evidence, Point, Report, Verdict
from .subjects import Case as Case
from .subjects import Subject


def case(factory: Callable[..., Any], *inputs: Any, name: str | None = None, sizes: Mapping[str, tuple[int, int]] | None = None,
         params: Sequence[str] | None = None, options: Mapping[str, Sequence[Any]] | None = None, expect: Mapping[str, str] | None = None,
         convention: Mapping[str, str] | None = None, resolution: float | None = None) -> Case:
    """A layer with the shapes, options and conventions under which it is to be judged.

    factory: a layer class, or a function that returns a layer, called with the options as keywords; or what `subject` made.
    inputs: one shape as text each (`"n rows cols 2"`; axes are generated), or arrays. A layer with a law needs none.
    sizes: axis -> (least, largest). params: the names of trained arrays, where they are not found. options: keyword -> values, simplest first.
    expect: check -> why it is known to fail; strict. convention: a declared choice -> what it means.
    Errors: AdaptError if no protocol is recognised.

    >>> gradcheck.case(lambda stride: MyConv(3, stride=stride), "n rows cols 2", options={"stride": [1, 2]}, name="conv")
    """
    family = Given(factory) if isinstance(factory, Subject) else adapt(factory, *inputs, options=options, params=params, name=name or _name_of(factory))
    return Case(name or _name_of(factory), "", family, sizes or {}, expect or {}, convention or {}, resolution)


def subject(call: Callable[..., Any], pullback: Callable[..., Any], *, name: str = "", **primals: Any) -> Subject:
    """Two bare functions as something to check: `call(primals) -> y` or a tuple, `pullback(primals, dy) -> {name: cotangent}`.

    primals: arrays, or shapes as text with shared axes; new points then have other sizes, or the arrays' entries in another order.

    >>> gradcheck.check(gradcheck.subject(lambda p: p["x"] @ p["W"], my_vjp, x="n d", W="d k"))
    """
    return of_functions(call, pullback, name=name, **primals)


def check(target: Any, *inputs: Any, checks: Sequence[str] | None = None, seed: int = 0, resolution: float | None = None, profile: str = "default",
          at: str | None = None, **keywords: Any) -> Result:
    """Judge one layer: a Case, a layer class, a layer, a factory, or what `subject` made. Takes all keywords of `case`.

    at: one point, as a failure's repeat line gives it, instead of the profile's.

    >>> assert gradcheck.check(MyLayer, "n d")
    """
    one = target if isinstance(target, Case) else case(_factory(target), *inputs, resolution=resolution, **{"name": _name_of(target), **keywords})
    return Result(runner.run([one], checks=checks, seed=seed, profile=profile, at=msgspec.json.decode(at, type=Point) if at else None))


@dataclass(frozen=True)
class Result:
    """The verdict on one layer, with the evidence; true if it passed."""
    _report: Report

    @property
    def verdict(self) -> Verdict:
        return self._report.verdict

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """The coarsest pass, or the failure, of every row."""
        return tuple(r.failure.evidence if r.failure else r.example for c in self._report.cases for r in c.rows if r.failure or r.example)   # type: ignore[misc]

    def report(self) -> Report:
        """The whole report, to save."""
        return self._report

    def __bool__(self) -> bool:
        return self.verdict is Verdict.PASS

    def __str__(self) -> str:
        from .messages import summary
        return summary(self._report)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def _name_of(target: Any) -> str:
    name = getattr(target, "__name__", "") or getattr(target, "name", "")
    return name if isinstance(name, str) and name and name != "<lambda>" else type(target).__name__ if not callable(target) else "layer"


def _factory(target: Any) -> Any:
    """A layer that exists already is built by copying it."""
    import copy
    import inspect
    if inspect.isclass(target) or inspect.isfunction(target) or isinstance(target, Subject):
        return target
    return lambda: copy.deepcopy(target)
