"""Loads exactly the bytes that were verified, checks that they are such a model, and warms it up."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final, Protocol, cast

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from .artifact import MODEL_FILE, ArtifactRef, read_record
from .errors import StartError
from .preprocess import Tensor

SETTINGS_KEY: Final = "finetune.serving"
SETTINGS_SCHEMA: Final = "finetune-operator.io/serving/v1"
PREPROCESS: Final = "letterbox-114-linear-rgb"
# Copies of contracts/serving.schema.json; tests/contract/test_server_contracts.py tries every limit.
MAX_CLASSES: Final = 80
LONGEST_CLASS_NAME: Final = 63
_CLASS_NAME: Final = re.compile(r"[^\x00-\x20\x7f,]([^\x00-\x1f\x7f,]*[^\x00-\x20\x7f,])?")
_EXPORT_AGAIN: Final = "Export the model with this release's finetune-trainer, which writes what the server needs"


@dataclass(frozen=True, slots=True)
class ServingSettings:
    """What the artifact says about its own use. Lengths in pixels, thresholds in 0..1."""

    classes: tuple[str, ...]
    image_size: int
    confidence: float
    nms_iou: float
    max_detections: int


class Session(Protocol):
    """The one call of an onnxruntime session that is used here."""

    def run(self, output_names: None, input_feed: dict[str, Tensor]) -> list[npt.NDArray[np.float32]]:
        """All outputs for these inputs by name."""
        ...


@dataclass(frozen=True, slots=True)
class Detector:
    """A verified, loaded network; `run` may be called from several threads at once."""

    ref: ArtifactRef
    settings: ServingSettings
    session: Session
    input_name: str

    def run(self, tensor: Tensor) -> npt.NDArray[np.float32]:
        """(1, 3, S, S) -> (4 + classes, candidates). Raises `FloatingPointError` on NaN or infinity."""
        output: npt.NDArray[np.float32] = self.session.run(None, {self.input_name: tensor})[0][0]
        if not np.isfinite(output).all():
            raise FloatingPointError("the network's output is not finite")
        return output


def load_detector(directory: Path, wanted: ArtifactRef, threads: int) -> Detector:
    """Verify and load `directory/model.onnx`. Raises `StartError` unless file, record and `wanted` agree.

    The file is read once: the bytes that are hashed are the bytes that onnxruntime gets, so a
    file that is exchanged afterwards is not served.
    """
    record = read_record(directory)
    if record.sha256 != wanted.sha256:
        raise StartError(
            "DigestMismatch",
            f"the init step fetched {record.version} ({record.sha256}), "
            f"this container expects {wanted.version} ({wanted.sha256})",
            "Give both containers the same variables, and delete the pod to fetch again",
        )
    path = directory / MODEL_FILE
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StartError("ModelUnreadable", f"{path}: {error.strerror}", "Delete the pod to fetch again") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != wanted.sha256:
        raise StartError(
            "DigestMismatch",
            f"{path} has sha256 {digest}, {wanted.version} has {wanted.sha256}",
            "Delete the pod to fetch again; if it happens again, somebody writes to the model volume",
        )
    session = _session(content, threads)
    settings = parse_settings(session.get_modelmeta().custom_metadata_map.get(SETTINGS_KEY))
    detector = Detector(wanted, settings, cast(Session, session), _checked_input(session, settings))
    _warm_up(detector)
    return detector


def parse_settings(text: str | None) -> ServingSettings:
    """Parse the model's `finetune.serving` metadata (JSON). Raises `StartError` on anything else."""
    if text is None:
        raise StartError("ModelSettingsMissing", f"the model has no metadata {SETTINGS_KEY!r}", _EXPORT_AGAIN)
    try:
        raw = json.loads(text)
        schema, preprocess = raw["schema"], raw["preprocess"]
        if (schema, preprocess) != (SETTINGS_SCHEMA, PREPROCESS):
            raise StartError(
                "ModelSettingsUnknown",
                f"the model says schema {schema!r}, preprocess {preprocess!r}; "
                f"this server knows {SETTINGS_SCHEMA!r}, {PREPROCESS!r}",
                "Use the server of the release that exported the model, or export it again",
            )
        return ServingSettings(
            classes=_class_names(raw["classes"]),
            image_size=_in_range("imageSize", raw["imageSize"], 32, 4096, multiple_of=32),
            confidence=_fraction("confidence", raw["confidence"]),
            nms_iou=_fraction("nmsIou", raw["nmsIou"]),
            max_detections=_in_range("maxDetections", raw["maxDetections"], 1, 10_000),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StartError(
            "ModelSettingsInvalid", f"metadata {SETTINGS_KEY!r}: {type(error).__name__} {error}", _EXPORT_AGAIN
        ) from error


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
    if len({*names}) < len(names):
        raise ValueError(f"a class is named twice in {names!r}")
    return tuple(names)


def _in_range(name: str, value: object, low: int, high: int, multiple_of: int = 1) -> int:
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


def _session(content: bytes, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads would eat the CPU quota, and the neighbours' share, between two requests.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class but Exception
        raise StartError("ModelUnusable", f"onnxruntime refuses the model: {error}", _EXPORT_AGAIN) from error


def _checked_input(session: ort.InferenceSession, settings: ServingSettings) -> str:
    """The input's name, when inputs and outputs are those of the contract."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    size = settings.image_size
    if [(i.type, list(i.shape)) for i in inputs] != [("tensor(float)", [1, 3, size, size])]:
        found = ", ".join(f"{i.type} {i.shape}" for i in inputs)
        raise StartError(
            "ModelShape", f"inputs are {found}, expected one tensor(float) [1, 3, {size}, {size}]", _EXPORT_AGAIN
        )
    if len(outputs) != 1:
        raise StartError("ModelShape", f"the model has {len(outputs)} outputs, expected one", _EXPORT_AGAIN)
    return str(inputs[0].name)


def _warm_up(detector: Detector) -> None:
    """Two full runs: the first allocates and picks kernels, the second shows that the result has the right shape."""
    size, rows = detector.settings.image_size, 4 + len(detector.settings.classes)
    page = np.full((1, 3, size, size), 0.5, np.float32)
    for _ in range(2):
        try:
            shape = detector.run(page).shape
        except Exception as error:  # see _session
            raise StartError("ModelUnusable", f"the warm-up failed: {error}", _EXPORT_AGAIN) from error
    if len(shape) != 2 or shape[0] != rows:
        raise StartError(
            "ModelShape", f"the output is {shape}, expected ({rows}, candidates): 4 + one row a class", _EXPORT_AGAIN
        )
