"""The first minutes with a project: `gradcheck init`, `gradcheck doctor`, and `[tool.gradcheck]`, whose mistakes are told."""
from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from user_files import HEAD, RIGHT, WRONG

import gradcheck
from gradcheck import cli
from gradcheck.cli.start import STARTER, TEST
from gradcheck.settings import Settings, SettingsError, settings

pytestmark = pytest.mark.usefixtures("folder")


def called(*arguments):
    return CliRunner().invoke(cli.main, list(map(str, arguments)))


def test_init_writes_what_runs():
    first = called("init")
    assert first.exit_code == cli.OK, first.output
    assert f"wrote {TEST}" in first.stdout and "wrote pyproject.toml" in first.stdout
    commands = [line.strip() for line in first.stdout.splitlines() if line.startswith("  ")]
    assert commands == [f"pytest {TEST}", "gradcheck run -o report.html"]
    for command in ("pytest", "gradcheck"):
        line = next(c for c in commands if c.startswith(command))
        done = subprocess.run([sys.executable, "-m", *line.split()], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "Scale" in Path("report.html").read_text()


def test_what_init_writes_is_judged_where_there_is_no_pytest(monkeypatch):
    called("init")
    monkeypatch.setitem(sys.modules, "pytest", None)
    found = called("run", "--profile", "quick")
    assert found.exit_code == cli.OK and "pass      Scale" in found.stdout, found.output


def test_init_overwrites_nothing():
    Path("tests").mkdir()
    Path(TEST).write_text("# mine\n")
    Path("pyproject.toml").write_text('[project]\nname = "mine"')
    said = called("init").stdout
    assert f"kept {TEST}, which is there already" in said and "added [tool.gradcheck] to pyproject.toml" in said
    assert Path(TEST).read_text() == "# mine\n"
    text = Path("pyproject.toml").read_text()
    assert text.startswith('[project]\nname = "mine"\n') and tomllib.loads(text)["project"] == {"name": "mine"}
    assert settings() == Settings(targets=("tests/test_gradients.py",))
    assert "kept pyproject.toml, which has a table" in called("init").stdout and Path("pyproject.toml").read_text() == text


def test_init_into_another_folder_and_one_that_has_no_place_for_a_table():
    Path("far").mkdir()
    Path("far/pyproject.toml").write_text("tool = {other = {}}\n")
    said = called("init", "far").stdout
    assert "kept far/pyproject.toml, to which no table can be added" in said and "cd far && pytest" in said
    assert Path("far", TEST).read_text() == STARTER and Path("far/pyproject.toml").read_text() == "tool = {other = {}}\n"


@pytest.mark.parametrize("text", ["[tool.gradcheck\n", "[tool.gradcheck]\nsede = 1\n"])
def test_init_and_run_name_a_table_that_is_wrong(text):
    Path("pyproject.toml").write_text(text)
    for command in (["init"], ["run", "mine.py"]):
        result = called(*command)
        assert result.exit_code == cli.USAGE and "pyproject.toml" in result.stderr
    assert Path("pyproject.toml").read_text() == text


@pytest.mark.parametrize(("table", "says"), [
    ("profil = 'quick'", "[tool.gradcheck] has no key 'profil', did you mean 'profile'?; its keys are targets, profile, seed"),
    ("colour = 1", "[tool.gradcheck] has no key 'colour'; its keys are"),
    ("seed = 'three'", "Expected `int`, got `str` - at `$.seed`"),
    ("select = 'adjoint'", "Expected `array`, got `str` - at `$.select`"),
])
def test_a_setting_that_is_wrong_is_named(table, says):
    Path("pyproject.toml").write_text(f"[tool.gradcheck]\n{table}\n")
    with pytest.raises(SettingsError) as error:
        settings()
    assert says in str(error.value) and str(error.value).startswith("pyproject.toml: ")


def test_settings_come_from_the_nearest_table_upwards(folder, monkeypatch):
    Path("pyproject.toml").write_text('[tool.gradcheck]\nseed = 3\ntargets = ["mine.py", "some.module"]\noutput = ["r.json"]\n')
    Path("mine.py").write_text("")
    inner = folder / "a" / "b"
    inner.mkdir(parents=True)
    Path("a/pyproject.toml").write_text("[tool.other]\n")
    monkeypatch.chdir(inner)
    assert settings() == Settings(seed=3, targets=("../../mine.py", "some.module"), output=("../../r.json",))


def test_run_takes_its_defaults_from_the_table_and_the_command_line_wins():
    Path("mine.py").write_text(HEAD + WRONG)
    Path("other.py").write_text(HEAD + RIGHT)
    Path("pyproject.toml").write_text('[tool.gradcheck]\ntargets = ["mine.py"]\nprofile = "quick"\nselect = ["linear"]\nseed = 7\noutput = ["r.json"]\n')
    assert called("run").exit_code == cli.OK, "a linear mistake is linear"
    report = gradcheck.load("r.json")
    assert (report.profile, report.seed, {r.check for r in report.cases[0].rows}) == ("quick", 7, {"linear"})
    assert called("run", "--select", "adjoint").exit_code == cli.FAILED
    assert called("run", "other.py", "--seed", "8").exit_code == cli.OK
    assert gradcheck.load("r.json").seed == 8 and [c.name for c in gradcheck.load("r.json").cases] == ["Right"]


def test_the_cases_of_a_pytest_file_are_found_by_run():
    called("init")
    Path("tests/test_more.py").write_text("import gradcheck\nfrom layers import Add\n\n\nclass TestLayers:\n"
                                          "    @gradcheck.parametrize([gradcheck.case(Add, name='sum')])\n    def test_it(self, check):\n        check()\n")
    result = called("list", TEST, "tests/test_more.py")
    assert [line.split()[0] for line in result.stdout.splitlines()] == [f"{TEST}:Scale", "tests/test_more.py:sum"]


def test_doctor_says_what_is_here_and_what_is_wrong():
    result = called("doctor")
    said = {line[:12].strip(): line[13:] for line in result.stdout.splitlines() if not line.startswith(" ")}
    assert {"gradcheck", "python", "packages", "BLAS", "timer", "numbers", "layers", "settings"} <= said.keys()
    assert "numpy " in said["packages"] and said["gradcheck"].startswith(gradcheck.__version__) and "checks use 1 thread" in said["BLAS"]
    Path("pyproject.toml").write_text("[tool.gradcheck]\nsede = 1\n")
    Path("layers.py").write_text("")
    bad = subprocess.run([sys.executable, "-m", "gradcheck", "doctor"], capture_output=True, text=True, timeout=60)
    assert bad.returncode == cli.FAILED and "! pyproject.toml: [tool.gradcheck] has no key 'sede', did you mean 'seed'?" in bad.stdout
    assert "another: " in bad.stdout and "layers.py; checks do not need ours" in bad.stdout
