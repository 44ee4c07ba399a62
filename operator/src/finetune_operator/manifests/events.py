"""Kubernetes Events (events.k8s.io/v1) about the objects under decision."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..api import names
from ..decide.decision import Emit
from ..decide.limits import EVENT
from ..decide.text import in_bytes


@dataclass(frozen=True, slots=True)
class Regarding:
    """The object that an Event is about."""

    kind: str
    namespace: str
    name: str
    uid: str


def build_event(emit: Emit, regarding: Regarding, now: datetime, instance: str) -> dict[str, Any]:
    """Return the manifest of an Event.

    The name is made from what is said and when, so a repeated post of the same Event meets AlreadyExists.
    `instance` is the pod that reports. Limits are those of the events.k8s.io API, in bytes: note 1 kB, reason 128.
    """
    stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    tag = names.sha256_of(f"{regarding.uid}/{emit.reason}/{emit.message}/{stamp}".encode())[:16]
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{regarding.name[:200]}.{tag}", "namespace": regarding.namespace},
        "regarding": {
            "apiVersion": names.API_VERSION,
            "kind": regarding.kind,
            "namespace": regarding.namespace,
            "name": regarding.name,
            "uid": regarding.uid,
        },
        "type": emit.type,
        "reason": emit.reason[:128],
        "note": in_bytes(emit.message, EVENT),
        "action": "Reconcile",
        "eventTime": stamp,
        "reportingController": names.GROUP,
        "reportingInstance": instance[:128],
    }
