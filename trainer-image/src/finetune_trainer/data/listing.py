"""Listings: the whole pool as it was, and which samples the listings of earlier plans have.

A sample is known by its pixels and its label, so that another file of a page is no other page, and a corrected label is
another sample.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from decimal import Decimal

from ..documents.anchor import AnchorPage
from ..documents.plan import KnownSample, ListedSample, Plan, Use
from .mixing import is_held_out
from .pool import Pool


class Listing:
    """Samples that are known. Labels that a plan of an earlier release does not say stand for any label."""

    def __init__(self, samples: Iterable[KnownSample] = ()) -> None:
        self._samples: set[tuple[str, str]] = set()
        self._pages: set[str] = set()
        self._any_label: set[str] = set()
        self.add(samples)

    def add(self, samples: Iterable[KnownSample]) -> None:
        """Know these samples too."""
        for sample in samples:
            for digest in digests_of(sample):
                self._pages.add(digest)
                if sample.label is None:
                    self._any_label.add(digest)
                else:
                    self._samples.add((digest, sample.label))

    def has(self, sample: KnownSample) -> bool:
        """Tell whether the page is listed with this label."""
        return any(
            digest in self._any_label or (sample.label is not None and (digest, sample.label) in self._samples)
            for digest in digests_of(sample)
        )

    def has_page(self, sample: KnownSample) -> bool:
        """Tell whether the page is listed, with whatever label."""
        return any(digest in self._pages for digest in digests_of(sample))


def digests_of(sample: KnownSample) -> tuple[str, ...]:
    """Return what the page is known by: the digests of its image and, where they are known, of its pixels."""
    return (sample.image,) if sample.pixels is None else (sample.image, sample.pixels)


def listed(plan: Plan) -> tuple[KnownSample, ...]:
    """Return all that a plan says was known by then: its pool, and what was judged of others before."""
    return (*plan.listing, *plan.judged_before)


def list_pool(pool: Pool, holdout: Decimal) -> tuple[ListedSample, ...]:
    """Return every sample that ever was in the pool, once, with what it is there for."""
    samples: list[ListedSample] = []
    for page in pool.pages:
        uses: dict[str, Use] = {}
        for sample in page.samples:
            uses[sample.label.sha256] = "superseded"
        uses[page.last.label.sha256] = "heldOut" if is_held_out(page.last.document, holdout) else "train"
        image, pixels = page.last.image.sha256, page.last.pixels
        for label, use in uses.items():
            said: Use = use if page.withdrawal is None else "withdrawn"
            samples.append(ListedSample(image=image, pixels=pixels, label=label, use=said))
    return tuple(sorted(samples, key=lambda s: (s.image, s.label or "")))


def judged_before(judged: Iterable[KnownSample], listing: Iterable[ListedSample]) -> tuple[KnownSample, ...]:
    """Return what was judged and is not in this listing, each once: samples of other pools."""
    here = Listing(listing)
    elsewhere = {KnownSample(image=s.image, pixels=s.pixels, label=s.label) for s in judged if not _is_here(here, s)}
    return tuple(sorted(elsewhere, key=lambda s: (s.image, s.pixels or "", s.label or "")))


def _is_here(here: Listing, sample: KnownSample) -> bool:
    return here.has_page(sample) if sample.label is None else here.has(sample)


def anchor_digests(pages: Iterable[AnchorPage]) -> frozenset[str]:
    """Return what pages of the anchor are known by: the digests of their images and pixels."""
    return frozenset(digest for page in pages for digest in (page.image_sha256, page.pixels) if digest is not None)


def is_measured_on(
    sample: KnownSample, *, held_out: bool, base: Listing, trained: Collection[str], only_held_out: bool
) -> bool:
    """Tell whether Gate 2 looks at a sample: the base does not know it, by its listing or its anchor's train split.

    Where a share is held out, only that share counts. `trained` has what pages of the train split are known by.
    """
    known = base.has(sample) or any(digest in trained for digest in digests_of(sample))
    return not known and (held_out or not only_held_out)
