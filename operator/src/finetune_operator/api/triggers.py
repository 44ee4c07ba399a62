"""Triggers: when a policy makes runs by itself, what it made, and why a run was made."""

from datetime import datetime
from typing import Final, Literal

from .figures import Figure
from .value import Value

TriggerKind = Literal["Manual", "Volume", "Schedule", "Performance", "Rebuild"]
"""Who or what made a run: a person, or one of the policy's triggers."""


class RunTrigger(Value, frozen=True, kw_only=True):
    """Why a run was made: `figures` are what was counted then, `requester` is self-declared."""

    kind: TriggerKind = "Manual"
    reason: str = ""
    figures: tuple[Figure, ...] = ()
    requester: str = ""


class VolumeTrigger(Value, frozen=True, kw_only=True):
    """Fires once so many samples are new."""

    new_samples: int = 50


class ScheduleTrigger(Value, frozen=True, kw_only=True):
    """Fires at each window of a cron line with five fields, by the clocks of an IANA time zone."""

    cron: str
    time_zone: str = "UTC"


GOT_WORSE: Final = ("FinetuneFieldDetectionRateLow", "FinetuneConfidenceDropped", "FinetuneUserReportedFailuresRising")
"""The chart's alerts that say that a model got worse; a fine-tune mends no latency."""


class PerformanceTrigger(Value, frozen=True, kw_only=True):
    """Fires while one of the alerts has fired for `for_seconds` (0 or more), and so many samples are new."""

    alerts: tuple[str, ...] = GOT_WORSE
    new_samples: int = 20
    for_seconds: int = 0


class Triggers(Value, frozen=True, kw_only=True):
    """When a policy makes a run by itself, and how often at most."""

    start: Literal["Running", "Suspended"] = "Running"
    cooldown_seconds: int = 21_600
    max_runs_per_week: int = 7
    volume: VolumeTrigger | None = None
    schedule: ScheduleTrigger | None = None
    performance: PerformanceTrigger | None = None

    @property
    def any(self) -> bool:
        """Whether there is a trigger among them."""
        return self.volume is not None or self.schedule is not None or self.performance is not None


FiredOutcome = Literal["Planned", "Underway", "Judged", "Failed", "Deleted"]
"""What became of a run that was fired: it is about to be made, not over, judged or over without a failure, ..."""


class Fired(Value, frozen=True, kw_only=True):
    """A run that a trigger made: remembered before it is made, and whatever becomes of it.

    `listing` and `base` are the digests of the pool and of the base that its name is made from, `attempt` is its try
    number from 1; they are empty and 0 where only the run itself told of it. `at` is when it was fired, `ended_at`
    when its end was seen. `base_version` and `figures` are there until the run is, `reason` until that is over.
    `outside` is what was outside the base's listing when a rebuild was fired; None for any other run.
    """

    run: str
    kind: TriggerKind
    at: datetime
    outcome: FiredOutcome
    run_uid: str = ""
    listing: str = ""
    base: str = ""
    attempt: int = 0
    outside: int | None = None
    ended_at: datetime | None = None
    base_version: str = ""
    reason: str = ""
    figures: tuple[Figure, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether its run is about to be made, or not over yet."""
        return self.outcome in ("Planned", "Underway")


class ScheduleStatus(Value, frozen=True, kw_only=True):
    """The cron line that is followed, and up to when its windows are done with."""

    cron: str
    time_zone: str
    passed: datetime
