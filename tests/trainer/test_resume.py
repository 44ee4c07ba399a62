"""A training that was killed goes on, and makes the very same model as one that was left alone."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from finetune_trainer.training.state import TrainingState
from finetune_trainer.training.yolo import Trained
from trainer.killing import killed_in
from trainer.tiny_training import TinyTraining
from trainer.world import World

BATCHES = 5
"""In an epoch: 18 pages, 4 in a batch, and the weights change every 3 batches, so that steps cross the epochs' ends."""

PLAIN = {"epochs": 4, "batch": 4, "nominalBatch": 12, "warmupEpochs": "1.5", "lr0": "0.01"}
MOSAIC: dict[str, Any] = {
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


def times(trained: Trained) -> list[float]:
    with trained.results.open() as stream:
        return [float(row["time"]) for row in csv.DictReader(stream)]


def assert_same(one: Trained, other: Trained) -> None:
    import torch

    assert losses(one) == losses(other)
    assert times(other) == sorted(times(other)), "the clock of results.csv goes on"
    assert one.epochs == other.epochs
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"optimizer": "AdamW"}, id="AdamW", marks=pytest.mark.deep),
        pytest.param({"optimizer": "SGD", "momentum": "0.937"}, id="SGD", marks=pytest.mark.deep),
        pytest.param({"optimizer": "MuSGD"}, id="MuSGD", marks=pytest.mark.deep),
        pytest.param(MOSAIC, id="augmented, and mosaic ends before the last epoch"),
        pytest.param({"patience": 3}, id="with patience", marks=pytest.mark.deep),
    ],
)
def test_a_training_that_was_killed_makes_the_very_same_model(
    shared_world: World, base: dict[str, Any], tmp_path: Path, changes: dict[str, Any]
) -> None:
    whole = a_training(shared_world, base, tmp_path / "whole").run(PLAIN | changes)
    kept: list[TrainingState] = []
    with killed_in(2 * BATCHES + 3):
        a_training(shared_world, base, tmp_path / "first").run(PLAIN | changes, keep=kept.append)
    assert [state.figures.epochs for state in kept] == [1, 2]
    assert_same(whole, a_training(shared_world, base, tmp_path / "second").run(PLAIN | changes, state=kept[-1]))


@pytest.mark.deep
def test_a_training_that_is_killed_again_and_again_gets_on(
    shared_world: World, base: dict[str, Any], tmp_path: Path
) -> None:
    whole = a_training(shared_world, base, tmp_path / "whole").run(PLAIN)
    state: TrainingState | None = None
    for epoch in range(3):
        kept: list[TrainingState] = []
        with killed_in(BATCHES + 1):
            a_training(shared_world, base, tmp_path / str(epoch)).run(PLAIN, state=state, keep=kept.append)
        [state] = kept
        assert state.figures.epochs == epoch + 1
    last = a_training(shared_world, base, tmp_path / "last")
    assert_same(whole, last.run(PLAIN, state=state))
    assert [line["epoch"] for line in last.lines.lines if "losses" in line] == [4]
    assert "epoch 4 of 4 (resumed after epoch 3)" in last.lines.lines[0]["activity"]


@pytest.mark.deep
def test_a_rebuild_goes_on_after_whichever_epoch(shared_world: World, base: dict[str, Any], tmp_path: Path) -> None:
    """In the warm-up, when mosaics are over, and where patience ends it; with its own parameters."""
    own = {"optimizer": "SGD", "momentum": "0.937", "warmupEpochs": "3", "warmupBiasLr": "0.1", "freeze": 0}
    changes = PLAIN | MOSAIC | own | {"patience": 2, "lr0": "0.5", "closeMosaic": 3, "epochs": 7}
    kept: list[TrainingState] = []
    whole = a_training(shared_world, base, tmp_path / "whole").run(changes, keep=kept.append)
    assert len(kept) >= 2
    for state in kept:
        again = a_training(shared_world, base, tmp_path / str(state.figures.epochs))
        assert_same(whole, again.run(changes, state=state))


@pytest.fixture
def worse_by_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let validation find each epoch worse than the one before, whatever was learned."""
    from finetune_trainer.training.trainer import FineTuneTrainer

    class Worse(FineTuneTrainer):
        best_fitness: float | None

        def validate(self) -> Any:
            best = self.best_fitness
            metrics, _ = super().validate()
            fitness = 1 / (1 + self.epoch)
            self.best_fitness = max(best or 0.0, fitness)
            return metrics, fitness

    monkeypatch.setattr("finetune_trainer.training.trainer.FineTuneTrainer", Worse)


@pytest.mark.usefixtures("worse_by_epoch")
def test_a_best_epoch_from_before_one_kill_or_several_is_still_the_candidate(
    shared_world: World, base: dict[str, Any], tmp_path: Path
) -> None:
    changes = PLAIN | {"patience": 9}
    first: list[TrainingState] = []
    whole = a_training(shared_world, base, tmp_path / "whole").run(changes, keep=first.append)
    second: list[TrainingState] = []
    once = a_training(shared_world, base, tmp_path / "once").run(changes, state=first[0], keep=second.append)
    assert_same(whole, once)
    assert [state.figures.best and state.figures.best.epoch for state in (*first, *second)] == [0] * 5
    assert_same(whole, a_training(shared_world, base, tmp_path / "twice").run(changes, state=second[0]))


def test_a_page_is_augmented_anew_in_each_epoch_and_unlike_other_pages(
    shared_world: World, base: dict[str, Any], tmp_path: Path
) -> None:
    import torch

    from finetune_trainer.training.trainer import FineTuneTrainer

    shown: dict[str, list[torch.Tensor]] = defaultdict(list)

    class Watched(FineTuneTrainer):
        def preprocess_batch(self, batch: dict[str, Any]) -> Any:
            for file, image in zip(batch["im_file"], batch["img"], strict=True):
                shown[Path(file).stem.partition("-")[0]].append(image.clone())
            return super().preprocess_batch(batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("finetune_trainer.training.trainer.FineTuneTrainer", Watched)
        augment = MOSAIC["augment"] | {"mosaic": "0", "mixup": "0", "fliplr": "0"}
        a_training(shared_world, base, tmp_path).run(PLAIN | {"epochs": 2, "augment": augment})
    first, second = shown["000000"]
    assert not torch.equal(first, second), "the same in each epoch"
    assert not torch.equal(first, shown["000016"][0]), "the same file once more, in the same epoch"


def test_the_last_epoch_is_kept_for_nobody(shared_world: World, base: dict[str, Any], tmp_path: Path) -> None:
    kept: list[TrainingState] = []
    a_training(shared_world, base, tmp_path / "one").run(PLAIN | {"epochs": 1}, keep=kept.append)
    assert kept == []


def test_each_epoch_has_every_page_once_in_an_order_of_its_own_which_a_later_start_does_not_change() -> None:
    from finetune_trainer.training.chance import EpochOrder

    order = EpochOrder(12, seed=7)
    epochs = [list(order) for _ in range(3)]
    assert [sorted(places) for places in epochs] == [list(range(12 * e, 12 * e + 12)) for e in range(3)]
    assert len({tuple(place % 12 for place in places) for places in epochs}) == 3
    later = EpochOrder(12, seed=7)
    later.following = 2
    assert list(later) == epochs[2]
    other = list(EpochOrder(12, seed=8))
    assert other != epochs[0]
