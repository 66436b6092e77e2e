"""Mutants: which changes are made of a source, that they run in the place of the original, and what becomes of each."""
from __future__ import annotations

import importlib.util
import json
import sys
import textwrap
from collections.abc import Iterator
from types import ModuleType

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner

from gradcheck import cli, report
from gradcheck.cli.mutate import _said
from gradcheck.evidence import Mutation
from gradcheck.mutants import edits, installed, recompiled
from gradcheck.mutate import Laboratory, Plan, functions, mutate, unmutated
from gradcheck.operators import OPERATORS
from gradcheck.targets import find


@pytest.fixture
def module(tmp_path) -> Iterator[object]:
    """Makes a module of a text."""
    made = []

    def make(text: str) -> ModuleType:
        path = tmp_path / f"made{len(made)}.py"
        path.write_text(textwrap.dedent(text))
        spec = importlib.util.spec_from_file_location(path.stem, path)
        sys.modules[path.stem] = module = importlib.util.module_from_spec(spec)
        made.append(path.stem)
        spec.loader.exec_module(module)
        return module

    yield make
    for name in made:
        sys.modules.pop(name, None)


def changed(function, kind: str) -> list[str]:
    """The changed line of every edit of a kind, without its blanks."""
    return [e.diff.splitlines()[-1][1:].strip() for e in edits(function.__code__) if e.kind == kind]


@pytest.mark.parametrize(("line", "kind", "lines"), [
    ("a + b - c", "a term dropped", ["return (a + b)", "return -c", "return a - c", "return b - c"]),
    ("a * b / c", "a factor dropped", ["return (a * b)", "return a / c", "return b / c"]),
    ("a + b", "the sign of a term", ["return a - b"]),
    ("-a", "a sign dropped", ["return a"]),
    ("a", "a sign flipped", ["return -a"]),
    ("a - b", "operands swapped", ["return b - a"]),
    ("a @ b", "operands swapped", ["return b @ a"]),
    ("a.T @ b", "a transpose removed", ["return a @ b"]),
    ("np.transpose(a, (1, 0)) @ b", "a transpose removed", ["return a @ b"]),
    ("a.sum(0)", "an axis changed", ["return a.sum(1)", "return a.sum(-1)", "return a.sum(None)"]),
    ("np.mean(a, axis=-1)", "an axis changed", ["return np.mean(a, axis=0)", "return np.mean(a, axis=-2)", "return np.mean(a, axis=None)"]),
    ("np.sum(a)", "sum for mean", ["return np.mean(a)"]),
    ("a[1:c]", "off by one", ["return a[2:c]", "return a[1:c - 1]", "return a[1:c + 1]", "return a[0:c]"]),
    ("a > b", "> for >=", ["return a >= b"]),
    ("a['x'] * a['y']", "another array", ["return a['y'] * a['y']", "return a['x'] * a['x']"]),
    ("a.x * a.y", "another array", ["return a.y * a.y", "return a.x * a.x"]),
    ("a", "scaled by 1 ± 1e-6", ["return a * (1 + 1e-6)", "return a * (1 - 1e-6)"]),
    ("a", "zeroed", ["return 0 * a"]),
    ("a * b", "written in place", ["return a.__imul__(b)"]),
    ("np.conj(a) * b", "a conjugate dropped", ["return a * b"]),
    ("a.conj()", "a conjugate dropped", ["return a"]),
    ("a", "in float32", ["return a.astype('float32').astype(a.dtype)"]),
    ("a if b else c", "a condition negated", ["return a if (not b) else c"]),
])
def test_what_is_changed(module, line, kind, lines):
    made = module(f"import numpy as np\ndef f(a, b, c):\n    return {line}\n")
    assert sorted(changed(made.f, kind)) == sorted(lines) and kind in OPERATORS


def test_statements_are_changed_too(module):
    made = module("def f(a, b, out):\n    out += a\n    out[0] = b\n    return out\n")
    assert changed(made.f, "added or assigned") == ["out = a", "out[0] += b"]


def test_words_annotations_and_errors_are_left_alone(module):
    made = module('def f(a: "1 + 2", b=3 - 4):\n    """a + b"""\n    if a > b:\n        raise ValueError(f"{a - b}")\n    return a\n')
    assert {e.kind for e in edits(made.f.__code__)} == {"> for >=", "a condition negated", "a sign flipped", "zeroed", "scaled by 1 ± 1e-6", "in float32"}


