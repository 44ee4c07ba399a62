"""The third gate's figures: the drawn documents of production through what is live and the candidate."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as with_changes
from pathlib import Path
from typing import Any, Final

from ..data.earlier_plans import taught, taught_by
from ..digests import sha256_of
from ..documents.codec import FileReference, digest
from ..documents.inputs import EvaluateInputs
from ..documents.plan import DrawnDocument, DrawnPage, Plan, Sample
from ..documents.production import parse_page
from ..documents.report import Difference, ProductionReport, ReplayedField
from ..documents.result import ProductionSet
from ..documents.run import Rule, TrainingDocument, limits_of
from ..errors import Reason, StepError
from ..evaluation.average_precision import per_class
from ..evaluation.detector import Detector
from ..evaluation.evaluate import run_model, validation
from ..evaluation.fields import Model
from ..evaluation.pages import Page, PageResult, load_pages
from ..evaluation.postprocess import Thresholds
from ..evaluation.production import (
    Compared,
    Outcome,
    ReplayCounts,
    count_replayed,
    outcome_of,
    page_that_differs,
    worst_replayed,
)
from ..labelling.drawing import page_file
from ..production.layout import DAYS, Production, production_of
from ..report.differences import side_by_side
from ..storage import Storage, join
from .context import StepContext
from .listed_pool import differs

CROPS: Final = "crops"
"""The folder of a day that pictures for reviewers lie in: they expire with the pages that they show."""

MOST_CROPS: Final = 200
"""Pictures that one evaluation leaves: nobody looks at more, and a broken candidate differs everywhere."""

_ORDER: Final[tuple[Outcome, ...]] = ("Lost", "Gained", "Moved")


@dataclass(frozen=True, slots=True)
class Replay:
    """What the result has, and what the report has beside it."""

    result: ProductionSet
    report: ProductionReport


@dataclass(frozen=True, slots=True)
class _Document:
    """A drawn document whose pages are there: their pictures lie in scratch."""

    drawn: DrawnDocument
    pages: tuple[Page, ...]

    @property
    def labelled(self) -> bool:
        """Whether each page has labels of the pool."""
        return all(page.label is not None for page in self.drawn)


def replay(
    context: StepContext,
    document: TrainingDocument,
    inputs: EvaluateInputs,
    plan: Plan,
    models: Mapping[Model, tuple[Detector, str]],
    *,
    known: int | None = None,
) -> Replay | None:
    """Run the plan's documents of production through both models; None where the third gate is not asked for.

    Of each difference a picture is written below the day of its page. Raises StepError DigestMismatch where the plan
    is not what was drawn, or has documents that the candidate learnt from. Only the first
    `known` classes are compared, which all models have; None: all.
    """
    limits, source = limits_of(document).production, document.data.production
    if limits is None or source is None or plan.production is None:
        return None
    production = production_of(context.storage, source.uri, document.owner.namespace, source.deployment)
    _check(plan, plan.production, production)
    learnt = taught_by(context.storage, inputs.live.inputs if inputs.live else None)
    unknown = [pages for pages in plan.production if not any(page.pixels in learnt for page in pages)]
    there = _fetch(context, unknown, len(document.classes))
    compared = _compare(context, document, models, there)
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
    return Replay(result, ProductionReport(_fields(classes, counts, compared), *differences))


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
    if any(not page.record.uri.startswith(join(production.root, DAYS) + "/") for page in pages):
        raise differs(f"its documents of production lie elsewhere than below {production.root}")


def _fetch(context: StepContext, drawn: Sequence[DrawnDocument], classes: int) -> list[_Document]:
    """Return the documents of which every page is there, with each page's picture in scratch for both models."""
    folder = context.scratch / "production"
    folder.mkdir(parents=True, exist_ok=True)
    counted = context.progress.counting("fetching documents of production", "documents", percent=(90, 91))
    there: list[_Document] = []
    for number, document in enumerate(drawn):
        pages: list[Page] = []
        for at, page in enumerate(document):
            fetched = _page(context.storage, page, folder / f"{number}-{at}", classes)
            if isinstance(fetched, str):
                context.progress.report(percent=90, activity=f"passed over page {page.prediction}: {fetched}")
                break
            pages.append(fetched)
        if len(pages) == len(document):
            there.append(_Document(document, tuple(pages)))
        counted(number + 1, len(drawn))
    return there


def _page(storage: Storage, drawn: DrawnPage, picture: Path, classes: int) -> Page | str:
    """Return a page as the server answered it, with its labels; or why it is not to be had any more."""
    data = _read(storage, drawn.record.uri)
    if data is None or sha256_of(data) != drawn.record.sha256:
        return "its record is gone" if data is None else "its record was changed"
    record = parse_page(data, drawn.record.uri)
    if record.stratum != "Random":
        raise differs(f"its documents of production have a page of the stratum {record.stratum}")
    place = join(_day(drawn), "files", record.page.sha256)
    came = _read(storage, place)
    shown = "its bytes have expired, or were erased" if came is None else page_file(record, came)
    if isinstance(shown, str):
        return shown
    picture.write_bytes(shown.data)
    image = FileReference(place, sha256_of(shown.data))
    if drawn.label is not None and not storage.exists(drawn.label.uri):
        return "its label was erased"
    (page,) = load_pages(storage, [Sample(image, drawn.label, len(shown.data), boxes=0, fields=drawn.fields)], classes)
    return with_changes(page, read=lambda _: picture.read_bytes())


def _read(storage: Storage, place: str) -> bytes | None:
    """Return the bytes at a place; None where there are none, which happens to production pages at any time."""
    try:
        return storage.read(place)
    except StepError as error:
        if error.reason is not Reason.DATA_UNREADABLE or storage.exists(place):
            raise
        return None


def _day(page: DrawnPage) -> str:
    """Return the folder of the day that a page was captured on: days/<date>/pages/random/<prediction>.json."""
    return page.record.uri.rsplit("/", 3)[0]


def _compare(
    context: StepContext,
    document: TrainingDocument,
    models: Mapping[Model, tuple[Detector, str]],
    there: Sequence[_Document],
) -> list[Compared]:
    pages = [page for each in there for page in each.pages]
    by_model: list[list[PageResult]] = []
    names: tuple[Model, Model] = ("live" if "live" in models else "base", "candidate")
    for number, name in enumerate(names):
        counted = context.progress.counting(
            f"running {name} on documents of production", "pages", percent=(91 + 2 * number, 93 + 2 * number)
        )
        measured, served = validation(document.serving), Thresholds.of(document.serving)
        by_model.append(run_model(models[name][0], pages, measured, counted, served=served)[0])
    compared: list[Compared] = []
    first = 0
    for each in there:
        old, new = (results[first : first + len(each.pages)] for results in by_model)
        compared.append(Compared(each.labelled, old, new))
        first += len(each.pages)
    return compared


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
    there: Sequence[_Document],
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


def _crop(context: StepContext, folder: str, document: _Document, compared: Compared, field: int) -> str | None:
    """Write the picture of one difference, and return where it lies; None where nothing may be written there."""
    at = page_that_differs(compared, field)
    picture = side_by_side(compared.old[at], compared.new[at], field, labelled=document.labelled)
    if picture is None:
        return None
    page = document.drawn[at]
    place = join(_day(page), CROPS, folder, f"{page.prediction}-{field}.jpg")
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
    full = isinstance(cause, OSError) and cause.errno in (errno.EROFS, errno.ENOSPC, errno.EDQUOT)
    return full or error.reason is Reason.DATA_UNREADABLE
