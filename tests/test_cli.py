"""The command line's contract: exit codes, the result on stdout and the rest on stderr, failures that fit a screen and can be repeated."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import jsonschema
import pytest
from click.testing import CliRunner
from user_files import HEAD, PERSONAL, RAISES, RIGHT, WRONG

import gradcheck
from gradcheck import cli
from gradcheck.checks import CHECKS
from gradcheck.messages import LINES
from gradcheck.report import from_json, schema

pytestmark = pytest.mark.usefixtures("folder")
QUICK = ("--profile", "quick")


def called(*arguments):
    return CliRunner().invoke(cli.main, list(map(str, arguments)))


def shell(line):
    """A line as a person would run it, `gradcheck` being this interpreter's."""
    return subprocess.run(line.replace("gradcheck", f"{sys.executable} -m gradcheck", 1), shell=True, capture_output=True, text=True, timeout=60)


def write(name, *texts):
    Path(name).write_text("".join(map(dedent, texts)))


def test_a_wrong_layer_fails_in_words_that_can_be_repeated():
    write("mine.py", HEAD, WRONG, RIGHT)
    first = shell("gradcheck run mine.py --profile quick")
    assert first.returncode == cli.FAILED
    assert not first.stderr
    shown = first.stdout.splitlines()
    assert len(shown) <= LINES
    (entry,) = [line for line in shown if "claimed" in line]
    assert entry.split(":")[0].strip() == "W[0, 0]" and "numeric" in entry
    claimed, numeric = (float(entry.split(word)[1].split()[0].strip(",")) for word in ("claimed", "numeric"))
    assert claimed == pytest.approx(numeric / 2)
    pullback = Path("mine.py").read_text().partition("    def bwd")[0].count("\n") + 1
    assert f"look at  mine.py:{pullback}\n" in first.stdout and "\n1 of 2 layers is wrong: Wrong. 1 is right, to within " in first.stdout

    (line,) = [line for line in shown if line.startswith("gradcheck run")]
    again = shell(line)
    assert again.returncode == cli.FAILED
    assert entry in again.stdout.splitlines()


@pytest.mark.parametrize(("files", "arguments", "code", "says"), [
    ([RIGHT], [], cli.OK, "1 layer is right"),
    ([WRONG], [], cli.FAILED, "1 layer is wrong: Wrong."),
    ([RAISES], [], cli.FAILED, "All 4 layers stopped with an error: "),
    ([RIGHT], ["nowhere.py"], cli.USAGE, "there is no file nowhere.py"),
    ([RIGHT], ["nowhere"], cli.USAGE, "No module named 'nowhere'"),
    ([WRONG], ["nowhere.py"], cli.FAILED, "there is no file nowhere.py"),
    ([], [], cli.NOTHING, "mine.py: nothing in it is a case, or a class with forward and backward"),
    ([RIGHT], ["."], cli.USAGE, ". is a folder; a target is a file, or a module by its name"),
    ([RIGHT], ["-k", "Rong"], cli.NOTHING, "-k Rong: none of the 1 names holds it: Right"),
])
def test_exit_codes(files, arguments, code, says):
    write("mine.py", HEAD if files else "", *files)
    result = called("run", "mine.py", *arguments, *QUICK)
    assert (result.exit_code, says in result.stdout) == (code, True), result.output
    as_json = called("run", "mine.py", *arguments, *QUICK, "--json")
    assert as_json.exit_code == code
    from_json(as_json.stdout.encode())


@pytest.mark.parametrize(("text", "says"), [
    ("def f(:\n", "bad.py cannot be imported: invalid syntax (bad.py, line 1: def f(:)"),
    ("import not_to_be_had\n", "bad.py cannot be imported: ModuleNotFoundError: No module named 'not_to_be_had' (bad.py, line 1)"),
])
def test_a_file_that_cannot_be_imported_keeps_no_other_from_being_judged(text, says):
    write("bad.py", text)
    write("mine.py", HEAD, RIGHT)
    result = called("run", "bad.py", "mine.py", *QUICK)
    assert result.exit_code == cli.USAGE
    assert f"error: {says}" in result.stderr
    assert "1 layer is right" in result.stdout and f"not checked: bad.py: {says}" in result.stdout


