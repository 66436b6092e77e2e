"""What was measured and what follows from it: the vocabulary of a report. Imports nothing of ours.

Every type here is a msgspec struct, so a report is its JSON and nothing else. Units stand in the names (`time_s`).
"""
from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from msgspec import Struct, field

SCHEMA_VERSION = "1.2"          # 1.2: unasked; 1.1: bench, mutation; 1.0: the first


class Verdict(StrEnum):
    """What the evidence says. A run adds `error`, `skipped`, `xfail` and `xpass`."""
    PASS = "pass"
    FAIL = "fail"
    UNDECIDED = "undecided"
    ERROR = "error"
    SKIPPED = "skipped"
    XFAIL = "xfail"
    XPASS = "xpass"

    @property
    def bad(self) -> bool:
        """Whether a run that holds this verdict has failed."""
        return self in (Verdict.FAIL, Verdict.ERROR, Verdict.XPASS)


_GRAVITY = (Verdict.ERROR, Verdict.FAIL, Verdict.XPASS, Verdict.UNDECIDED, Verdict.XFAIL, Verdict.PASS, Verdict.SKIPPED)


def gravest(verdicts: Any) -> Verdict:
    """The verdict that speaks for all of them; of none: skipped."""
    return min(verdicts, key=_GRAVITY.index, default=Verdict.SKIPPED)


