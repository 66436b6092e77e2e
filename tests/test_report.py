"""What is done with a report: JSON and back, merging, comparing, Markdown, CTRF and the page as text."""
from __future__ import annotations

import json
import math
import random
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import reports_sample as samples
from msgspec.structs import replace

from gradcheck import report as module
from gradcheck.evidence import (
    SCHEMA_VERSION,
    CaseReport,
    Entry,
    Environment,
    Evidence,
    NotChecked,
    Point,
    Report,
    Resolution,
    Row,
    Sweep,
    Verdict,
)
from gradcheck.report import codec, diff, load, merge, notation, page, plots, save, schema, to_ctrf, to_html, to_json, to_markdown, words

REPORTS = {"sample": samples.sample, "passing": lambda: samples.sample(faulty=False), "nothing": samples.nothing,
           "errors": samples.errors_only, "hostile": samples.hostile}
EACH = pytest.mark.parametrize("report", [make() for make in REPORTS.values()], ids=list(REPORTS))


def row_of(report: Report, case: str, check: str) -> Row:
    """The first row of a check of a case."""
    return next(r for c in report.cases if c.name == case for r in c.rows if r.check == check)


def with_row(report: Report, case: str, check: str, **changes: Any) -> Report:
    """The report with the first row of a check of a case changed."""
    def change(c: CaseReport) -> CaseReport:
        at = next(i for i, r in enumerate(c.rows) if r.check == check)
        return replace(c, rows=(*c.rows[:at], replace(c.rows[at], **changes), *c.rows[at + 1:]))
    return replace(report, cases=tuple(change(c) if c.name == case else c for c in report.cases))


# JSON

@EACH
def test_a_round_trip_through_a_file_keeps_everything(report: Report, tmp_path: Path) -> None:
    save(report, tmp_path / "new folder" / "r.json")
    again = load(tmp_path / "new folder" / "r.json")
    assert to_json(again) == to_json(report)
    assert [p.name for p in (tmp_path / "new folder").iterdir()] == ["r.json"]            # no draft is left


