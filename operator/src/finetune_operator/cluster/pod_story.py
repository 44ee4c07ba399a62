"""What the pod of a Job does and since when, and what keeps it from getting further, in words that say what to do."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from ..api import names
from ..decide.times import stamp
from ..decide.views import Explanation, Overdue, PodMoment, Problem
from .pod import Json, Pod, last_words, moment_of, state
from .pod_trouble import why_waiting

UNSEEN: Final = timedelta(seconds=50)
"""A scheduler takes up a new pod within seconds."""

UNPREPARED: Final = timedelta(seconds=45)
"""Volumes and network are there within seconds; what takes longer is said."""

LATE: Final = timedelta(seconds=15)
"""A kubelet ends a pod within its grace period; a node that is gone does not."""


def waiting(pod: Pod | None) -> Problem | None:
    """Return what keeps the trainer from starting, if that is known for sure."""
    if pod is None or pod.has_started or pod.has_ended:
        return None
    scheduled = pod.condition("PodScheduled")
    if scheduled.get("reason") == "SchedulingGated":
        return Problem("Queued", f"pod {pod.name} has scheduling gates: {scheduled.get('message', '')}")
    for name, status, stays in pod.init_containers():
        if (state(status, "waiting") or {}).get("reason") == "CrashLoopBackOff" or (stays and _is_not_up_again(status)):
            text = f"init container {name!r} of pod {pod.name} fails again and again: {last_words(status)}"
            return Problem("InitContainerFailed", f"{text}; kubectl logs {pod.address} -c {name} says more")
    return why_waiting(pod.raw)


def moments(pod: Pod) -> tuple[PodMoment, ...]:
    """Return what the pod did and does, oldest first.

    Its node's clock may be behind that of the API server: nothing was before what led to it.
    """
    story, earliest = [], None
    for since, explanation in _moments(pod):
        earliest = since if earliest is None else max(earliest, since)
        story.append(PodMoment(earliest, explanation))
    return tuple(story)


def overdue(pod: Pod) -> Overdue | None:
    """Return what is to be said, and when, of a pod that gets no further."""
    if pod.has_ended:
        return None
    deleted, created = pod.deleted_at, pod.created
    if deleted is not None:
        return Overdue(deleted + LATE, _not_ending(pod, deleted))
    if pod.has_started or created is None or _is_prepared(pod):
        return None
    if not pod.is_scheduled:
        return Overdue(created + UNSEEN, _unseen(pod, created))
    since = pod.since("PodScheduled") or created
    return Overdue(since + UNPREPARED, _not_starting(pod, since))


def _moments(pod: Pod) -> Iterator[tuple[datetime, Explanation]]:
    ended = moment_of((pod.terminated or {}).get("finishedAt")) or pod.since("DisruptionTarget") or pod.created
    if pod.has_ended and ended is not None:
        yield ended, _says(pod, f"was ended ({_why_disrupted(pod)})" if pod.is_disrupted else "is over", "Running")
    if pod.has_ended or pod.created is None:
        return
    yield pod.created, _says(pod, "waits for a node")
    scheduled = pod.since("PodScheduled")
    if scheduled is not None:
        yield scheduled, _says(pod, f"is prepared by {_node(pod)} (volumes, network)")
    ready = pod.since("PodReadyToStartContainers")
    running = moment_of((pod.running or {}).get("startedAt"))
    if running is not None:
        yield running, _says(pod, "runs the trainer", "Running")
    elif not pod.has_started and (ready is not None or _is_prepared(pod)):
        yield _before_the_trainer(pod, ready or pod.created)
    disrupted = pod.since("DisruptionTarget")
    if disrupted is not None:
        yield disrupted, _says(pod, f"is asked to end ({_why_disrupted(pod)})", "Running")


def _why_disrupted(pod: Pod) -> str:
    return str(pod.condition("DisruptionTarget").get("reason") or "disrupted")


def _is_not_up_again(status: Json) -> bool:
    """Tell whether a native sidecar that failed is tried again, and is not up yet: between two pauses as in them."""
    failed = state({"state": status.get("lastState")}, "terminated") or {}
    return bool(failed.get("exitCode")) and not status.get("started")


def _before_the_trainer(pod: Pod, ready: datetime) -> tuple[datetime, Explanation]:
    """Return what the pod does between having volumes and network and starting the trainer."""
    since = ready
    for name, status, stays in pod.init_containers():
        running = moment_of((state(status, "running") or {}).get("startedAt"))
        ended = moment_of((state(status, "terminated") or {}).get("finishedAt"))
        since = max(since, running or since, ended or since)
        if running is not None and not (stays and status.get("started")):
            return running, _says(pod, f"runs its init container {name!r} (kubectl logs {pod.address} -c {name})")
        if running is None and ended is None:
            return since, _says(pod, f"pulls the image of its init container {name!r}")
    return since, _says(pod, f"pulls image {_image(pod)!r}")


def _unseen(pod: Pod, created: datetime) -> Problem:
    scheduler = pod.spec.get("schedulerName", "default-scheduler")
    text = (
        f"no scheduler has looked at pod {pod.name} since {stamp(created)}; "
        f"check spec.schedulerName of the PodTemplate ({scheduler}), and that it runs"
    )
    return Problem("Unschedulable", text)


def _not_starting(pod: Pod, since: datetime) -> Problem:
    image = "" if pod.condition("PodReadyToStartContainers") else ", or its image is large"
    text = (
        f"{_node(pod)} has started no container of pod {pod.name} since {stamp(since)}: a volume, Secret, "
        f"ConfigMap or its network is not there{image}; kubectl describe pod {pod.address} says why (FailedMount, "
        "FailedCreatePodSandBox); mend that, or the PodTemplate"
    )
    return Problem("PodNotStarting", text)


def _not_ending(pod: Pod, deleted: datetime) -> Problem:
    why = pod.condition("DisruptionTarget").get("message") or "it was deleted"
    taint = f", or kubectl taint node {pod.node} node.kubernetes.io/out-of-service=gone:NoExecute" if pod.node else ""
    text = (
        f"pod {pod.name} should have ended by {stamp(deleted)} ({why}), and {_node(pod)} does not say that "
        "it has. No other pod is started before: its trainer may still run. It goes on when the node is back. "
        f"If the machine is off for sure: kubectl delete pod {pod.address} --force{taint}"
    )
    return Problem("PodNotEnding", text)


def _is_prepared(pod: Pod) -> bool:
    """Tell whether volumes and network are there, so that images are pulled and containers start."""
    if pod.condition("PodReadyToStartContainers").get("status") == "True":
        return True
    begun = ("running", "terminated")
    return any(state(status, kind) is not None for _, status, _ in pod.init_containers() for kind in begun)


def _says(pod: Pod, doing: str, reason: str = "Starting") -> Explanation:
    return Explanation(reason, f"pod {pod.name} {doing}")


def _node(pod: Pod) -> str:
    return f"node {pod.node}" if pod.node else "its node"


def _image(pod: Pod) -> str:
    containers = pod.spec.get("containers") or ()
    declared = next((c.get("image") for c in containers if c.get("name") == names.TRAINER_CONTAINER), None)
    return str(declared or pod.trainer.get("image", ""))
