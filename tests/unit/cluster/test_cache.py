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
    labels: dict[str, str] = field(default_factory=lambda: LABELS)

    async def get(self, kind: Kind, namespace: str, name: str, **_: Any) -> Object | None:
        self.asked.append("get")
        return pod("Succeeded", 2)

    async def list(self, kind: Kind, namespace: str, labels: Any = None, **_: Any) -> tuple[Object, ...]:
        self.asked.append("list")
        ended = pod("Succeeded", 2)
        return ({**ended, "metadata": {**ended["metadata"], "labels": self.labels}},)

    async def delete(self, *_: Any) -> bool:
        self.asked.append("delete")
        return True


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


@pytest.mark.row("R288")
@pytest.mark.parametrize("kind", WATCHED)
def test_what_was_listed_afresh_is_what_the_next_look_sees(kind: Kind) -> None:
    """A result was taken from a Job that the next look took for active, and deleted with its pod and log."""
    cluster, _ = behind(kind)
    asyncio.run(cluster.list(kind, "ml", OWNER, fresh=True))
    (listed,) = asyncio.run(cluster.list(kind, "ml", OWNER))
    assert listed["status"]["phase"] == "Succeeded"


def test_what_nobody_watches_is_listed_and_not_remembered() -> None:
    cluster, server = behind(Kind.POD)
    server.labels = {"app": "invoice-detector"}
    asyncio.run(cluster.list(Kind.POD, "ml", {}, fresh=True))
    assert [p["status"]["phase"] for p in asyncio.run(cluster.list(Kind.POD, "ml", OWNER))] == ["Running"]


@pytest.mark.row("R287")
def test_what_was_gone_when_it_was_to_be_deleted_is_forgotten_at_once() -> None:
    """A watch that broke off never tells of its end: a run waited five minutes for it, and others for the run."""
    cluster, _ = behind(Kind.JOB)
    asyncio.run(cluster.delete(Kind.JOB, "ml", "p", "u"))
    assert asyncio.run(cluster.list(Kind.JOB, "ml", OWNER)) == ()
