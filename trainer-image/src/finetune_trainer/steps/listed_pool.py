"""The samples that a plan lists as current, held to the pool: a listing lies in the store and is not believed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ..data.images import Picture, inspect_image
from ..data.listing import Listing
from ..data.mixing import is_held_out
from ..data.pool import Pool, PoolPage, StoredSample, fields_of, read_pool, replayed
from ..data.pool_log import read_log
from ..digests import check_digest, sha256_of
from ..documents.codec import FileReference
from ..documents.plan import KnownSample, ListedSample, Plan
from ..documents.run import TrainingDocument
from ..errors import Reason, StepError, bad_input
from ..storage import Storage, normalise
from .earlier_pool import earlier_pages, has_older_label


@dataclass(frozen=True, slots=True)
class CurrentSample:
    """A sample that the plan lists to train or to measure on: as it is stored, and by its digests.

    `fields` are the numbers of classes that this label was made for: it may have been confirmed for more since.
    """

    stored: StoredSample
    known: KnownSample
    held_out: bool
    fields: frozenset[int | None]


def read_listed_pool(
    storage: Storage, document: TrainingDocument, plan: Plan, listings: Sequence[Listing]
) -> list[CurrentSample]:
    """Return the samples that counted when the plan was drawn; the pool may have grown and changed since.

    `listings` are those that the samples are going to be looked up in. Raises StepError where the pool never was as
    the plan lists it, and where bytes of it were erased since.
    """
    uri = normalise(document.data.pool.uri)
    pool = read_pool(storage, uri, document.classes)
    pages: dict[int, list[tuple[PoolPage, ListedSample]]] = {}
    missing = 0
    for listed in plan.listing:
        page = _listed_page(pool, listed)
        if page is None:
            missing += 1
        else:
            pages.setdefault(id(page), []).append((page, listed))
    if missing:
        raise differs(f"{len(plan.listing) - missing} of its {len(plan.listing)} samples are in the pool {uri}")
    with erasures_named(storage, plan):
        current = list(_current(storage, document, plan, pages.values(), listings))
    if len(current) < document.mixing.min_pool_samples:
        raise differs(f"it lists {len(current)} samples of the pool {uri} that count")
    _check_batches(storage, pool, plan)
    if document.created_at is not None:
        _check_earlier(storage, pool, plan, pages, document.created_at)
    return current


def _listed_page(pool: Pool, listed: ListedSample) -> PoolPage | None:
    """Return the page that is listed, None where the pool has none with that label.

    It is listed by an image that a batch brought: which batches were there is told by these.
    """
    page = pool.page(listed.image)
    return page if page is not None and listed.image in page.copies and _stored(page, listed) is not None else None


def _check_batches(storage: Storage, pool: Pool, plan: Plan) -> None:
    """Raise StepError where the plan lists a part of a batch: nobody picks the pages that a candidate is good at.

    A batch is there as a whole or not at all, so each page that is listed came with one that is listed as a whole.
    """
    images = {listed.image for listed in plan.listing}
    there: list[PoolPage] = []
    others: list[PoolPage] = []
    for page in pool.pages:
        (there if images.intersection(page.copies) else others).append(page)
    near = {batch for page in there for batch in page.batches}
    shown = _shown(plan)
    others = [page for page in others if page.batches & near and not _is_listed_once(storage, pool, page, shown)]
    parts = {batch for page in others for batch in page.batches}
    torn = {batch for page in there if page.batches <= parts for batch in page.batches}
    left_out = sum(bool(page.batches & torn) for page in others)
    if left_out:
        raise differs(f"it lists parts of batches of the pool {pool.uri}, and leaves out {left_out} of their pages")


def _check_earlier(
    storage: Storage,
    pool: Pool,
    plan: Plan,
    pages: Mapping[int, Sequence[tuple[PoolPage, ListedSample]]],
    created: datetime,
) -> None:
    """Raise StepError where the plan lacks what the pool had when the run was made: nobody calls that later.

    Of each page that is there, it lists the label of then or a later one, or that it was withdrawn.
    """
    shown = _shown(plan)
    left_out = withdrawn = older = 0
    for page, now in earlier_pages(storage, pool, created):
        listed = next((pages[id(there)] for there in now if id(there) in pages), None)
        if listed is None:
            left_out += bool(now) and not any(_is_listed_once(storage, pool, there, shown) for there in now)
            continue
        counts = next((entry for entry in listed if entry[1].use in ("train", "heldOut")), None)
        if counts is not None and page.withdrawal is not None:
            withdrawn += 1
        elif counts is not None:
            stored = _stored(*counts)
            older += stored is not None and has_older_label(counts[0], page.last, stored.label.sha256)
    if left_out or withdrawn or older:
        raise bad_input(
            Reason.DIGEST_MISMATCH,
            f"The plan is older than its run: of what the pool {pool.uri} had an hour before the run was made, it "
            f"leaves out {left_out} pages, lists {withdrawn} that were withdrawn, and {older} with labels from before.",
            "Where files of the pool's log were away meanwhile, make a new run; else see who writes to the artifacts' "
            "prefix.",
        )


def _shown(plan: Plan) -> dict[str | None, str]:
    """Return the images that are listed to train or to measure on, by their pixels."""
    return {listed.pixels: listed.image for listed in plan.listing if listed.use in ("train", "heldOut")}


def _is_listed_once(storage: Storage, pool: Pool, page: PoolPage, shown: Mapping[str | None, str]) -> bool:
    """Tell whether a page shows the same as a listed one: what an earlier release took twice is listed as the first.

    Of those that the pool does not know by pixels, both are read: a plan may say of any page that it shows what another
    one does. `shown` has the listed images by pixels.
    """
    pixels = _shows(storage, page)
    first = None if pixels is None or pixels not in shown else pool.page(shown[pixels])
    return first is not None and _shows(storage, first) == pixels


def _shows(storage: Storage, page: PoolPage) -> str | None:
    """Return the digest of a page's pixels, read where the pool does not say it; None where nobody can tell."""
    if page.last.pixels is not None:
        return page.last.pixels
    image = page.last.image
    data = storage.read_if_there(image.uri)
    return None if data is None or sha256_of(data) != image.sha256 else _pixels_of(data)


