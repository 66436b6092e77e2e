"""Small changes of a function, as a tired person makes them: from a code object to edits of its source, and back to code.

An edit is a span of the file's bytes with the text that replaces it, so a diff shows the line as its author wrote it.
Nothing is written to disk: the changed text is compiled, and `installed` puts its code where the old one was.
"""
from __future__ import annotations

import ast
import difflib
import gc
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

Span = tuple[int, int]
Function = ast.FunctionDef | ast.Lambda
FUTURE = 0x1FE0000                # the bits of co_flags that a `from __future__` import sets: compile must be told of them again


@dataclass(frozen=True)
class Edit:
    """One change: the bytes `start:end` of a file become `text`."""
    file: str
    line: int
    kind: str
    start: int
    end: int
    text: str

    @property
    def changed(self) -> bytes:
        """The whole file with the change."""
        raw = source(self.file)
        return raw[:self.start] + self.text.encode() + raw[self.end:]

    def parsed(self) -> ast.Module:
        """The statement of a module or a class that holds the change, in its lines and columns. Errors: SyntaxError."""
        (first, last), raw, starts = _statement(self.file, self.line), source(self.file), text_of(self.file).starts
        held = raw[starts[first - 1]:self.start] + self.text.encode() + raw[self.end:starts[last]]
        above = b"\n" * (first - 2) + b"if 1:\n" if held[:1].isspace() else b"\n" * (first - 1)
        return ast.parse(above + held)

    @property
    def diff(self) -> str:
        """The lines that differ, as a unified diff."""
        before, after = (text.decode().splitlines() for text in (source(self.file), self.changed))
        return "\n".join(list(difflib.unified_diff(before, after, lineterm="", n=0))[2:])


@lru_cache
def source(file: str) -> bytes:
    return Path(file).read_bytes()


@lru_cache
def _tree(file: str) -> ast.Module:
    return ast.parse(source(file))


@lru_cache
def _statement(file: str, line: int) -> tuple[int, int]:
    """The first and the last line of the statement, in the body of the module or of a class, that holds this line."""
    first, last, body = 1, 0, _tree(file).body
    while body:
        holding = [n for n in body if _first_line(n) <= line <= (n.end_lineno or n.lineno)]
        first, last = (_first_line(holding[0]), holding[0].end_lineno or 0) if holding else (first, last)
        body = holding[0].body if holding and isinstance(holding[0], ast.ClassDef) else []
    return first, last


