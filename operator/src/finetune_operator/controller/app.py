"""The operator put together: every dependency is made here and handed down."""

import asyncio
import logging
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

from aiohttp import web

from ..cluster.act import Outlets
from ..cluster.cache import CachedCluster
from ..cluster.kinds import Kind, is_final
from ..cluster.kube import KubeCluster, Login, connect
from ..cluster.object_ref import ObjectRef
from ..cluster.observe import Observer
from ..cluster.prometheus import Prometheus
from ..cluster.reach import Reach, Scope
from ..cluster.signals import Asked
from ..cluster.store import Change, Store
from ..cluster.wakes import dependents
from .config import Config
from .decision_log import Journal
from .events import EventPoster
from .loop import Loop
from .metrics import Metrics
from .probes import Health, metrics_app, probe_app
from .queue import WorkQueue
from .reconcile import Reconciler
from .scope_metrics import ScopeMetrics
from .scopes import Parts, WatchedScopes
from .state_metrics import State
from .watch import Watch

STOP_SECONDS: Final = 10.0
"""How long keys that are being worked on may take to finish at the end."""

log = logging.getLogger(__name__)


class Ended(RuntimeError):
    """A part of the operator ended though it never should: the process ends, and Kubernetes restarts it."""


@dataclass(slots=True)
class App:
    """The running parts."""

    config: Config
    kube: KubeCluster
    prometheus: Prometheus | None
    store: Store
    queue: WorkQueue[ObjectRef]
    loop: Loop
    poster: EventPoster
    metrics: Metrics
    health: Health
    scopes: WatchedScopes
    stopped: asyncio.Event
    tasks: dict[str, asyncio.Task[None]]

    def hear_signals(self) -> None:
        """End on SIGTERM and SIGINT; each kopf takes them for itself, and they are taken back."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stopped.set)


async def run(config: Config) -> None:
    """Run the operator until it is told to stop (SIGTERM). Raises Ended when a part of it dies."""
    metrics = Metrics()
    kube, login = await connect(config.kubeconfig, config.context, seconds=config.request_timeout,
                                connections=config.workers + 8, observer=metrics.request)  # fmt: skip
    app = build(config, kube, login, metrics)
    app.hear_signals()
    probes = await serve(probe_app(app.health), config.address, config.probe_port)
    scrapes = await serve(metrics_app(metrics), config.address, config.metrics_port)
    try:
        start(app)
        await _until_the_end(app)
    finally:
        await stop(app)
        await probes.cleanup()
        await scrapes.cleanup()
        await kube.close()
        if app.prometheus is not None:
            await app.prometheus.close()


async def serve(app: web.Application, address: str, port: int) -> web.AppRunner:
    """Serve `app` until the runner that is returned is cleaned up."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, address, port).start()
    return runner


def build(config: Config, kube: KubeCluster, login: Login, metrics: Metrics) -> App:
    """Return the operator's parts, wired but at rest."""
    store, reach = Store(), Reach()
    cluster = CachedCluster(kube, store, reach)
    queue: WorkQueue[ObjectRef] = WorkQueue(
        lane=partial(lane, store=store),
        clock=asyncio.get_running_loop().time,
        chance=random.random,
    )
    poster = EventPoster(cluster, _now, config.instance, metrics.events_dropped.inc, lambda: queue.depth() > 0)
    prometheus = None if config.prometheus is None else Prometheus(config.prometheus)
    observer = Observer(cluster, signals=None if prometheus is None else Asked(prometheus))
    reconciler = Reconciler(Journal(cluster), observer, Outlets(poster.record, metrics.record), _now,
                            time.monotonic)  # fmt: skip
    metrics.show(State(store, queue))

    def watcher(scope: Scope) -> Watch:
        return Watch(store, login, config.instance, scope, app.hear_signals)

    parts = Parts(kube, store, reach, queue, ScopeMetrics(metrics.registry, metrics.ghosts.inc), watcher,
                  reconciler.forget, config.resync_seconds, random.random)  # fmt: skip
    scopes = WatchedScopes(config.namespaces or (None,), parts)
    store.listen(partial(on_change, store=store, wake=scopes.wake, forget=reconciler.forget))
    tasks: dict[str, asyncio.Task[None]] = {}
    loop = Loop(queue, reconciler, cluster, metrics, doubt=scopes.doubt)
    health = Health(queue, lambda: [name for name, task in tasks.items() if task.done()], loop.is_outage)
    app = App(config, kube, prometheus, store, queue, loop, poster, metrics, health, scopes, asyncio.Event(), tasks)
    return app


def lane(ref: ObjectRef, store: Store) -> tuple[Kind, str, bool]:
    """Return whom an object shares its turns with: its kind and namespace; runs that wait for their first Job apart."""
    projection = store.projection(ref.kind, ref.namespace, ref.name)
    return ref.kind, ref.namespace, projection is not None and not projection.phase


def on_change(change: Change, store: Store, wake: Callable[[ObjectRef], None], forget: Callable[[str], None]) -> None:
    """Wake whom a change concerns; what was final when first seen is left alone."""
    if change.before is not None and (change.after is None or change.after.uid != change.before.uid):
        forget(change.before.uid)
    for ref in dependents(change, store):
        if change.before is None and _is_history(ref, change, store):
            continue
        wake(ref)


def _is_history(ref: ObjectRef, change: Change, store: Store) -> bool:
    """Tell whether an object ended long ago and what was now seen of it (itself, a finished child) has, too."""
    projection = store.projection(ref.kind, ref.namespace, ref.name)
    active = change.kind is Kind.JOB and change.after is not None and change.after.phase == "Active"
    return projection is not None and is_final(ref.kind, projection.phase) and not active


def start(app: App) -> None:
    """Start everything; ready once every namespace was read, or is known to be away."""
    parts = {f"scope {scope}": scope.run() for scope in app.scopes}
    parts |= {"events": app.poster.run()}
    parts |= {f"worker-{number}": app.loop.worker() for number in range(app.config.workers)}
    app.tasks.update({name: asyncio.create_task(part, name=name) for name, part in parts.items()})


async def stop(app: App) -> None:
    """Let work in progress finish, then end the rest."""
    app.health.ready = False
    app.queue.close()
    workers = [task for name, task in app.tasks.items() if name.startswith("worker-")]
    if workers:
        await asyncio.wait(workers, timeout=STOP_SECONDS)
    for task in app.tasks.values():
        task.cancel()
    await asyncio.gather(*app.tasks.values(), return_exceptions=True)


async def _until_the_end(app: App) -> None:
    """Wait for SIGTERM, and say when all is ready. Raises Ended when a part ended first."""
    ready = asyncio.create_task(_become_ready(app), name="ready")
    stopped = asyncio.create_task(app.stopped.wait(), name="stopped")
    try:
        done, _ = await asyncio.wait({stopped, *app.tasks.values()}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ready.cancel()
        stopped.cancel()
    if stopped not in done:
        ended = next(iter(done))
        raise Ended(f"{ended.get_name()} ended: {ended.exception() if not ended.cancelled() else 'cancelled'}")


async def _become_ready(app: App) -> None:
    await app.scopes.known()
    app.health.ready = True
    log.info("ready, %d keys to look at", app.queue.depth())


def _now() -> datetime:
    return datetime.now(UTC)
