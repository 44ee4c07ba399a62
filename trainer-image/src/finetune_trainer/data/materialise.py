"""Putting a plan's files where ultralytics finds them: links to local files, copies of remote ones, all verified."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Final

import yaml

from ..digests import check_digest, sha256_of_file
from ..documents.codec import MAX_CLASSES, FileReference
from ..documents.plan import Sample
from ..progress import unfetched
from ..storage import Storage, local_path
from .images import as_trained
from .labels import cut_label

_FETCHERS: Final = 16
"""Threads that fetch; they wait for the network, not for a CPU."""

_LABEL: Final = ".txt"

_PLACED: Final = {".tif": ".png", ".tiff": ".png"}
"""Suffixes under which images are placed. What is in a file is told from its content, except that ultralytics decodes
all that is called a TIFF by other rules: of a JPEG or PNG that is called so it leaves out the EXIF turn."""


def placed_name(number: int, sample: Sample) -> str:
    """Return the stem of a plan's page by its number: unique, and short enough for any file system."""
    return f"{number:06d}-{sample.image.sha256[:12]}"


def materialise(
    storage: Storage,
    samples: Sequence[Sample],
    folder: Path,
    placed: Callable[[int], None] = unfetched,
    *,
    classes: int = MAX_CLASSES,
) -> list[Path]:
    """Lay out `samples` as `folder/images/*` and `folder/labels/*.txt`, and return the image paths in order.

    Local files become symbolic links: nothing is copied, and label caches and image caches land in the scratch
    folder, never in the store. Every file is hashed; StepError DigestMismatch when it is not what the plan lists.
    `placed` is called with the bytes of each page as it is there, by several threads. Of labels that were made for more
    than `classes` classes, the boxes of the others are left out.
    """
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()

    def place(item: tuple[int, Sample]) -> Path:
        number, sample = item
        name = placed_name(number, sample)
        suffix = PurePosixPath(sample.image.uri).suffix.lower()
        image = folder / "images" / (name + _PLACED.get(suffix, suffix))
        _place(storage, sample.image, image)
        label = folder / "labels" / f"{name}{_LABEL}"
        if sample.label is None:
            label.touch()  # an explicit background page, not a missing label
        else:
            _place(storage, sample.label, label)
            if sample.fields is not None and sample.fields > classes:
                cut = cut_label(label.read_bytes(), classes)
                label.unlink()  # it may be a link to the store
                label.write_bytes(cut)
        placed(sample.bytes)
        return image

    with ThreadPoolExecutor(_FETCHERS) as pool:
        return list(pool.map(place, enumerate(samples)))


def _place(storage: Storage, source: FileReference, target: Path) -> None:
    path = local_path(source.uri)
    if path is None:
        storage.fetch(source.uri, target, sha256=source.sha256)
        path = target
    elif not path.is_file():
        storage.read(source.uri)  # raises the error that names the place and the remedy
    check_digest(source.uri, actual=sha256_of_file(path), expected=source.sha256)
    original = path.read_bytes()
    trained = as_trained(original) if target.suffix != _LABEL else original
    if trained is not original:
        # A copy that ultralytics decodes to the pixels that the evaluator sees; it would drop some pages, and
        # re-encode others where they lie.
        target.write_bytes(trained)
    elif path != target:
        target.symlink_to(path)


def write_data_yaml(file: Path, classes: Sequence[str], *, train: Path, val: Path) -> Path:
    """Write a data.yaml of our own, and return it. A user's is never used: it can carry code."""
    content = {"train": str(train), "val": str(val), "names": dict(enumerate(classes))}
    file.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return file
