"""ModelVersions, ModelPromotions and fired runs: no ownerReferences, because they outlive what made them."""

from typing import Any

from ..api import names
from ..api.value import plain
from ..decide.decision import CreateModelVersion, CreatePromotion, CreateRun
from .owner import Owner, labels


def build_model_version(action: CreateModelVersion, owner: Owner) -> dict[str, Any]:
    """Return the manifest of the version that a run produced."""
    return _record("ModelVersion", action.name, action.spec, owner)


def build_promotion(action: CreatePromotion, owner: Owner) -> dict[str, Any]:
    """Return the manifest of the promotion that a run asks for."""
    return _record("ModelPromotion", action.name, action.spec, owner)


def build_run(action: CreateRun, owner: Owner) -> dict[str, Any]:
    """Return the manifest of the run that a policy's trigger makes."""
    return _record("FineTuneRun", action.name, action.spec, owner)


def _record(kind: str, name: str, spec: object, owner: Owner) -> dict[str, Any]:
    return {
        "apiVersion": names.API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "namespace": owner.namespace, "labels": labels(owner)},
        "spec": plain(spec),
    }
