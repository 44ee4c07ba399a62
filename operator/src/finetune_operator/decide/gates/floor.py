"""Gate against hopeless fields: recall and precision of each at the serving confidence, on both sets of pages."""

from decimal import Decimal
from itertools import pairwise
from typing import Final

from ...api.policy import FloorGate
from ...api.run import GateVerdict
from ...api.step_result import Floors
from .added import NAME as ADDED_NAME
from .added import judge_added
from .gate import Evaluation, Gate, no_figures
from .rows import Cell, Row, floor_rows

NAME: Final = "floor"
NEW_NAME: Final = "floorNew"


def judge(limits: FloorGate, case: Evaluation) -> tuple[GateVerdict, ...]:
    """Judge the listed fields of both sets: above `minimum` in recall and precision Pass, equal or below Review.

    Fields that not all models have get a verdict of their own.
    """
    result = case.result
    new = result.new_set.floor if result.new_set is not None else None
    return (
        _verdict(NAME, "the test set", limits, case, result.test_set.floor),
        _verdict(NEW_NAME, "new samples", limits, case, new),
        *judge_added(limits, case),
    )


def _verdict(name: str, what: str, limits: FloorGate, case: Evaluation, floors: Floors | None) -> GateVerdict:
    threshold = f"recall and precision above {limits.minimum:f}, of fields with {limits.min_boxes} boxes"
    live = case.result.models.live is not None
    rows = floor_rows(floors, case.classes, live=live, min_boxes=limits.min_boxes)
    if isinstance(rows, str) or not limits.minimum.is_finite() or floors is None:
        message = f"no valid figures of the fields on {what}: {rows}"
        return GateVerdict(name=name, verdict="Error", threshold=threshold, message=message)
    below = [not is_above(limits, row) for row in rows]
    if any(later and not sooner for sooner, later in pairwise(below)):
        message = f"the fields on {what} do not begin with those that are below the floor"
        return GateVerdict(name=name, verdict="Error", threshold=threshold, message=message)
    if not rows:
        message = f"does not apply: no field has {limits.min_boxes} boxes on {what}"
        return GateVerdict(name=name, verdict="Pass", threshold=threshold, message=message)
    named = [row for row, bad in zip(rows, below, strict=True) if bad]
    more = " or more" if len(named) == len(rows) < floors.measured else ""
    message = (
        f"{len(named)}{more} of {floors.measured} measured fields at or below it on {what}: "
        f"{'; '.join(map(_text, named))}"
        if named
        else f"all {floors.measured} measured fields are above it on {what}; "
        f"least of all {_text(min(rows, key=_least))}"
    )
    return GateVerdict(
        name=name,
        verdict="Review" if named else "Pass",
        reason="FieldBelowFloor" if named else "",
        value=f"{min(map(_least, rows)):.6f}",
        threshold=threshold,
        message=message,
    )


def is_above(limits: FloorGate, row: Row) -> bool:
    """Tell whether recall and precision are above the floor; compared as products, so that nothing is rounded."""
    matched, detections = Decimal(row.candidate.matched), row.candidate.detections
    return matched > limits.minimum * row.boxes and matched > limits.minimum * detections


def _least(row: Row) -> Decimal:
    """Return the lesser of recall and precision: of both, the one that is a share of more."""
    return Decimal(row.candidate.matched) / max(row.boxes, row.candidate.detections, 1)


def _text(row: Row) -> str:
    others = ", ".join(f"{name} {cell.matched} ({_precision(cell)})" for name, cell in row.others)
    mine = f"{row.candidate.matched} of {row.boxes} boxes found, precision {_precision(row.candidate)}"
    return f"{row.name} {mine}; {others}"


def _precision(cell: Cell) -> str:
    return f"{Decimal(cell.matched) / cell.detections:.2f}" if cell.detections else "none"


FLOOR: Final = Gate(
    name=NAME,
    limits=lambda gates: gates.floor,
    judge=judge,
    figures=no_figures,
    names=(NAME, NEW_NAME, ADDED_NAME),
    seldom=frozenset((ADDED_NAME,)),
)
