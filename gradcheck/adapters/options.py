"""Options of a factory: the keyword domains, each value with a label that is JSON, and the way back."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Pairs = tuple[tuple[Any, Any], ...]              # (label, value), simplest first


@dataclass(frozen=True)
class Options:
    """Every option's values by their labels."""
    pairs: Mapping[str, Pairs]

    @classmethod
    def of(cls, given: Mapping[str, Any] | None) -> Options:
        """From `{"stride": [1, 2], "pool": {"mean": f}}`. Errors: ValueError for an empty domain or two equal labels."""
        return cls({k: labelled(k, values) for k, values in (given or {}).items()})

    @property
    def domains(self) -> dict[str, tuple[Any, ...]]:
        return {k: tuple(label for label, _ in pairs) for k, pairs in self.pairs.items()}

    def values(self, given: Mapping[str, Any], who: str) -> dict[str, Any]:
        """The keyword arguments for these labels; the simplest value where none is given. Errors: ValueError for an unknown option."""
        unknown = ", ".join(sorted(given.keys() - self.pairs.keys()))
        if unknown:
            raise ValueError(f"{who} has the options {', '.join(self.pairs) or '(none)'}, got {unknown}")
        return {k: value_of(pairs, given[k]) if k in given else pairs[0][1] for k, pairs in self.pairs.items()}


def labelled(option: str, values: Any) -> Pairs:
    """Each value with its label: the key of a mapping, or `label`."""
    pairs = tuple(values.items()) if isinstance(values, Mapping) else tuple((label(v), v) for v in values)
    if not pairs:
        raise ValueError(f"the option {option!r} has no values")
    for i, (a, _) in enumerate(pairs):
        if any(_same(a, b) for b, _ in pairs[:i]):
            raise ValueError(f"the option {option!r} has two values called {a!r}; give them names: {{'a': value, 'b': other}}")
    return pairs


def label(value: Any) -> Any:
    """What stands for a value in a report and a specification: itself if it is a JSON scalar, else its name or its text."""
    return value if value is None or isinstance(value, bool | int | float | str) else getattr(value, "__name__", None) or str(value)


def value_of(pairs: Sequence[tuple[Any, Any]], wanted: Any) -> Any:
    """The value behind a label; what is no label stands for itself."""
    return next((v for a, v in pairs if _same(a, wanted)), wanted)


def _same(a: Any, b: Any) -> bool:
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)
