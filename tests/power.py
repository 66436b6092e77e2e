"""The tester tested: every wild defect against every check, beside torch's gradcheck, written to reports/power.html and power.json.

    python tests/power.py [-j 2]

A defect is judged at the points of the default profile, its corrected twin at every other one of them. torch's gradcheck gets
the same defect as a user would give it: one layer behind an autograd.Function, float64, contiguous, at sizes 3, 4, 5 … and the
simplest options, its own defaults, slow and fast.
"""
from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from gradcheck.checks import CHECKS, applicable
from gradcheck.environment import environment
from gradcheck.evidence import Evidence, Point
from gradcheck.report.page import policy
from gradcheck.runner import PROFILES, judge_check, undisturbed
from gradcheck.strategies import points
from gradcheck.subjects import Case, Subject

try:
    from . import confusion
    from .wild import UNSEEN, WILD
except ImportError:                                        # run as a file, or by pytest, which puts this folder on the path
    import confusion
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


FAMILIES = {"A": "the formula is wrong", "B": "too small to be seen", "C": "another option, shape or mode", "D": "another size", "E": "another value",
            "F": "another dtype", "G": "another place in memory", "H": "state, mutation, accumulation", "I": "randomness, memory, graph"}
MODES = ("slow", "fast")
HERE = Path(__file__).parent
PAGE = jinja2.Environment(loader=jinja2.FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True).get_template("power.html")


def page(rows: Sequence[Row], where: str, diagnosis: dict[str, Any] | None = None) -> str:
    """The matrix as one HTML file, in the style of the reports, with what the diagnoses are worth."""
    css = files("gradcheck.report").joinpath("templates/page.css").read_text("utf-8") + (HERE / "power.css").read_text("utf-8")
    families = {letter: [r for r in rows if r["kind"].startswith(letter)] for letter in FAMILIES}
    return PAGE.render(rows=rows, s=summary(rows), battery=BATTERY, unseen=UNSEEN, where=where, families={k: v for k, v in families.items() if v},
                       titles=FAMILIES, modes=MODES, rejected=lambda family, m: sum(r["torch"][m] != "accepts" for r in family),
                       css=Markup(css), policy=policy(css, ""), diagnosis=diagnosis)


def diagnosed() -> dict[str, Any]:
    """The numbers of tests/confusion.py."""
    return confusion.summary(list(confusion.table()))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-j", type=int, default=1, help="processes")
    jobs = parser.parse_args().j
    found: dict[str, Row] = {}
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        told, waiting = pool.submit(diagnosed), {pool.submit(row, name): name for name in WILD}
        for done in as_completed(waiting):
            found[waiting[done]] = done.result()
            print(f"{len(found)}/{len(WILD)} {waiting[done].replace('_', ' ')}", file=sys.stderr)
        diagnosis = told.result()
    rows = [found[name] for name in sorted(WILD, key=lambda name: [*FAMILIES].index(WILD[name].kind[0]))]
    numbers, here = summary(rows), environment()
    where = f"{here.platform}, Python {here.python}, " + ", ".join(f"{k} {v}" for k, v in here.versions.items())
    REPORTS.mkdir(exist_ok=True)
    whole = {"summary": numbers, "rows": rows, "diagnosis": diagnosis, "unseen": UNSEEN, "where": where}
    (REPORTS / "power.json").write_text(json.dumps(whole, indent=1, ensure_ascii=False))
    (REPORTS / "power.html").write_text(page(rows, where, diagnosis))
    for k, v in (numbers | {k: v for k, v in diagnosis.items() if isinstance(v, int)}).items():
        print(f"{k}: {v}")


if __name__ == "__main__":
    main()
