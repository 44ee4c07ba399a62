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
FS_GROUP: dict[str, Any] = {"fsGroup": 65532, "fsGroupChangePolicy": "OnRootMismatch"}
BESIDE_THE_DATA: dict[str, Any] = {
    "podAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": {"matchLabels": {"app": "workbench"}}, "topologyKey": "kubernetes.io/hostname"}
        ]
    }
}
"""The data volume can be mounted on one node only, and the workbench is the first to mount it."""
TMP: dict[str, Any] = {"name": "tmp", "emptyDir": {}}
QUIET = {"OMP_WAIT_POLICY": "PASSIVE", "ORT_DISABLE_TELEMETRY": "1"}
"""Threads that do not spin while they wait, and no telemetry of onnxruntime."""
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


@dataclass(frozen=True, slots=True)
class Runtime:
    """How a member's Python gets into a pod: nothing to add for a baked image, else volumes, paths and a command."""

    volumes: tuple[dict[str, Any], ...] = ()
    mounts: tuple[dict[str, Any], ...] = ()
    path: str = ""
    python: str = "python3"
    command: tuple[str, ...] = ()

    def command_line(self, indent: int) -> str:
        """Return the container's `command:` line, empty where the image's entrypoint does."""
        return " " * indent + "command: " + json.dumps(self.command) if self.command else ""


def _runtime(member: str, images: Images) -> Runtime:
    if not images.mounted:
        return Runtime()
    claim, folder = f"{member}-env", f"{ENVIRONMENTS}/{member}-env"
    python = f"{folder}/bin/python"
    return Runtime(
        volumes=(volume(claim, read_only=True), volume("code", read_only=True)),
        mounts=(mount(claim, folder, read_only=True), mount("code", CODE, read_only=True)),
        path=f"{CODE}/{member}",
        python=python,
        command=(python, "-m", f"finetune_{member}"),
    )


def _env(**values: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _from_annotation(name: str, key: str) -> dict[str, Any]:
    path = f"metadata.annotations['finetune-operator.io/{key}']"
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _server_env(server: Runtime) -> list[dict[str, Any]]:
    return [
        _from_annotation("FINETUNE_MODEL_VERSION", "model-version"),
        _from_annotation("FINETUNE_ARTIFACT_URI", "artifact-uri"),
        _from_annotation("FINETUNE_ARTIFACT_SHA256", "artifact-sha256"),
        {"name": "FINETUNE_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        *_env(FINETUNE_DEPLOYMENT="invoice-detector", FINETUNE_MODEL_DIR="/model"),
        *(_env(PYTHONPATH=server.path) if server.path else []),
    ]


def _example_env(trainer: Runtime) -> list[dict[str, str]]:
    """Return the environment of the base's training, which calls ultralytics without our trainer's care."""
    return _env(
        PYTHONPATH=":".join(["/data/example", *([trainer.path] if trainer.path else [])]),
        PYTHONUNBUFFERED="1",
        TMPDIR="/tmp",
        HOME="/tmp",
        YOLO_CONFIG_DIR="/tmp/yolo",
        YOLO_OFFLINE="1",
        YOLO_AUTOINSTALL="0",
        MPLCONFIGDIR="/tmp/mpl",
        **QUIET,
    )


def _trainer_values(trainer: Runtime) -> dict[str, Any]:
    tmp = mount("tmp", "/tmp")
    extra = _env(PYTHONPATH=trainer.path, PYTHONUNBUFFERED="1") if trainer.path else []
    return {
        "PYTHON_COMMAND": [trainer.python],
        "TRAINER_ENV": [*extra, *_env(TMPDIR="/tmp", HOME="/tmp", OMP_NUM_THREADS="1", **QUIET)],
        "EXAMPLE_ENV": _example_env(trainer),
        "TRAINER_VOLUMES": [volume("data", read_only=False), *trainer.volumes, TMP],
        "WORKBENCH_MOUNTS": [mount("data", "/data"), tmp, *trainer.mounts],
        "CLIENT_MOUNTS": [mount("data", "/data", read_only=True), tmp],
        "JOB_MOUNTS": [
            mount("data", "/data/anchor", sub_path="anchor", read_only=True),
            mount("data", "/data/pool", sub_path="pool", read_only=True),
            mount("data", "/data/artifacts", sub_path="artifacts"),
            tmp,
            *trainer.mounts,
        ],
        "SCAN_MOUNTS": [
            mount("data", "/data/pool", sub_path="pool", read_only=True),
            mount("data", "/data/artifacts", sub_path="artifacts", read_only=True),
            mount("data", "/data/production", sub_path="production"),
            tmp,
            *trainer.mounts,
        ],
    }


def _server_values(server: Runtime) -> dict[str, Any]:
    return {
        "SERVER_ENV": _server_env(server),
        # Read only by its mounts: where capture is on, one more of them is not.
        "SERVER_VOLUMES": [volume("data", read_only=False), *server.volumes, TMP, {"name": "model", "emptyDir": {}}],
        "SERVER_MOUNTS": [
            mount("data", "/data/artifacts", sub_path="artifacts", read_only=True),
            mount("model", "/model"),
            mount("tmp", "/tmp"),
            *server.mounts,
        ],
    }


def variables(images: Images, recipe: Mapping[str, Any], *, service_ip: str, watch_seconds: int) -> dict[str, str]:
    """Return the values of every ${NAME} in the manifests, as JSON, which is YAML too."""
    trainer, server = _runtime("trainer", images), _runtime("server", images)
    values: dict[str, Any] = {
        # On static local volumes the demo sets the owner itself; fsGroup would walk through whole environments.
        "POD_SECURITY": POD_SECURITY if images.mounted else POD_SECURITY | FS_GROUP,
        "CONTAINER_SECURITY": CONTAINER_SECURITY,
        "BESIDE_THE_DATA": {} if images.mounted else BESIDE_THE_DATA,
        "CLASSES": recipe["classes"],
        "SERVING": recipe["serving"],
        "TRAINING": recipe["training"],
        "WATCH_SECONDS": watch_seconds,
        **_trainer_values(trainer),
        **_server_values(server),
    }
    lines = {
        "TRAINER_COMMAND_LINE": trainer.command_line(8),
        "SERVER_COMMAND_LINE": server.command_line(10),
        "TRAINER_IMAGE": images.trainer,
        "SERVER_IMAGE": images.server,
        "SERVICE_IP": service_ip,
    }
    return {name: json.dumps(value) for name, value in values.items()} | lines


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
