"""One or two processes of the operator, each with its real cache that lags, their work interleaved at each request."""

import random
import types
from collections.abc import Coroutine, Generator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from finetune_operator.cluster.cache import CachedCluster
from finetune_operator.cluster.errors import ClusterError, Conflict, NotFound, Unavailable
from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.object_ref import ObjectRef
from finetune_operator.cluster.port import Object
from finetune_operator.cluster.store import Store
from finetune_operator.cluster.watched import WATCHED

from .api_server import ApiServer, Client, Write
from .controllers import NAMESPACE
from .stories import KINDS, Story, World

Job = Coroutine[Any, Any, None]


@types.coroutine
def pause() -> Generator[None, None, None]:
    """Let others go on."""
    yield


class Flaky(Client):
    """A client each of whose requests lets others go on, and one in so many is lost, before or after it is done."""

    def __init__(self, server: ApiServer, rng: random.Random, lost: float) -> None:
        super().__init__(server)
        self.rng, self.lost = rng, lost

    def _write(self, commit: Any) -> Any:
        dice = self.rng.random()
        if dice < self.lost / 2:
            raise Unavailable("lost before it was done")
        result = super()._write(commit)
        if dice < self.lost:
            raise Unavailable("the answer was lost")
        return result

    async def get(self, kind: Kind, namespace: str, name: str, *, fresh: bool = False) -> Object | None:
        """See Cluster.get."""
        await pause()
        return await super().get(kind, namespace, name, fresh=fresh)

    async def list(
        self, kind: Kind, namespace: str, labels: Mapping[str, str] | None = None, *, fresh: bool = False
    ) -> tuple[Object, ...]:
        """See Cluster.list."""
        await pause()
        return await super().list(kind, namespace, labels, fresh=fresh)

    async def create(self, kind: Kind, namespace: str, manifest: Object) -> Object:
        """See Cluster.create."""
        await pause()
        return await super().create(kind, namespace, manifest)

    async def patch_status(self, kind: Kind, *rest: Any) -> Object:
        """See Cluster.patch_status."""
        await pause()
        return await super().patch_status(kind, *rest)

    async def apply(self, kind: Kind, *rest: Any) -> Object:
        """See Cluster.apply."""
        await pause()
        return await super().apply(kind, *rest)


def tell(store: Store, write: Write) -> None:
    """Have the watch of its kind tell of a write."""
    if write.after is None:
        store.remove(write.kind, NAMESPACE, write.name, write.uid)
    else:
        store.put(write.kind, write.after)


class Life:
    """One process of the operator, with what its watches have delivered so far."""

    def __init__(self, world: "Lagging") -> None:
        self.world, self.store = world, Store()
        self.client = Flaky(world.server, world.rng, world.lost)
        self.cluster = CachedCluster(self.client, self.store)
        self.reconciler = world.operator_on(self.cluster)
        self.due: dict[ObjectRef, datetime] = {}
        self.seen = dict.fromkeys(WATCHED, len(world.server.log))
        for kind in WATCHED:
            for item in world.server.list(kind, NAMESPACE):
                self.store.put(kind, item)

    def deliver(self, kind: Kind, most: int = 10**9) -> None:
        """Bring the cache of a kind up to date, by so many events."""
        log = self.world.server.log
        while self.seen[kind] < len(log) and most:
            write = log[self.seen[kind]]
            self.seen[kind] += 1
            if write.kind is kind:
                most -= 1
                tell(self.store, write)

    def keys(self) -> list[ObjectRef]:
        """Return every object that this process knows of."""
        return [
            ObjectRef(kind, NAMESPACE, item["metadata"]["name"])
            for kind in KINDS
            for item in self.store.all(kind, NAMESPACE)
        ]

    async def reconcile(self, key: ObjectRef) -> None:
        """Bring an object one decision further, as the loop does."""
        self.due.pop(key, None)
        now = self.world.server.now
        try:
            outcome = await self.reconciler.reconcile(key)
        except ClusterError as error:
            self.due[key] = now + timedelta(seconds=1)
            if isinstance(error, Conflict | NotFound):
                await self.cluster.get(key.kind, key.namespace, key.name, fresh=True)
            return
        if outcome.after is not None:
            self.due[key] = now + max(outcome.after, timedelta(seconds=1))


@dataclass(frozen=True, slots=True)
class Weather:
    """How many processes there are, how many requests are lost, and how often a process dies."""

    operators: int = 1
    lost: float = 0.0
    crash: float = 0.0


class Lagging(World):
    """A story in which what the operator sees lags behind, by chance; the same for the same `seed`."""

    def __init__(self, story: Story, seed: int, weather: Weather) -> None:
        self.rng, self.lost, self.weather = random.Random(seed), weather.lost, weather
        super().__init__(story)
        self.lives = [Life(self) for _ in range(weather.operators)]

    def play(self, *, hours: float = 6) -> None:
        """Let everybody act until the run has ended and nothing is under way."""
        end, quiet = self.server.now + timedelta(hours=hours), 0
        while self.server.now < end:
            before = len(self.server.log)
            self.jobs.tick()
            self.deployments.tick()
            self.server.collect_garbage()
            self._user()
            self._turn()
            if len(self.server.log) != before:
                quiet = 0
                continue
            self._catch_up()
            quiet += 1
            if quiet >= 6:
                if self.at_rest():
                    return
                quiet = 0
                self._go_on()
        raise AssertionError(f"not at rest after {hours} virtual hours: {self.summary()}")

    def _catch_up(self) -> None:
        for life in self.lives:
            for kind in WATCHED:
                life.deliver(kind)

    def _go_on(self) -> None:
        due = (at for life in self.lives for at in life.due.values())
        ahead = [at for at in (self.jobs.next_event(), self.deployments.next_event(), *due) if at]
        ahead = [at for at in ahead if at > self.server.now]
        self.server.now = min(ahead) if ahead else self.server.now + timedelta(minutes=5)

    def _turn(self) -> None:
        """Every process reconciles some of its objects at once."""
        jobs: list[tuple[Life, Job]] = []
        for life in self.lives:
            keys = life.keys()
            self.rng.shuffle(keys)
            jobs += [(life, life.reconcile(key)) for key in keys[: self.rng.randint(1, max(1, len(keys)))]]
        while jobs:
            at = self.rng.randrange(len(jobs))
            try:
                jobs[at][1].send(None)
            except StopIteration:
                jobs.pop(at)
            if self.rng.random() < 0.3:
                self.rng.choice(self.lives).deliver(self.rng.choice(list(WATCHED)), self.rng.randint(1, 4))
            if self.rng.random() < self.weather.crash:
                jobs = self._crash(jobs)

    def _crash(self, jobs: list[tuple[Life, Job]]) -> list[tuple[Life, Job]]:
        dead = self.rng.choice(self.lives)
        for life, job in jobs:
            if life is dead:
                job.close()
        self.lives[self.lives.index(dead)] = Life(self)
        self.crashes += 1
        return [(life, job) for life, job in jobs if life is not dead]
