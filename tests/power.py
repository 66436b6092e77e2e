"""The tester tested: every wild defect against every check, beside torch's gradcheck, written to reports/power.html and power.json.

    python tests/power.py [-j 2]

A defect is judged at the points of the default profile, its corrected twin at every other one of them. torch's gradcheck gets
the same defect as a user would give it: one layer behind an autograd.Function, float64, contiguous, at sizes 3, 4, 5 … and the
simplest options, its own defaults, slow and fast.
"""
from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from gradcheck.checks import CHECKS, applicable
from gradcheck.environment import environment
from gradcheck.evidence import Evidence, Point
from gradcheck.runner import PROFILES, judge_check, undisturbed
from gradcheck.strategies import points
from gradcheck.subjects import Case, Subject

try:
    from .wild import UNSEEN, WILD
except ImportError:                                        # run as a file, or by pytest, which puts this folder on the path
    from wild import UNSEEN, WILD

REPORTS = Path(__file__).parents[1] / "reports"
BATTERY = tuple(c.name for c in CHECKS.values() if c.default)
BY_NAME = ("jacobian", "options", "network")               # which see nothing that the others do not
Row = dict[str, Any]


def judged(case: Case, checks: Sequence[str] = BATTERY, share: int = 1) -> Iterator[Evidence]:
    """The evidence of these checks at every `share`-th point of the default profile."""
    with undisturbed():
        for point in [p for dtype, n in PROFILES["default"].points.items() for p in points(case, n, 0, dtype)[::share]]:
            s = case.subject(point)
            yield from (e for name in checks if not applicable(CHECKS[name], s) for e in judge_check(s, CHECKS[name]))


def row(name: str) -> Row:
    """All that is known of one defect: which checks see it, which accuse its twin, what torch says."""
    w = WILD[name]
    seen, twin = ({e.check for e in judged(w.case(wrong), share=share) if e.verdict.bad} for wrong, share in ((True, 1), (False, 2)))
    told = {mode: by_torch(w.case(True), fast) for mode, fast in (("slow", False), ("fast", True))}
    return {"kind": w.kind, "name": name.replace("_", " "), "what": w.doc, "by": w.by, "reports": w.reports,
            "seen": [c for c in BATTERY if c in seen], "twin": [c for c in BATTERY if c in twin], "torch": told,
            "torch_twin": {mode: by_torch(w.case(False), fast) for mode, fast in (("slow", False), ("fast", True))}}


# torch's gradcheck on the same defect -------------------------------------------------------------------------------------------

def plain(case: Case) -> Subject:
    """The subject at unequal small sizes and the simplest options, or at the first point of the profile where these do not fit."""
    options = {k: v[0] for k, v in case.family.domains.items()}
    law = case.family.law(options)
    axes = law.axes if law else ()
    sizes = {a: (3 + i,) if a == "*" else min(3 + i, case.sizes.get(a, (0, 99))[1]) for i, a in enumerate(axes)}
    fits = law is None or case.family.fits(options, law.shapes(sizes, 2 if law.many else None))
    return case.subject(Point(sizes=sizes, options=options, seed=1) if fits else points(case, 1, 0)[0])


