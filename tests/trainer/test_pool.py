"""The pool: what comes in, what is refused, and that it only ever grows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from finetune_trainer.cli import main
from finetune_trainer.data.pool import read_pool
from finetune_trainer.data.pool_batch import NewBatch, add_batch
from finetune_trainer.data.pool_stats import pool_stats
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.storage import Storage
from trainer.policy import forget_pixels, saved_anew
from trainer.world import BATCH_TIME, CLASSES, VERIFICATION, World, add_to_pool, relabel, write_new_pages


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_new_pages(tmp_path / "folder", count=4, first=7000)


def files(pool: Path) -> dict[str, bytes]:
    return {str(p.relative_to(pool)): p.read_bytes() for p in pool.rglob("*") if p.is_file()}


def test_a_batch_adds_and_changes_nothing_that_was_there(world: World, folder: Path) -> None:
    before = files(world.pool)
    add_to_pool(world.pool, folder, world.anchor, {"page-7000": "doc-1", "page-7001": "doc-1"})
    after = files(world.pool)
    assert before.items() <= after.items()
    stats = pool_stats(Storage(), world.pool.as_uri())
    assert (stats.batches, stats.samples, stats.documents) == (2, 16, 15)
    assert stats.boxes == dict.fromkeys(CLASSES, 16)
    assert stats.verifiers == {"ann@example.com": 16}


def while_files_are_copied(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen as soon as the first file is stored."""
    original = Storage.write_once

    def write(self: Storage, uri: str, data: bytes) -> None:
        monkeypatch.undo()
        happens()
        original(self, uri, data)

    monkeypatch.setattr(Storage, "write_once", write)


