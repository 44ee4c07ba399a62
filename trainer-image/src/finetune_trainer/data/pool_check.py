"""Every page of the pool, read and checked before a run stands on it; and pixels that earlier releases did not note."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..digests import sha256_of
from ..documents.anchor import AnchorIndex
from ..documents.plan import Sample
from ..errors import Reason, StepError
from ..progress import Counted, uncounted
from ..storage import Storage
from .anchor import held_out_pages
from .images import Picture, inspect_image
from .pages import PageFiles, check_page
from .pool import Pool, PoolPage, StoredSample, check_verifiers, fields_of, of_classes, replayed
from .pool_log import entries_of, existing_names
from .problems import Problem, raise_first


@dataclass(frozen=True, slots=True)
class MeasuredPool:
    """A pool in which every page that can be read is known by its pixels.

    `pictures` are those that had to be read for it, by the digest of the image; `log` are the manifests that it comes
    of, by their file names.
    """

    pool: Pool
    pictures: Mapping[str, Picture]
    log: tuple[str, ...]

    @property
    def pixels(self) -> dict[str, str]:
        """The pixels that the log does not say, by the digest of the image."""
        return {image: picture.pixels for image, picture in self.pictures.items()}


def measured_pool(
    storage: Storage,
    uri: str,
    classes: Sequence[str] | None,
    counted: Counted = uncounted,
    *,
    names: Sequence[str] | None = None,
    shown: Mapping[str, str] | None = None,
) -> MeasuredPool:
    """Read the log (with `names` these manifests of it), and the pages of earlier releases, whose pixels it lacks.

    `shown` are pixels by the digest of the image, of images that lie elsewhere too. `classes` None takes every list of
    classes, and samples that nobody verified: for who puts a pool in order. Raises StepError as read_pool does, and
    where there is no pool at all.
    """
    log = tuple(existing_names(storage, uri) if names is None else names)
    pixels = dict(shown or {})
    pool = _replayed(storage, uri, log, classes, pixels)
    pictures = dict(_unknown_pictures(storage, pool, counted))
    if pictures:
        pixels |= {image: picture.pixels for image, picture in pictures.items()}
        pool = _replayed(storage, uri, log, classes, pixels)
    if classes is not None:
        check_verifiers(pool)
    return MeasuredPool(pool, pictures, log)


def is_unread(page: PoolPage) -> bool:
    """Tell whether nothing says the pixels of a page, and its bytes are to be there.

    Also of one that was withdrawn while it could not be read: another file of it is withdrawn with it once they are
    known.
    """
    return page.last.pixels is None and not (page.withdrawal is not None and page.withdrawal.erased)


def _replayed(
    storage: Storage, uri: str, names: Sequence[str], classes: Sequence[str] | None, pixels: Mapping[str, str]
) -> Pool:
    """Return what these manifests come to. They are read for each replay: in memory they would be as large as it."""
    log = entries_of(storage, uri, names)
    return replayed(uri, log if classes is None else of_classes(log, uri, classes), pixels)


def _unknown_pictures(storage: Storage, pool: Pool, counted: Counted) -> Iterator[tuple[str, Picture]]:
    """Yield what the pages show of which the log does not say the pixels. Those that cannot be read are passed over.

    Who needs their bytes says what is wrong with them.
    """
    unknown = [page.last for page in pool.pages if is_unread(page)]
    for number, sample in enumerate(unknown, start=1):
        try:
            data = storage.read(sample.image.uri)
        except StepError as error:
            if error.reason is not Reason.DATA_UNREADABLE:
                raise
            data = b""
        if sha256_of(data) == sample.image.sha256 and isinstance(picture := inspect_image(data), Picture):
            yield sample.image.sha256, picture
        counted(number, len(unknown))


def check_pool(
    storage: Storage,
    measured: MeasuredPool,
    *,
    index: AnchorIndex,
    classes: Sequence[str],
    counted: Counted = uncounted,
) -> list[Sample]:
    """Read every page of the pool that counts, and return each with its boxes counted; `counted` is called meanwhile.

    Boxes are of these classes.

    Raises StepError unless none of the anchor's val and test pages is among them, digests are right, and images and
    labels are usable.
    """
    pool = measured.pool.samples
    raise_first(_held_out(pool, index), "the pool " + measured.pool.uri)
    raise_first(_missing_files(storage, pool), "the pool " + measured.pool.uri)
    problems: list[Problem] = []
    checked: list[Sample] = []
    for number, sample in enumerate(pool, start=1):
        boxes = _count_boxes(storage, sample, len(classes), measured.pictures.get(sample.image.sha256))
        counted(number, len(pool))
        if isinstance(boxes, Problem):
            problems.append(boxes)
        else:
            fields = fields_of(sample, classes)
            checked.append(Sample(sample.image, sample.label, sample.bytes, boxes, fields=fields))
    raise_first(problems, "the pool " + measured.pool.uri)
    return checked


def _held_out(pool: Sequence[StoredSample], index: AnchorIndex) -> list[Problem]:
    """Return a problem for every sample that is a val or test page of the anchor, by bytes or by pixels."""
    paths = {digest: page.image for page in held_out_pages(index) for digest in (page.image_sha256, page.pixels)}
    matches = ((sample, paths.get(sample.image.sha256) or paths.get(sample.pixels or "")) for sample in pool)
    return [
        Problem(Reason.HELD_OUT_PAGE_IN_POOL, sample.image.uri, f"it is the anchor's {path}")
        for sample, path in matches
        if path is not None
    ]


def _missing_files(storage: Storage, pool: Sequence[StoredSample]) -> list[Problem]:
    sizes = storage.sizes(file.uri for sample in pool for file in (sample.image, sample.label))
    return [
        Problem(reason, file.uri, f"the file of {brought} does not exist")
        for sample in pool
        for file, reason, brought in (
            (sample.image, Reason.IMAGE_UNREADABLE, f"batch {sample.batch}"),
            (sample.label, Reason.LABEL_MISSING, _label_from(sample)),
        )
        if sizes[file.uri] is None
    ]


def _label_from(sample: StoredSample) -> str:
    return f"correction {sample.correction}" if sample.correction else f"batch {sample.batch}"


def _count_boxes(storage: Storage, sample: StoredSample, classes: int, picture: Picture | None) -> int | Problem:
    wanted = [(sample.label, _label_from(sample))]
    if picture is None:
        wanted.insert(0, (sample.image, f"batch {sample.batch}"))
    contents = storage.read_many(file.uri for file, _ in wanted)
    for file, brought in wanted:
        if sha256_of(contents[file.uri]) != file.sha256:
            message = f"its bytes are not those that {brought} recorded"
            return Problem(Reason.DIGEST_MISMATCH, file.uri, message)
    image, label = sample.image.uri, sample.label.uri
    files = PageFiles(image, contents.get(image, b""), label, contents[label])
    # Whether a page without boxes is one was asked when it was added.
    checked = check_page(files, classes, allow_background=True, picture=picture, fields=sample.fields)
    return checked if isinstance(checked, Problem) else checked.boxes
