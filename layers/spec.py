"""Options written as text: `"leaky relu(alpha=0.3)"` names a row of a table and the arguments to make it with."""
from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")
R = TypeVar("R", bound="Row")


def suggest(what: str, got: object, known: Iterable[str]) -> str:
    """The sentence of an error: what is unknown, the likeliest meaning, all that there is."""
    names = {key(k): k for k in map(str, known)}
    near = get_close_matches(key(str(got)), names, n=1)
    return f"unknown {what} {got!r}{f'; did you mean {names[near[0]]!r}?' if near else ''} (known: {', '.join(map(repr, names.values()))})"


@lru_cache
def key(name: str) -> str:
    """Names compare without case, blanks, hyphens and underscores."""
    return re.sub(r"[\s_-]", "", name).lower()


def read(text: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Split `"SGD(lr=0.05)"` into a key, its positional and its named arguments. A call among the arguments stays text."""
    name, paren, rest = text.partition("(")
    try:
        call = ast.parse(f"_({rest}" if paren else "_()", mode="eval").body
        assert isinstance(call, ast.Call)
        return key(name), [_value(a) for a in call.args], {k.arg or "": _value(k.value) for k in call.keywords}
    except (SyntaxError, ValueError, AssertionError):
        raise ValueError(f"cannot read {text!r}; expected a name, or name(argument=value, …)") from None


def make(table: Mapping[str, Callable[..., T]], text: Any, what: str) -> T:
    """Call the row that `text` names. Errors: ValueError for an unknown name or argument, with the nearest known one."""
    if not isinstance(text, str):
        raise TypeError(f"the {what} is given by its name or as an object, not as {type(text).__name__} ({text!r})")
    name, args, kwargs = read(text)
    rows = {key(k): row for k, row in table.items()}
    row = rows.get(name) or rows.get(name.removesuffix(what))
    if row is None:
        raise ValueError(suggest(what, text, table))
    try:
        return row(*args, **kwargs)
    except TypeError as e:
        raise ValueError(f"{what} {text!r}: {str(e).rpartition('() ')[2]}") from None


def pick(table: Mapping[str, T], text: Any, what: str) -> T:
    """The row that `text` names, of a table whose rows take no arguments."""
    return make({k: lambda row=row: row for k, row in table.items()}, text, what)


@dataclass_transform(field_specifiers=(field,))
@dataclass
class Row:
    """A row with its arguments and its memory, a dataclass without being told; `str()` prints what `make` reads: its name, and the
    arguments that are not at their defaults.
    """

    def __init_subclass__(cls) -> None:
        dataclass(cls)

    def __post_init__(self) -> None:
        for f in fields(self):
            if f.type in ("int", "float", int, float) and not isinstance(v := getattr(self, f.name), int | float):
                raise ValueError(f"{type(self).__name__}: {f.name}={v!r}: expected a number")

    def __str__(self) -> str:
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.init and getattr(self, f.name) != f.default}
        return f"{type(self).__name__}({', '.join(f'{k}={v if isinstance(v, Row) else repr(v)}' for k, v in given.items())})"


def state(row: Row) -> dict[str, Any]:
    """A row, memory included, as plain values and arrays that `restore` reads."""
    values = {f.name: getattr(row, f.name) for f in fields(row)}
    return {"rule": type(row).__name__} | {k: state(v) if isinstance(v, Row) else deepcopy(v) for k, v in values.items()}


def restore(table: Mapping[str, type[R]], saved: Mapping[str, Any], what: str) -> R:
    """The inverse of `state`."""
    row = make(table, saved.get("rule"), what)
    unknown = set(saved) - {"rule"} - {f.name for f in fields(row)}
    if unknown:
        raise ValueError(suggest(f"part of the {what}'s state", min(unknown), [f.name for f in fields(row)]))
    vars(row).update(deepcopy({k: v for k, v in saved.items() if k != "rule"}))
    row.__post_init__()
    return row


def _value(node: ast.expr) -> Any:
    return ast.unparse(node) if isinstance(node, ast.Call | ast.Name) else ast.literal_eval(node)
