"""A new batch of the pool: a YOLO folder that somebody verified, taken as a whole or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import PurePosixPath

from ..digests import sha256_of
from ..documents.classes import check_classes
from ..documents.codec import encode
from ..documents.pool import BatchSample, ImageFile, LabelFile, PoolBatch
from ..errors import Reason, bad_input
from ..progress import Counted, uncounted
from ..storage import Storage, join
from .anchor import held_out_pages, read_index
from .images import IMAGE_SUFFIXES
from .pages import PageFiles, count_boxes
from .pool import read_pool
from .problems import Problem, raise_first
from .yolo_dataset import label_of, parse_data_yaml


@dataclass(frozen=True, slots=True)
class Verification:
    """Who looked at every page of a batch, when, and where the pages come from."""

    by: str
    at: date
    source: str


@dataclass(frozen=True, slots=True)
class NewBatch:
    """What is to be added: a YOLO folder, the anchor whose classes count, and who verified the folder.

    `documents` maps a page's file stem to its document id; a page that it does not name is a document of its own.
    """

    folder_uri: str
    anchor_uri: str
    verification: Verification
    documents: Mapping[str, str]
    allow_background: bool


def add_batch(storage: Storage, uri: str, new: NewBatch, now: datetime, counted: Counted = uncounted) -> PoolBatch:
    """Copy a folder into the pool as one immutable batch; all of it or, with a list of problems, nothing.

    `counted` is called as pages are read.
    """
    if not new.verification.by.strip():
        raise bad_input(Reason.VERIFIER_MISSING, "--verified-by is empty.", "Name the person who verified the labels.")
    index = read_index(storage, new.anchor_uri)
    check_classes(_folder_classes(storage, new.folder_uri), f"The folder {new.folder_uri}", expected=index.classes)
    known = {sample.image.sha256: sample.batch for sample in read_pool(storage, uri, index.classes)}
    pages, problems = _read_folder(storage, new, len(index.classes), counted)
    problems += _collisions(pages, known=known, held_out=held_out_pages(index))
    raise_first(problems, new.folder_uri)
    if not pages:
        raise bad_input(
            Reason.DATA_UNREADABLE,
            f"No image below {new.folder_uri}.",
            "Name a YOLO folder with images/ and labels/.",
        )
    # Files first, the manifest last: what no manifest names does not exist, so a crash leaves nothing half added.
    samples = tuple(_store(storage, uri, page, new) for page in pages)
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
    storage: Storage, new: NewBatch, classes: int, counted: Counted
) -> tuple[list[PageFiles], list[Problem]]:
    uri = new.folder_uri
    objects = frozenset(storage.walk(uri))
    images = sorted(o for o in objects if PurePosixPath(o).suffix.lower() in IMAGE_SUFFIXES)
    pages: list[PageFiles] = []
    problems: list[Problem] = []
    for number, image in enumerate(images, start=1):
        label = label_of(image)
        label_data = storage.read(join(uri, label)) if label in objects else None
        files = PageFiles(image, storage.read(join(uri, image)), label, label_data)
        # A sample of the pool always has a label file, so that its absence never looks like a decision.
        boxes = count_boxes(files, classes, allow_missing=False, allow_empty=new.allow_background)
        if isinstance(boxes, Problem):
            problems.append(boxes)
        else:
            pages.append(files)
        counted(number, len(images))
    return pages, problems


def _collisions(pages: Iterable[PageFiles], *, known: Mapping[str, str], held_out: Mapping[str, str]) -> list[Problem]:
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


def _store(storage: Storage, uri: str, page: PageFiles, new: NewBatch) -> BatchSample:
    label_data = page.label_data or b""
    image, label = sha256_of(page.image_data), sha256_of(label_data)
    path = PurePosixPath(page.image)
    image_path = f"files/{image[:2]}/{image}{path.suffix.lower()}"
    label_path = f"files/{label[:2]}/{label}.txt"
    storage.write_once(join(uri, image_path), page.image_data)
    storage.write_once(join(uri, label_path), label_data)
    return BatchSample(
        image=ImageFile(image_path, image, len(page.image_data)),
        label=LabelFile(label_path, label),
        document=new.documents.get(path.stem, path.stem),
        source=new.verification.source,
        verified_by=new.verification.by.strip(),
        verified_at=new.verification.at.isoformat(),
    )
