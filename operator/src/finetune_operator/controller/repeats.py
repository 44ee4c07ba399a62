"""What is written and does not stay: admission, or somebody, takes it off again. It is not written without a pause."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from ..decide.decision import Action, ApplyKeys, Emit, RecordMetric

AT_ONCE: Final = 2
"""Looks in a row that may do the same without a pause: a cache may lag behind what was written."""

FIRST: Final = timedelta(seconds=1)
MOST: Final = timedelta(minutes=1)


@dataclass(slots=True)
class Repeats:
    """By uid: what the last look at an object did, and how many looks in a row did that."""

    _known: dict[str, tuple[tuple[object, ...], int]] = field(default_factory=dict)

    def pause(self, uid: str, actions: Iterable[Action]) -> timedelta | None:
        """Return how long to wait before the next look after one that did this; None where that may come at once."""
        done = tuple(_what(action) for action in actions if not isinstance(action, Emit | RecordMetric))
        if not done:
            self.forget(uid)
            return None
        before, times = self._known.get(uid, ((), 0))
        times = times + 1 if done == before else 1
        self._known[uid] = done, times
        return None if times <= AT_ONCE else min(FIRST * 2 ** min(times - AT_ONCE - 1, 10), MOST)

    def forget(self, uid: str) -> None:
        """Drop what is remembered of an object that is gone."""
        self._known.pop(uid, None)


def _what(action: Action) -> object:
    """Return what an action does, whichever write of the Deployment it is."""
    return (action.deployment, action.version, action.sha256) if isinstance(action, ApplyKeys) else action
