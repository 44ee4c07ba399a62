"""Whether a promotion is about a hold or a flight: only if it was made when that was there (decision 13)."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from ...api.policy import Policy
from ...api.policy_status import Hold
from ...api.promotion import Promotion

CLOCKS_DIFFER: Final = timedelta(minutes=1)
"""Clocks of operator and API server may differ by so much, and a cache may lag."""


def lifts(promotion: Promotion, hold: Hold | None) -> bool:
    """Tell whether the promotion asks for holds to be lifted, and the hold is one that its author could know."""
    about = hold is None or is_about(promotion, hold.since, hold.newest_promotion)
    return promotion.spec.release_hold and about


def is_about(promotion: Promotion, since: datetime, newest: datetime | None) -> bool:
    """Tell whether the promotion was made when what began at `since`, by the operator's clock, was there.

    `newest` is when the newest promotion was made that was there then. One that came after it, and seems to be much
    older than `since`, says that the operator's clock was ahead. Where clocks differ by less a promotion may be taken
    for too old: then it waits, and its message has the command that is not.
    """
    made = promotion.metadata.creation_timestamp
    if made is None:
        return False
    return made >= since or (newest is not None and newest < made < since - CLOCKS_DIFFER)


def newest_of(policy: Policy, promotions: Iterable[Promotion]) -> datetime | None:
    """Return when the newest of the promotions was made, or else their policy; None where nobody knows."""
    metadata = (policy.metadata, *(promotion.metadata for promotion in promotions))
    made = (one.creation_timestamp for one in metadata)
    return max((moment for moment in made if moment is not None), default=None)
