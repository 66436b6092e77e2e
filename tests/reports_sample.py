"""Reports such as a run writes, made up: for the tests of what is done with a report. Same seed, same report."""
from __future__ import annotations

import math
import random
from typing import Any

from msgspec.structs import replace

from gradcheck.evidence import (
    Array,
    Bench,
    Calls,
    CaseReport,
    CheckInfo,
    Entry,
    Environment,
    Evidence,
    Failure,
    Ledger,
    Mutation,
    NotChecked,
    Peak,
    Point,
    Report,
    Resolution,
    Row,
    Scaling,
    Spread,
    Survivor,
    Sweep,
    Timing,
    Verdict,
)

HOSTILE = ("<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "a" * 300, "\u202egnp.reyal\u202c", "مرحبا شبكة", "🔥🧠👩‍🔬",
           "{{ 7 * 7 }} {% raw %}", "../../etc/passwd", "  blanks  and\ttabs ", "\x00\x1b[31mred\ud800", "a|b `c` *d* _e_ #f",
           "</style></script><!--", "%3Cb%3E", "javascript:alert(1)")

# name, category, equation, whether it looks at each primal (else at one or two ways to call the layer)
BATTERY = [
    ("adjoint", "gradient", "⟨dy, J v⟩ = ⟨J′dy, v⟩ for random directions v of every primal and a random upstream dy.", True),
    ("dtype", "gradient", "J′dy in float32 is J′dy in float64, to float32's own rounding.", True),
    ("linear", "gradient", "J′(a u + b w) = a J′u + b J′w, and J′0 = 0.", True),
    ("shapes", "gradient", "shape(J′dy) = shape(x) for every primal x, and outputs obey the law.", True),
    ("values", "gradient", "⟨dy, J v⟩ = ⟨J′dy, v⟩ at zeros, ties, saturation and tiny numbers.", True),
    ("accumulate", "state", "The gradients of two backwards add up.", False),
    ("alias", "state", "What was returned stays as it is when the layer is called again.", False),
    ("batch", "state", "A batch taken apart gives the same cotangents.", False),
    ("interleave", "state", "Two layers that take turns do not mix.", False),
    ("layout", "state", "Strides and byte order of an array change nothing.", False),
    ("padding", "state", "What is masked has no influence and no gradient.", False),
    ("pure", "state", "Inputs, parameters and the upstream are bit for bit as they were.", False),
    ("repeat", "state", "f(x) = f(x), and J′dy the same again.", False),
    ("seed", "state", "All that is random comes from the generator handed in.", False),
    ("subset", "state", "A frozen parameter gets no gradient, and changes no other.", False),
    ("errors", "contract", "A wrong rank raises ShapeError, and says what was asked and what came.", False),
    ("shell", "contract", "The stateful layer does what its pure functions do.", False),
]
CHECKS = tuple(CheckInfo(name, category, "0.1", summary, f"{summary}\n\nWhat it cannot see.")  # type: ignore[arg-type]
               for name, category, summary, _ in BATTERY)
Axes = dict[str, str]          # of arrays, by name

