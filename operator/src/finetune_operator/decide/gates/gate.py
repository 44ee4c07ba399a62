"""What a gate is: limits of the policy, verdicts by them, and the figures that it saw."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Generic, TypeVar

from ...api.figures import Figure
from ...api.policy import Gates
from ...api.run import GateVerdict
from ...api.run_document import DocumentProduction, RunDocument
from ...api.step_result import EvaluateResult

L = TypeVar("L")

Figures = tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """An earlier mAP50 of bytes that are measured again: by which version's record, and on which test split."""

    sha256: str
    version: str
    test_set: str
    images: int
    map50: str
    fields: int
    """It is the mean over so many fields, the first ones."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of what the candidate is held against: the live version, or the base where nothing is live.

    `version` is its name, `test_set` the digest of the test split that it was measured on, `fields` how many it has;
    each None where unknown. `known` are earlier measurements of base and live version.
    """

    version: str | None = None
    test_set: str | None = None
    is_live: bool = False
    known: tuple[Known, ...] = ()
    fields: int | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a gate judges: one evaluation, the names of the fields, and what is known of what is live.

    `classes` are the fields that all models have, and `added` those behind them, which some model does not have;
    `added_before` are those of them that base or live version has, or may have. `captured` is where documents of
    production were drawn from; None without Gate 3.
    """

    result: EvaluateResult
    classes: tuple[str, ...] = ()
    standing: Standing = Standing()
    captured: DocumentProduction | None = None
    added: tuple[str, ...] = ()
    added_before: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gate(Generic[L]):
    """A rule that a candidate must pass. Its verdicts and figures hang on the case alone.

    `limits` picks its part of the policy's gates; where that is None, the policy does not ask for the gate, which then
    says nothing. `judge` returns one verdict or more, each under a name of its own.
    `figures` returns what is recorded, under names that no other gate uses, or None when a number that the verdict
    hangs on is missing or is none: whoever judges makes an Error of that, never a Pass. `names` are those of
    all its verdicts; `in_points` names the verdicts
    whose value is in points (x 100), `counts` those whose value is a count; the others' are shares of 1. `seldom` names
    those that not every judgement has.
    """

    name: str
    limits: Callable[[Gates], L | None]
    judge: Callable[[L, Evaluation], tuple[GateVerdict, ...]]
    figures: Callable[[EvaluateResult], Figures | None]
    names: tuple[str, ...]
    in_points: frozenset[str] = frozenset()
    counts: frozenset[str] = frozenset()
    seldom: frozenset[str] = frozenset()

    def verdicts(self, gates: Gates, case: Evaluation) -> tuple[GateVerdict, ...]:
        """Judge `case` by this gate's limits among those of all gates."""
        limits = self.limits(gates)
        return () if limits is None else self.judge(limits, case)


def shared_fields(run_document: RunDocument, result: EvaluateResult) -> int:
    """Return how many fields, the first ones, all models of an evaluation have."""
    return len(run_document.classes) if result.added is None else result.added.known


def no_figures(_: EvaluateResult) -> Figures:
    """Return none: the gate's message and value say it all, and no other number hangs on it."""
    return ()


def figures(**values: Decimal | int | None) -> Figures:
    """Return the figures of these names, in their order; what was not measured (None) is left out."""
    return tuple(Figure(name=name, value=str(value)) for name, value in values.items() if value is not None)
