"""How a supplier's page is laid out, as plain values. Lengths are points, the origin is top left."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .fields import Field
from .fonts import Family
from .values import DateStyle

PAGE_WIDTH = 420.0
"""A5, so that the type stays legible at the few hundred pixels a small model sees."""
PAGE_HEIGHT = 595.0


class Look(Enum):
    """How a field's key word and value are set. Both are inside the field's box."""

    STACKED = "the key word above the value"
    INLINE = "the key word left of the value"
    CELL = "stacked, inside a drawn frame"


class Header(Enum):
    """What the top of the page looks like."""

    PLAIN = "the name at the left"
    CENTRED = "the name in the middle, a rule below"
    BAND = "the name light on a dark band across the page"
    LEFT_BAR = "a pale bar along the left edge, the name right of it"
    RIGHT_BAR = "a pale bar along the right edge, the name left of it"
    FOOT = "a dark band along the bottom with the name"


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a field stands and how. With `below_table`, `y` counts from the table's end."""

    field: Field
    key: str
    look: Look
    x: float
    y: float
    size: float = 14.0
    below_table: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of goods: decoys for the detector, numbers that are no field."""

    x: float
    y: float
    width: float
    dark_head: bool
    max_lines: int = 5


@dataclass(frozen=True, slots=True)
class Supplier:
    """One supplier: who they are, and the layout of their invoices."""

    slug: str
    name: str
    family: Family
    header: Header
    ink: tuple[float, float, float]
    dates: DateStyle
    number_prefix: str
    buyer_at: tuple[float, float]
    table: Table
    slots: tuple[Slot, ...]

    def __post_init__(self) -> None:
        fields = sorted(slot.field for slot in self.slots)
        if fields != sorted(Field):
            raise ValueError(f"supplier {self.slug}: every field needs exactly one slot, got {fields}")
