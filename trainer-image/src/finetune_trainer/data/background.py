"""Pages without any field: how many there may be, so that lost labels do not pass for empty pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..errors import Reason, bad_input

USUAL: Final = 0.5
"""Share that `--allow-background` means without a number: ultralytics advises a tenth at most; beyond half, labels
most often lie where nobody looked for them."""


def check_share(boxes: Sequence[int], allowed: float, where: str) -> None:
    """Raise StepError LabelMissing where more than the share `allowed` of pages has no box; `boxes` are theirs."""
    empty = sum(count == 0 for count in boxes)
    if empty > allowed * len(boxes):
        raise bad_input(
            Reason.LABEL_MISSING,
            f"Of {len(boxes)} pages of {where} {empty} have no box; at most {allowed:.0%} may.",
            f"See that labels lie in labels/ beside images/; if this is meant, say --allow-background "
            f"{min(1.0, empty / len(boxes) + 0.005):.2f}.",
        )
