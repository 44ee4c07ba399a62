"""What waits to be labelled: captured pages that people reported or the model was unsure of, and that no pool has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from ..data.pool import Pool
from ..documents.production import CapturedPage, ProductionReport, Stratum, parse_page
from ..errors import StepError
from ..production.layout import Production
from ..storage import Storage, join
from .choosing import Reports, confidences, read_reports

MOST: Final = 1000
"""Records that are read, the newest days first: a scan is made every quarter of an hour, and each is one request."""

_UNSURE: Final[tuple[Stratum, ...]] = ("Reported", "Uncertain")


@dataclass(frozen=True, slots=True)
class Waiting:
    """Pages that wait, each once by its pixels; and by class index those that wait for the sake of that field."""

    pages: int
    fields: tuple[int, ...]


def count_waiting(storage: Storage, production: Production, pool: Pool, classes: Sequence[str]) -> Waiting:
    """Count what waits among the newest pages (at most MOST). Records that cannot be read are passed over."""
    days = _newest(storage, production)
    reports = read_reports(storage, production.root, days[-1] if days else None)
    places = [place for day in days for place in _places(storage, production, day, reports)][:MOST]
    pages: set[str] = set()
    counts = dict.fromkeys(classes, 0)
    for record in _records(storage, places):
        digest = record.page.pixels
        if digest in pages or pool.page(digest) is not None:
            continue
        pages.add(digest)
        for name in _concerned(record, reports.of(record)):
            if name in counts:
                counts[name] += 1
    return Waiting(len(pages), tuple(counts.values()))


def _newest(storage: Storage, production: Production) -> list[date]:
    """Return the newest days that have MOST pages between them, the newest first."""
    chosen: list[date] = []
    count = 0
    for day in reversed(production.dates(storage)):
        if count >= MOST:
            break
        chosen.append(day)
        count += sum(len(storage.names(production.pages(day, stratum))) for stratum in _UNSURE)
    return chosen


def _places(storage: Storage, production: Production, day: date, reports: Reports) -> Iterator[str]:
    """Yield the records of a day that may wait; of those that were drawn at random the ones that somebody reported."""
    for stratum in (*_UNSURE, "Random"):
        folder = production.pages(day, stratum)
        for name in sorted(storage.names(folder)):
            if name.endswith(".json") and (stratum != "Random" or reports.name(name.removesuffix(".json"))):
                yield join(folder, name)


def _records(storage: Storage, places: Iterable[str]) -> Iterator[CapturedPage]:
    for place, data in storage.read_those_there(places).items():
        try:
            yield parse_page(data, place)
        except StepError:
            continue


def _concerned(record: CapturedPage, reports: Iterable[ProductionReport]) -> set[str]:
    """Return the fields that the page waits for: missing, reported, or the one that the model was least sure of."""
    named = {*record.missing, *(name for report in reports for name in (*report.fields, *report.missing))}
    sure = confidences(record)
    if named or record.stratum != "Uncertain" or not sure:
        return named
    return {min(sure, key=lambda name: (sure[name], name))}
