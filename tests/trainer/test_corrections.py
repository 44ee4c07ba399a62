"""Corrections of the pool: what is replaced, what is refused, and that nothing that was there changes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
import yaml

from finetune_trainer.cli import main
from finetune_trainer.data.pool import StoredSample, read_pool
from finetune_trainer.data.pool_stats import pool_stats
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.storage import Storage, local_path
from trainer.policy import forget_pixels
from trainer.world import (
    CLASSES,
    SIDE,
    World,
    add_to_pool,
    correct_pool,
    files_of,
    page,
    relabel,
    withdraw_from,
    write_new_pages,
)


@pytest.fixture
def folder(world: World) -> Path:
    """Four pages that are in the pool, of two documents, as somebody exports them again."""
    folder = write_new_pages(world.root / "folder", count=4, first=7000)
    add_to_pool(world.pool, folder, world.anchor, {"page-7000": "doc-1", "page-7001": "doc-1"})
    return folder


def samples(world: World) -> list[StoredSample]:
    return read_pool(Storage(), world.pool.as_uri(), CLASSES).samples


def label_of(world: World, seed: int) -> bytes:
    """The label that counts of the page that was drawn from this seed."""
    from finetune_trainer.data.images import inspect_image

    data = cv2.imencode(".png", page(seed, strange=True)[0])[1].tobytes()
    shown = inspect_image(data)
    assert not isinstance(shown, str)
    [sample] = [s for s in samples(world) if s.pixels == shown.pixels]
    return Storage().read(sample.label.uri)


def test_a_corrected_label_counts_from_now_on_and_changes_nothing_that_was_there(world: World, folder: Path) -> None:
    before, documents = files_of(world.pool), [sample.document for sample in samples(world)]
    relabel(folder, 7000, 2)
    made = correct_pool(world.pool, folder, world.anchor)
    assert before.items() <= files_of(world.pool).items()
    assert len(made.correction.samples) == 2
    assert "2 pages have these labels already and were left out" in made.remarks
    assert label_of(world, 7001) == page(7078)[1].encode()
    assert [sample.document for sample in samples(world)] == documents, "the page keeps its document"
    corrected = [sample for sample in samples(world) if sample.correction]
    assert {(s.verified_by, s.verified_at) for s in corrected} == {("bo@example.com", "2026-11-24")}
    stats = pool_stats(Storage(), world.pool.as_uri())
    assert (stats.samples, stats.corrected, stats.withdrawn) == (16, 2, 0)


def test_a_page_that_has_its_first_label_again_is_not_counted_as_corrected(world: World, folder: Path) -> None:
    relabel(folder, 7000, 2)
    correct_pool(world.pool, folder, world.anchor)
    (folder / "labels/train/page-7000.txt").write_text(page(7000)[1])
    correct_pool(world.pool, folder, world.anchor)
    assert label_of(world, 7000) == page(7000)[1].encode()
    assert pool_stats(Storage(), world.pool.as_uri()).corrected == 1


def test_the_last_correction_counts_though_all_are_written_in_one_second(world: World, folder: Path) -> None:
    for shift in range(6):
        (folder / "labels/train/page-7000.txt").write_text(page(8000 + shift)[1])
        correct_pool(world.pool, folder, world.anchor)
        assert label_of(world, 7000) == page(8000 + shift)[1].encode()


def test_the_last_correction_counts_though_a_batch_was_named_by_hand(world: World, folder: Path) -> None:
    batch = max((world.pool / "batches").iterdir())
    batch.write_text(json.dumps(json.loads(batch.read_text()) | {"id": "first-pages"}))
    batch.rename(batch.with_stem("first-pages"))
    for shift in range(6):
        (folder / "labels/train/page-7000.txt").write_text(page(8000 + shift)[1])
        correct_pool(world.pool, folder, world.anchor)
        assert label_of(world, 7000) == page(8000 + shift)[1].encode()


def corrects(world: World, folder: Path) -> None:
    others = shutil.copytree(folder, world.root / "others")
    (others / "labels/train/page-7000.txt").write_text(page(8000)[1])
    correct_pool(world.pool, others, world.anchor)


def withdraws(world: World, _folder: Path) -> None:
    withdraw_from(world.pool, documents=("doc-1",))


def adds(world: World, _folder: Path) -> None:
    add_to_pool(world.pool, write_new_pages(world.root / "others", count=1, first=7100), world.anchor)


@pytest.mark.parametrize(
    ("somebody", "reason"),
    [(corrects, Reason.LABEL_CONTRADICTS), (withdraws, Reason.SAMPLE_WITHDRAWN), (adds, None)],
)
def test_what_somebody_else_did_to_a_page_meanwhile_is_told_and_not_covered_up(
    world: World,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    somebody: Callable[[World, Path], None],
    reason: Reason | None,
) -> None:
    original = Storage.write_once

    def write(self: Storage, uri: str, data: bytes) -> None:
        monkeypatch.undo()
        somebody(world, folder)
        original(self, uri, data)

    relabel(folder, 7000, 1)
    monkeypatch.setattr(Storage, "write_once", write)
    if reason is None:
        correct_pool(world.pool, folder, world.anchor)
        assert label_of(world, 7000) == page(7077)[1].encode()
        return
    with pytest.raises(StepError, match=r"page-7000[.]png: (bo|cy)@example[.]com") as caught:
        correct_pool(world.pool, folder, world.anchor)
    assert caught.value.reason is reason


def test_another_file_of_a_page_corrects_it(world: World, folder: Path) -> None:
    image = folder / "images/train/page-7002.png"
    cv2.imwrite(str(image), cv2.imread(str(image)), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    relabel(folder, 7002, 1)
    correct_pool(world.pool, folder, world.anchor)
    assert label_of(world, 7002) == page(7079)[1].encode()


def test_a_page_of_an_earlier_release_is_found_by_its_pixels(world: World, folder: Path) -> None:
    forget_pixels(world.pool)
    image = folder / "images/train/page-7002.png"
    cv2.imwrite(str(image), cv2.imread(str(image)), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    relabel(folder, 7002, 1)
    assert len(correct_pool(world.pool, folder, world.anchor).correction.samples) == 1
    assert label_of(world, 7002) == page(7079)[1].encode()


def test_a_page_that_was_compressed_anew_is_corrected_by_the_file_that_the_refusal_names(
    world: World, folder: Path
) -> None:
    lookalike(world, folder)
    relabel(folder, 7003, 1)
    with pytest.raises(StepError, match=r"a copy of batch \S+ [(](file:\S+)[)]: give that file instead") as caught:
        correct_pool(world.pool, folder, world.anchor)
    named = local_path(caught.value.message.partition("(")[2].partition(")")[0])
    assert named is not None
    shutil.copy(named, folder / "images/train/page-7003.png")
    correct_pool(world.pool, folder, world.anchor)
    assert label_of(world, 7003) == page(7080)[1].encode()


def with_more_digits(row: str) -> str:
    return f"{row}00"


def rounded(row: str) -> str:
    field, *cells = row.split()
    return " ".join([field, *(f"{float(cell):.4f}" for cell in cells)])


@pytest.mark.parametrize("written", [with_more_digits, rounded])
def test_the_same_boxes_written_otherwise_are_no_correction(
    world: World, folder: Path, written: Callable[[str], str]
) -> None:
    for label in (folder / "labels/train").iterdir():
        label.write_text("\r\n".join(map(written, reversed(label.read_text().splitlines()))))
    with pytest.raises(StepError, match=r"All 4 pages of .* have these labels") as caught:
        correct_pool(world.pool, folder, world.anchor)
    assert caught.value.remedy == "There is nothing to correct."
    with pytest.raises(StepError) as caught:
        add_to_pool(world.pool, folder, world.anchor)
    assert caught.value.reason is Reason.DUPLICATE_SAMPLE
    write_new_pages(folder, count=1, first=7100)
    added = add_to_pool(world.pool, folder, world.anchor, only_new=True)
    assert "4 pages are in the pool already and were left out" in added.remarks


def test_a_box_that_moved_by_a_pixel_is_a_correction(world: World, folder: Path) -> None:
    label = folder / "labels/train/page-7000.txt"
    field, x, *rest = label.read_text().splitlines()[0].split()
    moved = " ".join([field, f"{float(x) + 1 / SIDE:.6f}", *rest])
    label.write_text("\n".join([moved, *label.read_text().splitlines()[1:]]))
    assert len(correct_pool(world.pool, folder, world.anchor).correction.samples) == 1


def unknown(world: World, folder: Path) -> None:
    write_new_pages(folder, count=1, first=7100)


def lookalike(_world: World, folder: Path) -> None:
    image = cv2.imread(str(folder / "images/train/page-7003.png"))
    cv2.imwrite(str(folder / "images/train/page-7003.png"), cv2.GaussianBlur(image, (3, 3), 0))


def withdrawn(world: World, folder: Path) -> None:
    withdraw_from(world.pool, images=((folder / "images/train/page-7003.png").as_uri(),))


def held_out(world: World, folder: Path) -> None:
    shutil.copy(world.anchor / "images/test/page-2000.png", folder / "images/train/page-7003.png")


def bad_label(_world: World, folder: Path) -> None:
    (folder / "labels/train/page-7003.txt").write_text("0 0.5 0.5 0.1 0.1 0.9")


def no_label(_world: World, folder: Path) -> None:
    (folder / "labels/train/page-7003.txt").unlink()


def two_labels(_world: World, folder: Path) -> None:
    shutil.copy(folder / "images/train/page-7000.png", folder / "images/train/page-7003.png")


def a_new_class(_world: World, folder: Path) -> None:
    (folder / "data.yaml").write_text(yaml.safe_dump({"names": [*CLASSES, "iban"]}))


@pytest.mark.parametrize(
    ("spoil", "reason", "named", "remedy"),
    [
        (unknown, Reason.NOT_IN_POOL, "page-7100.png: the pool does not have it", "pool add"),
        (lookalike, Reason.NOT_IN_POOL, "it looks like a copy of batch", "pool add"),
        (withdrawn, Reason.SAMPLE_WITHDRAWN, "cy@example.com withdrew it on 2026-11-20: asked for", "stays withdrawn"),
        (held_out, Reason.HELD_OUT_PAGE_IN_POOL, "images/test/page-2000.png", "never train"),
        (bad_label, Reason.LABEL_COLUMNS, "page-7003.txt: line 1", "five columns"),
        (no_label, Reason.LABEL_MISSING, "page-7003", "--allow-background"),
        (two_labels, Reason.LABEL_CONTRADICTS, "page-7000", "one label"),
        (a_new_class, Reason.CLASS_LIST_DIFFERS, "iban", "name what a new base is to learn with --append-classes"),
    ],
)
def test_one_bad_page_refuses_the_correction_and_leaves_the_pool_as_it_was(
    world: World,
    folder: Path,
    spoil: Callable[[World, Path], None],
    reason: Reason,
    named: str,
    remedy: str,
) -> None:
    relabel(folder, 7000, 1)
    spoil(world, folder)
    before = files_of(world.pool)
    with pytest.raises(StepError) as caught:
        correct_pool(world.pool, folder, world.anchor)
    assert caught.value.reason is reason
    assert named in caught.value.message
    assert remedy in caught.value.remedy
    assert files_of(world.pool) == before


@pytest.mark.parametrize(("said", "reason"), [({"verified_by": " "}, "VerifierMissing"), ({"reason": ""}, "--reason")])
def test_a_correction_says_who_and_why(world: World, folder: Path, said: dict[str, str], reason: str) -> None:
    relabel(folder, 7000, 1)
    with pytest.raises(StepError, match=reason):
        correct_pool(world.pool, folder, world.anchor, **said)


def test_an_export_of_the_whole_project_corrects_first_and_adds_then(world: World, folder: Path) -> None:
    write_new_pages(folder, count=2, first=7100)
    relabel(folder, 7000, 1)
    with pytest.raises(StepError, match="with another label") as caught:
        add_to_pool(world.pool, folder, world.anchor, only_new=True)
    assert "pool correct" in caught.value.remedy
    made = correct_pool(world.pool, folder, world.anchor, only_known=True)
    assert "2 pages are not in the pool and were left out" in made.remarks
    add_to_pool(world.pool, folder, world.anchor, only_new=True)
    assert len(samples(world)) == 18


def test_an_export_of_the_whole_project_still_has_what_was_withdrawn(world: World, folder: Path) -> None:
    withdrawn(world, folder)
    with pytest.raises(StepError, match=r"All 3 pages .* that are in the pool .*; 1 pages were withdrawn") as caught:
        correct_pool(world.pool, folder, world.anchor, only_known=True)
    assert caught.value.remedy == "There is nothing to correct."
    relabel(folder, 7000, 1)
    made = correct_pool(world.pool, folder, world.anchor, only_known=True)
    assert any("1 pages were withdrawn and were left out (first: images/train/page-7003" in r for r in made.remarks)
    assert len(made.correction.samples) == 1


def test_classes_of_another_order_are_renumbered_as_in_a_batch(world: World, folder: Path) -> None:
    (folder / "data.yaml").write_text(yaml.safe_dump({"names": list(reversed(CLASSES))}))
    (folder / "labels/train/page-7000.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    correct_pool(world.pool, folder, world.anchor, map_classes=True)
    assert label_of(world, 7000) == b"2 0.5 0.5 0.1 0.1\n"


def test_boxes_of_a_class_that_the_folder_does_not_know_are_not_lost(world: World, folder: Path) -> None:
    (folder / "data.yaml").write_text(yaml.safe_dump({"names": list(CLASSES[:2])}))
    for label in (folder / "labels/train").iterdir():
        label.write_text("".join(f"{row}\n" for row in label.read_text().splitlines() if not row.startswith("2 ")))
    before = files_of(world.pool)
    with pytest.raises(StepError, match=r"total on 4 pages \(first: images/train/page-7000.png\)") as caught:
        correct_pool(world.pool, folder, world.anchor, map_classes=True)
    assert caught.value.reason is Reason.CLASS_LIST_DIFFERS
    assert files_of(world.pool) == before
    (folder / "data.yaml").write_text(yaml.safe_dump({"names": list(CLASSES)}))
    correct_pool(world.pool, folder, world.anchor)
    (folder / "data.yaml").write_text(yaml.safe_dump({"names": list(CLASSES[:2])}))
    relabel(folder, 7000, 1)
    rows = (folder / "labels/train/page-7000.txt").read_text().splitlines()
    (folder / "labels/train/page-7000.txt").write_text("\n".join(row for row in rows if not row.startswith("2 ")))
    assert len(correct_pool(world.pool, folder, world.anchor, map_classes=True).correction.samples) == 1


def test_a_correction_by_other_classes_is_refused_where_the_pool_is_read(world: World, folder: Path) -> None:
    relabel(folder, 7000, 1)
    made = correct_pool(world.pool, folder, world.anchor)
    file = world.pool / "batches" / f"{made.correction.id}.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"classes": ["iban", *CLASSES]}))
    with pytest.raises(StepError, match=f"correction {made.correction.id}") as caught:
        samples(world)
    assert "only ever appended" in caught.value.remedy


def test_a_lost_label_is_mended_by_a_correction(world: World, folder: Path) -> None:
    [sample] = [s for s in samples(world) if Storage().read(s.label.uri) == page(7000)[1].encode()]
    lost = next(world.pool.rglob(f"{sample.label.sha256}.txt"))
    lost.unlink()
    relabel(folder, 7000, 1)
    correct_pool(world.pool, folder, world.anchor)
    assert label_of(world, 7000) == page(7077)[1].encode()
    assert not lost.exists()


def test_the_command_line_says_what_it_did(world: World, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    relabel(folder, 7000, 3)
    arguments = ["--anchor", str(world.anchor), "--verified-by", "bo", "--verified-at", "2026-11-24", "--reason", "r"]
    assert main(["pool", "correct", str(world.pool), "--from", str(folder), *arguments]) == 0
    printed = capsys.readouterr().out
    assert ": 3 labels replaced\n" in printed
    assert "1 pages have these labels already" in printed
    assert main(["pool", "correct", str(world.pool), "--from", str(folder), *arguments]) == 10
    assert "All 4 pages" in capsys.readouterr().err
