"""What a Job takes over of its PodTemplate's own metadata: labels and annotations that a cluster's rules demand."""

from collections.abc import Mapping
from typing import Any, Final

from ..api import names

_BOOKKEEPING: Final = (
    "kubectl.kubernetes.io",
    "argocd.argoproj.io",
    "meta.helm.sh",
    "helm.sh",
    "toolkit.fluxcd.io",
    "applyset.kubernetes.io",
    "kapp.k14s.io",
    "objectset.rio.cattle.io",
    "configsync.gke.io",
    "configmanagement.gke.io",
    "config.k8s.io",
    "velero.io",
)
"""Domains by which tools know what they applied: a Job that carries them would be pruned with the next sync."""

_OF_ONE_OBJECT: Final = frozenset(("app.kubernetes.io/instance", names.MANAGED_BY_LABEL))


def inherited(template: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the labels and annotations of a PodTemplate that its Jobs carry, too; a part without any is left out.

    Not what is ours, and not what tools write to find again what they applied.
    """
    metadata = template.get("metadata") or {}
    parts = {
        part: {key: str(value) for key, value in (metadata.get(part) or {}).items() if _is_passed_on(key)}
        for part in ("labels", "annotations")
    }
    return {part: values for part, values in parts.items() if values}


def _is_passed_on(key: str) -> bool:
    domain = key.rpartition("/")[0]
    ours = (names.GROUP, *_BOOKKEEPING)
    return key not in _OF_ONE_OBJECT and not any(domain == of or domain.endswith(f".{of}") for of in ours)
