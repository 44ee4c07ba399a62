"""The artifact as the evaluator opens it: what the server would not serve is not measured either."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from finetune_trainer.digests import sha256_of
from finetune_trainer.documents.codec import FileReference
from finetune_trainer.documents.serving import Lineage
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.evaluation.detector import UnusableOutput, open_detector
from finetune_trainer.evaluation.postprocess import Thresholds
from finetune_trainer.steps.models import fetch_candidate
from trainer.networks import BLACK, BOX, SERVING, SIZE, WHITE, by_page, constant
from trainer.policy import NOTHING
from trainer.world import World, context


def found(path: Path) -> int:
    detector = open_detector(path, "file:///model.onnx", threads=1)
    return len(detector.detect(BLACK, Thresholds.of(SERVING)).scores)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 6])
def test_a_page_that_the_server_answers_with_an_error_has_no_detections(
    tmp_path: Path, number: float, row: int
) -> None:
    output = BOX.copy()
    output[0, row, 1] = number
    path = by_page(tmp_path, output)
    assert found(path) == 1
    with pytest.raises(UnusableOutput, match="is not finite"):
        open_detector(path, "file:///model.onnx", threads=1).detect(WHITE, Thresholds.of(SERVING))


@pytest.mark.row("R317")
@pytest.mark.parametrize("kind", [np.float16, np.float64, np.int32])
def test_a_model_whose_output_has_another_type_is_unusable(tmp_path: Path, kind: type[np.generic]) -> None:
    """Of 0.3 in more digits the server makes 0.3000000119, and does not answer what is above the one alone."""
    weights = numpy_helper.from_array(BOX.astype(kind), "weights")
    with pytest.raises(StepError) as caught:
        found(constant(tmp_path, weights, output_type=weights.data_type))
    assert caught.value.reason is Reason.BASE_UNUSABLE
    assert "tensor(float)" in caught.value.message


@pytest.mark.parametrize("place", ["weights.bin", "{folder}/weights.bin", "../weights.bin"])
def test_a_model_whose_weights_lie_elsewhere_is_unusable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    for folder in (tmp_path / "here", tmp_path):
        folder.mkdir(exist_ok=True)
        (folder / "weights.bin").write_bytes(BOX.tobytes())
    monkeypatch.chdir(tmp_path / "here")
    weights = TensorProto(name="weights", data_type=TensorProto.FLOAT, dims=BOX.shape)
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=place.format(folder=tmp_path / "here"))
    path = constant(tmp_path / "here", weights)
    assert onnx.load(path, load_external_data=False).graph.initializer[0].external_data
    with pytest.raises(StepError) as caught:
        found(path)
    assert caught.value.reason is Reason.BASE_UNUSABLE


@pytest.mark.row("R306")
@pytest.mark.parametrize(
    ("maker", "written_by", "is_measured"),
    [
        ("uid-1", "uid-1", True),
        ("uid-2", "uid-1", False),
        ("uid-2", "uid-2", True),
        ("uid-2", "uid-11", True),
        (None, "uid-1", True),
        ("nobody", "uid-1", True),
    ],
    ids=["its own", "another run's", "taken over", "beside its folder", "without a maker", "without lineage"],
)
def test_a_candidate_that_another_run_made_is_not_measured_as_this_runs_own(
    tmp_path: Path, maker: str | None, written_by: str, is_measured: bool
) -> None:
    """Else which of the two is recorded first decides who made it, and the other one, the honest one, ends."""
    world = World(tmp_path)
    folder = world.artifacts / "ml" / written_by / "attempt-1"
    folder.mkdir(parents=True)
    lineage = Lineage(type="FineTuned", base="base_v1", owner=maker) if maker != "nobody" else None
    path = constant(folder, numpy_helper.from_array(BOX, "weights"), lineage)
    artifact = FileReference(path.as_uri(), sha256_of(path.read_bytes()))
    base = {"version": "base_v1", "artifact": NOTHING, "checkpoint": NOTHING, "inputs": None}
    serving = {"imageSize": SIZE, "confidence": "0.25", "nmsIou": "0.7", "maxDetections": 300}
    document = world.parsed(base, serving=serving)
    step = context("evaluate", document, tmp_path / "scratch")
    (tmp_path / "scratch").mkdir(exist_ok=True)
    if is_measured:
        assert fetch_candidate(step, document, artifact).lineage == lineage
        return
    with pytest.raises(StepError, match="says that run uid-2 made it") as caught:
        fetch_candidate(step, document, artifact)
    assert caught.value.reason is Reason.CONTRACT_VIOLATED