class _Frozen(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    pass


class Point(_Frozen, frozen=True):
    """One place in a layer's declared domain, as a specification: everything needed to build the same subject again."""
    sizes: dict[str, int | tuple[int, ...]] = {}     # of each input axis; of `*`, all the axes that it stands for
    options: dict[str, Any] = {}                     # hyperparameters, as JSON values
    inputs: int = 0                                  # how many, where the law takes any number; else 0
    dtype: str = "float64"
    train: bool = True
    seed: int = 0                                    # of every random number at this point


class Resolution(_Frozen, frozen=True):
    """The smallest error that would have failed here, relative to the primal's largest scaled cotangent entry."""
    entry: float                                     # of a single wrong entry
    factor: float                                    # of a common factor 1 + factor


class Calls(_Frozen, frozen=True):
    """How often the layer was run."""
    forward: int = 0
    backward: int = 0


class Entry(_Frozen, frozen=True):
    """One entry of a cotangent: what the layer claims and what was measured."""
    index: tuple[int, ...]
    claimed: float
    numeric: float
    bound: float                                     # of the measured value's error


class Sweep(_Frozen, frozen=True):
    """One difference ladder, for the V-curve: error against step, and the step that was used."""
    step: tuple[float, ...]
    error: tuple[float, ...]                         # of the plain central difference, relative to the final value
    chosen: float
    bound: float                                     # of the final value, relative


class Evidence(_Frozen, frozen=True):
    """What one check saw of one primal (or of the whole layer, `primal=""`) at one point."""
    check: str
    primal: str = ""
    verdict: Verdict = Verdict.PASS
    reason: str = ""                                 # why undecided or failed, in one sentence
    measured: float = 0.0                            # the discrepancy …
    bound: float = 0.0                               # … and what a correct layer's cannot exceed, in the same unit
    resolution: Resolution | None = None
    worst: tuple[Entry, ...] = ()
    diagnosis: str = ""                              # the kind of mistake, in one sentence
    marks: tuple[str, ...] = ()                      # "subgradient", "vacuous", "twin"
    notes: tuple[str, ...] = ()
    probes: int = 0
    calls: Calls = Calls()
    time_s: float = 0.0
    sweep: Sweep | None = None
    map: tuple[tuple[float, ...], ...] = ()          # on failure: relative errors of the worst block, at most 16 x 16


class Failure(_Frozen, frozen=True):
    """A failing point, shrunk, with all that a person needs to see it again."""
    point: Point
    code: str                                        # the code that builds it
    repeat: str                                      # the line that repeats it
    source: str                                      # file:line of the pullback, "" if unknown
    text: str                                        # the whole message, at most 25 lines
    evidence: Evidence


class Row(_Frozen, frozen=True):
    """One check of one primal over all points of a case. Its id in a report is `case/check/primal`."""
    check: str
    primal: str
    verdict: Verdict
    points: dict[str, int] = {}                      # how many points came to each verdict
    reason: str = ""
    marks: dict[str, int] = {}                       # how many points carry each mark
    finest: Resolution | None = None                 # among the points that passed in the highest precision …
    coarsest: Resolution | None = None
    coarsest_of: dict[str, Resolution] = {}          # … and the coarsest of every dtype
    example: Evidence | None = None                  # the coarsest pass, or the first that was undecided
    at: Point | None = None                          # … and where
    failure: Failure | None = None
    calls: Calls = Calls()                           # of all points together
    probes: int = 0
    time_s: float = 0.0


class Array(_Frozen, frozen=True):
    """One array of a forward or backward pass, for the shape ledger."""
    name: str
    role: Literal["input", "parameter", "buffer", "noise", "residual", "output", "upstream", "cotangent"]
    axes: str                                        # as the law names them, "" if it does not
    shape: tuple[int, ...]
    dtype: str


class Ledger(_Frozen, frozen=True):
    """Every array of one forward and one backward, with its shape, at one point."""
    point: Point
    code: str
    arrays: tuple[Array, ...]


class CaseReport(_Frozen, frozen=True):
    """All that a run found out about one case."""
    name: str
    target: str                                      # what `gradcheck run` takes to run this case alone
    adapter: str = ""                                # how the layer was recognised …
    notes: tuple[str, ...] = ()                      # … and what in it: its methods, parameters and gradients, what is held
    law: str = ""
    equation: str = ""                               # first lines of the layer's docstring
    source: str = ""                                 # file:line of the pullback
    domains: dict[str, tuple[Any, ...]] = {}         # every option with its values, as JSON
    convention: dict[str, str] = {}                  # declared choices that are no bugs
    points: int = 0
    rows: tuple[Row, ...] = ()
    ledger: Ledger | None = None
    error: str = ""                                  # why the case could not be judged at all
    time_s: float = 0.0

    @property
    def verdict(self) -> Verdict:
        if self.error:
            return Verdict.ERROR
        return gravest([r.verdict for r in self.rows if r.verdict is not Verdict.SKIPPED] or [Verdict.UNDECIDED])


class NotChecked(_Frozen, frozen=True):
    """What was not looked at, and why."""
    what: str
    why: str


class CheckInfo(_Frozen, frozen=True):
    """A check as the report explains it."""
    name: str
    category: Literal["gradient", "state", "contract"]
    since: str
    summary: str                                     # one sentence with the equation
    explanation: str                                 # the whole docstring


class Environment(_Frozen, frozen=True):
    """Where it ran."""
    python: str
    platform: str
    cpu: str
    cores: int
    versions: dict[str, str] = {}                    # of packages
    blas: str = ""
    threads: int = 1


class Spread(_Frozen, frozen=True):
    """A time that was measured many times."""
    median_s: float
    low_s: float                                     # bootstrap interval of the median …
    high_s: float
    quantiles_s: tuple[float, ...] = ()              # … and all rounds, outliers too, as at most 200 quantiles from the least to the largest
    rounds: int = 0


class Timing(_Frozen, frozen=True):
    """One layer's forward and backward at one size, undisturbed by other work."""
    case: str
    dtype: str
    size: str                                        # "small", "medium", "large"
    point: Point
    forward: Spread
    backward: Spread
    ratio: float                                     # backward : forward
    relative: float                                  # forward and backward : the reference workload, timed in turns; comparable between machines …
    relative_low: float = 0.0                        # … with its bootstrap interval
    relative_high: float = 0.0
    gflops: float | None = None                      # reached in forward and backward together, from declared work; None where none is declared
    gbs: float | None = None
    intensity: float | None = None                   # declared work per declared traffic, in FLOP per byte
    roofline: float | None = None                    # the share reached of what the machine allows at that intensity
    peak_bytes: int = 0                              # most memory held at once, beyond the arguments
    residual_bytes: int = 0                          # what forward keeps for backward

    @property
    def id(self) -> str:
        """Its stable name."""
        return f"{self.case}/{self.dtype}/{self.size}"


class Scaling(_Frozen, frozen=True):
    """How one pass of a layer grows along one axis: time ~ size ** exponent."""
    case: str
    side: Literal["forward", "backward"]
    axis: str
    dtype: str
    sizes: tuple[int, ...]
    times_s: tuple[float, ...]                       # medians
    exponent: float
    low: float                                       # interval of the exponent
    high: float
    declared: float | None = None                    # the exponent that the layer's declared work has


class Peak(_Frozen, frozen=True):
    """What the machine can do at best, measured in the same run."""
    dtype: str
    gflops: float                                    # of a large matrix product
    gbs: float                                       # of a large copy


class Bench(_Frozen, frozen=True):
    """All that was timed."""
    reference: str = ""                              # the reference workload, in words
    peaks: tuple[Peak, ...] = ()
    timings: tuple[Timing, ...] = ()
    scalings: tuple[Scaling, ...] = ()


class Survivor(_Frozen, frozen=True):
    """A wrong backward that no check noticed."""
    what: str                                        # the kind of change: "a sign flipped"
    where: str                                       # file:line
    diff: str                                        # unified
    add: str = ""                                    # the case that would show it: the code that builds it, and what differs there


class Mutation(_Frozen, frozen=True):
    """What the checks make of a layer whose backward was made wrong on purpose, once a mutant."""
    case: str
    killed: int
    survived: int
    equivalent: int = 0                              # that differ at ties only, within rounding, or not at all: set aside
    kills: dict[str, int] = {}                       # how many mutants each check caught
    survivors: tuple[Survivor, ...] = ()

    @property
    def score(self) -> float:
        """The share of mutants caught; 1 where there were none to catch."""
        return self.killed / (self.killed + self.survived) if self.killed + self.survived else 1.0

    @property
    def alone(self) -> float:
        """The share that `adjoint` catches, which goes first: it would without all other checks."""
        return self.kills.get("adjoint", 0) / (self.killed + self.survived or 1)


class Report(_Frozen, frozen=True):
    """A whole run. `save` writes .json, .html or .md; `gradcheck.load` reads a saved .json again."""
    environment: Environment
    command: str                                     # the line that repeats the run
    schema_version: str = SCHEMA_VERSION
    title: str = "gradcheck"
    profile: str = "default"
    seed: int = 0
    revision: str = ""                               # of the project checked, as git names it
    started: str = ""                                # ISO 8601, UTC
    time_s: float = 0.0
    cases: tuple[CaseReport, ...] = ()
    checks: tuple[CheckInfo, ...] = ()
    not_checked: tuple[NotChecked, ...] = ()
    unasked: tuple[str, ...] = ()                    # what was there and left out on purpose: `layer`, or `layer/check`
    bench: Bench | None = None
    mutation: tuple[Mutation, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)   # what a project adds of its own; rendered as JSON

    @property
    def verdict(self) -> Verdict:
        return gravest(c.verdict for c in self.cases)

    def save(self, path: Any) -> None:
        """Write the report; the suffix (.json, .html or .md) says as what. Errors: ValueError on another suffix.

        >>> import gradcheck
        >>> from layers import Add
        >>> gradcheck.run([gradcheck.case(Add)], profile="quick").save("add.json")
        >>> gradcheck.load("add.json").save("add.html")
        """
        from .report import save  # late: a report's types are read where its templates are not
        save(self, path)
