"""Proves or refutes a hand-written backward pass, and says how sure it is."""
from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {                                  # public name -> the module that defines it; imported when first asked for
    "Case": "api", "case": "api", "check": "api", "run": "runner", "subject": "api", "adapt": "adapters",
    "Result": "api",  "Report": "evidence", "Evidence": "evidence", "Verdict": "evidence", "Subject": "subjects",
    "load": "report", "register_check": "checks", "adapter": "adapters",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
