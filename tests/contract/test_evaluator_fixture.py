"""The shared fixture from the evaluator's side: the same boxes as the contract's naive reading, and as the server."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from contract.kinds import KINDS, PIXELS_BY_RULE, as_kind, pixels_digest
from contract.outputs import OUTPUTS, SIZE
from finetune_trainer.data.decoding import PIXEL_RULE
from finetune_trainer.data.images import Picture, as_trained, inspect_image
from finetune_trainer.evaluation.detector import Detector, open_detector
from finetune_trainer.evaluation.postprocess import Thresholds, overlap, postprocess
from finetune_trainer.evaluation.preprocess import Letterbox, decode

FIXTURES = Path(__file__).parent / "fixtures"
EXPECTED: dict[str, Any] = json.loads((FIXTURES / "expected.json").read_text())
PIXELS: dict[str, Any] = json.loads((FIXTURES / "pixels.json").read_text())


@pytest.fixture(scope="module")
def detector() -> Detector:
    return open_detector(FIXTURES / "model.onnx", "the fixture", threads=1)


def test_the_pixels_of_a_page_are_those_of_the_rule_by_its_number() -> None:
    assert pixels_digest(decode) == PIXELS_BY_RULE[PIXEL_RULE], "other pixels are another rule: raise PIXEL_RULE"


@pytest.mark.parametrize("page", EXPECTED["pages"])
def test_the_evaluator_returns_the_expected_boxes(detector: Detector, page: str) -> None:
    check(detector, (FIXTURES / "pages" / page).read_bytes(), page)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_of_another_kind_of_file_is_read_alike(detector: Detector, kind: str) -> None:
    page = decode((FIXTURES / "pages" / "small.png").read_bytes())
    assert page is not None
    check(detector, as_kind(page, kind), "small.png")


def check(detector: Detector, data: bytes, page: str) -> None:
    """On this file the boxes of the contract for that page are detected, and no other."""
    image = decode(data)
    assert image is not None
    thresholds = Thresholds(EXPECTED["confidence"], EXPECTED["nmsIou"], EXPECTED["maxDetections"])
    detections = detector.detect(image, thresholds)
    expected = EXPECTED["pages"][page]
    assert len(detections.scores) == len(expected)
    boxes = np.array([b["box"] for b in expected], dtype=np.float32)
    same = (overlap(detections.boxes, boxes) >= 0.99) & (
        np.abs(detections.scores[:, None] - np.array([b["confidence"] for b in expected])) <= 0.001
    )
    names = np.array(detector.serving.classes)[detections.fields]
    same &= names[:, None] == np.array([b["field"] for b in expected])
    # One to one: scores that differ by rounding alone may come in either order.
    assert same.any(axis=0).all()
    assert same.any(axis=1).all()


@pytest.mark.row("R317")
@pytest.mark.parametrize("case", OUTPUTS)
def test_the_evaluator_finds_in_any_output_what_the_server_answers(case: str) -> None:
    output = OUTPUTS[case]
    whole = Letterbox(SIZE, SIZE, SIZE, SIZE, 0, 0)
    detections = postprocess(output.array, whole, Thresholds(0.25, output.nms_iou, max_detections=300))
    assert detections.scores.tolist() == output.scores


@pytest.mark.parametrize("page", EXPECTED["pages"])
def test_training_decodes_the_pixels_that_are_evaluated(page: str) -> None:
    data = (FIXTURES / "pages" / page).read_bytes()
    laid_out = as_trained(data)
    read = cv2.imdecode(np.frombuffer(laid_out, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(read, decode(data))
    with Image.open(io.BytesIO(laid_out)) as image:  # ultralytics drops what Pillow refuses
        image.verify()


@pytest.mark.parametrize("page", PIXELS["pages"])
def test_a_pool_knows_a_page_by_the_digest_that_the_server_records(page: str) -> None:
    assert digest(FIXTURES / "pages" / page) == PIXELS["pages"][page]


@pytest.mark.parametrize("number", PIXELS["document"]["pages"])
def test_a_pool_knows_the_picture_of_a_documents_page_by_the_digest_that_the_server_records(number: str) -> None:
    assert digest(FIXTURES / "documents" / f"two-pages-{number}.png") == PIXELS["document"]["pages"][number]


def digest(path: Path) -> str:
    picture = inspect_image(path.read_bytes())
    assert isinstance(picture, Picture), picture
    return picture.pixels


def test_the_fixture_asks_for_every_rule(detector: Detector) -> None:
    """Pages of other shapes than the square, several classes from one candidate, suppressed and clipped boxes."""
    pages = EXPECTED["pages"]
    assert {b["field"] for boxes in pages.values() for b in boxes} == set(detector.serving.classes)
    assert any(b["box"][0] == 0 or b["box"][1] == 0 for boxes in pages.values() for b in boxes)
    shared = suppressed = 0
    for name, boxes in pages.items():
        image = decode((FIXTURES / "pages" / name).read_bytes())
        assert image is not None
        everything = detector.detect(image, Thresholds(EXPECTED["confidence"], nms_iou=1.0, max_detections=10_000))
        suppressed += len(everything.scores) - len(boxes)
        corners = [tuple(box) for box in everything.boxes.tolist()]
        shared += len(corners) - len(set(corners))
    assert suppressed > 0, "NMS has something to do"
    assert shared > 0, "some candidates are detections of two classes"
