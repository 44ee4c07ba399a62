"""What a pod answered, kept and lost, ten minutes at a time: so that no loss is silent."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from secrets import token_hex
from threading import Lock
from typing import Final

from .sampling import Stratum

MINUTES: Final = 10


class Outcome(Enum):
    """What became of a page that was selected."""

    STORED = "stored"
    QUEUE = "queue"
    CAP = "cap"
    STORAGE = "storage"


@dataclass(slots=True, eq=False)
class Window:
    """Up to ten minutes of one pod. Changes as pages are answered and written, from several threads.

    `token` keeps apart windows that begin in one minute: of a container that starts anew, after a clock was set back.
    """

    begin: datetime
    end: datetime
    configured: float
    lowest: float
    last: float
    pages: int = 0
    documents: int = 0
    pending: int = 0
    token: str = field(default_factory=lambda: token_hex(4))
    counts: dict[tuple[Stratum, Outcome], int] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def answered(self, probability: float, *, documents: int) -> None:
        """Count an answered page, at the probability that was in force."""
        with self._lock:
            self.pages += 1
            self.documents += documents
            self.last = probability
            self.lowest = min(self.lowest, probability)

    def begun(self) -> None:
        """Count a page that is on its way."""
        with self._lock:
            self.pending += 1

    def ended(self, stratum: Stratum, outcome: Outcome, *, was_pending: bool = True) -> None:
        """Count what became of a page."""
        with self._lock:
            self.pending -= was_pending
            self.counts[stratum, outcome] = self.counts.get((stratum, outcome), 0) + 1

    def cancelled(self) -> None:
        """Count a page less on its way: it is kept already, in another stratum."""
        with self._lock:
            self.pending -= 1

    def strata(self) -> dict[Stratum, dict[Outcome, int]]:
        """Return the counts of each stratum."""
        with self._lock:
            return {s: {o: self.counts.get((s, o), 0) for o in Outcome} for s in Stratum}


def window_from(now: datetime, configured: float, probability: float) -> Window:
    """Return a window from `now` (aware) to the next full ten minutes."""
    begin = now.astimezone(UTC)
    full = begin.replace(minute=begin.minute - begin.minute % MINUTES, second=0, microsecond=0)
    return Window(begin, full + timedelta(minutes=MINUTES), configured, probability, probability)
