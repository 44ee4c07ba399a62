"""Gate 3: at, below and above each line, and nothing passes by figures that contradict themselves."""

from math import comb
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_operator.api.policy import Gates, ProductionGate
from finetune_operator.api.run import GateVerdict
from finetune_operator.api.run_document import DocumentProduction
from finetune_operator.api.step_result import EvaluateResult
from finetune_operator.api.value import parse
from finetune_operator.decide.gates.gate import Evaluation
from finetune_operator.decide.gates.production import PRODUCTION, chance, is_worse, judge
from finetune_operator.decide.gates.verdict import worst
from unit.decide.run.results import CLASSES, evaluate_result, production_set

PAIRED, LITERAL = ProductionGate(), ProductionGate(rule="Literal")


def verdict(limits: ProductionGate = PAIRED, *, live: bool = False, **changes: Any) -> GateVerdict:
    result = evaluate_result(live_map50="0.985000" if live else None)
    result["production"] = production_set(**changes)
    (said,) = judge(limits, Evaluation(parse(result, EvaluateResult), CLASSES))
    return said


@pytest.mark.row("R220")
@pytest.mark.parametrize(
    ("limits", "lost", "gained", "expected"),
    [
        (PAIRED, 2, 0, "Pass"),
        (PAIRED, 3, 0, "Review"),
        (PAIRED, 4, 0, "Review"),
        (PAIRED, 5, 3, "Pass"),
        (PAIRED, 6, 3, "Review"),
        (PAIRED, 0, 9, "Pass"),
        (LITERAL, 0, 0, "Pass"),
        (LITERAL, 1, 0, "Review"),
        (LITERAL, 3, 3, "Pass"),
        (LITERAL, 4, 3, "Review"),
    ],
)
def test_a_field_is_worse_by_what_it_lost_on_balance(
    limits: ProductionGate, lost: int, gained: int, expected: str
) -> None:
    gate = verdict(limits, lost=[lost, 0], gained=[gained, 0])
    assert (gate.verdict, gate.reason) == (expected, "FieldLost" if expected == "Review" else "")
    assert gate.value == str(max(lost - gained, 0))


@pytest.mark.row("R220")
@pytest.mark.parametrize(("live", "other"), [(True, "the live version"), (False, "the base")])
def test_a_worse_field_is_named_with_what_it_lost_and_gained(live: bool, other: str) -> None:
    gate = verdict(live=live, lost=[7, 1], gained=[2, 0], labelled=12)
    assert gate.message == (
        f"1 of 2 fields is worse on 100 documents of production (12 labelled) than by {other}: "
        "amount_total lost 7 and gained 2 (p 0.090); p is how often as good a model loses so many of the documents "
        "that differ; production.differences of the report has each of them, with its picture"
    )
    assert gate.threshold == "review at 3 of 100 documents lost more than gained (Paired)"


@pytest.mark.row("R220")
def test_a_list_that_is_all_worse_may_not_be_the_whole_of_it() -> None:
    every = Evaluation(
        parse(
            evaluate_result() | {"production": production_set(measured=80, lost=[3, 3], gained=[0, 0])}, EvaluateResult
        ),
        tuple(f"class {n}" for n in range(80)),
    )
    (gate,) = judge(PAIRED, every)
    assert gate.message.startswith("2 or more of 80 fields are worse on")


@pytest.mark.row("R220")
@given(lost=st.integers(0, 1000), gained=st.integers(0, 1000))
def test_what_an_exact_test_calls_worse_is_worse_already(lost: int, gained: int) -> None:
    """So no second rule stands beside the first: below 0.05 it takes five at least."""
    if chance(lost=lost, gained=gained) < 0.05:
        assert lost - gained >= 5
        assert is_worse(PAIRED, lost=lost, gained=gained)


def test_the_chance_is_that_of_an_exact_one_sided_test() -> None:
    assert chance(lost=0, gained=0) == 1.0
    assert [chance(lost=n, gained=0) for n in (4, 5)] == [1 / 16, 1 / 32]
    assert chance(lost=9, gained=2) == (comb(11, 9) + comb(11, 10) + 1) / 2**11


@pytest.mark.row("R221")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"drawn": 88, "documents": 88}, "12 were not there to be drawn from the last 30 days"),
        (
            {"vanished": 3, "documents": 97},
            "3 vanished since they were drawn, or come to other pixels than were answered",
        ),
        ({"documents": 98}, "2 were trained on meanwhile"),
        ({"drawn": 0, "documents": 0, "old": [0, 0]}, "100 were not there to be drawn from the last 30 days"),
    ],
)
def test_too_few_documents_are_a_review_that_says_how_many_and_why(changes: dict[str, Any], words: str) -> None:
    gate = verdict(old=changes.pop("old", [80, 80]), **changes)
    missing = 100 - changes["documents"]
    assert (gate.verdict, gate.reason) == ("Review", "TooFewDocuments")
    assert gate.message.endswith(f"; {missing} of 100 documents are missing: {words}")


