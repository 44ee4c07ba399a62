"""The evaluation in full, for people and their tools: report.json of evaluate and verify."""

from __future__ import annotations

from typing import Final, Literal

from .codec import Document
from .plan import Digests

REPORT_SCHEMA: Final = "finetune-operator.io/evaluation-report/v1"


class Milliseconds(Document, frozen=True):
    """From decoded page to boxes: median and 95th percentile, as decimal strings."""

    p50: str
    p95: str


class PageLine(Document, frozen=True):
    """One page: labels, detections at the serving confidence, and matches of these."""

    image: str
    sha256: str
    labels: int
    detections: int
    matched: int


class FieldLine(Document, frozen=True):
    """One field: labels, and at the serving confidence boxes found and detections; AP50 where it was measured."""

    name: str
    boxes: int
    matched: int
    detections: int
    ap50: str


class ModelDetails(Document, frozen=True):
    """A model's part of the report beside its figures."""

    milliseconds: Milliseconds
    test_fields: tuple[FieldLine, ...]
    new_fields: tuple[FieldLine, ...]
    test: tuple[PageLine, ...]
    new: tuple[PageLine, ...]


class ReplayedField(Document, frozen=True):
    """One field on documents of production: right before, lost, gained; AP50 on the labelled ones, "" without any."""

    name: str
    old: int
    lost: int
    gained: int
    ap50_old: str
    ap50_new: str


class Difference(Document, frozen=True):
    """A field of a document that the two models differ on, by ids; `crop` is None where there are too many."""

    field: str
    outcome: Literal["Lost", "Gained", "Moved"]
    labelled: bool
    predictions: tuple[str, ...]
    crop: str | None


class ProductionReport(Document, frozen=True):
    """What became of documents of production; the last `not_drawn` differences have no crop."""

    fields: tuple[ReplayedField, ...]
    differences: tuple[Difference, ...]
    not_drawn: int


class SeenField(Document, frozen=True):
    """One field on documents of production: on how many candidate and live version (or the base) find it."""

    name: str
    candidate: int
    live: int


class BaselineReport(Document, frozen=True):
    """What both models see on so many documents of production; how sure each is, "" where it finds nothing."""

    documents: int
    candidate_confidence: str
    live_confidence: str
    fields: tuple[SeenField, ...]


class Report(Document, frozen=True, kw_only=True, omit_defaults=True):
    """`result` is that of the step as plain data; `plan` is absent in a verification, `production` without Gate 3.

    `baseline` is absent where no documents of production were to be had.
    """

    schema: Literal["finetune-operator.io/evaluation-report/v1"]
    classes: tuple[str, ...]
    result: dict[str, object]
    details: dict[str, ModelDetails]
    plan: Digests | None = None
    production: ProductionReport | None = None
    baseline: BaselineReport | None = None
