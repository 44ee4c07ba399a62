"""Why a pod ended, where its own status says so: whose doing it was, and whether another attempt can help."""

from typing import Final

from ..api import names
from ..decide.text import readable
from ..decide.views import Failure, Problem
from .pod import Json, Pod, last_words, state

_REJECTS: Final = frozenset(
    ("UnexpectedAdmissionError", "NodeAffinity", "NodeName", "NodePorts", "TaintToleration", "TopologyAffinityError",
     "InvalidNodeInfo", "VolumeAttachmentLimitExceeded")
)  # fmt: skip
"""Reasons of a kubelet that does not take a pod which the scheduler gave it; OutOfcpu and its like are others."""

_UNDER_PRESSURE: Final = "node had condition"
"""Words of a kubelet that lacks disk or memory, and takes no pod; its reason is Evicted, as for what wrote too much."""

_DISRUPTS: Final = frozenset(("Preempting", "NodeShutdown", "Shutdown", "Terminated", "NodeLost"))
"""Reasons of a kubelet that ends a pod for its own sake."""

_LOST: Final = frozenset(("ContainerStatusUnknown", "Unknown"))
"""Of a container that was gone when its node was back: a kubelet's word, and that of the runtime after a reboot."""

_NEVER_STARTED: Final = frozenset(("StartError", "ContainerCannotRun", "RunContainerError", "CreateContainerError"))
_LONGEST: Final = 300
"""Characters of Kubernetes' own words that a message quotes."""


def failure(pod: Pod) -> Failure | None:
    """Return what the pod's status says of its end; None where the trainer's own words or exit code say all."""
    ended = pod.terminated or {}
    if ended.get("exitCode") == 0 or not (pod.has_ended or pod.terminated is not None):
        return None
    if ended.get("reason") == "OOMKilled":
        return Failure(_out_of_memory(pod), fatal=True)
    return _by_the_pods_reason(pod) or _by_its_containers(pod)


def _by_the_pods_reason(pod: Pod) -> Failure | None:
    """Sort by the condition DisruptionTarget and by status.reason: the kubelet's words."""
    reason, words = str(pod.status.get("reason") or ""), readable(pod.status.get("message"))
    said = f"{reason}: {words[:_LONGEST]}" if words else reason
    rejects = reason in _REJECTS or reason.startswith("OutOf") or _UNDER_PRESSURE in words
    if not pod.spans and rejects:
        node = f"node {pod.node}" if pod.node else "its node"
        text = f"{node} did not take pod {pod.name} ({said})"
        return Failure(Problem("RejectedByNode", text), counted=False)
    if pod.is_disrupted or reason in _DISRUPTS or "low on resource" in words:
        target = pod.condition("DisruptionTarget")
        why = readable(target.get("message") or said or target.get("reason") or "its node ended it")
        return Failure(Problem("Disrupted", f"pod {pod.name} was disrupted: {why[:_LONGEST]}"), counted=False)
    if reason == "DeadlineExceeded":
        text = (
            f"pod {pod.name} was ended by activeDeadlineSeconds of its PodTemplate ({said}); raise it, or take it out"
        )
        return Failure(Problem("PodDeadlineExceeded", text))
    if reason == "Evicted":
        text = (
            f"pod {pod.name} was evicted for what it wrote ({said}); give the volume of /finetune/scratch, or "
            "resources.limits.ephemeral-storage, more room in the PodTemplate"
        )
        return Failure(Problem("Evicted", text))
    if reason:
        return Failure(Problem("PodFailed", f"pod {pod.name} failed ({said}); see its PodTemplate and its node"))
    return None


def _by_its_containers(pod: Pod) -> Failure | None:
    """Sort by what kept the trainer from running, or from being heard."""
    ended = pod.terminated
    if ended is None:
        for name, status, stays in pod.init_containers():
            failed = state(status, "terminated") or {}
            if stays or not failed.get("exitCode"):
                continue
            if failed.get("reason") in _LOST:
                return _lost(pod, status)
            text = f"init container {name!r} of pod {pod.name} failed with {last_words(status)}"
            return Failure(Problem("InitContainerFailed", f"{text}; mend it, or the PodTemplate"))
        text = f"pod {pod.name} ended without a word about its container {names.TRAINER_CONTAINER!r}; see its Events"
        return Failure(Problem("PodFailed", text))
    if ended.get("reason") in _NEVER_STARTED:
        text = (
            f"container {names.TRAINER_CONTAINER!r} of pod {pod.name} could not be started: {last_words(pod.trainer)}"
        )
        return Failure(Problem("ContainerConfig", f"{text}; mend the PodTemplate"))
    return _lost(pod, pod.trainer) if ended.get("reason") in _LOST else None


def _lost(pod: Pod, status: Json) -> Failure:
    text = f"pod {pod.name} was disrupted: its node lost the container ({last_words(status)})"
    return Failure(Problem("Disrupted", text), counted=False)


def _out_of_memory(pod: Pod) -> Problem:
    containers = pod.spec.get("containers") or ()
    resources = next((c.get("resources") for c in containers if c.get("name") == names.TRAINER_CONTAINER), None) or {}
    limit = (resources.get("limits") or {}).get("memory", "that of its node")
    text = (
        f"container {names.TRAINER_CONTAINER!r} was killed for memory (OOMKilled; its limit is {limit}): raise "
        "resources.limits.memory in the PodTemplate, or lower training.batch or training.workers; then make a new run"
    )
    return Problem("OutOfMemory", text)
