"""The pool of verified samples: reading it, checking what it holds, and counting it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from ..digests import sha256_of
from ..documents.anchor import AnchorIndex
from ..documents.classes import check_classes
from ..documents.codec import FileReference
from ..documents.plan import Sample
from ..documents.pool import BatchSample, PoolBatch, parse_pool_batch
from ..errors import Reason, StepError, bad_input
from ..progress import Counted, uncounted
from ..storage import Storage, join
from .anchor import held_out_pages
from .labels import LabelProblem, parse_label
from .pages import PageFiles, check_page
from .problems import Problem, raise_first


@dataclass(frozen=True, slots=True)
class StoredSample:
    """One sample of the pool as it is stored: its files, their size in bytes, and the batch that brought it."""

    image: FileReference
    label: FileReference
    bytes: int
    document: str
    source: str
    verified_by: str
    batch: str
    pixels: str | None = None
    look: str | None = None


def batch_names(storage: Storage, uri: str) -> list[str]:
    """Return the file names of the pool's batch manifests in order; none for a pool that nobody added to."""
    return [n for n in storage.names(join(uri, "batches")) if n.endswith(".json")]


def existing_batches(storage: Storage, uri: str) -> list[str]:
    """Return what batch_names does; StepError DataUnreadable where there is none: most often the URI is wrong."""
    names = batch_names(storage, uri)
    if not names:
        raise bad_input(
            Reason.DATA_UNREADABLE,
            f"No batch of a pool lies below {uri}.",
            "Check the URI, or add pages with `finetune-trainer pool add`.",
        )
    return names


def read_pool(storage: Storage, uri: str, classes: Sequence[str]) -> list[StoredSample]:
    """Return every verified sample, each image once (the first batch that has it), in order of the batches.

    Raises StepError for batches with other classes and for samples without a verifier; an absent pool is empty.
    """
    samples: dict[str, StoredSample] = {}
    problems: list[Problem] = []
    names = batch_names(storage, uri)
    contents = storage.read_many(join(uri, "batches", n) for n in names)
    for name in names:
        where = join(uri, "batches", name)
        batch = parse_pool_batch(contents[where], where)
        check_classes(batch.classes, f"The pool batch {where}", expected=classes)
        for sample in batch.samples:
            if (trouble := _verifier_problem(sample)) is not None:
                problems.append(Problem(Reason.VERIFIER_MISSING, f"{name} {sample.image.path}", trouble))
            samples.setdefault(sample.image.sha256, _stored(uri, batch, sample))
    raise_first(problems, "the pool " + uri)
    return list(samples.values())


def _stored(uri: str, batch: PoolBatch, sample: BatchSample) -> StoredSample:
    return StoredSample(
        image=FileReference(join(uri, sample.image.path), sample.image.sha256),
        label=FileReference(join(uri, sample.label.path), sample.label.sha256),
        bytes=sample.image.bytes,
        document=sample.document,
        source=sample.source,
        verified_by=sample.verified_by,
        batch=batch.id,
        pixels=sample.image.pixels,
        look=sample.image.look,
    )


def _verifier_problem(sample: BatchSample) -> str | None:
    """Return what is missing for a sample to count as verified by a person, or None."""
    if not sample.verified_by.strip():
        return "nobody is recorded as its verifier"
    try:
        date.fromisoformat(sample.verified_at)
    except ValueError:
        return f"verifiedAt is {sample.verified_at!r}, expected a date (YYYY-MM-DD)"
    return None


