"""Shares as gates judge them: recorded six-digit decimals in 0..1, or nothing at all."""

from decimal import Decimal, InvalidOperation
from typing import Final

from ...api.step_result import Scores

_SIX_DIGITS: Final = Decimal("0.000001")


def share(text: str) -> Decimal | None:
    """Return a share as a decimal of six digits, or None for anything that is no number in 0..1."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    # is_signed: minus zero comes from a broken computation, not from a measurement.
    if not value.is_finite() or value.is_signed() or value > 1:
        return None
    return value.quantize(_SIX_DIGITS)


def found_share(scores: Scores | None) -> Decimal | None:
    """Return matched / boxes as recorded, or None for an empty set or figures that contradict each other."""
    if scores is None or scores.boxes < 1 or not 0 <= scores.matched <= scores.boxes:
        return None
    rate = share(scores.rate)
    if rate is None or abs(rate - Decimal(scores.matched) / Decimal(scores.boxes)) > _SIX_DIGITS:
        return None
    return rate


def has_no_box(*sets: Scores | None) -> bool:
    """Tell whether models were measured on pages without a label: there is nothing to find, and no share of it."""
    return all(scores is not None and scores.boxes == scores.matched == 0 and scores.rate == "" for scores in sets)
