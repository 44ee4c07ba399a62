"""A backup and its restore without statuses, as Velero does it by default, in the stories' namespace."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from e2e.stories import Stories
from finetune_demo.settings import RELEASE, SYSTEM

OURS = ("finetunepolicies", "finetuneruns", "modelversions", "modelpromotions")
KINDS = ("podtemplates", "deployments", *OURS)
"""In the order in which they are put back."""
LOST = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "ownerReferences")
"""What of the metadata a restore gives anew."""


@contextmanager
def restored_without_status(stories: Stories) -> Iterator[None]:
    """Back up, delete everything, and restore it without statuses; the operator is away meanwhile."""
    kube = stories.kube
    _operators(stories, 0)
    backup = [_without_status(item) for kind in KINDS for item in kube.items(kind)]
    for kind in (*OURS, "deployments", "podtemplates"):
        kube.kubectl("delete", kind, "--all", "--wait=true", "--timeout=120s")
    kube.wait("no Jobs of ours", lambda: not kube.items("jobs", "finetune-operator.io/step"), 120)
    kube.kubectl(
        "create",
        "--field-manager=velero-server",
        "-f",
        "-",
        stdin=json.dumps({"kind": "List", "apiVersion": "v1", "items": backup}),
    )
    yield
    _operators(stories, 1)


def _operators(stories: Stories, replicas: int) -> None:
    kube = stories.kube
    kube.kubectl("-n", SYSTEM, "scale", "deployment", RELEASE, f"--replicas={replicas}")
    kube.kubectl("-n", SYSTEM, "rollout", "status", "deployment", RELEASE, "--timeout=120s")
    if not replicas:
        kube.wait(
            "the operator is gone", lambda: "pod/" not in kube.kubectl("-n", SYSTEM, "get", "pods", "-o", "name"), 60
        )


def _without_status(item: dict[str, Any]) -> dict[str, Any]:
    metadata = {name: value for name, value in item["metadata"].items() if name not in LOST}
    labels = {**metadata.get("labels", {}), "velero.io/backup-name": "nightly"}
    return {k: v for k, v in item.items() if k != "status"} | {"metadata": {**metadata, "labels": labels}}
