"""A real training of seconds, without a step around it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from finetune_trainer.data.materialise import materialise, write_data_yaml
from finetune_trainer.digests import sha256_of
from finetune_trainer.documents.codec import FileReference
from finetune_trainer.documents.plan import Sample
from finetune_trainer.documents.run import Training
from finetune_trainer.progress import Progress
from finetune_trainer.storage import Storage, local_path
from finetune_trainer.training.arguments import train_arguments
from finetune_trainer.training.yolo import Trained, train
from trainer.world import CLASSES, SIDE, World, training_parameters

if TYPE_CHECKING:
    from finetune_trainer.training.state import TrainingState


class Lines:
    """A stream that keeps progress lines."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def write(self, text: str) -> int:
        self.lines.append(json.loads(text))
        return len(text)

    def flush(self) -> None:
        return


def samples(folder: Path, split: str, boxes: int = 3) -> list[Sample]:
    result = []
    for image in sorted((folder / "images" / split).iterdir()):
        label = folder / "labels" / split / f"{image.stem}.txt"
        places = [FileReference(p.as_uri(), sha256_of(p.read_bytes())) for p in (image, label)]
        result.append(Sample(places[0], places[1], image.stat().st_size, boxes))
    return result


class TinyTraining:
    """One training on the anchor of a world, kept small."""

    def __init__(self, world: World, base: dict[str, Any], folder: Path) -> None:
        self.folder = folder
        checkpoint = local_path(base["checkpoint"]["uri"])
        assert checkpoint is not None
        folder.mkdir(parents=True, exist_ok=True)
        self.base = Path(shutil.copy(checkpoint, folder / "base.pt"))
        self.train = samples(world.anchor, "train")[:16]
        self.val = samples(world.anchor, "val")
        self.lines = Lines()

    def lay_out(self) -> None:
        materialise(Storage(), self.train, self.folder / "data" / "train")
        materialise(Storage(), self.val, self.folder / "data" / "val")

    def run(
        self,
        changes: dict[str, Any] | None = None,
        overrides: dict[str, object] | None = None,
        threads: int = 1,
        classes: tuple[str, ...] = CLASSES,
        state: TrainingState | None = None,
        keep: Callable[[TrainingState], None] | None = None,
    ) -> Trained:
        if not (self.folder / "data").exists():
            self.lay_out()
        data_yaml = write_data_yaml(
            self.folder / "data.yaml", classes, train=self.folder / "data" / "train", val=self.folder / "data" / "val"
        )
        training = msgspec.convert(training_parameters(**(changes or {})), Training)
        output = self.folder / "run"
        arguments = train_arguments(
            training, image_size=SIDE, seed=7, data_yaml=data_yaml, output=output, device="cpu", loaders=0, amp=False
        )
        progress = Progress("train", self.lines)  # type: ignore[arg-type]
        return train(
            self.base,
            arguments | (overrides or {}),
            self.train,
            progress,
            log=output.parent / "train.log",
            threads=threads,
            state=state,
            keep=keep,
        )
