"""Why a pod does not run, or does not stay up, in words that say what to do."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..decide.views import Problem
from .port import Object

_PULL_REASONS: Final = frozenset(
    ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
)
_CONFIG_REASONS: Final = frozenset(("CreateContainerConfigError", "CreateContainerError", "RunContainerError"))
_SHOWN: Final = 200
"""Characters of a container's last words that a message quotes."""


def why_waiting(pod: Object | None) -> Problem | None:
    """Return why a pod does not run yet: ImagePullFailed, ContainerConfig or Unschedulable; None if it does."""
    status = (pod or {}).get("status") or {}
    if status.get("phase") != "Pending":
        return None
    for container in _containers(status):
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason, message = str(waiting.get("reason", "")), str(waiting.get("message", ""))
        if reason in _PULL_REASONS:
            return Problem(
                "ImagePullFailed",
                f"image {container.get('image', '')!r} cannot be pulled ({reason}): {message}; "
                "check its name and imagePullSecrets",
            )
        if reason in _CONFIG_REASONS:
            remedy = f"the container cannot be made ({reason}): {message}; check the pod's template"
            return Problem("ContainerConfig", remedy)
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return Problem("Unschedulable", f"no node takes the pod: {condition.get('message', '')}")
    return None


def why_not_ready(pods: Iterable[Object]) -> Problem | None:
    """Return what ails pods that should serve; a container that ended (ContainerFails) comes before pods that wait."""
    waiting: Problem | None = None
    for pod in pods:
        failing = _why_failing(pod)
        if failing is not None:
            return failing
        waiting = waiting or why_waiting(pod)
    return waiting


def _why_failing(pod: Object) -> Problem | None:
    for container in _containers(pod.get("status") or {}):
        now, before = container.get("state") or {}, container.get("lastState") or {}
        ended = now.get("terminated") or before.get("terminated")
        if container.get("ready") or ended is None or ended.get("exitCode") == 0:
            continue
        words = " ".join(str(ended.get("message") or "").split())[-_SHOWN:]
        said = words or ended.get("reason") or "no message"
        which = f"container {container.get('name')!r} of pod {pod['metadata']['name']!r}"
        return Problem("ContainerFails", f"{which} ended with exit code {ended.get('exitCode')}: {said}")
    return None


def _containers(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
