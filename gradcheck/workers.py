"""Work units over any executor: nothing is lost when a worker dies, and nothing is done twice when a run is resumed.

A unit is bytes, and so is its answer; `work(unit)` depends on nothing else, so it may run anywhere, in any order, twice.
A task is a generator that yields lists of units, is sent the lists of their answers, and returns what follows from them.

A dead worker takes its pool along, and with it units that did nothing wrong. Each of those is tried again alone, in a process
that it has to itself; one that kills `LIVES` of these is answered by a `Crash`. The rest goes on in a new pool of the same size.
"""
from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import inf
from multiprocessing import get_context
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

T = TypeVar("T")
LIVES = 2                 # processes of its own that a unit may kill: one may have been killed by somebody else
AHEAD = 3                 # units in a pool for each of its workers: no worker waits for the next, and few units are lost with it


class Refused(ValueError):
    """What was asked cannot be done, and nothing was."""


@dataclass(frozen=True)
class Crash:
    """A unit's answer where its worker died each time."""
    why: str


Answer = bytes | Crash
Task = Generator[list[bytes], list[Answer], T]
Work = Callable[[bytes], bytes]
Told = Callable[[int, int, int], None]                 # the task, how many units are done, of how many that are known


def fresh(workers: int) -> ProcessPoolExecutor:
    """A pool of new processes: they inherit no thread, no lock and no random state."""
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


class Inline(Executor):
    """Here and now. What the work raises comes out of `submit`: it is no worker's death."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **keywords: Any) -> Future[T]:
        future: Future[T] = Future()
        future.set_result(fn(*args, **keywords))
        return future


# tasks --------------------------------------------------------------------------------------------------------------------------

@dataclass
class Batch:
    """The units that a task waits for, with the answers that are there."""
    task: int
    units: list[bytes]
    answers: list[Answer | None]

    @property
    def complete(self) -> bool:
        return None not in self.answers


@dataclass(eq=False)
class Job:
    """One unit of a batch on its way."""
    batch: Batch
    place: int
    deaths: int = 0

    @property
    def unit(self) -> bytes:
        return self.batch.units[self.place]


def completed(tasks: Iterable[Task[T]], work: Work, executor: Executor | None = None, *, journal: Journal | None = None,
              told: Told = lambda task, done, known: None) -> Iterator[tuple[int, T]]:
    """What each task returns, with its place among them, as they come to an end. Closing the iterator cancels the rest."""
    tasks, journal, done, known = [*tasks], journal or Journal(), 0, 0
    ready: deque[tuple[int, Any]] = deque((i, None) for i in range(len(tasks)))
    with Crew(work, executor or Inline()) as crew:
        while ready or crew.busy:
            if ready:
                i, answers = ready.popleft()
                try:
                    units = tasks[i].send(answers)
                except StopIteration as end:
                    yield i, end.value
                    continue
                batch = Batch(i, units, [journal.get(unit) for unit in units])
                crew.add([Job(batch, place) for place, answer in enumerate(batch.answers) if answer is None])
                known, done = known + len(units), done + len(units) - batch.answers.count(None)
            else:
                job, answer = crew.next()
                batch, done = job.batch, done + 1
                batch.answers[job.place] = journal.add(job.unit, answer)
            if batch.complete:
                ready.append((batch.task, batch.answers))
            told(batch.task, done, known)


# executors ----------------------------------------------------------------------------------------------------------------------

@dataclass
class Lane:
    """An executor, what waits for it, and what it has in hand."""
    executor: Executor | None
    window: float
    again: Callable[[], Executor]                      # another one, when this one is broken
    waiting: list[tuple[int, int, Job]] = field(default_factory=list)
    flying: dict[Future[bytes], Job] = field(default_factory=dict)

    def launch(self, work: Work) -> None:
        while self.waiting and len(self.flying) < self.window:
            self.executor = self.executor or self.again()
            try:
                self.flying[self.executor.submit(work, self.waiting[0][-1].unit)] = self.waiting[0][-1]
            except BrokenExecutor:
                self.executor = None
            else:
                heappop(self.waiting)


class Crew:
    """Jobs in, answers out. The executor that was given is left running; those that had to be made end with the crew."""

    def __init__(self, work: Work, executor: Executor) -> None:
        workers = getattr(executor, "_max_workers", None)          # a pool says how many it has; a cluster may have any number
        self.work, self.stack, self.order = work, ExitStack(), count()
        self.main = Lane(executor, 1 if isinstance(executor, Inline) else AHEAD * workers if workers else inf,
                         lambda: self.stack.enter_context(fresh(workers or os.cpu_count() or 1)))
        self.alone = Lane(None, 1, lambda: self.stack.enter_context(fresh(1)))
        self.lanes = (self.main, self.alone)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *error: object) -> None:
        for lane in self.lanes:
            lane.waiting.clear()
            for future in lane.flying:
                future.cancel()
        self.stack.close()

    @property
    def busy(self) -> bool:
        return any(lane.waiting or lane.flying for lane in self.lanes)

    def add(self, jobs: list[Job]) -> None:
        """Short lists first: their tasks are the nearest to going on."""
        for job in jobs:
            heappush(self.main.waiting, (len(jobs), next(self.order), job))

    def next(self) -> tuple[Job, Answer]:
        """The next answer, however many workers die before it is there."""
        while True:
            for lane in self.lanes:
                lane.launch(self.work)
            wait([future for lane in self.lanes for future in lane.flying], return_when=FIRST_COMPLETED)
            for lane in self.lanes:
                for future in [f for f in lane.flying if f.done()]:
                    job = lane.flying.pop(future)
                    if (answer := self._answer(lane, job, future)) is not None:
                        return job, answer

    def _answer(self, lane: Lane, job: Job, future: Future[bytes]) -> Answer | None:
        """What the unit came to; None if it is tried again, alone."""
        error = None if future.cancelled() else future.exception()
        if not future.cancelled() and error is None:
            return future.result()
        job.deaths += lane is self.alone
        if job.deaths == LIVES:
            return Crash(f"{type(error).__name__}: {error}" if error else "its executor cancelled it")
        heappush(self.alone.waiting, (1, next(self.order), job))
        return None


# what was done before -----------------------------------------------------------------------------------------------------------

class Header(msgspec.Struct, tag_field="journal", tag="gradcheck"):
    """The first line of a journal: of what it holds the answers."""
    of: str


class Line(msgspec.Struct):
    """Any other line: a unit's digest and its answer."""
    unit: str
    answer: msgspec.Raw


