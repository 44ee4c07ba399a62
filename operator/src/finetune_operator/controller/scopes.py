"""The watched namespaces, each on its own: read whole, watched, given up when it is away, and taken up again.

Where no namespaces are named, the whole cluster is one such scope.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from ..cluster.cache import Listed, Pages, probe, resync
from ..cluster.errors import ClusterError, Forbidden, Throttled, Unauthenticated, Unavailable
from ..cluster.kinds import RECONCILED, Kind, is_final
from ..cluster.object_ref import ObjectRef
from ..cluster.reach import Reach, Scope, WentBack
from ..cluster.store import Store
from .queue import WorkQueue
from .scope_metrics import ScopeMetrics
from .watch import WatchEnded

PROBE_SECONDS: Final = 30.0
"""How often one object is asked for: watches stay open for minutes after the rights to them are gone."""
DOUBT_SECONDS: Final = 1.0
"""However often somebody doubts, a scope is looked at once in so many seconds."""
UNSURE_SECONDS: Final = 5.0
"""How often, after the API server did not answer."""
THROTTLED_CAP: Final = 60.0
"""How rarely at most, while it says that it has too much to do: whole lists are the dearest that there is to ask."""
HEARD_SECONDS: Final = 15.0
"""After so long, what a list brought as news must have come by the watch, too; else the watch is deaf."""
PROVEN_SECONDS: Final = 60.0
"""A watch that has lived for so long works: the next trouble is a new one."""
YOUNG_DEATHS: Final = 3
"""So many watches in a row that died young: the scope cannot be watched, whatever its lists say."""
RETRY_BASE: Final = 1.0
RETRY_CAP: Final = 30.0

log = logging.getLogger(__name__)


class Watcher(Protocol):
    """A watch of one scope."""

    heard: dict[Kind, int]
    """The newest resourceVersion that came of each kind."""

    def run(self) -> Coroutine[Any, Any, None]:
        """Watch for ever. Raises WatchEnded."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What all scopes share."""

    kube: Pages
    store: Store
    reach: Reach
    queue: WorkQueue[ObjectRef]
    metrics: ScopeMetrics
    watcher: Callable[[Scope], Watcher]
    forget: Callable[[str], None]
    """Called with the uid of everything that is dropped from memory."""
    resync_seconds: float
    chance: Callable[[], float]


