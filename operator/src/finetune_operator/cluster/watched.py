"""Which objects are watched: kinds and the labels that the API server filters by."""

from collections.abc import Mapping
from typing import Final

from ..api import names
from .port import Kind, Object

_OURS = {names.MANAGED_BY_LABEL: names.FIELD_MANAGER}

WATCHED: Final[Mapping[Kind, Mapping[str, str]]] = {
    Kind.POLICY: {},
    Kind.RUN: {},
    Kind.MODEL_VERSION: {},
    Kind.PROMOTION: {},
    Kind.POD_TEMPLATE: {},
    Kind.DEPLOYMENT: {names.MANAGED_LABEL: "true"},
    Kind.CONFIG_MAP: _OURS,
    Kind.JOB: _OURS,
    Kind.POD: _OURS,
}
"""Kind -> labels that an object must carry to be watched; without the filter every Job of a cluster would come."""


def is_watched(kind: Kind, obj: Object) -> bool:
    """Tell whether the watch of `kind` delivers `obj`."""
    wanted = WATCHED.get(kind)
    if wanted is None:
        return False
    labels = obj.get("metadata", {}).get("labels") or {}
    return all(labels.get(key) == value for key, value in wanted.items())


def selector(labels: Mapping[str, str]) -> str:
    """Return `labels` as the API's labelSelector parameter."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
