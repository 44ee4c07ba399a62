"""The plan: the pool checked, the old pages drawn, every file that a run uses listed with its digest."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal

from ..digests import set_digest
from ..documents.anchor import AnchorIndex, AnchorPage
from ..documents.classes import labelled_fields
from ..documents.plan import (
    SCHEMA,
    Counts,
    Digests,
    KnownSample,
    ListedSample,
    NewSetCounts,
    Plan,
    PlanBase,
    PoolSample,
    Sample,
    TrainSample,
)
from ..documents.run import Mixing, TrainingDocument
from ..errors import Reason, bad_input
from ..progress import Counted, uncounted
from ..storage import Storage, normalise
from .anchor import anchor_fields, anchor_sample, check_labels, check_splits, pages_digest, read_index
from .density import check_density
from .listing import Listing, anchor_digests, digests_of, is_measured_on, judged_before, list_pool
from .mixing import draw, format_ratio, is_held_out, multiplier, old_count
from .pool import Pool, StoredSample, fields_of
from .pool_check import check_pool, measured_pool
from .sample_counts import count_samples

_MOST_TIMES: Final = Decimal(9999)
"""Old pages for a new one that a plan can say; a rebuild on few new pages has more."""


@dataclass(frozen=True, slots=True)
class Known:
    """What earlier plans listed: that of the base, that of what is live, and those of the runs that were judged."""

    base: Listing = field(default_factory=Listing)
    live: Listing = field(default_factory=Listing)
    judged: tuple[KnownSample, ...] = ()


@dataclass(frozen=True, slots=True)
class CurrentSample:
    """A sample that counts in a pool, whether a run holds it out, and for how many of its classes its label was made.

    `fields` is None where these are all of them, and no others.
    """

    stored: StoredSample
    held_out: bool
    fields: int | None


@dataclass(frozen=True, slots=True)
class MadePlan:
    """A plan, and what counts in the pool that it was drawn from."""

    plan: Plan
    pool: tuple[CurrentSample, ...]


def current_samples(pool: Pool, document: TrainingDocument) -> tuple[CurrentSample, ...]:
    """Return what counts in a pool, as a run sees it."""
    share = Decimal(document.holdout)
    return tuple(
        CurrentSample(sample, is_held_out(sample.document, share), fields_of(sample, document.classes))
        for sample in pool.samples
    )


@dataclass(frozen=True, slots=True)
class _Member:
    """A current sample of the pool. `outside`: it may train, and the base does not know it."""

    sample: PoolSample
    known: KnownSample
    outside: bool

    @property
    def old(self) -> bool:
        """Whether it may be drawn with the anchor's pages: the base knows it."""
        return not self.outside and not self.sample.held_out


def count_new_set(new_set: Sequence[PoolSample]) -> NewSetCounts:
    """Return what a candidate is measured on: documents, labelled boxes, and the documents that are fresh."""
    return NewSetCounts(
        documents=len({sample.document for sample in new_set}),
        boxes=sum(sample.boxes for sample in new_set),
        fresh=len({sample.document for sample in new_set if sample.fresh}),
    )


def make_plan(
    storage: Storage,
    document: TrainingDocument,
    known: Known,
    counted: Counted = uncounted,
    *,
    reading: Counted = uncounted,
) -> MadePlan:
    """Check pool and anchor and draw the mix; StepError (BadInput) names everything that is wrong.

    `counted` is called as pages of the pool are checked, `reading` before that as those of earlier releases are read.
    """
    anchor_uri, pool_uri = normalise(document.data.anchor.uri), normalise(document.data.pool.uri)
    index = checked_index(storage, anchor_uri, document.classes)
    measured = measured_pool(storage, pool_uri, document.classes, reading)
    _check_size(measured.pool, document, known)
    checked = check_pool(storage, measured, index=index, classes=document.classes, counted=counted)
    current = current_samples(measured.pool, document)
    members = [_member(stored, sample, known) for stored, sample in zip(current, checked, strict=True)]
    listing = list_pool(measured.pool, Decimal(document.holdout))
    outside = [member.sample for member in members if member.outside]
    fields = anchor_fields(index, document.classes)
    candidates = _old_candidates(anchor_uri, index, members, listing, fields)
    times, old = _draw_old(candidates, outside=len(outside), document=document)
    old = _checked_old(storage, anchor_uri, old, document)
    val, test = (
        _anchor_samples(storage, anchor_uri, pages, fields, document) for pages in (index.splits.val, index.splits.test)
    )
    check_density([*(member.sample for member in members), *test], document.serving.max_detections)
    new_set = _new_set(members, index, known, only_held_out=Decimal(document.holdout) > 0)
    plan = Plan(
        schema=SCHEMA,
        owner=document.owner.uid,
        classes=document.classes,
        base=PlanBase(document.base.version, document.base.checkpoint),
        anchor_uri=anchor_uri,
        pool_uri=pool_uri,
        seed=document.mixing.seed,
        ratio=format_ratio(times),
        counts=_counts(measured.pool, members, index, known, listing, old=len(old)),
        digests=_digests([member.sample for member in members], index, new_set, document.classes),
        train=(*(_trained(sample) for sample in outside), *old),
        val=val,
        test=test,
        new_set=new_set,
        held_out_documents=tuple(sorted({m.sample.document for m in members if m.sample.held_out})),
        listing=listing,
        judged_before=judged_before(known.judged, listing),
        pool_log=measured.log,
    )
    return MadePlan(plan, current)


