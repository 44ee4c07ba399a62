"""A real base, trained in seconds, as a run document names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from finetune_trainer.commands.import_base import ImportRequest, import_base
from finetune_trainer.documents.model_version import PlainServing
from trainer.world import CLASSES, SIDE, TINY_MODEL, World


def plain_training(world: World, scratch: Path) -> Path:
    """Train the tiny model on the anchor by plain ultralytics, from random weights, and return its best.pt."""
    from finetune_trainer.training.settings import prepare_ultralytics

    prepare_ultralytics(scratch / "home" / "yolo")
    from ultralytics import YOLO

    recipe = scratch / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(TINY_MODEL))
    model = YOLO(str(recipe), task="detect")
    model.train(
        data=str(world.anchor / "data.yaml"),
        imgsz=SIDE,
        epochs=14,
        batch=8,
        nbs=8,
        optimizer="AdamW",
        lr0=0.01,
        warmup_epochs=1,
        warmup_bias_lr=0.0,
        fliplr=0.0,
        mosaic=0.0,
        val=False,
        plots=False,
        device="cpu",
        project=str(scratch / "base"),
        name="run",
        exist_ok=True,
        verbose=False,
    )
    return Path(model.trainer.best)


def imported(best_pt: Path, world: World, scratch: Path) -> dict[str, Any]:
    """Import a checkpoint as base_v1, and return it as a run document names it."""
    request = ImportRequest(
        checkpoint=best_pt,
        model="marks",
        version="base_v1",
        artifacts=world.artifacts.as_uri(),
        namespace="ml",
        classes=CLASSES,
        serving=PlainServing(SIDE, "0.25", "0.7", 300),
        pretrained=None,
    )
    spec = yaml.safe_load(import_base(request, scratch))["spec"]
    artifact = {key: spec["artifact"][key] for key in ("uri", "sha256")}
    return {"version": "base_v1", "artifact": artifact, "checkpoint": spec["checkpoint"], "inputs": None}
