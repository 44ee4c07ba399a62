"""Exports that were put together, cut or written by other hands: no label moves to another page, and none is lost."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import pytest

from finetune_trainer.errors import Reason, StepError
from finetune_trainer.labelling.from_coco import read_coco
from finetune_trainer.labelling.from_cvat import read_cvat
from finetune_trainer.labelling.from_label_studio import read_label_studio
from finetune_trainer.labelling.returned import prediction_in
from trainer.captured import Production
from trainer.labelling.adding import SAID, Adding, trouble
from trainer.world import CLASSES, page

FROM = (*SAID, "--source", "report-7")


def coco(*names: str, size: tuple[int, int] = (128, 128)) -> dict[str, Any]:
    """One box on each of these pictures, further down on each."""
    images = [{"id": n, "file_name": name, "width": size[0], "height": size[1]} for n, name in enumerate(names)]
    boxes = [{"id": n, "image_id": n, "category_id": 1, "bbox": [8, 8 + 8 * n, 32, 8]} for n, _ in enumerate(names)]
    return {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "number"}]}


def exported(folder: Path, document: dict[str, Any], first: int = 8800) -> Path:
    """A COCO folder with the pictures that it names."""
    for number, image in enumerate(document["images"]):
        picture = folder / image["file_name"]
        picture.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(picture), page(first + number)[0])
    (folder / "instances.json").write_text(json.dumps(document))
    return folder


@pytest.mark.parametrize(
    ("kind", "key", "said"),
    [("images", "file_name", "'a.png' and 'b.png'"), ("categories", "name", "'number' and 'date'")],
)
def test_a_coco_document_in_which_one_id_stands_for_two_is_refused(kind: str, key: str, said: str) -> None:
    """Else each of two pages has the boxes of both, or a class the boxes of another one."""
    first, second = said.replace("'", "").split(" and ")
    document = coco("a.png", "c.png")
    document[kind] = [{**document[kind][0], "id": 1, key: name} for name in (first, second)]
    with pytest.raises(StepError, match=f"Two {kind} .* have the id 1, {said}") as refused:
        read_coco(document, CLASSES, ())
    assert refused.value.reason is Reason.DATA_UNREADABLE
    assert "a file of its own" in refused.value.remedy


def test_a_class_that_is_listed_twice_under_one_id_is_one() -> None:
    document = coco("a.png")
    document["categories"] *= 2
    assert not read_coco(document, CLASSES, ()).problems


def test_pages_of_several_folders_keep_their_labels_though_their_names_repeat_and_have_numbers(
    add: Adding, tmp_path: Path
) -> None:
    """`page`, counted as the third, would be called `page-3`, which there is."""
    names = ("a/page-3.png", "a/page.png", "b/page.png", "c/page.png")
    folder = exported(tmp_path / "coco", coco(*names))
    assert add(folder, "coco", *FROM, captured=False) == 0
    pool = [*add.pool.glob("files/*/*.txt")]
    assert len(pool) == len(names)
    [batch] = (add.pool / "batches").iterdir()
    assert len(json.loads(batch.read_text())["samples"]) == len(names)


@pytest.mark.parametrize(("size", "taken"), [((128, 128), True), ((256, 256), True), ((128, 181), False)])
def test_a_picture_that_came_with_its_label_has_the_form_that_it_was_labelled_in(
    add: Adding, tmp_path: Path, size: tuple[int, int], taken: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Boxes are shares of the page: on one that was cut or turned since they stand elsewhere."""
    folder = exported(tmp_path / "coco", coco("a.png", size=size))
    assert add(folder, "coco", *FROM, captured=False) == (0 if taken else 10)
    if not taken:
        said = capsys.readouterr().err
        assert "128 x 181 pixels, and the picture that came with it has 128 x 128" in said
        assert not add.pool.exists()


def test_what_roboflow_writes_behind_a_name_is_no_prediction() -> None:
    mine, other = f"{7001:032x}", "0a" * 16
    assert prediction_in(f"{mine}_jpg.rf.{other}.jpg") == mine
    assert prediction_in(f"page_png.rf.{other}.jpg") is None
    assert prediction_in(f"{mine}-{other}.jpg") is None, "of two nobody knows which one"


def test_labels_of_a_captured_page_come_back_from_roboflow_without_pictures(
    add: Adding, tmp_path: Path, production: Production
) -> None:
    prediction = f"{7001:032x}"
    assert prediction in production.records
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / f"{prediction}_jpg.rf.{'0a' * 16}.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    (tmp_path / "data.yaml").write_text(json.dumps({"names": list(CLASSES)}))
    assert add(tmp_path, "yolo", *SAID) == 0
    assert [*add.samples] == [prediction]


ODD: list[Any] = [None, True, 0, -1, 1.5, "", "x", [], [1], [[]], [None], {}, {"a": 1}, 10**400]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: str(odd)[:12])
@pytest.mark.parametrize("kind", ["images", "annotations", "categories"])
def test_whatever_stands_in_a_coco_document_ends_in_words(kind: str, odd: Any) -> None:
    keys = {*coco("a.png")[kind][0], "segmentation", "iscrowd", "keypoints", "attributes"}
    for key in keys:
        document = coco("a.png", "b.png")
        document[kind] = [{**entry, key: odd} for entry in document[kind]]
        said(lambda document=document: read_coco(document, CLASSES, ("a.png",)))


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: str(odd)[:12])
def test_whatever_stands_in_a_task_of_label_studio_ends_in_words(odd: Any) -> None:
    for place in _places(trouble()["good"]):
        task = trouble()["good"]
        *above, last = place
        inside = task
        for step in above:
            inside = inside[step]
        inside[last] = odd
        said(lambda task=task: read_label_studio([task], CLASSES))


@pytest.mark.parametrize("result", [{"a": 1}, "text", 5, ["text"], [None]])
def test_an_annotation_whose_result_is_none_is_no_empty_page(result: Any) -> None:
    task = trouble()["good"]
    task["annotations"][0]["result"] = result
    export = read_label_studio([task], CLASSES)
    assert not export.pages
    assert "its result is no list of regions" in export.problems[0].message


@pytest.mark.parametrize("encoding", ["gb2312", "utf-99", "utf-16", "latin-1"])
def test_an_encoding_that_cannot_be_read_makes_it_no_export_of_cvat(encoding: str) -> None:
    text = f"<?xml version='1.0' encoding='{encoding}'?><annotations><image id='0' name='a.png'/></annotations>"
    said(lambda: read_cvat(text.encode(), CLASSES, ()))


def said(read: Any) -> None:
    """Read; what is wrong is a problem, or a StepError."""
    with suppress(StepError):
        read()


def _places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, below in inside for place in ((*above, key), *_places(below, (*above, key)))]
