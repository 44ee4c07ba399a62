"""An export comes in whole: no picture, box or list of it is passed over, and what is odd about it is said."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import pytest

from finetune_trainer.errors import Reason, StepError
from finetune_trainer.labelling.from_coco import read_coco
from finetune_trainer.labelling.from_cvat import read_cvat
from finetune_trainer.labelling.from_label_studio import read_label_studio
from finetune_trainer.labelling.returned import prediction_in
from trainer.labelling.adding import SAID, Adding, trouble
from trainer.world import CLASSES, page

FROM = (*SAID, "--source", "report-7")


def coco(*names: str, **said: Any) -> dict[str, Any]:
    """One box on each of these pictures; `said` of each box."""
    images = [{"id": n, "file_name": name, "width": 128, "height": 128} for n, name in enumerate(names)]
    box = {"category_id": 1, "bbox": [8, 16, 32, 8], **said}
    boxes = [{"id": n, "image_id": n, **box} for n, _ in enumerate(names)]
    return {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "number"}]}


def cvat(*names: str, box: str = "") -> str:
    box = box or '<box label="number" xtl="8" ytl="16" xbr="40" ybr="24"/>'
    images = (f'<image id="0" name="{name}" width="128" height="128">{box}</image>' for name in names)
    return f"<annotations>{''.join(images)}</annotations>"


def pictures(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(cv2.imencode(".png", page(8800 + number)[0])[1].tobytes())
    return folder


def test_a_picture_that_is_taken_is_not_said_to_be_left_out(
    add: Adding, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pictures(tmp_path / "export", "images\\a.png")
    documents(folder, "coco", "images\\a.png")
    assert add(folder, "coco", *FROM, captured=False) == 0
    assert "left out" not in capsys.readouterr().out


def documents(folder: Path, tool: str, *names: str) -> None:
    place = folder / ("annotations.xml" if tool == "cvat" else "instances.json")
    place.write_text(cvat(*names) if tool == "cvat" else json.dumps(coco(*names)))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (json.dumps(coco("a.png"))[:-1] + ', "annotations": []}', "annotations"),
        (json.dumps(coco("a.png")).replace('"bbox"', '"bbox": [1, 1, 9, 9], "bbox"'), "bbox"),
    ],
)
def test_a_document_that_says_one_thing_twice_is_refused(
    add: Adding, tmp_path: Path, text: str, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two lists that were put into one file by hand JSON takes the last one."""
    (pictures(tmp_path / "coco", "a.png") / "instances.json").write_text(text)
    assert add(tmp_path / "coco", "coco", *FROM, "--allow-background", "1", captured=False) == 10
    assert f"it names {key!r} twice" in capsys.readouterr().err
    assert not add.pool.exists()


