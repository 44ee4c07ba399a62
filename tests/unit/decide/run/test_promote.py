"""The end of a run that may go live: its promotion, and how it ends with it."""

import pytest
from msgspec.structs import replace as updated

from finetune_operator.api.meta import Condition, ObjectMeta
from finetune_operator.api.policy import Consumed, Hold, InFlight, LiveVersion
from finetune_operator.api.promotion import Promotion, PromotionPhase, PromotionSpec, PromotionStatus
from finetune_operator.decide.decision import CreateModelVersion, CreatePromotion
from unit.decide.run.results import LIVE, START
from unit.decide.run.world import World, made, review

HOLD = Hold(by="operator", reason="RolledBack", message="ft_v1.1 was rolled back", since=START)
ENDINGS: list[tuple[PromotionPhase, str, str]] = [
    ("Succeeded", "Succeeded", "Promoted"),
    ("RolledBack", "RolloutFailed", "RolledBack"),
    ("Failed", "FieldOwned", "Failed"),
    ("Superseded", "FromIsNotLive", "Superseded"),
]


@pytest.mark.row("R31")
@pytest.mark.parametrize("why", ["PromotionManual", "Held"])
@pytest.mark.parametrize("reviewed", [False, True])
def test_a_version_that_may_go_live_waits_for_people_who_promote_by_hand(why: str, reviewed: bool) -> None:
    world = World()
    if why == "Held":
        world.set_policy(hold=HOLD)
    else:
        world.set_rules(promotion="Manual")
    if reviewed:
        review(world.in_review(), "Approve")
    else:
        world.judged()
    assert world.phase() == "Passed"
    assert world.condition("Promoted") == ("False", why)
    assert "version: ft_v1.1" in world.status.message
    assert ("releaseHold: true" in world.status.message) == (why == "Held")
    assert ("approval:" in world.status.message) == reviewed
    assert (made(world, CreateModelVersion), made(world, CreatePromotion)) == (1, 0)


@pytest.mark.row("R24")
def test_a_version_and_its_promotion_that_a_crash_lost_are_made_again_the_same() -> None:
    world = World().judged()
    lost = World(run=world.run, policy=world.policy, snapshot=world.snapshot, jobs=world.jobs, now=world.now)
    requested = Condition(type="Promoted", status="Unknown", reason="Requested")
    conditions = tuple(requested if c.type == "Promoted" else c for c in world.status.conditions)
    lost.run = updated(world.run, status=updated(world.status, conditions=conditions))
    lost.wait(100)
    lost.settle()
    kinds = (CreateModelVersion, CreatePromotion)
    assert [a for a in lost.history if isinstance(a, kinds)] == [a for a in world.history if isinstance(a, kinds)]
    assert lost.phase() == "Promoting"


@pytest.mark.row("R24")
def test_a_version_deleted_after_its_promotion_began_is_not_made_again() -> None:
    world = World().judged()
    world.versions = world.versions[:1]
    world.settle()
    assert made(world, CreateModelVersion) == 1


@pytest.mark.row("R33")
@pytest.mark.parametrize(("phase", "reason", "ends"), ENDINGS)
def test_a_run_ends_as_its_promotion_ends(phase: PromotionPhase, reason: str, ends: str) -> None:
    world = World().judged()
    world.promotion_is(phase, reason, "these words")
    assert world.phase() == ends
    assert world.condition("Finished") == ("True", reason)
    assert world.status.message == "these words"


@pytest.mark.row("R33")
@pytest.mark.parametrize(("phase", "reason", "ends"), ENDINGS)
def test_a_promotion_that_is_gone_is_remembered_by_the_policy(phase: PromotionPhase, reason: str, ends: str) -> None:
    world = World().judged()
    world.settle()
    world.promotion = None
    assert world.status.promotion is not None
    entry = Consumed(name=world.status.promotion, spec_hash="x", outcome=phase, reason=reason, at=START)  # type: ignore[arg-type]
    world.set_policy(consumed=(entry,))
    world.settle()
    assert world.phase() == ends


@pytest.mark.row("R33")
def test_a_promotion_deleted_before_it_acted_ends_the_run() -> None:
    world = World().judged()
    world.settle()
    world.promotion = None
    world.settle()
    assert world.phase() == "Failed"
    assert world.condition("Finished") == ("True", "PromotionDeleted")
    assert made(world, CreatePromotion) == 1


@pytest.mark.row("R33")
def test_a_flight_goes_on_without_its_promotion() -> None:
    world = World().judged()
    world.settle()
    world.promotion = None
    assert world.status.promotion is not None
    flight = InFlight(
        promotion=world.status.promotion,
        promotion_uid="u",
        spec_hash="x",
        phase="Flipping",
        to=LiveVersion(version="ft_v1.1", model_version="m", uri="u", sha256=LIVE),
        back=None,
        epoch=1,
        deployment_uid="d",
        template_hash="t",
        started_at=START,
        phase_since=START,
        deadline=START,
    )
    world.set_policy(in_flight=flight)
    world.settle()
    assert world.phase() == "Promoting"


@pytest.mark.row("R32")
def test_a_foreign_promotion_under_our_name_is_not_followed() -> None:
    world = World().judged()
    assert world.status.promotion is not None
    spec = PromotionSpec(policy="invoice-fields", version="base_v1")
    status = PromotionStatus(phase="Succeeded")
    world.promotion = Promotion(metadata=ObjectMeta(name=world.status.promotion), spec=spec, status=status)
    world.settle()
    assert world.condition("Finished") == ("True", "NameTaken")


def test_a_promotion_that_waits_says_why_in_the_run() -> None:
    world = World().judged()
    assert world.promotion is not None
    waits = Condition(type="Accepted", status="False", reason="NoSurge", message="allow a surge")
    status = PromotionStatus(phase="Pending", conditions=(waits,))
    world.promotion = updated(world.promotion, status=status)
    world.settle()
    assert world.condition("Promoted") == ("Unknown", "NoSurge")
    assert "allow a surge" in world.status.message
