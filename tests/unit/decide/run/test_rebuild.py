"""A run that makes a new base: from nothing of ours, on everything, judged like any other, and recorded as a base."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace as updated

from finetune_operator.api.meta import FileReference, find
from finetune_operator.api.model_version import Lineage
from finetune_operator.api.policy import LONGEST_REBUILD, MixingRules, RebuildRules
from finetune_operator.api.policy_status import Judged
from finetune_operator.api.run import RunMixing
from finetune_operator.api.run_document import document_json
from finetune_operator.api.training import Augment, RebuildTraining, Training, TrainingOverrides
from finetune_operator.decide.decision import CreateJob, CreateModelVersion, CreatePromotion
from finetune_operator.decide.run.stage import RunContext, deadline_of
from house.crds import crds
from unit.decide.run.results import BASE, LIVE, START, evaluate_result, prepare_result, sha, train_result
from unit.decide.run.world import World, base, run, template

PLAN = FileReference(uri="file:///artifacts/old/plan.json", sha256=sha("old plan"))
START_AT = FileReference(uri="s3://weights/yolo11n.pt", sha256=sha("somebody's checkpoint"))


def drawn(**changes: Any) -> dict[str, Any]:
    """Counts of a rebuild: 60 of the pool, all outside the base, and 1,500 pages of the anchor."""
    return prepare_result(**{"train": 1560, "old": 1500, "ratio": "0", **changes})


def rebuilds(**spec: Any) -> World:
    return World(run=run(mode="Rebuild", **spec))


def rebuilt(world: World | None = None, **measured: Any) -> World:
    """A world whose rebuild was judged."""
    world = world or rebuilds()
    world.trained(drawn(), images=1560)
    world.start("evaluate")
    world.complete("evaluate", evaluate_result(**measured))
    return world


def document(world: World) -> dict[str, Any]:
    assert world.snapshot is not None
    return document_json(world.snapshot)


def evaluation(world: World) -> dict[str, Any]:
    """What the evaluation's step is given."""
    [job] = [action for action in world.history if isinstance(action, CreateJob) and action.step == "evaluate"]
    given: dict[str, Any] = json.loads(job.step_inputs)
    return given


@pytest.mark.row("R256")
def test_an_evaluation_opens_the_checkpoint_that_later_runs_begin_with() -> None:
    """Nobody begins with a fine-tune's."""
    assert evaluation(rebuilt())["checkpoint"] == train_result(images=1560)["checkpoint"]
    world = World()
    world.trained()
    assert "checkpoint" not in evaluation(world)


@pytest.mark.row("R230")
def test_a_rebuild_has_the_policys_own_parameters_and_the_old_base_beside() -> None:
    world = rebuilds()
    world.set_rules(training=Training(augment=Augment(mosaic="0.5")))  # type: ignore[arg-type]
    world.settle()
    said = document(world)
    assert (said["mode"], said["base"]["version"], said["start"]) == ("Rebuild", "base_v1", None)
    assert sorted(said["mixing"]) == ["minPoolSamples", "seed"]
    training = said["training"]
    asked = ("epochs", "optimizer", "lr0", "momentum", "warmupEpochs", "warmupBiasLr", "patience", "freeze")
    assert [training[name] for name in asked] == [100, "SGD", "0.01", "0.937", "3", "0.1", 20, 0]
    assert training["augment"]["mosaic"] == "0.5", "what may be done to a page is the policy's"


@pytest.mark.row("R230")
def test_a_rebuild_starts_from_the_checkpoint_that_the_policy_names_and_a_run_overrides_parameters() -> None:
    world = rebuilds(training=TrainingOverrides(epochs=3), mixing=RunMixing(seed=7))
    world.set_rules(rebuild=RebuildRules(start=START_AT, training=RebuildTraining(batch=8)))
    world.settle()
    said = document(world)
    assert said["start"] == {"uri": START_AT.uri, "sha256": START_AT.sha256}
    assert (said["training"]["epochs"], said["training"]["batch"], said["mixing"]["seed"]) == (3, 8, 7)


@pytest.mark.row("R230")
def test_a_fine_tune_is_asked_for_as_it_was_before_there_were_rebuilds() -> None:
    """Hashes that are recorded tell a repeated run: rules of rebuilds make no fine-tune another one."""
    first, second = World(), World()
    second.set_rules(rebuild=RebuildRules(start=START_AT, pool_samples=9))
    first.settle()
    second.settle()
    assert first.status.asks == second.status.asks
    assert document(first) == document(second)
    other = rebuilds()
    other.settle()
    assert other.status.asks != first.status.asks
    again = rebuilds()
    again.set_rules(mixing=MixingRules(max_old=3))
    again.settle()
    assert again.status.asks == other.status.asks, "a rebuild draws no mix"


