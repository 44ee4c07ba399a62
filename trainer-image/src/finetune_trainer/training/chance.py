"""Order and augmentation of the pages: functions of seed, epoch and page, so that a training can go on anywhere."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from ultralytics.data.dataset import YOLODataset

from .unlabelled import PageFields


class EpochOrder:
    """The pages' order in one epoch after the other, from epoch `following` on; it changes as epochs are begun.

    A place is `epoch x count + page`, so that whoever loads the page, in whichever process, knows the epoch.
    """

    __slots__ = ("_count", "_seed", "following")

    def __init__(self, count: int, *, seed: int) -> None:
        self._count = count
        self._seed = seed
        self.following = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        epoch = self.following
        self.following += 1
        chance = torch.Generator().manual_seed(seed_of(self._seed, epoch))
        for page in torch.randperm(self._count, generator=chance).tolist():
            yield epoch * self._count + page


class SeededPages(YOLODataset):  # type: ignore[misc]
    """Ultralytics' data set, where a page's augmentation hangs on nothing but seed, epoch and page.

    `fields` says of how many classes each page is labelled; None where each is of all. Changes with the page at hand.
    """

    seed: int
    fields: PageFields | None = None
    _page = 0

    def __getitem__(self, place: int) -> Any:
        epoch, page = divmod(place, len(self))
        own = seed_of(self.seed, epoch, page)
        # Ultralytics draws from the generators of the process.
        random.seed(own)
        np.random.seed(own)
        self._page = page
        shown = super().__getitem__(page)
        if self.fields is not None:
            shown["fields"] = self.fields[page]
        return shown

    def get_image_and_label(self, index: int) -> Any:
        """Return a page as ultralytics has it; one that is mixed with the page at hand is labelled as that is."""
        return super().get_image_and_label(index if self.fields is None else self.fields.partner(self._page, index))


def seed_of(*numbers: int) -> int:
    """Return a seed of 32 bits: unlike for neighbours, where `seed + epoch` would repeat what another seed has."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, numbers)).encode()).digest()[:4])
