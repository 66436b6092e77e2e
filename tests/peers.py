"""`make peers`: our layers beside PyTorch's on the CPU and numpy-ml's, on the same work, in turns in one process.

Both passes of each, as its users call them: ours through the stateful layer, PyTorch's through autograd, each in the memory layout
that is natural to it. Then our adjoint check beside torch.autograd.gradcheck, and its cost against the number of parameters.
"""
from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import msgspec
import numpy as np
import torch
from markupsafe import Markup
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parent))

from foreign.numpy_ml_cases import layers as theirs

import gradcheck.report
import layers as ours
from gradcheck.checks import CHECKS
from gradcheck.environment import environment, revision
from gradcheck.evidence import Point
from gradcheck.runner import judge_check, undisturbed
from gradcheck.subjects import Case, Subject
from gradcheck.targets import find
from gradcheck.timing import Estimate, estimate, exponent, in_turns

nn = torch.nn
REPORTS = Path(__file__).parents[1] / "reports"
STYLE = Path(gradcheck.report.__file__).parent / "templates" / "page.css"
DTYPES = ("float64", "float32")
PEERS = ("torch", "numpy-ml")
CLASSES = ("as trained", "as checked")


# the same work, three times -----------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Work:
    """One row: shapes of the inputs (integers: how many there are to draw from), and how each package spells the layer; None where it has none."""
    name: str
    inputs: tuple[tuple[int, ...], ...]
    ours: Callable[[], Any]
    torch: Callable[[], Any]
    numpy_ml: Callable[[], Any] | None
    axes: Callable[[np.ndarray], np.ndarray] = lambda x: x                # from our layout to PyTorch's
    ids: int = 0
    size: str = CLASSES[0]


class Sequence1(nn.Module):
    """An nn.LSTM or nn.GRU, of which the outputs are asked for, and not the last state."""
    def __init__(self, kind: Any, *sizes: int) -> None:
        super().__init__()
        self.layer = kind(*sizes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)[0]


class Attention(nn.Module):
    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return nn.functional.scaled_dot_product_attention(q, k, v)


def first(x: np.ndarray) -> np.ndarray:
    """Channels last to channels first."""
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


def steps(x: np.ndarray) -> np.ndarray:
    """(n, n_in, t) to (t, n, n_in)."""
    return np.ascontiguousarray(x.transpose(2, 0, 1))


def works(size: str, dense: tuple[int, int, int], images: Sequence[tuple[int, int, int, int, int]], image: tuple[int, ...], table: tuple[int, int],
          sequence: tuple[int, int, int, int], heads: tuple[int, ...], words: tuple[int, int, int, int]) -> Iterator[Work]:
    """Every layer at one class of sizes."""
    def work(name: str, *rest: Any, **more: Any) -> Work:
        return Work(f"{name} {'×'.join(map(str, rest[0][0]))}", *rest, size=size, **more)

    (n, n_in, n_out), (m, width, t, hidden), (vocabulary, vector, *ids) = dense, sequence, words
    ch = image[-1]
    yield work("Dense tanh", ((n, n_in),), lambda: ours.Dense(n_out, "tanh"), lambda: nn.Sequential(nn.Linear(n_in, n_out), nn.Tanh()),
               lambda: theirs.FullyConnected(n_out, "Tanh"))
    for *shape, out in images:
        yield work("Conv2D", (tuple(shape),), lambda out=out: ours.Conv2D(out, 3, 1), lambda i=shape[-1], out=out: nn.Conv2d(i, out, 3, padding=1),
                   lambda out=out: theirs.Conv2D(out, (3, 3), 1), axes=first)
    for mode, pool in (("max", nn.MaxPool2d), ("average", nn.AvgPool2d)):
        yield work(f"Pool2D {mode}", (image,), lambda mode=mode: ours.Pool2D(2, 2, mode=mode), lambda pool=pool: pool(2, 2),
                   lambda mode=mode: theirs.Pool2D((2, 2), 2, mode=mode), axes=first)
    yield work("BatchNorm1D", (table,), ours.BatchNorm1D, lambda: nn.BatchNorm1d(table[1]), theirs.BatchNorm1D)
    yield work("BatchNorm2D", (image,), ours.BatchNorm2D, lambda: nn.BatchNorm2d(ch), theirs.BatchNorm2D, axes=first)
    yield work("LayerNorm1D", (table,), ours.LayerNorm1D, lambda: nn.LayerNorm(table[1]), theirs.LayerNorm1D)
    yield work("LayerNorm2D", (image,), ours.LayerNorm2D, lambda: nn.LayerNorm(image[1:]), theirs.LayerNorm2D)
    yield work("Softmax", (table,), ours.Softmax, lambda: nn.Softmax(-1), theirs.Softmax)
    yield work("LSTM", ((m, width, t),), lambda: ours.LSTM(hidden), lambda: Sequence1(nn.LSTM, width, hidden), lambda: theirs.LSTM(hidden), axes=steps)
    yield work("GRU", ((m, width, t),), lambda: ours.GRU(hidden), lambda: Sequence1(nn.GRU, width, hidden), None, axes=steps)
    yield work("Attention", (heads,) * 3, ours.DotProductAttention, Attention, theirs.DotProductAttention)
    yield work("Embedding", (tuple(ids),), lambda: ours.Embedding(vector, vocabulary), lambda: nn.Embedding(vocabulary, vector),
               lambda: theirs.Embedding(vector, vocabulary), ids=vocabulary)


