"""What a trigger wants, and why nothing is fired: the words in which triggers and brakes speak."""

from dataclasses import dataclass
from datetime import UTC, datetime

from ....api.figures import Figure
from ....api.triggers import TriggerKind
from ...views import Explanation


@dataclass(frozen=True, slots=True)
class Wish:
    """A run that a trigger asks for, and why; `figures` are what it counted beside the scan's."""

    kind: TriggerKind
    reason: str
    figures: tuple[Figure, ...] = ()

    @property
    def rebuilds(self) -> bool:
        """Whether the run is to make a new base."""
        return self.kind == "Rebuild"


@dataclass(frozen=True, slots=True)
class Missing:
    """Why nothing is fired: `again` is when that may be over, where a clock tells; None where something has to happen.

    `for_good`: it does not pass by waiting, so a window of the schedule is not kept for it.
    """

    explanation: Explanation
    again: datetime | None = None
    for_good: bool = False


def clock_time(moment: datetime, *, beside: datetime) -> str:
    """Return a moment as people read it beside another one: without the date where that is the same, in UTC."""
    here, there = moment.astimezone(UTC), beside.astimezone(UTC)
    return f"{here:%H:%M} UTC" if here.date() == there.date() else f"{here:%Y-%m-%d %H:%M} UTC"


def samples(count: int) -> str:
    """Return a count of new samples in words."""
    return f"{count} new sample{'' if count == 1 else 's'}"
