"""What labelling tools write back: each task finds its captured page, and what is no label is refused by its task."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from finetune_trainer.cli import main
from finetune_trainer.data.images import inspect_image
from finetune_trainer.data.pool import StoredSample, read_pool
from finetune_trainer.data.pool_batch import Origin
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.labelling.arriving import Arrival, Tool, stage
from finetune_trainer.labelling.from_coco import read_coco
from finetune_trainer.labelling.from_cvat import read_cvat
from finetune_trainer.labelling.from_label_studio import read_label_studio
from finetune_trainer.storage import Storage
from trainer.captured import Production
from trainer.fixtures.labelling.world import SEEDS, capture
from trainer.world import CLASSES, index, page, write_anchor

FIXTURES = Path(__file__).parent / "fixtures" / "labelling"
BOXED = [f"{seed:032x}" for seed in SEEDS]


@pytest.fixture(scope="module")
def anchor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_anchor(tmp_path_factory.mktemp("anchor"), train=8)
    index(folder)
    return folder


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Production:
    """The pages that the fixtures are of; tests only read them."""
    return capture(tmp_path_factory.mktemp("production"))


class Adding:
    """`pool add` and `pool correct` on the command line, into a pool of its own."""

    def __init__(self, root: Path, anchor: Path, captured: Path) -> None:
        self.pool = root / "pool"
        self._anchor = anchor
        self._captured = captured

    def __call__(self, place: Path, tool: Tool, *more: str, captured: bool = True, command: str = "add") -> int:
        known = ["--captured", str(self._captured)] if captured else []
        where = ["--from", str(place), "--format", tool, "--anchor", str(self._anchor), *known]
        return main(["pool", command, str(self.pool), *where, *more])

    def correct(self, place: Path, tool: Tool, *more: str) -> int:
        """Correct what was added."""
        return self(place, tool, "--reason", "report-2", *more, command="correct")

    @property
    def samples(self) -> dict[str, StoredSample]:
        """What the pool has, by prediction, or by source where there is none."""
        stored = read_pool(Storage(), self.pool.as_uri(), CLASSES).samples
        return {s.source.split()[3] if s.source.startswith("production ") else s.source: s for s in stored}


@pytest.fixture
def add(tmp_path: Path, anchor: Path, production: Production) -> Adding:
    return Adding(tmp_path, anchor, production.folder)


SAID = ("--verified-by", "bo@example.com", "--verified-at", "2026-11-25")
EMPTY = ("--allow-background",)


def test_what_label_studio_exports_is_added_with_document_page_source_and_annotator(
    add: Adding, production: Production, capsys: pytest.CaptureFixture[str]
) -> None:
    assert add(FIXTURES / "label-studio.json", "label-studio", "--annotator", "1=ann@example.com", *EMPTY) == 0
    assert "10 pages added" in capsys.readouterr().out
    samples = add.samples
    assert samples.keys() == production.records.keys()
    page_2 = samples[f"{90_002:032x}"]
    assert page_2.document == "invoice-2"
    assert page_2.source == f"production ml/invoice-detector prediction {90_002:032x} page 2"
    first = samples[f"{90_001:032x}"]
    assert first.document == f"file {production.records[f'{90_001:032x}']['page']['sha256']}", "nothing else names it"
    for prediction, sample in samples.items():
        assert sample.pixels == production.records[prediction]["page"]["pixels"]
        assert (sample.verified_by, sample.verified_at) == ("ann@example.com", "2026-11-26")
    [row, *_] = Storage().read(samples[BOXED[0]].label.uri).decode().splitlines()
    box = production.records[BOXED[0]]["fields"][0]["box"]
    left, width = float(row.split()[1]) - float(row.split()[3]) / 2, float(row.split()[3])
    assert left == pytest.approx(float(box[0]) / 128 + 0.007, abs=1e-6), "as the hand moved it"
    assert width == pytest.approx((float(box[2]) - float(box[0])) / 128 + 0.005, abs=1e-6)


@pytest.mark.parametrize(
    ("place", "tool"),
    [
        ("label-studio-coco.json", "coco"),
        ("label-studio-yolo", "yolo"),
        ("datumaro-coco.json", "coco"),
        ("datumaro-cvat.xml", "cvat"),
    ],
)
def test_other_formats_find_their_pages_by_the_files_names(
    add: Adding, production: Production, place: str, tool: Tool
) -> None:
    assert add(FIXTURES / place, tool, *SAID, *EMPTY) == 0
    assert add.samples.keys() == production.records.keys()
    for prediction, sample in add.samples.items():
        record = production.records[prediction]
        assert sample.pixels == record["page"]["pixels"]
        assert (sample.verified_by, sample.verified_at) == ("bo@example.com", "2026-11-25")
        rows = Storage().read(sample.label.uri).decode().splitlines()
        assert [CLASSES[int(row.split()[0])] for row in rows] == [box["field"] for box in record["fields"]]


@pytest.mark.parametrize(
    ("place", "tool", "moved_by_hand", "other"),
    [
        ("datumaro-coco.json", "coco", "label-studio.json", "label-studio"),
        ("datumaro-cvat.xml", "cvat", "label-studio.json", "label-studio"),
        ("datumaro-coco.json", "coco", "label-studio-yolo", "yolo"),
    ],
)
def test_labels_are_corrected_by_what_any_tool_writes(
    add: Adding, production: Production, place: str, tool: Tool, moved_by_hand: str, other: Tool
) -> None:
    assert add(FIXTURES / place, tool, *SAID, *EMPTY) == 0
    before = add.samples
    by_ann = ["--verified-by", "ann@example.com", "--verified-at", "2026-11-26"]
    if other == "label-studio":
        by_ann = ["--annotator", "1=ann@example.com"]
    assert add.correct(FIXTURES / moved_by_hand, other, *by_ann, *EMPTY) == 0
    moved = {p for p, sample in add.samples.items() if sample.label != before[p].label}
    assert moved == {p for p, record in production.records.items() if record["fields"]}
    for prediction, sample in add.samples.items():
        said = ("ann@example.com", "2026-11-26") if prediction in moved else ("bo@example.com", "2026-11-25")
        assert (sample.verified_by, sample.verified_at) == said
        assert (sample.document, sample.source) == (before[prediction].document, before[prediction].source)
    again = ("--verified-by", "cy@example.com", "--verified-at", "2026-11-27", *EMPTY)
    assert add.correct(FIXTURES / place, tool, *again) == 0
    assert {p: s.label for p, s in add.samples.items()} == {p: s.label for p, s in before.items()}
    assert {add.samples[p].verified_by for p in moved} == {"cy@example.com"}


def test_a_correction_refuses_the_tasks_that_an_addition_refuses(
    add: Adding, capsys: pytest.CaptureFixture[str]
) -> None:
    assert add(FIXTURES / "label-studio.json", "label-studio", *SAID, *EMPTY) == 0
    before = add.samples
    assert add.correct(FIXTURES / "label-studio-trouble.json", "label-studio", *SAID) == 10
    assert f"task {trouble()['turned box']['id']}: its box number is turned" in capsys.readouterr().err
    assert add.correct(FIXTURES / "label-studio.json", "label-studio") == 10
    assert "only that its user 1 did it: name who verified it" in capsys.readouterr().err
    assert add.samples == before


@pytest.mark.parametrize("tool", ["coco", "cvat", "yolo"])
def test_a_tool_that_had_no_label_for_a_class_corrects_no_box_of_it_away(
    add: Adding, production: Production, tmp_path: Path, tool: Tool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert add(FIXTURES / "label-studio.json", "label-studio", *SAID, *EMPTY) == 0
    before, of = add.samples, BOXED[0]
    place = tmp_path / "without-date"
    without_date(place, tool, f"{of}.jpg")
    assert add.correct(place, tool, *SAID) == 10
    said = capsys.readouterr().err
    assert "does not have classes of which the pool has boxes: date on 1 pages" in said
    assert add.samples == before


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
        ({"value": {"x": 1, "y": 2, "width": "wide", "height": 3, "rectanglelabels": ["date"]}}, "its width is 'wide'"),
        ({"value": {"x": 1, "y": 2, "width": 3, "height": 3}}, "a rectangle with 0 labels instead of one"),
    ],
)
def test_a_region_of_label_studio_that_is_no_box_of_the_page_is_refused(said: dict[str, Any], message: str) -> None:
    task = trouble()["good"]
    task["annotations"][0]["result"][0] |= said
    [problem] = read_label_studio([task], CLASSES).problems
    assert message in problem.message


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


CVAT_SHAPES = ("polygon", "polyline", "points", "ellipse", "mask", "skeleton", "cuboid")


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
        ({"bbox": [1, 2, 3, None]}, Reason.SHAPE_UNUSABLE, "its bbox is 'None', which is no number"),
        ({"category_id": 9}, Reason.FIELD_UNKNOWN, "None, which is no class"),
        ({"image_id": 9}, Reason.IMAGE_MISSING, "its image 9 is not in the list"),
    ],
)
def test_what_is_no_box_in_coco_is_refused(said: dict[str, Any], reason: Reason, message: str) -> None:
    [problem] = read_coco(coco(said), CLASSES, ()).problems
    assert problem.reason is reason
    assert message in problem.message


def test_a_box_with_its_outline_is_a_box_in_coco() -> None:
    export = read_coco(coco({"segmentation": [[1, 1, 5, 1, 5, 5, 1, 5]], "attributes": {"rotation": 0.0}}), CLASSES, ())
    assert not export.problems
    [returned] = export.pages
    assert [(m.field, m.left, m.right) for m in returned.marks] == [("number", 0.1, 0.5)]


def test_a_yolo_folder_that_was_exported_without_pictures_needs_no_images(
    add: Adding, tmp_path: Path, production: Production
) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / f"{BOXED[0]}.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    (tmp_path / "classes.txt").write_text("date\nnumber\n")
    assert add(tmp_path, "yolo", *SAID) == 0
    [(prediction, sample)] = add.samples.items()
    assert prediction == BOXED[0]
    assert Storage().read(sample.label.uri).decode().startswith("0 0.5"), "by the name of its class"


REWRITTEN: Mapping[str, tuple[str, Callable[[Any], Any], list[int]]] = {
    "as png": (".png", lambda picture: picture, []),
    "as jpeg": (".jpg", lambda picture: picture, [cv2.IMWRITE_JPEG_QUALITY, 60]),
    "twice the size": (".jpg", lambda picture: cv2.resize(picture, (256, 256)), []),
}


@pytest.mark.parametrize("how", REWRITTEN)
@pytest.mark.parametrize("seed", [7001, 7002])
def test_a_picture_that_was_renamed_and_rewritten_finds_its_page(
    add: Adding, tmp_path: Path, production: Production, how: str, seed: int
) -> None:
    suffix, change, options = REWRITTEN[how]
    folder = returned_picture(tmp_path, f"scan 12{suffix}", change(as_captured(production, seed)), options)
    assert add(folder, "yolo", *SAID) == 0
    [(prediction, sample)] = add.samples.items()
    assert (prediction, sample.document) == (f"{seed:032x}", f"doc-{seed}")
    assert sample.pixels == production.records[prediction]["page"]["pixels"], "the page as it was answered"


def test_a_picture_of_half_the_size_finds_its_page(tmp_path: Path, anchor: Path) -> None:
    production = Production(tmp_path / "production")
    large = {seed: cv2.resize(page(seed)[0], (512, 512)) for seed in range(7001, 7007)}
    for seed, picture in large.items():
        captured(production, picture, seed)
    half = cv2.resize(large[7003], (256, 256), interpolation=cv2.INTER_AREA)
    adding = Adding(tmp_path, anchor, production.folder)
    assert adding(returned_picture(tmp_path, "small.jpg", half), "yolo", *SAID) == 0
    assert [*adding.samples] == [f"{7003:032x}"]


def test_a_label_whose_picture_is_lost_is_no_page(
    add: Adding, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = returned_picture(tmp_path, f"{7001:032x}.png", page(7001)[0])
    (folder / "labels" / "lost.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    assert add(folder, "yolo", *SAID) == 10
    assert "labels/lost.txt: a label, and there is no image of its name" in capsys.readouterr().err


def test_a_page_of_a_pdf_that_was_renamed_and_rewritten_finds_its_page(
    add: Adding, tmp_path: Path, production: Production
) -> None:
    drawn = production.pages.page(f"{90_002:032x}")
    assert not isinstance(drawn, str)
    picture = cv2.imdecode(np.frombuffer(drawn.data, np.uint8), cv2.IMREAD_COLOR)
    folder = returned_picture(tmp_path, "renamed.png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 0])
    assert add(folder, "yolo", *SAID) == 0
    [sample] = add.samples.values()
    assert (sample.document, sample.source[-6:]) == ("invoice-2", "page 2")


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: picture[10:, :],
        lambda picture: picture[6:-6, 6:-6],
        lambda picture: cv2.rotate(picture, cv2.ROTATE_180),
        lambda picture: page(7005)[0],
    ],
    ids=["cut off", "cut all round", "turned", "swapped"],
)
def test_a_picture_that_says_which_page_it_is_and_shows_another_is_refused(
    add: Adding,
    tmp_path: Path,
    production: Production,
    change: Callable[[Any], Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = returned_picture(tmp_path, f"{7001:032x}.png", change(as_captured(production, 7001)))
    assert add(folder, "yolo", *SAID) == 10
    said = capsys.readouterr().err
    assert said.count("PageChanged") == 1
    assert "was cropped, turned or swapped" in said


def test_a_picture_that_two_captured_pages_look_like_is_refused(
    tmp_path: Path, anchor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    production = Production(tmp_path / "two")
    drawn = page(7001)[0]
    for number, shade in enumerate((0, 1)):
        captured(production, np.clip(drawn.astype(int) - shade, 0, 255).astype(np.uint8), number + 1)
    folder = returned_picture(tmp_path, "x.jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, 70])
    assert Adding(tmp_path, anchor, production.folder)(folder, "yolo", *SAID) == 10
    assert "it looks like two captured pages" in capsys.readouterr().err


def test_a_page_of_other_origin_needs_a_source_and_its_image(
    add: Adding, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = returned_picture(tmp_path, "other.png", page(8888)[0])
    assert add(folder, "yolo", *SAID) == 10
    assert "images/other.png: it is none of the captured pages" in capsys.readouterr().err
    assert add(folder, "yolo", *SAID, "--source", "report-7") == 0
    assert [*add.samples] == ["report-7"]


def test_a_record_that_cannot_be_read_keeps_no_other_page_from_its_labels(
    tmp_path: Path, anchor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    production = Production(tmp_path / "production")
    kept, spoilt = production.image(8890), production.image(8891)
    record = production.folder / "days" / "2026-11-26" / "pages" / "random" / f"{spoilt}.json"
    record.write_text("{")
    adding = Adding(tmp_path, anchor, production.folder)
    assert adding(returned_picture(tmp_path, "renamed.png", page(8890)[0]), "yolo", *SAID) == 0
    assert [*adding.samples] == [kept]
    assert f"1 captured records cannot be read, no page is theirs: The captured page {record.as_uri()}" in (
        capsys.readouterr().out
    )


def test_a_task_without_record_and_image_is_refused(add: Adding, capsys: pytest.CaptureFixture[str]) -> None:
    assert add(FIXTURES / "label-studio.json", "label-studio", *SAID, captured=False) == 10
    said = capsys.readouterr().err
    assert re.search("task [0-9]+: its page is not known .prediction ", said)
    assert "Name the folder that `production export` wrote with --captured" in said


def test_a_yolo_folder_of_before_still_says_who_verified_it(
    add: Adding, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = returned_picture(tmp_path, "p.png", page(8889)[0])
    assert add(folder, "yolo", captured=False) == 10
    assert "--verified-by, --verified-at, --source is not given" in capsys.readouterr().err


def test_an_exported_folder_stands_in_for_pages_that_have_expired(
    tmp_path: Path, anchor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    production = capture(tmp_path / "production")
    place, out = str(production.folder), tmp_path / "out"
    where = ["--to", str(out), "--format", "label-studio", "--anchor", str(anchor)]
    assert main(["production", "export", place, *where]) == 0
    shutil.rmtree(production.folder / "days")
    labelled = FIXTURES / "label-studio.json"
    assert Adding(tmp_path, anchor, production.folder)(labelled, "label-studio", *SAID, *EMPTY) == 10
    assert "none of file://" in capsys.readouterr().err
    adding = Adding(tmp_path, anchor, out)
    assert adding(labelled, "label-studio", *SAID, *EMPTY) == 0
    assert adding.samples.keys() == production.records.keys()


def test_the_same_page_in_two_tasks_is_named_by_both(
    add: Adding, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [task, *_] = json.loads((FIXTURES / "label-studio.json").read_text())
    (tmp_path / "twice.json").write_text(json.dumps([task, task | {"id": 77}]))
    assert add(tmp_path / "twice.json", "label-studio", *SAID) == 10
    said = capsys.readouterr().err
    assert "images/task-77.jpg: it is the same image as images/task-" in said


def trouble() -> dict[str, dict[str, Any]]:
    tasks = json.loads((FIXTURES / "label-studio-trouble.json").read_text())
    return {task["data"]["case"]: task for task in tasks}


def given(folder: Path, production: Production, tasks: list[dict[str, Any]], *, only_labelled: bool = False) -> Arrival:
    place = folder / "export.json"
    place.write_text(json.dumps(tasks))
    said = Origin(verified_by="bo@example.com", verified_at=date(2026, 11, 25).isoformat())
    return Arrival(place.as_uri(), "label-studio", production.pages, said, only_labelled)


def staged(
    folder: Path, production: Production, tasks: list[dict[str, Any]], *, only_labelled: bool = False
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Remarks, and labels by name."""
    arrival = given(folder, production, tasks, only_labelled=only_labelled)
    made = stage(Storage(), arrival, CLASSES, folder / "staged")
    return made.remarks, {path.name: path.read_text() for path in (made.folder / "labels").iterdir()}


