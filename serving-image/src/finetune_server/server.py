"""Puts the parts together: listens at once, loads in the background, drains on SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import threading
from time import monotonic
from types import FrameType
from typing import Final

import cv2
import prometheus_client
import uvicorn

from .capture.capture import Capture
from .capture.metrics import CaptureMetrics
from .capture.records import Place
from .config import ServeConfig
from .drain import Drain
from .errors import ExitCode, StartError
from .metrics import Identity, Metrics, RequestMetrics
from .model import load_detector
from .pages.rasteriser import Rasteriser
from .web.app import create_app
from .web.lanes import Lane
from .web.opening import Opening
from .web.protocol import protocol
from .web.readers import Readers
from .web.receiving import Receiving
from .web.state import Loaded, ServingState

log = logging.getLogger(__name__)

LAST_ANSWERS_SECONDS: Final = 10
"""What requests that are still being answered at the drain's end get."""


FLUSH_SECONDS: Final = 8
"""What captured pages that wait to be written get behind the drain, within what is left of its promise."""


class DrainingServer(uvicorn.Server):
    """Uvicorn, but SIGTERM starts a drain with the socket open, instead of closing it at once."""

    def __init__(self, config: uvicorn.Config, drain: Drain, capture: Capture | None = None) -> None:
        super().__init__(config)
        self._drain = drain
        self._capture = capture

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Drain at the first signal; stop at once at another one, or at SIGINT."""
        if self._drain.draining or sig == signal.SIGINT:
            self.should_exit = True
        if not self._drain.draining:
            self._leave_in_any_case()
        self._drain.begin()

    def _leave_in_any_case(self) -> None:
        """End the process when a thread, which cannot be killed, would hold it beyond what the drain promises."""
        leave = threading.Timer(self._drain.seconds + LAST_ANSWERS_SECONDS + 1, os._exit, (ExitCode.OK,))
        leave.daemon = True
        try:
            leave.start()
        except RuntimeError:  # no more threads; the drain is to go on all the same
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, leave.interval)

    async def on_tick(self, counter: int) -> bool:
        """Tell, every 0.1 s, whether to stop."""
        if self._capture is not None:
            self._capture.tick()
        return await super().on_tick(counter) or self._drain.finished(len(self.server_state.connections))


def serve(config: ServeConfig) -> None:
    """Serve until SIGTERM and the drain's end. Raises `StartError` when the model cannot be served."""
    asyncio.run(_serve(config))


async def _serve(config: ServeConfig) -> None:
    # Pages are spread over workers; a pool of OpenCV's own beside them would only overrun the CPU quota.
    cv2.setNumThreads(1)
    # What is wrong with a page is in its answer; OpenCV's lines about it are neither JSON nor bounded.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    drain = Drain(config.drain, monotonic)
    readers = Readers(config.workers)
    rasteriser = Rasteriser(config.documents, config.limits.max_pixels)
    registry = _registry()
    place = Place(config.namespace, config.deployment, config.capture.pod)
    capture = _capture(config, place, registry)
    # Half for each: images never wait for documents, nor find no place because of them.
    most_bytes = config.limits.max_receiving_bytes / 2
    places = config.limits.max_in_flight + config.documents.max_in_flight
    state = ServingState(
        limits=config.limits,
        drain=drain,
        readers=readers,
        receiving=Receiving(config.limits.max_receiving_bytes, config.connections.body_seconds),
        # No more than there are places for.
        opening=Opening(Lane("wrapped or large bodies", places, monotonic), config.workers),
        images=Lane("pages", config.limits.max_in_flight, monotonic, most_bytes=most_bytes),
        large_images=asyncio.Semaphore(max(1, config.workers - 1)),
        documents=Lane("documents", config.documents.max_in_flight, monotonic, most_bytes=most_bytes),
        rasteriser=rasteriser,
        registry=registry,
        requests=RequestMetrics(registry, namespace=config.namespace, deployment=config.deployment),
        feedback=config.feedback,
        capture=capture,
    )
    server = DrainingServer(_uvicorn_config(config, state), drain, capture)
    loading = asyncio.create_task(_load(config, state, server))
    try:
        await server.serve()
        if capture is not None:
            await _flush(capture, min(FLUSH_SECONDS, drain.seconds_left(LAST_ANSWERS_SECONDS)))
    finally:
        rasteriser.close()
        readers.close()
    loading.cancel()
    if loading.done() and not loading.cancelled():
        loading.result()


