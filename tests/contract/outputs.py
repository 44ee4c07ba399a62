"""Outputs of networks that no training makes, and what the contract has in them: evaluator and server read the same.

Whoever trains chooses the network. Where one of the two found more, gates would judge what nobody is answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

SIZE: Final = 96
"""Side of the square, and of the page in it."""

MOST_CANDIDATES: Final = 30_000


@dataclass(frozen=True)
class Output:
    """Rows (x, y, width, height, score of the one class), and the scores of what is detected, best first."""

    rows: tuple[tuple[float, ...], ...]
    detected: tuple[float, ...]
    nms_iou: float = 0.7

    @property
    def array(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The network's output, (4 + classes, candidates)."""
        return np.array(self.rows, np.float32).T

    @property
    def scores(self) -> list[float]:
        """What is detected, in the network's precision."""
        return [float(np.float32(score)) for score in self.detected]


OUTPUTS: Final = {
    "a box whose corners are exchanged hides no other": Output(
        ((48, 48, 90, -90, 0.9), (20, 20, 8, 8, 0.8), (60, 60, 8, 8, 0.7)), (0.9, 0.8, 0.7)
    ),
    "nor does one without a size or without an end": Output(
        ((20, 20, 0, 0, 0.9), (3e38, 3e38, 3e38, 3e38, 0.85), (20, 20, 8, 8, 0.8)), (0.9, 0.85, 0.8)
    ),
    "overlap is a share, as a division in float32 has it": Output(
        ((10, 10, 4.6, 4.8, 0.9), (10.05, 10.15, 1.6, 7, 0.8)), (0.9, 0.8), nms_iou=0.3
    ),
    "a score above 1 counts as 1, as no captured page may have more": Output(
        ((20, 20, 8, 8, 1.000001), (60, 60, 8, 8, 1), (40, 40, 8, 8, 7), (80, 80, 8, 8, 0.8)), (1, 1, 1, 0.8)
    ),
    "the best 30,000 candidates count, and no other": Output(
        (*(((20, 20, 8, 8, 0.9),) * MOST_CANDIDATES), (60, 60, 8, 8, 0.8)), (0.9,)
    ),
    "of one less all do": Output((*(((20, 20, 8, 8, 0.9),) * (MOST_CANDIDATES - 1)), (60, 60, 8, 8, 0.8)), (0.9, 0.8)),
}
