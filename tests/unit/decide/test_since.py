"""Since when: a run, a version and a promotion say it alike."""

import pytest
from msgspec.structs import replace

from finetune_operator.decide.promotion import machine as promotion_decide
from finetune_operator.decide.promotion.view import PromotionView
from unit.decide.policy import world as promotions
from unit.decide.run.attempts import training
from unit.decide.run.results import START
from unit.decide.run.test_steps import line
from unit.decide.run.world import World


def test_a_run_is_in_its_phase_since_it_began_whatever_it_says_meanwhile() -> None:
    world = training()
    since = world.status.since
    assert since == START
    for percent in (10, 20, 30):
        world.wait(60)
        world.progress = line(1, percent)
        world.settle()
        assert f"{percent} %" in world.status.message
        assert world.status.since == since


def test_a_new_reason_in_the_same_phase_begins_anew() -> None:
    world = World(policy=None)
    world.settle()
    assert (world.phase(), world.status.since) == ("Pending", START)
    world.wait(90)
    world.settle()
    assert world.status.since == START
    world.versions, world.policy = (), World().policy
    world.settle()
    assert world.condition("Accepted") == ("False", "BaseNotFound")
    assert (world.phase(), world.status.since) == ("Pending", world.now)


@pytest.mark.parametrize("later", [1, 3600])
def test_a_promotion_that_waits_says_since_when(later: float) -> None:
    base, tuned = promotions.base(), promotions.tuned()
    asked = promotions.promotion("ft_v1.1", "base_v1")
    of = promotions.policy(promotions.live(base))
    for updated in (0, 1):
        there = promotions.deployment(promotions.keys(base), updated=updated)
        now = promotions.NOW + promotions.seconds(later * updated)
        status = promotion_decide.decide(PromotionView(asked, now, of, there, (base, tuned))).status
        asked = replace(asked, status=status)
        assert f"{updated} updated" in status.message
        assert status.since == promotions.NOW


def test_what_an_earlier_release_wrote_gets_its_moment_with_its_next_change() -> None:
    world = training()
    world.run = replace(world.run, status=replace(world.status, since=None))
    before = world.writes
    world.wait(60)
    world.settle()
    assert (world.status.since, world.writes) == (None, before)
