"""Documents that were reported, each once, whichever pods took the reports."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Final

from ..documents.production import CapturedPage, ProductionReport, parse_page, parse_report
from ..errors import StepError
from ..storage import Storage, join
from .layout import STRATA, Production

_YEAR_3000: Final = 32_503_680_000


@dataclass(slots=True)
class _Known:
    """Which prediction is of which bytes, and both of which document. Filled by `add`."""

    _bytes: dict[str, str] = field(default_factory=dict)
    _documents: dict[str, str] = field(default_factory=dict)

    def add(self, prediction: str | None, sha256: str | None, document: str | None) -> None:
        """Take in what one report or record says. Of two documents of the same bytes the first by name stands."""
        if prediction is not None and sha256 is not None:
            self._bytes.setdefault(prediction, sha256)
        if document is not None:
            for name in filter(None, (prediction, sha256)):
                self._documents[name] = min(document, self._documents.get(name, document))

    def subject(self, report: ProductionReport) -> str:
        """Return what a report counts for: the document where it is known, else the bytes, else the prediction."""
        sha256 = _sha256(report) or self._bytes.get(report.prediction or "")
        known = (self._documents.get(name) for name in (report.prediction, sha256) if name is not None)
        document = report.document or next(filter(None, known), None)
        if document is not None:
            return f"document:{document}"
        return f"page:{sha256}" if sha256 is not None else report.subject


def reported_documents(storage: Storage, production: Production, days: Iterable[date]) -> set[str]:
    """Return what was reported on these days, each document once. A report that cannot be read counts for itself.

    A pod knows its own latest answers alone. So a report that another one took may name a prediction only: other
    reports, or the record of a captured page, say which document that is.
    """
    reports, documents = _read(storage, production, days)
    known = _Known()
    for report in reports:
        known.add(report.prediction, _sha256(report), report.document)
    unsaid = {r.prediction for r in reports if not known.subject(r).startswith("document:")} - {None}
    for page in _captured(storage, production, {prediction for prediction in unsaid if prediction is not None}):
        known.add(page.prediction, page.page.sha256, page.document)
    return documents | {known.subject(report) for report in reports}


def _read(storage: Storage, production: Production, days: Iterable[date]) -> tuple[list[ProductionReport], set[str]]:
    """Return the reports, and the places of those that cannot be read."""
    places = [
        join(folder, name)
        for folder in map(production.reports, days)
        for name in storage.names(folder)
        if name.endswith(".json")
    ]
    reports, unreadable = list[ProductionReport](), set[str]()
    for place, data in storage.read_those_there(places).items():
        try:
            reports.append(parse_report(data, place))
        except StepError:
            unreadable.add(place)
    return reports, unreadable


def _captured(storage: Storage, production: Production, predictions: Collection[str]) -> Iterator[CapturedPage]:
    """Yield the records of those predictions that were captured when they were made, as far as they can be read."""
    of_day: dict[date, set[str]] = {}
    for prediction in predictions:
        of_day.setdefault(_day_of(prediction), set()).add(f"{prediction}.json")
    folders = [(production.pages(day, stratum), names) for day, names in of_day.items() for stratum in STRATA]
    places = [join(folder, name) for folder, names in folders for name in names.intersection(storage.names(folder))]
    for place, data in storage.read_those_there(places).items():
        try:
            yield parse_page(data, place)
        except StepError:
            continue


def _day_of(prediction: str) -> date:
    """Return the day (UTC) on which the server made an id; of an id from elsewhere, any day."""
    return datetime.fromtimestamp(int(prediction[:12], 16) / 1000 % _YEAR_3000, UTC).date()


def _sha256(report: ProductionReport) -> str | None:
    return None if report.page is None else report.page.sha256
