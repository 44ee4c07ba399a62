"""Each watched namespace is read, watched and given up on its own; nothing is decided where it is not whole."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from finetune_operator.cluster.cache import CachedCluster
from finetune_operator.cluster.errors import ClusterError, Forbidden, Throttled, Unauthenticated, Unavailable
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.object_ref import ObjectRef
from finetune_operator.cluster.port import Object
from finetune_operator.cluster.reach import Away, Reach, Scope, WentBack
from finetune_operator.cluster.store import Store
from finetune_operator.controller.queue import WorkQueue
from finetune_operator.controller.scope_metrics import ScopeMetrics
from finetune_operator.controller.scopes import (
    HEARD_SECONDS,
    PROBE_SECONDS,
    PROVEN_SECONDS,
    RETRY_CAP,
    THROTTLED_CAP,
    UNSURE_SECONDS,
    Parts,
    WatchedScopes,
)
from finetune_operator.controller.watch import WatchEnded, observe
from house.virtual_time import run_virtually
from simulation.api_server import ApiServer, Client, Write
from simulation.stories import run

RESYNC = 300.0


@dataclass
class World:
    """A simulated API server under the scopes of an operator; `refuse` says what its lists answer in a namespace."""

    namespaces: tuple[Scope, ...]
    server: ApiServer = field(default_factory=ApiServer)
    refuse: dict[str, ClusterError] = field(default_factory=dict)
    deny_watch: dict[str, str] = field(default_factory=dict)
    deaf: set[str] = field(default_factory=set)
    chance: float = 0.5
    lists: int = 0
    watches: int = 0
    forgotten: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store, self.reach, self.registry = Store(), Reach(), CollectorRegistry()
        clock = asyncio.get_running_loop().time
        self.queue: WorkQueue[ObjectRef] = WorkQueue(lambda ref: ref.namespace, clock, lambda: 0.5)
        self.cluster = CachedCluster(Client(self.server), self.store, self.reach)
        self.ended: dict[Scope, asyncio.Future[str]] = {}
        metrics = ScopeMetrics(self.registry)
        parts = Parts(self, self.store, self.reach, self.queue, metrics, lambda scope: Watcher(self, scope),
                      self.forgotten.append, RESYNC, lambda: self.chance)  # fmt: skip
        self.scopes = WatchedScopes(self.namespaces, parts)
        self.store.listen(lambda change: self.scopes.wake(ObjectRef(change.kind, change.namespace, change.name)))

    async def pages(
        self, kind: Kind, namespace: str | None, labels: Mapping[str, str], limit: int | None = None
    ) -> AsyncIterator[tuple[Sequence[Object], int]]:
        self.lists += 1
        await asyncio.sleep(0.01)
        for refused, error in self.refuse.items():
            if namespace in {None, refused}:
                raise error
        names = {scope for _, scope, _ in self.server.objects} if namespace is None else {namespace}
        objects = [obj for name in sorted(names) for obj in self.server.list(kind, name, labels)]
        yield objects[:limit], self.server.counter

    def add(self, namespace: str, name: str) -> Object:
        return self.server.create("user", Kind.RUN, namespace, run(name))

    def known(self, namespace: str) -> set[str]:
        return {name for _, scope, name in ((None, n, m) for n, m, _ in self.store.projections(Kind.RUN))
                if scope == namespace}  # fmt: skip

    def metric(self, name: str, namespace: str = "a") -> float:
        return self.registry.get_sample_value(f"finetune_namespace_{name}", {"namespace": namespace}) or 0.0

    async def taken(self) -> set[str]:
        """Take what waits, as workers do, and give it back."""
        names = set()
        while self.queue.depth():
            ref = await self.queue.take()
            assert ref is not None
            names.add(f"{ref.namespace}/{ref.name}")
            self.queue.done(ref)
        return names


@dataclass
class Watcher:
    """A watch of the simulated API server: it tells of every write to its scope, until it is ended."""

    world: World
    scope: Scope
    heard: dict[Kind, int] = field(default_factory=dict)

    async def run(self) -> None:
        self.world.watches += 1
        self.world.ended[self.scope] = asyncio.get_running_loop().create_future()
        log, seen = self.world.server.log, len(self.world.server.log)
        while not self.world.ended[self.scope].done():
            await asyncio.sleep(1)
            if str(self.scope) in self.world.deny_watch:
                raise WatchEnded(self.world.deny_watch[str(self.scope)])
            for write in log[seen:]:
                self._tell(write)
            seen = len(log)
        raise WatchEnded(self.world.ended[self.scope].result())

    def _tell(self, write: Write) -> None:
        obj = write.after or write.before
        assert obj is not None
        if self.scope not in {None, obj["metadata"]["namespace"]} or str(self.scope) in self.world.deaf:
            return
        self.heard[write.kind] = max(self.heard.get(write.kind, 0), int(obj["metadata"]["resourceVersion"]))
        observe(self.world.store, write.kind, {"type": "MODIFIED" if write.after else "DELETED", "object": obj})


def story(body: Callable[[World], Coroutine[Any, Any, None]], *namespaces: Scope) -> None:
    """Run `body` beside the scopes of these namespaces; their tasks must never end."""

    async def play() -> None:
        world = World(namespaces or ("a", "b"))
        tasks = [asyncio.create_task(scope.run()) for scope in world.scopes]
        try:
            await body(world)
            assert not any(task.done() for task in tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    run_virtually(play())


def lines(caplog: pytest.LogCaptureFixture, having: str) -> int:
    return sum(having in record.getMessage() for record in caplog.records)


@pytest.fixture(autouse=True)
def _at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_one_namespace_that_cannot_be_read_keeps_no_other_from_being_ready() -> None:
    async def body(world: World) -> None:
        world.refuse["b"] = Forbidden("no rights in b")
        world.add("a", "first")
        await asyncio.wait_for(world.scopes.known(), 5)
        assert await world.taken() == {"a/first"}
        assert (world.metric("watched"), world.metric("watched", "b")) == (1, 0)
        assert world.reach.is_open("a")
        with pytest.raises(Away):
            await world.cluster.list(Kind.RUN, "b")

    story(body)


@pytest.mark.parametrize("error", [Unavailable("503"), Unauthenticated("401")])
def test_an_api_server_that_does_not_answer_or_does_not_know_us_says_nothing_of_a_namespace(
    error: ClusterError,
) -> None:
    async def body(world: World) -> None:
        world.refuse["b"] = error
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(world.scopes.known(), 120)
        world.refuse.clear()
        await asyncio.wait_for(world.scopes.known(), RETRY_CAP + 1)
        world.refuse["b"] = error
        await asyncio.sleep(600)
        assert world.metric("watched", "b") == 1  # its watch goes on

    story(body)


@pytest.mark.parametrize("error", [Unavailable("503"), Unauthenticated("401")])
def test_an_api_server_that_is_away_for_long_is_asked_every_five_seconds(error: ClusterError) -> None:
    """Also when a whole list has been due since: it would be asked the faster, the longer that lasts."""

    async def body(world: World) -> None:
        await asyncio.wait_for(world.scopes.known(), 5)
        world.refuse["a"] = error
        await asyncio.sleep(1.2 * RESYNC)
        asked = world.lists
        await asyncio.sleep(60)
        assert 60 / UNSURE_SECONDS - 2 <= world.lists - asked <= 60 / UNSURE_SECONDS + 1

    story(body, "a")


def test_an_api_server_that_throttles_is_asked_ever_more_rarely_and_read_when_that_is_over() -> None:
    """Each try may read the whole of some kinds before another one is refused, in every namespace."""

    async def body(world: World) -> None:
        await asyncio.wait_for(world.scopes.known(), 5)
        world.refuse["a"] = Throttled("too many requests")
        await asyncio.sleep(PROBE_SECONDS)
        asked = world.lists
        await asyncio.sleep(5 + 10 + 20 + 40)
        assert world.lists - asked == 4
        await asyncio.sleep(10 * THROTTLED_CAP)
        assert world.lists - asked == 14
        assert world.metric("watched") == 1, "its watch goes on"
        world.refuse.clear()
        world.add("a", "first")
        await asyncio.sleep(THROTTLED_CAP + 1)
        assert world.lists - asked > 15, "all of it, for nobody knows what went by"
        world.refuse["a"] = Throttled("too many requests", after=30)
        await asyncio.sleep(PROBE_SECONDS + 1)
        asked = world.lists
        await asyncio.sleep(28)
        assert world.lists == asked, "the API server said how long"

    story(body, "a")


def test_chance_asks_no_api_server_sooner_than_it_wants() -> None:
    async def body(world: World) -> None:
        await asyncio.wait_for(world.scopes.known(), 5)
        world.chance = 0.0
        world.refuse["a"] = Throttled("too many requests", after=40)
        await asyncio.sleep(PROBE_SECONDS + 1)
        asked = world.lists
        await asyncio.sleep(38)
        assert world.lists == asked
        await asyncio.sleep(2)
        assert world.lists > asked

    story(body, "a")


def test_an_api_server_that_throttles_is_left_alone_for_as_long_as_it_asks_by_what_begins_too() -> None:
    async def body(world: World) -> None:
        world.refuse["a"] = Throttled("too many requests", after=45)
        await asyncio.sleep(1)
        asked = world.lists
        await asyncio.sleep(42)
        assert world.lists == asked
        world.refuse.clear()
        await asyncio.wait_for(world.scopes.known(), 5)

    story(body, "a")


def test_the_whole_cluster_is_ready_only_when_it_was_read() -> None:
    async def body(world: World) -> None:
        world.refuse["a"] = Forbidden("no rights")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(world.scopes.known(), 120)
        world.refuse.clear()
        await asyncio.wait_for(world.scopes.known(), RETRY_CAP + 1)
        assert world.metric("watched", "*") == 1

    story(body, None)


def test_rights_that_go_are_noticed_within_a_minute_said_once_and_taken_up_when_they_are_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def body(world: World) -> None:
        world.add("a", "first")
        await world.scopes.known()
        world.refuse["a"] = Forbidden("no rights in a")
        await asyncio.sleep(PROBE_SECONDS + 1)
        assert (world.metric("watched"), world.metric("watched", "b")) == (0, 1)
        assert not world.known("a")
        await asyncio.sleep(3600)
        before = world.lists
        await asyncio.sleep(600)
        assert world.lists - before < 600 / (RETRY_CAP / 2) + 600 / PROBE_SECONDS + 2 * 9 + 9
        assert lines(caplog, "namespace 'a' cannot be read") == 1
        world.refuse.clear()
        await world.taken()
        await asyncio.sleep(RETRY_CAP + 1)
        assert world.known("a") == {"first"}
        assert "a/first" in await world.taken()
        assert lines(caplog, "namespace 'a' is read again") == 1
        assert (world.metric("watched"), world.metric("failures_total", "b")) == (1, 0)
        assert world.metric("failures_total") > 50

    story(body)


def test_what_leaves_memory_is_forgotten_everywhere() -> None:
    async def body(world: World) -> None:
        uid = world.add("a", "first")["metadata"]["uid"]
        await world.scopes.known()
        world.refuse["a"] = Forbidden("no rights in a")
        await asyncio.sleep(PROBE_SECONDS + 1)
        assert world.forgotten == [uid]

    story(body)


def test_a_forbidden_write_has_the_namespace_looked_at_at_once() -> None:
    async def body(world: World) -> None:
        await world.scopes.known()
        world.refuse["a"] = Forbidden("no rights in a")
        world.scopes.doubt("a")
        await asyncio.sleep(2)
        assert not world.reach.is_open("a")

    story(body)


def test_a_watch_that_ends_is_begun_anew_and_what_it_missed_is_read() -> None:
    async def body(world: World) -> None:
        await world.scopes.known()
        await asyncio.sleep(70)
        watches = world.watches
        world.ended["a"].set_result("403")
        world.add("a", "missed")
        await asyncio.sleep(3)
        assert world.watches == watches + 1
        assert world.known("a") == {"missed"}
        assert world.metric("watched") == 1
        assert world.metric("failures_total") == 1
        world.add("a", "later")
        await asyncio.sleep(2)
        assert world.known("a") == {"missed", "later"}

    story(body)


def test_a_namespace_that_can_be_listed_and_not_watched_is_given_up_without_a_line_for_each_try(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def body(world: World) -> None:
        await world.scopes.known()
        world.deny_watch["a"] = "403 on watch"
        await asyncio.sleep(3600)
        assert world.metric("watched") == 0
        assert lines(caplog, "namespace 'a'") <= 5
        world.deny_watch.clear()
        world.add("a", "first")
        await asyncio.sleep(RETRY_CAP + HEARD_SECONDS + 1)
        assert world.known("a") == {"first"}
        assert world.metric("watched") == 1

    story(body)


def test_watches_that_lived_for_a_minute_each_are_no_row_of_young_deaths() -> None:
    """An API server ends watches every few minutes; nothing is closed, forgotten, or waited for longer by that."""

    async def body(world: World) -> None:
        await world.scopes.known()
        closed, forgotten = list[bool](), len(world.forgotten)
        for _ in range(8):
            await asyncio.sleep(PROVEN_SECONDS + 5)
            watches = world.watches
            world.ended["a"].set_result("410")
            for _ in range(30):
                await asyncio.sleep(0.1)
                closed.append(world.metric("watched") != 1)
            assert world.watches == watches + 1, "the pause before it is a second, however often that was"
        assert not any(closed)
        assert len(world.forgotten) == forgotten

    story(body)


def test_watches_that_die_young_in_a_row_close_the_scope_and_one_that_lives_begins_a_new_row() -> None:
    async def body(world: World) -> None:
        await world.scopes.known()
        for lives in (2, 2, PROVEN_SECONDS + 5, 2, 2, 2):
            assert world.metric("watched") == 1, "no row of three yet"
            await asyncio.sleep(lives)
            world.ended["a"].set_result("410")
            await asyncio.sleep(6)
        assert world.metric("watched") == 0

    story(body)


@pytest.mark.parametrize(("young", "watched"), [(2, 1), (3, 0)])
def test_the_end_of_a_watch_that_lived_is_no_young_death(young: int, watched: int) -> None:
    async def body(world: World) -> None:
        await world.scopes.known()
        for lives in (PROVEN_SECONDS + 5, *[2] * young):
            await asyncio.sleep(lives)
            world.ended["a"].set_result("410")
            await asyncio.sleep(6)
        assert world.metric("watched") == watched

    story(body)


def test_a_deaf_watch_is_replaced() -> None:
    async def body(world: World) -> None:
        await world.scopes.known()
        world.deaf.add("a")
        world.add("a", "unheard")
        watches = world.watches
        await asyncio.sleep(1.1 * RESYNC + HEARD_SECONDS + PROBE_SECONDS)
        assert world.known("a") == {"unheard"}
        assert world.watches == watches + 1

    story(body)


def test_a_busy_watch_is_not_taken_for_a_deaf_one() -> None:
    async def body(world: World) -> None:
        await world.scopes.known()
        for number in range(2000):
            world.add("a", f"run-{number}")
            await asyncio.sleep(0.7)
        assert world.watches == 2

    story(body)


def test_a_deletion_that_the_watch_missed_is_found_by_the_list() -> None:
    async def body(world: World) -> None:
        world.add("a", "first")
        await world.scopes.known()
        world.deaf.add("a")
        world.server.delete("user", Kind.RUN, "a", "first")
        await asyncio.sleep(1.1 * RESYNC + 1)
        assert not world.known("a")

    story(body)


def _phase(world: World, name: str, phase: str) -> None:
    obj = world.server.objects[Kind.RUN, "a", name]
    metadata = obj["metadata"]
    world.server.patch_status(
        "operator", Kind.RUN, "a", name, metadata["uid"], metadata["resourceVersion"], {"status": {"phase": phase}}
    )


def _seen_phase(world: World, name: str) -> str:
    projection = world.store.projection(Kind.RUN, "a", name)
    return "gone" if projection is None else projection.phase


async def _restored(world: World, *, writes_since: int = 0) -> None:
    """Change a run, delete one and make one; then go back to the time before."""
    for name in ("changed", "deleted"):
        world.add("a", name)
    await world.scopes.known()
    await asyncio.sleep(70)
    backup = world.server.backup()
    _phase(world, "changed", "Training")
    world.server.delete("user", Kind.RUN, "a", "deleted")
    world.add("a", "made")
    await asyncio.sleep(2)
    assert (_seen_phase(world, "changed"), world.known("a") - {"still"}) == ("Training", {"changed", "made"})
    world.server.restore(backup)
    world.deaf.add("a")  # a real watch waits for the resourceVersion that it was at
    for number in range(writes_since):
        world.add("b", f"other-{number}")


async def _is_as_restored(world: World) -> None:
    assert world.known("a") == {"changed", "deleted"}
    assert _seen_phase(world, "changed") == ""
    assert {"a/changed", "a/deleted"} <= await world.taken()
    assert (world.metric("rewinds_total"), world.metric("watched")) == (1, 1)
    world.deaf.clear()
    _phase(world, "changed", "Preparing")
    await asyncio.sleep(2)
    assert _seen_phase(world, "changed") == "Preparing"  # its resourceVersion is below one that was seen
    await asyncio.sleep(1200)
    assert world.metric("rewinds_total") == 1


def test_an_etcd_restored_from_a_backup_is_noticed_and_read_anew(caplog: pytest.LogCaptureFixture) -> None:
    async def body(world: World) -> None:
        await _restored(world)
        await asyncio.sleep(PROBE_SECONDS + 4)
        await _is_as_restored(world)
        assert lines(caplog, "etcd was restored from a backup?") == 1

    story(body)


def test_a_restored_etcd_whose_resource_versions_have_caught_up_is_noticed_by_the_next_list() -> None:
    async def body(world: World) -> None:
        await _restored(world, writes_since=20)
        await asyncio.sleep(PROBE_SECONDS + 4)
        assert world.metric("rewinds_total") == 0
        await asyncio.sleep(1.1 * RESYNC + 4)
        await _is_as_restored(world)

    story(body)


def test_after_an_outage_all_is_read_because_it_may_have_been_a_restore() -> None:
    async def body(world: World) -> None:
        await _restored(world, writes_since=20)
        world.refuse["a"] = Unavailable("503")
        await asyncio.sleep(PROBE_SECONDS + 1)
        world.refuse.clear()
        await asyncio.sleep(10)
        await _is_as_restored(world)

    story(body)


def test_an_answer_from_a_restored_etcd_ends_the_decision_that_asked_and_all_others() -> None:
    async def body(world: World) -> None:
        await _restored(world)
        with pytest.raises(WentBack):
            await world.cluster.get(Kind.RUN, "a", "changed", fresh=True)
        with pytest.raises(Away):
            await world.cluster.list(Kind.RUN, "a")
        with pytest.raises(Away):
            await world.cluster.create(Kind.RUN, "a", run("more"))
        await asyncio.sleep(4)
        await _is_as_restored(world)

    story(body)


def test_a_write_that_a_restored_etcd_took_is_noticed_by_its_answer() -> None:
    async def body(world: World) -> None:
        world.add("a", "still")
        await _restored(world)
        still = world.store.get(Kind.RUN, "a", "still")
        assert still is not None
        metadata = still["metadata"]
        with pytest.raises(WentBack):
            await world.cluster.patch_status(
                Kind.RUN, "a", "still", metadata["uid"], metadata["resourceVersion"], {"status": {"phase": "Passed"}}
            )
        with pytest.raises(Away):
            await world.cluster.list(Kind.RUN, "a")

    story(body)


def test_what_was_begun_before_a_restore_ends_before_anything_is_read_anew() -> None:
    async def body(world: World) -> None:
        await _restored(world)
        await world.taken()
        world.queue.wake(ObjectRef(Kind.RUN, "a", "changed"))
        begun = await world.queue.take()
        assert begun is not None
        await asyncio.sleep(120)
        assert not world.reach.is_open("a")
        world.queue.forget(begun)
        await asyncio.sleep(1)
        assert world.reach.is_open("a")

    story(body)
