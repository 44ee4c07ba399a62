"""Gate 2's figures: which labelled boxes are found at the serving confidence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from finetune_trainer.documents.result import Rates
from finetune_trainer.evaluation.average_precision import Truth, match
from finetune_trainer.evaluation.postprocess import Detections


@dataclass(frozen=True)
class JudgedPage:
    """One page of a document: what is labelled, and what was found above the serving confidence."""

    document: str
    detections: Detections
    truth: Truth


def rates(pages: Sequence[JudgedPage], classes: int, with_fields: bool) -> Rates:
    """Rates over all pages, boxes pooled: a document with more boxes weighs more.

    rate: labelled boxes matched one to one by boxes of the same field (IoU >= 0.5). document_rate: documents with
    every labelled box matched, of those that have any. precision: matched of all detections.
    """
    boxes = np.zeros(classes, dtype=np.int64)
    matched = np.zeros(classes, dtype=np.int64)
    detections = 0
    missing: dict[str, int] = defaultdict(int)
    for page in pages:
        taken = match(page.detections, page.truth)
        found = page.truth.fields[taken[taken >= 0]]
        boxes += np.bincount(page.truth.fields, minlength=classes)
        matched += np.bincount(found, minlength=classes)
        detections += len(taken)
        if len(page.truth.fields):
            missing[page.document] += len(page.truth.fields) - len(found)
    total, hits = int(boxes.sum()), int(matched.sum())
    return Rates(
        boxes=total,
        matched=hits,
        rate=share(hits, total),
        document_rate=share(sum(count == 0 for count in missing.values()), len(missing)),
        precision=share(hits, detections),
        field_rate=tuple(share(int(m), int(b), 2) for m, b in zip(matched, boxes, strict=True))
        if with_fields
        else None,
    )


def share(part: int, whole: int, digits: int = 6) -> str:
    """`part / whole` with `digits` decimals; "" when there is nothing to take a share of."""
    return f"{part / whole:.{digits}f}" if whole else ""
