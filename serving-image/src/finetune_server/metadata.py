"""What the artifact says about itself: how it is served, and which model it is a version of."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from .errors import StartError

SERVING_KEY: Final = "finetune.serving"
SERVING_SCHEMA: Final = "finetune-operator.io/serving/v1"
LINEAGE_KEY: Final = "finetune.lineage"
PREPROCESS: Final = "letterbox-114-linear-rgb"

MAX_CLASSES: Final = 80
LONGEST_CLASS_NAME: Final = 63
"""Copies, as the patterns below, of contracts/serving.schema.json; tests/contract tries every limit."""

_CLASS_NAME: Final = re.compile(r"[^\x00-\x20\x7f,]([^\x00-\x1f\x7f,]*[^\x00-\x20\x7f,])?")
_MODEL_NAME: Final = re.compile(r"(?=.{1,30}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?")

EXPORT_AGAIN: Final = "Export the model with this release's finetune-trainer, which writes what the server needs"
"""The remedy for an artifact that is not as the contract has it."""


@dataclass(frozen=True, slots=True)
class ServingSettings:
    """How the artifact is used. Lengths in pixels, thresholds in 0..1."""

    classes: tuple[str, ...]
    image_size: int
    confidence: float
    nms_iou: float
    max_detections: int


@dataclass(frozen=True, slots=True)
class Metadata:
    """What an artifact says about itself; `model` is None on older artifacts, which do not name it."""

    settings: ServingSettings
    model: str | None


def parse_metadata(properties: Mapping[str, str]) -> Metadata:
    """Parse the properties of an ONNX file. Raises `StartError` for what the contract does not have."""
    return Metadata(parse_settings(properties.get(SERVING_KEY)), parse_model(properties.get(LINEAGE_KEY)))


def parse_settings(text: str | None) -> ServingSettings:
    """Parse `finetune.serving` (JSON). Raises `StartError` on anything else."""
    if text is None:
        raise StartError("ModelSettingsMissing", f"the model has no metadata {SERVING_KEY!r}", EXPORT_AGAIN)
    try:
        raw = json.loads(text)
        schema, preprocess = raw["schema"], raw["preprocess"]
        if (schema, preprocess) != (SERVING_SCHEMA, PREPROCESS):
            raise StartError(
                "ModelSettingsUnknown",
                f"the model says schema {schema!r}, preprocess {preprocess!r}; "
                f"this server knows {SERVING_SCHEMA!r}, {PREPROCESS!r}",
                "Use the server of the release that exported the model, or export it again",
            )
        return ServingSettings(
            classes=_class_names(raw["classes"]),
            image_size=_in_range("imageSize", raw["imageSize"], low=32, high=4096, multiple_of=32),
            confidence=_fraction("confidence", raw["confidence"]),
            nms_iou=_fraction("nmsIou", raw["nmsIou"]),
            max_detections=_in_range("maxDetections", raw["maxDetections"], low=1, high=10_000),
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise _invalid(SERVING_KEY, error) from error


def parse_model(text: str | None) -> str | None:
    """Return the model's name in `finetune.lineage` (JSON), or None where none is recorded. Raises `StartError`."""
    if text is None:
        return None
    try:
        name = json.loads(text).get("model")
        if name is not None and (not isinstance(name, str) or _MODEL_NAME.fullmatch(name) is None):
            raise ValueError(f"model is {name!r}, not 1 to 30 lower-case letters, digits and '-'")
    except (AttributeError, ValueError, RecursionError) as error:
        raise _invalid(LINEAGE_KEY, error) from error
    return name


def _invalid(key: str, error: Exception) -> StartError:
    return StartError("ModelSettingsInvalid", f"metadata {key!r}: {type(error).__name__} {error}", EXPORT_AGAIN)


def _class_names(names: object) -> tuple[str, ...]:
    if not isinstance(names, list) or not 1 <= len(names) <= MAX_CLASSES:
        count = len(names) if isinstance(names, list) else "no list of"
        raise ValueError(f"there are {count} classes; 1 to {MAX_CLASSES} are possible")
    for name in names:
        if not isinstance(name, str) or len(name) > LONGEST_CLASS_NAME or _CLASS_NAME.fullmatch(name) is None:
            raise ValueError(
                f"class {str(name)[:80]!r} is not 1 to {LONGEST_CLASS_NAME} characters without commas, control "
                "characters and spaces at its ends"
            )
        name.encode()  # JSON can escape half a character; no answer and no series could carry it
    if len({*names}) < len(names):
        raise ValueError(f"a class is named twice in {names!r}")
    return tuple(names)


def _in_range(name: str, value: object, *, low: int, high: int, multiple_of: int = 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high or value % multiple_of:
        steps = f" in steps of {multiple_of}" if multiple_of > 1 else ""
        raise ValueError(f"{name} is {value!r}, not in {low}..{high}{steps}")
    return value


def _fraction(name: str, text: object) -> float:
    try:
        value = Decimal(text if isinstance(text, str) else "NaN")
    except InvalidOperation:
        raise ValueError(f"{name} is {text!r}, not a decimal in quotes") from None
    if not (value.is_finite() and 0 <= value <= 1):
        raise ValueError(f"{name} is {text!r}, not in 0..1")
    return float(value)
