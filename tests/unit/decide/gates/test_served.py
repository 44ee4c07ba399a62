"""What production is held against is recorded as figures, and no verdict or evidence hangs on a time."""

from decimal import Decimal
from typing import Any

import pytest

from finetune_operator.api.contract import EvaluateResult
from finetune_operator.api.value import parse
from finetune_operator.decide.gates.gate import Standing
from finetune_operator.decide.gates.served import CONFIDENCE, SECONDS, seconds, served_figures
from finetune_operator.decide.gates.verdict import judge
from unit.decide.gates.test_gates import digest, document
from unit.decide.run.results import evaluate_result


def of(*, candidate: str = "0.912345", base: str = "0.0214") -> dict[str, Any]:
    result = evaluate_result()
    result["models"]["candidate"]["meanConfidence"] = candidate
    result["models"]["base"]["inferenceSeconds"] = base
    return result


def recorded(result: dict[str, Any]) -> dict[str, str]:
    return {figure.name: figure.value for figure in served_figures(parse(result, EvaluateResult))}


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
