"""How much memory drawn pages may take that wait to be read."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack


class Room:
    """`most_bytes` for all pages together, given in the order of asking. One that is alone has room, whatever it takes.

    For the event loop alone.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held = 0
        self._first = asyncio.Lock()
        self._freed = asyncio.Event()

    async def take(self, size: int, until: ExitStack) -> None:
        """Wait for `size` bytes, and hold them until that stack ends."""
        async with self._first:
            while self._held and self._held + size > self._most_bytes:
                self._freed.clear()
                await self._freed.wait()
            self._held += size
        until.callback(self._free, size)

    def _free(self, size: int) -> None:
        self._held -= size
        self._freed.set()
