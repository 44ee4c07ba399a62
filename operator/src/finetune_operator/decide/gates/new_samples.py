"""Gate 2, for learning: whether the candidate finds what people labelled on new samples.

Figures, shares of labelled boxes that were found: `poolRate` on the pool, `freshRate` on its samples that the live
version was not trained on, `basePoolRate` of the base; and behind them `boxes` and `documents` of the pool.
"""

from decimal import Decimal
from typing import Final

from ...api.contract import EvaluateResult, Measured, NewSet, Scores
from ...api.policy import NewSamplesGate
from ...api.run import GateVerdict, Verdict
from .gate import Figures, Gate, figures
from .shares import found_share

NAME: Final = "newSamples"
FRESH_NAME: Final = "newSamplesFresh"


def judge(limits: NewSamplesGate, result: EvaluateResult) -> tuple[GateVerdict, ...]:
    """Judge the share of labelled boxes that were found, on the pool and on its fresh part separately.

    Above `minimum` Pass, equal or below Review, an empty set Error. Without fresh samples only the pool
    counts, and a gate of its own says so.
    """
    new_set, candidate = result.new_set, result.models.candidate
    if new_set is None or candidate is None:
        message = "nothing was measured on new samples"
        return (GateVerdict(name=NAME, verdict="Error", threshold=str(limits.minimum), message=message),)
    pool = _rate_verdict(NAME, "the pool", candidate.pool, limits, _remarks(new_set, candidate))
    if candidate.fresh is None and new_set.fresh == 0:
        none = f"nothing is fresh since the live version, so the pool alone counts; it needs more than {limits.minimum}"
        return (pool, GateVerdict(name=FRESH_NAME, verdict="Pass", threshold=str(limits.minimum), message=none))
    return (pool, _rate_verdict(FRESH_NAME, "its fresh samples", candidate.fresh, limits, _trained_on(new_set)))


def _rate_verdict(name: str, what: str, scores: Scores | None, limits: NewSamplesGate, remarks: str) -> GateVerdict:
    threshold = str(limits.minimum)
    rate = found_share(scores)
    if scores is None or rate is None:
        message = f"no valid detection rate on {what}: {_raw(scores)}"
        return GateVerdict(name=name, verdict="Error", threshold=threshold, message=message)
    message = (
        f"{scores.matched} of {scores.boxes} boxes of {what} found ({rate}); more than {threshold} is needed{remarks}"
    )
    return GateVerdict(name=name, verdict=_verdict(rate, limits), value=str(rate), threshold=threshold, message=message)


def _verdict(rate: Decimal, limits: NewSamplesGate) -> Verdict:
    if not limits.minimum.is_finite():
        return "Error"
    return "Pass" if rate > limits.minimum else "Review"


def _figures(result: EvaluateResult) -> Figures | None:
    new_set, candidate = result.new_set, result.models.candidate
    if new_set is None or candidate is None or candidate.pool is None:
        return None
    rate = found_share(candidate.pool)
    if rate is None:
        return None
    return figures(
        poolRate=rate,
        freshRate=found_share(candidate.fresh),
        basePoolRate=found_share(result.models.base.pool),
        boxes=candidate.pool.boxes,
        documents=max(new_set.documents, 0),
    )


def _remarks(new_set: NewSet, candidate: Measured) -> str:
    fresh = (
        "" if candidate.fresh or new_set.fresh else "; none is fresh since the live version, so the pool alone counts"
    )
    return _trained_on(new_set) + fresh


def _trained_on(new_set: NewSet) -> str:
    return "; the model was trained on these samples (holdout is 0)" if new_set.trained_on else ""


def _raw(scores: Scores | None) -> str:
    if scores is None:
        return "missing"
    return f"{scores.matched} of {scores.boxes} boxes, rate {scores.rate[:32]!r}"


NEW_SAMPLES: Final = Gate(name=NAME, limits=lambda gates: gates.new_samples, judge=judge, figures=_figures)
