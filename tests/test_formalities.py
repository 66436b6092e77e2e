"""What the project promises about itself: which module imports which, tables that hold every file, words where words are due."""
from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gradcheck
import layers
from gradcheck.adapters import ADAPTERS
from gradcheck.checks import CHECKS

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for package in ("gradcheck", "layers") for path in (ROOT / package).rglob("*.py"))
FRAMEWORKS = {"torch", "jax", "jaxlib", "autograd", "numpy_ml", "epynn", "tensorflow", "sklearn"}
STANDARD = {*sys.stdlib_module_names}
OURS = {"gradcheck", "layers"}

# what the modules under a path may import, of ours and of others; None: anything
ARROWS = [
    ("gradcheck/evidence.py", set(), {"msgspec"}),
    ("gradcheck/law.py", set(), set()),
    ("gradcheck/differences.py", set(), {"numpy"}),
    ("gradcheck/report", {"gradcheck.evidence", "gradcheck.report"}, None),
    ("gradcheck/checks", {"gradcheck"}, None),
    ("gradcheck", {"gradcheck"}, None),
    ("layers", {"layers", "gradcheck.law"}, None),
]


def dotted(path):
    """`gradcheck/checks/pure.py` as gradcheck.checks.pure."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path, late=True):
    """The absolute names of the modules that a file imports; without `late`, only what it imports when it is imported itself."""
    here = dotted(path) if path.name == "__init__.py" else dotted(path).rpartition(".")[0]
    tree = ast.parse(path.read_text())
    for node in [*ast.walk(tree)] if late else [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            base = ".".join([*here.split(".")[:len(here.split(".")) + 1 - node.level], *filter(None, [node.module])]) if node.level else node.module
            yield from (name for alias in node.names if (name := inner(base, alias.name)))


def inner(base, name):
    """The module that `from base import name` reads: `base.name` if that is one, else `base`."""
    path = ROOT / base.replace(".", "/")
    return f"{base}.{name}" if (path / name).with_suffix(".py").exists() or (path / name / "__init__.py").exists() else base


def within(name, allowed):
    return any(name == a or name.startswith(f"{a}.") for a in allowed)


@pytest.mark.parametrize(("place", "ours", "others"), ARROWS, ids=[place for place, *_ in ARROWS])
def test_import_arrows(place, ours, others):
    late = place != "gradcheck/evidence.py"              # a Report saves itself by the writers, which read it
    for path in [p for p in SOURCES if p.is_relative_to(ROOT / place)]:
        for name in imports(path, late):
            top = name.partition(".")[0]
            assert top not in OURS or within(name, ours), f"{dotted(path)} imports {name}"
            assert others is None or top in OURS | STANDARD or top in others, f"{dotted(path)} imports {name}"


@pytest.mark.parametrize("path", [p for p in SOURCES if p.is_relative_to(ROOT / "gradcheck")], ids=dotted)
def test_frameworks_are_imported_by_their_adapters_when_needed(path):
    assert not {name.partition(".")[0] for name in imports(path, late=False)} & FRAMEWORKS
    used = {name.partition(".")[0] for name in imports(path)} & FRAMEWORKS
    assert not used or path.parent.name == "adapters" and used <= {path.stem, f"{path.stem}lib"}


def decorated(folder, decorator):
    """The modules of a folder in which something is registered by this decorator."""
    calls = [(path, node) for path in folder.glob("*.py") for node in ast.walk(ast.parse(path.read_text()))
             if isinstance(node, ast.FunctionDef | ast.ClassDef) for d in node.decorator_list
             if isinstance(d, ast.Call) and isinstance(d.func, ast.Name) and d.func.id == decorator]
    return {dotted(path) for path, _ in calls}


@pytest.mark.parametrize(("package", "decorator"), [("checks", "check"), ("adapters", "adapter")])
def test_every_registered_file_is_in_the_table_of_contents(package, decorator):
    folder = ROOT / "gradcheck" / package
    found = decorated(folder, decorator)
    assert found and found <= {*imports(folder / "__init__.py", late=False)}


def test_every_layer_is_in_the_table_of_contents():
    ours = [c for c in layers.Layer.registry.values() if re.fullmatch(r"layers\.\w+", c.__module__) and not c.__name__.startswith("_")]
    assert ours and [c.__name__ for c in ours if getattr(layers, c.__name__, None) is not c] == []
    lawful = {path for path in (ROOT / "layers").glob("*.py") for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)
              and any(isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "law" for n in node.body)}
    assert {dotted(path) for path in lawful} <= {*imports(ROOT / "layers" / "__init__.py", late=False)}


@pytest.mark.parametrize("check", CHECKS.values(), ids=lambda c: c.name)
def test_a_check_says_what_it_cannot_see_and_how_to_fix_what_it_finds(check):
    assert "Cannot see: " in check.doc and "How to fix: " in check.doc
    assert check.info.summary.endswith((".", "…")) and re.fullmatch(r"\d+\.\d+\.\d+", check.since)


def test_adapters_are_families():
    for _, family in ADAPTERS:
        assert isinstance(family.adapter, str) and family.__doc__
        assert all(callable(getattr(family, method)) for method in ("law", "fits", "build", "code"))


def in_new_python(code, **environment):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_import_gradcheck_is_light():
    loaded = in_new_python("import sys, gradcheck; dir(gradcheck); print(*sys.modules)")
    assert not {"numpy", "scipy", "hypothesis", "click", "rich", "jinja2", "msgspec"} & {*loaded}
    assert [m for m in loaded if m.startswith("gradcheck.")] == []


def test_no_module_hides_a_public_name():
    """Every module is imported, then every public name is still what its home defines."""
    in_new_python("""if True:
        import importlib, pkgutil, gradcheck
        for module in pkgutil.walk_packages(gradcheck.__path__, "gradcheck."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
        for name, home in gradcheck._HOME.items():
            assert getattr(gradcheck, name) is getattr(importlib.import_module(f"gradcheck.{home}"), name), name
            assert callable(getattr(gradcheck, name)), name
    """)
    modules = {path.stem for path in SOURCES if path.parent.name in OURS} | {path.parent.name for path in SOURCES}
    assert not modules & ({*gradcheck._HOME} | {name for name in vars(layers) if callable(getattr(layers, name))})


def test_nothing_of_a_framework_is_loaded_by_a_run():
    loaded = in_new_python("import sys, gradcheck; from layers import Add; assert gradcheck.check(Add, profile='quick'); print(*sys.modules)")
    assert not FRAMEWORKS & {*loaded}


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda p: p.name)
def test_a_test_that_needs_a_framework_is_marked(path):
    text = path.read_text()
    needs = {name.partition(".")[0] for name in imports(path)} | {*re.findall(r"importorskip\(\"(\w+)", text)}
    assert not needs & FRAMEWORKS or "pytest.mark.frameworks" in text or not path.name.startswith("test_")


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE"])
def test_the_projects_pages_exist_and_their_links_lead_somewhere(name):
    text = (ROOT / name).read_text()
    assert len(text) > 200
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (ROOT / target).exists(), target


def test_the_changelog_knows_the_version():
    assert f"## {gradcheck.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert f'version = "{gradcheck.__version__}"' in (ROOT / "pyproject.toml").read_text()


def test_ci_runs_what_the_readme_says():
    makefile, script, workflow = ((ROOT / name).read_text() for name in ("Makefile", ".ci/run", ".github/workflows/check.yml"))
    targets = {*re.findall(r"^([a-z-]+):.*##", makefile, re.M)}
    said = {*re.findall(r"^make ([a-z-]+)", (ROOT / "README.md").read_text(), re.M)}
    assert said and said <= targets and os.access(ROOT / ".ci/run", os.X_OK)
    assert all(f"make {target}" in script for target in said) and all(f"make {target}" in workflow for target in ("check", "test"))


def test_make_alone_prints_the_targets():
    shown = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, timeout=30).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)[1].split()
    assert [line.split()[1] for line in shown.splitlines()] == phony
