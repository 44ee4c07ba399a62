"""What watches and timers tell is enough: nobody waits for the list that comes every five minutes."""

import pytest

from finetune_operator.cluster.kinds import Kind
from house.deep import DEEP

from .controllers import NAMESPACE
from .invariants import violations
from .stories import STORIES, USER, run
from .woken import Woken

SAME = ("a", "b", "c", "first")
"""Runs that ask for the same, made at once, and that may all have Jobs."""


class AtOnce(Woken):
    """As soon as the base is live, somebody makes all of them."""

    def _user(self) -> None:
        item = self.get(Kind.POLICY, "invoice-fields")
        if item["spec"].get("concurrency", 1) < len(SAME):
            place = (Kind.POLICY, NAMESPACE, "invoice-fields")
            self.server.update_spec(USER, *place, lambda policy: policy["spec"].update(concurrency=len(SAME)))
        if item["status"].get("live") and self.server.get(Kind.RUN, NAMESPACE, "a") is None:
            for name in SAME:
                self.server.create(USER, Kind.RUN, NAMESPACE, run(name))
        super()._user()


@pytest.mark.row("R277")
@pytest.mark.parametrize("seed", range(40 if DEEP else 6))
def test_runs_that_ask_for_the_same_all_end_by_what_their_watches_tell(seed: int) -> None:
    world = AtOnce(STORIES[0], seed=seed)
    world.play()
    assert violations(world) == []
    phases = sorted(item["status"]["phase"] for item in world.server.list(Kind.RUN, NAMESPACE))
    assert phases == ["Adopted"] * (len(SAME) - 1) + ["Promoted"]
    assert world.unseen() == []
