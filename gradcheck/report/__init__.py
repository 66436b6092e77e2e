"""What a run leaves behind: the report as JSON, which everything else is a function of, and as pages for people."""
from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from ..evidence import Report
from .baseline import bare
from .changes import FAIL_ON, Change, Diff, diff
from .codec import from_json, to_json
from .ctrf import to_ctrf
from .markdown import to_markdown
from .page import to_html
from .schemas import schema
from .shards import merge
from .words import sentence

__all__ = ["FAIL_ON", "Change", "Diff", "bare", "diff", "load", "merge", "save", "schema", "sentence", "to_ctrf", "to_html", "to_json", "to_markdown",
           "writable", "writer"]

Writer = Callable[[Report, Report | None], bytes]
WRITERS: dict[str, Writer] = {
    ".json": lambda report, _: to_json(report),
    ".html": lambda report, compare: to_html(report, compare).encode(),
    ".md": lambda report, compare: to_markdown(report, compare).encode(),
    ".ctrf.json": lambda report, _: json.dumps(to_ctrf(report), ensure_ascii=False, indent=1).encode(errors="backslashreplace"),
}


def writer(path: str | os.PathLike[str]) -> Writer:
    """What writes a report as the file's name ends. Errors: ValueError on another ending."""
    name = Path(path).name
    if not (endings := [e for e in WRITERS if name.endswith(e)]):
        raise ValueError(f"a report is saved as {', '.join(WRITERS)}, got {name}")
    return WRITERS[max(endings, key=len)]


def writable(path: str | os.PathLike[str]) -> None:
    """Errors: ValueError for a path whose ending says nothing, or where no file can be."""
    writer(path)
    there = next(p for p in Path(path).absolute().parents if p.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise ValueError(f"cannot write {path}: {there} is {'not writable' if there.is_dir() else 'a file'}")


def save(report: Report, path: str | os.PathLike[str], *, compare: Report | None = None) -> None:
    """Write the report, as its suffix says, whole or not at all; the pages show what changed since `compare`.

    Errors: ValueError on another suffix.
    """
    path = Path(path)
    data = writer(path)(from_json(to_json(report)), compare)               # as a reader of the JSON would render it
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, data)


def load(path: str | os.PathLike[str]) -> Report:
    """The report saved as .json at `path`. Errors: OSError; ValueError saying what the file is instead.

    >>> import gradcheck
    >>> from layers import Add
    >>> gradcheck.check(Add, profile="quick").report().save("add.json")
    >>> gradcheck.load("add.json").cases[0].name
    'Add'
    """
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
