"""A new batch of the pool: a YOLO folder that somebody verified, taken as a whole or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import PurePosixPath

from ..digests import check_digest, sha256_of
from ..documents.codec import encode
from ..documents.pool import BatchSample, ImageFile, LabelFile, PoolBatch
from ..errors import Reason, StepError, bad_input
from ..progress import Counted, uncounted
from ..storage import Storage, join
from .anchor import held_out_pages, read_index
from .background import check_share
from .folder import Folder, account, read_folder, summary
from .folder_classes import folder_classes, renumber, renumbering, what_lies_there
from .images import picture_remarks
from .page_documents import own_document, said_documents
from .pages import PageFiles, check_page
from .pool import read_pool
from .problems import Problem, raise_first
from .repeated import Compared, NewPage, compare
from .yolo_dataset import label_of


@dataclass(frozen=True, slots=True)
class Verification:
    """Who looked at every page of a batch, when, and where the pages come from."""

    by: str
    at: date
    source: str


@dataclass(frozen=True, slots=True)
class NewBatch:
    """What is to be added: a YOLO folder, the anchor whose classes count, and who verified the folder.

    `documents` says which document a page is of; a page that it does not name is a document of its own. `background`
    is the share of pages that may have no label or an empty one (0: none). `only_new` leaves out what the pool has
    already; `map_classes` renumbers labels by the names of their classes.
    """

    folder_uri: str
    anchor_uri: str
    verification: Verification
    documents: Mapping[str, str]
    background: float = 0
    only_new: bool = False
    map_classes: bool = False


@dataclass(frozen=True, slots=True)
class Added:
    """A batch that was added; `remarks` are lines for a person: what was left out, and what is odd about pages."""

    batch: PoolBatch
    remarks: tuple[str, ...]


def add_batch(storage: Storage, uri: str, new: NewBatch, now: datetime, counted: Counted = uncounted) -> Added:
    """Copy a folder into the pool as one immutable batch; all of it or, with a list of problems, nothing.

    `counted` is called as pages are read. One page is in memory at a time.
    """
    if not new.verification.by.strip():
        raise bad_input(Reason.VERIFIER_MISSING, "--verified-by is empty.", "Name the person who verified the labels.")
    index = read_index(storage, new.anchor_uri)
    folder = read_folder(storage, new.folder_uri)
    classes = renumbering(
        folder_classes(storage, folder), anchor=index.classes, folder=new.folder_uri, by_name=new.map_classes
    )
    left_out, problems = account(storage, folder, folder.images)
    documents = said_documents(folder.images, new.documents)
    pages, trouble = _read_pages(storage, folder, new, classes, counted)
    compared = compare(pages, held_out=held_out_pages(index), pool=read_pool(storage, uri, index.classes))
    raise_first([*compared.held_out, *problems, *trouble, *compared.repeated(new.only_new)], new.folder_uri)
    if not compared.new:
        raise _nothing(new, folder, len(compared.known))
    check_share([page.checked.boxes for page in compared.new], new.background, f"the folder {new.folder_uri}")
    identity = f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    # Files first, the manifest last: what no manifest names does not exist, so a crash leaves nothing half added.
    batch = PoolBatch(
        id=identity,
        created_at=f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        classes=index.classes,
        samples=tuple(
            _store(
                storage,
                uri,
                folder,
                page,
                classes,
                new.verification,
                documents.get(page.image) or own_document(identity, page.image),
            )
            for page in compared.new
        ),
    )
    storage.write_once(join(uri, "batches", f"{identity}.json"), encode(batch))
    return Added(batch, tuple(_remarks(compared, left_out)))


def _read_pages(
    storage: Storage, folder: Folder, new: NewBatch, classes: Mapping[int, int], counted: Counted
) -> tuple[list[NewPage], list[Problem]]:
    pages: list[NewPage] = []
    problems: list[Problem] = []
    for number, image in enumerate(folder.images, start=1):
        label = folder.label(image)
        label_data = storage.read(join(folder.uri, label)) if label is not None else None
        files = PageFiles(image, storage.read(join(folder.uri, image)), label or label_of(image), label_data)
        checked = check_page(files, len(classes), allow_background=new.background > 0)
        if isinstance(checked, Problem):
            problems.append(checked)
        else:
            stored = renumber(label_data or b"", classes)
            pages.append(NewPage(image, label, sha256_of(files.image_data), sha256_of(stored), checked))
        counted(number, len(folder.images))
    return pages, problems


def _nothing(new: NewBatch, folder: Folder, known: int) -> StepError:
    if known:
        return bad_input(
            Reason.DATA_UNREADABLE,
            f"All {known} pages of {new.folder_uri} are in the pool already.",
            "There is nothing to do; export again once more pages are verified.",
        )
    return bad_input(
        Reason.DATA_UNREADABLE,
        f"No image lies below {new.folder_uri}{what_lies_there(folder)}.",
        "Name a YOLO folder with images/ and labels/.",
    )


def _remarks(compared: Compared, left_out: Mapping[str, str]) -> list[str]:
    pages, lines = compared.new, list(compared.lookalikes)
    if compared.known:
        lines.append(f"{len(compared.known)} pages are in the pool already and were left out")
    empty = sum(page.checked.boxes == 0 for page in pages)
    if empty:
        lines.append(f"{empty} of {len(pages)} pages have no box")
    lines += picture_remarks((page.image, page.checked.picture) for page in pages)
    return [*lines, *summary(left_out)]


def _store(
    storage: Storage,
    uri: str,
    folder: Folder,
    page: NewPage,
    classes: Mapping[int, int],
    verification: Verification,
    document: str,
) -> BatchSample:
    """Read a page again, and store it as it was checked; StepError DigestMismatch where it changed meanwhile."""
    image_data = storage.read(join(folder.uri, page.image))
    label_data = renumber(storage.read(join(folder.uri, page.label)) if page.label else b"", classes)
    check_digest(page.image, actual=sha256_of(image_data), expected=page.image_sha256)
    check_digest(page.label or page.image, actual=sha256_of(label_data), expected=page.label_sha256)
    image, label = page.image_sha256, page.label_sha256
    image_path = f"files/{image[:2]}/{image}{PurePosixPath(page.image).suffix.lower()}"
    label_path = f"files/{label[:2]}/{label}.txt"
    storage.write_once(join(uri, image_path), image_data)
    storage.write_once(join(uri, label_path), label_data)
    picture = page.checked.picture
    return BatchSample(
        image=ImageFile(image_path, image, len(image_data), picture.pixels, picture.look),
        label=LabelFile(label_path, label),
        document=document,
        source=verification.source,
        verified_by=verification.by.strip(),
        verified_at=verification.at.isoformat(),
    )
