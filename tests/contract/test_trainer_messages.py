"""The trainer's end of the contract with the operator: it reads, and writes, exactly the messages of this folder."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from finetune_trainer.documents.codec import encode
from finetune_trainer.documents.result import (
    Emitted,
    EvaluateResult,
    PrepareResult,
    ScanResult,
    StepName,
    TrainResult,
    VerifyResult,
)
from finetune_trainer.documents.run import parse_run_document
from finetune_trainer.progress import Progress
from finetune_trainer.steps.job import fitting, parse_inputs

MESSAGES = Path(__file__).parent / "messages"
RESULTS: dict[str, Any] = {
    "prepare": PrepareResult,
    "train": TrainResult,
    "evaluate": EvaluateResult,
    "verify": VerifyResult,
    "scan": ScanResult,
    "production-prepare": PrepareResult,
    "production": EvaluateResult,
}


def text(name: str) -> bytes:
    """Return a message of the contract."""
    return (MESSAGES / f"{name}.json").read_bytes()


@pytest.mark.parametrize("mode", ["finetune", "production", "rebuild", "verify", "scan"])
def test_the_operators_document_is_read_in_full(mode: str) -> None:
    document = parse_run_document(text(f"run-{mode}"))
    assert json.loads(encode(document)) == json.loads(text(f"run-{mode}"))


@pytest.mark.parametrize("step", ["prepare", "train", "evaluate", "verify", "scan"])
def test_the_operators_inputs_are_read_in_full(step: StepName) -> None:
    inputs = parse_inputs(step, text(f"inputs-{step}").decode())
    assert json.loads(encode(inputs)) == json.loads(text(f"inputs-{step}"))


@pytest.mark.parametrize("step", sorted(RESULTS))
def test_a_result_is_written_as_the_contract_says(step: str) -> None:
    expected = json.loads(text(f"result-{step}"))
    result = msgspec.convert(expected["result"], RESULTS[step])
    emitted = msgspec.structs.replace(
        msgspec.json.decode(text(f"result-{step}"), type=Emitted), result=msgspec.to_builtins(result)
    )
    assert json.loads(fitting(emitted)) == expected


def test_an_error_is_written_as_the_contract_says() -> None:
    emitted = msgspec.json.decode(text("result-failed"), type=Emitted)
    assert json.loads(fitting(emitted)) == json.loads(text("result-failed"))


def test_a_progress_line_is_written_as_the_contract_says() -> None:
    stream = io.StringIO()
    progress = Progress("train", stream, lambda: datetime(2026, 11, 21, 12, tzinfo=UTC))
    losses = {"box": "0.531800", "cls": "0.564500", "dfl": "0.842000"}
    progress.report(percent=30, epoch=3, epochs=10, remaining_seconds=91, losses=losses)
    assert json.loads(stream.getvalue()) == json.loads(text("progress"))
