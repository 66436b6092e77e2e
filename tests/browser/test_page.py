"""The page in a real browser: readable by everyone, in both themes, with and without script, however bad the names."""
from __future__ import annotations

import base64
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import reports_sample as samples

from gradcheck.report import save

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe_api = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no chromium at {CHROMIUM}")

# axe-playwright-python 0.1.8 carries axe-core 4.12.1
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}}
REPORTS = {
    "sample": samples.measured, "passing": lambda: samples.sample(faulty=False), "timed": samples.timed, "nothing": samples.nothing,
    "errors": samples.errors_only, "hostile": samples.hostile, "many": lambda: samples.measured(200),
}
JENKINS = "sandbox allow-same-origin allow-scripts; default-src 'none'; img-src 'self'; style-src 'self';"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    for name, make in REPORTS.items():
        save(make(), folder / f"{name}.html", compare=samples.before() if name == "sample" else None)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright_api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


class Visit:
    """A page that was opened, with all that it complained about and asked for."""

    def __init__(self, browser: Any, url: str, **context: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(url)

    def __enter__(self) -> Any:
        return self.page

    def __exit__(self, *_: object) -> None:
        self.context.close()


@pytest.fixture
def visit(browser: Any, pages: Path) -> Any:
    return lambda name, fragment="", **context: Visit(browser, f"{(pages / name).as_uri()}.html{fragment}", **context)


def until(page: Any, condition: str) -> None:
    """Wait for what a script of the page does; asked from outside, since the page's own policy forbids it to eval."""
    for _ in range(500):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"never came true: {condition}")


def focused(page: Any) -> str:
    text: str = page.evaluate("document.activeElement.textContent.trim() || document.activeElement.id")
    return text


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", [n for n in REPORTS if n != "many"])
def test_axe_finds_nothing(visit: Any, name: str, theme: str) -> None:
    with visit(name, color_scheme=theme) as page:
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
        found = axe_api.Axe().run(page, options=RULES)
        assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_hangs_out_of_the_page(visit: Any, theme: str, width: int) -> None:
    for name in ("sample", "hostile"):
        with visit(name, color_scheme=theme, viewport={"width": width, "height": 900}) as page:
            page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
            assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", list(REPORTS))
def test_one_request_and_a_silent_console(visit: Any, name: str) -> None:
    visited = visit(name)
    with visited as page:
        page.wait_for_load_state("networkidle")
        assert not page.evaluate("Boolean(window.alerted)")
    assert visited.said == [] and len(visited.requests) == 1


@pytest.mark.parametrize("name", ["sample", "hostile", "nothing"])
def test_without_script_everything_can_be_read(visit: Any, name: str) -> None:
    with visit(name, java_script_enabled=False) as page:
        assert page.locator("h1").inner_text()
        assert page.locator(".controls:visible, .copy").count() == 0                       # nothing that would not work
        for detail in page.locator("details.layer").all()[:3]:
            detail.locator("summary").first.click()
            assert detail.locator("table, pre").first.is_visible()


def test_without_script_a_deep_link_opens_its_layer(visit: Any) -> None:
    with visit("sample", "#LSTM/adjoint", java_script_enabled=False) as page:
        assert page.locator("[id='LSTM/adjoint']").is_visible()


def test_a_server_that_forbids_styles_and_scripts_leaves_a_readable_page(browser: Any, pages: Path) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Security-Policy", JENKINS)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write((pages / "sample.html").read_bytes())

        def log_message(self, *_: object) -> None:
            pass
    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with Visit(browser, f"http://127.0.0.1:{server.server_port}/") as page:
            assert page.locator("h1").inner_text() == "1 of 12 layers is wrong: Conv2D."
            assert "undecided" in page.locator("#layers").inner_text()                    # the word, where the icon is missing
            assert page.locator(".controls:visible").count() == 0
            widths = page.locator("svg.s, svg.d").evaluate_all("all => all.map(e => e.getBoundingClientRect().width)")
            assert max(widths) < 100
    finally:
        server.shutdown()
        server.server_close()


