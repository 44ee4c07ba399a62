"""How many pages of a kind are being answered, and whether any of them comes to an end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import RequestError


class Lane:
    """Bounds the memory that waiting requests hold: beyond `limit` a request is turned away at once.

    Large ones get half of the places: their wait is long, and others would find none.
    """

    def __init__(self, what: str, limit: int, clock: Callable[[], float]) -> None:
        self._what = what
        self._limit = limit
        self._clock = clock
        self._progress = clock()
        self.in_work = 0
        self._large = 0

    @contextmanager
    def place(self, *, large: bool = False) -> Iterator[None]:
        """Hold a place for the block. Raises `RequestError` 503 when all are taken."""
        if self.in_work >= self._limit:
            raise RequestError(503, "Overloaded", f"{self.in_work} {self._what} are being answered; try again")
        if large and self._large >= max(1, self._limit // 2):
            raise RequestError(503, "Overloaded", f"{self._large} large {self._what} are being answered; try again")
        if self.in_work == 0:
            self._progress = self._clock()
        self.in_work += 1
        self._large += large
        try:
            yield
        finally:
            self.in_work -= 1
            self._large -= large
            self._progress = self._clock()

    def stalled(self, seconds: float) -> bool:
        """Tell whether there is work, none of which has come to an end for so long."""
        return self.in_work > 0 and self._clock() - self._progress >= seconds
