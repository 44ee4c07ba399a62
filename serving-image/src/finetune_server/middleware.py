"""What holds for every request: a drain counts it, and whatever happens in it leaves the connection usable."""

from __future__ import annotations

import logging
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .answers import error_answer
from .drain import Drain

log = logging.getLogger(__name__)

PROBE_PATHS: Final = frozenset({"/readyz", "/livez", "/metrics"})


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
    """Answers 500 to an unexpected exception, and logs it.

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
        except Exception:
            if started:  # half an answer cannot be mended
                raise
            log.exception("%s %s failed", scope.get("method"), scope.get("path"))
            answer = error_answer(500, "Internal", "the request failed; the server's log says why")
            await answer(scope, receive, send)
