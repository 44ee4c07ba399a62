"""Moments and spans as a status records them: whole seconds, and within what a datetime can name."""

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

_LONGEST_SECONDS: Final = 10**9


@dataclass(frozen=True, slots=True)
class Timed:
    """What of an object is being timed, as far as its status records it: the count begins anew where `key` changes.

    `most` is what one step from look to look counts at most; None: no limit. `since` and `first`: a process that sees
    the object for the first time counts the time since then, by the wall clock for want of another, up to `first`.
    """

    key: Hashable
    most: timedelta | None = None
    since: datetime | None = None
    first: timedelta = timedelta()


def moment(now: datetime) -> datetime:
    """Return `now` as it is recorded: whole seconds, as the Kubernetes API has them."""
    return now.replace(microsecond=0)


def later(moment: datetime, by: timedelta) -> datetime:
    """Return `moment + by`, at most the last moment that a datetime can name."""
    try:
        return moment + by
    except OverflowError:
        return datetime.max.replace(tzinfo=moment.tzinfo)


def whole_seconds(span: timedelta) -> int:
    """Return a span as it is recorded: whole seconds, at least 0 and at most 10^9."""
    return min(max(int(span.total_seconds()), 0), _LONGEST_SECONDS)


def span(seconds: int) -> timedelta:
    """Return so many seconds, at least 0 and at most 10^9: a restored object may carry any number."""
    return timedelta(seconds=min(max(seconds, 0), _LONGEST_SECONDS))


def stamp(moment: datetime) -> str:
    """Return a moment as people read it in messages: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def soonest(*waits: timedelta | None) -> timedelta | None:
    """Return the shortest of these waits, if there is one."""
    return min((wait for wait in waits if wait is not None), default=None)
