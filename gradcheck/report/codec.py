"""A report as JSON and back. The bytes follow from the report alone: sorted, one row a line where it fits.

JSON has no NaN and no infinities; they are written as the strings in `NON_FINITE` and read back where a number is due.
Inside `options`, `domains` and `extra`, whose types are open, they stay strings.
"""
from __future__ import annotations

import json
from math import isfinite, isnan
from typing import Any

import msgspec

from ..evidence import SCHEMA_VERSION, Bench, Report

NON_FINITE = ("NaN", "Infinity", "-Infinity")
TIMES = ("time_s", "started", "bench")         # what differs between equal runs
WIDTH = 120


def to_json(report: Report) -> bytes:
    """The report as UTF-8 text of JSON. Errors: TypeError where an open field holds what JSON cannot say."""
    plain = {**builtins(canonical(report)), "schema_version": report.schema_version}   # said even where it is the default
    return (_lines(plain) + "\n").encode(errors="backslashreplace")       # a lone surrogate comes out as its JSON escape


def from_json(data: bytes | str) -> Report:
    """The report that `to_json` wrote, by this version or an older one. Errors: ValueError saying what `data` is instead."""
    try:
        plain = json.loads(data)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    version = plain.get("schema_version") if isinstance(plain, dict) else None
    if not isinstance(version, str):
        raise ValueError("JSON, but not a report of gradcheck: it has no schema_version")
    if _ordinal(version) > _ordinal(SCHEMA_VERSION):
        raise ValueError(f"a report of schema {version}, and this gradcheck reads up to {SCHEMA_VERSION}: a newer one wrote it")
    try:
        return msgspec.convert(plain, Report, strict=False)               # not strict: "NaN" is a number
    except msgspec.ValidationError as error:
        raise ValueError(f"not a report of gradcheck: {error}") from None


def canonical(report: Report) -> Report:
    """The same report in the one order that it is written in, whatever order it was gathered in."""
    return msgspec.structs.replace(
        report,
        cases=tuple(msgspec.structs.replace(c, rows=tuple(sorted(c.rows, key=lambda r: (r.check, r.primal))))
                    for c in sorted(report.cases, key=lambda c: c.name)),
        checks=tuple(sorted(report.checks, key=lambda c: c.name)),
        not_checked=tuple(sorted(report.not_checked, key=lambda n: (n.what, n.why))),
        unasked=tuple(sorted(set(report.unasked))),
        bench=report.bench and _sorted(report.bench),
        mutation=tuple(sorted(report.mutation, key=lambda m: m.case)))


def _sorted(bench: Bench) -> Bench:
    """By layer and dtype; sizes from small to large, which is how they took time."""
    return Bench(bench.reference, tuple(sorted(bench.peaks, key=lambda p: p.dtype)),
                 tuple(sorted(bench.timings, key=lambda t: (t.case, t.dtype, t.forward.median_s + t.backward.median_s, t.size))),
                 tuple(sorted(bench.scalings, key=lambda s: (s.case, s.dtype, s.axis, s.side))))


def builtins(value: Any) -> Any:
    """A struct as dicts, lists, strings and finite numbers. Errors: TypeError on what has no such form."""
    return _finite(msgspec.to_builtins(value, str_keys=True, enc_hook=_scalar))


def timeless(value: Any) -> Any:
    """`builtins` without `TIMES`."""
    def strip(v: Any) -> Any:
        if isinstance(v, dict):
            return {k: strip(w) for k, w in v.items() if k not in TIMES}
        return [strip(w) for w in v] if isinstance(v, list) else v
    return strip(builtins(value))


def _scalar(value: Any) -> Any:
    """NumPy's scalars and arrays, known by their method: a report may be written where NumPy is not."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a report holds JSON values, got {value!r} of type {type(value).__name__}")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not isfinite(value):
        return NON_FINITE[0] if isnan(value) else NON_FINITE[1 if value > 0 else 2]
    return value


def _lines(value: Any, margin: str = "") -> str:
    flat = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    if len(flat) <= WIDTH - len(margin) or not isinstance(value, (dict, list)):
        return flat
    deeper = margin + " "
    if isinstance(value, dict):
        inside = [f"{json.dumps(k, ensure_ascii=False)}: {_lines(v, deeper)}" for k, v in sorted(value.items())]
    else:
        inside = [_lines(v, deeper) for v in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return opening + ",".join(f"\n{deeper}{line}" for line in inside) + f"\n{margin}{closing}"


def _ordinal(version: str) -> tuple[int, ...]:
    try:
        return tuple(map(int, version.split(".")))
    except ValueError:
        raise ValueError(f"not a report of gradcheck: schema_version {version!r} is no number") from None
