"""Whether a promotion lifts a hold: only one that was there when it was made (decision 13)."""

from datetime import datetime

from ...api.policy import Hold
from ...api.promotion import Promotion


def lifts(promotion: Promotion, hold: Hold | None) -> bool:
    """Tell whether the promotion asks for holds to be lifted, and the hold is one that its author could know."""
    return promotion.spec.release_hold and (hold is None or is_about(promotion, hold.since))


def is_about(promotion: Promotion, since: datetime) -> bool:
    """Tell whether the promotion was made when what began at `since` was there.

    Where clocks differ it may be taken for too old: then it waits, and its message has the command that is not.
    """
    made = promotion.metadata.creation_timestamp
    return made is not None and made >= since
