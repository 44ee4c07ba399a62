"""The third gate's figures: the drawn documents of production through what is live and the candidate."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from ..data.earlier_plans import taught
from ..documents.codec import digest
from ..documents.inputs import EvaluateInputs
from ..documents.plan import DrawnDocument, DrawnPage, Plan
from ..documents.report import Difference, ProductionReport, ReplayedField
from ..documents.result import ProductionSet
from ..documents.run import Rule, TrainingDocument, limits_of
from ..errors import Reason, StepError
from ..evaluation.average_precision import per_class
from ..evaluation.detector import Detector
from ..evaluation.fields import Model
from ..evaluation.pages import PageResult
from ..evaluation.production import (
    Compared,
    Outcome,
    ReplayCounts,
    count_replayed,
    outcome_of,
    page_that_differs,
    worst_replayed,
)
from ..local_files import is_full
from ..production.drawing import Known
from ..production.layout import DAYS, Production, production_of
from ..report.differences import side_by_side
from ..storage import join
from .context import StepContext
from .listed_pool import differs
from .production_documents import CapturedDocument, compare, day_of, fetch_documents
from .production_draw import known_of
from .yardstick import Yardstick

CROPS: Final = "crops"
"""The folder of a day that pictures for reviewers lie in: they expire with the pages that they show."""

MOST_CROPS: Final = 200
"""Pictures that one evaluation leaves: nobody looks at more, and a broken candidate differs everywhere."""

_ORDER: Final[tuple[Outcome, ...]] = ("Lost", "Gained", "Moved")


@dataclass(frozen=True, slots=True)
class Replay:
    """What the result has, what the report has beside it, and the documents by both models."""

    result: ProductionSet
    report: ProductionReport
    compared: Sequence[Compared]


def replay(
    context: StepContext,
    document: TrainingDocument,
    inputs: EvaluateInputs,
    yardstick: Yardstick,
    models: Mapping[Model, tuple[Detector, str]],
    *,
    known: int | None = None,
) -> Replay | None:
    """Run the plan's documents of production through both models; None where the third gate is not asked for.

    Of each difference a picture is written below the day of its page. Raises StepError DigestMismatch where the plan
    is not what was drawn, or has documents that the candidate learnt from, or labels that are not those of the pool.
    What a model learnt from all the same, by what is live and by the anchor as they are now, is left out: it may be
    there since. Only the first `known` classes are compared, which all models have; None: all.
    """
    limits, source = limits_of(document).production, document.data.production
    plan, live = yardstick.plan, inputs.live.inputs if inputs.live else None
    if limits is None or source is None or plan.production is None:
        return None
    production = production_of(context.storage, source.uri, document.owner.namespace, source.deployment)
    _check(plan, plan.production, production)
    learnt = known_of(context.storage, document, plan, live, index=yardstick.index, pool=yardstick.pool)
    _check_labels(plan.production, learnt)
    unknown = [pages for pages in plan.production if not any(page.pixels in learnt.pages for page in pages)]
    there = fetch_documents(context, unknown, len(document.classes))
    if any(each.name in learnt.documents for each in there):
        raise differs("its documents of production are some that it trains on other pages of")
    compared = compare(context, models, there, must_answer=True)
    classes = document.classes[:known]
    counts = count_replayed(compared, len(classes))
    result = ProductionSet(
        digest=plan.digests.production or "",
        drawn=len(plan.production),
        vanished=len(unknown) - len(there),
        documents=len(there),
        labelled=sum(each.labelled for each in there),
        **columns(counts, limits.rule),
    )
    folder = f"{document.owner.uid}-{inputs.attempt}-{inputs.round}-{inputs.nonce}"
    differences = _differences(context, classes, folder, there, compared, counts)
    return Replay(result, ProductionReport(_fields(classes, counts, compared), *differences), compared)


def _check(plan: Plan, drawn: Sequence[DrawnDocument], production: Production) -> None:
    """Raise StepError unless the drawn documents are those that the digest says, unknown to the candidate, and ours."""
    if digest(drawn) != plan.digests.production:
        raise differs("its documents of production have another digest than it says")
    known = taught(plan.listing)
    pages = [page for pages in drawn for page in pages]
    if any(page.pixels in known for page in pages):
        raise differs("its documents of production have pages that it trains on")
    if len({page.pixels for page in pages}) < len(pages):
        raise differs("its documents of production have a page twice")
    if not all(_is_in_its_place(page, production) for page in pages):
        raise differs(f"its documents of production lie elsewhere than below {production.root}")


def _is_in_its_place(page: DrawnPage, production: Production) -> bool:
    """Tell whether a page's record is that of a captured page of the random stratum, on some day."""
    try:
        day = date.fromisoformat(page.record.uri.removeprefix(join(production.root, DAYS) + "/")[:10])
    except ValueError:
        return False
    return page.record.uri == join(production.pages(day, "Random"), f"{page.prediction}.json")