def test_layers_that_raise_are_reported_with_their_own_line_and_the_others_judged():
    write("mine.py", HEAD, RAISES, RIGHT)
    result = called("run", "mine.py", *QUICK)
    assert result.exit_code == cli.FAILED
    for says in ('ERROR  InConstructor: RuntimeError: no licence (at mine.py:8: raise RuntimeError("no licence"))',
                 "KeyError: 'lost on the way there' (at mine.py:21:",
                 "ZeroDivisionError: lost on the way back (at mine.py:34:",
                 "ERROR  InLaw: LawError:"):
        assert result.stdout.count(says) == 1, says
    assert "4 of 5 layers stopped with an error: " in result.stdout
    assert len(result.stdout.splitlines()) <= LINES


def test_a_users_own_layers_module_shadows_ours():
    write("layers.py", PERSONAL)
    for target in ("layers", "layers.py"):
        result = shell(f"gradcheck run {target} --profile quick")
        assert result.returncode == cli.OK, result.stderr
        assert "linear" in result.stdout


def test_what_layers_print_is_not_in_the_result():
    write("mine.py", HEAD, "print('hello from the module')\n", RIGHT.replace("return x", "print('hello from a layer')\n        return x"))
    for workers in (1, 2):
        result = shell(f"gradcheck run mine.py --profile quick --json -j {workers}")
        assert result.returncode == cli.OK and json.loads(result.stdout)["cases"][0]["name"] == "Right"
        assert "hello from the module" in result.stderr and "hello from a layer" in result.stderr


def test_json_is_the_report_and_obeys_its_schema():
    write("mine.py", HEAD, WRONG, RIGHT)
    result = called("run", "mine.py", *QUICK, "--json", "--title", "two layers")
    jsonschema.validate(json.loads(result.stdout), json.loads(called("schema").stdout))
    report = from_json(result.stdout.encode())
    assert report.title == "two layers" and {c.name: str(c.verdict) for c in report.cases} == {"Wrong": "fail", "Right": "pass"}
    assert json.loads(called("schema").stdout) == json.loads(json.dumps(schema()))


def test_reports_are_written_whatever_the_verdict_and_rendered_again_without_the_layers():
    write("mine.py", HEAD, WRONG)
    result = called("run", "mine.py", *QUICK, "-o", "out/report.json", "-o", "report.html", "-o", "report.md")
    assert result.exit_code == cli.FAILED
    assert [line for line in result.stderr.splitlines() if "wrote" in line] == ["wrote out/report.json", "wrote report.html", "wrote report.md"]
    Path("mine.py").unlink()
    again = called("report", "out/report.json", "-o", "again.html")
    assert again.exit_code == cli.OK and Path("again.html").read_text() == Path("report.html").read_text()
    assert "Wrong" in Path("report.md").read_text() and gradcheck.load("out/report.json").cases[0].name == "Wrong"


@pytest.mark.parametrize(("arguments", "says"), [
    (["run"], "name at least one target"),
    (["run", "mine.py", "--select", "adjont"], f"there is no check 'adjont', did you mean 'adjoint'?; the checks are {', '.join(CHECKS)}"),
    (["run", "mine.py", "--ignore", "adjont"], "there is no check 'adjont'"),
    (["run", "mine.py", "--at", '{"size": 3}'], "--at takes the JSON that a repeat line has: Object contains unknown field `size`"),
    (["run", "mine.py", "--at", "n=3"], "--at takes the JSON that a repeat line has"),
    (["run", "mine.py", "-o", "mine.py/x.html"], "mine.py is a file"),
    (["bench", "mine.py", "--dtype", "float63"], "'float63' is not one of 'float64', 'float32'"),
    (["run", "mine.py", "-o", "report.pdf"], "a report is saved as .json, .html, .md, .ctrf.json, got report.pdf"),
    (["run", "mine.py", "--profile", "slow"], "'slow' is not one of"),
    (["run", "--colour"], "No such option"),
    (["explain", "ADJOINT"], "there is no check 'ADJOINT', did you mean 'adjoint'?"),
    (["report", "nowhere.json", "-o", "x.html"], "nowhere.json"),
    (["report", "mine.py", "-o", "x.html"], "mine.py"),
])
def test_usage_errors_come_before_anything_is_run(arguments, says):
    write("mine.py", "print('it was imported')\n")
    result = called(*arguments)
    assert result.exit_code == cli.USAGE and says in result.stderr and not result.stdout, result.output
    assert "it was imported" not in result.stderr


