"""Take the pictures of reports/README.md: `python tests/browser/pictures.py NOW.json BEFORE.json reports/img`, of what planted.py writes."""
from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import sync_playwright

from gradcheck.report import load, save

CHROMIUM = "/usr/bin/chromium"
MARK = """([selector, n]) => {
    const at = document.querySelector(selector).getBoundingClientRect(), mark = document.createElement('div');
    mark.textContent = n;
    mark.style.cssText = `position:absolute;left:${Math.max(at.left + scrollX - 30, 4)}px;top:${at.top + scrollY}px;width:22px;height:22px;` +
        'border-radius:50%;background:#d9480f;color:#fff;font:600 13px/22px sans-serif;text-align:center;z-index:9';
    document.body.append(mark); }"""


class Shot(NamedTuple):
    """A picture: its theme, the first and the last element that it shows, and what is numbered in it."""
    theme: str
    ends: tuple[str, str]
    marks: tuple[str, ...]
    open: str = ""                   # the layer whose details are open


SHOTS = {
    "verdict": Shot("light", ("header", "header"), ("h1", ".lede", ".counts", ".pair > div", ".pair > div + div", "nav")),
    "changes": Shot("light", (".changes h2", ".changes"), (".changes p", ".changes h3", ".changes h3 ~ h3", ".changes details")),
    "failure": Shot("light", (".failures h2", ".case"),
                    (".case h3", ".reason", ".worst", ".heatmap", ".evidence .v", ".case h4", ".case h4 ~ h4", ".case .code ~ p")),
    "table": Shot("dark", (".layers h2", "#layers tbody tr:nth-child(9)"), (".controls label", ".controls fieldset", ".groups", "#layers tbody tr")),
    "speed": Shot("light", (".speed h2", ".speed .timings"), (".speed > p", ".speed figure", ".timings")),
    "mutation": Shot("light", (".mutation h2", ".survivor"), (".mutation table", ".survivor")),
    "layer": Shot("light", ("details.layer[open]", "details.layer[open] .ledger table"),
                  tuple(f"details.layer[open] {part}" for part in (".equation", ".domains", ".rows", ".curves", ".ledger")), "LSTM"),
}


def take(page: Any, shot: Shot, path: Path) -> None:
    """From the top of the first element to the bottom of the last, full width, with numbers beside what is marked."""
    page.add_style_tag(content="body{padding-left:4rem!important}")
    for n, selector in enumerate(shot.marks, 1):
        if page.locator(selector).count():
            page.evaluate(MARK, [selector, n])
    boxes = [page.locator(selector).first.bounding_box() for selector in shot.ends]
    top, bottom = max(boxes[0]["y"] - 24, 0), boxes[-1]["y"] + boxes[-1]["height"] + 24
    page.screenshot(path=path, full_page=True, clip={"x": 0, "y": top, "width": page.viewport_size["width"], "height": min(bottom - top, 1500)})


def main(now: str, before: str, folder: str) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as there, sync_playwright() as play:
        save(load(now), html := Path(there, "report.html"), compare=load(before))
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name, shot in SHOTS.items():
            page = browser.new_page(color_scheme=shot.theme, viewport={"width": 1200, "height": 900}, bypass_csp=True)
            page.goto(f"{html.as_uri()}#{shot.open}")
            page.evaluate("document.querySelectorAll('.changes details').forEach(d => { d.open = d.textContent.startsWith('Slower') }); scrollTo(0, 0)")
            take(page, shot, Path(folder, f"{name}.png"))
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
