"""The Deployment to copy gives both containers what they need, and lets a drain finish."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_server.config import fetch_config, serve_config
from finetune_server.server import LAST_ANSWERS_SECONDS

MANIFEST = Path(__file__).parents[2] / "examples" / "manifests" / "deployment.yaml"
DOCUMENTS: list[dict[str, Any]] = [*yaml.safe_load_all(MANIFEST.read_text())]
DEPLOYMENT = next(document for document in DOCUMENTS if document["kind"] == "Deployment")
POD = DEPLOYMENT["spec"]["template"]["spec"]
INIT, SERVER = POD["initContainers"][0], POD["containers"][0]
ANNOTATIONS = {"model-version": "ft_v1.1", "artifact-uri": "s3://models/model.onnx", "artifact-sha256": "a" * 64}


def environment(container: dict[str, Any], annotations: dict[str, str]) -> dict[str, str]:
    """What the kubelet makes of a container's `env`: absent annotations are empty strings."""
    fields = {f"metadata.annotations['finetune-operator.io/{k}']": "" for k in ANNOTATIONS}
    fields |= {f"metadata.annotations['finetune-operator.io/{k}']": v for k, v in annotations.items()}
    fields["metadata.namespace"] = "ml"
    return {
        entry["name"]: entry["value"] if "value" in entry else fields[entry["valueFrom"]["fieldRef"]["fieldPath"]]
        for entry in container["env"]
    }


def test_both_containers_learn_the_model_from_the_annotations() -> None:
    artifact = fetch_config(environment(INIT, ANNOTATIONS)).artifact
    served = serve_config(environment(SERVER, ANNOTATIONS))
    assert artifact == served.artifact
    assert artifact is not None
    assert (artifact.version, artifact.uri, artifact.sha256) == tuple(ANNOTATIONS.values())
    assert (served.namespace, served.deployment) == ("ml", DEPLOYMENT["metadata"]["name"])


def test_without_annotations_the_init_step_waits() -> None:
    assert fetch_config(environment(INIT, {})).artifact is None


def test_probes_and_port_are_the_servers() -> None:
    port = next(port for port in SERVER["ports"] if port["name"] == "http")
    assert port["containerPort"] == serve_config(environment(SERVER, ANNOTATIONS)).port
    assert SERVER["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert SERVER["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "http"}
    assert (INIT["args"], SERVER["args"]) == (["fetch"], ["serve"])


def test_the_grace_period_outlasts_the_drain() -> None:
    drain = serve_config(environment(SERVER, ANNOTATIONS)).drain
    assert POD["terminationGracePeriodSeconds"] > drain.seconds + LAST_ANSWERS_SECONDS


def test_a_rolling_update_never_takes_a_pod_away_first() -> None:
    assert DEPLOYMENT["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert DEPLOYMENT["metadata"]["labels"]["finetune-operator.io/managed"] == "true"
    assert "annotations" not in DEPLOYMENT["spec"]["template"]["metadata"], "a null map would take ours away"


@pytest.mark.parametrize("container", [INIT, SERVER], ids=["fetch", "serve"])
def test_the_pod_is_restricted(container: dict[str, Any]) -> None:
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert any(mount["mountPath"] == "/model" for mount in container["volumeMounts"])
