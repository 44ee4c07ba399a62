"""The gates: verdicts from measurements and limits, on recorded six-digit decimals, and from nothing else.

Whatever is missing, not a number, infinite, outside 0..1 or contradicts itself is an Error, never a Pass.
"""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from ...api.contract import EvaluateResult, Measured, NewSet, RunDocument, Scores
from ...api.policy import NewSamplesGate, RegressionGate
from ...api.run import Gate, Measurements, Verdict

_SIX: Final = Decimal("0.000001")
_ORDER: Final[dict[Verdict, int]] = {"Pass": 0, "Review": 1, "Reject": 2, "Error": 3}


@dataclass(frozen=True, slots=True)
class Judgement:
    """The gates' verdicts, the worst of them, and the figures they saw (None when these are not all numbers)."""

    gates: tuple[Gate, ...]
    verdict: Verdict
    measurements: Measurements | None


def judge(document: RunDocument, result: EvaluateResult) -> Judgement:
    """Judge one evaluation by the gates of the snapshot."""
    if document.gates is None:
        missing = Gate(name="regression", verdict="Error", message="the run document names no gates; make a new run")
        return Judgement((missing,), "Error", None)
    gates = (
        regression(document.gates.regression, result),
        *new_samples(document.gates.new_samples, result),
    )
    measurements = figures(result)
    verdict = worst(gates) if measurements else "Error"
    return Judgement(gates, verdict, measurements)


def worst(gates: tuple[Gate, ...]) -> Verdict:
    """Return the worst verdict: Error > Reject > Review > Pass; no gate at all is an Error."""
    return max((gate.verdict for gate in gates), key=_ORDER.__getitem__, default="Error")


def regression(limits: RegressionGate, result: EvaluateResult) -> Gate:
    """Gate 1: the drop of mAP50 on the anchor's test set, in absolute points (x 100).

    drop = max(base, live) - candidate; below `reviewAtPoints` Pass, up to and including
    `rejectAbovePoints` Review, above it Reject.
    """
    threshold = f"review at {limits.review_at_points}, reject above {limits.reject_above_points}"
    models = result.models
    candidate = share(models.candidate.map50 if models.candidate else "")
    base = share(models.base.map50)
    live = share(models.live.map50) if models.live else base
    if candidate is None or base is None or live is None or result.test_set.images < 1:
        told = f"no valid mAP50 to compare: {_raw(models.candidate, models.base, models.live)}, each must be in 0..1"
        return Gate(name="regression", verdict="Error", threshold=threshold, message=told)
    drop = (max(base, live) - candidate) * 100
    parts = [f"base {base} ({_change(candidate, base)})"]
    if models.live:
        parts.append(f"live {live} ({_change(candidate, live)})")
    told = f"mAP50 {candidate} on {result.test_set.images} test images against {' and '.join(parts)}; {threshold}"
    return Gate(
        name="regression",
        verdict=_regression_verdict(drop, limits),
        value=f"{drop:f}",
        threshold=threshold,
        message=told,
    )


def _regression_verdict(drop: Decimal, limits: RegressionGate) -> Verdict:
    # Limits that are no numbers would make the comparisons raise; the CRD refuses them, a restored object may not.
    if not (limits.review_at_points.is_finite() and limits.reject_above_points.is_finite()):
        return "Error"
    if drop > limits.reject_above_points:
        return "Reject"
    return "Review" if drop >= limits.review_at_points else "Pass"


def new_samples(limits: NewSamplesGate, result: EvaluateResult) -> tuple[Gate, ...]:
    """Gate 2: the share of labelled boxes that were found, on the pool and on its fresh part separately.

    Above `minimum` Pass, equal or below Review, an empty set Error. Without fresh samples only the pool
    counts, and the message says so.
    """
    new_set, candidate = result.new_set, result.models.candidate
    if new_set is None or candidate is None:
        told = "nothing was measured on new samples"
        return (Gate(name="newSamples", verdict="Error", threshold=str(limits.minimum), message=told),)
    pool = _rate_gate("newSamples", "the pool", candidate.pool, limits, _notes(new_set, candidate))
    if candidate.fresh is None and new_set.fresh == 0:
        return (pool,)
    return (pool, _rate_gate("newSamplesFresh", "its fresh samples", candidate.fresh, limits, _seen(new_set)))


def _rate_gate(name: str, what: str, scores: Scores | None, limits: NewSamplesGate, notes: str) -> Gate:
    threshold = str(limits.minimum)
    rate = found_share(scores)
    if scores is None or rate is None:
        told = f"no valid detection rate on {what}: {_scores(scores)}"
        return Gate(name=name, verdict="Error", threshold=threshold, message=told)
    told = f"{scores.matched} of {scores.boxes} boxes of {what} found ({rate}); more than {threshold} is needed{notes}"
    return Gate(name=name, verdict=_rate_verdict(rate, limits), value=str(rate), threshold=threshold, message=told)


def _rate_verdict(rate: Decimal, limits: NewSamplesGate) -> Verdict:
    if not limits.minimum.is_finite():
        return "Error"
    return "Pass" if rate > limits.minimum else "Review"


def share(text: str) -> Decimal | None:
    """Return a share as a decimal of six digits, or None for anything that is no number in 0..1."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    # is_signed: minus zero comes from a broken computation, not from a measurement.
    if not value.is_finite() or value.is_signed() or value > 1:
        return None
    return value.quantize(_SIX)


def found_share(scores: Scores | None) -> Decimal | None:
    """Return matched / boxes as recorded, or None for an empty set or figures that contradict each other."""
    if scores is None or scores.boxes < 1 or not 0 <= scores.matched <= scores.boxes:
        return None
    rate = share(scores.rate)
    if rate is None or abs(rate - Decimal(scores.matched) / Decimal(scores.boxes)) > _SIX:
        return None
    return rate


def figures(result: EvaluateResult) -> Measurements | None:
    """Return the figures as they are recorded, or None when one that a verdict hangs on is no number."""
    models, new_set = result.models, result.new_set
    if models.candidate is None or new_set is None:
        return None
    candidate, base = share(models.candidate.map50), share(models.base.map50)
    live = share(models.live.map50) if models.live else None
    rate = found_share(models.candidate.pool)
    if candidate is None or base is None or rate is None or (models.live is not None and live is None):
        return None
    return Measurements(
        candidate_map50=str(candidate),
        base_map50=str(base),
        live_map50=_text(live),
        pool_rate=str(rate),
        fresh_rate=_text(found_share(models.candidate.fresh)),
        base_pool_rate=_text(found_share(models.base.pool)),
        boxes=models.candidate.pool.boxes if models.candidate.pool else 0,
        documents=max(new_set.documents, 0),
    )


def _notes(new_set: NewSet, candidate: Measured) -> str:
    fresh = (
        "" if candidate.fresh or new_set.fresh else "; none is fresh since the live version, so the pool alone counts"
    )
    return _seen(new_set) + fresh


def _seen(new_set: NewSet) -> str:
    return "; the model was trained on these samples (holdout is 0)" if new_set.trained_on else ""


def _change(candidate: Decimal, other: Decimal) -> str:
    return f"{(candidate - other) * 100:+.2f} points"


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _raw(candidate: Measured | None, base: Measured, live: Measured | None) -> str:
    named = (("candidate", candidate), ("base", base), ("live", live))
    return ", ".join(f"{name} {model.map50[:32]!r}" for name, model in named if model)


def _scores(scores: Scores | None) -> str:
    if scores is None:
        return "missing"
    return f"{scores.matched} of {scores.boxes} boxes, rate {scores.rate[:32]!r}"