def check_pool(
    storage: Storage,
    uri: str,
    *,
    classes: Sequence[str],
    minimum: int,
    index: AnchorIndex,
    counted: Counted = uncounted,
) -> list[tuple[StoredSample, Sample]]:
    """Read every page of the pool, and return each with its boxes counted; `counted` is called as they are read.

    Raises StepError unless there are `minimum` of them, none of the anchor's val and test pages is among them,
    digests are right, and images and labels are usable.
    """
    existing_batches(storage, uri)
    pool = read_pool(storage, uri, classes)
    if len(pool) < minimum:
        raise bad_input(
            Reason.POOL_TOO_SMALL,
            f"The pool {uri} has {len(pool)} verified pages; at least {minimum} are needed.",
            "Verify and add more pages; with fewer, noise outweighs what they teach.",
        )
    raise_first(_held_out(pool, index), "the pool " + uri)
    raise_first(_missing_files(storage, pool), "the pool " + uri)
    problems: list[Problem] = []
    checked: list[tuple[StoredSample, Sample]] = []
    for number, sample in enumerate(pool, start=1):
        boxes = _count_boxes(storage, sample, len(classes))
        counted(number, len(pool))
        if isinstance(boxes, Problem):
            problems.append(boxes)
        else:
            checked.append((sample, Sample(sample.image, sample.label, sample.bytes, boxes)))
    raise_first(problems, "the pool " + uri)
    return checked


def _held_out(pool: Sequence[StoredSample], index: AnchorIndex) -> list[Problem]:
    """Return a problem for every sample that is a val or test page of the anchor, by bytes or by pixels."""
    paths = {digest: page.image for page in held_out_pages(index) for digest in (page.image_sha256, page.pixels)}
    matches = ((sample, paths.get(sample.image.sha256) or paths.get(sample.pixels or "")) for sample in pool)
    return [
        Problem(Reason.HELD_OUT_PAGE_IN_POOL, sample.image.uri, f"it is the anchor's {path}")
        for sample, path in matches
        if path is not None
    ]


def _missing_files(storage: Storage, pool: Sequence[StoredSample]) -> list[Problem]:
    sizes = storage.sizes(file.uri for sample in pool for file in (sample.image, sample.label))
    return [
        Problem(reason, file.uri, f"the file of batch {sample.batch} does not exist")
        for sample in pool
        for file, reason in ((sample.image, Reason.IMAGE_UNREADABLE), (sample.label, Reason.LABEL_MISSING))
        if sizes[file.uri] is None
    ]


def _count_boxes(storage: Storage, sample: StoredSample, classes: int) -> int | Problem:
    contents = storage.read_many([sample.image.uri, sample.label.uri])
    for file in (sample.image, sample.label):
        if sha256_of(contents[file.uri]) != file.sha256:
            message = f"its bytes are not those that batch {sample.batch} recorded"
            return Problem(Reason.DIGEST_MISMATCH, file.uri, message)
    image, label = sample.image.uri, sample.label.uri
    files = PageFiles(image, contents[image], label, contents[label])
    # Whether a page without boxes is one was asked when it was added.
    checked = check_page(files, classes, allow_background=True)
    return checked if isinstance(checked, Problem) else checked.boxes


@dataclass(frozen=True, slots=True)
class PoolStats:
    """What a pool holds; `boxes` by class name, `verifiers` and `sources` by number of pages."""

    batches: int
    samples: int
    documents: int
    boxes: Mapping[str, int]
    verifiers: Mapping[str, int]
    sources: Mapping[str, int]


def pool_stats(storage: Storage, uri: str) -> PoolStats:
    """Count the pool; StepError when it has no batch or a label cannot be read."""
    names = existing_batches(storage, uri)
    first = join(uri, "batches", names[0])
    classes = parse_pool_batch(storage.read(first), first).classes
    samples = read_pool(storage, uri, classes)
    labels = storage.read_many(sample.label.uri for sample in samples)
    boxes: Counter[str] = Counter(dict.fromkeys(classes, 0))
    for sample in samples:
        parsed = parse_label(labels[sample.label.uri], len(classes))
        if isinstance(parsed, LabelProblem):
            raise _unreadable_label(sample, parsed)
        boxes.update(classes[box.field] for box in parsed)
    return PoolStats(
        batches=len(names),
        samples=len(samples),
        documents=len({sample.document for sample in samples}),
        boxes=dict(boxes),
        verifiers=dict(Counter(sample.verified_by for sample in samples)),
        sources=dict(Counter(sample.source for sample in samples)),
    )


def _unreadable_label(sample: StoredSample, problem: LabelProblem) -> StepError:
    return bad_input(
        problem.reason,
        f"{sample.label.uri}: {problem.message}.",
        "The pool is append-only: restore the file from the batch's source.",
    )
