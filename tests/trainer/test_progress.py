"""What a command says while a person waits for it."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest

from finetune_trainer.cli import main
from finetune_trainer.data.anchor import build_index
from finetune_trainer.progress import PageLines
from finetune_trainer.storage import Storage
from trainer.world import World, write_new_pages


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
    index = build_index(
        Storage(),
        world.anchor.as_uri(),
        allow_background=False,
        counted=lambda count, total: counts.append((count, total)),
    )
    total = len(index.splits.train) + len(index.splits.val) + len(index.splits.test)
    assert counts == [(count, total) for count in range(1, total + 1)]


def test_the_commands_say_how_far_they_are_on_standard_error(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["anchor", "index", str(world.anchor)]) == 0
    printed = capsys.readouterr()
    assert printed.err.splitlines() == ["anchor index: listing files", "anchor index: 96 of 96 pages"]
    assert printed.out.count("\n") == 1
    folder = write_new_pages(tmp_path / "folder", count=4, first=7000)
    options = ["--verified-by", "ann", "--verified-at", "2026-11-20", "--source", "r"]
    assert main(["pool", "add", str(world.pool), "--from", str(folder), "--anchor", str(world.anchor), *options]) == 0
    printed = capsys.readouterr()
    assert printed.err.splitlines() == ["pool add: listing files", "pool add: 4 of 4 pages"]
    assert printed.out.endswith("4 pages added\n")
