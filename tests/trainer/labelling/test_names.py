"""What tools call pictures and pages: paths of other systems, names in any script, names that repeat."""

from __future__ import annotations

import json
import shutil
import time
import unicodedata
from pathlib import Path
from typing import Any

import cv2
import pytest

from finetune_trainer.digests import sha256_of
from finetune_trainer.labelling.arriving import Tool
from finetune_trainer.labelling.from_coco import read_coco
from finetune_trainer.labelling.pictures import Pictures
from trainer.labelling.adding import EMPTY, SAID, Adding
from trainer.world import CLASSES, page

FROM = (*SAID, "--source", "report-7")
COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "räkning") for form in ("NFC", "NFD"))


def coco(*names: str) -> dict[str, Any]:
    """One box on each of these pictures."""
    images = [{"id": n, "file_name": name, "width": 128, "height": 128} for n, name in enumerate(names)]
    boxes = [{"id": n, "image_id": n, "category_id": 1, "bbox": [8, 8 + n, 32, 8]} for n, _ in enumerate(names)]
    return {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "number"}]}


def exported(folder: Path, document: dict[str, Any], *files: str) -> Path:
    """A COCO folder with these pictures."""
    for number, name in enumerate(files):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), page(8800 + number)[0])
    (folder / "instances.json").write_text(json.dumps(document))
    return folder


@pytest.mark.parametrize(
    ("name", "file"),
    [
        (COMPOSED, DECOMPOSED),
        (DECOMPOSED, COMPOSED),
        ("JPEGImages\\p1", "p1"),
        ("..\\sub\\p1", "sub/p1"),
        ("/data/upload/3/p1", "images/p1"),
    ],
)
def test_a_picture_is_found_by_a_name_of_another_system(add: Adding, tmp_path: Path, name: str, file: str) -> None:
    folder = exported(tmp_path / "coco", coco(f"{name}.png"), f"{file}.png")
    assert add(folder, "coco", *FROM, captured=False) == 0
    assert [*add.samples] == ["report-7"]


def test_a_name_that_two_pictures_have_is_neither() -> None:
    pictures = Pictures.of(["a/p.png", "b/p.png", "c/q.png", "notes.txt"])
    assert [pictures.find(name) for name in ("p.png", "a/p.png", "x/a/p.png", "x/q.png", "/", "notes.txt")] == [
        None, "a/p.png", None, "c/q.png", None, None,
    ]  # fmt: skip


def test_pictures_of_a_large_export_are_found_in_no_time() -> None:
    names = [f"page-{number:05}.png" for number in range(20_000)]
    began = time.process_time()
    export = read_coco(coco(*names), CLASSES, [f"images/{name}" for name in names])
    assert [page.image for page in export.pages[:2]] == ["images/page-00000.png", "images/page-00001.png"]
    assert time.process_time() - began < 20, "seconds; each name was once held against each picture"


@pytest.mark.parametrize(
    ("said", "documents"),
    [
        ({"a/page": "A", "b/page.png": "B"}, {"a/page.png": "A", "b/page.png": "B"}),
        ({"page-2": "C"}, {"page-2.png": "C"}),
        ({"page": "A"}, {"a/page.png": "A", "b/page.png": "A"}),
        ({COMPOSED: "D"}, {f"{DECOMPOSED}.png": "D"}),
        ({"Счёт № 7": "E"}, {"Счёт № 7.png": "E"}),
    ],
)
def test_a_map_of_documents_names_pages_as_the_tool_does(
    add: Adding, tmp_path: Path, said: dict[str, str], documents: dict[str, str]
) -> None:
    """Pages are staged under other names, which nobody knows: the second page of one name would be `page-2`."""
    names = ("a/page.png", "b/page.png", "page-2.png", f"{DECOMPOSED}.png", "Счёт № 7.png")
    folder = exported(tmp_path / "coco", coco(*names), *names)
    (tmp_path / "map.json").write_text(json.dumps(said))
    assert add(folder, "coco", *FROM, "--documents", str(tmp_path / "map.json"), captured=False) == 0
    [batch] = (add.pool / "batches").iterdir()
    by_digest = {sha256_of((folder / name).read_bytes()): name for name in names}
    of = {by_digest[s["image"]["sha256"]]: s["document"] for s in json.loads(batch.read_text())["samples"]}
    assert {name: document for name, document in of.items() if len(document) == 1} == documents


