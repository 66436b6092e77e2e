"""`[tool.gradcheck]` in pyproject.toml: what a run does where its command line is silent."""
from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import msgspec

FILE = "pyproject.toml"


class SettingsError(ValueError):
    """The table has a key that there is not, or a value of another type."""


@dataclass(frozen=True)
class Settings:
    """The keys of the table, with their defaults. Files are named from where pyproject.toml lies."""
    targets: tuple[str, ...] = ()             # what `gradcheck run` judges when no target is named
    profile: str = "default"                  # how many points each case is judged at
    seed: int = 0                             # of all that is random
    select: tuple[str, ...] = ()              # only these checks
    ignore: tuple[str, ...] = ()              # not these
    output: tuple[str, ...] = ()              # reports to write: .json, .html, .md
    workers: int = 1
    title: str = "gradcheck"


def settings(start: Path | None = None) -> Settings:
    """Of the nearest pyproject.toml that has the table, from `start` upwards; the defaults where there is none.

    Errors: SettingsError names the key, what it may be, and the file.
    """
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        table = table_of(folder / FILE)
        if table is not None:
            return _from_here(parsed(table, os.path.relpath(folder / FILE)), folder)
    return Settings()


def table_of(path: Path) -> Mapping[str, Any] | None:
    """`[tool.gradcheck]` of a file; None where there is no file or no table. Errors: SettingsError where the file is no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("gradcheck")   # type: ignore[no-any-return]
    except FileNotFoundError:
        return None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{os.path.relpath(path)} is no TOML: {error}") from None


def parsed(table: Any, where: str) -> Settings:
    """A table as settings. Errors: SettingsError."""
    known = [f.name for f in fields(Settings)]
    if not isinstance(table, Mapping):
        raise SettingsError(f"{where}: tool.gradcheck is a table, got {table!r}")
    for key in table:
        if key not in known:
            raise SettingsError(f"{where}: [tool.gradcheck] has no key {key!r}{meant(key, known)}; its keys are {', '.join(known)}")
    try:
        return msgspec.convert(dict(table), Settings)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{where}: [tool.gradcheck]: {error}") from None


def meant(word: str, known: Iterable[str]) -> str:
    """`, did you mean 'seed'?` where a known word is near, else nothing."""
    near = difflib.get_close_matches(word, list(known), n=1) or difflib.get_close_matches(word.casefold(), list(known), n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def _from_here(found: Settings, folder: Path) -> Settings:
    """Files as they are called in the working directory."""
    def here(name: str) -> str:
        return os.path.relpath(folder / name)

    return replace(found, targets=tuple(here(t) if (folder / t.partition(":")[0]).is_file() else t for t in found.targets),
                   output=tuple(here(o) for o in found.output))
