"""What runs in a document's own process: it opens the document, draws pages on demand, and may be killed any time.

The document comes, and pixels go, through a piece of shared memory; orders and replies are lines of JSON on a socket.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..errors import RequestError
from ..memory import be_first_to_go
from ..preprocess import Page
from .documents import Document, open_document
from .formats import Kind

Reply = dict[str, Any]

_SECONDS_LATER: Final = 1
_MOST_WARNINGS: Final = 20


@dataclass(frozen=True, slots=True)
class Task:
    """What the process is told when it starts."""

    kind: Kind
    max_pixels: int
    memory_bytes: int
    seconds: float


def work(connection: socket.socket, task: Task) -> None:
    """Serve one document until the other end hangs up. Its bytes come in memory that both ends see."""
    _confine(task.memory_bytes)
    with suppress(ConnectionError):  # it has hung up without taking a reply, which resets the connection
        _serve(connection, task)


def _serve(connection: socket.socket, task: Task) -> None:
    _, (memory,), _, _ = socket.recv_fds(connection, 1, 1)
    content = os.pread(memory, os.fstat(memory).st_size, 0)
    with connection.makefile("rwb") as lines:

        def answer(act: Callable[[], Reply]) -> None:
            lines.write(json.dumps(_guarded(act, task)).encode() + b"\n")
            lines.flush()

        pages = _Pages(content, task, memory)
        answer(pages.open)
        for line in lines:
            answer(partial(pages.draw, **json.loads(line)))


class _Pages:
    """The document at hand, and the memory that its pages go into."""

    def __init__(self, content: bytes, task: Task, memory: int) -> None:
        self._content = content
        self._task = task
        self._memory = memory
        self._document: Document | None = None

    def open(self) -> Reply:
        """Open it; the reply says how many pages it has."""
        self._document = open_document(self._content, self._task.kind, self._task.max_pixels)
        return {"pages": self._document.pages}

    def draw(self, page: int, dpi: int) -> Reply:
        """Draw a page into the memory; the reply gives its size."""
        assert self._document is not None  # nothing is drawn of what could not be opened
        drawn = self._document.draw(page, dpi)
        return {**_hand_over(drawn.page, self._memory), "warnings": drawn.warnings[:_MOST_WARNINGS]}


def _hand_over(page: Page, memory: int) -> Reply:
    height, width = page.shape[:2]
    os.ftruncate(memory, 0)
    with open(memory, "wb", closefd=False) as stream:
        stream.seek(0)  # the position is shared with the process that sent the document
        # Rows of a bitmap may be padded; those of the shared memory are not.
        stream.write(np.ascontiguousarray(page).data)
    return {"width": width, "height": height}


def _guarded(act: Callable[[], Reply], task: Task) -> Reply:
    """Return what `act` returns, or what is wrong with the document: whatever happens here is its doing.

    The server ends what takes too long; where it has died itself, the alarm does, which no library can hold up.
    """
    signal.setitimer(signal.ITIMER_REAL, task.seconds + _SECONDS_LATER)
    try:
        return act()
    except RequestError as refusal:
        return _refused(refusal)
    except MemoryError:
        return _refused(too_much_memory(task.memory_bytes))
    except Exception as error:  # noqa: BLE001 - libraries raise many kinds over damaged documents
        reason = "PdfUnreadable" if task.kind is Kind.PDF else "ImageUnreadable"
        text = f"the {task.kind.value} data is damaged ({type(error).__name__}: {error})"
        return _refused(RequestError(422, reason, text[:500]))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _refused(refusal: RequestError) -> Reply:
    return {"error": [refusal.status, refusal.reason, refusal.message]}


def too_much_memory(limit: int) -> RequestError:
    """Return the refusal of a document that needs more memory than one may take."""
    return RequestError(
        422,
        "TooMuchMemory",
        f"reading the page takes more than {limit} bytes of memory (FINETUNE_DOCUMENT_BYTES); "
        "send it as an image, or with a lower dpi",
    )


def _confine(memory_bytes: int) -> None:
    """Give this process its limits, before it sees a byte of the document."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    held = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5]) * resource.getpagesize()
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    limit = held + memory_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (limit if most == resource.RLIM_INFINITY else min(limit, most),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    be_first_to_go()
