"""`gradcheck report`, `diff` and `merge`: what becomes of saved reports at the command line."""
from __future__ import annotations

import json
import sys
from pathlib import Path
from textwrap import dedent

import jsonschema
import pytest
from click.testing import CliRunner
from user_files import HEAD, RIGHT, WRONG

from gradcheck import cli
from gradcheck.report import codec, load

pytestmark = pytest.mark.usefixtures("folder")
MENDED = WRONG.replace(" / len(dy)", "").replace(", its dW averaged over the batch", "").replace("Wrong", "Affine")
BROKEN = WRONG.replace("Wrong", "Affine")
CTRF = {"type": "object", "required": ["results", "reportFormat", "specVersion"], "properties": {"results": {
    "type": "object", "required": ["tool", "summary", "tests"], "properties": {
        "summary": {"type": "object", "required": ["tests", "passed", "failed", "pending", "skipped", "other", "start", "stop"]},
        "tests": {"type": "array", "items": {"type": "object", "required": ["name", "status", "duration"], "properties": {
            "status": {"enum": ["passed", "failed", "skipped", "pending", "other"]}}}}}}}}


def called(*arguments):
    return CliRunner().invoke(cli.main, list(map(str, arguments)))


def run(*arguments):
    return called("run", "mine.py", "--profile", "quick", *arguments)


