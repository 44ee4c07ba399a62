"""Runs that ask for the same side by side: the same is not trained twice, and nobody is asked twice."""

from datetime import timedelta

import pytest
from msgspec.structs import replace as updated

from finetune_operator.decide.run.view import Queue, Stuck, Twin
from unit.decide.run.results import DIGESTS, START
from unit.decide.run.world import World

DRAWN = (DIGESTS["pool"], DIGESTS["anchor"])
OLDER, YOUNGER = START - timedelta(hours=1), START + timedelta(hours=1)


def beside(*twins: Twin) -> World:
    """A run that has drawn its mix beside others that ask for the same."""
    world = World(twins=twins)
    world.run = updated(world.run, metadata=updated(world.run.metadata, creation_timestamp=START))
    return world.prepared()


@pytest.mark.row("R68")
def test_a_run_waits_for_an_older_one_that_asks_for_the_same_and_has_no_place_meanwhile() -> None:
    world = beside(Twin("other", OLDER, DRAWN))
    assert (world.phase(), world.condition("Accepted")) == ("Pending", ("Unknown", "SameRunUnderway"))
    assert (world.status.place, world.jobs_made("train")) == (None, 0)
    assert "run other" in world.status.message
    assert "spec.mixing.seed" in world.status.message
    world.twins = ()
    world.settle()
    assert (world.phase(), world.jobs_made("prepare")) == ("Training", 1)


@pytest.mark.row("R68")
def test_who_waits_for_the_same_that_gets_no_further_is_told_why_and_how_to_go_first() -> None:
    """The message of a pod that no node takes may say to ask for less: a run with less waits for the first one."""
    stuck = Stuck("other", "Unschedulable", OLDER)
    world = beside(Twin("other", OLDER, DRAWN, is_past=True, stuck=stuck))
    assert "other itself gets no further since" in world.status.message
    assert "kubectl patch finetunerun other -n ml" in world.status.message


@pytest.mark.row("R68")
def test_when_the_other_is_over_it_queues_for_a_place_again() -> None:
    world = beside(Twin("other", OLDER, DRAWN))
    world.twins, world.queue = (), Queue(taken=("third",))
    world.settle()
    assert world.condition("Accepted") == ("Unknown", "WaitingForTurn")


@pytest.mark.row("R69")
@pytest.mark.parametrize(
    ("twin", "waits"),
    [
        (Twin("a", OLDER, DRAWN), True),
        (Twin("z", YOUNGER, DRAWN), False),
        (Twin("z", YOUNGER, DRAWN, is_past=True), True),
        (Twin("a", START, DRAWN), True),
        (Twin("z", START, DRAWN), False),
        (Twin("a", OLDER, ("other pool", DRAWN[1]), is_past=True), False),
        (Twin("a", OLDER, None), False),
    ],
    ids=["older", "younger", "further", "by name", "after it by name", "other samples", "not drawn"],
)
def test_who_is_further_trains_else_the_oldest(twin: Twin, waits: bool) -> None:
    assert (beside(twin).phase() == "Pending") is waits


@pytest.mark.row("R69")
def test_a_run_that_trains_waits_for_nobody() -> None:
    world = World().prepared()
    world.twins = (Twin("other", OLDER, DRAWN, is_past=True),)
    world.start("train")
    assert world.phase() == "Training"


@pytest.mark.row("R69")
def test_a_run_whose_training_was_suspended_waits_for_the_one_that_trains_meanwhile() -> None:
    """Others were let go first by suspending it; what they make of the same is not made again."""
    world = World().prepared()
    world.start("train")
    world.edit(suspend=True)
    world.settle()
    world.remove_job(world.job("train").name)
    world.twins = (Twin("other", YOUNGER, DRAWN, is_past=True),)
    world.settle()
    assert world.phase() == "Suspended", "who suspended it hears of nothing else"
    world.edit(suspend=False)
    world.settle()
    assert (world.phase(), world.condition("Accepted")) == ("Pending", ("Unknown", "SameRunUnderway"))
    assert (world.status.place, world.jobs_made("train")) == (None, 1)
