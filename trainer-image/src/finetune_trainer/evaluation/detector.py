"""The served artifact, opened and checked: an ONNX file whose metadata says how it is served."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import onnxruntime
from msgspec.structs import asdict

from finetune_trainer.documents.codec import decode
from finetune_trainer.documents.run import Serving
from finetune_trainer.documents.serving import LINEAGE_KEY, SERVING_KEY, SERVING_SCHEMA, Lineage, ServingMetadata
from finetune_trainer.errors import Reason, bad_input
from finetune_trainer.evaluation.postprocess import Detections, postprocess
from finetune_trainer.evaluation.preprocess import Pixels, prepare


def serving_metadata(classes: tuple[str, ...], serving: Serving) -> ServingMetadata:
    """The metadata of an artifact with these classes and settings."""
    return ServingMetadata(classes=classes, **asdict(serving))


@dataclass(frozen=True)
class Detector:
    """An open model. `session` is onnxruntime's; `lineage` is None for artifacts of other origin."""

    session: Any
    serving: ServingMetadata
    lineage: Lineage | None

    def detect(self, image: Pixels, confidence: float, iou: float, most: int) -> Detections:
        """Detections on a BGR page (height, width, 3)."""
        tensor, placed = prepare(image, self.serving.image_size)
        output = self.session.run(None, {self.session.get_inputs()[0].name: tensor})[0]
        return postprocess(output[0], placed, confidence, iou, most)


def open_detector(path: Path, where: str, threads: int) -> Detector:
    """Open an artifact on CPU; StepError BaseUnusable when it is none of ours or not of the contract's shape."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # As OMP_WAIT_POLICY in environment.py: do not spin on CPUs that are shared.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes share no base but Exception
        raise bad_input(
            Reason.BASE_UNUSABLE, f"{where} is no usable ONNX model: {error}.", "Import the model again."
        ) from error
    metadata = session.get_modelmeta().custom_metadata_map
    if SERVING_KEY not in metadata:
        raise bad_input(
            Reason.BASE_UNUSABLE,
            f"{where} carries no {SERVING_KEY} metadata.",
            "Make the artifact with `finetune-trainer import`, which binds classes and settings to the weights.",
        )
    serving = decode(metadata[SERVING_KEY].encode(), ServingMetadata, f"{SERVING_KEY} of {where}", SERVING_SCHEMA)
    _check_shapes(session, serving, where)
    lineage = metadata.get(LINEAGE_KEY)
    return Detector(session, serving, msgspec.json.decode(lineage, type=Lineage) if lineage else None)


def _check_shapes(session: Any, serving: ServingMetadata, where: str) -> None:
    size, rows = serving.image_size, 4 + len(serving.classes)
    inputs = [list(i.shape) for i in session.get_inputs()]
    outputs = [list(o.shape) for o in session.get_outputs()]
    if inputs != [[1, 3, size, size]] or len(outputs) != 1 or outputs[0][:2] != [1, rows]:
        raise bad_input(
            Reason.BASE_UNUSABLE,
            f"{where} has inputs {inputs} and outputs {outputs}, expected [[1, 3, {size}, {size}]] and [1, {rows}, n].",
            "Export with `finetune-trainer import`: fixed size, no NMS inside.",
        )
