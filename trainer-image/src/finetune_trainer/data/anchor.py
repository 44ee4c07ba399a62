"""The anchor: building its index, reading it back, and checking it against the run."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from ..digests import set_digest, sha256_of
from ..documents.anchor import INDEX_NAME, AnchorIndex, AnchorPage, Splits, parse_anchor_index
from ..documents.codec import FileReference, encode
from ..documents.plan import Sample
from ..errors import Reason, bad_input
from ..progress import Counted, uncounted
from ..storage import Storage, join
from .background import check_share
from .data_yaml import SPLITS, DataYaml, Split, parse_data_yaml
from .folder import Folder, account, read_folder, summary
from .folder_classes import check_lists, what_lies_there
from .images import Picture, picture_remarks
from .labels import LabelProblem, parse_label, parse_label_of
from .lookalikes import Register, Seen
from .pages import CheckedPage, PageFiles, check_pages
from .problems import Problem, raise_first
from .yolo_dataset import split_images


@dataclass(frozen=True, slots=True)
class Indexed:
    """An index that was built; `remarks` are lines for a person: what was left out, and what is odd about pages."""

    index: AnchorIndex
    remarks: tuple[str, ...]


def build_index(storage: Storage, uri: str, *, background: float = 0, counted: Counted = uncounted) -> Indexed:
    """Read the whole data set at `uri` once, and index it; `counted` is called as pages are read.

    Every image is decoded and every label parsed. `background` is the share of training pages that may have no label
    or an empty one; above 0 such pages are taken in every split. Raises StepError with the reason of the first problem
    and a list of the places.
    """
    folder = read_folder(storage, uri)
    data = _data_yaml(storage, folder)
    pages = {split: split_images(storage, folder, data, split) for split in SPLITS}
    images = {split: pages[split].images for split in SPLITS}
    taken = frozenset[str]().union(*images.values())
    check_lists(storage, folder, "data.yaml", data.names, taken)
    left_out, lost = account(storage, folder, taken)
    lists = {path for split in SPLITS for path in pages[split].lists}
    left_out = {path: why for path, why in left_out.items() if path not in lists}
    entries, problems, remarks = _entries(storage, folder, images, data.names, background > 0, counted)
    remarks += [
        f"{pages[s].repeats} lines name a {s} page again, which counts once" for s in SPLITS if pages[s].repeats
    ]
    raise_first([*lost, *problems], "the anchor " + uri)
    index = AnchorIndex(classes=data.names, splits=Splits(**{split: tuple(entries[split]) for split in SPLITS}))
    check_splits(index, uri)
    check_share([page.boxes for page in index.splits.train], background, f"the train split of {uri}")
    return Indexed(index, (*_copies(index), *_empty(index), *remarks, *summary(left_out)))


def _data_yaml(storage: Storage, folder: Folder) -> DataYaml:
    where = join(folder.uri, "data.yaml")
    if "data.yaml" not in folder.files:
        there, remedy = what_lies_there(
            folder, "Write a data.yaml with names:, train:, val: and test: beside the images."
        )
        raise bad_input(Reason.DATA_UNREADABLE, f"{folder.uri} has no data.yaml{there}.", remedy)
    return parse_data_yaml(storage.read(where), where)


def _entries(
    storage: Storage,
    folder: Folder,
    images: Mapping[Split, Sequence[str]],
    classes: Sequence[str],
    background: bool,
    counted: Counted,
) -> tuple[dict[Split, list[AnchorPage]], list[Problem], list[str]]:
    """Return every split's entries, what is wrong, and remarks."""
    entries: dict[Split, list[AnchorPage]] = {split: [] for split in SPLITS}
    problems: list[Problem] = []
    pictures: list[tuple[str, Picture]] = []
    seen: set[int] = set()
    total, count = sum(map(len, images.values())), 0
    for split in SPLITS:
        for files, checked in check_pages(storage, folder, images[split], len(classes), allow_background=background):
            count += 1
            if isinstance(checked, Problem):
                problems.append(checked)
            else:
                entries[split].append(_entry(files, checked))
                pictures.append((files.image, checked.picture))
                seen |= checked.fields
            counted(count, total)
    return entries, problems, [*_unseen(classes, seen, total), *picture_remarks(pictures)]


def _unseen(classes: Sequence[str], seen: Collection[int], pages: int) -> list[str]:
    """Return a line on classes that no page has a box of: whoever appends a name labels the pages first."""
    names = ", ".join(name for field, name in enumerate(classes) if field not in seen)
    what = f"by data.yaml, all {pages} pages say that there is none on them"
    return [f"no page has a box of {names}: {what}. Take out what they were not labelled for"] if names else []


def _entry(files: PageFiles, checked: CheckedPage) -> AnchorPage:
    label = files.label_data
    return AnchorPage(
        image=files.image,
        label=None if label is None else files.label,
        image_sha256=sha256_of(files.image_data),
        label_sha256=None if label is None else sha256_of(label),
        bytes=len(files.image_data),
        boxes=checked.boxes,
        pixels=checked.picture.pixels,
        look=checked.picture.look,
    )


def _empty(index: AnchorIndex) -> list[str]:
    """Return a line on the pages without a box of each split that has any."""
    counts = {split: (sum(not p.boxes for p in pages), len(pages)) for split, pages in _splits(index)}
    return [f"{empty} of {pages} {split} pages have no box" for split, (empty, pages) in counts.items() if empty]


