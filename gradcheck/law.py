"""Shape laws: `"n rows cols in_ch -> n out_rows out_cols out_ch"`, parsed, bound to shapes, solved for sizes.

Axes are identifiers or whole numbers separated by blanks, arrays by commas. `*` is any number of axes, `(*)` and
`(rows cols)` the product of what they name, `[n *]` any number of inputs alike. An input may state what its entries
are: `"n d > 0"`, `"n d in [0,1)"`, `"n d in {0, 1}"`, `"n t int[0,10)"`. Without `->` nothing is said of the outputs.
Standard library only: this is the one leaf that `layers` may import.
"""
from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

Size = int | tuple[int, ...]                      # of an axis; of `*`, all the axes that it stands for
Shape = tuple[int, ...]

_TERM = re.compile(r"\s*(\*|\d+|[A-Za-z_]\w*|\([^()]*\))")
_DOMAIN = re.compile(r"^(?P<axes>.*?)\s*(?:(?P<sign>>=|>)\s*0|(?P<kind>in|int)\s*(?P<open>[\[(])\s*(?P<low>[^,]+),(?P<high>[^\])]+)(?P<close>[\])])"
                     r"|in\s*\{(?P<choices>[^}]+)\})?\s*$")


class ShapeError(ValueError):
    """The shapes given do not fit the law."""


class LawError(ValueError):
    """The text is not a law."""


@dataclass(frozen=True)
class Domain:
    """What the entries of an input are: real numbers or integers between two bounds, or a few numbers to choose from."""
    integer: bool = False
    low: float = -math.inf
    high: float = math.inf
    closed: tuple[bool, bool] = (False, False)
    choices: tuple[float, ...] = ()

    @property
    def anything(self) -> bool:
        return self == Domain()


@dataclass(frozen=True)
class Side:
    """The axes of one array, or of any number of arrays alike when `many`."""
    terms: tuple[str, ...]
    many: bool = False
    domain: Domain = Domain()

    @staticmethod
    @cache
    def parse(text: str) -> Side:
        """Parse the axes of one array. Errors: LawError names the text and what is wrong in it."""
        found = _DOMAIN.match(text.strip())
        axes, domain = (found["axes"], _domain(found)) if found else (text, Domain())
        many = axes.startswith("[") and axes.endswith("]")
        return Side(_terms(axes[1:-1] if many else axes), many, domain)

    @property
    def names(self) -> tuple[str, ...]:
        """Every axis named here, `*` included, in order."""
        return tuple(a for t in self.terms for a in _inside(t) if not a.isdigit())

    def split(self, shape: Shape) -> list[tuple[str, Size]] | None:
        """Each term beside its size in `shape`; None if the number of axes does not fit."""
        if "*" in self.terms:
            i = self.terms.index("*")
            j = len(shape) - (len(self.terms) - i - 1)
            shape = (*shape[:i], shape[i:j], *shape[j:]) if j >= i else ()       # type: ignore[assignment, arg-type]
        return list(zip(self.terms, shape, strict=True)) if len(shape) == len(self.terms) else None

    def shape(self, size: Callable[[str], Size]) -> Shape:
        """The shape, when `size` tells the size of each axis."""
        return tuple(n for t in self.terms for n in _sizes(t, size))

    def __str__(self) -> str:
        return f"({', '.join(self.terms)}{',' if len(self.terms) == 1 and self.terms != ('*',) else ''})"


@dataclass(frozen=True)
class Law:
    """Input axes and output axes; `outputs` is None where the text says nothing of them."""
    inputs: tuple[Side, ...]
    outputs: tuple[Side, ...] | None
    text: str

    @classmethod
    def parse(cls, text: str) -> Law:
        """Parse a law. Errors: LawError names the text and what is wrong in it."""
        return _parse(text)

    @property
    def axes(self) -> tuple[str, ...]:
        """The input axes in order of appearance, `*` included, each once."""
        return tuple(dict.fromkeys(a for s in self.inputs for a in s.names))

    @property
    def many(self) -> bool:
        return self.inputs[0].many

    def sides(self, count: int) -> tuple[Side, ...]:
        """The input side of each of `count` inputs."""
        return self.inputs * count if self.many else self.inputs

    def bind(self, shapes: Sequence[Shape], who: str = "the law") -> dict[str, Size]:
        """The size of every input axis. Errors: ShapeError says what `who` takes and what came."""
        sides = self.sides(len(shapes))
        if len(sides) != len(shapes) or not shapes:
            raise ShapeError(f"{who} takes {len(self.inputs) if not self.many else 'one or more'} input{'s' * (len(sides) != 1)}, got {len(shapes)}")
        axes: dict[str, Size] = {}
        for i, (side, shape) in enumerate(zip(sides, shapes, strict=True)):
            wrong = _misfit(axes, side, tuple(shape))
            if wrong:
                raise ShapeError(f"{who} takes {wrong}, got shape {tuple(shape)}" if len(sides) == 1 else
                                 f"{who}: input {i + 1} takes {wrong}, got shapes {', '.join(str(tuple(n)) for n in shapes)}")
        return axes

    def shapes(self, axes: Mapping[str, Size], count: int | None = None) -> tuple[Shape, ...]:
        """The input shapes at these sizes; `count` of them where the law takes any number."""
        return tuple(s.shape(axes.__getitem__) for s in self.sides(count or len(self.inputs)))