@pytest.mark.row("R231")
@pytest.mark.parametrize("of", ["checkpoint", "artifact"])
def test_a_rebuild_from_a_version_of_ours_is_refused_before_anything_starts(of: str) -> None:
    ours = base("ft_v1.1", LIVE, type="FineTuned")
    digest = getattr(ours.spec, of).sha256
    world = World(run=run(mode="Rebuild"), versions=(base(), ours))
    world.set_rules(rebuild=RebuildRules(start=updated(START_AT, sha256=digest)))
    world.settle()
    assert (world.phase(), world.condition("Accepted")) == ("Failed", ("False", "StartIsAVersion"))
    assert "ft_v1.1" in world.status.message
    assert "random weights" in world.status.message
    assert world.jobs == ()


@pytest.mark.row("R231")
def test_a_fine_tune_hangs_on_no_start_of_rebuilds() -> None:
    world = World()
    world.set_rules(rebuild=RebuildRules(start=base().spec.checkpoint))
    world.settle()
    assert world.phase() == "Preparing"


@pytest.mark.row("R232")
def test_a_rebuild_trains_by_its_own_template() -> None:
    world = rebuilds()
    world.settle()
    world.start("prepare")
    world.complete("prepare", drawn())
    roles = [(a.step, a.template) for a in world.history if isinstance(a, CreateJob)]
    assert roles == [("prepare", "cpu"), ("train", "rebuild")]


@pytest.mark.row("R232")
def test_a_rebuild_without_its_template_waits_and_names_it() -> None:
    world = rebuilds()
    assert world.policy is not None
    world.set_rules(pod_templates=updated(world.policy.spec.pod_templates, rebuild="big-trainer"))
    world.train_template = None
    world.settle()
    assert world.condition("Accepted") == ("False", "PodTemplateNotFound")
    assert "'big-trainer'" in world.status.message


@pytest.mark.row("R232")
@pytest.mark.parametrize(
    ("spec", "seconds"),
    [({}, 86_400), ({"mode": "Rebuild"}, 1000), ({"mode": "Rebuild", "active_deadline_seconds": 50}, 50)],
)
def test_a_step_of_a_rebuild_may_run_as_long_as_the_policy_says(spec: dict[str, Any], seconds: int) -> None:
    world = World(run=run(**spec))
    world.set_rules(rebuild=RebuildRules(active_deadline_seconds=1000))
    world.settle()
    assert world.snapshot is not None
    assert deadline_of(RunContext(world.view(), world.snapshot)) == timedelta(seconds=seconds)
    without = deadline_of(RunContext(replace(world.view(), policy=None), world.snapshot))
    assert without >= timedelta(seconds=50)


@pytest.mark.row("R264")
@pytest.mark.parametrize("gone", [True, False])
def test_a_rebuild_whose_policy_is_gone_goes_on_for_as_long_as_any_policy_may_say(gone: bool) -> None:
    """Whoever deletes a policy to make it anew ends no training that it gave two weeks."""
    world = rebuilds()
    world.set_rules(rebuild=RebuildRules(active_deadline_seconds=1_200_000))
    world.settle()
    world.start("prepare")
    world.complete("prepare", drawn())
    world.start("train")
    world.wait(700_000)
    world.policy = None if gone else world.policy
    world.settle()
    assert world.phase() == "Training"
    world.wait(LONGEST_REBUILD - 700_000)
    world.settle()
    assert world.job("train").deleting


def test_the_longest_rebuild_is_the_limit_of_the_schema() -> None:
    said = crds()["FineTunePolicy"].spec["properties"]["rebuild"]["properties"]["activeDeadlineSeconds"]
    assert said["maximum"] == LONGEST_REBUILD


@pytest.mark.row("R233")
def test_a_rebuild_says_that_it_trains_on_all() -> None:
    world = rebuilds()
    world.settle()
    world.start("prepare")
    world.complete("prepare", drawn())
    assert world.phase() == "Training"
    expected = "training on all 1560: 60 outside the base and 1500 that the base knows"
    assert world.message("Prepared").endswith(expected)


