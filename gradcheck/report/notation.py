"""Numbers, times, places and foreign text as every rendering writes them."""
from __future__ import annotations

import re
from datetime import datetime
from decimal import ROUND_CEILING, Context, Decimal
from math import ceil, inf, isfinite, log10

from ..evidence import Point

SMALL, LARGE = 1e-3, 1e6                       # below and from here, numbers are written with an exponent
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def coarse(value: float, digits: int = 1) -> str:
    """A resolution rounded up, so that it never promises more than was measured: `3e-9`."""
    if not isfinite(value) or value == 0:
        return number(value)
    up = _up(value, digits)
    return f"{up:.{digits - 1}e}" if up < SMALL else f"{up:f}"


def rounded_up(value: float, digits: int = 2) -> float:
    """The number that `coarse` writes."""
    return float(_up(value, digits)) if isfinite(value) else value


def _up(value: float, digits: int) -> Decimal:
    return Context(digits, ROUND_CEILING).create_decimal(repr(float(value)))       # float: NumPy's has a repr of its own


def number(value: float, digits: int = 6) -> str:
    """`0.25`, `3e-9`, `1.25e6`; `NaN` and `∞` as such."""
    if not isfinite(value):
        return {inf: "∞", -inf: "−∞"}.get(value, "NaN")
    text = f"{value:.{digits}g}"
    if "e+" in text and abs(value) < LARGE:
        text = f"{value:.0f}"
    if 0 < abs(value) < SMALL and "e" not in text:
        text = f"{Decimal(text).normalize():e}"
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if e else text


def pair(claimed: float, numeric: float) -> tuple[str, str]:
    """Two numbers with as many digits as it takes to tell them apart, and never fewer than six."""
    if not (isfinite(claimed) and isfinite(numeric)) or claimed == numeric:
        return number(claimed), number(numeric)
    apart = ceil(-log10(abs(claimed - numeric) / max(abs(claimed), abs(numeric)))) + 2
    return number(claimed, min(max(apart, 6), 17)), number(numeric, min(max(apart, 6), 17))


def ratio(claimed: float, numeric: float) -> str:
    """claimed : numeric, four digits; a dash where that says nothing."""
    return number(claimed / numeric, 4) if numeric and isfinite(claimed) and isfinite(numeric) else "–"


def seconds(value: float) -> str:
    """`45 µs`, `1.2 ms`, `3.4 s`, `2 min 5 s`."""
    if value >= 100:
        return f"{int(value) // 60} min {int(value) % 60} s"
    size, unit = next(((s, u) for s, u in ((1.0, "s"), (1e-3, "ms")) if value >= s), (1e-6, "µs"))
    return f"{value / size:.{1 if value / size < 10 else 0}f} {unit}" if value else "0 s"


def memory(size: float) -> str:
    """`640 B`, `1.2 kB`, `34 MB`."""
    unit, of = next(((u, s) for u, s in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)) if size >= s), ("B", 1.0))
    return f"{size / of:.{1 if of > 1 and size / of < 10 else 0}f} {unit}"


def interval(median: float, low: float, high: float) -> str:
    """How far the ends of an interval lie from its median, the farther one, as a share: `± 3 %`."""
    if not median > 0:
        return ""
    percent = 100 * max(median - low, high - median) / median
    return f"± {number(percent, 1) if percent < 1 else f'{percent:.0f}'} %"


def when(started: str) -> str:
    """`2026-02-03 10:11 UTC`; what is no date stays as it is."""
    try:
        return f"{datetime.fromisoformat(started):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return started


def count(n: int, noun: str) -> str:
    """`1 row`, `2,400 rows`."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


def visible(text: str) -> str:
    """The text with what would hide, or turn round, its neighbours (control and direction characters) spelt out."""
    return _UNSEEN.sub(lambda c: f"\\u{ord(c[0]):04x}", text)


def clip(text: str, width: int = 60) -> str:
    """On one line, and no longer than `width`."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[:width - 1] + "…"


def place(at: Point) -> str:
    """`n=3 d=2 act_fn=relu`, and how it differs from an ordinary point."""
    sizes = {k: "×".join(map(str, v)) if isinstance(v, tuple) else v for k, v in at.sizes.items()}
    usual = Point()
    odd = {k: v for k in ("inputs", "dtype", "train") if (v := getattr(at, k)) != getattr(usual, k)}
    return " ".join(f"{k}={v}" for k, v in {**sizes, **at.options, **odd}.items())


def shape(sizes: tuple[int, ...]) -> str:
    """`3 × 4`; of a single number, `scalar`."""
    return " × ".join(map(str, sizes)) or "scalar"
