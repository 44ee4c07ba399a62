"""Caches that lag, workers side by side, lost answers, crashes, two operators for a while: each story ends as told."""

import pytest

from .invariants import violations
from .lagging import Lagging, Weather
from .stories import STORIES, Story

WEATHERS = {
    "lag": Weather(),
    "lost": Weather(lost=0.1),
    "crashes": Weather(crash=0.004),
    "all": Weather(lost=0.06, crash=0.002),
    "two operators": Weather(operators=2, lost=0.06, crash=0.002),
}


@pytest.mark.parametrize("weather", WEATHERS.values(), ids=WEATHERS)
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_each_story_ends_as_told_whatever_the_operator_sees_late(story: Story, weather: Weather) -> None:
    for seed in range(4):
        world = Lagging(story, seed, weather)
        world.play()
        # A lost answer is as a crash to a metric that was to follow; a spare collect Job only reads.
        broken = [one for one in violations(world) if "verdicts" not in one]
        assert broken == [], f"seed {seed}"
        ended = world.summary()
        assert (ended["phase"], ended["live"], ended["served"]) == (story.ends, story.live, story.live), f"seed {seed}"
