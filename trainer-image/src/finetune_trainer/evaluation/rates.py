"""Gate 2's figures: which labelled boxes are found at the serving confidence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ..documents.result import Rates
from .average_precision import match
from .pages import PageResult


def rates(results: Sequence[PageResult]) -> Rates:
    """Return rates over all pages, boxes pooled: a document with more boxes weighs more.

    rate: labelled boxes matched one to one by boxes of the same field (IoU >= 0.5). document_rate: documents with
    every labelled box matched, of those that have any. precision: matched of all detections.
    """
    boxes = matched = detections = 0
    missing: dict[str, int] = defaultdict(int)
    for result in results:
        taken = match(result.served, result.truth)
        labels, hits = len(result.truth.fields), int((taken >= 0).sum())
        boxes, matched, detections = boxes + labels, matched + hits, detections + len(taken)
        if labels:
            missing[result.document] += labels - hits
    return Rates(
        boxes=boxes,
        matched=matched,
        rate=share(matched, boxes),
        document_rate=share(sum(count == 0 for count in missing.values()), len(missing)),
        precision=share(matched, detections),
    )


def share(part: int, whole: int) -> str:
    """Return `part / whole` with six decimals; "" when there is nothing to take a share of."""
    return f"{part / whole:.6f}" if whole else ""
