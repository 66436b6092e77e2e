"""Mutation operators: what may stand where a node of a function stands, when a tired person writes it. A table; a new one is a row."""
from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Span = tuple[int, int]


class Text:
    """The source of a file by node: byte offsets, and a node's own words, in parentheses where they would not hold together."""

    def __init__(self, raw: bytes) -> None:
        self.raw, self.starts = raw, [0]
        for line in raw.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def span(self, node: ast.AST) -> Span:
        return self.starts[node.lineno - 1] + node.col_offset, self.starts[node.end_lineno - 1] + node.end_col_offset   # type: ignore[attr-defined]

    def plain(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.raw[start:end].decode()

    def __call__(self, node: ast.AST) -> str:
        return held(self.plain(node))


ATOMS = (ast.Name, ast.Attribute, ast.Call, ast.Subscript, ast.Constant)


def held(text: str) -> str:
    """The expression, in parentheses unless it is one that binds closer than any operator."""
    return text if isinstance(ast.parse(f"({text})", mode="eval").body, ATOMS) else f"({text})"


@dataclass(frozen=True)
class Place:
    """A node, its parent, the words of the file, and the names that stand beside each base: {"r": ["X", "Z"]}."""
    node: ast.AST
    parent: ast.AST
    text: Text
    beside: dict[str, list[str]]
    result: bool              # whether its value is kept or returned


Operator = Callable[[Place], Iterator[str]]
REDUCTIONS = {"sum": "mean", "mean": "sum"}
ALONG = {"sum", "mean", "max", "min", "var", "std", "prod", "cumsum", "any", "all", "argmax", "argmin", "flip", "roll", "concatenate", "stack", "repeat",
         "expand_dims", "squeeze", "take", "split", "norm"}
COMPARISONS: dict[type[ast.cmpop], str] = {ast.Gt: ">=", ast.GtE: ">", ast.Lt: "<=", ast.LtE: "<", ast.Eq: "!=", ast.NotEq: "=="}
IN_PLACE: dict[type[ast.operator], str] = {ast.Add: "__iadd__", ast.Sub: "__isub__", ast.Mult: "__imul__", ast.Div: "__itruediv__"}


def _binary(*kinds: type[ast.operator]) -> Callable[[Callable[[str, str, ast.operator], Iterator[str]]], Operator]:
    """An operator on binary expressions of these kinds, given both sides as text."""
    def make(rewrite: Callable[[str, str, ast.operator], Iterator[str]]) -> Operator:
        def operator(p: Place) -> Iterator[str]:
            if isinstance(p.node, ast.BinOp) and isinstance(p.node.op, kinds):
                yield from rewrite(p.text(p.node.left), p.text(p.node.right), p.node.op)
        return operator
    return make


@_binary(ast.Add, ast.Sub)
def term_dropped(a: str, b: str, op: ast.operator) -> Iterator[str]:
    yield from (a, b if isinstance(op, ast.Add) else f"-{b}")


@_binary(ast.Mult, ast.Div, ast.Pow)
def factor_dropped(a: str, b: str, op: ast.operator) -> Iterator[str]:
    yield from (a, b) if isinstance(op, ast.Mult) else (a,)


@_binary(ast.Add, ast.Sub)
def sign_of_a_term(a: str, b: str, op: ast.operator) -> Iterator[str]:
    yield f"{a} - {b}" if isinstance(op, ast.Add) else f"{a} + {b}"


def sign_dropped(p: Place) -> Iterator[str]:
    if isinstance(p.node, ast.UnaryOp) and isinstance(p.node.op, ast.USub) and not isinstance(p.node.operand, ast.Constant):
        yield p.text(p.node.operand)


@_binary(ast.Sub, ast.Div, ast.MatMult)
def operands_swapped(a: str, b: str, op: ast.operator) -> Iterator[str]:
    yield f"{b} {'-' if isinstance(op, ast.Sub) else '/' if isinstance(op, ast.Div) else '@'} {a}"


def transpose_removed(p: Place) -> Iterator[str]:
    node = p.node
    if isinstance(node, ast.Attribute) and node.attr in ("T", "mT"):
        yield p.text(node.value)
    yield from _without_call(p, ("transpose", "swapaxes", "moveaxis"))


def conjugate_dropped(p: Place) -> Iterator[str]:
    yield from _without_call(p, ("conj", "conjugate"))


def _without_call(p: Place, names: tuple[str, ...]) -> Iterator[str]:
    """What a method is called on; the first argument, where it is a function of a module."""
    node = p.node
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in names:
        yield p.text(node.args[0] if is_module(node.func.value) and node.args else node.func.value)


def is_module(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in ("np", "numpy", "jnp", "torch", "xp", "anp")


def axis_changed(p: Place) -> Iterator[str]:
    """Of a reduction and the like: the axis beside it, or all."""
    if _is_axis(p.node, p.parent) and isinstance(n := _number(p.node), int):
        yield from (str(n + 1), str(n - 1), "None")


def _is_axis(node: ast.AST, parent: ast.AST) -> bool:
    if isinstance(parent, ast.keyword):
        return parent.arg in ("axis", "dim")
    if not isinstance(parent, ast.Call) or not isinstance(parent.func, ast.Attribute) or parent.func.attr not in ALONG:
        return False
    position = 1 if is_module(parent.func.value) else 0
    return len(parent.args) > position and parent.args[position] is node


def _number(node: ast.AST) -> object:
    """The number that a literal is, with its sign; None for anything else."""
    try:
        value = ast.literal_eval(node)                     # type: ignore[arg-type]
    except (ValueError, TypeError):
        return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def sum_for_mean(p: Place) -> Iterator[str]:
    node = p.node
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in REDUCTIONS:
        whole, attr = p.text.plain(node), p.text.plain(node.func)
        yield attr[:-len(node.func.attr)] + REDUCTIONS[node.func.attr] + whole[len(attr):]


def off_by_one(p: Place) -> Iterator[str]:
    node, parent = p.node, p.parent
    if isinstance(node, ast.Slice):
        lower, upper, step = (p.text.plain(n) if n else "" for n in (node.lower, node.upper, node.step))
        tail = f":{step}" if step else ""
        yield f"{_plus(lower, 1)}:{upper}{tail}"
        yield f"{lower}:{_plus(upper, -1)}{tail}"
        if upper:
            yield f"{lower}:{_plus(upper, 1)}{tail}"
        if lower:
            yield f"{_plus(lower, -1)}:{upper}{tail}"
    elif _is_index(node, parent):
        yield from (_plus(p.text.plain(node), d) for d in (1, -1))


def _is_index(node: ast.AST, parent: ast.AST) -> bool:
    """A whole number that counts places: an index, or an argument of range."""
    if isinstance(parent, ast.Subscript) and parent.slice is node:
        return isinstance(_number(node), int)
    return isinstance(parent, ast.Call) and isinstance(parent.func, ast.Name) and parent.func.id in ("range", "slice") and node in parent.args


def _plus(text: str, d: int) -> str:
    if not text:
        return str(d)
    number = _number(ast.parse(text, mode="eval").body)
    return str(number + d) if isinstance(number, int) else f"{text} {'+' if d > 0 else '-'} 1"


def added_or_assigned(p: Place) -> Iterator[str]:
    node = p.node
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add | ast.Sub):
        yield f"{p.text.plain(node.target)} = {p.text.plain(node.value)}"
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Subscript | ast.Attribute):
        yield f"{p.text.plain(node.targets[0])} += {p.text.plain(node.value)}"


