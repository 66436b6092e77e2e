"""What a run leaves behind: the report as JSON, which everything else is a function of, and as pages for people."""
from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ..evidence import Report
from .changes import Change, Diff, diff
from .codec import from_json, to_json
from .ctrf import to_ctrf
from .markdown import to_markdown
from .page import to_html
from .schemas import schema
from .shards import merge

__all__ = ["Change", "Diff", "diff", "load", "merge", "save", "schema", "to_ctrf", "to_html", "to_json", "to_markdown"]

WRITERS: dict[str, Callable[[Report, Report | None], bytes]] = {
    ".json": lambda report, _: to_json(report),
    ".html": lambda report, compare: to_html(report, compare).encode(),
    ".md": lambda report, compare: to_markdown(report, compare).encode(),
}


def save(report: Report, path: str | os.PathLike[str], *, compare: Report | None = None) -> None:
    """Write the report, as its suffix says, whole or not at all; the pages show what changed since `compare`.

    Errors: ValueError on another suffix.
    """
    path = Path(path)
    if path.suffix not in WRITERS:
        raise ValueError(f"a report is saved as {', '.join(WRITERS)}, got {path.name!r}")
    data = WRITERS[path.suffix](from_json(to_json(report)), compare)      # as a reader of the JSON would render it
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, data)


def load(path: str | os.PathLike[str]) -> Report:
    """The report saved as .json at `path`. Errors: OSError; ValueError saying what the file is instead."""
    try:
        return from_json(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None


def _replace(path: Path, data: bytes) -> None:
    """The file with new content at once: who reads it meanwhile sees the old one or the new."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
