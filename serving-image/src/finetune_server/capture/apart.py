"""The store in a process of its own, which decodes too: what is computed there would hold up answers here."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import suppress
from io import BufferedRWPair
from typing import Final

from ..pages.formats import Kind

_ORDER_SECONDS: Final = 60
"""So long a call may take: the library gives up earlier, unless a file system holds it."""


class StoreError(Exception):
    """What the store said, or that its process does not answer."""


class NoProcessError(StoreError):
    """The store's process cannot be started."""


class ProcessEndedError(StoreError):
    """The store's process has ended under an order, or since the last one."""


class StoreApart:
    """The store below a URI, as `DigestingStore`. Its process starts with the first call, and anew when it ended."""

    def __init__(self, uri: str, *, seconds: float = _ORDER_SECONDS) -> None:
        self._uri = uri
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: BufferedRWPair | None = None

    def write(self, path: str, content: bytes) -> None:
        """See `Store`. Raises `StoreError`, as all of this."""
        self._ask("write", path, content)

    def read(self, path: str) -> bytes | None:
        """See `Store`."""
        is_there, content = self._ask("read", path)
        return content if is_there else None

    def exists(self, path: str) -> bool:
        """See `Store`."""
        is_there, _ = self._ask("exists", path)
        return is_there

    def pixels_digest(self, content: bytes, kind: Kind) -> str:
        """See `DigestingStore`."""
        _, digest = self._ask("digest", kind.value, content)
        return digest.decode()

    def close(self) -> None:
        """End the process, whatever it is at."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._lines is not None:
            with suppress(OSError):  # of what was not sent
                self._lines.close()
        self._process = self._lines = None

    def _ask(self, what: str, path: str, content: bytes = b"") -> tuple[bool, bytes]:
        lines = self._lines or self._started()
        try:
            lines.write(json.dumps({"do": what, "path": path, "bytes": len(content)}).encode() + b"\n")
            lines.write(content)
            lines.flush()
            reply = json.loads(lines.readline() or b"null")
            given = lines.read(reply["bytes"]) if reply is not None else b""
        except OSError as error:
            self.close()
            kind = StoreError if isinstance(error, TimeoutError) else ProcessEndedError
            raise kind(f"the process that writes there failed ({type(error).__name__}: {error})") from None
        except BaseException:
            self.close()  # what is left of an order or a reply would be taken for the next one's
            raise
        if reply is None or len(given) != reply["bytes"]:
            self.close()
            raise ProcessEndedError("the process that writes there has ended")
        if "error" in reply:
            raise StoreError(reply["error"])
        return reply["isThere"], given

    def _started(self) -> BufferedRWPair:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(self._seconds)
            command = [sys.executable, "-P", "-m", f"{__package__}.child", self._uri]
            try:
                self._process = subprocess.Popen(command, stdin=theirs.fileno())  # noqa: S603 - this program
            except OSError as error:
                said = f"no process that writes there can be started ({type(error).__name__}: {error})"
                raise NoProcessError(said) from None
            lines = self._lines = ours.makefile("rwb")
        return lines
