"""How much is played of what can be played for ever: a part in `make test`, all of it in `make test-deep`."""

import os
from typing import Final

DEEP: Final = os.environ.get("FINETUNE_TESTS") == "deep"
"""All is to be played."""


def part_of(every: int) -> int:
    """Return how many of `every` example of a dear property are tried: a third, the same each time, or all."""
    return every if DEEP else every // 3
