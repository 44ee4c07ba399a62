"""The end of a run that may go live: its promotion, and how it ends with it."""

import pytest
from msgspec.structs import replace as updated

from finetune_operator.api.meta import Condition, ObjectMeta
from finetune_operator.api.policy_status import Consumed, Hold, InFlight, LiveVersion, Quarantined, Rejected, TakenBack
from finetune_operator.api.promotion import Promotion, PromotionPhase, PromotionSpec, PromotionStatus
from finetune_operator.decide import limits
from finetune_operator.decide.decision import CreateModelVersion, CreatePromotion, Emit
from house.following import manifest, manifests
from unit.decide.run.results import CANDIDATE, LIVE, START, evaluate_result, sha, train_result
from unit.decide.run.world import World, base, deleted, live, made, review

HOLD = Hold(by="operator", reason="RolledBack", message="ft_v1.1 was rolled back", since=START)
ENDINGS: list[tuple[PromotionPhase, str, str]] = [
    ("Succeeded", "Succeeded", "Promoted"),
    ("RolledBack", "RolloutFailed", "RolledBack"),
    ("Failed", "FieldOwned", "Failed"),
    ("Superseded", "Overtaken", "Superseded"),
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
    spec = manifest(world.status.message, "ModelPromotion")["spec"]
    assert spec["version"] == "ft_v1.1"
    assert ("releaseHold" in spec) == (why == "Held")
    assert ("approval" in spec) == reviewed
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
    assert world.status.message.startswith("these words")
    assert (phase == "Succeeded") == (manifests(world.status.message) == [])


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
    assert manifest(world.status.message, "ModelPromotion")["spec"]["version"] == "ft_v1.1"
    assert made(world, CreatePromotion) == 1


@pytest.mark.row("R33")
@pytest.mark.parametrize("remembered", [True, False])
def test_a_promotion_that_is_deleted_and_that_a_finalizer_keeps_ends_the_run(remembered: bool) -> None:
    """Nothing is written to it any more, so that it never shows how it ended."""
    world = World().judged()
    world.settle()
    assert world.promotion is not None
    world.promotion = updated(world.promotion, metadata=deleted(world.promotion.metadata))
    if remembered:
        entry = Consumed(
            name=world.promotion.metadata.name, spec_hash="x", outcome="Succeeded", reason="Succeeded", at=START
        )
        world.set_policy(consumed=(entry,))
    world.settle()
    assert world.phase() == ("Promoted" if remembered else "Failed")
    assert world.condition("Finished") == ("True", "Succeeded" if remembered else "PromotionDeleted")


@pytest.mark.row("R67")
def test_whose_version_was_deleted_too_is_told_to_train_another_one() -> None:
    """A promotion of it would wait for ever."""
    world = World().judged()
    world.settle()
    world.promotion, world.versions = None, world.versions[:1]
    world.settle()
    assert world.condition("Finished") == ("True", "PromotionDeleted")
    assert "ModelVersion invoice-fields-ft-v1.1 was deleted" in world.status.message
    assert [one["kind"] for one in manifests(world.status.message)] == ["FineTuneRun"]


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


def overtaken(world: World) -> World:
    """Something else goes live while the run's promotion waits behind it, and the promotion is refused for that."""
    world.versions = (*world.versions, base("ft_v1.9", LIVE, type="FineTuned", base="base_v1"))
    world.go_live("ft_v1.9")
    world.promotion_is("Superseded", "FromIsNotLive", "spec.from is nothing, but live is 'ft_v1.9'")
    return world


@pytest.mark.row("R65")
@pytest.mark.parametrize("reviewed", [False, True])
def test_a_run_whose_promotion_was_overtaken_is_measured_again_and_not_thrown_away(reviewed: bool) -> None:
    world = World()
    if reviewed:
        review(world.in_review(), "Approve")
    else:
        world.judged()
    overtaken(world)
    first = world.status
    assert (first.phase, first.verdict, first.decision, first.version, first.promotion) == (
        "Evaluating", None, None, None, None)  # fmt: skip
    world.complete("evaluate", evaluate_result(live_map50="0.980000"))
    assert (world.phase(), world.status.version) == ("Promoting", "ft_v1.10")
    one, two = [a for a in world.history if isinstance(a, CreatePromotion)]
    assert one.name != two.name
    assert (two.spec.from_version, two.spec.version, two.spec.approval) == ("ft_v1.9", "ft_v1.10", None)
    assert [world.jobs_made(step) for step in ("prepare", "train", "evaluate")] == [1, 1, 2]
    world.promotion_is("Succeeded")
    assert world.phase() == "Promoted"


@pytest.mark.row("R65")
def test_a_run_is_not_measured_again_while_something_else_is_about_to_go_live() -> None:
    world = World().judged()
    world.ahead = ("other",)
    overtaken(world)
    assert (world.phase(), world.condition("Accepted")) == ("Pending", ("Unknown", "PromotionUnderway"))
    assert (world.status.place, world.jobs_made("evaluate")) == (None, 1)
    world.ahead = ()
    flight = InFlight(
        promotion="by-hand", promotion_uid="u", spec_hash="x", phase="Flipping",
        to=LiveVersion(version="ft_v1.7", model_version="m", uri="u", sha256=LIVE), epoch=1, deployment_uid="d",
        template_hash="t", started_at=START, phase_since=START, deadline=START,
    )  # fmt: skip
    world.set_policy(in_flight=flight)
    world.settle()
    assert "promotion by-hand is in flight" in world.status.message
    world.edit(suspend=True)
    world.settle()
    assert world.phase() == "Suspended"
    world.edit(suspend=False)
    world.set_policy(in_flight=None)
    world.settle()
    assert (world.phase(), world.jobs_made("evaluate")) == ("Evaluating", 2)
    assert world.condition("Accepted") == ("True", "Accepted")


@pytest.mark.row("R65")
def test_a_first_measurement_waits_for_nobody() -> None:
    world = World().prepared()
    world.ahead = ("other",)
    world.complete("train", train_result())
    assert world.phase() == "Evaluating"


@pytest.mark.row("R65")
def test_a_promotion_overtaken_by_what_was_trained_on_more_gives_way() -> None:
    world = World().judged()
    lineage = updated(world.versions[1].spec.lineage, pool=61)  # type: ignore[type-var]
    world.versions = (*world.versions, base("ft_v1.9", LIVE, type="FineTuned", base="base_v1", lineage=lineage))
    world.go_live("ft_v1.9")
    world.promotion_is("Superseded", "FromIsNotLive")
    assert (world.phase(), world.condition("Finished")) == ("Superseded", ("True", "NewerPoolIsLive"))


@pytest.mark.row("R65")
def test_a_promotion_overtaken_in_the_last_round_ends_the_run_with_a_way_on() -> None:
    world = overtaken(World().judged())
    for number in (2, 3):
        result = evaluate_result(live_map50="0.980000")
        result["models"]["live"]["sha256"] = world.status.attempts[-1].live
        world.complete("evaluate", result)
        assert world.phase() == "Promoting"
        newer, digest_ = f"ft_v1.{20 + number}", sha(f"live {number}")
        world.versions = (*world.versions, base(newer, digest_, type="FineTuned", base="base_v1"))
        world.go_live(newer, digest_)
        world.promotion_is("Superseded", "FromIsNotLive")
    assert (world.phase(), world.condition("Finished")) == ("Failed", ("True", "LiveKeepsChanging"))
    assert manifest(world.status.message, "FineTuneRun")["spec"] == {"policy": "invoice-fields"}


@pytest.mark.row("R65")
@pytest.mark.parametrize("what", ["taken back", "quarantined"])
def test_what_people_or_production_turned_away_is_not_measured_again_for_another_try(what: str) -> None:
    world = World().judged()
    if what == "taken back":
        world.set_policy(taken_back=(TakenBack(version="ft_v1.1", sha256=CANDIDATE, by="back", since=START),))
    else:
        entry = Quarantined(version="ft_v1.1", sha256=CANDIDATE, reason="Unhealthy", since=START)
        world.set_policy(quarantined=(entry,))
    overtaken(world)
    assert world.phase() == "Superseded"
    # Its evidence is of another live version, so that no promotion could overrule that.
    assert [one["kind"] for one in manifests(world.status.message)] == ["FineTuneRun"]
    assert "seed" in manifest(world.status.message, "FineTuneRun")["spec"]["mixing"]


@pytest.mark.row("R33")
@pytest.mark.parametrize("there", [True, False], ids=["its promotion is there", "its promotion was deleted"])
def test_a_run_whose_flight_a_person_ended_ends_with_it_and_knows_of_the_hold(there: bool) -> None:
    """Until the way back is complete neither hold nor taking back is on record, and the command would lack both."""
    world = World().judged()
    assert world.promotion is not None
    name, candidate = (
        world.promotion.metadata.name,
        LiveVersion(version="ft_v1.1", model_version="m", uri="u", sha256=CANDIDATE),
    )
    flight = InFlight(
        promotion=name, promotion_uid="p", spec_hash="h", phase="Returning", to=candidate, epoch=2,
        deployment_uid="d", template_hash="t", started_at=START, phase_since=START, deadline=START,
    )  # fmt: skip
    consumed = Consumed(name=name, spec_hash="h", outcome="RolledBack", reason="TakenBack", at=START)
    world.set_policy(in_flight=flight, consumed=(consumed,))
    if there:
        world.promotion_is("RolledBack", "TakenBack")
    else:
        world.promotion = None
        world.settle()
    assert world.phase() == "Promoting"
    taken = TakenBack(version="ft_v1.1", sha256=CANDIDATE, by="brake", since=START)
    world.set_policy(in_flight=None, hold=HOLD, taken_back=(taken,))
    world.settle()
    assert world.phase() == "RolledBack"
    spec = manifest(world.status.message, "ModelPromotion")["spec"]
    assert (spec["releaseHold"], spec["despite"]["checks"]) == (True, ["TakenBack"])


@pytest.mark.row("R67")
def test_a_quarantined_version_can_be_promoted_by_who_knows_better_or_trained_anew() -> None:
    world = World().judged()
    entry = Quarantined(version="ft_v1.1", sha256=CANDIDATE, reason="RolloutFailed", since=START)
    world.set_policy(quarantined=(entry,), hold=HOLD)
    world.promotion_is("RolledBack", "RolloutFailed", "x" * 800)
    assert "seed" in manifest(world.status.message, "FineTuneRun")["spec"]["mixing"]
    spec = manifest(world.status.message, "ModelPromotion")["spec"]
    assert (spec["releaseHold"], spec["despite"]["checks"]) == (True, ["Quarantined"])


@pytest.mark.row("R67")
@pytest.mark.parametrize("overtaken", [False, True])
def test_bytes_that_a_person_rejected_are_neither_measured_again_nor_is_a_promotion_of_them_proposed(
    overtaken: bool,
) -> None:
    world = World().judged()
    no = Rejected(version="ft_v1.8", sha256=CANDIDATE, by="ann", at=START)
    world.set_policy(rejected=(no,), **({"live": live("ft_v1.9", LIVE)} if overtaken else {}))
    world.promotion_is("Failed", "NotEligible", "'ann' rejected it")
    assert world.phase() == "Failed"
    assert [one["kind"] for one in manifests(world.status.message)] == ["FineTuneRun"]
    assert "seed" in manifest(world.status.message, "FineTuneRun")["spec"]["mixing"]


@pytest.mark.row("R55")
def test_an_event_of_what_the_promotion_waits_for_has_the_whole_command() -> None:
    """A note has 1,000 characters, and the words before the command may fill it."""
    world = World().judged()
    command = "echo '{}' | kubectl create -f -"
    words = f"{'pods of the Deployment are not ready, ' * 30}; to go on: {command}"
    waits = Condition(type="Accepted", status="False", reason="NotSettled", message=words)
    assert world.promotion is not None
    world.promotion = updated(world.promotion, status=PromotionStatus(phase="Pending", conditions=(waits,)))
    world.settle()
    texts = [action.message for action in world.history if isinstance(action, Emit) and action.reason == "NotSettled"]
    assert [text.endswith(command) for text in texts] == [True]
    assert len(texts[0]) <= limits.EVENT
