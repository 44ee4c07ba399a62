"""The pods of a Deployment: which they are, what ails them while nothing flies, and how often they are looked at."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from ..api.value import InvalidObject, parse
from ..decide.views import Problem
from .deployment_views import is_made_by, pod_labels
from .kinds import Kind
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
    alive = [pod for pod in pods if not _is_leaving(pod)]
    ails = what_ails(alive)
    if ails.problem is not None and not _is_starting(ails):
        return ails.problem
    return why_no_pod(deployment.get("status") or {}) or _why_silent(alive, now)


def _is_starting(ails: Ails) -> bool:
    """Tell whether all that is known is that a pod is on its way."""
    on_its_way = ails.problem is not None and ails.problem.reason in STARTING
    return on_its_way and (ails.fault is None or ails.fault.kind == "NotReady")


def _why_silent(pods: Iterable[Object], now: datetime) -> Problem | None:
    """Return the first pod that is not ready for a while though nothing is said of it."""
    for pod in pods:
        ready = next((c for c in _conditions(pod) if c.get("type") == "Ready"), {})
        since = _time(ready.get("lastTransitionTime") or pod["metadata"].get("creationTimestamp"))
        if ready.get("status") != "True" and since is not None and now - since >= STARTS_FOR:
            name, phase = pod["metadata"]["name"], (pod.get("status") or {}).get("phase", "Pending")
            return Problem("PodsNotReady", f"pod {name!r} is {phase} and not ready; run: kubectl describe pod {name}")
    return None


def _is_leaving(pod: Object) -> bool:
    """Tell whether a pod is on its way out, or is the remains of one: what it says is of the past."""
    ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    return ended or pod["metadata"].get("deletionTimestamp") is not None


def _conditions(obj: Object) -> Iterable[Mapping[str, Any]]:
    return (obj.get("status") or {}).get("conditions") or ()


def _time(text: object) -> datetime | None:
    try:
        return parse(text, datetime) if isinstance(text, str) else None
    except InvalidObject:
        return None
