"""Every defect fails by the check that claims its class; its corrected twin passes the whole battery."""
from __future__ import annotations

import confusion
import pytest
from power import BATTERY, by_torch, judged, page, summary
from wild import UNSEEN, WILD

from gradcheck.evidence import Verdict

CLASSES = {f"{letter}{n}" for letter, numbers in {
    "A": (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12), "B": (1,), "C": (1, 2, 3, 5, 6, 8, 9, 10, 11, 12, 13, 14, 17, 18, 19, 20, 21, 22), "D": (1, 2, 3),
    "E": (1, 2, 3, 4, 5, 6, 7, 9, 11), "F": (1, 2, 3, 4), "G": (1, 2, 3), "H": (1, 2, 3, 4, 5, 6, 7, 8, 10), "I": (1, 2, 3, 4, 5, 6)}.items() for n in numbers}


def test_every_known_class_has_a_defect_or_a_reason() -> None:
    assert {w.kind for w in WILD.values()} | UNSEEN.keys() >= CLASSES


@pytest.mark.parametrize("name", WILD)
def test_the_defect_fails_by_the_check_that_claims_it(name: str) -> None:
    assert any(e.verdict is Verdict.FAIL for e in judged(WILD[name].case(True), [WILD[name].by]))


@pytest.mark.parametrize("name", WILD)
def test_the_corrected_twin_passes_the_whole_battery(name: str) -> None:
    found = list(judged(WILD[name].case(False), BATTERY, share=4))
    assert [(e.check, e.primal, e.reason) for e in found if e.verdict.bad] == []
    assert any(e.check == WILD[name].by and e.verdict is Verdict.PASS for e in found)


@pytest.mark.frameworks
def test_torch_sees_what_a_difference_sees() -> None:
    pytest.importorskip("torch")
    assert by_torch(WILD["a_constant_factor"].case(True), fast=False) == "rejects"
    assert by_torch(WILD["upstream_clipped"].case(True), fast=False) == "accepts"
    assert by_torch(WILD["assigned_where_added"].case(False), fast=True) == "accepts"


def test_the_page_shows_what_was_missed() -> None:
    told = {"slow": "accepts", "fast": "rejects"}
    rows = [{"kind": "A1", "name": "a <script>", "what": "", "by": "adjoint", "reports": "", "seen": [], "twin": ["pure"], "torch": told, "torch_twin": told}]
    told_so = page(rows, "here")
    assert "missed" in told_so and "a &lt;script&gt;" in told_so and "the formula is wrong" in told_so and summary(rows)["twins accused"] == 1


def test_the_page_counts_diagnoses_by_kind() -> None:
    found = {"wild": "sign", "source": "factor"}
    told = confusion.summary([confusion.Finding(source, "", "sign", said, True, True, said == "sign") for source, said in found.items()])
    text = page([], "here", told)
    assert all(kind.replace("'", "&#39;") in text for kind in confusion.SOURCE.values()) and "sign → factor" in text
    assert told["kinds"]["wild defects"]["named rightly"] == 1 and told["kinds"]["mutants of a layer's source"]["named rightly"] == 0