def _stored(page: PoolPage, listed: ListedSample) -> StoredSample | None:
    """Return the page with the label that is listed; with its first one where an earlier release did not say which."""
    if listed.label is None:
        return page.samples[0]
    return next((sample for sample in reversed(page.samples) if sample.label.sha256 == listed.label), None)


def _current(
    storage: Storage,
    document: TrainingDocument,
    plan: Plan,
    pages: Iterable[list[tuple[PoolPage, ListedSample]]],
    listings: Sequence[Listing],
) -> Iterator[CurrentSample]:
    share = Decimal(document.holdout)
    erased = 0
    for entries in pages:
        page = entries[0][0]
        listed = _checked_uses(page, [entry for _, entry in entries])
        if listed is None:
            continue
        stored = _stored(page, listed)
        assert stored is not None
        held_out = is_held_out(stored.document, share)
        if held_out != (listed.use == "heldOut"):
            raise differs(f"it lists {stored.image.uri} as {listed.use}, which the holdout does not say")
        erased += page.withdrawal is not None and page.withdrawal.erased
        _check_pixels(storage, stored, listed, listings, compared=bool(plan.production))
        known = KnownSample(image=listed.image, pixels=listed.pixels, label=stored.label.sha256)
        same = (sample for sample in page.samples if sample.label.sha256 == stored.label.sha256)
        fields = frozenset(fields_of(sample, document.classes) for sample in same)
        yield CurrentSample(stored, known, held_out, fields)
    if erased:
        raise _erased(erased)


