"""Training on a GPU: what it computes in, that it can be repeated, and what is said where its memory ends.

Skipped where torch finds none; the CPU takes the same path through the trainer, but for these.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune_trainer.documents.codec import FileReference
from finetune_trainer.documents.inputs import EarlierAttempt, EvaluateInputs, PrepareInputs, TrainInputs
from finetune_trainer.documents.result import PrepareResult, TrainResult
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.steps.evaluate import evaluate
from finetune_trainer.steps.prepare import prepare
from finetune_trainer.steps.train import train
from finetune_trainer.storage import local_path
from trainer.killing import killed_in
from trainer.world import NONCE, World, context, training_parameters

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")

Train = Callable[..., TrainResult]


@pytest.fixture(scope="module")
def prepared(base: dict[str, Any], shared_world: World, tmp_path_factory: pytest.TempPathFactory) -> PrepareResult:
    document = shared_world.parsed(base)
    return prepare(context("prepare", document, tmp_path_factory.mktemp("p")), document, PrepareInputs(1, NONCE))


@pytest.fixture
def trained(base: dict[str, Any], shared_world: World, prepared: PrepareResult, tmp_path: Path) -> Train:
    """Train by the plan, each time as another attempt; keywords change the training's parameters."""
    attempts = iter(range(1, 9))

    def run(**parameters: Any) -> TrainResult:
        attempt = next(attempts)
        document = shared_world.parsed(
            base, training=training_parameters(**parameters), artifacts__uri=(tmp_path / "out").as_uri()
        )
        folder = tmp_path / f"t{attempt}"
        return train(context("train", document, folder, attempt), document, TrainInputs(attempt, NONCE, prepared.plan))

    return run


@pytest.fixture
def precisions(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """The type in which each convolution of the model computes while it trains on the GPU."""
    seen: list[torch.dtype] = []
    original = torch.nn.Conv2d.forward

    def watched(self: torch.nn.Conv2d, tensor: torch.Tensor) -> torch.Tensor:
        result = original(self, tensor)
        if result.is_cuda and torch.is_grad_enabled():
            seen.append(result.dtype)
        return result

    monkeypatch.setattr(torch.nn.Conv2d, "forward", watched)
    return seen


@pytest.mark.parametrize(("amp", "expected"), [("Auto", torch.bfloat16), ("Off", torch.float32)])
def test_it_computes_in_what_the_policy_says_and_names_the_gpu(
    trained: Train, precisions: list[torch.dtype], amp: str, expected: torch.dtype
) -> None:
    result = trained(amp=amp)
    assert result.device == torch.cuda.get_device_name(0)
    assert set(precisions) == {expected}
    assert all(math.isfinite(float(loss)) for loss in result.losses.values())
    artifact = local_path(result.artifact.uri)
    assert artifact is not None
    [losses] = artifact.parent.glob("results.csv")
    assert len(list(csv.reader(losses.open()))) == 1 + 2


def test_what_was_trained_there_is_worth_as_much_when_it_is_served_on_a_cpu(
    base: dict[str, Any], shared_world: World, trained: Train, prepared: PrepareResult, tmp_path: Path
) -> None:
    artifact = trained(epochs=4).artifact
    document = shared_world.parsed(base, artifacts__uri=(tmp_path / "out").as_uri())
    inputs = EvaluateInputs(1, NONCE, 1, prepared.plan, FileReference(artifact.uri, artifact.sha256))
    models = evaluate(context("evaluate", document, tmp_path / "e"), document, inputs).models
    assert float(models.candidate.map50) > float(models.base.map50) - 0.03, models


def test_the_same_plan_trains_the_same_bytes(trained: Train) -> None:
    first, second = trained(), trained()
    assert first.losses == second.losses
    assert first.artifact.sha256 == second.artifact.sha256


def test_one_that_was_killed_goes_on_and_trains_the_same_bytes(
    base: dict[str, Any], shared_world: World, prepared: PrepareResult, tmp_path: Path
) -> None:
    """Also with loaders of their own, whose pages hang on seed, epoch and page alone; without mosaics."""

    def run(place: str, attempt: int = 1) -> TrainResult:
        document = shared_world.parsed(
            base, training=training_parameters(epochs=4, batch=8), artifacts__uri=(tmp_path / place).as_uri()
        )
        earlier = tuple(EarlierAttempt(number, f"n{number}") for number in range(1, attempt))
        inputs = TrainInputs(attempt, f"n{attempt}", prepared.plan, earlier)
        return train(context("train", document, tmp_path / f"{place}{attempt}", attempt), document, inputs)

    whole = run("whole")
    with killed_in(2 * math.ceil(prepared.train / 8) + 3):
        run("killed")
    result = run("killed", attempt=2)
    assert [(before.attempt, before.epoch) for before in result.resumed] == [(1, 2)]
    assert result.losses == whole.losses
    assert result.artifact.sha256 == whole.artifact.sha256


def test_a_gpu_whose_memory_ends_is_said_with_what_mends_it(trained: Train) -> None:
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(0) + (4 << 20)) / total)
    try:
        with pytest.raises(StepError, match=r"Set a smaller training\.batch") as caught:
            trained(batch=64)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert caught.value.reason is Reason.OUT_OF_MEMORY
