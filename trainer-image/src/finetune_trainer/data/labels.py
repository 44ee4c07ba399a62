"""Reading YOLO detection labels, strictly: what ultralytics would drop silently is an error here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from ..errors import Reason

EDGE_TOLERANCE: Final = 0.01
"""How far a box may reach over the page's edge, as other tools' rounding lets it; ultralytics tolerates the same."""

COLUMNS: Final = 5


@dataclass(frozen=True, slots=True)
class Box:
    """Class index, and centre and size as shares of the page (0..1)."""

    field: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class LabelProblem:
    """Why a label file is refused; `message` names the line."""

    reason: Reason
    message: str


def parse_label(data: bytes, classes: int) -> tuple[Box, ...] | LabelProblem:
    """Return the boxes of a label file with `classes` classes; an empty file has none. Repeated rows count once.

    A row is `class x y width height`. Six columns (pseudo-labels with a confidence), polygons, coordinates in
    pixels, and unknown classes make ultralytics leave out the whole page with a log line; here they are problems.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return LabelProblem(Reason.LABEL_COLUMNS, "the file is not UTF-8 text")
    boxes: dict[tuple[int, bytes], Box] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        row = _parse_row(line.split(), classes)
        if isinstance(row, LabelProblem):
            return LabelProblem(row.reason, f"line {number}: {row.message}")
        # Ultralytics removes rows that are equal as float32; counted alike, so that both agree on the number.
        key = np.array([row.x, row.y, row.width, row.height], dtype=np.float32).tobytes()
        boxes.setdefault((row.field, key), row)
    return tuple(boxes.values())


def _parse_row(cells: list[str], classes: int) -> Box | LabelProblem:
    if len(cells) != COLUMNS:
        return LabelProblem(Reason.LABEL_COLUMNS, f"{len(cells)} columns, expected {COLUMNS} (class x y width height)")
    try:
        values = [float(cell) for cell in cells]
    except ValueError:
        return LabelProblem(Reason.LABEL_COLUMNS, f"not numbers: {' '.join(cells)[:80]!r}")
    if not all(math.isfinite(v) for v in values):
        return LabelProblem(Reason.LABELS_OUT_OF_RANGE, f"not finite: {' '.join(cells)[:80]!r}")
    index, x, y, width, height = values
    if index != int(index) or not 0 <= index < classes:
        return LabelProblem(Reason.LABELS_OUT_OF_RANGE, f"class {cells[0]}, expected 0..{classes - 1}")
    if not (0 <= x <= 1 and 0 <= y <= 1 and 0 < width <= 1 and 0 < height <= 1):
        return LabelProblem(
            Reason.LABELS_OUT_OF_RANGE, f"coordinates {' '.join(cells[1:])[:80]!r} are not shares of the page (0..1)"
        )
    edges = (x - width / 2, y - height / 2, 1 - x - width / 2, 1 - y - height / 2)
    if min(edges) < -EDGE_TOLERANCE:
        return LabelProblem(Reason.LABELS_OUT_OF_RANGE, f"the box {' '.join(cells[1:])[:80]!r} reaches out of the page")
    return Box(int(index), x, y, width, height)
