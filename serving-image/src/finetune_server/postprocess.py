"""From the network's raw output to boxes: threshold, class-wise NMS, limit (docs/reference/contracts.md section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from .metadata import ServingSettings

Floats = npt.NDArray[np.float32]

_MOST_CANDIDATES: Final = 30_000
"""Detections that enter NMS, best first, as in evaluations: only what no training makes has more."""


@dataclass(frozen=True, slots=True)
class Detections:
    """Boxes by falling score: `boxes` (n, 4) x1 y1 x2 y2 in pixels, `scores` (n,) in 0..1, `classes` (n,) indices."""

    boxes: Floats
    scores: Floats
    classes: npt.NDArray[np.intp]


def select(output: Floats, settings: ServingSettings) -> Detections:
    """Decode one image's head output (4 + classes, candidates), boxes as centre and size.

    Multi-label: every class score of a candidate above the serving confidence is a detection of its own. One above 1
    counts as 1: no record of a captured page may have more.
    """
    above = output[4:] > np.float32(settings.confidence)
    candidates = np.flatnonzero(above.any(axis=0))
    # Candidate-major order, so that equal scores keep the order in which the evaluator sees them.
    at, classes = np.nonzero(above[:, candidates].T)
    columns = candidates[at]
    scores = np.minimum(output[4:][classes, columns], 1)
    centre, half = output[:2, columns].T, output[2:4, columns].T / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    keep = suppress(boxes, scores, classes, nms_iou=settings.nms_iou, limit=settings.max_detections)
    return Detections(boxes[keep], scores[keep], classes[keep])


def suppress(
    boxes: Floats, scores: Floats, classes: npt.NDArray[np.intp], *, nms_iou: float, limit: int
) -> npt.NDArray[np.intp]:
    """Greedy class-wise non-maximum suppression: indices of the kept boxes by falling score, at most `limit`.

    A box goes when its IoU with a kept, higher-scored box of its class is above `nms_iou`. One pass
    over all classes in score order keeps what class by class would, and may stop at `limit`. Reckoned step by step as
    the evaluator does, also for boxes that are none: what is judged is what is answered.
    """
    order = np.argsort(-scores, kind="stable")[:_MOST_CANDIDATES]
    x1, y1, x2, y2 = boxes[order].T
    areas = (x2 - x1) * (y2 - y1)
    labels = classes[order]
    alive = np.ones(len(order), dtype=bool)
    kept: list[int] = []
    for index in range(len(order)):
        if not alive[index]:
            continue
        kept.append(index)
        if len(kept) == limit:
            break
        rest = slice(index + 1, None)
        width = np.minimum(x2[rest], x2[index]) - np.maximum(x1[rest], x1[index])
        height = np.minimum(y2[rest], y2[index]) - np.maximum(y1[rest], y1[index])
        overlap = np.maximum(width, 0) * np.maximum(height, 0)
        # Boxes of no area have no union, and of those whose corners are exchanged it is below 0: they hide nothing.
        union = np.maximum(areas[rest] + areas[index] - overlap, np.float32(1e-9))
        over = overlap / union > np.float32(nms_iou)
        alive[rest] &= ~(over & (labels[rest] == labels[index]))
    return order[np.array(kept, dtype=np.intp)]
