"""What holds for every request: it is counted and named, and whatever happens in it leaves the connection usable."""

from __future__ import annotations

import asyncio
import logging
import re
from time import perf_counter
from typing import Final
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..drain import Drain
from ..logs import REQUEST
from ..metrics import RequestMetrics
from .answers import REASON, SHOWN_OF_A_PATH, error_answer

log = logging.getLogger(__name__)

REQUEST_ID: Final = "x-request-id"
_REQUEST_ID: Final = re.compile(r"[!-~]{1,128}")
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_NO_THREAD: Final = "can't start new thread"
"""Python's word for it, which has no type of its own."""

PROBE_PATHS: Final = frozenset({"/readyz", "/livez", "/metrics"})


class ObserveMiddleware:
    """Counts requests, names them in the log and to their client, and logs those that were refused or failed."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics, *, log_all: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._log_all = log_all

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; probes and scrapes are not counted."""
        if scope["type"] != "http" or scope["path"] in PROBE_PATHS:
            return await self._app(scope, receive, send)
        names = _names(scope)
        REQUEST.set(names)
        status, started = 0, perf_counter()

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = names["request"]
                if "traceparent" in names:
                    headers["traceparent"] = names["traceparent"]
            await send(message)

        with self._metrics.in_flight():
            try:
                await self._app(scope, receive, named)
            finally:
                # Without an answer it was ended from outside: at the end of the drain.
                status, reason = status or 503, scope.get(REASON, "OK" if 0 < status < 400 else "Ended")
                self._metrics.answered(status, reason)
                if status >= 400 or self._log_all:
                    level = logging.INFO if status < 400 else logging.WARNING
                    seconds = perf_counter() - started
                    path = scope["path"][:SHOWN_OF_A_PATH]
                    log.log(level, "%s %s: %d %s, %.3f s", scope["method"], path, status, reason, seconds)


def _names(scope: Scope) -> dict[str, str]:
    """Return what names a request: its client's names where they are fit for a header and a log."""
    headers = Headers(scope=scope)
    given = headers.get(REQUEST_ID, "")
    names = {"request": given if _REQUEST_ID.fullmatch(given) else uuid4().hex}
    parent = headers.get("traceparent", "")
    if _TRACEPARENT.fullmatch(parent):
        names["traceparent"] = parent
    return names


class DrainMiddleware:
    """Tells the drain about requests, and their clients, while it lasts, to connect anew for the next one."""

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self._app = app
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; probes and scrapes are not what a drain waits for."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def closing(message: Message) -> None:
            # Asked when the answer starts: SIGTERM may have come after the request did.
            if message["type"] == "http.response.start" and self._drain.draining:
                MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        if scope["path"] in PROBE_PATHS:
            return await self._app(scope, receive, closing)
        self._drain.entered()
        try:
            await self._app(scope, receive, closing)
        finally:
            self._drain.left()


class AccidentMiddleware:
    """Answers 500 to an unexpected exception, and logs it; 503 to what the end of a drain cuts off.

    Nothing is raised beyond it: the server would close the connection, under the next request of whoever shares it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except asyncio.CancelledError:  # at the end of a drain, whose last word it is
            if started:
                raise
            scope[REASON] = "Draining"
            message = "the server has stopped before this was answered; try again"
            await error_answer(503, "Draining", message, {"retry-after": "1"})(scope, receive, send)
        except Exception as error:
            if started:  # half an answer cannot be mended
                raise
            if isinstance(error, RuntimeError) and str(error) == _NO_THREAD:
                scope[REASON] = "Overloaded"
                message = "no thread can be started: the container's limit of processes is reached; try again"
                return await error_answer(503, "Overloaded", message, {"retry-after": "1"})(scope, receive, send)
            log.exception("%s %s failed", scope.get("method"), scope.get("path"))
            scope[REASON] = "Internal"
            answer = error_answer(500, "Internal", "the request failed; the server's log says why")
            await answer(scope, receive, send)
