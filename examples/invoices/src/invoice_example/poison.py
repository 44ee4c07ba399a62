"""Spoils labels the way a mistaken batch does: right boxes, wrong fields."""

from __future__ import annotations

import numpy as np

from .fields import LabelledBox


def shuffled_fields(boxes: tuple[LabelledBox, ...], rng: np.random.Generator) -> tuple[LabelledBox, ...]:
    """The same boxes, each with another box's field.

    Every page is shuffled in its own way: one permutation for all of them would only rename
    the fields, and a model would learn the new names.

    Raises:
        ValueError: fewer than two boxes, or a field twice; then no such shuffle exists.
    """
    if len(boxes) < 2 or len({label.field for label in boxes}) != len(boxes):
        raise ValueError("a shuffle needs at least two boxes, each of a field of its own")
    while True:
        order = rng.permutation(len(boxes))
        if not np.any(order == np.arange(len(boxes))):
            return tuple(
                LabelledBox(boxes[int(other)].field, label.box) for label, other in zip(boxes, order, strict=True)
            )
