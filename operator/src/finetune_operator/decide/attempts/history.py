"""Attempts as a status keeps them: the newest, what still runs of them, how long, when the next may come."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from ...api.run import Attempt, Step
from .. import limits
from ..decision import Action, DeleteJob
from ..times import later
from ..views import JobView, Problem
from .pods import NEIGHBOURS

FIRST_BACKOFF: Final = timedelta(seconds=10)
MAX_BACKOFF: Final = timedelta(seconds=300)


def attempt_text(attempt: Attempt) -> str:
    """Return an attempt as messages name it."""
    return f"{attempt.step}, attempt {attempt.attempt}"


def latest(attempts: tuple[Attempt, ...], step: Step, round_: int = 0) -> Attempt | None:
    """Return the newest attempt of a step (of one round of it), if there is one."""
    return next((a for a in reversed(attempts) if a.step == step and a.round == round_), None)


def active_jobs(jobs: tuple[JobView, ...]) -> tuple[JobView, ...]:
    """Return the Jobs that still run, or whose pods do."""
    return tuple(job for job in jobs if not job.emptied and (job.state == "Active" or not job.pods_gone))


def deletions(jobs: tuple[JobView, ...]) -> tuple[Action, ...]:
    """Return the deletion of every one of these Jobs that is not being deleted already."""
    return tuple(DeleteJob(name=job.name, uid=job.uid) for job in jobs if not job.deleting)


def leftovers(attempts: tuple[Attempt, ...], jobs: tuple[JobView, ...]) -> tuple[JobView, ...]:
    """Return the Jobs of attempts that are recorded as ended, or are being collected, but whose trainers may run.

    A Job that no attempt is recorded for is left alone: then the status is stale, and its write will say so.
    """
    return tuple(job for job in _left(attempts, jobs) if not job.idle)


def swept(
    attempts: tuple[Attempt, ...], jobs: tuple[JobView, ...], now: datetime
) -> tuple[tuple[Action, ...], timedelta | None]:
    """Return the deletion of Jobs whose attempt is over, and the time until the next one is due.

    A Job whose trainer has ended is left a moment, so that the containers beside it can end by themselves.
    """
    dues = [(job, _sweep_due(job, now)) for job in _left(attempts, jobs) if not job.deleting]
    ahead = min((due - now for _, due in dues if due is not None and due > now), default=None)
    return deletions(tuple(job for job, due in dues if due is None or due <= now)), ahead


def _sweep_due(job: JobView, now: datetime) -> datetime | None:
    if not job.idle or job.finished_at is None or job.finished_at - now > NEIGHBOURS:
        return None  # at once, also by the clock of a node that is far ahead
    return later(job.finished_at, NEIGHBOURS)


def _left(attempts: tuple[Attempt, ...], jobs: tuple[JobView, ...]) -> tuple[JobView, ...]:
    over = {a.job for a in attempts if a.outcome not in ("Planned", "Running")}
    collected = {(a.step, a.attempt): a.job for a in attempts if a.collect}
    return active_jobs(
        tuple(job for job in jobs if job.name in over or collected.get((job.step, job.attempt), job.name) != job.name)
    )


def newly_failed(before: tuple[Attempt, ...], after: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """Return the attempts that failed and were not recorded so before."""
    known = {(a.step, a.attempt) for a in before if a.outcome == "Failed"}
    return tuple(a for a in after if a.outcome == "Failed" and (a.step, a.attempt) not in known)


def compact(attempts: tuple[Attempt, ...], failed: int | None = None) -> tuple[Attempt, ...]:
    """Return the attempts with what older ones said cut short, and few suspended ones.

    `failed` is how many failed ones to keep, where there is no end to them; None keeps all.
    """
    endless = [] if failed is None else [a for a in attempts if a.outcome == "Failed"][:-failed]
    kept = (a for a in _few_suspended(attempts) if a not in endless)
    return tuple(
        a
        if len(a.message) <= limits.OLD_ATTEMPT_MESSAGE
        else replace(a, message=a.message[: limits.OLD_ATTEMPT_MESSAGE])
        for a in kept
    )


def _few_suspended(attempts: tuple[Attempt, ...]) -> Iterator[Attempt]:
    """Yield the attempts without those suspended ones that are too many; what these ran still counts for the step.

    The newest stays, for its number must not come back; then those that ran, for another attempt may go on from what
    they kept (R210).
    """
    suspended = [a for a in attempts if a.outcome == "Suspended"]
    many = len(suspended) - limits.SUSPENDED_ATTEMPTS
    if many <= 0:
        yield from attempts
        return
    ranked = sorted(suspended[:-1], key=lambda a: (a.step == suspended[-1].step, a.ran_seconds > 0))
    dropped, heir = ranked[:many], ranked[many]
    ran = sum(a.ran_seconds for a in dropped if a.step == heir.step)
    for attempt in attempts:
        if attempt not in dropped:
            yield replace(attempt, ran_seconds=attempt.ran_seconds + ran) if attempt is heir else attempt


def backoff(failures: int, most: timedelta = MAX_BACKOFF) -> timedelta:
    """Return 10 s x 2^(n - 1) after the n-th failure, at most 300 s (as the Job controller does), or `most`."""
    return min(FIRST_BACKOFF * (1 << min(failures - 1, 8)), most)


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
