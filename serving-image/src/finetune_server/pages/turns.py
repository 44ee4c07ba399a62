"""Turns of documents: those that take long step aside, so that the others do not wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

PROMPT_SECONDS: Final = 1.0
"""How long a document may hold a turn that others wait for."""

PATIENCE_SECONDS: Final = 2.0
"""How long it may wait, still at work, for a turn among the slow ones; then it is given up."""


@dataclass(slots=True)
class Turn:
    """A turn that is held; `end` ends the work, and is called when the turn is `lost`."""

    held: asyncio.Semaphore
    end: Callable[[], None] | None = None
    lost: bool = False


class Turns:
    """`prompt` documents at once, and beside them `slow` ones that have taken longer than `PROMPT_SECONDS`."""

    def __init__(self, *, prompt: int, slow: int) -> None:
        self._prompt = asyncio.Semaphore(prompt)
        self._slow = asyncio.Semaphore(slow)
        self._waiting = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        """Hold a turn. It is lost when the block takes long, all turns of slow ones are taken, and others wait."""
        self._waiting += 1
        try:
            await self._prompt.acquire()
        finally:
            self._waiting -= 1
        turn = Turn(self._prompt)
        aside = asyncio.create_task(self._step_aside(turn))
        try:
            yield turn
        finally:
            aside.cancel()
            with suppress(asyncio.CancelledError):
                await aside
            turn.held.release()

    async def _step_aside(self, turn: Turn) -> None:
        await asyncio.sleep(PROMPT_SECONDS)
        while not turn.lost:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await self._slow.acquire()
            except TimeoutError:
                turn.lost = self._waiting > 0
            else:
                turn.held = self._slow
                self._prompt.release()
                return
        if turn.end is not None:
            turn.end()
