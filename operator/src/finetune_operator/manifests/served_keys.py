"""The server-side apply patch of a flip: the operator's four annotations, and nothing else."""

from typing import Any

from ..api import names
from ..decide.decision import ApplyKeys


def build_keys(action: ApplyKeys, namespace: str) -> dict[str, Any]:
    """Return what is applied to the Deployment.

    uid and resourceVersion make the request conditional: it creates nothing and overwrites nothing unseen.
    Without a version the three keys of the pod template are released (an empty claim removes what only we
    own); the epoch stays, because it only grows.
    """
    manifest: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": action.deployment,
            "namespace": namespace,
            "uid": action.uid,
            "resourceVersion": action.resource_version,
            "annotations": {names.EPOCH_KEY: str(action.epoch)},
        },
    }
    keys = {
        names.MODEL_VERSION_KEY: action.version,
        names.ARTIFACT_URI_KEY: action.uri,
        names.ARTIFACT_SHA256_KEY: action.sha256,
    }
    annotations = {key: value for key, value in keys.items() if value is not None}
    if annotations:
        manifest["spec"] = {"template": {"metadata": {"annotations": annotations}}}
    return manifest