def commit(*texts):
    """The user's file as it is at some commit; what was imported of another is forgotten."""
    Path("mine.py").write_text("".join(map(dedent, (HEAD, *texts))))
    for name in [n for n, m in sys.modules.items() if Path(getattr(m, "__file__", None) or "").name == "mine.py"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Reports of a file before and after an average slipped into its backward and a layer was lost."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("commits"))
        patch.setattr(sys, "path", [*sys.path])
        commit(MENDED, RIGHT)
        assert run("-o", "before.json").exit_code == cli.OK
        commit(BROKEN)
        assert run("-o", "after.json").exit_code == cli.FAILED
        return {p.name: p.read_bytes() for p in Path().iterdir() if p.is_file()}


@pytest.fixture
def two_commits(folder, reports):
    """The second commit checked out, beside both reports."""
    for name, data in reports.items():
        (folder / name).write_bytes(data)


def test_a_planted_regression_is_named_and_stops_the_build(two_commits):
    found = called("diff", "before.json", "after.json")
    assert found.exit_code == cli.REGRESSION
    assert "New failures" in found.stdout and "Affine/adjoint/W: fail: " in found.stdout and "the true value × " in found.stdout
    assert "No longer checked" in found.stdout and "Right: " in found.stdout and "pass before, not judged now" in found.stdout
    assert "of these changes are regressions" in found.stderr
    back = called("diff", "after.json", "before.json")
    assert back.exit_code == cli.OK and "Fixed" in back.stdout and "Newly checked" in back.stdout


def test_what_stops_the_build_can_be_chosen(two_commits):
    assert called("diff", "before.json", "after.json", "--fail-on", "coarser").exit_code == cli.OK
    as_json = called("diff", "before.json", "after.json", "--fail-on", "removed", "--json")
    assert as_json.exit_code == cli.REGRESSION and {"failed", "removed"} <= {c["kind"] for c in json.loads(as_json.stdout)}
    assert called("diff", "before.json", "before.json").stdout == "Nothing changed.\n"


def test_a_run_compares_itself_with_a_bare_baseline(two_commits):
    assert called("report", "before.json", "--bare", "-o", "baseline.json").exit_code == cli.OK
    assert Path("baseline.json").stat().st_size < Path("before.json").stat().st_size / 4
    found = run("--baseline", "baseline.json", "-o", "page.html", "-o", "same.json")
    assert found.exit_code == cli.REGRESSION and "Affine/adjoint/W" in found.stdout.partition("New failures")[2]
    assert "What changed" in Path("page.html").read_text()
    assert load("same.json").command == load("after.json").command                       # what it is compared with is no part of a run
    commit(MENDED, RIGHT)
    again = run("--baseline", "baseline.json")
    assert again.exit_code == cli.OK and again.stdout.endswith("\nNothing changed.\n") and not again.stderr
    as_json = run("--baseline", "before.json", "--json")
    assert json.loads(as_json.stdout)["cases"] and "Nothing changed." in as_json.stderr


@pytest.mark.parametrize("choice", [["mine.py", "-k", "Aff"], ["mine.py:Affine"], ["mine.py", "--select", "linear"], ["mine.py", "--shard", "1/2"]])
def test_what_a_run_was_not_asked_for_is_no_regression(two_commits, choice):
    commit(MENDED, RIGHT)
    found = called("run", *choice, "--profile", "quick", "--baseline", "before.json", "-o", "part.json", "-o", "part.html")
    assert found.exit_code == cli.OK and "No longer checked" not in found.stdout and "Not asked for this time" in found.stdout, found.output
    assert called("diff", "before.json", "part.json", "--fail-on", "unasked").exit_code == cli.REGRESSION
    assert load("part.json").unasked == (() if "--select" in choice else ("Right",))
    assert "not asked for" in Path("part.html").read_text()


def test_shards_merge_to_the_run_that_was_not_divided():
    commit(MENDED, RIGHT, BROKEN.replace("Affine", "Other"))
    assert run("-o", "whole.json").exit_code == cli.FAILED
    for i in (1, 2, 3):
        run("--shard", f"{i}/3", "-o", f"part{i}.json")
    merged = called("merge", "part3.json", "part1.json", "part2.json", "-o", "merged.json", "-o", "merged.html")
    assert merged.exit_code == cli.FAILED and merged.stdout.startswith("1 of 3 layers is wrong: Other.")
    assert codec.timeless(load("merged.json")) == codec.timeless(load("whole.json"))
    refused = called("merge", "part1.json", "baseline.json", "-o", "x.json")
    assert refused.exit_code == cli.USAGE and not Path("x.json").exists()


def test_a_summary_for_the_job_that_runs(two_commits, monkeypatch):
    printed = called("report", "after.json", "--github", "--compare", "before.json")
    assert printed.stdout.startswith("## ❌ 1 layer is wrong: Affine.") and "| New failures | Affine/adjoint/W |" in printed.stdout
    Path("summary.md").write_text("what another step wrote\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    assert called("report", "after.json", "--github", "--compare", "before.json").stdout == ""
    assert Path("summary.md").read_text() == "what another step wrote\n" + printed.stdout


def test_a_report_in_every_form(two_commits):
    written = called("report", "after.json", "-o", "r.html", "-o", "r.md", "-o", "r.json", "-o", "r.ctrf.json", "--compare", "before.json")
    assert written.exit_code == cli.OK and written.stderr.count("wrote r.") == 4
    ctrf = json.loads(Path("r.ctrf.json").read_text())
    jsonschema.validate(ctrf, CTRF)
    assert ctrf["results"]["summary"]["failed"] == sum(r.verdict.bad for c in load("after.json").cases for r in c.rows)
    assert Path("r.json").read_bytes() == Path("after.json").read_bytes()
    assert "What changed" in Path("r.html").read_text() and "New failures" in Path("r.md").read_text()


@pytest.mark.parametrize(("arguments", "says"), [
    (["report", "after.json"], "say what to write with -o, or --github"),
    (["report", "after.json", "-o", "r.pdf"], "a report is saved as .json, .html, .md, .ctrf.json, got r.pdf"),
    (["report", "mine.py", "-o", "r.html"], "mine.py: not JSON"),
    (["report", "after.json", "-o", "r.html", "--compare", "mine.py"], "mine.py: not JSON"),
    (["diff", "before.json", "nowhere.json"], "nowhere.json"),
    (["diff", "before.json", "after.json", "--fail-on", "flaky"], "'flaky' is not one of 'failed'"),
    (["merge", "-o", "x.json"], "Missing argument"),
    (["merge", "before.json", "after.json", "-o", "x.json"], "two shards judged Affine/adjoint/W, and not alike"),
    (["run", "mine.py", "--baseline", "mine.py"], "mine.py: not JSON"),
])
def test_usage_errors_write_nothing(two_commits, arguments, says):
    result = called(*arguments)
    assert result.exit_code == cli.USAGE and says in result.stderr and not result.stdout
    assert not Path("x.json").exists() and not Path("r.html").exists()
