"""The pods of a Deployment: which they are, what ails them while nothing flies, and how often they are looked at."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from ..decide.views import Problem
from .deployment_views import is_made_by, pod_labels, pod_spec
from .kinds import Kind
from .pod import Pod, moment_of
from .port import Cluster, Object
from .serving_trouble import Ails, what_ails, why_no_pod

LOOK_AGAIN: Final = timedelta(seconds=15)
"""How often the pods of a Deployment that lacks some are looked at: only the Deployment is watched."""

STARTING: Final = frozenset(("ContainerCreating", "PodReplaced", "PodStarting", "ServerNotReady", "SidecarNotReady"))
"""What is said of pods that are on their way."""

STARTS_FOR: Final = timedelta(seconds=60)
"""A pod may be without a word for so long: it is starting."""


async def pods_of(cluster: Cluster, namespace: str, deployment: Object) -> tuple[Object, ...]:
    """Return the Deployment's pods, as they are now."""
    pods = await cluster.list(Kind.POD, namespace, pod_labels(deployment), fresh=True)
    return tuple(pod for pod in pods if is_made_by(deployment, pod))


def is_short(deployment: Object) -> bool:
    """Tell whether fewer pods are available than are wanted."""
    spec, status = deployment.get("spec") or {}, deployment.get("status") or {}
    return int(status.get("availableReplicas") or 0) < int(spec.get("replicas", 1))


def why_short(deployment: Object, pods: Iterable[Object], now: datetime) -> Problem | None:
    """Return what ails the pods, or keeps them from being made; None while they are merely starting."""
    alive = [pod for pod in pods if not Pod(pod).is_leaving]
    ails = what_ails(alive, pod_spec(deployment))
    if ails.problem is not None and not _is_starting(ails):
        return ails.problem
    return why_no_pod(deployment.get("status") or {}) or _why_silent(alive, now)


def _is_starting(ails: Ails) -> bool:
    """Tell whether all that is known is that a pod is on its way."""
    on_its_way = ails.problem is not None and ails.problem.reason in STARTING
    return on_its_way and (ails.fault is None or ails.fault.kind == "NotReady")


def _why_silent(pods: Iterable[Object], now: datetime) -> Problem | None:
    """Return the first pod that is not ready for a while though nothing is said of it."""
    for pod in map(Pod, pods):
        ready, phase = pod.condition("Ready"), pod.status.get("phase", "Pending")
        since = moment_of(ready.get("lastTransitionTime")) or pod.created
        if ready.get("status") != "True" and since is not None and now - since >= STARTS_FOR:
            command = f"kubectl describe pod {pod.address}"
            return Problem("PodsNotReady", f"pod {pod.name!r} is {phase} and not ready; run: {command}")
    return None
