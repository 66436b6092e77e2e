"""Proves or refutes a hand-written backward pass, and says how sure it is."""
from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:                          # what the table below says, for who reads types
    from .adapters import adapter as adapter
    from .api import Case as Case
    from .api import Result as Result
    from .api import adapt as adapt
    from .api import case as case
    from .api import check as check
    from .api import parametrize as parametrize
    from .api import subject as subject
    from .checks import register_check as register_check
    from .evidence import Evidence as Evidence
    from .evidence import Report as Report
    from .evidence import Verdict as Verdict
    from .report import load as load
    from .runner import run as run
    from .subjects import Subject as Subject

__version__ = "0.1.0"

_HOME = {                                  # public name -> the module that defines it; imported when first asked for
    "Case": "api", "case": "api", "check": "api", "run": "runner", "subject": "api", "adapt": "api", "parametrize": "api",
    "Result": "api", "Report": "evidence", "Evidence": "evidence", "Verdict": "evidence", "Subject": "subjects",
    "load": "report", "register_check": "checks", "adapter": "adapters",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
