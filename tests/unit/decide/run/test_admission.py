"""What admits a run's Jobs: the policy's queue before the run's, and a Job that never ran goes with what is edited."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace as updated

from finetune_operator.api.policy import JobRules
from finetune_operator.api.run import Run
from finetune_operator.api.run_document import RunDocument, document_json, document_text
from finetune_operator.api.value import parse_json
from finetune_operator.decide.snapshot import snapshot_of_run, spec_hash
from finetune_operator.decide.views import Problem
from unit.decide.run.attempts import outcomes
from unit.decide.run.results import START
from unit.decide.run.world import World, base, policy, run, template


@pytest.mark.row("R54")
def test_a_queued_job_is_made_anew_when_what_admits_it_is_edited_and_keeps_its_place_otherwise() -> None:
    world = World().prepared()
    world.change_job(world.job("train").name, suspended=True)
    world.settle()
    world.train_template = template("gpu-trainer, another image")
    world.settle()
    assert not world.job("train").deleting
    assert world.train_template is not None
    world.train_template = replace(world.train_template, hash=f"{world.train_template.hash}.queue")
    world.settle()
    assert world.job("train").deleting
    world.remove_job(world.job("train").name)
    world.settle()
    assert outcomes(world, "train") == [("Suspended", "PodTemplateChanged"), ("Running", "")]


@pytest.mark.row("R53")
def test_a_queue_that_the_policy_does_not_allow_is_not_used_and_the_run_says_so() -> None:
    world = World(run=run(queue_name="night"), policy=policy(jobs=JobRules(queue_name="rules")))
    world.settle()
    assert world.phase() == "Preparing"
    assert world.condition("Accepted") == ("True", "QueueNotAllowed")
    assert "'night' is not used" in world.message("Accepted")
    assert "'rules'" in world.message("Accepted")
    assert world.events().count("QueueNotAllowed") == 1
    world.set_rules(jobs=JobRules())
    world.settle()
    assert world.condition("Accepted") == ("True", "Accepted")


def test_a_queue_that_the_policy_names_as_well_is_the_runs() -> None:
    world = World(run=run(queue_name="rules"), policy=policy(jobs=JobRules(queue_name="rules")))
    world.settle()
    assert world.condition("Accepted") == ("True", "Accepted")


@pytest.mark.row("R54")
def test_a_job_whose_pod_never_ran_goes_with_new_labels_too() -> None:
    world = World().prepared()
    world.change_job(world.job("train").name, waiting=Problem("Unschedulable", "no node"))
    world.settle()
    assert world.train_template is not None
    world.train_template = replace(world.train_template, hash=f"{world.train_template.hash}.labels")
    world.settle()
    assert world.job("train").deleting


WAITS = [
    (
        {"waiting": Problem("Unschedulable", "no GPU")},
        {"waiting": Problem("ImagePullFailed", "no such image")},
        "Unschedulable",
        "ImagePullFailed",
    ),
    (
        {"suspended": True, "waiting": Problem("Queued", "queue q")},
        {"suspended": False, "waiting": Problem("Unschedulable", "no GPU")},
        "Queued",
        "Unschedulable",
    ),
    (
        {"waiting": Problem("Unschedulable", "no GPU")},
        {"suspended": True, "waiting": Problem("Queued", "queue q")},
        "Unschedulable",
        "Queued",
    ),
]


@pytest.mark.row("R55")
@pytest.mark.parametrize(("first", "then", "before", "after"), WAITS)
def test_a_wait_that_changes_its_reason_shows_the_new_one(
    first: dict[str, object], then: dict[str, object], before: str, after: str
) -> None:
    world = World().prepared()
    name = world.job("train").name
    for changes, reason in ((first, before), (then, after)):
        world.change_job(name, **changes)
        world.settle()
        assert world.condition("Trained")[1] == reason
        assert f"train waits: {reason}: " in world.status.message
        assert world.events().count(reason) == 1
    writes = world.writes
    world.settle()
    assert world.writes == writes


@pytest.mark.row("R55")
def test_a_queued_job_that_then_gets_no_pod_says_so() -> None:
    world = World().prepared()
    name = world.job("train").name
    world.change_job(name, suspended=True, waiting=Problem("Queued", "queue q"))
    world.settle()
    world.change_job(name, suspended=False, waiting=None, podless_since=world.now)
    world.settle()
    world.wait(60)
    world.settle()
    assert world.condition("Trained") == ("False", "PodNotCreated")
    assert world.events().count("PodNotCreated") == 1


@pytest.mark.row("R55")
def test_words_that_change_under_one_reason_are_shown_without_another_event() -> None:
    world = World().prepared()
    for words in ("0/3 nodes: no GPU", "0/4 nodes: no memory"):
        world.change_job(world.job("train").name, waiting=Problem("Unschedulable", words))
        world.settle()
        assert words in world.message("Trained")
        assert words in world.status.message
    assert world.events().count("Unschedulable") == 1


def test_how_jobs_are_admitted_is_no_part_of_what_is_asked_for() -> None:
    ruled = policy(jobs=JobRules(queue_name="rules", keep=3))
    document = snapshot_of_run(run(), policy(), base())
    assert snapshot_of_run(run(), ruled, base()) == document
    assert spec_hash(document, run(queue_name="night")) == spec_hash(document, run())


@pytest.mark.row("R316")
@pytest.mark.parametrize("mode", ["FineTune", "Rebuild"])
def test_a_document_says_when_its_run_was_made_and_another_run_asks_for_the_same(mode: str) -> None:
    first, second = (made(run(mode=mode), at) for at in (START, START + timedelta(days=1)))
    documents = [snapshot_of_run(one, policy(), base()) for one in (first, second, first)]
    assert document_json(documents[0])["createdAt"] == "2026-11-21T12:00:00Z"
    assert document_text(documents[0]) == document_text(documents[2]) != document_text(documents[1])
    assert parse_json(document_text(documents[0]), RunDocument) == documents[0]
    before = snapshot_of_run(run(mode=mode), policy(), base())
    assert "createdAt" not in document_json(before)
    assert len({spec_hash(document, first) for document in (*documents, before)}) == 1


def made(one: Run, at: datetime) -> Run:
    return updated(one, metadata=updated(one.metadata, creation_timestamp=at))
