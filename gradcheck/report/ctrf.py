"""A report in the Common Test Report Format (ctrf.io, 0.1.0), which dashboards read: one test for each row."""
from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from ..evidence import CaseReport, Report, Row, Verdict
from .words import row_id, why

STATUS = {Verdict.PASS: "passed", Verdict.FAIL: "failed", Verdict.ERROR: "failed", Verdict.XPASS: "failed",
          Verdict.UNDECIDED: "other", Verdict.XFAIL: "passed", Verdict.SKIPPED: "skipped"}
STATUSES = ("passed", "failed", "skipped", "pending", "other")


def to_ctrf(report: Report) -> dict[str, Any]:
    """The report as CTRF's JSON object; durations in whole milliseconds, as it wants them."""
    tests = [test for case in report.cases for test in [*(_test(case, r) for r in case.rows), *_error(case)]]
    statuses = Counter(t["status"] for t in tests)
    start = _epoch_ms(report.started)
    return {
        "reportFormat": "CTRF", "specVersion": "0.1.0", "generatedBy": "gradcheck",
        "results": {
            "tool": {"name": "gradcheck", "version": report.environment.versions.get("gradcheck", "")},
            "summary": {"tests": len(tests), **{s: statuses[s] for s in STATUSES}, "start": start, "stop": start + _ms(report.time_s)},
            "tests": tests,
            "environment": {"osPlatform": report.environment.platform, "commit": report.revision},
        },
    }


def _test(case: CaseReport, row: Row) -> dict[str, Any]:
    return {"name": row_id(case.name, row), "status": STATUS[row.verdict], "rawStatus": row.verdict.value,
            "duration": _ms(row.time_s), "suite": [case.name, row.check],
            **{k: v for k, v in {"message": why(row), "trace": row.failure.text if row.failure else "",
                                 "snippet": row.failure.code if row.failure else ""}.items() if v}}


def _error(case: CaseReport) -> list[dict[str, Any]]:
    return [{"name": case.name, "status": "failed", "rawStatus": Verdict.ERROR.value, "duration": _ms(case.time_s),
             "suite": [case.name], "message": case.error}] if case.error else []


def _ms(time_s: float) -> int:
    return round(1000 * time_s)


def _epoch_ms(started: str) -> int:
    return _ms(datetime.fromisoformat(started).replace(tzinfo=UTC).timestamp()) if started else 0
