"""What ails the pods of a Deployment at rest: said with its reason, asked for only while some are missing."""

from datetime import timedelta
from typing import Any

import pytest

from finetune_operator.cluster.errors import Unavailable
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.observe import Observer
from finetune_operator.cluster.pods_at_rest import LOOK_AGAIN, why_short
from finetune_operator.cluster.port import Object
from simulation.api_server import START
from simulation.controllers import NAMESPACE
from unit.cluster.test_observe import Forgetful, World

LIVE = {"version": "base_v1", "modelVersion": "m", "uri": "file:///m", "sha256": "a" * 64, "epoch": 1,
        "since": "2026-11-21T12:00:00Z"}  # fmt: skip


def pod(phase: str = "Running", *, ready: bool = True, since: str = "2026-11-21T11:00:00Z", **status: Any) -> Object:
    condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": since}
    conditions = [condition, *status.pop("conditions", [])]
    return {
        "metadata": {"name": "p", "namespace": "ml", "creationTimestamp": since},
        "status": {"phase": phase, "conditions": conditions, **status},
    }


UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}
PENDING = pod("Pending", ready=False, conditions=[UNSCHEDULABLE])
REFUSED = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: gpus"}


@pytest.mark.row("D45")
@pytest.mark.parametrize(
    ("deployment", "pods", "reason", "words"),
    [
        ({}, [pod(), PENDING], "Unschedulable", "0/3 nodes"),
        ({"status": {"conditions": [REFUSED]}}, [pod()], "QuotaExceeded", "exceeded quota: gpus"),
        ({}, [pod(ready=False, since="2026-11-21T11:58:59Z")], "PodsNotReady", "kubectl describe pod p -n ml"),
        ({}, [pod(ready=False, since="2026-11-21T11:59:01Z")], None, ""),
        ({}, [pod("Failed", ready=False)], None, ""),
        ({}, [pod("Running", ready=False) | {"metadata": {"name": "p", "deletionTimestamp": "2026-11-21T12:00:00Z"}}],
         None, ""),
        ({}, [], None, ""),
    ],
    ids=["pending", "refused", "silent", "starting", "ended", "leaving", "none yet"],
)  # fmt: skip
def test_what_ails_pods_is_said_and_what_only_starts_is_not(
    deployment: Object, pods: list[Object], reason: str | None, words: str
) -> None:
    trouble = why_short(deployment, pods, START)
    assert (trouble.reason if trouble else None) == reason
    assert words in (trouble.message if trouble else "")


class Counting(Forgetful):
    """Counts how often the pods of the Deployment are asked for; refuses when told to."""

    asked = 0
    away = False

    async def list(self, kind: Kind, namespace: str, labels: Any = None, *, fresh: bool = False) -> tuple[Object, ...]:
        if kind is Kind.POD and fresh:
            self.asked += 1
            if self.away:
                raise Unavailable("no answer")
        return await super().list(kind, namespace, labels, fresh=fresh)


@pytest.fixture
def world() -> World:
    world = World()
    world.client = Counting(world.server)
    world.observer = Observer(world.client)
    world.server.create("user", Kind.POD, NAMESPACE, {"metadata": world.of_replica_set("p")})
    world.status(Kind.POD, "p", PENDING["status"])
    world.status(Kind.POLICY, "invoice-fields", {"live": LIVE})
    return world


def look(world: World, later: timedelta = timedelta()) -> tuple[str | None, timedelta | None, int]:
    raw = world.server.get(Kind.POLICY, NAMESPACE, "invoice-fields")
    assert raw is not None
    observed = world.do(world.observer.policy(raw, START + later))
    trouble = observed.view.deployment.trouble if observed.view.deployment else None
    assert isinstance(world.client, Counting)
    return trouble.reason if trouble else None, observed.poll, world.client.asked


def available(world: World, replicas: int) -> None:
    world.status(Kind.DEPLOYMENT, "invoice-detector", {"availableReplicas": replicas})


@pytest.mark.row("D45")
def test_pods_are_asked_for_every_fifteen_seconds_while_some_are_missing(world: World) -> None:
    available(world, 0)
    assert look(world) == ("Unschedulable", LOOK_AGAIN, 1)
    assert look(world, timedelta(seconds=14)) == ("Unschedulable", LOOK_AGAIN, 1), "whatever wakes it meanwhile"
    assert look(world, LOOK_AGAIN) == ("Unschedulable", LOOK_AGAIN, 2)


@pytest.mark.row("R323")
def test_pods_are_asked_for_at_once_when_the_clock_was_set_back(world: World) -> None:
    available(world, 0)
    look(world)
    back = -timedelta(hours=1)
    assert look(world, back) == ("Unschedulable", LOOK_AGAIN, 2), "else nobody would look for an hour"
    assert look(world, back + timedelta(seconds=14))[2] == 2
    assert look(world, back + LOOK_AGAIN)[2] == 3


@pytest.mark.row("D46")
def test_nobody_asks_for_pods_while_all_are_there_or_nothing_is_live(world: World) -> None:
    available(world, 5)
    assert look(world) == (None, None, 0)
    available(world, 0)
    world.status(Kind.POLICY, "invoice-fields", {"live": None})
    assert look(world) == (None, None, 0)


@pytest.mark.row("D45")
def test_pods_that_cannot_be_asked_for_leave_what_was_known(world: World) -> None:
    assert isinstance(world.client, Counting)
    available(world, 0)
    world.client.away = True
    assert look(world) == (None, LOOK_AGAIN, 1)
    world.client.away = False
    assert look(world) == ("Unschedulable", LOOK_AGAIN, 2)
    world.client.away = True
    assert look(world, LOOK_AGAIN) == ("Unschedulable", LOOK_AGAIN, 3)
