"""The Job of one attempt, made from the policy's PodTemplate (docs/reference/contracts.md, section 2)."""

import copy
from collections.abc import Mapping
from typing import Any

from ..api import names
from ..api.policy import Policy
from ..api.run import RunSpec
from ..decide.decision import CreateJob
from ..decide.resources import merged
from ..decide.templates import queue_of
from .inherited import inherited
from .owner import Owner, labels, reference

DOCUMENT_FILE = "/finetune/document/run.json"
SCRATCH_FOLDER = "/finetune/scratch"
_OURS = frozenset(("FINETUNE_DOCUMENT", "FINETUNE_SCRATCH", "FINETUNE_DOCUMENT_SHA256", "FINETUNE_COLLECT"))
DOCUMENT_VOLUME = "finetune-document"
SCRATCH_VOLUME = "finetune-scratch"


def build_job(
    action: CreateJob,
    owner: Owner,
    template: Mapping[str, Any],
    run: RunSpec | None = None,
    policy: Policy | None = None,
) -> dict[str, Any]:
    """Return the manifest of the Job that `action` asks for.

    `template` is the core/v1 PodTemplate object; its fields are kept, except those that the contract sets. Its own
    labels and annotations go to the Job. `run` adds what a run may ask for: where its training goes, its priority,
    and its queue where the `policy` names none.
    A retry is an attempt, a Job of its own: backoffLimit is 0. A disrupted pod is replaced within the Job.
    """
    marks = _labels(action, owner, run, policy)
    given = inherited(template)
    annotations = {"annotations": given["annotations"]} if "annotations" in given else {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": action.name,
            "namespace": owner.namespace,
            "labels": {**given.get("labels", {}), **marks},
            **annotations,
            "ownerReferences": [reference(owner)],
        },
        "spec": {
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            "template": _pod_template(action, template.get("template") or {}, marks, run),
        },
    }


def _labels(action: CreateJob, owner: Owner, run: RunSpec | None, policy: Policy | None) -> dict[str, str]:
    marks = {
        **labels(owner),
        names.STEP_LABEL: action.step,
        names.ATTEMPT_LABEL: str(action.attempt),
        names.ROUND_LABEL: str(action.round),
    }
    if action.nonce:
        marks[names.NONCE_LABEL] = action.nonce
    if action.collect:
        marks[names.COLLECT_LABEL] = "true"
    if policy is not None:
        marks[names.POLICY_LABEL] = policy.metadata.name
    queue = queue_of(policy, run)
    if queue:
        marks[names.QUEUE_NAME_LABEL] = queue
    return marks


def _pod_template(
    action: CreateJob, template: Mapping[str, Any], marks: dict[str, str], run: RunSpec | None
) -> dict[str, Any]:
    metadata = template.get("metadata") or {}
    spec: dict[str, Any] = copy.deepcopy(dict(template.get("spec") or {}))
    spec["restartPolicy"] = "Never"
    spec.setdefault("automountServiceAccountToken", False)
    spec["volumes"] = _volumes(spec.get("volumes") or [], action.snapshot)
    containers = spec.get("containers") or []
    spec["containers"] = [
        _trainer(container, action) if container.get("name") == names.TRAINER_CONTAINER else container
        for container in containers
    ]
    if run is not None:
        _place(spec, run, train=action.step == "train")
    return {
        "metadata": {
            "labels": {**(metadata.get("labels") or {}), **marks},
            "annotations": dict(metadata.get("annotations") or {}),
        },
        "spec": spec,
    }


def _trainer(container: dict[str, Any], action: CreateJob) -> dict[str, Any]:
    ours = {"FINETUNE_DOCUMENT": DOCUMENT_FILE, "FINETUNE_SCRATCH": SCRATCH_FOLDER}
    if action.snapshot_sha256:
        ours["FINETUNE_DOCUMENT_SHA256"] = action.snapshot_sha256
    if action.collect:
        ours["FINETUNE_COLLECT"] = "true"
    env = [e for e in container.get("env") or [] if e.get("name") not in _OURS]
    mounts = [m for m in container.get("volumeMounts") or [] if m.get("mountPath") != "/finetune/document"]
    if not any(m.get("mountPath") == SCRATCH_FOLDER for m in mounts):
        mounts.append({"name": SCRATCH_VOLUME, "mountPath": SCRATCH_FOLDER})
    mounts.append({"name": DOCUMENT_VOLUME, "mountPath": "/finetune/document", "readOnly": True})
    return {
        **container,
        "args": ["job", action.step, "--inputs", action.step_inputs],
        "env": [*env, *({"name": name, "value": value} for name, value in ours.items())],
        "volumeMounts": mounts,
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }


def _volumes(volumes: list[dict[str, Any]], snapshot: str) -> list[dict[str, Any]]:
    kept = [v for v in volumes if v.get("name") != DOCUMENT_VOLUME]
    if not any(v.get("name") == SCRATCH_VOLUME for v in kept):
        kept.append({"name": SCRATCH_VOLUME, "emptyDir": {}})
    return [*kept, {"name": DOCUMENT_VOLUME, "configMap": {"name": snapshot}}]


def _place(spec: dict[str, Any], run: RunSpec, *, train: bool) -> None:
    """Add what the run asks for. Resources and placement go to training alone: the others need no GPU."""
    if run.priority_class_name:
        spec["priorityClassName"] = run.priority_class_name
        spec.pop("priority", None)
    if not train:
        return
    if run.node_selector:
        spec["nodeSelector"] = {**(spec.get("nodeSelector") or {}), **run.node_selector}
    if run.tolerations:
        spec["tolerations"] = [*(spec.get("tolerations") or []), *run.tolerations]
    if run.resources:
        for container in spec["containers"]:
            if container.get("name") == names.TRAINER_CONTAINER:
                container["resources"] = merged(container.get("resources") or {}, run.resources)