def _first_line(n: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(n, "decorator_list", [])
    return min([n.lineno, *(d.lineno for d in decorators)])


@lru_cache
def text_of(file: str) -> Text:
    return Text(source(file))


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
        return _held(self.plain(node))


ATOMS = (ast.Name, ast.Attribute, ast.Call, ast.Subscript, ast.Constant)


def _held(text: str) -> str:
    """The expression, in parentheses unless it is one that binds closer than any operator."""
    return text if isinstance(ast.parse(f"({text})", mode="eval").body, ATOMS) else f"({text})"


# the operators: what may go wrong with a node ----------------------------------------------------------------------------------

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
        yield p.text(node.args[0] if _is_module(node.func.value) and node.args else node.func.value)


def _is_module(node: ast.AST) -> bool:
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
    position = 1 if _is_module(parent.func.value) else 0
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
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and isinstance(key := _key(node), str):
        base = p.text.plain(node.value)
        yield from (f"{base}[{k!r}]" for k in p.beside.get(base, []) if k != key)


def _key(node: ast.Subscript) -> object:
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


# from code to edits ----------------------------------------------------------------------------------------------------------

def edits(code: types.CodeType) -> list[Edit]:
    """Every change of one function, in the order of its source; none where there is no source."""
    node = _node(code)
    if node is None:
        return []
    text, file = text_of(code.co_filename), code.co_filename
    beside, results, found = _beside(node, text), {id(n) for n in _results(node)}, dict[tuple[int, int, str], Edit]()
    for child, parent in _walk(node):
        for kind, operator in OPERATORS.items():
            for new in operator(Place(child, parent, text, beside, id(child) in results)):
                start, end = text.span(child)
                whole = new if isinstance(child, ast.stmt | ast.Slice) or _stands_alone(child, parent) else _held(new)
                found.setdefault((start, end, whole), Edit(file, child.lineno, kind, start, end, whole))   # type: ignore[attr-defined]
    return [e for _, e in sorted(found.items(), key=lambda item: item[0]) if _compiles(e)]


def _stands_alone(node: ast.AST, parent: ast.AST) -> bool:
    """Whether the place holds a whole expression as it is."""
    if isinstance(parent, ast.Call):
        return node in parent.args
    return isinstance(parent, ast.Assign | ast.AugAssign | ast.Return | ast.keyword | ast.Subscript | ast.Dict | ast.Tuple | ast.List)


def _compiles(e: Edit) -> bool:
    try:
        e.parsed()
    except SyntaxError:
        return False
    return True


def _walk(node: Function) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Every node of a function's body with its parent: not its defaults, annotations, errors, assertions, or text."""
    queue: list[tuple[ast.AST, ast.AST]] = [(n, node) for n in ([node.body] if isinstance(node, ast.Lambda) else node.body)]
    while queue:
        child, parent = queue.pop(0)
        if isinstance(child, ast.Raise | ast.Assert | ast.arguments | ast.JoinedStr | ast.expr_context | ast.operator) or _is_text(child):
            continue
        yield child, parent
        inner = [n for n in ast.iter_child_nodes(child) if not isinstance(child, ast.AnnAssign) or n is not child.annotation]
        queue += [(n, child) for n in inner if n not in getattr(child, "decorator_list", []) and n is not getattr(child, "returns", None)]


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _results(node: Function) -> Iterator[ast.AST]:
    """The expressions whose values are kept under one name or place, or returned, alone or with others."""
    if isinstance(node, ast.Lambda):
        yield from _parts(node.body)
    for n, _ in _walk(node):
        if isinstance(n, ast.Return) and n.value:
            yield from _parts(n.value)
        if isinstance(n, ast.Assign):
            yield from _parts(n.value) if isinstance(n.value, ast.Tuple) or not isinstance(n.targets[0], ast.Tuple) else ()


def _parts(node: ast.expr) -> Iterator[ast.expr]:
    """The entries of a tuple, a list, a dictionary, or what is built with names for its parts: Vars(W=dW, b=db)."""
    parts = (node.elts if isinstance(node, ast.Tuple | ast.List) else node.values if isinstance(node, ast.Dict) else
             [k.value for k in node.keywords] if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.keywords and not node.args else None)
    if parts is not None:
        for part in parts:
            yield from _parts(part)
    elif not isinstance(node, ast.Constant | ast.JoinedStr | ast.Lambda | ast.Starred):
        yield node


def _beside(node: Function, text: Text) -> dict[str, list[str]]:
    """Attributes read of each name, and text keys of each thing subscripted, in order of appearance."""
    found: dict[str, dict[str, None]] = {}
    for n, parent in _walk(node):
        if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and not _is_module(n.value) and not isinstance(parent, ast.Call):
            found.setdefault(n.value.id, {})[n.attr] = None
        if isinstance(n, ast.Subscript) and isinstance(key := _key(n), str):
            found.setdefault(text.plain(n.value), {})[key] = None
    return {k: list(v) for k, v in found.items()}


def _node(code: types.CodeType) -> Function | None:
    """The function in the source that this code was made from."""
    try:
        tree = _tree(code.co_filename)
    except (OSError, SyntaxError):
        return None
    return next((n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.Lambda) and _is_of(code, n)), None)


def _is_of(code: types.CodeType, node: Function) -> bool:
    """A definition by its name and first line; of several lambdas in a line, the one whose body the code's positions span."""
    if isinstance(node, ast.FunctionDef):
        return code.co_name == node.name and code.co_firstlineno == _first_line(node)
    if code.co_name != "<lambda>" or code.co_firstlineno != node.lineno:
        return False
    spans = [((a, c), (b, d)) for a, b, c, d in code.co_positions() if None not in (a, b, c, d) and (a, c) != (b, d)]
    body = ((node.body.lineno, node.body.col_offset), (node.body.end_lineno, node.body.end_col_offset))
    return bool(spans) and (min(s for s, _ in spans), max(e for _, e in spans)) == body       # type: ignore[type-var]


# from an edit to code --------------------------------------------------------------------------------------------------------