@contextmanager
def erasures_named(storage: Storage, plan: Plan) -> Iterator[None]:
    """Turn the error of a file that is gone into StepError SampleWithdrawn where pages of the plan were erased since.

    A page may be erased at any time, also between two that are read.
    """
    try:
        yield
    except StepError as error:
        if error.reason is Reason.DATA_UNREADABLE and (erased := _erased_since(storage, plan)):
            raise _erased(erased) from error
        raise


def _erased_since(storage: Storage, plan: Plan) -> int:
    """Return how many pages that the plan trains or measures on were erased."""
    pool = replayed(plan.pool_uri, read_log(storage, plan.pool_uri), {})
    pages = (pool.page(digest) for digest in {sample.image.sha256 for sample in (*plan.train, *plan.new_set)})
    return sum(page is not None and page.withdrawal is not None and page.withdrawal.erased for page in pages)


def _erased(pages: int) -> StepError:
    return bad_input(
        Reason.SAMPLE_WITHDRAWN,
        f"{pages} pages that the plan was drawn from were erased from the pool since.",
        "Make a new run: it is drawn from the pool as it is now.",
    )


def _checked_uses(page: PoolPage, entries: Sequence[ListedSample]) -> ListedSample | None:
    """Return the entry by which a page counted, None for a page that was withdrawn by then.

    What the plan says of each must be so in the pool by now: nobody leaves a page out of an examination by calling it
    withdrawn, or its label superseded. A page is listed by one of its images, and by its own pixels.
    """
    said, pixels = {(entry.image, entry.pixels) for entry in entries}, page.last.pixels
    if len(said) > 1 or (pixels is not None and entries[0].pixels not in (None, pixels)):
        raise differs(f"it lists {page.last.image.uri} with other pixels than it has, or as two pages")
    current = [entry for entry in entries if entry.use in ("train", "heldOut")]
    if len(current) > 1:
        raise differs(f"it lists the page {entries[0].image} with two labels at once")
    withdrawn = any(entry.use == "withdrawn" for entry in entries)
    if withdrawn and (page.withdrawal is None or current):
        raise differs(f"it lists the page {entries[0].image} as withdrawn, which it is not")
    if not withdrawn and not current:
        raise differs(f"it lists the page {entries[0].image} without a label that counts")
    return current[0] if current else None


def _check_pixels(
    storage: Storage, stored: StoredSample, listed: ListedSample, listings: Sequence[Listing], *, compared: bool
) -> None:
    """Raise StepError where the listed pixels are not the page's; read it only where the pool does not say them.

    And of these, only a page that one of the listings has by such pixels alone: for others nothing hangs on them.
    Where documents of production are `compared`, all hangs on them: by pixels it is told which of these the candidate
    learnt from, and which label a page has.
    """
    if compared and listed.pixels is None:
        raise differs(f"it lists {stored.image.uri} without its pixels, and has documents of production")
    if listed.pixels is None or listed.pixels == stored.pixels:
        return
    by_image = KnownSample(image=listed.image, pixels=None, label=stored.label.sha256)
    by_pixels = KnownSample(image=listed.image, pixels=listed.pixels, label=stored.label.sha256)
    matters = compared or any(listing.has(by_pixels) != listing.has(by_image) for listing in listings)
    if matters and _pixels(storage, stored.image) != listed.pixels:
        raise differs(f"it lists {stored.image.uri} with other pixels than it has")


def _pixels(storage: Storage, image: FileReference) -> str | None:
    data = storage.read(image.uri)
    check_digest(image.uri, actual=sha256_of(data), expected=image.sha256)
    return _pixels_of(data)


def _pixels_of(data: bytes) -> str | None:
    shown = inspect_image(data)
    return shown.pixels if isinstance(shown, Picture) else None


def differs(what: str) -> StepError:
    """Return the error of a plan that anchor and pool do not lead to."""
    return bad_input(
        Reason.DIGEST_MISMATCH,
        f"The plan is not what the run document's anchor and pool lead to: {what}.",
        "Where the anchor was indexed anew meanwhile, make a new run; else see who writes to the artifacts' prefix.",
    )
