"""Network output to detections on the page: multi-label, class-wise NMS, exactly as the server does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ..documents.serving import Serving
from .preprocess import Letterbox, Tensor

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_MOST_CANDIDATES: Final = 30_000
"""Detections that enter NMS, best first, as ultralytics and the server limit them; only an untrained model has more."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What counts as a detection: scores above `confidence`, IoU up to `nms_iou` within a class, the best so many."""

    confidence: float
    nms_iou: float
    max_detections: int

    @staticmethod
    def of(serving: Serving) -> Thresholds:
        """Return the thresholds that a model is served with."""
        return Thresholds(float(serving.confidence), float(serving.nms_iou), serving.max_detections)


@dataclass(frozen=True, slots=True)
class Detections:
    """Boxes (n, 4) as x1 y1 x2 y2 in page pixels, scores (n,) in descending order, class indices (n,)."""

    boxes: Floats
    scores: Floats
    fields: Ints

    @staticmethod
    def none() -> Detections:
        """Return no detections."""
        return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))

    def of_first(self, fields: int) -> Detections:
        """Return those of the first `fields` classes."""
        kept = self.fields < fields
        return self if kept.all() else Detections(self.boxes[kept], self.scores[kept], self.fields[kept])


def postprocess(output: Tensor, letterbox: Letterbox, thresholds: Thresholds) -> Detections:
    """Return the detections from the output (4 + classes, candidates), xywh in pixels of the square.

    Each class score above the confidence is a detection of its own, and one above 1 counts as 1. Per class, greedy by
    score, a box is dropped when it overlaps a kept one by more than the NMS IoU.
    """
    scores = output[4:]
    # Candidate by candidate, so that equal scores keep the same order in evaluator and server.
    candidates, fields = np.nonzero(thresholds.confidence < scores.T)
    above = np.minimum(scores[fields, candidates], 1)
    order = np.argsort(-above, kind="stable")[:_MOST_CANDIDATES]
    fields, candidates, above = fields[order], candidates[order], above[order]
    x, y, width, height = output[:4, candidates]
    square = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=1)
    keep = non_maximum_suppression(square, fields, iou=thresholds.nms_iou, most=thresholds.max_detections)
    return Detections(to_page(square[keep], letterbox), above[keep], fields[keep])


def non_maximum_suppression(boxes: Floats, fields: Ints, *, iou: float, most: int) -> Ints:
    """Return the indices of the kept boxes; `boxes` and `fields` come in descending order of score."""
    kept: list[int] = []
    left = np.arange(len(boxes))
    while len(left) and len(kept) < most:
        best = int(left[0])
        kept.append(best)
        rest = left[1:]
        suppressed = (fields[rest] == fields[best]) & (overlap(boxes[best : best + 1], boxes[rest])[0] > iou)
        left = rest[~suppressed]
    return np.array(kept, dtype=np.int64)


def overlap(first: Floats, second: Floats) -> Floats:
    """Return the IoU of every box of `first` (n, 4) with every box of `second` (m, 4), shape (n, m)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - common
    return np.asarray(common / np.maximum(union, 1e-9), dtype=np.float32)


def to_page(boxes: Floats, letterbox: Letterbox) -> Floats:
    """Move boxes from pixels of the square to pixels of the page, clipped to the page."""
    offset = np.array([letterbox.left, letterbox.top] * 2, dtype=np.float32)
    limit = np.array([letterbox.width, letterbox.height] * 2, dtype=np.float32)
    # The two axes were rounded apart, so each has a scale of its own.
    scaled = np.array([letterbox.scaled_width, letterbox.scaled_height] * 2, dtype=np.float32)
    clipped: Floats = np.clip((boxes - offset) * (limit / scaled), np.float32(0), limit)
    return clipped
