"""Captured pages for labelling tools: which come first, what is written, and what is not to be had."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from finetune_trainer.cli import main
from finetune_trainer.data.images import inspect_image
from finetune_trainer.data.labels import parse_label
from finetune_trainer.errors import StepError
from finetune_trainer.labelling.choosing import Chosen, Wanted, choose, read_reports
from finetune_trainer.labelling.exporting import Target, export_pages
from finetune_trainer.labelling.to_label_studio import labelling_interface
from finetune_trainer.storage import Storage, join
from trainer.captured import DOCUMENTS, Production, vanishing
from trainer.fixtures.labelling.world import capture
from trainer.world import CLASSES, SIDE, add_to_pool, index, write_anchor, write_pages

PIXELS = json.loads((DOCUMENTS.parent / "pixels.json").read_text())


@pytest.fixture
def production(tmp_path: Path) -> Production:
    return Production(tmp_path / "production")


@pytest.fixture(scope="module")
def anchor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_anchor(tmp_path_factory.mktemp("anchor"), train=8)
    index(folder)
    return folder


def chosen(production: Production, wanted: Wanted | None = None, known: set[str] | None = None) -> list[Chosen]:
    pages = production.pages
    return choose(pages.records(), read_reports(Storage(), pages.uri, None), wanted or Wanted(), known or set())


def order(production: Production, wanted: Wanted | None = None) -> list[str]:
    return [page.record.prediction for page in chosen(production, wanted)]


def found(*fields: tuple[str, str, int]) -> dict[str, Any]:
    """Boxes of an answer: field, confidence, left edge."""
    return {"fields": [{"field": f, "confidence": c, "box": [str(x), "0", str(x + 9), "9"]} for f, c, x in fields]}


def test_reported_pages_come_first_then_uncertain_ones(production: Production) -> None:
    random = production.image(1)
    uncertain = production.image(2, stratum="Uncertain", missing=["total"])
    kept_for_a_report = production.image(3, stratum="Reported")
    reported = production.image(4)
    production.report(prediction=reported, fields=["date"], missing=["total"], comment="the net sum")
    assert order(production) == [kept_for_a_report, reported, uncertain, random]
    assert chosen(production)[1].reported == 'wrong: date, missing: total, "the net sum"'


@pytest.mark.parametrize("how", ["prediction", "record", "page", "document"])
def test_a_report_is_of_what_it_names(production: Production, how: str) -> None:
    production.image(1)
    about = production.image(2, document="invoice-7")
    page = production.records[about]["page"]
    names: dict[str, Any] = {"page": {"sha256": page["sha256"], "number": 1}, "document": "invoice-7"}
    production.report(**{how: names.get(how, about)}, fields=["total"])
    assert order(production)[0] == about
    assert [bool(page.reports) for page in chosen(production)] == [True, False]


def test_layouts_take_turns_and_the_least_sure_page_of_each_comes_first(production: Production) -> None:
    one = [production.image(n, **found(("total", f"0.{90 - n}", 5))) for n in (1, 2, 3)]
    other = production.image(9, **found(("total", "0.95", 100)))
    assert order(production) == [one[2], other, one[1], one[0]]
    assert order(production, Wanted(limit=2)) == [one[2], other]


def test_pages_are_chosen_by_stratum_and_field(production: Production) -> None:
    has = production.image(1, **found(("total", "0.9", 5)))
    lacks = production.image(2, stratum="Uncertain", missing=["total"], **found(("date", "0.9", 5)))
    other = production.image(3, **found(("date", "0.9", 5)))
    reported = production.image(4, **found(("date", "0.9", 5)))
    production.report(prediction=reported, missing=["total"])
    assert order(production, Wanted(field="total")) == [reported, lacks, has]
    assert order(production, Wanted(strata=["Uncertain"])) == [lacks]
    assert other in order(production, Wanted(strata=["Random"]))


def test_what_somebody_reported_is_listed_as_reported_whatever_it_was_kept_for(
    production: Production, capsys: pytest.CaptureFixture[str]
) -> None:
    """A page that was kept before its report came is kept once, and stays where it is."""
    drawn, other = production.image(1), production.image(2)
    uncertain = production.image(3, stratum="Uncertain", missing=["total"])
    sent = production.image(4, stratum="Reported")
    for about in (drawn, uncertain):
        production.report(prediction=about, fields=["date"])
    assert set(order(production, Wanted(strata=["Reported"]))) == {drawn, uncertain, sent}
    assert order(production, Wanted(strata=["Random"])) == [drawn, other], "it was drawn all the same"
    assert set(order(production, Wanted(strata=["Uncertain", "Random"]))) == {uncertain, drawn, other}
    assert main(["production", "list", str(production.folder), "--stratum", "reported", "--limit", "9"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert {line[:32] for line in lines} == {drawn, uncertain, sent}


def test_a_page_that_came_twice_or_is_in_the_pool_is_not_labelled_again(production: Production) -> None:
    first = production.image(1)
    second = production.image(2)
    again = production.records[first]["page"]
    production.keep(
        (production.folder / "days/2026-11-26/files" / again["sha256"]).read_bytes(),
        "image/png",
        {key: again[key] for key in ("number", "dpi", "width", "height", "pixels")},
        {"fields": []},
        77,
    )
    assert order(production) == [f"{77:032x}", second] or order(production) == [first, second]
    assert len(chosen(production, known={production.records[second]["page"]["pixels"]})) == 1


def test_pages_that_lie_on_their_side_are_seen_in_the_list(
    production: Production, capsys: pytest.CaptureFixture[str]
) -> None:
    production.keep(
        b"turned",
        "image/png",
        {"number": 1, "dpi": None, "width": 1754, "height": 1240, "pixels": "a" * 64},
        {"fields": []},
        1,
    )
    assert main(["production", "list", str(production.folder)]) == 0
    assert "Random page 1, 1754x1240: nothing" in capsys.readouterr().out


def test_what_clients_sent_commands_no_terminal_and_passes_for_no_other_page(
    production: Production, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = production.image(1, document="invoice\x1b[2J-7\r\n")
    forged = f"wrong\n{2:032x} 2026-11-26T10:00 Random page 1"
    production.report(prediction=kept, comment=f"{forged}\x1b]0;\x07 \u202e räkning")
    assert main(["production", "list", str(production.folder)]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head == "1 of 1 captured pages"
    assert line.startswith(kept)
    assert line.isprintable()
    assert line.endswith(' räkning"')


def test_the_command_leaves_out_other_days_and_what_the_pool_has(
    production: Production, anchor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = production.image(1, at="2026-11-20T10:00:00.000Z")
    known, new = production.image(5001), production.image(5002)
    write_pages(tmp_path / "verified", "train", range(5001, 5002))
    (tmp_path / "verified" / "data.yaml").write_text(json.dumps({"names": list(CLASSES)}))
    add_to_pool(tmp_path / "pool", tmp_path / "verified", anchor)
    place = str(production.folder)
    assert main(["production", "list", place, "--since", "2026-11-21", "--pool", str(tmp_path / "pool")]) == 0
    said = capsys.readouterr().out
    assert re.findall(r"^[0-9a-f]{32}", said, re.MULTILINE) == [new]
    assert main(["production", "list", place, "--until", "2026-11-21"]) == 0
    assert (
        f"1 of 1 captured pages\n{old} 2026-11-20T10:00 Random page 1, 128x128: number 0.90" in capsys.readouterr().out
    )
    assert known not in said


def test_before_anything_was_added_the_pool_has_none_of_the_pages(
    production: Production, anchor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = production.image(1)
    choice = [str(production.folder), "--pool", str(tmp_path / "pool")]
    assert main(["production", "list", *choice]) == 0
    listed = capsys.readouterr().out
    assert kept in listed
    assert "no batch of a pool lies below file://" in listed, "most often it is the first export, else the URI is wrong"
    to = ["--to", str(tmp_path / "out"), "--format", "yolo", "--anchor", str(anchor)]
    assert main(["production", "export", *choice, *to]) == 0
    said = capsys.readouterr().out
    assert "1 pages written" in said
    assert f"no batch of a pool lies below {(tmp_path / 'pool').as_uri()}: nothing was left out for it" in said


def test_a_record_or_report_that_cannot_be_read_is_left_out_named_and_seen_in_the_exit_code(
    production: Production, anchor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, spoilt = production.image(1), production.image(2)
    day = production.folder / "days" / "2026-11-26"
    record, report = day / "pages" / "random" / f"{spoilt}.json", day / "reports" / "broken.json"
    record.write_text('{"schema": "finetune-operator.io/production-page/v1", "prediction"')
    report.parent.mkdir()
    report.write_bytes(b"\xff")
    place = str(production.folder)
    assert main(["production", "list", place]) == 10
    said = capsys.readouterr()
    assert re.findall(r"^[0-9a-f]{32}", said.out, re.MULTILINE) == [good]
    assert "error: ContractViolated: 2 files of" in said.err
    assert all(path.as_uri() in said.err for path in (record, report))
    assert "remedy: Everything else was done." in said.err
    tool = ["--format", "yolo", "--anchor", str(anchor)]
    assert main(["production", "export", place, "--to", str(tmp_path / "out"), *tool]) == 10
    assert capsys.readouterr().out.startswith("1 pages written")
    assert [path.stem for path in (tmp_path / "out" / "labels").iterdir()] == [good]
    (day / "pages" / "random" / f"{good}.json").unlink()
    assert main(["production", "export", place, "--to", str(tmp_path / "none"), *tool]) == 10
    said = capsys.readouterr()
    assert said.out == "no page is left to write\n"
    assert record.as_uri() in said.err


def test_a_place_above_says_where_the_pages_are(production: Production, capsys: pytest.CaptureFixture[str]) -> None:
    production.image(1)
    assert main(["production", "list", str(production.folder.parents[1])]) == 10
    assert "there are some in ml/invoice-detector" in capsys.readouterr().err


@pytest.mark.parametrize("number", [1, 2])
def test_a_page_of_a_pdf_is_drawn_as_the_server_drew_it(production: Production, number: int) -> None:
    kept = production.pdf(number)
    page = production.pages.page(kept)
    assert not isinstance(page, str)
    assert (page.suffix, page.picture.pixels) == (".png", PIXELS["document"]["pages"][str(number)])


@pytest.mark.parametrize("name", sorted(PIXELS["pages"]))
def test_a_page_of_any_kind_has_the_pixels_that_the_server_answered(production: Production, name: str) -> None:
    data = (DOCUMENTS.parent / "pages" / name).read_bytes()
    decoded = inspect_image(data)
    assert not isinstance(decoded, str)
    size = {"number": 1, "dpi": None, "width": decoded.width, "height": decoded.height}
    kind = {".png": "image/png", ".jpg": "image/jpeg", ".tiff": "image/tiff"}[Path(name).suffix]
    kept = production.keep(data, kind, {**size, "pixels": PIXELS["pages"][name]}, {"fields": []}, 1)
    page = production.pages.page(kept)
    assert not isinstance(page, str)
    assert page.picture.pixels == PIXELS["pages"][name]
    plain = cv2.imdecode(np.frombuffer(page.data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert plain is not None
    assert plain.shape[:2] == (decoded.height, decoded.width), "upright in every viewer"


def test_the_second_page_of_a_tiff_is_a_picture_of_its_own(production: Production) -> None:
    pages = [np.full((40, 30, 3), shade, np.uint8) for shade in (10, 200)]
    data = cv2.imencodemulti(".tiff", pages)[1].tobytes()
    shown = inspect_image(cv2.imencode(".png", pages[1])[1].tobytes())
    assert not isinstance(shown, str)
    size = {"number": 2, "dpi": None, "width": 30, "height": 40, "pixels": shown.pixels}
    kept = production.keep(data, "image/tiff", size, {"fields": []}, 1)
    page = production.pages.page(kept)
    assert not isinstance(page, str)
    assert (page.suffix, page.picture.pixels) == (".png", shown.pixels)


def test_a_page_that_comes_to_other_pixels_or_is_gone_is_left_out_and_named(
    production: Production, tmp_path: Path
) -> None:
    good, other, gone, spoilt = (production.image(n) for n in (1, 2, 3, 4))
    record = production.records[other]
    record["page"]["pixels"] = "0" * 64
    day = production.folder / "days" / "2026-11-26"
    (day / "pages" / "random" / f"{other}.json").write_text(json.dumps(record))
    (day / "files" / production.records[gone]["page"]["sha256"]).unlink()
    (day / "files" / production.records[spoilt]["page"]["sha256"]).write_bytes(b"other")
    target = Target((tmp_path / "out").as_uri(), "coco")
    [first, second] = export_pages(production.pages, chosen(production), target, CLASSES)
    assert first.startswith("1 pages written")
    assert second.startswith("3 pages are not to be had")
    assert f"{other} (it comes to other pixels here than where the server decoded it" in second
    assert f"{gone} (its bytes have expired, or were erased)" in second
    assert f"{spoilt} (its bytes are not those that were captured)" in second
    assert [path.stem for path in (tmp_path / "out" / "images").iterdir()] == [good]


def test_bytes_that_expire_while_a_page_is_written_are_named_as_gone(
    production: Production, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = production.image(1)
    vanishing(monkeypatch, production.folder / "days/2026-11-26/files" / production.records[kept]["page"]["sha256"])
    assert production.pages.page(kept) == "its bytes have expired, or were erased"


@pytest.mark.parametrize("kind", ["pages/random", "reports"])
def test_a_record_or_report_that_goes_while_others_are_read_is_none(
    production: Production, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    first, second = production.image(1), production.image(2)
    production.report(prediction=first, fields=["total"])
    [gone, *_] = sorted((production.folder / "days" / "2026-11-26" / kind).iterdir())
    vanishing(monkeypatch, gone)
    there = [second] if kind == "pages/random" else [first, second]
    assert sorted(order(production)) == there
    assert not any(page.reports for page in chosen(production))


def test_what_label_studio_gets(production: Production, tmp_path: Path) -> None:
    kept = production.image(1, ".jpg", missing=["date"], stratum="Uncertain")
    box = found(("total", "0.5", SIDE - 5), ("gone", "0.4", 3))["fields"]
    wide = production.image(2, fields=box)
    lines = export_pages(
        production.pages, chosen(production), Target((tmp_path / "out").as_uri(), "label-studio"), CLASSES
    )
    assert lines[1:] == ["boxes of fields that the anchor has not were left out: gone"]
    first, second = json.loads((tmp_path / "out" / "tasks.json").read_text())
    assert first["data"] == {
        "image": f"/data/local-files/?d=out/images/{kept}.jpg",
        "prediction": kept,
        "about": "Uncertain (not found: date)",
        "page": 1,
        "stratum": "Uncertain",
    }
    assert first["predictions"][0]["model_version"] == "invoice-fields ft_v1.1"
    assert len(first["predictions"][0]["result"]) == 3
    [region] = second["predictions"][0]["result"]
    assert second["data"]["prediction"] == wide
    assert region["value"]["x"] + region["value"]["width"] == pytest.approx(100), "within the page"
    assert (tmp_path / "out" / "label-config.xml").read_text() == labelling_interface(CLASSES)


def test_yolo_and_coco_have_the_models_boxes(production: Production, tmp_path: Path) -> None:
    kept = production.image(1)
    for tool in ("yolo", "coco"):
        export_pages(production.pages, chosen(production), Target((tmp_path / tool).as_uri(), tool), CLASSES)
    boxes = parse_label((tmp_path / "yolo" / "labels" / f"{kept}.txt").read_bytes(), len(CLASSES))
    assert isinstance(boxes, tuple)
    content = json.loads((tmp_path / "coco" / "annotations" / "instances_default.json").read_text())
    for box, annotation in zip(boxes, content["annotations"], strict=True):
        assert annotation["category_id"] == box.field + 1
        corner = (box.x - box.width / 2) * SIDE, (box.y - box.height / 2) * SIDE
        assert annotation["bbox"] == pytest.approx([*corner, box.width * SIDE, box.height * SIDE], abs=1e-3)


def test_nothing_is_written_over(production: Production, tmp_path: Path) -> None:
    production.image(1)
    (tmp_path / "notes.txt").write_text("somebody's")
    with pytest.raises(StepError, match="Something lies at"):
        export_pages(production.pages, chosen(production), Target(tmp_path.as_uri(), "yolo"), CLASSES)


def test_no_page_at_all_is_said(production: Production, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="No page is to be had that was asked for"):
        export_pages(production.pages, [], Target((tmp_path / "out").as_uri(), "yolo"), CLASSES)


def test_it_is_all_the_same_in_a_bucket(
    s3: str, tmp_path: Path, anchor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    production = capture(tmp_path / "production")
    storage, bucket = Storage(), join(s3, tmp_path.name)
    for path in production.folder.rglob("*"):
        if path.is_file():
            storage.write_once(join(bucket, "from", *path.relative_to(production.folder).parts), path.read_bytes())
    to, tool = join(bucket, "to"), ("--format", "label-studio", "--anchor", str(anchor))
    assert main(["production", "export", join(bucket, "from"), "--to", to, *tool]) == 0
    tasks = json.loads(storage.read(join(to, "tasks.json")))
    assert tasks[0]["data"]["image"] == join(to, "images", f"{7003:032x}.jpg")
    labelled = Path(__file__).parent / "fixtures" / "labelling" / "label-studio.json"
    given = ["--from", str(labelled), "--captured", to, "--anchor", str(anchor), "--annotator", "1=ann@example.com"]
    pool = join(bucket, "pool")
    assert main(["pool", "add", pool, *given, "--format", "label-studio", "--allow-background"]) == 0
    assert "10 pages added" in capsys.readouterr().out
