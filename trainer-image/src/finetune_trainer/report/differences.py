"""What two models made of one field of a page, side by side, for a person to see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from ..evaluation.average_precision import match
from ..evaluation.pages import PageResult
from ..evaluation.postprocess import Floats
from ..evaluation.preprocess import Pixels, decode
from .evaluation import Mark, marked

_SIDE: Final = 480
"""Pixels that a side of one of the two pictures has at most."""

_AROUND: Final = 0.08
"""Of the page's longer side: what is shown around the boxes, so that people see where on the page it is."""

_FOUND: Final = (60, 160, 60)
_WRONG: Final = (40, 40, 220)
_LABEL: Final = (200, 120, 20)
_UNKNOWN: Final = (160, 60, 160)
"""Blue, green, red: of a box that no label judges."""


def side_by_side(old: PageResult, new: PageResult, field: int, *, labelled: bool) -> bytes | None:
    """Return a JPEG of the part of a page that has a field, old left and new right; None for a page without pixels.

    Green boxes are matched, red ones wrong, blue ones labels that were missed; violet ones no label tells of.
    """
    image = decode(old.page.image())
    if image is None:
        return None
    height, width = image.shape[:2]
    boxes = [*_boxes(old, field), *_boxes(new, field), *old.truth.boxes[old.truth.fields == field]]
    x1, y1, x2, y2 = _region(boxes, width=width, height=height)
    scale = min(1.0, _SIDE / max(x2 - x1, y2 - y1))
    part = image[y1:y2, x1:x2]
    canvas: Pixels = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else part
    origin = np.array([x1, y1, x1, y1], np.float32)
    halves = [marked(canvas, _marks(result, field, origin, labelled=labelled), scale) for result in (old, new)]
    gap = np.full((canvas.shape[0], 6, 3), 128, np.uint8)
    encoded = cv2.imencode(".jpg", np.hstack([halves[0], gap, halves[1]]), [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return bytes(encoded.tobytes())


def _boxes(result: PageResult, field: int) -> Floats:
    boxes: Floats = result.served.boxes[result.served.fields == field]
    return boxes


def _region(boxes: Sequence[Floats], *, width: int, height: int) -> tuple[int, int, int, int]:
    """Return the part of the page with all boxes and some of what is around; the whole page without any."""
    if not boxes:
        return 0, 0, width, height
    around = _AROUND * max(width, height)
    every = np.stack(boxes)
    x1, y1 = (int(max(value - around, 0)) for value in every[:, :2].min(axis=0))
    right, below = (float(value) + around for value in every[:, 2:].max(axis=0))
    return x1, y1, max(min(int(right), width), x1 + 1), max(min(int(below), height), y1 + 1)


def _marks(result: PageResult, field: int, origin: Floats, *, labelled: bool) -> list[Mark]:
    served, truth = result.served, result.truth
    taken = match(served, truth)
    missed = sorted(set(np.flatnonzero(truth.fields == field).tolist()) - set(taken.tolist()))
    marks = [Mark(truth.boxes[at] - origin, "", _LABEL) for at in missed]
    for at in np.flatnonzero(served.fields == field):
        colour = _UNKNOWN if not labelled else _FOUND if taken[at] >= 0 else _WRONG
        marks.append(Mark(served.boxes[at] - origin, f"{served.scores[at]:.2f}", colour))
    return marks
