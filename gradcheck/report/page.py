"""A report as one HTML file: no network, no script needed, nothing in it but what the report says."""
from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup, escape

from ..evidence import Report, Verdict
from . import notation, plots, words
from .changes import SHOWN, also
from .codec import builtins
from .sections import SECTIONS, anchor, sweeps
from .speed import frames, growth, power, roofline, strip

FILTERS = (notation.clip, notation.coarse, notation.count, notation.number, notation.place, notation.seconds, notation.shape,
           notation.memory, notation.when, words.again, words.remarks, words.tally, words.why, also, plots.heat, frames, growth, power, roofline, strip)
SURVIVORS = 20                 # mutants shown of a layer


def to_html(report: Report, compare: Report | None = None) -> str:
    """The page; with `compare`, an older report, it says what changed since."""
    css, script = (_packed(files(__package__).joinpath(f"templates/{name}").read_text("utf-8")) for name in ("page.css", "page.js"))
    views = {view: view(report, compare) for view in dict.fromkeys(s.view for s in SECTIONS)}
    return _environment().get_template("page.html").render(
        report=report, compare=compare, sections=[(s, views[s.view]) for s in SECTIONS if views[s.view] is not None],
        frame=plots.axes(sweeps(report)), css=Markup(css), script=Markup(script), csp=policy(css, script))


def _packed(text: str) -> str:
    """Without margins, blank lines and remarks that have a line of their own."""
    return "\n".join(line for line in map(str.strip, text.splitlines()) if line and not line.startswith("//"))


def policy(css: str, script: str) -> str:
    """What a browser may load for this page: its own style and script, by their hashes."""
    style_hash, script_hash = (b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (css, script))
    return (f"default-src 'none'; img-src data:; style-src 'sha256-{style_hash}'; script-src 'sha256-{script_hash}'; "
            "base-uri 'none'; form-action 'none'")


def rowspan(lines: int) -> Markup:
    """The attribute of a cell that stands beside so many lines."""
    return Markup(f' rowspan="{lines}"' if lines > 1 else "")


def whole(text: str) -> Markup:
    """The text with its numbers marked, so that no line breaks after the minus of an exponent."""
    return Markup(re.sub(r"[\d.]+e-\d+", r'<span class="whole">\g<0></span>', str(escape(notation.visible(text)))))


def broken(name: str) -> Markup:
    """The name with the places at which a line may end: before a capital, behind a stroke."""
    return Markup("<wbr>").join(re.split(r"(?<=[a-z0-9])(?=[A-Z])|(?<=_)", notation.visible(name)))


def hunk(diff: str) -> list[str]:
    """The lines of a unified diff without its heads, as far to the left as they go together."""
    lines = [line for line in diff.splitlines() if not line.startswith(("@@", "---", "+++"))]
    margin = min((len(line) - 1 - len(line[1:].lstrip()) for line in lines if line[1:].strip()), default=0)
    return [f"{line[:1]} {line[1 + margin:]}" for line in lines]


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(loader=jinja2.PackageLoader(__package__), autoescape=True, trim_blocks=True, lstrip_blocks=True,
                                     undefined=jinja2.StrictUndefined, finalize=_finalize)
    environment.filters.update({f.__name__: f for f in (*FILTERS, broken, hunk, rowspan, whole)})
    environment.globals.update(anchor=anchor, builtins=builtins, notation=notation, plots=plots, words=words, Verdict=Verdict, most=SURVIVORS, shown=SHOWN)
    return environment


def _finalize(value: Any) -> Any:
    """Text as a reader can see it; what is markup already was made from numbers."""
    return notation.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
