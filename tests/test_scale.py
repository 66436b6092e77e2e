"""A run spread over workers, parts and interruptions gives the report of a serial one: nothing lost, nothing judged twice."""
from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future
from dataclasses import replace

import numpy as np
import pytest
from user_files import HEAD, RIGHT, WRONG

import gradcheck
from gradcheck import report, runner, workers
from gradcheck.evidence import Evidence, Point, Resolution, Verdict
from gradcheck.gather import Seen, joined, row_of, tallied
from gradcheck.report.codec import timeless
from gradcheck.runner import run, told_apart, within
from gradcheck.targets import find

FEW = ("adjoint", "shapes", "repeat")
KILLS = """
class Kills(Layer):
    '''A worker dies of it, where it is not told to spare the process that runs here.'''
    law = "n d -> n d"

    def fwd(self, p, x):
        if MARK.exists() and MARK.read_text() != str(os.getpid()):
            os._exit(7)
        return x, Vars()

    def bwd(self, p, r, dy):
        return dy, Vars()
"""
ONCE = KILLS.replace("Kills", "Once").replace("os._exit", "MARK.unlink(); os._exit")
SLOW = """
import time


class Slow(Layer):
    law = "n d -> n d"

    def fwd(self, p, x):
        time.sleep(0.003)
        return x * x, Vars(X=x)

    def bwd(self, p, r, dy):
        return 2 * r.X * dy, Vars()
"""


@pytest.fixture
def cases(folder):
    """The cases of a file with these texts; MARK is a file beside it."""
    def of(*texts, name="mine.py"):
        head = f"import os\nfrom pathlib import Path\n{HEAD}\nMARK = Path({str(folder / 'mark')!r})\n"
        (folder / name).write_text(head + "".join(texts))
        return find(name).cases
    return of


def quick(given, **keywords):
    return run(given, profile="quick", **{"checks": FEW, **keywords})


def same(*reports):
    first, *others = (timeless(r) for r in reports)
    return all(first == other for other in others)


def renamed(text, *names):
    """The same layer under several names."""
    (old,) = [line.split()[1].partition("(")[0] for line in text.splitlines() if line.startswith("class ")]
    return [text.replace(old, name) for name in names]


# workers ------------------------------------------------------------------------------------------------------------------------

def test_a_worker_that_dies_takes_nobody_along(cases, folder):
    given = cases(*renamed(RIGHT, "A", "B", "C"), KILLS, *renamed(RIGHT, "D", "E"))
    (folder / "mark").write_text(str(os.getpid()))                          # a serial run is spared
    whole = {c.name: c for c in quick(given).cases}
    with workers.fresh(2) as executor:
        spread = {c.name: c for c in quick(given, executor=executor).cases}
    assert list(spread) == list(whole) and spread.pop("Kills").error.startswith("the worker crashed: BrokenProcessPool")
    assert all(same(spread[name], whole[name]) for name in spread)


def test_a_worker_that_was_killed_once_is_no_crash(cases, folder):
    given = cases(ONCE, RIGHT)
    whole = quick(given)
    (folder / "mark").write_text("")
    with workers.fresh(1) as executor:
        assert same(quick(given, executor=executor), whole) and not (folder / "mark").exists()


def test_a_crash_says_at_which_points(cases, folder):
    (right,) = cases(RIGHT)
    units = []

    class Dies(Executor):
        """Loses the second slice of points, wherever it is tried."""
        def submit(self, fn, unit):
            units.append(runner.decode(unit, runner.Unit))
            future = Future()
            try:
                if units[-1].start == runner.SLICE:
                    raise MemoryError("no room")
                future.set_result(fn(unit))
            except MemoryError as error:
                future.set_exception(error)
            return future

    alone, workers.fresh = workers.fresh, lambda n: Dies()
    try:
        (found,) = run([right], checks=["shapes"], executor=Dies()).cases
    finally:
        workers.fresh = alone
    total = sum(runner.PROFILES["default"].points.values())
    assert found.error == f"the worker crashed: MemoryError: no room, at points {runner.SLICE + 1} to {2 * runner.SLICE} of {total}"
    assert {sum(r.points.values()) for r in found.rows} == {total - runner.SLICE} and found.verdict is Verdict.ERROR
    assert sum(u.start == runner.SLICE for u in units) == 1 + workers.LIVES


@pytest.mark.frameworks
def test_loky_finds_what_a_serial_run_finds(cases, folder):
    loky = pytest.importorskip("loky", reason="an executor that other people use; `make test-frameworks` installs it")
    given = cases(RIGHT, WRONG, KILLS)
    (folder / "mark").write_text("")
    with loky.ProcessPoolExecutor(2) as executor:
        spread = quick(given, executor=executor)
    (folder / "mark").unlink()
    whole = quick(given)
    assert [c.name for c in spread.cases if c.verdict is Verdict.ERROR] == ["Kills"]
    assert same(*[[c for c in r.cases if c.name != "Kills"] for r in (spread, whole)])


