"""Gate 3, for production: no field is worse on documents of production than by what is live.

The same documents go through both models. Of each field a document is right or not, by both: what the candidate has
lost is held against what it has gained, so that a document which both read wrongly says nothing.
"""

from itertools import pairwise
from math import comb
from typing import Final

from ...api.policy import ProductionGate
from ...api.run import GateVerdict
from ...api.run_document import DocumentProduction
from ...api.step_result import ProductionSet
from .gate import Evaluation, Gate, no_figures
from .rows import WORST

NAME: Final = "production"

_HOW_SURE: Final = (
    "p is how often as good a model loses so many of the documents that differ; production.differences of the report "
    "has each of them, with its picture"
)

_LEAST_LOST: Final = {"Paired": 3, "Literal": 1}
"""By rule: documents that a field must lose more than it gains, to be worse.

An exact test at 0.05 asks for five at least, so that it never finds a field worse which three do not.
"""

Row = tuple[str, int, int]
"""A field, and how many documents it lost and gained."""


def judge(limits: ProductionGate, case: Evaluation) -> tuple[GateVerdict, ...]:
    """Judge the listed fields: one that is worse by the rule is a Review, and so are too few documents."""
    seen, least = case.result.production, _LEAST_LOST[limits.rule]
    threshold = f"review at {least} of {limits.documents} documents lost more than gained ({limits.rule})"
    rows = _rows(seen, limits, case.classes)
    if isinstance(rows, str) or seen is None:
        message = f"no valid figures of the fields on documents of production: {rows}"
        return (GateVerdict(name=NAME, verdict="Error", threshold=threshold, message=message),)
    worse = [is_worse(limits, lost=lost, gained=gained) for _, lost, gained in rows]
    if any(later and not sooner for sooner, later in pairwise(worse)):
        message = "the fields on documents of production do not begin with those that are worse"
        return (GateVerdict(name=NAME, verdict="Error", threshold=threshold, message=message),)
    named = [row for row, bad in zip(rows, worse, strict=True) if bad]
    other = "the live version" if case.result.models.live is not None else "the base"
    said = [_compared(seen, rows, named, other), *_missing(limits, seen, case.captured)]
    too_few = seen.documents < limits.documents
    return (
        GateVerdict(
            name=NAME,
            verdict="Review" if named or too_few else "Pass",
            reason="FieldLost" if named else "TooFewDocuments" if too_few else "",
            value=str(max(lost - gained for _, lost, gained in rows)),
            threshold=threshold,
            message="; ".join(said),
        ),
    )


def is_worse(limits: ProductionGate, *, lost: int, gained: int) -> bool:
    """Tell whether a field that lost and gained so many documents is worse by the rule."""
    return lost - gained >= _LEAST_LOST[limits.rule]


def chance(*, lost: int, gained: int) -> float:
    """Return how likely an equal model loses so many documents or more of all that differ: exact McNemar, one-sided."""
    differ = lost + gained
    as_many: int = sum(comb(differ, count) for count in range(lost, differ + 1))
    return as_many / (1 << differ)


def _rows(seen: ProductionSet | None, limits: ProductionGate, classes: tuple[str, ...]) -> tuple[Row, ...] | str:
    """Return the fields with what they lost and gained, or what is wrong with the figures."""
    if seen is None:
        return "nothing was compared"
    if not 0 <= seen.labelled <= seen.documents or min(seen.vanished, seen.drawn) < 0:
        return f"{seen.labelled} labelled of {seen.documents} documents, {seen.vanished} vanished"
    if not seen.documents + seen.vanished <= seen.drawn <= limits.documents:
        return f"{seen.documents} documents and {seen.vanished} vanished, of {seen.drawn} drawn"
    columns = (seen.field, seen.old, seen.lost, seen.gained)
    if len({len(column) for column in columns}) != 1:
        return "its columns differ in length"
    if not 1 <= len(seen.field) <= WORST or seen.measured != len(classes):
        return f"{len(seen.field)} fields are listed of {seen.measured} measured ones of {len(classes)}"
    if len(set(seen.field)) != len(seen.field) or not all(0 <= field < len(classes) for field in seen.field):
        return f"fields {list(seen.field)} are not each one of {len(classes)}"
    rows = list(zip(*columns, strict=True))
    for field, old, lost, gained in rows:
        if not (0 <= lost <= old <= seen.documents and 0 <= gained <= seen.documents - old):
            return f"{classes[field]} lost {lost} and gained {gained}, of {seen.documents} documents {old} right before"
    return tuple((classes[field], lost, gained) for field, _, lost, gained in rows)


def _compared(seen: ProductionSet, rows: tuple[Row, ...], named: list[Row], other: str) -> str:
    where = f"on {seen.documents} documents of production ({seen.labelled} labelled) than by {other}"
    if named:
        more = " or more" if len(named) == len(rows) < seen.measured else ""
        are = "is" if len(named) == 1 and not more else "are"
        words = "; ".join(map(_text, named))
        return f"{len(named)}{more} of {seen.measured} fields {are} worse {where}: {words}; {_HOW_SURE}"
    if not seen.documents:
        return "no document of production was compared"
    return f"none of {seen.measured} fields is worse {where}; most of all {_text(rows[0])}"


def _text(row: Row) -> str:
    name, lost, gained = row
    return f"{name} lost {lost} and gained {gained} (p {chance(lost=lost, gained=gained):.3f})"


def _missing(limits: ProductionGate, seen: ProductionSet, captured: DocumentProduction | None) -> list[str]:
    """Return in words how many documents are missing, and why."""
    missing, known = limits.documents - seen.documents, seen.drawn - seen.documents - seen.vanished
    if not missing:
        return []
    why = (
        (limits.documents - seen.drawn, f"were not there to be drawn {_from_days(limits, captured)}"),
        (seen.vanished, "vanished since they were drawn, or come to other pixels than were answered"),
        (known, "were trained on meanwhile"),
    )
    parts = ", ".join(f"{count} {what}" for count, what in why if count)
    return [f"{missing} of {limits.documents} documents are missing: {parts}"]


def _from_days(limits: ProductionGate, captured: DocumentProduction | None) -> str:
    """Return which days were drawn from: those whose pages stay until a review of this run may end (R224)."""
    if captured is None or captured.keep_days - captured.review_days > limits.days:
        return f"from the last {limits.days} days"
    days = captured.keep_days - captured.review_days - 1
    last = f"the last {days} days" if days > 0 else "today" if days == 0 else "any day"
    return (
        f"from {last} (pages stay {captured.keep_days} days, of which the run with its review may take "
        f"{captured.review_days}: raise data.production.keepDays, or lower activeDeadlineSeconds or "
        "review.timeoutSeconds)"
    )


PRODUCTION: Final = Gate(
    name=NAME,
    limits=lambda gates: gates.production,
    judge=judge,
    figures=no_figures,
    names=(NAME,),
    counts=frozenset((NAME,)),
)
