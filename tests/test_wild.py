"""Every defect fails by the check that claims its class; its corrected twin passes the whole battery."""
from __future__ import annotations

from collections.abc import Iterator

import pytest
from wild import WILD

from gradcheck.checks import CHECKS, applicable
from gradcheck.evidence import Evidence, Verdict
from gradcheck.runner import judge_check, undisturbed
from gradcheck.strategies import points
from gradcheck.subjects import Case

BATTERY = [c.name for c in CHECKS.values() if c.default]
POINTS = {"float64": 20, "float32": 8}                       # as the default profile has them; a twin is judged at a few of each


def judged(case: Case, checks: list[str], share: int = 1) -> Iterator[Evidence]:
    """The evidence of these checks at every `share`-th point of the default profile."""
    with undisturbed():
        for point in [p for dtype, n in POINTS.items() for p in points(case, n, 0, dtype)[::share]]:
            s = case.subject(point)
            yield from (e for name in checks if not applicable(CHECKS[name], s) for e in judge_check(s, CHECKS[name]))


@pytest.mark.parametrize("name", WILD)
def test_the_defect_fails_by_the_check_that_claims_it(name: str) -> None:
    assert any(e.verdict is Verdict.FAIL for e in judged(WILD[name].case(True), [WILD[name].by]))


@pytest.mark.parametrize("name", WILD)
def test_the_corrected_twin_passes_the_whole_battery(name: str) -> None:
    found = list(judged(WILD[name].case(False), BATTERY, share=4))
    assert [(e.check, e.primal, e.reason) for e in found if e.verdict.bad] == []
    assert any(e.check == WILD[name].by and e.verdict is Verdict.PASS for e in found)