# name, law, equation, inputs, parameters, residuals, options
LAYERS: list[tuple[str, str, str, Axes, Axes, Axes, dict[str, tuple[Any, ...]]]] = [
    ("Add", "n *, n * -> n *", "y = x0 + x1", {"x0": "n *", "x1": "n *"}, {}, {}, {}),
    ("BatchNorm1D", "n d -> n d", "y = γ (x − μ) / √(σ² + ε) + β,  with μ, σ² over n", {"x": "n d"}, {"gamma": "d", "beta": "d"},
     {"mean": "d", "var": "d", "xhat": "n d"}, {"epsilon": (1e-5, 1e-3), "momentum": (0.9, 0.5)}),
    ("Conv2D", "n rows cols in_ch -> n out_rows out_cols out_ch", "y[n, i, j, o] = Σ x[n, si + du, sj + dv, c] W[u, v, c, o] + b[o]",
     {"x": "n rows cols in_ch"}, {"W": "kr kc in_ch out_ch", "b": "out_ch"}, {"windows": "n out_rows out_cols kr kc in_ch"},
     {"kernel": ((1, 1), (3, 2), (2, 3)), "stride": (1, 2, 3), "pad": ("valid", "same", 1), "dilation": (1, 2)}),
    ("Deconv2D", "n rows cols in_ch -> n out_rows out_cols out_ch", "the adjoint of Conv2D in x",
     {"x": "n rows cols in_ch"}, {"W": "kr kc in_ch out_ch", "b": "out_ch"}, {}, {"kernel": ((1, 1), (3, 2)), "stride": (1, 2)}),
    ("Dense", "n n_in -> n n_out", "y = act(x W + b)", {"x": "n n_in"}, {"W": "n_in n_out", "b": "n_out"}, {"z": "n n_out"},
     {"act_fn": (None, "relu", "tanh", "sigmoid", "gelu"), "n_out": (1, 2, 3, 4, 5)}),
    ("DotProductAttention", "n q d_k, n k d_k, n k d_v -> n q d_v", "y = softmax(Q Kᵀ / √d_k) V",
     {"Q": "n q d_k", "K": "n k d_k", "V": "n k d_v"}, {}, {"weights": "n q k"}, {"scale": (True, False), "causal": (False, True)}),
    ("Dropout", "n * -> n *", "y = x · mask / (1 − p)", {"x": "n *"}, {}, {"mask": "n *"}, {"p": (0.0, 0.3, 0.9)}),
    ("Embedding", "n t -> n t d", "y[n, t] = W[x[n, t]]", {}, {"W": "vocab d"}, {},
     {"vocab": (1, 2, 5, 11), "pool": (None, "sum", "mean")}),
    ("LSTM", "n n_in t -> n n_out t", "i, f, o = σ(…);  c = f c + i tanh(…);  h = o tanh(c)", {"x": "n n_in t"},
     {"Wi": "z n_out", "Wf": "z n_out", "Wo": "z n_out", "Wc": "z n_out", "b": "gates n_out"},
     {"i": "n n_out t", "f": "n n_out t", "o": "n n_out t", "c": "n n_out t", "h": "n n_out t"}, {"act_fn": ("tanh", "relu")}),
    ("LayerNorm1D", "n d -> n d", "y = γ (x − μ) / √(σ² + ε) + β,  with μ, σ² over d", {"x": "n d"}, {"gamma": "d", "beta": "d"},
     {"xhat": "n d"}, {"epsilon": (1e-5, 1e-3)}),
    ("Pool2D", "n rows cols ch -> n out_rows out_cols ch", "y = max or mean over each window", {"x": "n rows cols ch"}, {},
     {"argmax": "n out_rows out_cols ch"}, {"kernel": ((2, 2), (3, 2)), "stride": (1, 2), "mode": ("max", "mean")}),
    ("Softmax", "* d -> * d", "y = exp(x) / Σ exp(x)", {"x": "* d"}, {}, {"y": "* d"}, {"dim": (-1, 0)}),
]


def sample(layers: int = 12, *, faulty: bool = True, seed: int = 0) -> Report:
    """A run over `layers` layers; faulty: one is wrong, one raises, one is a known failure, two rows are undecided."""
    rng = random.Random(seed)
    cases = [_case(rng, i) for i in range(layers)]
    for i, spoil in enumerate((_wrong, _raises, _known, _open) if faulty else ()):
        at = (2, 7, 10, 5)[i]
        cases[at:at + 1] = [spoil(rng, c) for c in cases[at:at + 1]]
    return Report(
        environment=Environment(
            python="3.11.9", platform="Linux-6.1-x86_64", cpu="AMD EPYC 7B13", cores=2, blas="openblas 0.3.29", threads=1,
            versions={"gradcheck": "0.1.0", "numpy": "2.4.6", "scipy": "1.17.1", "hypothesis": "6.170.15", "msgspec": "0.22.0"}),
        command="gradcheck run layers --profile default --seed 0", revision="4f1c0de", started="2026-02-03T10:11:12Z", time_s=41.7,
        cases=tuple(cases), checks=CHECKS,
        not_checked=(NotChecked("float32", "the profile `quick` draws float64 points only"),
                     NotChecked("Dropout.mask", "noise that is held has no cotangent")))


def measured(layers: int = 12, seed: int = 0) -> Report:
    """The faulty run with timings of every layer, and mutants of three."""
    report, rng = sample(layers, seed=seed), random.Random(seed)
    return replace(report, bench=_bench(rng, [c.name for c in report.cases]), mutation=tuple(_mutation(rng, c) for c in report.cases[:3]))


def before() -> Report:
    """An earlier run than `measured`: every layer was right, and LSTM faster."""
    bench = measured().bench
    assert bench
    timings = tuple(replace(t, **{k: getattr(t, k) / 1.6 for k in ("relative", "relative_low", "relative_high")}) if t.case == "LSTM" else t
                    for t in bench.timings)
    return replace(sample(faulty=False, seed=1), bench=replace(bench, timings=timings))


