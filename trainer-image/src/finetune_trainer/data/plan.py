"""The plan: the pool checked, the old pages drawn, every file that a run uses listed with its digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from finetune_trainer.data.anchor import check_classes, check_splits, read_index
from finetune_trainer.data.images import image_problem
from finetune_trainer.data.labels import LabelProblem, parse_label
from finetune_trainer.data.mixing import draw, format_ratio, is_held_out, multiplier, old_count, set_digest
from finetune_trainer.data.pool import PooledSample, existing_batches, held_out_pages, read_pool
from finetune_trainer.data.problems import Problem, raise_first
from finetune_trainer.documents.anchor import AnchorIndex, Entry
from finetune_trainer.documents.codec import Located
from finetune_trainer.documents.plan import Counts, Digests, Plan, PlanBase, PoolSample, Sample, TrainSample
from finetune_trainer.documents.run import FineTuneDocument, Mixing
from finetune_trainer.errors import Reason, bad_input
from finetune_trainer.storage import Storage, join, normalise, sha256_of


@dataclass(frozen=True)
class Known:
    """Image digests that earlier models trained on, from the pool."""

    base: frozenset[str]
    live: frozenset[str]


@dataclass(frozen=True)
class CheckedPage:
    """A pool page whose bytes were read and found right."""

    pooled: PooledSample
    boxes: int


def make_plan(storage: Storage, document: FineTuneDocument, known: Known) -> Plan:
    """Check pool and anchor and draw the mix; StepError (BadInput) names everything that is wrong."""
    anchor_uri, pool_uri = normalise(document.data.anchor.uri), normalise(document.data.pool.uri)
    index = read_index(storage, anchor_uri)
    check_classes(index.classes, document.classes, f"The anchor {anchor_uri}")
    check_splits(index, anchor_uri)
    pool = check_pool(storage, document, pool_uri, index)
    digests = {p.pooled.sample.image.sha256 for p in pool}

    share = Decimal(document.holdout)
    held_out = {p.pooled.sample.document for p in pool if is_held_out(p.pooled.sample.document, share)}
    new = [p for p in pool if p.pooled.sample.document not in held_out]
    if not new:
        raise bad_input(
            Reason.POOL_TOO_SMALL,
            f"All {len(pool)} pages of the pool are held out (holdout {document.holdout}); none is left to train on.",
            "Verify pages of more documents, or hold out a smaller share.",
        )
    times = _times(document.mixing, len(pool))
    # A page that is in the pool and in the anchor trains once, as a verified page.
    candidates = {e.image_sha256: e for e in index.splits.train if e.image_sha256 not in digests}
    count = old_count(len(new), times, document.mixing.max_old, len(candidates))
    old = [candidates[digest] for digest in draw(candidates, count, document.mixing.seed)]
    _check_anchor(storage, anchor_uri, [*old, *index.splits.val, *index.splits.test], len(index.classes))

    new_set = _new_set(pool, held_out, share, known, index)
    train = (*(_train_new(p) for p in new), *(_train_old(anchor_uri, e) for e in old))
    return Plan(
        owner=document.owner.uid,
        classes=document.classes,
        base=PlanBase(document.base.version, document.base.checkpoint),
        anchor_uri=anchor_uri,
        pool_uri=pool_uri,
        seed=document.mixing.seed,
        ratio=format_ratio(times),
        counts=Counts(
            pool=len(pool),
            fresh=sum(digest not in known.live for digest in digests),
            held_out=len(pool) - len(new),
            train=len(train),
            new=len(new),
            old=len(old),
            anchor=len(index.splits.train),
            val=len(index.splits.val),
            test=len(index.splits.test),
        ),
        digests=_digests(pool, index, new_set),
        train=train,
        val=tuple(anchor_sample(anchor_uri, e) for e in index.splits.val),
        test=tuple(anchor_sample(anchor_uri, e) for e in index.splits.test),
        new_set=new_set,
        held_out_documents=tuple(sorted(held_out)),
        pool=tuple(sorted(digests)),
    )


def _times(mixing: Mixing, pool: int) -> Decimal:
    return multiplier(pool, mixing.interpolation) if mixing.ratio == "Auto" else Decimal(mixing.ratio)


def _digests(pool: Sequence[CheckedPage], index: AnchorIndex, new_set: Sequence[PoolSample]) -> Digests:
    splits = index.splits
    return Digests(
        pool=set_digest([(p.pooled.sample.image.sha256, p.pooled.sample.label.sha256) for p in pool]),
        anchor=_entries_digest([*splits.train, *splits.val, *splits.test]),
        test_set=_entries_digest(splits.test),
        new_set=set_digest([(s.image.sha256, s.label.sha256 if s.label else None) for s in new_set]),
    )


def check_pool(storage: Storage, document: FineTuneDocument, pool_uri: str, index: AnchorIndex) -> list[CheckedPage]:
    """Read every page of the pool: enough of them, none held out, digests right, images and labels usable."""
    existing_batches(storage, pool_uri)
    pool = read_pool(storage, pool_uri, document.classes)
    minimum = document.mixing.min_pool_samples
    if len(pool) < minimum:
        raise bad_input(
            Reason.POOL_TOO_SMALL,
            f"The pool {pool_uri} has {len(pool)} verified pages; at least {minimum} are needed.",
            "Verify and add more pages; with fewer, noise outweighs what they teach.",
        )
    held_out = held_out_pages(index)
    raise_first(
        [
            Problem(Reason.HELD_OUT_PAGE_IN_POOL, p.image_uri, f"it is the anchor's {held_out[digest]}")
            for p in pool
            if (digest := p.sample.image.sha256) in held_out
        ],
        "the pool " + pool_uri,
    )
    sizes = storage.sizes(uri for p in pool for uri in (p.image_uri, p.label_uri))
    problems = [
        Problem(reason, uri, f"the file of batch {p.batch} does not exist")
        for p in pool
        for uri, reason in ((p.image_uri, Reason.IMAGE_UNREADABLE), (p.label_uri, Reason.LABEL_MISSING))
        if sizes[uri] is None
    ]
    raise_first(problems, "the pool " + pool_uri)
    checked: list[CheckedPage] = []
    for page in pool:
        result = _check_page(storage, page, len(document.classes))
        if isinstance(result, Problem):
            problems.append(result)
        else:
            checked.append(result)
    raise_first(problems, "the pool " + pool_uri)
    return checked


def _check_page(storage: Storage, page: PooledSample, classes: int) -> CheckedPage | Problem:
    contents = storage.read_many([page.image_uri, page.label_uri])
    image, label = contents[page.image_uri], contents[page.label_uri]
    for data, uri, expected in (
        (image, page.image_uri, page.sample.image.sha256),
        (label, page.label_uri, page.sample.label.sha256),
    ):
        if sha256_of(data) != expected:
            return Problem(Reason.DIGEST_MISMATCH, uri, f"its bytes are not those that batch {page.batch} recorded")
    if (trouble := image_problem(image)) is not None:
        return Problem(Reason.IMAGE_UNREADABLE, page.image_uri, trouble)
    boxes = parse_label(label, classes)
    if isinstance(boxes, LabelProblem):
        return Problem(boxes.reason, page.label_uri, boxes.message)
    return CheckedPage(page, len(boxes))


def check_labels(storage: Storage, samples: Sequence[Sample], classes: int, where: str) -> None:
    """Labels byte by byte, images by presence and size; images are hashed where they are used."""
    with_labels = [s for s in samples if s.label is not None]
    sizes = storage.sizes([s.image.uri for s in samples] + [s.label.uri for s in with_labels if s.label])
    problems = [
        Problem(Reason.IMAGE_UNREADABLE, s.image.uri, "it does not exist")
        if sizes[s.image.uri] is None
        else Problem(Reason.DIGEST_MISMATCH, s.image.uri, f"{sizes[s.image.uri]} bytes, {s.bytes} were recorded")
        for s in samples
        if sizes[s.image.uri] != s.bytes
    ]
    problems += [
        Problem(Reason.LABEL_MISSING, s.label.uri, "it does not exist")
        for s in with_labels
        if s.label and sizes[s.label.uri] is None
    ]
    raise_first(problems, where)
    contents = storage.read_many(s.label.uri for s in with_labels if s.label)
    for sample in with_labels:
        if sample.label and (problem := _label_problem(sample.label, contents, classes, sample.boxes)) is not None:
            problems.append(problem)
    raise_first(problems, where)


def _label_problem(label: Located, contents: Mapping[str, bytes], classes: int, boxes: int) -> Problem | None:
    data = contents[label.uri]
    parsed = parse_label(data, classes)
    if isinstance(parsed, LabelProblem):
        return Problem(parsed.reason, label.uri, parsed.message)
    if sha256_of(data) != label.sha256 or len(parsed) != boxes:
        return Problem(Reason.DIGEST_MISMATCH, label.uri, "it changed since the index was written")
    return None


def _check_anchor(storage: Storage, uri: str, entries: Sequence[Entry], classes: int) -> None:
    check_labels(storage, [anchor_sample(uri, e) for e in entries], classes, "the anchor " + uri)


def anchor_sample(uri: str, entry: Entry) -> Sample:
    """An index entry with full URIs."""
    return Sample(
        Located(join(uri, entry.image), entry.image_sha256), _anchor_label(uri, entry), entry.bytes, entry.boxes
    )


def _anchor_label(uri: str, entry: Entry) -> Located | None:
    if entry.label is None or entry.label_sha256 is None:
        return None
    return Located(join(uri, entry.label), entry.label_sha256)


def _train_old(uri: str, entry: Entry) -> TrainSample:
    sample = anchor_sample(uri, entry)
    return TrainSample(sample.image, sample.label, sample.bytes, sample.boxes, "anchor")


def _train_new(page: CheckedPage) -> TrainSample:
    sample = page.pooled.sample
    return TrainSample(
        Located(page.pooled.image_uri, sample.image.sha256),
        Located(page.pooled.label_uri, sample.label.sha256),
        sample.image.bytes,
        page.boxes,
        "pool",
    )


def _new_set(
    pool: Sequence[CheckedPage], held_out: set[str], share: Decimal, known: Known, index: AnchorIndex
) -> tuple[PoolSample, ...]:
    """The pages that Gate 2 looks at: outside of what the base trained on; the held-out ones where a share is kept."""
    trained = known.base | {e.image_sha256 for e in index.splits.train}
    judged = [p for p in pool if p.pooled.sample.image.sha256 not in trained]
    if share > 0:
        judged = [p for p in judged if p.pooled.sample.document in held_out]
    return tuple(
        PoolSample(
            Located(p.pooled.image_uri, p.pooled.sample.image.sha256),
            Located(p.pooled.label_uri, p.pooled.sample.label.sha256),
            p.pooled.sample.image.bytes,
            p.boxes,
            p.pooled.sample.document,
            p.pooled.sample.image.sha256 not in known.live,
            p.pooled.sample.document in held_out,
        )
        for p in judged
    )


def _entries_digest(entries: Sequence[Entry]) -> str:
    return set_digest([(e.image_sha256, e.label_sha256) for e in entries])
