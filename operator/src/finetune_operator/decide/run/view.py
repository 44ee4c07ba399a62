"""What a run's next step hangs on."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ...api.meta import find
from ...api.model_version import ModelVersion
from ...api.policy import Policy
from ...api.policy_status import Judged
from ...api.progress import ProgressLine
from ...api.promotion import Promotion
from ...api.run import Attempt, Run
from ...api.run_document import RunDocument
from ..attempts.clock import timed_attempt
from ..decision import CreateJob
from ..times import Timed, span
from ..views import JobView, Problem, TemplateView

Turn = tuple[str, str]
"""When a run was created, as the API server writes it, and its name: so the oldest is the smallest."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """A run with a place whose step gets no further, by the reason of its condition."""

    run: str
    reason: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Queue:
    """Runs of the same policy: the others whose Jobs take its places, and who waits for one, each sorted.

    `blocked` last waited for what every run of the policy waits for, and `new` are those that nobody has looked at.
    """

    taken: tuple[str, ...] = ()
    waiting: tuple[Turn, ...] = ()
    blocked: tuple[Turn, ...] = ()
    new: tuple[Turn, ...] = ()
    stuck: tuple[Stuck, ...] = ()
    """Those with places that get no further."""


def trains(attempts: Iterable[Attempt]) -> bool:
    """Tell whether a run trains, or has trained: what a suspension took from it, it would begin anew."""
    return any(attempt.step == "train" and attempt.outcome != "Suspended" for attempt in attempts)


@dataclass(frozen=True, slots=True)
class Twin:
    """An open run that asks for the same; `drawn` are the digests of pool and anchor, once it has drawn its mix."""

    name: str
    created: datetime | None = None
    drawn: tuple[str, str] | None = None
    is_past: bool = False
    """It trains, or has a candidate."""
    stuck: Stuck | None = None


@dataclass(frozen=True, slots=True)
class RunView:
    """Everything that a run's next step hangs on."""

    run: Run
    now: datetime
    policy: Policy | None = None
    versions: tuple[ModelVersion, ...] = ()
    train_template: TemplateView | None = None
    cpu_template: TemplateView | None = None
    evaluate_template: TemplateView | None = None
    snapshot: RunDocument | None = None
    snapshot_problem: Problem | None = None
    jobs: tuple[JobView, ...] = ()
    nonce: str = ""
    """What the next attempt is known by: nobody knew it before."""
    fingerprint: Callable[[CreateJob], str | None] = lambda _: None
    """Returns what a Job is known by once it is made."""
    progress: ProgressLine | None = None
    promotion: Promotion | None = None
    queue: Queue = Queue()
    twins: tuple[Twin, ...] = ()
    ahead: tuple[str, ...] = ()
    """Runs of the policy that go first when this one is to be measured again: what is live may change by them."""
    judged: tuple[Judged, ...] = ()
    """Runs of the policy that are there and were judged, the newest; none once the mix is drawn."""
    observed: timedelta | None = None
    """How long what is timed of the run was looked at as it is recorded; None: the wall clock speaks."""

    @property
    def timed(self) -> Timed:
        """What is timed of a run: its newest attempt, or its review."""
        status = self.run.status
        missing = find(status.conditions, "Accepted")
        attempt = timed_attempt(status.attempts, self.jobs)
        key = (
            attempt.key,
            (status.review_since, status.review_seconds),
            missing.reason if missing is not None else None,
        )
        if status.review_since is None or status.verdict != "Review" or status.decision is not None:
            return replace(attempt, key=key)
        seconds = self.policy.spec.review.timeout_seconds if self.policy is not None else 0
        return Timed(key, since=status.review_seen_at or status.review_since, first=recorded_every(seconds))


def recorded_every(timeout_seconds: int) -> timedelta:
    """Return how often the time that a review was open is recorded: ten times at most, and not each minute."""
    return max(span(timeout_seconds) / 10, timedelta(minutes=1))
