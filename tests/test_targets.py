"""What a person types finds the layers that were meant, or says in words why it cannot."""
from __future__ import annotations

from textwrap import dedent

import pytest
from user_files import HEAD, PERSONAL, RAISES, RIGHT, WRONG

from gradcheck.evidence import Point
from gradcheck.targets import TargetError, find

pytestmark = pytest.mark.usefixtures("folder")


def written(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text))
    return path


def names(found):
    return [c.name for c in found.cases]


def test_a_file_gives_its_layers_in_order(tmp_path):
    written(tmp_path / "mine.py", HEAD + WRONG + RIGHT)
    found = find("mine.py")
    assert names(found) == ["Wrong", "Right"] and not found.not_checked
    assert [c.target for c in found.cases] == ["mine.py:Wrong", "mine.py:Right"]


@pytest.mark.parametrize("target", ["mine:Right", "mine.py:Right", "./mine.py:Right", "{tmp}/mine.py:Right"])
def test_one_layer_by_name(tmp_path, target):
    written(tmp_path / "mine.py", HEAD + WRONG + RIGHT)
    assert names(find(target.format(tmp=tmp_path))) == ["Right"]


def test_a_module_in_a_package(tmp_path):
    written(tmp_path / "kit" / "__init__.py", "from .deep import Right")
    written(tmp_path / "kit" / "deep.py", HEAD + RIGHT)
    assert names(find("kit.deep")) == names(find("kit")) == names(find("kit.deep:Right")) == ["Right"]


def test_a_target_finds_its_case_again(tmp_path):
    written(tmp_path / "mine.py", HEAD + WRONG + RIGHT + dedent("""
        import gradcheck
        short = gradcheck.case(Right, name="a name: with blanks, a colon and (brackets)")
        several = [gradcheck.case(Right, name="one"), gradcheck.case(Right, name="two")]
    """))
    for case in find("mine.py").cases:
        (again,) = find(case.target).cases
        assert (again.name, again.target) == (case.name, case.target)
    assert names(find("mine.py:short")) == ["a name: with blanks, a colon and (brackets)"]
    (case,) = find("mine.py:short").cases
    assert names(find(case.target)) == names(find("mine.py:short"))


def test_what_was_only_imported_is_not_the_files_own(tmp_path):
    written(tmp_path / "mine.py", "from layers import Dense, Softmax")
    assert not find("mine.py").cases
    assert names(find("mine.py:Dense")) == ["Dense"]


def test_bases_and_private_classes_are_not_layers_of_their_own(tmp_path):
    written(tmp_path / "mine.py", HEAD + RIGHT + "class _Hidden(Right): pass\nclass Better(Right): pass\n")
    assert names(find("mine.py")) == ["Better"]


def test_a_factory_by_name(tmp_path):
    written(tmp_path / "mine.py", "from layers import Dense\ndef wide():\n    return Dense(7)\n")
    (case,) = find("mine.py:wide").cases
    subject = case.subject(Point(sizes={"n": 2, "n_in": 3}))
    assert subject.out_shapes == ((2, 7),)


def test_a_class_without_shapes_is_named_with_what_to_write(tmp_path):
    written(tmp_path / "mine.py", PERSONAL + "\n\nclass Other(Linear):\n    pass\n")
    found = find("mine.py")
    assert names(found) == ["linear"]
    (unseen,) = found.not_checked
    assert unseen.what == "mine.py:Other" and 'gradcheck.case(Other, "n d")' in unseen.why


def test_a_layer_that_raises_does_not_keep_the_others_from_being_found(tmp_path):
    written(tmp_path / "mine.py", HEAD + RAISES + RIGHT)
    found = find("mine.py")
    assert names(found) == ["InConstructor", "InForward", "InBackward", "InLaw", "Right"]
    with pytest.raises(RuntimeError, match="no licence"):
        found.cases[0].subject(Point())


def test_a_files_neighbours_can_be_imported(tmp_path):
    written(tmp_path / "far" / "beside.py", "NAME = 'Right'")
    written(tmp_path / "far" / "mine.py", "import beside\n" + HEAD + RIGHT)
    assert names(find("far/mine.py")) == ["Right"]


@pytest.mark.parametrize(("text", "says"), [
    ("x = 1\ndef f(:\n", r"bad\.py cannot be imported: invalid syntax \(bad\.py, line 2: def f\(:\)"),
    ("\n\nimport not_to_be_had\n", r"ModuleNotFoundError: No module named 'not_to_be_had' \(bad\.py, line 3\)"),
    ("1 / 0\n", r"ZeroDivisionError: division by zero \(bad\.py, line 1\)"),
    ("import sys\nsys.exit(0)\n", r"SystemExit: 0 \(bad\.py, line 2\)"),
    (HEAD + RIGHT + "import gradcheck\na, b = gradcheck.case(Right), gradcheck.case(Right)\n", "two cases are called 'Right'"),
])
def test_a_file_that_is_wrong_says_where(tmp_path, text, says):
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(TargetError, match=says):
        find("bad.py")


@pytest.mark.parametrize(("target", "says"), [
    ("", "a target is a module, pkg.mod:attribute or a file, got ''"),
    ("nowhere.py", r"there is no file nowhere\.py"),
    ("nowhere", r"nowhere cannot be imported: ModuleNotFoundError: No module named 'nowhere'$"),
    ("json:Nothing", "json has no case or layer 'Nothing'; it has none"),
    ("mine.py:Wrog", "mine.py has no case or layer 'Wrog'; it has Wrong, Right"),
    ("json:JSONDecoder", "json:JSONDecoder cannot be judged as it stands: JSONDecoder makes a JSONDecoder, which has none of the protocols"),
])
def test_a_target_that_is_wrong_says_why(tmp_path, target, says):
    written(tmp_path / "mine.py", HEAD + WRONG + RIGHT)
    with pytest.raises(TargetError, match=says):
        find(target)