def test_a_keyboard_walk_from_the_filter_to_the_detail_and_back(visit: Any) -> None:
    with visit("sample") as page:
        page.keyboard.press("Tab")
        assert focused(page).startswith("Skip to")
        page.focus("#search")
        page.keyboard.type("lstm")
        assert page.locator("#layers tbody tr:visible").count() == 1 and page.locator("#shown").inner_text() == "1 of 12 shown"
        page.keyboard.press("Enter")
        assert focused(page) == "LSTM"
        page.keyboard.press("ArrowRight")
        assert focused(page).startswith("pass")
        page.keyboard.press("Enter")
        until(page, "document.querySelector('details[id=LSTM]').open")
        assert page.url.endswith("#LSTM/adjoint")
        page.locator("details[id=LSTM] a[href='#row:LSTM']").focus()
        page.keyboard.press("Enter")
        until(page, "document.activeElement.textContent === 'LSTM'")
        assert page.evaluate("document.activeElement.closest('table').id") == "layers"


def test_arrows_skip_what_is_filtered_and_what_is_no_link(visit: Any) -> None:
    with visit("sample") as page:
        page.check("input[name=show][value=pass]")
        page.locator("#layers tbody tr:visible a").first.focus()
        page.keyboard.press("ArrowUp")
        assert focused(page) == "Add"
        page.keyboard.press("ArrowDown")
        assert focused(page) == "BatchNorm1D"
        for _ in range(30):
            page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.hash") == "#BatchNorm1D/shell"


@pytest.mark.parametrize(("fragment", "shown"), [
    ("LSTM/adjoint", "LSTM/adjoint"), ("LSTM/adjoint/Wi", "LSTM/adjoint"), ("LSTM", "LSTM"), ("LSTM/nonsense/too", "LSTM"),
    ("failure:Conv2D/adjoint/W", "failure:Conv2D/adjoint/W")])
def test_a_deep_link_opens_what_it_names(visit: Any, fragment: str, shown: str) -> None:
    with visit("sample", f"#{fragment}") as page:
        opened = page.locator("details.layer[open]").evaluate_all("all => all.map(d => d.id)")
        assert opened == (["LSTM"] if "LSTM" in fragment else [])
        assert -5 <= page.locator(f"[id='{shown}']").bounding_box()["y"] < 900


def test_a_link_to_a_filtered_layer_clears_the_filter(visit: Any) -> None:
    with visit("sample") as page:
        page.fill("#search", "lstm")
        page.evaluate("location.hash = '#Dense/adjoint'")
        until(page, "document.getElementById('Dense').open")
        assert page.locator("details[id=Dense]").is_visible() and page.input_value("#search") == ""


def test_every_bad_name_can_be_linked_to(visit: Any) -> None:
    with visit("hostile") as page:
        links = page.locator("#layers tbody th a")
        for i in range(links.count()):
            links.nth(i).click()
            until(page, f"document.querySelectorAll('details.layer[open]').length === {i + 1}")


def test_sorting(visit: Any) -> None:
    with visit("sample") as page:
        heads = page.locator("#layers .heads th").all_inner_texts()

        def column(name: str) -> list[str]:
            cells: list[str] = page.locator(f"#layers tbody tr > :nth-child({heads.index(name) + 1})").all_inner_texts()
            return [c.strip() for c in cells]
        page.get_by_role("button", name="layer", exact=True).click()
        assert column("layer") == sorted(column("layer"), key=str.lower)
        page.get_by_role("button", name="time, s").click()
        assert [float(t) for t in column("time, s")] == sorted(map(float, column("time, s")), reverse=True)
        page.get_by_role("button", name="time, s").click()
        assert [float(t) for t in column("time, s")] == sorted(map(float, column("time, s")))
        page.get_by_role("button", name="verdict").click()
        assert column("verdict")[:3] == ["fail", "error", "undecided"]
        assert page.locator("[aria-sort=ascending]").inner_text() == "verdict"
        page.get_by_role("button", name="adjoint").click()
        passes = [float(c.split()[1]) for c in column("adjoint") if c.startswith("pass")]
        assert passes == sorted(passes, reverse=True)


