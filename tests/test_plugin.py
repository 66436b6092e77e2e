"""The pytest plugin as a project sees it: pytest in a process of its own, in a folder with one file of layers and one of tests."""
from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from textwrap import dedent

import pytest

import gradcheck
from gradcheck.checks import CHECKS
from gradcheck.messages import COLUMNS, LINES
from gradcheck.report import diff, to_html
from gradcheck.report.codec import timeless

LAYERS = """
    import os
    import numpy as np

    class Right:
        def __init__(self):
            self.W = np.random.randn(3, 2)

        def forward(self, x):
            self.x = x
            return x @ self.W

        def backward(self, dy):
            self.dW = self.x.T @ dy
            return dy @ self.W.T

    class Wrong(Right):
        def backward(self, dy):
            dx = super().backward(dy)
            self.dW = self.dW / len(dy)
            return dx

    class Dies(Right):
        def forward(self, x):
            os._exit(7)
"""
TESTS = """
    import gradcheck
    from mine import Right, Wrong, Dies

    @gradcheck.parametrize([{cases}])
    def test_gradients(check):
        check()
"""
TWO = 'gradcheck.case(Right, "n 3"), gradcheck.case(Wrong, "n 3", name="bad")'
FEW = ("--gradcheck-profile=quick", "--gradcheck-only=adjoint", "--gradcheck-only=linear")


@pytest.fixture
def project(tmp_path):
    """A folder with the layers; called with texts of files, it writes them."""
    def write(**files):
        for name, text in {"mine": LAYERS, **files}.items():
            (tmp_path / f"{name}.py").write_text(dedent(text))
        return tmp_path
    return write


def cases(text):
    return TESTS.format(cases=text)


