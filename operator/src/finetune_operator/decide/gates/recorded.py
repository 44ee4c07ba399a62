"""What a recorded judgement is worth: read again from its gates and figures, never from its word (decision 13).

A ModelVersion is anybody's text until it is looked at. What is judged here is what every release has recorded: a gate
that is newer counts by its verdict.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from ...api.model_version import VersionEvidence
from ...api.run import GateVerdict, Verdict
from .new_samples import FRESH_NAME
from .new_samples import NAME as NEW_SAMPLES
from .regression import CANDIDATE_MAP50
from .regression import NAME as REGRESSION
from .shares import share
from .verdict import stricter, worst

ALWAYS: Final = (REGRESSION, NEW_SAMPLES)
"""The gates that every recorded judgement has, whichever release made it."""

_NUMBER: Final = re.compile(r"(?<![-0-9.])[0-9]{1,9}(?:[.][0-9]{1,10})?(?![0-9.])")
_VALUE: Final = re.compile(r"-?[0-9]{1,9}([.][0-9]{1,9})?")
_ONE_LIMIT: Final = 1
_TWO_LIMITS: Final = 2


def recorded_verdict(evidence: VersionEvidence) -> Verdict:
    """Return the strictest of what the gates say and of the verdict that stands beside them; no gate is an Error."""
    return stricter(evidence.verdict, worst(evidence.gates))


def disbelief(evidence: VersionEvidence) -> str | None:
    """Return why the record cannot be what a run judged, in words; None where nothing in it contradicts another."""
    names = [gate.name for gate in evidence.gates]
    missing = [name for name in ALWAYS if names.count(name) != 1]
    if missing:
        return f"its record does not have gate {' and '.join(repr(name) for name in missing)} once"
    for gate in evidence.gates:
        seen = _SEEN.get(gate.name)
        problem = None if seen is None or gate.verdict == "Error" else _contradiction(gate, evidence, *seen)
        if problem is not None:
            return problem
    return None


def _contradiction(
    gate: GateVerdict,
    evidence: VersionEvidence,
    figure: Callable[[VersionEvidence], Decimal | None],
    judged: Callable[[Decimal, str], Verdict | None],
) -> str | None:
    """Return where value, figures, threshold and verdict of one gate do not go together."""
    if gate.name == FRESH_NAME and not gate.value and evidence.figure("freshRate") is None:
        return None  # it did not apply, and says so
    if gate.name == NEW_SAMPLES and gate.verdict != "Pass" and not gate.value and evidence.figure("boxes") == "0":
        return None  # new samples had boxes of appended fields alone (R305), and a person was asked
    value = Decimal(gate.value) if _VALUE.fullmatch(gate.value) else None
    measured = figure(evidence)
    if value is None or measured is None:
        return f"gate '{gate.name}' of its record says {gate.verdict}, and the figures that this hangs on are missing"
    if value != measured:
        return f"gate '{gate.name}' of its record judged {value}, but its figures make {measured}"
    wanted = judged(value, gate.threshold)
    if wanted is None:
        return f"gate '{gate.name}' of its record has no threshold"
    if stricter(wanted, gate.verdict) != gate.verdict:
        return f"gate '{gate.name}' of its record says {gate.verdict}, but {value} is {wanted} ({gate.threshold[:64]})"
    return None


def _drop(evidence: VersionEvidence) -> Decimal | None:
    """Return the drop of mAP50 in points that the figures make."""
    candidate, base = _share(evidence, CANDIDATE_MAP50), _share(evidence, "baseMap50")
    live = base if evidence.figure("liveMap50") is None else _share(evidence, "liveMap50")
    if candidate is None or base is None or live is None:
        return None
    return (max(base, live) - candidate) * 100


def _share(evidence: VersionEvidence, name: str) -> Decimal | None:
    figure = evidence.figure(name)
    return None if figure is None else share(figure)


def _dropped(value: Decimal, threshold: str) -> Verdict | None:
    limits = [Decimal(number) for number in _NUMBER.findall(threshold)]
    if len(limits) != _TWO_LIMITS:
        return None
    review, reject = limits
    if value > reject:
        return "Reject"
    return "Review" if value >= review else "Pass"


def _reached(value: Decimal, threshold: str) -> Verdict | None:
    limits = [Decimal(number) for number in _NUMBER.findall(threshold)]
    if len(limits) != _ONE_LIMIT:
        return None
    return "Pass" if value > limits[0] else "Review"


_SEEN: Final = {
    REGRESSION: (_drop, _dropped),
    NEW_SAMPLES: (lambda evidence: _share(evidence, "poolRate"), _reached),
    FRESH_NAME: (lambda evidence: _share(evidence, "freshRate"), _reached),
}
"""By a gate's name: the figure that its value must be, and its verdict by value and threshold."""
