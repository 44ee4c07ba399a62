"""Measuring one artifact on sets of pages."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
from msgspec import to_builtins

from .. import __version__
from ..data.decoding import PIXEL_RULE
from ..documents.codec import digest
from ..documents.serving import PREPROCESS, Serving
from ..errors import Reason, StepError, bad_input
from ..progress import Counted, uncounted
from .average_precision import MATCH_IOU, PrecisionRecall, per_class
from .detector import Detector, UnusableOutput
from .pages import Page, PageResult
from .postprocess import Detections, Thresholds
from .preprocess import Pixels, decode

EVALUATOR: Final = f"finetune-trainer {__version__}"
"""Who measured, as results and reports say it."""

VALIDATION: Final = Thresholds(confidence=0.001, nms_iou=0.7, max_detections=300)
"""What mAP is measured at. Ultralytics' settings of `val`: nearly every score counts for AP."""


def validation(serving: Serving) -> Thresholds:
    """Return what mAP is measured at: VALIDATION, or more detections where the model is served with more."""
    return replace(VALIDATION, max_detections=max(VALIDATION.max_detections, serving.max_detections))


_READ_AHEAD: Final = 8
"""Pages read ahead, side by side: a store far away answers slowly. They are as large as their files."""

_DECODED_AHEAD: Final = 2
"""Pages decoded ahead of the model; each has some 25 to 100 MB."""

Given = TypeVar("Given")
Made = TypeVar("Made")


def settings_digest(serving: Serving) -> str:
    """Return the sha256 of everything that a number depends on beside model and pages."""
    settings: dict[str, object] = to_builtins(serving)
    return digest(
        {
            "evaluator": EVALUATOR,
            "map": {
                "confidence": str(VALIDATION.confidence),
                "iou": str(VALIDATION.nms_iou),
                "maxDetections": validation(serving).max_detections,
            },
            "averagePrecision": "101 points, trapezoids, IoU 0.5, mean over labelled classes",
            "pixels": PIXEL_RULE,
            "preprocess": PREPROCESS,
            "multiLabel": True,
            "imageSize": settings.pop("imageSize"),
            "rates": {**settings, "matchIou": str(MATCH_IOU)},
        }
    )


@dataclass(frozen=True, slots=True)
class Speed:
    """Milliseconds from decoded page to boxes: median and 95th percentile; `own` is that of the model alone."""

    p50: float
    p95: float
    own: float


def run_model(
    detector: Detector,
    pages: Sequence[Page],
    thresholds: Thresholds,
    counted: Counted = uncounted,
    *,
    served: Thresholds | None = None,
    must_answer: bool = False,
) -> tuple[list[PageResult], Speed]:
    """Return a model's detections on every page, and its speed; `counted` is called after each page.

    `served` are the thresholds that it is served with, where these are others. Other threads read and decode the
    next pages while the model works; however many pages there are, few are in memory. What is detected of classes that
    a page was not labelled for does not count. On a page that the server would answer with an error nothing is found;
    where the model `must_answer`, StepError BaseUnusable. DigestMismatch for an image that is not what the plan lists.
    """
    results: list[PageResult] = []
    seconds: list[float] = []
    own: list[float] = []
    for page, image in _decoded(pages):
        start = time.perf_counter()
        wanted = [thresholds] if served is None else [thresholds, served]
        try:
            (detections, *others), took = detector.detect_timed(image, wanted)
        except UnusableOutput as error:
            if must_answer:
                raise _unanswered(page, error) from error
            (detections, *others), took = [Detections.none()] * len(wanted), time.perf_counter() - start
        own.append(took)
        seconds.append(time.perf_counter() - start)
        truth = page.truth(height=image.shape[0], width=image.shape[1])
        result = PageResult(page, detections, truth, others[0] if others else detections)
        fields = page.sample.fields
        results.append(result if fields is None else replace(result, answered=result.served).of_first(fields))
        counted(len(results), len(pages))
    p50, p95 = np.percentile(np.array(seconds) * 1000, [50, 95]) if seconds else (0.0, 0.0)
    alone = np.percentile(np.array(own) * 1000, 95) if own else 0.0
    return results, Speed(float(p50), float(p95), float(alone))


def _unanswered(page: Page, error: UnusableOutput) -> StepError:
    """Return the error of a page that the server would answer with one: where it has no label, nothing was missed."""
    return bad_input(
        Reason.BASE_UNUSABLE,
        f"The page {page.sample.image.uri} would be answered with an error: {error}.",
        "See how the model was trained: its weights are too large, or no training made it.",
    )


def _decoded(pages: Sequence[Page]) -> Iterator[tuple[Page, Pixels]]:
    with ThreadPoolExecutor(_READ_AHEAD) as readers, ThreadPoolExecutor(1) as decoder:
        files = _ahead(readers, Page.image, pages, _READ_AHEAD)
        for page, image in zip(pages, _ahead(decoder, decode, files, _DECODED_AHEAD), strict=True):
            if image is None:
                raise bad_input(
                    Reason.IMAGE_UNREADABLE, f"{page.sample.image.uri} cannot be decoded.", "Replace or remove it."
                )
            yield page, image


def _ahead(threads: Executor, make: Callable[[Given], Made], given: Iterable[Given], count: int) -> Iterator[Made]:
    """Yield what is made of each, in order; at most `count` of them are made ahead."""
    waiting: deque[Future[Made]] = deque()
    for each in given:
        waiting.append(threads.submit(make, each))
        if len(waiting) > count:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def measure_map(results: Sequence[PageResult], classes: int) -> dict[int, PrecisionRecall]:
    """Return AP50 by class index."""
    return per_class([(r.detections, r.truth) for r in results], classes)
