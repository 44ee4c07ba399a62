"""The Jobs of one owner with their pods: past the cache where something is taken from them, or one is missed."""

from ..api import names
from ..api.run import Attempt
from ..decide.views import JobView
from .job_views import SeenJobs, to_be_harvested
from .kinds import Kind
from .port import Cluster, Object


async def own_jobs(
    cluster: Cluster, namespace: str, uid: str, attempts: tuple[Attempt, ...], seen: SeenJobs
) -> tuple[tuple[JobView, ...], tuple[Object, ...]]:
    """Return an owner's Jobs and their pods; `seen` remembers what was made of them.

    A Job that was seen and is missing now would cost an attempt: it is looked up past the cache first.
    """
    labels = {names.OWNER_UID_LABEL: uid}
    jobs = await _with_missed(cluster, namespace, attempts, await cluster.list(Kind.JOB, namespace, labels))
    pods = await cluster.list(Kind.POD, namespace, labels)
    known = {attempt.job_uid for attempt in attempts if attempt.job_uid}
    views = seen.views(uid, jobs, pods, known)
    if not to_be_harvested(attempts, views):
        return views, pods
    # What is taken is what the API server has now, not what a cache remembers of it.
    jobs = await _with_missed(cluster, namespace, attempts, await cluster.list(Kind.JOB, namespace, labels, fresh=True))
    pods = await cluster.list(Kind.POD, namespace, labels, fresh=True)
    return seen.views(uid, jobs, pods, known), pods


async def _with_missed(
    cluster: Cluster, namespace: str, attempts: tuple[Attempt, ...], jobs: tuple[Object, ...]
) -> tuple[Object, ...]:
    """Return the Jobs with those that were seen and are missing: a label is anybody's to take from them."""
    known = {job["metadata"]["name"] for job in jobs}
    for attempt in attempts:
        if attempt.outcome in {"Planned", "Running"} and attempt.job_uid and attempt.job not in known:
            missed = await cluster.get(Kind.JOB, namespace, attempt.job, fresh=True)
            jobs = jobs if missed is None else (*jobs, missed)
    return jobs
