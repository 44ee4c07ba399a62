"""The operator put together: every dependency is made here and handed down."""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, cast

import kopf
from aiohttp import web

from ..cluster.act import Outlets
from ..cluster.cache import CachedCluster, resync
from ..cluster.errors import ClusterError
from ..cluster.kinds import RECONCILED, Kind, is_final
from ..cluster.kube import KubeCluster, connect
from ..cluster.object_ref import ObjectRef
from ..cluster.observe import Observer
from ..cluster.store import Change, Store
from ..cluster.wakes import dependents
from .config import Config
from .events import EventPoster
from .loop import Loop
from .metrics import Metrics
from .probes import Health, metrics_app, probe_app
from .queue import WorkQueue
from .reconcile import Reconciler
from .settings import make_settings, scope
from .state_metrics import State
from .watch import make_registry

FIRST_LIST_PAUSE: Final = 2.0
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
    store: Store
    queue: WorkQueue[ObjectRef]
    loop: Loop
    poster: EventPoster
    metrics: Metrics
    health: Health
    tasks: dict[str, asyncio.Task[None]]


async def run(config: Config) -> None:
    """Run the operator until it is told to stop (SIGTERM). Raises Ended when a part of it dies."""
    metrics = Metrics()
    kube, login = await connect(config.kubeconfig, config.context, seconds=config.request_timeout,
                                connections=config.workers + 8, observer=metrics.request)  # fmt: skip
    app = build(config, kube, metrics)
    probes = await serve(probe_app(app.health), config.address, config.probe_port)
    scrapes = await serve(metrics_app(metrics), config.address, config.metrics_port)
    try:
        await first_list(app)
        start(app)
        kopf_task = asyncio.create_task(
            kopf.operator(
                registry=make_registry(app.store, login),
                settings=make_settings(instance=config.instance),
                # Else kopf asks for the user's name, and a container's uid need not have one.
                identity=cast("Any", config.instance),
                **scope(config.namespaces),
            ),
            name="kopf",
        )
        await _until_the_end(app, kopf_task)
    finally:
        await stop(app)
        await probes.cleanup()
        await scrapes.cleanup()
        await kube.close()


async def serve(app: web.Application, address: str, port: int) -> web.AppRunner:
    """Serve `app` until the runner that is returned is cleaned up."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, address, port).start()
    return runner


def build(config: Config, kube: KubeCluster, metrics: Metrics) -> App:
    """Return the operator's parts, wired but at rest."""
    store = Store()
    cluster = CachedCluster(kube, store)
    queue: WorkQueue[ObjectRef] = WorkQueue(
        lane=partial(lane, store=store),
        clock=asyncio.get_running_loop().time,
        chance=random.random,
    )
    poster = EventPoster(cluster, _now, config.instance, metrics.events_dropped.inc, lambda: queue.depth() > 0)
    reconciler = Reconciler(cluster, Observer(cluster), Outlets(poster.record, metrics.record), _now)
    metrics.show(State(store, queue))
    store.listen(partial(on_change, store=store, queue=queue, forget=reconciler.forget))
    tasks: dict[str, asyncio.Task[None]] = {}
    loop = Loop(queue, reconciler, cluster, metrics)
    health = Health(queue, lambda: [name for name, task in tasks.items() if task.done()], loop.is_outage)
    return App(config, kube, store, queue, loop, poster, metrics, health, tasks)


def lane(ref: ObjectRef, store: Store) -> tuple[Kind, str, bool]:
    """Return whom an object shares its turns with: its kind and namespace; runs that wait for their first Job apart."""
    projection = store.projection(ref.kind, ref.namespace, ref.name)
    return ref.kind, ref.namespace, projection is not None and not projection.phase


def on_change(change: Change, store: Store, queue: WorkQueue[ObjectRef], forget: Callable[[str], None]) -> None:
    """Wake whom a change concerns; what was final when first seen is left alone."""
    if change.after is None and change.before is not None and change.kind in RECONCILED:
        forget(change.before.uid)
    for ref in dependents(change, store):
        if change.before is None and _is_history(ref, change, store):
            continue
        queue.wake(ref)


def _is_history(ref: ObjectRef, change: Change, store: Store) -> bool:
    """Tell whether an object ended long ago and what was now seen of it (itself, a finished child) has, too."""
    projection = store.projection(ref.kind, ref.namespace, ref.name)
    active = change.kind is Kind.JOB and change.after is not None and change.after.phase == "Active"
    return projection is not None and is_final(ref.kind, projection.phase) and not active


async def first_list(app: App) -> None:
    """Read the world, as often as it takes: deciding from half of it could start a second Job."""
    while True:
        try:
            await resync(app.kube, app.store, app.config.namespaces)
        except ClusterError as error:
            log.warning("the cluster cannot be read yet: %s", error)
            await asyncio.sleep(FIRST_LIST_PAUSE)
        else:
            log.info("the cluster is read, %d keys to look at", app.queue.depth())
            return


def start(app: App) -> None:
    """Start the workers, the Event poster and the resync."""
    parts = {"events": app.poster.run(), "resync": _resync_for_ever(app)}
    parts |= {f"worker-{number}": app.loop.worker() for number in range(app.config.workers)}
    app.tasks.update({name: asyncio.create_task(part, name=name) for name, part in parts.items()})
    app.health.ready = True


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


async def _resync_for_ever(app: App) -> None:
    """Find what the watch missed: whole lists every few minutes, ghosts swept, open work looked at again."""
    while True:
        await asyncio.sleep(app.config.resync_seconds)
        try:
            ghosts = await resync(app.kube, app.store, app.config.namespaces)
        except ClusterError as error:
            log.warning("resync failed, again in %.0f s: %s", app.config.resync_seconds, error)
            continue
        app.metrics.ghosts.inc(ghosts)
        for kind in RECONCILED:
            for namespace, name, projection in list(app.store.projections(kind)):
                if not is_final(kind, projection.phase):
                    app.queue.wake(ObjectRef(kind, namespace, name))


async def _until_the_end(app: App, kopf_task: asyncio.Task[None]) -> None:
    """Wait until kopf ends, which it does on SIGTERM. Raises Ended when something else ended first."""
    done, _ = await asyncio.wait({kopf_task, *app.tasks.values()}, return_when=asyncio.FIRST_COMPLETED)
    if kopf_task in done:
        kopf_task.result()
        return
    kopf_task.cancel()
    await asyncio.gather(kopf_task, return_exceptions=True)
    ended = next(iter(done))
    raise Ended(f"{ended.get_name()} ended: {ended.exception() if not ended.cancelled() else 'cancelled'}")


def _now() -> datetime:
    return datetime.now(UTC)
