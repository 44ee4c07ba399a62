"""The HTTP surface: routes, limits and error bodies; the work itself is done in worker threads."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .answers import http_error, request_error
from .config import Limits
from .connected import while_connected
from .drain import Drain
from .errors import RequestError
from .formats import needs_process
from .lanes import Lane
from .metrics import Metrics, Stage
from .middleware import AccidentMiddleware, DrainMiddleware
from .model import Detector
from .pages import PageRequest, kind_of
from .rasteriser import Rasteriser
from .reading import Reading, read_image, read_page
from .receiving import Receiving

log = logging.getLogger(__name__)

MAX_FEEDBACK_BYTES: Final = 16 * 1024
MAX_DOCUMENT_ID: Final = 256
STALL_SECONDS: Final = 30
"""Without an answer for so long, while there is work, the server is not ready; documents are limited to less."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that may answer: verified, loaded, warmed up, and the name that answers and series give it."""

    name: str
    detector: Detector
    metrics: Metrics


@dataclass(slots=True)
class ServingState:
    """What the routes share: `loaded` is None until the model may answer; images never wait for documents."""

    limits: Limits
    drain: Drain
    pool: ThreadPoolExecutor
    receiving: Receiving
    images: Lane
    documents: Lane
    rasteriser: Rasteriser
    registry: CollectorRegistry
    loaded: Loaded | None = None

    def require_loaded(self) -> Loaded:
        """Return the loaded model; raises `RequestError` 503 while there is none."""
        if self.loaded is None:
            raise RequestError(503, "NotReady", "the model is being verified and loaded")
        return self.loaded


def create_app(state: ServingState) -> ASGIApp:
    """Return the ASGI application over `state`."""
    routes = Routes(state)
    return Starlette(
        routes=[
            Route("/predict", routes.predict, methods=["POST"]),
            Route("/feedback", routes.feedback, methods=["POST"]),
            Route("/version", routes.version),
            Route("/readyz", routes.readyz),
            Route("/livez", routes.livez),
            Route("/metrics", routes.metrics),
        ],
        middleware=[Middleware(DrainMiddleware, drain=state.drain), Middleware(AccidentMiddleware)],
        exception_handlers={RequestError: request_error, HTTPException: http_error},
    )