WORKS = [
    *works(CLASSES[0], dense=(256, 512, 512), images=[(16, 28, 28, 16, 32), (8, 56, 56, 64, 64)], image=(16, 28, 28, 16), table=(256, 512),
           sequence=(32, 64, 50, 128), heads=(16, 4, 64, 32), words=(10_000, 64, 64, 128)),
    *works(CLASSES[1], dense=(4, 5, 3), images=[(2, 6, 7, 2, 3)], image=(2, 6, 7, 3), table=(5, 7), sequence=(3, 4, 5, 3), heads=(2, 4, 5, 3),
           words=(7, 4, 3, 5)),
]


def by_shell(layer: Any, xs: list[np.ndarray]) -> Callable[[], None]:
    """Both passes of a stateful layer in NumPy."""
    y = layer.forward(*xs)
    dy = np.random.default_rng(1).standard_normal(y.shape).astype(y.dtype)
    layer.flush_gradients()

    def both() -> None:
        layer.forward(*xs)
        layer.backward(dy)
        layer.flush_gradients()
    return both


def by_torch(module: Any, xs: list[np.ndarray]) -> Callable[[], None]:
    """Both passes of a PyTorch module."""
    leaves = [torch.tensor(x, requires_grad=x.dtype.kind == "f") for x in xs]
    module = module.to(leaves[0].dtype if leaves[0].is_floating_point() else torch.get_default_dtype())
    dy = torch.tensor(np.random.default_rng(1).standard_normal(tuple(module(*leaves).shape)), dtype=next(
        (p.dtype for p in [*module.parameters(), *leaves] if p.is_floating_point()), None))
    taken = [p for p in [*module.parameters(), *leaves] if p.requires_grad]
    return lambda: torch.autograd.grad(module(*leaves), taken, dy) and None


def drawn(work: Work, dtype: str) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(work.ids, size=s) if work.ids else rng.standard_normal(s).astype(dtype) for s in work.inputs]


