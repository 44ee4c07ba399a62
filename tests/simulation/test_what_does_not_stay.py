"""Somebody takes keys off, or puts others there, as fast as it goes: the operator writes ever more slowly."""

from collections.abc import Callable

import pytest

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object
from finetune_operator.controller.words import BURST

from .controllers import NAMESPACE
from .invariants import served, violations
from .stories import STORIES, Story, World

PASS, _, _, FAILED = STORIES
DEPLOYMENT = (Kind.DEPLOYMENT, "invoice-detector")


class Replaced(World):
    """Whenever a flight has put keys on the Deployment, somebody replaces it by what Git has, which knows none."""

    phase: str

    def _user(self) -> None:
        super()._user()
        flight = self.get(Kind.POLICY, "invoice-fields")["status"].get("inFlight") or {}
        flies = flight.get("phase") == self.phase and flight["to"]["version"] == "ft_v1.1"
        if flies and served(self.get(*DEPLOYMENT)) is not None:
            self.server.update_spec("kubectl-replace", Kind.DEPLOYMENT, NAMESPACE, DEPLOYMENT[1], as_git_has_it)


def as_git_has_it(deployment: Object) -> None:
    deployment["metadata"].pop("annotations", None)
    deployment["spec"]["template"]["metadata"].pop("annotations", None)


@pytest.mark.row("R325")
@pytest.mark.parametrize(("story", "phase"), [(PASS, "Flipping"), (FAILED, "Returning")])
def test_keys_that_somebody_takes_off_are_not_fought_over_at_that_speed(story: Story, phase: str) -> None:
    """Each write of them makes pods anew, and comes under another epoch."""
    world = Replaced(story)
    world.phase = phase
    with pytest.raises(AssertionError, match="not at rest"):
        world.play(hours=0.5)
    applied = [write.at for write in world.server.log if write.verb == "apply"]
    assert 20 < len(applied) < 60
    assert violations(world) == []


@pytest.mark.row("R55")
def test_two_who_fight_over_the_keys_have_the_hold_written_six_times_and_then_once_a_minute() -> None:
    """Each is another writer, so that each of their words is another hold."""
    world = World(PASS)
    world.play()
    before, events = len(world.server.log), len(world.events)

    def fight(times: int) -> int:
        for number in range(times):
            name = f"theirs-{number % 2}"
            world.server.update_spec(f"manager-{number % 2}", Kind.DEPLOYMENT, NAMESPACE, DEPLOYMENT[1], to_serve(name))
            world.settle()
        ours = [write for write in world.server.log[before:] if write.actor == world.client.actor]
        return sum(write.kind is Kind.POLICY for write in ours)

    assert fight(40) <= BURST + 2
    world.server.advance(60)
    assert fight(40) <= BURST + 3
    held = [reason for _, reason in world.events[events:] if reason == "External"]
    assert len(held) <= 4 * (BURST + 3)
    world.resync(120)
    hold = world.get(Kind.POLICY, "invoice-fields")["status"]["hold"]
    assert (hold["reason"], hold["by"]) == ("External", "manager-1")


def to_serve(version: str) -> Callable[[Object], None]:
    def change(deployment: Object) -> None:
        deployment["spec"]["template"]["metadata"]["annotations"]["finetune-operator.io/model-version"] = version

    return change
