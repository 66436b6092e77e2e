"""Small changes of a function, as a tired person makes them: from a code object to edits of its source, and back to code.

An edit is a span of the file's bytes with the text that replaces it, so a diff shows the line as its author wrote it.
Nothing is written to disk: the changed text is compiled, and `installed` puts its code where the old one was.
"""
from __future__ import annotations

import ast
import difflib
import gc
import types
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

from .operators import OPERATORS, Place, Text, held, is_module, key_of

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
        lines = raw[starts[first - 1]:self.start] + self.text.encode() + raw[self.end:starts[last]]
        above = b"\n" * (first - 2) + b"if 1:\n" if lines[:1].isspace() else b"\n" * (first - 1)
        return ast.parse(above + lines)

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
                whole = new if isinstance(child, ast.stmt | ast.Slice) or _stands_alone(child, parent) else held(new)
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
        if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and not is_module(n.value) and not isinstance(parent, ast.Call):
            found.setdefault(n.value.id, {})[n.attr] = None
        if isinstance(n, ast.Subscript) and isinstance(key := key_of(n), str):
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
