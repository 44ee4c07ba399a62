"""The anchor: building its index, reading it back, and checking it against the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ..digests import set_digest, sha256_of
from ..documents.anchor import INDEX_NAME, AnchorIndex, AnchorPage, Splits, parse_anchor_index
from ..documents.codec import FileReference, encode
from ..documents.plan import Sample
from ..errors import Reason, bad_input
from ..progress import Counted, uncounted
from ..storage import Storage, join
from .labels import LabelProblem, parse_label
from .pages import PageFiles, count_boxes
from .problems import Problem, raise_first
from .yolo_dataset import SPLITS, label_of, parse_data_yaml, split_images

_AT_ONCE: Final = 64
"""Pages that are read together, so that a large remote set is never held at once."""


def build_index(storage: Storage, uri: str, *, allow_background: bool, counted: Counted = uncounted) -> AnchorIndex:
    """Read the whole data set at `uri` once, and return its index; `counted` is called as pages are read.

    Every image is decoded and every label parsed. With `allow_background` a missing or empty label means a page
    without any field. Raises StepError with the reason of the first problem and a list of the places.
    """
    data = parse_data_yaml(storage.read(join(uri, "data.yaml")), join(uri, "data.yaml"))
    objects = frozenset(storage.walk(uri))
    images = {split: split_images(storage, uri, data, split, objects) for split in SPLITS}
    total = sum(map(len, images.values()))
    entries: dict[str, list[AnchorPage]] = {split: [] for split in SPLITS}
    problems: list[Problem] = []
    count = 0
    for split in SPLITS:
        for batch in _batched(images[split]):
            for files in _read_pages(storage, uri, batch, objects):
                count += 1
                entry = _entry(files, len(data.names), allow_background=allow_background)
                if isinstance(entry, Problem):
                    problems.append(entry)
                else:
                    entries[split].append(entry)
                counted(count, total)
    raise_first(problems, "the anchor " + uri)
    splits = {split: tuple(pages) for split, pages in entries.items()}
    index = AnchorIndex(classes=data.names, splits=Splits(**splits))
    check_splits(index, uri)
    return index


def _batched(images: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(images), _AT_ONCE):
        yield images[start : start + _AT_ONCE]


def _read_pages(storage: Storage, uri: str, images: Sequence[str], objects: frozenset[str]) -> Iterator[PageFiles]:
    labels = {image: label_of(image) for image in images}
    present = [path for path in labels.values() if path in objects]
    contents = storage.read_many(join(uri, path) for path in (*images, *present))
    for image in images:
        label = labels[image]
        yield PageFiles(image, contents[join(uri, image)], label, contents.get(join(uri, label)))


def _entry(files: PageFiles, classes: int, *, allow_background: bool) -> AnchorPage | Problem:
    boxes = count_boxes(files, classes, allow_missing=allow_background, allow_empty=allow_background)
    if isinstance(boxes, Problem):
        return boxes
    label = files.label_data
    return AnchorPage(
        image=files.image,
        label=None if label is None else files.label,
        image_sha256=sha256_of(files.image_data),
        label_sha256=None if label is None else sha256_of(label),
        bytes=len(files.image_data),
        boxes=boxes,
    )


def write_index(storage: Storage, uri: str, index: AnchorIndex) -> str:
    """Put the index beside data.yaml, and return its URI. Replaces an older one: it is derived from the files."""
    target = join(uri, INDEX_NAME)
    storage.replace(target, encode(index))
    return target


def read_index(storage: Storage, uri: str) -> AnchorIndex:
    """Return the anchor's index; StepError AnchorIndexMissing when `anchor index` was never run."""
    where = join(uri, INDEX_NAME)
    if not storage.exists(where):
        raise bad_input(
            Reason.ANCHOR_INDEX_MISSING,
            f"The anchor {uri} has no {INDEX_NAME}.",
            f"Run `finetune-trainer anchor index {uri}` once, and again after changing the anchor.",
        )
    return parse_anchor_index(storage.read(where), where)


def check_splits(index: AnchorIndex, uri: str) -> None:
    """Raise StepError unless train, val and test all have pages, test has boxes, and no page is in two of them."""
    for split in SPLITS:
        if not getattr(index.splits, split):
            raise bad_input(
                Reason.TEST_SPLIT_MISSING,
                f"The anchor {uri} has no {split} pages.",
                "Give data.yaml disjoint train, val and test splits: val watches training, only test judges.",
            )
    if not any(page.boxes for page in index.splits.test):
        raise bad_input(
            Reason.TEST_SPLIT_MISSING,
            f"The test split of {uri} has no labelled box.",
            "Label the held-out pages; a regression cannot be measured without.",
        )
    seen: dict[str, tuple[str, str]] = {}
    for split in SPLITS:
        for page in getattr(index.splits, split):
            other, path = seen.setdefault(page.image_sha256, (split, page.image))
            if other != split:
                raise bad_input(
                    Reason.SPLITS_OVERLAP,
                    f"{page.image} ({split}) and {path} ({other}) in {uri} are the same page.",
                    "Keep each page in one split; measuring on trained pages measures memory. Then index again.",
                )


def held_out_pages(index: AnchorIndex) -> dict[str, str]:
    """Return the image digests of the val and test pages, which never train, with their paths."""
    return {page.image_sha256: page.image for page in (*index.splits.val, *index.splits.test)}


def anchor_sample(uri: str, page: AnchorPage) -> Sample:
    """Return a page of the index with full URIs."""
    label = None
    if page.label is not None and page.label_sha256 is not None:
        label = FileReference(join(uri, page.label), page.label_sha256)
    return Sample(FileReference(join(uri, page.image), page.image_sha256), label, page.bytes, page.boxes)


def pages_digest(pages: Sequence[AnchorPage]) -> str:
    """Return the digest of a set of pages."""
    return set_digest((page.image_sha256, page.label_sha256) for page in pages)


def check_labels(storage: Storage, samples: Sequence[Sample], classes: int, where: str) -> None:
    """Raise StepError unless labels are right byte by byte, and images are there in their size.

    Images are hashed where they are used.
    """
    labels = [(sample.label, sample.boxes) for sample in samples if sample.label is not None]
    sizes = storage.sizes([sample.image.uri for sample in samples] + [label.uri for label, _ in labels])
    problems = [
        Problem(Reason.IMAGE_UNREADABLE, sample.image.uri, "it does not exist")
        if sizes[sample.image.uri] is None
        else Problem(
            Reason.DIGEST_MISMATCH,
            sample.image.uri,
            f"{sizes[sample.image.uri]} bytes, {sample.bytes} were recorded",
        )
        for sample in samples
        if sizes[sample.image.uri] != sample.bytes
    ]
    problems += [
        Problem(Reason.LABEL_MISSING, label.uri, "it does not exist") for label, _ in labels if sizes[label.uri] is None
    ]
    raise_first(problems, where)
    contents = storage.read_many(label.uri for label, _ in labels)
    checked = (_label_problem(label, contents, classes=classes, boxes=boxes) for label, boxes in labels)
    raise_first([problem for problem in checked if problem is not None], where)


def _label_problem(label: FileReference, contents: Mapping[str, bytes], *, classes: int, boxes: int) -> Problem | None:
    data = contents[label.uri]
    parsed = parse_label(data, classes)
    if isinstance(parsed, LabelProblem):
        return Problem(parsed.reason, label.uri, parsed.message)
    if sha256_of(data) != label.sha256 or len(parsed) != boxes:
        return Problem(Reason.DIGEST_MISMATCH, label.uri, "it changed since the index was written")
    return None
