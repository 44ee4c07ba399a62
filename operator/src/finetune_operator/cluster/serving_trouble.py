"""What ails pods that should serve a version, and whether the version itself may be blamed for it.

Blamed is only what the server's own container did with the model in it. The server is the container that reads the
operator's keys by `fieldRef`; else the one called `server`; else the only one. The fetch is the init container that
reads them; else the one called `fetch`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from ..api import names
from ..decide.text import readable
from ..decide.views import Fault, Problem
from .pod import Pod, moment_of
from .pod_trouble import why_waiting
from .port import Object

MUST_CHANGE: Final = 10
"""Exit code of server and fetch: something must be changed; their last words say what (the contracts, section 5)."""

STORE_AWAY: Final = 13
"""Exit code of server and fetch: the store does not answer."""

CANNOT_RUN: Final = 128
"""Exit code that the container runtime gives where the process was never started."""

SURROUNDINGS: Final = re.compile(
    r"\b(ArtifactNotFound|ArtifactForbidden|ArtifactIncomplete|ArtifactTooLarge|DigestMalformed|FieldUnknown|"
    r"NothingToServe|RecordMissing|RecordUnreadable|SettingInvalid|SettingMissing|StorageUnavailable|UriUnsupported|"
    r"VersionMissing|VolumeUnusable)\b"
)
"""Reasons in the last words of server and fetch that are about the pod's settings or the store, not the model."""

_KEYS: Final = (names.ARTIFACT_URI_KEY, names.ARTIFACT_SHA256_KEY)
_URGENCY: Final = {"SidecarFails": 0, "SidecarNotReady": 2, "PodStarting": 2, "PodReplaced": 3}
"""Which of several pods' problems is shown: an evicted pod stays as an object, and hides nothing."""

_WEIGHT: Final = {"Ended": 0, "StoppedReady": 1, "NotReady": 2}
"""Which of several pods' faults counts: a server that still loads in one pod hides no crash in another."""

_RUNS: Final = ("image", "command", "args")
"""What of a container decides what runs in it, and is nobody's to change on its way from template to pod."""

_SHOWN: Final = 200
"""Characters of a container's last words that a message quotes."""


@dataclass(frozen=True, slots=True)
class Ails:
    """What ails pods: in words for people, and what of it is the version's own fault."""

    problem: Problem | None = None
    fault: Fault | None = None


def what_ails(pods: Iterable[Object], asked: Mapping[str, Any] | None = None) -> Ails:
    """Return what ails the pods of a version: the worst fault of a server first, last what heals by itself.

    `asked` is the spec of the Deployment's pod template: a reference to its ReplicaSet is anybody's to give, so a pod
    whose server or fetch runs something else says nothing of a version.
    """
    ailing = [_stray(pod, asked or {}) or _pod(pod) for pod in pods]
    at_fault = [(ails.fault, ails) for ails in ailing if ails.fault is not None]
    if at_fault:
        return min(at_fault, key=lambda one: (_WEIGHT[one[0].kind], -one[0].restarts))[1]
    problems = (ails.problem for ails in ailing if ails.problem is not None)
    return Ails(min(problems, key=lambda problem: _URGENCY.get(problem.reason, 1), default=None))


def why_no_pod(deployment_status: Mapping[str, Any]) -> Problem | None:
    """Return why Kubernetes cannot make the Deployment's pods (its condition ReplicaFailure), or None."""
    for condition in deployment_status.get("conditions") or ():
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            words = _words(condition.get("message"), 400)
            quota = "exceeded quota" in words
            remedy = "raise the quota or free it" if quota else "mend what refuses them"
            return Problem("QuotaExceeded" if quota else "PodsRefused", f"pods are refused: {words}; {remedy}")
    return None


def _stray(pod: Object, asked: Mapping[str, Any]) -> Ails | None:
    """Return that a pod's server or fetch is not the one that the Deployment asks for, if it is not (D61)."""
    template, spec = {"spec": asked}, pod.get("spec") or {}
    if not spec.get("containers"):
        return None  # a view without a spec
    for where, known in (("containers", _server), ("initContainers", _fetch)):
        name = known(template) if asked.get(where) else None
        ours = next((c for c in asked.get(where) or () if c.get("name") == name), None)
        theirs: Mapping[str, Any] = next((c for c in spec.get(where) or () if c.get("name") == name), {})
        differs = ours and next(
            (part for part in _RUNS if (theirs.get(part) or None) != (ours.get(part) or None)), None
        )
        if differs:
            text = (
                f"{differs} of container {name!r} of pod {pod['metadata']['name']!r} is not what the Deployment asks "
                "for: nobody is blamed for what that pod does; where admission changed it, put that into the "
                f"Deployment, else delete it: kubectl delete pod {Pod(pod).address}"
            )
            return Ails(Problem("PodNotOurs", text))
    return None