def test_every_mutant_runs_where_the_original_stood_and_leaves_it_as_it_was(module):
    """Closures, super(), private names, decorators, defaults, and lambdas side by side."""
    made = module("""
        import functools

        class Base:
            def back(self, dy):
                return dy

        class Layer(Base):
            __scale = 3

            @functools.lru_cache
            def back(self, dy, *, more=1):
                return super().back(dy) * self.__scale + more

        def made(k):
            def back(dy):
                return dy * k
            return back

        pair = (lambda x: x + 1, lambda x: x - 1)
        back = made(5)
    """)
    for function, call, right in [(made.Layer.back.__wrapped__, lambda: made.Layer().back(2), 7), (made.back, lambda: made.back(2), 10),
                                  (made.pair[1], lambda: made.pair[1](2), 1), (made.made, lambda: made.made(5)(2), 10)]:
        old, results = function.__code__, []
        for e in edits(old):
            new = recompiled(old, e)
            assert new is not None and new.co_freevars == old.co_freevars
            with installed(old, new):
                try:
                    results.append(call())
                except (AttributeError, TypeError):        # a number has no astype, and a function no sign
                    results.append(None)
        assert call() == right and function.__code__ is old and len([r for r in results if r != right]) == len(results) > 2


LAYER = """
    import numpy as np
    import gradcheck

    def outer(x, dz):
        return x.T @ dz

    class Affine:
        def __init__(self):
            self.W, self.b = np.ones((3, 2)), np.zeros(2)

        def forward(self, x):
            self.x = x
            return x @ self.W + self.b

        def backward(self, dy):
            self.dW, self.db = outer(self.x, dy), dy.sum(0)
            return dy @ self.W.T

    layer = gradcheck.case(Affine, "n 3")
"""


@pytest.fixture
def layer(tmp_path, monkeypatch) -> str:
    (tmp_path / "affine.py").write_text(textwrap.dedent(LAYER))
    monkeypatch.chdir(tmp_path)
    return "affine.py"


def test_the_pullback_and_what_it_calls_are_changed(layer):
    assert [c.co_name for c in functions(find(layer).cases[0])] == ["backward", "outer"]


def test_what_a_function_remembers_hides_no_mutant_of_it_and_outlives_none(tmp_path, monkeypatch):
    """`places` runs once for each size, in whatever call comes first."""
    (tmp_path / "memo.py").write_text(textwrap.dedent("""
        from functools import cache
        import numpy as np
        import gradcheck

        @cache
        def places(n):
            return np.arange(n) + 1.0

        def call(p):
            return p["x"] * np.arange(1, 1 + p["x"].shape[1])

        def pullback(p, dy):
            return {"x": dy * places(dy.shape[1])}

        layer = gradcheck.case(gradcheck.subject(call, pullback, x="n d"), name="memo")
    """))
    monkeypatch.chdir(tmp_path)
    case = find("memo.py").cases[0]
    assert [[c.co_name for c in functions(case)] for _ in range(2)] == [["pullback", "places"]] * 2
    laboratory = Laboratory(case, Plan(case.target, case.name, ("adjoint",), "quick", 0))
    chosen = [i for i, (code, e) in enumerate(laboratory.mutants) if code.co_name == "places" and e.kind in ("sign flipped", "a term dropped", "zeroed")]
    assert chosen and all(laboratory.fate(i).what == "killed" for i in chosen)
    assert laboratory.noticed(1) is None


def test_where_a_function_does_not_run_its_mutants_are_not_judged(tmp_path, monkeypatch):
    (tmp_path / "mild.py").write_text(textwrap.dedent("""
        import numpy as np
        import gradcheck

        def steep(z):
            return 1 - np.tanh(z) ** 2

        class Mild:
            def __init__(self, squash=False):
                self.squash = squash

            def forward(self, x):
                self.x = x
                return np.tanh(x) if self.squash else x

            def backward(self, dy):
                return dy * steep(self.x) if self.squash else dy

        layer = gradcheck.case(Mild, "n d", options={"squash": [False, True]})
    """))
    monkeypatch.chdir(tmp_path)
    case = find("mild.py").cases[0]
    plan = Plan(case.target, case.name, ("adjoint", "pure"), "default", 0)
    laboratory = Laboratory(case, plan)
    silent = unmutated(case, plan)[1].silent
    at = {f.co_name: {laboratory.points[i].options["squash"] for g, _, i in silent if g == n} for n, f in enumerate(laboratory.functions)}
    assert at == {"backward": set(), "steep": {False}}
    assert mutate(case, checks=["adjoint"])[0].score == 1.0


