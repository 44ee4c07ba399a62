"""Posting Kubernetes Events beside the work: bounded, paced, and dropped rather than waited for."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from ..cluster.errors import ClusterError, Throttled
from ..cluster.kinds import Kind
from ..cluster.port import Cluster, Object
from ..decide.decision import Emit
from ..manifests.events import Regarding, build_event

WAITING: Final = 2_000
PAUSE: Final = 0.02
"""Seconds between posts: at most fifty a second, so that a burst of runs is not slowed by its Events."""
TRIES: Final = 3
"""Times that an Event is posted to an API server that throttles, with the pause that it asks for after each."""


@dataclass(slots=True)
class EventPoster:
    """Takes Events at once (`record`) and posts them one after the other (`run`)."""

    cluster: Cluster
    clock: Callable[[], datetime]
    instance: str
    dropped: Callable[[], None]
    is_busy: Callable[[], bool] = lambda: False
    _queue: asyncio.Queue[tuple[Regarding, Emit, datetime]] = field(
        default_factory=lambda: asyncio.Queue(maxsize=WAITING)
    )

    def record(self, regarding: Regarding, emit: Emit) -> None:
        """Have an Event posted soon; drop it when too many wait."""
        try:
            self._queue.put_nowait((regarding, emit, self.clock()))
        except asyncio.QueueFull:
            self.dropped()

    async def run(self) -> None:
        """Post for ever. An Event that is refused is dropped: the same stands in the object's status."""
        while True:
            regarding, emit, at = await self._queue.get()
            await self._let_work_pass()
            manifest = build_event(emit, regarding, at, self.instance)
            if not await self._post(regarding.namespace, manifest):
                self.dropped()
            await asyncio.sleep(PAUSE)

    async def _post(self, namespace: str, manifest: Object) -> bool:
        """Post one, and tell whether it was taken."""
        for _ in range(TRIES):
            try:
                await self.cluster.create(Kind.EVENT, namespace, manifest)
            except Throttled as error:
                await asyncio.sleep(error.after)
            except ClusterError:
                return False
            else:
                return True
        return False

    async def _let_work_pass(self) -> None:
        """Wait while keys wait for a worker, for a second at most: Events are the least urgent writes."""
        for _ in range(10):
            if not self.is_busy():
                return
            await asyncio.sleep(0.1)