@pytest.mark.parametrize(("at", "says"), [
    ({}, "Right needs a size for n, d, got none"),
    ({"sizes": {"n": 2}}, "Right needs a size for d, got n"),
    ({"sizes": {"n": -1, "d": 2}}, "sizes are 0 or more"),
    ({"sizes": {"n": 1, "d": 2}, "options": {"k": 1}}, "Right has no option k; it has none"),
])
def test_a_point_that_is_none_of_the_layers_is_no_error_of_the_layer(at, says):
    write("mine.py", HEAD, RIGHT)
    result = called("run", "mine.py", "--at", json.dumps(at))
    assert result.exit_code == cli.USAGE and says in result.stderr and not result.stdout


def test_a_report_that_cannot_be_written_is_no_crash(monkeypatch):
    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gradcheck.report, "_replace", refuse)
    write("mine.py", HEAD, RIGHT)
    result = called("run", "mine.py", *QUICK, "-o", "x.json")
    assert result.exit_code == cli.USAGE and "1 layer is right" in result.stdout and "cannot write x.json: No space left on device" in result.stderr


@pytest.mark.parametrize("arguments", [[], ["-j", "2", "--resume", "r.jsonl"]], ids=["here", "workers"])
def test_ctrl_c_is_one_line_and_a_code_of_its_own(arguments):
    write("mine.py", HEAD, WRONG, "import os, pathlib, time\npathlib.Path('began').touch()\n", RIGHT.replace("return x", "time.sleep(0.2)\n        return x"))
    running = subprocess.Popen([sys.executable, "-m", "gradcheck", "run", "mine.py", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, start_new_session=True)
    for _ in range(600):
        time.sleep(0.1)
        if Path("began").exists():
            break
    time.sleep(1)
    os.killpg(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == cli.INTERRUPTED and not out and err.splitlines() == [
        "interrupted; the same command goes on from r.jsonl" if arguments else "interrupted; with --resume FILE it could go on"]


def test_select_and_ignore_choose_the_checks():
    write("mine.py", HEAD, RIGHT)

    def checked(*arguments):
        return {row["check"] for row in json.loads(called("run", "mine.py", *QUICK, "--json", *arguments).stdout)["cases"][0]["rows"]}

    assert checked("--select", "linear", "--select", "pure") == {"linear", "pure"}
    assert checked("--ignore", "linear") == checked() - {"linear"}
    assert checked("--select", "jacobian") == {"jacobian"} and "jacobian" not in checked()


def test_our_own_crash_is_neither_a_verdict_nor_a_usage_error(monkeypatch):
    def crash(*_, **__):
        raise ValueError("a mistake of ours")

    monkeypatch.setattr(cli.run, "run", crash)
    write("mine.py", HEAD, RIGHT)
    result = called("run", "mine.py")
    assert result.exit_code == cli.INTERNAL and not result.stdout
    assert "gradcheck itself failed: ValueError: a mistake of ours" in result.stderr


def test_list_shows_cases_and_what_cannot_be_judged():
    write("mine.py", HEAD, RIGHT, "class Bare:\n    def forward(self, x): ...\n    def backward(self, dy): ...\n")
    result = called("list", "mine.py")
    assert result.exit_code == cli.OK
    assert result.stdout.splitlines()[0].split(maxsplit=2) == ["mine.py:Right", "native", "n d -> n d"]
    assert "mine.py:Bare" in result.stdout and "not checked: no input shape is given" in result.stdout
    assert called("list", "nowhere.py").exit_code == cli.USAGE
    write("empty.py", "")
    assert called("list", "empty.py").exit_code == cli.NOTHING


def test_list_shows_the_checks_and_explain_each_of_them():
    shown = called("list").stdout
    for name in CHECKS:
        assert f"\n{name} " in f"\n{shown}"
        explained = called("explain", name)
        assert explained.exit_code == cli.OK and CHECKS[name].doc in explained.stdout


def test_help_names_the_exit_codes():
    shown = " ".join(called("--help").stdout.split())
    assert all(f"{code} " in shown.partition("Exit codes:")[2] for code in (*range(6), cli.INTERRUPTED))
    assert called("--version").stdout.strip().endswith(gradcheck.__version__)


def test_no_progress_where_nobody_looks():
    write("mine.py", HEAD, RIGHT)
    result = shell("gradcheck run mine.py --profile quick")
    assert result.returncode == cli.OK and not result.stderr
