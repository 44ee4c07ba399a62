"""Documents in killable processes: one each, with limits on time and memory."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import os
import signal
import socket
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from multiprocessing.context import ForkServerProcess
from time import monotonic
from typing import Final

import numpy as np

from ..config import DocumentLimits
from ..errors import RequestError
from ..preprocess import CHANNELS, Page
from .child import Reply, Task, too_much_memory, work
from .formats import Kind
from .room import Room
from .selection import Drawn, PageRequest
from .turns import Turn, Turns

log = logging.getLogger(__name__)

_OUT_OF_MEMORY: Final = (-signal.SIGABRT, -signal.SIGTRAP, -signal.SIGILL, -signal.SIGKILL)
"""How a process ends that got no more memory: by its library's hand, or by the kernel's."""

_SECONDS_TO_DIE: Final = 2
_SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 - multiprocessing makes a folder of its own there


@dataclass(frozen=True, slots=True)
class _Child:
    """A process, our end of its socket, and the memory that both see."""

    process: ForkServerProcess
    connection: socket.socket
    memory: int


class Rasteriser:
    """Opens documents in processes of their own, forked from one that has the libraries loaded already.

    `broken` says why no process can be started, None while they can.
    """

    def __init__(self, limits: DocumentLimits, max_pixels: int) -> None:
        self._limits = limits
        self._max_pixels = max_pixels
        self._turns = Turns(prompt=limits.workers, slow=limits.slow_workers)
        self._whole = asyncio.Semaphore(limits.workers)
        self._room = Room(limits.memory_bytes)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["finetune_server.pages.child", "finetune_server.cli"])
        # One thread for all that is asked of multiprocessing, which is not made for several.
        self._keeper = ThreadPoolExecutor(1, thread_name_prefix="documents")
        self._children: set[ForkServerProcess] = set()
        self.broken: str | None = None

    async def check(self) -> None:
        """Start a process and end it, so that the first document need not wait; note whether that works."""
        try:
            child = await self._start(b"", Kind.PDF)
        except RequestError:
            return  # noted where it failed
        child.connection.close()
        self._end(child)

    async def page(self, request: PageRequest, until: ExitStack) -> Drawn:
        """Return a selection's one page, which has its room until that stack ends. Raises `RequestError` 422 or 503."""
        async with self._turns.turn() as turn, self._process(request) as document:
            await document.open(turn)
            (number,) = request.selection.of(document.pages, most=1)
            return await document.draw(number, request.dpi, turn, until)

    async def pages(self, request: PageRequest) -> AsyncGenerator[tuple[int, Drawn | PageRefused], None]:
        """Yield the pages of a selection, or what is wrong with them, under one allowance of time for all.

        A turn is held for a page at a time, so that others come between, and a page has its room until the next one is
        asked for. Raises `RequestError` 422 or 503.
        """
        async with self._whole, self._process(request) as document:
            async with self._turns.turn() as turn:
                await document.open(turn)
            numbers = request.selection.of(document.pages, most=self._limits.max_pages)
            for number in numbers:
                with ExitStack() as until:
                    async with self._turns.turn() as turn:
                        try:
                            page: Drawn | PageRefused = await document.draw(number, request.dpi, turn, until)
                        except PageRefused as refused:
                            page = refused
                    yield number, page
                    del page

    @asynccontextmanager
    async def _process(self, request: PageRequest) -> AsyncIterator[OpenDocument]:
        """Give a document a process that ends with the block."""
        child = await self._start(request.content, request.kind)
        try:
            reader, writer = await asyncio.open_connection(sock=child.connection)
        except BaseException:  # its client went just then
            child.connection.close()
            self._end(child)
            raise
        document = OpenDocument(child, reader, writer, self._room, self._max_pixels, self._limits.seconds)
        try:
            yield document
        except EOFError:
            raise await self._why(child, document.turn) from None
        finally:
            document.leave()
            writer.close()
            self._end(child)

    def close(self) -> None:
        """End all processes, whatever they are at."""
        for process in tuple(self._children):
            process.kill()
        self._keeper.shutdown(wait=False, cancel_futures=True)

    async def _start(self, content: bytes, kind: Kind) -> _Child:
        starting = self._keeper.submit(self._fork, content, kind)
        try:
            child = await asyncio.shield(asyncio.wrap_future(starting))
        except asyncio.CancelledError:
            starting.add_done_callback(self._end_unwanted)
            raise
        except (OSError, EOFError) as error:
            broken = f"no process for documents can be started ({type(error).__name__}: {error})"
            if broken != self.broken:  # every probe tries again
                log.exception("no process for documents can be started")
            self.broken = broken
            raise RequestError(503, "DocumentsUnavailable", self.broken) from None
        self.broken = None
        return child

    def _fork(self, content: bytes, kind: Kind) -> _Child:
        _find_temporary_folder()
        memory = os.memfd_create("document")
        ours, theirs = socket.socketpair()
        try:
            with open(memory, "wb", closefd=False) as stream:
                stream.write(content)
            task = Task(kind, self._max_pixels, self._limits.memory_bytes, self._limits.seconds)
            process = self._context.Process(target=work, args=(theirs, task), daemon=True)
            process.start()
            socket.send_fds(ours, [b"m"], [memory])
        except BaseException:
            os.close(memory)
            ours.close()
            raise
        finally:
            theirs.close()
        self._children.add(process)
        return _Child(process, ours, memory)

    def _end_unwanted(self, starting: Future[_Child]) -> None:
        if not starting.cancelled() and starting.exception() is None:
            starting.result().connection.close()
            self._end(starting.result())

    def _end(self, child: _Child) -> None:
        child.process.kill()
        os.close(child.memory)
        self._children.discard(child.process)
        with suppress(RuntimeError):  # closed: everything ends anyway
            self._keeper.submit(_bury, child.process)

    async def _why(self, child: _Child, turn: Turn | None) -> RequestError:
        """Return what is to be said of a document whose process has ended."""
        if turn is not None and turn.lost:
            return RequestError(503, "Overloaded", "several slow documents are being read; try again")
        await asyncio.wrap_future(self._keeper.submit(child.process.join, _SECONDS_TO_DIE))
        code = child.process.exitcode
        if code in _OUT_OF_MEMORY:
            return too_much_memory(self._limits.memory_bytes)
        log.warning("the process of a document ended with %s", code)
        return RequestError(
            422, "DocumentUnreadable", f"reading the document ended its process ({code}); it is damaged"
        )