@pytest.mark.row("R233")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pool": 100, "outside": 20, "train": 99, "old": 79, "fresh": 100, "new": 100}, "all of the pool"),
        ({"train": 1400, "old": 1340}, "leaves out pages of the anchor"),
        ({"train": 1500}, "not what is outside"),
        ({"train": 1561, "old": 1501}, "more old pages than the base knows"),
    ],
)
def test_counts_of_a_rebuild_that_does_not_train_on_all_are_not_taken(changes: dict[str, Any], words: str) -> None:
    world = World(run=run(mode="Rebuild"), versions=(base(inputs=PLAN),))
    world.settle()
    world.start("prepare")
    world.complete("prepare", drawn(**changes))
    failed = world.status.attempts[0]
    assert (failed.outcome, failed.reason) == ("Failed", "ResultContradictory")
    assert words in failed.message


@pytest.mark.row("R233")
def test_pages_of_the_anchor_that_were_ever_in_the_pool_are_no_others() -> None:
    world = rebuilds()
    world.settle()
    world.start("prepare")
    world.complete("prepare", drawn(train=1480, old=1420, withdrawn=20))
    assert world.phase() == "Training"


@pytest.mark.row("R234")
def test_a_rebuild_that_passes_is_recorded_as_the_next_base_and_promoted() -> None:
    world = World(run=run(mode="Rebuild"), versions=(base(), base("ft_v1.1", LIVE, type="FineTuned")))
    world.go_live("ft_v1.1")
    world = rebuilt(world, live_map50="0.980000")
    assert (world.phase(), world.status.version) == ("Promoting", "base_v2")
    (made,) = [a.spec for a in world.history if isinstance(a, CreateModelVersion)]
    assert world.status.inputs is not None
    assert (made.type, made.base, made.inputs) == ("Base", "base_v1", world.status.inputs.plan)
    assert made.lineage is not None
    assert (made.lineage.base_sha256, made.lineage.outside, made.lineage.pool) == (BASE, 60, 60)
    assert made.evidence is not None
    assert (made.evidence.verdict, made.evidence.baseline_sha256) == ("Pass", LIVE)
    (asked,) = [a.spec for a in world.history if isinstance(a, CreatePromotion)]
    assert (asked.version, asked.from_version) == ("base_v2", "ft_v1.1")


@pytest.mark.row("R234")
def test_a_rebuild_is_recorded_by_what_was_outside_its_base_however_little_of_it_was_new() -> None:
    """The next one comes by a tenth more than that (D211)."""
    world = rebuilds()
    world.set_policy(judged=(Judged(run="r", run_uid="u", inputs=PLAN, at=START),))
    world.trained(drawn(new=7), images=1560)
    world.start("evaluate")
    world.complete("evaluate", evaluate_result())
    (made,) = [a.spec for a in world.history if isinstance(a, CreateModelVersion)]
    assert made.lineage is not None
    assert made.lineage.outside == 60


@pytest.mark.row("R234")
@pytest.mark.parametrize(("candidate", "phase"), [("0.900000", "Rejected"), ("0.970000", "InReview")])
def test_a_rebuild_is_held_against_the_old_base_and_live(candidate: str, phase: str) -> None:
    world = rebuilt(candidate=candidate)
    assert world.phase() == phase
    regression = next(gate for gate in world.status.gates if gate.name == "regression")
    assert "base 0.985000" in regression.message


@pytest.mark.row("R234")
def test_a_rebuild_that_is_rejected_is_recorded_too() -> None:
    world = rebuilt(candidate="0.900000")
    (made,) = [a.spec for a in world.history if isinstance(a, CreateModelVersion)]
    assert (made.type, made.version, made.evidence and made.evidence.verdict) == ("Base", "base_v2", "Reject")


@pytest.mark.row("R234")
def test_a_fine_tune_of_the_new_base_is_of_its_series_and_has_no_plan_of_a_base() -> None:
    new = base("base_v2", LIVE, inputs=PLAN)
    world = World(run=run(base_version="base_v2"), versions=(base(), new))
    world.prepared()
    assert world.status.version is None
    world.start("train")
    world.complete("train", train_result())
    world.start("evaluate")
    result = evaluate_result()
    result["models"]["base"]["sha256"] = LIVE
    world.complete("evaluate", result)
    (made,) = [a.spec for a in world.history if isinstance(a, CreateModelVersion)]
    assert (made.version, made.type, made.inputs) == ("ft_v2.1", "FineTuned", None)
    assert made.lineage is not None
    assert made.lineage.outside is None


@pytest.mark.row("R234")
def test_prepare_draws_old_pages_from_what_the_base_was_trained_on() -> None:
    world = World(versions=(base(inputs=PLAN),))
    world.settle()
    assert document(world)["base"]["inputs"] == {"uri": PLAN.uri, "sha256": PLAN.sha256}


