"""What a pool holds, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ..documents.pool import PoolBatch
from ..errors import StepError, bad_input
from ..storage import Storage
from .labels import LabelProblem, parse_label
from .pool import PoolPage, StoredSample, check_log_classes, check_verifiers, longest_classes, replayed
from .pool_log import existing_log


@dataclass(frozen=True, slots=True)
class PoolStats:
    """What a pool holds; `boxes` by class name, `verifiers` and `sources` by number of pages.

    `labelled` says by class name how many pages were labelled for it, with or without a box of it.

    samples: pages that count; corrected: those of them with another label than they came with. withdrawn: pages that
    count no more; erased: those of them whose bytes are gone.
    """

    batches: int
    samples: int
    corrected: int
    withdrawn: int
    erased: int
    documents: int
    boxes: Mapping[str, int]
    labelled: Mapping[str, int]
    verifiers: Mapping[str, int]
    sources: Mapping[str, int]


def pool_stats(storage: Storage, uri: str) -> PoolStats:
    """Count the pool; StepError when it has no batch or a label cannot be read."""
    log = existing_log(storage, uri)
    batches = [entry for entry in log if isinstance(entry, PoolBatch)]
    classes = longest_classes(log)
    check_log_classes(log, uri, classes)
    pool = replayed(uri, log, {})
    check_verifiers(pool)
    samples, withdrawn = pool.samples, pool.withdrawn
    labels = storage.read_many(sample.label.uri for sample in samples)
    boxes: Counter[str] = Counter(dict.fromkeys(classes, 0))
    for sample in samples:
        parsed = parse_label(labels[sample.label.uri], len(classes))
        if isinstance(parsed, LabelProblem):
            raise _unreadable_label(sample, parsed)
        boxes.update(classes[box.field] for box in parsed)
    return PoolStats(
        batches=len(batches),
        samples=len(samples),
        corrected=sum(_is_corrected(page) for page in pool.pages),
        withdrawn=len(withdrawn),
        erased=sum(page.withdrawal is not None and page.withdrawal.erased for page in withdrawn),
        documents=len({sample.document for sample in samples}),
        boxes=dict(boxes),
        labelled={name: sum(s.fields > field for s in samples) for field, name in enumerate(classes)},
        verifiers=dict(Counter(sample.verified_by for sample in samples)),
        sources=dict(Counter(sample.source for sample in samples)),
    )


def _is_corrected(page: PoolPage) -> bool:
    return page.withdrawal is None and page.last.label.sha256 != page.samples[0].label.sha256


def _unreadable_label(sample: StoredSample, problem: LabelProblem) -> StepError:
    return bad_input(
        problem.reason,
        f"{sample.label.uri}: {problem.message}.",
        "The pool is append-only: restore the file from the batch's source.",
    )
