"""Production pages: how many there are, what was reported in a week, and that exactly what is too old goes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from finetune_trainer.digests import sha256_of
from finetune_trainer.documents.codec import encode
from finetune_trainer.documents.production import Stratum
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.production import expiry
from finetune_trainer.production.counts import count_answered, count_captured
from finetune_trainer.production.expiry import expire
from finetune_trainer.production.layout import Production, production_of
from finetune_trainer.production.reported import reported_documents
from finetune_trainer.production.weeks import WeekTotal, complete_weeks, total_weeks, week_of
from finetune_trainer.storage import Storage, join
from trainer.captured import vanishing
from trainer.world import owner_document

MESSAGES = Path(__file__).resolve().parents[1] / "contract" / "messages"
NOW = datetime(2026, 11, 26, 15, tzinfo=UTC)  # a Thursday, in W48
TODAY = NOW.date()


def days_ago(count: int) -> date:
    return TODAY - timedelta(days=count)


class Pages:
    """What servers leave behind, in a folder."""

    def __init__(self, root: Path, namespace: str = "ml", deployment: str = "invoice-detector") -> None:
        self.uri = root.as_uri()
        self.folder = root / namespace / deployment
        self.folder.mkdir(parents=True)
        (self.folder / "capture.json").write_bytes(encode(owner_document(namespace, deployment)))
        self._numbers = iter(range(10_000))

    def page(self, day: date, stratum: Stratum = "Random", **said: Any) -> str:
        record = json.loads((MESSAGES / "production-page.json").read_text())
        midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
        prediction = f"{midnight:012x}{next(self._numbers):020x}"
        self._write(day, f"pages/{stratum.lower()}/{prediction}.json", record | {"prediction": prediction, **said})
        (self._day(day) / "files").mkdir(exist_ok=True)
        (self._day(day) / "files" / record["page"]["sha256"]).write_bytes(b"a page")
        return prediction

    def report(self, day: date, subject: str) -> None:
        kind, _, name = subject.partition(":")
        self.said(day, **{kind: {"sha256": sha256_of(name.encode()), "number": 1} if kind == "page" else name})

    def said(self, day: date, **said: Any) -> None:
        record = json.loads((MESSAGES / "production-report.json").read_text())
        unsaid = {"prediction": None, "page": None, "document": None, "record": None}
        identity = f"{next(self._numbers):032x}"
        subject = next(f"{kind}:{said[kind]}"[:300] for kind in ("document", "page", "prediction") if kind in said)
        self._write(day, f"reports/{identity}.json", record | unsaid | {"id": identity, "subject": subject, **said})

    def window(self, day: date, pages: int) -> None:
        record = copy.deepcopy(json.loads((MESSAGES / "production-window.json").read_text()))
        record["answered"]["pages"] = pages
        self._write(day, f"windows/pod-{next(self._numbers):04}.json", record)

    def _day(self, day: date) -> Path:
        return self.folder / "days" / day.isoformat()

    def _write(self, day: date, name: str, content: dict[str, Any]) -> None:
        path = self._day(day) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))

    @property
    def days(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "days").iterdir())

    @property
    def everything(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.folder)): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()
        }


@pytest.fixture
def storage() -> Storage:
    return Storage()


@pytest.fixture
def pages(tmp_path: Path) -> Pages:
    return Pages(tmp_path / "production")


def of(pages: Pages, storage: Storage) -> Production:
    return production_of(storage, pages.uri, "ml", "invoice-detector")


def test_pages_are_counted_by_stratum_with_the_oldest_day(pages: Pages, storage: Storage) -> None:
    captured: list[tuple[int, Stratum, int]]
    captured = [(3, "Random", 2), (1, "Uncertain", 3), (0, "Random", 1), (0, "Reported", 4)]
    for day, stratum, count in captured:
        for _ in range(count):
            pages.page(days_ago(day), stratum)
    pages.report(days_ago(5), "document:a")
    counts = count_captured(storage, of(pages, storage))
    assert (counts.pages, counts.total) == ({"Random": 3, "Uncertain": 3, "Reported": 4}, 10)
    assert counts.oldest == days_ago(3), "a report is no page"


def test_nothing_captured_is_counted_as_nothing(tmp_path: Path, storage: Storage) -> None:
    production = production_of(storage, tmp_path.as_uri(), "ml", "invoice-detector")
    counts = count_captured(storage, production)
    assert count_answered(storage, production, NOW) is None
    assert (counts.total, counts.oldest) == (0, None)
    assert total_weeks(storage, production, NOW) == []
    assert expire(storage, production, keep_days=1, now=NOW) == expiry.Expired(0, more=False)
    assert list(tmp_path.iterdir()) == [], "looking leaves nothing behind"


def test_what_was_answered_is_known_without_a_captured_page(pages: Pages, storage: Storage) -> None:
    pages.window(days_ago(2), 1000)
    pages.window(days_ago(1), 30)
    pages.window(days_ago(0), 4)
    (pages.folder / "days" / TODAY.isoformat() / "windows" / "half.json").write_text("{")
    assert count_answered(storage, of(pages, storage), NOW) == 34


def test_pages_of_another_deployment_are_left_alone(pages: Pages, storage: Storage) -> None:
    (pages.folder / "capture.json").write_bytes(encode(owner_document("ml", "other")))
    with pytest.raises(StepError, match="those of Deployment ml/other") as caught:
        of(pages, storage)
    assert caught.value.reason is Reason.PREFIX_SHARED


@pytest.mark.parametrize(
    ("day", "week"),
    [
        (date(2026, 11, 26), "2026-W48"),
        (date(2026, 12, 31), "2026-W53"),
        (date(2027, 1, 1), "2026-W53"),
        (date(2027, 1, 4), "2027-W01"),
        (date(2024, 12, 30), "2025-W01"),
    ],
)
def test_weeks_are_those_of_iso_8601(day: date, week: str) -> None:
    assert week_of(day) == week


@pytest.mark.parametrize(
    ("now", "last"),
    [
        (datetime(2026, 11, 22, 23, 59, tzinfo=UTC), "2026-W46"),
        (datetime(2026, 11, 23, 0, 30, tzinfo=UTC), "2026-W46"),
        (datetime(2026, 11, 23, 1, 0, tzinfo=UTC), "2026-W47"),
        (datetime(2026, 11, 29, 23, 59, tzinfo=UTC), "2026-W47"),
    ],
)
def test_a_week_is_complete_an_hour_after_its_sunday(now: datetime, last: str) -> None:
    assert week_of(complete_weeks(now)[-1]) == last


def test_a_document_counts_once_a_week_however_often_it_is_reported(pages: Pages, storage: Storage) -> None:
    for day, subject in ((10, "document:a"), (9, "document:a"), (9, "page:b"), (5, "document:a"), (1, "document:a")):
        pages.report(days_ago(day), subject)
    weeks = total_weeks(storage, of(pages, storage), NOW)
    assert weeks == [WeekTotal("2026-W47", 2)], "W46 has nothing, and W48 is not over"


A_PAGE = {"sha256": "a" * 64, "number": 1}


@pytest.mark.parametrize(
    "reports",
    [
        [{"prediction": "1" * 32, "page": A_PAGE, "document": "d"}, {"prediction": "1" * 32}],
        [{"prediction": "1" * 32, "page": A_PAGE, "document": "d"}, {"page": A_PAGE}],
        [{"page": A_PAGE, "document": "d"}, {"prediction": "1" * 32, "page": A_PAGE}, {"prediction": "1" * 32}],
        [{"prediction": "1" * 32, "page": A_PAGE}, {"prediction": "1" * 32}],
        [{"page": A_PAGE, "document": "d"}, {"page": {**A_PAGE, "number": 2}}, {"document": "d"}],
    ],
)
def test_reports_of_one_document_count_once_though_only_one_pod_knew_it(
    pages: Pages, storage: Storage, reports: list[dict[str, Any]]
) -> None:
    for day, said in zip((10, 9, 8), reversed(reports), strict=False):
        pages.said(days_ago(day), **said)
    pages.said(days_ago(9), document="another")
    assert total_weeks(storage, of(pages, storage), NOW) == [WeekTotal("2026-W47", 2)]


def test_a_captured_page_says_which_document_a_prediction_is_of(pages: Pages, storage: Storage) -> None:
    first, second = (pages.page(days_ago(12), stratum, document="d") for stratum in ("Random", "Uncertain"))
    for prediction in (first, second, f"{days_ago(12).year:012x}{7:020x}"):
        pages.said(days_ago(9), prediction=prediction)
    pages.said(days_ago(8), document="d")
    assert total_weeks(storage, of(pages, storage), NOW) == [
        WeekTotal("2026-W46", 0),
        WeekTotal("2026-W47", 2),  # d, and one that nobody kept
    ]


@pytest.mark.parametrize("kind", ["reports", "pages/random", "windows"])
def test_what_goes_while_it_is_read_counts_no_more(
    pages: Pages, storage: Storage, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A person erases what they were asked to; days expire."""
    day = days_ago(10)
    prediction = pages.page(day, document="d")
    pages.said(day, prediction=prediction)
    pages.said(day, document="d")
    pages.window(days_ago(1), 30)
    pages.window(TODAY, 4)
    of_kind = pages.folder / "days" / (days_ago(1) if kind == "windows" else day).isoformat() / kind
    vanishing(monkeypatch, min(of_kind.iterdir()))
    production = of(pages, storage)
    assert count_answered(storage, production, NOW) == (4 if kind == "windows" else 34)
    assert len(reported_documents(storage, production, [day])) == (2 if kind == "pages/random" else 1)


