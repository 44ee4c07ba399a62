"""The anchor data set: building its index, reading it back, and checking it against the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from finetune_trainer.data.images import image_problem
from finetune_trainer.data.labels import LabelProblem, parse_label
from finetune_trainer.data.problems import Problem, raise_first
from finetune_trainer.data.yolo_dataset import SPLITS, label_place, parse_data_yaml, split_images
from finetune_trainer.documents.anchor import INDEX_NAME, AnchorIndex, Entry, Splits, parse_anchor_index
from finetune_trainer.documents.codec import encode
from finetune_trainer.errors import Reason, bad_input
from finetune_trainer.storage import Storage, join, sha256_of

_AT_ONCE: Final = 64


def build_index(storage: Storage, uri: str, allow_background: bool) -> AnchorIndex:
    """Read the whole data set at `uri` once and index it.

    Every image is decoded and every label parsed. A missing or empty label means "no field on this page" only
    with `allow_background`: ultralytics takes it so silently, and a lost label would teach suppression.
    Raises StepError with the first kind of problem found and a list of the places.
    """
    data = parse_data_yaml(storage.read(join(uri, "data.yaml")), join(uri, "data.yaml"))
    objects = frozenset(storage.walk(uri))
    entries: dict[str, tuple[Entry, ...]] = {}
    problems: list[Problem] = []
    for split in SPLITS:
        found: list[Entry] = []
        for images in batched(split_images(storage, uri, data, split, objects), _AT_ONCE):
            labels = {image: label_place(image) for image in images}
            present = [place for place in labels.values() if place in objects]
            contents = storage.read_many(join(uri, place) for place in (*images, *present))
            for image in images:
                text = contents.get(join(uri, labels[image]))
                page = contents[join(uri, image)]
                entry = _entry(image, page, labels[image], text, len(data.names), allow_background)
                if isinstance(entry, Problem):
                    problems.append(entry)
                else:
                    found.append(entry)
        entries[split] = tuple(found)
    raise_first(problems, "the anchor " + uri)
    index = AnchorIndex(
        classes=data.names, splits=Splits(train=entries["train"], val=entries["val"], test=entries["test"])
    )
    check_splits(index, uri)
    return index


def batched(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Slices of at most `size` items, so that a large remote set is never held at once."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _entry(
    image: str, page: bytes, label: str, text: bytes | None, classes: int, allow_background: bool
) -> Entry | Problem:
    if (trouble := image_problem(page)) is not None:
        return Problem(Reason.IMAGE_UNREADABLE, image, trouble)
    if text is None:
        if not allow_background:
            return Problem(Reason.LABEL_MISSING, image, f"{label} does not exist")
        return Entry(image, None, sha256_of(page), None, len(page), 0)
    boxes = parse_label(text, classes)
    if isinstance(boxes, LabelProblem):
        return Problem(boxes.reason, label, boxes.message)
    if not boxes and not allow_background:
        return Problem(Reason.LABEL_MISSING, label, "the file is empty")
    return Entry(image, label, sha256_of(page), sha256_of(text), len(page), len(boxes))


def write_index(storage: Storage, uri: str, index: AnchorIndex) -> str:
    """Put the index beside data.yaml; returns its URI. Replaces an older index: it is derived from the files."""
    target = join(uri, INDEX_NAME)
    storage.replace(target, encode(index))
    return target


def read_index(storage: Storage, uri: str) -> AnchorIndex:
    """The anchor's index; StepError AnchorIndexMissing when `anchor index` was never run."""
    where = join(uri, INDEX_NAME)
    if not storage.exists(where):
        raise bad_input(
            Reason.ANCHOR_INDEX_MISSING,
            f"The anchor {uri} has no {INDEX_NAME}.",
            f"Run `finetune-trainer anchor index {uri}` once, and again after changing the anchor.",
        )
    return parse_anchor_index(storage.read(where), where)


def check_classes(found: Sequence[str], expected: Sequence[str], what: str) -> None:
    """Raise StepError ClassListDiffers unless both lists are equal, in order: a label is only an index into it."""
    if tuple(found) == tuple(expected):
        return
    differing = next(
        (i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), min(len(found), len(expected))
    )
    raise bad_input(
        Reason.CLASS_LIST_DIFFERS,
        f"{what} has {len(found)} classes, expected {len(expected)}; the first difference is at index {differing}: "
        f"{_at(found, differing)} instead of {_at(expected, differing)}.",
        "Use the same classes in the same order in policy, base, anchor and pool; renumber labels where they differ.",
    )


def _at(names: Sequence[str], index: int) -> str:
    return repr(names[index]) if index < len(names) else "nothing"


def check_splits(index: AnchorIndex, uri: str) -> None:
    """Raise StepError unless train, val and test all have pages, test has boxes, and no page is in two of them."""
    for split in SPLITS:
        if not getattr(index.splits, split):
            raise bad_input(
                Reason.TEST_SPLIT_MISSING,
                f"The anchor {uri} has no {split} pages.",
                "Give data.yaml disjoint train, val and test splits: val watches training, only test judges.",
            )
    if not any(entry.boxes for entry in index.splits.test):
        raise bad_input(
            Reason.TEST_SPLIT_MISSING,
            f"The test split of {uri} has no labelled box.",
            "Label the held-out pages; a regression cannot be measured without.",
        )
    seen: dict[str, tuple[str, str]] = {}
    for split in SPLITS:
        for entry in getattr(index.splits, split):
            other, path = seen.setdefault(entry.image_sha256, (split, entry.image))
            if other != split:
                raise bad_input(
                    Reason.SPLITS_OVERLAP,
                    f"{entry.image} ({split}) and {path} ({other}) in {uri} are the same page.",
                    "Keep each page in one split; measuring on trained pages measures memory. Then index again.",
                )
