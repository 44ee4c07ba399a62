"""What a ModelVersion's status hangs on."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ...api.model_version import ModelVersion
from ...api.policy import Policy
from ...api.run_document import RunDocument
from ..attempts.clock import timed_attempt
from ..decision import CreateJob
from ..times import Timed
from ..views import JobView, Problem, TemplateView


@dataclass(frozen=True, slots=True)
class VersionView:
    """Everything that a ModelVersion's status hangs on."""

    version: ModelVersion
    now: datetime
    policies: tuple[Policy, ...] = ()
    cpu_template: TemplateView | None = None
    evaluate_template: TemplateView | None = None
    snapshot: RunDocument | None = None
    snapshot_problem: Problem | None = None
    jobs: tuple[JobView, ...] = ()
    nonce: str = ""
    """What the next attempt is known by: nobody knew it before."""
    fingerprint: Callable[[CreateJob], str | None] = lambda _: None
    """Returns what a Job is known by once it is made."""
    observed: timedelta | None = None
    """How long its newest attempt was looked at as it is recorded; None: the wall clock speaks."""

    @property
    def timed(self) -> Timed:
        """What is timed of a version: its newest attempt."""
        return timed_attempt(self.version.status.attempts, self.jobs)