def _pod(pod: Object) -> Ails:
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    if Pod(pod).is_leaving or Pod(pod).is_disrupted:  # then nothing its containers do says anything of the model
        return Ails(Problem("PodReplaced", f"pod {name!r} was evicted, deleted or ended; another one takes its place"))
    for container in status.get("initContainerStatuses") or ():
        ails = _init(pod, container)
        if ails is not None:
            return ails
    waits = why_waiting(pod)
    if waits is not None:
        return Ails(waits)
    statuses = status.get("containerStatuses") or ()
    server = _server(pod)
    ours = next((c for c in statuses if c.get("name") == server), None)
    if ours is not None and not ours.get("ready"):
        return _unready(pod, ours)
    return Ails(_beside(pod, [c for c in statuses if c is not ours]))


def _init(pod: Object, container: Mapping[str, Any]) -> Ails | None:
    """Return what an init container says; None where it did its work, or goes beside the others."""
    spec = _spec(pod, "initContainers", container)
    ended = _ended(container)
    if container.get("ready") or spec.get("restartPolicy") == "Always" or _waits_for_start(container):
        return None
    if ended is not None and ended.get("exitCode") == 0:
        return None
    which = _which(pod, container)
    if ended is None:
        running = (container.get("state") or {}).get("running")
        return None if running is None else Ails(Problem("PodStarting", f"init {which} is at work"))
    words = _said(which, container, ended)
    if ended.get("exitCode") == STORE_AWAY:
        return Ails(Problem("StorageUnavailable", words))
    if container.get("name") == _fetch(pod) and _is_about_the_artifact(ended):
        return Ails(Problem("ContainerFails", words), Fault("Ended", words, moment_of(ended.get("finishedAt"))))
    return Ails(Problem("InitContainerFails", words))


def _unready(pod: Object, server: Mapping[str, Any]) -> Ails:
    """Return what the server's own container does instead of being ready.

    What it did before it was ready in its present life is over; that is told by its node's clock alone.
    """
    which, ended = _which(pod, server), _ended(server)
    if ended is not None and not _was_ready(pod, server):
        return _server_ended(_said(which, server, ended), ended, int(server.get("restartCount") or 0))
    waiting = (server.get("state") or {}).get("waiting")
    if waiting is not None and waiting.get("reason") == "CrashLoopBackOff":
        words = f"{which} ends again and again"
        return Ails(Problem("ContainerFails", words), Fault("Ended", words))
    running = (server.get("state") or {}).get("running")
    if running is None:
        return Ails(_creating(pod))
    if _was_ready(pod, server):
        words = f"{which} stopped being ready"
        return Ails(Problem("ServerNotReady", words), Fault("StoppedReady", words, _unready_since(pod)))
    words = f"{which} runs and is not ready"
    return Ails(Problem("ServerNotReady", words), Fault("NotReady", words, moment_of(running.get("startedAt"))))


def _was_ready(pod: Object, server: Mapping[str, Any]) -> bool:
    """Tell whether the server runs and was ready since it started: its pod ceased to be so later."""
    running = (server.get("state") or {}).get("running") or {}
    started, changed = moment_of(running.get("startedAt")), _unready_since(pod)
    before = moment_of((_ended(server) or {}).get("finishedAt"))
    if started is None or changed is None:
        return False
    return changed > started and (before is None or changed > before)


def _server_ended(words: str, ended: Mapping[str, Any], restarts: int) -> Ails:
    code = ended.get("exitCode")
    if code == STORE_AWAY:
        return Ails(Problem("StorageUnavailable", words))
    if ended.get("reason") in ("ContainerStatusUnknown", "Unknown"):
        return Ails(Problem("PodNotReady", f"{words}; its node lost it"))
    never_ran = code == CANNOT_RUN and ended.get("reason") in ("StartError", "ContainerCannotRun")
    if never_ran or (code == MUST_CHANGE and _surroundings(ended)):
        return Ails(Problem("ContainerConfig", words))
    return Ails(Problem("ContainerFails", words), Fault("Ended", words, moment_of(ended.get("finishedAt")), restarts))


