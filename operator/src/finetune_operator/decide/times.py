"""Moments and spans as a status records them: whole seconds, and within what a datetime can name."""

from datetime import UTC, datetime, timedelta
from typing import Final

_LONGEST_SECONDS: Final = 10**9


def moment(now: datetime) -> datetime:
    """Return `now` as it is recorded: whole seconds, as the Kubernetes API has them."""
    return now.replace(microsecond=0)


def later(moment: datetime, by: timedelta) -> datetime:
    """Return `moment + by`, at most the last moment that a datetime can name."""
    try:
        return moment + by
    except OverflowError:
        return datetime.max.replace(tzinfo=moment.tzinfo)


def span(seconds: int) -> timedelta:
    """Return so many seconds, at least 0 and at most 10^9: a restored object may carry any number."""
    return timedelta(seconds=min(max(seconds, 0), _LONGEST_SECONDS))


def stamp(moment: datetime) -> str:
    """Return a moment as people read it in messages: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def soonest(*waits: timedelta | None) -> timedelta | None:
    """Return the shortest of these waits, if there is one."""
    return min((wait for wait in waits if wait is not None), default=None)
