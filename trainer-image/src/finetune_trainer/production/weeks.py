"""Reported documents per complete ISO week: numbers that stay when the reports go."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import dropwhile
from typing import Final

from msgspec.structs import replace

from ..documents.codec import encode
from ..documents.production import DayTotal, ProductionWeek, parse_week
from ..storage import Storage
from .layout import Production
from .reported import reported_documents

SHOWN: Final = 8
"""Complete weeks that a scan reports: an alert looks at four, and a chart is worth twice that."""

LATE: Final = timedelta(hours=1)
"""How long after a week's end reports of it may still be on their way from a pod's queue."""


@dataclass(frozen=True, slots=True)
class WeekTotal:
    """Distinct documents that were reported in a complete ISO week, such as 2026-W47."""

    week: str
    documents: int


def week_of(day: date) -> str:
    """Return the ISO week of a day; the first days of January may be of the last week of the year before."""
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02}"


def complete_weeks(now: datetime, count: int = SHOWN) -> list[date]:
    """Return the Mondays of the newest complete weeks, oldest first."""
    ended = (now.astimezone(UTC) - LATE).date()
    monday = ended - timedelta(days=ended.weekday())
    return [monday - timedelta(weeks=back) for back in range(count, 0, -1)]


def total_weeks(storage: Storage, production: Production, now: datetime) -> list[WeekTotal]:
    """Return the totals of the complete weeks since the first that anything is known of, and write those that are new.

    A total that stands is never counted anew: its days may have expired since.
    """
    days = set(production.dates(storage))
    totals = [(week_of(monday), _total(storage, production, monday, days)) for monday in complete_weeks(now)]
    known = dropwhile(lambda total: total[1] is None, totals)
    return [WeekTotal(week, documents or 0) for week, documents in known]


def remember_expiring(storage: Storage, production: Production, day: date) -> None:
    """Note how many documents were reported on a day that is about to go, in a week that has no total yet."""
    week = week_of(day)
    known = _read(storage, production, week)
    if known.documents is not None or any(entry.date == day.isoformat() for entry in known.expired):
        return
    entry = DayTotal(day.isoformat(), len(reported_documents(storage, production, [day])))
    _write(storage, production, replace(known, expired=tuple(sorted((*known.expired, entry), key=lambda e: e.date))))


def _total(storage: Storage, production: Production, monday: date, days: set[date]) -> int | None:
    week = week_of(monday)
    known = _read(storage, production, week)
    if known.documents is not None:
        return known.documents
    of_week = [day for n in range(7) if (day := monday + timedelta(days=n)) in days]
    if not of_week and not known.expired:
        return None
    gone = {entry.date for entry in known.expired}
    there = [day for day in of_week if day.isoformat() not in gone]
    documents = len(reported_documents(storage, production, there)) + sum(entry.documents for entry in known.expired)
    _write(storage, production, replace(known, documents=documents))
    return documents


def _read(storage: Storage, production: Production, week: str) -> ProductionWeek:
    place = production.week(week)
    data = storage.read_if_there(place)
    return ProductionWeek(week=week, documents=None, expired=()) if data is None else parse_week(data, place)


def _write(storage: Storage, production: Production, week: ProductionWeek) -> None:
    storage.replace(production.week(week.week), encode(week))
