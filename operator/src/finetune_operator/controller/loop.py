"""The workers: take a key, reconcile it, and decide from the outcome when it is due again."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ..cluster.errors import (
    AdmissionUnavailable,
    ClusterError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Throttled,
    Unavailable,
)
from ..cluster.object_ref import ObjectRef
from ..cluster.port import Cluster
from ..cluster.reach import Away, WentBack
from .decision_log import decision
from .metrics import Metrics
from .queue import WorkQueue
from .reconcile import Outcome, Reconciler

OUTAGE: Final = 10
"""So many requests in a row without an answer are an outage: then one worker asks, and the others wait."""
OUTAGE_PAUSE: Final = 1.0
BUG_PAUSE: Final = 5.0
SOONEST: Final = 0.1
"""A decision that asks for another look at once is given at most ten a second."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Loop:
    """Works off the queue with a bounded number of workers."""

    queue: WorkQueue[ObjectRef]
    reconciler: Reconciler
    cluster: Cluster
    metrics: Metrics
    clock: Callable[[], float] = time.monotonic
    doubt: Callable[[str], None] = lambda _: None
    """Asks whether a namespace can still be read, after the API server forbade a write there."""
    _unanswered: int = 0
    _probe: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def worker(self) -> None:
        """Work until the queue is closed; ends early only by cancellation or a bug of the loop itself."""
        while True:
            if self.is_outage():
                async with self._probe:
                    if self.is_outage() and not await self._turn():
                        return
                    await asyncio.sleep(OUTAGE_PAUSE if self.is_outage() else 0)
            elif not await self._turn():
                return

    def is_outage(self) -> bool:
        """Tell whether the API server does not answer at all; nobody is to blame for work that waits then."""
        return self._unanswered >= OUTAGE

    async def _turn(self) -> bool:
        """Work on the next key; tell whether there was one, and not the queue's end."""
        key = await self.queue.take()
        if key is not None:
            await self.work(key)
        return key is not None

    async def work(self, key: ObjectRef) -> None:
        """Reconcile `key` and give it back to the queue; only cancellation gets out of here."""
        started = self.clock()
        outcome = "error"
        try:
            outcome = await self._reconcile(key)
        except Exception:  # one object's bug must not stop the others' work: it is logged, counted and tried again
            log.exception("reconciling failed by a bug", extra=_where(key))
            self.queue.failed(key, BUG_PAUSE)
        finally:
            self.metrics.reconciled(key.kind, outcome, self.clock() - started)

    async def _reconcile(self, key: ObjectRef) -> str:
        try:
            with decision(key):
                result = await self.reconciler.reconcile(key)
        except (Away, WentBack) as error:
            log.debug("out of reach: %s", error, extra=_where(key))
            self.queue.forget(key)  # all of its namespace is woken when it is back
            return "away"
        except (Conflict, NotFound) as error:
            self._unanswered = 0
            log.debug("the world moved on: %s", error, extra=_where(key))
            return await self._look_again(key)
        except Unavailable as error:
            self._unanswered += 1
            wait = self.queue.failed(key, at_least=error.after if isinstance(error, Throttled) else 0.0)
            log.warning("no answer (again in %.1f s): %s", wait, error, extra=_where(key))
            return "unavailable"
        except (Forbidden, Invalid, ClusterError) as error:
            self._unanswered = 0
            if isinstance(error, Forbidden) and not isinstance(error, AdmissionUnavailable):
                self.doubt(key.namespace)
            wait = self.queue.failed(key, at_most=None if error.within is None else error.within.total_seconds())
            log.warning("refused (again in %.1f s): %s", wait, error, extra=_where(key))
            return "refused"
        self._unanswered = 0
        return self._done(key, result)

    async def _look_again(self, key: ObjectRef) -> str:
        """After a conflict: read past the cache, so that the next try does not decide from the same stale view."""
        try:
            await self.cluster.get(key.kind, key.namespace, key.name, fresh=True)
        except ClusterError as error:
            log.debug("not read: %s", error, extra=_where(key))
        self.queue.failed(key)
        return "conflict"

    def _done(self, key: ObjectRef, result: Outcome) -> str:
        if result.gone:
            self.queue.forget(key)
            return "settled"
        if result.again:
            self.queue.wake(key)
        self.queue.done(key, None if result.after is None else max(result.after.total_seconds(), SOONEST))
        return "wrote" if result.wrote else "settled"


def _where(key: ObjectRef) -> dict[str, str]:
    return {"kind": key.kind.value[2], "namespace": key.namespace, "object": key.name}
