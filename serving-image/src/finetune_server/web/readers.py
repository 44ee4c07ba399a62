"""The threads that read pages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


class Readers:
    """So many threads. Who waits for one waits outside of their queue, which keeps what is dropped until its turn."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="page")
        self._free = asyncio.Semaphore(threads)

    async def thread(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, done in a thread; dropped before its turn, it is not done."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()

        def done(_: Future[T]) -> None:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(self._free.release)

        try:
            doing = self._pool.submit(work)
        except BaseException:
            self._free.release()
            raise
        # A thread that is at work goes on when its client has gone: its place is free when it has ended.
        doing.add_done_callback(done)
        return await asyncio.wrap_future(doing)

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
