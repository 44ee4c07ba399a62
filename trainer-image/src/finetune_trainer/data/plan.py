"""The plan: the pool checked, the old pages drawn, every file that a run uses listed with its digest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from ..digests import check_digest, set_digest, sha256_of
from ..documents.anchor import AnchorIndex, AnchorPage
from ..documents.classes import check_classes
from ..documents.codec import FileReference
from ..documents.plan import Counts, Digests, NewSetCounts, Plan, PlanBase, PoolSample, Sample, TrainSample, parse_plan
from ..documents.run import FineTuneDocument, Mixing
from ..errors import Reason, bad_input
from ..progress import Counted, uncounted
from ..storage import Storage, normalise
from .anchor import anchor_sample, check_labels, check_splits, pages_digest, read_index
from .density import check_density
from .mixing import draw, format_ratio, is_held_out, multiplier, old_count
from .pool import StoredSample, check_pool


@dataclass(frozen=True, slots=True)
class Known:
    """Image digests that earlier models trained on, from the pool."""

    base: frozenset[str]
    live: frozenset[str]


def read_plan(storage: Storage, plan: FileReference) -> Plan:
    """Return a plan by URI and digest; StepError DigestMismatch or ContractViolated."""
    uri = normalise(plan.uri)
    data = storage.read(uri)
    check_digest(uri, actual=sha256_of(data), expected=plan.sha256)
    return parse_plan(data, uri)


def trained_pool(storage: Storage, inputs: FileReference | None) -> frozenset[str]:
    """Return the image digests of the pool that a model was trained on, by its plan; none when it has no plan."""
    if inputs is None:
        return frozenset()
    return frozenset(s.image.sha256 for s in read_plan(storage, inputs).train if s.origin == "pool")


def count_new_set(new_set: Sequence[PoolSample]) -> NewSetCounts:
    """Return what a candidate is measured on: documents, labelled boxes, and the documents that are fresh."""
    return NewSetCounts(
        documents=len({sample.document for sample in new_set}),
        boxes=sum(sample.boxes for sample in new_set),
        fresh=len({sample.document for sample in new_set if sample.fresh}),
    )


def make_plan(storage: Storage, document: FineTuneDocument, known: Known, counted: Counted = uncounted) -> Plan:
    """Check pool and anchor and draw the mix; StepError (BadInput) names everything that is wrong.

    `counted` is called as pages of the pool are read.
    """
    anchor_uri = normalise(document.data.anchor.uri)
    index = read_index(storage, anchor_uri)
    check_classes(index.classes, f"The anchor {anchor_uri}", expected=document.classes)
    check_splits(index, anchor_uri)
    pool = _read_pool(storage, document, index, known, counted)
    new = _new_samples(pool, document.holdout)
    times = _times(document.mixing, len(pool))
    drawn = _draw_old(index, pool, times=times, new=len(new), mixing=document.mixing)
    old, val, test = (_anchor_samples(anchor_uri, pages) for pages in (drawn, index.splits.val, index.splits.test))
    check_labels(storage, [*old, *val, *test], len(index.classes), "the anchor " + anchor_uri)
    check_density([*pool, *test], document.serving.max_detections)
    new_set = _new_set(pool, index, known, only_held_out=Decimal(document.holdout) > 0)
    return Plan(
        owner=document.owner.uid,
        classes=document.classes,
        base=PlanBase(document.base.version, document.base.checkpoint),
        anchor_uri=anchor_uri,
        pool_uri=normalise(document.data.pool.uri),
        seed=document.mixing.seed,
        ratio=format_ratio(times),
        counts=_counts(pool, index, new=len(new), old=len(old)),
        digests=_digests(pool, index, new_set),
        train=(*_train_samples(new, "pool"), *_train_samples(old, "anchor")),
        val=val,
        test=test,
        new_set=new_set,
        held_out_documents=tuple(sorted({sample.document for sample in pool if sample.held_out})),
        pool=tuple(sorted(sample.image.sha256 for sample in pool)),
    )


def _read_pool(
    storage: Storage, document: FineTuneDocument, index: AnchorIndex, known: Known, counted: Counted
) -> list[PoolSample]:
    share = Decimal(document.holdout)

    def planned(stored: StoredSample, sample: Sample) -> PoolSample:
        return PoolSample(
            image=sample.image,
            label=sample.label,
            bytes=sample.bytes,
            boxes=sample.boxes,
            document=stored.document,
            fresh=sample.image.sha256 not in known.live,
            held_out=is_held_out(stored.document, share),
        )

    checked = check_pool(
        storage,
        normalise(document.data.pool.uri),
        classes=document.classes,
        minimum=document.mixing.min_pool_samples,
        index=index,
        counted=counted,
    )
    return [planned(stored, sample) for stored, sample in checked]


def _new_samples(pool: Sequence[PoolSample], holdout: str) -> list[PoolSample]:
    new = [sample for sample in pool if not sample.held_out]
    if not new:
        raise bad_input(
            Reason.POOL_TOO_SMALL,
            f"All {len(pool)} pages of the pool are held out (holdout {holdout}); none is left to train on.",
            "Verify pages of more documents, or hold out a smaller share.",
        )
    return new


def _times(mixing: Mixing, pool: int) -> Decimal:
    return multiplier(pool, mixing.interpolation) if mixing.ratio == "Auto" else Decimal(mixing.ratio)


def _draw_old(
    index: AnchorIndex, pool: Sequence[PoolSample], *, times: Decimal, new: int, mixing: Mixing
) -> list[AnchorPage]:
    # A page that is in the pool and in the anchor trains once, as a verified page.
    verified = {sample.image.sha256 for sample in pool}
    candidates = {page.image_sha256: page for page in index.splits.train if page.image_sha256 not in verified}
    count = old_count(trained_new=new, times=times, max_old=mixing.max_old, anchor=len(candidates))
    return [candidates[digest] for digest in draw(candidates, count=count, seed=mixing.seed)]


def _anchor_samples(uri: str, pages: Sequence[AnchorPage]) -> tuple[Sample, ...]:
    return tuple(anchor_sample(uri, page) for page in pages)


def _counts(pool: Sequence[PoolSample], index: AnchorIndex, *, new: int, old: int) -> Counts:
    return Counts(
        pool=len(pool),
        fresh=sum(sample.fresh for sample in pool),
        held_out=len(pool) - new,
        train=new + old,
        new=new,
        old=old,
        anchor=len(index.splits.train),
        val=len(index.splits.val),
        test=len(index.splits.test),
    )


def _digests(pool: Sequence[PoolSample], index: AnchorIndex, new_set: Sequence[PoolSample]) -> Digests:
    splits = index.splits
    return Digests(
        pool=samples_digest(pool),
        anchor=pages_digest([*splits.train, *splits.val, *splits.test]),
        test_set=pages_digest(splits.test),
        new_set=samples_digest(new_set),
    )


def samples_digest(samples: Sequence[Sample]) -> str:
    """Return the digest of a set of samples."""
    return set_digest((sample.image.sha256, sample.label.sha256 if sample.label else None) for sample in samples)


def _train_samples(samples: Sequence[Sample], origin: Literal["pool", "anchor"]) -> Iterator[TrainSample]:
    for sample in samples:
        yield TrainSample(sample.image, sample.label, sample.bytes, sample.boxes, origin)


def _new_set(
    pool: Sequence[PoolSample], index: AnchorIndex, known: Known, *, only_held_out: bool
) -> tuple[PoolSample, ...]:
    """Return the samples that Gate 2 looks at: those that the base did not train on.

    Where a share is held out, only that share counts.
    """
    trained = known.base | {page.image_sha256 for page in index.splits.train}
    judged = (sample for sample in pool if sample.image.sha256 not in trained)
    return tuple(sample for sample in judged if sample.held_out or not only_held_out)
