"""The pool: what its log comes to. Every page with all labels that it ever had, and whether it was withdrawn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import chain
from typing import Final, assert_never

from ..documents.classes import labelled_fields
from ..documents.codec import FileReference
from ..documents.plan import KnownSample
from ..documents.pool import BatchSample, CorrectedSample, PoolBatch, PoolCorrection, PoolEntry, PoolWithdrawal
from ..errors import Reason, StepError, bad_input
from ..storage import Storage, join
from .pool_log import entries_of
from .problems import Problem, raise_first

ADDING_CLASSES: Final = "Classes are only ever appended, behind those that there are, with --append-classes"
"""What every refusal of another list of classes says."""


@dataclass(frozen=True, slots=True)
class StoredSample:
    """A page of the pool with one label, as they are stored: the files, the image's size in bytes, who verified.

    `batch` is the one that brought the page, `correction` the one that brought the label, None for its first label.
    The label was made for the first `fields` classes: of later ones it says nothing.
    """

    image: FileReference
    label: FileReference
    bytes: int
    document: str
    source: str
    verified_by: str
    verified_at: str
    batch: str
    fields: int
    correction: str | None = None
    pixels: str | None = None
    look: str | None = None

    @property
    def known(self) -> KnownSample:
        """The sample by its digests."""
        return KnownSample(image=self.image.sha256, pixels=self.pixels, label=self.label.sha256)


def fields_of(stored: StoredSample, classes: Sequence[str]) -> int | None:
    """Return how many classes the label was made for; None where these are all of `classes`, and no others."""
    return None if stored.fields == len(classes) else stored.fields


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Who withdrew a page, when and why; `erased` says that its bytes are gone, or about to go."""

    by: str
    at: str
    reason: str
    erased: bool

    def __str__(self) -> str:
        return f"{self.by} withdrew it on {self.at[:10]}: {self.reason}"


@dataclass(slots=True)
class PoolPage:
    """A page with all labels that it ever had, the last of them counts. Grows as the log is read.

    `files` are all files of it: its images (other files of the same pixels too) and labels, by place.
    """

    samples: list[StoredSample]
    files: dict[str, FileReference] = field(default_factory=dict)
    copies: list[str] = field(default_factory=list)
    """Digests of the images that show this page."""
    batches: set[str] = field(default_factory=set)
    """All that brought it, and `documents` what it was called there: two people may have added one page at once."""
    documents: set[str] = field(default_factory=set)
    withdrawal: Withdrawal | None = None

    @property
    def last(self) -> StoredSample:
        """The page with the label that it has, or had when it was withdrawn."""
        return self.samples[-1]


@dataclass(frozen=True, slots=True)
class Pool:
    """The pages of a pool in the order in which they came."""

    uri: str
    pages: tuple[PoolPage, ...]
    _by_digest: Mapping[str, PoolPage]

    @property
    def samples(self) -> list[StoredSample]:
        """What counts: each page that is not withdrawn, with its last label."""
        return [page.last for page in self.pages if page.withdrawal is None]

    @property
    def withdrawn(self) -> list[PoolPage]:
        """The pages that were withdrawn."""
        return [page for page in self.pages if page.withdrawal is not None]

    def page(self, *digests: str | None) -> PoolPage | None:
        """Return the page that one of these digests, of an image or of pixels, is of."""
        return next((page for d in digests if d is not None and (page := self._by_digest.get(d)) is not None), None)


def read_pool(storage: Storage, uri: str, classes: Sequence[str], pixels: Mapping[str, str] | None = None) -> Pool:
    """Return what the log comes to; an absent pool is empty.

    Manifests may have more of the classes, or fewer: some were appended since, or are to be. Raises StepError for other
    classes and for samples that count without a verifier. `pixels` are digests of images that the log does not say.
    """
    pool = replayed(uri, of_classes(entries_of(storage, uri), uri, classes), pixels or {})
    check_verifiers(pool)
    return pool


