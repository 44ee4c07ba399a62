"""The finished Jobs of a policy, its runs' and its bases', as its upkeep looks at them."""

from datetime import datetime
from typing import Any, Final

from ..api.policy import Policy
from ..decide.policy.upkeep import SCANS
from ..decide.views import FinishedJob
from .kinds import Kind, is_final
from .pod import moment_of
from .port import Cluster, Object

_OWNERS: Final = {"FineTuneRun": Kind.RUN, "ModelVersion": Kind.MODEL_VERSION, "FineTunePolicy": Kind.POLICY}
_OPEN: Final = frozenset(("Planned", "Running"))


async def finished_jobs(cluster: Cluster, namespace: str, policy: Policy) -> tuple[FinishedJob, ...]:
    """Return the policy's finished Jobs; none while there are few enough, so that at rest no object is read.

    Of thousands of runs those alone are read whose Jobs are still there.
    """
    keep = policy.spec.jobs.keep
    jobs = await cluster.find(Kind.JOB, namespace, "finished_of", policy.metadata.name)
    scans = await cluster.find(Kind.JOB, namespace, "finished_scan_of", policy.metadata.name)
    if len(jobs) <= keep and len(scans) <= min(keep, SCANS):
        return ()
    owners: dict[tuple[Kind, str], Object | None] = {}
    finished: list[FinishedJob] = []
    for name in (*jobs, *scans):
        job = await cluster.get(Kind.JOB, namespace, name)
        owner = None if job is None else _owner(job)
        if job is None or owner is None or job["metadata"].get("deletionTimestamp") is not None:
            continue
        kind, owner_name, uid = owner
        if (kind, owner_name) not in owners:
            owners[kind, owner_name] = await cluster.get(kind, namespace, owner_name)
        raw = owners[kind, owner_name]
        if raw is None or raw["metadata"]["uid"] != uid:
            continue  # goes with its owner
        finished.append(
            FinishedJob(name, job["metadata"]["uid"], _ended_at(job), _is_harvested(kind, raw, name), name in scans)
        )
    return tuple(finished)


def _owner(job: Object) -> tuple[Kind, str, str] | None:
    """Return kind, name and uid of what controls the Job, if that is of ours; labels alone prove nothing."""
    for reference in job["metadata"].get("ownerReferences") or ():
        kind = _OWNERS.get(str(reference.get("kind")))
        if reference.get("controller") is True and kind is not None:
            return kind, str(reference.get("name")), str(reference.get("uid"))
    return None


def _is_harvested(kind: Kind, owner: Object, job: str) -> bool:
    """Tell whether the owner needs nothing more of that Job: it has ended, or has recorded how the attempt ended."""
    status: dict[str, Any] = owner.get("status") or {}
    if is_final(kind, str(status.get("phase"))):
        return True
    if kind is Kind.POLICY:  # which remembers no more than the newest of its scans
        scans: dict[str, Any] = status.get("scan") or {}
        return not any(a.get("job") == job and a.get("outcome") in _OPEN for a in scans.get("attempts") or ())
    attempts = [a for a in status.get("attempts") or () if isinstance(a, dict)]
    return any(a.get("job") == job and a.get("outcome") not in _OPEN for a in attempts)


def _ended_at(job: Object) -> datetime | None:
    status = job.get("status") or {}
    ends = [c for c in status.get("conditions") or () if c.get("type") in {"Complete", "Failed"}]
    text = status.get("completionTime") or next((c.get("lastTransitionTime") for c in ends), None)
    return moment_of(text)
