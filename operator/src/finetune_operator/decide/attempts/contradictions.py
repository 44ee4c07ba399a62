"""What a result says against itself: numbers that cannot all have come from the same pages (rows R120, R121).

An honest evaluator counts once, and reports sums of it: totals, rates, means, and of each rule the worst fields. So
each part bounds the others, and figures that were written rather than counted rarely keep to that. A number that is
none by itself, or a list that is, is left to the gates, which make an Error of it.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from ...api.run_document import DocumentMixing, RunDocument
from ...api.step_result import AddedFields, EvaluateResult, Measured, NewSet, PrepareResult, Scores
from ..gates.gate import shared_fields
from ..gates.rows import MAX_COUNT, drop_rows, floor_rows
from ..gates.shares import found_share, share
from .tallies import Tally, detections_of, new_samples, test_set

_ROUNDED: Final = Decimal("0.000001")
"""What a share of six digits may be off by."""


def contradictions(run_document: RunDocument, result: EvaluateResult, *, all_fresh: bool) -> list[str]:
    """Return where parts of the result contradict each other; empty for every honest one. Total: it never raises.

    `all_fresh`: no plan told the evaluation what is fresh, so that all new samples are.
    """
    wrong = [*_counts(result), *_added(run_document, result)]
    if wrong:
        return wrong  # nothing can be reckoned with these
    # All other figures are of the fields that every model has.
    run_document = replace(run_document, classes=run_document.classes[: shared_fields(run_document, result)])
    wrong += _test_pages(run_document, result)
    for name, model in _models(result):
        wrong += _rates(name, model, result.new_set)
    if wrong or result.new_set is None:
        return wrong
    wrong += _new_samples(result.new_set, result, run_document, all_fresh=all_fresh)
    return wrong or list(_lists(run_document, result))


def _models(result: EvaluateResult) -> list[tuple[str, Measured]]:
    models = result.models
    named = (("candidate", models.candidate), ("base", models.base), ("live version", models.live))
    return [(name, model) for name, model in named if model is not None]


def _counts(result: EvaluateResult) -> Iterator[str]:
    """Yield the counts that are none."""
    counts = [("test images", result.test_set.images), ("boxes of the test set", result.test_set.boxes)]
    if result.new_set is not None:
        counts += [("documents", result.new_set.documents), ("fresh documents", result.new_set.fresh)]
    for name, model in _models(result):
        for scores in filter(None, (model.pool, model.fresh)):
            counts += [(f"boxes for the {name}", scores.boxes), (f"boxes found by the {name}", scores.matched)]
    yield from (f"{count} {what} is no count" for what, count in counts if not 0 <= count <= MAX_COUNT)


def _added(run_document: RunDocument, result: EvaluateResult) -> Iterator[str]:
    """Yield what cannot be of fields that not all models have (R238)."""
    added, fields = result.added, len(run_document.classes)
    if added is None:
        return
    if not 0 < added.known < fields or run_document.mode == "Verify":
        yield f"the models have {added.known} of {fields} fields, and others are appended"
    pairs = ((added.test_boxes, added.test, "the test set"), (added.new_boxes, added.new, "new samples"))
    for boxes, listed, what in pairs:
        if not 0 <= boxes <= MAX_COUNT or sum(listed.boxes) > boxes or min(listed.boxes, default=0) < 0:
            yield f"{sum(listed.boxes)} of {boxes} boxes of appended fields on {what}"
        elif run_document.gates is not None and listed.measured <= fields - added.known:
            least = run_document.gates.floor.min_boxes
            yield from _measured(listed, boxes, fields - added.known, least, what)


def _measured(listed: AddedFields, boxes: int, fields: int, least: int, what: str) -> Iterator[str]:
    """Yield that so many boxes cannot be on the measured ones of so many fields, which have `least` or more each."""
    unlisted, left = listed.measured - len(listed.field), boxes - sum(listed.boxes)
    most = (fields - listed.measured) * (least - 1)
    if left < unlisted * least or (unlisted == 0 and left > most):
        yield f"{boxes} boxes on {what} are not those of {listed.measured} appended fields with {least} or more each"


def _test_pages(run_document: RunDocument, result: EvaluateResult) -> Iterator[str]:
    """Yield that the test set has more boxes than its pages may have, or none and a mean over them."""
    images, most = result.test_set.images, run_document.serving.max_detections
    boxes = result.test_set.boxes + (0 if result.added is None else result.added.test_boxes)
    if boxes > images * most:
        yield f"{boxes} boxes on {images} test images, of which none may have more than {most}"
    if images > 0 and result.test_set.boxes == 0 and any(share(model.map50) for _, model in _models(result)):
        yield f"an mAP50 above 0 on {images} test images without a box"


def _rates(name: str, model: Measured, new_set: NewSet | None) -> Iterator[str]:
    """Yield what is wrong among the figures of one model on new samples, and between all and the fresh ones."""
    documents = (new_set.documents, new_set.fresh) if new_set is not None else (0, 0)
    named = zip(("new samples", "fresh samples"), (model.pool, model.fresh), documents, strict=True)
    for what, scores, count in named:
        if scores is not None:
            yield from (f"{name} on {what}: {text}" for text in _scores(scores, count))
    pool, fresh = model.pool, model.fresh
    if pool is None or fresh is None:
        return
    if fresh.boxes > pool.boxes or fresh.matched > pool.matched:
        yield f"{name}: more boxes, or more of them found, on the fresh samples than on all"
    elif fresh.boxes - fresh.matched > pool.boxes - pool.matched:
        yield f"{name}: more boxes missed on the fresh samples than on all"
    every, part = detections_of(pool), detections_of(fresh)
    if every and part and every.most is not None and part.least - fresh.matched > every.most - pool.matched:
        yield f"{name}: more wrong detections on the fresh samples than on all"


def _scores(scores: Scores, documents: int) -> Iterator[str]:
    """Yield what the figures of one model on the pages of so many documents say against each other."""
    boxes, matched = scores.boxes, scores.matched
    if matched > boxes:
        yield f"{matched} of {boxes} boxes found"
        return
    if (scores.rate != "") if boxes == 0 else (found_share(scores) is None):
        yield f"rate {scores.rate[:32]!r} of {matched} of {boxes} boxes found"
    if not _is_share_of_documents(scores, documents):
        yield f"documentRate {scores.document_rate[:32]!r} where {matched} of {boxes} boxes were found"
    if detections_of(scores) is None:
        yield f"precision {scores.precision[:32]!r}, which no number of detections gives for {matched} boxes found"


def _is_share_of_documents(scores: Scores, documents: int) -> bool:
    """Tell whether that share of so many documents at most can be complete."""
    complete = share(scores.document_rate)
    if scores.boxes == 0 or complete is None:
        return scores.boxes == 0 and scores.document_rate == ""
    if scores.matched in (0, scores.boxes):
        return complete == (1 if scores.matched else 0)
    # At least one document lacks a box; and where one is complete, it is one of so many.
    one = Decimal(1) / max(documents, 1) - _ROUNDED
    return complete <= 1 - one and (complete == 0 or complete >= one)


def _new_samples(
    new_set: NewSet, result: EvaluateResult, run_document: RunDocument, *, all_fresh: bool
) -> Iterator[str]:
    """Yield where the models were not measured on the same new samples, or the samples are not what they are called."""
    if new_set.fresh > new_set.documents:
        yield f"{new_set.fresh} of {new_set.documents} documents are fresh"
    models = _models(result)
    for name, model in models:
        if model.pool is None or (model.fresh is None) != (new_set.fresh == 0):
            yield f"{name} was measured on other samples than {new_set.fresh} fresh of {new_set.documents} documents"
        elif all_fresh and model.fresh is not None and model.fresh != model.pool:
            yield f"{name}: all samples are fresh, and their figures are others than those of all"
    for what, sets in (("new", [m.pool for _, m in models]), ("fresh", [m.fresh for _, m in models])):
        boxes = {scores.boxes for scores in sets if scores is not None}
        if len(boxes) > 1:
            yield f"the models were measured on different numbers of boxes of {what} samples: {sorted(boxes)}"
        if boxes and max(boxes) > 0 and not new_set.documents:
            yield f"{max(boxes)} boxes in no document"
    held_out = run_document.holdout is not None and run_document.holdout > 0
    if new_set.trained_on != (new_set.documents > 0 and not held_out):
        yield f"trainedOn is {str(new_set.trained_on).lower()}, and the holdout is {run_document.holdout or 0}"


def _lists(run_document: RunDocument, result: EvaluateResult) -> Iterator[str]:
    """Yield where the lists of fields contradict the totals, or each other."""
    gates, live, classes = run_document.gates, result.models.live is not None, run_document.classes
    candidate, new_set = result.models.candidate, result.new_set
    if gates is None or candidate is None or new_set is None or not gates.floor.minimum.is_finite():
        return
    drops = drop_rows(result.test_set.drops, classes, live=live, min_boxes=gates.fields.min_boxes)
    floors = floor_rows(result.test_set.floor, classes, live=live, min_boxes=gates.floor.min_boxes)
    on_new = floor_rows(new_set.floor, classes, live=live, min_boxes=gates.floor.min_boxes)
    if isinstance(drops, str) or isinstance(floors, str) or isinstance(on_new, str):
        return
    assert result.test_set.drops is not None
    assert result.test_set.floor is not None
    assert new_set.floor is not None
    worst = Tally(gates.fields.min_boxes, result.test_set.drops.measured, drops)
    below = Tally(gates.floor.min_boxes, result.test_set.floor.measured, floors)
    yield from test_set(run_document, result, worst, below)
    yield from new_samples(run_document, result, Tally(gates.floor.min_boxes, new_set.floor.measured, on_new))


def drawn_otherwise(
    run_document: RunDocument, result: PrepareResult, *, fresh_by: str | None, all_new: bool
) -> list[str]:
    """Return where the counts of a mix contradict each other, or the run document that it was drawn by.

    They are counts already. `fresh_by` is the digest of the version whose plan told what is fresh; None: none did, so
    that all samples are. `all_new`: none told what was judged.
    """
    holdout, mixing, new_set = run_document.holdout or Decimal(0), run_document.mixing, result.new_set
    judged = result.held_out if holdout > 0 else result.pool
    may_train = result.pool - result.held_out
    asked, documents = run_document.gates.production if run_document.gates else None, result.production
    checks = (
        (asked is None or documents is not None, "documents of production are asked for, and it says nothing of them"),
        (
            asked is None or documents is None or documents.labelled <= documents.documents <= asked.documents,
            "more documents of production than are asked for, or more labelled ones than documents",
        ),
        (
            documents is None or documents.labelled <= result.held_out,
            "more labelled documents of production than pages are held out",
        ),
        (result.train == result.outside + result.old, "the mix is not what is outside the base and its old pages"),
        (result.outside <= may_train, "more pages outside the base than may train"),
        (run_document.base.inputs is not None or result.outside == may_train, "pages that a base without plan knows"),
        (result.new <= may_train, "more new pages than may train"),
        (not all_new or (result.new, result.corrected) == (may_train, 0), "not all is new, and nothing was judged"),
        (result.corrected <= result.new, "more corrected pages than new ones"),
        (holdout > 0 or result.held_out == 0, "pages are held out, and the holdout is 0"),
        (result.old <= result.anchor + may_train - result.outside, "more old pages than the base knows"),
        (result.fresh <= result.pool, "more fresh pages than the pool has"),
        (new_set.documents <= judged, "more documents of new samples than pages"),
        (new_set.fresh <= min(new_set.documents, result.fresh), "more fresh documents than documents, or than pages"),
        (new_set.boxes <= judged * run_document.serving.max_detections, "more boxes than pages may have"),
        (new_set.documents > 0 or new_set.boxes == 0, "boxes in no document"),
        (
            fresh_by is not None or (result.fresh, new_set.fresh) == (result.pool, new_set.documents),
            "not all is fresh, and nothing tells what is",
        ),
        (
            fresh_by != run_document.base.artifact.sha256 or new_set.fresh == new_set.documents,
            "new samples that the base knows",
        ),
        *(_not_all(result) if run_document.mode == "Rebuild" else _not_by_the_rules(mixing, result)),
        (mixing is None or result.outside >= mixing.min_pool_samples, "fewer samples than spec.minPoolSamples"),
    )  # fmt: skip
    return [text for holds, text in checks if not holds]


def _not_all(result: PrepareResult) -> Iterator[tuple[bool, str]]:
    """Yield what makes a mix all that a rebuild may train on: the pool's part, and the anchor but for pages of it."""
    of_pool, ever = result.pool - result.held_out, result.pool + result.withdrawn
    yield result.train >= of_pool, "a rebuild that does not train on all of the pool that may train"
    yield result.train >= of_pool + result.anchor - ever, "a rebuild that leaves out pages of the anchor"


def _not_by_the_rules(mixing: DocumentMixing | None, result: PrepareResult) -> Iterator[tuple[bool, str]]:
    """Yield what makes a mix the one that the rules ask for."""
    yield result.old <= Decimal(result.ratio) * result.outside + 1, "more old pages than the ratio asks for"
    if mixing is None:
        return
    most, asked = mixing.max_old, mixing.ratio
    yield most is None or result.old <= most, "more old pages than spec.mixing.maxOld"
    by_table = asked in (None, "Auto", result.ratio)
    yield by_table or Decimal(str(asked)) == Decimal(result.ratio), "another ratio than spec.mixing.ratio"
