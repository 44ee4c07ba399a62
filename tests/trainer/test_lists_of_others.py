"""Lists, places and maps as other systems write them: they name the same files, or are refused with what is wrong."""

from __future__ import annotations

import codecs
import json
import shutil
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import pytest
import yaml

from finetune_trainer.cli import main
from finetune_trainer.data.anchor import Indexed, build_index
from finetune_trainer.data.folder import read_folder
from finetune_trainer.data.folder_classes import folder_classes
from finetune_trainer.data.page_documents import said_documents
from finetune_trainer.data.pool import read_pool
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.storage import Storage
from trainer.world import CLASSES, World, page, write_anchor, write_new_pages

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "räkning") for form in ("NFC", "NFD"))


@pytest.fixture
def anchor(tmp_path: Path) -> Path:
    """An anchor whose splits are lists of files, one a line."""
    folder = write_anchor(tmp_path / "anchor", train=3, val=2, test=2)
    for split in ("train", "val", "test"):
        write_list(folder, split)
    splits = {split: f"{split}.txt" for split in ("train", "val", "test")}
    (folder / "data.yaml").write_text(yaml.safe_dump({**splits, "names": list(CLASSES)}))
    return folder


def write_list(folder: Path, split: str) -> None:
    """As `find images/train -type f` of the guide does."""
    files = sorted(str(path.relative_to(folder)) for path in (folder / "images" / split).rglob("*") if path.is_file())
    (folder / f"{split}.txt").write_text("".join(f"{file}\n" for file in files))


def built(folder: Path) -> Indexed:
    return build_index(Storage(), folder.as_uri())


def renamed(folder: Path, image: str, name: str) -> None:
    """Call a page and its label otherwise."""
    path = folder / "images" / image
    label = folder / "labels" / Path(image).with_suffix(".txt")
    path.rename(path.with_name(f"{name}.png"))
    label.rename(label.with_name(f"{name}.txt"))


@pytest.mark.parametrize(("written", "lies"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_a_list_and_a_place_name_files_whose_accents_are_written_otherwise(
    anchor: Path, written: str, lies: str
) -> None:
    """An archive that macOS packed has other bytes in its names than the list inside it."""
    renamed(anchor, "train/page-0.png", lies)
    listing = anchor / "train.txt"
    listing.write_text(listing.read_text().replace("page-0", written))
    (anchor / "images" / "val").rename(anchor / "images" / lies)
    (anchor / "labels" / "val").rename(anchor / "labels" / lies)
    content = yaml.safe_load((anchor / "data.yaml").read_text()) | {"val": f"images/{written}"}
    (anchor / "data.yaml").write_text(yaml.safe_dump(content, allow_unicode=True))
    (anchor / "val.txt").unlink()
    splits = built(anchor).index.splits
    assert f"images/train/{lies}.png" in [p.image for p in splits.train]
    assert (len(splits.train), len(splits.val)) == (3, 2)


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "._page-0.png"])
def test_what_a_system_left_behind_is_no_page_of_a_list(anchor: Path, name: str) -> None:
    (anchor / "images/train" / name).write_bytes(b"\0\0\0\1Bud1")
    write_list(anchor, "train")
    indexed = built(anchor)
    assert len(indexed.index.splits.train) == 3
    assert f"left out, left behind by an operating system: images/train/{name}" in indexed.remarks


def test_a_page_of_a_list_that_is_hidden_is_said_to_be(anchor: Path) -> None:
    hidden = anchor / "images/train/.more/page-0.png"
    hidden.parent.mkdir()
    shutil.copy(anchor / "images/train/page-0.png", hidden)
    write_list(anchor, "train")
    with pytest.raises(StepError, match=r"names 'images/train/\.more/page-0\.png', which is hidden\."):
        built(anchor)


