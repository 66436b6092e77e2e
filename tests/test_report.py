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
    CheckInfo,
    Entry,
    Environment,
    Evidence,
    NotChecked,
    Point,
    Report,
    Resolution,
    Row,
    Scaling,
    Spread,
    Sweep,
    Verdict,
)
from gradcheck.report import bare, codec, diff, load, merge, notation, page, plots, save, schema, sections, speed, to_ctrf, to_html, to_json, to_markdown, words
from gradcheck.report.changes import KINDS

REPORTS = {"sample": samples.sample, "measured": samples.measured, "timed": samples.timed,
           "passing": lambda: samples.sample(faulty=False), "nothing": samples.nothing,
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


def test_a_report_that_version_1_0_wrote_is_read_shown_and_compared() -> None:
    old = load(Path(__file__).with_name("report_1.0.json"))
    assert old.schema_version == "1.0" and old.bench is None and words.sentence(old).startswith("1 layer is right, to within ")
    assert "Embedding/adjoint" in to_html(old) and not diff(old, replace(old, schema_version=SCHEMA_VERSION)).changes
    assert to_json(old) == Path(__file__).with_name("report_1.0.json").read_bytes()


def test_an_unknown_suffix_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.json, \.html, \.md, \.ctrf\.json, got r\.pdf"):
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


def test_a_layer_that_is_gone_is_one_change_and_one_that_raises_says_so_once() -> None:
    gone = diff(OLD, replace(OLD, cases=OLD.cases[:-1]))
    assert [(c.id, c.text) for c in gone.regressions()] == [("Conv2D", f"{len(OLD.cases[-1].rows)} pass before, not judged now")]
    back = diff(replace(OLD, cases=OLD.cases[:-1]), OLD)
    assert [(c.kind, c.id) for c in back.changes] == [("added", "Conv2D")]
    broken = replace(OLD.cases[-1], rows=(), error="IndexError: 11")
    raised = diff(OLD, replace(OLD, cases=(*OLD.cases[:-1], broken)))
    assert [(c.kind, c.id) for c in raised.changes] == [("failed", "Conv2D")] and "IndexError: 11" in str(raised)
    assert [c.kind for c in diff(replace(OLD, cases=(replace(OLD.cases[0], error="x"),)), OLD).of("fixed")] == ["fixed"]


def test_what_says_the_same_of_a_layer_is_told_once() -> None:
    raised = replace(OLD.cases[-1], rows=tuple(replace(r, verdict=Verdict.ERROR, reason="KeyError: x") for r in OLD.cases[-1].rows))
    found = diff(OLD, replace(OLD, cases=(*OLD.cases[:-1], raised)))
    assert len(found.changes) == len(raised.rows)
    assert re.fullmatch(r"New failures \(\d+\)\n  Conv2D/accumulate/backward, accumulate/forward, .* and \d+ more: error: KeyError: x", str(found))


def test_what_was_not_asked_for_is_told_and_no_regression() -> None:
    asked = replace(OLD, cases=OLD.cases[:1], unasked=("BatchNorm1D", "Conv2D"))
    found = diff(OLD, asked)
    assert [c.id for c in found.of("unasked")] == ["BatchNorm1D", "Conv2D"] and not found.regressions()
    assert str(found) == "Not asked for this time (2)\n  BatchNorm1D, Conv2D: judged before"
    assert diff(OLD, replace(asked, unasked=("Conv2D", "BatchNorm1D/linear"))).regressions()
    fewer = replace(OLD, checks=OLD.checks[:1], cases=tuple(replace(c, rows=tuple(r for r in c.rows if r.check == "adjoint")) for c in OLD.cases))
    assert not diff(OLD, fewer).regressions() and diff(OLD, replace(fewer, checks=OLD.checks)).regressions()
    assert merge([asked, replace(asked, cases=OLD.cases[1:2], unasked=("Add", "Conv2D"))]).unasked == ("Conv2D",)


def test_a_check_that_found_nothing_to_judge_is_named() -> None:
    idle = CheckInfo("second", "gradient", "0.1", "s", "s")
    said = [(n.what, n.why) for n in words.unchecked(replace(OLD, checks=(*OLD.checks, idle), unasked=("Dense",)))]
    assert ("second", "at no point of any layer was there what it looks at") in said and ("Dense", "not asked for") in said


def test_a_check_that_is_gone_is_one_change_and_an_array_that_is_gone_another() -> None:
    def without(*lost: tuple[str, str]) -> Report:
        return replace(OLD, cases=tuple(replace(c, rows=tuple(r for r in c.rows if (r.check, r.primal) not in lost)) for c in OLD.cases))
    rows = [(r.check, r.primal) for r in OLD.cases[-1].rows if r.check == "adjoint"]
    assert {c.id: c.text for c in diff(OLD, without(*rows)).of("removed")}["Conv2D/adjoint"] == "3 pass before, not judged now"
    (one,) = diff(OLD, without(("adjoint", "W"))).regressions()
    assert (one.id, one.text) == ("Conv2D/adjoint/W", "pass before, not judged now")


def test_a_slower_layer_is_told_but_stops_nothing_unless_asked() -> None:
    slow = replace(OLD, cases=(replace(OLD.cases[0], time_s=3 * OLD.cases[0].time_s + 1), *OLD.cases[1:]))
    found = diff(OLD, slow)
    assert [c.kind for c in found.changes] == ["slower"] and not found.regressions()
    assert len(found.regressions(["slower"])) == 1
    with pytest.raises(ValueError, match="got flaky"):
        found.of("flaky")


def timings_changed(**changes: Any) -> Report:
    """`measured` with the first timing changed."""
    report = samples.measured()
    assert report.bench
    first, *others = report.bench.timings
    return replace(report, bench=replace(report.bench, timings=(replace(first, **{k: f(getattr(first, k)) for k, f in changes.items()}), *others)))


@pytest.mark.parametrize(("changes", "kinds"), [
    ({"relative": lambda t: 1.5 * t, "relative_low": lambda t: 1.5 * t, "relative_high": lambda t: 1.5 * t}, ["slower"]),
    ({"relative": lambda t: 1.2 * t, "relative_low": lambda t: 1.2 * t, "relative_high": lambda t: 1.2 * t}, []),
    ({"relative": lambda t: 1.5 * t, "relative_high": lambda t: 2 * t}, []),                         # the intervals overlap: noise
    ({"peak_bytes": lambda n: 2 * n}, ["grown"]), ({"residual_bytes": lambda n: 2 * n}, ["grown"]),
    ({"peak_bytes": lambda n: n + 64}, []), ({"forward": lambda s: replace(s, median_s=9.0)}, []),      # seconds are the machine's affair
])
def test_slower_is_what_neither_noise_nor_the_machine_explains(changes: dict[str, Any], kinds: list[str]) -> None:
    found = diff(samples.measured(), timings_changed(**changes))
    assert [(c.kind, c.id) for c in found.of("slower", "grown")] == [(k, "Add/float32/small") for k in kinds] and not found.regressions()
    assert not diff(timings_changed(**changes), samples.measured()).of("slower", "grown")


def test_a_layer_whose_time_grows_faster_is_slower() -> None:
    report = samples.measured()
    assert report.bench
    first, *others = report.bench.scalings
    worse = replace(report, bench=replace(report.bench, scalings=(replace(first, exponent=2.0, low=1.9, high=2.1), *others)))
    (change,) = diff(report, worse).of("slower")
    assert change.id == "Add/float64/forward/n" and "2 now" in change.text


def test_a_busy_machine_makes_no_layer_slower() -> None:
    busy = replace(OLD, cases=tuple(replace(c, time_s=5 * c.time_s + 9) for c in OLD.cases))
    assert diff(OLD, busy).changes == ()


@EACH
def test_a_bare_report_is_all_that_a_diff_needs(report: Report) -> None:
    kept = codec.from_json(to_json(bare(report)))
    assert {c.kind for c in diff(kept, report).changes} <= {"failing"}
    kinds = KINDS.keys() - {"slower"}                                   # checks have no time there
    assert diff(kept, samples.before()).of(*kinds) == diff(report, samples.before()).of(*kinds)
    assert bare(kept) == kept and to_html(kept).count("<script") == 1


def test_a_bare_report_does_not_depend_on_the_clock() -> None:
    report = samples.sample()
    later = replace(report, time_s=99.0, cases=tuple(replace(c, time_s=9.0, rows=tuple(replace(r, time_s=1.0) for r in c.rows)) for c in report.cases))
    assert to_json(bare(later)) == to_json(bare(report)) and len(to_json(bare(report))) < len(to_json(report)) / 7


def test_the_tracked_baseline_is_bare_and_right() -> None:
    kept = load(Path(__file__).parents[1] / "reports/baseline.json")
    assert kept == bare(kept) and kept.cases and {c.verdict for c in kept.cases} == {Verdict.PASS}
    assert "--baseline reports/baseline.json" in (Path(__file__).parents[1] / "Makefile").read_text()


def test_a_long_list_of_changes_is_cut() -> None:
    text = str(diff(samples.sample(60, faulty=False), samples.nothing()))
    assert "No longer checked (60)" in text and text.endswith("\n  and 10 more") and text.count("\n") == 51


# words

@pytest.mark.parametrize(("make", "said"), [
    ("passing", r"All 12 layers are right, to within \de-\d of the largest entry, and \S+ in float32\."),
    ("sample", r"1 of 12 layers is wrong: Conv2D\. 1 stopped with an error: Embedding\. 1 stays undecided: DotProductAttention\. "
               r"1 fails as declared: Pool2D\. 8 are right, to within .*"),
    ("errors", r"All 3 layers stopped with an error: Add, BatchNorm1D, Conv2D\."),
    ("nothing", r"Nothing was checked: this run held no layer\."),
    ("timed", r"12 layers were timed\."),
    ("measured", r"1 of 12 layers is wrong: Conv2D\. .* 12 layers were timed\. \d\d of \d\d mutants of 3 layers were caught\."),
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


def test_markdown_tells_of_mutants_and_speed() -> None:
    text = to_markdown(samples.measured())
    assert re.search(r"^\| Conv2D \| \d+ of \d+ \| \d \| \d \|$", text, re.M)
    assert re.search(r"^\| LSTM/float64/large \| [\d.]+ ms \| [\d.]+ ms \| [\d.]+ \|$", text, re.M)


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
    assert not re.search(r'="[^"]*\b(nan|inf)\b', html)
    for bad in ("<script>alert", "<img", "</style></script", "\u202e", "\x1b", "\x00"):
        assert bad not in html
    assert "\\u202e" in html and "{{ 7 * 7 }}" in html


def test_sizes() -> None:
    for make in (samples.sample, samples.measured):
        assert len(to_html(make(40)).encode()) <= 300_000
        assert len(to_html(make(200)).encode()) <= 1_500_000


def test_the_page_answers_what_a_reviewer_asks() -> None:
    html = to_html(samples.measured(), compare=samples.before())
    for answer in ("1 of 12 layers is wrong: Conv2D.", "Conv2D</bdi> · <bdi>adjoint</bdi> · <bdi>W</bdi>", "a constant factor 0.500",
                   "# (1, 3, 1, 1)", "gradcheck run layers:Conv2D --select adjoint", "float32</b> the profile", "2.4.6", "× 14",
                   "layers/conv2d.py:", "of the reference workload before", 'id="LSTM/adjoint"'):
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


def test_a_comparison_says_when_other_points_were_looked_at() -> None:
    old = samples.before()
    assert "other points were looked at" not in to_html(samples.sample(), compare=old)
    assert "It had profile quick and seed 0, so that other points" in to_html(samples.sample(), compare=replace(old, profile="quick"))


def test_every_link_of_the_page_has_its_target() -> None:
    for report in (samples.sample(), samples.measured(), samples.hostile(), samples.nothing()):
        html = to_html(report, compare=samples.before())
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


def test_a_roofline_has_a_dot_for_each_timing_and_a_roof_for_each_precision() -> None:
    view = speed.speed(samples.measured())
    assert view and [t.case for t in view.layers] != sorted(t.case for t in view.layers)     # the slowest first
    assert view.layers[0].chief.size == "large" and view.layers[0].chief.dtype == "float64"
    svg = speed.roofline(view.layers[0].shown, view.bench.peaks, view.roof)
    assert svg.count("h0") == len(view.layers[0].shown) == 6 and svg.count('class="roof"') == 2 and "Roofline with 6 timings, at " in svg


def test_names_stand_beside_their_dots_and_never_on_each_other() -> None:
    frame = plots.Axes(width=760, height=280)
    apart = plots.names([(100, 100, "one"), (300, 100, "two"), (740, 100, "at the edge")], frame)
    assert re.findall(r'text-anchor="(\w+)">([^<]+)', apart) == [("start", "one"), ("start", "two"), ("end", "at the edge")]
    crowd = plots.names([(200 + k % 5, 100 + k // 5, f"layer {k}") for k in range(40)], frame)
    assert 1 <= crowd.count("<text") <= len(plots.PLACES) and plots.names([], frame) == ""


def test_a_layers_failures_stand_together_the_gradients_first() -> None:
    bad = replace(OLD.cases[-1], error="KeyError: x", rows=tuple(replace(r, verdict=Verdict.FAIL, reason=r.check) for r in OLD.cases[-1].rows))
    (faults,) = sections._failures(replace(OLD, cases=(*OLD.cases[:-1], bad)), None) or [[]]
    assert [f.checks[0] if f.row else f.case.error for f in faults][:3] == ["KeyError: x", "adjoint", "dtype"] and len(faults) == 1 + len(samples.BATTERY)


def test_a_mutants_diff_is_its_lines_alone() -> None:
    assert page.hunk("--- a\n+++ b\n@@ -5 +5 @@\n-        return a\n+        return a\n+            + b") == ["- return a", "+ return a", "+     + b"]


def test_growth_meets_the_declared_line_at_the_largest_size() -> None:
    frame = plots.Axes((0, 4), (-6, 0))
    line = Scaling("L", "forward", "n", "float64", (10, 100, 1000), (1e-3, 2e-3, 1e-2), 0.9, 0.8, 1.0, 1.0)
    svg = speed.growth({"forward": line}, frame)
    declared, measured = re.findall(r'd="M([^"]*)"', svg)
    assert declared.split("L")[-1] == measured.split("L")[-1] and declared.split("L")[0] != measured.split("L")[0]
    assert speed.power(line) == "power 0.9 (0.8 … 1), declared 1"


def test_a_strip_of_times_is_in_order() -> None:
    svg = speed.strip(Spread(1.0, 0.9, 1.1, tuple(0.8 + 0.002 * k for k in range(199)) + (9.0,), 2000))
    low, high, last, first, third = map(int, re.findall(r"[MH](\d+)", svg))
    assert 0 < low < first < third < high < last <= speed.STRIP_PX and "slowest 9.0 s" in svg
    assert speed.strip(Spread(1.0, 0.9, 1.1)) == ""


def test_merging_joins_timings_and_mutants() -> None:
    report = samples.measured()
    assert report.bench
    halves = [replace(report, bench=replace(report.bench, timings=report.bench.timings[k::2], scalings=report.bench.scalings[k::2]),
                      mutation=report.mutation[k::2]) for k in (0, 1)]
    assert to_json(merge(halves)) == to_json(merge(halves[::-1])) and merge(halves).bench == merge([report]).bench == codec.canonical(report).bench
    assert merge(halves).mutation == report.mutation


def test_a_row_without_evidence_is_shown() -> None:
    bare = (Row("adjoint", "x", Verdict.FAIL), Row("own", "", Verdict.PASS), Row("own", "y", Verdict.XPASS))
    case = CaseReport("Bare", "m:Bare", rows=bare)
    report = Report(Environment("3", "p", "c", 1), "x", cases=(case,))
    for text in (to_html(report), to_markdown(report)):
        assert "Bare" in text and "unexpected pass" in text
