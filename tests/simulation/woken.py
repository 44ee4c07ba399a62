"""The operator as it is in a cluster: it looks at what its watches and timers tell it to, and at nothing else."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from finetune_operator.cluster.cache import CachedCluster
from finetune_operator.cluster.errors import ClusterError
from finetune_operator.cluster.kinds import RECONCILED, Kind, is_final
from finetune_operator.cluster.object_ref import ObjectRef
from finetune_operator.cluster.port import Object
from finetune_operator.cluster.store import Change, Store
from finetune_operator.cluster.watched import WATCHED
from finetune_operator.controller.app import on_change

from .api_server import Write
from .controllers import NAMESPACE
from .lagging import Flaky, Job, pause, tell
from .stories import World

AN_HOUR = timedelta(hours=1)


class LateAnswers(Flaky):
    """A client whose writes are done before their answers come: a watch may tell of them first."""

    async def patch_status(self, kind: Kind, *rest: Any) -> Object:
        """See Cluster.patch_status."""
        changed = await super().patch_status(kind, *rest)
        await pause()
        return changed


@dataclass
class Woken(World):
    """A world in which nobody is looked at but for a reason, in an order by chance; the same for the same `seed`."""

    seed: int = 0
    store: Store = field(default_factory=Store)
    woken: set[ObjectRef] = field(default_factory=set)
    running: dict[ObjectRef, Job] = field(default_factory=dict)
    timers: dict[ObjectRef, datetime] = field(default_factory=dict)
    seen: int = 0
    """How many writes the watches have told of."""

    def __post_init__(self) -> None:
        """Set the stage, and let the watches begin."""
        self.rng = random.Random(self.seed)
        super().__post_init__()
        self.cluster = CachedCluster(LateAnswers(self.server, self.rng, 0.0), self.store)
        self.operator = self.operator_on(self.cluster)
        self.store.listen(self._changed)

    def play(self, *, hours: float = 3) -> None:
        """Let everybody act until nobody is due any more within an hour."""
        end = self.server.now + timedelta(hours=hours)
        while self.server.now < end:
            self.settle()
            ahead = [t for t in (self.jobs.next_event(), self.deployments.next_event(), *self.timers.values()) if t]
            ahead = [t for t in ahead if self.server.now < t < self.server.now + AN_HOUR]
            if not ahead:
                return
            self.server.now = min(ahead)
        raise AssertionError(f"not at rest after {hours} virtual hours: {self.summary()}")

    def settle(self) -> None:
        """Let everybody act at this moment, one step of somebody after the other, until nobody has anything to do."""
        while True:
            before = len(self.server.log)
            self.jobs.tick()
            self.deployments.tick()
            self.server.collect_garbage()
            self._user()
            self.woken |= {key for key, at in self.timers.items() if at <= self.server.now}
            steps = [*self._steps()]
            if steps:
                self.rng.choice(steps)()
            elif len(self.server.log) == before:
                return

    def unseen(self) -> list[Write]:
        """Look at everything that is not over, and return what the operator writes then: nothing had told it to."""
        self.settle()
        before = len(self.server.log)
        for kind in RECONCILED:
            refs = (ObjectRef(kind, NAMESPACE, item["metadata"]["name"]) for item in self.store.all(kind, NAMESPACE))
            self.woken |= {ref for ref in refs if not is_final(kind, self._phase(ref))}
        self.settle()
        return [write for write in self.server.log[before:] if write.actor == self.client.actor]

    def _phase(self, ref: ObjectRef) -> str:
        projection = self.store.projection(ref.kind, ref.namespace, ref.name)
        return "" if projection is None else projection.phase

    def _changed(self, change: Change) -> None:
        on_change(change, self.store, self.woken.add, self.operator.forget)

    def _steps(self) -> Iterator[Any]:
        if self.woken - self.running.keys():
            yield self._start
        if self.running:
            yield from (self._go_on, self._go_on)
        if self.seen < len(self.server.log):
            yield self._tell

    def _start(self) -> None:
        key = self.rng.choice(sorted(self.woken - self.running.keys(), key=repr))
        self.woken.discard(key)
        self.running[key] = self._look(key)

    def _go_on(self) -> None:
        key = self.rng.choice(list(self.running))
        try:
            self.running[key].send(None)
        except StopIteration:
            del self.running[key]

    def _tell(self) -> None:
        write = self.server.log[self.seen]
        self.seen += 1
        if write.kind in WATCHED:
            tell(self.store, write)

    async def _look(self, key: ObjectRef) -> None:
        """Bring an object one decision further, as the loop does."""
        self.timers.pop(key, None)
        try:
            outcome = await self.operator.reconcile(key)
        except ClusterError:
            self.timers[key] = self.server.now + timedelta(seconds=1)
            return
        if outcome.again:
            self.woken.add(key)
        if outcome.after is not None:
            self.timers[key] = self.server.now + max(outcome.after, timedelta(seconds=1))
