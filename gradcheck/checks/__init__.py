"""The battery. Each check is a generator `Subject -> Evidence…` in a file of its own, registered by `@check`.

The import lines at the end are the table of contents; their order is the order of a report.
"""
from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from ..evidence import CheckInfo, Evidence
from ..subjects import Subject

Run = Callable[[Subject], Iterator[Evidence]]
Explain = Callable[[Subject, Evidence], Evidence]
Category = Literal["gradient", "state", "contract"]


@dataclass(frozen=True)
class Check:
    """A registered check. `category` says whom it may accuse: `contract` only layers that promise the contract."""
    name: str
    run: Run
    category: Category
    since: str
    applies: Callable[[Subject], bool]
    default: bool                       # whether a run has it without being asked
    explain: Explain | None = None      # adds to a failure where it is and of what kind; asked once, at the smallest case

    @property
    def doc(self) -> str:
        return inspect.getdoc(self.run) or ""

    @property
    def info(self) -> CheckInfo:
        """The check as a report explains it."""
        return CheckInfo(name=self.name, category=self.category, since=self.since, summary=self.doc.partition("\n")[0], explanation=self.doc)


CHECKS: dict[str, Check] = {}


def check(category: Category, *, since: str, applies: Callable[[Subject], bool] = lambda s: True, default: bool = True,
          explain: Explain | None = None) -> Callable[[Run], Run]:
    """Register a check under its function's name: a generator of Evidence for one Subject.

    category: "contract" accuses only layers that promise it. applies: whether it makes sense for a subject. default: whether a run has it
    unasked. explain: adds to a failure where it is and of what kind.
    Errors: ValueError if the name is taken or the docstring missing.

    >>> import gradcheck, numpy as np
    >>> @gradcheck.register_check("gradient", since="0.1.0", default=False)
    ... def finite(s):
    ...     \"\"\"J'dy is finite. Cannot see: wrong values. How to fix: look for a division by zero.\"\"\"
    ...     d = s.pullback(s.primals, [np.ones_like(y) for y in s(s.primals)])
    ...     for name in s.differentiable:
    ...         fine = np.isfinite(d[name]).all()
    ...         yield gradcheck.Evidence(check="finite", primal=name, verdict=gradcheck.Verdict.PASS if fine else gradcheck.Verdict.FAIL)
    >>> from layers import Dense
    >>> gradcheck.check(Dense, checks=["finite"], profile="quick").verdict
    <Verdict.PASS: 'pass'>
    """
    def register(run: Run) -> Run:
        name = run.__name__
        if name in CHECKS or not run.__doc__:
            raise ValueError(f"check {name!r} {'exists already' if name in CHECKS else 'has no docstring: it is what a report shows'}")
        CHECKS[name] = Check(name, run, category, since, applies, default, explain)
        return run
    return register


register_check = check


def applicable(c: Check, s: Subject) -> str:
    """Why the check does not apply to this subject; "" if it does."""
    if c.category == "contract" and not s.facts.contract:
        return "its protocol promises no such contract"
    return "" if c.applies(s) else "not applicable to this layer"


from . import adjoint, jacobian, linear, shapes, options, values  # noqa: E402, F401, I001
from . import pure, alias, repeat, interleave, accumulate, seed, layout, dtype, subset, batch, padding  # noqa: E402, F401
from . import errors, shell, second, network  # noqa: E402, F401
