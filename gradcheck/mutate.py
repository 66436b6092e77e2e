"""Would my checks notice? A layer's own backward pass is made wrong in one place at a time, and the battery judges each mutant.

What is changed is what backward runs and forward does not: the pullback, and the functions of its own package that it calls.
A mutant counts as killed by the first check that fails, raises, or does not come to an end. Of the others those are set aside as
equivalent whose cotangents are the same within rounding at many ordinary points, or differ at ties only, where either is right.
"""
from __future__ import annotations

import marshal
import sys
import time
import types
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from math import inf
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from .answers import Answer, Question, attempt, backward
from .checks import CHECKS, applicable
from .checks.values import RECIPES
from .evidence import Evidence, Mutation, Point, Survivor, Verdict
from .mutants import Edit, Memory, edits, forget, installed, memories, outermost, recompiled, top, within
from .runner import LOW_PRECISION, PROFILES, Progress, blame, undisturbed
from .strategies import points
from .subjects import Case, Subject, copied, generator

TRACED = 40               # points at which is seen what backward runs
COMPARED = 60             # ordinary points at which a survivor is compared with the original
LEAST_S, SLOWER = 20.0, 50.0      # between two signs of life: so long, or so many times as long as the original's slowest check at a point
TIES = ("zeros", "value")         # words of the recipes that make ties
TOOLS = {__package__, "numpy", "scipy", "torch", "jax", "autograd", *sys.stdlib_module_names}     # what layers are written with
WRONG = (Verdict.FAIL, Verdict.ERROR)
HUNG, CRASHED = "time limit", "crash"


class Fate(NamedTuple):
    """What became of a mutant."""
    what: Literal["killed", "survived", "equivalent", "idle"]
    by: str = ""              # the check that noticed; why it is equivalent
    why: str = ""             # what the check said; of a survivor, the case that would show it


@dataclass(frozen=True)
class Plan:
    """How every mutant of a case is judged; picklable."""
    target: str
    name: str
    checks: tuple[str, ...]
    profile: str
    seed: int
    functions: tuple[bytes, ...] = ()                      # what is changed, marshalled: what runs depends on what ran before, so it is found once
    known: frozenset[tuple[str, str]] = frozenset()        # what fails without any mutation: it tells nothing
    silent: frozenset[tuple[int, str, int]] = frozenset()  # (function, check, point) where it does not run: a mutant of it changes nothing there

    def points(self, case: Case) -> list[Point]:
        return [p for dtype, n in PROFILES[self.profile].points.items() for p in points(case, n, self.seed, dtype)]


# what may be changed -----------------------------------------------------------------------------------------------------------

def functions(case: Case, seed: int = 0) -> list[types.CodeType]:
    """The code that backward runs and forward does not, in the package of the first of it."""
    ahead, back, held = Counter[types.CodeType](), Counter[types.CodeType](), list[Memory]()
    with undisturbed():
        for point in points(case, TRACED, seed):
            s = case.subject(point)
            q = Question.at(s, "trace")
            forget(held)
            with traced(ahead):
                tape = s.tape()
                tape.forward(copied(q.primals))
            with traced(back):
                backward(s, tape, [np.copy(dy) for dy in q.dys])
            held = held or memories({_package(c) for c in back} - {"", *TOOLS})
    theirs = [c for c in back if _package(c) not in ("", *TOOLS)]
    return outermost([c for c in theirs if c not in ahead and _package(c) == _package(theirs[0])])


@contextmanager
def traced(seen: Counter[types.CodeType]) -> Iterator[None]:
    """Note the code of every Python function that is called meanwhile, in order, and how often."""
    def note(frame: types.FrameType, event: str, _: object) -> None:
        if event == "call":
            seen[frame.f_code] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(before)


def _package(code: types.CodeType) -> str:
    """The top package of the module that the code's file is; "" where it is no module's."""
    modules = (m.__name__ for m in list(sys.modules.values()) if getattr(m, "__file__", None) == code.co_filename and m.__name__ != "__mp_main__")
    return top(next(modules, ""))


