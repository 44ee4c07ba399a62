"""What is asked for afresh comes from the API server, whatever is remembered; all else costs no request."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from finetune_operator.cluster.cache import CachedCluster
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Cluster, Object
from finetune_operator.cluster.store import Store

LABELS = {"app.kubernetes.io/managed-by": "finetune-operator", "finetune-operator.io/owner-uid": "run-1"}
OWNER = {"finetune-operator.io/owner-uid": "run-1"}
WATCHED = (Kind.POD, Kind.JOB)


def pod(phase: str, version: int) -> Object:
    meta = {"namespace": "ml", "name": "p", "uid": "u", "resourceVersion": str(version), "labels": LABELS}
    return {"metadata": meta, "spec": {}, "status": {"phase": phase}}


@dataclass
class Server:
    """An API server on which the pod has ended, and that counts its requests."""

    asked: list[str] = field(default_factory=list)

    async def get(self, kind: Kind, namespace: str, name: str, **_: Any) -> Object | None:
        self.asked.append("get")
        return pod("Succeeded", 2)

    async def list(self, kind: Kind, namespace: str, labels: Any = None, **_: Any) -> tuple[Object, ...]:
        self.asked.append("list")
        return (pod("Succeeded", 2),)


def behind(kind: Kind) -> tuple[CachedCluster, Server]:
    """Return a cache that has seen the pod run and no more."""
    store, server = Store(), Server()
    store.put(kind, pod("Running", 1))
    return CachedCluster(cast("Cluster", server), store), server


@pytest.mark.row("R74")
@pytest.mark.parametrize("kind", WATCHED)
def test_a_fresh_read_is_not_served_from_the_cache(kind: Kind) -> None:
    cluster, server = behind(kind)
    (listed,) = asyncio.run(cluster.list(kind, "ml", OWNER, fresh=True))
    got = asyncio.run(cluster.get(kind, "ml", "p", fresh=True))
    assert got is not None
    assert (listed["status"]["phase"], got["status"]["phase"]) == ("Succeeded", "Succeeded")
    assert server.asked == ["list", "get"]


@pytest.mark.parametrize("kind", WATCHED)
def test_any_other_read_asks_nobody(kind: Kind) -> None:
    cluster, server = behind(kind)
    (listed,) = asyncio.run(cluster.list(kind, "ml", OWNER))
    got = asyncio.run(cluster.get(kind, "ml", "p"))
    assert got is not None
    assert (listed["status"]["phase"], got["status"]["phase"]) == ("Running", "Running")
    assert server.asked == []
