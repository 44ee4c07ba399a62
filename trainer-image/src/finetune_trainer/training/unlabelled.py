"""Classes that a page was not labelled for: it teaches nothing of them, nor that they are not there."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class PageFields:
    """Of each page, by number, how many classes it was labelled for: the first ones of all."""

    __slots__ = ("_alike", "_fields")

    def __init__(self, fields: Sequence[int]) -> None:
        self._fields = tuple(fields)
        self._alike: dict[int, list[int]] = defaultdict(list)
        for page, count in enumerate(self._fields):
            self._alike[count].append(page)

    def __getitem__(self, page: int) -> int:
        return self._fields[page]

    def partner(self, page: int, drawn: int) -> int:
        """Return the page to mix `page` with for the one that was `drawn`: one that was labelled for the same classes.

        In a mosaic of both kinds nothing could be learnt of the other classes, and few mosaics would be of one kind.
        """
        own = self._fields[page]
        return drawn if self._fields[drawn] == own else random.choice(self._alike[own])  # noqa: S311 - seeded by page


def page_fields(files: Sequence[str], fields: Mapping[str, int], classes: int) -> PageFields | None:
    """Return of how many of so many classes each image file is labelled; None where all are for all of them.

    `fields` has it by the stem of the file, where it is not all.
    """
    counts = [min(fields.get(Path(file).stem, classes), classes) for file in files]
    return None if all(count == classes for count in counts) else PageFields(counts)


class FieldMask:
    """A loss by page, place and class, without what a page was not labelled for; it changes with each batch."""

    __slots__ = ("_loss", "_weights")

    def __init__(self, loss: Loss) -> None:
        self._loss = loss
        self._weights: torch.Tensor | None = None

    def of(self, fields: Sequence[int], classes: int, device: torch.device) -> None:
        """Be of a batch whose pages were labelled for so many of the classes."""
        counts = torch.tensor(fields, device=device).view(-1, 1, 1)
        self._weights = (torch.arange(classes, device=device) < counts).float()

    def __call__(self, scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss, zero where nothing is known."""
        loss = self._loss(scores, targets)
        return loss if self._weights is None else loss * self._weights


def mask_losses(criterion: Any) -> tuple[FieldMask, ...]:
    """Put a mask around the classification loss of each head: of one, or of the two of an end-to-end model.

    Boxes need none: a page has none of classes that it was not labelled for.
    """
    heads = [criterion.one2many, criterion.one2one] if hasattr(criterion, "one2many") else [criterion]
    masks = tuple(FieldMask(head.bce) for head in heads)
    for head, mask in zip(heads, masks, strict=True):
        head.bce = mask
    return masks
