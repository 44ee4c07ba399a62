"""Which captured pages wait to be labelled, and for the sake of which field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetune_trainer.data.pool import Pool, read_pool
from finetune_trainer.labelling import waiting as module
from finetune_trainer.labelling.waiting import Waiting, count_waiting
from finetune_trainer.production.layout import production_of
from finetune_trainer.storage import Storage
from trainer.captured import Production, vanishing
from trainer.policy import Policy
from trainer.world import CLASSES, World

STORAGE = Storage()
FIRST, SECOND, THIRD = CLASSES


@pytest.fixture
def pages(tmp_path: Path) -> Production:
    return Production(tmp_path / "production")


def counted(pages: Production, pool: Pool | None = None) -> Waiting:
    root = pages.folder.parent.parent.as_uri()
    production = production_of(STORAGE, root, "ml", "invoice-detector")
    return count_waiting(STORAGE, production, pool or Pool("", (), {}), CLASSES)


def box(field: str, confidence: str) -> dict[str, Any]:
    return {"field": field, "confidence": confidence, "box": ["0.0", "0.0", "9.0", "9.0"]}


def test_nothing_waits_where_nothing_was_captured(pages: Production) -> None:
    assert counted(pages) == Waiting(0, (0, 0, 0))


def test_a_page_waits_for_the_fields_that_it_lacks(pages: Production) -> None:
    pages.image(1, stratum="Uncertain", missing=[FIRST, THIRD])
    pages.image(2, stratum="Uncertain", missing=[THIRD])
    assert counted(pages) == Waiting(2, (1, 0, 2))


def test_an_uncertain_page_that_lacks_nothing_waits_for_its_least_sure_field(pages: Production) -> None:
    sure = [box(FIRST, "0.900000"), box(SECOND, "0.300000"), box(THIRD, "0.500000"), box(THIRD, "0.280000")]
    pages.image(1, stratum="Uncertain", fields=sure)
    pages.image(2, stratum="Reported", fields=sure)
    assert counted(pages) == Waiting(2, (0, 1, 0)), "of a page that was reported as such nobody said for which field"


def test_what_people_report_waits_in_whatever_stratum_it_lies(pages: Production) -> None:
    drawn = pages.image(1, stratum="Random")
    pages.image(2, stratum="Random")
    pages.report(prediction=drawn, fields=[SECOND], missing=[FIRST])
    reported = pages.image(3, stratum="Reported")
    pages.report(record=reported, missing=[SECOND, "a class of old"])
    assert counted(pages) == Waiting(2, (1, 2, 0))


def test_a_page_that_came_twice_waits_once(pages: Production) -> None:
    name = pages.image(1, stratum="Uncertain", missing=[FIRST])
    record = pages.records[name] | {"prediction": "f" * 32}
    folder = next(pages.folder.glob("days/*/pages/uncertain"))
    (folder / f"{'f' * 32}.json").write_text(json.dumps(record))
    assert counted(pages) == Waiting(1, (1, 0, 0))


def test_what_the_pool_has_or_had_waits_no_more(pages: Production, world: World, policy: Policy) -> None:
    policy.add(8000, 2)
    pool = read_pool(STORAGE, world.pool.as_uri(), CLASSES)
    labelled = next(page.last.pixels for page in pool.pages if page.last.pixels)
    name = pages.image(1, stratum="Uncertain", missing=[FIRST])
    record = pages.records[name]
    record["page"] |= {"pixels": labelled}
    (path,) = pages.folder.glob("days/*/pages/uncertain/*.json")
    path.write_text(json.dumps(record))
    assert counted(pages, pool) == Waiting(0, (0, 0, 0))
    assert counted(pages) == Waiting(1, (1, 0, 0))


def test_a_record_that_cannot_be_read_is_passed_over(pages: Production) -> None:
    pages.image(1, stratum="Uncertain", missing=[FIRST])
    folder = next(pages.folder.glob("days/*/pages/uncertain"))
    (folder / f"{'e' * 32}.json").write_text("{}")
    (folder / "notes.txt").write_text("of somebody")
    assert counted(pages) == Waiting(1, (1, 0, 0))


def test_a_record_that_goes_while_others_are_read_is_passed_over(
    pages: Production, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages.image(1, stratum="Uncertain", missing=[FIRST])
    gone = pages.image(2, stratum="Uncertain", missing=[SECOND])
    vanishing(monkeypatch, next(pages.folder.glob(f"days/*/pages/uncertain/{gone}.json")))
    assert counted(pages) == Waiting(1, (1, 0, 0))


def test_only_the_newest_are_read(pages: Production, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    for seed, day in enumerate(("2026-11-20", "2026-11-21", "2026-11-22"), start=1):
        pages.image(seed, stratum="Uncertain", missing=[CLASSES[seed - 1]], at=f"{day}T12:00:00Z")
    assert counted(pages) == Waiting(2, (0, 1, 1))
