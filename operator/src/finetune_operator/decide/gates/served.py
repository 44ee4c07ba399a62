"""What production is held against: how sure and how fast a version was when it was measured.

No verdict hangs on it. Figures: `candidateConfidence`, the mean confidence of each field's best box on the test set;
`baseInferenceSeconds`, the 95th percentile of the base's own time for a page, so that versions that grow slower step
by step are held against where they began.
"""

from decimal import Decimal, InvalidOperation
from typing import Final

from ...api.contract import EvaluateResult
from .gate import Figures, figures
from .shares import share

CONFIDENCE: Final = "candidateConfidence"
SECONDS: Final = "baseInferenceSeconds"

_LONGEST: Final = 3600
_MICROSECONDS: Final = Decimal("0.000001")


def served_figures(result: EvaluateResult) -> Figures:
    """Return the figures of an evaluation; what is missing or no number is left out, and alerts on it stay silent."""
    candidate = result.models.candidate
    return figures(
        **{
            CONFIDENCE: None if candidate is None else share(candidate.mean_confidence),
            SECONDS: seconds(result.models.base.inference_seconds),
        }
    )


def seconds(text: str) -> Decimal | None:
    """Return a time in seconds to the microsecond, or None for anything that is no number above 0, up to an hour."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    if not value.is_finite() or not _MICROSECONDS <= value <= _LONGEST:
        return None
    return value.quantize(_MICROSECONDS)
