"""Outlines of COCO, addresses for names, and what lies beside a document that has all that is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetune_trainer.labelling.from_coco import read_coco
from finetune_trainer.labelling.pictures import Pictures
from trainer.labelling.adding import BOXED, SAID, Adding
from trainer.labelling.test_whole import FROM, coco, documents, pictures
from trainer.world import CLASSES

A_LINE = [100, 100, 1000, 20]


def outline(left: float, top: float, right: float, bottom: float) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


@pytest.mark.parametrize(
    ("box", "points", "taken"),
    [
        (A_LINE, outline(100, 100, 1100, 120), True),
        (A_LINE, outline(95, 100, 1110, 120), True),
        (A_LINE, outline(100, 120, 1100, 140), False),
        (A_LINE, outline(100, 104, 1100, 124), False),
        ([100, 100, 20, 1000], outline(115, 100, 135, 1100), False),
        ([10.4, 5.4, 40.2, 3.2], outline(10, 5, 51, 9), True),
        ([10.4, 5.4, 40.2, 3.2], outline(10, 8, 51, 12), False),
        ([10.4, 5.4, 40.2, 3.2], [10, 5, 51, 5, 30, 9, 30, 9], False),
    ],
)
def test_an_outline_stands_where_its_box_does_each_way(box: list[float], points: list[float], taken: bool) -> None:
    """That of the next line was taken for a long box; whole pixels of a low one were no box."""
    document: Any = coco("a.png", bbox=box, segmentation=[points])
    document["images"][0] |= {"width": 2000, "height": 2000}
    export = read_coco(document, CLASSES, ())
    assert bool(export.pages) == taken


def test_a_name_may_be_an_address() -> None:
    there = Pictures.of(["images/a b.png", "c%20d.png", "c d.png", "e.png"])
    names = ("https://s/x/a%20b.png?sig=1%2F2", "c%20d.png", "c d.png", "e.png?v=1", "gone%20.png", "?", "%")
    assert [there.find(name) for name in names] == ["images/a b.png", "c%20d.png", "c d.png", "e.png", None, None, None]


def test_a_name_is_one_in_whatever_letters() -> None:
    there = Pictures.of(["IMG_1.JPG", "a/P.png", "b/p.PNG", "q.png"])
    assert [there.find(name) for name in ("img_1.jpg", "p.png", "x/Q.PNG", "b/p.PNG")] == [
        "IMG_1.JPG", None, "q.png", "b/p.PNG",
    ]  # fmt: skip
    assert there.trouble("p.png") == "2 pictures may be meant by its name: a/P.png, b/p.PNG"


def test_a_picture_of_another_split_is_not_the_one_that_is_named() -> None:
    """Pages are numbered in each: the labels of train/0001 came upon val/0001."""
    there = Pictures.of(["images/val2017/0001.png", "test/0002.png", "images/0003.png"])
    valid = "images/val2017/0001.png"
    for name in ("Valid/0001.png", "validation/0001.png", "/data/upload/3/0001.png", "C:\\test set\\0001.png"):
        assert there.find(name) == valid
    assert [there.find(name) for name in ("train/0001.png", "training/0002.png", "train/0003.png")] == [
        None, None, "images/0003.png",
    ]  # fmt: skip
    assert there.trouble("train/0001.png") == "no picture is called so; images/val2017/0001.png is called alike"


@pytest.mark.parametrize("name", ["p", "p.jpg"])
def test_a_picture_that_came_under_another_suffix_is_said(
    add: Adding, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pictures(tmp_path / "export", "images/p.png")
    documents(folder, "coco", name)
    assert add(folder, "coco", *FROM, captured=False) == 10
    said = capsys.readouterr().err
    assert f"FileUnusable: In {folder.as_uri()}: {name}: no picture is called so; images/p.png is called alike" in said


def test_two_tasks_that_find_one_picture_are_said(
    add: Adding, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the names of their staged copies nobody would know them."""
    folder = pictures(tmp_path / "export", "p.png")
    documents(folder, "coco", "train/p.png", "val/p.png")
    assert add(folder, "coco", *FROM, captured=False) == 10
    assert "val/p.png: p.png is found by its name, and by that of train/p.png" in capsys.readouterr().err


@pytest.mark.parametrize("tool", ["coco", "cvat"])
def test_what_cannot_be_read_beside_a_document_is_told_where_no_picture_is_missing(
    add: Adding, tmp_path: Path, tool: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pages that were captured need no picture of an archive that was made on Windows."""
    folder = tmp_path / "export"
    folder.mkdir()
    documents(folder, tool, f"{BOXED[0]}.png")
    [document] = folder.iterdir()
    document.rename(folder / f"annotations\\{document.name}")
    pictures(folder, "images\\other.png")
    assert add(folder, tool, *SAID) == 0
    said = capsys.readouterr().out
    assert "left out, a name with backslashes: its archive was made on Windows: images\\other.png" in said
    assert "annotations\\" not in said
    documents(folder, tool, "other-than-that.png")
    (folder / f"annotations\\{document.name}").unlink()
    assert add(folder, tool, *FROM) == 10
    assert "images\\other.png: a name with backslashes" in capsys.readouterr().err


def test_a_document_of_a_folder_is_found_by_its_name_alone(add: Adding, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "export", "images/a b.png")
    (folder / "instances.json").write_text(json.dumps(coco("https://pictures.example/a%20b.png")))
    assert add(folder, "coco", *FROM, captured=False) == 0
