"""Classes that are appended when a new base is made: who is labelled for them, and what is measured of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_trainer.data.earlier_plans import read_plan
from finetune_trainer.data.pool import read_pool
from finetune_trainer.data.pool_batch import Added, NewBatch, add_batch
from finetune_trainer.data.pool_stats import pool_stats
from finetune_trainer.digests import sha256_of
from finetune_trainer.documents.codec import FileReference
from finetune_trainer.documents.inputs import EvaluateInputs, LiveModel, PrepareInputs, TrainInputs
from finetune_trainer.documents.plan import Plan
from finetune_trainer.documents.result import EvaluateResult
from finetune_trainer.documents.run import RebuildDocument, TrainingDocument
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.evaluation.fields import Model
from finetune_trainer.steps.evaluate import evaluate
from finetune_trainer.steps.models import fetch_live
from finetune_trainer.steps.prepare import prepare
from finetune_trainer.steps.train import train
from finetune_trainer.steps.verify import verify
from finetune_trainer.steps.yardstick import read_yardstick
from finetune_trainer.storage import Storage, local_path
from trainer.world import (
    BATCH_TIME,
    CLASSES,
    NONCE,
    VERIFICATION,
    World,
    add_to_pool,
    context,
    correct_pool,
    files_of,
    index,
    training_parameters,
    write_new_pages,
)

MORE = (*CLASSES, "iban")
"""The policy's list, once a class is appended."""


def labelled_for_more(folder: Path, first: int, count: int = 6, boxes: bool = True) -> Path:
    """A folder whose pages are labelled for the new class too: each has one, where there are any."""
    write_new_pages(folder, count=count, first=first)
    (folder / "data.yaml").write_text(yaml.safe_dump({"names": list(MORE)}))
    for label in (folder / "labels" / "train").iterdir() if boxes else ():
        label.write_text(label.read_text() + "3 0.900000 0.950000 0.100000 0.050000\n")
    return folder


def add_labelled(world: World, folder: Path, appended: tuple[str, ...] = ("iban",)) -> Added:
    new = NewBatch(folder.as_uri(), world.anchor.as_uri(), VERIFICATION, {}, appended=appended)
    return add_batch(Storage(), world.pool.as_uri(), new, BATCH_TIME)


def drawn(document: TrainingDocument, folder: Path) -> tuple[Plan, FileReference]:
    result = prepare(context("prepare", document, folder), document, PrepareInputs(1, NONCE))
    return read_plan(Storage(), result.plan), result.plan


def rebuild(world: World, base: dict[str, Any], **changes: Any) -> RebuildDocument:
    """A rebuild by the longer list, of a base that has the shorter one."""
    return world.rebuild(
        base | {"fields": len(CLASSES)}, classes=list(MORE), **{"mixing__minPoolSamples": 1, **changes}
    )


def fields_by_image(plan: Plan) -> dict[str, int | None]:
    return {sample.image.sha256: sample.fields for sample in (*plan.train, *plan.new_set)}


def images_of(folder: Path) -> set[str]:
    return {sha256_of(page.read_bytes()) for page in (folder / "images" / "train").iterdir()}


def test_each_batch_says_for_which_classes_its_pages_are_labelled(
    base: dict[str, Any], world: World, tmp_path: Path
) -> None:
    folder = labelled_for_more(tmp_path / "more", 8000)
    assert add_labelled(world, folder).batch.classes == MORE
    plan, _ = drawn(rebuild(world, base), tmp_path / "p")
    assert plan.classes == MORE
    complete = {image for image, fields in fields_by_image(plan).items() if fields is None}
    assert complete == images_of(folder)
    assert {sample.boxes for sample in plan.train if sample.fields is None} == {4}
    assert {sample.fields for sample in (*plan.val, *plan.test)} == {len(CLASSES)}, "the anchor's index says so"


