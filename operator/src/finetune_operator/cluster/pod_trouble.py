"""Why a pod does not run yet, in words that say what to do."""

from collections.abc import Mapping
from typing import Any, Final

from ..decide.views import Problem
from .port import Object

_PULL_REASONS: Final = frozenset(
    ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
)
_PAUSED: Final = ": ErrImagePull: "
_CONFIG_REASONS: Final = frozenset(("CreateContainerConfigError", "CreateContainerError", "RunContainerError"))


def why_waiting(pod: Object | None) -> Problem | None:
    """Return why a pod does not run yet: ImagePullFailed, ContainerConfig or Unschedulable; None if it does."""
    status = (pod or {}).get("status") or {}
    if status.get("phase") != "Pending":
        return None
    for container in _containers(status):
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason, message = str(waiting.get("reason", "")), str(waiting.get("message", ""))
        if reason in _PULL_REASONS:
            reason, message = _pull(reason, message)
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


def _pull(reason: str, message: str) -> tuple[str, str]:
    """Return reason and words of the pull that failed: kubelets tell of it anew in each pause before the next one."""
    _, again, words = message.partition(_PAUSED)
    return ("ErrImagePull", words) if again else (reason, message)


def _containers(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
