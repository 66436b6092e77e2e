"""The table of all layers in README.md, made from their declarations: `python -m layers.catalogue` prints it."""
from __future__ import annotations

from dataclasses import MISSING

from .base import Layer


def laws(cls: type[Layer]) -> list[str]:
    """The law, or the laws that its options lead to."""
    if isinstance(cls.law, str):
        return [cls.law]
    domains = {k: f.metadata["domain"] for k, f in cls._fields.items() if "domain" in f.metadata}
    simplest = {k: domain[0] for k, domain in domains.items()}
    drawn = [cls(**(simplest | {k: v})) for k, domain in domains.items() for v in domain]
    return list(dict.fromkeys(layer.law for layer in drawn))


def signature(cls: type[Layer]) -> str:
    """The constructor's arguments in order, but for the `optimizer` that all have."""
    return ", ".join(k if f.default is MISSING else f"{k}={f.default!r}" for k, f in cls._fields.items() if k != "optimizer")


def options(cls: type[Layer]) -> str:
    """The arguments that are not plain numbers, and the values that are checked."""
    checked = {k: f.metadata["domain"] for k, f in cls._fields.items() if isinstance(f.metadata.get("domain"), list)}
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
