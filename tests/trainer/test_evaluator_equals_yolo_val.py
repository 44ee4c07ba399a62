"""The evaluator, on the exported ONNX, gives the mAP50 of `yolo val rect=False` on the checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import pytest
import yaml

from finetune_trainer.data.labels import LabelProblem, parse_label
from finetune_trainer.digests import sha256_of
from finetune_trainer.documents.codec import FileReference
from finetune_trainer.documents.plan import Sample
from finetune_trainer.evaluation.average_precision import mean_average_precision
from finetune_trainer.evaluation.detector import open_detector
from finetune_trainer.evaluation.evaluate import VALIDATION, measure_map, run_model
from finetune_trainer.evaluation.pages import load_pages
from finetune_trainer.storage import Storage, local_path
from trainer.world import CLASSES, SIDE, page

PAGES = 160


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages of many shapes and sizes, a quarter of them strange to the model, so that mAP50 is neither 0 nor 1."""
    folder = tmp_path_factory.mktemp("pages")
    for name in ("images/test", "labels/test"):
        (folder / name).mkdir(parents=True)
    for number in range(PAGES):
        image, label = page(40_000 + number, strange=number % 4 == 0)
        width, height = 90 + 7 * (number % 23), 90 + 5 * (number % 31)
        cv2.imwrite(str(folder / f"images/test/{number}.png"), cv2.resize(image, (width, height)))
        (folder / f"labels/test/{number}.txt").write_text(label)
    content = {"train": "images/test", "val": "images/test", "test": "images/test", "names": list(CLASSES)}
    (folder / "data.yaml").write_text(yaml.safe_dump(content))
    return folder


def ours(model: Path, pages: Path) -> float:
    samples = []
    for image in sorted((pages / "images/test").iterdir()):
        label = pages / "labels/test" / f"{image.stem}.txt"
        boxes = parse_label(label.read_bytes(), len(CLASSES))
        assert not isinstance(boxes, LabelProblem)
        places = [FileReference(p.as_uri(), sha256_of(p.read_bytes())) for p in (image, label)]
        samples.append(Sample(places[0], places[1], image.stat().st_size, len(boxes)))
    detector = open_detector(model, "the model", threads=2)
    loaded = load_pages(Storage(), samples, len(CLASSES))
    results, _ = run_model(detector, loaded, VALIDATION)
    return mean_average_precision(measure_map(results, len(CLASSES)))


def theirs(checkpoint: Path, pages: Path, output: Path) -> float:
    from ultralytics import YOLO

    metrics = YOLO(str(checkpoint), task="detect").val(
        data=str(pages / "data.yaml"),
        split="test",
        imgsz=SIDE,
        rect=False,
        conf=VALIDATION.confidence,
        iou=VALIDATION.nms_iou,
        max_det=VALIDATION.max_detections,
        nms=None,
        batch=16,
        plots=False,
        device="cpu",
        project=str(output),
        name="val",
        verbose=False,
    )
    return float(metrics.box.map50)


def test_both_evaluators_agree_within_a_tenth_of_a_point(base: dict[str, Any], pages: Path, tmp_path: Path) -> None:
    model, checkpoint = (local_path(base[name]["uri"]) for name in ("artifact", "checkpoint"))
    assert model is not None
    assert checkpoint is not None
    mine, reference = ours(model, pages), theirs(checkpoint, pages, tmp_path)
    print(f"mAP50 on {PAGES} pages: evaluator {100 * mine:.3f}, yolo val rect=False {100 * reference:.3f}")
    assert 0.2 < reference < 0.99, "a comparison at the ends of the scale shows nothing"
    assert abs(mine - reference) <= 0.001
