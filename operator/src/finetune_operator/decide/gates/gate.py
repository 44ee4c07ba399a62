"""What a gate is: limits of the policy, verdicts by them, and the figures that it saw."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Generic, TypeVar

from ...api.contract import EvaluateResult
from ...api.figures import Figure
from ...api.policy import Gates
from ...api.run import GateVerdict

L = TypeVar("L")

Figures = tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Gate(Generic[L]):
    """A rule that a candidate must pass. Its verdicts and figures hang on the run document and the result alone.

    `limits` picks its part of the policy's gates. `judge` returns one verdict or more, each under a name of its own.
    `figures` returns what is recorded, under names that no other gate uses, or None when a number that the verdict
    hangs on is missing or is none: whoever judges makes an Error of that, never a Pass. `in_points` names the verdicts
    whose value is in points (x 100); the others' are shares of 1.
    """

    name: str
    limits: Callable[[Gates], L]
    judge: Callable[[L, EvaluateResult], tuple[GateVerdict, ...]]
    figures: Callable[[EvaluateResult], Figures | None]
    in_points: frozenset[str] = frozenset()

    def verdicts(self, gates: Gates, result: EvaluateResult) -> tuple[GateVerdict, ...]:
        """Judge `result` by this gate's limits among those of all gates."""
        return self.judge(self.limits(gates), result)


def figures(**values: Decimal | int | None) -> Figures:
    """Return the figures of these names, in their order; what was not measured (None) is left out."""
    return tuple(Figure(name=name, value=str(value)) for name, value in values.items() if value is not None)
