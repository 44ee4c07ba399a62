"""Classes that were appended, and tools that know some of them or do not say which: no page speaks for more."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_trainer.data.anchor import build_index
from finetune_trainer.data.incoming import extended
from finetune_trainer.data.pool import read_pool
from finetune_trainer.data.pool_batch import NewBatch, add_batch
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.storage import Storage
from trainer.captured import Production
from trainer.fixtures.labelling.world import capture
from trainer.labelling.adding import EMPTY, FIXTURES, SAID, Adding
from trainer.test_appended import MORE, add_labelled, drawn, labelled_for_more, rebuild
from trainer.test_appended_lists import samples, shorter
from trainer.world import BATCH_TIME, CLASSES, VERIFICATION, World, correct_pool, files_of, index, write_anchor

MOST = (*MORE, "bic")
"""The policy's list, once two classes are appended."""


def rename(anchor: Path, names: tuple[str, ...]) -> None:
    """Say that the anchor's pages are labelled for these classes."""
    content = yaml.safe_load((anchor / "data.yaml").read_text())
    (anchor / "data.yaml").write_text(yaml.safe_dump(content | {"names": list(names)}))
    index(anchor)


@pytest.mark.parametrize("corrects", [False, True])
def test_a_tool_that_lists_a_later_appended_class_and_not_an_earlier_one_is_asked(
    world: World, tmp_path: Path, corrects: bool
) -> None:
    """Its pages would say that there is none of the one that it does not know."""
    rename(world.anchor, MOST)
    folder = shorter(tmp_path / "gap", 4, 5000 if corrects else 9000, [*CLASSES, "bic"])
    before = files_of(world.pool)
    new = NewBatch(folder.as_uri(), world.anchor.as_uri(), VERIFICATION, {}, map_classes=True)
    does: dict[bool, Callable[[], object]] = {
        True: lambda: correct_pool(world.pool, folder, world.anchor, map_classes=True),
        False: lambda: add_batch(Storage(), world.pool.as_uri(), new, BATCH_TIME),
    }
    with pytest.raises(StepError, match="lists bic among its classes, and not iban, appended before it") as caught:
        does[corrects]()
    assert caught.value.reason is Reason.CLASS_LIST_DIFFERS
    assert "all classes up to bic" in caught.value.remedy
    assert files_of(world.pool) == before


def test_a_tool_that_lists_one_of_the_first_classes_and_the_appended_one_speaks_for_all_of_before(
    world: World, tmp_path: Path
) -> None:
    """Of these every page says whether there is one: a tool may list what occurs."""
    folder = shorter(tmp_path / "fewer", 2, 9000, ["number", "iban"])
    for label in (folder / "labels" / "train").iterdir():
        label.write_text("1 0.5 0.5 0.2 0.2\n")
    new = NewBatch(folder.as_uri(), world.anchor.as_uri(), VERIFICATION, {}, map_classes=True, appended=("iban",))
    assert add_batch(Storage(), world.pool.as_uri(), new, BATCH_TIME).batch.classes == MORE


@pytest.mark.parametrize(
    ("appended", "names"),
    [
        ((), MORE),
        (("iban",), MORE),
        (("iban", "bic"), MOST),
        (("bic",), MOST),
        (("total", "iban"), MORE),
    ],
)
def test_what_the_anchor_has_by_now_may_still_be_named(appended: tuple[str, ...], names: tuple[str, ...]) -> None:
    """Else a script that adds pages every week ends on the day on which the anchor is labelled for the class."""
    assert extended(MORE, appended) == names


@pytest.mark.parametrize("appended", [("number",), ("bic", "iban"), ("iban", "iban")])
def test_a_class_that_stands_elsewhere_in_the_list_is_none_to_append(appended: tuple[str, ...]) -> None:
    with pytest.raises(StepError, match=r"has the name .* twice"):
        extended(MORE, appended)


def test_a_page_that_comes_in_two_files_is_completed_once(world: World, tmp_path: Path) -> None:
    add_labelled(world, labelled_for_more(tmp_path / "more", 8000))
    folder = labelled_for_more(tmp_path / "again", 5000, count=2, boxes=False)
    for kind, suffix in (("images", ".png"), ("labels", ".txt")):
        one = folder / kind / "train" / f"page-5000{suffix}"
        one.with_stem("copy").write_bytes(one.read_bytes())
    made = correct_pool(world.pool, folder, world.anchor, appended=("iban",)).correction
    assert len(made.samples) == 2


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Production:
    return capture(tmp_path_factory.mktemp("production"))


@pytest.fixture
def add(tmp_path: Path, production: Production) -> Adding:
    """A pool with some pages of before a class was appended; the anchor is labelled for it by now."""
    anchor = write_anchor(tmp_path / "anchor", train=8)
    index(anchor)
    adding = Adding(tmp_path, anchor, production.folder)
    assert adding(exported(tmp_path, 0, 3), "label-studio", *SAID, *EMPTY) == 0
    rename(anchor, MORE)
    return adding


def exported(root: Path, first: int, last: int, *, ibans: int = 0) -> Path:
    """An export of some tasks of Label Studio, the first of which have a box of the new class."""
    tasks: list[dict[str, Any]] = json.loads((FIXTURES / "label-studio.json").read_text())[first:last]
    tasks.sort(key=lambda task: not task["annotations"][0]["result"])
    for task in tasks[:ibans]:
        regions = task["annotations"][0]["result"]
        iban = deepcopy(regions[0])
        iban["value"] |= {"x": 80, "y": 90, "width": 10, "height": 5, "rectanglelabels": ["iban"]}
        regions.append(iban)
    place = root / f"export-{first}-{last}-{ibans}.json"
    place.write_text(json.dumps(tasks))
    return place


