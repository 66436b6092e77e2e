"""The pytest plugin: its options and hooks. A session without a gradient check imports this module and nothing else of ours.

What judges and gathers is in `session`, which is imported when there is something to judge.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .session import Judge, Session

JUDGE: pytest.StashKey[Judge] = pytest.StashKey()
SESSION: pytest.StashKey[Session] = pytest.StashKey()
MARK = "gradcheck(*cases, expected_failures=None): one item for each case and check; the test takes `check` and calls it"
OPTIONS: dict[str, dict[str, Any]] = {
    "report": {"action": "append", "default": [], "metavar": "PATH", "help": "Write the report: .json, .html or .md; may be repeated."},
    "seed": {"type": int, "metavar": "N", "help": "Of all that is random in gradient checks."},
    "profile": {"metavar": "NAME", "help": "How many points each case is judged at: quick, default or thorough."},
    "only": {"action": "append", "default": [], "metavar": "CHECK", "help": "Only this check; may be repeated."},
    "skip": {"action": "append", "default": [], "metavar": "CHECK", "help": "Not this check; may be repeated."},
    "at": {"metavar": "JSON", "help": "One point, as a failure's repeat line gives it."},
    "baseline": {"metavar": "PATH", "help": "A saved report (.json): what became worse since fails the session."},
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gradcheck", "gradient checks")
    for name, option in OPTIONS.items():
        group.addoption(f"--gradcheck-{name}", dest=f"gradcheck_{name}", **option)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARK)
    if any(config.getoption(f"gradcheck_{name}") not in (None, []) for name in OPTIONS):
        _session(config)                               # a mistake in an option is told before anything runs


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marks = list(metafunc.definition.iter_markers("gradcheck"))
    if marks:
        judges = _session(metafunc.config).judges(metafunc, marks)
        metafunc.parametrize("check", judges, ids=[j.id for j in judges])


@pytest.fixture
def gradcheck(request: pytest.FixtureRequest) -> Any:
    """`gradcheck(target, *inputs, **keywords)` judges as `gradcheck.check` does, fails the test where the layer is wrong, and enters the report."""
    judge = request.node.stash[JUDGE] = _session(request.config).judge(request.node)
    return judge.of


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gradcheck"):
        item.stash[JUDGE] = item.callspec.params["check"].begun(item)          # type: ignore[attr-defined]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    if judge := item.stash.get(JUDGE, None):
        judge.attach(report)
    return report


def _session(config: pytest.Config) -> Session:
    """All that this process knows of gradient checks, made when first asked for."""
    if SESSION not in config.stash:
        from .session import opened
        config.stash[SESSION] = opened(config)
    return config.stash[SESSION]
