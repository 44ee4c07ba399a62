"""Places of a policy: seen without reading runs, and never given to two of those that are looked at side by side."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.run import Run, RunStatus
from finetune_operator.api.value import parse
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.places import Places
from finetune_operator.decide.run.view import InLine, Queue, RunView
from simulation.api_server import START, ApiServer, Client
from simulation.controllers import NAMESPACE
from simulation.stories import run


class World:
    """An API server with runs of one policy."""

    def __init__(self) -> None:
        self.server = ApiServer()
        self.places = Places(Client(self.server))

    def put(self, name: str, **status: Any) -> Run:
        made = self.server.create("user", Kind.RUN, NAMESPACE, run(name))
        meta = made["metadata"]
        if status:
            version = meta["resourceVersion"]
            made = self.server.patch_status("x", Kind.RUN, NAMESPACE, name, meta["uid"], version, {"status": status})
        return parse(made, Run)

    def queue(self, of: Run) -> Queue:
        return asyncio.run(self.places.queue(of))


@pytest.fixture
def world() -> World:
    world = World()
    world.put("a-runs", phase="Training", place="Taken")
    world.put("b-waits", phase="Pending", place="Waiting")
    world.put("c-blocked", phase="Pending", place="Blocked")
    world.put("d-new")
    world.put("e-review", phase="InReview")
    world.put("f-over", phase="Promoted")
    return world


@pytest.mark.row("R56")
def test_a_run_sees_who_has_a_place_and_who_waits(world: World) -> None:
    queue = world.queue(world.put("me"))
    created = datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert queue.taken == ("a-runs",)
    assert queue.line == (
        InLine("b-waits", created),
        InLine("c-blocked", created, is_blocked=True),
        InLine("d-new", created, is_new=True),
    )


@pytest.mark.row("R57")
@pytest.mark.parametrize("status", [{"phase": "Training", "place": "Taken"}, {"phase": "Promoted"}])
def test_a_run_that_has_a_place_or_needs_none_looks_at_nobody(world: World, status: Any) -> None:
    assert world.queue(world.put("me", **status)) == Queue()


@pytest.mark.row("R56")
def test_a_place_counts_from_the_decision_on_and_not_only_when_it_is_written(world: World) -> None:
    """Between a decision and its write others are looked at: each of them could take the same place."""
    first, second = world.put("first"), world.put("second")
    view = RunView(run=first, now=START)
    taken = replace(first.status, phase="Preparing", place="Taken")
    with world.places.claimed(view, taken):
        assert world.queue(second).taken == ("a-runs", "first")
        assert "first" not in {entry.name for entry in world.queue(second).line}
    assert world.queue(second).taken == ("a-runs",)


@pytest.mark.row("R56")
def test_a_claim_ends_with_a_write_that_failed(world: World) -> None:
    first, second = world.put("first"), world.put("second")
    claim = world.places.claimed(RunView(run=first, now=START), RunStatus(phase="Preparing", place="Taken"))
    with pytest.raises(RuntimeError), claim:
        raise RuntimeError
    assert world.queue(second).taken == ("a-runs",)
