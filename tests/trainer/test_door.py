"""What comes in is taken, or named with the reason: folders as tools export them, and as people damage them."""

from __future__ import annotations

import os
import shutil
import unicodedata
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from finetune_trainer.data.anchor import build_index
from finetune_trainer.data.pool_batch import Added, NewBatch, add_batch
from finetune_trainer.data.pool_stats import pool_stats
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.storage import Storage
from trainer.world import BATCH_TIME, CLASSES, VERIFICATION, World, write_new_pages

Change = Callable[[Path], object]
OF_OTHER_TOOLS = {
    "xml": "<annotation verified='yes'><object><name>number</name></object></annotation>",
    "json": '{"version": "5.4.1", "shapes": [{"label": "number"}]}',
}
IMAGE, LABEL = Path("images/train/page-7000.png"), Path("labels/train/page-7000.txt")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_new_pages(tmp_path / "folder", count=4, first=7000)


def add(world: World, folder: Path, **options: Any) -> Added:
    new = NewBatch(folder.as_uri(), world.anchor.as_uri(), VERIFICATION, {})
    return add_batch(Storage(), world.pool.as_uri(), replace(new, **options), BATCH_TIME)


def in_pool(world: World) -> int:
    return pool_stats(Storage(), world.pool.as_uri()).samples


def named(name: str, change: Change) -> Change:
    """Return `change` under a name of its own in the test's id."""

    def act(folder: Path) -> object:
        return change(folder)

    act.__name__ = name
    return act


def other_suffix(suffix: str) -> Change:
    return named(suffix, lambda folder: shutil.copy(folder / IMAGE, (folder / IMAGE).with_name(f"more{suffix}")))


def label_without_image(folder: Path) -> None:
    shutil.copy(folder / LABEL, folder / "labels/train/lost.txt")


def label_beside_its_missing_image(folder: Path) -> None:
    shutil.copy(folder / LABEL, folder / "lost.txt")


def moved(place: Path, to: str) -> Change:
    """A page's image or label elsewhere, or under another name."""
    return named(f"{place} as {to}", lambda folder: (folder / place).rename(folder / to))


def renamed_folder(place: str, to: str) -> Change:
    return named(f"{place} as {to}", lambda folder: (folder / place).rename(folder / to))


def of_another_tool(name: str, text: str) -> Change:
    """LabelImg writes what its button says: a press of it, and the next pages have labels in another format."""

    def change(folder: Path) -> None:
        (folder / LABEL).unlink()
        (folder / name).write_text(text)

    return named(f"label {name}", change)


def dangling_link(folder: Path) -> None:
    (folder / "images/train/gone.png").symlink_to(folder / "nowhere.png")


def link_to_itself(folder: Path) -> None:
    (folder / "images/train/again").symlink_to(folder)


def backslashes(folder: Path) -> None:
    shutil.copy(folder / IMAGE, folder / "images\\train\\p.png")


def latin1(folder: Path) -> None:
    shutil.copy(os.fsencode(folder / IMAGE), os.fsencode(folder) + b"/images/train/R\xe9sum\xe9.png")


def only_hidden(folder: Path) -> None:
    (folder / ".cache").mkdir()
    (folder / IMAGE).rename(folder / ".cache" / "page-7000.png")
    (folder / LABEL).unlink()


def only_in_macosx(folder: Path) -> None:
    (folder / "__MACOSX").mkdir()
    shutil.copy(folder / IMAGE, folder / "__MACOSX/other.png")


def two_images_of_one_label(folder: Path) -> None:
    cv2.imwrite(str((folder / IMAGE).with_suffix(".jpg")), np.full((64, 64, 3), 90, np.uint8))


def gif(folder: Path) -> None:
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(folder / IMAGE, "GIF")


