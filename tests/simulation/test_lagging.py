"""Caches that lag, workers side by side, lost answers, crashes, two operators for a while: each story ends as told."""

from collections.abc import Coroutine
from typing import Any

import pytest

from finetune_operator.cluster.kinds import Kind
from finetune_operator.cluster.object_ref import ObjectRef
from house.deep import DEEP, in_turn

from .controllers import NAMESPACE
from .invariants import violations
from .lagging import Lagging, Weather
from .stories import STORIES, USER, Story

WEATHERS = {
    "lag": Weather(),
    "lost": Weather(lost=0.1),
    "crashes": Weather(crash=0.004),
    "all": Weather(lost=0.06, crash=0.002),
    "two operators": Weather(operators=2, lost=0.06, crash=0.002),
}


@pytest.mark.part
@pytest.mark.parametrize(
    ("story", "weather"), in_turn(STORIES, tuple(WEATHERS), 2), ids=lambda item: getattr(item, "name", item)
)
def test_each_story_ends_as_told_whatever_the_operator_sees_late(story: Story, weather: str) -> None:
    for seed in range(4 if DEEP else 1):
        world = Lagging(story, seed, WEATHERS[weather])
        world.play()
        # A lost answer is as a crash to a metric that was to follow; a spare collect Job only reads.
        broken = [one for one in violations(world) if "verdicts" not in one]
        assert broken == [], f"seed {seed}"
        ended = world.summary()
        assert (ended["phase"], ended["live"], ended["served"]) == (story.ends, story.live, story.live), f"seed {seed}"


def to_its_end(work: Coroutine[Any, Any, object]) -> None:
    """Play it alone."""
    for _ in range(50):
        try:
            work.send(None)
        except StopIteration:
            return
    raise AssertionError("it does not end")


@pytest.mark.row("R207")
@pytest.mark.row("R240")
@pytest.mark.parametrize("read", [False, True], ids=["", "and somebody reads that it is gone before that comes"])
def test_a_no_is_known_though_its_run_is_deleted_before_anybody_looks(*, read: bool) -> None:
    """All of it comes in one burst, and the policy's look after that."""
    world = Lagging(STORIES[0], 0, Weather())
    world.play()
    made = world.get(Kind.RUN, "first")["status"]
    no = {"decision": "Reject", "evidence": made["evidence"]["digest"], "by": "ann"}
    world.server.update_spec(USER, Kind.RUN, NAMESPACE, "first", lambda o: o["spec"].update(review=no))
    world.server.delete(USER, Kind.RUN, NAMESPACE, "first")
    if read:  # after a conflict, say
        to_its_end(world.lives[0].cluster.get(Kind.RUN, NAMESPACE, "first", fresh=True))
    world._catch_up()
    to_its_end(world.lives[0].reconcile(ObjectRef(Kind.POLICY, NAMESPACE, "invoice-fields")))
    (known,) = world.get(Kind.POLICY, "invoice-fields")["status"]["rejected"]
    assert (known["by"], known["run"], known["sha256"]) == ("ann", "first", made["candidate"]["sha256"])
