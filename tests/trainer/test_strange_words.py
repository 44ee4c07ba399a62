"""What the command line is given and where it runs: other encodings, endless names, full and read-only places."""

from __future__ import annotations

import errno
import io
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_trainer.cli import main
from finetune_trainer.data.data_yaml import parse_data_yaml
from finetune_trainer.errors import ErrorClass, Reason, StepError
from finetune_trainer.labelling import arriving
from finetune_trainer.storage import Storage
from trainer.world import CLASSES, World, write_new_pages

LATIN_1 = "J\udce9r\udcf4me"
"""What Python has of J\u00e9r\u00f4me where a terminal writes Latin-1, and the system says UTF-8."""

SAID = {"--verified-by": "ann@example.com", "--verified-at": "2026-11-20", "--source": "report-1"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_new_pages(tmp_path / "folder", count=2, first=7000)


def add(world: World, folder: str | Path, *more: str, **said: str) -> int:
    options = [text for pair in (SAID | {f"--{key}": value for key, value in said.items()}).items() for text in pair]
    place = ["--from", str(folder), "--anchor", str(world.anchor)]
    return main(["pool", "add", str(world.pool), *place, *options, *more])


def files(world: World) -> int:
    return sum(path.is_file() for path in world.pool.rglob("*"))


@pytest.mark.parametrize("option", ["--verified-by", "--source", "--annotator"])
def test_a_text_of_another_encoding_is_refused_before_anything_is_copied(
    world: World, folder: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(world)
    with pytest.raises(SystemExit) as caught:
        add(world, folder, option, f"1={LATIN_1}" if option == "--annotator" else LATIN_1)
    assert caught.value.code == 2
    assert f"argument {option}: 'J\\udce9r\\udcf4me' is not UTF-8" in capsys.readouterr().err
    assert files(world) == before


@pytest.mark.parametrize("command", ["correct", "withdraw"])
def test_so_is_a_reason(world: World, folder: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--from", str(folder), "--anchor", str(world.anchor)] if command == "correct" else ["--withdrawn-by", "cy"]
    with pytest.raises(SystemExit):
        main(["pool", command, str(world.pool), *more, "--reason", LATIN_1])
    assert "argument --reason: " in capsys.readouterr().err


def test_a_map_of_documents_with_half_a_character_is_refused(
    world: World, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a program writes it that cuts texts by its own count of characters."""
    (tmp_path / "map.json").write_text('{"page-7000": "INV \\ud83d"}')
    before = files(world)
    assert add(world, folder, "--documents", str(tmp_path / "map.json")) == 10
    assert "map.json is no map of texts" in capsys.readouterr().err
    assert files(world) == before


@pytest.mark.parametrize(
    ("place", "said"),
    [(f"/data/{LATIN_1}", "is not UTF-8"), ("/" + "x" * 300, "a name in it is too long"), ("/x" * 2500, "is too long")],
)
@pytest.mark.parametrize("tool", ["yolo", "coco", "cvat", "label-studio"])
def test_a_place_that_no_system_has_is_refused(
    world: World, place: str, tool: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert add(world, place, "--format", tool) == 10
    error = capsys.readouterr().err
    assert error.count("error: DataUnreadable: ") == 1
    assert said in error


@pytest.mark.parametrize(
    ("number", "error_class", "said"),
    [
        (errno.EROFS, ErrorClass.BAD_INPUT, "Give access: "),
        (errno.ENOSPC, ErrorClass.UNAVAILABLE, "Make room there"),
        (errno.EDQUOT, ErrorClass.UNAVAILABLE, "Make room there"),
        (errno.EIO, ErrorClass.UNAVAILABLE, "Check that the storage is up"),
    ],
)
def test_a_place_that_takes_nothing_says_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error_class: ErrorClass, said: str
) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuses)
    with pytest.raises(StepError) as caught:
        Storage().write_once((tmp_path / "file").as_uri(), b"x")
    assert caught.value.error_class is error_class
    assert said in caught.value.remedy


def test_a_disk_that_is_full_of_what_is_staged_is_said(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/page.png")

    folder = write_new_pages(tmp_path / "export", count=1, first=7000)
    images = [{"id": 1, "file_name": "page-7000.png", "width": 128, "height": 128}]
    boxes = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 40, 40]}]
    document = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": CLASSES[0]}]}
    (folder / "instances.json").write_text(json.dumps(document))
    monkeypatch.setattr(arriving, "_write", full)
    assert add(world, folder, "--format", "coco") == 13
    error = capsys.readouterr().err
    assert "No space left on device: '/tmp/page.png'" in error
    assert "remedy: Let TMPDIR name a folder" in error


def test_a_terminal_that_cannot_show_a_name_is_given_it_otherwise(
    world: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pages were added when this is printed."""
    (folder / "請求書.json").write_text("x")
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert add(world, folder) == 0
    out.seek(0)
    assert "left out, neither page nor label: \\u8acb\\u6c42\\u66f8.json" in out.read()


def grown(key: str, *, merged: bool = False) -> bytes:
    """A data.yaml of a dozen lines, whose last one stands for 9 to the power of 12 values."""
    lines = ["a: &a {x: 1}" if merged else "a: &a [x, x, x]"]
    for before, name in zip("abcdefghijk", "bcdefghijkl", strict=True):
        nine = f"[{', '.join([f'*{before}'] * 9)}]"
        lines.append(f"{name}: &{name} {{<<: {nine}}}" if merged else f"{name}: &{name} {nine}")
    names = [] if key == "names" else ["names: [number, date, total]"]
    return "\n".join([*names, *lines, f"{key}: *l", ""]).encode()


@pytest.mark.parametrize("key", ["names", "nc", "train", "path"])
@pytest.mark.parametrize("merged", [False, True])
def test_a_data_yaml_that_stands_for_more_than_memory_holds_is_refused_in_few_words(key: str, merged: bool) -> None:
    began = time.process_time()
    with pytest.raises(StepError) as caught:
        parse_data_yaml(grown(key, merged=merged), "data.yaml")
    assert caught.value.reason is Reason.DATA_UNREADABLE
    assert len(caught.value.message) + len(caught.value.remedy) < 1000
    assert time.process_time() - began < 5


def test_a_data_yaml_with_a_merge_is_read() -> None:
    text = {"names": [*CLASSES], "train": "images"}
    assert parse_data_yaml((yaml.safe_dump(text) + "a: &a {x: 1}\nb: {<<: *a, y: 2}\n").encode(), "x").names == CLASSES
