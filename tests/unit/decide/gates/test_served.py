"""What production is held against is recorded as figures, and no verdict or evidence hangs on a time."""

from decimal import Decimal
from typing import Any

import pytest

from finetune_operator.api.figures import Figure
from finetune_operator.api.model_version import FieldDetected, SeenInProduction, VersionEvidence
from finetune_operator.api.step_result import EvaluateResult
from finetune_operator.api.value import parse
from finetune_operator.decide.gates.gate import Standing
from finetune_operator.decide.gates.served import CONFIDENCE, SECONDS, seconds, seen_in_production, served_figures
from finetune_operator.decide.gates.verdict import judge
from unit.decide.gates.test_gates import digest, document
from unit.decide.run.results import CLASSES, evaluate_result


def of(*, candidate: str = "0.912345", base: str = "0.0214") -> dict[str, Any]:
    result = evaluate_result()
    result["models"]["candidate"]["meanConfidence"] = candidate
    result["models"]["base"]["inferenceSeconds"] = base
    return result


def recorded(result: dict[str, Any]) -> dict[str, str]:
    return {figure.name: figure.value for figure in served_figures(parse(result, EvaluateResult), len(CLASSES))}


def test_the_candidates_confidence_and_the_bases_time_are_recorded() -> None:
    assert recorded(of()) == {CONFIDENCE: "0.912345", SECONDS: "0.021400"}


def test_what_an_older_trainer_does_not_measure_is_left_out() -> None:
    result = evaluate_result()
    for model in filter(None, result["models"].values()):
        model.pop("meanConfidence", None)
        model.pop("inferenceSeconds", None)
    assert recorded(result) == {}


@pytest.mark.parametrize("text", ["", "NaN", "Infinity", "-0.1", "1.1", "soon"])
def test_a_confidence_that_is_no_share_is_left_out(text: str) -> None:
    assert CONFIDENCE not in recorded(of(candidate=text))


@pytest.mark.parametrize("text", ["", "NaN", "Infinity", "-1", "0", "0.0000001", "3601", "soon"])
def test_a_time_that_is_none_is_left_out(text: str) -> None:
    assert seconds(text) is None
    assert SECONDS not in recorded(of(base=text))


def test_an_hour_and_a_microsecond_are_times() -> None:
    assert (seconds("3600"), seconds("0.000001")) == (Decimal("3600.000000"), Decimal("0.000001"))


def test_no_verdict_hangs_on_them() -> None:
    kept = judge(document(), parse(of(), EvaluateResult), Standing())
    without = judge(document(), parse(of(candidate="", base=""), EvaluateResult), Standing())
    assert (kept.verdict, kept.gates) == (without.verdict, without.gates)
    assert {figure.name for figure in kept.figures or ()} - {figure.name for figure in without.figures or ()} == {
        CONFIDENCE,
        SECONDS,
    }


def test_another_time_is_no_other_evidence_and_another_confidence_is() -> None:
    assert digest(of(base="0.03")) == digest(of())
    assert digest(of(candidate="0.9")) != digest(of())


def seeing(**changes: Any) -> dict[str, Any]:
    """A result with what the candidate saw on documents of production."""
    seen = {"documents": 60, "field": [1, 0], "detected": [41, 58], "confidence": "0.8612"}
    return of() | {"baseline": seen | changes}


def evidence(figures: dict[str, str]) -> VersionEvidence:
    listed = tuple(Figure(name=name, value=value) for name, value in figures.items())
    return VersionEvidence(digest="sha256:" + "a" * 64, verdict="Pass", gates=(), figures=listed)


@pytest.mark.row("V85")
def test_what_was_seen_on_documents_of_production_is_recorded_and_read_back() -> None:
    figures = recorded(seeing())
    assert {name: value for name, value in figures.items() if name.startswith("production")} == {
        "productionDocuments": "60",
        "productionConfidence": "0.861200",
        "productionDetected.1": "41",
        "productionDetected.0": "58",
    }
    assert seen_in_production(evidence(figures), CLASSES) == SeenInProduction(
        documents=60,
        mean_confidence="0.861200",
        fields=(FieldDetected(field=CLASSES[1], documents=41), FieldDetected(field=CLASSES[0], documents=58)),
    )


@pytest.mark.row("V85")
def test_a_run_without_documents_of_production_records_nothing_of_them() -> None:
    assert recorded(of()).keys() == {CONFIDENCE, SECONDS}
    assert seen_in_production(evidence(recorded(of())), CLASSES) is None


@pytest.mark.row("V86")
@pytest.mark.parametrize(
    "changes",
    [
        {"documents": 0},
        {"documents": -1},
        {"documents": 2**31},
        {"detected": [61, 58]},
        {"detected": [41, -1]},
        {"detected": [41]},
        {"field": [1, 1]},
        {"field": [1, 2]},
        {"field": [-1, 0]},
        {"field": [0] * 9, "detected": [0] * 9},
    ],
    ids=repr,
)
def test_figures_of_production_that_cannot_have_been_counted_are_left_out_and_fail_nothing(
    changes: dict[str, Any],
) -> None:
    assert recorded(seeing(**changes)) == recorded(of())
    judged = judge(document(), parse(seeing(**changes), EvaluateResult), Standing())
    assert judged.verdict == judge(document(), parse(of(), EvaluateResult), Standing()).verdict


@pytest.mark.row("V86")
@pytest.mark.parametrize("text", ["", "NaN", "1.1", "-0.5", "sure"])
def test_a_confidence_on_production_that_is_no_share_is_left_out_alone(text: str) -> None:
    seen = seen_in_production(evidence(recorded(seeing(confidence=text))), CLASSES)
    assert seen is not None
    assert (seen.documents, seen.mean_confidence, len(seen.fields)) == (60, None, 2)


@pytest.mark.row("V86")
@pytest.mark.parametrize("text", ["", "0", "-3", "1e9", "9" * 30, "many", "\u0663"])
def test_a_record_whose_count_of_documents_is_none_says_nothing_of_production(text: str) -> None:
    """Specs of versions are for people to write, too, and to restore."""
    figures = recorded(seeing()) | {"productionDocuments": text}
    assert seen_in_production(evidence(figures), CLASSES) is None


@pytest.mark.row("V86")
def test_of_a_record_that_names_very_many_fields_those_found_least_are_taken() -> None:
    """A status has room for eight."""
    classes = tuple(f"field_{number}" for number in range(20))
    figures = {"productionDocuments": "60"} | {f"productionDetected.{number}": str(59 - number) for number in range(20)}
    seen = seen_in_production(evidence(figures | {"productionDetected.3": "61"}), classes)
    assert seen is not None
    assert [one.documents for one in seen.fields] == list(range(40, 48))


@pytest.mark.row("V86")
def test_no_verdict_and_no_evidence_hangs_on_what_was_seen_on_production() -> None:
    """What vanishes from production between two evaluations takes no approval away."""
    kept = judge(document(), parse(seeing(), EvaluateResult), Standing())
    without = judge(document(), parse(of(), EvaluateResult), Standing())
    assert (kept.verdict, kept.gates) == (without.verdict, without.gates)
    assert digest(seeing()) == digest(of())
