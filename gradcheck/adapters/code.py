"""A foreign layer in words: where it comes from, what it says of itself, the code that builds it."""
from __future__ import annotations

import ast
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

LONGEST = 24              # entries of an array that are still written out


def signature_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The parameters by name; none where the signature is unknown."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def arguments(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the positional arguments that must be given."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(n for n, p in signature_of(function).items() if p.kind in kinds and p.default is p.empty)


def source_of(function: Any) -> str:
    """file:line of a function, relative to the working directory if it lies there; "" where there is no source."""
    function = inspect.unwrap(function) if callable(function) else function
    try:
        file, line = inspect.getsourcefile(function) or "", inspect.getsourcelines(function)[1]
    except (TypeError, OSError):
        return ""
    here = os.path.relpath(file) if file else os.pardir
    return "" if not file else f"{file if here.startswith(os.pardir) else here}:{line}"


def summary_of(layer: Any) -> str:
    """The first paragraph of what a layer's class says of itself."""
    cls = type(layer)
    doc = vars(cls).get("__doc__") or getattr(vars(cls).get("__init__"), "__doc__", None) or ""
    return inspect.cleandoc(doc).partition("\n\n")[0] if layer is not None else ""


def construction(factory: Any, options: Mapping[str, Any]) -> list[str]:
    """The lines that build the layer: an import where the factory has a name, else the text of the lambda."""
    given = ", ".join(f"{k}={_named(v)}" for k, v in options.items())
    name = getattr(factory, "__qualname__", "")
    if name.isidentifier() and importable(factory):
        return [f"from {factory.__module__} import {name}", f"layer = {name}({given})"]
    text = name if name.isidentifier() else f"({lambda_of(factory) or 'factory'})"
    return [f"# names as in {source_of(factory) or 'the file of cases'}", f"layer = {text}({given})"]


def _named(value: Any) -> str:
    name = getattr(value, "__name__", "")
    return f"np.{name}" if name and getattr(np, name, None) is value else name or repr(value)


def importable(thing: Any) -> bool:
    """Whether its module bears the name of its file, so that an import finds it: a file that was loaded by its path may not."""
    module = sys.modules.get(getattr(thing, "__module__", ""))
    stem = os.path.splitext(os.path.basename(getattr(module, "__file__", None) or ""))[0]
    return module is not None and stem in (module.__name__.rpartition(".")[2], "__init__")


def lambda_of(factory: Any) -> str:
    """The text of a lambda; "" if it cannot be found."""
    try:
        text, line = "".join(inspect.findsource(factory)[0]), factory.__code__.co_firstlineno
        nodes = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Lambda) and n.lineno == line]
    except (TypeError, OSError, SyntaxError, AttributeError):
        return ""
    end = max((p[1], p[3]) for p in factory.__code__.co_positions() if p[1] is not None and p[3] is not None)   # of several on a line, the one that ends there
    return next((ast.get_source_segment(text, n) or "" for n in nodes if (n.body.end_lineno, n.body.end_col_offset) == end), "")


def literal(x: np.ndarray) -> str:
    """An array as code: written out if it is small, else drawn anew in its shape."""
    if 0 < x.size <= LONGEST:
        return f"np.array({x.tolist()!r}, {str(x.dtype)!r})"
    if x.dtype.kind in "iu" and x.size:
        return f"np.random.default_rng(0).integers({x.min()}, {x.max() + 1}, {x.shape})"
    of = "random" if x.size and x.dtype.kind == "f" and x.min() >= 0 and x.max() <= 1 else "standard_normal"
    return f"np.random.default_rng(0).{of}({x.shape}).astype({str(x.dtype)!r})"
