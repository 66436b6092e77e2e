"""What several test files share."""
from __future__ import annotations

import sys
from pathlib import Path

import pytest

collect_ignore = ["own_package"]           # another project, with tests of its own: test_own_package runs them


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A folder to be in; the paths that a test adds for imports, and the modules that it imports from there, are gone afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name, module in [*sys.modules.items()]:
        if tmp_path in Path(getattr(module, "__file__", None) or "/").parents:
            del sys.modules[name]
