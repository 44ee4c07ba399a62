"""Progress: JSON lines of a step for machines, and a line every few seconds of a command for people."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, TextIO

from .documents.codec import encode
from .documents.result import PROGRESS_SCHEMA, ProgressLine, StepName

Clock = Callable[[], datetime]
Counted = Callable[[int, int], None]
"""Called as pages are read: how many so far, and how many in all."""

BETWEEN_LINES: Final = 5.0
"""Seconds between lines, so that a long wait shows movement and a log stays readable."""


def utc_now() -> datetime:
    """Return the time, as the default clock."""
    return datetime.now(UTC)  # noqa: TID251 - the default of an argument


class Progress:
    """The progress lines of one step. Nobody has to read them: a full or closed log never stops the step."""

    def __init__(self, step: StepName, stream: TextIO | None = None, clock: Clock = utc_now) -> None:
        self._step = step
        self._stream = stream or sys.stdout
        self._clock = clock

    def report(
        self,
        *,
        percent: int,
        epoch: int | None = None,
        epochs: int | None = None,
        remaining_seconds: int | None = None,
        losses: Mapping[str, str] | None = None,
        activity: str | None = None,
    ) -> None:
        """Write one line; what is None is left out. `epoch` counts finished epochs from 1 (0: the first is running)."""
        line = ProgressLine(
            schema=PROGRESS_SCHEMA,
            step=self._step,
            epoch=epoch,
            epochs=epochs,
            percent=percent,
            remaining_seconds=remaining_seconds,
            losses=None if losses is None else dict(losses),
            activity=activity,
            at=self._clock().strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        try:
            self._stream.write(encode(line).decode() + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return


def uncounted(_count: int, _total: int) -> None:
    """Count for nobody."""


class PageLines:
    """Lines about the pages that a command has read, for the person who waits: at once, every few seconds, at the end.

    They go to standard error, so that standard output has the command's result alone.
    """

    def __init__(self, what: str, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._stream = stream or sys.stderr
        self._clock = clock
        self._last_line = clock()
        self._write("listing files")

    def __call__(self, count: int, total: int) -> None:
        """Say how many pages of how many are read, where it is time to."""
        now = self._clock()
        if now - self._last_line < BETWEEN_LINES and count < total:
            return
        self._last_line = now
        self._write(f"{count} of {total} pages")

    def _write(self, text: str) -> None:
        self._stream.write(f"{self._what}: {text}\n")
        self._stream.flush()
