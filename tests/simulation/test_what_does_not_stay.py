"""Somebody takes the keys of a flight off as fast as they come: the operator writes them ever more slowly."""

import pytest

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.port import Object

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
