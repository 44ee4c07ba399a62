"""Which captured pages are worth labelling first: reported ones, then uncertain ones, spread over layouts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from ..documents.production import CapturedPage, ProductionReport, Stratum, parse_report
from ..errors import StepError
from ..production.layout import Production
from ..storage import Storage, join

_CELLS = 6
"""Of a side of the page, for what counts as one layout: where its fields stand, roughly."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to choose: strata (none: all), a field that is missing, reported or found, at most `limit` pages.

    Reported are all pages that somebody reported, whatever they were kept for.
    """

    strata: Collection[Stratum] = ()
    field: str | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """A page with what people reported of it."""

    record: CapturedPage
    reports: tuple[ProductionReport, ...]

    @property
    def reported(self) -> str:
        """What was reported, in a line; "" where nothing was."""
        return "; ".join(filter(None, map(_in_words, self.reports)))


@dataclass(slots=True)
class Reports:
    """Reports by what they name. Filled by `add`; `unreadable` says in sentences why others were passed over."""

    unreadable: list[str] = field(default_factory=list)
    _by_prediction: dict[str, list[ProductionReport]] = field(default_factory=dict)
    _by_page: dict[tuple[str, int], list[ProductionReport]] = field(default_factory=dict)
    _by_document: dict[str, list[ProductionReport]] = field(default_factory=dict)

    def add(self, report: ProductionReport) -> None:
        """Remember a report."""
        for prediction in {report.prediction, report.record} - {None}:
            self._by_prediction.setdefault(prediction or "", []).append(report)
        if report.page is not None:
            self._by_page.setdefault((report.page.sha256, report.page.number), []).append(report)
        if report.document is not None and report.prediction is None and report.page is None:
            self._by_document.setdefault(report.document, []).append(report)

    def name(self, prediction: str) -> bool:
        """Tell whether a report names that prediction, or came with its page."""
        return prediction in self._by_prediction

    def of(self, record: CapturedPage) -> tuple[ProductionReport, ...]:
        """Return the reports of a page, oldest first."""
        reports = [
            *self._by_prediction.get(record.prediction, ()),
            *self._by_page.get((record.page.sha256, record.page.number), ()),
            *(self._by_document.get(record.document, ()) if record.document is not None else ()),
        ]
        each = {report.id: report for report in reports}
        return tuple(sorted(each.values(), key=lambda report: report.at))


def read_reports(storage: Storage, uri: str, since: date | None) -> Reports:
    """Return the reports since a day; a page is reported after it was answered."""
    production, reports = Production(uri), Reports()
    for day in production.dates(storage):
        if since is not None and day < since:
            continue
        folder = production.reports(day)
        places = [join(folder, name) for name in storage.names(folder) if name.endswith(".json")]
        for place, data in storage.read_those_there(places).items():
            try:
                reports.add(parse_report(data, place))
            except StepError as error:
                reports.unreadable.append(error.message)
    return reports


def choose(
    records: Iterable[CapturedPage], reports: Reports, wanted: Wanted, known: Collection[str] = ()
) -> list[Chosen]:
    """Return the pages to label, the most useful first; `known` are digests of pixels that are labelled already.

    A page that came several times is taken once. In each group the layouts take turns, so that a limit does not cut
    all of it from the supplier that writes most.
    """
    groups: tuple[list[Chosen], list[Chosen], list[Chosen]] = ([], [], [])
    seen: set[str] = set(known)
    pages = [Chosen(record, reports.of(record)) for record in records]
    pages.sort(key=lambda page: (_group(page), *_urgency(page, wanted.field)))
    for page in pages:
        record = page.record
        if record.page.pixels in seen or (wanted.strata and not _is_of(page, wanted.strata)):
            continue
        if wanted.field is not None and not _concerns(page, wanted.field):
            continue
        seen.add(record.page.pixels)
        groups[_group(page)].append(page)
    chosen = [page for group in groups for page in _by_turns(group)]
    return chosen if wanted.limit is None else chosen[: wanted.limit]


def layout(record: CapturedPage) -> tuple[object, ...]:
    """Return where a page's fields stand, roughly: alike for pages of one form."""
    page = record.page
    best: dict[str, tuple[int, int]] = {}
    for answer in record.fields:  # by falling confidence
        x1, y1, x2, y2 = map(float, answer.box)
        cell = int(_CELLS * (x1 + x2) / 2 / page.width), int(_CELLS * (y1 + y2) / 2 / page.height)
        best.setdefault(answer.field, cell)
    return (page.width > page.height, *sorted(best.items()))


def _by_turns(pages: Sequence[Chosen]) -> Iterator[Chosen]:
    """Yield one page of each layout, then the next of each: layouts in the order of their most useful pages."""
    by_layout: dict[tuple[object, ...], list[Chosen]] = {}
    for page in pages:
        by_layout.setdefault(layout(page.record), []).append(page)
    for turn in range(max(map(len, by_layout.values()), default=0)):
        yield from (group[turn] for group in by_layout.values() if turn < len(group))


def _is_of(page: Chosen, strata: Collection[Stratum]) -> bool:
    return page.record.stratum in strata or ("Reported" in strata and _is_reported(page))


def _is_reported(page: Chosen) -> bool:
    return bool(page.reports) or page.record.stratum == "Reported"


def _group(page: Chosen) -> int:
    if _is_reported(page):
        return 0
    return 1 if page.record.stratum == "Uncertain" else 2


def _urgency(page: Chosen, of_field: str | None) -> tuple[int, float, str]:
    """Return what sorts within a group: missing fields first, then the least sure; the id makes it one order."""
    shares = confidences(page.record)
    missing = [name for name in page.record.missing if of_field in (None, name)]
    sure = [share for name, share in shares.items() if of_field in (None, name)]
    return -len(missing), min(sure, default=0.0), page.record.prediction


def confidences(record: CapturedPage) -> Mapping[str, float]:
    """Return the confidence of each found field's best box."""
    best: dict[str, float] = {}
    for answer in record.fields:
        best.setdefault(answer.field, float(answer.confidence))
    return best


def _concerns(page: Chosen, name: str) -> bool:
    reported = any(name in report.fields or name in report.missing for report in page.reports)
    return reported or name in page.record.missing or any(answer.field == name for answer in page.record.fields)


def _in_words(report: ProductionReport) -> str:
    wrong = f"wrong: {', '.join(report.fields)}" if report.fields else ""
    missing = f"missing: {', '.join(report.missing)}" if report.missing else ""
    return ", ".join(filter(None, (wrong, missing, report.comment and f'"{report.comment}"')))
