"""Adding to a pool from what a tool wrote, and the tasks that the tests give."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import cv2

from finetune_trainer.cli import main
from finetune_trainer.data.pool import StoredSample, read_pool
from finetune_trainer.data.pool_batch import Origin
from finetune_trainer.labelling.arriving import Arrival, Tool, stage
from finetune_trainer.storage import Storage
from trainer.captured import Production
from trainer.fixtures.labelling.world import SEEDS
from trainer.world import CLASSES

FIXTURES = Path(__file__).parents[1] / "fixtures" / "labelling"
BOXED = [f"{seed:032x}" for seed in SEEDS]
SAID = ("--verified-by", "bo@example.com", "--verified-at", "2026-11-25")
EMPTY = ("--allow-background",)


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


def returned_picture(root: Path, name: str, picture: Any, options: list[int] | None = None) -> Path:
    """A YOLO folder of one page."""
    folder = root / "returned"
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    cv2.imwrite(str(folder / "images" / name), picture, options or [])
    (folder / "labels" / Path(name).with_suffix(".txt").name).write_text("0 0.5 0.5 0.2 0.2\n")
    (folder / "data.yaml").write_text(json.dumps({"names": list(CLASSES)}))
    return folder
