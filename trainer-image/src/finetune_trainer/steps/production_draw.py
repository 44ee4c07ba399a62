"""Which documents of production the third gate compares: drawn with the plan, and fixed by it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from ..data.earlier_plans import taught, taught_by
from ..data.listing import anchor_digests
from ..data.plan import CurrentSample, MadePlan, checked_index
from ..documents.anchor import AnchorIndex
from ..documents.codec import FileReference, digest
from ..documents.inputs import PrepareInputs
from ..documents.plan import DrawnDocument, Plan
from ..documents.result import DrawnDocuments
from ..documents.run import ProductionDocuments, ProductionLimits, TrainingDocument, limits_of
from ..production.drawing import Known, days_to_draw_from, draw_documents
from ..production.layout import production_of
from ..storage import Storage, normalise
from ..texts import document_spelling
from .context import StepContext


def with_production(
    context: StepContext, document: TrainingDocument, inputs: PrepareInputs, made: MadePlan, now: datetime
) -> Plan:
    """Return the plan with the documents of production that candidate and live version did not learn from.

    The plan stays as it is where the third gate is not asked for. Too few documents are no error: the operator asks
    a person then.
    """
    plan, limits, source = made.plan, limits_of(document).production, document.data.production
    if limits is None or source is None:
        return plan
    context.progress.report(percent=95, activity="drawing documents of production")
    storage, live = context.storage, inputs.live.inputs if inputs.live else None
    index = checked_index(storage, normalise(document.data.anchor.uri), document.classes)
    known = known_of(storage, document, plan, live, index=index, pool=made.pool)
    drawn = _drawn(context, document, known, now, limits, source)
    return replace(plan, production=drawn, digests=replace(plan.digests, production=digest(drawn)))


def count_drawn(plan: Plan) -> DrawnDocuments | None:
    """Return how many documents of production the plan has; None where the third gate is not asked for."""
    if plan.production is None:
        return None
    labelled = sum(all(page.label is not None for page in pages) for pages in plan.production)
    return DrawnDocuments(len(plan.production), labelled)


def _drawn(
    context: StepContext,
    document: TrainingDocument,
    known: Known,
    now: datetime,
    limits: ProductionLimits,
    source: ProductionDocuments,
) -> tuple[DrawnDocument, ...]:
    production = production_of(context.storage, source.uri, document.owner.namespace, source.deployment)
    there = production.dates(context.storage)
    days = days_to_draw_from(there, now, last=limits.days, keep=source.keep_days, review=source.review_days)
    return draw_documents(context.storage, production, days, known, count=limits.documents, seed=document.mixing.seed)


def known_of(
    storage: Storage,
    document: TrainingDocument,
    plan: Plan,
    live: FileReference | None,
    *,
    index: AnchorIndex,
    pool: Sequence[CurrentSample],
) -> Known:
    """Return what candidate, base and live version (its plan) learnt from, and the labels of what is held out.

    `index` is the anchor's, `pool` what counted in the pool that the plan was drawn from.
    """
    # A label that says nothing of some classes is none here: a document is right or not by all of its fields.
    held_out = [s for s in pool if s.held_out and s.stored.fields >= len(document.classes)]
    return Known(
        pages=_learnt(storage, document, plan, live, index),
        documents=frozenset(document_spelling(sample.stored.document) for sample in pool if not sample.held_out),
        labels={
            sample.stored.pixels: (sample.stored.label, sample.fields)
            for sample in held_out
            if sample.stored.pixels is not None
        },
    )


def _learnt(
    storage: Storage, document: TrainingDocument, plan: Plan, live: FileReference | None, index: AnchorIndex
) -> frozenset[str]:
    """Return the digests of the pages that candidate, base and live version (its plan) may have learnt from."""
    splits = index.splits
    return (
        taught(plan.listing)
        | taught_by(storage, document.base.inputs)
        | taught_by(storage, live)
        | anchor_digests((*splits.train, *splits.val, *splits.test))
    )
