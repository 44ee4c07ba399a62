"""A result is held to what its attempt was told of what is live, whatever becomes of that version's record."""

from typing import Any

import pytest
from msgspec.structs import replace as updated

from finetune_operator.api.meta import FileReference
from finetune_operator.decide.decision import CreateJob
from unit.decide.run.results import BASE, LIVE, evaluate_result, prepare_result, train_result
from unit.decide.run.world import World, base

PLAN = FileReference(uri="file:///earlier/plan.json", sha256="ab" * 32)
TUNED = base("ft_v1.1", LIVE, type="FineTuned", inputs=PLAN)


def beside(*, recorded: bool) -> World:
    """A run beside a live fine-tune that has a plan, and a record that says so, unless people deleted that."""
    world = World(versions=(base(), TUNED) if recorded else (base(),))
    world.go_live("ft_v1.1")
    world.settle()
    world.start("prepare")
    return world


def turned(world: World, *, recorded: bool) -> None:
    """Let people delete the record of what is live, or a backup bring it back; what serves goes on."""
    world.versions = (base(), TUNED) if recorded else (base(),)
    world.settle()


def drawn(fresh: int) -> dict[str, Any]:
    return prepare_result(fresh=fresh, newSet={"documents": 60, "boxes": 1000, "fresh": fresh})


def measured(fresh: int) -> dict[str, Any]:
    result = evaluate_result(live_map50="0.980000")
    result["newSet"]["fresh"] = fresh
    for model in result["models"].values():
        complete = int(fresh * model["fresh"]["matched"] / 1000)
        model["fresh"]["documentRate"] = f"{complete / fresh:.6f}"
    return result


def at_evaluate(world: World, fresh: int) -> World:
    world.complete("prepare", drawn(fresh))
    world.start("train")
    world.complete("train", train_result())
    world.start("evaluate")
    return world


def ends(world: World, step: str) -> list[tuple[str, str]]:
    return [(a.outcome, a.reason) for a in world.status.attempts if a.step == step]


@pytest.mark.row("R285")
@pytest.mark.parametrize(("recorded", "fresh"), [(True, 10), (False, 60)], ids=["deleted", "back"])
def test_what_was_drawn_is_taken_though_the_record_went_or_came_meanwhile(recorded: bool, fresh: int) -> None:
    world = beside(recorded=recorded)
    turned(world, recorded=not recorded)
    world.complete("prepare", drawn(fresh))
    assert ends(world, "prepare") == [("Succeeded", "")]
    assert world.status.inputs is not None
    assert world.status.inputs.new_set is not None
    assert world.status.inputs.new_set.live == (LIVE if recorded else None)


@pytest.mark.row("R285")
@pytest.mark.parametrize(("recorded", "fresh"), [(True, 10), (False, 60)], ids=["deleted", "back"])
def test_what_was_measured_is_taken_though_the_record_went_or_came_meanwhile(recorded: bool, fresh: int) -> None:
    world = at_evaluate(beside(recorded=recorded), fresh)
    turned(world, recorded=not recorded)
    world.complete("evaluate", measured(fresh))
    assert ends(world, "evaluate") == [("Succeeded", "")]


@pytest.mark.row("R285")
def test_what_was_drawn_by_the_plan_and_measured_without_it_is_taken() -> None:
    """Prepared with the plan, told of none, and the record is back before the words are read."""
    world = beside(recorded=True)
    world.complete("prepare", drawn(10))
    world.start("train")
    turned(world, recorded=False)
    world.complete("train", train_result())
    world.start("evaluate")
    turned(world, recorded=True)
    world.complete("evaluate", measured(60))
    assert ends(world, "evaluate") == [("Succeeded", "")]


@pytest.mark.row("R285")
@pytest.mark.parametrize(("recorded", "fresh"), [(True, 9), (True, 60), (False, 10)])
def test_who_was_told_is_held_to_it_though_the_record_went_or_came(recorded: bool, fresh: int) -> None:
    world = at_evaluate(beside(recorded=recorded), 10 if recorded else 60)
    turned(world, recorded=not recorded)
    world.complete("evaluate", measured(fresh))
    assert ends(world, "evaluate") == [("Failed", "EvidenceMismatch")]


@pytest.mark.row("R285")
def test_what_is_collected_was_told_what_its_attempt_was() -> None:
    world = beside(recorded=True)
    turned(world, recorded=False)
    world.complete("prepare", None)
    assert [a.collect for a in world.status.attempts] == [True]
    world.start("prepare")
    world.complete("prepare", drawn(10))
    assert ends(world, "prepare") == [("Succeeded", "")]


@pytest.mark.row("R285")
def test_an_attempt_whose_job_was_not_made_is_told_what_there_is_by_then() -> None:
    """The operator died before it made the Job: it makes it anew, from what it sees then."""
    world = World(versions=(base(), TUNED))
    world.go_live("ft_v1.1")
    world.decide(crash=True)
    assert [a.live_plan for a in world.status.attempts] == [PLAN.sha256]
    turned(world, recorded=False)
    [made] = [a for a in world.history if isinstance(a, CreateJob)]
    assert ('"live":null' in made.step_inputs, world.status.attempts[-1].live_plan) == (True, "")


@pytest.mark.row("R285")
def test_an_attempt_of_an_earlier_release_is_held_to_the_record_that_is_there() -> None:
    world = at_evaluate(beside(recorded=True), 10)
    attempts = tuple(updated(a, live_plan=None) for a in world.status.attempts)
    world.run = updated(world.run, status=updated(world.status, attempts=attempts))
    world.complete("evaluate", measured(10))
    assert ends(world, "evaluate") == [("Succeeded", "")]


@pytest.mark.row("R285")
def test_a_base_with_a_plan_that_is_live_tells_what_is_drawn_and_not_what_is_measured() -> None:
    """What is measured on, the base never knows (R236)."""
    world = World(versions=(base(inputs=PLAN),))
    world.go_live("base_v1", BASE)
    world.trained(drawn(60))
    assert [(a.step, a.live_plan) for a in world.status.attempts] == [
        ("prepare", PLAN.sha256),
        ("train", None),
        ("evaluate", ""),
    ]
