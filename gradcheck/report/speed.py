"""What the timings of a report look like: every layer beside the others, and beside what the machine allows."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from math import isfinite, log10
from typing import NamedTuple

from markupsafe import Markup

from ..evidence import Bench, Peak, Report, Scaling, Spread, Timing
from .notation import number, seconds
from .plots import Axes, decades, figure, label, names

LINES = 72                     # timings a page shows, the largest sizes in the highest precision first; the others are in the JSON
PLOTS = 60                     # … and so many plots
BITS = {"float64": 64, "float32": 32, "float16": 16}
STRIP = (0.7, 3.0)             # a strip of times spans these multiples of its median …
STRIP_PX = 84                  # … in so many pixels; the style sheet draws the median, which is at the same place in all
HALL = 760, 300                # pixels of the roofline of all layers
SIDES = ("forward", "backward")

ROOF = "FLOP per byte", "GFLOP/s"

Growth = dict[str, Scaling]    # by side, for one layer, dtype and axis


class Timed(NamedTuple):
    """A layer's timings as the page shows them."""
    case: str
    chief: Timing                              # of the largest size in the highest precision: it speaks for the layer
    shown: list[Timing]
    growths: list[Growth]
    roofline: bool                             # whether there is room for a plot of its own


class Speed(NamedTuple):
    """All that a page says of speed."""
    bench: Bench
    layers: list[Timed]                        # those furthest below what the machine allows first, those that declare no work last
    hall: Axes                                 # of the roofline of all layers, …
    roof: Axes                                 # that those of each layer share, …
    growth: Axes                               # … and all plots of growth
    more: int                                  # timings that are not shown