def test_two_documents_of_the_same_bytes_are_two(pages: Pages, storage: Storage) -> None:
    for said in ({"page": A_PAGE, "document": "d"}, {"page": A_PAGE, "document": "e"}, {"page": A_PAGE}):
        pages.said(days_ago(9), **said)
    assert total_weeks(storage, of(pages, storage), NOW) == [WeekTotal("2026-W47", 2)]


def test_a_week_without_reports_lies_between_those_with_some(pages: Pages, storage: Storage) -> None:
    pages.report(days_ago(6 * 7), "document:a")
    pages.report(days_ago(7), "document:b")
    weeks = [(total.week, total.documents) for total in total_weeks(storage, of(pages, storage), NOW)]
    assert weeks == [("2026-W42", 1), *((f"2026-W{n}", 0) for n in (43, 44, 45, 46)), ("2026-W47", 1)]


def test_a_total_outlives_its_reports(pages: Pages, storage: Storage) -> None:
    for day in (5, 6, 7):
        pages.report(days_ago(day), f"document:{day}")
    production = of(pages, storage)
    before = total_weeks(storage, production, NOW)
    expire(storage, production, keep_days=2, now=NOW)
    assert pages.days == []
    assert total_weeks(storage, production, NOW) == before == [WeekTotal("2026-W47", 3)]
    [total] = (pages.folder / "weeks").iterdir()
    assert "document:" not in total.read_text(), "numbers only"


