"""What is to be said of the pods of an active Job: what they do and since when, or what keeps them from it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from ..times import stamp
from ..views import Explanation, JobView, Problem

PODLESS: Final = timedelta(seconds=60)
"""In a burst Kubernetes' Job controller makes about twenty pods a second; a Job may be without one for so long."""

PODLESS_AGAIN: Final = timedelta(minutes=11)
"""The same of a Job that had one, and was seen without all the while: its controller pauses for ten at most before it
makes another."""

SEEN_FOR: Final = timedelta(seconds=45)
"""How long a pod must be seen to wait before that is called trouble: the operator's own clock may be ahead."""

SHOWN_AFTER: Final = timedelta(seconds=3)
"""What passes quicker is not worth a write."""

NEIGHBOURS: Final = timedelta(seconds=10)
"""What containers beside the trainer have to end by themselves: a log shipper sends its last lines."""

SETTLE: Final = timedelta(seconds=30)
"""A kubelet and the Job's controller have so long to end a Job whose trainer has ended."""


@dataclass(frozen=True, slots=True)
class PodsSay:
    """A problem, or what the pod does as far as it is worth a word; `after`: when something else may be."""

    problem: Problem | None = None
    doing: Explanation | None = None
    after: timedelta | None = None


def listen(job: JobView, now: datetime, *, started: bool, seen: timedelta | None = None) -> PodsSay:
    """Return what the pods of a Job say now; `started`: a trainer of it ran before.

    That a pod has waited for too long is said when it was also `seen` to wait for a while (None: the clock speaks):
    when it began is said by other clocks than ours.
    """
    unseen = timedelta() if seen is None else SEEN_FOR - seen
    alone = PODLESS_AGAIN - (seen or timedelta()) if started or job.has_pods else unseen
    overdue = job.overdue if unseen <= timedelta() else None
    if job.doubt is not None:
        return PodsSay(job.doubt)
    if job.waiting is not None:
        return PodsSay(job.waiting)
    if overdue is not None and now >= overdue.due:
        return PodsSay(overdue.problem)
    if job.podless_since is not None and now - job.podless_since >= PODLESS and alone <= timedelta():
        return PodsSay(_podless(job))
    coming = [moment.since + SHOWN_AFTER for moment in job.moments]
    if job.overdue is not None:
        coming.append(job.overdue.due)
    if job.podless_since is not None:
        coming += [job.podless_since + PODLESS, now + alone]
    if job.overdue is not None:
        coming.append(now + unseen)
    if job.spoke and job.finished_at is not None:
        coming.append(job.finished_at + SETTLE)
    ahead = min((moment for moment in coming if moment > now), default=None)
    return PodsSay(None, _doing(job, now), None if ahead is None else max(ahead - now, timedelta(seconds=1)))


def has_spoken(job: JobView, now: datetime) -> bool:
    """Tell whether what the trainer said is to be read, though the Job is not over."""
    # Of a node whose clock is far ahead, nobody knows when it was.
    overdue = job.finished_at is not None and abs(now - job.finished_at) >= SETTLE
    return job.spoke and (job.lingers or job.deleting or overdue)


def not_ending(jobs: Iterable[JobView], now: datetime) -> Problem | None:
    """Return why pods of Jobs that are being deleted do not end, when they should have by now."""
    overdue = (job.overdue for job in jobs if job.deleting and job.overdue is not None)
    return next((late.problem for late in overdue if now >= late.due), None)


def until_overdue(jobs: Iterable[JobView], now: datetime) -> timedelta | None:
    """Return the time until pods of these Jobs should have ended, or have got further."""
    return min((job.overdue.due - now for job in jobs if job.overdue and job.overdue.due > now), default=None)


def _doing(job: JobView, now: datetime) -> Explanation | None:
    shown = [moment for moment in job.moments if abs(now - moment.since) >= SHOWN_AFTER]
    if not shown:
        return None
    newest = shown[-1]
    return Explanation(newest.explanation.reason, f"{newest.explanation.message} since {stamp(newest.since)}")


def _podless(job: JobView) -> Problem:
    """Return that no pod could be made, which only the Job's Events explain."""
    text = (
        f"Job {job.name} has no pod: a missing RuntimeClass or PriorityClass, a quota or Pod Security may "
        f"refuse it; kubectl describe job {job.name} -n {job.namespace} says why; mend that, or the PodTemplate. Where "
        "it says nothing, Kubernetes' Job controller (kube-controller-manager) has not looked at it yet"
    )
    return Problem("PodNotCreated", text)
