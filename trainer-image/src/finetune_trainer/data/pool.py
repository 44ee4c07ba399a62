"""The pool of verified pages: adding a batch, reading it back, and counting what it holds."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import PurePosixPath

from finetune_trainer.data.anchor import check_classes, read_index
from finetune_trainer.data.images import IMAGE_SUFFIXES, image_problem
from finetune_trainer.data.labels import LabelProblem, parse_label
from finetune_trainer.data.problems import Problem, raise_first
from finetune_trainer.data.yolo_dataset import label_place, parse_data_yaml
from finetune_trainer.documents.anchor import AnchorIndex
from finetune_trainer.documents.codec import encode
from finetune_trainer.documents.pool import BatchSample, ImageFile, LabelFile, PoolBatch, parse_pool_batch
from finetune_trainer.errors import Reason, StepError, bad_input
from finetune_trainer.storage import Storage, join, sha256_of


@dataclass(frozen=True)
class Verification:
    """Who looked at every page of a batch, when, and where the pages come from."""

    by: str
    at: date
    source: str


@dataclass(frozen=True)
class PooledSample:
    """One page of the pool as it is stored: URIs, digests, and the batch that brought it."""

    image_uri: str
    label_uri: str
    batch: str
    sample: BatchSample


def held_out_pages(index: AnchorIndex) -> dict[str, str]:
    """Image digests of the anchor's val and test pages, with their paths."""
    return {e.image_sha256: e.image for e in (*index.splits.val, *index.splits.test)}


def batch_names(storage: Storage, uri: str) -> list[str]:
    """File names of the pool's batch manifests in order; none for a pool that nobody added to."""
    return [n for n in storage.names(join(uri, "batches")) if n.endswith(".json")]


def existing_batches(storage: Storage, uri: str) -> list[str]:
    """Like batch_names; StepError DataUnreadable where there is none: most often the URI is wrong."""
    names = batch_names(storage, uri)
    if not names:
        raise bad_input(
            Reason.DATA_UNREADABLE,
            f"No batch of a pool lies below {uri}.",
            "Check the URI, or add pages with `finetune-trainer pool add`.",
        )
    return names


def read_pool(storage: Storage, uri: str, classes: Sequence[str]) -> list[PooledSample]:
    """Every verified page of the pool, each image once (the first batch that has it), in order of the batches.

    Raises StepError for batches with other classes and for samples without a verifier; an absent pool is empty.
    """
    samples: dict[str, PooledSample] = {}
    problems: list[Problem] = []
    names = batch_names(storage, uri)
    contents = storage.read_many(join(uri, "batches", n) for n in names)
    for name in names:
        where = join(uri, "batches", name)
        batch = parse_pool_batch(contents[where], where)
        check_classes(batch.classes, classes, f"The pool batch {where}")
        for sample in batch.samples:
            if (trouble := verifier_problem(sample)) is not None:
                problems.append(Problem(Reason.VERIFIER_MISSING, f"{name} {sample.image.path}", trouble))
            pooled = PooledSample(join(uri, sample.image.path), join(uri, sample.label.path), batch.id, sample)
            samples.setdefault(sample.image.sha256, pooled)
    raise_first(problems, "the pool " + uri)
    return list(samples.values())


def verifier_problem(sample: BatchSample) -> str | None:
    """What is missing for a sample to count as verified by a person, or None."""
    if not sample.verified_by.strip():
        return "nobody is recorded as its verifier"
    try:
        date.fromisoformat(sample.verified_at)
    except ValueError:
        return f"verifiedAt is {sample.verified_at!r}, expected a date (YYYY-MM-DD)"
    return None


@dataclass(frozen=True)
class NewPage:
    """A page of a YOLO folder that passed all checks."""

    image: str
    image_data: bytes
    label_data: bytes
    document: str


def add_batch(
    storage: Storage,
    uri: str,
    source_uri: str,
    anchor_uri: str,
    verification: Verification,
    documents: Mapping[str, str],
    allow_background: bool,
    now: datetime,
) -> PoolBatch:
    """Copy a YOLO folder into the pool as one immutable batch; all of it or, with a list of problems, nothing.

    `documents` maps a page's file stem to its document id; a page that it does not name is a document of its own.
    """
    if not verification.by.strip():
        raise bad_input(Reason.VERIFIER_MISSING, "--verified-by is empty.", "Name the person who verified the labels.")
    index = read_index(storage, anchor_uri)
    check_classes(_folder_classes(storage, source_uri), index.classes, f"The folder {source_uri}")
    known = {p.sample.image.sha256: p.batch for p in read_pool(storage, uri, index.classes)}
    pages, problems = _read_folder(storage, source_uri, len(index.classes), documents, allow_background)
    problems += _collisions(pages, known, held_out_pages(index))
    raise_first(problems, source_uri)
    if not pages:
        raise bad_input(
            Reason.DATA_UNREADABLE, f"No image below {source_uri}.", "Name a YOLO folder with images/ and labels/."
        )
    # Files first, the manifest last: what no manifest names does not exist, so a crash leaves nothing half added.
    samples = tuple(_store(storage, uri, page, verification) for page in pages)
    stamp = now.astimezone(UTC)
    identity = f"{stamp:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    batch = PoolBatch(id=identity, created_at=f"{stamp:%Y-%m-%dT%H:%M:%SZ}", classes=index.classes, samples=samples)
    storage.write_once(join(uri, "batches", f"{identity}.json"), encode(batch))
    return batch