def test_days_that_go_before_their_week_is_over_are_in_its_total(pages: Pages, storage: Storage) -> None:
    production = of(pages, storage)
    monday = datetime(2026, 11, 16, 12, tzinfo=UTC)
    for day in range(7):
        now = monday + timedelta(days=day)
        pages.report(now.date(), f"document:{day}")
        pages.report(now.date(), f"page:{day}")
        expire(storage, production, keep_days=1, now=now)
    assert len(pages.days) == 1
    assert total_weeks(storage, production, monday + timedelta(days=8)) == [WeekTotal("2026-W47", 14)]


def test_exactly_the_days_that_are_too_old_go(pages: Pages, storage: Storage) -> None:
    for day in (0, 1, 29, 30, 31, 400):
        pages.page(days_ago(day))
        pages.window(days_ago(day), 5)
    pages.page(TODAY + timedelta(days=1))
    beside = {
        pages.folder / "notes.txt": b"somebody's",
        pages.folder / "days" / "2020-1-1" / "kept": b"no day of ours",
        pages.folder.parent / "other" / "days" / "2020-01-01" / "pages" / "random" / "x.json": b"another's",
    }
    for path, content in beside.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert expire(storage, of(pages, storage), keep_days=30, now=NOW) == expiry.Expired(3, more=False)
    kept = [days_ago(29), days_ago(1), TODAY, TODAY + timedelta(days=1)]
    assert pages.days == ["2020-1-1", *(day.isoformat() for day in kept)]
    assert {path: path.read_bytes() for path in beside} == beside
    assert expire(storage, of(pages, storage), keep_days=30, now=NOW).days == 0


