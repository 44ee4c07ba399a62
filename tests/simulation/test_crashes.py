"""A crash before and after every write of every story ends in the same state as no crash, and breaks no promise."""

from collections.abc import Callable
from functools import cache
from itertools import takewhile

import pytest

from house.deep import DEEP

from .api_server import Write
from .conftest import CRASH_POINTS
from .deaths import deaths
from .invariants import violations
from .stories import STORIES, Story, World


@cache
def reference(story: Story) -> World:
    """Return the story played without a crash."""
    world = World(story)
    world.play()
    return world


def first_of_its_own(story: Story) -> int:
    """Return the number of the operator's first write up to which the story is the one that passes, byte by byte."""
    ours, theirs = reference(story).server.log, reference(STORIES[0]).server.log
    pairs = zip(ours, theirs, strict=False)
    alike = takewhile(lambda pair: _is_alike(*pair), pairs)
    return 0 if story is STORIES[0] else sum(write.actor == "finetune-operator" for write, _ in alike)


def _is_alike(one: Write, other: Write) -> bool:
    return (one.actor, one.verb, one.uid, one.text) == (other.actor, other.verb, other.uid, other.text)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_each_story_ends_as_told(story: Story) -> None:
    """Without crashes: the phase and the live version that the story promises, and no broken promise."""
    world = reference(story)
    assert world.summary()["phase"] == story.ends
    assert world.summary()["live"] == story.live == world.summary()["served"]
    assert violations(world) == []


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_at_rest_nothing_is_written(story: Story) -> None:
    """Once the last timers are over, reconciling every object again and again for an hour writes nothing."""
    world = World(story)
    world.play()
    world.resync(3600)
    log, requests = len(world.server.log), world.client.writes
    for _ in range(6):
        world.resync(600)
    assert world.server.log[log:] == []
    assert world.client.writes == requests, "a write that changes nothing is a request all the same"


@pytest.mark.part
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_a_crash_at_any_write_ends_as_no_crash(story: Story, record_property: Callable[[str, object], None]) -> None:
    """The operator dies before or after its n-th write, for every n, and a new life goes on.

    Of a beginning that stories share, each write once.
    """
    expected = reference(story)
    first = 0 if DEEP else first_of_its_own(story)
    for where, world in deaths(lambda: World(story), first=first):
        assert violations(world) == [], where
        assert world.summary() == expected.summary(), where
    record_property(CRASH_POINTS, 2 * (expected.client.writes - first))
