"""The items of `gradcheck bench`, for the pytest session that it starts: one for each case, dtype, size and side."""
from __future__ import annotations

import pytest

from gradcheck.bench import Session, Timed


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    session = _session(metafunc.config)
    metafunc.parametrize("timed", session.timed, ids=str)


def test_time(timed: Timed, benchmark: object, request: pytest.FixtureRequest) -> None:
    timed(benchmark)
    _session(request.config).note(timed, benchmark)


def _session(config: pytest.Config) -> Session:
    return next(p for p in config.pluginmanager.get_plugins() if isinstance(p, Session))
