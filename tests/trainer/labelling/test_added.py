"""What labelling tools write back comes into the pool: each page finds its record, or is refused by name."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from finetune_trainer.cli import main
from finetune_trainer.labelling.arriving import Tool
from finetune_trainer.storage import Storage
from trainer.captured import Production, vanishing
from trainer.fixtures.labelling.world import capture
from trainer.labelling.adding import BOXED, EMPTY, FIXTURES, SAID, Adding, returned_picture, trouble
from trainer.world import CLASSES, page


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


def test_a_page_of_other_origin_needs_a_source_and_its_image(
    add: Adding, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = returned_picture(tmp_path, "other.png", page(8888)[0])
    assert add(folder, "yolo", *SAID) == 10
    assert "images/other.png: it is none of the captured pages" in capsys.readouterr().err
    assert add(folder, "yolo", *SAID, "--source", "report-7") == 0
    assert [*add.samples] == ["report-7"]


def test_a_yolo_folder_as_cvat_writes_it_has_its_classes_in_obj_names(add: Adding, tmp_path: Path) -> None:
    folder = returned_picture(tmp_path, "p.png", page(8887)[0])
    (folder / "data.yaml").unlink()
    for place in ("images/p.png", "labels/p.txt"):
        target = folder / "obj_train_data" / Path(place).name
        target.parent.mkdir(exist_ok=True)
        (folder / place).rename(target)
    (folder / "obj.names").write_text("date\nnumber\n")
    (folder / "obj.data").write_text("classes = 2\nnames = data/obj.names\n")
    (folder / "train.txt").write_text("data/obj_train_data/p.png\n")
    assert add(folder, "yolo", *SAID, "--source", "report-7", "--map-classes", captured=False) == 0
    [sample] = add.samples.values()
    assert Storage().read(sample.label.uri).decode().startswith("1 0.5"), "by the name of its class"


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
    assert "its JSON brings none: pages that were not captured come as COCO or YOLO, with their images" in said


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


def test_what_macos_leaves_beside_records_is_none_that_cannot_be_read(
    tmp_path: Path, anchor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An exported folder that was packed there, and unpacked here."""
    production, out = Production(tmp_path / "production"), tmp_path / "out"
    kept = production.image(8893)
    where = ["--to", str(out), "--format", "yolo", "--anchor", str(anchor)]
    assert main(["production", "export", str(production.folder), *where]) == 0
    (out / "records" / f"._{kept}.json").write_bytes(b"\0\5\26\7")
    adding = Adding(tmp_path, anchor, out)
    assert adding(returned_picture(tmp_path, "renamed.png", page(8893)[0]), "yolo", *SAID) == 0
    assert [*adding.samples] == [kept]
    assert "cannot be read" not in capsys.readouterr().out


def test_a_record_that_expires_while_labels_are_added_is_as_one_that_has_expired(
    tmp_path: Path, anchor: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    production = Production(tmp_path / "production")
    gone = production.image(8892)
    vanishing(monkeypatch, production.folder / "days/2026-11-26/pages/random" / f"{gone}.json")
    adding = Adding(tmp_path, anchor, production.folder)
    assert adding(returned_picture(tmp_path, f"{gone}.png", page(8892)[0]), "yolo", *SAID) == 10
    assert "it is none of the captured pages" in capsys.readouterr().err


def test_the_same_page_in_two_tasks_is_named_by_both(
    add: Adding, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [task, *_] = json.loads((FIXTURES / "label-studio.json").read_text())
    (tmp_path / "twice.json").write_text(json.dumps([task, task | {"id": 77}]))
    assert add(tmp_path / "twice.json", "label-studio", *SAID) == 10
    said = capsys.readouterr().err
    assert "images/task-77.jpg: it is the same image as images/task-" in said


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
