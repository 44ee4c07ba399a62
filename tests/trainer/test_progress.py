"""What a command says while a person waits for it, and a step while a run does."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from finetune_trainer.cli import main
from finetune_trainer.data.anchor import build_index
from finetune_trainer.data.plan import Known, make_plan
from finetune_trainer.digests import sha256_of
from finetune_trainer.documents.inputs import PrepareInputs
from finetune_trainer.progress import LONGEST_ACTIVITY, FileLines, PageLines, Progress
from finetune_trainer.steps.prepare import prepare
from finetune_trainer.storage import Storage
from trainer.world import NONCE, World, context, write_new_pages


def test_a_line_comes_at_once_every_few_seconds_and_at_the_end() -> None:
    now, stream = 0.0, StringIO()
    lines = PageLines("anchor index", stream, lambda: now)
    assert stream.getvalue() == "anchor index: listing files\n"
    for count in range(1, 31):
        now += 0.7
        lines(count, 30)
    assert stream.getvalue().splitlines()[1:] == [f"anchor index: {n} of 30 pages" for n in (8, 16, 24, 30)]


def test_pages_are_counted_over_all_splits(world: World) -> None:
    counts: list[tuple[int, int]] = []
    storage, counted = Storage(), lambda count, total: counts.append((count, total))
    index = build_index(storage, world.anchor.as_uri(), counted=counted).index
    splits = index.splits
    total = len(splits.train) + len(splits.val) + len(splits.test)
    assert counts == [(count, total) for count in range(1, total + 1)]


def test_the_commands_say_how_far_they_are_on_standard_error(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finetune_trainer.progress.BETWEEN_LINES", 600)  # than which no command takes longer here
    assert main(["anchor", "index", str(world.anchor)]) == 0
    printed = capsys.readouterr()
    assert printed.err.splitlines() == ["anchor index: listing files", "anchor index: 96 of 96 pages"]
    assert "64 train, 8 val, 24 test pages" in printed.out.splitlines()[0]
    folder = write_new_pages(tmp_path / "folder", count=4, first=7000)
    options = ["--verified-by", "ann", "--verified-at", "2026-11-20", "--source", "r"]
    assert main(["pool", "add", str(world.pool), "--from", str(folder), "--anchor", str(world.anchor), *options]) == 0
    printed = capsys.readouterr()
    assert printed.err.splitlines() == ["pool add: listing files", "pool add: 4 of 4 pages"]
    assert printed.out.endswith("4 pages added\n")


class Ticks:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def said(stream: StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_step_counts_at_a_bounded_rate_and_moves_its_percentage() -> None:
    stream, ticks = StringIO(), Ticks()
    progress = Progress("evaluate", stream, ticks=ticks)
    progress.report(percent=15, activity="measuring candidate")
    counted = progress.counting("measuring candidate", "pages", percent=(15, 40))
    for count in range(1, 201):
        ticks.now += 0.125
        counted(count, 200)
    lines = said(stream)
    assert [line["activity"] for line in lines[1:]] == [
        f"measuring candidate: {count} of 200 pages" for count in (40, 80, 120, 160, 200)
    ]
    assert [line["percent"] for line in lines] == [15, 20, 25, 30, 35, 40]
    assert all("epoch" not in line for line in lines)


def test_fetching_tells_files_and_bytes_of_all_of_them_before_the_first_epoch() -> None:
    stream, ticks = StringIO(), Ticks()
    progress = Progress("train", stream, ticks=ticks)
    placed = FileLines(progress, "fetching data", [2_000_000] * 1200, epochs=10)
    for _ in range(400):
        ticks.now += 0.03125
        placed(2_000_000)
    lines = said(stream)
    assert [line["activity"] for line in lines] == [
        "fetching data: 1 of 1200 files, 2.0 of 2400 MB",
        "fetching data: 161 of 1200 files, 322 of 2400 MB",
        "fetching data: 321 of 1200 files, 642 of 2400 MB",
    ]
    assert {(line["epoch"], line["epochs"], line["percent"]) for line in lines} == {(0, 10, 0)}


def test_a_download_of_unknown_size_shows_movement(tmp_path: Path) -> None:
    stream, ticks = StringIO(), Ticks()
    source = tmp_path / "base.pt"
    source.write_bytes(b"x" * 9_000_000)
    progress = Progress("train", stream, ticks=ticks)

    def fetched(count: int) -> None:
        ticks.now += 6
        progress.fetching("the base", percent=0, epochs=2)(count)

    digest = sha256_of(source.read_bytes())
    Storage().fetch(source.as_uri(), tmp_path / "there.pt", sha256=digest, fetched=fetched)
    assert [line["activity"] for line in said(stream)] == [
        "fetching the base: 4.2 MB",
        "fetching the base: 8.4 MB",
        "fetching the base: 9.0 MB",
    ]


def test_an_activity_fits_its_contract() -> None:
    stream = StringIO()
    Progress("train", stream).report(percent=0, activity="x" * 1000)
    assert len(said(stream)[0]["activity"]) == LONGEST_ACTIVITY


def test_preparing_counts_the_pages_of_the_pool(world: World, base: dict[str, Any], tmp_path: Path) -> None:
    document = world.parsed(base, mixing__ratio="1")
    stream, ticks = StringIO(), Ticks()
    made = replace(
        context("prepare", document, tmp_path / "prepare"), progress=Progress("prepare", stream, ticks=ticks)
    )
    ticks.now = 100
    prepare(made, document, PrepareInputs(1, NONCE))
    assert [line["activity"] for line in said(stream)] == [
        "checking the base",
        "checking pool and anchor",
        "plan written",
    ]
    counts: list[tuple[int, int]] = []
    known = Known()
    make_plan(Storage(), document, known, lambda count, total: counts.append((count, total)))
    assert counts == [(count, len(counts)) for count in range(1, len(counts) + 1)]