def border_of_a_comparison(p: Place) -> Iterator[str]:
    node = p.node
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARISONS:
        yield f"{p.text(node.left)} {COMPARISONS[type(node.ops[0])]} {p.text(node.comparators[0])}"


def condition_negated(p: Place) -> Iterator[str]:
    if isinstance(p.parent, ast.If | ast.IfExp) and p.parent.test is p.node:
        yield f"not {p.text(p.node)}"


def another_array(p: Place) -> Iterator[str]:
    """Another of the arrays that stand under the same roof: r.X for r.Z, cache["a"] for cache["z"]."""
    node = p.node
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and isinstance(node.value, ast.Name) and not isinstance(p.parent, ast.Call):
        yield from (f"{node.value.id}.{k}" for k in p.beside.get(node.value.id, []) if k != node.attr)
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and isinstance(key := key_of(node), str):
        base = p.text.plain(node.value)
        yield from (f"{base}[{k!r}]" for k in p.beside.get(base, []) if k != key)


def key_of(node: ast.Subscript) -> object:
    return node.slice.value if isinstance(node.slice, ast.Constant) else None


def _result(rewrite: Callable[[str], Iterator[str]]) -> Operator:
    """An operator on what is kept or returned, given as text."""
    return lambda p: rewrite(p.text(p.node)) if p.result else iter(())


@_result
def scaled(value: str) -> Iterator[str]:
    yield from (f"{value} * (1 {sign} 1e-6)" for sign in "+-")


@_result
def sign_flipped(value: str) -> Iterator[str]:
    yield f"-{value}"


@_result
def zeroed(value: str) -> Iterator[str]:
    yield f"0 * {value}"


@_result
def in_float32(value: str) -> Iterator[str]:
    yield f"{value}.astype('float32').astype({value}.dtype)"


def written_in_place(p: Place) -> Iterator[str]:
    node = p.node
    if isinstance(node, ast.BinOp) and type(node.op) in IN_PLACE and isinstance(node.left, ast.Name | ast.Attribute | ast.Subscript):
        yield f"{p.text.plain(node.left)}.{IN_PLACE[type(node.op)]}({p.text.plain(node.right)})"


OPERATORS: dict[str, Operator] = {
    "a term dropped": term_dropped, "a factor dropped": factor_dropped, "the sign of a term": sign_of_a_term, "a sign dropped": sign_dropped,
    "a sign flipped": sign_flipped, "operands swapped": operands_swapped, "a transpose removed": transpose_removed, "an axis changed": axis_changed,
    "sum for mean": sum_for_mean, "off by one": off_by_one, "added or assigned": added_or_assigned, "> for >=": border_of_a_comparison,
    "a condition negated": condition_negated, "another array": another_array, "scaled by 1 ± 1e-6": scaled, "zeroed": zeroed,
    "written in place": written_in_place, "a conjugate dropped": conjugate_dropped, "in float32": in_float32,
}