def recompiled(code: types.CodeType, edit: Edit) -> types.CodeType | None:
    """The code of the changed function, with the same free variables; None where the change leaves nothing else.

    It is compiled where it stood: inside a class of the same name, for `super()` and private names, inside a function that has
    its free variables. Naming all of them in a branch that is never taken keeps the closure's cells in their places.
    """
    old, tree = _node(code), edit.parsed()
    assert old is not None
    new = next(n for n in ast.walk(tree) if isinstance(n, type(old)) and (n.lineno, n.col_offset) == (old.lineno, old.col_offset))
    free: list[ast.expr] = [ast.Name(k, ast.Load()) for k in code.co_freevars]
    idle: list[ast.stmt] = [ast.If(ast.Constant(False), [ast.Expr(ast.Tuple(free, ast.Load()))], [])] if free else []
    body: list[ast.stmt] = new.body if isinstance(new, ast.FunctionDef) else [ast.Return(new.body)]       # type: ignore[attr-defined]
    args = ast.arguments(new.args.posonlyargs, new.args.args, new.args.vararg, new.args.kwonlyargs, [None for _ in new.args.kwonlyargs],
                         new.args.kwarg, [])
    function: ast.stmt = ast.FunctionDef(code.co_name, args, [*idle, *body], [], lineno=new.lineno, col_offset=0, end_lineno=new.end_lineno, end_col_offset=0)
    owner = code.co_qualname.split(".")[-2:-1]
    if owner and owner[0] != "<locals>":
        function = ast.ClassDef(owner[0], [], [], [function], [])
    around = ast.FunctionDef("_around", ast.arguments([], [ast.arg(k) for k in code.co_freevars], None, [], [], None, []), [function], [])
    module = ast.fix_missing_locations(ast.Module([around], []))
    made = next(c for c in _nested(compile(module, code.co_filename, "exec", code.co_flags & FUTURE, True)) if c.co_name == code.co_name)
    same = made.co_code == code.co_code and made.co_consts == code.co_consts and made.co_names == code.co_names
    return None if same or made.co_freevars != code.co_freevars else made.replace(co_qualname=code.co_qualname)


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    """All code within, outermost first."""
    yield code
    for c in code.co_consts:
        if isinstance(c, types.CodeType):
            yield from _nested(c)


class Swap(NamedTuple):
    """A function of this process, its code, and the code that it has with a mutant in place."""
    function: types.FunctionType
    before: types.CodeType
    after: types.CodeType


def swaps(old: types.CodeType, new: types.CodeType) -> list[Swap]:
    """Every function that was made from `old`, or makes functions from it."""
    functions = [f for f in gc.get_objects() if type(f) is types.FunctionType and f.__code__.co_filename == old.co_filename]     # isinstance asks proxies
    return [Swap(f, f.__code__, made) for f in functions if (made := _substituted(f.__code__, old, new)) is not f.__code__]


@contextmanager
def installed(old: types.CodeType, new: types.CodeType) -> Iterator[None]:
    """All of these run `new` for a while, and nothing that either computed is remembered by the other."""
    changed = swaps(old, new)
    held = memories({top(f.__module__) for f, _, _ in changed})
    try:
        forget(held)
        for f, _, after in changed:
            f.__code__ = after
        yield
    finally:
        for f, before, _ in changed:
            f.__code__ = before
        forget(held)


class Memory(Protocol):
    """A function that remembers what it computed."""
    def cache_clear(self) -> None: ...


REMEMBERING = type(lru_cache(len))


def memories(packages: Collection[str]) -> list[Memory]:
    """The caches of the functions of these packages that have one."""
    return [m for m in gc.get_objects() if type(m) is REMEMBERING and top(m.__module__) in packages]


def forget(held: Iterable[Memory]) -> None:
    """Empty the caches."""
    for m in held:
        m.cache_clear()


def top(module: str | None) -> str:
    """The package that a module is in, or itself."""
    return (module or "").partition(".")[0]


def _substituted(code: types.CodeType, old: types.CodeType, new: types.CodeType) -> types.CodeType:
    if code == old:
        return new
    consts = tuple(_substituted(c, old, new) if isinstance(c, types.CodeType) else c for c in code.co_consts)
    return code.replace(co_consts=consts) if any(a is not b for a, b in zip(consts, code.co_consts, strict=True)) else code


def outermost(codes: Sequence[types.CodeType]) -> list[types.CodeType]:
    """Those that are within no other: what is within is changed with it."""
    inner = {n for c in codes for n in within(c) - {c}}
    return [c for c in codes if c not in inner and _node(c) is not None]


def within(code: types.CodeType) -> set[types.CodeType]:
    """A function's code with that of the functions it makes."""
    return set(_nested(code))
