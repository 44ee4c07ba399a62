"""Which answered pages are kept: drawn at random with a known probability, else uncertain ones, within caps."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from math import ceil
from threading import Lock
from typing import Final

from ..config import CaptureConfig

HOUR: Final = 3600
DAY: Final = 24 * HOUR


class Stratum(Enum):
    """Why a page is kept. A page is in exactly one: the first of these that it fits."""

    RANDOM = "Random"
    UNCERTAIN = "Uncertain"
    REPORTED = "Reported"


@dataclass(frozen=True, slots=True)
class Draw:
    """What became of a page: its stratum, None where it is not kept; and the probability (0..1) of the random draw.

    `capped` says that it belongs to its stratum, and is lost to a cap.
    """

    stratum: Stratum | None
    probability: float
    capped: bool = False


class Allowance:
    """What may be kept in an hour and in a day, which begin when the server does. Changes as it is used."""

    def __init__(self, *, per_hour: int, per_day: int) -> None:
        self._caps = ((HOUR, per_hour), (DAY, per_day))
        self._used = {span: (0, 0) for span, _ in self._caps}

    def left(self, now: float) -> float:
        """Return the share (0..1) that is left: the lesser of hour and day."""
        return min(max(0.0, 1 - self._in(span, now) / cap) if cap else 0.0 for span, cap in self._caps)

    def take(self, now: float) -> None:
        """Use one."""
        for span, _ in self._caps:
            self._used[span] = int(now // span), self._in(span, now) + 1

    def _in(self, span: int, now: float) -> int:
        number, used = self._used[span]
        return used if number == int(now // span) else 0


class Sampler:
    """Draws pages. Half of the caps is for the random stratum, the rest for the others.

    When half of its allowance is used, the probability halves with every further twentieth, instead of ending at a cap.
    It depends on earlier draws alone, and does not reach 0 before 70 times as much is answered as the allowance is for.
    So each page stands for as many as its recorded probability says.
    """

    def __init__(self, config: CaptureConfig, *, clock: Callable[[], float], seed: int | None = None) -> None:
        self._config = config
        self._clock = clock
        self._random = random.SystemRandom() if seed is None else random.Random(seed)  # noqa: S311 - tests repeat it
        hour, day = ceil(config.per_hour / 2), ceil(config.per_day / 2)
        self._drawn = Allowance(per_hour=hour, per_day=day)
        self._others = Allowance(per_hour=config.per_hour - hour, per_day=config.per_day - day)
        self._taking = Lock()

    @property
    def probability(self) -> float:
        """Return the probability in force."""
        left = self._drawn.left(self._clock())
        return self._config.random * min(1.0, 2.0 ** (20 * (left - 0.5))) if left > 0 else 0.0

    def draw(self, *, missing: Iterable[str], best: Iterable[float], confidence: float) -> Draw:
        """Return what becomes of a page.

        `missing` are expected fields that were not found, `best` the confidences of the best boxes, `confidence` is the
        serving confidence.
        """
        now, probability = self._clock(), self.probability
        if self._random.random() < probability:
            self._drawn.take(now)
            return Draw(Stratum.RANDOM, probability)
        near = any(score - confidence <= self._config.margin for score in best)
        if self._config.uncertain and (near or any(True for _ in missing)):
            return Draw(Stratum.UNCERTAIN, probability, capped=not self.another())
        return Draw(None, probability)

    def another(self) -> bool:
        """Use one of what is left for pages that were not drawn; tell whether there was one. For several threads."""
        with self._taking:
            now = self._clock()
            if self._others.left(now) <= 0:
                return False
            self._others.take(now)
            return True
