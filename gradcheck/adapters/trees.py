"""Nested tuples, lists and dictionaries: their leaves with a path each, and the same structure around other leaves."""
from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf with its path (`params.W`, `hx.0`), in order; None holds no leaf."""
    inside = branches(tree)
    if inside is None:
        yield path, tree
    else:
        for key, branch in inside:
            yield from leaves(branch, f"{path}.{key}" if path else str(key))


def branches(tree: Any) -> Iterable[tuple[Any, Any]] | None:
    """What a node holds, by key; None where the tree is a leaf."""
    if tree is None:
        return ()
    if isinstance(tree, Mapping):
        return list(tree.items())
    if isinstance(tree, tuple | list):
        return enumerate(tree)
    return list(vars(tree).items()) if dataclasses.is_dataclass(tree) and not isinstance(tree, type) else None


def rebuilt(tree: Any, new: Iterator[Any]) -> Any:
    """The structure of `tree` around the leaves that `new` gives in order."""
    inside = branches(tree)
    if inside is None:
        return next(new)
    made = {key: rebuilt(branch, new) for key, branch in inside}
    if tree is None:
        return None
    if isinstance(tree, Mapping):
        return type(tree)(made)                                  # type: ignore[call-arg]
    if isinstance(tree, tuple | list):
        return type(tree)(*made.values()) if hasattr(tree, "_fields") else type(tree)(made.values())
    return dataclasses.replace(tree, **made)


def written(tree: Any, names: Iterator[str]) -> str:
    """The structure as code, a name in the place of each leaf."""
    inside = branches(tree)
    if inside is None:
        return next(names)
    parts = {key: written(branch, names) for key, branch in inside}
    if tree is None:
        return "None"
    if isinstance(tree, Mapping):
        return "{" + ", ".join(f"{k!r}: {v}" for k, v in parts.items()) + "}"
    if isinstance(tree, list):
        return f"[{', '.join(parts.values())}]"
    if isinstance(tree, tuple) and not hasattr(tree, "_fields"):
        return f"({', '.join(parts.values())}{',' * (len(parts) == 1)})"
    return f"{type(tree).__name__}({', '.join(f'{k}={v}' for k, v in parts.items())})" if not isinstance(tree, tuple) else \
        f"{type(tree).__name__}({', '.join(parts.values())})"
