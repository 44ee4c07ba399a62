"""The artifact as the evaluator opens it, checked against what it says about itself."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime

from ..artifact.metadata import parse_metadata
from ..documents.serving import Lineage, ServingMetadata
from ..errors import Reason, bad_input
from .postprocess import Detections, Thresholds, postprocess
from .preprocess import Pixels, prepare

_NO_FILES: Final = ("session.model_external_initializers_file_folder_path", "/dev/null")
"""A model can name other files for its weights. Its digest does not cover them, so there are none, as in the server."""

_FLOAT: Final = "tensor(float)"
"""What onnxruntime calls float32."""


@dataclass(frozen=True, slots=True)
class Detector:
    """An open model. `session` is onnxruntime's; `lineage` is None for artifacts of other origin."""

    session: Any
    serving: ServingMetadata
    lineage: Lineage | None

    def detect(self, image: Pixels, thresholds: Thresholds) -> Detections:
        """Return the detections on a BGR page (height, width, 3)."""
        return self.detect_each(image, (thresholds,))[0]

    def detect_each(self, image: Pixels, thresholds: Sequence[Thresholds]) -> list[Detections]:
        """Return the detections on a page at each of the thresholds; the model runs once.

        There are none where any number of the output is not finite: the server answers such a page with an error.
        """
        return self.detect_timed(image, thresholds)[0]

    def detect_timed(self, image: Pixels, thresholds: Sequence[Thresholds]) -> tuple[list[Detections], float]:
        """Return the same, and the seconds that the model itself ran, which the server calls stage `inference`."""
        tensor, letterbox = prepare(image, self.serving.image_size)
        start = time.perf_counter()
        output = self.session.run(None, {self.session.get_inputs()[0].name: tensor})[0]
        seconds = time.perf_counter() - start
        if not np.isfinite(output).all():
            output = np.zeros((1, 4 + len(self.serving.classes), 0), np.float32)
        return [postprocess(output[0], letterbox, each) for each in thresholds], seconds


def open_detector(path: Path, where: str, *, threads: int) -> Detector:
    """Open an artifact on CPU; StepError BaseUnusable when it is none of ours or not of the contract's shape."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # As OMP_WAIT_POLICY in environment.py: do not spin on CPUs that are shared.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(*_NO_FILES)
    try:
        # Bytes, as in the server: for a path, weights are looked for beside it.
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes share no base but Exception
        raise bad_input(
            Reason.BASE_UNUSABLE, f"{where} is no usable ONNX model: {error}.", "Import the model again."
        ) from error
    metadata = parse_metadata(session.get_modelmeta().custom_metadata_map, where)
    _check_shapes(session, metadata.serving, where)
    return Detector(session, metadata.serving, metadata.lineage)


def _check_shapes(session: Any, serving: ServingMetadata, where: str) -> None:
    size, rows = serving.image_size, 4 + len(serving.classes)
    inputs = [(i.type, list(i.shape)) for i in session.get_inputs()]
    outputs = [(o.type, list(o.shape)) for o in session.get_outputs()]
    # In numbers of other types a score may be above the confidence here, and not in the server.
    fits = len(outputs) == 1 and (outputs[0][0], outputs[0][1][:2]) == (_FLOAT, [1, rows])
    if inputs != [(_FLOAT, [1, 3, size, size])] or not fits:
        said, given = (", ".join(f"{kind} {shape}" for kind, shape in each) for each in (inputs, outputs))
        raise bad_input(
            Reason.BASE_UNUSABLE,
            f"{where} has inputs {said} and outputs {given}, expected {_FLOAT} [1, 3, {size}, {size}] and "
            f"[1, {rows}, n].",
            "Export with `finetune-trainer import`: fixed size, float32, no NMS inside.",
        )
