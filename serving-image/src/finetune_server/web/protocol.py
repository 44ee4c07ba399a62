"""HTTP on one connection: uvicorn's protocol, with limits on what arrives before a request is a request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from ..config import ConnectionLimits
from ..metrics import RequestMetrics

MAX_HEADER_BYTES: Final = 64 * 1024
_READ_BYTES: Final = 32 * 1024
"""Taken from a connection at once: what comes behind requests that wait stays where it came from."""

_SLICE_BYTES: Final = 8 * 1024
_HEAD_SLICE_BYTES: Final = 512
"""Of what has come, parsed at once: all requests in a slice wait, and each takes a hundred times its bytes."""

_END_OF_HEAD: Final = b"\r\n\r\n"

_BODY_SHARE: Final = 16
"""For so many bytes of a body one may come around it, beside those of a head: chunks of a hundred bytes have less."""

_SLOW_BYTES: Final = 4 * 1024
"""Of a body in a second: who sends less goes before others when there are too many connections."""

_GRACE_SECONDS: Final = 2
"""In which any of them may be slow."""

_SWITCHES: Final = frozenset({b"upgrade", b"http2-settings"})
"""Headers that offer another protocol; a server that keeps to its own reads the request as if they were not there."""

_STATUS: Final = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}


def protocol(limits: ConnectionLimits, metrics: RequestMetrics) -> type[BoundedProtocol]:
    """Return the protocol with these limits; uvicorn makes an instance for every connection."""

    class Protocol(BoundedProtocol):
        pass

    Protocol.limits, Protocol.metrics, Protocol.arrived = limits, metrics, bytearray(_READ_BYTES)
    return Protocol


@dataclass(slots=True)
class _Answering:
    """The connection as uvicorn has it for answers, whose `close` it calls with the last one."""

    write: Callable[[bytes], None]
    is_closing: Callable[[], bool]
    close: Callable[[], None]


class BoundedProtocol(HttpToolsProtocol, asyncio.BufferedProtocol):
    """Ends a connection whose head or body takes too long, and makes room for others when there are too many.

    One timer for what comes; none runs while a request is being answered, or while uvicorn keeps the connection alive.
    Another for answers that nobody takes.
    """

    limits: ConnectionLimits
    metrics: RequestMetrics
    arrived: bytearray
    """What has just come over any of the connections; it is taken out before another one is read."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._timer: asyncio.TimerHandle | None = None
        self._left_since: float | None = None  # when answers began to lie here
        self._taking: asyncio.TimerHandle | None = None  # runs while the other end leaves an answer where it is
        self._waiting = bytearray()  # has come, and is not parsed before the requests ahead of it are answered
        self._in_head = True
        self._head = 0  # bytes of it that have come
        self._body = 0  # bytes of the request's body
        self._body_since = 0.0
        self._around = 0  # bytes around these: sizes of chunks, what is said of them, trailers
        self._quiet_since = 0.0
        self._last = False  # the connection ends with the request's body
        self._answering: _Answering | None = None

    @property
    def answering(self) -> bool:
        """Tell whether a request has come in full and waits for its answer."""
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    @property
    def rank(self) -> tuple[int, float] | None:
        """Return what sorts connections by how little is lost with them, None of one whose request is under way.

        Idle ones; then those that leave an answer lying, or send slowly: they would keep others out for half a minute.
        """
        if self._leaves_answer:
            return 1, self._quiet_since
        if self.pipeline:
            return None  # what follows is not read yet
        if self._in_head:
            return None if self.answering else (0, self._quiet_since)
        return (1, self._quiet_since) if self.cycle.response_complete or self._sends_slowly else None

    @property
    def _leaves_answer(self) -> bool:
        """Tell whether answers lie here for long; a little that is taken now and then changes nothing."""
        lies = self._left_since is not None and self.transport.get_write_buffer_size() > 0
        return lies and self.loop.time() - (self._left_since or 0.0) > _GRACE_SECONDS

    @property
    def _sends_slowly(self) -> bool:
        seconds = self.loop.time() - self._body_since
        return seconds > _GRACE_SECONDS and self._body < _SLOW_BYTES * seconds

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection; when there are too many, the one goes with which least is lost."""
        super().connection_made(transport)
        self._answering = _Answering(transport.write, transport.is_closing, self._end)
        self._quiet_since = self.loop.time()
        self._limit(self.limits.keep_alive_seconds)
        if len(self.connections) <= self.limits.connections:
            return
        # Those that are closing are gone a moment later, and make no room a second time.
        here = [c for c in self.connections if isinstance(c, BoundedProtocol) and not c.transport.is_closing()]
        if len(here) > self.limits.connections:
            self._least(here).leave()

    def _least(self, here: list[BoundedProtocol]) -> BoundedProtocol:
        """Return the one to close: this one, which has just come, where nobody idles or is slow."""
        ranked = [(rank, place) for place, one in enumerate(here) if one is not self and (rank := one.rank) is not None]
        return here[min(ranked)[1]] if ranked else self

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._limit(None)
        self._answer_taken()
        self._waiting.clear()
        if self._answering is not None:
            self._answering.close = self.transport.close  # nothing refers back to here that keeps it
        super().connection_lost(exc)

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - asyncio's signature
        """Return where to put what comes: asyncio on its own takes 256 KiB at once."""
        return self.arrived

    def buffer_updated(self, nbytes: int) -> None:
        """Take what has been put there."""
        self.data_received(bytes(self.arrived[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Parse what has come, as far as the requests ahead of it are answered or being answered."""
        self._waiting += data
        self._parse_waiting()

    def _parse_waiting(self) -> None:
        while self._waiting and not self.pipeline and not self.transport.is_closing():
            # Requests may follow a body in its slice.
            heads = self._in_head or self._waiting.find(_END_OF_HEAD, 0, _SLICE_BYTES) >= 0
            size = _HEAD_SLICE_BYTES if heads else _SLICE_BYTES
            piece = bytes(self._waiting[:size])
            del self._waiting[:size]
            self._parse(piece)
        if self._waiting:
            self.flow.pause_reading()

    def _parse(self, data: bytes) -> None:
        """Parse a piece; a head has limits of time and size."""
        self._unset_keepalive_if_required()
        if self._in_head:
            if self._head == 0:
                self._limit(self.limits.header_seconds)
            self._head += len(data)
        else:
            self._around += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        if self._in_head and self._head > MAX_HEADER_BYTES:
            self._refuse(431, "HeaderTooLarge", f"the head of a request has at most {MAX_HEADER_BYTES} bytes")
        elif not self._in_head and self._around > MAX_HEADER_BYTES + self._body // _BODY_SHARE:
            self._end_body("what comes around a body, as sizes of chunks and trailers, is too much for it")

    def _decline(self, rest: bytes) -> None:
        """Read a request that offers another protocol, as Java's client and `curl --http2` do, without the offer.

        The parser takes the request to end at its head, whose body would be lost and the connection deaf.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        if method == b"CONNECT":
            self.send_400_response("CONNECT is not served here")
            return
        head = [b"%s %s HTTP/%s" % (method, self.url, version)]
        head += [b"%s: %s" % header for header in self.headers if header[0] not in _SWITCHES]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn sets it up
        self._parse(b"\r\n".join([*head, b"", rest]))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; one that follows the body is nobody's, and would be held."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Go on to the body, which has its own time."""
        if self.parser.should_upgrade():
            return  # read again without the offer
        self._in_head, self._head = False, 0
        self._body = self._around = 0
        if not self.transport.get_write_buffer_size():
            self._left_since = None
            self._answer_taken()
        super().on_headers_complete()
        self.cycle.transport = cast(asyncio.Transport, self._answering)
        self._limit(None)
        if not self.pipeline:
            self._begin_body()

    def _begin_body(self) -> None:
        """Give the body its time, from when it is read: that is not before the requests ahead of it are answered."""
        self._body_since = self.loop.time()
        # The application's own limit comes first; this one ends what it does not read.
        self._limit(self.limits.body_seconds + self.limits.header_seconds)

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._body += len(body)
        self._around -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here; uvicorn keeps the connection alive after its answer, unless that has been given."""
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        if self._last:
            self.transport.close()
        self._in_head = True
        self._quiet_since = self.loop.time()
        self._limit(self.limits.keep_alive_seconds if self.cycle.response_complete else None)

    def on_response_complete(self) -> None:
        """Go on with what waits; an answer that was not taken has its time."""
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._answer_left()
        else:
            self._answer_taken()
        if not (self._in_head or self.pipeline or self.cycle.response_complete or self.transport.is_closing()):
            self._begin_body()
        self._parse_waiting()

    def _end(self) -> None:
        """Close the connection behind the last answer; where its request is still coming, when that has come.

        Who sends it would find the connection broken, as Python's urllib and nginx do, instead of the answer.
        """
        self._last = self.cycle.response_complete and self.cycle.more_body
        if not self._last:
            self.transport.close()

    def pause_writing(self) -> None:
        """Give the other end its time to take what was written."""
        super().pause_writing()
        self._answer_left()

    def resume_writing(self) -> None:
        """Go on: it has been taken."""
        super().resume_writing()
        self._answer_taken()

    def timeout_keep_alive_handler(self) -> None:
        """Close what has been idle too long."""
        self.leave()

    def leave(self) -> None:
        """Close the connection; at once where the other end leaves its last answer lying, which would keep it open."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def _answer_left(self) -> None:
        if self._left_since is None:
            self._left_since = self.loop.time()
        if self._taking is None:
            self._taking = self.loop.call_later(self.limits.body_seconds, self._not_taken)

    def _answer_taken(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
        self._taking = None

    def _not_taken(self) -> None:
        self._taking = None
        if self.transport.get_write_buffer_size():
            self.transport.abort()

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
            self.leave()  # nothing has been asked, or it has been answered

    def _end_body(self, message: str) -> None:
        """Refuse the request, or leave where it has its answer already."""
        if self.cycle.response_complete:
            self.leave()
        else:
            self._refuse(400, "RequestInvalid", message)

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
