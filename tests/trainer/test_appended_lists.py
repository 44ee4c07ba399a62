"""Classes that are appended while people go on labelling: for which of them a page counts as labelled, and when."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from finetune_trainer.data.pool import StoredSample, read_pool
from finetune_trainer.data.pool_batch import NewBatch, add_batch
from finetune_trainer.documents.plan import Digests, Sample
from finetune_trainer.documents.run import FineTuneDocument, RebuildDocument
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.evaluation.evaluate import run_model
from finetune_trainer.evaluation.pages import Page
from finetune_trainer.evaluation.postprocess import Detections, Thresholds
from finetune_trainer.evaluation.production import mean_confidence
from finetune_trainer.storage import Storage, local_path
from trainer.test_appended import MORE, add_labelled, drawn, images_of, labelled_for_more, rebuild, relabelled_anchor
from trainer.world import (
    BATCH_TIME,
    CLASSES,
    VERIFICATION,
    World,
    add_to_pool,
    correct_pool,
    index,
    relabel,
    write_new_pages,
)


def samples(world: World) -> list[StoredSample]:
    return read_pool(Storage(), world.pool.as_uri(), MORE).samples


def written_otherwise(folder: Path) -> Path:
    """Write the folder's labels as another tool does: in another order, with more digits."""
    for label in (folder / "labels" / "train").iterdir():
        rows = [row.split() for row in label.read_text().splitlines()]
        lines = [f"{index} {' '.join(f'{float(cell):.8f}' for cell in cells)}\n" for index, *cells in reversed(rows)]
        label.write_text("".join(lines))
    return folder


def shorter(folder: Path, count: int, first: int, names: list[str] | None = None) -> Path:
    """New pages, labelled for the classes that there were before."""
    write_new_pages(folder, count=count, first=first)
    (folder / "data.yaml").write_text(yaml.safe_dump({"names": names or list(CLASSES)}))
    return folder


class Sees:
    """A model that finds one box of each of four classes, surer of the old ones."""

    def detect_timed(self, image: Any, thresholds: list[Thresholds]) -> tuple[list[Detections], float]:
        """See Detector."""
        boxes = np.array([[2, 2, 20, 20]] * 4, np.float32)
        scores = np.array([0.9, 0.9, 0.9, 0.5], np.float32)
        return [Detections(boxes, scores, np.arange(4)) for _ in thresholds], 0.001


def test_how_sure_a_model_is_counts_all_that_it_answers_as_the_server_does(world: World) -> None:
    """A page that was not labelled for the new class says nothing of it, and the server observes it all the same."""
    image = next((world.anchor / "images" / "test").iterdir())
    page = Page(Sample(None, None, 0, 0, fields=3), (), lambda _: image.read_bytes())  # type: ignore[arg-type]
    results, _ = run_model(Sees(), [page], Thresholds(0.1, 0.7, 300))  # type: ignore[arg-type]
    assert set(results[0].served.fields) == {0, 1, 2}
    assert mean_confidence(results) == f"{(3 * 0.9 + 0.5) / 4:.6f}"
    assert mean_confidence([result.of_first(2) for result in results]) == f"{(3 * 0.9 + 0.5) / 4:.6f}"


def digests(document: FineTuneDocument | RebuildDocument, folder: Path) -> Digests:
    return drawn(document, folder)[0].digests


@pytest.mark.row("R250")
def test_pages_that_were_completed_with_the_same_boxes_make_other_inputs_of_a_rebuild_alone(
    base: dict[str, Any], world: World, tmp_path: Path
) -> None:
    """By these digests a run knows what was trained before: nothing is trained twice, and this was not trained once."""
    add_labelled(world, labelled_for_more(tmp_path / "more", 8000))
    fine_tune = world.parsed(base, mixing__minPoolSamples=1)
    before = digests(rebuild(world, base), tmp_path / "a"), digests(fine_tune, tmp_path / "b")
    folder = labelled_for_more(tmp_path / "again", 5000, count=3, boxes=False)
    correct_pool(world.pool, folder, world.anchor, appended=("iban",))
    after = digests(rebuild(world, base), tmp_path / "c"), digests(fine_tune, tmp_path / "d")
    assert after[0].pool != before[0].pool
    assert (after[0].anchor, after[0].test_set) == (before[0].anchor, before[0].test_set)
    assert after[1] == before[1]


