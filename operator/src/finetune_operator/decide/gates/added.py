"""The floor's verdict on fields that were appended: some model before lacks them, so nothing else judges them.

Every other gate looks at the fields that all models have: what is new is neither lost nor gained. One that base or live
version has, and the other lacks, is not new, and may be lost.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from ...api.policy import FloorGate
from ...api.run import GateVerdict, Verdict
from ...api.step_result import AddedFields
from ..text import listed
from .gate import Evaluation
from .rows import MAX_COUNT, WORST

NAME: Final = "addedFields"

_Row = tuple[int, int, int, int]
"""A field, its labelled boxes, those that were found, and detections."""


def judge_added(limits: FloorGate, case: Evaluation) -> tuple[GateVerdict, ...]:
    """Judge appended fields on both sets of pages: above `minimum` in recall and precision Pass, else Review.

    One that neither set measures is a Review, for nobody knows what it does; and so is one that base or live version
    has, or may have, for nothing holds the candidate to that. No verdict where all models have all fields.
    """
    added = case.result.added
    if added is None:
        return ()
    threshold = f"recall and precision above {limits.minimum:f}, of fields with {limits.min_boxes} boxes"
    sets = (("the test set", added.test), ("new samples", added.new))
    wrong = [text for what, figures in sets if (text := _wrong(what, figures, limits, case)) is not None]
    if wrong or not limits.minimum.is_finite() or not case.added:
        message = f"no valid figures of the appended fields: {'; '.join(wrong)}"
        return (_said("Error", threshold, message),)
    parts = [_in_words(what, figures, case) for what, figures in sets]
    message = f"{' and '.join(_why(case))}, so nothing is compared: {'; '.join(parts)}"
    rows = [row for _, figures in sets for row in _rows(figures)]
    if any(not _is_above(limits, row) for row in rows):
        return (_said("Review", threshold, message, "FieldBelowFloor", rows),)
    seen = {field for field, *_ in rows}
    if max(len(seen), *(figures.measured for _, figures in sets)) < len(case.added):
        return (_said("Review", threshold, message, "FieldNotMeasured", rows),)
    if case.added_before:
        return (_said("Review", threshold, message, "FieldNotCompared", rows),)
    return (_said("Pass", threshold, message, "", rows),)


def _why(case: Evaluation) -> Iterator[str]:
    """Yield why fields are compared with nothing."""
    if case.result.models.live is not None and case.standing.fields is None:
        yield f"no record tells whether the live version has {listed(list(case.added))}"
        return
    before, new = list(case.added_before), list(case.added[len(case.added_before) :])
    if before:
        yield f"of base and live version one alone has {listed(before)}"
    if new:
        yield f"{listed(new)} {'is' if len(new) == 1 else 'are'} new"


def _rows(figures: AddedFields) -> list[_Row]:
    return list(zip(figures.field, figures.boxes, figures.matched, figures.detections, strict=True))


def _wrong(what: str, figures: AddedFields, limits: FloorGate, case: Evaluation) -> str | None:
    """Return what cannot be among the figures of one set; None where nothing is."""
    columns = (figures.field, figures.boxes, figures.matched, figures.detections)
    if len({len(column) for column in columns}) != 1:
        return f"its columns on {what} differ in length"
    known, rows = len(case.classes), _rows(figures)
    if not min(figures.measured, 1) <= len(rows) <= min(figures.measured, WORST) or figures.measured > len(case.added):
        return f"{len(rows)} fields are listed of {figures.measured} measured ones of {len(case.added)} on {what}"
    if len(set(figures.field)) != len(rows) or not all(0 <= f - known < len(case.added) for f in figures.field):
        return f"fields {list(figures.field)} on {what} are not each one of the {len(case.added)} appended ones"
    for _, boxes, matched, detections in rows:
        if not (limits.min_boxes <= boxes <= MAX_COUNT and 0 <= matched <= min(boxes, detections)):
            return f"{matched} of {boxes} boxes found by {detections} detections on {what}"
        if detections > MAX_COUNT:
            return f"{detections} is no count"
    above = [_is_above(limits, row) for row in rows]
    if above != sorted(above):
        return f"the fields on {what} do not begin with those that are below the floor"
    return None


def _is_above(limits: FloorGate, row: _Row) -> bool:
    """Tell whether recall and precision are above the floor; compared as products, so that nothing is rounded."""
    _, boxes, matched, detections = row
    return matched > limits.minimum * boxes and matched > limits.minimum * detections


def _in_words(what: str, figures: AddedFields, case: Evaluation) -> str:
    names = (*case.classes, *case.added)
    rows = [
        f"{names[field]} {matched} of {boxes} boxes found, {detections} detections"
        for field, boxes, matched, detections in _rows(figures)
    ]
    if figures.measured < len(case.added):
        rows.append(f"{len(case.added) - figures.measured} of {len(case.added)} not measured")
    return f"on {what} {', '.join(rows)}"


def _said(
    verdict: Verdict, threshold: str, message: str, reason: str = "", rows: list[_Row] | None = None
) -> GateVerdict:
    shares = [Decimal(matched) / max(boxes, detections, 1) for _, boxes, matched, detections in rows or ()]
    value = f"{min(shares):.6f}" if shares else ""
    return GateVerdict(name=NAME, verdict=verdict, reason=reason, value=value, threshold=threshold, message=message)
