"""What the loop makes of a look: when the next one follows, what counts as an outage, and what is left alone."""

import asyncio
from datetime import timedelta

import pytest

from finetune_operator.cluster.errors import (
    AdmissionUnavailable,
    ClusterError,
    Conflict,
    Forbidden,
    Invalid,
    Throttled,
    Unavailable,
)
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.object_ref import ObjectRef
from finetune_operator.cluster.port import Object
from finetune_operator.cluster.reach import Away
from finetune_operator.controller import loop as loop_module
from finetune_operator.controller.loop import OUTAGE, Loop
from finetune_operator.controller.metrics import Metrics
from finetune_operator.controller.queue import WorkQueue
from finetune_operator.controller.reconcile import Outcome
from house.virtual_time import run_virtually
from simulation.api_server import ApiServer, Client
from unit.controller.world import RUN


class Scripted:
    """A reconciler that does as it is told."""

    def __init__(self, *outcomes: Outcome | Exception) -> None:
        self.outcomes = list(outcomes)
        self.tries = 0

    async def reconcile(self, key: ObjectRef) -> Outcome:
        self.tries += 1
        outcome = self.outcomes.pop(0) if self.outcomes else Outcome()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class Asked(Client):
    """Counts what is read past the cache."""

    fresh: int = 0

    async def get(self, kind: Kind, namespace: str, name: str, *, fresh: bool = False) -> Object | None:
        self.fresh += fresh
        return await super().get(kind, namespace, name)


def played(*outcomes: Outcome | Exception, seconds: float = 1.5, client: Client | None = None) -> tuple[Scripted, Loop]:
    """Let one worker work on one key for a while."""

    async def story() -> tuple[Scripted, Loop]:
        scripted = Scripted(*outcomes)
        queue: WorkQueue[ObjectRef] = WorkQueue(lambda key: 0, asyncio.get_running_loop().time, lambda: 0.0)
        loop = Loop(queue, scripted, client or Client(ApiServer()), Metrics())  # type: ignore[arg-type]
        queue.wake(RUN)
        worker = asyncio.create_task(loop.worker())
        await asyncio.sleep(seconds)
        assert not worker.done()
        queue.close()
        worker.cancel()
        return scripted, loop

    return run_virtually(story())


def test_webhooks_that_are_down_are_no_outage_of_the_api_server() -> None:
    _, loop = played(*[AdmissionUnavailable("failed calling webhook")] * (OUTAGE * 2), seconds=0.7)
    assert not loop.is_outage()


@pytest.mark.parametrize("answer", [Conflict("moved"), Forbidden("no"), Outcome()])
def test_any_answer_ends_what_looked_like_an_outage(answer: Outcome | Exception) -> None:
    """Else ten requests that timed out, in however many days, would leave one worker."""

    async def story() -> bool:
        scripted = Scripted(*[Unavailable("away")] * (OUTAGE - 1), answer, Unavailable("away"))
        queue: WorkQueue[ObjectRef] = WorkQueue(lambda key: 0, asyncio.get_running_loop().time, lambda: 0.0)
        loop = Loop(queue, scripted, Client(ApiServer()), Metrics())  # type: ignore[arg-type]
        for number in range(OUTAGE + 1):
            queue.wake(ObjectRef(Kind.RUN, "ml", f"r-{number}"))
            key = await queue.take()
            assert key is not None
            await loop.work(key)
        assert scripted.tries == OUTAGE + 1
        return loop.is_outage()

    assert not run_virtually(story())


@pytest.mark.parametrize("error", [Conflict("moved"), Unavailable("away"), Forbidden("no"), ClusterError("odd")])
def test_a_refusal_is_tried_again_soon(error: ClusterError) -> None:
    scripted, _ = played(error)
    assert scripted.tries == 2


def test_an_api_server_that_throttles_is_left_alone_for_as_long_as_it_asks() -> None:
    assert played(Throttled("too many requests"), seconds=0.5)[0].tries == 1
    assert played(Throttled("too many requests"), seconds=1.5)[0].tries == 2
    assert played(Throttled("too many requests", after=2), seconds=1.5)[0].tries == 1


@pytest.mark.parametrize(("error", "reads"), [(Conflict("moved"), 1), (Forbidden("no"), 0)])
def test_what_moved_since_it_was_looked_at_is_read_past_the_cache_before_the_next_try(
    error: ClusterError, reads: int
) -> None:
    asked = Asked(ApiServer())
    assert played(error, client=asked)[0].tries == 2
    assert asked.fresh == reads


@pytest.mark.parametrize(
    ("error", "doubted"),
    [(Forbidden("no"), ["ml"]), (AdmissionUnavailable("no webhook"), []), (Invalid("bad"), []), (Away("gone"), [])],
)
def test_only_a_forbidden_write_casts_doubt_on_its_namespace(error: ClusterError, doubted: list[str]) -> None:
    heard: list[str] = []

    async def story() -> None:
        queue: WorkQueue[ObjectRef] = WorkQueue(lambda key: 0, asyncio.get_running_loop().time, lambda: 0.0)
        client = Client(ApiServer())
        loop = Loop(queue, Scripted(error), client, Metrics(), doubt=heard.append)  # type: ignore[arg-type]
        queue.wake(RUN)
        key = await queue.take()
        assert key is not None
        await loop.work(key)

    run_virtually(story())
    assert heard == doubted


def test_what_is_away_is_not_tried_before_it_is_back() -> None:
    assert played(Away("gone"))[0].tries == 1


def test_a_bug_with_one_object_stops_nobody_and_is_not_tried_in_a_tight_loop() -> None:
    scripted, loop = played(KeyError("a bug"))
    assert scripted.tries == 1
    assert 'kind="finetuneruns",outcome="error"} 1.0' in loop.metrics.text().decode()


def test_an_object_with_a_bug_is_tried_again_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "BUG_PAUSE", 0.2)
    assert played(KeyError("a bug"), seconds=0.5)[0].tries == 2


def test_a_decision_that_asks_for_another_look_at_once_again_and_again_does_not_run_hot() -> None:
    assert played(*[Outcome(after=timedelta(0))] * 1000, seconds=0.55)[0].tries == 6


def test_what_could_not_do_all_at_once_is_looked_at_again() -> None:
    assert played(Outcome(again=True), seconds=0.3)[0].tries == 2


def test_a_settled_key_is_not_looked_at_again() -> None:
    assert played()[0].tries == 1


def test_an_outage_is_asked_about_by_one_worker_and_ends_with_the_first_answer() -> None:
    async def story() -> int:
        down = [Unavailable("away")] * (OUTAGE + 2)
        scripted = Scripted(*down)
        queue: WorkQueue[ObjectRef] = WorkQueue(lambda key: 0, asyncio.get_running_loop().time, lambda: 0.0)
        loop = Loop(queue, scripted, Client(ApiServer()), Metrics())  # type: ignore[arg-type]
        for number in range(40):
            queue.wake(ObjectRef(Kind.RUN, "ml", f"r-{number}"))
        workers = [asyncio.create_task(loop.worker()) for _ in range(OUTAGE)]
        await asyncio.sleep(0.5)
        tries = scripted.tries
        assert loop.is_outage()
        await asyncio.sleep(4)
        assert not loop.is_outage()
        assert scripted.tries >= 40
        for worker in workers:
            worker.cancel()
        return tries

    assert run_virtually(story()) <= OUTAGE + 2
