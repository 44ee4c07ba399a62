"""A correction of the pool: newer labels for pages that are in it, taken as a whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from ..digests import check_digest, sha256_of
from ..documents.pool import CorrectedSample, LabelFile, PoolCorrection
from ..errors import Reason, StepError, bad_input
from ..progress import Counted, uncounted
from ..storage import Storage, join
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
    path_of_label,
    read_new_pages,
    store_label,
)
from .labels import parse_label
from .meanwhile import beside_correction
from .pool import Pool, StoredSample, read_pool
from .pool_batch import Origin
from .pool_check import measured_pool
from .pool_log import append, created_at, entry_names, next_id
from .problems import Problem, raise_first
from .repeated import Compared, NewPage, compare


@dataclass(frozen=True, slots=True)
class NewLabels:
    """What is to be corrected: a YOLO folder, the anchor whose classes count, who verified the labels, and why.

    `background`, `map_classes`, `appended`, `fields` and `origins` mean what they mean for a batch; of an origin only
    the verifier counts, for a page keeps its document and source. `only_known` leaves out pages that the pool has not,
    or not any more.
    """

    folder_uri: str
    anchor_uri: str
    verified_by: str
    verified_at: date
    reason: str
    background: float = 0
    map_classes: bool = False
    appended: tuple[str, ...] = ()
    fields: int | None = None
    only_known: bool = False
    origins: Mapping[str, Origin] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Corrected:
    """A correction that was made; `remarks` are lines for a person: what was left out, and what is odd about pages."""

    correction: PoolCorrection
    remarks: tuple[str, ...]


def correct(storage: Storage, uri: str, new: NewLabels, now: datetime, counted: Counted = uncounted) -> Corrected:
    """Give pages of the pool the labels of a folder; all of it or, with a list of problems, nothing.

    Pages that have these labels already are left out. `counted` is called as pages are read.
    """
    _check_said(new)
    incoming = open_folder(
        storage, new.folder_uri, anchor_uri=new.anchor_uri, by_name=new.map_classes, appended=new.appended
    )
    pages, trouble = read_new_pages(storage, incoming, allow_background=new.background > 0, counted=counted)
    before = entry_names(storage, uri)
    measured = measured_pool(storage, uri, incoming.names, counted)
    pool = measured.pool
    incoming = as_said(incoming, pool, new.fields)
    classes = incoming.names
    compared = compare(pages, held_out=held_out_pages(incoming.index), pool=pool)
    know_same_boxes(storage, incoming, compared)
    written_otherwise = _complete(compared, len(classes))
    others = [] if new.only_known else [*compared.withdrawn, *_unknown(compared)]
    problems = [*compared.held_out, *incoming.problems, *trouble, *compared.twice, *others]
    raise_first(problems, new.folder_uri)
    if not compared.relabelled:
        raise _nothing(incoming, compared)
    _check_unsaid_classes(storage, incoming, compared)
    check_share([page.checked.boxes for page, _ in compared.relabelled], new.background, f"the folder {new.folder_uri}")
    samples = tuple(
        _corrected(page, stored, _keep(storage, uri, stored), new)
        if page.image in written_otherwise
        else _corrected(page, stored, store_label(storage, uri, incoming, page), new)
        for page, stored in compared.relabelled
    )
    if entry_names(storage, uri) != before:
        _check_meanwhile(read_pool(storage, uri, classes, measured.pixels), new, compared, len(classes))
    correction = PoolCorrection(
        id=next_id(storage, uri, now),
        created_at=created_at(now),
        classes=classes,
        reason=new.reason.strip(),
        samples=samples,
    )
    append(storage, uri, correction)
    written = (page for page, _ in compared.relabelled if page.image not in written_otherwise)
    there = restore_labels(storage, uri, incoming, written)
    said = (*class_remarks(incoming, (page for page, _ in compared.relabelled)), *_remarks(compared, incoming.left_out))
    return Corrected(correction, (*beside_correction(there, correction), *said))


def _complete(compared: Compared, fields: int) -> frozenset[str]:
    """Count pages as relabelled whose boxes are the same and were made for fewer classes.

    That there is none of the others on the page is what the new label says. Returns the pages of which the folder
    writes these boxes otherwise: they keep the label that they have, for none is a new sample by that.
    """
    fewer = compared.take_incomplete(fields)
    compared.relabelled += fewer
    return frozenset(page.image for page, stored in fewer if page.label_sha256 != stored.label.sha256)


def _keep(storage: Storage, uri: str, stored: StoredSample) -> LabelFile:
    """Return the label that a page has in the pool, by content."""
    data, digest = storage.read(stored.label.uri), stored.label.sha256
    check_digest(stored.label.uri, actual=sha256_of(data), expected=digest)
    path = path_of_label(digest)
    storage.write_once(join(uri, path), data)
    return LabelFile(path, digest)


def _check_meanwhile(pool: Pool, new: NewLabels, compared: Compared, fields: int) -> None:
    """Raise StepError where somebody else corrected or withdrew one of these pages while others were read."""
    problems: list[Problem] = []
    for page, stored in compared.relabelled:
        there = pool.page(stored.image.sha256)
        if there is None:
            continue
        if there.withdrawal is not None:
            problems.append(Problem(Reason.SAMPLE_WITHDRAWN, page.image, str(there.withdrawal)))
        elif there.last.label.sha256 != stored.label.sha256 or there.last.fields > fields:
            what = "another label" if there.last.label.sha256 != stored.label.sha256 else "a label for more classes"
            message = f"{there.last.verified_by} gave it {what} meanwhile, correction {there.last.correction}"
            problems.append(Problem(Reason.LABEL_CONTRADICTS, page.image, message))
    raise_first(problems, new.folder_uri)


def _check_said(new: NewLabels) -> None:
    if not new.origins and not new.verified_by.strip():
        raise bad_input(Reason.VERIFIER_MISSING, "--verified-by is empty.", "Name the person who verified the labels.")
    if not new.reason.strip():
        raise bad_input(Reason.DATA_UNREADABLE, "--reason is empty.", "Say why the labels change: a ticket or report.")


def _check_unsaid_classes(storage: Storage, incoming: Incoming, compared: Compared) -> None:
    """Raise StepError ClassListDiffers where pages have boxes of classes that the folder does not know.

    It says nothing of these, so that they would be gone for no reason that anybody gave.
    """
    _check_fewer(incoming, compared)
    names = incoming.names
    unsaid = set(range(len(names))) - set(incoming.classes.values())
    lost: dict[str, list[str]] = {}
    for page, stored in compared.relabelled if unsaid else ():
        data = storage.read_if_there(stored.label.uri)
        label = () if data is None else parse_label(data, len(names))
        for index in {box.field for box in label} & unsaid if isinstance(label, tuple) else ():
            lost.setdefault(names[index], []).append(page.image)
    if lost:
        said = "; ".join(f"{name} on {len(pages)} pages (first: {pages[0]})" for name, pages in sorted(lost.items()))
        raise bad_input(
            Reason.CLASS_LIST_DIFFERS,
            f"The folder {incoming.folder.uri} does not have classes of which the pool has boxes: {said}. They would "
            "be lost.",
            "Export these pages with all their classes; where the boxes are to go, list the class in data.yaml.",
        )


def _check_fewer(incoming: Incoming, compared: Compared) -> None:
    """Raise StepError ClassListDiffers where pages were labelled for more classes than these."""
    more = [page.image for page, stored in compared.relabelled if stored.fields > len(incoming.names)]
    if more:
        raise bad_input(
            Reason.CLASS_LIST_DIFFERS,
            f"{len(more)} pages (first: {more[0]}) have labels in the pool for more classes than the "
            f"{len(incoming.names)} of this correction; what these say of the others would be lost.",
            "Export these pages with all classes, and name the appended ones with --append-classes.",
        )


def _corrected(page: NewPage, stored: StoredSample, label: LabelFile, new: NewLabels) -> CorrectedSample:
    origin = new.origins.get(page.image, Origin())
    return CorrectedSample(
        image=stored.image.sha256,
        pixels=page.checked.picture.pixels,
        label=label,
        replaces=stored.label.sha256,
        verified_by=(origin.verified_by or new.verified_by).strip(),
        verified_at=origin.verified_at or new.verified_at.isoformat(),
    )


def _unknown(compared: Compared) -> list[Problem]:
    problems = []
    for page in compared.new:
        near = compared.lookalikes.get(page.image)
        message = "the pool does not have it" + (
            f"; it looks like a copy of {near}: give that file instead" if near else ""
        )
        problems.append(Problem(Reason.NOT_IN_POOL, page.image, message))
    return problems


def _nothing(incoming: Incoming, compared: Compared) -> StepError:
    same, others = len(compared.known), len(compared.new) + len(compared.withdrawn)
    if not same and not others:
        return no_image(incoming)
    folder = incoming.folder.uri
    what = (
        f"All {same} pages of {folder}{' that are in the pool' if others else ''} have these labels already"
        if same
        else f"The pool has none of the {others} pages of {folder}"
    )
    withdrawn = f"; {_withdrawn(compared)}" if compared.withdrawn else ""
    return bad_input(Reason.DATA_UNREADABLE, f"{what}{withdrawn}.", "There is nothing to correct.")


def _withdrawn(compared: Compared) -> str:
    return f"{len(compared.withdrawn)} pages were withdrawn and were left out (first: {compared.withdrawn[0]})"


def _remarks(compared: Compared, left_out: Mapping[str, str]) -> list[str]:
    lines = [f"{len(compared.known)} pages have these labels already and were left out"] if compared.known else []
    if compared.new:
        lines.append(f"{len(compared.new)} pages are not in the pool and were left out")
    if compared.withdrawn:
        lines.append(_withdrawn(compared))
    return [*lines, *page_remarks([page for page, _ in compared.relabelled]), *summary(left_out)]
