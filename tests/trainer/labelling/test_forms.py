"""What is no label of a box is refused by its task, whichever tool wrote it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetune_trainer.errors import Reason, StepError
from finetune_trainer.labelling.arriving import stage
from finetune_trainer.labelling.from_coco import read_coco
from finetune_trainer.labelling.from_cvat import read_cvat
from finetune_trainer.labelling.from_label_studio import read_label_studio
from finetune_trainer.storage import Storage
from trainer.captured import Production
from trainer.fixtures.labelling.world import SEEDS
from trainer.labelling.adding import BOXED, EMPTY, FIXTURES, SAID, Adding, given, staged, trouble
from trainer.world import CLASSES

CVAT_SHAPES = ("polygon", "polyline", "points", "ellipse", "mask", "skeleton", "cuboid", "circle")


@pytest.mark.parametrize(
    ("case", "reason", "message"),
    [
        ("turned box", Reason.SHAPE_UNUSABLE, "its box number is turned by 12.5 degrees"),
        ("turned page", Reason.SHAPE_UNUSABLE, "the page is turned by 90 degrees"),
        ("polygon", Reason.SHAPE_UNUSABLE, "a polygon where"),
        ("ellipse", Reason.SHAPE_UNUSABLE, "an ellipse where"),
        ("keypoint", Reason.SHAPE_UNUSABLE, "a keypoint where"),
        ("brush", Reason.SHAPE_UNUSABLE, "a brush stroke where"),
        ("unknown label", Reason.FIELD_UNKNOWN, "'stamp', which is no class; they are number, date, total"),
        ("two labels", Reason.SHAPE_UNUSABLE, "a rectangle with 2 labels"),
        ("skipped", Reason.TASK_UNFINISHED, "user 1 skipped it"),
        ("several", Reason.ANNOTATIONS_SEVERAL, r"2 annotations \(by user 1, user 1\)"),
        ("draft", Reason.TASK_UNFINISHED, "a draft that nobody submitted"),
        ("cropped", Reason.PAGE_CHANGED, "128 x 100 pixels, and the page that was captured has 128 x 128"),
    ],
)
def test_what_is_no_label_is_refused_by_its_task(
    tmp_path: Path, production: Production, case: str, reason: Reason, message: str
) -> None:
    task = trouble()[case]
    with pytest.raises(StepError, match=f"task {task['id']}: .*{message}") as refused:
        staged(tmp_path, production, [task])
    assert refused.value.reason is reason
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"item_index": 1}, "boxes on several pictures: a task is one page"),
        ({"type": "videolabels"}, "a region of the kind videolabels where"),
        ({"type": "videorectangle"}, "a rectangle in a video where"),
        ({"value": {"x": 1, "y": 2, "width": "wide", "height": 3, "rectanglelabels": ["date"]}}, "its width is 'wide'"),
        ({"value": {"x": 1, "y": 2, "width": 3, "height": 3}}, "a rectangle with 0 labels instead of one"),
    ],
)
def test_a_region_of_label_studio_that_is_no_box_of_the_page_is_refused(said: dict[str, Any], message: str) -> None:
    task = trouble()["good"]
    task["annotations"][0]["result"][0] |= said
    [problem] = read_label_studio([task], CLASSES).problems
    assert message in problem.message


def test_boxes_of_one_task_that_are_on_two_pictures_are_refused() -> None:
    """An interface with two pictures shows them side by side; a task has one label."""
    task = trouble()["good"]
    [region] = task["annotations"][0]["result"]
    task["annotations"][0]["result"].append(region | {"id": "2", "to_name": "other"})
    [problem] = read_label_studio([task], CLASSES).problems
    assert "it has boxes on several pictures: a task is one page" in problem.message


@pytest.mark.parametrize("case", ["good", "one of several is true", "choices beside", "empty"])
def test_what_label_studio_has_beside_boxes_does_not_refuse_a_task(
    tmp_path: Path, production: Production, case: str
) -> None:
    remarks, labels = staged(tmp_path, production, [trouble()[case]])
    [label] = labels.values()
    assert (
        label
        == {
            "good": "0 0.25000000 0.26000000 0.30000000 0.12000000\n",
            "one of several is true": "0 0.30000000 0.26000000 0.30000000 0.12000000\n",
            "choices beside": "0 0.25000000 0.26000000 0.30000000 0.12000000\n",
            "empty": "",
        }[case]
    )
    assert remarks == (("1 answers of the kind choices were left out: they are no boxes",) if "beside" in case else ())


def test_all_tasks_in_trouble_are_refused_together_and_nothing_is_added(
    add: Adding, capsys: pytest.CaptureFixture[str]
) -> None:
    assert add(FIXTURES / "label-studio-trouble.json", "label-studio", *SAID) == 10
    said = capsys.readouterr().err
    assert f"task {trouble()['turned box']['id']}: its box number is turned by 12.5 degrees" in said
    assert "other problems besides" in said
    assert "remedy: Draw upright rectangles" in said
    assert not add.pool.exists()


def test_unfinished_tasks_can_be_left_out(tmp_path: Path, production: Production) -> None:
    tasks = [trouble()[case] for case in ("good", "skipped", "draft")]
    remarks, labels = staged(tmp_path, production, tasks, only_labelled=True)
    assert (len(labels), remarks) == (1, ("2 tasks were left out: nobody has finished them",))


@pytest.mark.parametrize("image", ["/data/upload/3/1f2e3d4c-{}.png", "s3://bucket/pages/{}.jpg"])
def test_a_task_that_was_made_of_a_picture_is_found_by_its_name(
    tmp_path: Path, production: Production, image: str
) -> None:
    """Whoever uploads the exported pictures instead of the tasks has no more than these."""
    task = trouble()["good"] | {"data": {"image": image.format(BOXED[3])}}
    arrival = given(tmp_path, production, [task])
    [origin] = stage(Storage(), arrival, CLASSES, tmp_path / "s").origins.values()
    assert origin.document == f"doc-{SEEDS[3]}"


@pytest.mark.parametrize("cases", [(), ("skipped", "draft")])
def test_an_export_without_a_labelled_page_says_so(
    tmp_path: Path, production: Production, cases: tuple[str, ...]
) -> None:
    tasks = [trouble()[case] for case in cases]
    with pytest.raises(StepError, match=rf"has no labelled page \({len(cases)} unfinished tasks\)"):
        staged(tmp_path, production, tasks, only_labelled=True)


def test_a_prediction_of_a_model_is_no_label(tmp_path: Path, production: Production) -> None:
    [task, *_] = json.loads((FIXTURES / "label-studio.json").read_text())
    assert task["predictions"]
    with pytest.raises(StepError, match=r"nobody has labelled it \(boxes of a model are no labels\)"):
        staged(tmp_path, production, [task | {"annotations": []}])


@pytest.mark.parametrize("name", ["label-studio-min.json", "label-studio-coco.json"])
def test_another_of_label_studios_formats_is_refused_with_the_one_to_use(add: Adding, name: str) -> None:
    with pytest.raises(StepError, match="no export of Label Studio in its format JSON") as refused:
        read_label_studio(json.loads((FIXTURES / name).read_text()), CLASSES)
    assert "Export the project as JSON" in refused.value.remedy


def test_a_number_of_a_user_is_nobody(add: Adding, capsys: pytest.CaptureFixture[str]) -> None:
    assert add(FIXTURES / "label-studio.json", "label-studio", *EMPTY) == 10
    assert "only that its user 1 did it: name who verified it (--annotator NUMBER=NAME" in capsys.readouterr().err
    assert add(FIXTURES / "label-studio.json", "label-studio", *EMPTY, *SAID) == 0
    assert {sample.verified_by for sample in add.samples.values()} == {"bo@example.com"}


def test_an_annotator_with_an_address_is_the_verifier(tmp_path: Path, production: Production) -> None:
    task = trouble()["good"]
    task["annotations"][0]["completed_by"] = {"id": 4, "email": "cy@example.com"}
    arrival = given(tmp_path, production, [task])
    assert [o.verified_by for o in stage(Storage(), arrival, CLASSES, tmp_path / "s").origins.values()] == [
        "cy@example.com"
    ]


def test_the_assignee_of_a_cvat_task_is_the_verifier() -> None:
    meta = "<meta><task><updated>2026-11-24 10:00:00+00:00</updated><assignee><username>dee</username>"
    text = f'<annotations>{meta}<email>dee@example.com</email></assignee></task></meta><image id="0" name="a.png" '
    export = read_cvat((text + 'width="10" height="10"/></annotations>').encode(), CLASSES, ())
    assert [(page.verified_by, page.verified_at) for page in export.pages] == [("dee@example.com", "2026-11-24")]


@pytest.mark.parametrize("shape", CVAT_SHAPES)
def test_cvats_other_shapes_are_refused(shape: str) -> None:
    export = read_cvat(cvat(f'<{shape} label="number" points="1,2;3,4"/>'), CLASSES, ())
    [problem] = export.problems
    assert (problem.reason, problem.place) == (Reason.SHAPE_UNUSABLE, "p.png")
    assert f"a {shape} 'number' where a box is meant" in problem.message


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ('label="number" rotation="30"', "its box number is turned by 30 degrees"),
        ('label="stamp"', "'stamp', which is no class"),
        ('label="number" xtl="left"', "its xtl is 'left', which is no number"),
    ],
)
def test_a_box_of_cvat_that_cannot_be_taken_is_refused(attributes: str, message: str) -> None:
    corners = {"xtl": "1", "ytl": "2", "xbr": "5", "ybr": "6"}
    missing = " ".join(f'{key}="{value}"' for key, value in corners.items() if f"{key}=" not in attributes)
    [problem] = read_cvat(cvat(f"<box {attributes} {missing}/>"), CLASSES, ()).problems
    assert message in problem.message


def test_a_turn_that_is_a_rounding_error_is_none() -> None:
    box = '<box label="number" rotation="359.999" xtl="1" ytl="2" xbr="5" ybr="6"/><tag label="blurred"/>'
    export = read_cvat(cvat(box), CLASSES, ())
    assert not export.problems
    assert export.remarks == ["tags of 1 pages were left out: they are no boxes"]


@pytest.mark.parametrize("text", ["{}", "<annotations><track/></annotations>", "<VOC/>", "<annotations>"])
def test_another_document_than_cvats_is_refused(text: str) -> None:
    with pytest.raises(StepError, match="no export of CVAT for images"):
        read_cvat(text.encode(), CLASSES, ())


@pytest.mark.parametrize(
    ("said", "reason", "message"),
    [
        ({"segmentation": [[1, 1, 9, 1, 5, 9]]}, Reason.SHAPE_UNUSABLE, "its number is a polygon"),
        ({"segmentation": [[3, 1, 5, 3, 3, 5, 1, 3]]}, Reason.SHAPE_UNUSABLE, "its number is a polygon"),
        ({"segmentation": {"counts": [1], "size": [1, 1]}}, Reason.SHAPE_UNUSABLE, "its number is a mask"),
        ({"keypoints": [1, 2, 2]}, Reason.SHAPE_UNUSABLE, "its number has keypoints"),
        ({"attributes": {"rotation": 7}}, Reason.SHAPE_UNUSABLE, "its box number is turned by 7 degrees"),
        ({"bbox": [1, 2, 3]}, Reason.SHAPE_UNUSABLE, "its number has no bbox of four numbers"),
        (
            {"bbox": [0.1, 0.1, 0.4, 0.05]},
            Reason.SHAPE_UNUSABLE,
            "its number has 0.4 x 0.05 pixels: a bbox is in pixels",
        ),
        ({"bbox": [1, 2, 3, None]}, Reason.SHAPE_UNUSABLE, "its bbox is 'None', which is no number"),
        ({"category_id": 9}, Reason.FIELD_UNKNOWN, "a box of the category 9, which is not in the list"),
        ({"category_id": "1"}, Reason.FIELD_UNKNOWN, "a box of the category '1', which is not in the list"),
        ({"image_id": 9}, Reason.IMAGE_MISSING, "its image 9 is not in the list"),
    ],
)
def test_what_is_no_box_in_coco_is_refused(said: dict[str, Any], reason: Reason, message: str) -> None:
    [problem] = read_coco(coco(said), CLASSES, ()).problems
    assert problem.reason is reason
    assert message in problem.message


@pytest.mark.parametrize("outline", [[[1, 1, 5, 1, 5, 5, 1, 5]], [[]], [], None])
def test_a_box_with_its_outline_is_a_box_in_coco(outline: Any) -> None:
    export = read_coco(coco({"segmentation": outline, "attributes": {"rotation": 0.0}}), CLASSES, ())
    assert not export.problems
    [returned] = export.pages
    assert [(m.field, m.left, m.right) for m in returned.marks] == [("number", 0.1, 0.5)]


def cvat(inside: str) -> bytes:
    return f'<annotations><image id="0" name="p.png" width="10" height="10">{inside}</image></annotations>'.encode()


def coco(said: dict[str, Any]) -> dict[str, Any]:
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4], "iscrowd": 0, "segmentation": []}
    images = [{"id": 1, "file_name": "../../p.png", "width": 10, "height": 10}]
    return {"images": images, "annotations": [annotation | said], "categories": [{"id": 1, "name": "number"}]}