@pytest.mark.row("R250")
def test_an_anchor_that_says_that_no_page_has_the_new_class_makes_other_inputs_of_a_rebuild_alone(
    base: dict[str, Any], world: World, tmp_path: Path
) -> None:
    add_labelled(world, labelled_for_more(tmp_path / "more", 8000))
    fine_tune = world.parsed(base, mixing__minPoolSamples=1)
    before = digests(rebuild(world, base), tmp_path / "a"), digests(fine_tune, tmp_path / "b")
    content = yaml.safe_load((world.anchor / "data.yaml").read_text())
    (world.anchor / "data.yaml").write_text(yaml.safe_dump(content | {"names": dict(enumerate(MORE))}))
    index(world.anchor)
    after = digests(rebuild(world, base), tmp_path / "c"), digests(fine_tune, tmp_path / "d")
    assert after[0].anchor != before[0].anchor
    assert after[0].pool == before[0].pool
    assert after[1] == before[1]


def test_where_all_is_labelled_for_all_digests_are_what_they_were(
    base: dict[str, Any], world: World, tmp_path: Path
) -> None:
    from finetune_trainer.digests import set_digest

    said = digests(world.parsed(base, mixing__minPoolSamples=1), tmp_path / "a")
    pairs = [(s.image.sha256, s.label.sha256) for s in read_pool(Storage(), world.pool.as_uri(), CLASSES).samples]
    assert said.pool == set_digest(pairs)


def test_a_page_that_another_tool_wrote_otherwise_is_completed_and_is_no_new_sample(
    world: World, tmp_path: Path
) -> None:
    add_labelled(world, labelled_for_more(tmp_path / "more", 8000))
    before = {s.image.sha256: s.known for s in samples(world)}
    folder = written_otherwise(labelled_for_more(tmp_path / "again", 5000, count=3, boxes=False))
    made = correct_pool(world.pool, folder, world.anchor, appended=("iban",)).correction
    assert len(made.samples) == 3
    assert all(sample.label.sha256 == sample.replaces for sample in made.samples)
    assert {s.image.sha256: s.known for s in samples(world)} == before
    assert [s.fields for s in samples(world)].count(len(MORE)) == 6 + 3


def test_a_shorter_list_with_the_same_boxes_leaves_a_complete_page_as_it_is(world: World, tmp_path: Path) -> None:
    """An export of the whole project by the old list says nothing new of it, and loses nothing."""
    add_labelled(world, labelled_for_more(tmp_path / "more", 8000, boxes=False))
    folder = written_otherwise(shorter(tmp_path / "again", 6, 8000))
    with pytest.raises(StepError, match=r"All 6 pages .* have these labels already"):
        correct_pool(world.pool, folder, world.anchor)


@pytest.mark.parametrize("otherwise", [False, True])
def test_pages_of_the_pool_that_are_added_by_the_longer_list_are_not_left_out_in_silence(
    world: World, tmp_path: Path, otherwise: bool
) -> None:
    """Else they seem complete, and stay as they were."""
    folder = labelled_for_more(tmp_path / "again", 5000, count=3, boxes=False)
    labelled_for_more(folder, 8000, count=2, boxes=False)
    if otherwise:
        written_otherwise(folder)
    new = NewBatch(folder.as_uri(), world.anchor.as_uri(), VERIFICATION, {}, only_new=True, appended=("iban",))
    with pytest.raises(StepError, match="pool correct") as caught:
        add_batch(Storage(), world.pool.as_uri(), new, BATCH_TIME)
    assert caught.value.reason is Reason.LABEL_CONTRADICTS