def fields(add: Adding) -> list[int]:
    """For how many classes each page of the pool is labelled."""
    return [sample.fields for sample in read_pool(Storage(), add.pool.as_uri(), MORE).samples]


def test_an_export_that_does_not_list_its_labels_says_nothing_of_an_appended_class_that_it_has_no_box_of(
    add: Adding, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Label Studio's project may be one of before, and then its pages have the field and no box of it."""
    assert add(exported(tmp_path, 3, 6), "label-studio", *SAID, *EMPTY) == 0
    assert fields(add) == [3] * 6
    assert "iban: nothing says that these pages were labelled for it" in capsys.readouterr().out


def test_that_they_were_labelled_for_it_can_be_said(add: Adding, tmp_path: Path) -> None:
    assert add(exported(tmp_path, 3, 6), "label-studio", *SAID, *EMPTY, "--append-classes", "iban") == 0
    assert fields(add) == [3] * 3 + [4] * 3


def test_and_one_box_of_it_says_so_of_the_whole_export(add: Adding, tmp_path: Path) -> None:
    assert add(exported(tmp_path, 3, 6, ibans=1), "label-studio", *SAID, *EMPTY) == 0
    assert fields(add) == [3] * 3 + [4] * 3


def test_a_project_of_before_corrects_no_box_of_an_appended_class_away(
    add: Adding, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert add(exported(tmp_path, 3, 6, ibans=2), "label-studio", *SAID, *EMPTY) == 0
    before = files_of(add.pool)
    old = exported(tmp_path, 3, 6)
    assert add.correct(old, "label-studio", *SAID, *EMPTY) == 10
    assert "have labels in the pool for more classes than the 3 of this correction" in capsys.readouterr().err
    assert files_of(add.pool) == before
    assert add.correct(old, "label-studio", *SAID, *EMPTY, "--append-classes", "iban") == 0, "it is meant so"


def test_where_every_page_is_labelled_for_all_an_export_speaks_for_all_as_ever(
    tmp_path: Path, production: Production
) -> None:
    anchor = write_anchor(tmp_path / "anchor", train=8)
    rename(anchor, MORE)
    adding = Adding(tmp_path, anchor, production.folder)
    assert adding(exported(tmp_path, 0, 3), "label-studio", *SAID, *EMPTY) == 0
    assert fields(adding) == [4] * 3


def test_a_coco_document_without_categories_lists_none(add: Adding, tmp_path: Path, production: Production) -> None:
    name = f"{next(p for p in production.records if p not in add.samples)}.png"
    images = [{"id": 1, "file_name": name, "width": 128, "height": 128}]
    content = {"images": images, "annotations": [], "categories": []}
    (tmp_path / "coco.json").write_text(json.dumps(content))
    assert add(tmp_path / "coco.json", "coco", *SAID, "--allow-background", "1") == 0
    assert fields(add) == [3] * 4


def test_pages_of_the_pool_stay_as_they_are_where_a_tool_of_before_repeats_them(world: World, tmp_path: Path) -> None:
    add_labelled(world, labelled_for_more(tmp_path / "more", 8000, boxes=False))
    rename(world.anchor, MORE)
    folder = shorter(tmp_path / "whole", 6, 8000)
    (folder / "labels" / "train" / "page-8000.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    with pytest.raises(StepError, match=r"1 pages .* have labels in the pool for more classes than the 3"):
        correct_pool(world.pool, folder, world.anchor, map_classes=True)
    assert [sample.fields for sample in samples(world)] == [3] * 12 + [4] * 6


def test_an_anchor_that_got_the_name_and_no_label_is_told_what_it_says(world: World) -> None:
    """Policy, base, anchor and pool have one list, so whoever appends a name to the first may append it to all."""
    assert not [line for line in build_index(Storage(), world.anchor.as_uri()).remarks if "has a box of" in line]
    rename(world.anchor, MORE)
    said = build_index(Storage(), world.anchor.as_uri()).remarks
    assert (
        "no page has a box of iban: by data.yaml, all 96 pages say that there is none on them. Take out what they were "
        "not labelled for"
    ) in said


@pytest.mark.parametrize("boxes", [False, True])
def test_pages_that_were_added_for_a_class_that_none_of_them_has_are_told(
    world: World, tmp_path: Path, boxes: bool
) -> None:
    folder = labelled_for_more(tmp_path / "more", 8000, boxes=boxes)
    line = "no page has a box of iban: they say that there is none on them"
    assert (line in add_labelled(world, folder).remarks) == (not boxes)


def test_a_rebuild_for_a_class_that_no_page_that_trains_has_is_refused_before_it_trains(
    base: dict[str, Any], world: World, tmp_path: Path
) -> None:
    """People complete pages in pieces, and those without the new field first: a trigger may fire in between."""
    add_labelled(world, labelled_for_more(tmp_path / "none", 8000, boxes=False))
    said = "None of the 6 pages that train and are labelled for it has a box of iban"
    with pytest.raises(StepError, match=said) as caught:
        drawn(rebuild(world, base), tmp_path / "a")
    assert caught.value.reason is Reason.POOL_TOO_SMALL
    add_labelled(world, labelled_for_more(tmp_path / "one", 9000, count=1))
    assert drawn(rebuild(world, base), tmp_path / "b")[0].classes == MORE
