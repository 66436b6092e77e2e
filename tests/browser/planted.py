"""A regression to take pictures of: Conv2D with a slip in its backward, LSTM that works twice, and a layer nobody looks at any more.

    gradcheck run layers -o before.json
    python tests/browser/planted.py before.json now.json
    python tests/browser/pictures.py now.json before.json reports/img

The first file is added to: its timings are taken in the same minutes as those of the second.
"""
from __future__ import annotations

import sys
from typing import Any

from msgspec.structs import replace

import layers
from gradcheck.bench import bench
from gradcheck.evidence import NotChecked, Report
from gradcheck.mutate import mutate
from gradcheck.report import load, save
from gradcheck.runner import run
from gradcheck.targets import find

TIMED = ("Dense", "LSTM", "LayerNorm1D")
LOST = "Softmax"
HERE = "tests/browser/planted.py"          # as it is called from the project's folder


class Conv2D(layers.Conv2D):
    """y = f(pad(x) ⋆ W + b), its dW averaged over the batch"""

    def pull(self, p: Any, dz: Any, x: Any) -> Any:
        dx, dW = super().pull(p, dz, x)
        return dx, dW / len(x)


class LSTM(layers.LSTM):
    """C = Gf C_prev + Gu Cc, A = Go f(C), its backward done twice"""

    def bwd(self, p: Any, r: Any, dy: Any) -> Any:
        super().bwd(p, r, dy)
        return super().bwd(p, r, dy)


def timed(report: Report, targets: list[str]) -> Report:
    found, _ = bench([c for t in targets for c in find(t).cases], dtypes=("float64",))
    return replace(report, bench=found)


def planted(before: Report) -> Report:
    """What a run over the layers finds once these two have taken the place of theirs."""
    wrong = run(find(f"{HERE}:Conv2D").cases)
    cases = (*wrong.cases, *(c for c in before.cases if c.name not in ("Conv2D", LOST)))
    (blind,) = find("layers:LayerNorm1D").cases
    return replace(before, environment=wrong.environment, cases=cases, revision=f"{before.revision}~planted", started=wrong.started,
                   mutation=(mutate(blind, checks=["shapes", "linear"], most=10)[0],),
                   not_checked=(*before.not_checked, NotChecked("Softmax", "it is not in the list of cases any more")))


def main(before: str, now: str) -> None:
    old = load(before)
    save(timed(planted(old), ["layers:Dense", f"{HERE}:LSTM", "layers:LayerNorm1D"]), now)
    save(timed(old, [f"layers:{name}" for name in TIMED]), before)


if __name__ == "__main__":
    main(*sys.argv[1:])
