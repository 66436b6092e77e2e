"""From what a person types to cases: a module, `pkg.mod:attribute`, or a file, with or without `:name`."""
from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from .adapters import AdaptError, Broken, adapt
from .adapters.native import recognises as is_native
from .evidence import NotChecked
from .subjects import Case

_TARGET = re.compile(r"(.*?\.py|[^:]*)(?::(.*))?", re.DOTALL)       # a case's name may hold anything, a colon too


EMPTY = "nothing in it is a case, or a class with forward and backward"


class TargetError(ValueError):
    """The target cannot be imported, or has no such attribute."""


@dataclass(frozen=True)
class Found:
    """The cases of a target, what in it looks like a layer and cannot be judged, and the cases beside them that the target does not name."""
    cases: tuple[Case, ...]
    not_checked: tuple[NotChecked, ...] = ()
    others: tuple[Case, ...] = ()


def find(target: str) -> Found:
    """The cases that `target` names. In a module: its Case objects, then the layers with a law that are defined there.

    Errors: TargetError says what could not be imported and where it is wrong.
    """
    place, name = _split(target)
    if not place:
        raise TargetError(f"a target is a module, pkg.mod:attribute or a file, got {target!r}")
    module = _loaded(place)
    cases, unseen = _cases(module, place)
    if not name:
        return Found(tuple(cases), tuple(unseen) if cases or unseen else (NotChecked(place, EMPTY),))
    chosen = tuple(c for c in cases if c.name == name) or tuple(_named(module, place, name))
    if not chosen:
        raise TargetError(f"{place} has no case or layer {name!r}; it has {', '.join(c.name for c in cases) or 'none'}")
    return Found(chosen, others=tuple(c for c in cases if c.name != name))


def _split(target: str) -> tuple[str, str]:
    place, name = _TARGET.fullmatch(target).groups()              # type: ignore[union-attr]
    return place, name or ""


def _loaded(place: str) -> ModuleType:
    path = Path(place)
    if path.is_dir() and (os.sep in place or not (path / "__init__.py").is_file()):
        dotted = ".".join(p for p in path.parts if p.isidentifier()) or "pkg"
        raise TargetError(f"{place} is a folder; a target is a file, or a module by its name: {dotted}.mod")
    if path.suffix == ".py" or path.is_file():
        if not path.is_file():
            raise TargetError(f"there is no file {place}")
        return _guarded(place, lambda: _from_file(path))
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    return _guarded(place, lambda: importlib.import_module(place))


def _from_file(path: Path) -> ModuleType:
    """The file as a module of its own; what lies beside it can be imported by it."""
    name = f"_gradcheck_{path.stem}_{abs(hash(path.resolve()))}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TargetError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _guarded(place: str, load: Any) -> ModuleType:
    try:
        return load()                                                                # type: ignore[no-any-return]
    except TargetError:
        raise
    except SyntaxError as e:
        raise TargetError(f"{place} cannot be imported: {e.msg} ({Path(e.filename or place).name}, line {e.lineno}: {(e.text or '').strip()})") from e
    except (Exception, SystemExit) as e:                             # a script that exits is no module
        ours = (str(Path(__file__).parent), "<frozen", importlib.__file__)
        last = [f for f in traceback.extract_tb(e.__traceback__) if not f.filename.startswith(ours)][-1:]
        where = "".join(f" ({Path(f.filename).name}, line {f.lineno})" for f in last)
        raise TargetError(f"{place} cannot be imported: {type(e).__name__}: {e}{where}") from e


def _cases(module: ModuleType, place: str) -> tuple[list[Case], list[NotChecked]]:
    found: dict[str, Case] = {}
    unseen: list[NotChecked] = []
    for case in (c for value in vars(module).values() for c in _given(value)):
        if case.name in found and found[case.name].family is not case.family:
            raise TargetError(f"{place}: two cases are called {case.name!r}; give one of them another name=")
        found[case.name] = case
    for name, value in vars(module).items():
        if not inspect.isclass(value) or not _is_from(value, module) or name.startswith("_") or _is_base(value, module):
            continue
        if is_native(value) and isinstance(getattr(value, "law", None), str | property) and not inspect.isabstract(value):
            found.setdefault(name, _native_case(value, name, place))
        elif callable(getattr(value, "forward", None)) and callable(getattr(value, "backward", None)) and not _is_used(value, found) and not is_native(value):
            unseen.append(NotChecked(what=f"{place}:{name}", why=f"no input shape is given: add {name.lower()} = gradcheck.case({name}, \"n d\")"))
    return [replace(c, target=f"{place}:{c.name}") for c in found.values()], unseen


def _given(value: Any) -> Iterator[Case]:
    """The cases that a value of a module is, or holds: lists of them, and those that a pytest test is parametrised with."""
    if isinstance(value, Case):
        yield value
    for item in value if isinstance(value, list | tuple) else value.values() if type(value) is dict else ():
        yield from [item] if isinstance(item, Case) else []
    methods = vars(value).values() if inspect.isclass(value) else ()
    for mark in (m for test in (value, *methods) if inspect.isfunction(test) or inspect.isclass(test) for m in getattr(test, "pytestmark", ())):
        yield from (c for c in mark.args if mark.name == "gradcheck" and isinstance(c, Case))


def _named(module: ModuleType, place: str, name: str) -> Iterator[Case]:
    """A layer that is in the module but was defined elsewhere, or a factory of one."""
    value = getattr(module, name, None)
    if isinstance(value, Case):
        yield replace(value, target=f"{place}:{value.name}")
    elif callable(value):
        try:
            yield Case(name, f"{place}:{name}", adapt(value, name=name))
        except (AdaptError, TypeError, ValueError) as e:
            raise TargetError(f"{place}:{name} cannot be judged as it stands: {e}") from e


def _native_case(value: type, name: str, place: str) -> Case:
    try:
        return Case(name, f"{place}:{name}", adapt(value, name=name))
    except Exception as e:                                           # it stands in the report with its error; the others are judged
        return Case(name, f"{place}:{name}", Broken(e))


def _is_from(value: type, module: ModuleType) -> bool:
    """Defined in this module, or in one of the package that it is the front of."""
    return value.__module__ == module.__name__ or value.__module__.startswith(module.__name__ + ".")


def _is_base(value: type, module: ModuleType) -> bool:
    """Whether other classes of the module build on this one."""
    return any(inspect.isclass(v) and v is not value and issubclass(v, value) for v in vars(module).values())


def _is_used(value: type, cases: dict[str, Case]) -> bool:
    """Whether some case of the module builds this class."""
    return any(type(getattr(c.family, "specimen", None)) is value or getattr(c.family, "factory", None) is value
               or value in getattr(c.family, "parts", ()) for c in cases.values())
