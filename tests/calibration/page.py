"""The calibration's numbers as one page that loads nothing. Everything on it is in the JSON beside it."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite, log10
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

import gradcheck.report

Data = Mapping[str, Any]
STYLE = Path(gradcheck.report.__file__).parent / "templates" / "page.css"
WIDTH, HEIGHT, MARGIN = 620, 440, 46
DECADES = (-19, 1)                    # of the scatter; what lies beyond is drawn at its edge
COLOURS = {"float64": "#1f77b4", "float32": "#d1495b", "float32 inside": "#b07d12"}


def render(data: Data) -> str:
    """The page of one run."""
    env = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    env.filters |= {"power": power, "share": share}
    return env.from_string(Path(__file__).with_name("page.html").read_text()).render(
        **data, style=Markup(STYLE.read_text()), scatter=scatter(data["points"]), ratios=ratios(data["counts"]), colours=COLOURS)


def power(x: float | None) -> str:
    """2.3e-12, or a word for what is none."""
    return "none" if x is None else "∞" if not isfinite(x) else "0" if x == 0 else f"{x:.1e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def share(x: float) -> str:
    return f"{100 * x:.2f} %"


def place(value: float) -> float:
    """Where a positive number lies between the first and the last decade, 0 to 1."""
    low, high = DECADES
    return (min(max(log10(value), low), high) - low) / (high - low) if value > 0 else 0.0


def pixels(pairs: Iterable[tuple[float, float]]) -> list[tuple[int, int]]:
    """(bound, error) as places in the scatter: 20,000 points fall on few thousand of them."""
    return sorted({(round(MARGIN + place(b) * (WIDTH - 2 * MARGIN)), round(HEIGHT - MARGIN - place(e) * (HEIGHT - 2 * MARGIN))) for b, e in pairs})


def scatter(points: Mapping[str, Sequence[Sequence[int]]]) -> Markup:
    """True error against stated bound: nothing may lie above the line by more than K = 10."""
    dots = [f'<path d="{"".join(f"M{x} {y}h1" for x, y in points.get(k, ()))}" stroke="{colour}" stroke-width="2"/>' for k, colour in COLOURS.items()]
    grid, left, base = [], MARGIN, HEIGHT - MARGIN
    for k in range(DECADES[0] + 1, DECADES[1] + 1, 4):
        x, y = pixels([(10.0**k, 10.0**k)])[0]
        grid.append(f'<path d="M{x} {MARGIN}V{base}M{left} {y}H{WIDTH - MARGIN}" stroke="currentColor" stroke-opacity=".15"/>')
        grid.append(f'<text x="{x}" y="{base + 16}" text-anchor="middle">1e{k}</text><text x="{left - 6}" y="{y + 4}" text-anchor="end">1e{k}</text>')
    lines = [_line(1, "error = bound", ""), _line(10, "10 bounds: a verdict", "4 3")]
    axes = f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">stated bound</text><text x="4" y="{MARGIN - 16}">true error</text>'
    label = "True error against stated bound, both relative to the size of the derivative"
    drawn = "".join([*grid, *dots, *lines]) + axes
    return Markup(f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" aria-label="{label}" fill="none">{drawn}</svg>')


def _line(times: float, label: str, dash: str) -> str:
    (x0, y0), (x1, y1) = (pixels([(b, times * b)])[0] for b in (10.0 ** (DECADES[0] + 2), 10.0 ** (DECADES[1] - 1)))
    text = f'<text x="{x1 - 8}" y="{y1 + (20 if times == 1 else -6)}" text-anchor="end">{label}</text>'
    return f'<path d="M{x0} {y0}L{x1} {y1}" stroke="currentColor" stroke-dasharray="{dash}"/>{text}'


def ratios(counts: Sequence[tuple[float, int]]) -> Markup:
    """How many trials came how near to their bound: bars over quarter decades of error / bound."""
    most, step = max((n for _, n in counts), default=1), (WIDTH - 2 * MARGIN) / max(len(counts), 1)
    bars = "".join(f'<rect x="{MARGIN + i * step:.1f}" y="{160 - 120 * n / most:.1f}" width="{step - 1:.1f}" height="{120 * n / most:.1f}" '
                   f'fill="{"#1b6b3c" if low < 1 else "#b3261e"}"><title>{power(low)}: {n}</title></rect>' for i, (low, n) in enumerate(counts))
    ticks = "".join(f'<text x="{MARGIN + i * step:.1f}" y="176" text-anchor="middle">{power(low)}</text>' for i, (low, _) in enumerate(counts) if i % 4 == 0)
    return Markup(f'<svg viewBox="0 0 {WIDTH} 190" width="{WIDTH}" role="img" aria-label="Distribution of true error over stated bound">{bars}{ticks}</svg>')
