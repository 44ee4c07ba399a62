"""Probes and metrics over HTTP: alive while keys get worked off, ready once the world was read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from ..cluster.object_ref import ObjectRef
from .metrics import Metrics
from .queue import WorkQueue

STALLED: Final = 120.0
"""Seconds: four request time limits; a key that runs for longer, or none that is taken while some wait, means that
reconciling has stopped. How long one waits says nothing: an API server that throttles makes a line long, and a restart
would begin it anew."""


@dataclass(slots=True)
class Health:
    """What the probes look at; `dead` names the parts that have ended though they never should."""

    queue: WorkQueue[ObjectRef]
    dead: Callable[[], Sequence[str]]
    is_outage: Callable[[], bool]
    ready: bool = False

    def illness(self) -> str | None:
        """Return why the operator should be restarted, or None."""
        dead = self.dead()
        if dead:
            return f"ended: {', '.join(dead)}"
        if not self.ready or self.is_outage():
            return None  # nothing is worked off before the first list, and no restart brings an API server back
        if self.queue.longest_run() > STALLED:
            return f"a reconcile has run for {self.queue.longest_run():.0f} s"
        if self.queue.standstill() > STALLED:
            return f"keys have waited for {self.queue.standstill():.0f} s, and none was taken"
        return None


def probe_app(health: Health) -> web.Application:
    """Return the web application of the probes: /livez, /readyz."""

    async def live(_: web.Request) -> web.Response:  # aiohttp wants coroutines
        illness = health.illness()
        return web.Response(status=200 if illness is None else 503, text=illness or "ok")

    async def ready(_: web.Request) -> web.Response:
        return web.Response(status=200 if health.ready else 503, text="ok" if health.ready else "reading the cluster")

    app = web.Application()
    app.add_routes([web.get("/livez", live), web.get("/readyz", ready)])
    return app


def metrics_app(metrics: Metrics) -> web.Application:
    """Return the web application of the metrics: /metrics."""

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4"})

    app = web.Application()
    app.add_routes([web.get("/metrics", scrape)])
    return app