def timed(layers: int = 12) -> Report:
    """A run that timed, and judged nothing."""
    return replace(measured(layers), cases=(), checks=(), mutation=())


def nothing() -> Report:
    """A run that found no layer."""
    return replace(sample(0), not_checked=(NotChecked("examples.py:Scale", "a class without shapes: no input shape is known"),))


def errors_only() -> Report:
    """A run in which every layer raised."""
    report = sample(3, faulty=False)
    return replace(report, cases=tuple(_raises(random.Random(i), c) for i, c in enumerate(report.cases)))


def hostile() -> Report:
    """The usual run, with every text that a layer's author may choose chosen badly."""
    report, cases = measured(), []
    for i, case in enumerate(report.cases):
        bad = HOSTILE[i]
        rows = tuple(replace(r, primal=bad + r.primal if r.primal else "", reason=bad, marks={bad: 1},
                             failure=r.failure and replace(r.failure, code=bad, repeat=bad, source=bad, text=bad, evidence=replace(
                                 r.failure.evidence, diagnosis=bad, reason=bad, notes=(bad,)))) for r in case.rows)
        cases.append(replace(case, name=bad, law=bad, equation=bad, source=bad, target=bad, rows=rows,
                             domains={bad: (bad, math.inf)}, convention={bad: bad}, error=bad if case.error else ""))
    return replace(report, cases=tuple(cases), command=HOSTILE[0], title=HOSTILE[1], revision=HOSTILE[2], started=HOSTILE[3],
                   extra={bad: bad for bad in HOSTILE}, not_checked=tuple(NotChecked(bad, bad) for bad in HOSTILE),
                   checks=tuple(replace(c, summary=HOSTILE[0], explanation=HOSTILE[11]) for c in report.checks),
                   bench=_hostile_bench(report), mutation=tuple(Mutation(bad, 1, 1, 0, {bad: 1}, (Survivor(bad, bad, bad),)) for bad in HOSTILE))


def _hostile_bench(report: Report) -> Bench:
    assert report.bench
    bad = dict(zip(sorted({t.case for t in report.bench.timings}), HOSTILE, strict=False))
    return Bench(HOSTILE[0], tuple(replace(p, gbs=0.0) for p in report.bench.peaks),
                 tuple(replace(t, case=bad[t.case], size=bad[t.case], dtype=HOSTILE[1], gflops=math.inf, intensity=math.nan) for t in report.bench.timings),
                 tuple(replace(s, case=bad[s.case], axis=HOSTILE[1], sizes=(0, 5, -1), times_s=(math.nan, 0.0, 1.0)) for s in report.bench.scalings))


def _case(rng: random.Random, i: int) -> CaseReport:
    name, law, equation, inputs, params, residuals, options = LAYERS[i % len(LAYERS)]
    name = name if i < len(LAYERS) else f"{name}_{i // len(LAYERS)}"
    primals = [*inputs, *params]
    rows = [_row(rng, check, way) for check, _, _, each in BATTERY for way in (primals if each else ("forward", "backward"))]
    skip = {"verdict": Verdict.SKIPPED, "reason": "numpy-ml promises no errors of its own"}
    rows = [replace(r, **skip) if r.check == "errors" and i % 5 == 4 else r for r in rows]
    module = name.split("_")[0].lower()
    return CaseReport(
        name=name, target=f"layers:{name}", adapter="native", law=law, equation=equation,
        source=f"layers/{module}.py:{rng.randint(30, 90)}",
        domains={k: tuple(v) for k, v in options.items()}, points=200, rows=tuple(rows), time_s=rng.uniform(0.4, 6),
        convention={"reduction": "cotangents of parameters are summed over the batch"} if params and i % 4 == 0 else {},
        ledger=_ledger(rng, name, inputs, params, residuals, law))


