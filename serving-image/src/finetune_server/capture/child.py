"""What runs in the store's own process: it does what it is told, one order after the other, and gives way to answers.

Orders and replies are a line of JSON each, and the bytes that it announces, on a socket that is its standard input.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import Any, Final, Protocol

from ..memory import be_first_to_go
from ..pages.formats import Kind
from ..pages.images import decode_image
from ..pages.pixels import pixels_digest
from .store import RemoteStore, Store

_NICENESS: Final = 19
_NICENESS_AT_START: Final = 10
"""Of a start, which computes for a second: where no CPU is idle, one at 19 takes longer than an order may."""
_LONGEST_COMPLAINT: Final = 500
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Of mallopt(3)."""


class Lines(Protocol):
    """What orders come from, and replies go to."""

    def readline(self) -> bytes:
        """Return a line, empty at the end."""
        ...

    def read(self, size: int, /) -> bytes:
        """Return so many bytes, fewer at the end."""
        ...

    def write(self, content: bytes, /) -> object:
        """Take bytes."""
        ...

    def flush(self) -> object:
        """Send what was taken."""
        ...


def main() -> None:
    """Serve the store below the URI that is the argument, until the other end hangs up."""
    _step_back()
    _reuse_memory()
    with socket.socket(fileno=0) as connection, connection.makefile("rwb") as lines, suppress(ConnectionError):
        serve(lines, sys.argv[1])


def serve(lines: Lines, uri: str) -> None:
    """Carry out orders until there are no more. What the store raises is a reply, the failure to open it too."""
    store: Store | None = None
    while line := lines.readline():
        order = json.loads(line)
        content = lines.read(order["bytes"])
        if len(content) < order["bytes"]:
            return  # the server ended in the middle of it: half a page is none
        try:
            if store is None:
                store = RemoteStore(uri)
                _be_last(_NICENESS)
            is_there, given = _done(store, order["do"], order["path"], content)
            reply: dict[str, Any] = {"isThere": is_there, "bytes": len(given)}
        except Exception as error:  # noqa: BLE001 - stores raise errors of their own, without a common base
            given = b""
            reply = {"error": f"{type(error).__name__}: {error}"[:_LONGEST_COMPLAINT], "bytes": 0}
        lines.write(json.dumps(reply).encode() + b"\n" + given)
        lines.flush()


def _done(store: Store, what: str, path: str, content: bytes) -> tuple[bool, bytes]:
    """Carry out an order; tell whether the file is there, and what is in it where that was asked.

    The digest of pixels is asked for with their kind in place of a path.
    """
    if what == "write":
        store.write(path, content)
        return True, b""
    if what == "digest":
        return True, _digest(content, Kind(path)).encode()
    if what == "exists":
        return store.exists(path), b""
    read = store.read(path)
    return read is not None, read or b""


def _digest(content: bytes, kind: Kind) -> str:
    """Return the digest of an image's pixels, which the server has decoded before, so that no limit is asked again."""
    return pixels_digest(decode_image(content, kind, max_pixels=0))


def _step_back() -> None:
    """Leave the CPU to those that answer, memory too; and go on through a drain, which ends by hanging up."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    _be_last(_NICENESS_AT_START)
    be_first_to_go()


def _be_last(niceness: int) -> None:
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(niceness, os.getpriority(os.PRIO_PROCESS, 0)))


def _reuse_memory() -> None:
    """Have pixels lie where those of the last page did, which saves a third of decoding; 64 MiB stay taken at most."""
    with suppress(AttributeError):  # another C library than glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, 32 * 2**20)
        mallopt(_TRIM_THRESHOLD, 64 * 2**20)


if __name__ == "__main__":
    main()
