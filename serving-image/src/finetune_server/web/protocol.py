"""HTTP on one connection: uvicorn's protocol, with limits on what arrives before a request is a request."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from ..config import ConnectionLimits
from ..metrics import RequestMetrics

MAX_HEADER_BYTES: Final = 64 * 1024
_STATUS: Final = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}


def protocol(limits: ConnectionLimits, metrics: RequestMetrics) -> type[BoundedProtocol]:
    """Return the protocol with these limits; uvicorn makes an instance for every connection."""

    class Protocol(BoundedProtocol):
        pass

    Protocol.limits, Protocol.metrics = limits, metrics
    return Protocol


class BoundedProtocol(HttpToolsProtocol):
    """Ends a connection whose head or body takes too long, and makes room for others when there are too many.

    One timer a connection; none runs while a request is being answered, or while uvicorn keeps the connection alive.
    """

    limits: ConnectionLimits
    metrics: RequestMetrics

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._timer: asyncio.TimerHandle | None = None
        self._in_head = True
        self._head = 0  # bytes of it that have come
        self._quiet_since = 0.0

    @property
    def answering(self) -> bool:
        """Tell whether a request has come in full and waits for its answer."""
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    @property
    def rank(self) -> tuple[bool, float]:
        """Return what sorts connections by how little is lost with them: idle ones, then those that send slowly."""
        return not self._in_head, self._quiet_since

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection; the one that has been quiet longest goes when there are too many."""
        super().connection_made(transport)
        self._quiet_since = self.loop.time()
        self._limit(self.limits.keep_alive_seconds)
        if len(self.connections) > self.limits.connections:
            others = [c for c in self.connections if isinstance(c, BoundedProtocol) and not c.answering]
            min(others, key=lambda connection: connection.rank).transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._limit(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has come; a head has limits of time and size."""
        if self._in_head:
            if self._head == 0:
                self._limit(self.limits.header_seconds)
            self._head += len(data)
        super().data_received(data)
        if self._in_head and self._head > MAX_HEADER_BYTES:
            self._refuse(431, "HeaderTooLarge", f"the head of a request has at most {MAX_HEADER_BYTES} bytes")

    def on_headers_complete(self) -> None:
        """Go on to the body, which has its own time."""
        self._in_head, self._head = False, 0
        # The application's own limit comes first; this one ends what it does not read.
        self._limit(self.limits.body_seconds + self.limits.header_seconds)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is here; uvicorn keeps the connection alive after its answer, unless that has been given."""
        super().on_message_complete()
        self._in_head = True
        self._quiet_since = self.loop.time()
        self._limit(self.limits.keep_alive_seconds if self.cycle.response_complete else None)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP in the form of all errors."""
        self._refuse(400, "RequestInvalid", msg)

    def _limit(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._too_slow)

    def _too_slow(self) -> None:
        self._timer = None
        if self._in_head and self._head > 0:
            self._refuse(408, "RequestTooSlow", "the head of the request did not arrive in time")
        else:
            self.transport.close()  # nothing has been asked, or it has been answered

    def _refuse(self, status: int, reason: str, message: str) -> None:
        if self.transport.is_closing():
            return
        # Not in the middle of an answer.
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.metrics.answered(status, reason)
            body = json.dumps({"error": {"reason": reason, "message": message}}).encode()
            self.transport.write(
                b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
                % (status, _STATUS[status].encode(), len(body), body)
            )
        self.transport.close()
