"""Work for a client, dropped when the client goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.requests import Request

from ..errors import RequestError

T = TypeVar("T")

_WATCHED_AFTER_SECONDS = 0.1

CLIENT_GONE = 499
"""The status of an answer that nobody is there to get, as proxies log it."""


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """Return what `work` returns; it is cancelled, and `RequestError` 499 raised, when the client has gone."""
    task = asyncio.ensure_future(work)
    watches: list[asyncio.Task[None]] = []

    def watch() -> None:
        watches.append(asyncio.create_task(_gone(request)))
        watches[0].add_done_callback(lambda _: task.cancel())

    # Most pages are answered before watching their client would be worth its while.
    timer = asyncio.get_running_loop().call_later(_WATCHED_AFTER_SECONDS, watch)
    try:
        return await task
    except asyncio.CancelledError:
        if watches and watches[0].done():
            raise RequestError(CLIENT_GONE, "ClientGone", "the client went away before its answer") from None
        raise
    finally:
        timer.cancel()
        for watching in watches:
            watching.cancel()


async def _gone(request: Request) -> None:
    """Wait until the client has gone; its body has been received in full."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
