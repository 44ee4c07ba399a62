"""`prepare`: each bad input ends there with its reason, place and remedy; a good one becomes a plan."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune_trainer.data.anchor import read_index
from finetune_trainer.documents.codec import FileReference
from finetune_trainer.documents.inputs import LiveInputs, PrepareInputs
from finetune_trainer.documents.plan import Plan, parse_plan
from finetune_trainer.documents.result import PrepareResult
from finetune_trainer.errors import ErrorClass, Reason, StepError
from finetune_trainer.steps.prepare import prepare
from finetune_trainer.storage import Storage, local_path
from trainer.world import NONCE, World, add_to_pool, context, index, write_new_pages

Spoil = Callable[[World, dict[str, Any]], dict[str, Any] | None]


def run(
    world: World, base: dict[str, Any], scratch: Path, live: LiveInputs | None = None, attempt: int = 1, **changes: Any
) -> PrepareResult:
    document = world.parsed(base, **changes)
    return prepare(context("prepare", document, scratch, attempt), document, PrepareInputs(attempt, NONCE, live))


def plan_of(result: PrepareResult) -> Plan:
    return parse_plan(Storage().read(result.plan.uri), result.plan.uri)


def batch(world: World) -> tuple[Path, dict[str, Any]]:
    [file] = (world.pool / "batches").iterdir()
    return file, json.loads(file.read_text())


def rewrite_batch(world: World, change: Callable[[dict[str, Any]], None]) -> None:
    file, content = batch(world)
    change(content)
    file.write_text(json.dumps(content))


def rewrite_label(world: World, text: str) -> None:
    """Make the first sample's label another one, digest and all, as a buggy producer would."""
    import hashlib

    def change(content: dict[str, Any]) -> None:
        (world.pool / "files" / "bad.txt").write_text(text)
        content["samples"][0]["label"] = {"path": "files/bad.txt", "sha256": hashlib.sha256(text.encode()).hexdigest()}

    rewrite_batch(world, change)


def dense(world: World, _base: dict[str, Any]) -> None:
    rewrite_label(world, "".join(f"0 {0.1 + row * 0.002:.4f} 0.5 0.01 0.01\n" for row in range(301)))


def too_small(_world: World, _base: dict[str, Any]) -> dict[str, Any]:
    return {"mixing__minPoolSamples": 50}


def all_held_out(_world: World, _base: dict[str, Any]) -> dict[str, Any]:
    return {"holdout": "1"}


def unreadable_pool(_world: World, _base: dict[str, Any]) -> dict[str, Any]:
    return {"data__pool__uri": "ftp://somewhere/pool"}


def empty_pool(world: World, _base: dict[str, Any]) -> None:
    shutil.rmtree(world.pool)


def no_index(world: World, _base: dict[str, Any]) -> None:
    (world.anchor / "finetune-index.json").unlink()


def other_classes(_world: World, _base: dict[str, Any]) -> dict[str, Any]:
    return {"classes": ["date", "number", "total"]}


def pool_of_other_classes(world: World, _base: dict[str, Any]) -> None:
    rewrite_batch(world, lambda content: content.update(classes=["a", "b", "c"]))


def labels_out_of_range(world: World, _base: dict[str, Any]) -> None:
    rewrite_label(world, "7 0.5 0.5 0.1 0.1")


def six_columns(world: World, _base: dict[str, Any]) -> None:
    rewrite_label(world, "0 0.5 0.5 0.1 0.1 0.9")


def lost_label(world: World, _base: dict[str, Any]) -> None:
    (world.pool / batch(world)[1]["samples"][0]["label"]["path"]).unlink()


def lost_anchor_label(world: World, _base: dict[str, Any]) -> None:
    (world.anchor / "labels/test/page-2000.txt").unlink()


def lost_image(world: World, _base: dict[str, Any]) -> None:
    (world.pool / batch(world)[1]["samples"][0]["image"]["path"]).unlink()


def changed_image(world: World, _base: dict[str, Any]) -> None:
    samples = batch(world)[1]["samples"]
    first, second = (world.pool / samples[i]["image"]["path"] for i in (0, 1))
    first.write_bytes(second.read_bytes())


def changed_anchor_label(world: World, _base: dict[str, Any]) -> None:
    (world.anchor / "labels/test/page-2000.txt").write_text("0 0.5 0.5 0.2 0.2\n")


def changed_anchor_image(world: World, _base: dict[str, Any]) -> None:
    with (world.anchor / "images/train/page-3.png").open("ab") as stream:
        stream.write(b"more")


