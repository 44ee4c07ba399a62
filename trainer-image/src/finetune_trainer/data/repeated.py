"""New pages held against what is there: the anchor's held-out pages, the pool, and one another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ..documents.anchor import AnchorPage
from ..errors import Reason
from .lookalikes import Register, Seen
from .pages import CheckedPage
from .pool import StoredSample
from .problems import Problem

_SHOWN: Final = 5
"""Pages that look like a copy and are named; of a batch of forms thousands may."""


@dataclass(frozen=True, slots=True)
class NewPage:
    """A page that can be used, by what identifies it; `label` is None where it has no label file."""

    image: str
    label: str | None
    image_sha256: str
    label_sha256: str
    checked: CheckedPage

    @property
    def seen(self) -> Seen:
        """The page as a register knows it."""
        picture = self.checked.picture
        return Seen(self.image, self.image_sha256, self.label_sha256, picture.pixels, picture.look)


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison found. `known` are in the pool with the same label, `new` are nowhere yet.

    `held_out` and `contradicting` are problems in any case; `twice` are pages that the folder has twice; `lookalikes`
    are lines about pages that look like a copy of another.
    """

    new: tuple[NewPage, ...]
    known: tuple[tuple[NewPage, Seen], ...]
    held_out: tuple[Problem, ...]
    contradicting: tuple[Problem, ...]
    twice: tuple[Problem, ...]
    lookalikes: tuple[str, ...]

    def repeated(self, only_new: bool) -> list[Problem]:
        """Return the problems of pages that are there already; with `only_new` those of the pool are left out."""
        in_pool = [Problem(Reason.DUPLICATE_SAMPLE, page.image, f"{seen.place} has it") for page, seen in self.known]
        return [*self.contradicting, *self.twice, *(() if only_new else in_pool)]


def compare(pages: Sequence[NewPage], *, held_out: Iterable[AnchorPage], pool: Iterable[StoredSample]) -> Compared:
    """Hold new pages against the anchor's val and test pages, the pool, and one another."""
    anchor = Register.of(
        Seen(f"the anchor's {page.image}", page.image_sha256, page.label_sha256, page.pixels, page.look)
        for page in held_out
    )
    stored = Register.of(Seen(f"batch {s.batch}", s.image.sha256, s.label.sha256, s.pixels, s.look) for s in pool)
    folder = Register()
    held: list[Problem] = []
    contradicting: list[Problem] = []
    twice: list[Problem] = []
    new: list[NewPage] = []
    known: list[tuple[NewPage, Seen]] = []
    lookalikes: list[str] = []
    for page in pages:
        seen = page.seen
        if (other := anchor.same(seen)) is not None:
            held.append(Problem(Reason.HELD_OUT_PAGE_IN_POOL, page.image, f"it is {other.place}"))
        elif (other := stored.same(seen)) is not None and other.label_sha256 == page.label_sha256:
            known.append((page, other))
        elif other is not None:
            message = f"{other.place} has it with another label"
            contradicting.append(Problem(Reason.LABEL_CONTRADICTS, page.image, message))
        elif (other := folder.same(seen)) is not None:
            twice.append(_twice(page, other))
        else:
            new.append(page)
            near = next((n for n in (anchor.near(seen), stored.near(seen), folder.near(seen)) if n is not None), None)
            if near is not None:
                lookalikes.append(f"{page.image} looks like a copy of {near.place}")
        folder.add(seen)
    return Compared(
        new=tuple(new),
        known=tuple(known),
        held_out=tuple(held),
        contradicting=tuple(contradicting),
        twice=tuple(twice),
        lookalikes=_first_few(lookalikes),
    )


def _first_few(lines: Sequence[str]) -> tuple[str, ...]:
    more = len(lines) - _SHOWN
    return (*lines[:_SHOWN], f"{more} more pages look like copies") if more > 0 else tuple(lines)


def _twice(page: NewPage, other: Seen) -> Problem:
    if page.label_sha256 == other.label_sha256:
        return Problem(Reason.DUPLICATE_SAMPLE, page.image, f"it is the same image as {other.place}")
    return Problem(Reason.LABEL_CONTRADICTS, page.image, f"it is the same image as {other.place}, with another label")
