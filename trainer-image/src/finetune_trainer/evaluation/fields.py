"""Field by field: what was labelled, found and detected, and which fields are the worst."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

import numpy as np

from ..documents.result import Columns, Drops, Floors
from ..documents.run import FieldsLimits, FloorLimits
from .average_precision import PrecisionRecall, match
from .pages import PageResult

WORST: Final = 8
"""Fields that a list has at most."""

WHOLE: Final = 1_000_000
"""AP50 travels in millionths: this is 1."""

Model = Literal["candidate", "base", "live"]


@dataclass(frozen=True, slots=True)
class FieldCounts:
    """By class index, at the serving confidence: labelled boxes, those that were found, detections."""

    boxes: tuple[int, ...]
    matched: tuple[int, ...]
    detections: tuple[int, ...]


def count_fields(results: Sequence[PageResult], classes: int) -> FieldCounts:
    """Count each field over all pages, by the detections of the serving settings."""
    boxes, matched, detections = (np.zeros(classes, dtype=np.int64) for _ in range(3))
    for result in results:
        taken = match(result.served, result.truth)
        boxes += np.bincount(result.truth.fields, minlength=classes)
        matched += np.bincount(result.truth.fields[taken[taken >= 0]], minlength=classes)
        detections += np.bincount(result.served.fields, minlength=classes)
    return FieldCounts(*(tuple(column.tolist()) for column in (boxes, matched, detections)))


def millionths(curves: Mapping[int, PrecisionRecall], classes: int) -> tuple[int, ...]:
    """Return AP50 by class index, in millionths; 0 where the class has no label."""
    return tuple(round(curves[index].ap * WHOLE) if index in curves else 0 for index in range(classes))


def worst_drops(
    limits: FieldsLimits, counts: Mapping[Model, FieldCounts], ap50: Mapping[Model, tuple[int, ...]], among: range
) -> Drops:
    """Return the fields, `among` these, that dropped most against the better of base and live.

    Those that are worse by the limits go first: whoever judges sees only the first of them.
    """
    candidate = counts["candidate"]
    measured = [field for field in among if candidate.boxes[field] >= limits.min_boxes]

    def drop(field: int) -> int:
        return max(ap50[name][field] for name in _others(counts)) - ap50["candidate"][field]

    def lost(field: int) -> int:
        return max(counts[name].matched[field] for name in _others(counts)) - candidate.matched[field]

    def is_worse(field: int) -> bool:
        enough = drop(field) >= Decimal(limits.review_at_points) * WHOLE / 100
        return enough and lost(field) >= limits.min_boxes_lost

    fields = sorted(measured, key=lambda field: (not is_worse(field), -drop(field), -lost(field), field))[:WORST]
    return Drops(
        measured=len(measured),
        field=tuple(fields),
        boxes=tuple(candidate.boxes[field] for field in fields),
        matched=_columns(fields, counts, lambda name: counts[name].matched),
        ap50=_columns(fields, counts, lambda name: ap50[name]),
    )


def worst_floors(limits: FloorLimits, counts: Mapping[Model, FieldCounts], among: range) -> Floors:
    """Return the fields, `among` these, of least recall or precision, those at or below the limit first."""
    candidate = counts["candidate"]
    measured = [field for field in among if candidate.boxes[field] >= limits.min_boxes]

    def most(field: int) -> int:
        # Recall and precision are shares of these two; the lesser share is that of the greater number.
        return max(candidate.boxes[field], candidate.detections[field])

    def is_below(field: int) -> bool:
        return candidate.matched[field] <= Decimal(limits.minimum) * most(field)

    def least(field: int) -> Decimal:
        return Decimal(candidate.matched[field]) / most(field)

    fields = sorted(measured, key=lambda field: (not is_below(field), least(field), field))[:WORST]
    return Floors(
        measured=len(measured),
        field=tuple(fields),
        boxes=tuple(candidate.boxes[field] for field in fields),
        matched=_columns(fields, counts, lambda name: counts[name].matched),
        detections=_columns(fields, counts, lambda name: counts[name].detections),
    )


def _others(counts: Mapping[Model, FieldCounts]) -> list[Model]:
    return [name for name in counts if name != "candidate"]


def _columns(
    fields: Sequence[int], counts: Mapping[Model, FieldCounts], numbers: Callable[[Model], Sequence[int]]
) -> Columns:
    def column(name: Model) -> tuple[int, ...]:
        return tuple(numbers(name)[field] for field in fields)

    return Columns(column("candidate"), column("base"), column("live") if "live" in counts else None)
