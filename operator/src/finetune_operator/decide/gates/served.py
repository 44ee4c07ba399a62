"""What production is held against: how sure and how fast a version was when it was measured.

No verdict hangs on it. Figures: `candidateConfidence`, the mean confidence of each field's best box on the test set;
`baseInferenceSeconds`, the 95th percentile of the base's own time for a page, so that versions that grow slower step
by step are held against where they began. Of documents of production, where there were any: `productionDocuments`, how
many, `productionConfidence`, the same mean on them, and `productionDetected.N`, on how many the field N (its class
index) was found, of the fields that were found on the fewest.
"""

from decimal import Decimal, InvalidOperation
from typing import Final

from ...api.model_version import FieldDetected, SeenInProduction, VersionEvidence
from ...api.step_result import Baseline, EvaluateResult
from .gate import Figures, figures
from .rows import MAX_COUNT, WORST
from .shares import share

CONFIDENCE: Final = "candidateConfidence"
SECONDS: Final = "baseInferenceSeconds"
DOCUMENTS: Final = "productionDocuments"
ON_PRODUCTION: Final = "productionConfidence"
_DETECTED: Final = "productionDetected."

_DIGITS: Final = 16
_LONGEST: Final = 3600
_MICROSECONDS: Final = Decimal("0.000001")


def served_figures(result: EvaluateResult, classes: int) -> Figures:
    """Return the figures of an evaluation; what is missing or no number is left out, and alerts on it stay silent.

    Of documents of production all is left out where anything contradicts itself. `classes` is how many there are.
    """
    candidate, seen = result.models.candidate, result.baseline
    on_production = _of_production(seen) if seen is not None and _is_honest(seen, classes) else ()
    return (
        *figures(
            **{
                CONFIDENCE: None if candidate is None else share(candidate.mean_confidence),
                SECONDS: seconds(result.models.base.inference_seconds),
            }
        ),
        *on_production,
    )


def _of_production(seen: Baseline) -> Figures:
    detected = {f"{_DETECTED}{field}": count for field, count in zip(seen.field, seen.detected, strict=True)}
    return figures(**{DOCUMENTS: seen.documents, ON_PRODUCTION: share(seen.confidence), **detected})


def _is_honest(seen: Baseline, classes: int) -> bool:
    """Tell whether that can have been counted: on documents that there are, and of fields, each once."""
    return (
        1 <= seen.documents <= MAX_COUNT
        and len(seen.field) == len(seen.detected) <= WORST
        and len(set(seen.field)) == len(seen.field)
        and all(0 <= field < classes for field in seen.field)
        and all(0 <= count <= seen.documents for count in seen.detected)
    )


def seen_in_production(evidence: VersionEvidence, classes: tuple[str, ...]) -> SeenInProduction | None:
    """Return what a record says of documents of production, the fields that were found least first; None: none at all.

    A record that somebody wrote may say it of more fields than a status has room for.
    """
    documents = _count(evidence.figure(DOCUMENTS))
    if not documents:
        return None
    confidence = share(evidence.figure(ON_PRODUCTION) or "")
    counts = ((name, _count(evidence.figure(f"{_DETECTED}{field}"))) for field, name in enumerate(classes))
    detected = (
        FieldDetected(field=name, documents=count) for name, count in counts if count is not None and count <= documents
    )
    return SeenInProduction(
        documents=documents,
        mean_confidence=None if confidence is None else str(confidence),
        fields=tuple(sorted(detected, key=lambda one: one.documents)[:WORST]),
    )


def _count(text: str | None) -> int | None:
    """Return a recorded count; a record that was restored, or that somebody wrote, may say anything."""
    count = int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) < _DIGITS else None
    return count if count is not None and count <= MAX_COUNT else None


def seconds(text: str) -> Decimal | None:
    """Return a time in seconds to the microsecond, or None for anything that is no number above 0, up to an hour."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    if not value.is_finite() or not _MICROSECONDS <= value <= _LONGEST:
        return None
    return value.quantize(_MICROSECONDS)
