"""What tools write is taken at the pool's door, and what is odd about it is said: copies, maps, pages without a box."""

from __future__ import annotations

import shutil
import unicodedata
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from finetune_trainer.errors import Reason, StepError
from trainer.test_door import (
    IMAGE,
    LABEL,
    Change,
    add,
    beside_labels,
    in_pool,
    jpeg,
    label,
    named,
    names,
    written,
)
from trainer.world import CLASSES, World, write_new_pages


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_new_pages(tmp_path / "folder", count=4, first=7000)


def linked_folder(folder: Path) -> None:
    (folder / "images/train").rename(folder.parent / "elsewhere")
    (folder / "images/train").symlink_to(folder.parent / "elsewhere")


def decomposed(folder: Path) -> None:
    """Image and label called alike, as two systems write the accent."""
    (folder / IMAGE).rename(folder / "images/train" / unicodedata.normalize("NFC", "Résumé.png"))
    (folder / LABEL).rename(folder / "labels/train" / unicodedata.normalize("NFD", "Résumé.txt"))


def called(name: str) -> Change:
    def rename(folder: Path) -> None:
        (folder / IMAGE).rename(folder / "images/train" / f"{name}.png")
        (folder / LABEL).rename(folder / "labels/train" / f"{name}.txt")

    return named(f"called {name}", rename)


def no_end_marker(folder: Path) -> None:
    data = jpeg(folder)
    (folder / IMAGE).with_suffix(".jpg").write_bytes(data[:-2])


def apple_double(folder: Path) -> None:
    (folder / "images/train/._page-7000.png").write_bytes(b"\0\5\26\7")


def checkpoint_copy(folder: Path) -> None:
    (folder / "images/train/.ipynb_checkpoints").mkdir()
    shutil.copy(folder / IMAGE, folder / "images/train/.ipynb_checkpoints/page-7000-checkpoint.png")


def transparent(folder: Path) -> None:
    Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(folder / IMAGE)


def deep_colour(folder: Path) -> None:
    cv2.imwrite(str(folder / IMAGE), np.full((64, 64), 40_000, np.uint16))


def stray_bytes(folder: Path) -> None:
    data = cv2.imencode(".jpg", np.full((64, 64, 3), 90, np.uint8))[1].tobytes()
    (folder / IMAGE).unlink()
    (folder / IMAGE).with_suffix(".jpg").write_bytes(data[:20] + b"\1\2\3\4" + data[20:])


def padded(folder: Path) -> None:
    """A webcam fills the last scan up."""
    data = jpeg(folder)
    (folder / IMAGE).with_suffix(".jpg").write_bytes(data[:-2] + bytes(8) + data[-2:])


def bad_exif(folder: Path) -> None:
    exif = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12\0\3"
    Image.open(folder / IMAGE).save((folder / IMAGE).with_suffix(".jpg"), exif=exif)
    (folder / IMAGE).unlink()


