"""A run from apply to its end: phases, Jobs, what they are told, and what is left behind."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from msgspec.structs import replace as updated

from finetune_operator.api.policy import Gates, MixingRules, RegressionGate
from finetune_operator.api.run import Review, RunMixing
from finetune_operator.api.run_document import document_json
from finetune_operator.api.training import TrainingOverrides
from finetune_operator.decide.decision import CreateJob, CreateModelVersion, CreatePromotion, CreateSnapshot
from finetune_operator.decide.views import Problem
from unit.decide.run.results import (
    BASE,
    CANDIDATE,
    CLASSES,
    LIVE,
    START,
    evaluate_result,
    sha,
    train_result,
)
from unit.decide.run.world import World, base, deleted, run


def told(world: World, step: str) -> dict[str, object]:
    """What the newest Job of a step was told."""
    inputs = [a.step_inputs for a in world.history if isinstance(a, CreateJob) and a.step == step]
    return dict(json.loads(inputs[-1]))


@pytest.mark.row("R3")
def test_the_first_visit_records_the_start_and_every_condition() -> None:
    world = World(policy=None)
    world.settle()
    assert world.status.started_at == START
    assert [c.type for c in world.status.conditions] == [
        "Accepted", "Prepared", "Trained", "Evaluated", "GatesPassed", "Promoted", "Finished",
    ]  # fmt: skip
    assert {c.status for c in world.status.conditions if c.type != "Accepted"} == {"Unknown"}


@pytest.mark.row("R11")
def test_an_accepted_run_fixes_its_document_before_its_first_job() -> None:
    world = World()
    world.decide()
    assert [type(a) for a in world.history[:2]] == [CreateSnapshot, CreateJob]
    assert world.snapshot is not None
    assert world.snapshot.classes == CLASSES
    assert world.snapshot.base.version == "base_v1"
    assert world.snapshot.artifacts.uri == f"file:///artifacts/ml/{world.run.metadata.uid}"
    assert world.snapshot.gates is not None
    assert world.phase() == "Preparing"
    assert world.condition("Accepted") == ("True", "Accepted")


@pytest.mark.row("R11")
def test_the_document_says_how_old_samples_are_drawn() -> None:
    world = World(run=run(mixing=RunMixing(ratio="7.5", seed=0)))
    world.set_rules(mixing=MixingRules(max_old=900, interpolation="LogLog"), min_pool_samples=40)
    world.settle()
    assert world.snapshot is not None
    assert document_json(world.snapshot)["mixing"] == {
        "minPoolSamples": 40,
        "maxOld": 900,
        "interpolation": "LogLog",
        "ratio": "7.5",
        "seed": 0,
    }


@pytest.mark.row("R32")
def test_a_passing_run_goes_live_through_three_jobs_and_one_promotion() -> None:
    world = World().judged()
    assert world.phase() == "Promoting"
    assert world.status.verdict == "Pass"
    assert world.condition("GatesPassed") == ("True", "Pass")
    assert (world.status.version, world.status.model_version) == ("ft_v1.1", "invoice-fields-ft-v1.1")
    world.promotion_is("Succeeded", message="ft_v1.1 is live")
    assert world.phase() == "Promoted"
    assert world.condition("Promoted") == ("True", "Succeeded")
    assert world.condition("Finished") == ("True", "Succeeded")
    assert [world.jobs_made(step) for step in ("prepare", "train", "evaluate")] == [1, 1, 1]
    assert world.events() == ["Preparing", "Training", "Evaluating", "Promoting", "Promoted"]


@pytest.mark.row("R24")
def test_the_version_carries_lineage_and_evidence() -> None:
    world = World().judged()
    (made,) = [a for a in world.history if isinstance(a, CreateModelVersion)]
    spec = made.spec
    assert (spec.type, spec.base, spec.artifact.sha256) == ("FineTuned", "base_v1", CANDIDATE)
    assert spec.lineage is not None
    assert (spec.lineage.run, spec.lineage.pool, spec.lineage.base_sha256) == ("first", 60, BASE)
    assert spec.evidence is not None
    assert world.status.evidence is not None
    assert spec.evidence.digest == world.status.evidence.digest
    assert spec.evidence.figures == world.status.figures != ()


@pytest.mark.row("R32")
@pytest.mark.parametrize(("version", "digest", "asked"), [(None, LIVE, None), ("base_v1", BASE, "base_v1")])
def test_the_promotion_expects_what_the_evidence_was_measured_against(
    version: str | None, digest: str, asked: str | None
) -> None:
    world = World()
    world.go_live(version, digest)
    world.judged()
    (made,) = [a for a in world.history if isinstance(a, CreatePromotion)]
    assert (made.spec.version, made.spec.from_version, made.spec.approval) == ("ft_v1.1", asked, None)


def test_jobs_are_told_what_the_contract_says() -> None:
    world = World(versions=(base(), base("ft_v1.1", LIVE, type="FineTuned", inputs=None)))
    world.go_live("ft_v1.1")
    world.trained()
    assert told(world, "prepare") == {"attempt": 1, "nonce": "0a1b", "live": None, "judged": []}
    plan = {"uri": world.status.inputs.plan.uri, "sha256": sha("plan")}  # type: ignore[union-attr]
    assert told(world, "train") == {"attempt": 1, "nonce": "0a1b", "plan": plan, "earlier": []}
    evaluate = told(world, "evaluate")
    assert evaluate["round"] == 1
    assert evaluate["live"] == {
        "version": "ft_v1.1",
        "artifact": {"uri": "file:///models/ft_v1.1.onnx", "sha256": LIVE},
        "inputs": None,
    }


def test_a_live_base_is_not_measured_twice() -> None:
    world = World()
    world.go_live("base_v1", BASE)
    world.trained()
    assert told(world, "evaluate")["live"] is None


@pytest.mark.row("R2")
def test_final_means_final_and_only_cleans_up() -> None:
    world = World().judged(candidate="0.900000")
    assert world.phase() == "Rejected"
    before = world.status
    world.jobs = tuple(replace(j, state="Active", pods_gone=False) for j in world.jobs)
    world.edit(suspend=True)
    world.go_live("ft_v1.7")
    decision = world.decide()
    assert decision.status == before
    assert {type(a).__name__ for a in decision.actions} == {"DeleteJob"}
    world.jobs = ()
    assert world.decide().actions == ()


@pytest.mark.row("R1")
@pytest.mark.parametrize("place", ["new", "prepare", "train", "evaluate", "review"])
def test_a_deleted_run_decides_nothing(place: str) -> None:
    world = World.at(place)
    world.run = updated(world.run, metadata=deleted(world.run.metadata))
    decision = world.decide()
    assert decision.actions == ()
    assert decision.status == world.status


@pytest.mark.row("R35")
def test_only_the_snapshot_counts_once_the_run_has_started() -> None:
    world = World().prepared()
    assert world.policy is not None
    world.set_rules(classes=("other",), min_pool_samples=9999)
    world.edit(base_version="base_v9", review=Review(decision="Reject", evidence="sha256:none", by="ann"))
    world.complete("train", train_result())
    world.complete("evaluate", evaluate_result())
    assert world.phase() == "Promoting"


@pytest.mark.row("R37")
def test_a_foreign_object_under_the_documents_name_ends_the_run() -> None:
    world = World(snapshot_problem=Problem("NameTaken", "ConfigMap x is somebody else's"))
    world.settle()
    assert (world.phase(), world.condition("Finished")) == ("Failed", ("True", "NameTaken"))
    assert world.jobs == ()


@pytest.mark.row("R38")
def test_a_run_whose_document_was_deleted_ends_after_a_moment() -> None:
    world = World().prepared()
    world.snapshot = None
    world.settle()
    assert world.phase() == "Training"
    assert world.condition("Accepted") == ("False", "SnapshotMissing")
    assert not world.job("train").deleting
    world.wait(31)
    world.decide()
    world.jobs = ()
    world.settle()
    assert (world.phase(), world.condition("Finished")) == ("Failed", ("True", "SnapshotLost"))


@pytest.mark.row("R38")
def test_a_document_that_comes_back_in_time_is_no_loss() -> None:
    world = World().prepared()
    kept, world.snapshot = world.snapshot, None
    world.settle()
    world.snapshot = kept
    world.settle()
    assert world.condition("Accepted") == ("True", "Accepted")


@pytest.mark.row("R20")
@pytest.mark.parametrize("difference", ["seed", "epochs", "base", "gates", "deleted"])
def test_a_run_that_asks_for_something_else_trains(difference: str) -> None:
    first = World().judged()
    again = World(versions=first.versions)
    match difference:
        case "seed":
            again.run = run(mixing=RunMixing(seed=7))
        case "epochs":
            again.run = run(training=TrainingOverrides(epochs=3))
        case "base":
            again.versions = (base(digest="bb" * 32), *first.versions[1:])
        case "deleted":
            twin = first.versions[1]
            again.versions = (first.versions[0], updated(twin, metadata=deleted(twin.metadata)))
        case _:
            again.set_rules(gates=Gates(regression=RegressionGate(review_at_points=Decimal("0.5"))))
    again.prepared()
    assert again.phase() == "Training"
