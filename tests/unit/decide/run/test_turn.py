"""A policy's concurrency: who may have Jobs, who waits, and in which order."""

from datetime import timedelta

import pytest
from msgspec.structs import replace as updated

from finetune_operator.decide.run.view import Queue, Stuck, Turn
from finetune_operator.decide.views import Problem
from unit.decide.run.results import BASE, START, evaluate_result, prepare_result, train_result
from unit.decide.run.world import World, review, template

CREATED = START - timedelta(seconds=10)


def queued(*taken: str, concurrency: int = 1, **line: tuple[Turn, ...]) -> World:
    """A run of which others have come first."""
    world = World(queue=Queue(taken, line.get("waiting", ()), line.get("blocked", ()), line.get("new", ())))
    world.run = updated(world.run, metadata=updated(world.run.metadata, creation_timestamp=CREATED))
    world.set_rules(concurrency=concurrency)
    world.settle()
    return world


def place(world: World) -> tuple[str | None, str | None]:
    return world.phase(), world.status.place


def turn(name: str, seconds: int = -5) -> Turn:
    """The turn of a run that was created so much later than this one."""
    return f"{CREATED + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}", name


@pytest.mark.row("R56")
def test_a_run_waits_for_its_turn_before_snapshot_and_job_and_says_who_is_before_it() -> None:
    world = queued("other", waiting=(turn("next"), turn("last", 1)))
    assert (world.phase(), world.condition("Accepted")) == ("Pending", ("Unknown", "WaitingForTurn"))
    assert (world.snapshot, world.jobs, world.status.place) == (None, (), "Waiting")
    assert "number 2 in line" in world.status.message
    assert "now other" in world.status.message
    assert "before this one next" in world.status.message
    world.queue = Queue(taken=("next",))
    world.settle()
    assert "number 1 in line" in world.status.message
    world.queue = Queue()
    world.settle()
    assert (world.phase(), world.status.place) == ("Preparing", "Taken")
    assert world.condition("Accepted") == ("True", "Accepted")


@pytest.mark.row("R56")
@pytest.mark.parametrize(("minutes", "says"), [(4, False), (5, True)])
def test_who_waits_for_a_run_that_gets_no_further_is_told_why_and_how_to_go_first(minutes: int, says: bool) -> None:
    world = queued("other")
    world.queue = Queue(("other",), stuck=(Stuck("other", "Unschedulable", world.now - timedelta(minutes=minutes)),))
    world.settle()
    message = world.status.message
    command = """kubectl patch finetunerun other -n ml --type=merge -p '{"spec":{"suspend":true}}'"""
    assert ("Unschedulable" in message, command in message) == (says, says)
    assert (world.phase(), world.status.place) == ("Pending", "Waiting"), "its place is not taken away from it"


@pytest.mark.row("R56")
def test_what_is_there_when_its_turn_comes_is_what_it_trains_on() -> None:
    world = queued("other")
    world.set_rules(min_pool_samples=77)
    world.queue = Queue()
    world.settle()
    assert world.snapshot is not None
    assert world.snapshot.mixing is not None
    assert world.snapshot.mixing.min_pool_samples == 77


@pytest.mark.row("R56")
@pytest.mark.parametrize(("concurrency", "phase"), [(2, "Pending"), (3, "Preparing")])
def test_there_are_as_many_places_as_the_policy_says(concurrency: int, phase: str) -> None:
    assert queued("a", waiting=(turn("b"),), concurrency=concurrency).phase() == phase


@pytest.mark.row("R58")
def test_of_one_moment_the_name_decides() -> None:
    assert queued(waiting=(turn("a", 0),)).phase() == "Pending"
    assert queued(waiting=(turn("z", 0),)).phase() == "Preparing"


@pytest.mark.row("R58")
def test_a_run_that_nobody_can_look_at_does_not_block_the_others() -> None:
    assert queued(new=(turn("b", -50),)).phase() == "Pending"
    assert queued(new=(turn("b", -51),)).phase() == "Preparing"


