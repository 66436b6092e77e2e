"""Take the pictures of reports/README.md: `python tests/browser/pictures.py REPORT.json reports/img LAYER`, with a layer to open."""
from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from gradcheck.report import load, save

CHROMIUM = "/usr/bin/chromium"
MARK = """([selector, n]) => {
    const at = document.querySelector(selector).getBoundingClientRect(), mark = document.createElement('div');
    mark.textContent = n;
    mark.style.cssText = `position:absolute;left:${at.left + scrollX - 30}px;top:${at.top + scrollY}px;width:22px;height:22px;` +
        'border-radius:50%;background:#d9480f;color:#fff;font:600 13px/22px sans-serif;text-align:center;z-index:9';
    document.body.append(mark); }"""
SHOTS: dict[str, tuple[str, list[str], list[str]]] = {       # file -> theme, first and last element shown, what is numbered
    "verdict": ("light", ["header"], ["h1", ".counts", ".pair > div", ".pair > div + div", "nav"]),
    "failure": ("light", [".failures h2", ".case"],
                [".case h3", ".reason", ".worst", ".heatmap", ".evidence .v", ".case h4", ".case h4 ~ h4", ".case .code ~ p"]),
    "table": ("dark", [".layers h2", "#layers tbody tr:nth-child(9)"],
              [".controls label", ".controls fieldset", ".groups", "#layers tbody tr"]),
    "layer": ("light", ["[open]", "[open] .ledger table"],
              ["[open] .equation", "[open] .domains", "[open] .rows", "[open] .curves", "[open] .ledger"]),
}


def take(page: Any, folder: Path, name: str, ends: list[str], marks: list[str]) -> None:
    """One picture, from the top of the first element to the bottom of the last, full width, with numbers beside `marks`."""
    page.add_style_tag(content="body{padding-left:4rem!important}")
    for n, selector in enumerate(marks, 1):
        if page.locator(selector).count():
            page.evaluate(MARK, [selector, n])
    boxes = [page.locator(selector).first.bounding_box() for selector in ends]
    top, bottom = boxes[0]["y"] - 24, boxes[-1]["y"] + boxes[-1]["height"] + 24
    clip = {"x": 0, "y": max(top, 0), "width": page.viewport_size["width"], "height": min(bottom - max(top, 0), 1500)}
    page.screenshot(path=folder / f"{name}.png", full_page=True, clip=clip)


def main(report: str, folder: str, layer: str) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as there, sync_playwright() as play:
        save(load(report), html := Path(there, "report.html"))
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name, (theme, ends, marks) in SHOTS.items():
            page = browser.new_page(color_scheme=theme, viewport={"width": 1200, "height": 900}, bypass_csp=True)
            page.goto(f"{html.as_uri()}#{layer if name == 'layer' else ''}")
            page.evaluate("scrollTo(0, 0)")
            take(page, Path(folder), name, ends, marks)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
