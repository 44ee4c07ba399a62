"""The fields of an invoice that the example detects, and boxes around them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Field(StrEnum):
    """One class of the detector. The order of definition is the order of class ids."""

    INVOICE_NUMBER = "invoice_number"
    INVOICE_DATE = "invoice_date"
    DUE_DATE = "due_date"
    AMOUNT_TOTAL = "amount_total"
    SUPPLIER_ORG_NUMBER = "supplier_org_number"
    BANKGIRO = "bankgiro"


FIELDS: tuple[Field, ...] = tuple(Field)
"""Class id -> field."""

CLASS_IDS: dict[Field, int] = {field: index for index, field in enumerate(FIELDS)}
"""Field -> class id."""


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned box; the origin is the top left corner, the unit is the caller's."""

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        if not (self.left < self.right and self.top < self.bottom):
            raise ValueError(f"a box needs left < right and top < bottom, got {self}")

    @property
    def corners(self) -> tuple[tuple[float, float], ...]:
        """The four corners, clockwise from the top left."""
        return (
            (self.left, self.top),
            (self.right, self.top),
            (self.right, self.bottom),
            (self.left, self.bottom),
        )

    def grown(self, margin: float) -> Box:
        """The box with `margin` added on every side."""
        return Box(self.left - margin, self.top - margin, self.right + margin, self.bottom + margin)

    def scaled(self, factor: float) -> Box:
        """The box in a unit `factor` times smaller (points to pixels, say)."""
        return Box(self.left * factor, self.top * factor, self.right * factor, self.bottom * factor)

    def clipped(self, width: float, height: float) -> Box:
        """The part of the box inside a page of that size.

        Raises:
            ValueError: nothing of the box is inside.
        """
        return Box(max(self.left, 0.0), max(self.top, 0.0), min(self.right, width), min(self.bottom, height))


@dataclass(frozen=True, slots=True)
class LabelledBox:
    """A field and where it is on the page."""

    field: Field
    box: Box