def test_runs_of_the_shorter_list_go_on_and_see_no_box_of_the_longer_one(
    base: dict[str, Any], world: World, tmp_path: Path
) -> None:
    from finetune_trainer.data.materialise import materialise

    folder = labelled_for_more(tmp_path / "more", 8000)
    add_labelled(world, folder)
    document = world.parsed(base, mixing__ratio="1", training=training_parameters(epochs=1))
    plan, reference = drawn(document, tmp_path / "p")
    taken = [sample for sample in plan.train if sample.image.sha256 in images_of(folder)]
    assert {(sample.fields, sample.boxes) for sample in taken} == {(len(MORE), 3)}
    materialise(Storage(), taken, tmp_path / "laid", classes=len(plan.classes))
    labels = [file.read_text() for file in (tmp_path / "laid" / "labels").iterdir()]
    assert all(len(label.splitlines()) == 3 and not label.startswith("3 ") for label in labels)
    trained = train(context("train", document, tmp_path / "t"), document, TrainInputs(1, NONCE, reference))
    candidate = FileReference(trained.artifact.uri, trained.artifact.sha256)
    inputs = EvaluateInputs(1, NONCE, 1, reference, candidate)
    result = evaluate(context("evaluate", document, tmp_path / "e"), document, inputs)
    assert result.added is None
    assert result.models.candidate.pool is not None
    assert result.models.candidate.pool.boxes == sum(sample.boxes for sample in plan.new_set)


def test_a_correction_by_the_longer_list_makes_an_old_page_complete(
    base: dict[str, Any], world: World, tmp_path: Path
) -> None:
    add_labelled(world, labelled_for_more(tmp_path / "more", 8000))
    folder = labelled_for_more(tmp_path / "again", 5000, count=3, boxes=False)
    made = correct_pool(world.pool, folder, world.anchor, appended=("iban",)).correction
    assert (made.classes, len(made.samples)) == (MORE, 3)
    assert all(sample.label.sha256 == sample.replaces for sample in made.samples), "they say that there is none"
    plan, reference = drawn(rebuild(world, base), tmp_path / "p")
    assert {fields_by_image(plan)[image] for image in images_of(folder)} == {None}
    assert plan.counts.corrected == 0
    inputs = EvaluateInputs(1, NONCE, 1, reference, FileReference("file:///c", "c" * 64))
    document = rebuild(world, base)
    read_yardstick(context("evaluate", document, tmp_path / "s"), document, inputs)


def test_a_page_that_is_completed_later_does_not_contradict_the_plan(
    base: dict[str, Any], world: World, tmp_path: Path
) -> None:
    add_labelled(world, labelled_for_more(tmp_path / "more", 8000))
    document = rebuild(world, base)
    _, reference = drawn(document, tmp_path / "p")
    folder = labelled_for_more(tmp_path / "again", 5000, count=3, boxes=False)
    correct_pool(world.pool, folder, world.anchor, appended=("iban",))
    inputs = EvaluateInputs(1, NONCE, 1, reference, FileReference("file:///c", "c" * 64))
    read_yardstick(context("evaluate", document, tmp_path / "s"), document, inputs)


@pytest.mark.parametrize("fields", [None, 1])
def test_a_plan_that_says_that_a_label_was_made_for_other_classes_is_refused(
    base: dict[str, Any], world: World, tmp_path: Path, fields: int | None
) -> None:
    add_labelled(world, labelled_for_more(tmp_path / "more", 8000))
    document = rebuild(world, base)
    _, reference = drawn(document, tmp_path / "p")
    place = local_path(reference.uri)
    assert place is not None
    content = json.loads(place.read_text())
    said = next(sample for sample in content["train"] if sample.get("fields") == len(CLASSES))
    said.pop("fields")
    if fields is not None:
        said["fields"] = fields
    swapped = tmp_path / "swapped.json"
    swapped.write_text(json.dumps(content))
    plan = FileReference(swapped.as_uri(), sha256_of(swapped.read_bytes()))
    inputs = EvaluateInputs(1, NONCE, 1, plan, FileReference("file:///c", "c" * 64))
    with pytest.raises(StepError, match="says other files or classes of them"):
        read_yardstick(context("evaluate", document, tmp_path / "s"), document, inputs)


def test_a_correction_by_the_shorter_list_takes_nothing_back(world: World, tmp_path: Path) -> None:
    folder = labelled_for_more(tmp_path / "more", 8000)
    add_labelled(world, folder)
    before = files_of(world.pool)
    write_new_pages(folder, count=6, first=8000)
    with pytest.raises(StepError, match=r"6 pages .* have labels in the pool for more classes than the 3") as caught:
        correct_pool(world.pool, folder, world.anchor)
    assert caught.value.reason is Reason.CLASS_LIST_DIFFERS
    assert files_of(world.pool) == before