@dataclass(slots=True)
class WatchedScope:
    """One scope. `run` never ends; `known` is set once it was read, or is known to be away."""

    scope: Scope
    parts: Parts
    known: asyncio.Event = field(default_factory=asyncio.Event)
    _doubt: asyncio.Event = field(default_factory=asyncio.Event)
    _rewound: WentBack | None = None
    _held: set[ObjectRef] = field(default_factory=set)
    _open: bool = False
    _said: bool = False
    _failures: int = 0
    _young_deaths: int = 0
    _proven: bool = False
    """Whether the watch at hand, or the one that ended last, lived long enough to be no young death."""

    def __post_init__(self) -> None:
        self.parts.metrics.begin(self.scope)
        self.parts.reach.close(self.scope)

    def __str__(self) -> str:
        return "the cluster" if self.scope is None else f"namespace {self.scope!r}"

    def wake(self, ref: ObjectRef) -> None:
        """Have an object looked at, as soon as anything may be decided here."""
        if self._open:
            self.parts.queue.wake(ref)
        else:
            self._held.add(ref)

    def doubt(self, error: WentBack | None = None) -> None:
        """Look at this scope soon; with an error, decide nothing in it any more, and read it anew."""
        if error is not None:
            self._rewound = error
            self._close()
        self._doubt.set()

    async def run(self) -> None:
        """Read and watch for ever, whatever the API server says."""
        while True:
            least = 0.0
            try:
                await self._live()
            except WatchEnded as error:
                self._watch_ended(error)
            except ClusterError as error:
                self._lose(error)
                least = _asked_for(error)
            await asyncio.sleep(max(self._wait(), least))

    async def _live(self) -> None:
        """Read, watch, and look after it, until one of the three fails; raises why."""
        self._proven = False
        proving = self._young_deaths >= YOUNG_DEATHS
        if not proving:
            await self._read()
        watcher = self.parts.watcher(self.scope)
        async with _beside(watcher.run(), f"watch of {self}") as watch:
            if proving:
                await asyncio.wait({watch}, timeout=HEARD_SECONDS)
                if not watch.done():
                    await self._read()
            born = asyncio.get_running_loop().time()
            async with _beside(self._look(watcher), f"look at {self}") as look:
                await asyncio.wait({watch, look}, return_when=asyncio.FIRST_COMPLETED)
                if asyncio.get_running_loop().time() - born >= PROVEN_SECONDS:
                    self._proven = True
                    self._failures = self._young_deaths = 0
                for task in (look, watch):
                    if task.done():
                        task.result()

    async def _read(self) -> None:
        """Read all of it: beside what is known, or, when nothing is, before anything is decided."""
        parts = self.parts
        if self._open:
            self._take(await resync(parts.kube, parts.store, self.scope))
            return
        await parts.queue.given_back(self._is_mine)  # begun from an older memory, it ends at its next read or write
        self._rewound = None
        self._forget()
        await resync(parts.kube, parts.store, self.scope)
        if self._rewound is not None:
            raise self._rewound
        parts.reach.open(self.scope)
        parts.metrics.watched.labels(self._label()).set(1)
        log.info("%s is read%s", self, " again" if self._said else "", extra=self._where())
        self._open, self._said = True, False
        self.known.set()
        for ref in self._held:
            parts.queue.wake(ref)
        self._held.clear()

    async def _look(self, watcher: Watcher) -> None:
        """Look whether all is still there, and now and then read what the watch may have missed. Raises why not."""
        clock = asyncio.get_running_loop().time
        due, missed, unsure, least = self._next_resync(), _Missed(), 0.0, 0.0
        while True:
            # What was due when the API server did not answer stays due: it is no reason to ask without a pause.
            pause = max(unsure * self._spread(0.25), least) if unsure else min(PROBE_SECONDS, due - clock())
            await self._doubted(min(pause, missed.due - clock()))
            missed.check(watcher, clock())
            try:
                if unsure or clock() >= due:
                    listed = await resync(self.parts.kube, self.parts.store, self.scope)
                    missed.expect(listed, clock() + HEARD_SECONDS)
                    self._take(listed)
                    due = self._next_resync()
                else:
                    await probe(self.parts.kube, self.parts.store, self.scope)
                unsure = 0.0
            except (Unavailable, Unauthenticated) as error:
                self._count()
                if not unsure:
                    log.warning("%s was not read: %s", self, error, extra=self._where())
                # An outage may be a restore: all of it is read when it is over.
                unsure, least = _until_asked(error, unsure), _asked_for(error)

    async def _doubted(self, seconds: float) -> None:
        """Wait, until somebody doubts. Raises WentBack when there is no doubt any more."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0.0)):  # wait_for may lose a cancellation (until Python 3.12)
                await self._doubt.wait()
            if self._rewound is None:
                await asyncio.sleep(DOUBT_SECONDS)
        self._doubt.clear()
        if self._rewound is not None:
            raise self._rewound

    def _take(self, listed: Listed) -> None:
        """After a list: count what the watch missed, and have all open work looked at again."""
        self.parts.metrics.ghosts(listed.ghosts)
        for kind in RECONCILED:
            for namespace, name, projection in list(self.parts.store.projections(kind)):
                if self.scope in {None, namespace} and not is_final(kind, projection.phase):
                    self.parts.queue.wake(ObjectRef(kind, namespace, name))

    def _watch_ended(self, error: WatchEnded) -> None:
        """Go on with what is known while the watch is begun anew; if none lives, decide nothing any more."""
        self._young_deaths += not self._proven
        if not self._open or self._young_deaths >= YOUNG_DEATHS:
            self._lose(error)
            return
        self._count()
        log.warning("the watch of %s ended and is begun anew: %s", self, error, extra=self._where())

    def _lose(self, error: Exception) -> None:
        """Give up until it can be read again: forget it, so that nothing is decided from what may be wrong."""
        self._count()
        self._close()
        self._forget()
        if isinstance(error, WentBack):
            self.parts.metrics.rewinds.labels(self._label()).inc()
            log.warning("%s is read anew, its past has changed (etcd was restored from a backup?): %s", self, error,
                        extra=self._where())  # fmt: skip
        elif not self._said:
            log.warning("%s cannot be read, nothing is decided there until it can: %s", self, error,
                        extra=self._where())  # fmt: skip
        self._said = True
        if self.scope is not None and isinstance(error, Forbidden) and not isinstance(error, Unauthenticated):
            self.known.set()

    def _count(self) -> None:
        self._failures += 1
        self.parts.metrics.failures.labels(self._label()).inc()

    def _close(self) -> None:
        self._open = False
        self.parts.reach.close(self.scope)
        self.parts.metrics.watched.labels(self._label()).set(0)

    def _forget(self) -> None:
        self._held.clear()
        for uid in self.parts.store.forget(self.scope):
            self.parts.forget(uid)

    def _wait(self) -> float:
        full = min(RETRY_BASE * 2.0 ** min(self._failures - 1, 30), RETRY_CAP)
        return full * (0.5 + 0.5 * self.parts.chance())

    def _next_resync(self) -> float:
        return asyncio.get_running_loop().time() + self.parts.resync_seconds * self._spread(0.1)

    def _spread(self, by: float) -> float:
        """Return a factor of about one, so that not all namespaces are read at a time."""
        return 1.0 - by + 2.0 * by * self.parts.chance()

    def _is_mine(self, ref: ObjectRef) -> bool:
        return self.scope in {None, ref.namespace}

    def _label(self) -> str:
        return self.parts.metrics.label(self.scope)

    def _where(self) -> dict[str, str]:
        return {} if self.scope is None else {"namespace": self.scope}


def _asked_for(error: ClusterError) -> float:
    """Return for how many seconds an API server wants to be left alone, whatever chance says."""
    return error.after if isinstance(error, Throttled) else 0.0


def _until_asked(error: Unavailable | Unauthenticated, before: float) -> float:
    """Return how many seconds to wait after no answer; who throttles is asked ever more rarely."""
    if not isinstance(error, Throttled):
        return UNSURE_SECONDS
    return min(max(2.0 * before, _asked_for(error), UNSURE_SECONDS), THROTTLED_CAP)


@dataclass(slots=True)
class _Missed:
    """News that a list brought, until the watch brings it, too."""

    news: dict[Kind, int] = field(default_factory=dict)
    due: float = float("inf")

    def expect(self, listed: Listed, due: float) -> None:
        """Give the watch until `due`."""
        self.news, self.due = listed.news, due if listed.news else float("inf")

    def check(self, watcher: Watcher, now: float) -> None:
        """Raise WatchEnded when the watch is deaf."""
        if now < self.due:
            return
        self.due = float("inf")
        deaf = sorted(kind.value[2] for kind, version in self.news.items() if watcher.heard.get(kind, 0) < version)
        if deaf:
            raise WatchEnded(f"it does not tell of changes to {', '.join(deaf)}")


class WatchedScopes:
    """All of them."""

    def __init__(self, scopes: Iterable[Scope], parts: Parts) -> None:
        self._watched = {scope: WatchedScope(scope, parts) for scope in scopes}
        parts.reach.listen(self.went_back)

    def __iter__(self) -> Iterator[WatchedScope]:
        return iter(self._watched.values())

    def wake(self, ref: ObjectRef) -> None:
        """Have an object looked at, as soon as anything may be decided in its namespace."""
        scope = self._of(ref.namespace)
        if scope is not None:
            scope.wake(ref)

    def doubt(self, namespace: str) -> None:
        """Have a namespace looked at soon."""
        scope = self._of(namespace)
        if scope is not None:
            scope.doubt()

    def went_back(self, namespace: str, error: WentBack) -> None:
        """Have a namespace read anew, and the others looked at: they share an etcd."""
        guilty = self._of(namespace)
        for scope in self:
            scope.doubt(error if scope is guilty else None)

    async def known(self) -> None:
        """Wait until each was read, or is known to be away."""
        await asyncio.gather(*(scope.known.wait() for scope in self))

    def _of(self, namespace: str) -> WatchedScope | None:
        return self._watched.get(None) or self._watched.get(namespace)


@contextlib.asynccontextmanager
async def _beside(part: Coroutine[Any, Any, None], name: str) -> AsyncIterator[asyncio.Task[None]]:
    """Run `part` as a task that has ended when the block has."""
    task = asyncio.create_task(part, name=name)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
