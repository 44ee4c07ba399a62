"""Plans as they lie in the store: what those of base, live version and judged runs list."""

from __future__ import annotations

from collections.abc import Iterable

from ..digests import check_digest, sha256_of
from ..documents.codec import FileReference
from ..documents.plan import KnownSample, ListedSample, Plan, parse_listed, parse_listing, parse_plan
from ..errors import ErrorClass, StepError
from ..storage import Storage, normalise
from .listing import Listing, digests_of, listed


def read_plan(storage: Storage, plan: FileReference) -> Plan:
    """Return a plan by URI and digest; StepError DigestMismatch or ContractViolated."""
    return parse_plan(*_read(storage, plan))


def _read(storage: Storage, plan: FileReference) -> tuple[bytes, str]:
    uri = normalise(plan.uri)
    data = storage.read(uri)
    check_digest(uri, actual=sha256_of(data), expected=plan.sha256)
    return data, uri


def listing_of(storage: Storage, inputs: FileReference | None) -> Listing:
    """Return what the plan that a model was trained by lists; nothing where it has no plan."""
    return Listing() if inputs is None else Listing(parse_listing(*_read(storage, inputs)))


def taught_by(storage: Storage, inputs: FileReference | None) -> frozenset[str]:
    """Return the digests of the pages that a model may have learnt from, by the plan that it was trained by.

    These are all that its plan lists, but for those that were held out; nothing where it has no plan.
    """
    return frozenset() if inputs is None else taught(parse_listing(*_read(storage, inputs)))


def taught(listing: Iterable[ListedSample]) -> frozenset[str]:
    """Return the digests, of images and of pixels, of what a listing does not hold out."""
    return frozenset(digest for sample in listing if sample.use != "heldOut" for digest in digests_of(sample))


def judged_samples(
    storage: Storage, plans: Iterable[FileReference]
) -> tuple[tuple[KnownSample, ...], tuple[StepError, ...]]:
    """Return what the plans of judged runs list, of this pool and of others, and why some of them cannot be read.

    No run fails for these: no verdict hangs on what is new, and each plan says what was judged before it. What only a
    plan that is lost had is new again.
    """
    samples: list[KnownSample] = []
    lost: list[StepError] = []
    for plan in plans:
        try:
            samples += listed(read_plan(storage, plan))
        except StepError as error:
            if error.error_class is not ErrorClass.BAD_INPUT:
                raise
            lost.append(error)
    return tuple(samples), tuple(lost)


def judged_listing(storage: Storage, plans: Iterable[FileReference]) -> tuple[Listing, tuple[StepError, ...]]:
    """Return what `judged_samples` does as one listing, with one plan in memory at a time."""
    listing = Listing()
    lost: list[StepError] = []
    for plan in plans:
        try:
            listing.add(parse_listed(*_read(storage, plan)))
        except StepError as error:
            if error.error_class is not ErrorClass.BAD_INPUT:
                raise
            lost.append(error)
    return listing, tuple(lost)
