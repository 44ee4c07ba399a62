"""Progress: JSON lines of a step for machines, and a line every few seconds of a command for people."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from threading import Lock
from typing import Final, TextIO

from .documents.codec import encode
from .documents.result import PROGRESS_SCHEMA, ProgressLine, StepName

Clock = Callable[[], datetime]
Counted = Callable[[int, int], None]
"""Called as pages are read: how many so far, and how many in all."""

Fetched = Callable[[int], None]
"""Called as bytes come: how many so far."""

LONGEST_ACTIVITY: Final = 200
"""Characters of an activity, by contracts/progress.schema.json."""

BETWEEN_LINES: Final = 5.0
"""Seconds between lines, so that a long wait shows movement and a log stays readable."""


def utc_now() -> datetime:
    """Return the time, as the default clock."""
    return datetime.now(UTC)  # noqa: TID251 - the default of an argument


class Progress:
    """The progress lines of one step. Nobody has to read them: a full or closed log never stops the step."""

    def __init__(
        self,
        step: StepName,
        stream: TextIO | None = None,
        clock: Clock = utc_now,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._step = step
        self._stream = stream or sys.stdout
        self._clock = clock
        self._ticks = ticks
        self._last_line = ticks() - BETWEEN_LINES

    def is_due(self) -> bool:
        """Tell whether the last line is so long ago that another one may follow without filling the log."""
        return self._ticks() - self._last_line >= BETWEEN_LINES

    def counting(self, what: str, unit: str, *, percent: tuple[int, int], epochs: int | None = None) -> Counted:
        """Return what writes a line every few seconds as it is called with a count and the total.

        `percent` is how far the step is at the count 0, and at the total. With `epochs` none of these has begun.
        """
        first, last = percent

        def counted(count: int, total: int) -> None:
            if self.is_due():
                done = first + (last - first) * min(count, total) // max(total, 1)
                activity = f"{what}: {count} of {total} {unit}"
                self.report(percent=done, epoch=_none_of(epochs), epochs=epochs, activity=activity)

        return counted

    def fetching(self, what: str, *, percent: int, epochs: int | None = None) -> Fetched:
        """Return what writes a line every few seconds as it is called with the bytes that are fetched so far."""

        def fetched(count: int) -> None:
            if self.is_due():
                activity = f"fetching {what}: {megabytes(count)} MB"
                self.report(percent=percent, epoch=_none_of(epochs), epochs=epochs, activity=activity)

        return fetched

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
        self._last_line = self._ticks()
        line = ProgressLine(
            schema=PROGRESS_SCHEMA,
            step=self._step,
            epoch=epoch,
            epochs=epochs,
            percent=percent,
            remaining_seconds=remaining_seconds,
            losses=None if losses is None else dict(losses),
            activity=None if activity is None else activity[:LONGEST_ACTIVITY],
            at=self._clock().strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        try:
            self._stream.write(encode(line).decode() + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return


class FileLines:
    """Lines about many files that threads fetch together: how many and how much of all."""

    def __init__(self, progress: Progress, what: str, sizes: Sequence[int], *, epochs: int | None = None) -> None:
        self._progress = progress
        self._what = what
        self._epochs = epochs
        self._total = len(sizes), sum(sizes)
        self._files = self._bytes = 0
        self._lock = Lock()

    def __call__(self, size: int) -> None:
        """Count one more file of so many bytes."""
        with self._lock:
            self._files += 1
            self._bytes += size
            if not self._progress.is_due():
                return
            files, size = self._total
            activity = f"{self._what}: {self._files} of {files} files, {megabytes(self._bytes)} of {megabytes(size)} MB"
            self._progress.report(percent=0, epoch=_none_of(self._epochs), epochs=self._epochs, activity=activity)


def megabytes(count: int) -> str:
    """Return bytes in millions of them: with a decimal below ten, so that a small file moves too."""
    return f"{count / 1e6:.0f}" if count >= 10_000_000 else f"{count / 1e6:.1f}"


def _none_of(epochs: int | None) -> int | None:
    return None if epochs is None else 0


def unfetched(_count: int) -> None:
    """Count bytes for nobody."""


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