def _copies(index: AnchorIndex) -> list[str]:
    """Return a line on val and test pages that look like training pages, and on pages that are there twice."""
    lines: list[str] = []
    train = Register.of(_seen(page) for page in index.splits.train)
    near = [(page.image, other.place) for page in held_out_pages(index) if (other := train.near(_seen(page)))]
    if near:
        lines.append(f"{len(near)} val and test pages look like copies of train pages (first: {' and '.join(near[0])})")
    for split, pages in _splits(index):
        twice = len(pages) - len({page.pixels for page in pages})
        if twice:
            lines.append(f"{twice} {split} pages are there twice by their pixels; each counts as often as it is there")
    return lines


def _seen(page: AnchorPage) -> Seen:
    return Seen(page.image, page.image_sha256, page.label_sha256, page.pixels, page.look)


def _splits(index: AnchorIndex) -> Iterator[tuple[Split, tuple[AnchorPage, ...]]]:
    yield "train", index.splits.train
    yield "val", index.splits.val
    yield "test", index.splits.test


def write_index(storage: Storage, uri: str, index: AnchorIndex) -> str:
    """Put the index beside data.yaml, and return its URI. Replaces an older one: it is derived from the files."""
    target = join(uri, INDEX_NAME)
    storage.replace(target, encode(index))
    return target


def read_index(storage: Storage, uri: str) -> AnchorIndex:
    """Return the anchor's index; StepError AnchorIndexMissing when `anchor index` was never run."""
    where = join(uri, INDEX_NAME)
    data = storage.read_if_there(where)
    if data is None:
        raise bad_input(
            Reason.ANCHOR_INDEX_MISSING,
            f"The anchor {uri} has no {INDEX_NAME}.",
            f"Run `finetune-trainer anchor index {uri}` once, and again after changing the anchor.",
        )
    return parse_anchor_index(data, where)


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
    _check_apart(index, uri)


def _check_apart(index: AnchorIndex, uri: str) -> None:
    """Raise StepError for a page in two splits, by bytes or by pixels, and for one with two labels in one split."""
    seen: dict[str, tuple[str, AnchorPage]] = {}
    for split, pages in _splits(index):
        for page in pages:
            for digest in {page.image_sha256, page.pixels or page.image_sha256}:
                other, first = seen.setdefault(digest, (split, page))
                if other != split:
                    raise bad_input(
                        Reason.SPLITS_OVERLAP,
                        f"{page.image} ({split}) and {first.image} ({other}) in {uri} are the same page.",
                        "Keep each page in one split; measuring on trained pages measures memory. Then index again.",
                    )
                if first.label_sha256 != page.label_sha256:
                    raise bad_input(
                        Reason.LABEL_CONTRADICTS,
                        f"{page.image} and {first.image} in {uri} are the same page with two labels.",
                        "Delete the page whose label is wrong. Then index again.",
                    )


def held_out_pages(index: AnchorIndex) -> tuple[AnchorPage, ...]:
    """Return the val and test pages, which never train."""
    return (*index.splits.val, *index.splits.test)


def anchor_fields(index: AnchorIndex, classes: Sequence[str]) -> int | None:
    """Return how many classes the anchor's labels were made for; None where these are `classes`, and no others."""
    return None if len(index.classes) == len(classes) else len(index.classes)


def anchor_sample(uri: str, page: AnchorPage, fields: int | None = None) -> Sample:
    """Return a page of the index with full URIs; `fields` as anchor_fields has it."""
    label = None
    if page.label is not None and page.label_sha256 is not None:
        label = FileReference(join(uri, page.label), page.label_sha256)
    image = FileReference(join(uri, page.image), page.image_sha256)
    return Sample(image, label, page.bytes, page.boxes, fields=fields)


def pages_digest(pages: Sequence[AnchorPage]) -> str:
    """Return the digest of a set of pages."""
    return set_digest((page.image_sha256, page.label_sha256) for page in pages)


def check_labels(storage: Storage, samples: Sequence[Sample], classes: int, where: str) -> list[Sample]:
    """Return the samples with the boxes of the first `classes` classes counted: an index counts all that it has.

    Raises StepError unless labels are right byte by byte, and images are there in their size. Images are hashed where
    they are used.
    """
    labels = [(sample.label, sample) for sample in samples if sample.label is not None]
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
    checked = (_label_problem(label, contents, sample, classes) for label, sample in labels)
    raise_first([problem for problem in checked if problem is not None], where)
    return [_counted(sample, contents, classes) for sample in samples]


def _counted(sample: Sample, contents: Mapping[str, bytes], classes: int) -> Sample:
    if sample.label is None or sample.fields is None or sample.fields <= classes:
        return sample
    boxes = parse_label_of(contents[sample.label.uri], fields=sample.fields, classes=classes)
    return replace(sample, boxes=len(boxes)) if isinstance(boxes, tuple) else sample


def _label_problem(label: FileReference, contents: Mapping[str, bytes], sample: Sample, classes: int) -> Problem | None:
    data = contents[label.uri]
    parsed = parse_label(data, sample.fields or classes)
    if isinstance(parsed, LabelProblem):
        return Problem(parsed.reason, label.uri, parsed.message)
    if sha256_of(data) != label.sha256 or len(parsed) != sample.boxes:
        return Problem(Reason.DIGEST_MISMATCH, label.uri, "it changed since the index was written")
    return None
