"""Whether the containers of a pod ran what its spec says: the one thing of it that can be changed, and changed back."""

from collections.abc import Iterator, Mapping
from typing import Any

from ..decide.text import plain
from ..manifests.essence import compared
from .pod import Pod


def ran_otherwise(pod: Pod, template: Mapping[str, Any]) -> str | None:
    """Return why a pod's trainer, or one of its Job's helpers, is not what its spec says it is; None where it is.

    Whoever may patch pods may give a container another image, which the kubelet then starts, whatever the restart
    policy, and put the old one back before anybody looks. What is left of that is the kubelet's word, and a
    generation, which nobody can write; where something else edited the pod, the kubelet names the image as asked.
    It names that of a container's newest life alone: of a helper that had more than one, nobody knows what it left.
    """
    if pod.trainer.get("restartCount"):
        return "its trainer was started again, as it is when somebody changes its image"
    if not pod.was_edited:
        return None
    asked = {str(c.get("name")): str(c.get("image") or "") for c in _containers(template)}
    helpers = compared(template)
    for status in (*pod.statuses("initContainerStatuses"), *pod.statuses("containerStatuses")):
        name, ran, digest = (str(status.get(part) or "") for part in ("name", "image", "imageID"))
        if name not in helpers:
            continue  # as where specs are compared: what neither shares a volume nor sees processes may be another one
        if status.get("restartCount"):
            return f"it was edited after it was made, and container {plain(name)!r} was started again"
        if name in asked and ran and not _is_same(asked[name], ran, digest):
            # Of the names that an image has on its node a kubelet tells one, and not always that which was asked for.
            way = "where that is the same by another name, ask for it by its digest"
            return f"it was edited after it was made, and container {plain(name)!r} ran image {plain(ran)} ({way})"
    return None


def _containers(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from spec.get("initContainers") or ()
    yield from spec.get("containers") or ()


def _is_same(asked: str, ran: str, image_id: str) -> bool:
    _, _, digest = asked.partition("@")
    if digest:
        return any(name.endswith(f"@{digest}") for name in (ran, image_id))
    return _in_full(asked) == _in_full(ran)


def _in_full(image: str) -> str:
    """Return an image's name as kubelets complete it: what does not begin with a host lies at docker.io."""
    host, slash, name = image.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        host, name = "docker.io", image
    if host in ("docker.io", "index.docker.io"):
        host, name = "docker.io", name if "/" in name else f"library/{name}"
    return f"{host}/{name}" if ":" in name.rpartition("/")[2] else f"{host}/{name}:latest"
