"""The model in memory: exactly the bytes that were verified, checked, loaded and warmed up."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Final, Protocol, cast

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from .artifact import MODEL_FILE, Artifact, read_record
from .errors import StartError
from .metadata import EXPORT_AGAIN, ServingSettings, parse_metadata
from .preprocess import Tensor

_NO_FILES: Final = ("session.model_external_initializers_file_folder_path", "/dev/null")
"""A model can name other files for its weights. Its digest does not cover them: there are none, as in evaluations."""

_ONNX: Final = ("session.load_model_format", "ONNX")
"""onnxruntime has a format of its own, and goes by some bytes at the beginning: evaluations look at ONNX."""

_FLOAT: Final = "tensor(float)"
"""What onnxruntime calls float32. In numbers of other types scores and shares of boxes come out otherwise."""

_SPINNING: Final = {
    "session.intra_op.allow_spinning": "1",
    "session.intra_op.spin_duration_us": "20",
    "session.force_spinning_stop": "1",
}
"""Threads that share a page wait for each other's layers by spinning, for 20 us at a time, and stop with the page.

To sleep and be woken takes as long as a small layer: without spinning a page that is alone takes a tenth longer at 640
pixels. Spinning without a limit, the default, takes the CPU from the thread that is waited for, wherever somebody else
uses one: beside one busy neighbour on two CPUs 11 pages a second, 19 without, and 18 with 20 us. Between two pages it
would eat the CPU quota.
"""


class ShapeError(ValueError):
    """An output that is not of the shape of the contract: what a model declares of it binds nobody."""


class Session(Protocol):
    """The one call of an onnxruntime session that is used here."""

    def run(self, output_names: None, input_feed: dict[str, Tensor]) -> list[npt.NDArray[np.float32]]:
        """Return all outputs for these inputs by name."""
        ...


class ByCompany:
    """One network for a page that is alone, and one for each of as many pages as there are threads.

    Threads that share a page wait for each other at every layer; with a page for each of them they need not. Both
    compute the same numbers.
    """

    def __init__(self, together: Session, each: Session, threads: int) -> None:
        self._together = together
        self._each = each
        self._threads = threads
        self._lock = Lock()
        self._underway = 0

    def run(self, output_names: None, input_feed: dict[str, Tensor]) -> list[npt.NDArray[np.float32]]:
        """Return all outputs for these inputs by name."""
        with self._lock:
            self._underway += 1
            crowded = self._underway >= self._threads
        try:
            return (self._each if crowded else self._together).run(output_names, input_feed)
        finally:
            with self._lock:
                self._underway -= 1


@dataclass(frozen=True, slots=True)
class Detector:
    """A verified, loaded network; `run` may be called from several threads at once.

    `model` is the model that the artifact says it is a version of, None where it says none.
    """

    artifact: Artifact
    settings: ServingSettings
    model: str | None
    session: Session
    input_name: str

    def check(self) -> None:
        """Run on a grey page, as at the start. Raises what `run` and onnxruntime raise."""
        size = self.settings.image_size
        self.run(np.full((1, 3, size, size), 0.5, np.float32))

    def run(self, tensor: Tensor) -> npt.NDArray[np.float32]:
        """Run on (1, 3, S, S) -> (4 + classes, candidates).

        Raises `ShapeError`, and `FloatingPointError` on NaN or infinity: on such pages an evaluation finds nothing.
        """
        output: npt.NDArray[np.float32] = self.session.run(None, {self.input_name: tensor})[0]
        rows = 4 + len(self.settings.classes)
        if output.ndim != 3 or output.shape[:2] != (1, rows):
            raise ShapeError(f"the output is {output.shape}, expected (1, {rows}, candidates): 4 + one row a class")
        if not np.isfinite(output).all():
            raise FloatingPointError("the network's output is not finite")
        return np.asarray(output[0])


def load_detector(directory: Path, artifact: Artifact, threads: int) -> Detector:
    """Verify and load `directory/model.onnx`. Raises `StartError` unless file, record and `artifact` agree.

    The file is read once: the bytes that are hashed are the bytes that onnxruntime gets, so a
    file that is exchanged afterwards is not served.
    """
    record = read_record(directory)
    if record.sha256 != artifact.sha256:
        raise StartError(
            "DigestMismatch",
            f"the init step fetched {record.version} ({record.sha256}), "
            f"this container expects {artifact.version} ({artifact.sha256})",
            "Give both containers the same variables, and delete the pod to fetch again",
        )
    path = directory / MODEL_FILE
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StartError("ModelUnreadable", f"{path}: {error.strerror}", "Delete the pod to fetch again") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != artifact.sha256:
        raise StartError(
            "DigestMismatch",
            f"{path} has sha256 {digest}, {artifact.version} has {artifact.sha256}",
            "Delete the pod to fetch again; if it happens again, somebody writes to the model volume",
        )
    together = _session(content, threads)
    each = together if threads == 1 else _session(content, 1)
    metadata = parse_metadata(together.get_modelmeta().custom_metadata_map)
    detector = Detector(
        artifact=artifact,
        settings=metadata.settings,
        model=metadata.model,
        session=cast(Session, together),
        input_name=_checked_input(together, metadata.settings),
    )
    for session in (together, each):
        _warm_up(replace(detector, session=cast(Session, session)))
    return replace(detector, session=ByCompany(cast(Session, together), cast(Session, each), threads))


def _session(content: bytes, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    for entry in _SPINNING.items():
        options.add_session_config_entry(*entry)
    options.add_session_config_entry(*_NO_FILES)
    options.add_session_config_entry(*_ONNX)
    try:
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class but Exception
        raise StartError("ModelUnusable", f"onnxruntime refuses the model: {error}", EXPORT_AGAIN) from error


def _checked_input(session: ort.InferenceSession, settings: ServingSettings) -> str:
    """Return the input's name, when inputs and outputs are those of the contract."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    size = settings.image_size
    if [(i.type, list(i.shape)) for i in inputs] != [(_FLOAT, [1, 3, size, size])]:
        shapes = ", ".join(f"{i.type} {i.shape}" for i in inputs)
        raise StartError(
            "ModelShape", f"inputs are {shapes}, expected one {_FLOAT} [1, 3, {size}, {size}]", EXPORT_AGAIN
        )
    if [o.type for o in outputs] != [_FLOAT]:
        kinds = ", ".join(o.type for o in outputs)
        raise StartError("ModelShape", f"outputs are {kinds or 'none'}, expected one {_FLOAT}", EXPORT_AGAIN)
    return str(inputs[0].name)


def _warm_up(detector: Detector) -> None:
    """Run twice in full: the first run allocates and picks kernels, the second shows the result's shape."""
    for _ in range(2):
        try:
            detector.check()
        except ShapeError as error:
            raise StartError("ModelShape", str(error), EXPORT_AGAIN) from error
        except Exception as error:  # see _session
            raise StartError("ModelUnusable", f"the warm-up failed: {error}", EXPORT_AGAIN) from error
