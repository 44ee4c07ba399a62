"""The pool that a plan was drawn from, replayed from its log: a plan lies in the store, and no listing is believed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from ..data.listing import digests_of, list_pool
from ..data.plan import CurrentSample, current_samples
from ..data.pool import Pool
from ..data.pool_check import MeasuredPool, is_unread, measured_pool
from ..data.pool_log import entries_beside, has_manifest, times_of
from ..documents.plan import ListedSample, Plan
from ..documents.pool import PoolWithdrawal
from ..documents.run import TrainingDocument
from ..errors import Reason, StepError, bad_input
from ..progress import Counted, uncounted
from ..storage import Storage, normalise
from ..texts import one_spelling

_MARGIN: Final = timedelta(hours=1)
"""The store and the cluster have clocks of their own, and some stores show, or date, a file a little late."""

_LATE: Final = 100
"""Manifests that are asked for by name where a listing does not show them: those of the last moments."""

_SHOWN: Final = 3
"""Manifests that an error names."""


def read_listed_pool(
    storage: Storage, document: TrainingDocument, plan: Plan, counted: Counted = uncounted
) -> tuple[CurrentSample, ...]:
    """Return what counted in the pool that the plan was drawn from: what the manifests come to that it names.

    Raises StepError where the log has not these, or had others an hour before the run was made; where they come to
    another listing than the plan's; and where pages that counted were erased since. `counted` is called as pages of
    earlier releases are read.
    """
    check_says_its_log(plan)
    uri = normalise(document.data.pool.uri)
    if plan.pool_uri != uri:
        raise differs(f"it was drawn from the pool {plan.pool_uri}, not from {uri}")
    _check_log(storage, uri, plan, document.created_at)
    _check_erased(storage, plan)
    measured = measured_pool(storage, uri, document.classes, counted, names=plan.pool_log)
    pool = measured.pool
    listing = list_pool(pool, Decimal(document.holdout))
    if listing != plan.listing:
        _check_erased(storage, plan)  # a page may be erased at any time, also between two that were read
        raise _unread(measured, plan.listing) or _listed_otherwise(pool, listing, plan.listing)
    current = current_samples(pool, document)
    if len(current) < document.mixing.min_pool_samples:
        raise differs(f"it lists {len(current)} samples of the pool {uri} that count")
    return current


def check_says_its_log(plan: Plan) -> None:
    """Raise StepError for a plan of an earlier trainer: it does not say what it was drawn from."""
    if not plan.pool_log:
        raise bad_input(
            Reason.CONTRACT_VIOLATED,
            "The plan is of an earlier trainer, and does not say which manifests of the pool's log it was drawn from.",
            "Make a new run: its plan is drawn by this trainer.",
        )


def _check_log(storage: Storage, uri: str, plan: Plan, created: datetime | None) -> None:
    """Raise StepError unless the plan names manifests that are there, and all that were when the run was made.

    Nobody leaves out what the pool had as if it had come later.
    """
    named, there = set(plan.pool_log), times_of(storage, uri)
    if list(plan.pool_log) != sorted(named):
        raise differs("it names manifests of the pool's log twice, or in another order")
    gone = _gone(storage, uri, plan.pool_log, there)
    if gone:
        raise bad_input(
            Reason.DIGEST_MISMATCH,
            f"The plan was drawn from {len(gone)} manifests that the log of the pool {uri} has not: {_first(gone)}.",
            "Where the bucket was restored, or the pool made anew, make a new run: it is drawn from what is there; "
            "else see who writes to the pool, and to the artifacts' prefix.",
        )
    if created is None:
        return
    by_then = created - _MARGIN
    left_out = [n for n, since in there.items() if n not in named and since is not None and since <= by_then]
    if left_out:
        raise bad_input(
            Reason.DIGEST_MISMATCH,
            f"The plan leaves out {len(left_out)} manifests that the log of the pool {uri} had an hour before the run "
            f"was made, by the store's times: {_first(left_out)}.",
            "Where they were copied there, or put back, since then and kept older times (rsync -t, a snapshot, a FUSE "
            "mount), make a new run: it is drawn from them too; else see who writes to the artifacts' prefix.",
        )


def _gone(storage: Storage, uri: str, names: Sequence[str], there: Collection[str]) -> list[str]:
    """Return which of these manifests the log has not; few that a listing does not show are asked for by name.

    Some mounts take a name in another spelling for the same file, which would be read twice and elsewhere in the order.
    """
    unseen = [name for name in names if name not in there]
    if len(unseen) > _LATE:
        return unseen
    spelt = {one_spelling(name).casefold() for name in there}
    gone: list[str] = []
    for name in unseen:
        spelling = one_spelling(name).casefold()
        if spelling in spelt or not has_manifest(storage, uri, name):
            gone.append(name)
        spelt.add(spelling)
    return gone


def _first(names: Sequence[str]) -> str:
    shown = ", ".join(name[:80] for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and more"


def _unread(measured: MeasuredPool, listed: Sequence[ListedSample]) -> StepError | None:
    """Return the error of a plan that lists otherwise what could be read then and cannot now, or the other way round.

    A page that could not be read then was withdrawn, by its image alone.
    """
    pool, pictures = measured.pool, measured.pictures
    then = {sample.image for sample in listed if sample.pixels is None and sample.use == "withdrawn"}
    lost = [p.last.image.uri for p in pool.pages if is_unread(p) and p.last.image.sha256 not in then]
    if lost:
        return bad_input(
            Reason.DIGEST_MISMATCH,
            f"{len(lost)} pages that the plan was drawn from cannot be read any more, or are others: {lost[0]}.",
            "Put them back, let the pod read them, or withdraw them; then make a new run.",
        )
    back = [page for image in sorted(then & pictures.keys()) if (page := pool.page(image)) is not None]
    if back:
        return bad_input(
            Reason.DIGEST_MISMATCH,
            f"{len(back)} withdrawn pages that could not be read when the plan was drawn can be read again: "
            f"{back[0].last.image.uri}.",
            "Other files of these pages are withdrawn by that, too: make a new run.",
        )
    return None


def _listed_otherwise(pool: Pool, there: Sequence[ListedSample], listed: Sequence[ListedSample]) -> StepError:
    """Return the error of a plan that lists otherwise what the manifests come to that it names."""
    ours, theirs = ({(s.image, s.label or ""): s for s in samples} for samples in (there, listed))
    wrong = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
    if not wrong:
        return differs(f"it lists samples of the pool {pool.uri} twice, or in another order")
    (image, label), *_ = wrong
    return differs(
        f"of what its manifests of the pool {pool.uri} come to, it lists {len(wrong)} samples otherwise; the first is "
        f"image {image} with label {label or 'of any kind'}, {_said(theirs.get(wrong[0]))} and not "
        f"{_said(ours.get(wrong[0]))}"
    )


def _said(sample: ListedSample | None) -> str:
    return "there" if sample is None else f"{sample.use} with pixels {sample.pixels}"


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


def _check_erased(storage: Storage, plan: Plan) -> None:
    erased = _erased_since(storage, plan)
    if erased:
        raise _erased(erased)


def _erased_since(storage: Storage, plan: Plan) -> int:
    """Return how many pages that count in the plan were erased, by what the log has beside what it was drawn from."""
    current = (sample for sample in plan.listing if sample.use in ("train", "heldOut"))
    pages = {digest: sample.image for sample in current for digest in digests_of(sample)}
    erased: set[str] = set()
    for entry in entries_beside(storage, plan.pool_uri, frozenset(plan.pool_log)):
        if isinstance(entry, PoolWithdrawal) and entry.erased:
            erased.update(pages[d] for sample in entry.samples for d in (sample.image, sample.pixels) if d in pages)
    return len(erased)


def _erased(pages: int) -> StepError:
    return bad_input(
        Reason.SAMPLE_WITHDRAWN,
        f"{pages} pages that the plan was drawn from were erased from the pool since.",
        "Make a new run: it is drawn from the pool as it is now.",
    )


def differs(what: str) -> StepError:
    """Return the error of a plan that anchor and pool do not lead to."""
    return bad_input(
        Reason.DIGEST_MISMATCH,
        f"The plan is not what the run document's anchor and pool lead to: {what}.",
        "Where the anchor was indexed anew meanwhile, or a manifest of the pool's log was written anew, make a new "
        "run; else see who writes to the artifacts' prefix.",
    )