@dataclass
class Laboratory:
    """The mutants of one case, made in this process, and what is known of the original."""
    case: Case
    plan: Plan
    beat: Callable[[], None] = lambda: None                # called between any two steps: the process is alive

    @cached_property
    def functions(self) -> list[types.CodeType]:
        return [marshal.loads(code) for code in self.plan.functions] or functions(self.case, self.plan.seed)

    @cached_property
    def memories(self) -> list[Memory]:
        return memories({_package(code) for code in self.functions})

    @cached_property
    def mutants(self) -> list[tuple[types.CodeType, Edit]]:
        return [(code, e) for code in self.functions for e in edits(code)]

    @cached_property
    def points(self) -> list[Point]:
        return self.plan.points(self.case)

    def fate(self, i: int) -> Fate:
        """What becomes of the i-th mutant."""
        old, edit = self.mutants[i]
        new = recompiled(old, edit)
        if new is None:
            return Fate("idle", "the same code")
        with undisturbed():
            with installed(old, new):
                noticed = self.noticed(self.functions.index(old))
            return noticed or self.difference(old, new)

    def noticed(self, function: int) -> Fate | None:
        """The first check that fails, one check after the other at all points where it runs the function; in low precision a failure must recur."""
        at: dict[str, Subject | Exception] = {}
        for name in self.plan.checks:
            low: Counter[str] = Counter()
            for point in [p for i, p in enumerate(self.points) if (function, name, i) not in self.plan.silent]:
                self.beat()
                for e in self.against(name, point, at):
                    low[e.primal] += point.dtype in LOW_PRECISION
                    if point.dtype not in LOW_PRECISION or low[e.primal] > 1 or e.verdict is Verdict.ERROR:
                        return Fate("killed", name, e.reason)
        return None

    def against(self, name: str, point: Point, at: dict[str, Subject | Exception]) -> Iterator[Evidence]:
        """What a check has against the layer as it is now, and had not before."""
        yield from (e for e in self.evidence(name, point, at) if e.verdict in WRONG and (name, e.primal) not in self.plan.known)

    def evidence(self, name: str, point: Point, at: dict[str, Subject | Exception]) -> Iterator[Evidence]:
        """What a check says of the layer as it is now, line by line: who has seen enough leaves the rest."""
        key = repr(point)
        if key not in at:
            try:
                at[key] = self.case.subject(point)
            except Exception as error:                     # a foreign layer runs once while it is built
                at[key] = error
        s = at[key]
        if isinstance(s, Exception):
            yield Evidence(check=name, verdict=Verdict.ERROR, reason=f"{type(s).__name__}: {s}")
        elif not applicable(CHECKS[name], s):
            try:
                yield from CHECKS[name].run(s)
            except Exception as error:
                yield Evidence(check=name, verdict=Verdict.ERROR, reason=blame(error))

    def difference(self, old: types.CodeType, new: types.CodeType) -> Fate:
        """Where the mutant that nobody noticed answers otherwise than the original: at ordinary points, at special values, or nowhere."""
        told = [t for t in self.told if t.ran & within(old)]
        with installed(old, new):
            said = [self.asked(t.question) for t in told]
        for t, (other, raised) in zip(told, said, strict=True):
            wrong = raised or next(t.question.departures(other), "")
            tied = any(word in t.recipe for word in TIES) and not raised and _finite(t.question.answer, other)
            if wrong and not tied:
                return Fate("survived", why=f"{self.case.family.code(t.point)}{f', with {t.recipe}' if t.recipe else ''}: {wrong}")
        same = all(_same(t.question.answer, other) for t, (other, _) in zip(told, said, strict=True))
        return Fate("equivalent", "the same bits" if same else "within rounding, or at ties alone")

    def asked(self, question: Question) -> tuple[Answer, str]:
        """What the layer as it is now answers, or what it raises."""
        self.beat()
        return attempt(question.ask)

    @cached_property
    def told(self) -> list[Told]:
        """What the original answers at ordinary points and at special values, as far as it takes them."""
        found = []
        for point in points(self.case, COMPARED, self.plan.seed + 1):
            self.beat()
            s = self.case.subject(point)
            for name, there in (("", s), *self.special(s)):
                question, ran = Question.at(there, "mutant"), Counter[types.CodeType]()
                forget(self.memories)
                with traced(ran):
                    _, refused = attempt(lambda question=question: question.answer)            # type: ignore[misc]
                found += [Told(point, name, question, frozenset(ran))] * (not refused)
        return found

    def special(self, s: Subject) -> Iterator[tuple[str, Subject]]:
        """The subject with each kind of special inputs, where the layer is finite there."""
        for name, recipe in RECIPES.items():
            rng = s.rng("mutant", name)
            primals = {**s.primals, **{k: recipe(rng, s.primals[k]).astype(s.primals[k].dtype) for k in s.inputs}}
            there = replace(s, primals=primals)
            ys, raised = attempt(lambda there=there: {str(i): y for i, y in enumerate(there(there.primals))})      # type: ignore[misc]
            if not raised and all(np.isfinite(y).all() for y in ys.values()):
                yield name, there


