"""A work queue of keys: one worker per key at a time, no key twice, timers, back-off, turns between lanes."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

BACKOFF_BASE: Final = 0.05
BACKOFF_CAP: Final = 60.0
"""Seconds: the first retry waits for the watch to catch up; an outage is asked after once a minute and key."""


@dataclass(slots=True)
class _State:
    """What is known of one key; a key at rest has no state."""

    queued_at: float | None = None
    running_since: float | None = None
    woken: bool = False
    failures: int = 0
    timer: asyncio.TimerHandle | None = None
    due: float = 0.0


@dataclass(slots=True)
class WorkQueue(Generic[K]):
    """Keys that wait for a worker.

    `lane` sorts keys into lanes that take turns, so that a burst of one kind or namespace delays no other.
    `clock` gives monotonic seconds; `chance` a number in [0, 1) for jitter. All methods belong to one event loop.
    """

    lane: Callable[[K], Hashable]
    clock: Callable[[], float]
    chance: Callable[[], float]
    _states: dict[K, _State] = field(default_factory=dict)
    _lanes: dict[Hashable, deque[K]] = field(default_factory=dict)
    _ready: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    _given_back: asyncio.Event = field(default_factory=asyncio.Event)
    _taken_at: float = -math.inf
    _closed: bool = False

    def wake(self, key: K) -> None:
        """Have `key` worked on as soon as a worker is free; while it is worked on, once more afterwards."""
        state = self._states.setdefault(key, _State())
        _stop_timer(state)
        if state.running_since is not None:
            state.woken = True
        elif state.queued_at is None:
            state.queued_at = self.clock()
            self._lanes.setdefault(self.lane(key), deque()).append(key)
            self._ready.release()

    def wake_after(self, key: K, seconds: float) -> None:
        """Have `key` worked on in `seconds`, unless it is woken sooner; the earliest of several timers counts."""
        state = self._states.setdefault(key, _State())
        due = self.clock() + seconds
        if state.queued_at is not None or (state.timer is not None and state.due <= due):
            return
        _stop_timer(state)
        state.due = due
        state.timer = asyncio.get_running_loop().call_later(seconds, self.wake, key)

    async def take(self) -> K | None:
        """Wait for a key and return it, None once the queue is closed.

        Every key taken must be given back with `done`, `failed` or `forget`.
        """
        await self._ready.acquire()
        if self._closed:
            self._ready.release()
            return None
        lane = next(iter(self._lanes))
        waiting = self._lanes.pop(lane)
        key = waiting.popleft()
        if waiting:
            self._lanes[lane] = waiting  # to the end of the turn
        state = self._states[key]
        state.queued_at, state.running_since, state.woken = None, self.clock(), False
        self._taken_at = state.running_since
        _stop_timer(state)
        return key

    def done(self, key: K, again_after: float | None = None) -> None:
        """Give back a key whose work succeeded; `again_after` seconds it is looked at again in any case."""
        state = self._states[key]
        state.running_since, state.failures = None, 0
        self._next(key, state, again_after)

    def failed(self, key: K, at_least: float = 0.0, at_most: float | None = None) -> float:
        """Give back a key whose work failed; return in how many seconds it is tried again.

        The wait doubles with every failure in a row, with half of it left to chance, up to `at_most`. A wake-up ends it
        sooner.
        """
        state = self._states[key]
        state.running_since = None
        full = min(BACKOFF_BASE * 2.0 ** min(state.failures, 30), BACKOFF_CAP)
        state.failures += 1
        wait = max(at_least, full * (0.5 + 0.5 * self.chance()))
        wait = wait if at_most is None else min(wait, at_most)
        self._next(key, state, wait)
        return wait

    def forget(self, key: K) -> None:
        """Drop timers and failures of a key that is taken and whose object is gone."""
        state = self._states[key]
        state.running_since, state.failures = None, 0
        _stop_timer(state)
        self._next(key, state, None)

    def close(self) -> None:
        """Give out no more keys: whoever waits for one gets None."""
        self._closed = True
        self._ready.release()

    async def given_back(self, where: Callable[[K], bool]) -> None:
        """Wait until no key of that sort is being worked on."""
        while any(state.running_since is not None and where(key) for key, state in self._states.items()):
            self._given_back.clear()
            await self._given_back.wait()

    def depth(self) -> int:
        """Return how many keys wait for a worker."""
        return sum(len(waiting) for waiting in self._lanes.values())

    def longest_wait(self) -> float:
        """Return for how many seconds the key at the head of any lane has waited."""
        heads = (self._states[waiting[0]].queued_at for waiting in self._lanes.values())
        return max((self.clock() - at for at in heads if at is not None), default=0.0)

    def standstill(self) -> float:
        """Return for how many seconds keys have waited and none was taken: a long line that moves is no standstill."""
        return min(self.longest_wait(), self.clock() - self._taken_at)

    def longest_run(self) -> float:
        """Return for how many seconds the oldest unfinished work has run."""
        starts = (state.running_since for state in self._states.values())
        return max((self.clock() - at for at in starts if at is not None), default=0.0)

    def _next(self, key: K, state: _State, after: float | None) -> None:
        self._given_back.set()
        if state.woken:
            self.wake(key)
        elif after is not None:
            self.wake_after(key, after)
        elif state.timer is None and state.failures == 0:
            del self._states[key]


def _stop_timer(state: _State) -> None:
    if state.timer is not None:
        state.timer.cancel()
        state.timer = None
