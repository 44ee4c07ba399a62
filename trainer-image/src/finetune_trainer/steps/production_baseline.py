"""What alerts hold production against: what candidate and live version see on documents of production.

No gate looks at it, so nothing of it ends a step: without it, alerts go by the test set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from ..documents.inputs import EvaluateInputs
from ..documents.report import BaselineReport, SeenField
from ..documents.result import Baseline
from ..documents.run import ProductionDocuments, TrainingDocument
from ..errors import ErrorClass, StepError
from ..evaluation.detector import Detector
from ..evaluation.fields import Model
from ..evaluation.production import Compared, least_found, seen
from ..production.drawing import draw_documents
from ..production.layout import production_of
from .context import StepContext
from .production_documents import compare, fetch_documents
from .production_draw import known_of
from .production_replay import Replay
from .yardstick import Yardstick

DOCUMENTS: Final = 100
"""Documents that are drawn where the third gate has too few: its own default."""

ENOUGH: Final = 50
"""Documents from which on alerts go by them. The third gate may have fewer: its pages stay until a review is over."""

PAGES: Final = 400
"""Pages of them at most, however many a document has."""

DAYS: Final = 30
"""Days, the newest of which pages are there, that they are drawn from."""

_OF_THE_PAGES: Final = (ErrorClass.BAD_INPUT, ErrorClass.UNAVAILABLE)
"""What an error of pages that cannot be had is; no other is theirs."""


@dataclass(frozen=True, slots=True)
class MeasuredBaseline:
    """What the result has: of the candidate alone, the fields that it finds least; and what the report has."""

    result: Baseline
    report: BaselineReport


def measure_baseline(
    context: StepContext,
    document: TrainingDocument,
    inputs: EvaluateInputs,
    yardstick: Yardstick,
    models: Mapping[Model, tuple[Detector, str]],
    replayed: Replay | None,
    today: date,
) -> MeasuredBaseline | None:
    """Return what both models see on the documents of the third gate, or on some that are drawn for it now.

    The latter where the gate is not asked for, or has fewer than ENOUGH, and others have more.
    None where the document names no captured pages, where none are there that no model learnt from, and where they
    cannot be read: progress says why, and the step goes on.
    """
    source = document.data.production
    if source is None:
        return None
    compared: Sequence[Compared] = () if replayed is None else replayed.compared
    why = "there is none that no model learnt from"
    if len(compared) < ENOUGH:
        try:
            drawn = _drawn(context, document, inputs, yardstick, models, source, today)
        except StepError as error:
            if error.error_class not in _OF_THE_PAGES:
                raise
            drawn, why = (), error.message
        compared = max(compared, drawn, key=len)
    if not compared:
        context.progress.report(percent=94, activity=f"no documents of production, alerts go by the test set: {why}")
        return None
    return _baseline(compared, document.classes)


def _drawn(
    context: StepContext,
    document: TrainingDocument,
    inputs: EvaluateInputs,
    yardstick: Yardstick,
    models: Mapping[Model, tuple[Detector, str]],
    source: ProductionDocuments,
    today: date,
) -> Sequence[Compared]:
    """Draw documents that no model learnt from, and run both models on them."""
    context.progress.report(percent=90, activity="drawing documents of production")
    production = production_of(context.storage, source.uri, document.owner.namespace, source.deployment)
    live = inputs.live.inputs if inputs.live else None
    known = known_of(context.storage, document, yardstick.plan, live, index=yardstick.index, pool=yardstick.pool)
    # A day to come is that of a wrong clock: it never expires, and would stay among the newest.
    days = [day for day in production.dates(context.storage) if day <= today][-DAYS:]
    seed = document.mixing.seed
    unlabelled = replace(known, labels={})
    drawn = draw_documents(context.storage, production, days, unlabelled, count=DOCUMENTS, seed=seed, pages=PAGES)
    there = fetch_documents(context, drawn, len(document.classes))
    return compare(context, models, there) if there else ()


def _baseline(compared: Sequence[Compared], classes: Sequence[str]) -> MeasuredBaseline:
    candidate, live = (
        seen(documents, len(classes)) for documents in ([d.new for d in compared], [d.old for d in compared])
    )
    fields = least_found(candidate)
    detected = tuple(candidate.detected[field] for field in fields)
    rows = zip(classes, candidate.detected, live.detected, strict=True)
    return MeasuredBaseline(
        Baseline(len(compared), tuple(fields), detected, candidate.confidence),
        BaselineReport(len(compared), candidate.confidence, live.confidence, tuple(SeenField(*row) for row in rows)),
    )