def replayed(uri: str, log: Iterable[PoolEntry], pixels: Mapping[str, str]) -> Pool:
    """Return what a log comes to: batches first, then corrections, then withdrawals, whatever their names.

    So what two machines write at the same time comes to one thing, and no withdrawn page comes back. Which files show
    one page is told by their pixels, and any entry may say those of an image: pages are made once all was read. Of
    batches, which have nearly all of a log, only that is kept which pages are made of. `pixels` are digests of images
    that the log does not say.
    """
    brought: list[StoredSample] = []
    corrections: list[PoolCorrection] = []
    withdrawals: list[PoolWithdrawal] = []
    for entry in log:
        match entry:
            case PoolBatch():
                brought.extend(_stored(uri, entry, sample) for sample in entry.samples)
            case PoolCorrection():
                corrections.append(entry)
            case PoolWithdrawal():
                withdrawals.append(entry)
            case _:
                assert_never(entry)
    building = _Building(uri)
    for stored in _with_pixels(brought, pixels, (*corrections, *withdrawals)):
        building.add(stored)
    for correction in corrections:
        building.correct(correction)
    for withdrawal in withdrawals:
        building.withdraw(withdrawal)
    return Pool(uri, tuple(building.pages), building.by_digest)


def _stored(uri: str, batch: PoolBatch, sample: BatchSample) -> StoredSample:
    image = sample.image
    return StoredSample(
        image=FileReference(join(uri, image.path), image.sha256),
        label=FileReference(join(uri, sample.label.path), sample.label.sha256),
        bytes=image.bytes,
        document=sample.document,
        source=sample.source,
        verified_by=sample.verified_by,
        verified_at=sample.verified_at,
        batch=batch.id,
        fields=len(batch.classes),
        pixels=image.pixels,
        look=image.look,
    )


def _with_pixels(
    brought: Sequence[StoredSample], read: Mapping[str, str], later: Iterable[PoolCorrection | PoolWithdrawal]
) -> Iterator[StoredSample]:
    """Yield what batches brought, with the pixels that another batch says, the image shows or a later entry says.

    What is said first counts.
    """
    unsaid = {stored.image.sha256 for stored in brought if stored.pixels is None}
    said: Iterable[tuple[str, str | None]] = chain(
        ((stored.image.sha256, stored.pixels) for stored in brought),
        read.items(),
        ((sample.image, sample.pixels) for entry in later for sample in entry.samples),
    )
    known: dict[str, str] = {}
    for image, pixels in said:
        if pixels is not None and image in unsaid:
            known.setdefault(image, pixels)
    for stored in brought:
        pixels = known.get(stored.image.sha256) if stored.pixels is None else None
        yield stored if pixels is None else replace(stored, pixels=pixels)


