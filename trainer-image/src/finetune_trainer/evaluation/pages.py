"""Pages with their labels, and what a model detected on them. Images are read when it is their turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np

from ..data.labels import Box, LabelProblem, parse_label_of
from ..digests import check_digest, sha256_of
from ..documents.codec import FileReference
from ..documents.plan import PoolSample, Sample
from ..errors import bad_input
from ..progress import Counted, uncounted
from ..storage import Storage
from .average_precision import Truth
from .postprocess import Detections

_AT_ONCE: Final = 256
"""Labels that are read together."""


@dataclass(frozen=True, slots=True)
class Page:
    """A sample with its labels. The image stays in the store until it is its turn: a set of scans has gigabytes."""

    sample: Sample
    labels: tuple[Box, ...]
    read: Callable[[FileReference], bytes] = field(repr=False, compare=False)

    def image(self) -> bytes:
        """Return the encoded image; StepError DigestMismatch where it is not what the plan lists.

        Read and hashed anew at each call, so that each model is measured on these bytes and no others.
        """
        return self.read(self.sample.image)

    def truth(self, *, height: int, width: int) -> Truth:
        """Return the labels in pixels of a page of this size."""
        rows = [
            ((b.x - b.width / 2) * width, (b.y - b.height / 2) * height, (b.x + b.width / 2) * width,
             (b.y + b.height / 2) * height)
            for b in self.labels
        ]  # fmt: skip
        boxes = np.array(rows, dtype=np.float32).reshape(-1, 4)
        return Truth(boxes, np.array([b.field for b in self.labels], dtype=np.int64))


@dataclass(frozen=True, slots=True)
class PageResult:
    """What one model detected on one page: as it is measured, and as it is `served`.

    Neither has boxes of classes that the page was not labelled for: nobody knows whether these are right. `answered`
    has them, as they are served; None where there are no such classes.
    """

    page: Page
    detections: Detections
    truth: Truth
    served: Detections
    answered: Detections | None = None

    def of_first(self, fields: int) -> PageResult:
        """Return what concerns the first `fields` classes."""
        return PageResult(
            self.page,
            self.detections.of_first(fields),
            self.truth.of_first(fields),
            self.served.of_first(fields),
            self.answered,
        )

    @property
    def document(self) -> str:
        """Return the document of the page, or "" where it is unknown: the anchor's pages name none."""
        return self.page.sample.document if isinstance(self.page.sample, PoolSample) else ""

    @property
    def fresh(self) -> bool:
        """Tell whether the live version was not trained on the page."""
        return isinstance(self.page.sample, PoolSample) and self.page.sample.fresh


def load_pages(storage: Storage, samples: Sequence[Sample], classes: int, counted: Counted = uncounted) -> list[Page]:
    """Read and verify the labels of a set; StepError DigestMismatch when one is not what the plan lists.

    Images are left where they are. `counted` is called as labels are read.
    """
    read = partial(_read_image, storage)
    pages: list[Page] = []
    for start in range(0, len(samples), _AT_ONCE):
        batch = samples[start : start + _AT_ONCE]
        contents = storage.read_many([s.label.uri for s in batch if s.label])
        for sample in batch:
            labels = labels_of(sample, contents[sample.label.uri] if sample.label else b"", classes)
            pages.append(Page(sample, labels, read))
        counted(len(pages), len(samples))
    return pages


def _read_image(storage: Storage, image: FileReference) -> bytes:
    data = storage.read(image.uri)
    check_digest(image.uri, actual=sha256_of(data), expected=image.sha256)
    return data


def labels_of(sample: Sample, text: bytes, classes: int) -> tuple[Box, ...]:
    """Return the boxes in what was read of a sample's label; StepError DigestMismatch where the plan lists another."""
    label = sample.label
    if label is None:
        return ()
    check_digest(label.uri, actual=sha256_of(text), expected=label.sha256)
    boxes = parse_label_of(text, fields=sample.fields, classes=classes)
    if isinstance(boxes, LabelProblem):
        raise bad_input(boxes.reason, f"{label.uri}: {boxes.message}.", "Mend the label and prepare again.")
    return boxes