def calls(work: Work, dtype: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """Whoever has the layer, ready to be timed; who raises has it not."""
    xs = drawn(work, dtype)
    layer = work.ours()
    layer.dtype = dtype
    yield "ours", by_shell(layer, xs)
    with torch_default(dtype):
        yield "torch", by_torch(work.torch(), [work.axes(x) for x in xs])
    try:
        if work.numpy_ml:
            both = by_shell(work.numpy_ml(), xs)
            both()
            yield "numpy-ml", both
    except Exception as error:
        print(f"numpy-ml has no {work.name}: {type(error).__name__}: {error}", file=sys.stderr)


class torch_default:
    """PyTorch makes new parameters in this dtype."""
    def __init__(self, dtype: str) -> None:
        self.dtype = getattr(torch, dtype)

    def __enter__(self) -> None:
        self.before = torch.get_default_dtype()
        torch.set_default_dtype(self.dtype)

    def __exit__(self, *error: object) -> None:
        torch.set_default_dtype(self.before)


def row(work: Work, dtype: str, budget_s: float) -> dict[str, Any]:
    """Medians, and each peer's time in units of ours, round by round, with the bootstrap interval."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        times = in_turns(dict(calls(work, dtype)), budget_s)
    return {"name": work.name, "size": work.size, "dtype": dtype, "rounds": len(times["ours"]),
            "median_s": {k: plain(estimate(t)) for k, t in times.items()},
            "ratio": {k: plain(estimate(times["ours"] / times[k])) for k in PEERS if k in times}}


def plain(e: Estimate) -> dict[str, float]:
    return {"value": e.value, "low": e.low, "high": e.high}


def means(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Geometric means of ours : theirs, by class of sizes and dtype."""
    return [{"size": size, "dtype": dtype, **{peer: float(np.exp(np.mean(np.log(r)))) for peer in PEERS
             if (r := [x["ratio"][peer]["value"] for x in rows if x["size"] == size and x["dtype"] == dtype and peer in x["ratio"]])}}
            for size in CLASSES for dtype in DTYPES]


# the check beside torch's ---------------------------------------------------------------------------------------------------------

def subjects() -> Iterator[tuple[str, Subject, Any]]:
    """A dense and a convolutional layer, for our check, and the same function of tensors, for torch's."""
    dense, conv = (next(c for c in find(f"layers:{name}").cases) for name in ("Dense", "Conv2D"))
    table, images = {"n": 8, "n_in": 64}, {"n": 8, "rows": 8, "cols": 8, "in_ch": 8}
    yield "Dense 64→64, batch 8", dense.subject(Point(sizes=table, options={"n_out": 64, "act_fn": "tanh"})), nn.Sequential(nn.Linear(64, 64), nn.Tanh())
    yield ("Conv2D 8→8, k 3, batch 8", conv.subject(Point(sizes=images, options={"out_ch": 8, "kernel_shape": 3, "act_fn": "tanh"})),
           nn.Sequential(nn.Conv2d(8, 8, 3), nn.Tanh()))


def checked(budget_s: float) -> Iterator[dict[str, Any]]:
    """Our adjoint check at its default resolution, and torch's in both modes, in turns."""
    for name, s, module in subjects():
        module = module.double()
        x = torch.tensor(first(s.primals["x"]) if s.primals["x"].ndim == 4 else s.primals["x"], requires_grad=True)
        parameters = tuple(module.parameters())
        torches = {f"torch, {mode}": by_gradcheck(module, (x, *parameters), mode == "fast") for mode in ("slow", "fast")}
        adapted = gradcheck.case(lambda m=module: m, x.detach().numpy(), name=name).subject(Point())
        times = in_turns({"ours, on ours": lambda s=s: adjoint(s), "ours": lambda s=adapted: adjoint(s), **torches}, budget_s)
        yield {"name": name, "parameters": sum(p.numel() for p in parameters), "median_s": {k: plain(estimate(t)) for k, t in times.items()},
               "ratio": {k: plain(estimate(times[k] / times["ours"])) for k in torches}}


def by_gradcheck(module: Any, leaves: tuple[Any, ...], fast: bool) -> Callable[[], bool]:
    """torch's own check of the module as a function of its input and parameters."""
    names = [k for k, _ in module.named_parameters()]
    f = lambda x, *p: torch.func.functional_call(module, dict(zip(names, p, strict=True)), (x,))
    return lambda: torch.autograd.gradcheck(f, leaves, fast_mode=fast)


def adjoint(s: Subject) -> None:
    found = list(judge_check(s, CHECKS["adjoint"]))
    wrong = [e for e in found if e.verdict != "pass"]
    assert not wrong, wrong[0]


def growth() -> dict[str, Any]:
    """Calls and time of the adjoint check against the number of parameters: a square dense layer on two rows."""
    dense: Case = next(c for c in find("layers:Dense").cases)
    rows = []
    for side in (10, 32, 100, 316, 1000, 3162):
        s = dense.subject(Point(sizes={"n": 2, "n_in": side}, options={"n_out": side, "act_fn": "tanh"}))
        found = list(judge_check(s, CHECKS["adjoint"]))
        times = in_turns({"check": lambda s=s: list(judge_check(s, CHECKS["adjoint"]))}, 0.5, least=3)["check"]
        rows.append({"parameters": side * side + side, "forwards": sum(e.calls.forward for e in found), "time_s": plain(estimate(times))})
    sizes = [r["parameters"] for r in rows]
    return {"rows": rows, "calls": exponent(sizes, np.array([[r["forwards"] for r in rows]], float)).value,
            "time": exponent(sizes, np.array([[r["time_s"]["value"] for r in rows]])).value,
            "time at the largest": exponent(sizes[-3:], np.array([[r["time_s"]["value"] for r in rows[-3:]]])).value}


# the page -------------------------------------------------------------------------------------------------------------------------

def time_s(x: float) -> str:
    unit, scale = next((u, s) for u, s in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)) if x >= s or u == "µs")
    return f"{x / scale:.3g} {unit}"


