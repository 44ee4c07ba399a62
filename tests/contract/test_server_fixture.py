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
from contract.outputs import OUTPUTS, SIZE
from finetune_server.metadata import ServingSettings
from finetune_server.pages.decoding import PIXEL_RULE
from finetune_server.postprocess import select
from server.support import Answer, ServerProcess, decode, install_model, wait_until

FIXTURES = Path(__file__).parent / "fixtures"
EXPECTED: dict[str, Any] = json.loads((FIXTURES / "expected.json").read_text())
PIXELS: dict[str, Any] = json.loads((FIXTURES / "pixels.json").read_text())
COPIES = (
    ("serving-image/src/finetune_server/pages/decoding.py", "trainer-image/src/finetune_trainer/data/decoding.py"),
    ("serving-image/src/finetune_server/pages/libtiff.py", "trainer-image/src/finetune_trainer/data/libtiff.py"),
    ("serving-image/src/finetune_server/pages/tiff.py", "trainer-image/src/finetune_trainer/labelling/tiff.py"),
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server captures all that it answers."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, kept: Path) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("fixture")
    capture = {"FINETUNE_CAPTURE_URI": kept.as_uri(), "FINETUNE_CAPTURE_RANDOM": "1"}
    capture |= {"FINETUNE_CAPTURE_PER_HOUR": "10000", "FINETUNE_CAPTURE_PER_DAY": "10000"}
    model = install_model(folder / "model", (FIXTURES / "model.onnx").read_bytes())
    server = ServerProcess(model, folder / "log", capture)
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


@pytest.mark.parametrize("copies", COPIES)
def test_trainer_and_server_decode_by_the_same_rules(copies: tuple[str, str]) -> None:
    server, trainer = (Path(__file__).resolve().parents[2].joinpath(copy).read_text() for copy in copies)
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


@pytest.mark.row("R317")
@pytest.mark.parametrize("case", OUTPUTS)
def test_the_server_answers_of_any_output_what_the_evaluator_finds(case: str) -> None:
    output = OUTPUTS[case]
    settings = ServingSettings(("field",), SIZE, confidence=0.25, nms_iou=output.nms_iou, max_detections=300)
    assert select(output.array, settings).scores.tolist() == output.scores


@pytest.mark.parametrize("page", PIXELS["pages"])
def test_a_captured_page_bears_the_digest_by_which_a_pool_knows_it(
    server: ServerProcess, kept: Path, page: str
) -> None:
    content = (FIXTURES / "pages" / page).read_bytes()
    answer = server.predict(content, MEDIA_TYPES[Path(page).suffix]).json
    assert recorded(kept, answer["prediction"]) == PIXELS["pages"][page]


def test_a_captured_page_of_a_document_bears_the_digest_of_its_picture(server: ServerProcess, kept: Path) -> None:
    document = PIXELS["document"]
    content = (FIXTURES / "documents" / document["file"]).read_bytes()
    answer = server.predict(content, "application/pdf", f"?pages=all&dpi={document['dpi']}").json
    digests = {str(page["number"]): recorded(kept, page["prediction"]) for page in answer["pages"]}
    assert digests == document["pages"]


def recorded(kept: Path, prediction: str) -> str:
    """The digest of the pixels in a record, once it is written."""

    def files() -> list[Path]:
        return list(kept.rglob(f"{prediction}.json"))

    wait_until(lambda: len(files()) == 1)
    return str(json.loads(files()[0].read_text())["page"]["pixels"])


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