def test_a_right_layer_that_is_checked_has_no_survivor(layer):
    score, fates = mutate(find(layer).cases[0], checks=["adjoint", "pure"], most=12)
    assert score.score == 1.0 and score.survived == 0 and score.killed > 8 and not score.survivors
    assert sum(score.kills.values()) == score.killed and next(iter(score.kills)) == "adjoint"
    assert len(fates) == score.killed + score.equivalent


def test_the_same_seed_chooses_the_same_mutants(layer):
    case = find(layer).cases[0]
    once, again, other = (mutate(case, checks=["adjoint"], most=3, seed=seed)[1] for seed in (1, 1, 2))
    assert list(once) == list(again) != list(other) and len(once) == 3


def test_a_mutant_that_hangs_and_one_that_kills_its_process(tmp_path, monkeypatch):
    (tmp_path / "deadly.py").write_text(textwrap.dedent("""
        import os
        import numpy as np
        import gradcheck

        def call(p):
            return 2 * p["x"]

        def pullback(p, dy):
            i = 0
            while i < 2:
                i += 1
            if i != 2:
                os._exit(7)
            return {"x": i * dy}

        layer = gradcheck.case(gradcheck.subject(call, pullback, x="n d"), name="deadly")
    """))
    monkeypatch.chdir(tmp_path)
    score, fates = mutate(find("deadly.py").cases[0], checks=["adjoint"], limit=2.0)
    assert score.survived == 0 and {"time limit", "crash"} < score.kills.keys()
    assert any("exit code 7" in f.why for f in fates.values())


def test_survivors_come_with_the_case_that_would_show_them(layer, tmp_path):
    done = CliRunner().invoke(cli.main, ["mutate", layer, "--select", "pure", "--profile", "quick", "--max", "6", "-o", "out.html", "-o", "out.json"])
    assert done.exit_code == cli.FAILED, done.output
    assert "SURVIVED  Affine" in done.output and "would be seen at  " in done.output and "mutants noticed" in done.output
    page, saved = (tmp_path / "out.html").read_text(), json.loads((tmp_path / "out.json").read_text())
    jsonschema.Draft202012Validator(report.schema()).validate(saved)
    survivor = saved["mutation"][0]["survivors"][0]
    assert survivor["where"].startswith("affine.py:") and survivor["diff"].startswith("@@") and survivor["add"] and survivor["what"] in page


def test_the_score_of_all_layers_and_of_adjoint_alone():
    scores = [Mutation(case="one", killed=3, survived=1, kills={"adjoint": 2, "pure": 1}), Mutation(case="two", killed=4, survived=0, kills={"adjoint": 4})]
    said = list(_said(scores, ()))
    assert [s.alone for s in scores] == [0.5, 1.0] and len(said) == 3
    assert said[-1] == "all   87.5% of 8 mutants noticed (75.0% by adjoint alone)"


@pytest.mark.parametrize(("arguments", "code"), [
    ([], cli.USAGE), (["affine.py", "--select", "adjont"], cli.USAGE), (["affine.py", "-o", "a.pdf"], cli.USAGE), (["nowhere.py"], cli.USAGE),
    (["affine.py", "-k", "nothing"], cli.NOTHING), (["affine.py", "--select", "adjoint", "--profile", "quick", "--max", "2"], cli.OK),
])
def test_exit_codes(layer, arguments, code):
    assert CliRunner().invoke(cli.main, ["mutate", *arguments]).exit_code == code


def test_mutants_that_compute_the_same_are_set_aside(tmp_path, monkeypatch):
    (tmp_path / "relu.py").write_text(textwrap.dedent("""
        import numpy as np
        import gradcheck

        def call(p):
            return np.maximum(p["x"], 0)

        def pullback(p, dy):
            up = p["x"] > 0
            return {"x": dy * up}

        layer = gradcheck.case(gradcheck.subject(call, pullback, x="n d"), name="relu")
    """))
    monkeypatch.chdir(tmp_path)
    case = find("relu.py").cases[0]
    laboratory = Laboratory(case, Plan(case.target, case.name, ("adjoint",), "quick", 0))
    fates = {e.diff.splitlines()[-1]: laboratory.fate(i) for i, (_, e) in enumerate(laboratory.mutants)}
    assert fates['+    up = p["x"] >= 0'].what == "equivalent" and fates['+    return {"x": 0 * (dy * up)}'].what == "killed"
    assert np.array_equal(case.family.subject.pullback({"x": np.ones((1, 1))}, [np.ones((1, 1))])["x"], [[1.0]])          # type: ignore[attr-defined]
