"""The demo's manifests: demo/manifests/*.yaml with the parts that differ from cluster to cluster filled in."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

POD_SECURITY: dict[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
ENVIRONMENTS = "/opt/finetune"
CODE = f"{ENVIRONMENTS}/code"


@dataclass(frozen=True, slots=True)
class Images:
    """Image references; `mounted` says that environments and code come by volumes instead of being baked in."""

    operator: str
    trainer: str
    server: str
    mounted: bool


def volume(name: str, *, read_only: bool) -> dict[str, Any]:
    """Return a pod volume of the claim of the same name."""
    return {"name": name, "persistentVolumeClaim": {"claimName": name, "readOnly": read_only}}


def mount(name: str, path: str, *, sub_path: str = "", read_only: bool = False) -> dict[str, Any]:
    """Return a volumeMount."""
    made: dict[str, Any] = {"name": name, "mountPath": path}
    if sub_path:
        made["subPath"] = sub_path
    if read_only:
        made["readOnly"] = True
    return made


def _env(**values: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _from_annotation(name: str, key: str) -> dict[str, Any]:
    path = f"metadata.annotations['finetune-operator.io/{key}']"
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _server_env(images: Images) -> list[dict[str, Any]]:
    env: list[dict[str, Any]] = [
        _from_annotation("FINETUNE_MODEL_VERSION", "model-version"),
        _from_annotation("FINETUNE_ARTIFACT_URI", "artifact-uri"),
        _from_annotation("FINETUNE_ARTIFACT_SHA256", "artifact-sha256"),
        {"name": "FINETUNE_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        *_env(FINETUNE_DEPLOYMENT="invoice-detector", FINETUNE_MODEL="invoice-fields", FINETUNE_MODEL_DIR="/model"),
    ]
    return [*env, *_env(PYTHONPATH=f"{CODE}/server")] if images.mounted else env


def variables(images: Images, recipe: Mapping[str, Any], *, service_ip: str, watch_seconds: int) -> dict[str, str]:
    """Return the values of every ${NAME} in the manifests, as JSON, which is YAML too."""
    environment = [
        mount("trainer-env", f"{ENVIRONMENTS}/trainer-env", read_only=True),
        mount("code", CODE, read_only=True),
    ]
    server_environment = [
        mount("server-env", f"{ENVIRONMENTS}/server-env", read_only=True),
        mount("code", CODE, read_only=True),
    ]
    tmp = {"name": "tmp", "emptyDir": {}}
    trainer_env = _env(PYTHONPATH=f"{CODE}/trainer", PYTHONUNBUFFERED="1") if images.mounted else []
    example_path = "/data/example" + (f":{CODE}/trainer" if images.mounted else "")
    mounted = [volume("trainer-env", read_only=True), volume("code", read_only=True)] if images.mounted else []
    server_mounted = [volume("server-env", read_only=True), volume("code", read_only=True)] if images.mounted else []
    trainer_python = f"{ENVIRONMENTS}/trainer-env/bin/python" if images.mounted else "python3"
    values: dict[str, Any] = {
        "POD_SECURITY": POD_SECURITY
        if images.mounted
        else POD_SECURITY | {"fsGroup": 65532, "fsGroupChangePolicy": "OnRootMismatch"},
        "CONTAINER_SECURITY": CONTAINER_SECURITY,
        "PYTHON_COMMAND": [trainer_python],
        "TRAINER_ENV": [
            *trainer_env,
            *_env(TMPDIR="/tmp", HOME="/tmp", OMP_WAIT_POLICY="PASSIVE", ORT_DISABLE_TELEMETRY="1"),
        ],
        "EXAMPLE_ENV": _env(
            PYTHONPATH=example_path,
            PYTHONUNBUFFERED="1",
            TMPDIR="/tmp",
            HOME="/tmp",
            YOLO_CONFIG_DIR="/tmp/yolo",
            YOLO_OFFLINE="1",
            YOLO_AUTOINSTALL="0",
            MPLCONFIGDIR="/tmp/mpl",
            OMP_WAIT_POLICY="PASSIVE",
            ORT_DISABLE_TELEMETRY="1",
        ),
        "TRAINER_VOLUMES": [volume("data", read_only=False), *mounted, tmp],
        "WORKBENCH_MOUNTS": [mount("data", "/data"), mount("tmp", "/tmp"), *(environment if images.mounted else [])],
        "CLIENT_MOUNTS": [mount("data", "/data", read_only=True), mount("tmp", "/tmp")],
        "JOB_MOUNTS": [
            mount("data", "/data/anchor", sub_path="anchor", read_only=True),
            mount("data", "/data/pool", sub_path="pool", read_only=True),
            mount("data", "/data/artifacts", sub_path="artifacts"),
            mount("tmp", "/tmp"),
            *(environment if images.mounted else []),
        ],
        "SERVER_ENV": _server_env(images),
        "SERVER_VOLUMES": [volume("data", read_only=True), *server_mounted, tmp, {"name": "model", "emptyDir": {}}],
        "SERVER_MOUNTS": [
            mount("data", "/data/artifacts", sub_path="artifacts", read_only=True),
            mount("model", "/model"),
            mount("tmp", "/tmp"),
            *(server_environment if images.mounted else []),
        ],
        "CLASSES": recipe["classes"],
        "SERVING": recipe["serving"],
        "TRAINING": recipe["training"],
        "WATCH_SECONDS": watch_seconds,
    }
    lines = {
        "TRAINER_COMMAND_LINE": _command(trainer_python, "finetune_trainer", 8) if images.mounted else "",
        "SERVER_COMMAND_LINE": _command(f"{ENVIRONMENTS}/server-env/bin/python", "finetune_server", 10)
        if images.mounted
        else "",
        "TRAINER_IMAGE": images.trainer,
        "SERVER_IMAGE": images.server,
        "SERVICE_IP": service_ip,
    }
    return {name: json.dumps(value) for name, value in values.items()} | lines


def _command(python: str, module: str, indent: int) -> str:
    return " " * indent + "command: " + json.dumps([python, "-m", module])


def manifest(folder: Path, name: str, values: Mapping[str, str]) -> str:
    """Return demo/manifests/<name> with every ${NAME} replaced. Raises KeyError for an unknown name."""
    return Template((folder / name).read_text()).substitute(values)


def local_volumes(node: str, folders: Sequence[tuple[str, str, Path]], *, gibibytes: int = 20) -> str:
    """Return static local PersistentVolumes with their claims, of (namespace, claim, folder of the node).

    Local volumes are what restricted Pod Security allows; hostPath is not.
    """
    objects: list[dict[str, Any]] = []
    for namespace, claim, path in folders:
        name = f"finetune-{namespace}-{claim}"
        common = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
        objects.append(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": name},
                "spec": common
                | {
                    "capacity": {"storage": f"{gibibytes}Gi"},
                    "persistentVolumeReclaimPolicy": "Retain",
                    "local": {"path": str(path)},
                    "claimRef": {"namespace": namespace, "name": claim},
                    "nodeAffinity": {
                        "required": {
                            "nodeSelectorTerms": [
                                {
                                    "matchExpressions": [
                                        {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
                                    ]
                                }
                            ]
                        }
                    },
                },
            }
        )
        objects.append(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": claim, "namespace": namespace},
                "spec": common | {"volumeName": name, "resources": {"requests": {"storage": f"{gibibytes}Gi"}}},
            }
        )
    return "\n---\n".join(json.dumps(item) for item in objects)


def dynamic_claim(name: str, namespace: str, *, gibibytes: int = 10) -> str:
    """Return a claim of the cluster's default storage class."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": f"{gibibytes}Gi"}}},
        }
    )
