"""Gate for each field, against forgetting one of them: AP50 *and* boxes found on the anchor's test set.

A mean hides a field that was lost. Two numbers must both fall: of 30 boxes one alone is more than 3 points.
"""

from decimal import Decimal
from itertools import pairwise
from typing import Final

from ...api.policy import FieldsGate
from ...api.run import GateVerdict
from .gate import Evaluation, Gate, no_figures
from .rows import WHOLE, Row, drop_rows

NAME: Final = "fields"
_POINT: Final = Decimal(WHOLE) / 100
"""Millionths in a point."""


def judge(limits: FieldsGate, case: Evaluation) -> tuple[GateVerdict, ...]:
    """Judge the listed fields: worse by `review_at_points` and by `min_boxes_lost` boxes is a Review."""
    threshold = (
        f"review at {limits.review_at_points:f} points and {limits.min_boxes_lost} boxes, "
        f"of fields with {limits.min_boxes} boxes"
    )
    live = case.result.models.live is not None
    drops = case.result.test_set.drops
    rows = drop_rows(drops, case.classes, live=live, min_boxes=limits.min_boxes)
    if isinstance(rows, str) or not limits.review_at_points.is_finite() or drops is None:
        return (_error(f"no valid figures of the fields on the test set: {rows}", threshold),)
    worse = [is_worse(limits, row) for row in rows]
    if any(later and not sooner for sooner, later in pairwise(worse)):
        return (_error("the fields on the test set do not begin with those that are worse", threshold),)
    if not rows:
        message = f"does not apply: no field has {limits.min_boxes} boxes on the test set"
        return (GateVerdict(name=NAME, verdict="Pass", threshold=threshold, message=message),)
    named = [row for row, bad in zip(rows, worse, strict=True) if bad]
    message = (
        f"{_count(len(named), len(rows), drops.measured)}: {'; '.join(map(_text, named))}"
        if named
        else f"none of {drops.measured} measured fields is worse; most of all {_text(max(rows, key=_drop))}"
    )
    return (
        GateVerdict(
            name=NAME,
            verdict="Review" if named else "Pass",
            reason="FieldWorse" if named else "",
            value=f"{max(map(_drop, named or rows)) / _POINT:f}",
            threshold=threshold,
            message=message,
        ),
    )


def is_worse(limits: FieldsGate, row: Row) -> bool:
    """Tell whether a field dropped by both limits, each against the better of base and live."""
    lost = max(cell.matched for _, cell in row.others) - row.candidate.matched
    return _drop(row) >= limits.review_at_points * _POINT and lost >= limits.min_boxes_lost


def _drop(row: Row) -> int:
    return max(cell.ap50 for _, cell in row.others) - row.candidate.ap50


def _count(named: int, listed: int, measured: int) -> str:
    more = " or more" if named == listed < measured else ""
    return f"{named}{more} of {measured} measured fields {'is' if named == 1 and not more else 'are'} worse"


def _text(row: Row) -> str:
    others = ", ".join(f"{name} {_share(cell.ap50)}" for name, cell in row.others)
    matched = ", ".join(f"{name} {cell.matched}" for name, cell in row.others)
    return (
        f"{row.name} AP50 {_share(row.candidate.ap50)} ({others}), {row.candidate.matched} of {row.boxes} boxes found "
        f"({matched})"
    )


def _share(millionths: int) -> str:
    return f"{Decimal(millionths) / WHOLE:.4f}"


def _error(message: str, threshold: str) -> GateVerdict:
    return GateVerdict(name=NAME, verdict="Error", threshold=threshold, message=message)


FIELDS: Final = Gate(
    name=NAME,
    limits=lambda gates: gates.fields,
    judge=judge,
    figures=no_figures,
    names=(NAME,),
    in_points=frozenset((NAME,)),
)
