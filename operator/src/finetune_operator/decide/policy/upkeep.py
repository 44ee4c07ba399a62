"""The finished Jobs of a policy: the newest stay for people to look at, older ones go (rows D25, D26)."""

from datetime import UTC, datetime, timedelta
from typing import Final

from ...api.policy_status import PolicyStatus
from ..decision import Decision, DeleteJob
from ..views import FinishedJob, PolicyView

AT_ONCE: Final = 20
"""Jobs that one look deletes: a backlog of thousands keeps the policy from nothing else."""

SCANS: Final = 1
"""Finished scans that stay at most; there are a hundred a day, and they must not push out what people look for."""

NEXT: Final = timedelta(seconds=2)

_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)


def remove_finished_jobs(view: PolicyView) -> Decision[PolicyStatus] | None:
    """Delete the oldest finished Jobs beyond those that stay; one whose result is not read yet stays, whatever its age.

    What is to be known of a deleted Job stands in the attempts of its owner's status.
    """
    newest_first, keep = sorted(view.finished_jobs, key=_age, reverse=True), view.policy.spec.jobs.keep
    scans, others = ([job for job in newest_first if job.scans is of_scan] for of_scan in (True, False))
    spare = [job for job in (*others[keep:], *scans[min(keep, SCANS) :]) if job.harvested]
    if not spare:
        return None
    oldest = tuple(DeleteJob(name=job.name, uid=job.uid) for job in reversed(spare))
    return Decision(view.policy.status, oldest[:AT_ONCE], NEXT if len(oldest) > AT_ONCE else None)


def _age(job: FinishedJob) -> tuple[datetime, str]:
    return job.finished_at or _EARLIEST, job.name
