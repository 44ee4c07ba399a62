"""The arguments of the training call: every one that matters is explicit, none is left to a default that surprises."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from ..documents.run import Augment, Training

FIXED: Final[Mapping[str, object]] = {
    "split": "val",
    "deterministic": True,
    "pretrained": True,
    # Class names are compared before; remapping rows by name would hide a difference in order.
    "cls_remap": False,
    # Validation and export use the one-to-many head with NMS outside, as the artifact is served.
    "nms": None,
    "single_cls": False,
    "rect": False,
    "cache": False,
    "fraction": 1.0,
    "resume": False,
    "compile": False,
    "multi_scale": 0.0,
    "save": True,
    "save_period": -1,
    "plots": False,
    "verbose": False,
    "exist_ok": True,
    "cutmix": 0.0,
    "copy_paste": 0.0,
    "shear": 0.0,
    "perspective": 0.0,
    "bgr": 0.0,
}
"""Arguments that no policy sets."""


def train_arguments(
    training: Training,
    *,
    image_size: int,
    seed: int,
    data_yaml: Path,
    output: Path,
    device: Literal["cpu", "0"],
    loaders: int,
    amp: Literal["bf16", False],
) -> dict[str, object]:
    """Return the keyword arguments of `YOLO.train`; images of `image_size` pixels, results in `output`.

    `loaders` processes load images beside the trainer.
    """
    return {
        **FIXED,
        **_parameters(training, loaders),
        **_augmentation(training.augment),
        "data": str(data_yaml),
        "imgsz": image_size,
        "device": device,
        "amp": amp,
        "seed": seed,
        "project": str(output.parent),
        "name": output.name,
    }


def _parameters(training: Training, loaders: int) -> dict[str, object]:
    return {
        "epochs": training.epochs,
        # An optimizer by name, or lr0, momentum and warmup_bias_lr would be replaced by `auto`'s own.
        "optimizer": training.optimizer,
        "lr0": float(training.lr0),
        "lrf": float(training.lrf),
        "momentum": float(training.momentum),
        "weight_decay": float(training.weight_decay),
        "warmup_epochs": float(training.warmup_epochs),
        # The default 0.1 starts the biases at a hundred times lr0 and shoves a trained head about.
        "warmup_bias_lr": float(training.warmup_bias_lr),
        "cos_lr": training.cos_lr,
        "freeze": training.freeze,
        "batch": training.batch,
        "nbs": training.nominal_batch,
        # The default of 10 in a run of 10 epochs would switch mosaic off altogether; 0 never switches it off.
        "close_mosaic": min(training.close_mosaic, training.epochs),
        "patience": training.patience,
        # Validation picks a checkpoint only where patience is set; otherwise the last epoch is the candidate.
        "val": training.patience > 0,
        "workers": loaders,
    }


def _augmentation(augment: Augment) -> dict[str, object]:
    return {
        "fliplr": float(augment.fliplr),
        "flipud": float(augment.flipud),
        "mosaic": float(augment.mosaic),
        "mixup": float(augment.mixup),
        "scale": float(augment.scale),
        "translate": float(augment.translate),
        "degrees": float(augment.degrees),
        "hsv_h": float(augment.hsv_h),
        "hsv_s": float(augment.hsv_s),
        "hsv_v": float(augment.hsv_v),
    }