def _creating(pod: Object) -> Problem | None:
    status = pod.get("status") or {}
    if status.get("phase") not in (None, "Pending"):
        return None
    return Problem(
        "ContainerCreating",
        f"the containers of pod {pod['metadata']['name']!r} are not made yet (a volume, a sandbox): "
        f"kubectl describe pod {Pod(pod).address} says what they wait for",
    )


def _beside(pod: Object, others: list[Mapping[str, Any]]) -> Problem | None:
    """Return why a pod whose server is well is not ready: another container, or its node."""
    status, name = pod.get("status") or {}, pod["metadata"]["name"]
    if status.get("phase") != "Running" or Pod(pod).condition("Ready").get("status") == "True":
        return _creating(pod)
    sidecars = [
        c
        for c in status.get("initContainerStatuses") or ()
        if _spec(pod, "initContainers", c).get("restartPolicy") == "Always"
    ]
    for container in (*others, *sidecars):
        if not container.get("ready"):
            ended = _ended(container)
            which = _which(pod, container)
            if ended is None:
                return Problem("SidecarNotReady", f"{which} is not ready; the server beside it is well")
            return Problem("SidecarFails", f"{_said(which, container, ended)}; the server beside it is well")
    if not status.get("containerStatuses"):
        return None  # its node has not said a word yet
    node = (pod.get("spec") or {}).get("nodeName") or "unknown"
    return Problem("PodNotReady", f"pod {name!r} is not ready though its containers are; look at its node {node!r}")


def _server(pod: Object) -> str | None:
    return _known_by(pod, "containers", "server", only=True)


def _fetch(pod: Object) -> str | None:
    return _known_by(pod, "initContainers", "fetch", only=False)


def _known_by(pod: Object, where: str, called: str, *, only: bool) -> str | None:
    containers = (pod.get("spec") or {}).get(where) or ()
    known = [str(c.get("name")) for c in containers if _reads_our_keys(c)]
    known = known or [str(c.get("name")) for c in containers if c.get("name") == called]
    if called in known:
        return called
    if known:
        return known[0]
    if not containers:
        return called  # a view without a spec
    return str(containers[0].get("name")) if only and len(containers) == 1 else None


def _reads_our_keys(container: Mapping[str, Any]) -> bool:
    paths = (
        str((((env.get("valueFrom") or {}).get("fieldRef")) or {}).get("fieldPath"))
        for env in container.get("env") or ()
    )
    wanted = {f"metadata.annotations['{key}']" for key in _KEYS}
    return any(path.replace('"', "'") in wanted for path in paths)


def _spec(pod: Object, where: str, status: Mapping[str, Any]) -> Mapping[str, Any]:
    containers = (pod.get("spec") or {}).get(where) or ()
    return next((c for c in containers if c.get("name") == status.get("name")), {})


def _ended(container: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return how the container ended last, now or before its present life."""
    now, before = container.get("state") or {}, container.get("lastState") or {}
    ended = now.get("terminated") or before.get("terminated")
    return ended if isinstance(ended, Mapping) else None


def _waits_for_start(container: Mapping[str, Any]) -> bool:
    """Tell whether it has not had its turn: init containers run one after the other."""
    waiting = (container.get("state") or {}).get("waiting") or {}
    return waiting.get("reason") == "PodInitializing" and not container.get("restartCount")


def _is_about_the_artifact(ended: Mapping[str, Any]) -> bool:
    """Tell whether the fetch ended over the artifact itself (another digest); without a word nobody can tell."""
    return ended.get("exitCode") == MUST_CHANGE and bool(ended.get("message")) and not _surroundings(ended)


def _surroundings(ended: Mapping[str, Any]) -> bool:
    return SURROUNDINGS.search(str(ended.get("message") or "")) is not None


def _which(pod: Object, container: Mapping[str, Any]) -> str:
    return f"container {container.get('name')!r} of pod {pod['metadata']['name']!r}"


def _said(which: str, container: Mapping[str, Any], ended: Mapping[str, Any]) -> str:
    words = _words(ended.get("message"), _SHOWN) or ended.get("reason") or "no message"
    count = container.get("restartCount") or 0
    again = f" ({count} restarts)" if count else ""
    return f"{which} ended with exit code {ended.get('exitCode')}{again}: {words}"


def _words(text: object, most: int) -> str:
    # Behind "; " stand commands in the messages that quote them.
    return readable(text).replace(";", ",")[-most:]


def _unready_since(pod: Object) -> datetime | None:
    """Return since when the pod is not ready, if it says so."""
    ready = Pod(pod).condition("Ready")
    return moment_of(ready.get("lastTransitionTime")) if ready.get("status") == "False" else None