def as_captured(production: Production, seed: int) -> Any:
    kept = production.pages.page(f"{seed:032x}")
    assert not isinstance(kept, str)
    return cv2.imdecode(np.frombuffer(kept.data, np.uint8), cv2.IMREAD_COLOR)


def captured(production: Production, picture: Any, number: int) -> None:
    """Capture a picture, with nothing found on it."""
    data = cv2.imencode(".png", picture)[1].tobytes()
    shown = inspect_image(data)
    assert not isinstance(shown, str)
    size = {"number": 1, "dpi": None, "width": shown.width, "height": shown.height, "pixels": shown.pixels}
    production.keep(data, "image/png", size, {"fields": []}, number)


def returned_picture(root: Path, name: str, picture: Any, options: list[int] | None = None) -> Path:
    """A YOLO folder of one page."""
    folder = root / "returned"
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    cv2.imwrite(str(folder / "images" / name), picture, options or [])
    (folder / "labels" / Path(name).with_suffix(".txt").name).write_text("0 0.5 0.5 0.2 0.2\n")
    (folder / "data.yaml").write_text(json.dumps({"names": list(CLASSES)}))
    return folder


def without_date(place: Path, tool: Tool, name: str) -> None:
    """What a tool writes of one page, that had no label `date`."""
    place.mkdir()
    match tool:
        case "coco":
            images = [{"id": 1, "file_name": name, "width": 128, "height": 128}]
            annotation = {"id": 1, "image_id": 1, "category_id": 2, "bbox": [1, 1, 40, 40]}
            categories = [{"id": 1, "name": "number"}, {"id": 2, "name": "total"}]
            content = {"images": images, "annotations": [annotation], "categories": categories}
            (place / "instances.json").write_text(json.dumps(content))
        case "cvat":
            labels = "".join(f"<label><name>{name}</name></label>" for name in ("number", "total"))
            box = '<box label="total" xtl="1" ytl="1" xbr="41" ybr="41"/>'
            image = f'<image id="0" name="{name}" width="128" height="128">{box}</image>'
            meta = f"<meta><task><labels>{labels}</labels></task></meta>"
            (place / "annotations.xml").write_text(f"<annotations>{meta}{image}</annotations>")
        case _:
            (place / "labels").mkdir()
            (place / "labels" / Path(name).with_suffix(".txt").name).write_text("1 0.2 0.2 0.3 0.3\n")
            (place / "data.yaml").write_text(json.dumps({"names": ["number", "total"]}))


def cvat(inside: str) -> bytes:
    return f'<annotations><image id="0" name="p.png" width="10" height="10">{inside}</image></annotations>'.encode()


def coco(said: dict[str, Any]) -> dict[str, Any]:
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4], "iscrowd": 0, "segmentation": []}
    images = [{"id": 1, "file_name": "../../p.png", "width": 10, "height": 10}]
    return {"images": images, "annotations": [annotation | said], "categories": [{"id": 1, "name": "number"}]}
