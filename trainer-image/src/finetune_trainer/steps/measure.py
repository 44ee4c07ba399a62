"""Measuring a model for a verdict: the numbers of the result, and the details of the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..documents.report import PageLine
from ..documents.result import Measured, Rates
from ..documents.serving import Serving
from ..evaluation.average_precision import PrecisionRecall, match, mean_average_precision
from ..evaluation.detector import Detector
from ..evaluation.evaluate import VALIDATION, Speed, measure_map, run_model
from ..evaluation.pages import Page, PageResult
from ..evaluation.postprocess import Thresholds
from ..evaluation.rates import rates
from ..progress import Counted, uncounted


@dataclass(frozen=True, slots=True)
class Measurement:
    """A model's result with what the report and the plots show beside it."""

    measured: Measured
    curves: dict[int, PrecisionRecall]
    test: Sequence[PageResult]
    new: Sequence[PageResult]
    speed: Speed


def measure(
    detector: Detector,
    sha256: str,
    serving: Serving,
    *,
    test: Sequence[Page],
    new: Sequence[Page] | None,
    with_fields: bool,
    counted: Counted = uncounted,
) -> Measurement:
    """Measure mAP50 on `test`, and rates on `new` (all of it, and its fresh pages) at the serving settings.

    `counted` is called after each page, of all.
    """
    total = len(test) + len(new or ())
    classes = len(detector.serving.classes)
    test_results, speed = run_model(detector, test, VALIDATION, lambda count, _: counted(count, total))
    curves = measure_map(test_results, classes)
    pool: Rates | None = None
    fresh: Rates | None = None
    new_results: list[PageResult] = []
    if new is not None:
        new_results, _ = run_model(
            detector, new, Thresholds.of(serving), lambda count, _: counted(len(test) + count, total)
        )
        pool = rates(new_results, classes, with_fields=with_fields)
        fresh_results = [result for result in new_results if result.fresh]
        fresh = rates(fresh_results, classes, with_fields=False) if fresh_results else None
    measured = Measured(
        sha256=sha256,
        map50=f"{mean_average_precision(curves):.6f}",
        ap50=tuple(f"{curves[i].ap:.4f}" if i in curves else "" for i in range(classes)),
        pool=pool,
        fresh=fresh,
    )
    return Measurement(measured, curves, test_results, new_results, speed)


def mean_confidence(results: Sequence[PageResult], confidence: float) -> float:
    """Return the mean score above `confidence`, 0 when there is none: the baseline for drift alerts."""
    scores = np.concatenate([r.detections.above(confidence).scores for r in results] or [np.zeros(0, np.float32)])
    return float(scores.mean()) if len(scores) else 0.0


def page_counts(result: PageResult, confidence: float) -> PageLine:
    """Return one page's line in the report: labels, detections above `confidence`, and matches of these."""
    shown = result.detections.above(confidence)
    return PageLine(
        image=result.page.sample.image.uri,
        sha256=result.page.sample.image.sha256,
        labels=len(result.truth.fields),
        detections=len(shown.scores),
        matched=int((match(shown, result.truth) >= 0).sum()),
    )
