"""What is written and does not stay: admission, or somebody, takes it off again. It is not written without a pause."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from ..decide.decision import Action, Annotate, ApplyKeys, Emit, RecordMetric
from .words import without_words

AT_ONCE: Final = 2
"""Times that the same may be done again without a pause: a cache may lag behind what was written."""

FIRST: Final = timedelta(seconds=1)
MOST: Final = timedelta(minutes=1)

QUIET: Final = 2 * MOST
"""What stayed for so long stays. A look that finds it there proves nothing: who takes it off may only not have come."""


REMEMBERED: Final = 4
"""Different things that are known to be done to one object in turns: those who take them off may be several."""

_What = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class _Repeat:
    """How many times the same was done to an object, and when last, in monotonic seconds."""

    times: int
    at: float

    @property
    def pause(self) -> timedelta | None:
        """How long the same is to wait after that; None where it may be done at once."""
        if self.times <= AT_ONCE:
            return None
        return min(FIRST * (1 << min(self.times - AT_ONCE - 1, 10)), MOST)

    def is_recent(self, at: float) -> bool:
        """Tell whether nobody can say yet that it stayed."""
        return at - self.at < QUIET.total_seconds()


@dataclass(slots=True)
class Repeats:
    """By uid: what was done to an object lately, and how often. `at` is in monotonic seconds throughout."""

    _known: dict[str, dict[_What, _Repeat]] = field(default_factory=dict)

    def left(self, uid: str, actions: Iterable[Action], at: float) -> timedelta | None:
        """Return how long these are to wait yet, where they were done again and again; None where they are not to."""
        done = _done(actions)
        before = self._recent(uid, at).get(done)
        if before is None or not done or before.pause is None:
            return None
        left = before.pause - timedelta(seconds=max(at - before.at, 0.0))
        return left if left > timedelta() else None

    def pause(self, uid: str, actions: Iterable[Action], at: float) -> timedelta | None:
        """Take in that these were done. Return how long the same is to wait now; None where it may come at once."""
        done = _done(actions)
        if not done:
            return None
        known = self._recent(uid, at)
        before = known.pop(done, None)
        known[done] = _Repeat(1 if before is None else before.times + 1, at)
        if len(known) > REMEMBERED:
            del known[next(iter(known))]
        self._known[uid] = known
        return known[done].pause

    def forget(self, uid: str) -> None:
        """Drop what is remembered of an object that is gone."""
        self._known.pop(uid, None)

    def _recent(self, uid: str, at: float) -> dict[_What, _Repeat]:
        return {what: repeat for what, repeat in self._known.get(uid, {}).items() if repeat.is_recent(at)}


def says_nothing_new(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Tell whether two statuses differ in nothing but words, and the epoch under which the same keys are written."""
    return _without_epoch(before) == _without_epoch(after)


def _without_epoch(status: dict[str, Any]) -> dict[str, Any]:
    flight = status.get("inFlight")
    if not isinstance(flight, dict):
        return without_words(status)
    return without_words({**status, "epoch": 0, "inFlight": {**flight, "epoch": 0, "generation": 0}})


def _done(actions: Iterable[Action]) -> _What:
    return tuple(_what(action) for action in actions if not isinstance(action, Emit | RecordMetric))


def _what(action: Action) -> object:
    """Return what an action does, whichever write of the Deployment it is, and whatever a record says by then.

    What others put into a record stays in it, so that each of their words is another text of ours.
    """
    match action:
        case ApplyKeys():
            return action.deployment, action.version, action.sha256
        case Annotate():
            return action.key
        case _:
            return action
