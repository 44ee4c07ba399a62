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


class Report(Document, frozen=True, kw_only=True, omit_defaults=True):
    """`result` is that of the step as plain data; `plan` is absent in a verification."""

    schema: Literal["finetune-operator.io/evaluation-report/v1"]
    classes: tuple[str, ...]
    result: dict[str, object]
    details: dict[str, ModelDetails]
    plan: Digests | None = None