class PageRefused(RequestError):
    """A page that cannot be drawn; others of its document may be."""


class OpenDocument:
    """A document in its process. All that is asked of it takes from one allowance of time.

    `pages` is how many it has, `turn` the turn in which it was asked last. Raises `RequestError` 422 for what is wrong
    with it, `EOFError` when its process ends.
    """

    def __init__(
        self,
        child: _Child,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        room: Room,
        max_pixels: int,
        seconds: float,
    ) -> None:
        self._child = child
        self._reader = reader
        self._writer = writer
        self._room = room
        self._max_pixels = max_pixels
        self._seconds = seconds
        self._left = seconds
        self.pages = 0
        self.turn: Turn | None = None

    async def open(self, turn: Turn) -> None:
        """Wait until the process has opened it."""
        self._within(turn)
        self.pages = int((await self._reply())["pages"])

    async def draw(self, number: int, dpi: int, turn: Turn, until: ExitStack) -> Drawn:
        """Return a page, which has its room until that stack ends. Raises `PageRefused`."""
        self._within(turn)
        self._writer.write(json.dumps({"page": number, "dpi": dpi}).encode() + b"\n")
        reply = await self._reply()
        height, width = int(reply["height"]), int(reply["width"])
        if not 0 < height * width <= self._max_pixels:  # the process has seen the document: it is not to be trusted
            raise PageRefused(422, "DocumentUnreadable", f"page {number} cannot be read")
        # The turn is kept meanwhile, so that no other is drawn, but it has nothing to end: what was slow is done.
        self.leave()
        await self._room.take(height * width * CHANNELS, until)
        # A file of its own, which nobody closes under a thread that goes on after a cancellation, nor leaves open where
        # that comes first.
        stream = os.fdopen(os.dup(self._child.memory), "rb")
        page = await asyncio.to_thread(_read, stream, height, width)
        return Drawn(page, tuple((str(reason), str(message)) for reason, message in reply["warnings"]))

    def leave(self) -> None:
        """Have its last turn forget the process, which is about to end."""
        if self.turn is not None:
            self.turn.end = None

    def _within(self, turn: Turn) -> None:
        self.turn = turn
        turn.end = self._child.process.kill

    async def _reply(self) -> Reply:
        started = monotonic()
        try:
            async with asyncio.timeout(max(0.0, self._left)):
                line = await self._reader.readline()
        except ConnectionError:
            raise EOFError from None
        except TimeoutError:
            raise RequestError(
                422,
                "TooMuchTime",
                f"reading the document takes longer than {self._seconds:g} s (FINETUNE_DOCUMENT_SECONDS); "
                "send its pages as images, or with a lower dpi",
            ) from None
        finally:
            self._left -= monotonic() - started
        if not line.endswith(b"\n"):
            raise EOFError
        reply: Reply = json.loads(line)
        if "error" in reply:
            status, reason, message = reply["error"]
            raise PageRefused(status, reason, message)
        return reply


def _find_temporary_folder() -> None:
    """See to a folder for multiprocessing's socket: where no other can be written, shared memory is left."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        tempfile.tempdir = _SHARED_MEMORY


def _bury(process: ForkServerProcess) -> None:
    """Wait for its end, and close what is held of it: left to the collector, descriptors would pile up."""
    process.join()
    process.close()


def _read(stream: BufferedReader, height: int, width: int) -> Page:
    pixels = np.zeros((height, width, CHANNELS), np.uint8)
    with stream:
        stream.seek(0)  # the position is shared with the process that wrote
        stream.readinto(pixels.data)
    return pixels
