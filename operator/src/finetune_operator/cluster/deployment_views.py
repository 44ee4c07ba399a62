"""From Deployments and PodTemplates, as the API server has them, to what decisions look at."""

from collections.abc import Mapping
from typing import Any, Final

from ..api import names
from ..api.value import InvalidObject, canonical_json, parse_json
from ..decide.views import DeploymentView, Problem, ServedKeys, TemplateView
from ..manifests.inherited import inherited
from .port import Object
from .serving_trouble import why_no_pod

_KEYS: Final = (names.MODEL_VERSION_KEY, names.ARTIFACT_URI_KEY, names.ARTIFACT_SHA256_KEY)
_LONGEST_COUNT: Final = 20
"""Digits of an annotation that is read as a number."""

_REPLICA_SET_API: Final = "apps/v1"
_REPLICA_SET_LABEL: Final = "pod-template-hash"
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


def template_view(name: str, template: Object | None, queue: str | None = None) -> TemplateView:
    """Return a PodTemplate's hash, or what is wrong with it; `queue` is where the policy sends Jobs made from it."""
    if template is None:
        return TemplateView(name, "", Problem(
            "PodTemplateNotFound",
            f"there is no PodTemplate {name!r} in this namespace: create it, or name another one in the policy",
        ))  # fmt: skip
    digest = _template_hash(template, queue)
    labels = template["metadata"].get("labels") or {}
    if labels.get(names.POD_TEMPLATE_LABEL) != "true":
        return TemplateView(name, digest, Problem(
            "PodTemplateNotLabelled",
            f"PodTemplate {name!r} has not opted in: label it {names.POD_TEMPLATE_LABEL}=true",
        ))  # fmt: skip
    containers = ((template.get("template") or {}).get("spec") or {}).get("containers") or ()
    trainer = next((c for c in containers if c.get("name") == names.TRAINER_CONTAINER), None)
    if trainer is None:
        return TemplateView(name, digest, Problem(
            "NoTrainerContainer",
            f"PodTemplate {name!r} has no container named {names.TRAINER_CONTAINER!r}: give its container that name",
        ))  # fmt: skip
    return TemplateView(name, digest, resources=trainer.get("resources") or {})


def _template_hash(template: Object, queue: str | None) -> str:
    """Return a hash of the pod's template and, behind a point, of what a Job carries itself, if it carries anything."""
    digest = names.sha256_of(canonical_json(template.get("template") or {}))[:16]
    carried = {**inherited(template), **({"queue": queue} if queue else {})}
    return f"{digest}.{names.sha256_of(canonical_json(carried))[:16]}" if carried else digest


def deployment_view(deployment: Object) -> DeploymentView:
    """Return the Deployment as far as a flip hangs on it."""
    metadata, spec, status = deployment["metadata"], deployment.get("spec") or {}, deployment.get("status") or {}
    annotations = metadata.get("annotations") or {}
    template = ((spec.get("template") or {}).get("metadata") or {}).get("annotations") or {}
    replicas = int(spec.get("replicas", 1))
    return DeploymentView(
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        managed=(metadata.get("labels") or {}).get(names.MANAGED_LABEL) == "true",
        keys=ServedKeys(*(template.get(key) for key in _KEYS)),
        epoch=_epoch(annotations.get(names.EPOCH_KEY)),
        template_hash=_hash_without_keys(spec.get("template") or {}),
        generation=int(metadata.get("generation") or 0),
        observed_generation=int(status.get("observedGeneration") or 0),
        replicas=replicas,
        progress_deadline_seconds=int(spec.get("progressDeadlineSeconds") or 600),
        min_ready_seconds=int(spec.get("minReadySeconds") or 0),
        updated=int(status.get("updatedReplicas") or 0),
        ready=int(status.get("readyReplicas") or 0),
        available=int(status.get("availableReplicas") or 0),
        total=int(status.get("replicas") or 0),
        paused=bool(spec.get("paused")),
        deadline_exceeded=_deadline_exceeded(status),
        can_surge=_can_surge(spec.get("strategy") or {}, replicas),
        null_annotations=_null_annotations(annotations.get(_LAST_APPLIED)),
        keys_manager=_keys_manager(metadata.get("managedFields") or ()),
        deleting=metadata.get("deletionTimestamp") is not None,
        trouble=why_no_pod(status),
    )


def pod_labels(deployment: Object) -> dict[str, str]:
    """Return the labels by which the Deployment finds its pods."""
    return dict(((deployment.get("spec") or {}).get("selector") or {}).get("matchLabels") or {})


def pod_spec(deployment: Object) -> Mapping[str, Any]:
    """Return the spec that the Deployment asks its pods to have."""
    spec: Mapping[str, Any] = ((deployment.get("spec") or {}).get("template") or {}).get("spec") or {}
    return spec


