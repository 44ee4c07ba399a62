"""Which runs learned from what is withdrawn or corrected by now."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from finetune_trainer.cli import main
from finetune_trainer.data.lineage import RunLineage, pool_lineage
from finetune_trainer.documents.codec import FileReference
from finetune_trainer.errors import StepError
from finetune_trainer.storage import Storage, local_path
from trainer.policy import FIRST, Policy, forget_pixels, of_the_last_release, saved_anew
from trainer.world import NONCE, World, add_to_pool, relabel

ARTIFACT = "a" * 64


def published(world: World, run: str, plan: FileReference, *, trained: bool = True, attempt: int = 1) -> None:
    """Lay a plan, and what a training reports, where the steps of a run write."""
    source = local_path(plan.uri)
    assert source is not None
    folder = world.artifacts / "ml" / run / f"attempt-{attempt}"
    (folder / f"prepare-{NONCE}").mkdir(parents=True)
    shutil.copy(source, folder / f"prepare-{NONCE}" / "plan.json")
    if trained:
        emitted = {"step": "train", "outcome": "Succeeded", "result": {"artifact": {"sha256": ARTIFACT}}}
        content = {
            "schema": "finetune-operator.io/step-manifest/v1",
            "step": "train",
            "owner": run,
            "attempt": attempt,
            "round": None,
            "files": [],
            "emitted": emitted,
        }
        (folder / f"train-{NONCE}").mkdir()
        (folder / f"train-{NONCE}" / "manifest.json").write_text(json.dumps(content))


def lineage(policy: Policy) -> dict[str, RunLineage]:
    runs = pool_lineage(Storage(), policy.pool.as_uri(), policy.world.artifacts.as_uri())
    return {run.run: run for run in runs.runs}


def test_runs_that_trained_on_withdrawn_and_corrected_pages_are_named_with_their_pages(policy: Policy) -> None:
    published(policy.world, "uid-1", policy.run())
    policy.add(8000, 5)
    published(policy.world, "uid-2", policy.run(), trained=False)
    policy.withdraw(FIRST, 1)
    policy.correct(8000, 2)
    published(policy.world, "uid-3", policy.run())
    policy.withdraw(8001, 1, erase=True)
    runs = lineage(policy)
    assert {run: (of.artifacts, of.withdrawn, of.corrected) for run, of in runs.items()} == {
        "uid-1": ((ARTIFACT,), 1, 0),
        "uid-2": ((), 2, 1),
        "uid-3": ((ARTIFACT,), 1, 0),
    }
    assert {page.became for page in runs["uid-2"].pages} == {"withdrawn", "corrected"}
    assert all(page.document for page in runs["uid-2"].pages)


def test_every_attempt_of_a_run_counts_and_so_do_plans_of_the_last_release(policy: Policy) -> None:
    first = policy.run()
    policy.correct(FIRST, 1)
    published(policy.world, "uid-1", of_the_last_release(first))
    published(policy.world, "uid-1", policy.run(), attempt=2)
    policy.withdraw(FIRST, 1)
    assert lineage(policy)["uid-1"].withdrawn == 2, "the page with its one label, and with its other"


def test_a_label_that_a_page_has_in_another_pool_is_no_label_that_was_corrected(policy: Policy) -> None:
    here = policy.pool
    policy.pool = policy.world.root / "second"
    folder = policy.folder(FIRST, 12)
    relabel(folder, FIRST, 12)
    add_to_pool(policy.pool, folder, policy.world.anchor)
    published(policy.world, "uid-1", policy.run())
    policy.pool = here
    assert lineage(policy) == {}


def trained_of_another_pool(policy: Policy) -> Path:
    """Publish a run of a pool that has two of the policy's pages in files of its own; return where these came from."""
    here, policy.pool = policy.pool, policy.world.root / "second"
    folder = policy.folder(FIRST, 2)
    saved_anew(folder)
    add_to_pool(policy.pool, folder, policy.world.anchor)
    published(policy.world, "uid-1", policy.run())
    policy.pool = here
    return folder


def test_a_page_that_trained_out_of_another_pool_in_another_file_is_found_by_its_pixels(policy: Policy) -> None:
    trained_of_another_pool(policy)
    policy.withdraw(FIRST, 1)
    assert lineage(policy)["uid-1"].withdrawn == 1


def test_a_copy_that_an_earlier_release_took_for_a_page_taught_what_was_corrected_in_the_other_file(
    policy: Policy,
) -> None:
    here = policy.pool
    folder = trained_of_another_pool(policy)
    forget_pixels(here)
    add_to_pool(here, folder, policy.world.anchor)
    forget_pixels(here)
    policy.correct(FIRST, 1)
    assert lineage(policy)["uid-1"].corrected == 1


def test_a_page_that_is_held_out_taught_nobody(policy: Policy) -> None:
    policy.holdout = "0.5"
    plan = policy.run()
    published(policy.world, "uid-1", plan)
    policy.withdraw(FIRST, 12)
    assert 0 < lineage(policy)["uid-1"].withdrawn < 12


@pytest.mark.parametrize("place", ["ml/uid-1", "other"])
def test_a_place_without_any_plan_is_no_answer(policy: Policy, place: str) -> None:
    published(policy.world, "uid-1", policy.run())
    policy.withdraw(FIRST, 1)
    (policy.world.artifacts / "other").mkdir()
    with pytest.raises(StepError, match="No plan of a run lies below"):
        pool_lineage(Storage(), policy.pool.as_uri(), (policy.world.artifacts / place).as_uri())


def test_a_plan_that_cannot_be_read_is_named(policy: Policy, capsys: pytest.CaptureFixture[str]) -> None:
    published(policy.world, "uid-1", policy.run())
    [plan] = policy.world.artifacts.rglob("plan.json")
    plan.write_text("{")
    other: Path = policy.world.artifacts / "ml" / "uid-1" / "notes" / "plan.json"
    other.parent.mkdir()
    other.write_text("not ours")
    assert main(["pool", "lineage", str(policy.pool), "--artifacts", str(policy.world.artifacts)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["plans"], printed["runs"]) == (1, [])
    assert [place.rpartition("/")[2] for place in printed["unreadable"]] == ["plan.json"]
