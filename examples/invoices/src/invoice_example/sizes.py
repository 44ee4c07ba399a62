"""How large the example's data sets are."""

from __future__ import annotations

from dataclasses import dataclass

from .recipe import IMAGE_SIZE


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many pages each set gets, and how high (in pixels) a page is."""

    train: int = 600
    val: int = 60
    test: int = 160
    verified: int = 60
    unseen: int = 60
    pdfs: int = 3
    height: int = IMAGE_SIZE

    def __post_init__(self) -> None:
        for name in ("train", "val", "test", "verified", "unseen", "height"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.pdfs < 0:
            raise ValueError(f"pdfs is {self.pdfs}; it must not be negative")
