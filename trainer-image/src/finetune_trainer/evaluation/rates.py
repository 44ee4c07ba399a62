"""Gate 2's figures: which labelled boxes are found at the serving confidence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from ..documents.result import Rates
from .average_precision import match
from .pages import PageResult


def rates(results: Sequence[PageResult], classes: int, *, with_fields: bool) -> Rates:
    """Return rates over all pages, boxes pooled: a document with more boxes weighs more.

    rate: labelled boxes matched one to one by boxes of the same field (IoU >= 0.5). document_rate: documents with
    every labelled box matched, of those that have any. precision: matched of all detections.
    """
    boxes = np.zeros(classes, dtype=np.int64)
    matched = np.zeros(classes, dtype=np.int64)
    detections = 0
    missing: dict[str, int] = defaultdict(int)
    for result in results:
        taken = match(result.detections, result.truth)
        hit = result.truth.fields[taken[taken >= 0]]
        boxes += np.bincount(result.truth.fields, minlength=classes)
        matched += np.bincount(hit, minlength=classes)
        detections += len(taken)
        if len(result.truth.fields):
            missing[result.document] += len(result.truth.fields) - len(hit)
    total, hits = int(boxes.sum()), int(matched.sum())
    return Rates(
        boxes=total,
        matched=hits,
        rate=share(hits, total),
        document_rate=share(sum(count == 0 for count in missing.values()), len(missing)),
        precision=share(hits, detections),
        field_rate=tuple(share(int(m), int(b), digits=2) for m, b in zip(matched, boxes, strict=True))
        if with_fields
        else None,
    )


def share(part: int, whole: int, *, digits: int = 6) -> str:
    """Return `part / whole` with `digits` decimals; "" when there is nothing to take a share of."""
    return f"{part / whole:.{digits}f}" if whole else ""
