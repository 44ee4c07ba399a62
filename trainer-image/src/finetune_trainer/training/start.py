"""What a rebuild begins with: random weights in the base's architecture, or a checkpoint that is no version of ours."""

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
    model.names = dict(enumerate(classes))
    return save_checkpoint({"epoch": -1, "model": model, "ema": None, "optimizer": None, "train_args": {}}, target)


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
