"""The third gate's page has the tables that its script reckons, and what it says of them is so."""

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "guide" / "third-gate.md"
SCRIPT: dict[str, Any] = runpy.run_path(str(ROOT / "tests" / "benchmarks" / "production_gate.py"))


def test_the_page_has_the_tables_of_the_script() -> None:
    text = PAGE.read_text(encoding="utf-8")
    shown = text.partition("<!-- tables: production_gate -->\n")[2].partition("\n<!-- end -->")[0]
    assert shown == SCRIPT["tables"]()


@pytest.mark.parametrize(
    ("documents", "lost", "gained", "rule", "expected"),
    [
        (1, 0.5, 0.25, "Literal", 0.5),
        (2, 0.5, 0.25, "Literal", 0.5 * 0.5 + 2 * 0.5 * 0.25),
        (3, 0.5, 0.25, "Paired", 0.5**3),
        (4, 0.5, 0.25, "Paired", 0.5**4 + 4 * 0.5**3 * 0.25),
        (5, 0.5, 0.25, "exact test, 0.05", 0.5**5),
    ],
)
def test_what_is_reckoned_is_what_can_be_counted_by_hand(
    documents: int, lost: float, gained: float, rule: str, expected: float
) -> None:
    """Of one document three outcomes, of two nine: the few by which a rule holds back are added up."""
    seen = SCRIPT["held_back"](SCRIPT["RULES"][rule], documents, lost=lost, gained=gained)
    assert seen == pytest.approx(expected)


def test_all_outcomes_together_are_certain() -> None:
    for documents in (1, 7, 100, 500):
        assert SCRIPT["held_back"](lambda _, __: True, documents, lost=0.07, gained=0.02) == pytest.approx(1)
