"""kopf's part: every watch event goes into the store, which tells whom it concerns. Nothing here can fail."""

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final, cast

import kopf

from ..cluster.kinds import Kind
from ..cluster.kube import Login
from ..cluster.reach import Scope
from ..cluster.store import Store
from ..cluster.watched import WATCHED
from .settings import make_settings, scope_arguments
from .task_tree import TaskTree

STOP_SECONDS: Final = 10.0
"""How long each part of a watch may take to end; it holds connections and memory, and no event of it counts."""

log = logging.getLogger(__name__)


class WatchEnded(Exception):
    """A watch is over, though nobody ended it; the message says why."""


@dataclass(slots=True)
class Watch:
    """One kopf for one scope: what it sees goes into the store, until it fails or is cancelled.

    Several run in one event loop. `kopf.operator` ends what was born in the loop after it, whosesoever; so the tasks
    are kopf's own (`kopf.spawn_tasks`), and which are one watch's is kept here.
    """

    store: Store
    login: Login
    instance: str
    scope: Scope
    signals: Callable[[], None] = lambda: None
    """Takes back the handlers of signals, of which each kopf makes itself the owner."""
    heard: dict[Kind, int] = field(default_factory=dict)
    """The newest resourceVersion that came of each kind."""
    _live: bool = True

    async def run(self) -> None:
        """Watch for ever. Raises WatchEnded when kopf gave up."""
        tree = TaskTree()
        tree.adopt()
        roots: Collection[asyncio.Task[Any]] = ()
        try:
            roots = await kopf.spawn_tasks(
                registry=make_registry(self.store, self.login, self._take_in),
                settings=make_settings(instance=self.instance),
                # Else kopf asks for the user's name, and a container's uid need not have one.
                identity=cast("Any", self.instance),
                **scope_arguments(self.scope),
            )
            self.signals()
            done, _ = await asyncio.wait(roots, return_when=asyncio.FIRST_COMPLETED)
            raise WatchEnded(_why(done))
        finally:
            self._live = False
            tree.leave()
            await tree.end(roots, STOP_SECONDS)

    def _take_in(self, kind: Kind, event: dict[str, Any]) -> None:
        if not self._live:
            return  # another watch has taken over
        version = int(event["object"]["metadata"].get("resourceVersion") or 0)
        self.heard[kind] = max(version, self.heard.get(kind, 0))
        observe(self.store, kind, event)


def _why(done: Collection[asyncio.Task[Any]]) -> str:
    for task in done:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            return f"{task.get_name()}: {type(error).__name__}: {error}"[:512]
    return f"{', '.join(sorted(task.get_name() for task in done))} ended"


Take = Callable[[Kind, dict[str, Any]], None]


def make_registry(store: Store, login: Login, take: Take | None = None) -> kopf.OperatorRegistry:
    """Return a registry with one low-level handler for each watched kind, and the login."""
    registry = kopf.OperatorRegistry()

    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        connection = await login()
        return kopf.ConnectionInfo(
            server=connection.server,
            ca_path=connection.ca_path,
            scheme="Bearer" if connection.token else None,
            token=connection.token,
            certificate_path=connection.certificate_path,
            private_key_path=connection.private_key_path,
        )

    kopf.on.login(registry=registry, id="login")(log_in)
    for kind in WATCHED:
        _watch(registry, kind, take or (lambda kind, event: observe(store, kind, event)))
    return registry


def _watch(registry: kopf.OperatorRegistry, kind: Kind, take: Take) -> None:
    async def take_in(event: kopf.RawEvent, **_: Any) -> None:  # kopf wants coroutines
        take(kind, dict(event))

    group, version, plural = kind.value
    kopf.on.event(group=group, version=version, plural=plural, registry=registry, id=f"watch-{plural}")(take_in)


def observe(store: Store, kind: Kind, event: dict[str, Any]) -> None:
    """Take a raw watch event into the store: DELETED says that the object left the watch, perhaps for good."""
    obj = event["object"]
    if event.get("type") != "DELETED":
        store.put(kind, obj)
        return
    metadata = obj["metadata"]
    version = int(metadata.get("resourceVersion") or 0)
    store.remove(kind, metadata.get("namespace", ""), metadata["name"], metadata["uid"], version)
