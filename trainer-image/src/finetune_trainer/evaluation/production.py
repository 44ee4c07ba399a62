"""Documents of production by two models: of each field right or not, and what the second lost and gained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from ..documents.run import Rule
from .average_precision import MATCH_IOU, match
from .fields import WORST
from .pages import PageResult
from .postprocess import Floats, overlap

Outcome = Literal["Lost", "Gained", "Moved"]

LEAST_LOST: Final = {"Paired": 3, "Literal": 1}
"""By rule: documents that a field must lose more than it gains, to be worse. The operator judges; here it orders."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One document by two models, page by page. `labelled`: each of its pages has labels of the pool."""

    labelled: bool
    old: Sequence[PageResult]
    new: Sequence[PageResult]


@dataclass(frozen=True, slots=True)
class ReplayCounts:
    """By class index: documents that are right by the old model, those the new one lost, those it gained."""

    old: tuple[int, ...]
    lost: tuple[int, ...]
    gained: tuple[int, ...]

    def net(self, field: int) -> int:
        """Return how many documents a field lost more than it gained."""
        return self.lost[field] - self.gained[field]


@dataclass(frozen=True, slots=True)
class Seen:
    """What one model sees on documents: by class index those on which a field is found, and how sure it is.

    `confidence` is the mean over each field's best box on each page, "" where nothing is found.
    """

    detected: tuple[int, ...]
    confidence: str


def seen(documents: Sequence[Sequence[PageResult]], classes: int) -> Seen:
    """Return what a model sees on documents, page by page, as the server counts it at the serving confidence."""
    detected = tuple(sum(is_right(pages, field, labelled=False) for pages in documents) for field in range(classes))
    return Seen(detected, mean_confidence([page for pages in documents for page in pages]))


def least_found(candidate: Seen) -> list[int]:
    """Return the fields that are found on the fewest documents, at most as many as results list."""
    return sorted(range(len(candidate.detected)), key=lambda field: (candidate.detected[field], field))[:WORST]


def mean_confidence(results: Sequence[PageResult]) -> str:
    """Return the mean confidence of each field's best box on each page, as it is served; "" where nothing is found.

    The server observes the same, so that alerts on drift can hold one against the other: boxes of classes that a page
    was not labelled for, too.
    """
    best = [
        float(shown.scores[shown.fields == field].max())
        for shown in (result.served if result.answered is None else result.answered for result in results)
        for field in np.unique(shown.fields)
    ]
    return f"{sum(best) / len(best):.6f}" if best else ""


def is_right(pages: Sequence[PageResult], field: int, *, labelled: bool) -> bool:
    """Tell whether a model is right about a field of a document, at the serving confidence.

    By labels it is when all boxes are matched, and there are no others; without, when the field is found.
    """
    if not labelled:
        return any(bool((page.served.fields == field).any()) for page in pages)
    return all(_agrees(page, field) for page in pages)


def _agrees(page: PageResult, field: int) -> bool:
    taken = match(page.served, page.truth)[page.served.fields == field]
    return bool((taken >= 0).all()) and len(taken) == int((page.truth.fields == field).sum())


def count_replayed(documents: Sequence[Compared], classes: int) -> ReplayCounts:
    """Count each field over all documents."""
    old, lost, gained = (np.zeros(classes, dtype=np.int64) for _ in range(3))
    for document in documents:
        for field in range(classes):
            before = is_right(document.old, field, labelled=document.labelled)
            after = is_right(document.new, field, labelled=document.labelled)
            old[field] += before
            lost[field] += before and not after
            gained[field] += after and not before
    return ReplayCounts(*(tuple(column.tolist()) for column in (old, lost, gained)))


def worst_replayed(counts: ReplayCounts, rule: Rule) -> list[int]:
    """Return the worst fields, those first that are worse by the rule, which only looks at what was lost on balance."""
    least = LEAST_LOST[rule]
    order = sorted(
        range(len(counts.old)),
        key=lambda field: (counts.net(field) < least, -counts.net(field), -counts.lost[field], field),
    )
    return order[:WORST]


def outcome_of(document: Compared, field: int) -> Outcome | None:
    """Return how the two models differ on a field of a document; None where they do not.

    Where no label tells and both found the field, they differ when their surest boxes are not of one place.
    """
    before = is_right(document.old, field, labelled=document.labelled)
    after = is_right(document.new, field, labelled=document.labelled)
    if before != after:
        return "Lost" if before else "Gained"
    if document.labelled or not before:
        return None
    (old_page, old), (new_page, new) = (_surest(pages, field) for pages in (document.old, document.new))
    together = old_page == new_page and float(overlap(old[None], new[None])[0, 0]) >= MATCH_IOU
    return None if together else "Moved"


def _surest(pages: Sequence[PageResult], field: int) -> tuple[int, Floats]:
    """Return the page and the box that a field was found on with the highest score; it was found."""
    boxes = [
        (float(page.served.scores[at]), -number, page.served.boxes[at])
        for number, page in enumerate(pages)
        for at in np.flatnonzero(page.served.fields == field)[:1]
    ]
    _, number, box = max(boxes, key=lambda entry: entry[:2])
    return -number, box


def page_that_differs(document: Compared, field: int) -> int:
    """Return the number of the first page (from 0) on which the two models differ most plainly about a field."""
    for number, (old, new) in enumerate(zip(document.old, document.new, strict=True)):
        if document.labelled:
            if _agrees(old, field) != _agrees(new, field):
                return number
        elif (old.served.fields == field).any() != (new.served.fields == field).any():
            return number
    with_boxes = [n for n, page in enumerate(document.old) if (page.served.fields == field).any()]
    return with_boxes[0] if with_boxes else 0
