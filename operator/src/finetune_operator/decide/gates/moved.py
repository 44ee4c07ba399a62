"""Gate for a yardstick that stays: the test split is the one that the live version was measured on.

What is approved brings its own test split into its evidence, and so makes it the yardstick of whatever follows.
"""

from typing import Final

from ...api.policy import YardstickMovedGate
from ...api.run import GateVerdict, Verdict
from .gate import Evaluation, Gate, no_figures

NAME: Final = "yardstickMoved"
_THRESHOLD: Final = "the test split of what is live"


def judge(limits: YardstickMovedGate, case: Evaluation) -> tuple[GateVerdict, ...]:
    """Judge whether the test split is that of the live version, or of the base where nothing is live.

    Another one, or one that nobody knows, is a Review. Where nothing is live and the base was never measured, there
    is no yardstick yet.
    """
    now, standing = case.result.test_set.digest, case.standing
    before, version = standing.test_set, standing.version or "what is live"
    if before == now:
        return (_said("Pass", f"{version} was measured on the same test split, {now[:12]}"),)
    if before is None and not standing.is_live:
        return (_said("Pass", f"nothing is live, so test split {now[:12]} is the yardstick from here on"),)
    was = f"on {before}" if before is not None else "on a test split that nothing records"
    message = f"measured on test split {now}, {version} {was}; what is approved makes its test split the yardstick"
    if not limits.review:
        return (_said("Pass", f"does not apply (review: false): {message}"),)
    return (_said("Review", message),)


def _said(verdict: Verdict, message: str) -> GateVerdict:
    reason = "YardstickMoved" if verdict == "Review" else ""
    return GateVerdict(name=NAME, verdict=verdict, reason=reason, threshold=_THRESHOLD, message=message)


YARDSTICK_MOVED: Final = Gate(
    name=NAME, limits=lambda gates: gates.yardstick_moved, judge=judge, figures=no_figures, names=(NAME,)
)