def held_out_page(world: World, _base: dict[str, Any]) -> None:
    entry = read_index(Storage(), world.anchor.as_uri()).splits.test[0]

    def change(content: dict[str, Any]) -> None:
        target = world.pool / "files" / "page.png"
        shutil.copy(world.anchor / entry.image, target)
        content["samples"][0]["image"] = {
            "path": "files/page.png",
            "sha256": entry.image_sha256,
            "bytes": target.stat().st_size,
        }

    rewrite_batch(world, change)


def nobody_verified(world: World, _base: dict[str, Any]) -> None:
    rewrite_batch(world, lambda content: content["samples"][3].update(verifiedBy=""))


def no_date(world: World, _base: dict[str, Any]) -> None:
    rewrite_batch(world, lambda content: content["samples"][3].update(verifiedAt="yesterday"))


def none_held_out(_world: World, _base: dict[str, Any]) -> dict[str, Any]:
    return {"holdout": "0.000001"}


def base_gone(_world: World, base: dict[str, Any]) -> None:
    base["artifact"] = base["artifact"] | {"uri": base["artifact"]["uri"] + ".gone"}


def base_changed(_world: World, base: dict[str, Any]) -> None:
    base["artifact"] = base["artifact"] | {"sha256": "0" * 64}


def checkpoint_gone(_world: World, base: dict[str, Any]) -> None:
    base["checkpoint"] = base["checkpoint"] | {"uri": base["checkpoint"]["uri"] + ".gone"}


def other_size(_world: World, _base: dict[str, Any]) -> dict[str, Any]:
    return {"serving__imageSize": 160}


@pytest.mark.parametrize(
    ("spoil", "reason", "said"),
    [
        (dense, Reason.TOO_MANY_BOXES, "maxDetections is 300"),
        (too_small, Reason.POOL_TOO_SMALL, "12 verified pages; at least 50"),
        (all_held_out, Reason.POOL_TOO_SMALL, "none is left to train on"),
        (none_held_out, Reason.POOL_TOO_SMALL, "None of the 12 pages of the pool is held out (holdout 0.000001)"),
        (empty_pool, Reason.DATA_UNREADABLE, "No batch of a pool lies below"),
        (unreadable_pool, Reason.DATA_UNREADABLE, "ftp://"),
        (no_index, Reason.ANCHOR_INDEX_MISSING, "finetune-index.json"),
        (other_classes, Reason.CLASS_LIST_DIFFERS, "index 0: 'number' instead of 'date'"),
        (pool_of_other_classes, Reason.CLASS_LIST_DIFFERS, "'a' instead of 'number'"),
        (labels_out_of_range, Reason.LABELS_OUT_OF_RANGE, "line 1: class 7"),
        (six_columns, Reason.LABEL_COLUMNS, "6 columns"),
        (lost_label, Reason.LABEL_MISSING, "does not exist"),
        (lost_anchor_label, Reason.LABEL_MISSING, "page-2000.txt"),
        (lost_image, Reason.IMAGE_UNREADABLE, "does not exist"),
        (changed_image, Reason.DIGEST_MISMATCH, "recorded"),
        (changed_anchor_label, Reason.DIGEST_MISMATCH, "page-2000.txt"),
        (changed_anchor_image, Reason.DIGEST_MISMATCH, "page-3.png"),
        (held_out_page, Reason.HELD_OUT_PAGE_IN_POOL, "images/test/"),
        (nobody_verified, Reason.VERIFIER_MISSING, "nobody"),
        (no_date, Reason.VERIFIER_MISSING, "yesterday"),
        (base_gone, Reason.BASE_UNUSABLE, "does not exist"),
        (base_changed, Reason.DIGEST_MISMATCH, "expected 0000"),
        (checkpoint_gone, Reason.BASE_UNUSABLE, "checkpoint"),
        (other_size, Reason.BASE_UNUSABLE, "128 pixels"),
    ],
)
def test_bad_input_ends_in_prepare(
    world: World, base: dict[str, Any], tmp_path: Path, spoil: Spoil, reason: Reason, said: str
) -> None:
    own = dict(base)
    changes = spoil(world, own) or {}
    with pytest.raises(StepError) as caught:
        run(world, own, tmp_path / "scratch", **changes)
    assert (caught.value.reason, caught.value.error_class) == (reason, ErrorClass.BAD_INPUT)
    assert said in caught.value.message
    assert caught.value.remedy
    assert not (world.artifacts).exists() or not list(world.artifacts.rglob("plan.json"))