def plot(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """Time against parameters, both logarithmic."""
    xs, ys = ([np.log10(r["parameters"]) for r in rows], [np.log10(r["time_s"]["value"]) for r in rows])
    x = lambda v: 50 + 500 * (v - 2) / 5
    y = lambda v: 240 - 220 * (v + 3.5) / 5
    grid = "".join(f'<path d="M{x(k):.0f} 20V240" stroke="currentColor" stroke-opacity=".15"/><text x="{x(k):.0f}" y="256" text-anchor="middle">1e{k}</text>'
                   for k in range(2, 8))
    grid += "".join(f'<path d="M50 {y(k):.0f}H550" stroke="currentColor" stroke-opacity=".15"/>'
                    f'<text x="46" y="{y(k) + 4:.0f}" text-anchor="end">{time_s(10.0**k)}</text>' for k in range(-3, 2))
    line = "M" + "L".join(f"{x(a):.1f} {y(b):.1f}" for a, b in zip(xs, ys, strict=True))
    dots = "".join(f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="3" fill="currentColor"/>' for a, b in zip(xs, ys, strict=True))
    return Markup(f'<svg viewBox="0 0 570 264" width="570" role="img" aria-label="Time of the adjoint check against the number of parameters" '
                  f'fill="currentColor" font-size="12">{grid}<path d="{line}" stroke="currentColor" fill="none" stroke-width="1.5"/>{dots}</svg>')


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-k", default="", help="only works whose name contains this")
    parser.add_argument("--budget", type=float, default=1.0, help="seconds for each row")
    parser.add_argument("--threads", type=int, default=2, help="of BLAS, and of PyTorch")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with threadpool_limits(given.threads):
        rows = [row(work, dtype, given.budget) for work in WORKS if given.k in work.name for dtype in DTYPES if shown(work, dtype)]
    with undisturbed():
        torch.set_num_threads(1)
        checks, grown = list(checked(given.budget)), growth()
    data = {"rows": rows, "means": means(rows), "checks": checks, "growth": grown, "threads": given.threads, "load": os.getloadavg(), "revision": revision(),
            "environment": msgspec.to_builtins(environment())}
    REPORTS.mkdir(exist_ok=True)
    (REPORTS / "peers.json").write_text(json.dumps(data, indent=1, ensure_ascii=False))
    page = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    page.filters |= {"time": time_s}
    (REPORTS / "peers.html").write_text(page.from_string(Path(__file__).with_name("peers.html").read_text()).render(
        **data, style=Markup(STYLE.read_text()), plot=plot(grown["rows"]), peers=PEERS, here=environment()))
    print("\n".join(said(data)))


def shown(work: Work, dtype: str) -> bool:
    if sys.stderr.isatty():
        print(f"\r{work.name} {dtype}".ljust(60), end="\r", file=sys.stderr)
    return True


def said(data: Mapping[str, Any]) -> Iterator[str]:
    for r in data["rows"]:
        times = "  ".join(f"{k} {time_s(t['value']):>9}" for k, t in r["median_s"].items())
        ratios = "  ".join(f"ours : {k} {e['value']:.2f} ({e['low']:.2f} to {e['high']:.2f})" for k, e in r["ratio"].items())
        yield f"{r['name']:28} {r['dtype']}  {times}  {ratios}"
    for m in data["means"]:
        yield f"geometric mean, {m['size']}, {m['dtype']}: " + ", ".join(f"ours : {k} {m[k]:.2f}" for k in PEERS if k in m)
    for c in data["checks"]:
        yield f"{c['name']}: " + ", ".join(f"{k} {time_s(t['value'])}" for k, t in c["median_s"].items()) + "; " + ", ".join(
            f"{k} : ours {e['value']:.1f} ({e['low']:.1f} to {e['high']:.1f})" for k, e in c["ratio"].items())
    g = data["growth"]
    yield f"adjoint, {g['rows'][0]['parameters']} to {g['rows'][-1]['parameters']} parameters: calls grow to the {g['calls']:.2f}, time to the {g['time']:.2f}"
    yield f"load {', '.join(f'{x:.2f}' for x in data['load'])}; {data['threads']} threads"
    if data["load"][0] > environment().cores + 1:
        yield "others were at work on this machine: whoever waits for a second thread is slowed the most; run it again on a quiet one"


if __name__ == "__main__":
    main()