def _folder_classes(storage: Storage, uri: str) -> tuple[str, ...]:
    if storage.exists(join(uri, "data.yaml")):
        return parse_data_yaml(storage.read(join(uri, "data.yaml")), join(uri, "data.yaml")).names
    if storage.exists(join(uri, "classes.txt")):
        text = storage.read(join(uri, "classes.txt")).decode("utf-8-sig", errors="replace")
        return tuple(line.strip() for line in text.splitlines() if line.strip())
    raise bad_input(
        Reason.CLASS_LIST_DIFFERS,
        f"{uri} has neither data.yaml nor classes.txt, so what its class indices mean is unknown.",
        "Export with data.yaml (names:) or classes.txt, one class a line, in the anchor's order.",
    )


def _read_folder(
    storage: Storage, uri: str, classes: int, documents: Mapping[str, str], allow_background: bool
) -> tuple[list[NewPage], list[Problem]]:
    objects = storage.walk(uri)
    present = frozenset(objects)
    pages: list[NewPage] = []
    problems: list[Problem] = []
    for image in (o for o in objects if PurePosixPath(o).suffix.lower() in IMAGE_SUFFIXES):
        data = storage.read(join(uri, image))
        label = label_place(image)
        if (trouble := image_problem(data)) is not None:
            problems.append(Problem(Reason.IMAGE_UNREADABLE, image, trouble))
        elif label not in present:
            problems.append(Problem(Reason.LABEL_MISSING, image, f"{label} does not exist"))
        else:
            text = storage.read(join(uri, label))
            boxes = parse_label(text, classes)
            if isinstance(boxes, LabelProblem):
                problems.append(Problem(boxes.reason, label, boxes.message))
            elif not boxes and not allow_background:
                problems.append(Problem(Reason.LABEL_MISSING, label, "the file is empty"))
            else:
                stem = PurePosixPath(image).stem
                pages.append(NewPage(image, data, text, documents.get(stem, stem)))
    return pages, problems


def _collisions(pages: Iterable[NewPage], known: Mapping[str, str], held_out: Mapping[str, str]) -> list[Problem]:
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    for page in pages:
        digest = sha256_of(page.image_data)
        if digest in held_out:
            problem = Problem(Reason.HELD_OUT_PAGE_IN_POOL, page.image, f"it is the anchor's {held_out[digest]}")
            problems.append(problem)
        elif digest in known:
            problems.append(Problem(Reason.DUPLICATE_SAMPLE, page.image, f"batch {known[digest]} has it"))
        elif digest in seen:
            problems.append(Problem(Reason.DUPLICATE_SAMPLE, page.image, f"it is the same image as {seen[digest]}"))
        seen.setdefault(digest, page.image)
    # A page that would spoil the test set weighs more than one that is merely there twice.
    return sorted(problems, key=lambda p: p.reason is not Reason.HELD_OUT_PAGE_IN_POOL)


def _store(storage: Storage, uri: str, page: NewPage, verification: Verification) -> BatchSample:
    image, label = sha256_of(page.image_data), sha256_of(page.label_data)
    image_path = f"files/{image[:2]}/{image}{PurePosixPath(page.image).suffix.lower()}"
    label_path = f"files/{label[:2]}/{label}.txt"
    storage.write_once(join(uri, image_path), page.image_data)
    storage.write_once(join(uri, label_path), page.label_data)
    return BatchSample(
        image=ImageFile(image_path, image, len(page.image_data)),
        label=LabelFile(label_path, label),
        document=page.document,
        source=verification.source,
        verified_by=verification.by.strip(),
        verified_at=verification.at.isoformat(),
    )


@dataclass(frozen=True)
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
    labels = storage.read_many(s.label_uri for s in samples)
    boxes: Counter[str] = Counter(dict.fromkeys(classes, 0))
    for sample in samples:
        parsed = parse_label(labels[sample.label_uri], len(classes))
        if isinstance(parsed, LabelProblem):
            raise _unreadable_label(sample, parsed)
        boxes.update(classes[box.field] for box in parsed)
    return PoolStats(
        batches=len(names),
        samples=len(samples),
        documents=len({s.sample.document for s in samples}),
        boxes=dict(boxes),
        verifiers=dict(Counter(s.sample.verified_by for s in samples)),
        sources=dict(Counter(s.sample.source for s in samples)),
    )


def _unreadable_label(sample: PooledSample, problem: LabelProblem) -> StepError:
    return bad_input(
        problem.reason,
        f"{sample.label_uri}: {problem.message}.",
        "The pool is append-only: restore the file from the batch's source.",
    )
