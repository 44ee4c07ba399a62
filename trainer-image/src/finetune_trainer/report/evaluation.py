"""Precision-recall curves per model, and the new pages before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from ..evaluation.average_precision import PrecisionRecall, match
from ..evaluation.pages import PageResult
from ..evaluation.postprocess import Floats
from ..evaluation.preprocess import Pixels, decode
from ..fonts import font_file, is_drawable
from .training import png

Colour = tuple[int, int, int]
"""Blue, green, red."""

_SHOWN: Final = 6
"""Pages in the gallery."""

_SIDE: Final = 420
"""Pixels of a page's longer side in the gallery."""

_TEXT: Final = 11
"""Pixels of a caption's height."""

_MATCHED: Final[Colour] = (60, 160, 60)
_WRONG: Final[Colour] = (40, 40, 220)
_MISSED: Final[Colour] = (200, 120, 20)


@dataclass(frozen=True, slots=True)
class Mark:
    """A box on a page, in pixels of the page, and what is written above it."""

    box: Floats
    caption: str
    colour: Colour


def class_labels(classes: Sequence[str]) -> tuple[str, ...]:
    """Return how plots name the classes: by name, or by index where the plots' font does not have the name.

    All by index where one is called as another one's index is written.
    """
    indices = tuple(f"class {index}" for index in range(len(classes)))
    labels = tuple(name if is_drawable(name) else index for name, index in zip(classes, indices, strict=True))
    return labels if len(set(labels)) == len(labels) else indices


def class_table(classes: Sequence[str]) -> bytes | None:
    """Return which name belongs to which index, as text; None where plots write all names."""
    if class_labels(classes) == tuple(classes):
        return None
    return "".join(f"class {index}: {name}\n" for index, name in enumerate(classes)).encode()


def precision_recall(models: Mapping[str, Mapping[int, PrecisionRecall]], classes: Sequence[str]) -> bytes:
    """Return a PNG with one panel per model, one curve per class, AP50 in the legend."""
    return png(curves(models, classes))


def curves(models: Mapping[str, Mapping[int, PrecisionRecall]], classes: Sequence[str]) -> Figure:
    """Return the figure of precision_recall."""
    labels = class_labels(classes)
    figure = Figure(figsize=(5 * len(models), 4.5), layout="constrained")
    panels = figure.subplots(1, len(models), squeeze=False, sharey=True)[0]
    for axes, (model, by_class) in zip(panels, models.items(), strict=True):
        lines = [axes.plot(curve.recall, curve.precision)[0] for curve in by_class.values()]
        axes.set(title=model, xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
        if 0 < len(by_class) <= 20:
            legend = axes.legend(lines, ["?"] * len(lines), fontsize="x-small", loc="lower left")
            # Set afterwards, as plain text: matplotlib leaves out labels that begin with _ and takes $ for formulas.
            for text, (index, curve) in zip(legend.get_texts(), by_class.items(), strict=True):
                text.set_parse_math(False)
                text.set_text(f"{labels[index]} {curve.ap:.3f}")
    return figure


def gallery(classes: Sequence[str], *, before: Sequence[PageResult], after: Sequence[PageResult]) -> bytes | None:
    """Return a JPEG of new pages, before and after side by side, most change first; None without pages.

    Green boxes are matched, red ones wrong, blue ones labels that were missed.
    """
    pairs = sorted(zip(before, after, strict=True), key=lambda pair: _hits(pair[0]) - _hits(pair[1]))[:_SHOWN]
    labels = class_labels(classes)
    rows = [np.hstack([_drawn(old, labels), _drawn(new, labels)]) for old, new in pairs]
    if not rows:
        return None
    width = max(row.shape[1] for row in rows)
    padded = [cv2.copyMakeBorder(r, 2, 2, 0, width - r.shape[1], cv2.BORDER_CONSTANT, value=(255,) * 3) for r in rows]
    encoded = cv2.imencode(".jpg", np.vstack(padded), [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    return bytes(encoded.tobytes())


def _hits(result: PageResult) -> int:
    return int((match(result.detections, result.truth) >= 0).sum())


def _drawn(result: PageResult, labels: Sequence[str]) -> Pixels:
    image = decode(result.page.image())
    if image is None:  # run_model has decoded it before
        return np.full((_SIDE, _SIDE, 3), 255, np.uint8)
    scale = _SIDE / max(image.shape[:2])
    canvas: Pixels = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return marked(canvas, _marks(result, labels), scale)


def _marks(result: PageResult, labels: Sequence[str]) -> list[Mark]:
    truth, detections = result.truth, result.detections
    taken = match(detections, truth)
    missed = sorted(set(range(len(truth.fields))) - set(taken.tolist()))
    marks = [Mark(truth.boxes[i], labels[int(truth.fields[i])], _MISSED) for i in missed]
    for i, label in enumerate(taken):
        caption = f"{labels[int(detections.fields[i])]} {detections.scores[i]:.2f}"
        marks.append(Mark(detections.boxes[i], caption, _MATCHED if label >= 0 else _WRONG))
    return marks


def marked(canvas: Pixels, marks: Sequence[Mark], scale: float) -> Pixels:
    """Return the picture with scaled marks. Drawn with Pillow: OpenCV's own letters are ASCII alone."""
    picture = Image.fromarray(canvas)  # the channels stay BGR, in the picture as in the colours
    draw = ImageDraw.Draw(picture)
    font = ImageFont.truetype(str(font_file()), _TEXT, layout_engine=ImageFont.Layout.BASIC)
    for mark in marks:
        x1, y1, x2, y2 = (round(float(v) * scale) for v in mark.box)
        draw.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=mark.colour)
        draw.text((x1, max(y1 - _TEXT - 2, 0)), mark.caption, fill=mark.colour, font=font)
    return np.asarray(picture, np.uint8)