@pytest.mark.frameworks
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")       # of the killed worker's sockets
def test_a_dask_cluster_survives_the_death_of_a_worker(cases):
    distributed = pytest.importorskip("dask.distributed", reason="a cluster that other people use; `make test-frameworks` installs it")
    given, killed = cases(*renamed(SLOW, "S1", "S2", "S3"), RIGHT, WRONG), []

    def kill(what, done, total):
        if done >= 8 and not killed:                                         # of 3 units for each of 5 cases
            killed.append(next(iter(client.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)

    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, distributed.Client(cluster) as client:
        found = quick(given, executor=client.get_executor(pure=False), progress=kill)
    assert killed and same(found, quick(given))


# parts --------------------------------------------------------------------------------------------------------------------------

def test_shards_merged_are_the_whole_run(cases):
    given = cases(*renamed(RIGHT, *"ABCDEF"), WRONG)
    parts = [quick(given, shard=(i, 3), command=f"gradcheck run mine.py --shard {i}/3") for i in (1, 2, 3)]
    assert sorted(c.name for p in parts for c in p.cases) == sorted(c.name for c in given)
    assert sum(bool(p.cases) for p in parts) > 1
    whole = report.codec.canonical(quick(given, command="gradcheck run mine.py"))
    assert same(*(report.merge(order) for order in itertools.permutations(parts)), whole)


@pytest.mark.parametrize("shard", [(0, 3), (4, 3), (1, 0)])
def test_a_shard_that_cannot_be_is_refused(shard):
    with pytest.raises(workers.Refused, match="shard"):
        within(shard, "A")


def test_cases_of_one_name_are_told_apart(cases):
    here, there = cases(RIGHT), cases(*renamed(WRONG, "Right"), name="other.py")
    found = quick([*here, *there, *here])
    assert {c.name: c.verdict for c in found.cases} == {"Right (mine.py:Right)": Verdict.PASS, "Right (other.py:Right)": Verdict.FAIL}
    assert {c.name for i in (1, 2) for c in quick([*here, *there], shard=(i, 2)).cases} == {c.name for c in found.cases}
    with pytest.raises(workers.Refused, match="two cases are called 'Right'"):
        told_apart([replace(here[0], target=""), replace(there[0], target="")])


def test_a_run_can_stop_at_the_first_wrong_case(cases):
    given = cases(*renamed(RIGHT, "A"), WRONG, *renamed(RIGHT, "Z"))
    found = quick(given, fail_fast=True)
    assert [c.name for c in found.cases] == ["A", "Wrong"]
    assert [n.what for n in found.not_checked] == ["Z"] and "stopped" in found.not_checked[0].why


# interruptions ------------------------------------------------------------------------------------------------------------------

def units(notes):
    """The units whose answers the file holds."""
    lines = [line for line in notes.read_text().splitlines()[1:] if line.endswith("}")]
    return [json.loads(line)["unit"] for line in lines]


def test_an_interrupted_run_goes_on_where_it_was(cases, folder):
    given, notes = cases(*renamed(RIGHT, *"ABC"), WRONG), folder / "notes" / "run.jsonl"

    def interrupt(what, done, total):
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quick(given, resume=notes, progress=interrupt)
    with notes.open("ab") as file:
        file.write(b'{"unit": "00", "answ')                                  # as a kill leaves it
    first, whole = len(units(notes)), quick(given)
    assert same(quick(given, resume=notes), whole)
    done = units(notes)
    assert 0 < first < len(done) == len({*done})                            # no unit was done twice
    assert same(quick(given, resume=notes), whole) and units(notes) == done


def test_what_has_changed_since_is_judged_anew(cases, folder):
    notes = folder / "run.jsonl"
    right = quick(cases(*renamed(RIGHT, "Same")), resume=notes)
    wrong = quick(cases(*renamed(WRONG, "Same"), name="mine2.py"), resume=notes)
    assert (right.verdict, wrong.verdict) == (Verdict.PASS, Verdict.FAIL)


def test_a_file_of_something_else_is_left_alone(cases, folder):
    (folder / "precious.csv").write_text("a,b\n")
    with pytest.raises(workers.Refused, match=r"precious\.csv is not what an interrupted run left behind"):
        quick(cases(RIGHT), resume=folder / "precious.csv")
    assert (folder / "precious.csv").read_text() == "a,b\n"


def test_the_command_line_spreads_stops_parts_and_resumes(cases, folder):
    cases(*renamed(SLOW, *(f"S{i}" for i in range(4))), RIGHT)
    base = [sys.executable, "-m", "gradcheck", "run", "mine.py", "--select", "adjoint", "--select", "shapes", "--profile", "quick"]
    assert subprocess.run([*base, "-o", "whole.json"], cwd=folder, capture_output=True).returncode == 0
    running = subprocess.Popen([*base, "-j", "2", "--resume", "notes.jsonl", "-o", "resumed.json"], cwd=folder, stderr=subprocess.DEVNULL)
    while not (notes := folder / "notes.jsonl").exists() or notes.read_bytes().count(b"\n") < 6:
        assert running.poll() is None
        time.sleep(0.05)
    running.kill()
    running.wait()
    assert subprocess.run([*base, "-j", "2", "--resume", "notes.jsonl", "-o", "resumed.json"], cwd=folder, capture_output=True).returncode == 0
    for i in (1, 2):
        assert subprocess.run([*base, "--shard", f"{i}/2", "-o", f"part{i}.json"], cwd=folder, capture_output=True).returncode == 0
    assert subprocess.run([*base[:3], "merge", "part2.json", "part1.json", "-o", "merged.json"], cwd=folder, capture_output=True).returncode == 0
    assert same(*(gradcheck.load(folder / f"{name}.json") for name in ("whole", "resumed", "merged")))


# tallies ------------------------------------------------------------------------------------------------------------------------

def seen(rng, count):
    """Evidence of every kind at `count` points."""
    for i in range(count):
        verdict = Verdict(str(rng.choice([Verdict.PASS] * 6 + [Verdict.FAIL, Verdict.UNDECIDED])))
        size = Resolution(entry=10.0 ** -rng.integers(5, 12), factor=1e-9) if verdict is Verdict.PASS and rng.random() < 0.8 else None
        yield Seen(i, Evidence(check="adjoint", primal="x", verdict=verdict, reason=f"at {i}", resolution=size, probes=int(rng.integers(9)),
                               marks=("vacuous",) * int(rng.random() < 0.2)))


@pytest.mark.parametrize("seed", range(20))
def test_a_row_is_the_same_however_its_points_were_divided(seed):
    rng = np.random.default_rng(seed)
    points = [Point(sizes={"n": int(rng.integers(1, 5))}, dtype=str(rng.choice(["float64", "float32"])), seed=i) for i in range(30)]
    found = list(seen(rng, 30))
    (whole,) = tallied(found, points)
    cuts = [0, *sorted(rng.choice(range(1, 30), 4, replace=False)), 30]
    parts = [t for a, b in itertools.pairwise(cuts) for t in tallied(found[a:b], points)]
    (again,) = joined([parts[i] for i in rng.permutation(len(parts))], points)
    assert row_of(again, points, 5) == row_of(whole, points, 5)
    assert len(whole.kept) <= 2 * len(Verdict) + 2 * 2 + 1


def test_a_failure_at_one_point_of_low_precision_is_no_verdict():
    points = [Point(dtype=d, seed=i) for i, d in enumerate(["float64"] * 6 + ["float32"] * 3)]
    found = [Seen(i, Evidence(check="adjoint", primal="x", verdict=Verdict.FAIL if i == 7 else Verdict.PASS)) for i in range(9)]
    (tally,) = tallied(found, points)
    assert row_of(tally, points, 5).verdict is Verdict.PASS and row_of(tally, points, 9).verdict is Verdict.UNDECIDED
    (tally,) = tallied([*found[:6], *(replace_verdict(s) for s in found[6:])], points)
    assert row_of(tally, points, 5).verdict is Verdict.FAIL


@pytest.mark.parametrize(("telling", "rest", "total", "verdict"), [
    (5, "vacuous", 28, Verdict.PASS), (4, "vacuous", 28, Verdict.UNDECIDED), (4, "vacuous", 7, Verdict.PASS), (3, "vacuous", 7, Verdict.UNDECIDED),
    (4, "coarse", 7, Verdict.UNDECIDED), (1, "vacuous", 1, Verdict.PASS), (0, "vacuous", 1, Verdict.UNDECIDED)])
def test_an_array_that_few_points_have_passes_if_most_of_them_tell_and_the_rest_is_zero(telling, rest, total, verdict):
    other = {"vacuous": {"verdict": Verdict.PASS, "marks": ("vacuous",)}, "coarse": {"verdict": Verdict.UNDECIDED, "reason": "coarse"}}[rest]
    found = [Seen(i, Evidence(check="adjoint", primal="x", **({"verdict": Verdict.PASS} if i < telling else other))) for i in range(total)]
    (tally,) = tallied(found, points := [Point(seed=i) for i in range(total)])
    assert row_of(tally, points, 5).verdict is verdict


def replace_verdict(s):
    return Seen(s.at, Evidence(check="adjoint", primal="x", verdict=Verdict.FAIL))
