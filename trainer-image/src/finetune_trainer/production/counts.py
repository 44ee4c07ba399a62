"""How many production pages there are, by stratum, and what the pods say they answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from ..documents.production import Stratum, parse_window
from ..errors import StepError
from ..storage import Storage, join
from .layout import STRATA, Production


@dataclass(frozen=True, slots=True)
class CapturedCounts:
    """Captured pages by stratum, and the oldest day that has any; None where there are none."""

    pages: Mapping[Stratum, int]
    oldest: date | None

    @property
    def total(self) -> int:
        """Pages of all strata."""
        return sum(self.pages.values())


def count_captured(storage: Storage, production: Production) -> CapturedCounts:
    """Count the records of captured pages by listing them; none is read."""
    pages: dict[Stratum, int] = dict.fromkeys(STRATA, 0)
    oldest: date | None = None
    for day in production.dates(storage):
        of_day = {stratum: _records(storage, production.pages(day, stratum)) for stratum in STRATA}
        for stratum, count in of_day.items():
            pages[stratum] += count
        if oldest is None and any(of_day.values()):
            oldest = day
    return CapturedCounts(pages, oldest)


def count_answered(storage: Storage, production: Production, now: datetime) -> int | None:
    """Return the pages that pods say they answered since yesterday's midnight, UTC; None where none says it.

    Windows that cannot be read are passed over; a pod that was killed leaves its last ten minutes out.
    """
    today = now.astimezone(UTC).date()
    places = [
        join(folder, name)
        for folder in map(production.windows, (today - timedelta(days=1), today))
        for name in storage.names(folder)
        if name.endswith(".json")
    ]
    answered: list[int] = []
    for place, data in storage.read_those_there(places).items():
        try:
            answered.append(parse_window(data, place).answered.pages)
        except StepError:
            continue
    return sum(answered) if answered else None


def _records(storage: Storage, folder: str) -> int:
    return sum(name.endswith(".json") for name in storage.names(folder))
