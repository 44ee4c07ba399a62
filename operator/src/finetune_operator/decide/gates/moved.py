"""Gate for a yardstick that stays: the test split is the one that the live version was measured on.

And it measures as it did: what base and live version have by their records, they have here, on the same split.
What is approved brings its own test split into its evidence, and so makes it the yardstick of whatever follows.
"""

from decimal import Decimal
from typing import Final

from ...api.policy import YardstickMovedGate
from ...api.run import GateVerdict, Verdict
from .gate import Evaluation, Gate, no_figures
from .shares import share

NAME: Final = "yardstickMoved"
_THRESHOLD: Final = "the test split of what is live"
_AGREES: Final = Decimal("0.005")
"""How much mAP50 of the same bytes on the same pages may differ: another CPU rounds otherwise."""


def judge(limits: YardstickMovedGate, case: Evaluation) -> tuple[GateVerdict, ...]:
    """Judge whether the test split is that of the live version, or of the base where nothing is live.

    Another one, or one that nobody knows, is a Review. Where nothing is live and the base was never measured, there
    is no yardstick yet.
    """
    now, standing = case.result.test_set.digest, case.standing
    before, version = standing.test_set, standing.version or "what is live"
    differs = _measured_otherwise(case)
    if differs is not None:
        message = f"{differs}; another evaluator measured, or one of the two did not measure this"
        return (
            _said("Review", message) if limits.review else _said("Pass", f"does not apply (review: false): {message}"),
        )
    if before == now:
        return (_said("Pass", f"{version} was measured on the same test split, {now[:12]}"),)
    if before is None and not standing.is_live:
        return (_said("Pass", f"nothing is live, so test split {now[:12]} is the yardstick from here on"),)
    was = f"on {before}" if before is not None else "on a test split that nothing records"
    message = f"measured on test split {now}, {version} {was}; what is approved makes its test split the yardstick"
    if not limits.review:
        return (_said("Pass", f"does not apply (review: false): {message}"),)
    return (_said("Review", message),)


def _measured_otherwise(case: Evaluation) -> str | None:
    """Return whose bytes have another mAP50 here than by an earlier record, on the same test split; None: nobody's.

    Means over other fields, for some were appended since, do not compare.
    """
    models, test_set = case.result.models, case.result.test_set
    for earlier in case.standing.known:
        for model in (models.base, models.live):
            same = (earlier.sha256, earlier.test_set, earlier.fields)
            if model is None or (model.sha256, test_set.digest, len(case.classes)) != same:
                continue
            if test_set.images != earlier.images:
                return f"test split {test_set.digest[:12]} has {test_set.images} images, and {earlier.images} before"
            now, then = share(model.map50), share(earlier.map50)
            if now is None or then is None or abs(now - then) > _AGREES:
                which = "the base" if model is models.base else "the live version"
                return f"{which} has mAP50 {now} here, and {then} by the record of {earlier.version}"
    return None


def _said(verdict: Verdict, message: str) -> GateVerdict:
    reason = "YardstickMoved" if verdict == "Review" else ""
    return GateVerdict(name=NAME, verdict=verdict, reason=reason, threshold=_THRESHOLD, message=message)


YARDSTICK_MOVED: Final = Gate(
    name=NAME, limits=lambda gates: gates.yardstick_moved, judge=judge, figures=no_figures, names=(NAME,)
)
