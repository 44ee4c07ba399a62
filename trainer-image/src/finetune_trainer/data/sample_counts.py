"""Which samples of a pool are held out, outside, new and corrected: one rule for the draw of a mix and for a scan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..documents.plan import KnownSample
from .listing import Listing


@dataclass(frozen=True, slots=True)
class SampleCounts:
    """Numbers of samples, as `documents.plan.Counts` says what they are."""

    current: int
    held_out: int
    outside: int
    new: int
    corrected: int


def count_samples(samples: Iterable[tuple[KnownSample, bool]], base: Listing, judged: Listing) -> SampleCounts:
    """Count the current samples of a pool, each with whether it is held out, by what base and judged runs list."""
    members = list(samples)
    trainable = [sample for sample, held_out in members if not held_out]
    new = [sample for sample in trainable if not judged.has(sample)]
    return SampleCounts(
        current=len(members),
        held_out=len(members) - len(trainable),
        outside=sum(not base.has(sample) for sample in trainable),
        new=len(new),
        corrected=sum(judged.has_page(sample) for sample in new),
    )
