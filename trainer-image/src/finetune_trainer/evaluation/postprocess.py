"""Network output to detections on the page: multi-label, class-wise NMS, exactly as the server does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from finetune_trainer.evaluation.preprocess import Letterbox, Tensor

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

# Candidates that enter NMS, best first, as ultralytics limits them; only an untrained model has more.
_MOST_CANDIDATES: Final = 30_000


@dataclass(frozen=True)
class Detections:
    """Boxes (n, 4) as x1 y1 x2 y2 in page pixels, scores (n,) in descending order, class indices (n,)."""

    boxes: Floats
    scores: Floats
    fields: Ints

    def above(self, confidence: float) -> Detections:
        """Those with a score above `confidence`."""
        keep = self.scores > confidence
        return Detections(self.boxes[keep], self.scores[keep], self.fields[keep])


def postprocess(output: Tensor, placed: Letterbox, confidence: float, iou: float, most: int) -> Detections:
    """Detections from the output (4 + classes, candidates), xywh in pixels of the square.

    Each class score above `confidence` is a detection of its own. Per class, greedy by score, a box is dropped
    when it overlaps a kept one by more than `iou`; at most `most` are kept.
    """
    scores = output[4:]
    # Candidate by candidate, so that equal scores keep the same order in evaluator and server.
    candidates, fields = np.nonzero(confidence < scores.T)
    found = scores[fields, candidates]
    order = np.argsort(-found, kind="stable")[:_MOST_CANDIDATES]
    fields, candidates, found = fields[order], candidates[order], found[order]
    x, y, width, height = output[:4, candidates]
    square = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=1)
    keep = non_maximum_suppression(square, fields, iou, most)
    return Detections(to_page(square[keep], placed), found[keep], fields[keep])


def non_maximum_suppression(boxes: Floats, fields: Ints, iou: float, most: int) -> Ints:
    """Indices of the kept boxes; `boxes` and `fields` come in descending order of score."""
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
    """IoU of every box of `first` (n, 4) with every box of `second` (m, 4), shape (n, m)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - common
    return np.asarray(common / np.maximum(union, 1e-9), dtype=np.float32)


def to_page(boxes: Floats, placed: Letterbox) -> Floats:
    """Boxes from pixels of the square to pixels of the page, clipped to the page."""
    offset = np.array([placed.left, placed.top] * 2, dtype=np.float32)
    limit = np.array([placed.width, placed.height] * 2, dtype=np.float32)
    # The two axes were rounded apart, so each has a scale of its own.
    scaled = np.array([placed.scaled_width, placed.scaled_height] * 2, dtype=np.float32)
    clipped: Floats = np.clip((boxes - offset) * (limit / scaled), np.float32(0), limit)
    return clipped
