"""Withdrawals from the pool: what counts no more, which bytes go, and that it can be cut off anywhere."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from finetune_trainer.cli import main
from finetune_trainer.data.pool import read_pool
from finetune_trainer.data.pool_stats import pool_stats
from finetune_trainer.digests import sha256_of
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.storage import Storage
from trainer.policy import forget_pixels
from trainer.world import (
    CLASSES,
    World,
    add_to_pool,
    correct_pool,
    files_of,
    relabel,
    withdraw_from,
    write_new_pages,
)


@pytest.fixture
def folder(world: World) -> Path:
    """Four pages that are in the pool, two of them of one document."""
    folder = write_new_pages(world.root / "folder", count=4, first=7000)
    add_to_pool(world.pool, folder, world.anchor, {"page-7000": "doc-1", "page-7001": "doc-1"})
    return folder


def image(folder: Path, seed: int) -> Path:
    return folder / "images" / "train" / f"page-{seed}.png"


def count(world: World) -> int:
    return len(read_pool(Storage(), world.pool.as_uri(), CLASSES).samples)


def saved_anew(folder: Path, seed: int) -> Path:
    """The same page in another file."""
    copy = folder.parent / f"copy-{seed}.png"
    cv2.imwrite(str(copy), cv2.imread(str(image(folder, seed))), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert copy.read_bytes() != image(folder, seed).read_bytes()
    return copy


def batch_id(world: World) -> str:
    return max(file.stem for file in (world.pool / "batches").iterdir())


def by_file(_world: World, folder: Path) -> dict[str, Any]:
    return {"images": (image(folder, 7000).as_uri(),)}


def by_another_file(_world: World, folder: Path) -> dict[str, Any]:
    return {"images": (saved_anew(folder, 7000).as_uri(),)}


def by_folder(_world: World, folder: Path) -> dict[str, Any]:
    return {"images": (folder.as_uri(),)}


def by_document(_world: World, _folder: Path) -> dict[str, Any]:
    return {"documents": ("doc-1",)}


def by_batch(world: World, _folder: Path) -> dict[str, Any]:
    return {"batches": (batch_id(world),)}


def by_digest(world: World, _folder: Path) -> dict[str, Any]:
    return {"digests": (read_pool(Storage(), world.pool.as_uri(), CLASSES).samples[0].image.sha256.upper(),)}


def by_pixels(world: World, _folder: Path) -> dict[str, Any]:
    return {"digests": (read_pool(Storage(), world.pool.as_uri(), CLASSES).samples[0].pixels,)}


def by_two_things(world: World, folder: Path) -> dict[str, Any]:
    return {**by_document(world, folder), **by_file(world, folder), **by_digest(world, folder)}


@pytest.mark.parametrize(
    ("name", "pages"),
    [
        (by_file, 1),
        (by_another_file, 1),
        (by_folder, 4),
        (by_document, 2),
        (by_batch, 4),
        (by_digest, 1),
        (by_pixels, 1),
        (by_two_things, 3),
    ],
)
def test_what_is_named_is_withdrawn_and_everything_stays_where_it_was(
    world: World, folder: Path, name: Callable[[World, Path], dict[str, Any]], pages: int
) -> None:
    before = files_of(world.pool)
    made = withdraw_from(world.pool, **name(world, folder))
    assert made.withdrawal is not None
    assert count(world) == 16 - pages
    assert before.items() <= files_of(world.pool).items()
    stats = pool_stats(Storage(), world.pool.as_uri())
    assert (stats.samples, stats.withdrawn, stats.erased) == (16 - pages, pages, 0)


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ({"documents": ("doc-1", "doc-9")}, "document doc-9: no sample of the pool has it; there is 2026"),
        ({"documents": ("page-7002",)}, "there is [0-9TZ]+-[0-9a-f]{8}/images/train/page-7002[.]"),
        ({"documents": ("doc-1,",)}, "there is doc-1[.]"),
        ({"batches": ("20261120T120000Z.json",)}, "there is 20261120T12000"),
        ({"batches": ("20261120T120000Z",)}, "batch 20261120T120000Z: no sample"),
        ({"digests": ("0" * 64,)}, "sha256 0000"),
        ({}, "Nothing says what is to be withdrawn"),
    ],
)
def test_a_thing_that_is_in_no_sample_refuses_all(world: World, folder: Path, what: dict[str, Any], named: str) -> None:
    before = files_of(world.pool)
    with pytest.raises(StepError, match=named):
        withdraw_from(world.pool, **what)
    assert files_of(world.pool) == before


def test_a_folder_without_images_and_a_file_that_is_not_there_are_refused(world: World, folder: Path) -> None:
    before = files_of(world.pool)
    for place, said in ((folder / "labels", "No image lies below"), (folder / "no.png", "does not exist")):
        with pytest.raises(StepError, match=said):
            withdraw_from(world.pool, images=(place.as_uri(),))
    assert files_of(world.pool) == before


def test_what_an_addition_that_was_cut_off_left_is_named_to_who_would_erase_it(world: World) -> None:
    folder = write_new_pages(world.root / "cut off", count=1, first=7900)
    add_to_pool(world.pool, folder, world.anchor)
    max((world.pool / "batches").iterdir()).unlink()
    data = image(folder, 7900).read_bytes()
    for what in ({"images": (image(folder, 7900).as_uri(),)}, {"digests": (sha256_of(data),)}):
        with pytest.raises(StepError, match=rf"{sha256_of(data)}\.png is of no batch") as caught:
            withdraw_from(world.pool, **what, erase=True)
        assert caught.value.reason is Reason.NOT_IN_POOL


@pytest.mark.parametrize("name", ["batches", "documents"])
def test_a_page_that_two_people_added_at_once_is_known_by_either_batch_and_document(
    world: World, folder: Path, name: str
) -> None:
    first = world.pool / "batches" / f"{batch_id(world)}.json"
    content = json.loads(first.read_text())
    content["id"] = content["id"].partition("-")[0] + "-zzzzzzzz"
    for sample in content["samples"]:
        sample["document"] = "letter-9"
    first.with_stem(content["id"]).write_text(json.dumps(content))
    assert count(world) == 16
    withdraw_from(world.pool, **{name: (content["id"] if name == "batches" else "letter-9",)})
    assert count(world) == 12


def heic(_folder: Path, pages: Path) -> None:
    (pages / "page-7003.heic").write_bytes(b"a photo")


def dangling(_folder: Path, pages: Path) -> None:
    (pages / "page-7003.png").symlink_to("/nowhere/page-7003.png")


def archive(_folder: Path, pages: Path) -> None:
    (pages / "more.zip").write_bytes(b"PK")


def no_utf8(folder: Path, pages: Path) -> None:
    shutil.copy(image(folder, 7003), Path(os.fsdecode(os.fsencode(pages) + b"/caf\xe9.png")))


@pytest.mark.parametrize(
    ("lost", "said"), [(heic, "this is .heic"), (dangling, "a link"), (archive, "unpack it"), (no_utf8, "UTF-8")]
)
def test_what_may_be_a_page_of_a_folder_and_cannot_be_read_is_not_passed_over(
    world: World, folder: Path, lost: Callable[[Path, Path], None], said: str
) -> None:
    alone = write_new_pages(world.root / "alone", count=2, first=7000)
    lost(folder, alone / "images" / "train")
    with pytest.raises(StepError, match=said):
        withdraw_from(world.pool, images=(alone.as_uri(),))
    assert count(world) == 16


def test_what_an_operating_system_leaves_in_a_folder_is_no_page_to_withdraw(world: World, folder: Path) -> None:
    alone = write_new_pages(world.root / "alone", count=2, first=7000)
    (alone / "images/train/._page-7000.png").write_bytes(b"a fork")
    withdraw_from(world.pool, images=(alone.as_uri(),))
    assert count(world) == 14


def test_a_file_that_only_looks_like_a_page_is_refused_and_says_which_it_resembles(world: World, folder: Path) -> None:
    photo = world.root / "photo.png"
    cv2.imwrite(str(photo), cv2.GaussianBlur(cv2.imread(str(image(folder, 7000))), (3, 3), 0))
    with pytest.raises(StepError, match=r"it looks like a copy of sha256 ([0-9a-f]{64})") as caught:
        withdraw_from(world.pool, images=(photo.as_uri(),))
    assert caught.value.reason is Reason.NOT_IN_POOL
    digest = caught.value.message.partition("copy of sha256 ")[2][:64]
    withdraw_from(world.pool, digests=(digest,))
    assert count(world) == 15


def test_a_withdrawn_page_stays_withdrawn(world: World, folder: Path) -> None:
    withdraw_from(world.pool, images=(image(folder, 7000).as_uri(),))
    write_new_pages(folder, count=1, first=7100)
    shutil.copy(saved_anew(folder, 7000), image(folder, 7000))
    with pytest.raises(StepError, match=r"cy@example[.]com"):
        add_to_pool(world.pool, folder, world.anchor)
    alone = write_new_pages(world.root / "alone", count=1, first=7000)
    with pytest.raises(StepError, match=r"cy@example[.]com withdrew it on 2026-11-20: asked for") as caught:
        add_to_pool(world.pool, alone, world.anchor)
    assert caught.value.reason is Reason.SAMPLE_WITHDRAWN
    added = add_to_pool(world.pool, folder, world.anchor, only_new=True)
    assert any("1 pages were withdrawn and were left out" in line for line in added.remarks)
    assert count(world) == 16
    with pytest.raises(StepError, match="or were withdrawn"):
        add_to_pool(world.pool, alone, world.anchor, only_new=True)


def test_a_page_that_was_withdrawn_is_not_withdrawn_again(world: World, folder: Path) -> None:
    withdraw_from(world.pool, documents=("doc-1",))
    before = files_of(world.pool)
    with pytest.raises(StepError, match=r"cy@example[.]com withdrew it on 2026-11-20: asked for; --erase"):
        withdraw_from(world.pool, documents=("doc-1",))
    assert files_of(world.pool) == before


def files_below(pool: Path) -> set[str]:
    return {path for path in files_of(pool) if path.startswith("files/")}


def test_erasing_removes_the_image_and_every_label_that_the_page_ever_had(world: World, folder: Path) -> None:
    untouched = files_below(world.pool)
    alone = write_new_pages(world.root / "alone", count=1, first=7100)
    add_to_pool(world.pool, alone, world.anchor)
    relabel(alone, 7100, 1)
    correct_pool(world.pool, alone, world.anchor)
    assert len(files_below(world.pool)) == len(untouched) + 3
    made = withdraw_from(world.pool, images=(image(alone, 7100).as_uri(),), erase=True)
    assert len(made.removed) == 3
    assert files_below(world.pool) == untouched
    stats = pool_stats(Storage(), world.pool.as_uri())
    assert (stats.samples, stats.corrected, stats.withdrawn, stats.erased) == (16, 0, 1, 1)
    with pytest.raises(StepError, match="withdrew it"):
        add_to_pool(world.pool, alone, world.anchor)


def test_what_was_withdrawn_can_be_erased_later_and_erasing_twice_does_nothing(world: World, folder: Path) -> None:
    withdraw_from(world.pool, documents=("doc-1",))
    made = withdraw_from(world.pool, documents=("doc-1",), erase=True)
    assert made.withdrawal is not None
    assert len(made.removed) == 4
    before = files_of(world.pool)
    again = withdraw_from(world.pool, documents=("doc-1",), erase=True)
    assert (again.withdrawal, again.removed) == (None, ())
    assert files_of(world.pool) == before
    assert pool_stats(Storage(), world.pool.as_uri()).erased == 2


def test_a_file_that_another_sample_needs_stays(world: World, folder: Path) -> None:
    alone = write_new_pages(world.root / "alone", count=2, first=7100)
    (alone / "labels/train/page-7101.txt").write_text((alone / "labels/train/page-7100.txt").read_text())
    add_to_pool(world.pool, alone, world.anchor)
    made = withdraw_from(world.pool, images=(image(alone, 7100).as_uri(),), erase=True)
    assert [file.uri.rpartition(".")[2] for file in made.removed] == ["png"]
    assert pool_stats(Storage(), world.pool.as_uri()).samples == 17
    made = withdraw_from(world.pool, images=(image(alone, 7101).as_uri(),), erase=True)
    assert sorted(file.uri.rpartition(".")[2] for file in made.removed) == ["png", "txt"]


def test_an_erasure_that_is_cut_off_is_no_damage_and_is_finished_by_the_same_command(
    world: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = files_below(world.pool)
    removed: list[str] = []

    def dies(self: Storage, uri: str) -> None:
        if removed:
            raise KeyboardInterrupt
        removed.append(uri)
        original(self, uri)

    original = Storage.remove
    monkeypatch.setattr(Storage, "remove", dies)
    with pytest.raises(KeyboardInterrupt):
        withdraw_from(world.pool, documents=("doc-1",), erase=True)
    monkeypatch.undo()
    assert len(whole - files_below(world.pool)) == 1
    stats = pool_stats(Storage(), world.pool.as_uri())
    assert (stats.samples, stats.withdrawn, stats.erased) == (14, 2, 2)
    made = withdraw_from(world.pool, documents=("doc-1",), erase=True)
    assert (made.withdrawal, len(made.removed)) == (None, 3)
    assert len(whole - files_below(world.pool)) == 4


def test_every_copy_of_a_page_goes_with_it_also_in_a_pool_of_an_earlier_release(world: World, folder: Path) -> None:
    forget_pixels(world.pool)
    alone = write_new_pages(world.root / "alone", count=1, first=7000)
    shutil.copy(saved_anew(folder, 7000), image(alone, 7000))
    add_to_pool(world.pool, alone, world.anchor)
    forget_pixels(world.pool)
    assert count(world) == 17, "nothing says yet that two files are one page"
    made = withdraw_from(world.pool, images=(image(folder, 7000).as_uri(),), erase=True)
    assert count(world) == 15
    assert sorted(file.uri.rpartition(".")[2] for file in made.removed) == ["png", "png", "txt"]


def test_a_page_that_cannot_be_read_any_more_is_withdrawn_by_its_digest(world: World, folder: Path) -> None:
    forget_pixels(world.pool)
    lost = read_pool(Storage(), world.pool.as_uri(), CLASSES).samples[-1]
    next(world.pool.rglob(f"{lost.image.sha256}.*")).unlink()
    made = withdraw_from(world.pool, digests=(lost.image.sha256,))
    assert made.withdrawal is not None
    assert [sample.pixels for sample in made.withdrawal.samples] == [None]
    assert count(world) == 15


def test_a_page_of_which_nobody_verified_the_label_can_be_withdrawn(world: World, folder: Path) -> None:
    file = max((world.pool / "batches").iterdir())
    content = json.loads(file.read_text())
    content["samples"][0]["verifiedBy"] = ""
    file.write_text(json.dumps(content))
    with pytest.raises(StepError, match="nobody"):
        count(world)
    withdraw_from(world.pool, digests=(content["samples"][0]["image"]["sha256"],))
    assert count(world) == 15


@pytest.mark.parametrize("empty", ["--withdrawn-by", "--reason"])
def test_a_withdrawal_says_who_and_why(world: World, folder: Path, empty: str) -> None:
    said = {"--withdrawn-by": "cy", "--reason": "r"} | {empty: " "}
    arguments = [part for pair in said.items() for part in pair]
    before = files_of(world.pool)
    assert main(["pool", "withdraw", str(world.pool), "--document", "doc-1", *arguments]) == 10
    assert files_of(world.pool) == before


def test_the_command_line_names_what_it_cannot_erase(
    world: World, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ["--withdrawn-by", "cy", "--reason", "asked for"]
    things = ["--document", "doc-1", "--image", str(image(folder, 7002))]
    assert main(["pool", "withdraw", str(world.pool), *things, *said, "--erase"]) == 0
    printed = capsys.readouterr().out
    assert "3 pages withdrawn\n6 files removed" in printed
    assert "keeps versions" in printed
    assert "plots/new-pages.jpg" in printed
    assert main(["pool", "withdraw", str(world.pool), *things, *said, "--erase"]) == 0
    assert "withdrawn before\n0 files removed" in capsys.readouterr().out


def test_what_resembles_a_withdrawn_page_is_pointed_at(world: World, folder: Path) -> None:
    withdraw_from(world.pool, images=(image(folder, 7000).as_uri(),))
    alone = write_new_pages(world.root / "alone", count=1, first=7000)
    photo = image(alone, 7000)
    cv2.imwrite(str(photo), cv2.GaussianBlur(cv2.imread(str(photo)), (3, 3), 0))
    added = add_to_pool(world.pool, alone, world.anchor)
    assert any("looks like a copy of a page of batch" in line and "withdrawn" in line for line in added.remarks)
