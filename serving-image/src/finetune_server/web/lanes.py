"""How many pages of a kind are being answered, and whether any of them comes to an end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import RequestError


class Lane:
    """Bounds the memory that waiting requests hold: beyond `limit`, or `most_bytes`, one is turned away at once.

    Large ones get half of the places: their wait is long, and others would find none. One that is alone may have more
    bytes.
    """

    def __init__(self, what: str, limit: int, clock: Callable[[], float], *, most_bytes: float = math.inf) -> None:
        self._what = what
        self._limit = limit
        self._clock = clock
        self._most_bytes = most_bytes
        self._progress = clock()
        self.in_work = 0
        self._large = 0
        self._bytes = 0

    @contextmanager
    def place(self, size: int = 0, *, large: bool = False) -> Iterator[None]:
        """Hold a place, and `size` bytes, for the block. Raises `RequestError` 503 when all are taken."""
        if self.in_work >= self._limit:
            raise RequestError(503, "Overloaded", f"{self.in_work} {self._what} are being answered; try again")
        if large and self._large >= max(1, self._limit // 2):
            raise RequestError(503, "Overloaded", f"{self._large} large {self._what} are being answered; try again")
        if self._bytes and self._bytes + size > self._most_bytes:
            held = f"{self._what} of {self._bytes} bytes are being answered"
            raise RequestError(503, "Overloaded", f"{held} (FINETUNE_MAX_RECEIVING_BYTES); try again")
        if self.in_work == 0:
            self._progress = self._clock()
        self.in_work += 1
        self._large += large
        self._bytes += size
        try:
            yield
        finally:
            self.in_work -= 1
            self._large -= large
            self._bytes -= size
            self._progress = self._clock()

    def stalled(self, seconds: float) -> bool:
        """Tell whether there is work, none of which has come to an end for so long."""
        return self.in_work > 0 and self._clock() - self._progress >= seconds
