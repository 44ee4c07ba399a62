"""How long the trainers of attempts ran: each second once, whatever pods come, go and wait in between."""

from datetime import datetime, timedelta

from msgspec.structs import replace

from ...api.run import Attempt, Step
from ..views import JobView


def timed(attempt: Attempt, job: JobView, now: datetime) -> Attempt:
    """Return the attempt with the time that trainers of its Job ran, up to `now`.

    Trainers of one Job run one after the other. So what is recorded up to a moment stays, also when its pods are
    gone, and only what came after that moment is added.
    """
    seconds, until = attempt.ran_seconds, attempt.ran_until
    for span in sorted(job.spans, key=lambda span: span.start):
        start = span.start if until is None else max(span.start, until)
        end = max(min(span.end or now, now), start)
        seconds += int((end - start).total_seconds())
        until = end
    started = attempt.started_at or min((span.start for span in job.spans), default=None)
    return replace(attempt, started_at=started, ran_seconds=seconds, ran_until=until)


def running_time(attempts: tuple[Attempt, ...], step: Step, now: datetime) -> timedelta:
    """Return how long trainers of a step ran, over all its attempts."""
    return sum((_ran(a, now) for a in attempts if a.step == step), timedelta())


def is_running(job: JobView) -> bool:
    """Tell whether a trainer of the Job runs: only then its clock goes on."""
    return any(span.end is None for span in job.spans)


def as_recorded(old: Attempt, new: Attempt) -> Attempt:
    """Return `new` with the clock of `old`: time that goes by is recorded with the next real change."""
    if old.job_uid is None:
        return new
    return replace(new, started_at=old.started_at, ran_seconds=old.ran_seconds, ran_until=old.ran_until)


def _ran(attempt: Attempt, now: datetime) -> timedelta:
    if attempt.ran_until is not None:
        return timedelta(seconds=attempt.ran_seconds)
    if attempt.started_at is None:
        return timedelta()
    # As the last release recorded it; a clock that went backwards adds nothing.
    return max((attempt.finished_at or now) - attempt.started_at, timedelta())