def test_a_folder_that_was_not_labelled_for_an_appended_class_is_refused(world: World, tmp_path: Path) -> None:
    folder = write_new_pages(tmp_path / "more", count=6, first=8000)
    with pytest.raises(StepError, match="does not have iban among its classes") as caught:
        add_labelled(world, folder)
    assert caught.value.reason is Reason.CLASS_LIST_DIFFERS


def test_two_names_for_the_class_behind_the_others_are_refused(world: World, tmp_path: Path) -> None:
    add_labelled(world, labelled_for_more(tmp_path / "more", 8000))
    folder = labelled_for_more(tmp_path / "other", 9000)
    (folder / "data.yaml").write_text(yaml.safe_dump({"names": [*CLASSES, "bic"]}))
    with pytest.raises(StepError, match="'iban' instead of 'bic'") as caught:
        add_labelled(world, folder, ("bic",))
    assert caught.value.reason is Reason.CLASS_LIST_DIFFERS


def test_batches_of_the_shorter_list_are_taken_after_those_of_the_longer_one(world: World, tmp_path: Path) -> None:
    add_labelled(world, labelled_for_more(tmp_path / "more", 8000))
    add_to_pool(world.pool, write_new_pages(tmp_path / "fewer", count=4, first=9000), world.anchor)
    fields = [sample.fields for sample in read_pool(Storage(), world.pool.as_uri(), MORE).samples]
    assert fields == [3] * 12 + [4] * 6 + [3] * 4
    stats = pool_stats(Storage(), world.pool.as_uri())
    assert stats.labelled == {**dict.fromkeys(CLASSES, 22), "iban": 6}
    assert stats.boxes["iban"] == 6


def test_a_rebuild_for_a_class_that_no_page_is_labelled_for_is_refused(
    base: dict[str, Any], world: World, tmp_path: Path
) -> None:
    with pytest.raises(StepError, match="No page that trains is labelled for iban") as caught:
        drawn(rebuild(world, base), tmp_path)
    assert caught.value.reason is Reason.POOL_TOO_SMALL
    assert "--append-classes" in caught.value.remedy


def test_a_rebuild_whose_new_pages_show_nothing_that_its_base_knows_is_refused(
    base: dict[str, Any], world: World, tmp_path: Path
) -> None:
    """It would train for days, and then nothing but the appended class could be measured: an Error of its gate."""
    _, learnt = drawn(world.parsed(base, mixing__minPoolSamples=1), tmp_path / "earlier")
    knowing = base | {"inputs": {"uri": learnt.uri, "sha256": learnt.sha256}}
    folder = labelled_for_more(tmp_path / "more", 8000, count=12)
    for label in (folder / "labels" / "train").iterdir():
        label.write_text(label.read_text().splitlines()[-1] + "\n")
    add_labelled(world, folder)
    said = "None of the 12 new pages that the candidate would be measured on has a box of a class that base_v1 has"
    with pytest.raises(StepError, match=said) as caught:
        drawn(rebuild(world, knowing), tmp_path / "p")
    assert caught.value.reason is Reason.POOL_TOO_SMALL
    add_labelled(world, labelled_for_more(tmp_path / "others", 9000, count=2))
    plan, _ = drawn(rebuild(world, knowing), tmp_path / "q")
    assert len(plan.new_set) == 14


def relabelled_anchor(world: World) -> None:
    """Label the anchor for the new class too: each page has one, at one place."""
    content = yaml.safe_load((world.anchor / "data.yaml").read_text())
    (world.anchor / "data.yaml").write_text(yaml.safe_dump(content | {"names": dict(enumerate(MORE))}))
    for label in (world.anchor / "labels").rglob("*.txt"):
        label.write_text(label.read_text() + "3 0.900000 0.950000 0.100000 0.050000\n")
    index(world.anchor)


def measured(world: World, base: dict[str, Any], folder: Path) -> EvaluateResult:
    """What a rebuild with the longer list is measured as, beside the old base."""
    return rebuilt(world, base, folder)[1]