def _row(rng: random.Random, check: str, primal: str) -> Row:
    calls = Calls(forward=rng.randint(2000, 9000), backward=rng.randint(400, 900))
    if check not in ("adjoint", "values"):
        return Row(check, primal, Verdict.PASS, points={"pass": 200}, calls=calls, probes=200, time_s=rng.uniform(0.01, 0.4),
                   example=Evidence(check, primal, calls=Calls(2, 1), time_s=0.001))
    finest = 10 ** rng.uniform(-12.5, -10.5)
    coarsest = finest * 10 ** (rng.uniform(1.5, 3) if check == "adjoint" else 6)
    kinked = rng.random() < 0.2
    chosen = 2e-2 / 3 ** rng.randint(1, 3)
    example = Evidence(
        check, primal, measured=coarsest / 40, bound=coarsest / 30, resolution=Resolution(coarsest, coarsest * 3), probes=3,
        calls=Calls(19, 3), time_s=0.004, sweep=_sweep(rng, chosen, coarsest / 50))
    return Row(check, primal, Verdict.PASS, points={"pass": 200 - 3 * kinked, **({"undecided": 3} if kinked else {})}, calls=calls,
               marks={"subgradient": 14} if kinked else {}, finest=Resolution(finest, 3 * finest),
               coarsest=Resolution(coarsest, 3 * coarsest), coarsest_of={
                   "float64": Resolution(coarsest, 3 * coarsest), "float32": Resolution(1e5 * coarsest, 3e5 * coarsest)},
               probes=600, time_s=rng.uniform(0.1, 2), example=example,
               at=Point(sizes={"n": 3, "d": 2}, options={"act_fn": "relu"}, seed=rng.randint(0, 999)))


def _sweep(rng: random.Random, chosen: float, bound: float) -> Sweep:
    step = tuple(2e-2 / 3 ** k for k in range(9))
    return Sweep(step, tuple(10 ** rng.uniform(-0.5, 0.5) * h * h + 10 ** rng.uniform(-16.3, -15.6) / h for h in step), chosen, bound)


def _ledger(rng: random.Random, name: str, inputs: Axes, params: Axes, residuals: Axes, law: str) -> Ledger:
    output = law.partition("->")[2].strip()
    sizes: dict[str, tuple[int, ...]] = {"*": (2, 3)}

    def array(array_name: str, role: str, axes: str) -> Array:
        shape = tuple(n for axis in axes.split() for n in sizes.setdefault(axis, (rng.choice((1, 2, 3, 5, 7)),)))
        return Array(array_name, role, axes, shape, "float64")  # type: ignore[arg-type]
    forward = [*(array(k, "input", v) for k, v in inputs.items()), *(array(k, "parameter", v) for k, v in params.items()),
               *(array(k, "residual", v) for k, v in residuals.items()), array("y", "output", output)]
    backward = [array("dy", "upstream", output), *(array(f"d{k}", "cotangent", v) for k, v in {**inputs, **params}.items())]
    flat = {k: v[0] if len(v) == 1 else v for k, v in sizes.items()}
    return Ledger(Point(sizes=flat), f"{name}()(np.ones({tuple(forward[0].shape)}))", (*forward, *backward))


def _wrong(rng: random.Random, case: CaseReport) -> CaseReport:
    """Conv2D's dW, as it is where stride and dilation are mixed up."""
    code = ('layer = layers.Conv2D(out_ch=1, kernel=(2, 1), stride=2, dilation=1, pad="valid")\n'
            'x = np.array([[[[0.5]], [[1.0]], [[-1.5]]]])      # (1, 3, 1, 1)')
    repeat = f"gradcheck run layers:{case.name} --select adjoint --seed 0 --point 'n=1 rows=3 cols=1 in_ch=1 stride=2'"
    point = Point(sizes={"n": 1, "rows": 3, "cols": 1, "in_ch": 1}, options={"stride": 2})
    worst = (Entry((1, 0, 0, 0), 0.31, 0.62, 3e-12), Entry((0, 0, 0, 0), -0.48, -0.96, 3e-12), Entry((0, 0, 2, 1), 1.0, 1.0000004, 2e-11))
    diagnosis = "Every entry of dW is half of what it should be: a constant factor 0.500, most likely a mean where a sum belongs."
    block = tuple(tuple(10 ** rng.gauss(-9, 1) if (i + j) % 3 else 10 ** rng.uniform(-1.2, 0) for j in range(12)) for i in range(8))
    reason = "⟨dy, J v⟩ and ⟨J′dy, v⟩ differ by 3.1e-1, 10¹⁰ times the bound."
    evidence = Evidence("adjoint", "W", Verdict.FAIL, reason=reason, measured=0.31, bound=3e-12, worst=worst, diagnosis=diagnosis,
                        probes=6, calls=Calls(57, 9), time_s=0.02, map=block, sweep=_sweep(rng, 2e-2 / 9, 3e-12),
                        notes=("confirmed with another start and ratio",))
    text = (f"FAIL {case.name} adjoint W\n  worst: W[1, 0, 0, 0]: claimed 0.31, numeric 0.62 ± 3e-12 (ratio 0.500)\n  {diagnosis}\n"
            f"  look at: {case.source}\n  repeat: {repeat}")
    failure = Failure(point, code, repeat, case.source, text, evidence)
    bad = Row("adjoint", "W", Verdict.FAIL, points={"fail": 61, "pass": 139}, failure=failure, calls=Calls(5121, 830), time_s=1.9)
    return replace(case, rows=tuple(bad if (r.check, r.primal) == ("adjoint", "W") else r for r in case.rows))


