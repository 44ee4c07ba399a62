"""What an artifact says about itself: how it is served, and where its weights come from."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from .codec import ClassNames, Document, ImageSize, MaxDetections, ModelName, Share

SERVING_KEY: Final = "finetune.serving"
SERVING_SCHEMA: Final = "finetune-operator.io/serving/v1"
LINEAGE_KEY: Final = "finetune.lineage"
PREPROCESS: Final = "letterbox-114-linear-rgb"


class Serving(Document, frozen=True):
    """How the artifact is served: pixels of the square input, and what counts as a detection."""

    image_size: ImageSize
    confidence: Share
    nms_iou: Share
    max_detections: MaxDetections


class ServingMetadata(Serving, frozen=True, kw_only=True):
    """What the artifact says about its own serving; one digest binds it to the weights."""

    schema: Literal["finetune-operator.io/serving/v1"] = SERVING_SCHEMA
    classes: ClassNames
    preprocess: Literal["letterbox-114-linear-rgb"] = PREPROCESS


class Lineage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Where the weights come from: a base, or a fine-tune of one (which is no base for another).

    `model` is the model that this is a version of; older artifacts do not name it.
    """

    type: Literal["Base", "FineTuned"]
    model: ModelName | None = None
    base: str | None = None
    owner: str | None = None