def told_of_live(world: World, step: str) -> Any:
    """What the newest Job of a step is told of what is live."""
    jobs = [a for a in world.history if isinstance(a, CreateJob) and a.step == step]
    return json.loads(jobs[-1].step_inputs)["live"]


@pytest.mark.row("R236")
@pytest.mark.parametrize("live", [None, "base_v1"])
def test_what_a_rebuilt_base_has_learned_is_not_fresh_while_it_or_nothing_is_live(live: str | None) -> None:
    world = World(versions=(base(inputs=PLAN),))
    world.go_live(live, BASE)
    world.settle()
    assert told_of_live(world, "prepare") == {"version": "base_v1", "inputs": {"uri": PLAN.uri, "sha256": PLAN.sha256}}
    world.start("prepare")
    world.complete("prepare", prepare_result(pool=100, new=100))
    assert world.phase() == "Training", world.status.message
    assert world.status.inputs is not None
    assert world.status.inputs.new_set is not None
    assert world.status.inputs.new_set.live == BASE
    world.start("train")
    world.complete("train", train_result())
    assert told_of_live(world, "evaluate") is None, "the base is measured anyway"


@pytest.mark.row("R236")
def test_new_samples_are_none_that_the_base_knows() -> None:
    world = World(versions=(base(inputs=PLAN),))
    world.settle()
    world.start("prepare")
    counts = {"documents": 60, "boxes": 1000, "fresh": 20}
    world.complete("prepare", prepare_result(pool=100, new=100, newSet=counts))
    assert "new samples that the base knows" in world.status.attempts[0].message


@pytest.mark.row("R236")
def test_all_is_fresh_to_an_imported_base() -> None:
    world = World()
    world.go_live("base_v1", BASE)
    world.settle()
    assert told_of_live(world, "prepare") is None
    world.start("prepare")
    world.complete("prepare", prepare_result(fresh=50))
    assert world.status.attempts[0].reason == "ResultContradictory"


@pytest.mark.row("R232")
def test_a_template_for_rebuilds_is_looked_for_only_by_them() -> None:
    world = World()
    assert world.policy is not None
    world.set_rules(pod_templates=updated(world.policy.spec.pod_templates, rebuild="big-trainer"))
    world.train_template = template("gpu-trainer")
    world.settle()
    assert world.phase() == "Preparing"
    accepted = find(world.status.conditions, "Accepted")
    assert accepted is not None
    assert accepted.status == "True"


def went_live(world: World, version: str, *, type_: str = "FineTuned", of: str = BASE, pool: int = 61) -> None:
    """Let another version of the policy's pool go live."""
    known = FileReference(uri="file:///p", sha256=sha("p"))
    lineage = Lineage(
        run="other", run_uid="other", policy="invoice-fields", base_sha256=of, inputs=known, spec_hash="s",
        inputs_hash="i", pool=pool, seed=1, created_at=START,
    )  # fmt: skip
    world.versions = (*world.versions, base(version, LIVE, type=type_, base="base_v1", lineage=lineage))
    world.go_live(version)
    world.settle()


@pytest.mark.row("R225")
def test_a_fine_tune_of_the_old_base_that_goes_live_meanwhile_is_measured_against() -> None:
    """A rebuild trains for days, and waits for people: what fine-tunes learned meanwhile does not undo that."""
    world = rebuilt(candidate="0.970000")
    assert world.phase() == "InReview"
    went_live(world, "ft_v1.9")
    assert (world.phase(), world.status.attempts[-1].round) == ("Evaluating", 2)
    world.complete("evaluate", evaluate_result(live_map50="0.980000"))
    assert (world.phase(), world.status.version) == ("Promoting", "base_v2")


@pytest.mark.row("R225")
@pytest.mark.parametrize(("type_", "of"), [("Base", BASE), ("FineTuned", sha("base_v3"))])
def test_another_new_base_with_more_pages_supersedes_a_rebuild(type_: str, of: str) -> None:
    world = rebuilt(candidate="0.970000")
    went_live(world, "base_v3" if type_ == "Base" else "ft_v3.1", type_=type_, of=of)
    assert (world.phase(), world.condition("Finished")) == ("Superseded", ("True", "NewerPoolIsLive"))


@pytest.mark.row("R225")
def test_a_fine_tune_gives_way_to_another_one_of_its_base_all_the_same() -> None:
    world = World().in_review()
    went_live(world, "ft_v1.9")
    assert world.phase() == "Superseded"
