"""Which captured page a returned task is: by its id, else by pixels, else by what the picture looks like."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from ..data.decoding import decode_page
from ..data.images import Picture, complete_jpeg
from ..documents.production import CapturedPage
from ..errors import Reason
from .captured import CapturedPages
from .returned import Returned, UnusableError

_NEAR: Final = 32
"""Of a look's 256 bits: pages further apart are not held against each other."""

_SIDE: Final = 128
"""Pixels of the side at which pages are held against each other, blurred by one of them: noise is no difference."""

_SAME: Final = 0.5
"""Hundredths of correlation that a copy lacks. Of 160 rendered, aged invoices those of JPEG quality 30 came to at most
0.43, of half the size to 0.33; the most alike of different ones to 0.67, without a hundredth of each margin to 0.94."""

_CLEARLY: Final = 2.0
"""How many times nearer the page must be than the next: forms of one supplier look alike."""

_EVEN: Final = 2.0
"""Pixels by which a scaled page's side may be off."""

Grey = npt.NDArray[np.float32]


@dataclass(slots=True)
class Matcher:
    """Finds records. What pages look like stays, because the next task may ask for the same; pictures do not."""

    pages: CapturedPages
    _by_pixels: dict[str, str] | None = None
    _looks: dict[str, int | None] = field(default_factory=dict)

    def find(self, task: Returned, picture: Picture | None, data: bytes | None) -> str | None:
        """Return the prediction id of a task's page, None where it has no record.

        Raises UnusableError where the page was changed, or may be several.
        """
        named = self.pages.record(task.prediction) if task.prediction is not None else None
        if task.prediction is not None and named is not None:
            check_size(task, "the page that was captured", (named.page.width, named.page.height))
            if picture is not None and data is not None:
                self._check_unchanged(task.prediction, named, picture, data)
            return task.prediction
        if picture is None or data is None:
            return None
        return self._same_pixels(picture) or self._alike(picture, data)

    def _check_unchanged(self, prediction: str, record: CapturedPage, picture: Picture, data: bytes) -> None:
        if picture.pixels == record.page.pixels:
            return
        even = _even((picture.width, picture.height), (record.page.width, record.page.height))
        if not even or self._difference(prediction, _grey(data)) > _SAME:
            raise UnusableError(
                Reason.PAGE_CHANGED,
                f"its picture ({picture.width} x {picture.height}) is not page {prediction} as it was captured "
                f"({record.page.width} x {record.page.height}): it was cropped, turned or swapped",
            )

    def _same_pixels(self, picture: Picture) -> str | None:
        if self._by_pixels is None:
            self._by_pixels = {}
            for record in self.pages.records():
                self._by_pixels.setdefault(record.page.pixels, record.prediction)
        return self._by_pixels.get(picture.pixels)

    def _alike(self, picture: Picture, data: bytes) -> str | None:
        """Return the record whose page this picture is a copy of; UnusableError where two come into question."""
        look, grey = int(picture.look, 16), _grey(data)
        differences: list[tuple[float, str]] = []
        seen: set[str] = set()
        for record in self.pages.records():
            even = _even((picture.width, picture.height), (record.page.width, record.page.height))
            if not even or record.page.pixels in seen:
                continue
            seen.add(record.page.pixels)
            known = self._look(record.prediction)
            if known is not None and (known ^ look).bit_count() <= _NEAR:
                differences.append((self._difference(record.prediction, grey), record.prediction))
        differences.sort()
        if not differences or differences[0][0] > _SAME:
            return None
        if len(differences) > 1 and differences[1][0] < _CLEARLY * differences[0][0]:
            two = " and ".join(prediction for _, prediction in differences[:2])
            raise UnusableError(Reason.RECORD_MISSING, f"it looks like two captured pages, {two}")
        return differences[0][1]

    def _look(self, prediction: str) -> int | None:
        """Return what a captured page looks like; None where it is not to be had any more."""
        if prediction not in self._looks:
            page = self.pages.page(prediction)
            self._looks[prediction] = None if isinstance(page, str) else int(page.picture.look, 16)
        return self._looks[prediction]

    def _difference(self, prediction: str, grey: Grey) -> float:
        """Return how much a captured page differs; 0 where it is not to be had, which its task then says."""
        page = self.pages.page(prediction)
        return 0.0 if isinstance(page, str) else 100 * (1 - float((_grey(page.data) * grey).sum()))


def check_size(task: Returned, what: str, size: tuple[int, int]) -> None:
    """Raise UnusableError PageChanged where a task was labelled on a picture of another form than this one."""
    if task.size is not None and not _even(task.size, size):
        raise UnusableError(
            Reason.PAGE_CHANGED,
            f"it was labelled on a picture of {task.size[0]:g} x {task.size[1]:g} pixels, and {what} has "
            f"{size[0]} x {size[1]}: it was cropped or turned",
        )


def _even(size: tuple[float, float], captured: tuple[int, int]) -> bool:
    """Tell whether a picture may be the page, scaled alike both ways."""
    scale = max(size[0] / captured[0], size[1] / captured[1])
    return max(abs(size[0] - captured[0] * scale), abs(size[1] - captured[1] * scale)) <= _EVEN * max(1.0, scale)


def _grey(data: bytes) -> Grey:
    """Return a readable image as small, blurred greys of mean 0 and length 1."""
    page: Any = decode_page(complete_jpeg(data))
    blur = max(page.shape[:2]) / _SIDE
    soft = cv2.GaussianBlur(cv2.cvtColor(page, cv2.COLOR_BGR2GRAY), (0, 0), blur)
    small = np.asarray(cv2.resize(soft, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.float32)
    centred = small - small.mean()
    length = float(np.linalg.norm(centred))
    return np.asarray(centred / length if length else centred, np.float32)
