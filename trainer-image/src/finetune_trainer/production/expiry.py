"""Removing production pages whose time is over: whole days, and nothing that lies elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from ..storage import Storage, join
from .layout import Production
from .weeks import remember_expiring

MOST_AT_ONCE: Final = 50_000
"""Files that one scan removes: a backlog of years must not keep a scan from its counts."""


@dataclass(frozen=True, slots=True)
class Expired:
    """Days of which everything is gone now, and whether older ones are left for the next scan."""

    days: int
    more: bool


def expire(storage: Storage, production: Production, *, keep_days: int, now: datetime) -> Expired:
    """Remove the days on which pages were captured longer ago than `keep_days` (at least 1).

    A day goes when its first page is that old, so that none is kept longer; its last one goes up to a day early. What
    the weeks need of it is noted first. Cut off in between, the next scan goes on.
    """
    left = MOST_AT_ONCE
    gone = 0
    for day in expired_days(production.dates(storage), keep_days=keep_days, now=now):
        remember_expiring(storage, production, day)
        folder = production.day(day)
        names = storage.own(folder)
        storage.remove_many(join(folder, *name.split("/")) for name in names[:left])
        if len(names) > left:
            return Expired(gone, more=True)
        left -= len(names)
        storage.remove_folder(folder)
        gone += 1
    return Expired(gone, more=False)


def expired_days(days: list[date], *, keep_days: int, now: datetime) -> list[date]:
    """Return the days, oldest first, whose pages are older than they may get. Days to come are not touched."""
    last = now.astimezone(UTC).date() - timedelta(days=keep_days)
    return [day for day in days if day <= last]