class Journal:
    """Answers as lines of JSON, written as they come and read again by the next run; without a path, none is known and none kept.

    of: what the answers depend on besides the units. A journal of something else is begun anew. Errors: Refused if `path` is none.
    """

    def __init__(self, path: Path | None = None, of: str = "") -> None:
        self.known: dict[str, bytes] = {}
        self.file: IO[bytes] | None = None
        if path is None:
            return
        lines = path.read_bytes().splitlines() if path.exists() else []
        if lines and _of(lines[0], path) != of:
            lines = []
        self.known = dict(_lines(lines[1:]))
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = path.open("ab" if lines else "wb")
        self._write(b"" if lines else msgspec.json.encode(Header(of)))       # a new line: the last one may be torn

    def get(self, unit: bytes) -> bytes | None:
        return self.known.get(_digest(unit)) if self.known else None

    def add(self, unit: bytes, answer: Answer) -> Answer:
        """The answer, once it is written; a crash is not: the next run tries again."""
        if self.file and isinstance(answer, bytes):
            self._write(msgspec.json.encode(Line(_digest(unit), msgspec.Raw(answer))))
        return answer

    def _write(self, line: bytes) -> None:
        if self.file:
            self.file.write(line + b"\n")
            self.file.flush()

    def close(self) -> None:
        if self.file:
            self.file.close()


def _of(line: bytes, path: Path) -> str:
    try:
        return msgspec.json.decode(line, type=Header).of
    except msgspec.DecodeError:
        raise Refused(f"{path} is not what an interrupted run left behind: its first line says no such thing") from None


def _lines(lines: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    """Unit and answer of each line; one that was cut off when the run was killed has none."""
    for text in lines:
        try:
            line = msgspec.json.decode(text, type=Line)
        except msgspec.DecodeError:
            continue
        yield line.unit, bytes(line.answer)


def _digest(unit: bytes) -> str:
    return hashlib.blake2b(unit, digest_size=16).hexdigest()