def checked_index(storage: Storage, uri: str, classes: Sequence[str]) -> AnchorIndex:
    """Return the anchor's index; StepError where it has other classes, or splits that cannot be used.

    It may have more of the classes, or fewer: some were appended since, or are to be.
    """
    index = read_index(storage, uri)
    labelled_fields(index.classes, f"The anchor {uri}", expected=classes)
    check_splits(index, uri)
    return index


def _check_size(pool: Pool, document: TrainingDocument, known: Known) -> None:
    """Raise StepError PoolTooSmall unless enough samples may train that the base does not know."""
    samples, share, minimum = pool.samples, Decimal(document.holdout), document.mixing.min_pool_samples
    held_out = [sample for sample in samples if is_held_out(sample.document, share)]
    if samples and len(held_out) == len(samples):
        raise bad_input(
            Reason.POOL_TOO_SMALL,
            f"All {len(samples)} pages of the pool are held out (holdout {document.holdout}); "
            "none is left to train on.",
            "Verify pages of more documents, or hold out a smaller share.",
        )
    trainable = [sample for sample in samples if not is_held_out(sample.document, share)]
    old = sum(known.base.has(sample.known) for sample in trainable)
    if len(trainable) - old < minimum:
        others = {
            "held out": len(held_out),
            f"known to {document.base.version}": old,
            "withdrawn": len(pool.withdrawn),
        }
        besides = ", ".join(f"{count} {what}" for what, count in others.items() if count)
        raise bad_input(
            Reason.POOL_TOO_SMALL,
            f"The pool {pool.uri} has {len(trainable) - old} verified pages"
            f"{f' to train on, besides {besides}' if besides else ''}; at least {minimum} are needed.",
            "Verify and add more pages; with fewer, noise outweighs what they teach.",
        )


def _member(current: CurrentSample, sample: Sample, known: Known) -> _Member:
    stored = current.stored
    planned = PoolSample(
        image=sample.image,
        label=sample.label,
        bytes=sample.bytes,
        boxes=sample.boxes,
        document=stored.document,
        fresh=not known.live.has(stored.known),
        held_out=current.held_out,
        fields=sample.fields,
    )
    return _Member(planned, stored.known, outside=not current.held_out and not known.base.has(stored.known))


def _anchor_samples(
    storage: Storage, uri: str, pages: Sequence[AnchorPage], fields: int | None, document: TrainingDocument
) -> tuple[Sample, ...]:
    samples = [anchor_sample(uri, page, fields) for page in pages]
    return tuple(check_labels(storage, samples, len(document.classes), "the anchor " + uri))


def _checked_old(
    storage: Storage, anchor_uri: str, old: Sequence[TrainSample], document: TrainingDocument
) -> list[TrainSample]:
    """Return the old pages as they are, those of the anchor with their labels checked and their boxes counted."""
    of_anchor = [sample for sample in old if sample.origin == "anchor"]
    checked = iter(check_labels(storage, of_anchor, len(document.classes), "the anchor " + anchor_uri))
    return [_trained(next(checked), "anchor") if sample.origin == "anchor" else sample for sample in old]


def _times(mixing: Mixing, outside: int) -> Decimal:
    return multiplier(outside, mixing.interpolation) if mixing.ratio == "Auto" else Decimal(mixing.ratio)


def _old_candidates(
    anchor_uri: str,
    index: AnchorIndex,
    members: Sequence[_Member],
    listing: Sequence[ListedSample],
    fields: int | None,
) -> dict[str, TrainSample]:
    """Return what old pages are drawn from, by digest of the image: what the base knows, of the anchor and the pool.

    A page that was in the pool is no page of the anchor any more: it trains once, as it was verified, or not at all.
    """
    ever = _ever(listing)
    candidates = {
        page.image_sha256: _trained(anchor_sample(anchor_uri, page, fields), "anchor")
        for page in index.splits.train
        if not _is_one_of(page, ever)
    }
    return candidates | {member.known.image: _trained(member.sample) for member in members if member.old}


