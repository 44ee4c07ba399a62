"""A withdrawal from the pool: pages that are to train and judge no more, and on request their bytes too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from ..digests import sha256_of
from ..documents.codec import FileReference
from ..documents.pool import PoolWithdrawal, WithdrawnSample
from ..errors import Reason, bad_input
from ..local_files import is_folder
from ..progress import Counted, uncounted
from ..storage import Storage, join, local_path
from ..texts import document_spelling
from .erasing import remove_erased
from .folder import lost_images, read_folder
from .images import IMAGE_SUFFIXES, Picture, inspect_image
from .lookalikes import Register, Seen
from .pool import Pool, PoolPage
from .pool_check import measured_pool
from .pool_log import append, created_at, next_id
from .problems import Problem, raise_first


@dataclass(frozen=True, slots=True)
class Leaving:
    """What is to be withdrawn, by whom and why. `erase` removes the bytes too.

    `images` are URIs of images or of folders of them; `digests` are those of an image's bytes or pixels.
    """

    by: str
    reason: str
    images: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    batches: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    erase: bool = False


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What was done: the entry of the log (None where nothing was left to say) and the files that were removed."""

    withdrawal: PoolWithdrawal | None
    pages: tuple[PoolPage, ...]
    removed: tuple[FileReference, ...]


@dataclass(frozen=True, slots=True)
class _Given:
    """An image that is to leave: where it lies, its digest, and what it shows, or why it cannot be decoded."""

    uri: str
    sha256: str
    picture: Picture | str


def withdraw(storage: Storage, uri: str, leaving: Leaving, now: datetime, counted: Counted = uncounted) -> Withdrawn:
    """Withdraw pages: first the log says so, then bytes go. Made again, it finishes what was cut off.

    Raises StepError NotInPool, and changes nothing, where one of the given things is in no sample. `counted` is called
    as pages of earlier releases are read.
    """
    _check_said(leaving)
    given = [_given(storage, image) for image in _images(storage, leaving.images)]
    # They may show what the pool's own file of them, which cannot be read, does not.
    shown = {image.sha256: image.picture.pixels for image in given if isinstance(image.picture, Picture)}
    measured = measured_pool(storage, uri, None, counted, shown=shown)
    pool = measured.pool
    meant = _meant_pages(storage, pool, leaving, given)
    pages = [page for page in pool.pages if id(page) in meant]
    saying = [page for page in pages if page.withdrawal is None or (leaving.erase and not page.withdrawal.erased)]
    withdrawal = None
    if saying:
        withdrawal = PoolWithdrawal(
            id=next_id(storage, uri, now),
            created_at=created_at(now),
            by=leaving.by.strip(),
            reason=leaving.reason.strip(),
            erased=leaving.erase,
            samples=tuple(_samples(saying)),
        )
        append(storage, uri, withdrawal)
    removed = remove_erased(storage, uri, measured.pixels) if leaving.erase else ()
    return Withdrawn(withdrawal, tuple(pages), removed)


def _check_said(leaving: Leaving) -> None:
    if not leaving.by.strip() or not leaving.reason.strip():
        empty = "--withdrawn-by" if not leaving.by.strip() else "--reason"
        raise bad_input(Reason.DATA_UNREADABLE, f"{empty} is empty.", "Say who withdraws the pages, and why.")
    if not (leaving.images or leaving.documents or leaving.batches or leaving.digests):
        raise bad_input(
            Reason.DATA_UNREADABLE,
            "Nothing says what is to be withdrawn.",
            "Name it: --image FILE or FOLDER, --document ID, --batch ID, --sha256 DIGEST.",
        )


def _samples(pages: Iterable[PoolPage]) -> Iterator[WithdrawnSample]:
    """Yield each page by every image that shows it, so that it is known by any of them."""
    for page in pages:
        for image in page.copies:
            yield WithdrawnSample(image=image, pixels=page.last.pixels, label=page.last.label.sha256)


def _given(storage: Storage, uri: str) -> _Given:
    data = storage.read(uri)
    return _Given(uri, sha256_of(data), inspect_image(data))