def speed(report: Report) -> Speed | None:
    """The section's view; none without timings."""
    bench = report.bench
    if not bench or not bench.timings:
        return None
    of = {name: list(mine) for name, mine in groupby(sorted(bench.timings, key=lambda t: (t.case, _rank(t))), key=lambda t: t.case)}
    layers = sorted((_timed(mine, bench, max(1, LINES // len(of)), max(1, PLOTS // len(of))) for mine in of.values()), key=lambda t: (_share(t.chief), t.case))
    return Speed(bench, layers, _roof([t.chief for t in layers], bench, *HALL), _roof(bench.timings, bench), _growing(bench.scalings),
                 len(bench.timings) - sum(len(t.shown) for t in layers))


def _timed(mine: list[Timing], bench: Bench, lines: int, plots: int) -> Timed:
    growths = _growths(mine[0].case, bench)[:plots]
    return Timed(mine[0].case, mine[0], sorted(mine[:lines], key=lambda t: (-_bits(t), t.forward.median_s)), growths, len(growths) < plots)


def _growths(name: str, bench: Bench) -> list[Growth]:
    found: dict[tuple[str, str], Growth] = {}
    for s in sorted(bench.scalings, key=lambda s: SIDES.index(s.side)):
        if s.case == name and s.sizes:
            found.setdefault((s.dtype, s.axis), {})[s.side] = s
    return list(found.values())


def _rank(timing: Timing) -> tuple[int, float]:
    return -_bits(timing), -timing.forward.median_s


def _bits(timing: Timing) -> int:
    return BITS.get(timing.dtype, 0)


def _share(timing: Timing) -> float:
    return timing.roofline if timing.roofline is not None else 2.0


def _roof(timings: Sequence[Timing], bench: Bench, *size: int) -> Axes:
    """The decades of work per byte, and of work per second."""
    places, peaks = _places(timings), [p for p in bench.peaks if p.dtype in {t.dtype for t in timings}]
    ridges = [p.gflops / p.gbs for p in peaks if p.gbs]
    return Axes(decades([*(x for x, _ in places), *ridges]), decades([*(y for _, y in places), *(p.gflops for p in peaks)]), *size)


def _places(timings: Iterable[Timing]) -> list[tuple[float, float]]:
    """FLOP per byte and GFLOP/s of those that declare their work."""
    return [(t.intensity, t.gflops) for t in timings if t.intensity and t.gflops and isfinite(t.intensity * t.gflops)]


def _growing(scalings: Sequence[Scaling]) -> Axes:
    """The decades of sizes, and of seconds."""
    return Axes(decades([n for s in scalings for n in s.sizes]), decades([t for s in scalings for t in s.times_s]))


def frames(view: Speed) -> Markup:
    """The axes of the plots of which there are many, drawn once."""
    return Markup(f'<g id="roof">{view.roof.grid(*ROOF)}</g><g id="growth">{view.growth.grid("size", "seconds")}</g>')


def roofline(marked: Sequence[Timing], peaks: Iterable[Peak], frame: Axes) -> Markup:
    """GFLOP/s against FLOP per byte: a dot with its name for each timing, under the roof that the machine's two peaks make."""
    of_all, dtypes = frame.width > Axes.width, {t.dtype for t in marked}
    called = [t.case if of_all else f"{t.size} {BITS.get(t.dtype, t.dtype)}" if dtypes - {t.dtype} else t.size for t in marked if _places([t])]
    dots = [(frame.x(x), frame.y(y), name) for (x, y), name in zip(_places(marked), called, strict=True)]
    roofs = "".join(_edge(p, frame) for p in peaks if p.dtype in dtypes)
    path = "".join(f"M{x:.0f} {y:.0f}h0" for x, y, _ in dots)
    shares = [t.roofline for t in marked if t.roofline is not None]
    ends = f", at {number(100 * min(shares), 2)} to {number(100 * max(shares), 2)} % of what the machine allows" if shares else ""
    grid = frame.grid(*ROOF) if of_all else '<use href="#roof"/>'
    return figure(f'{grid}{roofs}<path class="dots" d="{path}"/>{names(dots, frame)}', f"Roofline with {len(dots)} timings{ends}", frame)


def _edge(peak: Peak, frame: Axes) -> str:
    """Up with the memory's rate, then level at the processor's."""
    ridge, first, y = peak.gflops / (peak.gbs or 1), 10.0 ** frame.across[0], frame.y(peak.gflops)
    line = frame.path([(first, first * peak.gbs), (ridge, peak.gflops)])
    name = label(frame.right, y - 4, "end", peak.dtype) if frame.width > Axes.width else label(frame.right + 4, y + 3, "start", peak.dtype)
    return f'<path class="roof" d="{line}H{frame.right:.0f}"/>{name}'


def growth(of: Growth, frame: Axes) -> Markup:
    """Time against size, forward and backward; the dashed lines grow as declared."""
    lines = "".join(_line(of[side], frame, side) for side in SIDES if side in of)
    return figure(f'<use href="#growth"/>{lines}', f"Time against size: {' and '.join(of)}", frame)


def _line(s: Scaling, frame: Axes, side: str) -> str:
    """A declared line meets the measured one at the largest size, where overhead counts least."""
    points = sorted((n, t) for n, t in zip(s.sizes, s.times_s, strict=False) if n > 0 and t > 0)
    declared = [(n, points[-1][1] * (n / points[-1][0]) ** s.declared) for n, _ in points] if s.declared is not None else []
    return (f'<path class="bound" d="{frame.path(declared)}"/>' if declared else "") + f'<path class="line {side}" d="{frame.path(points)}"/>'


def power(s: Scaling) -> str:
    """`power 1.02 (0.97 … 1.06), declared 1`."""
    declared = f", declared {number(s.declared, 3)}" if s.declared is not None else ""
    return f"power {number(s.exponent, 3)} ({number(s.low, 3)} … {number(s.high, 3)}){declared}"


def strip(spread: Spread) -> Markup:
    """How the rounds lie about their median: the line holds all but a twentieth at either end, the bar the middle half; the dot is the slowest."""
    if not spread.quantiles_s or spread.median_s <= 0:
        return Markup("")
    times = [_quantile(spread.quantiles_s, q) for q in (0.05, 0.25, 0.75, 0.95, 1.0)]
    low, first, third, high, last = (_at(t / spread.median_s) for t in times)
    said = f"from {seconds(times[0])} to {seconds(times[3])}, slowest {seconds(times[4])}"
    return Markup(f'<svg class="d" width="{STRIP_PX}" height="10" role="img" aria-label="{said}"><path d="M{low} 5H{high}M{last} 5h2"/>'
                  f'<path class="box" d="M{first} 5H{max(third, first + 1)}"/></svg>')


def _at(multiple: float) -> int:
    place = log10(max(multiple, STRIP[0]) / STRIP[0]) / log10(STRIP[1] / STRIP[0])
    return round(min(place, 1.0) * (STRIP_PX - 2))


def _quantile(ordered: Sequence[float], share: float) -> float:
    finite = [q for q in ordered if isfinite(q)]
    return finite[round(share * (len(finite) - 1))] if finite else 0.0
