"""What an API server fills in, or writes another way, is no difference: on a real one, with all that a pod may have."""

import copy
from typing import Any

import pytest

from finetune_operator.manifests.essence import difference, fingerprint
from unit.manifests.test_job import TEMPLATE, job

from .world import Space

pytestmark = pytest.mark.control_plane

VOLUMES: dict[str, dict[str, Any]] = {
    "empty": {"emptyDir": {"medium": "Memory", "sizeLimit": "1024Mi"}},
    "secret": {"secret": {"secretName": "s", "items": [{"key": "k", "path": "p"}]}},
    "map": {"configMap": {"name": "c"}},
    "claim": {"persistentVolumeClaim": {"claimName": "pool"}},
    "host": {"hostPath": {"path": "/data"}},
    "nfs": {"nfs": {"server": "n", "path": "/p"}},
    "csi": {"csi": {"driver": "csi.example", "volumeAttributes": {"pool": "p", "type": "t"}}},
    "iscsi": {"iscsi": {"targetPortal": "10.0.0.1", "iqn": "iqn.2001-04.com.example:disk", "lun": 0}},
    "image": {"image": {"reference": "pool:1"}},
    "token": {"projected": {"sources": [
        {"serviceAccountToken": {"path": "t", "audience": "sts"}},
        {"downwardAPI": {"items": [
            {"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}},
            {"path": "c", "resourceFieldRef": {"containerName": "trainer", "resource": "limits.cpu"}},
        ]}},
        {"configMap": {"name": "c"}},
    ]}},
    "ephemeral": {"ephemeral": {"volumeClaimTemplate": {"spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2048Mi"}},
    }}}},
}  # fmt: skip

ENVIRONMENT: list[dict[str, Any]] = [
    {"name": "EMPTY", "value": ""},
    {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
    {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    {"name": "TWICE", "value": "$(NODE)"},
    {"name": "TWICE", "value": "b"},
]


def rich() -> dict[str, Any]:
    """Return a PodTemplate with every kind of volume and variable, and containers that share them."""
    template = copy.deepcopy(TEMPLATE)
    spec = template["template"]["spec"]
    del spec["priorityClassName"]
    spec["volumes"] = [{"name": name, **volume} for name, volume in VOLUMES.items()]
    trainer = spec["containers"][0]
    mounts = [{"name": name, "mountPath": f"/mnt/{name}/"} for name in VOLUMES]
    mounts[0]["subPath"] = "part"
    trainer.update(env=ENVIRONMENT, volumeMounts=mounts, envFrom=[{"secretRef": {"name": "s"}, "prefix": "S_"}])
    trainer["livenessProbe"] = {"exec": {"command": ["true"]}}
    shared = [{"name": "empty", "mountPath": "/to"}]
    spec["initContainers"] = [{"name": "fetch", "image": "fetch", "volumeMounts": shared, "restartPolicy": "Always"}]
    spec["dnsConfig"] = {"options": [{"name": "ndots", "value": "2"}]}
    return template


@pytest.mark.row("R70")
def test_a_job_with_all_that_a_pod_may_have_is_known_again(space: Space) -> None:
    made = job(nonce="n1", snapshot_sha256="0" * 64, template=rich())
    made["metadata"]["namespace"] = space.namespace
    stored = space.server.create(made, dry_run=True)
    assert stored.accepted, stored.message
    assert stored.body["spec"]["template"]["spec"]["schedulerName"], "the API server filled in its defaults"
    assert fingerprint(stored.body) == fingerprint(made)
    changed = copy.deepcopy(stored.body)
    changed["spec"]["template"]["spec"]["volumes"][6]["csi"]["volumeAttributes"]["pool"] = "evil"
    assert fingerprint(changed) != fingerprint(made)


@pytest.mark.row("R72")
def test_a_pod_with_all_that_a_pod_may_have_is_as_its_job_says(space: Space) -> None:
    asked = job(nonce="n1", snapshot_sha256="0" * 64, template=rich())
    asked["metadata"]["namespace"] = space.namespace
    template = space.server.create(asked, dry_run=True).body["spec"]["template"]
    meta = {"name": "p", "namespace": space.namespace}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]}
    pod = space.server.create(manifest, dry_run=True)
    assert pod.accepted, pod.message
    assert difference(pod.body["spec"], template["spec"]) is None
