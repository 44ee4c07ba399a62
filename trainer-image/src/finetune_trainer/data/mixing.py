"""How many old pages go with the new ones, and which: the mixing table and a draw that any language can repeat."""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, Literal

Interpolation = Literal["Steps", "LogLog"]

TABLE: Final[tuple[tuple[int, int], ...]] = ((10, 50), (50, 20), (200, 10), (500, 5))
"""Pages outside -> old pages for each: few that the base does not know need many old ones, lest the model forget."""


def multiplier(outside: int, interpolation: Interpolation) -> Decimal:
    """Return the old pages for each of `outside` pages (at least 1) that the base does not know, to six digits.

    Steps: the row of the largest threshold that they have reached; below the first threshold, its row.
    LogLog: the *total* of old pages, linear in log-log between the table's points, so that more verified pages
    never mean fewer old ones; beyond the ends, the end's multiplier.
    """
    thresholds = [size for size, _ in TABLE]
    row = max(bisect_right(thresholds, outside) - 1, 0)
    if interpolation == "Steps" or row == len(TABLE) - 1 or outside <= thresholds[0]:
        return Decimal(TABLE[row][1])
    (size0, times0), (size1, times1) = TABLE[row], TABLE[row + 1]
    share = math.log(outside / size0) / math.log(size1 / size0)
    total = math.exp(math.log(size0 * times0) + share * math.log((size1 * times1) / (size0 * times0)))
    return Decimal(total / outside).quantize(Decimal("0.000001"))


def old_count(*, outside: int, times: Decimal, max_old: int, anchor: int) -> int:
    """Return the number of old pages: the product, limited by `max_old` and by what the anchor has."""
    product = int((times * outside).to_integral_value(rounding=ROUND_HALF_UP))
    return min(product, max_old, anchor)


def draw(digests: Iterable[str], *, count: int, seed: int) -> list[str]:
    """Return `count` of the image digests, without replacement, the same for the same seed and set, in no given order.

    Ranks by sha256(seed:digest) instead of a random generator: no library's version can change a drawn set.
    """

    def rank(digest: str) -> str:
        return hashlib.sha256(f"{seed}:{digest}".encode()).hexdigest()

    return sorted(set(digests), key=rank)[:count]


def is_held_out(document: str, holdout: Decimal) -> bool:
    """Tell whether a document belongs to the share that never trains: by hash of its id, so that all its pages do."""
    fraction = int(hashlib.sha256(f"holdout:{document}".encode()).hexdigest()[:12], 16) / 16**12
    return fraction < holdout


def format_ratio(times: Decimal) -> str:
    """Return the multiplier as `20` or `12.5`, without trailing zeros."""
    return f"{times.normalize():f}"
