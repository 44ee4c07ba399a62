"""Attempts as a status keeps them: the newest, what still runs of them, how long, when the next may come."""

from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from ...api.run import Attempt, Step
from .. import limits
from ..decision import Action, DeleteJob
from ..views import JobView, Problem

FIRST_BACKOFF: Final = timedelta(seconds=10)
MAX_BACKOFF: Final = timedelta(seconds=300)


def latest(attempts: tuple[Attempt, ...], step: Step, round_: int = 0) -> Attempt | None:
    """Return the newest attempt of a step (of one round of it), if there is one."""
    return next((a for a in reversed(attempts) if a.step == step and a.round == round_), None)


def active_jobs(jobs: tuple[JobView, ...]) -> tuple[JobView, ...]:
    """Return the Jobs that still run, or whose pods do."""
    return tuple(job for job in jobs if job.state == "Active" or not job.pods_gone)


def deletions(jobs: tuple[JobView, ...]) -> tuple[Action, ...]:
    """Return the deletion of every one of these Jobs that is not being deleted already."""
    return tuple(DeleteJob(name=job.name, uid=job.uid) for job in jobs if not job.deleting)


def running_time(attempts: tuple[Attempt, ...], now: datetime) -> timedelta:
    """Return how long pods of these attempts ran; a clock that went backwards adds nothing."""
    spans = ((a.finished_at or now) - a.started_at for a in attempts if a.started_at is not None)
    return sum((max(span, timedelta()) for span in spans), timedelta())


def leftovers(attempts: tuple[Attempt, ...], jobs: tuple[JobView, ...]) -> tuple[JobView, ...]:
    """Return the Jobs of attempts that are recorded as ended but still run.

    A Job that no attempt is recorded for is left alone: then the status is stale, and its write will say so.
    """
    ended = {a.job for a in attempts if a.outcome not in ("Planned", "Running")}
    return active_jobs(tuple(job for job in jobs if job.name in ended))


def compact(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """Return the attempts with what older ones said cut short, and without the oldest suspended ones."""
    suspended = [a for a in attempts if a.outcome == "Suspended"]
    dropped = {(a.step, a.attempt) for a in suspended[: -limits.SUSPENDED_ATTEMPTS]}
    kept = (a for a in attempts if (a.step, a.attempt) not in dropped)
    return tuple(
        a
        if len(a.message) <= limits.OLD_ATTEMPT_MESSAGE
        else replace(a, message=a.message[: limits.OLD_ATTEMPT_MESSAGE])
        for a in kept
    )


def backoff(counted: int) -> timedelta:
    """Return 10 s x 2^(n - 1) after the n-th counted failure, at most 300 s (as the Job controller does)."""
    return min(FIRST_BACKOFF * (1 << min(counted - 1, 8)), MAX_BACKOFF)


def as_failed(
    attempt: Attempt,
    finished_at: datetime,
    problem: Problem,
    *,
    fatal: bool = False,
    counted: bool = True,
    exit_code: int | None = None,
) -> Attempt:
    """Return the attempt as a failed one."""
    return replace(
        attempt,
        outcome="Failed",
        finished_at=finished_at,
        exit_code=exit_code,
        counted=counted,
        fatal=fatal,
        reason=problem.reason,
        message=problem.message[: limits.ATTEMPT_MESSAGE],
    )
