"""What a policy sees of finished Jobs: its own, none while they are few, and whether their owners need them."""

import asyncio
from typing import Any

import pytest

from finetune_operator.api.policy import JobRules, Policy
from finetune_operator.cluster.finished_jobs import finished_jobs
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object
from finetune_operator.decide.views import FinishedJob
from simulation.api_server import ApiServer, Client
from simulation.controllers import NAMESPACE
from simulation.stories import run
from unit.decide.policy.world import policy

AT = "2026-11-21T12:00:00Z"


class Counting(Client):
    """Counts the objects that are read."""

    reads = 0

    async def get(self, kind: Kind, namespace: str, name: str, *, fresh: bool = False) -> Object | None:
        self.reads += 1
        return await super().get(kind, namespace, name, fresh=fresh)


class World:
    """A run with Jobs in every state."""

    def __init__(self) -> None:
        self.server = ApiServer()
        self.client = Counting(self.server)
        self.uid = self.server.create("user", Kind.RUN, NAMESPACE, run())["metadata"]["uid"]

    def job(self, name: str, *, done: bool = True, owner: str = "", **metadata: Any) -> None:
        labels = {"finetune-operator.io/policy": "invoice-fields"}
        controller = {"kind": "FineTuneRun", "name": "first", "uid": owner or self.uid, "controller": True}
        manifest = {"metadata": {"name": name, "labels": labels, "ownerReferences": [controller], **metadata}}
        self.server.create("operator", Kind.JOB, NAMESPACE, manifest)
        if done:
            complete = {"type": "Complete", "status": "True", "lastTransitionTime": AT}
            self.status(Kind.JOB, name, {"conditions": [complete], "completionTime": AT})

    def status(self, kind: Kind, name: str, status: Object) -> None:
        obj = self.server.get(kind, NAMESPACE, name)
        assert obj is not None
        meta = obj["metadata"]
        self.server.patch_status("x", kind, NAMESPACE, name, meta["uid"], meta["resourceVersion"], {"status": status})

    def seen(self, keep: int = 0) -> dict[str, FinishedJob]:
        rules: Policy = policy(jobs=JobRules(keep=keep))
        return {job.name: job for job in asyncio.run(finished_jobs(self.client, NAMESPACE, rules))}


@pytest.fixture
def world() -> World:
    world = World()
    attempts = [
        {"step": "prepare", "attempt": 1, "job": "prepare", "outcome": "Succeeded"},
        {"step": "train", "attempt": 1, "job": "train", "outcome": "Running"},
    ]
    world.status(Kind.RUN, "first", {"phase": "Training", "attempts": attempts})
    for name in ("prepare", "train", "forgotten"):
        world.job(name)
    world.job("active", done=False)
    return world


def test_active_jobs_are_not_seen_and_open_attempts_are_not_harvested(world: World) -> None:
    assert {name: job.harvested for name, job in world.seen().items()} == {
        "prepare": True,
        "train": False,
        "forgotten": False,
    }


def test_a_run_that_ended_needs_none_of_its_jobs(world: World) -> None:
    world.status(Kind.RUN, "first", {"phase": "Failed"})
    assert all(job.harvested for job in world.seen().values())


def test_few_jobs_are_not_even_read(world: World) -> None:
    assert world.seen(keep=3) == {}
    assert world.client.reads == 0


def test_jobs_of_others_and_of_owners_that_are_gone_are_left_alone(world: World) -> None:
    world.job("of-another-life", owner="another uid")
    world.job("foreign", ownerReferences=[])
    world.job("going", deletionTimestamp=AT)
    assert sorted(world.seen()) == ["forgotten", "prepare", "train"]