def ran(folder, *arguments, plain=True):
    """pytest as a user's project runs it: none of this project's settings, random order only where it is asked for."""
    quiet = ("-p", "no:randomly", "-p", "no:benchmark") if plain else ()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV", "CI"))}
    return subprocess.run([sys.executable, "-m", "pytest", *quiet, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=120,
                          env={**environment, "COLUMNS": str(COLUMNS), "PYTHONPATH": str(folder)})


def outcomes(done):
    """How each item ended, by its id in brackets."""
    return {m[2]: m[1].lower() for m in re.finditer(r"^(PASSED|FAILED|SKIPPED|XFAIL|ERROR) \S*?::?\w+\[(.*?)\]", done.stdout, re.M)}


def counted(done):
    """`{'passed': 3, 'failed': 1}` of pytest's last line."""
    return {what: int(n) for n, what in re.findall(r"(\d+) (passed|failed|skipped|xfailed|error)", done.stdout.splitlines()[-1])}


def test_one_item_for_each_case_and_check(project):
    folder = project(test_it=cases(TWO))
    ids = re.findall(r"test_gradients\[(.*)\]", ran(folder, "--collect-only", "-q").stdout)
    expected = [c.name for c in CHECKS.values() if c.default and c.category != "contract"]
    assert ids == [f"{case}-{check}" for case in ("Right", "bad") for check in expected]
    done = ran(folder, "-q", "-rA", "--gradcheck-profile=quick", "-k", "adjoint")
    assert outcomes(done) == {"Right-adjoint": "passed", "bad-adjoint": "failed"}


def test_a_single_case_needs_no_list(project):
    folder = project(test_it=cases("").replace("[]", 'gradcheck.case(Right, "n 3")'))
    assert counted(ran(folder, "-q", *FEW)) == {"passed": 2}


def test_a_failure_is_our_text_alone_and_its_line_repeats_it(project):
    folder = project(test_it=cases(TWO))
    done = ran(folder, "-q", *FEW)
    (shown,) = re.findall(r"^_+ test_gradients\[bad-adjoint\] _+$\n(.*?)^=+ short", done.stdout, re.M | re.S)
    rows = sum(-(-len(line) // COLUMNS) or 1 for line in shown.splitlines())
    assert rows <= LINES and shown.startswith("FAIL  bad: adjoint of W\n")
    assert "session.py" not in shown and "Traceback" not in shown and "\n  that is  " in shown
    repeat = shlex.split(shown.splitlines()[-1])
    assert repeat[:2] == ["pytest", "test_it.py::test_gradients[bad-adjoint]"]
    again = ran(folder, "-q", *repeat[1:])
    assert counted(again) == {"failed": 1} and shown in again.stdout


def test_records_are_the_same_with_and_without_workers(project):
    folder = project(test_it=cases(TWO), test_other="def test_nothing():\n    pass\n")
    one = ran(folder, "-q", *FEW, "--gradcheck-report=one.json", "--gradcheck-report=one.html")
    two = ran(folder, "-q", *FEW, "--gradcheck-report=two.json", "--gradcheck-report=two.html", "-n", "2", "-p", "randomly", "--cov=mine")
    assert counted(one) == counted(two) == {"passed": 4, "failed": 1}, two.stdout
    assert "gradcheck: wrote one.json" in one.stdout and "gradcheck: wrote two.html" in two.stdout
    a, b = (gradcheck.load(folder / f"{name}.json") for name in ("one", "two"))
    assert {(r.check, r.primal, str(r.verdict)) for c in a.cases for r in c.rows if c.name == "bad"} >= {("adjoint", "W", "fail"), ("linear", "W", "pass")}
    assert json.dumps(timeless(a)) == json.dumps(timeless(b)).replace(" -p randomly --cov=mine", "")
    assert all((folder / f"{name}.html").read_text() == to_html(r) for name, r in (("one", a), ("two", b))), "a page follows from its JSON"


def test_a_worker_that_dies_is_one_crashed_row(project):
    folder = project(test_it=cases('gradcheck.case(Dies, "n 3"), gradcheck.case(Right, "n 3")') + """
    def test_by_fixture(gradcheck):
        gradcheck(Dies, "n 3")
    """)
    done = ran(folder, "-q", *FEW, "-n", "2", "--gradcheck-report=r.json", "--gradcheck-report=r.html")
    assert counted(done) == {"passed": 2, "failed": 3}, done.stdout
    found = {c.name: c for c in gradcheck.load(folder / "r.json").cases}
    assert {(r.check, str(r.verdict), r.reason) for r in found["Dies"].rows} == {
        (check, "error", "the process died while this check ran") for check in ("adjoint", "linear")}
    assert found["Right"].verdict == "pass" and found["test_by_fixture"].error == "the process died while this test ran"
    assert "the process died while this check ran" in (folder / "r.html").read_text()


def test_the_fixture_may_be_called_any_number_of_times(project):
    folder = project(test_it="""
    import numpy as np
    from mine import Right, Wrong

    def test_two(gradcheck):
        assert gradcheck(Right, "n 3").verdict == "pass"
        assert gradcheck(Right(), np.ones((2, 3)) + np.arange(3), checks=["linear"])

    def test_wrong(gradcheck):
        gradcheck(Wrong, "n 3")
    """)
    done = ran(folder, "-q", *FEW, "--gradcheck-report=r.json")
    assert counted(done) == {"passed": 1, "failed": 1}, done.stdout
    assert [c.name for c in gradcheck.load(folder / "r.json").cases] == ["Right", "Right (2)", "Wrong"]
    repeat = shlex.split(next(line for line in done.stdout.splitlines() if line.startswith("pytest ")))
    assert counted(ran(folder, "-q", *repeat[1:])) == {"failed": 1}


def test_known_failures_are_strict(project):
    folder = project(test_it=cases("""gradcheck.case(Wrong, "n 3", name="declared", expect={"adjoint": "averages dW"}),
        gradcheck.case(Right, "n 3", name="healed", expect={"adjoint": "was wrong"})"""))
    done = ran(folder, "-q", "-rA", *FEW)
    assert outcomes(done) == {"declared-adjoint": "xfail", "declared-linear": "passed", "healed-adjoint": "failed", "healed-linear": "passed"}
    assert "averages dW" in done.stdout and "passed, and was expected to fail: was wrong" in done.stdout


@pytest.mark.parametrize(("text", "expected"), [
    ("# what we know of\n\nbad-adjoint: averages dW: see the paper\n", {"Right-adjoint": "passed", "Right-linear": "passed",
                                                                          "bad-adjoint": "xfail", "bad-linear": "passed"}),
    ("bad-linear: it is not\n", {"Right-adjoint": "passed", "Right-linear": "passed", "bad-adjoint": "failed", "bad-linear": "failed"}),
    ("bad-ajoint: typing\n", "line 1: there is no item 'bad-ajoint', did you mean 'bad-adjoint'?"),
    ("bad-adjoint:\n", "line 1: 'bad-adjoint' has no reason"),
])
def test_known_failures_in_a_file(project, text, expected):
    folder = project(test_it=cases(TWO).replace("])", '], expected_failures="known.txt")'))
    (folder / "known.txt").write_text(text)
    done = ran(folder, "-q", "-rA", *FEW)
    assert expected in done.stdout if isinstance(expected, str) else outcomes(done) == expected, done.stdout


@pytest.mark.parametrize(("text", "says"), [
    (cases(TWO).replace("(check)", "()").replace("check()", "pass"), "the test must take the argument `check`"),
    (cases(""), "there is no case to judge"),
    (cases('gradcheck.case(Right, "n 3"), gradcheck.case(Wrong, "n 3", name="Right")'), "two cases of test_it.py are called 'Right'"),
    (cases("Right"), "Right needs the shape of what goes in"),
    (cases("3"), "makes a int, which has none of the protocols known"),
])
def test_a_mark_that_cannot_be_right_says_why(project, text, says):
    done = ran(project(test_it=text), "-q")
    assert says in done.stdout and counted(done) == {"error": 1}, done.stdout


def test_a_test_that_never_calls_its_check_is_no_pass(project):
    done = ran(project(test_it=cases('gradcheck.case(Right, "n 3")').replace("check()", "pass")), "-q", *FEW)
    assert counted(done) == {"failed": 2} and "takes `check` and never calls it: nothing was checked" in done.stdout


def test_a_check_whose_test_was_skipped_is_listed_as_not_checked(project):
    folder = project(test_it=cases('gradcheck.case(Right, "n 3")').replace("check()", "__import__('pytest').skip('not today')"))
    assert counted(ran(folder, "-q", *FEW, "--gradcheck-report=r.json")) == {"skipped": 2}
    assert {n.what for n in gradcheck.load(folder / "r.json").not_checked} == {f"test_it.py::test_gradients[Right-{c}]" for c in ("adjoint", "linear")}


@pytest.mark.parametrize(("option", "says"), [
    ("--gradcheck-profile=slow", "there is no profile 'slow'"),
    ("--gradcheck-only=adjont", "there is no check 'adjont'"),
    ("--gradcheck-report=r.pdf", "r.pdf"),
    ("--gradcheck-baseline=none.json", "none.json"),
    ("--gradcheck-at=3", "Expected `object`"),
])
def test_a_mistake_in_an_option_is_told_before_anything_runs(project, option, says):
    done = ran(project(test_it="print('it was imported')"), option)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR and says in done.stderr and "it was imported" not in done.stdout


def test_worse_than_the_baseline_fails_the_session(project):
    folder = project(test_it=cases('gradcheck.case(Right, "n 3")'))
    assert ran(folder, "-q", *FEW, "--gradcheck-report=old.json").returncode == 0
    assert ran(folder, "-q", *FEW, "--gradcheck-baseline=old.json").returncode == 0
    project(test_it=cases('gradcheck.case(Right, "n 3", name="Other")'))
    less = ran(folder, "-q", *FEW, "--gradcheck-baseline=old.json", "-p", "no:cacheprovider")
    assert less.returncode == pytest.ExitCode.TESTS_FAILED and "No longer checked" in less.stdout and "Right: 4 pass before" in less.stdout


def test_what_a_session_was_not_asked_for_is_no_regression(project):
    folder = project(test_it=cases('gradcheck.case(Right, "n 3"), gradcheck.case(Right, "n 3", name="other")'))
    assert ran(folder, "-q", *FEW, "--gradcheck-report=old.json").returncode == 0
    for choice, left in ((["-k", "other and linear"], {"Right", "other/adjoint"}), (["-n", "2", "-k", "linear"], {"Right/adjoint", "other/adjoint"}),
                         (["test_it.py::test_gradients[other-linear]"], {"Right", "other/adjoint"}), (["--gradcheck-only=linear"], set())):
        only = FEW[:1] if "only" in choice[0] else FEW
        found = ran(folder, "-q", *only, *choice, "--gradcheck-baseline=old.json", "--gradcheck-report=now.json")
        assert found.returncode == 0 and "No longer checked" not in found.stdout, found.stdout
        now = gradcheck.load(folder / "now.json")
        assert set(now.unasked) == left
        assert {c.kind for c in diff(gradcheck.load(folder / "old.json"), now).changes} == {"unasked"}


def test_settings_hold_where_options_are_silent(project):
    folder = project(test_it=cases('gradcheck.case(Right, "n 3")'))
    (folder / "pyproject.toml").write_text('[tool.gradcheck]\nprofile = "quick"\nselect = ["linear"]\nseed = 5\n')
    assert outcomes(ran(folder, "-q", "-rA", "--gradcheck-report=r.json")) == {"Right-linear": "passed"}
    report = gradcheck.load(folder / "r.json")
    assert (report.profile, report.seed) == ("quick", 5)
    (folder / "pyproject.toml").write_text('[tool.gradcheck]\nprofil = "quick"\n')
    assert "[tool.gradcheck] has no key 'profil', did you mean 'profile'?" in ran(folder, "-q", "--gradcheck-seed=1").stderr


def test_strict_markers_and_junit(project):
    folder = project(test_it=cases(TWO))
    done = ran(folder, "-q", *FEW, "--strict-markers", "--strict-config", "-W", "error", "--junit-xml=j.xml", "-p", "no:cacheprovider")
    assert counted(done) == {"passed": 3, "failed": 1}, done.stdout
    found = {case.get("name"): [child.tag for child in case] for case in ET.parse(folder / "j.xml").iter("testcase")}
    assert found == {f"test_gradients[{n}-{c}]": ["failure"] * (n == "bad" and c == "adjoint") for n in ("Right", "bad") for c in ("adjoint", "linear")}
    assert not (folder / ".pytest_cache").exists()


def test_a_session_without_gradient_checks_loads_one_module_of_ours(project):
    folder = project(test_it="def test_nothing():\n    pass\n", probe="""
    import sys, pytest
    assert pytest.main(["-q", "-p", "no:hypothesispytest", "-p", "no:randomly", "test_it.py"]) == 0
    print("loaded", *(m for m in sys.modules if m.partition(".")[0] in ("gradcheck", "numpy", "hypothesis", "msgspec", "click", "scipy")))
    """)
    done = subprocess.run([sys.executable, "probe.py"], cwd=folder, capture_output=True, text=True, timeout=60)
    shown = done.stdout.splitlines()
    assert shown[-1].split()[1:] == ["gradcheck", "gradcheck.pytest_plugin"], done.stdout + done.stderr
    assert not [line for line in shown[:-1] if "gradcheck" in line]


def test_the_plugin_costs_a_session_less_than_ten_milliseconds():
    """Its own imports beyond pytest's, the best of five processes: a busy machine only adds."""
    code = "import pytest, time; t = time.perf_counter(); import gradcheck.pytest_plugin; print(time.perf_counter() - t)"
    assert min(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(5)) < 0.010
