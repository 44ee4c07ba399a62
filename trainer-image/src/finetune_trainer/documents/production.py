"""What production leaves behind: captured pages, reports, windows, and the totals of weeks."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from .codec import Bytes, ClassName, Count, Decimal, Document, Sha256, Share, decode

OWNER: Final = "finetune-operator.io/production/v1"
PAGE: Final = "finetune-operator.io/production-page/v1"
REPORT: Final = "finetune-operator.io/production-report/v1"
WINDOW: Final = "finetune-operator.io/production-window/v1"
WEEK: Final = "finetune-operator.io/production-week/v1"

Stratum = Literal["Random", "Uncertain", "Reported"]
Id = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$")]
Day = Annotated[str, msgspec.Meta(max_length=10, pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
Week = Annotated[str, msgspec.Meta(max_length=8, pattern=r"^[0-9]{4}-W[0-9]{2}$")]
Namespace = Annotated[str, msgspec.Meta(min_length=1, max_length=63)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
DocumentId = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
PageNumber = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
Pixels = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Kind = Literal["image/jpeg", "image/png", "image/webp", "image/tiff", "image/bmp", "application/pdf"]


class ProductionOwner(Document, frozen=True):
    """Whose pages lie below a prefix."""

    schema: Literal["finetune-operator.io/production/v1"]
    namespace: Namespace
    deployment: Name


class CapturedFile(Document, frozen=True):
    """A page in the bytes that came; `dpi` is null for images, `pixels` the digest that pool and anchor have."""

    sha256: Sha256
    number: PageNumber
    dpi: Annotated[int, msgspec.Meta(ge=36, le=600)] | None
    width: Pixels
    height: Pixels
    pixels: Sha256


class AnsweringModel(Document, frozen=True):
    """The model that answered."""

    name: Name
    version: Name
    sha256: Sha256


class CapturedBox(Document, frozen=True):
    """A box of the answer: corners x1 y1 x2 y2 in the page's pixels."""

    field: ClassName
    confidence: Share
    box: Annotated[tuple[Decimal, ...], msgspec.Meta(min_length=4, max_length=4)]


class CapturedPage(Document, frozen=True, kw_only=True):
    """A page that was answered and kept; `probability` is that of the random draw at the moment `at` (RFC 3339)."""

    schema: Literal["finetune-operator.io/production-page/v1"]
    prediction: Id
    page: CapturedFile
    bytes: Bytes
    kind: Kind
    renderer: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None
    document: DocumentId | None
    model: AnsweringModel
    fields: tuple[CapturedBox, ...]
    missing: tuple[ClassName, ...]
    at: str
    stratum: Stratum
    probability: Share
    namespace: Namespace
    deployment: Name


class ReportedPage(Document, frozen=True):
    """A page as answers name it."""

    sha256: Sha256
    number: PageNumber


class ProductionReport(Document, frozen=True, kw_only=True):
    """A person's report; `subject` is what counts once, and `record` the captured page that came with it."""

    schema: Literal["finetune-operator.io/production-report/v1"]
    id: Id
    subject: Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
    prediction: Id | None
    page: ReportedPage | None
    document: DocumentId | None
    fields: tuple[ClassName, ...]
    missing: tuple[ClassName, ...]
    comment: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)] | None
    model: AnsweringModel | None
    record: Id | None
    at: str
    namespace: Namespace
    deployment: Name


class Answered(Document, frozen=True):
    """What one pod answered in a window."""

    pages: Count
    documents: Count


class DrawProbability(Document, frozen=True):
    """The random draw's probability in a window; caps lower it."""

    configured: Share
    lowest: Share
    last: Share


class StratumCounts(Document, frozen=True):
    """Pages of a stratum: selected = stored + the three losses."""

    selected: Count
    stored: Count
    queue: Count
    cap: Count
    storage: Count


class Strata(Document, frozen=True, rename="pascal"):
    """The three strata."""

    random: StratumCounts
    uncertain: StratumCounts
    reported: StratumCounts


class ProductionWindow(Document, frozen=True, rename={"begin": "from", "end": "to"}):
    """What one pod answered and kept in ten minutes, from `begin` to `end` (RFC 3339)."""

    schema: Literal["finetune-operator.io/production-window/v1"]
    pod: Name
    begin: str
    end: str
    answered: Answered
    probability: DrawProbability
    strata: Strata
    namespace: Namespace
    deployment: Name


class DayTotal(Document, frozen=True):
    """Distinct reported documents of one day."""

    date: Day
    documents: Count


class ProductionWeek(Document, frozen=True, kw_only=True):
    """Totals of an ISO week, numbers only, which outlive its days.

    `documents` is null until the week is over: by then `expired` has the days whose reports are gone already. Reported
    documents count once for all days that are there, and once more for each expired day.
    """

    schema: Literal["finetune-operator.io/production-week/v1"] = WEEK
    week: Week
    documents: Count | None
    expired: tuple[DayTotal, ...]


def parse_owner(data: bytes, where: str) -> ProductionOwner:
    """Parse capture.json; StepError ContractViolated."""
    return decode(data, ProductionOwner, f"The owner of production pages {where}", OWNER)


def parse_page(data: bytes, where: str) -> CapturedPage:
    """Parse the record of a captured page; StepError ContractViolated."""
    return decode(data, CapturedPage, f"The captured page {where}", PAGE)


def parse_report(data: bytes, where: str) -> ProductionReport:
    """Parse a report; StepError ContractViolated."""
    return decode(data, ProductionReport, f"The report {where}", REPORT)


def parse_window(data: bytes, where: str) -> ProductionWindow:
    """Parse a window; StepError ContractViolated."""
    return decode(data, ProductionWindow, f"The window {where}", WINDOW)


def parse_week(data: bytes, where: str) -> ProductionWeek:
    """Parse the totals of a week; StepError ContractViolated."""
    return decode(data, ProductionWeek, f"The totals of a week {where}", WEEK)