class Told(NamedTuple):
    """A question that the original has answered, and the code that ran for it."""
    point: Point
    recipe: str               # of its inputs, "" where they are ordinary
    question: Question
    ran: frozenset[types.CodeType]


def _finite(right: Answer, other: Answer) -> bool:
    """Whether an answer has all arrays of another, and is finite where that is."""
    return all(k in other and other[k].shape == a.shape and np.isfinite(other[k][np.isfinite(a)]).all() for k, a in right.items())


def _same(right: Answer, other: Answer) -> bool:
    return all(k in other and np.array_equal(a, other[k], equal_nan=a.dtype.kind in "fc") for k, a in right.items())


# processes: a mutant may hang, or take its interpreter along ---------------------------------------------------------------------

@dataclass
class Worker:
    """A process that makes the mutants for itself, gives signs of life, and answers by number."""
    plan: Plan
    limit: float
    index: int | None = None
    deadline: float = inf
    line: Connection = field(init=False)
    ready: bool = False

    def __post_init__(self) -> None:
        context = get_context("spawn")
        self.line, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, self.plan), daemon=True)
        self.process.start()
        theirs.close()

    def give(self, index: int) -> None:
        self.index, self.deadline = index, time.monotonic() + self.limit if self.ready else inf
        self.line.send(index)

    def take(self) -> Fate | None:
        """The fate of what it was given, if there is one by now: its answer, its death, or its delay."""
        try:
            while self.line.poll():
                if (said := self.line.recv()) is not None:
                    return Fate(*said)
                self.ready, self.deadline = True, time.monotonic() + self.limit
        except (EOFError, ConnectionError):
            self.process.join(1)
            if not self.ready:
                raise RuntimeError(f"{self.plan.target} could not be found again in another process (exit code {self.process.exitcode})") from None
            return Fate("killed", CRASHED, f"the process died (exit code {self.process.exitcode})")
        if time.monotonic() > self.deadline:
            return Fate("killed", HUNG, f"no sign of life for {self.limit:.0f} s")
        return None

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.line.close()


def _work(line: Connection, plan: Plan) -> None:
    from .targets import find
    with redirect_stdout(sys.stderr):
        laboratory = Laboratory(next(c for c in find(plan.target).cases if c.name == plan.name), plan, lambda: line.send(None))
        if laboratory.mutants:
            laboratory.beat()
        while True:
            line.send(tuple(laboratory.fate(line.recv())))


def fates(plan: Plan, chosen: Sequence[int], workers: int, limit: float, told: Callable[[int], None] = lambda done: None) -> dict[int, Fate]:
    """The fate of each mutant that was chosen."""
    waiting, found, crew = list(reversed(chosen)), dict[int, Fate](), [Worker(plan, limit) for _ in range(min(workers, len(chosen)))]
    try:
        while len(found) < len(chosen):
            for i, w in enumerate(crew):
                fate = w.take() if w.index is not None else None
                if fate:
                    found[w.index] = fate                  # type: ignore[index]
                    told(len(found))
                    if fate.by in (HUNG, CRASHED):
                        w.stop()
                        crew[i] = w = Worker(plan, limit)
                    w.index, w.deadline = None, inf
                if w.index is None and waiting:
                    w.give(waiting.pop())
            busy = [w for w in crew if w.index is not None]
            if busy:
                soonest = min(w.deadline for w in busy)
                wait([w.line for w in busy], max(0.0, soonest - time.monotonic()) if soonest < inf else None)
    finally:
        for w in crew:
            w.stop()
    return found


