"""A new base: from random weights or a given start, on the anchor's train split and all of the pool that may train."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import cv2
import pytest

from finetune_trainer.artifact.metadata import parse_metadata
from finetune_trainer.data.earlier_plans import read_plan
from finetune_trainer.data.mixing import is_held_out
from finetune_trainer.digests import sha256_of
from finetune_trainer.documents.codec import FileReference
from finetune_trainer.documents.inputs import EarlierAttempt, EvaluateInputs, PrepareInputs, TrainInputs
from finetune_trainer.documents.plan import Plan
from finetune_trainer.documents.result import PrepareResult, TrainResult
from finetune_trainer.documents.run import RebuildDocument
from finetune_trainer.errors import Reason, StepError
from finetune_trainer.steps.evaluate import evaluate
from finetune_trainer.steps.prepare import prepare
from finetune_trainer.steps.train import train
from finetune_trainer.steps.yardstick import read_yardstick
from finetune_trainer.storage import Storage, local_path
from trainer.killing import killed_in
from trainer.world import (
    CLASSES,
    NONCE,
    World,
    add_to_pool,
    context,
    correct_pool,
    index,
    page,
    relabel,
    training_parameters,
    withdraw_from,
    write_new_pages,
)

SCRATCH = training_parameters(
    epochs=4,
    freeze=0,
    optimizer="SGD",
    lr0="0.01",
    momentum="0.937",
    warmupEpochs="1",
    warmupBiasLr="0.1",
    patience=3,
    batch=8,
    cosLr=False,
)


def prepared(document: RebuildDocument, folder: Path) -> PrepareResult:
    return prepare(context("prepare", document, folder), document, PrepareInputs(1, NONCE))


def drawn(result: PrepareResult) -> Plan:
    return read_plan(Storage(), result.plan)


def trained(document: RebuildDocument, plan: FileReference, folder: Path, attempt: int = 1) -> TrainResult:
    inputs = TrainInputs(attempt, f"n{attempt}", plan, tuple(EarlierAttempt(n, f"n{n}") for n in range(1, attempt)))
    return train(context("train", document, folder, attempt), document, inputs)


def file(reference: FileReference) -> Path:
    path = local_path(reference.uri)
    assert path is not None
    return path


def test_it_trains_on_all_of_the_anchor_and_of_the_pool_but_what_is_held_out(
    base: dict[str, Any], shared_world: World, tmp_path: Path
) -> None:
    document = shared_world.rebuild(base, holdout="0.3", mixing__minPoolSamples=1)
    result = prepared(document, tmp_path)
    plan = drawn(result)
    assert result.anchor == 64
    assert (result.train, result.old) == (result.pool - result.held_out + 64, 64)
    assert 0 < result.held_out < result.pool
    assert len({sample.image.sha256 for sample in plan.train}) == result.train
    assert len([s for s in plan.train if s.origin == "anchor"]) == 64
    measured = {sample.image.sha256 for sample in (*plan.new_set, *plan.test, *plan.val)}
    assert not measured & {sample.image.sha256 for sample in plan.train}
    assert all(is_held_out(sample.document, Decimal("0.3")) for sample in plan.new_set)


@pytest.mark.row("R265")
def test_pages_that_the_anchor_has_in_several_files_are_one_page(
    base: dict[str, Any], world: World, tmp_path: Path
) -> None:
    """Exports that were put together have many twice: a rebuild that trains once on each leaves none out."""
    for seed in range(20):
        for kind, suffix in (("images", "png"), ("labels", "txt")):
            folder = world.anchor / kind / "train"
            (folder / f"again-{seed}.{suffix}").write_bytes((folder / f"page-{seed}.{suffix}").read_bytes())
    image, label = page(5000, strange=True)
    for level in (0, 1, 9):
        file_ = world.anchor / "images" / "train" / f"pool-{level}.png"
        cv2.imwrite(str(file_), image, [cv2.IMWRITE_PNG_COMPRESSION, level])
        (world.anchor / "labels" / "train" / f"pool-{level}.txt").write_text(label)
    index(world.anchor)
    result = prepared(world.rebuild(base, mixing__minPoolSamples=1), tmp_path)
    assert (result.anchor, result.old) == (65, 64), "what is in the pool is left out, in all its files"
    assert result.train >= result.pool - result.held_out + result.anchor - (result.pool + result.withdrawn)


def test_it_trains_on_more_old_pages_than_go_with_a_fine_tune(
    base: dict[str, Any], world: World, tmp_path: Path
) -> None:
    file = world.anchor / "finetune-index.json"
    content = json.loads(file.read_text())
    pages = content["splits"]["train"]
    more = [pages[0] | {"imageSha256": f"{n:064x}", "pixels": f"{n + 9000:064x}"} for n in range(3000)]
    file.write_text(json.dumps(content | {"splits": content["splits"] | {"train": [*pages, *more]}}))
    result = prepared(world.rebuild(base), tmp_path)
    assert (result.old, result.train) == (3064, result.outside + 3064)


def test_corrections_and_withdrawals_are_honoured(base: dict[str, Any], world: World, tmp_path: Path) -> None:
    again = write_new_pages(world.root / "again", count=4)
    relabel(again, 5000, 4)
    correct_pool(world.pool, again, world.anchor)
    first = drawn(prepared(world.rebuild(base, mixing__minPoolSamples=1), tmp_path / "first"))
    gone = first.train[0]
    withdraw_from(world.pool, images=(gone.image.uri,))
    plan = drawn(prepared(world.rebuild(base, mixing__minPoolSamples=1), tmp_path / "second"))
    assert gone.image.sha256 not in {sample.image.sha256 for sample in plan.train}
    assert plan.counts.train == first.counts.train - 1
    corrected = {(again / "labels" / "train" / f"page-{seed}.txt").read_bytes() for seed in range(5000, 5004)}
    taught = {Storage().read(sample.label.uri) for sample in first.train if sample.label is not None}
    assert corrected <= taught


def test_later_fine_tunes_count_from_what_it_was_trained_on(base: dict[str, Any], world: World, tmp_path: Path) -> None:
    plan = prepared(world.rebuild(base), tmp_path / "rebuild").plan
    rebuilt = base | {"inputs": {"uri": plan.uri, "sha256": plan.sha256}}
    add_to_pool(world.pool, write_new_pages(world.root / "more", count=11, first=7000), world.anchor)
    document = world.parsed(rebuilt, mixing__ratio="9")
    result = prepare(context("prepare", document, tmp_path / "p"), document, PrepareInputs(1, NONCE))
    assert (result.outside, result.pool) == (11, 23)
    old = [s for s in read_plan(Storage(), result.plan).train if s.origin == "pool"]
    assert len(old) == 11 + 12, "what the rebuild was trained on is old now, the pool's pages too"


def test_a_plan_that_leaves_pages_out_is_refused(base: dict[str, Any], shared_world: World, tmp_path: Path) -> None:
    document = shared_world.rebuild(base)
    honest = prepared(document, tmp_path / "p").plan
    content = json.loads(file(honest).read_text())

    def read(train: list[Any]) -> None:
        swapped = tmp_path / "swapped.json"
        swapped.write_text(json.dumps(content | {"train": train}))
        plan = FileReference(swapped.as_uri(), sha256_of(swapped.read_bytes()))
        inputs = EvaluateInputs(1, NONCE, 1, plan, FileReference("file:///c", "c" * 64))
        read_yardstick(context("evaluate", document, tmp_path / "s"), document, inputs)

    read(content["train"])
    for origin, said in (("anchor", "a rebuild trains on all"), ("pool", "other pages of the pool")):
        dropped = next(sample for sample in content["train"] if sample["origin"] == origin)
        with pytest.raises(StepError, match=said):
            read([sample for sample in content["train"] if sample is not dropped])


@pytest.fixture(scope="module")
def rebuilt(
    base: dict[str, Any], shared_world: World, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RebuildDocument, PrepareResult, TrainResult]:
    """A new base from random weights."""
    folder = tmp_path_factory.mktemp("rebuilt")
    document = shared_world.rebuild(base, training=SCRATCH, artifacts__uri=(folder / "out").as_uri())
    plan = prepared(document, folder / "p")
    return document, plan, trained(document, plan.plan, folder / "t")


def test_what_it_makes_is_a_base_that_can_be_fine_tuned(
    rebuilt: tuple[RebuildDocument, PrepareResult, TrainResult],
    base: dict[str, Any],
    shared_world: World,
    tmp_path: Path,
) -> None:
    import onnx

    _, plan, result = rebuilt
    model = onnx.load(str(file(FileReference(result.artifact.uri, result.artifact.sha256))))
    metadata = parse_metadata({p.key: p.value for p in model.metadata_props}, "it")
    assert metadata.lineage is not None
    assert (metadata.lineage.type, metadata.lineage.model, metadata.lineage.owner) == ("Base", "marks", "uid-rebuild")
    artifact = {"uri": result.artifact.uri, "sha256": result.artifact.sha256}
    checkpoint = {"uri": result.checkpoint.uri, "sha256": result.checkpoint.sha256}
    inputs = {"uri": plan.plan.uri, "sha256": plan.plan.sha256}
    made = {"version": "base_v2", "artifact": artifact, "checkpoint": checkpoint, "inputs": inputs}
    world = World(tmp_path)
    for name in ("anchor", "pool"):
        (tmp_path / name).symlink_to(shared_world.root / name)
    document = world.parsed(made, training=training_parameters(epochs=1), holdout="0", mixing__minPoolSamples=1)
    with pytest.raises(StepError, match="has 0 verified pages") as caught:
        prepare(context("prepare", document, tmp_path / "p"), document, PrepareInputs(1, NONCE))
    assert caught.value.reason is Reason.POOL_TOO_SMALL
    document = world.parsed(made | {"inputs": None}, training=training_parameters(epochs=1), mixing__ratio="1")
    drawn_anew = prepare(context("prepare", document, tmp_path / "q"), document, PrepareInputs(1, NONCE)).plan
    train(context("train", document, tmp_path / "t"), document, TrainInputs(1, NONCE, drawn_anew))


def test_it_is_measured_beside_the_base_that_it_is_to_replace(
    rebuilt: tuple[RebuildDocument, PrepareResult, TrainResult], base: dict[str, Any], tmp_path: Path
) -> None:
    document, plan, result = rebuilt
    candidate = FileReference(result.artifact.uri, result.artifact.sha256)
    inputs = EvaluateInputs(1, NONCE, 1, plan.plan, candidate)
    measured = evaluate(context("evaluate", document, tmp_path / "e"), document, inputs).models
    assert (measured.candidate.sha256, measured.base.sha256) == (candidate.sha256, base["artifact"]["sha256"])


@pytest.mark.deep
def test_one_that_was_killed_goes_on_and_makes_the_very_same_base(
    rebuilt: tuple[RebuildDocument, PrepareResult, TrainResult],
    shared_world: World,
    base: dict[str, Any],
    tmp_path: Path,
) -> None:
    _, plan, whole = rebuilt
    document = shared_world.rebuild(base, training=SCRATCH, artifacts__uri=(tmp_path / "out").as_uri())
    with killed_in(25):
        trained(document, plan.plan, tmp_path / "first")
    result = trained(document, plan.plan, tmp_path / "second", attempt=2)
    assert [(before.attempt, before.epoch) for before in result.resumed] == [(1, 2)]
    assert result.artifact.sha256 == whole.artifact.sha256


def test_random_weights_hang_on_the_seed_and_nothing_of_the_base(
    base: dict[str, Any], best_pt: Path, tmp_path: Path
) -> None:
    import torch

    from finetune_trainer.training.checkpoint import load_checkpoint, weights_of
    from finetune_trainer.training.start import random_start

    loaded = load_checkpoint(best_pt, "it")
    made = [random_start(loaded, CLASSES, seed=s, target=tmp_path / f"{i}.pt") for i, s in enumerate((7, 7, 8))]
    same, again, other = (weights_of(load_checkpoint(path, "it")).state_dict() for path in made)
    before = weights_of(loaded).state_dict()
    convolutions = [name for name, tensor in same.items() if tensor.dim() == 4 and "dfl" not in name]
    assert convolutions
    assert all(torch.equal(same[name], again[name]) for name in same)
    assert not any(torch.equal(same[name], other[name]) for name in convolutions)
    assert not any(torch.equal(same[name], before[name].float()) for name in convolutions)


def reference(path: Path) -> dict[str, str]:
    return {"uri": path.as_uri(), "sha256": sha256_of(path.read_bytes())}


def test_a_start_of_other_classes_lends_what_fits(
    base: dict[str, Any], best_pt: Path, shared_world: World, tmp_path: Path
) -> None:
    from finetune_trainer.training.checkpoint import load_checkpoint
    from finetune_trainer.training.start import random_start

    start = random_start(load_checkpoint(best_pt, "it"), ("cat", "dog"), seed=1, target=tmp_path / "general.pt")
    parameters = training_parameters(epochs=1)
    document = shared_world.rebuild(
        base, reference(start), training=parameters, artifacts__uri=(tmp_path / "out").as_uri()
    )
    result = trained(document, prepared(document, tmp_path / "p").plan, tmp_path / "t")
    assert result.epochs == 1


def test_a_start_that_is_a_version_of_ours_is_refused(
    base: dict[str, Any], shared_world: World, tmp_path: Path
) -> None:
    document = shared_world.rebuild(base, base["checkpoint"], artifacts__uri=(tmp_path / "out").as_uri())
    plan = prepared(document, tmp_path / "p").plan
    with pytest.raises(StepError, match="is a version of this project") as caught:
        trained(document, plan, tmp_path / "t")
    assert caught.value.reason is Reason.BASE_UNUSABLE
    assert "spec.rebuild.start out" in caught.value.remedy


def test_a_start_that_is_not_there_ends_before_a_gpu_is_asked_for(
    base: dict[str, Any], shared_world: World, tmp_path: Path
) -> None:
    document = shared_world.rebuild(base, {"uri": "file:///nowhere/start.pt", "sha256": "0" * 64})
    with pytest.raises(StepError, match=r"The start file:///nowhere/start\.pt"):
        prepared(document, tmp_path)