def test_a_backlog_is_removed_by_and_by(pages: Pages, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "MOST_AT_ONCE", 10)
    for day in (50, 49, 48):
        for _ in range(6):
            pages.page(days_ago(day))
    outcomes = [expire(storage, of(pages, storage), keep_days=7, now=NOW) for _ in range(3)]
    assert [(outcome.days, outcome.more) for outcome in outcomes] == [(1, True), (1, True), (1, False)]
    assert pages.days == []


@pytest.mark.parametrize("below", ["", "pages", "files/a"])
def test_what_a_link_leads_to_does_not_expire(tmp_path: Path, storage: Storage, below: str) -> None:
    pages, others = Pages(tmp_path / "p"), Pages(tmp_path / "others")
    others.page(days_ago(1))
    pages.page(days_ago(1))
    days = pages.folder / "days"
    link = days / days_ago(40).isoformat() / below
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(others.folder, target_is_directory=True)
    there = others.everything
    assert expire(storage, of(pages, storage), keep_days=7, now=NOW).days == 1
    assert others.everything == there
    assert [day.name for day in days.iterdir()] == [days_ago(1).isoformat()]


def test_a_scan_that_is_cut_off_loses_nothing_and_counts_nothing_twice(
    tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def left_behind() -> Pages:
        pages = Pages(tmp_path / f"p{next(numbers)}")
        for day in (9, 8, 7, 6):
            pages.page(days_ago(day))
            pages.report(days_ago(day), f"document:{day}")
            pages.report(days_ago(day), "document:always")
        return pages

    def scan(pages: Pages) -> list[WeekTotal]:
        production = of(pages, storage)
        weeks = total_weeks(storage, production, NOW)
        expire(storage, production, keep_days=5, now=NOW)
        return weeks

    numbers = iter(range(1000))
    whole = left_behind()
    expected = scan(whole)
    for crash in range(1, 60):
        pages = left_behind()
        writes = _failing(storage, monkeypatch, at=crash)
        try:
            scan(pages)
            done = True
        except _CutOffError:
            done = False
        monkeypatch.undo()
        assert scan(pages) == expected, f"cut off at write {crash}"
        assert pages.everything.keys() == whole.everything.keys()
        if done:
            break
        assert writes() >= crash
    else:
        raise AssertionError("more writes than there can be")


class _CutOffError(Exception):
    """The pod is gone."""


def _failing(storage: Storage, monkeypatch: pytest.MonkeyPatch, *, at: int) -> Callable[[], int]:
    """Let the write or removal number `at` be the last that happens; return what counts them."""
    count = 0

    def watched(original: Callable[..., None]) -> Callable[..., None]:
        def call(*given: Any) -> None:
            nonlocal count
            count += 1
            if count > at:
                raise _CutOffError
            original(*given)

        return call

    for name in ("replace", "remove", "remove_folder"):
        monkeypatch.setattr(storage, name, watched(getattr(storage, name)), raising=True)
    return lambda: count


def test_it_is_all_the_same_in_a_bucket(s3: str, tmp_path: Path, storage: Storage) -> None:
    pages = Pages(tmp_path / "production")
    for day in (0, 6, 8, 40):
        pages.page(days_ago(day), "Uncertain")
        pages.report(days_ago(day), f"document:{day}")
        pages.window(days_ago(day), 7)
    bucket = join(s3, tmp_path.name)
    for name, content in pages.everything.items():
        storage.write_once(join(bucket, "ml", "invoice-detector", *name.split("/")), content)
    neighbour = join(bucket, "ml", "invoice-detector-2", "days", days_ago(40).isoformat(), "files", "a")
    storage.write_once(neighbour, b"another's")
    production = production_of(storage, bucket, "ml", "invoice-detector")
    assert count_captured(storage, production).pages["Uncertain"] == 4
    assert count_answered(storage, production, NOW) == 7
    weeks = total_weeks(storage, production, NOW)
    assert [total.documents for total in weeks if total.documents] == [1, 2]
    assert expire(storage, production, keep_days=7, now=NOW) == expiry.Expired(2, more=False)
    assert production.dates(storage) == [days_ago(6), TODAY]
    assert total_weeks(storage, production, NOW) == weeks
    assert storage.exists(neighbour)
    assert storage.walk(join(bucket, "ml", "invoice-detector", "days", days_ago(40).isoformat())).files == ()
