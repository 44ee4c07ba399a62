"""Reading YOLO detection labels, strictly: what ultralytics would drop silently is an error here."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import numpy as np

from ..errors import Reason

EDGE_TOLERANCE: Final = 0.01
"""How far a box may reach over the page's edge, as other tools' rounding lets it; ultralytics tolerates the same."""

NUDGE: Final = 0.25
"""Pixels by which a box may differ and is the same: four digits behind the point come to that on a page of 5,000."""

COLUMNS: Final = 5
_SEPARATORS: Final = {";": "semicolons", ",": "commas"}
_CORNERS: Final = 9
"""Columns of a row with a class and four corners."""


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


def parse_label_of(data: bytes, *, fields: int | None, classes: int) -> tuple[Box, ...] | LabelProblem:
    """Return the boxes of the first `classes` classes in a label that was made for `fields` (None: for these)."""
    boxes = parse_label(data, max(fields or 0, classes))
    return boxes if isinstance(boxes, LabelProblem) else tuple(box for box in boxes if box.field < classes)


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


def cut_label(data: bytes, classes: int) -> bytes:
    """Return a valid label without the boxes of classes behind the first `classes` ones."""
    rows = (line.split() for line in data.decode("utf-8-sig").splitlines() if line.strip())
    return "".join(f"{' '.join(row)}\n" for row in rows if float(row[0]) < classes).encode()


def same_boxes(one: Collection[Box], other: Collection[Box], width: int, height: int) -> bool:
    """Tell whether two labels of a page of this size have the same boxes, in whatever order and digits."""
    if set(one) == set(other):
        return True
    left = list(other)
    for box in one:
        match = next((near for near in left if _is_same(box, near, width, height)), None)
        if match is None:
            return False
        left.remove(match)
    return not left


def _is_same(one: Box, other: Box, width: int, height: int) -> bool:
    across = max(abs(one.x - other.x), abs(one.width - other.width)) * width
    down = max(abs(one.y - other.y), abs(one.height - other.height)) * height
    return one.field == other.field and max(across, down) <= NUDGE


def looks_like_label(data: bytes) -> bool:
    """Tell whether a text is rows of numbers, as labels are, and not a list of paths, class names or prose."""
    lines = [line.split() for line in data.decode("utf-8-sig", errors="replace").splitlines() if line.strip()]
    return bool(lines) and all(len(cells) >= COLUMNS and all(map(_is_number, cells)) for cells in lines)


def looks_like_other_label(data: bytes) -> bool:
    """Tell whether a text is rows of numbers with other separators, or with a class by its name before them."""
    text = data.decode("utf-8-sig", errors="replace")
    lines = [re.split(r"[\s,;]+", line.strip(" ,;")) for line in text.splitlines() if line.strip(" ,;")]
    return bool(lines) and all(len(cells) >= COLUMNS and all(map(_is_number, cells[1:])) for cells in lines)


def _looks_like(cells: list[str]) -> str:
    """Return what a row of other than five columns most likely is, as part of a sentence."""
    if len(cells) == 1 and (other := next((name for sign, name in _SEPARATORS.items() if sign in cells[0]), None)):
        return f", separated by {other} and not by spaces"
    if len(cells) == _CORNERS:
        return ", four corners (an oriented box, or a polygon)"
    if len(cells) == COLUMNS + 1:
        return ", the last of them perhaps a confidence"
    return ", a polygon" if len(cells) > COLUMNS + 1 and len(cells) % 2 else ""


def _has_comma_decimals(cells: list[str]) -> bool:
    return all(_is_number(cell.replace(",", ".", 1)) for cell in cells)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parse_row(cells: list[str], classes: int) -> Box | LabelProblem:
    if len(cells) != COLUMNS:
        expected = f"expected {COLUMNS} (class x y width height)"
        return LabelProblem(Reason.LABEL_COLUMNS, f"{len(cells)} columns{_looks_like(cells)}, {expected}")
    try:
        values = [float(cell) for cell in cells]
    except ValueError:
        decimals = ", whose decimals stand behind a comma and not a point" if _has_comma_decimals(cells) else ""
        return LabelProblem(Reason.LABEL_COLUMNS, f"not numbers: {' '.join(cells)[:80]!r}{decimals}")
    if not all(math.isfinite(v) for v in values):
        return LabelProblem(Reason.LABELS_OUT_OF_RANGE, f"not finite: {' '.join(cells)[:80]!r}")
    index, x, y, width, height = values
    if index != int(index) or not 0 <= index < classes:
        return LabelProblem(Reason.LABELS_OUT_OF_RANGE, f"class {cells[0]}, expected 0..{classes - 1}")
    if min(width, height) <= 0:
        said = " ".join(cells[1:])[:80]
        return LabelProblem(Reason.LABELS_OUT_OF_RANGE, f"the box {said!r} has no width or no height")
    # A rounding error outside is taken, as training takes it; more than a hundredth is another unit or another page.
    low, high = -EDGE_TOLERANCE, 1 + EDGE_TOLERANCE
    if not (low <= min(x, y) and max(x, y, width, height) <= high):
        return LabelProblem(
            Reason.LABELS_OUT_OF_RANGE, f"coordinates {' '.join(cells[1:])[:80]!r} are not shares of the page (0..1)"
        )
    edges = (x - width / 2, y - height / 2, 1 - x - width / 2, 1 - y - height / 2)
    if min(edges) < -EDGE_TOLERANCE:
        return LabelProblem(Reason.LABELS_OUT_OF_RANGE, f"the box {' '.join(cells[1:])[:80]!r} reaches out of the page")
    return Box(int(index), x, y, width, height)
