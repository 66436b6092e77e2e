"""`python -m tests.calibration`: is the bound on a numerical derivative true, and how small an error does a verdict see?"""
from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.progress import track
from threadpoolctl import threadpool_limits

from gradcheck.environment import environment, revision

from . import page, sensitivity
from .functions import chosen
from .results import results
from .trials import PROBES, Trial, trials


@click.command()
@click.option("--points", default=70, show_default=True, help="points of each function, three probes each; a third of them where it served to choose constants")
@click.option("--seed", default=1, show_default=True, help="of the points")
@click.option("--only", default="", help="a group, a part of a name, tune or report")
@click.option("--sensitivity/--no-sensitivity", "sensed", default=True, help="also find the smallest error that each checker sees")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("reports/calibration"), help="without suffix: .json and .html are written")
def main(points: int, seed: int, only: str, sensed: bool, output: Path) -> None:
    """Measure thousands of derivatives whose truth is known; exit 1 if a promise is broken."""
    start = time.time()
    with threadpool_limits(1):
        data = results([t for f in track(list(chosen(only)), "functions") for t in at_points(f, points, seed)])
        data |= seen() if sensed else {"sensitivity": []}
    data |= {"probes": PROBES, "seed": seed, "seconds": time.time() - start, "revision": revision(), "environment": msgspec.to_builtins(environment()),
             "command": " ".join(["python -m tests.calibration", *sys.argv[1:]])}
    output.parent.mkdir(parents=True, exist_ok=True)
    output.with_suffix(".json").write_text(json.dumps(data, ensure_ascii=False, indent=1))
    output.with_suffix(".html").write_text(page.render(data))
    for p in data["promises"]:
        click.echo(f"{'kept  ' if p['kept'] else 'BROKEN'}  {p['promise']:60} {p['measured']}")
    sys.exit(not data["met"])


def at_points(f: Any, points: int, seed: int) -> Iterator[Trial]:
    count = max(1, round(points * f.share / (3 if f.tune else 1)))
    return (t for i in range(count) for t in trials(f, 10_000 * seed + i))


def seen() -> dict[str, Any]:
    """The table of the smallest errors seen, one row for each checker and precision."""
    total = len(sensitivity.CHECKERS) * len(sensitivity.DTYPES) * len(sensitivity.SIZES)
    cells = track(sensitivity.table(), "checkers", total=total)
    return {"sizes": list(sensitivity.SIZES), "repeats": sensitivity.REPEATS,
            "sensitivity": [{"checker": c, "dtype": d, "cells": list(row)} for (c, d), row in groupby(cells, key=lambda r: (r["checker"], r["dtype"]))]}


if __name__ == "__main__":
    main()
