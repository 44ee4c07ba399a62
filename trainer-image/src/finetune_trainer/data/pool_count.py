"""What a pool holds for runs, counted by its log alone: no page is read."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ..digests import set_digest
from .listing import Listing, list_pool
from .mixing import is_held_out
from .pool import Pool
from .sample_counts import SampleCounts, count_samples


@dataclass(frozen=True, slots=True)
class PoolCount:
    """A pool in numbers, and `listing`, the digest of all that is or was in it and what it is there for.

    `unmeasured` of the current samples are of an earlier release, which did not note their pixels: they are known by
    their files alone, so that two files of one page count twice until a run reads them.
    """

    samples: SampleCounts
    withdrawn: int
    unmeasured: int
    listing: str


def count_pool(pool: Pool, holdout: Decimal, *, base: Listing, judged: Listing) -> PoolCount:
    """Count a pool by what the base and the judged runs list."""
    current = pool.samples
    samples = ((sample.known, is_held_out(sample.document, holdout)) for sample in current)
    return PoolCount(
        samples=count_samples(samples, base, judged),
        withdrawn=len(pool.withdrawn),
        unmeasured=sum(sample.pixels is None for sample in current),
        listing=set_digest((s.pixels or s.image, f"{s.label} {s.use}") for s in list_pool(pool, holdout)),
    )
