"""What is written and does not stay: admission, or somebody, takes it off again. It is not written without a pause."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from ..decide.decision import Action, ApplyKeys, Emit, RecordMetric

AT_ONCE: Final = 2
"""Times that the same may be done again without a pause: a cache may lag behind what was written."""

FIRST: Final = timedelta(seconds=1)
MOST: Final = timedelta(minutes=1)

QUIET: Final = 2 * MOST
"""What stayed for so long stays. A look that finds it there proves nothing: who takes it off may only not have come."""


@dataclass(frozen=True, slots=True)
class _Repeat:
    """What was done to an object last, how many times in a row, and when, in monotonic seconds."""

    what: tuple[object, ...]
    times: int
    at: float

    @property
    def pause(self) -> timedelta | None:
        """How long the same is to wait after that; None where it may be done at once."""
        if self.times <= AT_ONCE:
            return None
        return min(FIRST * (1 << min(self.times - AT_ONCE - 1, 10)), MOST)


@dataclass(slots=True)
class Repeats:
    """By uid: what was done to an object last, and how often. `at` is in monotonic seconds throughout."""

    _known: dict[str, _Repeat] = field(default_factory=dict)

    def left(self, uid: str, actions: Iterable[Action], at: float) -> timedelta | None:
        """Return how long these are to wait yet, where they were done again and again; None where they are not to."""
        before, done = self._before(uid, at), _done(actions)
        if before is None or not done or before.what != done or before.pause is None:
            return None
        left = before.pause - timedelta(seconds=max(at - before.at, 0.0))
        return left if left > timedelta() else None

    def pause(self, uid: str, actions: Iterable[Action], at: float) -> timedelta | None:
        """Take in that these were done. Return how long the same is to wait now; None where it may come at once."""
        done = _done(actions)
        if not done:
            return None
        before = self._before(uid, at)
        times = before.times + 1 if before is not None and before.what == done else 1
        self._known[uid] = _Repeat(done, times, at)
        return self._known[uid].pause

    def forget(self, uid: str) -> None:
        """Drop what is remembered of an object that is gone."""
        self._known.pop(uid, None)

    def _before(self, uid: str, at: float) -> _Repeat | None:
        known = self._known.get(uid)
        return None if known is None or at - known.at >= QUIET.total_seconds() else known


def _done(actions: Iterable[Action]) -> tuple[object, ...]:
    return tuple(_what(action) for action in actions if not isinstance(action, Emit | RecordMetric))


def _what(action: Action) -> object:
    """Return what an action does, whichever write of the Deployment it is."""
    return (action.deployment, action.version, action.sha256) if isinstance(action, ApplyKeys) else action