def test_the_repeat_line_can_be_copied(browser: Any, pages: Path) -> None:
    visited = Visit(browser, (pages / "sample.html").as_uri())
    with visited as page:
        visited.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.locator(".copy").first.click()
        page.get_by_role("button", name="Copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == "gradcheck run layers --profile default --seed 0"


def test_two_hundred_layers_open_and_filter_quickly(visit: Any) -> None:
    with visit("many") as page:
        opened = page.evaluate("performance.timing.domContentLoadedEventEnd - performance.timing.navigationStart")
        took = page.evaluate("""() => {
            const search = document.getElementById('search'), start = performance.now();
            search.value = 'lstm'; search.dispatchEvent(new Event('input', {bubbles: true})); document.body.getBoundingClientRect();
            return performance.now() - start; }""")
        print(f"opened in {opened} ms, filtered in {took:.0f} ms")
        assert page.locator("#layers tbody tr:visible").count() == 16
        assert page.evaluate("document.querySelectorAll('*').length") < 60_000                # what time depends on; times themselves are the machine's


def test_it_prints(visit: Any, tmp_path: Path) -> None:
    with visit("sample") as page:
        page.pdf(path=tmp_path / "page.pdf", format="A4")
        page.emulate_media(media="print")
        assert page.locator(".copy:visible, nav:visible, form:visible").count() == 0
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_colour_is_never_alone(visit: Any) -> None:
    with visit("sample") as page:
        for cell in page.locator("#layers tbody a[class], #layers tbody td[class]").all():
            assert cell.inner_text().split()[0].isalpha()
            assert page.evaluate("e => getComputedStyle(e, '::before').content", cell.element_handle()).strip('"/ ')


# what reports/README.md says that the page answers: where, and what is to be read there
ANSWERS = {
    "Which layer is wrong?": ("h1", r"1 of 12 layers is wrong: Conv2D\."),
    "By which check?": (".failures .case h3", r"fail *Conv2D · adjoint · W"),
    "Which array?": (".failures .case h3", r"· W$"),
    "By what factor?": (".failures .case .reason", r"a constant factor 0\.500"),
    "What is the smallest shape that fails?": (".failures .case h4:text('Smallest failing case') + .code code", r"# \(1, 3, 1, 1\)"),
    "How do I repeat it?": (".failures .case h4:text('Repeat') + .code code", r"^gradcheck run layers:Conv2D --select adjoint "),
    "How fine is the pass of LSTM's `Wf`?": ("[id='LSTM/adjoint'] tr:has(td:text-is('Wf'))", r"pass\s+\d+/200\s+\d\.\de-\d+ … \d\.\de-\d+, float32"),
    "What was skipped?": (".pair .missing", r"Dropout\.mask noise that is held has no cotangent(.|\n)*errors of Dense"),
    "What got slower?": (".changes details:has-text('Slower')", r"LSTM/float64/large \S+ of the reference workload before, \S+ now"),
    "Which versions?": (".environment", r"numpy\s+2\.4\.6"),
}


@pytest.mark.parametrize("question", ANSWERS)
def test_who_reads_only_the_page_can_answer(visit: Any, question: str) -> None:
    where, answer = ANSWERS[question]
    with visit("sample", "#LSTM") as page:
        page.evaluate("document.querySelectorAll('.changes details').forEach(d => { d.open = true })")
        text = page.locator(where).first.inner_text()
        assert re.search(answer, text), text


def test_the_questions_are_those_of_the_guide() -> None:
    table = (Path(__file__).parents[2] / "reports/README.md").read_text().partition("## Ten questions")[2]
    assert re.findall(r"^\| (.*?\?) \|", table, re.M) == list(ANSWERS)


def test_screens_for_a_person_to_look_at(visit: Any, tmp_path: Path) -> None:
    for theme in ("light", "dark"):
        with visit("sample", color_scheme=theme) as page:
            data = page.screenshot(path=tmp_path / f"{theme}.png")
            assert len(base64.b64encode(data)) > 10_000
