"""A memory with an end: so many values by key, each for so long."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from time import monotonic
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """At most `most` values, each for `seconds` after it was put last; the one that was put first goes first."""

    def __init__(self, *, most: int, seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._values: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def __len__(self) -> int:
        """Return how many there are, those that are too old included."""
        return len(self._values)

    def get(self, key: K) -> V | None:
        """Return the value of a key, or None where there is none, or none any more."""
        entry = self._values.get(key)
        return None if entry is None or self._clock() - entry[0] > self._seconds else entry[1]

    def put(self, key: K, value: V) -> None:
        """Remember a value; what is too old or too much is forgotten."""
        now = self._clock()
        self._values[key] = now, value
        self._values.move_to_end(key)
        while len(self._values) > self._most or now - next(iter(self._values.values()))[0] > self._seconds:
            self._values.popitem(last=False)
