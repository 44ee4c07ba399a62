"""What training begins with: its architecture, random weights in it, and whether a rebuild may start from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from ..errors import Reason, bad_input
from .checkpoint import MARKER_KEY, check_detector, load_checkpoint, weights_of
from .export import save_checkpoint
from .usable import check_usable


def random_start(base: Mapping[str, Any], classes: Sequence[str], *, seed: int, target: Path) -> Path:
    """Write a checkpoint of the base's architecture with weights that `seed` alone decides, and return its path."""
    import torch
    from ultralytics.nn.tasks import DetectionModel

    architecture = deepcopy(weights_of(base).yaml)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DetectionModel(architecture, nc=len(classes), verbose=False)
    return _save(model, classes, target)


def begun(start: Path, where: str, classes: Sequence[str], *, target: Path) -> Path:
    """Write the model that training from the checkpoint `start` begins with, and return its path.

    Ultralytics builds the architecture that the checkpoint names for these classes, and takes over its weights: and of
    a head as wide as that of more classes (published ones have 80) whole layers, as they are. What else a checkpoint
    has, such as another eps of a batch norm, is gone. StepError BaseUnusable for one that training cannot begin with.
    """
    from ultralytics import YOLO
    from ultralytics.nn.tasks import DetectionModel

    try:
        source = YOLO(str(start), task="detect").model
        model = DetectionModel(deepcopy(source.yaml), nc=len(classes), verbose=False)
        model.load(source)
    except Exception as error:  # of many kinds, all about this file
        raise bad_input(
            Reason.BASE_UNUSABLE,
            f"Training cannot begin with {where}: {type(error).__name__} {error}.",
            "Use a best.pt of ultralytics' detection training.",
        ) from error
    return _save(model, classes, target)


def _save(model: Any, classes: Sequence[str], target: Path) -> Path:
    """Write a checkpoint that a training may begin with: a model, and nothing of one that went on before."""
    model.names = dict(enumerate(classes))
    return save_checkpoint({"epoch": -1, "model": model, "ema": None, "optimizer": None, "train_args": {}}, target)


def check_same_architecture(checkpoint: Mapping[str, Any], untrained: Mapping[str, Any], where: str) -> None:
    """Raise StepError BaseUnusable unless training from this checkpoint takes over every weight that it has.

    What it says of its architecture is compared, and not built: it is anybody's word.
    """
    model, other = weights_of(checkpoint), weights_of(untrained)
    says, expected = ({**each.yaml, "yaml_file": None} for each in (model, other))
    shapes, wanted = ({name: tuple(t.shape) for name, t in each.state_dict().items()} for each in (model, other))
    if says == expected and shapes == wanted:
        return
    raise bad_input(
        Reason.BASE_UNUSABLE,
        f"{where} has another architecture than its training began with, so nothing could be trained from it.",
        "Train with the trainer image of this release.",
    )


def check_start(path: Path, where: str, image_size: int) -> None:
    """Raise StepError BaseUnusable unless a rebuild may begin with this checkpoint; its classes may be others."""
    loaded = load_checkpoint(path, where)
    if MARKER_KEY in loaded:
        raise bad_input(
            Reason.BASE_UNUSABLE,
            f"The start {where} is a version of this project, and a rebuild from one is a fine-tune by another name.",
            "Leave the policy's spec.rebuild.start out (random weights), or name a checkpoint of general pretraining.",
        )
    check_detector(loaded, where)
    check_usable(loaded, where, image_size)
