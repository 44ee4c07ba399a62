"""One step as the attempt engine sees it: what was tried so far, what is asked for, and where it stands."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Generic, Literal, TypeVar

from ...api.policy import TemplateRole
from ...api.run import Attempt, Step
from ...api.step_result import StepResult
from ..decision import Action, CreateJob
from ..views import Explanation, JobView, Problem, TemplateView

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AttemptsView:
    """Whose step it is, what was tried so far, and what is seen of it."""

    owner: str
    uid: str
    snapshot: str
    attempts: tuple[Attempt, ...]
    jobs: tuple[JobView, ...]
    now: datetime
    backoff_limit: int
    deadline: timedelta | None = None
    """Limit of the time that the trainers of a step run, over all its attempts; of an endless step, in one of them."""
    suspended: Explanation | None = None
    observed: timedelta | None = None
    """How long the newest attempt was looked at as it is recorded; None: the wall clock speaks."""
    nonce: str = ""
    fingerprint: Callable[[CreateJob], str | None] = lambda _: None
    snapshot_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class StepRequest(Generic[T]):
    """One step: where its Job comes from, what it is told, and which result it may give."""

    step: Step
    role: TemplateRole
    template: TemplateView | Problem
    step_inputs: Callable[[Attempt], str]
    accept: Callable[[Attempt, StepResult], T | Problem]
    round: int = 0
    live: str | None = None
    live_plan: Callable[[Attempt], str | None] = lambda _: None
    """Returns the digest of the plan that `step_inputs` tells what is fresh by; "" for none, None if none matters."""
    judged: tuple[str, ...] = ()
    ends: Callable[[Problem], bool] | None = None
    """Tells what alone ends an endless step for good: anything else is tried again, without a limit."""


@dataclass(frozen=True, slots=True)
class StepUnderway:
    """The step is not over; `explanation` says what it is doing or what it waits for."""

    attempts: tuple[Attempt, ...]
    state: Literal["Running", "Waiting", "Suspended", "Blocked"]
    explanation: Explanation
    actions: tuple[Action, ...] = ()
    requeue_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class StepSucceeded(Generic[T]):
    """The step's result, accepted."""

    attempts: tuple[Attempt, ...]
    value: T


@dataclass(frozen=True, slots=True)
class StepFailed:
    """No attempt is left, or none can help."""

    attempts: tuple[Attempt, ...]
    problem: Problem


StepState = StepUnderway | StepSucceeded[T] | StepFailed
"""Where a step stands: under way, succeeded with its result, or failed for good."""


def with_attempt(view: AttemptsView, attempt: Attempt) -> AttemptsView:
    """Return the view with this attempt in the place of its former self."""
    key = (attempt.step, attempt.attempt)
    attempts = tuple(attempt if (a.step, a.attempt) == key else a for a in view.attempts)
    return replace(view, attempts=attempts)


def template_mended(request: StepRequest[T], attempt: Attempt) -> bool:
    """Tell whether the PodTemplate was edited since the attempt was planned, and can be used."""
    known = attempt.template_hash is not None
    return known and isinstance(request.template, TemplateView) and request.template.hash != attempt.template_hash


def admission_mended(request: StepRequest[T], attempt: Attempt) -> bool:
    """Tell whether what admits a Job was edited; a template edited otherwise costs it no place in its queue (R54)."""
    known = attempt.template_hash
    return known is not None and isinstance(request.template, TemplateView) and not request.template.admits_like(known)
