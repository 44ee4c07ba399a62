"""Which of the new pages are there already, whatever their files are called and however they were compressed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

NEAR: Final = 6
"""Of a look's 256 bits. Of 200 rendered invoices copies of JPEG quality 60 differed in 3 (at most 9),
of quality 85 at half the size in 7 (at most 20), and no two different pages in fewer than 9."""

_WORDS: Final = 4
"""Of 64 bits, which make a look."""

Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Seen:
    """A page that is known: where it lies, what it is by bytes, by pixels and by look (None: never measured)."""

    place: str
    image_sha256: str
    label_sha256: str | None
    pixels: str | None
    look: str | None


@dataclass(slots=True)
class Register:
    """Pages by what identifies them. Grows as pages are added."""

    _by_digest: dict[str, Seen] = field(default_factory=dict)
    _looks: Words = field(default_factory=lambda: np.empty((_WORDS, 64), np.uint64))
    """A column for each page with a look, and room for as many again."""
    _looked: list[Seen] = field(default_factory=list)

    @classmethod
    def of(cls, pages: Iterable[Seen]) -> Register:
        """Return a register of these pages."""
        register = cls()
        for page in pages:
            register.add(page)
        return register

    def add(self, page: Seen) -> None:
        """Remember a page; the first of equal ones stays."""
        self._by_digest.setdefault(page.image_sha256, page)
        if page.pixels is not None:
            self._by_digest.setdefault(page.pixels, page)
        if page.look is not None:
            if len(self._looked) == self._looks.shape[1]:
                self._looks = np.concatenate((self._looks, np.empty_like(self._looks)), axis=1)
            self._looks[:, len(self._looked)] = _words(page.look)
            self._looked.append(page)

    def same(self, page: Seen) -> Seen | None:
        """Return the known page with the same bytes or the same pixels."""
        by_bytes = self._by_digest.get(page.image_sha256)
        return by_bytes if by_bytes is not None or page.pixels is None else self._by_digest.get(page.pixels)

    def near(self, page: Seen) -> Seen | None:
        """Return the known page that looks most alike, where one looks like a copy of `page`."""
        if page.look is None:
            return None
        look = _words(page.look)
        # Every page is held against every other, so most are told apart by a quarter of their bits.
        first = np.bitwise_count(self._looks[0, : len(self._looked)] ^ look[0])
        maybe = np.flatnonzero(first <= NEAR)
        if not maybe.size:
            return None
        distances = np.bitwise_count(self._looks[:, maybe] ^ look[:, None]).sum(axis=0)
        nearest = int(distances.argmin())
        return self._looked[maybe[nearest]] if distances[nearest] <= NEAR else None


def _words(look: str) -> Words:
    return np.frombuffer(bytes.fromhex(look), np.uint64)