@pytest.mark.parametrize("mark", [codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_lists_that_windows_shell_wrote_are_read(anchor: Path, mark: bytes) -> None:
    encoding = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}[mark]

    def rewrite(path: Path, text: str) -> None:
        path.write_bytes(mark + text.replace("\n", "\r\n").encode(encoding))

    rewrite(anchor / "train.txt", (anchor / "train.txt").read_text())
    assert len(built(anchor).index.splits.train) == 3
    (anchor / "data.yaml").unlink()
    rewrite(anchor / "classes.txt", "number\nförfallodag\n")
    assert folder_classes(Storage(), read_folder(Storage(), anchor.as_uri())) == ("number", "förfallodag")


@pytest.mark.parametrize("line", ["images\\train\\page-0.png", "C:/data/images/train/page-0.png"])
def test_a_path_of_windows_in_a_list_is_called_one(anchor: Path, line: str) -> None:
    (anchor / "train.txt").write_text(f"{line}\n")
    with pytest.raises(StepError, match=r"train\.txt line 1 has .*, which is a path of Windows") as refused:
        built(anchor)
    assert "forward slashes" in refused.value.remedy


@pytest.mark.parametrize("said", [{"path": "C:\\data"}, {"train": "images\\train"}, {"val": ["D:/data/val"]}])
def test_a_path_of_windows_counts_where_places_do(anchor: Path, said: dict[str, Any]) -> None:
    """A pool takes all pages of a folder, and of data.yaml the classes."""
    content = {"train": "images/train", "val": "images/val", "test": "images/test", "names": list(CLASSES)}
    (anchor / "data.yaml").write_text(yaml.safe_dump(content | said))
    with pytest.raises(StepError, match=r"data\.yaml has .*, which is a path of Windows") as refused:
        built(anchor)
    assert "and no path:" in refused.value.remedy
    assert folder_classes(Storage(), read_folder(Storage(), anchor.as_uri())) == tuple(CLASSES)


def test_a_place_below_a_path_that_is_not_there_names_both(anchor: Path) -> None:
    """`path:` is the data set's own name where it lies in ultralytics' folder of data sets."""
    content = {"path": "invoices", "train": "images/train", "val": "images/val", "test": "images/test"}
    (anchor / "data.yaml").write_text(yaml.safe_dump({**content, "names": list(CLASSES)}))
    with pytest.raises(StepError, match=r"train: images/train below path: invoices in data\.yaml names no"):
        built(anchor)


@pytest.mark.parametrize("place", ["@eaDir/page-7000.png/SYNOPHOTO_THUMB_M.jpg", ".@__thumb/s800page-7000.png"])
def test_small_copies_that_network_storage_keeps_beside_pages_are_none(
    world: World, tmp_path: Path, place: str
) -> None:
    folder = write_new_pages(tmp_path / "new", count=2, first=7000)
    copy = folder / "images/train" / place
    copy.parent.mkdir(parents=True)
    cv2.imwrite(str(copy), cv2.resize(page(7000)[0], (32, 32)))
    said = ["--verified-by", "ann", "--verified-at", "2026-11-20", "--source", "r", "--allow-background"]
    places = [str(world.pool), "--from", str(folder), "--anchor", str(world.anchor)]
    before = len(read_pool(Storage(), world.pool.as_uri(), CLASSES).samples)
    assert main(["pool", "add", *places, *said]) == 0
    assert len(read_pool(Storage(), world.pool.as_uri(), CLASSES).samples) == before + 2


PAGES = ("images/a/p1.png", "images/b/p1.png", f"images/{DECOMPOSED}.png", "images/3f2a91bc-p2.png", "images/p2.png")


@pytest.mark.parametrize(
    ("said", "documents"),
    [
        ({"p1": "A"}, ("A", "A", None, None, None)),
        ({"a/p1": "A"}, None),
        ({"images/a/p1": "A", "images/b/p1.png": "B"}, ("A", "B", None, None, None)),
        ({COMPOSED: "A"}, (None, None, "A", None, None)),
        ({"p2": "A"}, (None, None, None, "A", "A")),
        ({"p2": "A", "3f2a91bc-p2": "B"}, (None, None, None, "B", "A")),
    ],
)
def test_a_map_of_documents_means_the_page_that_it_names_best(
    said: Mapping[str, str], documents: tuple[str | None, ...] | None
) -> None:
    if documents is None:
        with pytest.raises(StepError, match="names pages that are not there"):
            said_documents(PAGES, said)
        return
    of = said_documents(PAGES, said)
    assert tuple(of.get(image) for image in PAGES) == documents


@pytest.mark.parametrize(
    "said",
    [
        {"p1": "A", "images/b/p1.png": "B"},
        {"images/b/p1.png": "B", "p1": "A"},
        {COMPOSED: "A", DECOMPOSED: "B"},
    ],
)
def test_a_map_that_says_two_documents_of_one_page_is_refused(said: Mapping[str, str]) -> None:
    """Half of a document would train, and the other half judge."""
    with pytest.raises(StepError, match=r"says two documents of .*'[AB]' and '[AB]'") as refused:
        said_documents(PAGES, said)
    assert refused.value.reason is Reason.DATA_UNREADABLE
    assert said_documents(PAGES, dict.fromkeys(said, "A")), "the same one twice is one"


def add(world: World, folder: Path, documents: Path) -> int:
    said = ["--verified-by", "ann", "--verified-at", "2026-11-20", "--source", "r", "--documents", str(documents)]
    return main(["pool", "add", str(world.pool), "--from", str(folder), "--anchor", str(world.anchor), *said])


@pytest.mark.parametrize(
    ("write", "code"),
    [
        (lambda text: codecs.BOM_UTF8 + text.encode(), 0),
        (lambda text: text.encode("utf-16"), 0),
        (lambda text: text.replace("}", ', "page-7000": "B"}').encode(), 10),
        (lambda text: text.replace("}", ', "page-7000": "A"}').encode(), 0),
    ],
    ids=["mark", "utf-16", "twice, otherwise", "twice"],
)
def test_a_map_is_read_as_other_tools_write_json(
    world: World, tmp_path: Path, write: Callable[[str], bytes], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_new_pages(tmp_path / "new", count=2, first=7000)
    documents = tmp_path / "documents.json"
    documents.write_bytes(write(json.dumps({"page-7000": "A", "page-7001": "A"})))
    assert add(world, folder, documents) == code
    if code:
        assert "it names 'page-7000' twice, with 'A' and 'B'" in capsys.readouterr().err
        return
    assert [s.document for s in read_pool(Storage(), world.pool.as_uri(), CLASSES).samples][-2:] == ["A", "A"]
