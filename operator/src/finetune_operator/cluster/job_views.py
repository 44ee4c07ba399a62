"""From Jobs and their pods, as the API server has them, to what decisions look at."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, get_args

from ..api import names
from ..api.run import Step
from ..api.value import InvalidObject, parse
from ..decide.views import JobView, Problem
from ..manifests.owner import is_owned
from .pod_trouble import why_waiting
from .port import Object

_STEPS: Final = frozenset(get_args(Step))
_JOB_NAME_LABEL: Final = "batch.kubernetes.io/job-name"


def job_views(owner_uid: str, jobs: Iterable[Object], pods: Iterable[Object]) -> tuple[JobView, ...]:
    """Return the Jobs of one owner, sorted by name.

    A Job counts only when its controller is `owner_uid`, and a pod only when its controller is the Job: labels
    can be forged. A Job that is gone while pods of it still run is shown as being deleted.
    """
    by_job: dict[str, list[Object]] = {}
    for pod in pods:
        by_job.setdefault(_controller_uid(pod), []).append(pod)
    ours = [job for job in jobs if is_owned(job, owner_uid) and _labels(job).get(names.STEP_LABEL) in _STEPS]
    views = [_job_view(job, by_job.pop(str(job["metadata"]["uid"]), [])) for job in ours]
    orphans = [
        _orphan_view(uid, left) for uid, left in by_job.items() if uid and any(not _has_ended(pod) for pod in left)
    ]
    return tuple(sorted([*views, *(o for o in orphans if o is not None)], key=lambda view: view.name))


@dataclass(frozen=True, slots=True)
class RunningPod:
    """The pod whose log tells how far a step is, and since when its trainer runs."""

    name: str
    step: Step
    since: datetime | None


def running_pod(jobs: Iterable[JobView], pods: Iterable[Object]) -> RunningPod | None:
    """Return the pod of an active Job that runs; None while there is none."""
    active = {job.uid: job for job in jobs if job.state == "Active" and not job.deleting and not job.collect}
    for pod in pods:
        job = active.get(_controller_uid(pod))
        if job is not None and _phase(pod) == "Running":
            return RunningPod(str(pod["metadata"]["name"]), job.step, job.running_since)
    return None


def _job_view(job: Object, pods: list[Object]) -> JobView:
    metadata, status = job["metadata"], job.get("status") or {}
    labels = _labels(job)
    ended = {c.get("type"): c for c in status.get("conditions") or () if c.get("status") == "True"}
    end = ended.get("Complete") or ended.get("Failed")
    pod = max(pods, key=lambda p: str(p["metadata"].get("creationTimestamp", "")), default=None)
    terminated = _state(pod, "terminated")
    running = _state(pod, "running")
    suspended = bool((job.get("spec") or {}).get("suspend"))
    return JobView(
        name=metadata["name"],
        uid=metadata["uid"],
        step=_step(labels),
        attempt=_number(labels.get(names.ATTEMPT_LABEL), 1),
        round=_number(labels.get(names.ROUND_LABEL), 0),
        collect=labels.get(names.COLLECT_LABEL) == "true",
        state="Complete" if "Complete" in ended else "Failed" if "Failed" in ended else "Active",
        suspended=suspended,
        podless_since=None if pods or suspended or _has_had_pods(status) else _time(status.get("startTime")),
        running_since=_time((running or terminated or {}).get("startedAt")),
        finished_at=_time((terminated or {}).get("finishedAt")) or _time((end or {}).get("lastTransitionTime")),
        exit_code=_exit_code(terminated),
        termination_message=(terminated or {}).get("message"),
        disrupted=pod is not None and _condition(pod, "DisruptionTarget") == "True",
        pods_gone=all(_has_ended(p) for p in pods),
        waiting=_queued(labels) if suspended else why_waiting(pod),
        deleting=metadata.get("deletionTimestamp") is not None,
    )


def _has_had_pods(status: Mapping[str, Any]) -> bool:
    """Tell whether the Job's controller counts a pod, or has ended the Job: then one was made, though none is seen."""
    return any(status.get(field) for field in ("active", "failed", "succeeded", "terminating", "conditions"))


def _orphan_view(uid: str, pods: list[Object]) -> JobView | None:
    labels = _labels(pods[0])
    if labels.get(names.STEP_LABEL) not in _STEPS:
        return None
    return JobView(
        name=labels.get(_JOB_NAME_LABEL) or labels.get("job-name") or uid,
        uid=uid,
        step=_step(labels),
        attempt=_number(labels.get(names.ATTEMPT_LABEL), 1),
        round=_number(labels.get(names.ROUND_LABEL), 0),
        collect=labels.get(names.COLLECT_LABEL) == "true",
        pods_gone=False,
        deleting=True,
    )


def _queued(labels: Mapping[str, str]) -> Problem:
    queue = labels.get(names.QUEUE_NAME_LABEL)
    remedy = "somebody resumes it; where Jobs need a queue, name one: spec.jobs.queueName of the policy"
    by = f"queue {queue!r} admits it" if queue else remedy
    return Problem("Queued", f"the Job is suspended until {by}")


def _state(pod: Object | None, state: str) -> dict[str, Any] | None:
    if pod is None:
        return None
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        if status.get("name") == names.TRAINER_CONTAINER:
            details = (status.get("state") or {}).get(state)
            return details if isinstance(details, dict) else None
    return None


def _exit_code(terminated: dict[str, Any] | None) -> int | None:
    code = (terminated or {}).get("exitCode")
    return code if isinstance(code, int) else None


def _condition(pod: Object, kind: str) -> str | None:
    statuses = (c.get("status") for c in (pod.get("status") or {}).get("conditions") or () if c.get("type") == kind)
    return next(statuses, None)


def _has_ended(pod: Object) -> bool:
    return _phase(pod) in {"Succeeded", "Failed"}


def _phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase", ""))


def _controller_uid(obj: Object) -> str:
    references = obj["metadata"].get("ownerReferences") or ()
    return next((str(r.get("uid", "")) for r in references if r.get("controller") is True), "")


def _labels(obj: Object) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


def _step(labels: Mapping[str, str]) -> Step:
    return parse(labels.get(names.STEP_LABEL), Step)  # type: ignore[arg-type]  # a Literal is a type to msgspec


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdecimal() else default


def _time(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        return parse(text, datetime)
    except InvalidObject:
        return None
