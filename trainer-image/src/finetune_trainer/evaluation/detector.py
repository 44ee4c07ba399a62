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
from .network import check_network
from .postprocess import Detections, Thresholds, postprocess
from .preprocess import Pixels, Tensor, prepare

_NO_FILES: Final = ("session.model_external_initializers_file_folder_path", "/dev/null")
"""A model can name other files for its weights. Its digest does not cover them, so there are none, as in the server."""

_ONNX: Final = ("session.load_model_format", "ONNX")
"""onnxruntime has a format of its own, and goes by some bytes at the beginning: what is looked at here is ONNX."""

_FLOAT: Final = "tensor(float)"
"""What onnxruntime calls float32."""

_GREY: Final = 0.5
"""Of the page that the server starts with."""


class UnusableOutput(Exception):
    """An output that the server does not answer with: it says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Detector:
    """An open model, and its file. `session` is onnxruntime's; `lineage` is None for artifacts of other origin."""

    file: Path
    session: Any
    serving: ServingMetadata
    lineage: Lineage | None
    where: str

    def detect(self, image: Pixels, thresholds: Thresholds) -> Detections:
        """Return the detections on a BGR page (height, width, 3)."""
        return self.detect_each(image, (thresholds,))[0]

    def detect_each(self, image: Pixels, thresholds: Sequence[Thresholds]) -> list[Detections]:
        """Return the detections on a page at each of the thresholds; the model runs once.

        Raises UnusableOutput for a page that the server answers with an error.
        """
        return self.detect_timed(image, thresholds)[0]

    def detect_timed(self, image: Pixels, thresholds: Sequence[Thresholds]) -> tuple[list[Detections], float]:
        """Return the same, and the seconds that the model itself ran, which the server calls stage `inference`."""
        tensor, letterbox = prepare(image, self.serving.image_size)
        start = time.perf_counter()
        output = self._run(tensor)
        seconds = time.perf_counter() - start
        rows = self._usable(output)
        return [postprocess(rows, letterbox, each) for each in thresholds], seconds

    def check_start(self) -> None:
        """Raise UnusableOutput where the server would not start: it runs twice on a grey page, and is ready then."""
        size = self.serving.image_size
        for _ in range(2):
            self._usable(self._run(np.full((1, 3, size, size), _GREY, np.float32)))

    def _run(self, tensor: Tensor) -> Tensor:
        output: Tensor = self.session.run(None, {self.session.get_inputs()[0].name: tensor})[0]
        return output

    def _usable(self, output: Tensor) -> Tensor:
        """Return what the network made of one page, (4 + classes, candidates); UnusableOutput where there is none.

        What a model declares binds nobody: its output may have another shape, page by page.
        """
        rows = 4 + len(self.serving.classes)
        if output.ndim != 3 or output.shape[:2] != (1, rows):
            raise UnusableOutput(f"the output of {self.where} is {output.shape}, not (1, {rows}, candidates)")
        if not np.isfinite(output).all():
            raise UnusableOutput(f"the output of {self.where} is not finite")
        return np.asarray(output[0])


def open_detector(path: Path, where: str, *, threads: int) -> Detector:
    """Open an artifact on CPU; StepError BaseUnusable when it is none of ours or not of the contract's shape."""
    content = path.read_bytes()
    check_network(content, where)
    try:
        session = new_session(content, threads=threads)
    except Exception as error:  # onnxruntime's own classes share no base but Exception
        raise bad_input(
            Reason.BASE_UNUSABLE, f"{where} is no usable ONNX model: {error}.", "Import the model again."
        ) from error
    metadata = parse_metadata(session.get_modelmeta().custom_metadata_map, where)
    _check_shapes(session, metadata.serving, where)
    detector = Detector(path, session, metadata.serving, metadata.lineage, where)
    try:
        detector.check_start()
    except Exception as error:  # see above
        raise bad_input(
            Reason.BASE_UNUSABLE,
            f"No server would start with {where}, which does not answer a grey page: {error}.",
            "Import the model again.",
        ) from error
    return detector


def new_session(content: bytes, *, threads: int, optimised: bool = True, sparing: bool = False) -> Any:
    """Return onnxruntime's session of a network on CPU, with as many threads; its errors are onnxruntime's own.

    Not optimised, its layers are other code, which adds up in another order, and are computed as they are written.
    Sparing, it does not plan its memory after the first page, for which it would take as much once more.
    """
    options = onnxruntime.SessionOptions()
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = not sparing
    # As OMP_WAIT_POLICY in environment.py: do not spin on CPUs that are shared.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(*_NO_FILES)
    options.add_session_config_entry(*_ONNX)
    # Bytes, as in the server: for a path, weights are looked for beside it.
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


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
