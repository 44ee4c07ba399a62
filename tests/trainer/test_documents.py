"""What the trainer accepts from the operator, and what it says when it does not."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from finetune_trainer.documents.codec import Located
from finetune_trainer.documents.result import (
    RESULT_LIMIT,
    RESULT_SCHEMA,
    Emitted,
    EvaluateResult,
    Measured,
    Models,
    NewSet,
    Rates,
    TestSet,
)
from finetune_trainer.documents.run import parse_run_document
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.steps.job import fitting
from trainer.world import World

SHA = "a" * 64
BASE = {
    "version": "base_v1",
    "artifact": {"uri": "file:///a", "sha256": SHA},
    "checkpoint": {"uri": "file:///c", "sha256": SHA},
    "inputs": None,
}


def parse_error(content: dict[str, Any]) -> StepError:
    with pytest.raises(StepError) as caught:
        parse_run_document(json.dumps(content).encode())
    assert caught.value.reason is Reason.CONTRACT_VIOLATED
    return caught.value


@pytest.mark.parametrize(
    ("change", "value", "named"),
    [
        ("training__optimizer", "auto", "$.training.optimizer"),
        ("training__lr0", 0.001, "$.training.lr0"),
        ("training__lr0", "fast", "$.training.lr0"),
        ("training__epochs", 0, "$.training.epochs"),
        ("training__newKnob", 1, "newKnob"),
        ("training__augment__fliplr", "1.5", "$.training.augment.fliplr"),
        ("serving__imageSize", 300, "$.serving.imageSize"),
        ("holdout", "20%", "$.holdout"),
        ("mixing__ratio", "lots", "$.mixing.ratio"),
        ("mixing__seed", -1, "$.mixing.seed"),
        ("classes", [], "$.classes"),
        ("mode", "Rebuild", "mode"),
        ("base__artifact__sha256", "short", "$.base.artifact.sha256"),
        ("surprise", True, "surprise"),
    ],
)
def test_a_wrong_value_is_refused_by_its_place(shared_world: World, change: str, value: object, named: str) -> None:
    content = json.loads(json.dumps(shared_world.document(BASE)))
    *parents, last = change.split("__")
    target = content
    for parent in parents:
        target = target[parent]
    target[last] = value
    assert named in parse_error(content).message


def test_another_schema_is_an_error_that_names_both_versions(shared_world: World) -> None:
    message = parse_error(shared_world.document(BASE, schema="finetune-operator.io/run-document/v2")).message
    assert "run-document/v2" in message
    assert "run-document/v1" in message


def test_very_small_decimals_arrive_with_an_exponent(shared_world: World) -> None:
    document = shared_world.parsed(BASE, training__lr0="1E-8")
    assert float(document.training.lr0) == 1e-8


def evaluation(classes: int, uri_length: int) -> Emitted:
    def rates(fields: bool) -> Rates:
        table = ("0.99",) * classes if fields else None
        return Rates(100_000, 99_999, "0.999999", "0.999999", "0.999999", table)

    def measured(candidate: bool) -> Measured:
        return Measured(SHA, "0.999999", ("0.9999",) * classes, rates(candidate), rates(False))

    models = Models(measured(True), measured(False), measured(False))
    new_set = NewSet(SHA, 10_000, 10_000, True)
    result = EvaluateResult(SHA, "finetune-trainer 0.1.0", TestSet(SHA, 100_000, 1_000_000), new_set, models)
    manifest = Located("s3://" + "b" * uri_length, SHA)
    return Emitted(RESULT_SCHEMA, "evaluate", "u" * 36, 1, "Succeeded", manifest, msgspec.to_builtins(result))


@pytest.mark.parametrize(("classes", "uri_length"), [(6, 200), (40, 200), (80, 200), (80, 1000)])
def test_a_result_always_fits_and_keeps_what_a_verdict_hangs_on(classes: int, uri_length: int) -> None:
    data = fitting(evaluation(classes, uri_length))
    assert len(data) <= RESULT_LIMIT
    result = json.loads(data)["result"]
    for name in ("candidate", "base", "live"):
        assert result["models"][name]["map50"] == "0.999999"
        assert result["models"][name]["pool"]["rate"] == "0.999999"
        assert result["models"][name]["fresh"]["matched"] == 99_999
    if classes <= 40:
        assert len(result["models"]["live"]["ap50"]) == classes