@dataclass(slots=True)
class _Building:
    """A pool while it is made of what its log has. Grows by it."""

    uri: str
    pages: list[PoolPage] = field(default_factory=list)
    by_digest: dict[str, PoolPage] = field(default_factory=dict)

    def add(self, stored: StoredSample) -> None:
        """Take in what a batch brought; a page that is there already, by its bytes or pixels, is another file of it.

        Its label says nothing, unless it is the same and was made for more classes: then the page is complete by it.
        """
        image = stored.image.sha256
        page = self._find(image, stored.pixels)
        if page is None:
            page = PoolPage([stored])
            self.pages.append(page)
        elif stored.label.sha256 == page.last.label.sha256 and stored.fields > page.last.fields:
            by, at = stored.verified_by, stored.verified_at
            page.samples.append(replace(page.last, fields=stored.fields, verified_by=by, verified_at=at))
        self._know(page, image, stored.pixels)
        if image not in page.copies:
            page.copies.append(image)
        page.batches.add(stored.batch)
        page.documents.add(stored.document)
        for file in (stored.image, stored.label):
            page.files.setdefault(file.uri, file)

    def correct(self, correction: PoolCorrection) -> None:
        """Give pages other labels. A page that no batch has any more has none to correct."""
        for sample in correction.samples:
            page = self._find(sample.image, sample.pixels)
            if page is not None:
                self._know(page, sample.image, sample.pixels)
                stored = self._corrected(page.last, correction, sample)
                page.samples.append(stored)
                page.files.setdefault(stored.label.uri, stored.label)

    def withdraw(self, withdrawal: PoolWithdrawal) -> None:
        """Withdraw pages. The first withdrawal of a page counts; a later one can erase it."""
        for sample in withdrawal.samples:
            page = self._find(sample.image, sample.pixels)
            if page is None:
                continue
            self._know(page, sample.image, sample.pixels)
            if page.withdrawal is None:
                said = Withdrawal(withdrawal.by, withdrawal.created_at, withdrawal.reason, withdrawal.erased)
                page.withdrawal = said
            elif withdrawal.erased:
                page.withdrawal = replace(page.withdrawal, erased=True)

    def _find(self, image: str, pixels: str | None) -> PoolPage | None:
        return self.by_digest.get(image) or self.by_digest.get(pixels or "")

    def _know(self, page: PoolPage, image: str, pixels: str | None) -> None:
        self.by_digest.setdefault(image, page)
        if pixels is not None:
            self.by_digest.setdefault(pixels, page)

    def _corrected(self, sample: StoredSample, correction: PoolCorrection, said: CorrectedSample) -> StoredSample:
        return replace(
            sample,
            label=FileReference(join(self.uri, said.label.path), said.label.sha256),
            verified_by=said.verified_by,
            verified_at=said.verified_at,
            fields=len(correction.classes),
            correction=correction.id,
        )


def check_log_classes(log: Iterable[PoolEntry], uri: str, classes: Sequence[str]) -> None:
    """Raise StepError ClassListDiffers for a batch or correction whose classes are not these, or more, or fewer."""
    for entry in log:
        _of_classes(entry, uri, classes)


def of_classes(log: Iterable[PoolEntry], uri: str, classes: Sequence[str]) -> Iterator[PoolEntry]:
    """Yield a log, each entry checked as by `check_log_classes`."""
    return (_of_classes(entry, uri, classes) for entry in log)


def _of_classes(entry: PoolEntry, uri: str, classes: Sequence[str]) -> PoolEntry:
    if isinstance(entry, PoolWithdrawal):
        return entry
    kind = "batch" if isinstance(entry, PoolBatch) else "correction"
    try:
        labelled_fields(entry.classes, f"The pool {kind} {entry.id} below {uri}", expected=classes)
    except StepError as error:
        raise bad_input(
            error.reason,
            error.message,
            f"{ADDING_CLASSES}. Use one list in policy, base, anchor and pool; renumber labels where they differ.",
        ) from None
    return entry


def longest_classes(log: Iterable[PoolEntry]) -> tuple[str, ...]:
    """Return the longest list of classes that a batch or correction was labelled with; () where there is none."""
    lists = (entry.classes for entry in log if not isinstance(entry, PoolWithdrawal))
    return max(lists, key=len, default=())


def check_verifiers(pool: Pool) -> None:
    """Raise StepError VerifierMissing for samples that count and that no person is recorded to have verified."""
    problems = [
        Problem(Reason.VERIFIER_MISSING, f"{sample.correction or sample.batch} {sample.image.uri}", trouble)
        for sample in pool.samples
        if (trouble := _verifier_problem(sample)) is not None
    ]
    raise_first(problems, "the pool " + pool.uri)


def _verifier_problem(sample: StoredSample) -> str | None:
    """Return what is missing for a sample to count as verified by a person, or None."""
    if not sample.verified_by.strip():
        return "nobody is recorded as its verifier"
    try:
        date.fromisoformat(sample.verified_at)
    except ValueError:
        return f"verifiedAt is {sample.verified_at!r}, expected a date (YYYY-MM-DD)"
    return None