@pytest.mark.parametrize("names", [list(CLASSES), list(reversed(CLASSES))], ids=["in order", "in another order"])
def test_once_the_anchor_has_the_class_a_tool_that_does_not_know_it_says_nothing_of_it(
    world: World, tmp_path: Path, names: list[str]
) -> None:
    relabelled_anchor(world)
    folder = shorter(tmp_path / "fewer", 4, 9000, names)
    new = NewBatch(folder.as_uri(), world.anchor.as_uri(), VERIFICATION, {}, map_classes=True)
    assert add_batch(Storage(), world.pool.as_uri(), new, BATCH_TIME).batch.classes == CLASSES
    assert [s.fields for s in samples(world)] == [3] * 12 + [3] * 4


def test_and_it_completes_no_page_by_a_correction(world: World, tmp_path: Path) -> None:
    relabelled_anchor(world)
    folder = shorter(tmp_path / "fewer", 2, 5000)
    label = next((folder / "labels" / "train").iterdir())
    label.write_text("".join(label.read_text().splitlines(keepends=True)[:2]))
    made = correct_pool(world.pool, folder, world.anchor, map_classes=True).correction
    assert (made.classes, len(made.samples)) == (CLASSES, 1)


def test_a_tool_that_lists_only_what_occurs_speaks_for_all_classes_that_every_page_is_labelled_for(
    world: World, tmp_path: Path
) -> None:
    folder = shorter(tmp_path / "fewer", 4, 9000, [CLASSES[0]])
    for label in (folder / "labels" / "train").iterdir():
        label.write_text("".join(row for row in label.read_text().splitlines(keepends=True) if row[0] == "0"))
    new = NewBatch(folder.as_uri(), world.anchor.as_uri(), VERIFICATION, {}, map_classes=True)
    assert add_batch(Storage(), world.pool.as_uri(), new, BATCH_TIME).batch.classes == CLASSES


def test_a_page_that_somebody_completes_meanwhile_is_not_made_incomplete(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = labelled_for_more(tmp_path / "more", 5000, count=3, boxes=False)
    folder = shorter(tmp_path / "fewer", 3, 5000)
    relabel(folder, 5000, 1)
    original = Storage.write_once

    def write(self: Storage, uri: str, data: bytes) -> None:
        monkeypatch.undo()
        correct_pool(world.pool, complete, world.anchor, appended=("iban",))
        original(self, uri, data)

    monkeypatch.setattr(Storage, "write_once", write)
    with pytest.raises(StepError, match=r"page-5000[.]png: bo@.* gave it a label for more classes meanwhile"):
        correct_pool(world.pool, folder, world.anchor)


def test_a_label_that_was_lost_comes_back_when_its_page_is_completed(world: World, tmp_path: Path) -> None:
    folder = labelled_for_more(tmp_path / "again", 5000, count=1, boxes=False)
    lost = local_path(next(s.label.uri for s in samples(world) if s.image.sha256 in images_of(folder)))
    assert lost is not None
    data = lost.read_bytes()
    lost.unlink()
    correct_pool(world.pool, folder, world.anchor, appended=("iban",))
    assert lost.read_bytes() == data


@pytest.mark.parametrize("name", ["IBAN", "iban ", "ib an"])
def test_a_class_that_a_tool_spells_otherwise_is_another_one(world: World, tmp_path: Path, name: str) -> None:
    folder = labelled_for_more(tmp_path / "more", 8000)
    (folder / "data.yaml").write_text(json.dumps({"names": [*CLASSES, name]}))
    with pytest.raises(StepError) as caught:
        add_labelled(world, folder)
    assert caught.value.reason in (Reason.CLASS_LIST_DIFFERS, Reason.CLASS_LIST_INVALID)
    add_to_pool(world.pool, shorter(tmp_path / "fewer", 2, 9000), world.anchor)