@pytest.mark.row("R221")
@pytest.mark.row("R226")
@pytest.mark.parametrize(
    ("keep", "review", "words"),
    [
        (47, 16, "from the last 30 days"),
        (46, 16, "from the last 29 days (pages stay 46 days, of which the run with its review may take 16: raise"),
        (17, 16, "from today (pages stay 17 days"),
        (16, 16, "from any day (pages stay 16 days"),
        (20, 28, "from any day (pages stay 20 days, of which the run with its review may take 28: raise"),
    ],
)
def test_days_whose_pages_go_before_a_review_ends_are_said_to_be_missing(keep: int, review: int, words: str) -> None:
    """A rebuild may train for weeks, so that it draws from fewer days than a fine-tune, or from none."""
    captured = DocumentProduction(uri="s3://pages", keep_days=keep, deployment="d", review_days=review)
    result = evaluate_result() | {"production": production_set(drawn=0, documents=0, old=[0, 0])}
    (gate,) = judge(PAIRED, Evaluation(parse(result, EvaluateResult), CLASSES, captured=captured))
    assert gate.reason == "TooFewDocuments"
    assert f"100 were not there to be drawn {words}" in gate.message


@pytest.mark.row("R221")
def test_where_nothing_was_compared_no_field_is_said_to_be_as_good() -> None:
    gate = verdict(drawn=3, documents=0, vanished=3, old=[0, 0])
    assert gate.message.startswith("no document of production was compared; 100 of 100 documents are missing")


@pytest.mark.row("R221")
def test_a_worse_field_on_too_few_documents_says_both() -> None:
    gate = verdict(lost=[5, 0], drawn=60, documents=50, vanished=8, old=[50, 50], gained=[0, 0])
    assert (gate.verdict, gate.reason) == ("Review", "FieldLost")
    assert "amount_total lost 5 and gained 0" in gate.message
    assert "40 were not there" in gate.message
    assert "8 vanished" in gate.message
    assert "2 were trained on meanwhile" in gate.message


@pytest.mark.row("R222")
@pytest.mark.parametrize(
    "changes",
    [
        {"documents": 101},
        {"drawn": 101},
        {"documents": -1},
        {"vanished": 1},
        {"vanished": -1, "documents": 99},
        {"labelled": 101},
        {"labelled": -1},
        {"measured": 1},
        {"measured": 3},
        {"field": [], "old": [], "lost": [], "gained": []},
        {"field": [0, 0]},
        {"field": [0, 2]},
        {"field": [-1, 0]},
        {"field": [0]},
        {"lost": [0]},
        {"lost": [-1, 0]},
        {"lost": [91, 0]},
        {"old": [101, 90]},
        {"gained": [11, 0]},
        {"gained": [-1, 0]},
        {"lost": [0, 3], "gained": [0, 0]},
    ],
    ids=str,
)
def test_figures_that_cannot_be_are_an_error(changes: dict[str, Any]) -> None:
    assert verdict(**changes).verdict == "Error"


@pytest.mark.row("R222")
def test_what_was_not_compared_is_an_error_and_what_was_not_asked_for_is_nothing() -> None:
    case = Evaluation(parse(evaluate_result(), EvaluateResult), CLASSES)
    assert worst(judge(PAIRED, case)) == "Error"
    assert PRODUCTION.verdicts(Gates(), case) == ()


@pytest.mark.row("R220")
@pytest.mark.row("R222")
@given(
    limits=st.builds(
        ProductionGate, documents=st.integers(1, 30), days=st.just(30), rule=st.sampled_from(["Paired", "Literal"])
    ),
    figures=st.fixed_dictionaries(
        {name: st.integers(-1, 31) for name in ("drawn", "vanished", "documents", "labelled")}
        | {name: st.lists(st.integers(-1, 31), min_size=2, max_size=2) for name in ("old", "lost", "gained")}
    ),
)
def test_a_pass_is_of_as_many_documents_as_asked_for_of_which_no_field_lost_too_many(
    limits: ProductionGate, figures: dict[str, Any]
) -> None:
    gate = verdict(limits, **figures)
    pairs = list(zip(figures["lost"], figures["gained"], strict=True))
    if gate.verdict == "Pass":
        assert figures["documents"] == figures["drawn"] == limits.documents
        assert not any(is_worse(limits, lost=lost, gained=gained) for lost, gained in pairs)
    if gate.verdict == "Review":
        worse = any(is_worse(limits, lost=lost, gained=gained) for lost, gained in pairs)
        assert worse or figures["documents"] < limits.documents
    assert gate.verdict != "Reject"


@pytest.mark.row("R220")
@given(lost=st.integers(0, 90), gained=st.integers(0, 10), more=st.integers(1, 9))
def test_losing_more_never_passes_where_losing_less_did_not(lost: int, gained: int, more: int) -> None:
    less, worse = (is_worse(PAIRED, lost=count, gained=gained) for count in (lost, lost + more))
    assert worse or not less
    assert is_worse(LITERAL, lost=lost, gained=gained) or not is_worse(PAIRED, lost=lost, gained=gained)
