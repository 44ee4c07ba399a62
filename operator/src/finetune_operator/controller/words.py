"""How often a status is written for its words alone: what a pod waits for may be said in other words every second."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

BURST: Final = 6
"""New words that an object may have at once: a pod has that many moments before its trainer runs."""

EVERY: Final = timedelta(minutes=1)
"""How often it may have new words when those are used up."""


@dataclass(slots=True)
class Words:
    """By uid: how many new words an object may still have, and since when that is so."""

    _left: dict[str, tuple[float, datetime]] = field(default_factory=dict)

    def wait(self, uid: str, now: datetime) -> timedelta | None:
        """Return how long new words of an object are to wait; None: they are written now, and count."""
        left, since = self._left.get(uid, (float(BURST), now))
        if since > now:  # the clock was set back
            self._left[uid] = left, now
        left = min(left + max((now - since) / EVERY, 0.0), float(BURST))
        if left < 1.0:
            return EVERY * (1.0 - left)
        self._left[uid] = left - 1.0, now
        return None

    def forget(self, uid: str) -> None:
        """Drop what is remembered of an object that is gone."""
        self._left.pop(uid, None)


def only_words(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Tell whether two statuses differ, and in nothing but words."""
    return before != after and without_words(before) == without_words(after)


def without_words(status: dict[str, Any]) -> dict[str, Any]:
    """Return a status without the messages of its summary and of its conditions, and of a hold but its reason.

    Of those who fight over what is held each is named anew, with since when: any of them says as much.
    """
    conditions = [{**condition, "message": ""} for condition in status.get("conditions") or ()]
    silent = {**status, "message": "", "conditions": conditions}
    hold = status.get("hold")
    return {**silent, "hold": hold.get("reason")} if isinstance(hold, dict) else silent