def _ever(listing: Iterable[ListedSample]) -> frozenset[str]:
    """Return the digests of all that was ever in the pool."""
    return frozenset(digest for sample in listing for digest in digests_of(sample))


def _is_one_of(page: AnchorPage, digests: Collection[str]) -> bool:
    return page.image_sha256 in digests or page.pixels in digests


def _count_anchor(pages: Iterable[AnchorPage], ever: Collection[str]) -> int:
    """Return how many pages the train split has: files of the same bytes are one page, which trains once.

    So are all files that show a page which was ever in the pool. Then what a rebuild leaves out of the anchor is never
    more than what was ever there, and the operator takes no honest mix for one that lacks pages.
    """
    return len({(p.pixels or p.image_sha256) if _is_one_of(p, ever) else p.image_sha256 for p in pages})


def _draw_old(
    candidates: Mapping[str, TrainSample], *, outside: int, document: TrainingDocument
) -> tuple[Decimal, list[TrainSample]]:
    """Return how many old pages there are for each new one, and which; a rebuild has all of them."""
    mixing = document.mixing
    if isinstance(mixing, Mixing):
        times = _times(mixing, outside)
        count = old_count(outside=outside, times=times, max_old=mixing.max_old, anchor=len(candidates))
    else:
        count = len(candidates)
        times = min(Decimal(count) / max(outside, 1), _MOST_TIMES).quantize(Decimal("0.000001"))
    return times, [candidates[digest] for digest in draw(candidates, count=count, seed=mixing.seed)]


def _trained(sample: Sample, origin: Literal["pool", "anchor"] = "pool") -> TrainSample:
    return TrainSample(sample.image, sample.label, sample.bytes, sample.boxes, origin, fields=sample.fields)


def _counts(
    pool: Pool,
    members: Sequence[_Member],
    index: AnchorIndex,
    known: Known,
    listing: Sequence[ListedSample],
    *,
    old: int,
) -> Counts:
    samples = ((member.known, member.sample.held_out) for member in members)
    counts = count_samples(samples, known.base, Listing(known.judged))
    return Counts(
        pool=counts.current,
        held_out=counts.held_out,
        withdrawn=len(pool.withdrawn),
        outside=counts.outside,
        new=counts.new,
        corrected=counts.corrected,
        fresh=sum(member.sample.fresh for member in members),
        train=counts.outside + old,
        old=old,
        anchor=_count_anchor(index.splits.train, _ever(listing)),
        val=len(index.splits.val),
        test=len(index.splits.test),
    )


def _digests(
    pool: Sequence[PoolSample], index: AnchorIndex, new_set: Sequence[PoolSample], classes: Sequence[str]
) -> Digests:
    splits, fields = index.splits, anchor_fields(index, classes)
    every = (*splits.train, *splits.val, *splits.test)
    return Digests(
        pool=taught_digest(
            ((s.image.sha256, s.label.sha256 if s.label else None, s.fields) for s in pool), len(classes)
        ),
        anchor=taught_digest(((p.image_sha256, p.label_sha256, fields) for p in every), len(classes)),
        test_set=pages_digest(splits.test),
        new_set=samples_digest(new_set),
    )


def taught_digest(labelled: Iterable[tuple[str, str | None, int | None]], classes: int) -> str:
    """Return the digest of what pages teach, by image, label and for how many classes that was made.

    A label that was confirmed for more classes is the same file, and teaches more: by this digest a run knows what was
    trained before. Where all are for all classes, it is that of images and labels.
    """
    return set_digest(
        (image, label if fields is None or fields >= classes else f"{label or '-'} of {fields}")
        for image, label, fields in labelled
    )


def samples_digest(samples: Sequence[Sample]) -> str:
    """Return the digest of a set of samples."""
    return set_digest((sample.image.sha256, sample.label.sha256 if sample.label else None) for sample in samples)


def _new_set(
    members: Sequence[_Member], index: AnchorIndex, known: Known, *, only_held_out: bool
) -> tuple[PoolSample, ...]:
    trained = anchor_digests(index.splits.train)
    return tuple(
        member.sample
        for member in members
        if is_measured_on(
            member.known,
            held_out=member.sample.held_out,
            base=known.base,
            trained=trained,
            only_held_out=only_held_out,
        )
    )
