"""Gate for a reason to change anything: on fresh samples the candidate finds more labelled boxes than what is live."""

from decimal import Decimal
from typing import Final

from ...api.policy import GainGate
from ...api.run import GateVerdict, Verdict
from ...api.step_result import Scores
from .gate import Evaluation, Gate, no_figures
from .shares import found_share, has_no_box

NAME: Final = "gain"
_THRESHOLD: Final = "more boxes found than by what is live"


def judge(limits: GainGate, case: Evaluation) -> tuple[GateVerdict, ...]:
    """Judge boxes found on the fresh samples against the live version, or the base where that or nothing is live.

    Nothing fresh, or nothing left to gain, is a Pass that says so.
    """
    models, new_set = case.result.models, case.result.new_set
    if models.candidate is None or new_set is None:
        return (_said("Error", "nothing was measured on new samples"),)
    candidate, base = models.candidate.fresh, models.base.fresh
    live = models.live.fresh if models.live is not None else None
    if new_set.fresh == 0 and candidate is None and base is None and live is None:
        return (_said("Pass", f"does not apply: no sample is fresh since {case.standing.version or 'what is live'}"),)
    other = live if models.live is not None else base
    if new_set.fresh > 0 and has_no_box(candidate, base, other):
        message = f"none of {new_set.fresh} fresh documents has a labelled box, so nothing can be gained there"
        return (_said("Review" if limits.review else "Pass", message),)
    shares = [found_share(scores) for scores in (candidate, base, *((live,) if models.live is not None else ()))]
    if candidate is None or base is None or other is None or None in shares:
        return (_said("Error", "no valid count of boxes found on the fresh samples by candidate, base and live"),)
    if len({scores.boxes for scores in (candidate, base, other)}) != 1:
        return (_said("Error", "candidate, base and live were measured on different numbers of fresh boxes"),)
    beside = f"base {base.matched}" + (f", live {live.matched}" if live is not None else "")
    return (_compared(limits, candidate, other, beside),)


def _compared(limits: GainGate, candidate: Scores, other: Scores, beside: str) -> GateVerdict:
    message = f"{candidate.matched} of {candidate.boxes} fresh boxes found; {beside}"
    value = f"{(Decimal(candidate.matched) - other.matched) / candidate.boxes:.6f}"
    if candidate.matched > other.matched:
        return _said("Pass", message, value)
    if candidate.matched == other.matched == candidate.boxes:
        return _said("Pass", f"nothing is left to gain: {message}", value)
    if not limits.review:
        return _said("Pass", f"nothing gained, which does not matter here (review: false): {message}", value)
    return _said("Review", f"nothing gained: {message}", value)


def _said(verdict: Verdict, message: str, value: str = "") -> GateVerdict:
    reason = "NoGain" if verdict == "Review" else ""
    return GateVerdict(name=NAME, verdict=verdict, reason=reason, value=value, threshold=_THRESHOLD, message=message)


GAIN: Final = Gate(name=NAME, limits=lambda gates: gates.gain, judge=judge, figures=no_figures, names=(NAME,))
