"""Two complete, valid objects of every kind that differ in every leaf of their spec."""

import copy
from decimal import Decimal
from typing import Any

from finetune_operator.api.model_version import ModelVersion
from finetune_operator.api.policy import Policy
from finetune_operator.api.promotion import Promotion
from finetune_operator.api.run import Run
from house.crds import Schema, crds

Object = dict[str, Any]

DIGEST_A = "a" * 64
DIGEST_B = "b" * 64


def _object(kind: str, name: str, spec: Object) -> Object:
    return {
        "apiVersion": "finetune-operator.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def _gates(share: str) -> Object:
    """Return every limit of every gate, at `share` of its default; what is on by default is off at 0.9."""
    gates = crds()["FineTunePolicy"].spec["properties"]["gates"]["properties"]
    return {
        name: {
            limit: share != "0.9" if schema["type"] == "boolean" else _part(schema, Decimal(share))
            for limit, schema in gate["properties"].items()
            if "default" in schema
        }
        for name, gate in gates.items()
    }


def _serving(share: str) -> Object:
    """Return every serving setting, at `share` of its default: one that is a number needs no sample of its own."""
    settings = crds()["FineTunePolicy"].spec["properties"]["serving"]["properties"]
    return {name: _part(schema, Decimal(share)) for name, schema in settings.items()}


def _part(schema: Schema, share: Decimal) -> int | str:
    if "enum" in schema:
        return str(schema["enum"][1 if share == Decimal("0.9") else 0])
    part = Decimal(schema["default"]) * share
    if schema["type"] != "integer":
        return str(part)
    step = int(schema.get("multipleOf", 1))
    return int(part) // step * step


def _policy(first: bool) -> Object:
    return {
        "model": "invoices" if first else "receipts",
        "deployment": "detector" if first else "other-detector",
        "classes": ["number", "date"] if first else ["date", "number"],
        "data": {
            "anchor": {"uri": "file:///data/anchor" if first else "s3://bucket/anchor"},
            "pool": {
                "uri": "file:///data/pool" if first else "gs://bucket/pool",
                "holdout": "0.1" if first else "0.2",
            },
            "production": {
                "uri": "file:///data/production" if first else "s3://bucket/production",
                "keepDays": 30 if first else 60,
            },
        },
        "artifacts": {"uri": "file:///artifacts" if first else "s3://bucket/artifacts"},
        "podTemplates": {
            "train": "gpu" if first else "big-gpu",
            "cpu": "cpu" if first else "big-cpu",
            "evaluate": "judge" if first else "big-judge",
            "scan": "scanner" if first else "big-scanner",
            "rebuild": "builder" if first else "big-builder",
        },
        "serving": _serving("0.5" if first else "0.6"),
        "minPoolSamples": 60 if first else 70,
        "mixing": {"maxOld": 1000 if first else 2000, "interpolation": "LogLog" if first else "Steps"},
        "training": {
            "epochs": 3 if first else 4,
            "lr0": "0.002" if first else "0.003",
            "lrf": "0.02" if first else "0.03",
            "freeze": 5 if first else 6,
            "warmupEpochs": "0.5" if first else "2",
            "warmupBiasLr": "0.1" if first else "0.2",
            "cosLr": not first,
            "optimizer": "SGD" if first else "Adam",
            "momentum": "0.8" if first else "0.7",
            "weightDecay": "0.001" if first else "0.002",
            "batch": 8 if first else 4,
            "nominalBatch": 32 if first else 16,
            "closeMosaic": 1 if first else 2,
            "patience": 1 if first else 2,
            "workers": 1 if first else 2,
            "amp": "BF16" if first else "Off",
            "augment": {
                "fliplr": "0.1" if first else "0.2",
                "flipud": "0.1" if first else "0.2",
                "mosaic": "0.1" if first else "0.2",
                "mixup": "0.1" if first else "0.2",
                "scale": "0.3" if first else "0.4",
                "translate": "0.3" if first else "0.4",
                "degrees": "2" if first else "3",
                "hsvH": "0.1" if first else "0.3",
                "hsvS": "0.1" if first else "0.3",
                "hsvV": "0.1" if first else "0.3",
            },
        },
        "gates": _gates("0.9" if first else "0.6"),
        "verification": {"minMap50": "0.9" if first else "0.6"},
        "review": {"timeoutSeconds": 100 if first else 200},
        "promotion": "Manual" if first else "Automatic",
        "rollout": {"capacity": "AllowDowntime" if first else "RequireSurge"},
        "watch": {"seconds": 10 if first else 20, "series": not first},
        "concurrency": 2 if first else 3,
        "jobs": {"queueName": "gpu" if first else "cpu", "keep": 3 if first else 0},
        "scan": {"intervalSeconds": 60 if first else 120},
        "suspend": first,
        "rebuild": {
            "poolSamples": 1000 if first else 3000,
            "start": {
                "uri": "file:///weights/a.pt" if first else "s3://bucket/b.pt",
                "sha256": DIGEST_A if first else DIGEST_B,
            },
            "activeDeadlineSeconds": 1000 if first else 2000,
            "training": {
                "epochs": 3 if first else 4,
                "lr0": "0.002" if first else "0.003",
                "lrf": "0.02" if first else "0.03",
                "freeze": 5 if first else 6,
                "warmupEpochs": "0.5" if first else "2",
                "warmupBiasLr": "0.2" if first else "0.3",
                "cosLr": first,
                "optimizer": "AdamW" if first else "Adam",
                "momentum": "0.8" if first else "0.7",
                "weightDecay": "0.001" if first else "0.002",
                "batch": 8 if first else 4,
                "nominalBatch": 32 if first else 16,
                "closeMosaic": 1 if first else 2,
                "patience": 1 if first else 2,
                "workers": 1 if first else 2,
                "amp": "BF16" if first else "Off",
            },
        },
        "triggers": {
            "start": "Suspended" if first else "Running",
            "cooldownSeconds": 60 if first else 120,
            "maxRunsPerWeek": 3 if first else 4,
            "volume": {"newSamples": 20 if first else 30},
            "schedule": {
                "cron": "0 2 * * 0" if first else "30 4 1 * *",
                "timeZone": "Europe/Berlin" if first else "America/New_York",
            },
            "performance": {
                "alerts": ["FinetuneConfidenceDropped"] if first else ["InvoicesUnread", "FinetuneConfidenceDropped"],
                "newSamples": 10 if first else 20,
                "forSeconds": 600 if first else 0,
            },
        },
    }


def _run(first: bool) -> Object:
    return {
        "policy": "invoices" if first else "receipts",
        "mode": "FineTune",
        "baseVersion": "base_v1" if first else "base_v2",
        "mixing": {"ratio": "5" if first else "7.5", "seed": 1 if first else 2},
        "training": {
            "epochs": 3 if first else 4,
            "lr0": "0.002" if first else "0.003",
            "freeze": 5 if first else 6,
            "batch": 8 if first else 4,
            "nominalBatch": 32 if first else 16,
            "patience": 1 if first else 2,
            "workers": 1 if first else 2,
        },
        "resources": {
            "requests": {"cpu": "2" if first else "500m"},
            "limits": {"nvidia.com/gpu": 1 if first else 2},
        },
        "nodeSelector": {"pool": "gpu" if first else "cpu"},
        "tolerations": [
            {"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoExecute", "tolerationSeconds": 10}
            if first
            else {"key": "spot", "operator": "Exists", "effect": "NoSchedule"}
        ],
        "priorityClassName": "batch" if first else "urgent",
        "queueName": "night" if first else "day",
        "activeDeadlineSeconds": 100 if first else 200,
        "backoffLimit": 1 if first else 3,
        "suspend": first,
        "review": {
            "decision": "Approve" if first else "Reject",
            "evidence": f"sha256:{DIGEST_A if first else DIGEST_B}",
            "by": "ann@example.com" if first else "bo@example.com",
            "reason": "good" if first else "bad",
        },
        "trigger": {
            "kind": "Volume" if first else "Schedule",
            "reason": "52 new samples" if first else "window",
            "figures": [{"name": "new" if first else "outside", "value": "52" if first else "60"}],
            "requester": "FineTunePolicy invoices" if first else "ann@example.com",
        },
    }


def _base(first: bool) -> Object:
    digest = DIGEST_A if first else DIGEST_B
    return {
        "model": "invoices" if first else "receipts",
        "version": "base_v1" if first else "base_v2",
        "type": "Base",
        "artifact": {
            "uri": "file:///artifacts/a.onnx" if first else "s3://bucket/b.onnx",
            "sha256": digest,
            "format": "onnx",
            "bytes": 1 if first else 2,
        },
        "checkpoint": {"uri": "file:///artifacts/a.pt" if first else "s3://bucket/b.pt", "sha256": digest},
        "classes": ["number", "date"] if first else ["date", "number"],
        "serving": _serving("0.5" if first else "0.6"),
        "inputs": {"uri": "file:///artifacts/a.json" if first else "s3://bucket/b.json", "sha256": digest},
    }


def _tuned(first: bool) -> Object:
    digest = DIGEST_A if first else DIGEST_B
    return {
        **_base(first),
        "version": "ft_v1.1" if first else "ft_v2.3",
        "type": "FineTuned",
        "base": "base_v1" if first else "base_v2",
        "lineage": {
            "run": "first" if first else "second",
            "runUid": "11111111-1111" if first else "22222222-2222",
            "policy": "invoices" if first else "receipts",
            "baseSha256": digest,
            "inputs": {"uri": "file:///a/plan.json" if first else "s3://bucket/plan.json", "sha256": digest},
            "specHash": "1" if first else "2",
            "inputsHash": "1" if first else "2",
            "pool": 60 if first else 70,
            "seed": 1 if first else 2,
            "createdAt": "2026-11-20T10:00:00Z" if first else "2026-11-21T10:00:00Z",
        },
        "evidence": {
            "digest": f"sha256:{digest}",
            "verdict": "Pass" if first else "Review",
            "gates": [
                {
                    "name": "regression" if first else "newSamples",
                    "verdict": "Pass" if first else "Review",
                    "reason": "Forgetting" if first else "NoGain",
                    "value": "0.1" if first else "0.2",
                    "threshold": "1" if first else "2",
                    "message": "fine" if first else "doubtful",
                }
            ],
            "figures": [
                {"name": "candidateMap50", "value": "0.99" if first else "0.98"},
                {"name": "boxes" if first else "documents", "value": "60"},
            ],
            "uri": "file:///a/manifest.json" if first else "s3://bucket/manifest.json",
            "baseline": "base_v1" if first else "base_v2",
            "baselineSha256": DIGEST_A if first else DIGEST_B,
            "testSet": {"digest": digest, "images": 160 if first else 200, "fields": 3 if first else 5},
            "decision": {
                "verdict": "Approve" if first else "Reject",
                "by": "ann@example.com" if first else "bo@example.com",
                "at": "2026-11-20T11:00:00Z" if first else "2026-11-21T11:00:00Z",
                "reason": "good" if first else "bad",
            },
        },
    }


def _policy_of_the_last_release(first: bool) -> Object:
    """A policy that has the hold-out among the limits of a gate."""
    spec = _policy(first)
    spec["gates"]["newSamples"]["holdout"] = spec["data"]["pool"].pop("holdout")
    del spec["rebuild"]
    return spec


def _rebuilt(first: bool) -> Object:
    """A base that a run made."""
    spec = _tuned(first)
    spec["lineage"]["outside"] = 2000 if first else 3000
    return spec | {"version": "base_v2" if first else "base_v4", "type": "Base"}


def _tuned_of_the_last_release(first: bool) -> Object:
    """A version that has its figures as an object."""
    spec = _tuned(first)
    del spec["evidence"]["figures"]
    spec["evidence"]["measurements"] = {
        "candidateMap50": "0.981000" if first else "0.971000",
        "baseMap50": "0.985000" if first else "0.975000",
        "liveMap50": "0.970000" if first else "0.960000",
        "poolRate": "0.950000" if first else "0.940000",
        "freshRate": "0.940000" if first else "0.930000",
        "basePoolRate": "0.400000" if first else "0.300000",
        "boxes": 300 if first else 200,
        "documents": 60 if first else 40,
    }
    return spec


def _promotion(first: bool) -> Object:
    return {
        "policy": "invoices" if first else "receipts",
        "version": "ft_v1.1" if first else "ft_v2.3",
        "from": "base_v1" if first else "base_v2",
        "reason": "better" if first else "much better",
        "releaseHold": first,
        "despite": {
            "checks": ["Quarantined"] if first else ["TakenBack", "NotSettled"],
            "reason": "retrained since" if first else "live is sick",
        },
        "approval": {
            "by": "ann@example.com" if first else "bo@example.com",
            "evidence": f"sha256:{DIGEST_A if first else DIGEST_B}",
            "reason": "good" if first else "very good",
        },
    }


_SPECS = {
    "FineTunePolicy": ("FineTunePolicy", _policy),
    "FineTuneRun": ("FineTuneRun", _run),
    "ModelVersion of a base": ("ModelVersion", _base),
    "ModelVersion of a fine-tune": ("ModelVersion", _tuned),
    "ModelVersion of a rebuilt base": ("ModelVersion", _rebuilt),
    "ModelPromotion": ("ModelPromotion", _promotion),
    "FineTunePolicy of the last release": ("FineTunePolicy", _policy_of_the_last_release),
    "ModelVersion of the last release": ("ModelVersion", _tuned_of_the_last_release),
}
TYPES: dict[str, Any] = {
    "FineTunePolicy": Policy,
    "FineTuneRun": Run,
    "ModelVersion": ModelVersion,
    "ModelPromotion": Promotion,
}
"""The operator's value of each kind."""

SAMPLES = tuple(_SPECS)


def sample(name: str, *, first: bool = True) -> Object:
    """Return a complete object; the first and the other one differ in every leaf that more than one value fits."""
    kind, make = _SPECS[name]
    spec = make(first)
    title = f"{spec['model']}-{spec['version'].replace('_', '-')}" if kind == "ModelVersion" else "sample"
    return _object(kind, title, spec)


def at(value: Any, path: tuple[str, ...]) -> Any:
    """Return what lies at `path`; None where nothing does."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def changed(manifest: Object, path: tuple[str, ...], value: Any) -> Object:
    """Return a copy with `value` at `path`; None removes what is there."""
    result = copy.deepcopy(manifest)
    parent = result
    for name in path[:-1]:
        parent = parent.setdefault(name, {})
    if value is None:
        parent.pop(path[-1], None)
    else:
        parent[path[-1]] = value
    return result
