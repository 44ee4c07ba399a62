"""A bug of the operator is said in the object that it was met with, ends a run in the end, and stops nobody else."""

from itertools import count
from typing import Any

import pytest

from finetune_operator.api.schema import misfit
from finetune_operator.cluster.errors import (
    Invalid,
)
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.object_ref import ObjectRef
from finetune_operator.cluster.observe import Observer
from finetune_operator.cluster.port import Object
from finetune_operator.controller.failures import TRIES
from simulation.controllers import NAMESPACE
from unit.controller.world import POLICY, RUN, VERSION, Broken, World, fail


@pytest.mark.row("R88")
def test_a_bug_is_said_in_the_object_once_and_is_gone_when_it_is_mended(world: World, broken: set[Kind]) -> None:
    world.reconcile(RUN)
    broken.add(Kind.RUN)
    before = len(world.server.log)
    fail(world, RUN, 5)
    assert len(world.server.log) == before + 1, "said once"
    said = world.condition(RUN, "Reconciled")
    assert (said["status"], said["reason"]) == ("False", "ReconcileFailed")
    assert "Broken in " in said["message"]
    assert ".py:" in said["message"]
    assert "secret" not in said["message"]
    assert world.get(RUN)["status"]["message"] == said["message"]
    assert world.warned("ReconcileFailed") == 1
    world.reconcile(POLICY, VERSION)
    broken.clear()
    world.reconcile(RUN)
    assert all(c["type"] != "Reconciled" for c in world.get(RUN)["status"]["conditions"])
    assert "Broken" not in str(world.get(RUN)["status"])


@pytest.mark.row("R88")
def test_a_run_that_the_operator_fails_on_again_and_again_ends(world: World, broken: set[Kind]) -> None:
    world.reconcile(RUN)
    broken.add(Kind.RUN)
    fail(world, RUN, TRIES - 1)
    assert world.get(RUN)["status"]["phase"] != "Failed"
    fail(world, RUN)
    status = world.get(RUN)["status"]
    assert status["phase"] == "Failed"
    assert world.condition(RUN, "Finished")["reason"] == "ReconcileFailed"
    assert misfit("FineTuneRun", "status", status) is None
    before = len(world.server.log)
    fail(world, RUN, 5)
    assert len(world.server.log) == before


@pytest.mark.row("R88")
def test_failures_that_are_over_count_no_more(world: World, broken: set[Kind]) -> None:
    world.reconcile(RUN)
    for _ in range(2):
        broken.add(Kind.RUN)
        fail(world, RUN, TRIES - 1)
        broken.clear()
        world.reconcile(RUN)
    assert world.get(RUN)["status"]["phase"] != "Failed"


@pytest.mark.row("R88")
def test_a_bug_whose_words_differ_each_time_is_said_once_and_ends_a_run_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address or a counter in an error's words: else each try writes, and none is the thirtieth."""
    numbers = count()

    async def failing(*_: Any) -> Any:
        raise Broken(f"<object at 0x{next(numbers):08x}>")

    world.reconcile(RUN)
    monkeypatch.setattr(Observer, "observe", failing)
    before = len(world.server.log)
    fail(world, RUN, TRIES - 1)
    assert len(world.server.log) == before + 1
    fail(world, RUN)
    assert world.get(RUN)["status"]["phase"] == "Failed"
    assert world.condition(RUN, "Finished")["reason"] == "ReconcileFailed"


@pytest.mark.row("R88")
@pytest.mark.parametrize("key", [POLICY, VERSION], ids=["policy", "version"])
def test_what_serves_is_tried_again_without_end(world: World, broken: set[Kind], key: ObjectRef) -> None:
    conditions = world.get(key)["status"]["conditions"]
    broken.add(key.kind)
    fail(world, key, TRIES + 5)
    after = world.get(key)["status"]["conditions"]
    assert [c for c in after if c["type"] != "Reconciled"] == conditions, "nothing else is said of it"
    broken.clear()
    world.reconcile(key)
    assert world.get(key)["status"]["conditions"] == conditions


@pytest.mark.row("R88")
def test_a_status_that_the_api_server_will_never_take_is_said_by_a_smaller_patch(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.reconcile(RUN)
    world.client.statuses, world.client.error = True, Invalid
    patch = world.client.patch_status

    async def small(*where: Any) -> Object:
        world.client.statuses = set(where[-1]["status"]) - {"conditions", "message"} != set()
        return await patch(*where)

    monkeypatch.setattr(world.client, "patch_status", small)
    world.server.update_spec("user", Kind.RUN, NAMESPACE, "first", lambda o: o["spec"].update(suspend=True))
    with pytest.raises(Invalid):
        world.reconcile(RUN)
    assert "the API server refuses its status" in world.condition(RUN, "Reconciled")["message"]
