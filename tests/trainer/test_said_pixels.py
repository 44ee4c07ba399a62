"""Files of one picture are one page, whichever entry of the log says their pixels; if none does, by reading them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_trainer.data.images import inspect_image
from finetune_trainer.data.pool import Pool, StoredSample, read_pool, replayed
from finetune_trainer.data.pool_check import measured_pool
from finetune_trainer.data.pool_stats import pool_stats
from finetune_trainer.digests import sha256_of
from finetune_trainer.documents.codec import encode
from finetune_trainer.documents.pool import (
    BatchSample,
    CorrectedSample,
    ImageFile,
    LabelFile,
    PoolBatch,
    PoolCorrection,
    PoolEntry,
    PoolWithdrawal,
    WithdrawnSample,
)
from finetune_trainer.storage import Storage
from trainer.policy import FIRST, Policy, forget_pixels, judged_by, saved_anew
from trainer.world import CLASSES, add_to_pool, page, write_new_pages


@pytest.fixture(params=["neither", "the copy"])
def twice(request: pytest.FixtureRequest, policy: Policy) -> Policy:
    """A policy whose pool has a page in two files; of neither, or of the copy alone, the batches say the pixels."""
    forget_pixels(policy.pool)
    copy = write_new_pages(policy.world.root / "copy", count=1, first=FIRST)
    saved_anew(copy)
    add_to_pool(policy.pool, copy, policy.world.anchor)
    if request.param == "neither":
        forget_pixels(policy.pool)
    return policy


def current(policy: Policy) -> list[StoredSample]:
    return read_pool(Storage(), policy.pool.as_uri(), CLASSES).samples


def test_a_copy_of_a_page_that_was_corrected_is_no_page_of_its_own(twice: Policy) -> None:
    twice.holdout = "0.5"
    twice.correct(FIRST, 1)
    plan = twice.draw()
    counts = [sample for sample in plan.listing if sample.use in ("train", "heldOut")]
    assert len(counts) == len({sample.pixels for sample in counts}) == 12
    assert [sample.use for sample in plan.listing].count("superseded") == 1
    assert judged_by(twice, twice.run()).counts.documents > 0


def test_a_copy_of_a_page_that_was_corrected_leaves_with_it(twice: Policy) -> None:
    twice.correct(FIRST, 1)
    twice.withdraw(FIRST, 1, erase=True)
    assert len(current(twice)) == 11
    assert sum(path.suffix == ".png" for path in twice.pool.rglob("*")) == 11


def test_a_copy_that_a_withdrawal_left_is_withdrawn_too(twice: Policy) -> None:
    """As an earlier release wrote it, to which the copy was another page."""
    twice.withdraw(FIRST, 1)
    file = max((twice.pool / "batches").iterdir())
    content = json.loads(file.read_text())
    del content["samples"][1:]
    file.write_text(json.dumps(content))
    plan = twice.draw()
    assert (plan.counts.pool, plan.counts.withdrawn) == (11, 1)


def test_what_is_counted_without_reading_pages_goes_by_what_corrections_say(twice: Policy) -> None:
    of_neither = all(sample.pixels is None for sample in current(twice))
    twice.correct(FIRST, 1)
    pages = 13 if of_neither else 12
    assert twice.counted().samples.current == pages
    stats = pool_stats(Storage(), twice.pool.as_uri())
    assert (stats.samples, stats.corrected) == (pages, 1)


@dataclass(frozen=True)
class File:
    """A file of a picture: five of three pictures, so that two have a copy."""

    image: str
    pixels: str
    data: bytes = field(repr=False)

    @classmethod
    def of(cls, picture: int, compression: int) -> File:
        data = cv2.imencode(".png", page(picture)[0], [cv2.IMWRITE_PNG_COMPRESSION, compression])[1].tobytes()
        shown = inspect_image(data)
        assert not isinstance(shown, str)
        return cls(sha256_of(data), shown.pixels, data)


FILES = tuple(File.of(*which) for which in ((0, 1), (0, 9), (1, 1), (1, 9), (2, 1)))
Kind = Literal["batch", "correction", "withdrawal"]


@dataclass(frozen=True)
class Said:
    """What an entry says of a page by one of its files; whether a batch says its pixels, too."""

    file: File
    label: int
    pixels: bool


@dataclass(frozen=True)
class Entry:
    """An entry of a log: what it says of pages, for how many classes, and whether a withdrawal erases."""

    kind: Kind
    said: tuple[Said, ...]
    fields: int
    erased: bool


SAID = st.builds(Said, st.sampled_from(FILES), st.integers(0, 2), st.booleans())
ENTRIES = st.builds(
    Entry,
    st.sampled_from(("batch", "batch", "correction", "withdrawal")),
    st.lists(SAID, min_size=1, max_size=4).map(tuple),
    st.integers(2, 3),
    st.booleans(),
)
LOGS = st.lists(ENTRIES, min_size=1, max_size=7)


def label(said: Said) -> LabelFile:
    digest = f"{said.label:064x}"
    return LabelFile(f"files/00/{digest}.txt", digest)


def brought(said: Said, *, whole: bool) -> BatchSample:
    """Return a page as a batch has it; `whole`: with its pixels in any case."""
    file = said.file
    pixels = file.pixels if whole or said.pixels else None
    image = ImageFile(f"files/{file.image}.png", file.image, len(file.data), pixels)
    return BatchSample(image, label(said), f"document-{said.label}", "source", "ann@example.com", "2026-11-20")


def entry(number: int, of: Entry, *, whole: bool) -> PoolEntry:
    name, at, classes = f"{number:03}", "2026-11-20T12:00:00Z", CLASSES[: of.fields]
    match of.kind:
        case "batch":
            samples = tuple(brought(said, whole=whole) for said in of.said)
            return PoolBatch(id=name, created_at=at, classes=classes, samples=samples)
        case "correction":
            corrected = tuple(
                CorrectedSample(s.file.image, s.file.pixels, label(s), "e" * 64, "bo@example.com", "2026-11-24")
                for s in of.said
            )
            return PoolCorrection(id=name, created_at=at, classes=classes, reason="report", samples=corrected)
        case "withdrawal":
            gone = tuple(WithdrawnSample(s.file.image, s.file.pixels, label(s).sha256) for s in of.said)
            return PoolWithdrawal(id=name, created_at=at, by="cy", reason="asked", erased=of.erased, samples=gone)


def log_of(entries: Iterable[Entry], *, whole: bool = False) -> list[PoolEntry]:
    return [entry(number, of, whole=whole) for number, of in enumerate(entries)]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool that has all files, and no entry yet."""
    root = tmp_path_factory.mktemp("pool")
    (root / "files").mkdir()
    for file in FILES:
        (root / "files" / f"{file.image}.png").write_bytes(file.data)
    return root


