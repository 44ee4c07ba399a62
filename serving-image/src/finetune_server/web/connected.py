"""Work for a client, dropped when the client goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.requests import Request

from ..errors import RequestError

T = TypeVar("T")

CLIENT_GONE = 499
"""The status of an answer that nobody is there to get, as proxies log it."""


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """Return what `work` returns; it is cancelled, and `RequestError` 499 raised, when the client has gone."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise RequestError(CLIENT_GONE, "ClientGone", "the client went away before its answer")
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))


async def _gone(request: Request) -> None:
    """Wait until the client has gone; its body has been received in full."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