def is_made_by(deployment: Object, pod: Object) -> bool:
    """Tell whether a pod is one of the Deployment's: its controller is a ReplicaSet of it, and labels prove nothing.

    Pods of other Deployments, of Jobs, or somebody's own may carry the same labels; what they do says nothing of a
    version here. Which ReplicaSet it is, is known by its name: the operator reads none. Of a kind that is called alike,
    and that no API server has, no collector would ever find that its object is not there.
    """
    metadata = pod["metadata"]
    name = f"{deployment['metadata']['name']}-{(metadata.get('labels') or {}).get(_REPLICA_SET_LABEL)}"
    references = metadata.get("ownerReferences") or ()
    known = (True, _REPLICA_SET_API, "ReplicaSet", name)
    return any((r.get("controller"), r.get("apiVersion"), r.get("kind"), r.get("name")) == known for r in references)


def serves(pod: Object, sha256: str) -> bool:
    """Tell whether a pod was made to serve the artifact of that digest."""
    return (pod["metadata"].get("annotations") or {}).get(names.ARTIFACT_SHA256_KEY) == sha256


def is_same_target(seen: DeploymentView, now_there: DeploymentView) -> bool:
    """Tell whether nothing that a flip was decided by differs; pods that come and go are no reason not to write."""
    return _facts(seen) == _facts(now_there)


def _facts(view: DeploymentView) -> tuple[object, ...]:
    return (
        view.uid,
        view.keys,
        view.epoch,
        view.template_hash,
        view.managed,
        view.paused,
        view.deleting,
        view.null_annotations,
        view.keys_manager,
    )


def _epoch(text: object) -> int | None:
    """Return the count of flips; None for a text that no count would be (Python reads no number of any length)."""
    return int(text) if isinstance(text, str) and text.isdecimal() and len(text) <= _LONGEST_COUNT else None


def _hash_without_keys(template: Mapping[str, Any]) -> str:
    """Return the template's hash without our three keys: it changes only when somebody else changes it."""
    metadata = dict(template.get("metadata") or {})
    others = {k: v for k, v in (metadata.pop("annotations", None) or {}).items() if k not in _KEYS}
    if others:
        metadata["annotations"] = others
    metadata.pop("creationTimestamp", None)
    return names.sha256_of(canonical_json({**template, "metadata": metadata}))[:16]


def _deadline_exceeded(status: Mapping[str, Any]) -> bool:
    return any(
        c.get("type") == "Progressing" and c.get("status") == "False" and c.get("reason") == "ProgressDeadlineExceeded"
        for c in status.get("conditions") or ()
    )


def _can_surge(strategy: Mapping[str, Any], replicas: int) -> bool:
    """Tell whether a new pod may run beside the old ones, and these not all go at once, whatever becomes of it.

    Percentages round up where they add pods, and down where they take some away, as the API documents.
    """
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return False
    rolling = strategy.get("rollingUpdate") or {}
    surge, unavailable = (rolling.get(name, "25%") for name in ("maxSurge", "maxUnavailable"))
    return _pods(surge, replicas, up=True) >= 1 and _pods(unavailable, replicas, up=False) < replicas


def _pods(share: object, replicas: int, *, up: bool) -> int:
    """Return how many pods a number is, or a percentage of the replicas; 0 for what is neither."""
    if isinstance(share, int):
        return share
    if not isinstance(share, str) or not share.endswith("%") or not share[:-1].isdecimal():
        return 0
    # The API server lets a surge have any number of digits, of which Python reads so many.
    pods = replicas * int(share[:-1].lstrip("0")[:_LONGEST_COUNT] or 0)
    return -(-pods // 100) if up else pods // 100


def _null_annotations(last_applied: object) -> bool:
    """Tell whether the manifest in Git writes `annotations:` with nothing: every apply would delete our keys."""
    if not isinstance(last_applied, str):
        return False
    try:
        spec = parse_json(last_applied, dict)["spec"]["template"]["metadata"]
    except (InvalidObject, KeyError, TypeError):
        return False
    return isinstance(spec, dict) and "annotations" in spec and spec["annotations"] is None


def _keys_manager(managed: object) -> str | None:
    """Return who owns one of the four keys, somebody else rather than us, the latest of several; None: nobody."""
    owners = [entry for entry in _entries(managed) if _owns_keys(entry.get("fieldsV1") or {})]
    foreign = [entry for entry in owners if entry.get("manager") != names.FIELD_MANAGER]
    latest = max(foreign or owners, key=lambda entry: str(entry.get("time", "")), default=None)
    return None if latest is None else str(latest.get("manager") or "unknown")


def _entries(managed: object) -> list[dict[str, Any]]:
    return [entry for entry in managed if isinstance(entry, dict)] if isinstance(managed, list | tuple) else []


def _owns_keys(fields: Mapping[str, Any]) -> bool:
    template = _under(fields, "f:spec", "f:template", "f:metadata", "f:annotations")
    own = _under(fields, "f:metadata", "f:annotations")
    return f"f:{names.EPOCH_KEY}" in own or any(f"f:{key}" in template for key in _KEYS)


def _under(fields: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    value: Any = fields
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}
