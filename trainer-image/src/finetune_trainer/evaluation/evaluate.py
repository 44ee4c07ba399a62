"""Measuring one artifact on sets of pages."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np

from finetune_trainer import __version__
from finetune_trainer.data.labels import Box, LabelProblem, parse_label
from finetune_trainer.documents.codec import Located, digest
from finetune_trainer.documents.plan import PoolSample, Sample
from finetune_trainer.documents.run import Serving
from finetune_trainer.errors import Reason, bad_input
from finetune_trainer.evaluation.average_precision import PrecisionRecall, Truth, per_class
from finetune_trainer.evaluation.detector import Detector
from finetune_trainer.evaluation.postprocess import Detections
from finetune_trainer.evaluation.preprocess import NAME, Pixels, decode
from finetune_trainer.evaluation.rates import JudgedPage
from finetune_trainer.storage import Storage, check_digest, sha256_of

EVALUATOR: Final = f"finetune-trainer {__version__}"
# Ultralytics' settings of `val`: nearly every score counts for AP, and NMS keeps what overlaps less than 0.7.
CONFIDENCE: Final = 0.001
IOU: Final = 0.7
MAX_DETECTIONS: Final = 300
_AHEAD: Final = 8  # pages decoded ahead of the model


def settings_digest(serving: Serving) -> str:
    """sha256 of everything that a number depends on beside model and pages."""
    return digest(
        {
            "evaluator": EVALUATOR,
            "map": {"confidence": str(CONFIDENCE), "iou": str(IOU), "maxDetections": MAX_DETECTIONS},
            "averagePrecision": "101 points, trapezoids, IoU 0.5, mean over labelled classes",
            "preprocess": NAME,
            "multiLabel": True,
            "rates": {
                "confidence": serving.confidence,
                "nmsIou": serving.nms_iou,
                "maxDetections": serving.max_detections,
                "matchIou": "0.5",
            },
            "imageSize": serving.image_size,
        }
    )


@dataclass(frozen=True)
class Page:
    """A page in memory: encoded image (decoded when it is its turn) and labels."""

    sample: Sample
    image: bytes
    labels: tuple[Box, ...]

    def truth(self, height: int, width: int) -> Truth:
        """Labels in pixels of a page of this size."""
        rows = [
            ((b.x - b.width / 2) * width, (b.y - b.height / 2) * height, (b.x + b.width / 2) * width,
             (b.y + b.height / 2) * height)
            for b in self.labels
        ]  # fmt: skip
        boxes = np.array(rows, dtype=np.float32).reshape(-1, 4)
        return Truth(boxes, np.array([b.field for b in self.labels], dtype=np.int64))


@dataclass(frozen=True)
class PageResult:
    """What one model found on one page."""

    page: Page
    detections: Detections
    truth: Truth


@dataclass(frozen=True)
class Speed:
    """Milliseconds from decoded page to boxes: median and 95th percentile."""

    p50: float
    p95: float


def load_pages(storage: Storage, samples: Sequence[Sample], classes: int) -> list[Page]:
    """Read and verify the pages of a set; StepError DigestMismatch when one is not what the plan lists."""
    uris = [s.image.uri for s in samples] + [s.label.uri for s in samples if s.label]
    contents = storage.read_many(uris)
    pages: list[Page] = []
    for sample in samples:
        check_digest(sample.image.uri, sha256_of(contents[sample.image.uri]), sample.image.sha256)
        labels = _labels(sample.label, contents, classes) if sample.label else ()
        pages.append(Page(sample, contents[sample.image.uri], labels))
    return pages


def _labels(label: Located, contents: Mapping[str, bytes], classes: int) -> tuple[Box, ...]:
    text = contents[label.uri]
    check_digest(label.uri, sha256_of(text), label.sha256)
    boxes = parse_label(text, classes)
    if isinstance(boxes, LabelProblem):
        raise bad_input(boxes.reason, f"{label.uri}: {boxes.message}.", "Mend the label and prepare again.")
    return boxes


def run_model(
    detector: Detector, pages: Sequence[Page], confidence: float, iou: float, most: int
) -> tuple[list[PageResult], Speed]:
    """Detections of a model on every page, decoded in a second thread while the model works."""
    results: list[PageResult] = []
    seconds: list[float] = []
    for page, image in _decoded(pages):
        start = time.perf_counter()
        detections = detector.detect(image, confidence, iou, most)
        seconds.append(time.perf_counter() - start)
        results.append(PageResult(page, detections, page.truth(*image.shape[:2])))
    p50, p95 = np.percentile(np.array(seconds) * 1000, [50, 95]) if seconds else (0.0, 0.0)
    return results, Speed(float(p50), float(p95))


def _decoded(pages: Sequence[Page]) -> Iterator[tuple[Page, Pixels]]:
    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(decode, page.image) for page in pages[:_AHEAD]]
        for number, page in enumerate(pages):
            image = waiting.pop(0).result()
            if number + _AHEAD < len(pages):
                waiting.append(pool.submit(decode, pages[number + _AHEAD].image))
            if image is None:
                raise bad_input(
                    Reason.IMAGE_UNREADABLE, f"{page.sample.image.uri} cannot be decoded.", "Replace or remove it."
                )
            yield page, image


def measure_map(results: Sequence[PageResult], classes: int) -> dict[int, PrecisionRecall]:
    """AP50 by class index."""
    return per_class([(r.detections, r.truth) for r in results], classes)


def judged(results: Sequence[PageResult]) -> list[JudgedPage]:
    """Results on pool samples as pages of documents."""
    return [
        JudgedPage(r.page.sample.document if isinstance(r.page.sample, PoolSample) else "", r.detections, r.truth)
        for r in results
    ]
