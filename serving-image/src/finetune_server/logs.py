"""The log: one JSON object a line on standard error, whoever writes there, with the request that it is about."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from contextvars import ContextVar
from datetime import UTC, datetime
from time import monotonic
from typing import Final, TextIO

log = logging.getLogger("finetune_server")

REQUEST: Final[ContextVar[dict[str, str]]] = ContextVar("REQUEST")
"""What names the request at hand: `request`, and `traceparent` when its client sent one."""

_LINES_A_SECOND: Final = 20
_LONGEST_LINE: Final = 1000


class JsonLines(logging.Formatter):
    """One JSON object a line, so that a message with a line break cannot forge another entry."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as `{"at", "level", "logger", "message"[, "request"][, "traceparent"][, "trace"]}`."""
        entry = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **REQUEST.get({}),
        }
        if record.exc_info:
            entry["trace"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def log_to_stderr() -> logging.StreamHandler[TextIO]:
    """Have all loggers write to standard error."""
    handler: logging.StreamHandler[TextIO] = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    # Libraries speak up from warnings on: their own messages ("found credentials in ...") are not this program's.
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.captureWarnings(capture=True)
    log.setLevel(logging.INFO)
    return handler


def take_in_standard_error(handler: logging.StreamHandler[TextIO]) -> None:
    """Make entries of what libraries and child processes write to descriptor 2; `handler` keeps the real one."""
    handler.setStream(os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace"))
    reader, writer = os.pipe()
    os.dup2(writer, 2)
    os.close(writer)
    threading.Thread(target=_relay, args=(reader,), name="standard-error", daemon=True).start()


def _relay(reader: int) -> None:
    """Log lines until the end of the process; of a flood, the first ones of a second and the number of the others."""
    second, lines = 0.0, 0
    with open(reader, "rb") as stream:
        while line := stream.readline(_LONGEST_LINE):
            now = monotonic()
            if now - second >= 1:
                if lines > _LINES_A_SECOND:
                    log.warning("%d more lines on standard error", lines - _LINES_A_SECOND)
                second, lines = now, 0
            lines += 1
            if lines <= _LINES_A_SECOND and line.strip():
                log.warning("on standard error: %s", line.decode(errors="backslashreplace").strip())
