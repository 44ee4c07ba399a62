"""The verdict over all gates, from the run document, the result of an evaluation, and what is known of what is live.

Whatever is missing, not a number, infinite, outside 0..1 or contradicts itself is an Error, never a Pass.
"""

from dataclasses import dataclass
from typing import Any, Final

from ...api.policy import Gates
from ...api.run import GateVerdict, Verdict
from ...api.run_document import RunDocument
from ...api.step_result import EvaluateResult
from .fields import FIELDS
from .floor import FLOOR
from .gain import GAIN
from .gate import Evaluation, Figures, Gate, Standing, shared_fields
from .moved import YARDSTICK_MOVED
from .new_samples import NEW_SAMPLES
from .production import PRODUCTION
from .regression import REGRESSION
from .served import served_figures
from .yardstick import YARDSTICK

GATES: Final[tuple[Gate[Any], ...]] = (
    REGRESSION,
    NEW_SAMPLES,
    FIELDS,
    FLOOR,
    YARDSTICK,
    YARDSTICK_MOVED,
    GAIN,
    PRODUCTION,
)
"""Every gate, in the order in which verdicts and figures are recorded."""

IN_POINTS: Final[frozenset[str]] = frozenset[str]().union(*(gate.in_points for gate in GATES))
"""The verdicts whose value is in points (x 100)."""

VERDICTS: Final[frozenset[str]] = frozenset(
    name for gate in GATES if gate.limits(Gates()) is not None for name in gate.names if name not in gate.seldom
)
"""The names of the verdicts that every judgement has: not those that a policy asks for, or that are seldom."""

COUNTS: Final[frozenset[str]] = frozenset[str]().union(*(gate.counts for gate in GATES))
"""The verdicts whose value is a count."""

_STRICTNESS: Final[dict[Verdict, int]] = {"Pass": 0, "Review": 1, "Reject": 2, "Error": 3}


@dataclass(frozen=True, slots=True)
class Judgement:
    """The gates' verdicts, the strictest of them, and the figures they saw (None when these are not all numbers).

    Among the figures is what production is held against, which no gate looks at.
    """

    gates: tuple[GateVerdict, ...]
    verdict: Verdict
    figures: Figures | None


def judge(
    run_document: RunDocument, result: EvaluateResult, standing: Standing, gates: tuple[Gate[Any], ...] = GATES
) -> Judgement:
    """Judge one evaluation by the gates' limits in the run document, beside what is known of what is live."""
    limits = run_document.gates
    if limits is None:
        message = "the run document names no gates; make a new run"
        missing = tuple(GateVerdict(name=gate.name, verdict="Error", message=message) for gate in gates)
        return Judgement(missing, "Error", None)
    known, names = shared_fields(run_document, result), run_document.classes
    before = _had_before(run_document, result, standing)
    case = Evaluation(result, names[:known], standing, run_document.data.production, names[known:], names[known:before])
    verdicts = tuple(verdict for gate in gates for verdict in gate.verdicts(limits, case))
    figures = _figures(gates, result)
    if figures is None:
        return Judgement(verdicts, "Error", None)
    return Judgement(verdicts, worst(verdicts), (*figures, *served_figures(result, len(run_document.classes))))


def _had_before(run_document: RunDocument, result: EvaluateResult, standing: Standing) -> int:
    """Return how many fields, the first ones, base or live version has; all, where no record tells of the latter."""
    every = len(run_document.classes)
    live = standing.fields if result.models.live is not None else 0
    return max(run_document.base.fields or every, every if live is None else live)


def worst(gates: tuple[GateVerdict, ...]) -> Verdict:
    """Return the worst verdict: Error > Reject > Review > Pass; no gate at all is an Error."""
    return max((gate.verdict for gate in gates), key=_STRICTNESS.__getitem__, default="Error")


def stricter(one: Verdict, other: Verdict) -> Verdict:
    """Return the stricter of two verdicts."""
    return max(one, other, key=_STRICTNESS.__getitem__)


def _figures(gates: tuple[Gate[Any], ...], result: EvaluateResult) -> Figures | None:
    """Return the figures of all gates, or None when one of them lacks a number that its verdict hangs on."""
    seen: list[Figures] = []
    for gate in gates:
        figures = gate.figures(result)
        if figures is None:
            return None
        seen.append(figures)
    return tuple(figure for figures in seen for figure in figures)
