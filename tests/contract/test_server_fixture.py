"""The shared fixture from the server's side, over HTTP: the boxes of the contract, as the evaluator returns them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from contract.kinds import KINDS, MEDIA_TYPES, PIXELS_BY_RULE, as_kind, pixels_digest
from finetune_server.pages.decoding import PIXEL_RULE
from server.support import Answer, ServerProcess, decode, install_model

FIXTURES = Path(__file__).parent / "fixtures"
EXPECTED: dict[str, Any] = json.loads((FIXTURES / "expected.json").read_text())
COPIES = ("serving-image/src/finetune_server/pages/decoding.py", "trainer-image/src/finetune_trainer/data/decoding.py")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("fixture")
    server = ServerProcess(install_model(folder / "model", (FIXTURES / "model.onnx").read_bytes()), folder / "log", {})
    try:
        server.wait_ready()
        yield server
    finally:
        server.kill()


def iou(a: list[float], b: list[float]) -> float:
    """Of two boxes x1 y1 x2 y2."""
    width, height = (max(0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def is_the_same(detection: dict[str, Any], expected: dict[str, Any]) -> bool:
    return (
        detection["field"] == expected["field"]
        and abs(detection["confidence"] - expected["confidence"]) <= 0.001
        and iou(detection["box"], expected["box"]) >= 0.99
    )


def test_trainer_and_server_decode_by_the_same_rules() -> None:
    server, trainer = (Path(__file__).resolve().parents[2].joinpath(copy).read_text() for copy in COPIES)
    assert server == trainer, "change both copies alike"


def test_the_pixels_of_a_page_are_those_of_the_rule_by_its_number() -> None:
    assert pixels_digest(decode) == PIXELS_BY_RULE[PIXEL_RULE], "other pixels are another rule: raise PIXEL_RULE"


@pytest.mark.parametrize("page", EXPECTED["pages"])
def test_the_server_returns_the_expected_boxes(server: ServerProcess, page: str) -> None:
    check(server.predict((FIXTURES / "pages" / page).read_bytes(), MEDIA_TYPES[Path(page).suffix]), page)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_of_another_kind_of_file_is_answered_alike(server: ServerProcess, kind: str) -> None:
    page = cv2.imread(str(FIXTURES / "pages" / "small.png"))
    assert page is not None
    check(server.predict(as_kind(np.asarray(page, np.uint8), kind), MEDIA_TYPES[Path(kind).suffix]), "small.png")


def check(answer: Answer, page: str) -> None:
    """The answer has the boxes of the contract for that page, and no other."""
    assert answer.status == 200
    left = list(answer.json["fields"])
    assert len(left) == len(EXPECTED["pages"][page])
    for expected in EXPECTED["pages"][page]:
        match = next((detection for detection in left if is_the_same(detection, expected)), None)
        assert match is not None, f"{expected} is not among {left}"
        left.remove(match)
    confidences = [detection["confidence"] for detection in answer.json["fields"]]
    assert confidences == sorted(confidences, reverse=True)
