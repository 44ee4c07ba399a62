"""How long objects were looked at while they stood as they stand: observed time, by a clock that never jumps."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ..decide.times import Timed


@dataclass(slots=True)
class _Lap:
    """What one object stood at when it was looked at last, and how long it had done so."""

    key: Hashable
    at: float
    total: timedelta


@dataclass(slots=True)
class Stopwatch:
    """By uid: how long what is timed of an object has been as it is recorded."""

    _laps: dict[str, _Lap] = field(default_factory=dict)

    def lap(self, uid: str, timed: Timed, *, at: float, now: datetime) -> timedelta:
        """Return how long the object was looked at since its status recorded that last.

        `at` is in monotonic seconds. `now`, the wall clock, speaks once: of the time before this process looked.
        """
        known = self._laps.get(uid)
        if known is None:
            before = min(max(now - timed.since, timedelta()), timed.first) if timed.since is not None else timedelta()
            self._laps[uid] = _Lap(timed.key, at, before)
        elif known.key != timed.key:
            self._laps[uid] = _Lap(timed.key, at, timedelta())
        else:
            step = timedelta(seconds=max(at - known.at, 0.0))
            known.total += step if timed.most is None else min(step, timed.most)
            known.at = at
        return self._laps[uid].total

    def forget(self, uid: str) -> None:
        """Drop what is remembered of an object that is gone."""
        self._laps.pop(uid, None)
