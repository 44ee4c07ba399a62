"""AP at IoU 0.5 by ultralytics' formula, so that numbers compare with `yolo val rect=False`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from .postprocess import Detections, Floats, Ints, overlap

MATCH_IOU: Final = 0.5
"""Least overlap of a detection with the label that it takes."""

_RECALL_POINTS: Final = np.linspace(0, 1, 101)
"""COCO's 101 recall points; between them trapezoids are integrated (ultralytics' compute_ap; COCO takes their mean)."""


@dataclass(frozen=True, slots=True)
class Truth:
    """Labelled boxes of one page: (n, 4) as x1 y1 x2 y2 in page pixels, class indices (n,)."""

    boxes: Floats
    fields: Ints

    def of_first(self, fields: int) -> Truth:
        """Return the boxes of the first `fields` classes."""
        kept = self.fields < fields
        return self if kept.all() else Truth(self.boxes[kept], self.fields[kept])


@dataclass(frozen=True, slots=True)
class PrecisionRecall:
    """AP of one class, and its curve: recall and precision after each detection, best first."""

    ap: float
    recall: npt.NDArray[np.float64]
    precision: npt.NDArray[np.float64]


def match(detections: Detections, truth: Truth, iou: float = MATCH_IOU) -> Ints:
    """Return for each detection, in descending score, the index of the label it takes, or -1.

    One to one and within a class: a detection takes the unclaimed label of its class that it overlaps most,
    if by at least `iou`.
    """
    taken = np.full(len(detections.scores), -1, dtype=np.int64)
    if not len(truth.fields) or not len(taken):
        return taken
    overlaps = overlap(truth.boxes, detections.boxes) * (truth.fields[:, None] == detections.fields[None, :])
    free = np.ones(len(truth.fields), dtype=bool)
    for number in np.flatnonzero((overlaps >= iou).any(axis=0)):
        available = np.where(free, overlaps[:, number], 0)
        best = int(available.argmax())
        if available[best] >= iou:
            taken[number] = best
            free[best] = False
    return taken


def average_precision(hits: npt.NDArray[np.bool_], labels: int) -> PrecisionRecall:
    """Return the AP of one class with `labels` labels; `hits` says of its detections, best first, which are matched."""
    true = np.cumsum(hits)
    false = np.cumsum(~hits)
    recall = true / labels
    precision = true / np.maximum(true + false, 1)
    points = np.concatenate(([0.0], recall, [recall[-1] if len(recall) else 1.0], [1.0]))
    values = np.concatenate(([1.0], precision, [0.0], [0.0]))
    envelope = np.flip(np.maximum.accumulate(np.flip(values)))
    ap = float(np.trapezoid(np.interp(_RECALL_POINTS, points, envelope), _RECALL_POINTS)) if len(hits) else 0.0
    return PrecisionRecall(ap, recall, precision)


def per_class(
    pages: Sequence[tuple[Detections, Truth]], classes: int, iou: float = MATCH_IOU
) -> dict[int, PrecisionRecall]:
    """Return AP by class index over all pages, for the classes that have labels (others have no AP)."""
    scores: list[Floats] = [np.zeros(0, np.float32)]
    fields: list[Ints] = [np.zeros(0, np.int64)]
    hits: list[npt.NDArray[np.bool_]] = [np.zeros(0, bool)]
    labels = np.zeros(classes, dtype=np.int64)
    for detections, truth in pages:
        scores.append(detections.scores)
        fields.append(detections.fields)
        hits.append(match(detections, truth, iou) >= 0)
        labels += np.bincount(truth.fields, minlength=classes)
    all_scores, all_fields, all_hits = np.concatenate(scores), np.concatenate(fields), np.concatenate(hits)
    order = np.argsort(-all_scores, kind="stable")
    all_fields, all_hits = all_fields[order], all_hits[order]
    return {
        index: average_precision(all_hits[all_fields == index], int(labels[index]))
        for index in range(classes)
        if labels[index]
    }


def mean_average_precision(results: dict[int, PrecisionRecall]) -> float:
    """Return the mean AP over the classes that have labels."""
    return float(np.mean([r.ap for r in results.values()])) if results else 0.0
