"""A new batch of the pool: a YOLO folder that somebody verified, taken as a whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from ..documents.pool import BatchSample, ImageFile, LabelFile, PoolBatch
from ..errors import Reason, StepError, bad_input
from ..progress import Counted, uncounted
from ..storage import Storage
from ..texts import document_spelling
from .anchor import held_out_pages
from .background import check_share
from .erasing import restore_labels
from .folder import summary
from .incoming import (
    Incoming,
    as_said,
    class_remarks,
    know_same_boxes,
    no_image,
    open_folder,
    page_remarks,
    read_new_pages,
    store_image,
    store_label,
)
from .meanwhile import beside_batch
from .page_documents import as_known, own_document, said_documents
from .pool import Pool, read_pool
from .pool_log import append, created_at, entry_names, next_id
from .problems import Problem, raise_first
from .repeated import Compared, compare


@dataclass(frozen=True, slots=True)
class Verification:
    """Who looked at every page of a batch, when, and where the pages come from."""

    by: str
    at: date
    source: str


@dataclass(frozen=True, slots=True)
class Origin:
    """What is said of one page: its document and source, who verified it and when (a date); None where nobody said."""

    document: str | None = None
    source: str | None = None
    verified_by: str | None = None
    verified_at: str | None = None


@dataclass(frozen=True, slots=True)
class NewBatch:
    """What is to be added: a YOLO folder, the anchor whose classes count, and who verified the folder.

    `documents` says which document a page is of; a page that it does not name is a document of its own. `background`
    is the share of pages that may have no label or an empty one (0: none). `only_new` leaves out what the pool has
    already; `map_classes` renumbers labels by the names of their classes. `appended` are classes behind the anchor's
    that pages are labelled for too. `fields` says for how many classes, the first ones, pages are labelled at most,
    where the folder lists more than anybody said; None: for those that it lists. `origins` says by image what holds for
    that page instead of what is said of all, `called` what a labelling tool called it, by which `documents` names it.
    """

    folder_uri: str
    anchor_uri: str
    verification: Verification
    documents: Mapping[str, str]
    background: float = 0
    only_new: bool = False
    map_classes: bool = False
    appended: tuple[str, ...] = ()
    fields: int | None = None
    origins: Mapping[str, Origin] = field(default_factory=dict)
    called: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Added:
    """A batch that was added; `remarks` are lines for a person: what was left out, and what is odd about pages."""

    batch: PoolBatch
    remarks: tuple[str, ...]


def add_batch(storage: Storage, uri: str, new: NewBatch, now: datetime, counted: Counted = uncounted) -> Added:
    """Copy a folder into the pool as one immutable batch; all of it or, with a list of problems, nothing.

    `counted` is called as pages are read. One page is in memory at a time.
    """
    if not new.origins and not new.verification.by.strip():
        raise bad_input(Reason.VERIFIER_MISSING, "--verified-by is empty.", "Name the person who verified the labels.")
    incoming = open_folder(
        storage, new.folder_uri, anchor_uri=new.anchor_uri, by_name=new.map_classes, appended=new.appended
    )
    documents = said_documents(incoming.folder.images, new.documents, new.called)
    documents |= {i: document_spelling(origin.document) for i, origin in new.origins.items() if origin.document}
    pages, trouble = read_new_pages(storage, incoming, allow_background=new.background > 0, counted=counted)
    before = entry_names(storage, uri)
    pool = read_pool(storage, uri, incoming.names)
    incoming = as_said(incoming, pool, new.fields)
    documents = as_known(documents, {document for page in pool.pages for document in page.documents})
    compared = compare(pages, held_out=held_out_pages(incoming.index), pool=pool)
    know_same_boxes(storage, incoming, compared)
    incomplete = _incomplete(compared, len(incoming.names))
    problems = [*compared.held_out, *incoming.problems, *trouble, *incomplete, *compared.repeated(new.only_new)]
    raise_first(problems, new.folder_uri)
    if not compared.new:
        raise _nothing(incoming, compared)
    check_share([page.checked.boxes for page in compared.new], new.background, f"the folder {new.folder_uri}")
    # Files first, the manifest last: what no manifest names does not exist, so a crash leaves nothing half added.
    files = [
        (store_image(storage, uri, incoming, page), store_label(storage, uri, incoming, page)) for page in compared.new
    ]
    if entry_names(storage, uri) != before:
        _check_meanwhile(storage, uri, incoming, compared)
    # The id last of all: by it the batch sorts behind what others wrote while files were copied.
    identity = next_id(storage, uri, now)
    batch = PoolBatch(
        id=identity,
        created_at=created_at(now),
        classes=incoming.names,
        samples=tuple(
            _sample(new, new.origins.get(page.image, Origin()), _document(documents, identity, page.image), *stored)
            for page, stored in zip(compared.new, files, strict=True)
        ),
    )
    append(storage, uri, batch)
    beside = beside_batch(restore_labels(storage, uri, incoming, compared.new), batch)
    said = (*class_remarks(incoming, compared.new), *_remarks(compared, incoming.left_out), *_unseen(pool))
    return Added(batch, (*beside, *said))


def _incomplete(compared: Compared, fields: int) -> list[Problem]:
    """Return the problems of pages that the pool has with the same boxes, labelled for fewer classes.

    Left out as known, they would seem to be labelled for all of these from now on.
    """
    return [
        Problem(
            Reason.LABEL_CONTRADICTS,
            page.image,
            f"batch {stored.batch} has it, labelled for {stored.fields} of these {fields} classes: `pool correct` "
            "completes it",
        )
        for page, stored in compared.take_incomplete(fields)
    ]


def _check_meanwhile(storage: Storage, uri: str, incoming: Incoming, compared: Compared) -> None:
    """Raise StepError where somebody else added or withdrew one of these pages while their files were copied."""
    now_there = compare(compared.new, held_out=(), pool=read_pool(storage, uri, incoming.names))
    where = f"{incoming.folder.uri}, of which somebody added pages meanwhile"
    raise_first(now_there.repeated(only_new=False), where)


def _document(said: Mapping[str, str], batch: str, image: str) -> str:
    return said.get(image) or own_document(batch, image)


def _sample(new: NewBatch, origin: Origin, document: str, image: ImageFile, label: LabelFile) -> BatchSample:
    return BatchSample(
        image=image,
        label=label,
        document=document,
        source=origin.source or new.verification.source,
        verified_by=(origin.verified_by or new.verification.by).strip(),
        verified_at=origin.verified_at or new.verification.at.isoformat(),
    )


def _nothing(incoming: Incoming, compared: Compared) -> StepError:
    if not compared.known and not compared.withdrawn:
        return no_image(incoming)
    withdrawn = f" or were withdrawn ({compared.withdrawn[0]})" if compared.withdrawn else ""
    return bad_input(
        Reason.DATA_UNREADABLE,
        f"All {len(compared.known) + len(compared.withdrawn)} pages of {incoming.folder.uri} are in the pool already"
        f"{withdrawn}.",
        "There is nothing to do; export again once more pages are verified.",
    )


def _unseen(pool: Pool) -> list[str]:
    """Return a line on pages of which copies are not recognised here: all of them would have to be read for it."""
    count = sum(sample.pixels is None for sample in pool.samples)
    said = "were added by an earlier release, and a copy of one in another file counts as that page, with its label"
    return [f"{count} pages of the pool {said}: to correct it use `pool correct`, which reads them"] if count else []


def _remarks(compared: Compared, left_out: Mapping[str, str]) -> list[str]:
    lines = compared.alike()
    if compared.known:
        lines.append(f"{len(compared.known)} pages are in the pool already and were left out")
    if compared.withdrawn:
        lines.append(
            f"{len(compared.withdrawn)} pages were withdrawn and were left out (first: {compared.withdrawn[0]})"
        )
    return [*lines, *page_remarks(compared.new), *summary(left_out)]