def turned(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(folder / IMAGE).save((folder / IMAGE).with_suffix(".jpg"), exif=exif)
    (folder / IMAGE).unlink()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (linked_folder, ""),
        (decomposed, ""),
        *((called(name), "") for name in ("a b", "a%20b", "a#b", "a?b", "a[1]b", "a*b", "日本語", "a'b\"c")),
        (no_end_marker, "1 pages are JPEGs without an end marker"),
        (stray_bytes, "1 pages are JPEGs with stray bytes"),
        (padded, ""),
        (bad_exif, ""),
        (apple_double, "left out, left behind by an operating system: images/train/._page-7000.png"),
        (checkpoint_copy, "left out, hidden: images/train/.ipynb_checkpoints/page-7000-checkpoint.png"),
        (written("x", "notes.json"), "left out, neither page nor label: notes.json"),
        (beside_labels(CLASSES), ""),
        (transparent, "1 pages are transparent"),
        (deep_colour, "1 pages are 16 bits a channel"),
        (turned, "EXIF orientation"),
        (label("0 0.5 0.5 1.0000001 0.2\n"), ""),
        (label("0 -0.000000001 0.5 0.01 0.2\n"), ""),
        (names({"names": {"0": "number", "1": "date", "2": "total"}, "nc": "3"}), ""),
        (names({"names": [*CLASSES], "train": "../train/images"}), ""),
    ],
)
def test_what_tools_write_is_taken_and_what_is_odd_is_said(
    world: World, folder: Path, change: Change, said: str
) -> None:
    before = in_pool(world)
    change(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        added = add(world, folder)
    assert in_pool(world) == before + 4
    assert said in "\n".join(added.remarks)
    assert said or not added.remarks


def test_a_whole_project_exported_again_adds_what_is_new(world: World, folder: Path) -> None:
    add(world, folder)
    write_new_pages(folder, count=6, first=7000)
    with pytest.raises(StepError, match="--only-new") as caught:
        add(world, folder)
    assert caught.value.reason is Reason.DUPLICATE_SAMPLE
    added = add(world, folder, only_new=True)
    assert len(added.batch.samples) == 2
    assert "4 pages are in the pool already and were left out" in added.remarks


def test_a_page_that_the_pool_has_with_another_label_is_never_left_out_in_silence(world: World, folder: Path) -> None:
    add(world, folder)
    (folder / LABEL).write_text("0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(StepError, match="with another label") as caught:
        add(world, folder, only_new=True)
    assert caught.value.reason is Reason.LABEL_CONTRADICTS


def test_the_same_pixels_in_another_file_are_the_same_page(world: World, folder: Path) -> None:
    held_out = cv2.imread(str(world.anchor / "images/test/page-2000.png"))
    assert held_out is not None
    cv2.imwrite(str(folder / IMAGE), held_out, [cv2.IMWRITE_PNG_COMPRESSION, 0])
    with pytest.raises(StepError, match=r"images/test/page-2000\.png") as caught:
        add(world, folder)
    assert caught.value.reason is Reason.HELD_OUT_PAGE_IN_POOL


def test_a_copy_that_was_compressed_anew_is_pointed_at(world: World, folder: Path) -> None:
    held_out = cv2.imread(str(world.anchor / "images/test/page-2000.png"))
    assert held_out is not None
    (folder / IMAGE).unlink()
    cv2.imwrite(str((folder / IMAGE).with_suffix(".jpg")), held_out, [cv2.IMWRITE_JPEG_QUALITY, 60])
    remarks = add(world, folder).remarks
    assert any("looks like a copy of the anchor's images/test/page-2000.png" in line for line in remarks), remarks


def test_labels_are_renumbered_by_name_on_request_only(world: World, folder: Path) -> None:
    names({"names": ["total", "number"]})(folder)
    for path in folder.glob("labels/train/*.txt"):
        path.write_text("0 0.5 0.5 0.1 0.1\n1 0.2 0.2 0.1 0.1\n")
    stored = add(world, folder, map_classes=True).batch.samples[-1].label.path
    assert (world.pool / stored).read_bytes() == b"2 0.5 0.5 0.1 0.1\n0 0.2 0.2 0.1 0.1\n"


@pytest.mark.parametrize(
    ("key", "pages"),
    [("page-7000", 1), ("page-7000.png", 1), ("images/train/page-7000.png", 1), ("images/train/page-7000", 1)],
)
def test_a_map_names_pages_by_stem_name_or_path(world: World, folder: Path, key: str, pages: int) -> None:
    batch = add(world, folder, documents={key: "doc-1"}).batch
    assert [sample.document for sample in batch.samples].count("doc-1") == pages


@pytest.mark.parametrize("name", ["3f2a91bc-page-7000", "32078c35__page-7000", "page-7000_png.rf.0a1b2c3d4e"])
def test_a_map_knows_what_labelling_tools_write_around_a_name(world: World, folder: Path, name: str) -> None:
    called(name)(folder)
    batch = add(world, folder, documents={"page-7000": "doc-1"}).batch
    assert "doc-1" in [sample.document for sample in batch.samples]


def test_a_map_that_names_no_page_is_refused(world: World, folder: Path) -> None:
    with pytest.raises(StepError, match=r"'page-9'.*for example 'page-7000'"):
        add(world, folder, documents={"page-7000": "doc-1", "page-9": "doc-1"})


def test_pages_called_alike_in_two_folders_are_two_documents(world: World, folder: Path) -> None:
    for kind, suffix in (("images", "png"), ("labels", "txt")):
        (folder / kind / "valid").mkdir()
        (folder / kind / f"train/page-7001.{suffix}").rename(folder / kind / f"valid/page-7000.{suffix}")
    batch = add(world, folder).batch
    assert len({sample.document for sample in batch.samples}) == 4


@pytest.mark.parametrize(
    ("empty", "allowed", "taken"), [(1, 0, False), (2, 0.5, True), (3, 0.5, False), (3, 0.8, True)]
)
def test_pages_without_a_box_are_taken_up_to_the_share_that_is_said(
    world: World, folder: Path, empty: int, allowed: float, taken: bool
) -> None:
    for number, path in enumerate(sorted(folder.glob("labels/train/*.txt"))[:empty]):
        path.unlink() if number % 2 else path.write_text("")
    if taken:
        assert f"{empty} of 4 pages have no box" in add(world, folder, background=allowed).remarks
        return
    with pytest.raises(StepError) as caught:
        add(world, folder, background=allowed)
    assert caught.value.reason is Reason.LABEL_MISSING


@pytest.mark.parametrize("name", ["new.zip", "data.yaml", "page.png"])
def test_a_file_in_the_place_of_a_folder_is_answered_with_what_to_do(world: World, folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"x")
    with pytest.raises(StepError, match="is a file") as caught:
        add(world, folder / name)
    assert ("unzip" in caught.value.remedy) == name.endswith(".zip")