def _capture(config: ServeConfig, place: Place, registry: prometheus_client.CollectorRegistry) -> Capture | None:
    metrics = CaptureMetrics(registry, namespace=place.namespace, deployment=place.deployment)
    if config.capture.uri is None:
        return None
    capture = Capture(config.capture, place, metrics)
    capture.start()
    return capture


async def _flush(capture: Capture, seconds: float) -> None:
    """Write what waits, for so long at most."""
    if not await asyncio.to_thread(capture.close, max(0.5, seconds)):
        log.warning("captured pages are lost: the store did not take them within %.1f s of the drain", seconds)


async def _load(config: ServeConfig, state: ServingState, server: uvicorn.Server) -> None:
    """Make the state ready, or stop the server; the failure is the task's result."""
    try:
        loading = asyncio.to_thread(load_detector, config.directory, config.artifact, config.threads)
        detector, _ = await asyncio.gather(loading, state.rasteriser.check())
        classes = detector.settings.classes
        expected = _expected(configured=config.expected_fields, classes=classes)
        name = model_name(recorded=detector.model, configured=config.model)
        identity = Identity(namespace=config.namespace, deployment=config.deployment, model=name)
        metrics = Metrics(state.registry, identity, detector.artifact, classes=classes, expected=expected)
    except BaseException:
        server.should_exit = True
        raise
    state.loaded = Loaded(name, detector, metrics)
    artifact = detector.artifact
    log.info("ready: %s %s, sha256 %s, %d threads", name, artifact.version, artifact.sha256, config.threads)


def model_name(*, recorded: str | None, configured: str | None) -> str:
    """Return the model's name for answers and series. Raises `StartError` when nobody says it.

    The artifact's own record counts: a name in the pod template is copied from elsewhere too easily, and would
    mislabel every answer.
    """
    if recorded is None and configured is None:
        raise StartError(
            "SettingMissing",
            "the artifact does not record which model it is a version of, and FINETUNE_MODEL is not set",
            "Set FINETUNE_MODEL in the pod template (see examples/manifests/deployment.yaml)",
        )
    if recorded is not None and configured not in (None, recorded):
        log.warning(
            "FINETUNE_MODEL is %s, but the artifact is a version of %s: answers and series bear %s; "
            "take FINETUNE_MODEL out of the pod template, or correct it",
            configured,
            recorded,
            recorded,
        )
    return recorded or configured or ""


def _expected(*, configured: tuple[str, ...], classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the fields that a document must carry. Raises `StartError` when the model knows none of those configured.

    It may lack some: they were appended since, and the pod template is that of every version, so that the way back to
    one without them must not end here.
    """
    known = tuple(name for name in configured if name in classes)
    unknown = [name for name in configured if name not in classes]
    if configured and not known:
        raise StartError(
            "FieldUnknown",
            f"FINETUNE_EXPECTED_FIELDS names {', '.join(unknown)}",
            f"The model knows {', '.join(classes)}",
        )
    if unknown:
        log.warning(
            "FINETUNE_EXPECTED_FIELDS names %s, which this model does not know: not expected of it; it knows %s",
            ", ".join(unknown),
            ", ".join(classes),
        )
    return known or classes


def _registry() -> prometheus_client.CollectorRegistry:
    # The contract has no `_created` series, and they would double the number of series.
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.ProcessCollector(registry=registry)
    return registry


def _uvicorn_config(config: ServeConfig, state: ServingState) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(state),
        host=config.host,
        port=config.port,
        http=protocol(config.connections, state.requests),
        lifespan="off",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        # By default uvicorn would believe anybody on this machine, and what FORWARDED_ALLOW_IPS says.
        proxy_headers=bool(config.feedback.trusted_proxies),
        forwarded_allow_ips=list(config.feedback.trusted_proxies),
        timeout_keep_alive=math.ceil(config.connections.keep_alive_seconds),
        timeout_graceful_shutdown=LAST_ANSWERS_SECONDS,
    )