def _raises(_: random.Random, case: CaseReport) -> CaseReport:
    error = f"IndexError: index 11 is out of bounds for axis 0 with size 11\n  {case.source} in forward: return p.W[x]"
    return replace(case, rows=(), ledger=None, error=error, points=0)


def _known(_: random.Random, case: CaseReport) -> CaseReport:
    return replace(case, rows=tuple(replace(r, verdict=Verdict.XFAIL, points={"fail": 9, "pass": 191},
                                            reason="ties go to the first entry only; see the convention")
                                    if r.check == "linear" else r for r in case.rows))


def _open(_: random.Random, case: CaseReport) -> CaseReport:
    reason = "196 of 200 points passed; at 4 the kinks lie closer together than the smallest step."
    def opened(r: Row) -> Row:
        return replace(r, verdict=Verdict.UNDECIDED, reason=reason, points={"pass": 196, "undecided": 4})
    return replace(case, rows=tuple(opened(r) if r.check == "adjoint" and r.primal in ("K", "Q") else r for r in case.rows))


def _bench(rng: random.Random, names: list[str]) -> Bench:
    peaks = (Peak("float32", 88.0, 11.5), Peak("float64", 44.0, 11.5))
    return Bench("a matrix product of 64 × 64", peaks, tuple(_timing(rng, name, p, size, k) for name in names for p in peaks
                                                            for k, size in enumerate(("small", "medium", "large"))),
                 tuple(_scaling(rng, name, side) for name in names for side in ("forward", "backward")))


def _timing(rng: random.Random, name: str, peak: Peak, size: str, k: int) -> Timing:
    forward = _spread(rng, 2e-5 * 20 ** k * rng.uniform(0.5, 2))
    backward = _spread(rng, forward.median_s * rng.uniform(1.5, 3))
    intensity, share = 4.0 ** k * rng.uniform(0.3, 0.6), rng.uniform(0.05, 0.8)
    reached = share * min(peak.gflops, intensity * peak.gbs)
    relative = (forward.median_s + backward.median_s) / 1e-3
    return Timing(name, peak.dtype, size, Point(sizes={"n": 8 ** k, "d": 16}), forward, backward, backward.median_s / forward.median_s,
                  relative, 0.95 * relative, 1.05 * relative, reached, reached / intensity, intensity, share, 8 * 4096 * 8 ** k, 8 * 1024 * 8 ** k)


def _spread(rng: random.Random, median_s: float) -> Spread:
    rounds = sorted(median_s * rng.lognormvariate(0, 0.06) * (1 + 2 * (rng.random() < 0.02)) for _ in range(200))
    return Spread(median_s, 0.98 * median_s, 1.03 * median_s, tuple(rounds), 2000)


def _scaling(rng: random.Random, name: str, side: str) -> Scaling:
    sizes, power = tuple(4 ** k for k in range(2, 7)), rng.uniform(0.9, 1.1)
    return Scaling(name, side, "n", "float64", sizes, tuple(1e-6 + 1e-7 * n ** power for n in sizes), power, power - 0.05, power + 0.05, 1.0)  # type: ignore[arg-type]


def _mutation(rng: random.Random, case: CaseReport) -> Mutation:
    diff = "@@ -52 +52 @@\n-        return dz @ p.W.T, Vars(W=r.X.T @ dz, b=dz.sum(0))\n+        return dz @ p.W.T, Vars(W=r.X.T @ dz, b=dz.mean(0))"
    survivors = tuple(Survivor("sum becomes mean", case.source, diff) for _ in range(rng.randint(0, 2)))
    return Mutation(case.name, rng.randint(20, 60), len(survivors), rng.randint(0, 5), {"adjoint": 30, "linear": 12, "shapes": 4}, survivors)
