"""Progress: one line of JSON per event on standard output. Training never depends on anybody reading it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TextIO

from finetune_trainer.documents.codec import encode
from finetune_trainer.documents.result import PROGRESS_SCHEMA, ProgressLine, StepName

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The time, as the default clock."""
    return datetime.now(UTC)  # noqa: TID251 - the default of an argument


class Progress:
    """Writes progress lines for one step. A full or closed log never stops the step."""

    def __init__(self, step: StepName, stream: TextIO | None = None, clock: Clock = utc_now) -> None:
        self._step = step
        self._stream = stream or sys.stdout
        self._clock = clock

    def report(
        self,
        percent: int,
        epoch: int | None = None,
        epochs: int | None = None,
        remaining_seconds: int | None = None,
        losses: Mapping[str, str] | None = None,
        activity: str | None = None,
    ) -> None:
        """One line; what is None is left out. `epoch` counts finished epochs from 1 (0: the first is running)."""
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