def test_a_map_that_names_no_page_of_the_tool_is_refused_with_a_name_of_the_tools(
    add: Adding, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = exported(tmp_path / "coco", coco("a/Счёт 7.png"), "a/Счёт 7.png")
    (tmp_path / "map.json").write_text('{"page-1": "A"}')
    assert add(folder, "coco", *FROM, "--documents", str(tmp_path / "map.json"), captured=False) == 10
    assert "for example 'Счёт 7'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["Счёт № 7", "請求書", "فاتورة", "x" * 200, "漢" * 80])
def test_a_page_without_a_box_is_refused_as_the_tool_calls_it(
    add: Adding, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the label that is staged of it nobody would know it."""
    document = coco("other.png", f"{name}.png")
    document["annotations"].pop()
    folder = exported(tmp_path / "coco", document, "other.png", f"{name}.png")
    assert add(folder, "coco", *FROM, captured=False) == 10
    assert f"LabelMissing: In {folder.as_uri()}: {name}.png: it has no box." in capsys.readouterr().err
    assert add(folder, "coco", *FROM, *EMPTY, captured=False) == 0


@pytest.mark.parametrize("name", ["Счёт № 7", "x" * 200])
def test_a_box_that_no_label_can_have_is_refused_by_its_task_and_field(
    add: Adding, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the staged label it would be a line of a file that is gone when the message is read."""
    document = coco("other.png", f"{name}.png")
    document["annotations"][1]["bbox"] = [80, 8, 60, 8]
    folder = exported(tmp_path / "coco", document, "other.png", f"{name}.png")
    assert add(folder, "coco", *FROM, captured=False) == 10
    said = capsys.readouterr().err
    assert f"In {folder.as_uri()}: {name}.png: its box number, 62.5% to 109.4% of the page across" in said
    assert "reaches out of the page" in said


def test_what_a_system_left_behind_is_no_export_of_a_tool(add: Adding, tmp_path: Path) -> None:
    """An archive that was packed on macOS has a second file of each name in it."""
    folder = exported(tmp_path / "coco", coco("a.png"), "a.png")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX/._instances.json").write_bytes(b"\0\5\26\7")
    shutil.copytree(folder / "__MACOSX", folder / "annotations")
    assert add(folder, "coco", *FROM, captured=False) == 0


@pytest.mark.parametrize(
    ("name", "tool", "said"),
    [
        ("task.zip", "cvat", "remedy: Unpack it first, for example: unzip task.zip"),
        ("export.zip", "coco", "remedy: Unpack it first, for example: unzip export.zip"),
        ("project.csv", "label-studio", "remedy: Name the .json file that the tool exported"),
        ("annotations.xml", "coco", "annotations.xml is a file, and no .json"),
    ],
)
def test_a_file_that_is_no_export_is_said_to_be_there(
    add: Adding, tmp_path: Path, name: str, tool: Tool, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(b"PK\3\4")
    assert add(tmp_path / name, tool, *FROM, captured=False) == 10
    message = capsys.readouterr().err
    assert said in message
    assert "does not exist" not in message


def test_who_names_the_file_is_told_where_its_pictures_are_looked_for(
    add: Adding, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = exported(tmp_path / "coco", coco("a.png"), "a.png")
    assert add(folder / "instances.json", "coco", *FROM, captured=False) == 10
    assert "no image came with it; name the folder around the file for those beside it" in capsys.readouterr().err
    assert add(folder, "coco", *FROM, captured=False) == 0
