"""What README.md shows is so: its Python runs, and its commands print what stands there. `python tests/test_readme.py` writes the outputs anew."""
from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", "layers/README.md"]
BLOCK = re.compile(r"^```(python|console|sh)\n(.*?)^```", re.DOTALL | re.MULTILINE)
# by machine: times, and rounding's share of a bound
VARYING = re.compile(r" *\d+\.\d+ s\b| *\d+ forwards|± \S+|resolves \S+ *|by \S+ at most|within \S+|and \S+ in float32")


class Block(NamedTuple):
    """A fenced block: where it stands in its page, what it is, what is in it."""
    span: tuple[int, int]
    kind: str
    text: str


def blocks(page: str) -> list[Block]:
    return [Block(m.span(2), m[1], m[2]) for m in BLOCK.finditer((ROOT / page).read_text())]


def printed(command: str, folder: Path) -> str:
    """What a command prints, `gradcheck` being this interpreter's."""
    line = re.sub(r"^gradcheck", f"{sys.executable} -m gradcheck", command)
    return subprocess.run(line, shell=True, capture_output=True, text=True, cwd=folder, timeout=60).stdout


def consoles(page: str, folder: Path) -> Iterator[tuple[Block, str]]:
    """Each console block with the text that it should have, in a folder that holds the files shown."""
    for block in blocks(page):
        if block.kind == "python" and (named := re.match(r"# (\S+\.py)\n", block.text)):
            (folder / named[1]).write_text(block.text)
        if block.kind == "console":
            commands = re.findall(r"^\$ (.*)$", block.text, re.MULTILINE)
            yield block, "".join(f"$ {c}\n{printed(c, folder)}" for c in commands)


@pytest.mark.parametrize("page", PAGES)
def test_python_snippets_run(page, folder):
    for block in (b for b in blocks(page) if b.kind == "python"):
        (folder / "snippet.py").write_text(block.text)
        runpy.run_path("snippet.py")


@pytest.mark.parametrize("page", PAGES)
def test_commands_print_what_is_shown(page, tmp_path):
    for block, text in consoles(page, tmp_path):
        assert VARYING.sub("…", block.text) == VARYING.sub("…", text)
        assert len(block.text.splitlines()) <= 25


def test_make_targets_exist():
    commands = [line.split("#")[0].split() for b in blocks("README.md") if b.kind == "sh" for line in b.text.splitlines()]
    assert ["make", "check"] in commands
    for command in commands:
        assert subprocess.run([*command, "--dry-run"], cwd=ROOT, capture_output=True, timeout=30).returncode == 0, command


def rewrite(page: str) -> None:
    text = (ROOT / page).read_text()
    with tempfile.TemporaryDirectory() as folder:
        for block, shown in reversed([*consoles(page, Path(folder))]):
            text = text[:block.span[0]] + shown + text[block.span[1]:]
    (ROOT / page).write_text(text)


if __name__ == "__main__":
    for each in PAGES:
        rewrite(each)
