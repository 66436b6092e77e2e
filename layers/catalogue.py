"""The table of all layers in README.md, made from their declarations: `python -m layers.catalogue` prints it."""
from __future__ import annotations

from dataclasses import MISSING, fields

from .base import Layer


def laws(cls: type[Layer]) -> list[str]:
    """The law, or the laws that its options lead to."""
    if isinstance(cls.law, str):
        return [cls.law]
    simplest = {f.name: f.metadata["domain"][0] for f in fields(cls) if "domain" in f.metadata}   # type: ignore[arg-type]
    drawn = [cls(**(simplest | {f.name: v})) for f in fields(cls) for v in f.metadata.get("domain", [])]   # type: ignore[arg-type]
    return list(dict.fromkeys(layer.law for layer in drawn))


def signature(cls: type[Layer]) -> str:
    """The constructor's arguments in order, but for the `optimizer` that all have."""
    shown = [f for f in fields(cls) if f.name != "optimizer"]         # type: ignore[arg-type]
    return ", ".join(f.name if f.default is MISSING else f"{f.name}={f.default!r}" for f in shown)


def options(cls: type[Layer]) -> str:
    """The arguments that are not plain numbers, and the values that are checked."""
    checked = {f.name: f.metadata["domain"] for f in fields(cls) if isinstance(f.metadata.get("domain"), list)}   # type: ignore[arg-type]
    return "; ".join(f"{k}: {'every activation' if len(v) > 9 else ', '.join(map(repr, v))}" for k, v in checked.items())


def row(cls: type[Layer]) -> str:
    equation = " ".join((cls.__doc__ or "").split()).removesuffix(".").split(". ")[0].split("; ")[0]
    arrays = ", ".join(f"{k} ({s.axes})" for k, s in cls.slots.items())
    columns = [f"`{cls.__name__}({signature(cls)})`", "<br>".join(f"`{law}`" for law in laws(cls)), equation, arrays, options(cls)]
    return f"| {' | '.join(columns)} |"


def table() -> str:
    """One row a layer of this package, in alphabetical order; a Model, whose arrays are those of its parts, is none."""
    own = (c for c in Layer.registry.values() if c.__module__.startswith("layers.") and isinstance(c.slots, dict))
    return "\n".join(["| layer | law | equation | arrays | options checked |", "|---|---|---|---|---|", *sorted(map(row, own))])


if __name__ == "__main__":
    print(table())
