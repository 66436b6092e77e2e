"""The functions that people call: `check`, `case`, `subject`, `adapt`, `parametrize`. (`run` is the runner's own.)"""
from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from . import adapters, runner
from .adapters.functions import Given
from .adapters.functions import subject as of_functions
from .evidence import Evidence, Point, Report, Verdict
from .strategies import points
from .subjects import Case as Case
from .subjects import Subject

if TYPE_CHECKING:
    import pytest

T = TypeVar("T")


def case(factory: Callable[..., Any], *inputs: Any, name: str | None = None, sizes: Mapping[str, tuple[int, int]] | None = None,
         params: Sequence[str] | Mapping[str, str] | None = None, options: Mapping[str, Sequence[Any]] | None = None,
         expect: Mapping[str, str] | None = None, convention: Mapping[str, str] | None = None, resolution: float | None = None,
         framework: str | None = None) -> Case:
    """A layer with the shapes, options and conventions under which it is to be judged.

    factory: a layer class, or a function that returns a layer, called with the options as keywords; or what `subject` made. A function of
    torch's, JAX's or autograd's arrays, which needs more arguments than the options, is judged itself; options are its keywords.
    inputs: one each of a shape as text (`"n rows cols 2"`: the named axes get generated sizes), an array, or a Hypothesis strategy of
    arrays. A layer with a law needs none.
    sizes: axis -> (least, largest). options: keyword -> its values, simplest first.
    params: the names of trained arrays where they are not found, or name -> its gradient's name.
    expect: check -> why it is known to fail; strict. convention: a declared choice -> what it means.
    resolution: the smallest wrong entry that must be seen, relative to the largest; a coarser pass is undecided.
    framework: "torch", "jax" or "autograd": whose arrays a bare function takes, where several could run it.
    Errors: AdaptError if no protocol is recognised; LawError for a text that is no shape; TypeError for an input that is none of the three.

    >>> import gradcheck
    >>> class Scale:
    ...     def __init__(self, by=2.0):
    ...         self.by = by
    ...     def forward(self, x):           # x  (n, d)
    ...         return self.by * x          # y  (n, d)
    ...     def backward(self, dy):
    ...         return self.by * dy
    >>> scale = gradcheck.case(Scale, "n d", options={"by": [2.0, -0.5]}, sizes={"d": (2, 5)}, name="scale")
    >>> gradcheck.run([scale], profile="quick").verdict
    <Verdict.PASS: 'pass'>
    """
    family = Given(factory) if isinstance(factory, Subject) else adapters.adapt(factory, *inputs, options=options, params=params,   # type: ignore[arg-type]
                                                                                name=name or _name_of(factory), framework=framework)
    return Case(name or _name_of(factory), "", family, sizes or {}, expect or {}, convention or {}, resolution)


def subject(call: Callable[..., Any], pullback: Callable[..., Any], *, name: str = "", **primals: Any) -> Subject:
    """Two bare functions as something to check: `call(primals) -> y` or a tuple, `pullback(primals, dy) -> {name: cotangent}`.

    primals: shapes as text that share their axes, arrays, or Hypothesis strategies of arrays. New points then have other sizes, or the
    arrays' entries in another order. A cotangent has its primal's shape; dy has y's.
    Errors: LawError for a text that is no shape, TypeError for a primal that is none of the three.

    >>> import gradcheck
    >>> def call(p):
    ...     return p["x"] @ p["W"]                          # (n, k)
    >>> def pullback(p, dy):
    ...     return {"x": dy @ p["W"].T, "W": p["x"].T @ dy}
    >>> bool(gradcheck.check(gradcheck.subject(call, pullback, x="n d", W="d k"), profile="quick"))
    True
    """
    return of_functions(call, pullback, name=name, **primals)


def adapt(obj: Any, *inputs: Any, params: Sequence[str] | Mapping[str, str] | None = None) -> Subject:
    """A layer of any framework, a layer class or a factory, at the first of its points: arrays by name, the call, the pullback.

    inputs and params: as for `case`. The subject's arrays are `primals` (in float64), those with gradients `differentiable`.
    Errors: AdaptError if no protocol is recognised; what the layer raises when it is built.

    >>> import gradcheck, numpy as np
    >>> class Double:
    ...     def forward(self, x):
    ...         return 2 * x
    ...     def backward(self, dy):
    ...         return 2 * dy
    >>> double = gradcheck.adapt(Double(), np.ones((3, 2)))
    >>> double.primals["x"].shape, double.pullback(double.primals, [np.ones((3, 2))])["x"][0]
    ((3, 2), array([2., 2.]))
    """
    made = as_case(obj, *inputs, params=params)
    where = points(made, 1, 0)
    return made.subject(where[0] if where else Point())


