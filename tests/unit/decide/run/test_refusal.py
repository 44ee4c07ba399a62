"""A refused write shows in the condition of what it was for, and nothing that is decided hangs on those words."""

from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace as updated

from finetune_operator.api.meta import find
from finetune_operator.api.run import RunStatus
from finetune_operator.api.value import parse, plain
from finetune_operator.decide.decision import (
    Action,
    CreateJob,
    CreateModelVersion,
    CreatePromotion,
    DeleteJob,
    Emit,
    ReserveVersion,
)
from finetune_operator.decide.refusal import Refusal
from finetune_operator.decide.run.machine import decide
from finetune_operator.decide.run.refusal import say_refused
from unit.decide.run.results import START
from unit.decide.run.world import World


@dataclass
class Refusing(World):
    """A world whose API server refuses one sort of write, as the reconciler goes on with it."""

    refuses: tuple[type, ...] = ()
    refusal: Refusal | None = None

    def decide(self, *, crash: bool = False) -> Any:
        decision = decide(self.view())
        if self.refusal is not None:
            decision = say_refused(self.view(), decision, self.refusal)
        if decision.status != self.status:
            self.writes += 1
            self.run = updated(self.run, status=parse(plain(decision.status), RunStatus))
        for action in decision.actions:
            if isinstance(action, self.refuses):
                self.refusal = Refusal("WriteRefused", "a rule says no", action, START)
                return decision
            self._carry_out(action)
        self.refusal = None
        return decision

    def tries(self, count: int = 5) -> int:
        """Try so often; return how many of the tries wrote a status."""
        before = self.writes
        for _ in range(count):
            self.decide()
            self.wait(1)
        return self.writes - before


def at(step: str) -> Refusing:
    world = Refusing()
    match step:
        case "train":
            world.prepared()
        case "evaluate":
            world.trained()
        case _:
            world.settle()
    return world


@pytest.mark.row("R50")
@pytest.mark.parametrize(("before", "condition"), [(None, "Prepared"), ("prepare", "Prepared"), ("train", "Trained")])
def test_a_refused_job_shows_in_the_condition_of_its_step(before: str | None, condition: str) -> None:
    world = Refusing(refuses=(CreateJob,))
    if before is not None:
        world = at(before)
        job = world.job(before)
        world.change_job(job.name, state="Failed", exit_code=99, finished_at=world.now, pods_gone=True)
        world.decide()
        world.refuses = (CreateJob,)
        world.wait(400)
    assert world.tries() <= 3
    assert world.condition(condition) == ("False", "WriteRefused")
    assert "a rule says no" in world.message(condition)
    assert "a rule says no" in world.status.message
    assert world.events().count("WriteRefused") == 1
    assert world.tries() == 0
    world.refuses = ()
    world.settle()
    assert world.condition(condition) == ("Unknown", "Running")
    assert "a rule says no" not in str(plain(world.status))


@pytest.mark.row("R51")
@pytest.mark.parametrize("refused", [ReserveVersion, CreateModelVersion, CreatePromotion])
def test_a_refused_record_or_promotion_is_tried_again_and_ends_as_without(refused: type[Action]) -> None:
    world = at("evaluate")
    world.refuses = (refused,)
    world.start("evaluate")
    job = world.job("evaluate")
    plainly = World().judged()
    world.jobs = tuple(plainly.job("evaluate") if j.name == job.name else j for j in world.jobs)
    assert world.tries(6) <= 4
    assert world.condition("Finished") == ("False", "WriteRefused")
    assert world.tries() == 0
    assert world.events().count("WriteRefused") == 1
    world.refuses = ()
    world.settle()
    assert world.phase() == plainly.phase() == "Promoting"
    assert world.condition("Finished") == ("Unknown", "NotYet")
    assert world.condition("Promoted") == plainly.condition("Promoted")
    assert world.promotion is not None


def test_a_job_that_may_not_be_deleted_shows_in_its_step() -> None:
    world = at("train")
    world.refuses = (DeleteJob,)
    world.edit(suspend=True)
    world.tries()
    assert world.condition("Trained") == ("False", "WriteRefused")
    assert world.tries() == 0
    world.refuses = ()
    world.settle()
    assert world.condition("Trained") == ("Unknown", "Suspended")


def test_a_refusal_of_what_is_not_tried_any_more_is_not_said() -> None:
    world = Refusing(refuses=(CreateJob,))
    world.tries()
    world.edit(suspend=True)
    world.decide()
    assert world.phase() == "Suspended"
    shown = find(world.status.conditions, "Prepared")
    assert shown is not None
    assert shown.reason == "Suspended"


def test_the_event_comes_before_the_write_that_is_refused_again() -> None:
    world = Refusing(refuses=(CreateJob,))
    world.decide()
    actions = world.decide().actions
    assert isinstance(actions[0], Emit)
    assert actions[0].type == "Warning"
    assert "tried again" in actions[0].message
