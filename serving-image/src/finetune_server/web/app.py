"""The HTTP surface: what is asked where."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ..errors import RequestError
from .answers import http_error, request_error
from .middleware import AccidentMiddleware, DrainMiddleware, ObserveMiddleware
from .openapi import OPENAPI
from .predict import predict
from .reporting import take_report
from .state import ServingState

log = logging.getLogger(__name__)

STALL_SECONDS: Final = 30
"""Without an answer for so long, while there is work, the server is not ready; documents are limited to less."""


def create_app(state: ServingState) -> ASGIApp:
    """Return the ASGI application over `state`."""
    routes = Routes(state)
    app = Starlette(
        routes=[
            Route("/predict", routes.predict, methods=["POST"]),
            Route("/feedback", routes.feedback, methods=["POST"]),
            Route("/version", routes.version),
            Route("/readyz", routes.readyz),
            Route("/livez", routes.livez),
            Route("/metrics", routes.metrics),
            Route("/openapi.json", routes.openapi),
        ],
        middleware=[
            Middleware(ObserveMiddleware, metrics=state.requests, log_all=state.limits.log_all),
            Middleware(DrainMiddleware, drain=state.drain),
            Middleware(AccidentMiddleware),
        ],
        exception_handlers={RequestError: request_error, HTTPException: http_error},
    )
    # To where a Host header says, and with the page lost on the way: no client of an API wants that.
    app.router.redirect_slashes = False
    return app


class Routes:
    """The handlers, bound to their state."""

    def __init__(self, state: ServingState) -> None:
        self._state = state

    async def predict(self, request: Request) -> Response:
        """Answer the bytes of an image or document with fields, boxes and confidence."""
        return JSONResponse(await predict(self._state, request))

    async def feedback(self, request: Request) -> Response:
        """Take a person's report that a document was read wrongly, and say what was kept of it."""
        return JSONResponse(await take_report(self._state, request), status_code=202)

    async def version(self, _request: Request) -> Response:
        """Say what is loaded."""
        loaded = self._state.require_loaded()
        detector = loaded.detector
        return JSONResponse(
            {
                **loaded.identity,
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
            await state.rasteriser.check()
        if state.rasteriser.broken is not None:
            raise RequestError(503, "DocumentsUnavailable", state.rasteriser.broken)
        if loaded.failed is not None:
            await asyncio.to_thread(loaded.check)
        if loaded.failed is not None:
            raise RequestError(503, "InferenceFailed", loaded.failed)
        if state.images.stalled(STALL_SECONDS) or state.documents.stalled(STALL_SECONDS):
            raise RequestError(503, "Stalled", f"no page has been answered for {STALL_SECONDS} s")
        return JSONResponse({"ready": True, "version": loaded.detector.artifact.version})

    async def livez(self, _request: Request) -> Response:
        """Answer 200 while the event loop turns."""
        return JSONResponse({"live": True})

    async def openapi(self, _request: Request) -> Response:
        """Describe all of this for machines."""
        return JSONResponse(OPENAPI)

    async def metrics(self, _request: Request) -> Response:
        """Return the monitoring contract, in Prometheus' text format."""
        return Response(generate_latest(self._state.registry), headers={"content-type": CONTENT_TYPE_LATEST})