def check(target: Any, *inputs: Any, checks: Sequence[str] | None = None, seed: int = 0, resolution: float | None = None, profile: str = "default",
          at: str | None = None, **keywords: Any) -> Result:
    """Judge one layer.

    target: a Case, what `subject` made, a layer class, a layer, or a function without arguments that returns one.
    inputs, resolution and all other keywords: as for `case`. checks: names from `gradcheck list`; None for the default battery.
    profile: "quick", "default" or "thorough". at: one point, as a failure's repeat line gives it, instead of the profile's.
    Errors: those of `case`; ValueError for an unknown check or profile; TypeError for keywords beside a Case, which has its own.

    >>> import gradcheck, numpy as np
    >>> class Affine:
    ...     def __init__(self):
    ...         self.W, self.b = np.random.randn(3, 2), np.zeros(2)
    ...     def forward(self, x):                            # x  (n, 3)
    ...         self.x = x
    ...         return x @ self.W + self.b                   # y  (n, 2)
    ...     def backward(self, dy):
    ...         self.dW, self.db = self.x.T @ dy, dy[0]      # wrong: the bias sees the first row only
    ...         return dy @ self.W.T
    >>> result = gradcheck.check(Affine, "n 3", profile="quick")
    >>> bool(result), result.verdict, {e.primal for e in result.evidence if e.check == "adjoint" and e.verdict == "fail"}
    (False, <Verdict.FAIL: 'fail'>, {'b'})
    """
    one = as_case(target, *inputs, **({} if resolution is None else {"resolution": resolution}), **keywords)
    return Result(runner.run([one], checks=checks, seed=seed, profile=profile, at=msgspec.json.decode(at, type=Point) if at else None))


def parametrize(cases: Iterable[Any], *, expected_failures: str | PathLike[str] | None = None) -> pytest.MarkDecorator:
    """A pytest decorator: one item for each case and check, `test_gradients[conv3-adjoint]`. The test takes `check` and calls it.

    cases: what `case` made, or anything that `check` takes without inputs; one, or several. expected_failures: a file beside the test, one
    `conv3-adjoint: reason` a line; each of them must fail. Errors: at collection, with the line that is wrong.

    >>> import gradcheck
    >>> from layers import Dense, Softmax
    >>> @gradcheck.parametrize([Dense, Softmax])
    ... def test_gradients(check):
    ...     check()
    """
    several = tuple(cases) if isinstance(cases, Iterable) and not inspect.isclass(cases) else (cases,)
    try:
        import pytest
    except ImportError:                                  # `gradcheck run` reads the mark, and needs no pytest for it
        return _marked(SimpleNamespace(name="gradcheck", args=several))        # type: ignore[return-value]
    return pytest.mark.gradcheck(*several, expected_failures=expected_failures)


def _marked(mark: SimpleNamespace) -> Callable[[T], T]:
    def put(test: T) -> T:
        test.pytestmark = [*getattr(test, "pytestmark", ()), mark]             # type: ignore[attr-defined]
        return test
    return put


def as_case(target: Any, *inputs: Any, **keywords: Any) -> Case:
    """A Case as it is; of anything else that `check` takes, what `case` makes. Errors: TypeError where a Case is given more."""
    if not isinstance(target, Case):
        return case(_factory(target), *inputs, **{"name": _name_of(target), **keywords})
    if more := [*map(repr, inputs), *(k for k, v in keywords.items() if v is not None)]:
        raise TypeError(f"the case {target.name!r} says itself what it is judged with, got {', '.join(more)} beside it")
    return target


@dataclass(frozen=True)
class Result:
    """The verdict on one layer, with the evidence; true if it passed. It prints what the command line prints.

    >>> import gradcheck
    >>> from layers import Add
    >>> result = gradcheck.check(Add, profile="quick")
    >>> assert result, result
    >>> result.report().save("add.html")
    """
    _report: Report

    @property
    def verdict(self) -> Verdict:
        """The gravest of all rows'."""
        return self._report.verdict

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """The coarsest pass, or the failure, of every row."""
        return tuple(e for c in self._report.cases for r in c.rows if (e := r.failure.evidence if r.failure else r.example))

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
        from .report.notebook import to_notebook
        return to_notebook(self._report)


def _name_of(target: Any) -> str:
    target = owner if isinstance(owner := getattr(target, "__self__", None), type) else target       # of `Function.apply`, the Function
    name = getattr(target, "__name__", "") or getattr(target, "name", "")
    return name if isinstance(name, str) and name and name != "<lambda>" else type(target).__name__ if not callable(target) else "layer"


def _factory(target: Any) -> Any:
    """A layer that exists already is built by copying it."""
    if inspect.isclass(target) or inspect.isroutine(target) or isinstance(target, Subject) or adapters.is_itself(target):
        return target
    return lambda: copy.deepcopy(target)
