"""Names of classes that only look the same: each refusal says what no screen shows."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from finetune_trainer.data.folder_classes import renumbering
from finetune_trainer.data.incoming import extended
from finetune_trainer.documents.classes import check_class_names, labelled_fields
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.labelling.from_coco import read_coco
from finetune_trainer.labelling.from_yolo import read_yolo
from finetune_trainer.storage import Storage
from trainer.test_appended import add_labelled, labelled_for_more
from trainer.world import CLASSES, World

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "räkning") for form in ("NFC", "NFD"))
SAID = r"('ra\u0308kning', which only looks like 'r\xe4kning')"
ANCHOR = (*CLASSES, COMPOSED)


@pytest.mark.parametrize("by_name", [True, False])
def test_a_folder_whose_accents_are_written_otherwise_is_told_so(by_name: bool) -> None:
    with pytest.raises(StepError) as caught:
        renumbering((*CLASSES, DECOMPOSED), anchor=ANCHOR, folder="file:///folder", by_name=by_name)
    assert caught.value.reason is Reason.CLASS_LIST_DIFFERS
    assert f"that the anchor has not: {DECOMPOSED} {SAID}. Known are" in caught.value.message
    assert "Rename" in caught.value.remedy


def test_a_list_that_differs_in_that_alone_is_told_so() -> None:
    with pytest.raises(StepError) as caught:
        labelled_fields((*CLASSES, DECOMPOSED), "The anchor", expected=ANCHOR)
    assert f"index 3: {DECOMPOSED!r} instead of {COMPOSED!r} {SAID}." in caught.value.message


def test_tools_are_told_so_of_their_boxes_and_of_their_lists(tmp_path: Path) -> None:
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 10, "height": 10}],
        "categories": [{"id": 1, "name": DECOMPOSED}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4]}],
    }
    [problem] = read_coco(document, ANCHOR, ()).problems
    assert problem.reason is Reason.FIELD_UNKNOWN
    assert f"it has a box {DECOMPOSED!r} {SAID}, which is no class" in problem.message
    (tmp_path / "classes.txt").write_text(DECOMPOSED)
    with pytest.raises(StepError) as caught:
        read_yolo(Storage(), tmp_path.as_uri(), ANCHOR)
    assert f"that the anchor has not: {DECOMPOSED} {SAID}." in caught.value.message


def test_two_lists_of_one_folder_are_told_so(world: World, tmp_path: Path) -> None:
    folder = labelled_for_more(tmp_path / "more", 8000)
    (folder / "data.yaml").write_text(json.dumps({"names": ANCHOR}))
    (folder / "classes.txt").write_text("\n".join((*CLASSES, DECOMPOSED)))
    with pytest.raises(StepError) as caught:
        add_labelled(world, folder)
    assert f"classes.txt has {', '.join(CLASSES)}, {DECOMPOSED} {SAID}." in caught.value.message


def test_a_class_is_not_appended_once_more_by_another_spelling(world: World, tmp_path: Path) -> None:
    folder = labelled_for_more(tmp_path / "more", 8000)
    (folder / "data.yaml").write_text(json.dumps({"names": (*CLASSES, COMPOSED)}))
    with pytest.raises(StepError) as caught:
        add_labelled(world, folder, appended=(DECOMPOSED,))
    assert f"does not have {DECOMPOSED} {SAID} among its classes" in caught.value.message
    with pytest.raises(StepError) as caught:
        extended(ANCHOR, (DECOMPOSED,))
    assert caught.value.reason is Reason.CLASS_LIST_INVALID
    assert f"has the name {DECOMPOSED!r} {SAID} twice, for class 3 and class 4" in caught.value.message


def test_names_that_differ_otherwise_are_told_as_they_are() -> None:
    check_class_names(["rakning", COMPOSED, "RÄKNING"], "It")
    with pytest.raises(StepError) as caught:
        renumbering(("rakning", "date"), anchor=ANCHOR, folder="file:///folder", by_name=True)
    assert "that the anchor has not: rakning. Known are" in caught.value.message