def _check_labels(drawn: Sequence[DrawnDocument], known: Known) -> None:
    """Raise StepError unless each label is what the pool's held-out pages have for these pixels, of all classes.

    By an empty label both models are wrong alike wherever they find something, and nothing would be lost. Without one
    a box is right wherever it is.
    """
    for page in (page for pages in drawn for page in pages):
        if (page.label, page.fields) == known.labels.get(page.pixels, (None, None)):
            continue
        if page.label is None:
            raise differs("its documents of production lack labels that held-out pages of the pool have")
        raise differs("its documents of production have labels that no held-out page of the pool has")


def columns(counts: ReplayCounts, rule: Rule) -> dict[str, Any]:
    """Return the columns of the worst fields, as a result has them."""
    fields = worst_replayed(counts, rule)
    columns = {"old": counts.old, "lost": counts.lost, "gained": counts.gained}
    listed = {name: tuple(column[field] for field in fields) for name, column in columns.items()}
    return {"measured": len(counts.old), "field": tuple(fields), **listed}


def _fields(classes: Sequence[str], counts: ReplayCounts, compared: Sequence[Compared]) -> tuple[ReplayedField, ...]:
    """Return the line of every field, with AP50 on the labelled documents."""
    labelled = [document for document in compared if document.labelled]
    curves = [
        per_class([(p.detections, p.truth) for pages in results for p in _of_first(pages, len(classes))], len(classes))
        for results in ([document.old for document in labelled], [document.new for document in labelled])
    ]
    return tuple(
        ReplayedField(
            name,
            counts.old[field],
            counts.lost[field],
            counts.gained[field],
            *(f"{by_class[field].ap:.6f}" if field in by_class else "" for by_class in curves),
        )
        for field, name in enumerate(classes)
    )


def _of_first(pages: Sequence[PageResult], fields: int) -> list[PageResult]:
    return [page.of_first(fields) for page in pages]


def _differences(
    context: StepContext,
    classes: Sequence[str],
    folder: str,
    there: Sequence[CapturedDocument],
    compared: Sequence[Compared],
    counts: ReplayCounts,
) -> tuple[tuple[Difference, ...], int]:
    """Return what the two models differ on, what counts first, and how many at the end have no picture."""
    differing = [
        (outcome, field, number)
        for number, document in enumerate(compared)
        for field in range(len(classes))
        if (outcome := outcome_of(document, field)) is not None
    ]
    differing.sort(key=lambda entry: (_ORDER.index(entry[0]), -counts.net(entry[1]), entry[1], entry[2]))
    differences = tuple(
        Difference(
            field=classes[field],
            outcome=outcome,
            labelled=there[number].labelled,
            predictions=tuple(page.prediction for page in there[number].drawn),
            crop=_crop(context, folder, there[number], compared[number], field) if at < MOST_CROPS else None,
        )
        for at, (outcome, field, number) in enumerate(differing)
    )
    return differences, max(len(differing) - MOST_CROPS, 0)


def _crop(context: StepContext, folder: str, document: CapturedDocument, compared: Compared, field: int) -> str | None:
    """Write the picture of one difference, and return where it lies; None where nothing may be written there."""
    at = page_that_differs(compared, field)
    picture = side_by_side(compared.old[at], compared.new[at], field, labelled=document.labelled)
    if picture is None:
        return None
    page = document.drawn[at]
    place = join(day_of(page), CROPS, folder, f"{page.prediction}-{field}.jpg")
    try:
        context.storage.write_once(place, picture)
    except StepError as error:
        if not _takes_nothing(error):
            raise
        context.progress.report(percent=95, activity=f"no picture of page {page.prediction}: {error.message}")
        return None
    return place


def _takes_nothing(error: StepError) -> bool:
    """Tell whether the place takes no picture, now or later: what was measured stands without it."""
    cause = error.__cause__
    read_only = isinstance(cause, OSError) and cause.errno == errno.EROFS
    return read_only or is_full(cause) or error.reason is Reason.DATA_UNREADABLE