def resolve(axis: str, axes: Mapping[str, Size], owner: object) -> Size:
    """The size of an axis: bound by an input, else an attribute of `owner`, else its method of that name, whose arguments are axes."""
    if axis in axes:
        return axes[axis]
    rule = getattr(owner, axis, None)
    if rule is None:
        raise LawError(f"{type(owner).__name__}: axis {axis!r} is no input axis, hyperparameter or method (input axes: {', '.join(axes)})")
    size: Size = rule(*(resolve(a, axes, owner) for a in _arguments(rule))) if callable(rule) else rule
    return size


def _arguments(rule: Callable[..., Size]) -> Iterable[str]:
    method = getattr(rule, "__func__", None)
    return _named(method)[1:] if method else _named(rule)


@cache
def _named(rule: Callable[..., Size]) -> tuple[str, ...]:
    return tuple(inspect.signature(rule).parameters)


def _misfit(axes: dict[str, Size], side: Side, shape: Shape) -> str:
    """What the side takes, if the shape does not fit it and the axes bound so far; "" if it fits, its axes then being bound too."""
    pairs = side.split(shape)
    if pairs is None or any(term.isdigit() and int(term) != n for term, n in pairs):
        return str(side)
    wrong = next(((term, axes[term]) for term, n in pairs if not term.isdigit() and axes.setdefault(term, n) != n), None)
    return f"{side} with {wrong[0]}={wrong[1]}" if wrong else ""


def _sizes(term: str, size: Callable[[str], Size]) -> Shape:
    if term.isdigit():
        return (int(term),)
    if term.startswith("("):
        return (math.prod(n for t in _inside(term) for n in _sizes(t, size)),)
    n = size(term)
    return n if isinstance(n, tuple) else (n,)


def _inside(term: str) -> tuple[str, ...]:
    return tuple(term[1:-1].split()) if term.startswith("(") else (term,)


def _terms(text: str) -> tuple[str, ...]:
    terms, at, text = [], 0, text.strip()
    while at < len(text):
        found = _TERM.match(text, at)
        if not found:
            raise LawError(f"{text!r}: cannot read {text[at:]!r}; axes are names, numbers, *, (…) or one [ … ]")
        terms.append(found[1])
        at = found.end()
    if terms.count("*") > 1:
        raise LawError(f"{text!r}: more than one * in an array leaves its axes ambiguous")
    return tuple(terms)


def _domain(found: re.Match[str]) -> Domain:
    if found["sign"]:
        return Domain(False, 0.0, math.inf, (found["sign"] == ">=", False))
    if found["kind"]:
        closed = (found["open"] == "[", found["close"] == "]")
        return Domain(found["kind"] == "int", float(found["low"]), float(found["high"]), closed)
    if found["choices"]:
        return Domain(choices=tuple(map(float, found["choices"].split(","))))
    return Domain()


@cache
def _parse(text: str) -> Law:
    left, arrow, right = text.partition("->")
    inputs = tuple(map(Side.parse, _arrays(left)))
    if any(s.many for s in inputs) and len(inputs) > 1:
        raise LawError(f"{text!r}: [ … ] stands alone")
    if any(t.startswith("(") for s in inputs for t in s.terms):
        raise LawError(f"{text!r}: a product on the left cannot be told from one axis")
    return Law(inputs, tuple(map(Side.parse, _arrays(right))) if arrow else None, text)


def _arrays(text: str) -> list[str]:
    """Split at the commas that stand outside brackets (a domain's bounds hold one)."""
    return re.split(r",(?![^\[({]*[\])}])", text)
