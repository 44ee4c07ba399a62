"""Bodies as they arrive: bounded by bytes and time, apart from the pages that are being answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from ..errors import RequestError


class _Arrival:
    """A body that is arriving: what has come of it, and the time that it is given."""

    def __init__(self, timeout: asyncio.Timeout) -> None:
        self.timeout = timeout
        self.chunks: list[bytes] = []
        self.size = 0
        self.displaced = False


class Receiving:
    """All bodies that are arriving, or wait to be opened, hold `most_bytes` together.

    Of those that are arriving the oldest goes when another needs its room.
    """

    def __init__(self, most_bytes: int, seconds: float) -> None:
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._arrivals: dict[_Arrival, None] = {}
        self._held = 0

    @asynccontextmanager
    async def body(self, request: Request, limit: int) -> AsyncIterator[bytes]:
        """Give the body of a request, which takes its room until the block ends. Raises `RequestError` 4xx or 503."""
        arrival = await self._arrived(request, limit)
        content = b"".join(arrival.chunks)
        arrival.chunks.clear()
        try:
            yield content
        finally:
            self._held -= arrival.size

    async def _arrived(self, request: Request, limit: int) -> _Arrival:
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            raise _too_large(limit)
        try:
            async with asyncio.timeout(self._seconds) as timeout:
                arrival = _Arrival(timeout)
                self._arrivals[arrival] = None
                try:
                    await self._receive(request, arrival, limit)
                except BaseException:
                    self._forget(arrival)
                    raise
                del self._arrivals[arrival]
        except TimeoutError:
            if arrival.displaced:
                raise RequestError(
                    503, "Overloaded", "other bodies needed the room of this one, which was slow; try again"
                ) from None
            raise RequestError(408, "BodyTooSlow", f"the body did not arrive within {self._seconds:g} s") from None
        except ClientDisconnect:
            raise RequestError(400, "BodyIncomplete", "the client went away before the body's end") from None
        return arrival

    async def _receive(self, request: Request, arrival: _Arrival, limit: int) -> None:
        async for chunk in request.stream():
            if arrival.displaced:
                raise TimeoutError
            arrival.size += len(chunk)
            self._held += len(chunk)
            if arrival.size > limit:
                raise _too_large(limit)
            arrival.chunks.append(chunk)
            while self._held > self._most_bytes:
                self._displace_oldest()

    def _displace_oldest(self) -> None:
        """End the arrival that has taken longest; it may be the one at hand."""
        oldest = next(iter(self._arrivals))
        oldest.displaced = True
        oldest.timeout.reschedule(asyncio.get_running_loop().time())
        self._forget(oldest)
        oldest.chunks.clear()

    def _forget(self, arrival: _Arrival) -> None:
        if arrival in self._arrivals:
            del self._arrivals[arrival]
            self._held -= arrival.size


def _too_large(limit: int) -> RequestError:
    return RequestError(413, "BodyTooLarge", f"the body is larger than {limit} bytes (FINETUNE_MAX_BODY_BYTES)")
