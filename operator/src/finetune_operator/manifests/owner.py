"""Whose child an object is: the labels and the ownerReference that every child carries."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..api import names

OwnerKind = Literal["FineTuneRun", "ModelVersion", "FineTunePolicy"]


@dataclass(frozen=True, slots=True)
class Owner:
    """The object that a Job, a document or a record is made for."""

    kind: OwnerKind
    namespace: str
    name: str
    uid: str


def labels(owner: Owner) -> dict[str, str]:
    """Return the labels by which children are watched and mapped back to their owner."""
    return {
        names.MANAGED_BY_LABEL: names.FIELD_MANAGER,
        names.OWNER_KIND_LABEL: owner.kind,
        names.OWNER_NAME_LABEL: owner.name[:63].rstrip("-."),
        names.OWNER_UID_LABEL: owner.uid,
    }


def reference(owner: Owner) -> dict[str, Any]:
    """Return the controller reference: the child goes with its owner, and never blocks its deletion."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def is_owned(child: Mapping[str, Any], uid: str) -> bool:
    """Tell whether `child` has the controller with exactly that uid; labels alone prove nothing."""
    references = child.get("metadata", {}).get("ownerReferences") or ()
    return any(r.get("controller") is True and r.get("uid") == uid for r in references)
