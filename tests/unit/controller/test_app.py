"""The operator put together: who shares turns, who is woken and forgotten, and how it ends."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.object_ref import ObjectRef
from finetune_operator.cluster.store import Store
from finetune_operator.controller.app import App, Ended, _until_the_end, lane, on_change, stop
from finetune_operator.controller.queue import WorkQueue
from house.virtual_time import run_virtually

RUN = ObjectRef(Kind.RUN, "ml", "r")


def run(phase: str, version: int = 1) -> dict[str, Any]:
    metadata = {"namespace": "ml", "name": "r", "uid": "uid-r", "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {"policy": "p"}, "status": {"phase": phase}}


class Heard:
    """A store, with who was woken, and what was forgotten."""

    def __init__(self) -> None:
        self.store, self.woken, self.forgotten = Store(), list[ObjectRef](), list[str]()
        self.store.listen(lambda change: on_change(change, self.store, self.woken.append, self.forgotten.append))


@pytest.mark.parametrize(("phase", "apart"), [("", True), ("Training", False)])
def test_runs_that_wait_for_their_first_look_share_their_turns_with_no_run_at_work(phase: str, apart: bool) -> None:
    heard = Heard()
    heard.store.put(Kind.RUN, run(phase))
    assert lane(RUN, heard.store) == (Kind.RUN, "ml", apart)
    assert lane(ObjectRef(Kind.RUN, "ml", "unknown"), heard.store) == (Kind.RUN, "ml", False)


def test_a_run_that_was_over_when_it_was_first_seen_is_looked_at_once_it_changes() -> None:
    heard = Heard()
    heard.store.put(Kind.RUN, run("Rejected"))
    assert RUN not in heard.woken
    heard.store.put(Kind.RUN, run("Rejected", 2) | {"spec": {"policy": "p", "suspend": True}})
    assert RUN in heard.woken


def test_what_is_remembered_of_an_object_goes_with_it() -> None:
    heard = Heard()
    heard.store.put(Kind.RUN, run("Training"))
    assert heard.forgotten == []
    heard.store.remove(Kind.RUN, "ml", "r", "uid-r")
    assert heard.forgotten == ["uid-r"]


def test_what_is_remembered_of_another_one_of_that_name_goes_too() -> None:
    """A watch that begins anew may tell of the new one alone."""
    heard = Heard()
    heard.store.put(Kind.RUN, run("Training"))
    another = run("Training", 2)
    another["metadata"]["uid"] = "another"
    heard.store.put(Kind.RUN, another)
    assert heard.forgotten == ["uid-r"]


def test_what_is_remembered_of_a_run_document_goes_with_its_config_map() -> None:
    """It is remembered as it was read, by the uid of the ConfigMap; each run has one."""
    heard, labels = Heard(), {"app.kubernetes.io/managed-by": "finetune-operator"}
    metadata = {"namespace": "ml", "name": "r-document", "uid": "uid-d", "resourceVersion": "1", "labels": labels}
    heard.store.put(Kind.CONFIG_MAP, {"metadata": metadata})
    heard.store.remove(Kind.CONFIG_MAP, "ml", "r-document", "uid-d")
    assert heard.forgotten == ["uid-d"]


def parts(queue: WorkQueue[ObjectRef], **tasks: asyncio.Task[None]) -> App:
    """Return as much of an App as its end looks at."""

    async def known() -> None:
        await asyncio.Event().wait()

    scopes, health = SimpleNamespace(known=known), SimpleNamespace(ready=True)
    return cast(App, SimpleNamespace(queue=queue, tasks=tasks, scopes=scopes, health=health, stopped=asyncio.Event()))


def a_queue() -> WorkQueue[ObjectRef]:
    return WorkQueue(lambda key: 0, asyncio.get_running_loop().time, lambda: 0.0)


async def _never() -> None:
    await asyncio.Event().wait()


async def _dies() -> None:
    raise KeyError("a bug")


def test_the_operator_ends_with_a_part_that_ended_and_says_why() -> None:
    async def story() -> None:
        app = parts(a_queue(), events=asyncio.create_task(_never()), watch=asyncio.create_task(_dies(), name="watch"))
        with pytest.raises(Ended, match="watch ended: 'a bug'"):
            await _until_the_end(app)
        await stop(app)

    run_virtually(story())


def test_a_signal_ends_it_without_an_error() -> None:
    async def story() -> None:
        app = parts(a_queue(), events=asyncio.create_task(_never()))
        app.stopped.set()
        await _until_the_end(app)
        await stop(app)

    run_virtually(story())


def test_what_is_being_worked_on_is_finished_before_the_rest_ends() -> None:
    """A worker that is cancelled may have written half of what it decided."""

    async def story() -> list[str]:
        queue, done = a_queue(), list[str]()

        async def worker() -> None:
            while await queue.take() is not None:
                await asyncio.sleep(0.05)
                done.append("worked")

        queue.wake(RUN)
        rest = asyncio.create_task(_never())
        app = parts(queue, **{"worker-0": asyncio.create_task(worker()), "events": rest})
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await stop(app)
        assert rest.cancelled()
        assert not app.health.ready
        assert not app.tasks["worker-0"].cancelled()
        return done

    assert run_virtually(story()) == ["worked"]
