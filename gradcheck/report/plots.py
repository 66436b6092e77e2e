"""Figures as SVG text. Attributes hold what a figure needs to be read without a style sheet; colours are the sheet's."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

from markupsafe import Markup, escape

from ..evidence import Resolution, Sweep
from .notation import coarse, count, number

LEFT, TOP, BESIDE, BELOW = 40.0, 8.0, 16.0, 28.0        # the margins of a frame; labels stand in them
LETTER, LINE = 5.4, 11.0                               # pixels that a letter, and a line, of a label take at most
PLACES = ((7, 3, "start"), (-7, 3, "end"), (0, -7, "middle"), (0, 15, "middle"), (5, -5, "start"), (5, 13, "start"), (-5, -5, "end"), (-5, 13, "end"))
Box = tuple[float, float, float, float]                # left, top, right, bottom
FLOOR = 1e-17                                          # what an error of zero is drawn as
HEAT = (1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1.0)            # relative errors from which a cell is darker
SIDE = 288                                             # pixels of a heat map's longer side, with cells of at most SIDE // 10
SPAN = -16, 0                                          # decades of a resolution's bar …
WIDE = 72                                              # … and its length in pixels


@dataclass(frozen=True)
class Axes:
    """A frame with two logarithmic axes, of whole decades; plots of one kind share one, so that they can be compared."""
    across: tuple[int, int] = (-7, 0)
    up: tuple[int, int] = (-16, 0)
    width: int = 320
    height: int = 160

    @property
    def right(self) -> float:
        return self.width - BESIDE

    @property
    def bottom(self) -> float:
        return self.height - BELOW

    def x(self, value: float) -> float:
        return LEFT + _share(value, self.across) * (self.right - LEFT)

    def y(self, value: float) -> float:
        return self.bottom - _share(value, self.up) * (self.bottom - TOP)

    def path(self, points: Iterable[tuple[float, float]]) -> str:
        """The line through the points; what has no place on these axes is left out."""
        seen = [(self.x(x), self.y(y)) for x, y in points if x > 0 and isfinite(x) and isfinite(y)]
        return "M" + "L".join(f"{x:.0f} {y:.0f}" for x, y in seen) if seen else ""

    def grid(self, across: str, up: str = "") -> str:
        """The lines and labels of the decades."""
        xs, ys = ([(at(10.0 ** k), k) for k in range(ends[0], ends[1] + 1, _stride(ends))] for at, ends in ((self.x, self.across), (self.y, self.up)))
        lines = "".join(f"M{x:.0f} {TOP:.0f}V{self.bottom:.0f}" for x, _ in xs) + "".join(f"M{LEFT:.0f} {y:.0f}H{self.right:.0f}" for y, _ in ys)
        labels = [label(x, self.bottom + 13, "middle", f"1e{k}") for x, k in xs] + [label(LEFT - 5, y + 3, "end", f"1e{k}") for y, k in ys]
        return (f'<path class="grid" d="{lines}" stroke="#ccc"/>{"".join(labels)}{label(self.right, self.bottom + 26, "end", across)}'
                + label(LEFT + 4, TOP + 9, "start", up) * bool(up))


def _share(value: float, ends: tuple[int, int]) -> float:
    """Where a value lies between two decades, from 0 to 1; what is beyond them lies at their end."""
    place = (log10(max(value, FLOOR)) - ends[0]) / (ends[1] - ends[0])
    return min(max(place, 0), 1)


def _stride(ends: tuple[int, int]) -> int:
    """How many decades lie between two lines, so that there is room for their labels."""
    return 1 + (ends[1] - ends[0]) // 5


def axes(sweeps: Iterable[Sweep]) -> Axes:
    """The decades that hold every sweep; an error above ten is drawn as ten."""
    sweeps = list(sweeps)
    return Axes(decades([h for s in sweeps for h in (*s.step, s.chosen)], Axes.across),
                decades([min(max(e, 10 * FLOOR), 10.0) for s in sweeps for e in (*s.error, s.bound)], Axes.up))


def decades(values: Sequence[float], default: tuple[int, int] = (0, 1)) -> tuple[int, int]:
    """The whole decades between which all values lie; what is no positive number has no say."""
    logs = [log10(v) for v in values if isfinite(v) and v > 0]
    return (floor(min(logs)), max(ceil(max(logs)), floor(min(logs)) + 1)) if logs else default


def defs(frame: Axes) -> Markup:
    """What all V-curves of a page share, drawn once: the grid, and the two marks that each curve puts in its place."""
    return Markup(
        f'<g id="grid">{frame.grid("step h")}</g>'
        f'<g id="bound"><path class="bound" d="M{LEFT:.0f} 0H{frame.right:.0f}"/>{label(frame.right, -4, "end", "bound")}</g>'
        f'<g id="step"><path class="step" d="M0 {TOP:.0f}V{frame.bottom:.0f}"/>{label(-4, TOP + 8, "end", "chosen")}</g>')


def figure(content: str, says: str, frame: Axes) -> Markup:
    """A plot in its frame, with the words that stand for it where it cannot be seen."""
    return Markup(f'<svg class="v" viewBox="0 0 {frame.width} {frame.height}" width="{frame.width}" height="{frame.height}" '
                  f'fill="none" stroke="currentColor" role="img" aria-label="{escape(says)}">{content}</svg>')


def label(x: float, y: float, anchor: str, text: str) -> str:
    """Text at a place, of which `anchor` says whether it starts, ends or has its middle there."""
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'


def names(dots: Sequence[tuple[float, float, str]], frame: Axes) -> str:
    """The name of each dot beside it, where there is room: on neither another dot, nor a name, nor the frame's edge."""
    taken, said = [(x - 4, y - 4, x + 4, y + 4) for x, y, _ in dots], []
    for x, y, text in dots:
        for dx, dy, anchor in PLACES:
            left = x + dx - LETTER * len(text) * {"start": 0, "middle": 0.5, "end": 1}[anchor]
            box = left, y + dy - LINE + 2, left + LETTER * len(text), y + dy + 2
            if box[0] > LEFT and box[2] < frame.right and box[1] > TOP and box[3] < frame.bottom and not any(_meet(box, other) for other in taken):
                taken.append(box)
                said.append(label(x + dx, y + dy, anchor, text))
                break
    return f'<g class="names">{"".join(said)}</g>' if said else ""


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def vcurve(sweep: Sweep, frame: Axes) -> Markup:
    """Error against step, both logarithmic: the V that truncation and rounding make; the chosen step and the bound that was reached."""
    line = frame.path(zip(sweep.step, sweep.error, strict=False))
    x, y = (frame.x(sweep.chosen) if sweep.chosen > 0 else LEFT), frame.y(sweep.bound)
    says = f"Error against step: {count(len(line.split('L')), 'step')}, chosen {number(sweep.chosen, 2)}, bound {coarse(sweep.bound, 2)}"
    return figure(f'<use href="#grid"/><use href="#bound" y="{y:.0f}"/><use href="#step" x="{x:.0f}"/><path class="line" d="{line}"/>', says, frame)