def damaged(folder: Path) -> None:
    data = bytearray(jpeg(folder))
    data[len(data) // 2 : len(data) // 2 + 40] = b"\xff\xd8" * 20
    (folder / IMAGE).with_suffix(".jpg").write_bytes(data)


def half(folder: Path) -> None:
    data = jpeg(folder)
    (folder / IMAGE).with_suffix(".jpg").write_bytes(data[: len(data) // 2])


def archive(folder: Path) -> None:
    """The rest of an export, which nobody unpacked."""
    with zipfile.ZipFile(folder / "images/train/more.zip", "w") as pages:
        pages.write(folder / IMAGE, "page-8000.png")


def twins(folder: Path) -> None:
    """Two pages whose names differ in how the accent is written, and one label for both."""
    images = folder / "images/train"
    (images / "page-7000.png").rename(images / unicodedata.normalize("NFC", "Résumé.png"))
    (images / "page-7001.png").rename(images / unicodedata.normalize("NFD", "Résumé.png"))
    (folder / LABEL).rename(folder / "labels/train" / unicodedata.normalize("NFC", "Résumé.txt"))
    (folder / "labels/train/page-7001.txt").unlink()


def damaged_tiff(compression: str) -> Change:
    """A scan of which a disk lost half a kilobyte: the decoder leaves what it cannot read white or black."""

    def change(folder: Path) -> None:
        tiff = (folder / IMAGE).with_suffix(".tif")
        with Image.open(folder / IMAGE) as page:
            large = page.resize((600, 800)).convert("1" if compression == "group4" else "RGB")
        large.save(tiff, compression=compression)
        (folder / IMAGE).unlink()
        data = bytearray(tiff.read_bytes())
        data[len(data) // 2 : len(data) // 2 + 512] = bytes(range(256)) * 2
        tiff.write_bytes(data)

    return named(f"damaged_tiff {compression}", change)


def left_over(folder: Path) -> None:
    """What is left of a scan that was read wrongly from its damaged place on."""
    data = jpeg(folder)
    (folder / IMAGE).with_suffix(".jpg").write_bytes(data[:-2] + bytes(range(1, 98)) + data[-2:])


def jpeg(folder: Path) -> bytes:
    """Take the place of the page by a JPEG of it, and return its bytes."""
    image = cv2.imread(str(folder / IMAGE))
    assert image is not None
    (folder / IMAGE).unlink()
    return bytes(cv2.imencode(".jpg", image)[1].tobytes())


def pointer(folder: Path) -> None:
    (folder / IMAGE).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n")


def empty_file(folder: Path) -> None:
    (folder / IMAGE).write_bytes(b"")


def web_page(folder: Path) -> None:
    (folder / IMAGE).write_text("<html>404</html>")


def huge(folder: Path) -> None:
    Image.new("1", (20_000, 10_000)).save(folder / IMAGE)


def label(text: str) -> Change:
    return named(text.strip(), lambda folder: (folder / LABEL).write_text(text))


def names(content: object, file: str = "data.yaml") -> Change:
    return named(str(content), lambda folder: (folder / file).write_text(yaml.safe_dump(content)))


def written(text: str, file: str = "data.yaml") -> Change:
    return named(f"{file} {text.strip()}", lambda folder: (folder / file).write_text(text))


def one_too_deep(folder: Path) -> None:
    (folder / "project-1").mkdir()
    for path in list(folder.iterdir()):
        if path.name != "project-1":
            path.rename(folder / "project-1" / path.name)


def other_yaml(folder: Path) -> None:
    (folder / "data.yaml").rename(folder / "dataset.yaml")


def two_side_by_side(folder: Path) -> None:
    one_too_deep(folder)
    write_new_pages(folder / "project-2", count=1, first=7500)


def another_order_below(folder: Path) -> None:
    write_new_pages(folder / "second", count=1, first=7500)
    (folder / "second/data.yaml").write_text(yaml.safe_dump({"names": [*reversed(CLASSES)]}))


def beside_labels(classes: tuple[str, ...]) -> Change:
    """LabelImg lists the classes beside the labels that it writes."""
    text = "\n".join(classes)
    return named(f"beside labels {classes}", lambda folder: (folder / "labels/train/classes.txt").write_text(text))


def zipped(folder: Path) -> None:
    shutil.make_archive(str(folder.parent / "export"), "zip", folder)
    shutil.rmtree(folder)
    folder.mkdir()
    (folder.parent / "export.zip").rename(folder / "export.zip")


def packed(name: str) -> Change:
    return named(name, lambda folder: (folder / name).write_bytes(b"packed"))


@pytest.mark.parametrize(
    ("spoil", "reason", "said"),
    [
        *((other_suffix(s), Reason.FILE_UNUSABLE, f"more{s}") for s in (".heic", ".avif", ".jp2", ".jfif", ".gif")),
        *((other_suffix(s), Reason.FILE_UNUSABLE, f"more{s}") for s in (".mpo", ".jpe", ".HEIC", ".pdf", ".svg")),
        (label_without_image, Reason.IMAGE_MISSING, "lost.txt"),
        (label_beside_its_missing_image, Reason.IMAGE_MISSING, "lost.txt"),
        *(
            (moved(LABEL, to), Reason.IMAGE_MISSING, f"{to}: a label, and that of {IMAGE} is looked for at {LABEL}")
            for to in (
                "images/train/page-7000.txt",
                "page-7000.txt",
                f"{LABEL.with_suffix('.TXT')}",
                f"{LABEL.with_suffix('.png.txt')}",
            )
        ),
        (renamed_folder("images", "Images"), Reason.IMAGE_MISSING, "is looked for at Images/train/page-7000.txt"),
        *(
            (
                of_another_tool(f"{place}/page-7000.{suffix}", text),
                Reason.FILE_UNUSABLE,
                f"a label of {IMAGE} in a format",
            )
            for place in ("images/train", "labels/train", "labels")
            for suffix, text in OF_OTHER_TOOLS.items()
        ),
        (dangling_link, Reason.FILE_UNUSABLE, "gone.png: it is a link to something that is not there"),
        (link_to_itself, Reason.FILE_UNUSABLE, "again: it is a link to a folder that it lies in"),
        (backslashes, Reason.FILE_UNUSABLE, "made on Windows"),
        (latin1, Reason.FILE_UNUSABLE, "R\\xe9sum\\xe9.png: its name is not UTF-8"),
        (only_hidden, Reason.FILE_UNUSABLE, ".cache/page-7000.png"),
        (only_in_macosx, Reason.FILE_UNUSABLE, "__MACOSX/other.png"),
        (two_images_of_one_label, Reason.LABEL_SHARED, "page-7000.jpg"),
        (archive, Reason.FILE_UNUSABLE, "more.zip: an archive, which may hold pages"),
        (twins, Reason.LABEL_SHARED, "it has the same label as images/train/"),
        (gif, Reason.IMAGE_UNREADABLE, "a GIF file by its content"),
        (damaged, Reason.IMAGE_UNREADABLE, "page-7000.jpg"),
        (left_over, Reason.IMAGE_UNREADABLE, "damaged: Corrupt JPEG data: 9"),
        (half, Reason.IMAGE_UNREADABLE, "page-7000.jpg"),
        (damaged_tiff("tiff_lzw"), Reason.IMAGE_UNREADABLE, "page-7000.tif: damaged: "),
        (damaged_tiff("group4"), Reason.IMAGE_UNREADABLE, "page-7000.tif: damaged: Fax4Decode"),
        (pointer, Reason.IMAGE_UNREADABLE, "git lfs pull"),
        (empty_file, Reason.IMAGE_UNREADABLE, "the file is empty"),
        (web_page, Reason.IMAGE_UNREADABLE, "its content is something else"),
        (huge, Reason.IMAGE_UNREADABLE, "scale it down"),
        (label("0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2\n"), Reason.LABEL_COLUMNS, "four corners"),
        (label("0 0.1 0.1 0.2 0.1 0.2 0.2\n"), Reason.LABEL_COLUMNS, "a polygon"),
        (label("0,0.5,0.5,0.1,0.1\n"), Reason.LABEL_COLUMNS, "separated by commas"),
        (label("0 0.99 0.5 0.06 0.1\n"), Reason.LABELS_OUT_OF_RANGE, "reaches out of the page"),
        (
            names({"names": ["date", "number", "total"]}),
            Reason.CLASS_LIST_DIFFERS,
            "the first difference is at index 0",
        ),
        (names({"names": ["number", "total"]}), Reason.CLASS_LIST_DIFFERS, "'total' instead of 'date'"),
        (names({"names": ["number", "date", "tax"]}), Reason.CLASS_LIST_DIFFERS, "that the anchor has not: tax"),
        (written("date\nnumber\ntotal\n", "classes.txt"), Reason.CLASS_LIST_DIFFERS, "says two things"),
        (names({"names": {0: "number", "1": "date", 2: "total"}}), Reason.DATA_UNREADABLE, "partly text"),
        (names({"names": [0, 1, 2]}), Reason.DATA_UNREADABLE, "YAML reads as int"),
        (names({"names": ["number", True, "total"]}), Reason.DATA_UNREADABLE, "YAML reads as bool"),
        (written("names: {0: number, 1: date, 1: total}"), Reason.DATA_UNREADABLE, "'1' is there twice"),
        (one_too_deep, Reason.CLASS_LIST_DIFFERS, "there is one in file://"),
        (two_side_by_side, Reason.CLASS_LIST_DIFFERS, "folder/project-1 and 1 more below it"),
        (other_yaml, Reason.CLASS_LIST_DIFFERS, "dataset.yaml lies there"),
        (another_order_below, Reason.CLASS_LIST_DIFFERS, "second/data.yaml has total, date, number"),
        (beside_labels(CLASSES[::-1]), Reason.CLASS_LIST_DIFFERS, "labels/train/classes.txt has total, date, number"),
        (written("number\n\ndate\ntotal\n", "classes.txt"), Reason.CLASS_LIST_INVALID, "has no name, and names follow"),
        (written("number\ndate\ndate\n", "classes.txt"), Reason.CLASS_LIST_INVALID, "has the name 'date' again"),
        *((packed(name), Reason.FILE_UNUSABLE, f"{name}: an archive") for name in ("a.zip.001", "a.tar.xz", "a.TBZ2")),
    ],
)
def test_what_cannot_be_taken_is_named_and_nothing_is_added(
    world: World, folder: Path, spoil: Change, reason: Reason, said: str
) -> None:
    before = in_pool(world)
    spoil(folder)
    with pytest.raises(StepError) as caught:
        add(world, folder)
    assert caught.value.reason is reason, caught.value
    assert said in caught.value.message
    assert caught.value.remedy
    assert in_pool(world) == before


@pytest.mark.parametrize("suffix", OF_OTHER_TOOLS)
def test_a_page_whose_label_another_tool_wrote_is_no_page_without_a_box(
    world: World, folder: Path, suffix: str
) -> None:
    of_another_tool(f"labels/train/page-7000.{suffix}", OF_OTHER_TOOLS[suffix])(folder)
    with pytest.raises(StepError, match=rf"page-7000\.{suffix}: a label of {IMAGE} in a format that is not read"):
        add(world, folder, background=0.5)
    (folder / f"labels/train/page-7000.{suffix}").write_text('{"scanner": "<model 7>"}')
    assert len(add(world, folder, background=0.5).batch.samples) == 4


@pytest.mark.parametrize(
    ("spoil", "remedy"),
    [
        (one_too_deep, "Name that folder."),
        (two_side_by_side, "Name that folder; one after the other."),
        (other_yaml, "Rename dataset.yaml to data.yaml."),
        (zipped, "Unpack it, and name the folder."),
    ],
)
def test_where_a_folder_is_another_than_was_meant_there_is_one_remedy(
    world: World, folder: Path, spoil: Change, remedy: str
) -> None:
    spoil(folder)
    for act in (lambda: add(world, folder), lambda: build_index(Storage(), folder.as_uri())):
        with pytest.raises(StepError) as caught:
            act()
        assert caught.value.remedy == remedy, caught.value


def test_another_order_of_classes_below_matters_to_an_anchor_where_its_splits_have_such_pages(world: World) -> None:
    old = world.anchor / "old"
    write_new_pages(old, count=1, first=7500)
    (old / "classes.txt").write_text("\n".join(reversed(CLASSES)))
    (old / "data.yaml").unlink()
    build_index(Storage(), world.anchor.as_uri())
    content = yaml.safe_load((world.anchor / "data.yaml").read_text())
    content["train"] = ["images/train", "old/images/train"]
    (world.anchor / "data.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(StepError, match=r"old/classes\.txt has total, date, number") as caught:
        build_index(Storage(), world.anchor.as_uri())
    assert caught.value.reason is Reason.CLASS_LIST_DIFFERS