@pytest.mark.row("R58")
def test_what_was_blocked_by_the_same_goes_first_and_what_is_still_blocked_stops_no_run_that_has_begun() -> None:
    blocked = (turn("b"),)
    assert queued(blocked=blocked).phase() == "Pending"
    world = World().in_review()
    world.queue = Queue(blocked=blocked)
    world.go_live("base_v1", BASE)
    world.settle()
    assert world.phase() == "Evaluating"


@pytest.mark.row("R57")
def test_a_run_keeps_its_place_from_its_first_job_to_its_last() -> None:
    world = queued()
    world.queue = Queue(taken=("someone-else",))  # nobody should have, and still: what runs is not stopped
    world.settle()
    world.start("prepare")
    world.complete("prepare", prepare_result())
    assert place(world) == ("Training", "Taken")
    world.fail("train", 137)
    assert world.status.place == "Taken", "another attempt follows"
    world.wait(10)
    world.settle()
    world.complete("train", train_result())
    world.complete("evaluate", evaluate_result())
    assert place(world) == ("Promoting", None)


@pytest.mark.row("R57")
def test_a_run_in_review_or_at_its_end_has_no_place() -> None:
    world = World().in_review()
    assert (world.phase(), world.status.place) == ("InReview", None)
    review(world, "Reject")
    assert (world.phase(), world.status.place) == ("Rejected", None)


@pytest.mark.row("R57")
def test_a_suspended_run_gives_its_place_up_and_queues_again() -> None:
    world = queued()
    world.edit(suspend=True)
    world.settle()
    world.remove_job(world.job("prepare").name)
    world.settle()
    assert (world.phase(), world.status.place) == ("Suspended", None)
    world.queue = Queue(taken=("next",))
    world.edit(suspend=False)
    world.settle()
    assert (world.phase(), world.condition("Accepted")) == ("Pending", ("Unknown", "WaitingForTurn"))
    world.queue = Queue()
    world.settle()
    assert world.phase() == "Preparing"


@pytest.mark.row("R57")
def test_a_suspended_policy_keeps_the_order_of_its_runs() -> None:
    world = queued()
    world.set_rules(suspend=True)
    world.settle()
    assert (world.phase(), world.status.place) == ("Suspended", "Blocked")


@pytest.mark.row("R57")
def test_a_run_blocked_on_its_template_has_no_place() -> None:
    world = World().prepared()
    world.train_template = template("gpu-trainer", Problem("PodTemplateNotLabelled", "label it"))
    world.fail("train", 70)
    world.wait(30)
    world.settle()
    assert (world.condition("Accepted"), world.status.place) == (("False", "PodTemplateNotLabelled"), None)


@pytest.mark.row("R57")
def test_a_review_that_became_void_waits_for_a_place_to_be_measured_again() -> None:
    world = World().in_review()
    world.queue = Queue(taken=("other",))
    world.go_live("base_v1", BASE)
    world.settle()
    assert (world.phase(), world.status.verdict) == ("Pending", None)
    assert world.condition("Accepted") == ("Unknown", "WaitingForTurn")
    assert world.jobs_made("evaluate") == 1
    world.queue = Queue()
    world.settle()
    assert (world.phase(), world.jobs_made("evaluate")) == ("Evaluating", 2)


def test_waiting_is_said_once_as_an_event() -> None:
    world = queued("other")
    world.queue = Queue(taken=("another",))
    world.settle()
    assert world.events() == ["WaitingForTurn"]


@pytest.mark.row("R56")
def test_a_long_line_is_told_by_its_length_and_its_head() -> None:
    world = queued("a", "b", waiting=tuple(turn(f"w{n}", n - 100) for n in range(40)), concurrency=2)
    assert "number 41 in line" in world.status.message
    assert "now a, b; before this one w0, w1, w2 and 37 more" in world.status.message
