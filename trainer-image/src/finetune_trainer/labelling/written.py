"""A page as it is written for a labelling tool."""

from __future__ import annotations

from dataclasses import dataclass

from .choosing import Chosen


@dataclass(frozen=True, slots=True)
class PreLabel:
    """A box that a model answered, by its corners in the page's pixels, within the page; confidence 0..1."""

    field: str
    confidence: float
    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """In pixels."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """In pixels."""
        return self.bottom - self.top


@dataclass(frozen=True, slots=True)
class WrittenPage:
    """A page by the name of its picture, with what is known of it and its pre-labels."""

    name: str
    chosen: Chosen
    pre_labels: tuple[PreLabel, ...]

    @property
    def width(self) -> int:
        """In pixels."""
        return self.chosen.record.page.width

    @property
    def height(self) -> int:
        """In pixels."""
        return self.chosen.record.page.height