def by_torch(case: Case, fast: bool) -> str:
    """What torch's gradcheck says with its defaults: accepts, rejects, or what it raises."""
    import torch
    with undisturbed(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        s = plain(case)
        torch.manual_seed(0)
        function = as_torch(s)
        xs = [torch.tensor(s.primals[k], requires_grad=True) for k in s.differentiable]
        try:
            return "accepts" if torch.autograd.gradcheck(function, xs, fast_mode=fast, raise_exception=False) else "rejects"
        except Exception as error:
            return f"raises {type(error).__name__}"


def as_torch(s: Subject) -> Callable[..., Any]:
    """One layer as a function of tensors; its arrays are those of the tensors, as a kernel would see them. Gradients that add up are told apart."""
    import torch
    tape, before = s.tape(), dict[str, Any]()
    adding = [k for k in s.differentiable if k not in s.inputs and s.convention.get("gradients") == "add"]

    class Layer(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *xs: Any) -> Any:
            held = {k: np.copy(v) for k, v in s.primals.items() if k not in s.differentiable}
            ys = tape.forward({**held, **{k: x.detach().numpy() for k, x in zip(s.differentiable, xs, strict=True)}})
            made = tuple(torch.as_tensor(np.asarray(y)) for y in ys)
            return made if len(made) > 1 else made[0]

        @staticmethod
        def backward(ctx: Any, *dys: Any) -> Any:
            d = tape.backward(*(dy.detach().resolve_conj().numpy() for dy in dys))
            total = {k: np.copy(d[k]) for k in adding}
            d = {**d, **{k: v - before.get(k, 0) for k, v in total.items()}}
            before.update(total)
            return tuple(None if d.get(k) is None else torch.as_tensor(np.asarray(d[k])) for k in s.differentiable)

    return Layer.apply                                     # type: ignore[no-any-return]


# the report ---------------------------------------------------------------------------------------------------------------------

def summary(rows: Sequence[Row]) -> Row:
    """The matrix in numbers."""
    alone = {c: [r["name"] for r in rows if r["seen"] == [c]] for c in BATTERY}
    return {"defects": len(rows), "kinds": len({r["kind"] for r in rows}), "seen by their check": sum(r["by"] in r["seen"] for r in rows),
            "twins accused": sum(bool(r["twin"]) for r in rows), "checks with a defect that only they see": sum(map(bool, alone.values())),
            "checks": len(BATTERY), "only": {c: n for c, n in alone.items() if n},
            **{f"rejected by torch, {mode}": sum(r["torch"][mode] != "accepts" for r in rows) for mode in ("slow", "fast")},
            **{f"twins rejected by torch, {mode}": sum(r["torch_twin"][mode] != "accepts" for r in rows) for mode in ("slow", "fast")}}


PAGE = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>power of the battery</title>
<style>
:root { color-scheme: light dark; --line: #8885; --hit: #0a7d34; --own: #06c; --bad: #b3261e }
@media (prefers-color-scheme: dark) { :root { --hit: #5dd28a; --own: #6cb2ff; --bad: #ff8a80 } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem }
table { border-collapse: collapse; font-size: 13px } caption { text-align: left; padding: .5em 0 }
th, td { border-bottom: 1px solid var(--line); padding: .25em .4em; text-align: left; vertical-align: top }
thead th.c { writing-mode: vertical-rl; transform: rotate(180deg); white-space: nowrap }
td.c { text-align: center } .hit { color: var(--hit) } .own { color: var(--own); font-weight: 700 } .bad { color: var(--bad); font-weight: 700 }
small { opacity: .75 } div { overflow-x: auto }
</style></head><body>
<h1>Power of the battery</h1>
<p>{{ s["defects"] }} re-expressed defects of {{ s["kinds"] }} classes: <strong>{{ s["seen by their check"] }}</strong> fail by the check that claims
them. Of their corrected twins <strong>{{ s["twins accused"] }}</strong> are accused by any check.
torch's gradcheck, on the same defects, rejects <strong>{{ s["rejected by torch, slow"] }}</strong> (slow) and
<strong>{{ s["rejected by torch, fast"] }}</strong> (fast),
and of the twins {{ s["twins rejected by torch, slow"] }} and {{ s["twins rejected by torch, fast"] }}.
{{ s["checks with a defect that only they see"] }} of {{ s["checks"] }} checks have a defect that no other sees.</p>
<div><table>
<caption>● fails by this check; <span class="own">◆</span> this check claims the class; a defect with one mark is seen by that check alone.</caption>
<thead><tr><th scope="col">class</th><th scope="col">defect</th>
{% for c in battery %}<th class="c" scope="col">{{ c }}</th>{% endfor %}
<th scope="col">torch slow</th><th scope="col">torch fast</th><th scope="col">twin</th></tr></thead><tbody>
{% for r in rows %}
<tr><th scope="row">{{ r.kind }}</th><td>{{ r.name }}<br><small>{{ r.what }} {{ r.reports }}</small></td>
{% for c in battery %}<td class="c">{% if c == r.by and c in r.seen %}<span class="own" title="{{ c }}, which claims it">◆</span>
{% elif c in r.seen %}<span class="hit" title="{{ c }}">●</span>{% elif c == r.by %}<span class="bad">missed</span>{% endif %}</td>{% endfor %}
{% for m in ("slow", "fast") %}<td{% if r.torch[m] == "accepts" %} class="bad"{% endif %}>{{ r.torch[m] }}</td>{% endfor %}
<td{% if r.twin %} class="bad"{% endif %}>{{ r.twin | join(", ") or "clean" }}</td></tr>
{% endfor %}
</tbody></table></div>
<h2>Classes that are not judged here</h2><dl>{% for k, why in unseen.items() %}<dt>{{ k }}</dt><dd>{{ why }}</dd>{% endfor %}</dl>
<h2>Where it ran</h2><p>{{ where }}</p></body></html>
""")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-j", type=int, default=1, help="processes")
    with ProcessPoolExecutor(parser.parse_args().j, mp_context=get_context("spawn")) as pool:
        rows = list(pool.map(row, WILD))
    numbers, here = summary(rows), environment()
    where = f"{here.platform}, Python {here.python}, " + ", ".join(f"{k} {v}" for k, v in here.versions.items())
    REPORTS.mkdir(exist_ok=True)
    (REPORTS / "power.json").write_text(json.dumps({"summary": numbers, "rows": rows, "unseen": UNSEEN, "where": where}, indent=1, ensure_ascii=False))
    (REPORTS / "power.html").write_text(PAGE.render(rows=rows, s=numbers, battery=BATTERY, unseen=UNSEEN, where=where))
    for k, v in numbers.items():
        print(f"{k}: {v}")


if __name__ == "__main__":
    main()
