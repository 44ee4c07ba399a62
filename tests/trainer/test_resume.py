"""A training that was killed goes on, and makes the very same model as one that was left alone."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune_trainer.errors import Preempted
from finetune_trainer.training.state import TrainingState
from finetune_trainer.training.yolo import Trained
from trainer.tiny_training import TinyTraining
from trainer.world import World

BATCHES = 5
"""In an epoch: 18 pages, 4 in a batch, and the weights change every 3 batches, so that steps cross the epochs' ends."""

PLAIN = {"epochs": 4, "batch": 4, "nominalBatch": 12, "warmupEpochs": "1.5", "lr0": "0.01"}
MOSAIC = {
    "augment": {
        "fliplr": "0.5",
        "flipud": "0",
        "mosaic": "0.8",
        "mixup": "0.3",
        "scale": "0.3",
        "translate": "0.1",
        "degrees": "5",
        "hsvH": "0.01",
        "hsvS": "0.3",
        "hsvV": "0.3",
    },
    "closeMosaic": 1,
}


@dataclass
class Killed:
    """A training that dies in the batch of that number, counted from 1 over all epochs, and what it had kept."""

    batch: int
    state: TrainingState | None = None

    def keep(self, state: TrainingState) -> None:
        self.state = state

    def run(self, training: TinyTraining, changes: dict[str, Any], state: TrainingState | None = None) -> None:
        from finetune_trainer.training.trainer import FineTuneTrainer

        seen, prepare = 0, FineTuneTrainer.preprocess_batch

        def count(trainer: Any, batch: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen == self.batch:
                raise Preempted
            return prepare(trainer, batch)

        with pytest.MonkeyPatch.context() as patch, pytest.raises(Preempted):
            patch.setattr(FineTuneTrainer, "preprocess_batch", count)
            training.run(changes, state=state, keep=self.keep)


def a_training(world: World, base: dict[str, Any], folder: Path) -> TinyTraining:
    training = TinyTraining(world, base, folder)
    training.train = [*training.train, *training.train[:2]]
    return training


def weights(trained: Trained) -> dict[str, Any]:
    import torch

    checkpoint = torch.load(trained.checkpoint, weights_only=False)
    return dict(checkpoint["ema"].state_dict())


def losses(trained: Trained) -> list[dict[str, str]]:
    with trained.results.open() as stream:
        return [{k: v for k, v in row.items() if k != "time"} for row in csv.DictReader(stream)]


def assert_same(one: Trained, other: Trained) -> None:
    import torch

    assert losses(one) == losses(other)
    assert one.epochs == other.epochs
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"optimizer": "AdamW"}, id="AdamW"),
        pytest.param({"optimizer": "SGD", "momentum": "0.937"}, id="SGD"),
        pytest.param({"optimizer": "MuSGD"}, id="MuSGD"),
        pytest.param(MOSAIC, id="augmented, and mosaic ends before the last epoch"),
        pytest.param({"patience": 3}, id="with patience"),
    ],
)
def test_a_training_that_was_killed_makes_the_very_same_model(
    shared_world: World, base: dict[str, Any], tmp_path: Path, changes: dict[str, Any]
) -> None:
    whole = a_training(shared_world, base, tmp_path / "whole").run(PLAIN | changes)
    killed = Killed(2 * BATCHES + 3)
    killed.run(a_training(shared_world, base, tmp_path / "first"), PLAIN | changes)
    assert killed.state is not None
    assert killed.state.figures.epochs == 2
    second = a_training(shared_world, base, tmp_path / "second").run(PLAIN | changes, state=killed.state)
    assert_same(whole, second)
