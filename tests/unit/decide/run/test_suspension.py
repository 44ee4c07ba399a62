"""Suspension and deadlines: what they end, and what they cost."""

import json
from datetime import timedelta

import pytest

from finetune_operator.decide.decision import CreateJob
from unit.decide.run.attempts import error, newest
from unit.decide.run.results import train_result
from unit.decide.run.world import World, run


def test_suspending_for_ever_does_not_grow_the_status() -> None:
    world = World().prepared()
    for _ in range(40):
        world.edit(suspend=True)
        world.settle()
        world.remove_job(world.job("train").name)
        world.edit(suspend=False)
        world.settle()
    numbers = [a.attempt for a in world.status.attempts if a.step == "train"]
    assert len(numbers) <= 7
    assert numbers[-1] == 41, "numbers never come back"


@pytest.mark.row("R4")
@pytest.mark.row("R5")
def test_suspending_ends_the_job_and_costs_no_retry() -> None:
    world = World(run=run(backoff_limit=0)).prepared()
    world.start("train")
    world.edit(suspend=True)
    world.settle()
    assert world.phase() == "Suspended"
    assert world.job("train").deleting
    assert (newest(world).outcome, newest(world).counted) == ("Suspended", False)
    world.edit(suspend=False)
    world.settle()
    assert world.jobs_made("train") == 1, "not before the old pods are gone"
    world.remove_job(world.job("train").name)
    world.settle()
    assert world.phase() == "Training"
    assert world.jobs_made("train") == 2
    assert world.job("train").name.endswith(newest(world).job[-6:])


@pytest.mark.row("R4")
def test_suspending_between_two_attempts_shows_at_once() -> None:
    world = World().prepared()
    world.fail("train", 13)
    world.edit(suspend=True)
    world.settle()
    assert world.phase() == "Suspended"


@pytest.mark.row("R4")
def test_a_result_that_came_before_the_suspension_is_kept() -> None:
    world = World().prepared()
    world.edit(suspend=True)
    world.complete("train", train_result())
    assert world.status.candidate is not None
    assert world.phase() == "Suspended"
    assert world.jobs_made("evaluate") == 0


@pytest.mark.row("R4")
def test_a_judged_run_is_not_suspended() -> None:
    world = World().in_review()
    world.edit(suspend=True)
    world.settle()
    assert world.phase() == "InReview"


@pytest.mark.row("R19")
def test_the_deadline_counts_running_time_alone() -> None:
    world = World(run=run(active_deadline_seconds=100)).prepared()
    world.wait(5000)
    world.start("train")
    world.wait(60)
    world.edit(suspend=True)
    world.settle()
    world.remove_job(world.job("train").name)
    world.wait(5000)
    world.edit(suspend=False)
    world.settle()
    world.start("train")
    world.wait(39)
    assert world.settle().requeue_after == timedelta(seconds=1)
    assert world.phase() == "Training"
    world.wait(1)
    world.settle()
    assert world.job("train").deleting
    assert world.phase() == "Training", "not final before its pods are gone"
    world.remove_job(world.job("train").name)
    world.settle()
    assert world.phase() == "Failed"
    assert world.condition("Finished") == ("True", "DeadlineExceeded")
    assert "activeDeadlineSeconds (100 s)" in world.status.message


@pytest.mark.row("R19")
def test_no_attempt_follows_when_the_time_is_used_up() -> None:
    world = World(run=run(active_deadline_seconds=100)).prepared()
    world.start("train")
    world.wait(200)
    world.fail("train", 1, error("Internal", "Internal"))
    world.wait(300)
    world.settle()
    assert world.condition("Finished") == ("True", "DeadlineExceeded")


def pause(world: World, *, after: int | None) -> None:
    """Suspend the training and let it go on; before, its trainer runs for so many seconds, or not at all."""
    if after is not None:
        world.start("train")
        world.wait(after)
    world.edit(suspend=True)
    world.settle()
    world.remove_job(world.job("train").name)
    world.edit(suspend=False)
    world.settle()


@pytest.mark.row("R263")
@pytest.mark.parametrize("pauses", [4, 5, 6, 9, 30])
def test_however_often_a_run_is_suspended_its_deadline_stays(pauses: int) -> None:
    """Else whoever suspends it every night, or every hour, takes its clock away."""
    world = World(run=run(active_deadline_seconds=10 * pauses + 5)).prepared()
    for _ in range(pauses):
        pause(world, after=10)
    world.start("train")
    world.wait(4)
    assert world.settle().requeue_after == timedelta(seconds=1)
    world.wait(1)
    world.settle()
    world.remove_job(world.job("train").name)
    world.settle()
    assert world.condition("Finished") == ("True", "DeadlineExceeded")


@pytest.mark.row("R263")
def test_what_ran_is_named_to_the_next_attempt_though_many_were_suspended_since_that_did_not() -> None:
    """A queue that is paused again and again, or a PodTemplate that is edited often, takes no epoch away."""
    world = World().prepared()
    pause(world, after=3600)
    for _ in range(12):
        pause(world, after=None)
    job = next(action for action in reversed(world.history) if isinstance(action, CreateJob))
    assert 1 in [earlier["attempt"] for earlier in json.loads(job.step_inputs)["earlier"]]
    assert newest(world).attempt == 14, "numbers never come back"
    assert sum(a.outcome == "Suspended" for a in world.status.attempts) <= 5
