"""Precision-recall curves per model, and the new pages before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from matplotlib.figure import Figure

from ..evaluation.average_precision import PrecisionRecall, match
from ..evaluation.pages import PageResult
from ..evaluation.preprocess import Pixels, decode
from .training import png

_SHOWN = 6  # pages in the gallery
_SIDE = 420  # pixels of a page's longer side in the gallery
_GREEN, _RED, _BLUE = (60, 160, 60), (40, 40, 220), (200, 120, 20)  # BGR: matched, wrong, missed label


def precision_recall(models: Mapping[str, Mapping[int, PrecisionRecall]], classes: Sequence[str]) -> bytes:
    """A PNG with one panel per model, one curve per class, AP50 in the legend."""
    figure = Figure(figsize=(5 * len(models), 4.5), layout="constrained")
    panels = figure.subplots(1, len(models), squeeze=False, sharey=True)[0]
    for axes, (name, curves) in zip(panels, models.items(), strict=True):
        for index, curve in curves.items():
            axes.plot(curve.recall, curve.precision, label=f"{classes[index]} {curve.ap:.3f}")
        axes.set(title=name, xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
        if len(curves) <= 20:
            axes.legend(fontsize="x-small", loc="lower left")
    return png(figure)


def gallery(before: Sequence[PageResult], after: Sequence[PageResult], classes: Sequence[str]) -> bytes | None:
    """A JPEG of new pages, before on the left and after on the right: those with most change first; None without pages.

    Green boxes are matched, red ones wrong, blue ones labels that were missed.
    """
    pairs = sorted(zip(before, after, strict=True), key=lambda pair: _hits(pair[0]) - _hits(pair[1]))[:_SHOWN]
    rows = [np.hstack([_drawn(old, classes), _drawn(new, classes)]) for old, new in pairs]
    if not rows:
        return None
    width = max(row.shape[1] for row in rows)
    padded = [cv2.copyMakeBorder(r, 2, 2, 0, width - r.shape[1], cv2.BORDER_CONSTANT, value=(255,) * 3) for r in rows]
    encoded = cv2.imencode(".jpg", np.vstack(padded), [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    return bytes(encoded.tobytes())


def _hits(result: PageResult) -> int:
    return int((match(result.detections, result.truth) >= 0).sum())


def _drawn(result: PageResult, classes: Sequence[str]) -> Pixels:
    image = decode(result.page.image)
    if image is None:  # load_pages and run_model have decoded it before
        return np.full((_SIDE, _SIDE, 3), 255, np.uint8)
    scale = _SIDE / max(image.shape[:2])
    canvas: Pixels = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    taken = match(result.detections, result.truth)
    missed = set(range(len(result.truth.fields))) - set(taken.tolist())
    for index in missed:
        _rectangle(canvas, result.truth.boxes[index] * scale, classes[int(result.truth.fields[index])], _BLUE)
    for index, label in enumerate(taken):
        colour = _GREEN if label >= 0 else _RED
        name = f"{classes[int(result.detections.fields[index])]} {result.detections.scores[index]:.2f}"
        _rectangle(canvas, result.detections.boxes[index] * scale, name, colour)
    return canvas


def _rectangle(
    canvas: Pixels, box: np.ndarray[tuple[int], np.dtype[np.float32]], text: str, colour: tuple[int, int, int]
) -> None:
    x1, y1, x2, y2 = (round(float(v)) for v in box)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, 1)
    cv2.putText(canvas, text, (x1, max(y1 - 2, 8)), cv2.FONT_HERSHEY_SIMPLEX, 0.32, colour, 1, cv2.LINE_AA)
