"""Classes that were appended: pages that were not labelled for them teach nothing of them, and all else as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace

from finetune_trainer.documents.plan import Sample
from finetune_trainer.training.state import TrainingState
from trainer.tiny_training import TinyTraining
from trainer.world import CLASSES, SIDE, TINY_MODEL, World

KNOWN = len(CLASSES) - 1
"""Classes that the shorter list has."""


def model_of(end2end: bool) -> Any:
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(3)
    model = DetectionModel({**TINY_MODEL, "end2end": end2end}, verbose=False)
    model.args = get_cfg()
    return model


def batch_of(pages: int) -> dict[str, Any]:
    """Pages of one box each, all of the first class."""
    generator = torch.Generator().manual_seed(5)
    return {
        "img": torch.rand((pages, 3, SIDE, SIDE), generator=generator),
        "batch_idx": torch.arange(pages).float(),
        "cls": torch.zeros(pages, 1),
        "bboxes": torch.tensor([[0.5, 0.5, 0.3, 0.3]] * pages),
    }


def gradients(model: Any, batch: dict[str, Any], fields: list[int] | None) -> list[torch.Tensor]:
    """The gradient of the loss by the scores of each head, (pages, classes, places)."""
    from finetune_trainer.training.unlabelled import mask_losses

    criterion = model.init_criterion()
    for mask in mask_losses(criterion) if fields is not None else ():
        mask.of(fields or [], len(CLASSES), torch.device("cpu"))
    model.train()
    said = model(batch["img"])
    scores = [said[head]["scores"] for head in ("one2many", "one2one")] if "one2many" in said else [said["scores"]]
    return list(torch.autograd.grad(criterion(said, batch)[0].sum(), scores))


@pytest.mark.parametrize("end2end", [True, False], ids=["two heads", "one head"])
def test_a_page_gives_no_gradient_for_classes_that_it_was_not_labelled_for(end2end: bool) -> None:
    model, batch = model_of(end2end), batch_of(3)
    whole, masked = gradients(model, batch, None), gradients(model, batch, [len(CLASSES), KNOWN, len(CLASSES)])
    assert len(masked) == (2 if end2end else 1)
    for before, after in zip(whole, masked, strict=True):
        assert torch.count_nonzero(before[1, KNOWN:]) > 0, "an unlabelled class would be taught to be absent"
        assert torch.count_nonzero(after[1, KNOWN:]) == 0
        assert torch.equal(after[1, :KNOWN], before[1, :KNOWN]), "its other classes as before"
        assert torch.equal(after[[0, 2]], before[[0, 2]]), "and other pages"


def unlabelled(samples: list[Sample], every: int) -> list[Sample]:
    """Take the last class away from pages, all but each `every`-th."""
    return [
        s if number % every == 0 else replace(s, fields=KNOWN, boxes=s.boxes - 1) for number, s in enumerate(samples)
    ]


class Half(TinyTraining):
    """A training on pages of which only every fourth is labelled for the last class."""

    def __init__(self, world: World, base: dict[str, Any], folder: Path) -> None:
        super().__init__(world, base, folder)
        self.train = unlabelled(self.train, 4)

    def lay_out(self) -> None:
        super().lay_out()
        for number, sample in enumerate(self.train):
            if sample.fields is not None:
                [label] = (self.folder / "data" / "train" / "labels").glob(f"{number:06d}-*.txt")
                rows = [row for row in label.read_text().splitlines() if not row.startswith(str(KNOWN))]
                label.unlink()
                label.write_text("\n".join(rows) + "\n")


def weights_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    loaded = torch.load(checkpoint, weights_only=False)
    return {name: tensor.float() for name, tensor in (loaded["ema"] or loaded["model"]).state_dict().items()}


def test_with_nothing_unlabelled_a_training_is_bit_for_bit_what_it_was(
    base: dict[str, Any], shared_world: World, tmp_path: Path
) -> None:
    plain = TinyTraining(shared_world, base, tmp_path / "plain").run({"epochs": 1})
    said = TinyTraining(shared_world, base, tmp_path / "said")
    said.train = [replace(sample, fields=len(CLASSES) + 1) for sample in said.train]
    before, after = weights_of(plain.checkpoint), weights_of(said.run({"epochs": 1}).checkpoint)
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("mosaic", [pytest.param("0", marks=pytest.mark.deep), "1"])
def test_one_with_unlabelled_pages_goes_on_and_makes_the_very_same_model(
    base: dict[str, Any], shared_world: World, tmp_path: Path, mosaic: str
) -> None:
    augment = {**_augment(), "mosaic": mosaic}
    changes = {"epochs": 3, "closeMosaic": 0, "augment": augment}
    states: list[TrainingState] = []
    whole = Half(shared_world, base, tmp_path / "whole").run(changes, keep=states.append)
    gone_on = Half(shared_world, base, tmp_path / "on").run(changes, state=states[0])
    before, after = weights_of(whole.checkpoint), weights_of(gone_on.checkpoint)
    assert all(torch.equal(after[name], before[name]) for name in before)


def _augment() -> dict[str, Any]:
    from trainer.world import training_parameters

    return dict(training_parameters()["augment"])


def test_a_page_is_mixed_with_pages_of_the_same_labels_alone(
    base: dict[str, Any], shared_world: World, tmp_path: Path
) -> None:
    from finetune_trainer.training.trainer import FineTuneTrainer

    seen: list[tuple[int, set[int]]] = []

    class Watched(FineTuneTrainer):
        def preprocess_batch(self, batch: dict[str, Any]) -> Any:
            for number, fields in enumerate(batch["fields"]):
                classes = batch["cls"][batch["batch_idx"] == number].view(-1).int().tolist()
                seen.append((fields, set(classes)))
            return super().preprocess_batch(batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("finetune_trainer.training.trainer.FineTuneTrainer", Watched)
        augment = {**_augment(), "mosaic": "1", "mixup": "0.5"}
        Half(shared_world, base, tmp_path).run({"epochs": 2, "closeMosaic": 0, "augment": augment})
    assert {fields for fields, _ in seen} == {KNOWN, len(CLASSES)}
    assert all(KNOWN not in classes for fields, classes in seen if fields == KNOWN)
    assert all(KNOWN in classes for fields, classes in seen if fields == len(CLASSES))