# a whole case --------------------------------------------------------------------------------------------------------------------

def mutate(case: Case, *, checks: Sequence[str] | None = None, profile: str = "quick", seed: int = 0, workers: int = 1, most: int | None = None,
           limit: float | None = None, progress: Progress = lambda what, done, total: None) -> tuple[Mutation, dict[str, Fate]]:
    """Judge the mutants of a case's backward pass: the score with its survivors, and the fate of each by its diff.

    checks: names, the default battery if None; `adjoint` goes first, the others by what they cost. most: so many mutants, chosen at
    random by the seed. limit: seconds without a sign of life from one; None: by what the original takes. The case must be found by its target.
    """
    battery = [c.name for c in CHECKS.values() if (c.default if checks is None else c.name in checks)]
    plan = Plan(case.target, case.name, tuple(battery), profile, seed)
    plan = replace(plan, functions=tuple(map(marshal.dumps, functions(case, seed))))
    cost, plan = unmutated(case, plan)
    mutants = Laboratory(case, plan).mutants
    rng = generator("mutate", case.name, seed)
    chosen = sorted(rng.choice(len(mutants), most, replace=False).tolist()) if most is not None and most < len(mutants) else range(len(mutants))
    seconds = limit or max(LEAST_S, SLOWER * max(cost.values(), default=0.0))
    progress(case.name, 0, len(chosen))
    found = fates(plan, list(chosen), workers, seconds, lambda done: progress(case.name, done, len(chosen)))
    judged = {i: fate for i, fate in sorted(found.items()) if fate.what != "idle"}
    count, kills = Counter(f.what for f in judged.values()), Counter(f.by for f in judged.values() if f.what == "killed")
    alive = tuple(Survivor(what=mutants[i][1].kind, where=_where(mutants[i][1]), diff=mutants[i][1].diff, add=f.why)
                  for i, f in judged.items() if f.what == "survived")
    score = Mutation(case=case.name, killed=count["killed"], survived=count["survived"], equivalent=count["equivalent"],
                     kills=dict(sorted(kills.items(), key=lambda k: (-k[1], k[0]))), survivors=alive)
    return score, {f"{_where(mutants[i][1])} {mutants[i][1].kind}\n{mutants[i][1].diff}": f for i, f in judged.items()}


def unmutated(case: Case, plan: Plan) -> tuple[dict[str, float], Plan]:
    """What each check costs on the original at its slowest point; and the plan, cheap checks after `adjoint` first, with what is known before any mutation."""
    laboratory, at = Laboratory(case, plan), dict[str, Subject | Exception]()
    cost, calls = dict.fromkeys(plan.checks, 0.0), Counter[str]()
    known, silent = set[tuple[str, str]](), set[tuple[int, str, int]]()
    with undisturbed():
        for name, (i, point) in product(plan.checks, enumerate(laboratory.points)):
            began, ran = time.perf_counter(), Counter[types.CodeType]()
            forget(laboratory.memories)
            with traced(ran):
                found = list(laboratory.evidence(name, point, at))
            cost[name] = max(cost[name], time.perf_counter() - began)
            calls[name] += ran.total()
            known |= {(name, e.primal) for e in found if e.verdict in WRONG}
            silent |= {(f, name, i) for f, code in enumerate(laboratory.functions) if not ran.keys() & within(code)}
    first = tuple(sorted(plan.checks, key=lambda c: (c != "adjoint", calls[c])))
    return cost, replace(plan, checks=first, known=frozenset(known), silent=frozenset(silent))


def _where(edit: Edit) -> str:
    here = Path.cwd()
    file = Path(edit.file)
    return f"{file.relative_to(here) if file.is_relative_to(here) else file}:{edit.line}"
