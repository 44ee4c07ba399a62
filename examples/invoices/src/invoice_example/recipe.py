"""The example's recipe as plain data: serving settings, the base model's training, the fine-tune's parameters.

Every number was chosen by the spikes in README.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .fields import FIELDS

IMAGE_SIZE = 256
"""Side of the square, in pixels, that the model is trained, judged and served at; pages are rendered as high."""

SERVING: Mapping[str, Any] = {"imageSize": IMAGE_SIZE, "confidence": "0.25", "nmsIou": "0.7", "maxDetections": 300}
"""`FineTunePolicy.spec.serving`."""

AUGMENT: Mapping[str, float] = {
    # A mirrored or cut page is no page: the places of fields are what the model learns.
    "fliplr": 0.0,
    "flipud": 0.0,
    "mosaic": 0.0,
    "mixup": 0.0,
    "scale": 0.05,
    "translate": 0.03,
    "degrees": 0.0,
    "hsv_h": 0.0,
    "hsv_s": 0.0,
    "hsv_v": 0.1,
}
"""Augmentation in ultralytics' names, for base and fine-tune alike."""

BASE_TRAINING: Mapping[str, Any] = {
    "epochs": 8,
    "batch": 16,
    # Equal to the batch: ultralytics' default of 64 would gather four batches for one step of the optimizer.
    "nbs": 16,
    "optimizer": "AdamW",
    "lr0": 0.004,
    "lrf": 0.02,
    "cos_lr": True,
    "warmup_epochs": 1.0,
    "warmup_bias_lr": 0.0,
    "weight_decay": 0.0005,
    "patience": 0,
}
"""How the base is trained from random weights, in ultralytics' names."""

FINE_TUNE: Mapping[str, Any] = {
    "epochs": 10,
    "lr0": "0.001",
    "lrf": "0.01",
    "freeze": 10,
    "warmupEpochs": "1",
    "warmupBiasLr": "0",
    "cosLr": True,
    "optimizer": "AdamW",
    # Small, and each a step of the optimizer: with fewer steps some draws missed a field on pages that none had seen.
    "batch": 4,
    "nominalBatch": 4,
    "closeMosaic": 0,
    "augment": {
        "fliplr": "0",
        "flipud": "0",
        "mosaic": "0",
        "mixup": "0",
        "scale": "0.05",
        "translate": "0.03",
        "degrees": "0",
        "hsvH": "0",
        "hsvS": "0",
        "hsvV": "0.1",
    },
}
"""`FineTunePolicy.spec.training`: the defaults; only batch and augmentation are the example's own."""

SCALE = (0.33, 0.125, 256)
"""Depth, width and most channels of the model: 0.28 million parameters (yolo11n has 2.6)."""


def recipe() -> dict[str, Any]:
    """All of it in one JSON-able value, for programs that set up the example."""
    return {
        "classes": [str(field) for field in FIELDS],
        "serving": dict(SERVING),
        "training": {**FINE_TUNE, "augment": dict(FINE_TUNE["augment"])},
        "base": {**BASE_TRAINING, **AUGMENT, "imgsz": IMAGE_SIZE, "scale": list(SCALE)},
    }
