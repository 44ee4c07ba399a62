"""New pages held against what is there: the anchor's held-out pages, the pool, and one another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..digests import sha256_of
from ..documents.anchor import AnchorPage
from ..errors import Reason
from .folder_classes import renumber
from .lookalikes import Register, Seen
from .pages import CheckedPage, PageFiles
from .pool import Pool, PoolPage, StoredSample
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

    @classmethod
    def of(cls, files: PageFiles, checked: CheckedPage, classes: Mapping[int, int]) -> NewPage:
        """Return a page that was read and checked, with the label as it is stored: by the anchor's classes."""
        label = files.label if files.label_data is not None else None
        stored = renumber(files.label_data or b"", classes)
        return cls(files.image, label, sha256_of(files.image_data), sha256_of(stored), checked)

    @property
    def seen(self) -> Seen:
        """The page as a register knows it."""
        picture = self.checked.picture
        return Seen(self.image, self.image_sha256, self.label_sha256, picture.pixels, picture.look)


@dataclass(slots=True)
class Compared:
    """What a comparison found; filled by it, page by page.

    `new` are nowhere yet, `known` are in the pool with the same label, `relabelled` with another one. `held_out` and
    `withdrawn` are problems, and so is what the folder has `twice`; `lookalikes` says of a new page which one it
    looks like a copy of.
    """

    new: list[NewPage] = field(default_factory=list)
    known: list[tuple[NewPage, StoredSample]] = field(default_factory=list)
    relabelled: list[tuple[NewPage, StoredSample]] = field(default_factory=list)
    held_out: list[Problem] = field(default_factory=list)
    withdrawn: list[Problem] = field(default_factory=list)
    twice: list[Problem] = field(default_factory=list)
    lookalikes: dict[str, str] = field(default_factory=dict)

    def take_incomplete(self, fields: int) -> list[tuple[NewPage, StoredSample]]:
        """Take those out of `known` whose label in the pool was made for fewer than `fields` classes; return them.

        Of a page that the folder has in several files, the first one.
        """
        fewer: dict[str, tuple[NewPage, StoredSample]] = {}
        for page, stored in self.known:
            if stored.fields < fields:
                fewer.setdefault(stored.image.sha256, (page, stored))
        self.known = [(page, stored) for page, stored in self.known if stored.fields >= fields]
        return list(fewer.values())

    def repeated(self, only_new: bool) -> list[Problem]:
        """Return the problems of pages that are there already; with `only_new` those of the pool are left out."""
        contradicting = [
            Problem(Reason.LABEL_CONTRADICTS, page.image, f"{_place(stored)} has it with another label")
            for page, stored in self.relabelled
        ]
        in_pool = [
            Problem(Reason.DUPLICATE_SAMPLE, page.image, f"{_place(stored)} has it") for page, stored in self.known
        ]
        return [*contradicting, *self.twice, *(() if only_new else (*self.withdrawn, *in_pool))]

    def alike(self) -> list[str]:
        """Return a line for each of the first lookalikes, and how many more there are."""
        lines = [f"{image} looks like a copy of {place}" for image, place in self.lookalikes.items()]
        more = len(lines) - _SHOWN
        return [*lines[:_SHOWN], f"{more} more pages look like copies"] if more > 0 else lines


def compare(pages: Sequence[NewPage], *, held_out: Iterable[AnchorPage], pool: Pool) -> Compared:
    """Hold new pages against the anchor's val and test pages, the pool, and one another."""
    anchor = Register.of(
        Seen(f"the anchor's {page.image}", page.image_sha256, page.label_sha256, page.pixels, page.look)
        for page in held_out
    )
    stored = Register.of(_seen(page) for page in pool.pages)
    folder = Register()
    compared = Compared()
    for page in pages:
        seen = page.seen
        if (other := anchor.same(seen)) is not None:
            compared.held_out.append(Problem(Reason.HELD_OUT_PAGE_IN_POOL, page.image, f"it is {other.place}"))
        elif (in_pool := pool.page(page.image_sha256, page.checked.picture.pixels)) and in_pool.withdrawal is not None:
            compared.withdrawn.append(Problem(Reason.SAMPLE_WITHDRAWN, page.image, str(in_pool.withdrawal)))
        elif (other := folder.same(seen)) is not None and not (in_pool and other.label_sha256 == page.label_sha256):
            compared.twice.append(_twice(page, other))
        elif in_pool is not None and in_pool.last.label.sha256 == page.label_sha256:
            compared.known.append((page, in_pool.last))
        elif in_pool is not None and other is None:
            compared.relabelled.append((page, in_pool.last))
        elif in_pool is None:
            compared.new.append(page)
            near = next((n for n in (anchor.near(seen), stored.near(seen), folder.near(seen)) if n is not None), None)
            if near is not None:
                compared.lookalikes[page.image] = near.place
        folder.add(seen)
    return compared


def _seen(page: PoolPage) -> Seen:
    last = page.last
    of = _place(last) if page.withdrawal is None else f"a page of {_place(last)} that was withdrawn"
    place = f"{of} ({last.image.uri})"
    return Seen(place, last.image.sha256, last.label.sha256, last.pixels, last.look)


def _place(sample: StoredSample) -> str:
    return f"batch {sample.batch}"


def _twice(page: NewPage, other: Seen) -> Problem:
    if page.label_sha256 == other.label_sha256:
        return Problem(Reason.DUPLICATE_SAMPLE, page.image, f"it is the same image as {other.place}")
    return Problem(Reason.LABEL_CONTRADICTS, page.image, f"it is the same image as {other.place}, with another label")
