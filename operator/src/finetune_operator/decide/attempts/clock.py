"""How long the trainers of attempts ran: each second once, whatever pods come, go and wait in between."""

from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec.structs import replace

from ...api.run import Attempt, Step
from ..times import Timed, later, whole_seconds
from ..views import JobView

RECORDED_EVERY: Final = timedelta(hours=1)
"""Running time that is recorded though nothing else of the attempt changes."""


def timed(attempt: Attempt, job: JobView, now: datetime, observed: timedelta | None = None) -> Attempt:
    """Return the attempt with the time that trainers of its Job ran, up to this look.

    Trainers of one Job run one after the other. So what is recorded up to a moment stays, also when its pods are
    gone, and only what came after that moment is added. Of a trainer that runs, that is what was `observed` since it
    was recorded (None: up to `now`): a clock that is set lets no time pass. When it has ended, its own node says how
    long it took.
    """
    seconds, until = attempt.ran_seconds, attempt.ran_until
    for span in sorted(job.spans, key=lambda span: span.start):
        start = span.start if until is None else max(span.start, until)
        runs = span.end is None and observed is not None
        end = later(start, observed or timedelta()) if runs else max(min(span.end or now, now), start)
        more = whole_seconds(end - start)
        seconds += more
        until = later(start, timedelta(seconds=more)) if runs else end
    started = attempt.started_at or min((span.start for span in job.spans), default=None)
    return replace(attempt, started_at=started, ran_seconds=seconds, ran_until=until)


def running_time(attempts: tuple[Attempt, ...], step: Step, now: datetime) -> timedelta:
    """Return how long trainers of a step ran, over all its attempts."""
    return sum((_ran(a, now) for a in attempts if a.step == step), timedelta())


def is_running(job: JobView) -> bool:
    """Tell whether a trainer of the Job runs: only then its clock goes on."""
    return any(span.end is None for span in job.spans)


def timed_attempt(attempts: tuple[Attempt, ...], jobs: tuple[JobView, ...]) -> Timed:
    """Return what of the newest attempt is timed: its trainer's run as it is recorded, or the pause after it failed."""
    if not attempts:
        return Timed(None)
    newest = attempts[-1]
    if newest.outcome == "Failed":
        return Timed((newest.job, newest.finished_at), since=newest.finished_at, first=timedelta.max)
    its = [job for job in jobs if job.name == newest.job]
    runs, podless = any(map(is_running, its)), any(job.podless_since is not None for job in its)
    key = (newest.job, newest.outcome, newest.ran_seconds, newest.ran_until, runs, podless)
    if podless and (newest.started_at is not None or any(job.has_pods for job in its)):
        # No clock says when it lost its pod: what drained that node may have ended the process before, too.
        return Timed(key)
    # Of a pod that waits, a process that starts takes the clock's word: what was said of it stays.
    since = (newest.ran_until or newest.started_at) if runs else datetime.min.replace(tzinfo=UTC)
    return Timed(key, since=since, first=RECORDED_EVERY)


def as_recorded(old: Attempt, new: Attempt) -> Attempt:
    """Return `new` with the clock of `old`: time that goes by is recorded with the next change, or when it is much.

    What is not recorded, a process that dies takes with it.
    """
    if old.job_uid is None or new.ran_seconds - old.ran_seconds >= RECORDED_EVERY.total_seconds():
        return new
    return replace(new, started_at=old.started_at, ran_seconds=old.ran_seconds, ran_until=old.ran_until)


def _ran(attempt: Attempt, now: datetime) -> timedelta:
    if attempt.ran_until is not None:
        return timedelta(seconds=attempt.ran_seconds)
    if attempt.started_at is None:
        return timedelta()
    # As the last release recorded it; a clock that went backwards adds nothing.
    return max((attempt.finished_at or now) - attempt.started_at, timedelta())