def test_only_files_of_the_plan_train_and_each_is_named_by_digest(
    world: World, base: dict[str, Any], tmp_path: Path
) -> None:
    plan = plan_of(run(world, base, tmp_path / "s", mixing__ratio="2"))
    assert [s.origin for s in plan.train].count("pool") == 12
    assert [s.origin for s in plan.train].count("anchor") == 24
    entries = read_index(Storage(), world.anchor.as_uri()).splits
    assert {s.image.sha256 for s in plan.train if s.origin == "anchor"} <= {e.image_sha256 for e in entries.train}
    assert {s.image.sha256 for s in plan.test} == {e.image_sha256 for e in entries.test}
    trained = {s.image.sha256 for s in plan.train}
    assert not trained & {s.image.sha256 for s in (*plan.val, *plan.test)}


def test_the_same_seed_makes_the_same_plan_and_another_one_another(
    world: World, base: dict[str, Any], tmp_path: Path
) -> None:
    def drawn(attempt: int, seed: int) -> set[str]:
        result = run(world, base, tmp_path / f"s{attempt}", attempt=attempt, mixing__ratio="2", mixing__seed=seed)
        return {s.image.sha256 for s in plan_of(result).train}

    assert drawn(1, 7) == drawn(2, 7) != drawn(3, 8)


def test_a_page_that_the_live_version_has_seen_is_not_fresh(world: World, base: dict[str, Any], tmp_path: Path) -> None:
    first = run(world, base, tmp_path / "s1")
    add_to_pool(world.pool, write_new_pages(tmp_path / "more", count=5, first=8000), world.anchor)
    live = LiveInputs("ft_v1.1", FileReference(first.plan.uri, first.plan.sha256))
    second = run(world, base, tmp_path / "s2", live, attempt=2)
    assert (second.pool, second.fresh) == (17, 5)
    assert sum(s.fresh for s in plan_of(second).new_set) == 5


def test_held_out_documents_never_train_and_alone_are_judged(
    world: World, base: dict[str, Any], tmp_path: Path
) -> None:
    pages = {f"page-{i}": f"doc-{i % 4}" for i in range(8000, 8020)}
    add_to_pool(world.pool, write_new_pages(tmp_path / "more", count=20, first=8000), world.anchor, pages)
    result = run(world, base, tmp_path / "s", holdout="0.5")
    plan = plan_of(result)
    judged = {s.image.sha256 for s in plan.new_set}
    assert result.pool == 32
    assert 0 < result.held_out < 32
    assert result.outside == result.new == 32 - result.held_out
    assert len(judged) == result.held_out
    assert not judged & {s.image.sha256 for s in plan.train}
    assert {s.document for s in plan.new_set} == set(plan.held_out_documents)
    assert result.ratio == "50", "the row of the table looks at what trains and the base does not know"
    assert result.old == min(50 * result.outside, 64)


def test_a_page_of_the_anchor_that_was_verified_anew_trains_once_and_is_not_judged(
    world: World, base: dict[str, Any], tmp_path: Path
) -> None:
    folder = write_new_pages(tmp_path / "more", count=1, first=3, strange=False)
    add_to_pool(world.pool, folder, world.anchor)
    plan = plan_of(run(world, base, tmp_path / "s"))
    images = [s.image.sha256 for s in plan.train]
    assert len(images) == len(set(images))
    assert plan.counts.pool == 13
    assert len(plan.new_set) == 12


def test_a_fine_tune_is_no_base(world: World, base: dict[str, Any], tmp_path: Path) -> None:
    import onnx

    source = local_path(base["artifact"]["uri"])
    assert source is not None
    model = onnx.load(str(source))
    for entry in model.metadata_props:
        if entry.key == "finetune.lineage":
            entry.value = '{"type": "FineTuned", "base": "base_v1", "owner": "u"}'
    (tmp_path / "tuned.onnx").write_bytes(model.SerializeToString())
    import hashlib

    digest = hashlib.sha256((tmp_path / "tuned.onnx").read_bytes()).hexdigest()
    own = base | {"artifact": {"uri": (tmp_path / "tuned.onnx").as_uri(), "sha256": digest}}
    with pytest.raises(StepError, match="itself a fine-tune") as caught:
        run(world, own, tmp_path / "s")
    assert caught.value.reason is Reason.BASE_UNUSABLE


def test_an_index_that_was_made_anew_is_used(world: World, base: dict[str, Any], tmp_path: Path) -> None:
    (world.anchor / "images/train/page-3.png").unlink()
    (world.anchor / "labels/train/page-3.txt").unlink()
    index(world.anchor)
    assert run(world, base, tmp_path / "s").anchor == 63
