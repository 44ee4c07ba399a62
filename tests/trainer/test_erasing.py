"""Erasures while somebody else writes to the pool: no label is lost that a page needs, and no copy stays."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from finetune_trainer.data import corrections, pool_batch
from finetune_trainer.data.pool import read_pool
from finetune_trainer.data.pool_log import append
from finetune_trainer.digests import sha256_of
from finetune_trainer.storage import Storage, local_path
from trainer.world import CLASSES, World, add_to_pool, correct_pool, page, withdraw_from, write_new_pages

Write = Callable[[], object]
LABEL = "labels/train/page-7000.txt"


@pytest.fixture
def leaving(world: World) -> Path:
    """A page that is in the pool, and is going to be erased."""
    folder = write_new_pages(world.root / "leaving", count=1, first=7000)
    add_to_pool(world.pool, folder, world.anchor)
    return folder


def erase(world: World, leaving: Path) -> None:
    withdraw_from(world.pool, images=((leaving / "images").as_uri(),), erase=True)


def adding(world: World, leaving: Path) -> Write:
    """Another page with the label of the one that leaves."""
    other = write_new_pages(world.root / "other", count=1, first=7100)
    shutil.copy(leaving / LABEL, other / "labels/train/page-7100.txt")
    return lambda: add_to_pool(world.pool, other, world.anchor)


def correcting(world: World, leaving: Path) -> Write:
    """A page of the pool that gets the label of the one that leaves."""
    other = write_new_pages(world.root / "other", count=1, first=7100)
    add_to_pool(world.pool, other, world.anchor)
    shutil.copy(leaving / LABEL, other / "labels/train/page-7100.txt")
    return lambda: correct_pool(world.pool, other, world.anchor)


def before_it_says_so(monkeypatch: pytest.MonkeyPatch, write: Write, meanwhile: Write) -> None:
    """Its files are there, and the log does not name them yet."""
    original = append

    def appends(*entry: Any) -> None:
        monkeypatch.undo()
        meanwhile()
        original(*entry)

    for module in (pool_batch, corrections):
        monkeypatch.setattr(module, "append", appends)
    write()


def while_files_are_removed(monkeypatch: pytest.MonkeyPatch, write: Write, meanwhile: Write) -> None:
    """The erasure has read the log, and has not removed anything yet."""

    def removes(self: Storage, uri: str) -> None:
        monkeypatch.undo()
        write()
        self.remove(uri)

    monkeypatch.setattr(Storage, "remove", removes)
    meanwhile()


@pytest.mark.parametrize("moment", [before_it_says_so, while_files_are_removed])
@pytest.mark.parametrize("writing", [adding, correcting])
def test_a_label_that_a_page_comes_to_share_with_one_that_is_erased_is_there_in_the_end(
    world: World, leaving: Path, monkeypatch: pytest.MonkeyPatch, writing: Callable[..., Write], moment: Any
) -> None:
    label = (leaving / LABEL).read_bytes()
    moment(monkeypatch, writing(world, leaving), lambda: erase(world, leaving))
    pool = read_pool(Storage(), world.pool.as_uri(), CLASSES)
    assert [s.image.sha256 for s in pool.samples if s.label.sha256 == sha256_of(label)]
    for sample in pool.samples:
        assert sha256_of((local_path(sample.label.uri) or Path()).read_bytes()) == sample.label.sha256
    (gone,) = pool.withdrawn
    assert not (local_path(gone.last.image.uri) or Path()).exists()


def test_a_copy_of_a_page_that_was_added_and_erased_meanwhile_goes_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaving = write_new_pages(world.root / "leaving", count=1, first=7000)
    other = write_new_pages(world.root / "other", count=1, first=7000)
    cv2.imwrite(str(other / "images/train/page-7000.png"), page(7000, True)[0], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    copy = sha256_of((other / "images/train/page-7000.png").read_bytes())

    def meanwhile() -> None:
        add_to_pool(world.pool, leaving, world.anchor)
        erase(world, leaving)

    before_it_says_so(monkeypatch, lambda: add_to_pool(world.pool, other, world.anchor), meanwhile)
    assert len(read_pool(Storage(), world.pool.as_uri(), CLASSES).withdrawn) == 1
    assert not [file for file in world.pool.rglob("*") if copy in file.name]