@EACH
def test_json_obeys_the_shipped_schema(report: Report) -> None:
    shipped = json.loads(files(module).joinpath("schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(shipped)
    jsonschema.Draft202012Validator(shipped).validate(json.loads(to_json(report)))


def test_the_shipped_schema_is_that_of_the_types() -> None:
    shipped = json.loads(files(module).joinpath("schema.json").read_text("utf-8"))
    assert shipped == schema(), "run `gradcheck schema > gradcheck/report/schema.json`"


@pytest.mark.parametrize("change", [{"surplus": 1}, {"seed": 0.5}, {"time_s": "fast"}, {"cases": {}}])
def test_the_schema_rejects_what_the_types_reject(change: dict[str, Any]) -> None:
    plain = {**json.loads(to_json(samples.sample(1, faulty=False))), **change}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema()).validate(plain)
    with pytest.raises(ValueError, match="not a report of gradcheck"):
        codec.from_json(json.dumps(plain))


def test_numbers_that_json_lacks_survive() -> None:
    entry = Entry((0,), math.nan, math.inf, -math.inf)
    report = with_row(samples.sample(1, faulty=False), "Add", "adjoint", coarsest=Resolution(math.inf, math.nan),
                      example=Evidence("adjoint", "x0", worst=(entry,), map=((math.nan, math.inf),)))
    assert b'"NaN"' in to_json(report) and b'"-Infinity"' in to_json(report)
    again = row_of(codec.from_json(to_json(report)), "Add", "adjoint")
    assert again.example and str(again.example.worst[0]) == str(entry) and str(again.coarsest) == "Resolution(entry=inf, factor=nan)"


def test_options_keep_their_types() -> None:
    options = {"text": "NaN", "digits": "12", "flag": True, "nothing": None, "list": [1, "2", 2.5], "one": 1, "real": 1.0}
    report = with_row(samples.sample(1, faulty=False), "Add", "adjoint", at=Point(options=options, sizes={"n": 3, "*": (1, 2)}))
    at = row_of(codec.from_json(to_json(report)), "Add", "adjoint").at
    assert at == Point(options=options, sizes={"n": 3, "*": (1, 2)}) and [type(v) for v in at.options.values()].count(bool) == 1


def test_numpy_scalars_are_written_as_numbers() -> None:
    np = pytest.importorskip("numpy")
    report = replace(samples.nothing(), extra={"a": np.float64(0.5), "b": np.int32(3), "c": np.array([1.0, np.nan])})
    assert codec.from_json(to_json(report)).extra == {"a": 0.5, "b": 3, "c": [1.0, "NaN"]}
    with pytest.raises(TypeError, match="holds JSON values"):
        to_json(replace(report, extra={"f": print}))


def test_numpy_floats_in_a_report_are_shown_like_others() -> None:
    np = pytest.importorskip("numpy")
    fine = with_row(samples.sample(1, faulty=False), "Add", "adjoint", coarsest=Resolution(3e-9, 0.25), time_s=1.5)
    same = with_row(fine, "Add", "adjoint", coarsest=Resolution(np.float64(3e-9), np.float64(0.25)), time_s=np.float64(1.5))
    assert to_html(same) == to_html(fine) and to_json(same) == to_json(fine) and to_markdown(same) == to_markdown(fine)


def test_bytes_do_not_depend_on_the_order_of_gathering() -> None:
    report = samples.sample()
    cases = [replace(c, rows=tuple(random.Random(1).sample(c.rows, len(c.rows)))) for c in report.cases]
    shuffled = replace(report, cases=tuple(reversed(cases)), checks=report.checks[::-1], not_checked=report.not_checked[::-1])
    assert to_json(shuffled) == to_json(report)
    assert to_json(report).endswith(b"}\n") and max(map(len, to_json(report).splitlines())) < 1000


@pytest.mark.parametrize(("text", "said"), [
    ("layers:", "not JSON"), ("[1]", "has no schema_version"), ('{"a": 1}', "has no schema_version"),
    ('{"schema_version": "99.0"}', "a newer one wrote it"), ('{"schema_version": "new"}', "is no number"),
    ('{"schema_version": "1.0"}', "missing required field"),
])
def test_loading_something_else_says_what_it_is(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=said) as error:
        load(tmp_path / "x.json")
    assert "x.json" in str(error.value)


def test_an_older_report_without_later_fields_loads() -> None:
    plain = json.loads(to_json(samples.sample(1, faulty=False)))
    oldest = {k: plain[k] for k in ("environment", "command", "schema_version", "cases")}
    assert codec.from_json(json.dumps(oldest)).profile == "default"
    assert plain["schema_version"] == SCHEMA_VERSION                    # written although it is the default


def test_an_unknown_suffix_names_the_three(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.json, \.html, \.md, got 'r\.pdf'"):
        save(samples.nothing(), tmp_path / "r.pdf")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    save(samples.nothing(), tmp_path / "r.json")
    before = (tmp_path / "r.json").read_bytes()
    with pytest.raises(TypeError):
        save(replace(samples.nothing(), extra={"f": print}), tmp_path / "r.json")
    assert (tmp_path / "r.json").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_rendering_needs_neither_numpy_nor_the_rest_of_gradcheck() -> None:
    code = ("import sys, gradcheck.report; from gradcheck.evidence import *\n"
            "gradcheck.report.to_html(Report(Environment('3', 'p', 'c', 1), 'x'))\n"
            "parts = {m.split('.')[1] for m in sys.modules if m.startswith('gradcheck.')}\n"
            "print(sorted(parts - {'report', 'evidence'}), 'numpy' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[] False"


def test_a_broken_write_leaves_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save(samples.nothing(), tmp_path / "r.json")
    assert list(tmp_path.iterdir()) == []


# merge

def shards(report: Report, n: int) -> list[Report]:
    """The report as it comes from `n` machines, each with every n-th row."""
    def part(k: int) -> Report:
        cases = [replace(c, rows=c.rows[k::n], error=c.error if k == 0 else "", time_s=c.time_s / n) for c in report.cases]
        kept = tuple(c for c in cases if c.rows or c.error)
        return replace(report, cases=kept, command=f"{report.command} --shard {k + 1}/{n}", time_s=report.time_s / n)
    return [part(k) for k in range(n)]


@pytest.mark.parametrize("n", [1, 2, 5])
def test_shards_merge_to_the_whole_in_any_order(n: int) -> None:
    report = samples.sample()
    parts = shards(report, n)
    merged = merge(parts)
    assert codec.timeless(merged) == codec.timeless(codec.canonical(report))
    assert to_json(merge(parts[::-1])) == to_json(merged) == to_json(merge([merged]))
    assert merged.time_s == pytest.approx(report.time_s)


def test_machines_that_differ_are_all_listed() -> None:
    first, second = shards(samples.sample(2, faulty=False), 2)
    other = replace(second, environment=replace(second.environment, cpu="another"))
    assert [e["cpu"] for e in merge([other, first]).extra["environments"]] == ["AMD EPYC 7B13", "another"]
    assert "environments" not in merge([first, second]).extra


def test_merge_refuses_what_does_not_belong_together() -> None:
    report = samples.sample(2, faulty=False)
    with pytest.raises(ValueError, match="got none"):
        merge([])
    with pytest.raises(ValueError, match="seed is '0' in one and '1' in another"):
        merge([report, replace(report, seed=1)])
    with pytest.raises(ValueError, match="two shards judged Add/adjoint/x0, and not alike"):
        merge([report, with_row(report, "Add", "adjoint", verdict=Verdict.FAIL)])


# diff

OLD = samples.sample(3, faulty=False)


@pytest.mark.parametrize(("kind", "old", "new"), [
    ("failed", {}, {"verdict": Verdict.FAIL}),
    ("failed", {"verdict": Verdict.XFAIL}, {"verdict": Verdict.XPASS}),
    ("failed", {"verdict": Verdict.SKIPPED}, {"verdict": Verdict.ERROR}),
    ("undecided", {}, {"verdict": Verdict.UNDECIDED}),
    ("removed", {}, {"verdict": Verdict.SKIPPED}),
    ("coarser", {"coarsest": Resolution(1e-9, 1e-9)}, {"coarsest": Resolution(1.1e-8, 1e-9)}),
    ("failing", {"verdict": Verdict.FAIL}, {"verdict": Verdict.ERROR}),
    ("fixed", {"verdict": Verdict.FAIL}, {"verdict": Verdict.PASS}),
    ("fixed", {"verdict": Verdict.UNDECIDED}, {"verdict": Verdict.PASS}),
    ("added", {"verdict": Verdict.SKIPPED}, {"verdict": Verdict.PASS}),
    (None, {"coarsest": Resolution(1e-9, 1e-9)}, {"coarsest": Resolution(9e-9, 1e-9)}),
    (None, {"verdict": Verdict.UNDECIDED}, {"verdict": Verdict.UNDECIDED}),
])
def test_a_changed_row(kind: str | None, old: dict[str, Any], new: dict[str, Any]) -> None:
    found = diff(with_row(OLD, "Conv2D", "adjoint", **old), with_row(OLD, "Conv2D", "adjoint", **new))
    assert [(c.kind, c.id) for c in found.changes] == ([(kind, "Conv2D/adjoint/x")] if kind else [])
    assert bool(found.regressions()) == (kind in ("failed", "undecided", "removed"))


def test_equal_reports_do_not_differ() -> None:
    assert str(diff(OLD, OLD)) == "Nothing changed."


def test_a_layer_that_is_gone_loses_every_row_and_one_that_raises_says_so_once() -> None:
    gone = diff(OLD, replace(OLD, cases=OLD.cases[:-1]))
    assert len(gone.of("removed")) == len(OLD.cases[-1].rows) == len(gone.regressions())
    broken = replace(OLD.cases[-1], rows=(), error="IndexError: 11")
    raised = diff(OLD, replace(OLD, cases=(*OLD.cases[:-1], broken)))
    assert [(c.kind, c.id) for c in raised.changes] == [("failed", "Conv2D")] and "IndexError: 11" in str(raised)
    assert [c.kind for c in diff(replace(OLD, cases=(replace(OLD.cases[0], error="x"),)), OLD).of("fixed")] == ["fixed"]


def test_a_slower_layer_is_told_but_stops_nothing_unless_asked() -> None:
    slow = replace(OLD, cases=(replace(OLD.cases[0], time_s=3 * OLD.cases[0].time_s + 1), *OLD.cases[1:]))
    found = diff(OLD, slow)
    assert [c.kind for c in found.changes] == ["slower"] and not found.regressions()
    assert len(found.regressions(["slower"])) == 1
    with pytest.raises(ValueError, match="got flaky"):
        found.of("flaky")


# words

@pytest.mark.parametrize(("make", "said"), [
    ("passing", r"12 of 12 layers are right, to within \de-\d of the largest entry, and \S+ in float32\."),
    ("sample", r"1 of 12 layers is wrong: Conv2D\. 1 stopped with an error: Embedding\. 1 stays undecided: DotProductAttention\. "
               r"1 fails as declared: Pool2D\. 8 are right, to within .*"),
    ("errors", r"3 of 3 layers stopped with an error: Add, BatchNorm1D, Conv2D\."),
    ("nothing", r"Nothing was checked: this run held no layer\."),
])
def test_the_verdict_in_words(make: str, said: str) -> None:
    assert re.fullmatch(said, words.sentence(REPORTS[make]()))


def test_what_the_verdict_leaves_open() -> None:
    assert words.caveats(samples.sample()) == "2 rows undecided; 3 things were not checked."
    assert words.caveats(replace(samples.sample(1, faulty=False), not_checked=(NotChecked("a", "b"),))) == "1 thing was not checked."
    assert words.caveats(replace(samples.sample(1, faulty=False), not_checked=())) == ""
    left_out = {n.what: n.why for n in words.unchecked(samples.sample())}
    names = "Dense.forward, Dense.backward, LayerNorm1D.forward, LayerNorm1D.backward"
    assert left_out[f"errors of {names}"] == "numpy-ml promises no errors of its own"


def test_a_layer_resolves_what_the_finest_check_of_its_coarsest_array_does() -> None:
    def row(check: str, primal: str, entry: float, verdict: Verdict = Verdict.PASS) -> Row:
        at = Resolution(entry, entry)
        return Row(check, primal, verdict, coarsest=at, coarsest_of={"float64": at, "float32": Resolution(1e5 * entry, 1.0)})
    rows = (row("adjoint", "x", 1e-10), row("values", "x", 0.5), row("values", "W", 1e-3), row("adjoint", "W", 1e-9),
            row("adjoint", "b", 1.0, Verdict.FAIL), Row("pure", "", Verdict.PASS))
    assert [(r.check, r.primal) for r in words.keenest(rows)] == [("adjoint", "x"), ("adjoint", "W")]
    assert words.resolutions(rows) == {words.HIGHEST: 1e-9, "float32": pytest.approx(1e-4)}
    assert words.resolution(rows) == 1e-9 and words.resolution(rows[-1:]) is None


@pytest.mark.parametrize(("value", "digits", "text"), [
    (3e-9, 1, "3e-9"), (3.0000001e-9, 1, "4e-9"), (2.71e-9, 2, "2.8e-9"), (9.9e-10, 1, "1e-9"), (0.25, 2, "0.25"), (0.0, 1, "0"),
    (math.inf, 1, "∞"), (math.nan, 1, "NaN"),
])
def test_a_resolution_is_rounded_up(value: float, digits: int, text: str) -> None:
    assert notation.coarse(value, digits) == text


def test_two_numbers_are_printed_apart() -> None:
    assert notation.pair(1.0, 1.0000004) == ("1", "1.0000004")
    assert notation.pair(0.31, 0.62) == ("0.31", "0.62")
    assert notation.pair(1.0, math.nextafter(1, 2))[1] != "1"
    assert notation.pair(math.nan, 0.0) == ("NaN", "0")
    assert [notation.ratio(1, 2), notation.ratio(1, 0), notation.ratio(math.nan, 1)] == ["0.5", "–", "–"]


@pytest.mark.parametrize(("value", "text"), [
    (0, "0 s"), (4.5e-5, "45 µs"), (1.23e-3, "1.2 ms"), (0.25, "250 ms"), (3.4, "3.4 s"), (41.7, "42 s"), (125, "2 min 5 s")])
def test_times(value: float, text: str) -> None:
    assert notation.seconds(value) == text


# Markdown

@EACH
def test_markdown_is_short_and_starts_with_the_verdict(report: Report) -> None:
    text = to_markdown(report, compare=samples.sample(faulty=False))
    assert text.startswith("## ") and len(text.encode()) < 1 << 20 and "\n```\n" in text


def test_markdown_shows_failures_first_and_at_most_200_rows() -> None:
    text = to_markdown(samples.sample(300))
    table = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    assert len(table) <= 200 + 4 and "Embedding" in table[1] and "Conv2D/adjoint/W" in table[2]
    assert "More rows are in the full report." in text


def test_markdown_of_the_longest_and_worst_texts_is_safe() -> None:
    bad = "x" * 100_000 + "|<b>`" * 1000
    report = samples.sample(300)
    report = replace(report, cases=tuple(replace(c, name=c.name + bad, error=bad) for c in report.cases))
    assert len(to_markdown(report).encode()) < 1 << 20
    outside = re.sub(r"(`{3,})\n.*?\n\1", "", to_markdown(samples.hostile()), flags=re.S)
    assert not re.search(r"(?<!\\)<(?!details>|/details>|summary>|/summary>)", outside)


# CTRF

@EACH
def test_ctrf_counts_what_it_lists(report: Report) -> None:
    results = to_ctrf(replace(report, started="2026-02-03T10:11:12Z"))["results"]
    summary, tests = results["summary"], results["tests"]
    assert summary["tests"] == len(tests) == sum(summary[s] for s in ("passed", "failed", "skipped", "pending", "other"))
    assert summary["start"] == 1770113472000 and all(isinstance(t["duration"], int) and t["name"] for t in tests)
    assert (summary["failed"] > 0) == report.verdict.bad


@pytest.mark.parametrize("verdict", list(Verdict))
def test_ctrf_fails_what_gradcheck_fails(verdict: Verdict) -> None:
    tests = to_ctrf(with_row(samples.sample(1, faulty=False), "Add", "adjoint", verdict=verdict))["results"]["tests"]
    assert {t["status"] for t in tests if t["rawStatus"] == verdict.value} & {"failed"} == ({"failed"} if verdict.bad else set())


# the page as text; tests/browser looks at it

@EACH
def test_the_page_has_one_script_one_style_and_loads_nothing(report: Report) -> None:
    html = to_html(report, compare=samples.sample(faulty=False))
    assert html.count("<script") == html.count("<style") == 1
    assert not re.search(r'(?:src|href)="(?!#|data:image/svg)', html)
    html.encode()


def test_nothing_a_layer_says_becomes_markup() -> None:
    html = to_html(samples.hostile())
    for bad in ("<script>alert", "<img", "</style></script", "\u202e", "\x1b", "\x00"):
        assert bad not in html
    assert "\\u202e" in html and "{{ 7 * 7 }}" in html


def test_sizes() -> None:
    assert len(to_html(samples.sample(40)).encode()) <= 300_000
    assert len(to_html(samples.sample(200)).encode()) <= 1_500_000


def test_the_page_answers_what_a_reviewer_asks() -> None:
    html = to_html(samples.sample(), compare=samples.sample(faulty=False, seed=1))
    for answer in ("1 of 12 layers is wrong: Conv2D.", "Conv2D</bdi> · <bdi>adjoint</bdi> · <bdi>W</bdi>", "a constant factor 0.500",
                   "# (1, 3, 1, 1)", "gradcheck run layers:Conv2D --select adjoint", "float32</b> the profile", "2.4.6", "× 14",
                   "layers/conv2d.py:", "Checks took more than ×2 as long", 'id="LSTM/adjoint"'):
        assert answer in html, answer


def test_an_exponent_stays_on_its_line() -> None:
    assert '<span class="whole">2e-8</span> of the largest entry' in re.sub(r"\de-\d+", "2e-8", to_html(samples.sample(1, faulty=False)))
    assert page.whole("<b> 1e-3") == '&lt;b&gt; <span class="whole">1e-3</span>'


def test_a_failure_is_told_by_its_smallest_case() -> None:
    row = next(r for _, r in words.rows(samples.sample()) if r.failure)
    assert row.failure
    seen = replace(row.failure.evidence, diagnosis="", reason="seen there")
    assert words.why(replace(row, reason="elsewhere", failure=replace(row.failure, evidence=seen))) == "seen there"
    assert words.why(replace(row, reason="elsewhere", failure=replace(row.failure, evidence=replace(seen, reason="")))) == "elsewhere"


def test_every_link_of_the_page_has_its_target() -> None:
    for report in (samples.sample(), samples.hostile(), samples.nothing()):
        html = to_html(report)
        ids = re.findall(r'\bid="([^"]*)"', html)
        assert len(ids) == len(set(ids)) and not any(re.search(r"\s", i) for i in ids)
        assert set(re.findall(r'href="#([^"]*)"', html)) <= set(ids)


def test_a_heat_map_has_a_cell_for_each_entry() -> None:
    svg = plots.heat(((0.0, 1e-9, 1e-3), (1.0, math.nan, math.inf)))
    assert svg.count("h1v1h-1z") == 6 and 'class="h7"' in svg and 'viewBox="0 0 3 2"' in svg
    assert [plots.shade(e) for e in (0, 1e-10, 0.5, 1, math.inf, math.nan)] == [0, 1, 5, 6, 6, 7]


def test_a_curve_leaves_out_what_cannot_be_drawn() -> None:
    sweep = Sweep((1e-1, 1e-2, 1e-3), (math.nan, 0.0, 1e-9), 1e-2, 0.0)
    svg = plots.vcurve(sweep, plots.axes([sweep]))
    assert "nan" not in svg.lower() and "inf" not in svg and "2 steps" in svg
    assert plots.axes([]) == plots.Axes()


def test_a_row_without_evidence_is_shown() -> None:
    bare = (Row("adjoint", "x", Verdict.FAIL), Row("own", "", Verdict.PASS), Row("own", "y", Verdict.XPASS))
    case = CaseReport("Bare", "m:Bare", rows=bare)
    report = Report(Environment("3", "p", "c", 1), "x", cases=(case,))
    for text in (to_html(report), to_markdown(report)):
        assert "Bare" in text and "unexpected pass" in text