def where(pool: Pool) -> dict[str, int | None]:
    """Return the number of the page by each digest of an image or of pixels."""
    numbers = {id(one): number for number, one in enumerate(pool.pages)}
    digests = {digest for file in FILES for digest in (file.image, file.pixels)}
    return {d: None if (there := pool.page(d)) is None else numbers[id(there)] for d in sorted(digests)}


@given(entries=LOGS)
def test_a_pool_that_was_read_is_what_it_would_be_if_batches_had_said_all_pixels(
    stored: Path, entries: Sequence[Entry]
) -> None:
    shutil.rmtree(stored / "batches", ignore_errors=True)
    (stored / "batches").mkdir()
    for written in log_of(entries):
        (stored / "batches" / f"{written.id}.json").write_bytes(encode(written))
    measured = measured_pool(Storage(), stored.as_uri(), None).pool
    whole = replayed(stored.as_uri(), log_of(entries, whole=True), {})
    assert measured.pages == whole.pages
    assert where(measured) == where(whole)


@given(entries=LOGS, read=st.frozensets(st.sampled_from(FILES)))
def test_files_are_one_page_as_far_as_their_pixels_are_known(entries: Sequence[Entry], read: frozenset[File]) -> None:
    known = {file.image for file in read}
    known |= {said.file.image for of in entries for said in of.said if said.pixels or of.kind != "batch"}
    pool = replayed("file:///pool", log_of(entries), {file.image: file.pixels for file in read})
    there = {said.file for of in entries if of.kind == "batch" for said in of.said}
    expected: dict[str, set[str]] = {}
    for file in there:
        expected.setdefault(file.pixels if file.image in known else file.image, set()).add(file.image)
    copies = {frozenset(one.copies): {sample.pixels for sample in one.samples} for one in pool.pages}
    assert copies.keys() == {frozenset(images) for images in expected.values()}
    assert sum(map(len, copies)) == sum(len(one.copies) for one in pool.pages) == len(there)
    for images, pixels in copies.items():
        assert pixels == {file.pixels if file.image in known else None for file in there if file.image in images}


def test_of_pixels_that_contradict_each_other_those_that_are_said_first_count() -> None:
    first, copy, other = FILES[0], FILES[1], FILES[2]
    of_batch = tuple(Said(file, 0, file is not first) for file in (first, copy, other))
    batch = log_of([Entry("batch", of_batch, 3, erased=False)])
    says = [
        CorrectedSample(first.image, pixels, LabelFile("files/x.txt", digest), "e" * 64, "bo", "2026-11-24")
        for pixels, digest in ((first.pixels, "1" * 64), (other.pixels, "2" * 64))
    ]
    corrections = [
        PoolCorrection(id=f"{n:03}", created_at="", classes=CLASSES, reason="", samples=(said,))
        for n, said in enumerate(says, start=1)
    ]
    pool = replayed("file:///pool", [*batch, *corrections], {})
    assert [one.copies for one in pool.pages] == [[first.image, copy.image], [other.image]]
    assert [one.last.label.sha256 for one in pool.pages] == ["2" * 64, f"{0:064x}"]
    turned = replayed("file:///pool", [*batch, *reversed(corrections)], {})
    assert [one.copies for one in turned.pages] == [[first.image, other.image], [copy.image]]
