"""Step `prepare`: check everything that a run stands on, draw the mix, write the plan. Bad data ends here, cheaply."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from msgspec.structs import asdict

from ..data.earlier_plans import judged_samples, listing_of
from ..data.plan import Known, MadePlan, count_new_set, make_plan
from ..data.pool_log import entries_beside, entry_names
from ..documents.codec import encode
from ..documents.inputs import PrepareInputs
from ..documents.plan import NewSetCounts, Plan
from ..documents.pool import PoolWithdrawal
from ..documents.result import PrepareResult
from ..documents.run import RebuildDocument, TrainingDocument
from ..errors import Reason, StepError, bad_input
from ..evaluation.pages import load_pages
from ..progress import utc_now
from ..storage import normalise
from .context import StepContext
from .models import fetch_base
from .production_draw import count_drawn, with_production

_GONE: Final = (Reason.DATA_UNREADABLE, Reason.IMAGE_UNREADABLE, Reason.LABEL_MISSING)
"""What a page that is erased while it is read ends in."""

_LABELS_AT_ONCE: Final = 200
"""Labels that are read together, to see what is on the pages."""


def prepare(
    context: StepContext,
    document: TrainingDocument,
    inputs: PrepareInputs,
    clock: Callable[[], datetime] = utc_now,
) -> PrepareResult:
    """Check base, anchor and pool; publish plan.json; return counts and digests."""
    context.progress.report(percent=0, activity="checking the base")
    _check_base(context, document)
    judged, lost = judged_samples(context.storage, inputs.judged)
    for error in lost:
        context.progress.report(percent=10, activity=f"passed over the plan of a judged run: {error.message}")
    known = Known(
        base=listing_of(context.storage, document.base.inputs),
        live=listing_of(context.storage, inputs.live.inputs if inputs.live else None),
        judged=judged,
    )
    context.progress.report(percent=20, activity="checking pool and anchor")
    made = _draw(context, document, known)
    plan = with_production(context, document, inputs, made, clock())
    written = context.publisher.file("plan.json", encode(plan))
    context.progress.report(percent=100, activity="plan written")
    return PrepareResult(
        **asdict(plan.counts),
        plan=written,
        ratio=plan.ratio,
        new_set=count_new_set(plan.new_set),
        digests=plan.digests,
        production=count_drawn(plan),
    )


def _draw(context: StepContext, document: TrainingDocument, known: Known) -> MadePlan:
    """Return the plan; StepError for what is wrong.

    Where pages were erased while they were read, nothing is: it is drawn anew, from what is left.
    """
    storage, uri = context.storage, normalise(document.data.pool.uri)
    reading = context.progress.counting("reading pages of earlier releases", "pages", percent=(20, 40))
    counted = context.progress.counting("checking the pool", "pages", percent=(40, 90))
    while True:
        there = frozenset(entry_names(storage, uri))
        try:
            made = make_plan(storage, document, known, counted, reading=reading)
            _check_new_set(document, made.plan, count_new_set(made.plan.new_set))
            _check_labelled(context, document, made.plan)
            _check_compared(context, document, made.plan)
        except StepError as error:
            since = entries_beside(storage, uri, there) if error.reason in _GONE else ()
            if not any(isinstance(entry, PoolWithdrawal) and entry.erased for entry in since):
                raise
            context.progress.report(percent=20, activity="pages were erased meanwhile: drawing anew")
        else:
            return made


def _check_base(context: StepContext, document: TrainingDocument) -> None:
    fetch_base(context, document)
    checkpoint = document.base.checkpoint
    if not context.storage.exists(normalise(checkpoint.uri)):
        raise bad_input(
            Reason.BASE_UNUSABLE,
            f"The checkpoint {checkpoint.uri} of {document.base.version} does not exist.",
            "Restore it, or import the base again: training starts from the checkpoint.",
        )
    start = document.start if isinstance(document, RebuildDocument) else None
    if start is not None and not context.storage.exists(normalise(start.uri)):
        raise bad_input(
            Reason.BASE_UNUSABLE,
            f"The start {start.uri} of the rebuild does not exist.",
            "Upload it there, or leave the policy's spec.rebuild.start out (random weights); then make a new run.",
        )


def _check_labelled(context: StepContext, document: TrainingDocument, plan: Plan) -> None:
    """Say how many pages teach nothing of the last classes.

    StepError PoolTooSmall for a rebuild where none is labelled for one of them. A fine-tune has it of its base.
    """
    train, classes = plan.train, document.classes
    most = max((sample.fields or len(classes) for sample in train), default=len(classes))
    if most < len(classes) and isinstance(document, RebuildDocument):
        raise bad_input(
            Reason.POOL_TOO_SMALL,
            f"No page that trains is labelled for {', '.join(classes[most:])}.",
            "Label pages for it, of the pool or new ones, and add them with `pool add` or `pool correct` and "
            "--append-classes.",
        )
    fewer = sum(sample.fields is not None and sample.fields < len(classes) for sample in train)
    if fewer:
        least = min(sample.fields or len(classes) for sample in train)
        said = (
            f"{fewer} of {len(train)} pages teach nothing of {', '.join(classes[least:])}: nobody labelled them for it"
        )
        context.progress.report(percent=94, activity=said)
    if isinstance(document, RebuildDocument) and document.base.fields is not None:
        _check_shown(context, plan, document.base.fields)


def _check_shown(context: StepContext, plan: Plan, known: int) -> None:
    """Raise StepError PoolTooSmall where no page that trains has a box of a class behind the first `known` ones.

    A base cannot learn what no page shows, and would be trained for days. Labels are read until each was seen.
    """
    complete = [s for s in plan.train if s.label is not None and (s.fields is None or s.fields > known)]
    unseen = set(range(known, len(plan.classes)))
    for start in range(0, len(complete), _LABELS_AT_ONCE):
        for page in load_pages(context.storage, complete[start : start + _LABELS_AT_ONCE], len(plan.classes)):
            unseen -= {box.field for box in page.labels}
        if not unseen:
            return
    if unseen:
        raise bad_input(
            Reason.POOL_TOO_SMALL,
            f"None of the {len(complete)} pages that train and are labelled for it has a box of "
            f"{', '.join(plan.classes[field] for field in sorted(unseen))}.",
            "Label pages that have one, and add them with `pool add` or `pool correct` and --append-classes.",
        )


def _check_compared(context: StepContext, document: TrainingDocument, plan: Plan) -> None:
    """Raise StepError PoolTooSmall where no new page has a box of what a rebuild can be held against its base by.

    All figures but those of appended classes are of the classes that the base has, too: of none, a gate makes an Error.
    """
    known = document.base.fields
    if known is None:
        return
    for start in range(0, len(plan.new_set), _LABELS_AT_ONCE):
        pages = load_pages(context.storage, plan.new_set[start : start + _LABELS_AT_ONCE], len(plan.classes))
        if any(box.field < known for page in pages for box in page.labels):
            return
    raise bad_input(
        Reason.POOL_TOO_SMALL,
        f"None of the {len(plan.new_set)} new pages that the candidate would be measured on has a box of a class that "
        f"{document.base.version} has, so the two could not be compared.",
        "Add pages with objects of these classes too; where a share is held out, pages of more documents.",
    )


def _check_new_set(document: TrainingDocument, plan: Plan, counts: NewSetCounts) -> None:
    """Raise StepError PoolTooSmall where a candidate could not be measured: an Error of its gate, after training."""
    if not plan.new_set:
        raise bad_input(
            Reason.POOL_TOO_SMALL,
            f"None of the {plan.counts.pool} pages of the pool is held out (holdout {document.holdout}) and unknown to "
            f"{document.base.version}, so a candidate would be measured on nothing.",
            "Verify pages of more documents, or hold out a larger share.",
        )
    if not counts.boxes:
        raise bad_input(
            Reason.POOL_TOO_SMALL,
            f"None of the {len(plan.new_set)} new pages that the candidate would be measured on has a labelled box, so "
            "nothing could be said of it.",
            "Add pages with objects too; where a share is held out, pages of more documents.",
        )