def rebuilt(world: World, base: dict[str, Any], folder: Path) -> tuple[dict[str, Any], EvaluateResult]:
    """The new base, and what it is measured as beside the old one."""
    document = rebuild(
        world, base, holdout="0.3", training=training_parameters(epochs=1), artifacts__uri=folder.as_uri()
    )
    _, reference = drawn(document, folder / "p")
    trained = train(context("train", document, folder / "t"), document, TrainInputs(1, NONCE, reference))
    candidate = FileReference(trained.artifact.uri, trained.artifact.sha256)
    inputs = EvaluateInputs(1, NONCE, 1, reference, candidate)
    result = evaluate(context("evaluate", document, folder / "e"), document, inputs)
    files = {name: getattr(trained, name) for name in ("artifact", "checkpoint")}
    places = {name: {"uri": file.uri, "sha256": file.sha256} for name, file in files.items()}
    return {"version": "base_v2", "inputs": {"uri": reference.uri, "sha256": reference.sha256}, **places}, result


def test_after_it_batches_of_the_shorter_list_go_on_and_what_is_live_loses_nothing(
    base: dict[str, Any], world: World, tmp_path: Path
) -> None:
    add_labelled(world, labelled_for_more(tmp_path / "more", 8000, count=20))
    new_base, _ = rebuilt(world, base, tmp_path / "r")
    add_to_pool(world.pool, write_new_pages(tmp_path / "fewer", count=12, first=9000), world.anchor)
    parameters = training_parameters(epochs=1)
    document = world.parsed(new_base, classes=list(MORE), mixing__ratio="0", training=parameters)
    plan, reference = drawn(document, tmp_path / "p")
    assert {sample.fields for sample in plan.train} == {len(CLASSES)}, "and none is needed that is complete"
    trained = train(context("train", document, tmp_path / "t"), document, TrainInputs(1, NONCE, reference))
    candidate = FileReference(trained.artifact.uri, trained.artifact.sha256)
    inputs = EvaluateInputs(1, NONCE, 1, reference, candidate)
    assert evaluate(context("evaluate", document, tmp_path / "e"), document, inputs).added is None
    old = FileReference(**base["artifact"])
    beside = EvaluateInputs(1, NONCE, 2, reference, candidate, LiveModel("base_v1", old, None))
    added = evaluate(context("evaluate", document, tmp_path / "f"), document, beside).added
    assert added is not None, "what is live lacks a class, if the base has it"
    assert added.known == len(CLASSES)
    step = context("evaluate", document, tmp_path / "g")
    with pytest.raises(StepError, match="also has iban, which base_v1 has not") as caught:
        fetch_live(step, world.parsed(base), FileReference(**new_base["artifact"]))
    assert caught.value.reason is Reason.CLASS_LIST_DIFFERS


def test_what_an_anchor_is_not_labelled_for_is_not_measured_on_it(
    base: dict[str, Any], world: World, tmp_path: Path
) -> None:
    document = world.verification(base)
    before = verify(context("verify", document, tmp_path / "v"), document)
    add_labelled(world, labelled_for_more(tmp_path / "more", 8000, count=20))
    result = measured(world, base, tmp_path / "r")
    added = result.added
    assert added is not None
    assert (added.known, added.test_boxes, added.test.measured) == (3, 0, 0)
    assert added.new_boxes > 0
    assert result.test_set.boxes == before.test_set.boxes == 72
    assert result.models.base.map50 == before.models.base.map50, "the old base is measured as ever"
    assert result.models.base.pool is not None
    assert result.models.base.pool.boxes == result.models.candidate.pool.boxes  # type: ignore[union-attr]


def test_the_old_base_is_held_to_the_classes_that_it_has(base: dict[str, Any], world: World, tmp_path: Path) -> None:
    document = world.verification(base)
    before = verify(context("verify", document, tmp_path / "v"), document)
    add_labelled(world, labelled_for_more(tmp_path / "more", 8000, count=20))
    relabelled_anchor(world)
    again = verify(context("verify", document, tmp_path / "w"), document)
    assert again.models.base.map50 == before.models.base.map50
    result = measured(world, base, tmp_path / "r")
    added = result.added
    assert added is not None
    assert (added.known, added.test_boxes) == (3, 24)
    assert result.test_set.boxes == 72
    assert result.models.base.map50 == before.models.base.map50
    report = json.loads(next((tmp_path / "r").rglob("report.json")).read_text())
    names: dict[Model, list[str]] = {m: [f["name"] for f in d["testFields"]] for m, d in report["details"].items()}
    assert names["candidate"] == list(MORE)
    assert report["details"]["base"]["testFields"][3]["ap50"] == ""
    assert report["details"]["candidate"]["testFields"][3]["ap50"] != ""
