"""Bodies that are opened and digested in threads: what comes out of them is held by few at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from .lanes import Lane

P = ParamSpec("P")
T = TypeVar("T")


class Opening:
    """Some bodies are opened `at_once`, others wait for that as they came, and more than the lane has are turned away.

    What a body is when it is open may be a thousand times what came. So the next one is not opened before whoever
    opened this one goes on with it, to a place among pages or to its end.
    """

    def __init__(self, lane: Lane, at_once: int) -> None:
        self._lane = lane
        self._turns = asyncio.Semaphore(at_once)

    async def thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `work` returns, done in a thread. Raises `RequestError` 503, and what `work` does."""
        with self._lane.place():
            async with self._turns:
                return await asyncio.to_thread(work, *args, **kwargs)