def test_a_batch_sorts_behind_what_somebody_added_while_its_files_were_copied(
    world: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = write_new_pages(world.root / "others", count=2, first=7100)
    ids: list[str] = []
    while_files_are_copied(monkeypatch, lambda: ids.append(add_to_pool(world.pool, others, world.anchor).batch.id))
    ids.append(add_to_pool(world.pool, folder, world.anchor).batch.id)
    assert ids == sorted(ids)
    assert pool_stats(Storage(), world.pool.as_uri()).samples == 18


@pytest.mark.parametrize(
    ("again", "reason"), [(False, Reason.DUPLICATE_SAMPLE), (True, Reason.LABEL_CONTRADICTS)], ids=["same", "other"]
)
def test_pages_that_somebody_added_while_files_were_copied_are_not_added_twice(
    world: World, folder: Path, monkeypatch: pytest.MonkeyPatch, again: bool, reason: Reason
) -> None:
    others = write_new_pages(world.root / "others", count=2, first=7000)
    if again:
        relabel(others, 7000, 2)
    while_files_are_copied(monkeypatch, lambda: add_to_pool(world.pool, others, world.anchor))
    with pytest.raises(StepError, match="of which somebody added pages meanwhile: images/train/page-7000") as caught:
        add_to_pool(world.pool, folder, world.anchor)
    assert caught.value.reason is reason
    assert pool_stats(Storage(), world.pool.as_uri()).samples == 14


def test_copies_that_are_not_recognised_among_pages_of_an_earlier_release_are_spoken_of(
    world: World, folder: Path
) -> None:
    assert not any("earlier release" in line for line in add_to_pool(world.pool, folder, world.anchor).remarks)
    forget_pixels(world.pool)
    saved_anew(folder)
    relabel(folder, 7000, 4)
    added = add_to_pool(world.pool, folder, world.anchor)
    assert any(line.startswith("16 pages of the pool were added by an earlier release") for line in added.remarks)


def held_out(world: World, folder: Path) -> None:
    shutil.copy(world.anchor / "images/test/page-2000.png", folder / "images/train/page-7000.png")


def duplicate(world: World, folder: Path) -> None:
    shutil.copy(world.root / "new-copy.png", folder / "images/train/page-7000.png")
    shutil.copy(world.root / "new-copy.txt", folder / "labels/train/page-7000.txt")


def contradicted(world: World, folder: Path) -> None:
    duplicate(world, folder)
    (folder / "labels/train/page-7000.txt").write_text("0 0.5 0.5 0.1 0.1\n")


def twin(_world: World, folder: Path) -> None:
    for kind, suffix in (("images", "png"), ("labels", "txt")):
        shutil.copy(folder / f"{kind}/train/page-7001.{suffix}", folder / f"{kind}/train/page-7000.{suffix}")


def twin_of_another_label(_world: World, folder: Path) -> None:
    shutil.copy(folder / "images/train/page-7001.png", folder / "images/train/page-7000.png")


def six_columns(_world: World, folder: Path) -> None:
    (folder / "labels/train/page-7000.txt").write_text("0 0.5 0.5 0.1 0.1 0.9")


def out_of_range(_world: World, folder: Path) -> None:
    (folder / "labels/train/page-7000.txt").write_text("0 0.5 1.5 0.1 0.1")


def no_label(_world: World, folder: Path) -> None:
    (folder / "labels/train/page-7000.txt").unlink()


def no_image(_world: World, folder: Path) -> None:
    (folder / "images/train/page-7000.png").write_bytes(b"\x89PNG")


def other_order(_world: World, folder: Path) -> None:
    (folder / "data.yaml").write_text(yaml.safe_dump({"names": ["date", "number", "total"]}))


def no_classes(_world: World, folder: Path) -> None:
    (folder / "data.yaml").unlink()


@pytest.mark.parametrize(
    ("spoil", "reason", "named"),
    [
        (held_out, Reason.HELD_OUT_PAGE_IN_POOL, "images/test/page-2000.png"),
        (duplicate, Reason.DUPLICATE_SAMPLE, "page-7000"),
        (contradicted, Reason.LABEL_CONTRADICTS, "with another label"),
        (twin, Reason.DUPLICATE_SAMPLE, "page-7001"),
        (twin_of_another_label, Reason.LABEL_CONTRADICTS, "page-7001"),
        (six_columns, Reason.LABEL_COLUMNS, "page-7000.txt: line 1: 6 columns"),
        (out_of_range, Reason.LABELS_OUT_OF_RANGE, "page-7000.txt: line 1"),
        (no_label, Reason.LABEL_MISSING, "page-7000"),
        (no_image, Reason.IMAGE_UNREADABLE, "page-7000"),
        (other_order, Reason.CLASS_LIST_DIFFERS, "index 0: 'date' instead of 'number'"),
        (no_classes, Reason.CLASS_LIST_DIFFERS, "has none of data.yaml, classes.txt, obj.names"),
    ],
)
def test_one_bad_page_refuses_the_batch_and_leaves_the_pool_as_it_was(
    world: World, folder: Path, spoil: Callable[[World, Path], None], reason: Reason, named: str
) -> None:
    stored = read_pool(Storage(), world.pool.as_uri(), CLASSES).samples[0]
    (world.root / "new-copy.png").write_bytes(Storage().read(stored.image.uri))
    (world.root / "new-copy.txt").write_bytes(Storage().read(stored.label.uri))
    spoil(world, folder)
    before = files(world.pool)
    with pytest.raises(StepError) as caught:
        add_to_pool(world.pool, folder, world.anchor)
    assert caught.value.reason is reason
    assert named in caught.value.message
    assert caught.value.remedy
    assert files(world.pool) == before


def test_a_batch_without_a_verifier_is_refused(world: World, folder: Path) -> None:
    nobody = replace(VERIFICATION, by=" ")
    new = NewBatch(folder.as_uri(), world.anchor.as_uri(), nobody, {})
    with pytest.raises(StepError) as caught:
        add_batch(Storage(), world.pool.as_uri(), new, BATCH_TIME)
    assert caught.value.reason is Reason.VERIFIER_MISSING


def test_classes_txt_serves_as_well_as_data_yaml(world: World, folder: Path) -> None:
    (folder / "data.yaml").unlink()
    (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    add_to_pool(world.pool, folder, world.anchor)
    assert len(read_pool(Storage(), world.pool.as_uri(), CLASSES).samples) == 16


def test_a_batch_that_was_cut_off_does_not_exist(world: World, folder: Path) -> None:
    before = set((world.pool / "batches").iterdir())
    add_to_pool(world.pool, folder, world.anchor)
    (added,) = set((world.pool / "batches").iterdir()) - before
    added.unlink()
    assert len(read_pool(Storage(), world.pool.as_uri(), CLASSES).samples) == 12
    add_to_pool(world.pool, folder, world.anchor)
    assert len(read_pool(Storage(), world.pool.as_uri(), CLASSES).samples) == 16


def test_the_command_line_prints_problem_and_remedy(
    world: World, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    no_label(world, folder)
    arguments = ["--anchor", str(world.anchor), "--verified-by", "ann", "--verified-at", "2026-11-20", "--source", "r"]
    assert main(["pool", "add", str(world.pool), "--from", str(folder), *arguments]) == 10
    assert "error: LabelMissing" in (printed := capsys.readouterr().err)
    assert "remedy: " in printed
    assert main(["pool", "stats", str(world.pool)]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 12


def test_a_document_map_must_be_a_map(world: World, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (world.root / "map.json").write_text("[1]")
    arguments = ["--anchor", str(world.anchor), "--verified-by", "ann", "--verified-at", "2026-11-20", "--source", "r"]
    documents = ["--documents", str(world.root / "map.json")]
    assert main(["pool", "add", str(world.pool), "--from", str(folder), *arguments, *documents]) == 10
    assert '{"stem": "document"}' in capsys.readouterr().err