def _meant_pages(storage: Storage, pool: Pool, leaving: Leaving, given: Sequence[_Given]) -> set[int]:
    """Return the ids of the pages that are meant; StepError where one of the things that were given means none."""
    meant: set[int] = set()
    problems: list[Problem] = []
    for thing, pages, hint in _things(storage, pool, leaving, given):
        trouble = _trouble(pages, leaving.erase)
        if trouble is not None:
            problems.append(Problem(Reason.NOT_IN_POOL, thing, trouble + hint))
        meant.update(map(id, pages))
    raise_first(problems, "the pool " + pool.uri)
    return meant


def _trouble(pages: Sequence[PoolPage], erase: bool) -> str | None:
    """Return why there is nothing to withdraw about pages that were named as one, or None."""
    if not pages:
        return "no sample of the pool has it"
    if erase or any(page.withdrawal is None for page in pages):
        return None
    return f"{pages[0].withdrawal}; --erase would remove its bytes, too"


def _things(
    storage: Storage, pool: Pool, leaving: Leaving, given: Sequence[_Given]
) -> Iterator[tuple[str, list[PoolPage], str]]:
    """Yield each thing that was given, the pages that it means, and a hint for a person where it means none."""
    for document in leaving.documents:
        spelled = document_spelling(document)
        pages = [page for page in pool.pages if spelled in map(document_spelling, page.documents)]
        yield f"document {document}", pages, _hint(pages, document, (page.documents for page in pool.pages))
    for batch in leaving.batches:
        pages = [page for page in pool.pages if batch in page.batches]
        yield f"batch {batch}", pages, _hint(pages, batch, (page.batches for page in pool.pages))
    for digest in leaving.digests:
        page = pool.page(digest.lower())
        yield f"sha256 {digest}", [page] if page else [], "" if page else _left(storage, pool, digest.lower())
    if given:
        looks = Register.of(
            Seen(f"sha256 {s.image.sha256}", s.image.sha256, s.label.sha256, s.pixels, s.look) for s in pool.samples
        )
        for image in given:
            yield image.uri, *_shown(storage, pool, image, looks)


def _hint(pages: Sequence[PoolPage], given: str, of_pages: Iterable[set[str]]) -> str:
    """Return what may be meant where nothing was found, or how such names look: those of the pool are shown nowhere."""
    names = set() if pages else set().union(*of_pages)
    near = [name for name in names if given.strip() and (given.strip() in name or name in given)]
    shown = min(near or names, default=None)
    return f"; there is {shown}" if shown is not None else ""


def _images(storage: Storage, given: Iterable[str]) -> Iterator[str]:
    """Yield the URIs of images, those in folders too.

    Raises StepError for a folder without any, and for one with files that may be pages and cannot be read: somebody
    who gives a folder means all that is in it.
    """
    for uri in given:
        path = local_path(uri)
        is_file = _suffix(uri) in IMAGE_SUFFIXES if path is None else not is_folder(path)
        if is_file:
            yield uri
            continue
        folder = read_folder(storage, uri)
        raise_first(lost_images(folder), uri)
        images = [join(uri, file) for file in folder.images]
        if not images:
            raise bad_input(
                Reason.DATA_UNREADABLE, f"No image lies below {uri}.", "Name an image, or a folder of them."
            )
        yield from images


def _suffix(place: str) -> str:
    return PurePosixPath(place).suffix.lower()


def _shown(storage: Storage, pool: Pool, image: _Given, looks: Register) -> tuple[list[PoolPage], str]:
    picture = image.picture
    if not isinstance(picture, Picture):
        page = pool.page(image.sha256)
        return ([page], "") if page else ([], f" ({picture}){_left(storage, pool, image.sha256)}")
    page = pool.page(image.sha256, picture.pixels)
    if page is not None:
        return [page], ""
    near = looks.near(Seen(image.uri, image.sha256, None, picture.pixels, picture.look))
    looks_like = f"; it looks like a copy of {near.place}, which can be named so" if near else ""
    return [], looks_like + _left(storage, pool, image.sha256)


def _left(storage: Storage, pool: Pool, digest: str) -> str:
    """Return a hint on a file of no sample: who asks for an erasure means it, too."""
    folder = join(pool.uri, "files", digest[:2])
    left = next((name for name in storage.names(folder) if digest and name.startswith(digest)), None)
    return (
        f"; {join(folder, left)} is of no batch (an addition was cut off, or goes on): delete that file" if left else ""
    )
