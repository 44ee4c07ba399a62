"""Gate 2, for learning: whether the candidate finds what people labelled on new samples.

Figures, shares of labelled boxes that were found: `poolRate` on the pool, `freshRate` on its samples that the live
version was not trained on, `basePoolRate` of the base; and behind them `boxes` and `documents` of the pool.
"""

from decimal import Decimal
from typing import Final

from ...api.policy import NewSamplesGate
from ...api.run import GateVerdict, Verdict
from ...api.step_result import EvaluateResult, NewSet, Scores
from .gate import Evaluation, Figures, Gate, Standing, figures
from .shares import found_share, has_no_box

NAME: Final = "newSamples"
FRESH_NAME: Final = "newSamplesFresh"


def judge(limits: NewSamplesGate, case: Evaluation) -> tuple[GateVerdict, ...]:
    """Judge the share of labelled boxes that were found, on the pool and on its fresh part separately.

    Above `minimum` Pass, equal or below Review, an empty set Error, but a Review where fields that some model lacks are
    all that is labelled. Without fresh samples only the pool counts, and the second verdict says so.
    """
    models, new_set = case.result.models, case.result.new_set
    candidate = models.candidate
    if new_set is None or candidate is None:
        message = "nothing was measured on new samples"
        threshold = f"{limits.minimum:f}"
        return tuple(
            GateVerdict(name=name, verdict="Error", threshold=threshold, message=message) for name in (NAME, FRESH_NAME)
        )
    others = (models.base.pool, models.live.pool if models.live else None)
    if shows_nothing_shared(case.result):
        pool = _none_shared(limits, new_set)
    else:
        pool = _rate_verdict(NAME, "the pool", candidate.pool, limits, beside(*others) + _trained_on(new_set))
    if candidate.fresh is None and new_set.fresh == 0:
        return (pool, _nothing_fresh(limits, case.standing))
    if new_set.fresh > 0 and has_no_box(candidate.fresh):
        return (pool, _no_box(limits, new_set))
    others = (models.base.fresh, models.live.fresh if models.live else None)
    remarks = beside(*others) + _trained_on(new_set)
    return (pool, _rate_verdict(FRESH_NAME, "its fresh samples", candidate.fresh, limits, remarks))


def beside(base: Scores | None, live: Scores | None) -> str:
    """Return how many boxes base and live version found, to stand behind the candidate's."""
    return "".join(f"; {name} {scores.matched}" for name, scores in (("base", base), ("live", live)) if scores)


def shows_nothing_shared(result: EvaluateResult) -> bool:
    """Tell whether new samples have boxes of appended fields alone, so that on the others nothing can be found (R305).

    What trained did not make them so: what went live meanwhile may lack the one field that they show.
    """
    models, added = result.models, result.added
    pools = [model.pool for model in (models.candidate, models.base, models.live) if model is not None]
    return added is not None and added.new_boxes > 0 and has_no_box(*pools)


def _none_shared(limits: NewSamplesGate, new_set: NewSet) -> GateVerdict:
    message = (
        f"none of {new_set.documents} documents of the new samples has a labelled box of a field that all models have, "
        "so nothing can be found there"
    )
    return GateVerdict(
        name=NAME, verdict="Review", reason="TooFewFound", threshold=f"{limits.minimum:f}", message=message
    )


def _nothing_fresh(limits: NewSamplesGate, standing: Standing) -> GateVerdict:
    """Return a verdict of its own, so that nobody looks for one that is missing."""
    message = f"does not apply: no sample is fresh since {standing.version or 'what is live'}; the pool alone counts"
    return GateVerdict(name=FRESH_NAME, verdict="Pass", threshold=f"{limits.minimum:f}", message=message)


def _no_box(limits: NewSamplesGate, new_set: NewSet) -> GateVerdict:
    """Return a Review: fresh pages of which none has a label are no error, and say nothing of the candidate."""
    message = f"none of {new_set.fresh} fresh documents has a labelled box, so nothing can be found there"
    return GateVerdict(
        name=FRESH_NAME, verdict="Review", reason="TooFewFound", threshold=f"{limits.minimum:f}", message=message
    )


def _rate_verdict(name: str, what: str, scores: Scores | None, limits: NewSamplesGate, remarks: str) -> GateVerdict:
    threshold = f"{limits.minimum:f}"
    rate = found_share(scores)
    if scores is None or rate is None:
        message = f"no valid detection rate on {what}: {_raw(scores)}"
        return GateVerdict(name=name, verdict="Error", threshold=threshold, message=message)
    message = (
        f"{scores.matched} of {scores.boxes} boxes of {what} found ({rate}){remarks}; more than {threshold} is needed"
    )
    verdict = _verdict(rate, limits)
    return GateVerdict(
        name=name,
        verdict=verdict,
        reason="" if verdict == "Pass" else "TooFewFound",
        value=str(rate),
        threshold=threshold,
        message=message,
    )


def _verdict(rate: Decimal, limits: NewSamplesGate) -> Verdict:
    if not limits.minimum.is_finite():
        return "Error"
    return "Pass" if rate > limits.minimum else "Review"


def _figures(result: EvaluateResult) -> Figures | None:
    new_set, candidate = result.new_set, result.models.candidate
    if new_set is None or candidate is None or candidate.pool is None:
        return None
    rate = found_share(candidate.pool)
    if rate is None and not shows_nothing_shared(result):
        return None
    return figures(
        poolRate=rate,
        freshRate=found_share(candidate.fresh),
        basePoolRate=found_share(result.models.base.pool),
        boxes=candidate.pool.boxes,
        documents=max(new_set.documents, 0),
    )


def _trained_on(new_set: NewSet) -> str:
    return "; the model was trained on these samples (holdout is 0)" if new_set.trained_on else ""


def _raw(scores: Scores | None) -> str:
    if scores is None:
        return "missing"
    return f"{scores.matched} of {scores.boxes} boxes, rate {scores.rate[:32]!r}"


NEW_SAMPLES: Final = Gate(
    name=NAME, limits=lambda gates: gates.new_samples, judge=judge, figures=_figures, names=(NAME, FRESH_NAME)
)