def span(finest: Resolution | None, coarsest: Resolution | None) -> Markup:
    """From the finest to the coarsest resolution, as a bar over sixteen decades."""
    ends = [_place(r.entry) for r in (finest, coarsest) if r and isfinite(r.entry)]
    if not ends:
        return Markup("")
    return Markup(f'<svg class="s" width="{WIDE}" height="8"><path d="M{min(ends):.0f} 4H{max(max(ends), min(ends) + 1):.0f}"/></svg>')


def _place(entry: float) -> float:
    decade = log10(entry) if entry > 0 else SPAN[0]
    return WIDE * (min(max(decade, SPAN[0]), SPAN[1]) - SPAN[0]) / (SPAN[1] - SPAN[0])


def heat(block: Sequence[Sequence[float]]) -> Markup:
    """Relative errors of a block of entries, one cell each; one path for each shade."""
    cells: dict[int, list[str]] = {}
    for i, line in enumerate(block):
        for j, error in enumerate(line):
            cells.setdefault(shade(error), []).append(f"M{j} {i}h1v1h-1z")
    rows, cols = len(block), max(map(len, block))
    size = SIDE // max(rows, cols, 10)
    paths = "".join(f'<path class="h{k}" d="{"".join(d)}" fill-opacity="{(k + 1) / 8:.2f}"/>' for k, d in sorted(cells.items()))
    return Markup(f'<svg class="heat" viewBox="0 0 {cols} {rows}" width="{size * cols}" height="{size * rows}" role="img" '
                  f'aria-label="{_heat_label(block)}">{paths}</svg>')


def shade(error: float) -> int:
    """0 where an entry is right to 1e-10, 6 where it is all wrong, 7 where it is no number."""
    return sum(error >= limit for limit in HEAT) if error == error else 7


def _heat_label(block: Sequence[Sequence[float]]) -> str:
    errors = {(i, j): e for i, line in enumerate(block) for j, e in enumerate(line)}
    (i, j), worst = max(errors.items(), key=lambda item: (shade(item[1]), item[1]))
    wrong = sum(shade(e) >= shade(worst) for e in errors.values())
    return f"Relative error of {len(errors)} entries; {wrong} as dark as the worst, {number(worst, 2)}, at row {i}, column {j}"