@pytest.mark.parametrize("tool", ["coco", "cvat"])
def test_pictures_that_no_task_names_are_told(
    add: Adding, tmp_path: Path, tool: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tools leave out pages without a box, and lists are cut."""
    folder = pictures(tmp_path / "export", "images/a.png", "images/b.png", "more/c.HEIC")
    documents(folder, tool, "a.png")
    assert add(folder, tool, *FROM, captured=False) == 0
    said = capsys.readouterr().out
    assert "left out, no task names it: images/b.png, more/c.HEIC" in said
    assert "a.png" not in said


@pytest.mark.parametrize("tool", ["coco", "cvat"])
@pytest.mark.parametrize(
    ("name", "files", "said"),
    [
        ("a.heic", ("a.heic",), "a.heic is its picture, and of another kind than pages, which are .bmp, .jpeg"),
        ("sub/a.heic", ("images/a.heic",), "images/a.heic is its picture, and of another kind"),
        ("p.png", ("a/p.png", "b/p.png"), "2 pictures may be meant by its name: a/p.png, b/p.png"),
    ],
)
def test_a_picture_that_came_and_cannot_be_taken_is_said_to_have_come(
    add: Adding,
    tmp_path: Path,
    tool: Any,
    name: str,
    files: tuple[str, ...],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = pictures(tmp_path / "export", *files)
    documents(folder, tool, name)
    assert add(folder, tool, *FROM, captured=False) == 10
    error = capsys.readouterr().err
    assert f"FileUnusable: In {folder.as_uri()}: {name}: {said}" in error
    assert "no image came with it" not in error


@pytest.mark.parametrize("tool", ["coco", "cvat"])
def test_what_lies_among_pictures_and_cannot_be_read_is_named(
    add: Adding, tmp_path: Path, tool: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pictures(tmp_path / "export", "räk.png")
    (folder / "räk.png").rename(folder / os.fsdecode(b"r\xe4k.png"))
    documents(folder, tool, "räk.png")
    assert add(folder, tool, *FROM, captured=False) == 10
    assert "r\\xe4k.png: its name is not UTF-8; rename it" in capsys.readouterr().err
    pictures(folder, "a.png")
    documents(folder, tool, "a.png")
    assert add(folder, tool, *FROM, captured=False) == 0, "no task needs it"
    assert "left out, its name is not UTF-8; rename it: r\\xe4k.png" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("outline", "taken"),
    [
        ([8, 16, 40, 16, 40, 24, 8, 24], True),
        ([8, 16, 40, 16, 40, 24, 8, 24, 8, 16], True),
        ([8, 16, 24, 16, 40, 16, 40, 24, 8, 24], True),
        ([8.2, 15.9, 40, 16, 40, 24, 8, 24], True),
        ([80, 60, 112, 60, 112, 68, 80, 68], False),
        ([20, 4, 28, 4, 28, 36, 20, 36], False),
        ([8, 16, 40, 24, 40, 16, 8, 24], False),
        ([8, 16, 40, 24], False),
        ([8, 16, 40, 16, 40], False),
    ],
)
def test_an_outline_is_that_of_its_box_or_no_box(outline: list[float], taken: bool) -> None:
    """One of the same size elsewhere, or turned, was taken for the box."""
    for written in ([outline], outline):
        export = read_coco(coco("a.png", segmentation=written, iscrowd="0"), CLASSES, ())
        assert bool(export.pages) == taken
        assert [problem.reason for problem in export.problems] == ([] if taken else [Reason.SHAPE_UNUSABLE])


@pytest.mark.parametrize("image_id", ["0", 1, None])
def test_a_box_whose_image_is_not_there_names_the_id_as_it_is_written(image_id: Any) -> None:
    """A text is no number: a file that went through a table has the one for the other."""
    [problem] = read_coco(coco("a.png", image_id=image_id), CLASSES, ()).problems
    assert problem.message == f"its image {image_id!r} is not in the list"


@pytest.mark.parametrize("side", ["width", "height"])
def test_a_page_without_its_size_is_said_to_have_none(side: str) -> None:
    document = coco("a.png")
    del document["images"][0][side]
    text = cvat("a.png").replace(f'{side}="128"', "")
    for export in (read_coco(document, CLASSES, ()), read_cvat(text.encode(), CLASSES, ())):
        assert "it has no width or height, so its boxes have no measure" in export.problems[0].message


@pytest.mark.parametrize("shape", ["box", "polygon"])
def test_what_is_outside_of_a_frame_is_not_on_the_page(shape: str) -> None:
    """As older CVAT and Datumaro write boxes of tracks where the thing is not to be seen."""
    gone = f'<{shape} label="number" outside="1" points="1,2;3,4" xtl="1" ytl="2" xbr="5" ybr="6"/>'
    there = '<box label="date" outside="0" xtl="8" ytl="16" xbr="40" ybr="24"/>'
    export = read_cvat(cvat("a.png", box=gone + there).encode(), CLASSES, ())
    assert [mark.field for page in export.pages for mark in page.marks] == ["date"]
    assert not export.problems
    assert export.remarks == ["1 shapes were left out: they are marked as outside of their page"]


@pytest.mark.parametrize("said", [{"annotations": [5, 6]}, {"annotations": [None]}, {"completions": [{"result": []}]}])
def test_tasks_whose_annotations_stand_elsewhere_are_not_taken_for_unlabelled(said: dict[str, Any]) -> None:
    """Of answers of the API, and of before version 1: left out as unfinished, they would be lost."""
    task = {key: value for key, value in trouble()["good"].items() if key != "annotations"} | said
    with pytest.raises(StepError, match="no export of Label Studio in its format JSON"):
        read_label_studio([task], CLASSES)


def test_a_prediction_is_found_behind_what_an_address_escapes() -> None:
    mine = f"{7001:032x}"
    assert prediction_in(f"/data/local-files/?d=week%2f{mine}.png") == mine
    assert prediction_in(f"https://pictures.example/scan%20{mine}.png?version=1") == mine
