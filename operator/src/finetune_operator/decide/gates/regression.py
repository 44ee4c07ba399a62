"""Gate 1, against forgetting: how much of the old skill the candidate lost.

Figures, mAP50 on the anchor's test set: `candidateMap50`, `baseMap50`, and `liveMap50` where another version is live.
"""

from decimal import Decimal
from typing import Final

from ...api.policy import RegressionGate
from ...api.run import GateVerdict, Verdict
from ...api.step_result import EvaluateResult, Measured
from .gate import Evaluation, Figures, Gate, figures
from .shares import share

NAME: Final = "regression"
CANDIDATE_MAP50: Final = "candidateMap50"
"""The figure that a version is known by."""


def judge(limits: RegressionGate, case: Evaluation) -> tuple[GateVerdict, ...]:
    """Judge the drop of mAP50 on the anchor's test set, in absolute points (x 100).

    drop = max(base, live) - candidate; below `reviewAtPoints` Pass, up to and including
    `rejectAbovePoints` Review, above it Reject.
    """
    threshold = f"review at {limits.review_at_points:f}, reject above {limits.reject_above_points:f}"
    result = case.result
    models = result.models
    candidate = share(models.candidate.map50 if models.candidate else "")
    base = share(models.base.map50)
    live = share(models.live.map50) if models.live else base
    if candidate is None or base is None or live is None or min(result.test_set.images, result.test_set.boxes) < 1:
        message = f"no valid mAP50 to compare: {_raw(models.candidate, models.base, models.live)}, each must be in 0..1"
        return (GateVerdict(name=NAME, verdict="Error", threshold=threshold, message=message),)
    drop = (max(base, live) - candidate) * 100
    parts = [f"base {base} ({_change(candidate, base)})"]
    if models.live:
        parts.append(f"live {live} ({_change(candidate, live)})")
    message = f"mAP50 {candidate} on {result.test_set.images} test images against {' and '.join(parts)}; {threshold}"
    verdict = _verdict(drop, limits)
    reason = "" if verdict == "Pass" else "Forgetting"
    value = f"{drop:f}"
    return (GateVerdict(name=NAME, verdict=verdict, reason=reason, value=value, threshold=threshold, message=message),)


def _verdict(drop: Decimal, limits: RegressionGate) -> Verdict:
    # Limits that are no numbers would make the comparisons raise; the CRD refuses them, a restored object may not.
    if not (limits.review_at_points.is_finite() and limits.reject_above_points.is_finite()):
        return "Error"
    if drop > limits.reject_above_points:
        return "Reject"
    return "Review" if drop >= limits.review_at_points else "Pass"


def _figures(result: EvaluateResult) -> Figures | None:
    models = result.models
    candidate = share(models.candidate.map50) if models.candidate else None
    base = share(models.base.map50)
    live = share(models.live.map50) if models.live else None
    if candidate is None or base is None or (models.live is not None and live is None):
        return None
    return figures(**{CANDIDATE_MAP50: candidate, "baseMap50": base, "liveMap50": live})


def _change(candidate: Decimal, other: Decimal) -> str:
    return f"{(candidate - other) * 100:+.2f} points"


def _raw(candidate: Measured | None, base: Measured, live: Measured | None) -> str:
    named = (("candidate", candidate), ("base", base), ("live", live))
    return ", ".join(f"{name} {model.map50[:32]!r}" for name, model in named if model)


REGRESSION: Final = Gate(
    name=NAME,
    limits=lambda gates: gates.regression,
    judge=judge,
    figures=_figures,
    names=(NAME,),
    in_points=frozenset((NAME,)),
)