class Routes:
    """The handlers, bound to their state."""

    def __init__(self, state: ServingState) -> None:
        self._state = state

    async def predict(self, request: Request) -> Response:
        """Answer the bytes of an image or PDF with fields, boxes and confidence."""
        loaded, limits = self._state.require_loaded(), self._state.limits
        with loaded.metrics.timed(Stage.TOTAL):
            body = await self._state.receiving.body(request, limits.max_body_bytes)
            page = PageRequest(
                content=body,
                kind=kind_of(body, request.headers.get("content-type", "")),
                page=_query_int(request, "page", default=1, low=1, high=100_000),
                dpi=_query_int(request, "dpi", default=limits.default_dpi, low=36, high=600),
            )
            if needs_process(page.content, page.kind):
                with self._state.documents.place():
                    reading = await while_connected(request, self._read_document(page, loaded))
            else:
                if page.page != 1:
                    raise RequestError(422, "PageOutOfRange", f"page {page.page} asked for, an image has one")
                with self._state.images.place():
                    work = self._in_thread(loaded, read_image, page, limits.max_pixels)
                    reading = await while_connected(request, work)
        return JSONResponse(_prediction(loaded, reading))

    async def _read_document(self, request: PageRequest, loaded: Loaded) -> Reading:
        started = perf_counter()
        async with self._state.rasteriser.open(request.content, request.kind) as document:
            page = await document.draw(request.page, request.dpi)
        loaded.metrics.observe(Stage.DECODE, perf_counter() - started)
        return await self._in_thread(loaded, read_page, page)

    def _in_thread(self, loaded: Loaded, read: Callable[..., Reading], *given: object) -> asyncio.Future[Reading]:
        """Have a worker thread read a page; cancelled before its turn, it is not read."""

        def work(queued_at: float) -> Reading:
            loaded.metrics.observe(Stage.QUEUE, perf_counter() - queued_at)
            return read(*given, loaded.detector, loaded.metrics)

        return asyncio.get_running_loop().run_in_executor(self._state.pool, work, perf_counter())

    async def feedback(self, request: Request) -> Response:
        """Take a user's report that a document was read wrongly; the fields, when given, must be the model's."""
        loaded = self._state.require_loaded()
        body = await self._state.receiving.body(request, MAX_FEEDBACK_BYTES)
        document, fields = _parse_feedback(body, loaded.detector.settings.classes)
        loaded.metrics.feedback()
        log.info("feedback on document %s, fields %s", json.dumps(document), json.dumps(fields))
        return JSONResponse({"accepted": True}, status_code=202)

    async def version(self, _request: Request) -> Response:
        """Say what is loaded."""
        loaded = self._state.require_loaded()
        detector = loaded.detector
        return JSONResponse(
            {
                **_identity(loaded),
                "uri": detector.artifact.uri,
                "classes": detector.settings.classes,
                "imageSize": detector.settings.image_size,
            }
        )

    async def readyz(self, _request: Request) -> Response:
        """Answer 200 only when verified, loaded, warmed up, not draining, and able to answer pages of every kind."""
        state = self._state
        if state.drain.draining:
            raise RequestError(503, "Draining", "the server is about to stop")
        loaded = state.require_loaded()
        if state.rasteriser.broken is not None:
            raise RequestError(503, "DocumentsUnavailable", state.rasteriser.broken)
        if state.images.stalled(STALL_SECONDS) or state.documents.stalled(STALL_SECONDS):
            raise RequestError(503, "Stalled", f"no page has been answered for {STALL_SECONDS} s")
        return JSONResponse({"ready": True, "version": loaded.detector.artifact.version})

    async def livez(self, _request: Request) -> Response:
        """Answer 200 while the event loop turns."""
        return JSONResponse({"live": True})

    async def metrics(self, _request: Request) -> Response:
        """Return the monitoring contract, in Prometheus' text format."""
        return Response(generate_latest(self._state.registry), headers={"content-type": CONTENT_TYPE_LATEST})


def _identity(loaded: Loaded) -> dict[str, str]:
    artifact = loaded.detector.artifact
    return {"name": loaded.name, "version": artifact.version, "sha256": artifact.sha256}


def _prediction(loaded: Loaded, reading: Reading) -> dict[str, object]:
    return {
        "model": _identity(loaded),
        "page": {"width": reading.width, "height": reading.height},
        "fields": [
            {
                "field": field.name,
                "confidence": round(field.confidence, 6),
                "box": [round(corner, 3) for corner in field.box],
            }
            for field in reading.fields
        ],
    }


def _query_int(request: Request, name: str, *, default: int, low: int, high: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and low <= int(text) <= high:
        return int(text)
    raise RequestError(400, "QueryInvalid", f"{name} is {text!r}; give a whole number from {low} to {high}")


def _parse_feedback(body: bytes, classes: tuple[str, ...]) -> tuple[str, list[str]]:
    shape = '{"document": "...", "fields": ["..."]}'
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError(400, "BodyNotJson", f"send {shape}") from None
    if not isinstance(raw, dict) or not {"document"} <= raw.keys() <= {"document", "fields"}:
        raise RequestError(422, "FeedbackInvalid", f"send {shape}; fields may be left out")
    document, fields = raw["document"], raw.get("fields", [])
    if not isinstance(document, str) or not 1 <= len(document) <= MAX_DOCUMENT_ID:
        raise RequestError(422, "FeedbackInvalid", f"document must be a text of 1 to {MAX_DOCUMENT_ID} characters")
    if not isinstance(fields, list) or not all(name in classes for name in fields):
        raise RequestError(422, "FeedbackInvalid", f"fields must be a list from {', '.join(classes)}")
    return document, fields
