"""Going back takes back: what people left for cause goes live again only when somebody says so."""

import pytest
from msgspec.structs import replace

from finetune_operator.api.names import OWNER_KIND_LABEL, OWNER_NAME_LABEL, promotion_name
from finetune_operator.api.policy_status import Hold, PolicyStatus, Rejected
from finetune_operator.api.promotion import Approval, Despite, Promotion
from finetune_operator.api.record import Service, services
from finetune_operator.decide.policy import memory
from unit.decide.policy.pair import BASE, TUNED
from unit.decide.policy.world import (
    NOW,
    ModelDeployment,
    World,
    keys,
    live,
    live_version,
    policy,
    promotion,
    running,
    tuned,
    with_record,
)

NEXT = tuned("ft_v1.2", baseline="ft_v1.1")
DESPITE = Despite(checks=("TakenBack",), reason="it was the camera")
BACK = promotion("base_v1", "ft_v1.1", name="back", reason="amounts are read wrongly")


OF_A_RUN = {OWNER_KIND_LABEL: "FineTuneRun", OWNER_NAME_LABEL: "first"}


def taken_back(world: World) -> list[tuple[str, str, str]]:
    return [(entry.version, entry.by, entry.reason) for entry in world.policy.status.taken_back]


def serving(status: PolicyStatus) -> World:
    """A world in which the fine-tune is live."""
    world = running(TUNED, BASE, NEXT)
    world.policy = policy(status)
    return world


@pytest.mark.row("D42")
def test_who_goes_back_to_what_was_live_takes_back_what_is_left_with_the_reason() -> None:
    world = serving(live(TUNED, 1, BASE))
    world.ask(BACK)
    world.run(60)
    assert taken_back(world) == [], "not before the watch has passed"
    world.run(100)
    assert taken_back(world) == [("ft_v1.1", "back", "amounts are read wrongly")]
    world.ask(promotion("ft_v1.1", "base_v1", name="again"))
    world.run(100)
    assert (world.phase("again"), len(world.commits)) == ("Failed", 1)


@pytest.mark.row("D42")
def test_a_way_forward_takes_nothing_back() -> None:
    world = serving(live(TUNED, 1, BASE))
    world.ask(promotion("ft_v1.2", "ft_v1.1"))
    world.run(200)
    assert (world.phase("to-ft-v1-2"), taken_back(world)) == ("Succeeded", [])


@pytest.mark.row("D42")
def test_a_way_back_that_fails_takes_nothing_back() -> None:
    world = serving(live(TUNED, 1, BASE))
    assert world.target is not None
    world.target.behaviour = {"base_v1": "never"}
    world.ask(BACK)
    world.run(400)
    assert (world.phase("back"), taken_back(world)) == ("RolledBack", [])


@pytest.mark.row("D42")
def test_the_record_of_the_version_tells_that_it_was_live_here_where_the_policy_forgot() -> None:
    world = serving(live(TUNED, 1))
    world.versions = (with_record(BASE, Service(good=NOW)), TUNED)
    world.ask(BACK)
    world.run(200)
    assert [version for version, _, _ in taken_back(world)] == ["ft_v1.1"]


@pytest.mark.row("D42")
def test_what_served_elsewhere_only_is_no_way_back() -> None:
    world = World(
        policy=policy(replace(live(BASE, 1), last_good=())),
        target=ModelDeployment(now=NOW, keys=keys(BASE), epoch=1, manager="finetune-operator"),
        versions=(BASE, with_record(TUNED, Service(good=NOW), on="another-detector")),
    )
    world.ask(promotion("ft_v1.1", "base_v1"))
    world.run(200)
    assert (world.phase("to-ft-v1-1"), taken_back(world)) == ("Succeeded", [])


@pytest.mark.row("D258")
def test_what_was_copied_from_another_namespace_is_no_way_back() -> None:
    """A version that served well on trial goes forward here: what was live did nothing wrong."""
    world = World(
        policy=policy(replace(live(BASE, 1), last_good=())),
        target=ModelDeployment(now=NOW, keys=keys(BASE), epoch=1, manager="finetune-operator"),
        versions=(BASE, with_record(TUNED, Service(good=NOW, good_in="staging"))),
    )
    world.ask(promotion("ft_v1.1", "base_v1"))
    world.run(200)
    assert (world.phase("to-ft-v1-1"), taken_back(world)) == ("Succeeded", [])
    here = next(v for v in world.versions if v.spec.version == "ft_v1.1")
    record = services(here.metadata.annotations, here.spec.artifact.sha256)
    assert record["invoice-detector"].was_good_in("ml")


@pytest.mark.row("D42")
def test_a_runs_promotion_takes_nothing_back() -> None:
    """People go back for a reason; a run that promotes an older result goes forward."""
    world = serving(live(TUNED, 1, BASE))
    name = promotion_name("first", "run-uid")
    world.ask(replace(BACK, metadata=replace(BACK.metadata, name=name, labels=OF_A_RUN)))
    world.run(200)
    assert (world.phase(name), taken_back(world)) == ("Succeeded", [])


@pytest.mark.row("D42")
def test_a_person_who_copied_a_runs_promotion_with_its_labels_takes_back() -> None:
    world = serving(live(TUNED, 1, BASE))
    world.ask(replace(BACK, metadata=replace(BACK.metadata, labels=OF_A_RUN)))
    world.run(200)
    assert taken_back(world) == [("ft_v1.1", "back", "amounts are read wrongly")]


def gone_back_and_forth(*asked: Promotion) -> World:
    world = serving(live(TUNED, 1, BASE))
    world.ask(BACK)
    world.run(200)
    world.ask(*asked)
    world.run(200)
    return world


@pytest.mark.row("D43")
def test_a_promotion_that_overrules_it_puts_it_live_and_nothing_is_taken_back_any_more() -> None:
    world = gone_back_and_forth(promotion("ft_v1.1", "base_v1", name="again", despite=DESPITE))
    assert (world.phase("again"), taken_back(world)) == ("Succeeded", [])
    world.ask(promotion("base_v1", "ft_v1.1", name="back-2"))
    world.run(200)
    assert (world.phase("back-2"), [v for v, _, _ in taken_back(world)]) == ("Succeeded", ["ft_v1.1"])


@pytest.mark.row("D43")
def test_an_overruling_promotion_that_fails_leaves_it_taken_back() -> None:
    world = serving(live(TUNED, 1, BASE))
    world.ask(BACK)
    world.run(200)
    assert world.target is not None
    world.target.behaviour = {"ft_v1.1": "never"}
    world.ask(promotion("ft_v1.1", "base_v1", name="again", despite=DESPITE))
    world.run(400)
    assert (world.phase("again"), [v for v, _, _ in taken_back(world)]) == ("RolledBack", ["ft_v1.1"])


@pytest.mark.row("D44")
def test_a_failed_flight_returns_to_live_and_not_to_what_was_taken_back() -> None:
    world = gone_back_and_forth()
    assert world.target is not None
    other = tuned("ft_v1.3", baseline="base_v1")
    world.versions = (*world.versions, other)
    world.target.behaviour = {"ft_v1.3": "never"}
    world.ask(promotion("ft_v1.3", "base_v1"))
    world.run(400)
    assert (world.phase("to-ft-v1-3"), world.target.keys) == ("RolledBack", keys(BASE))


@pytest.mark.row("D42")
def test_who_ends_a_flight_takes_back_what_was_in_flight() -> None:
    world = running(BASE, TUNED)
    world.ask(promotion("ft_v1.1", "base_v1"))
    world.run(30)
    brake = promotion("base_v1", "ft_v1.1", name="brake", reason="amounts are read wrongly", age=-30)
    world.ask(brake)
    world.run(100)
    assert (world.phase("brake"), world.phase("to-ft-v1-1")) == ("Succeeded", "RolledBack")
    assert taken_back(world) == [("ft_v1.1", "brake", "amounts are read wrongly")]


@pytest.mark.row("D42")
def test_who_ends_a_way_back_does_not_speak_against_where_it_led() -> None:
    world = serving(live(TUNED, 1, BASE))
    world.ask(BACK)
    world.run(30)
    world.ask(promotion("ft_v1.1", "base_v1", name="stay", age=-30))
    world.run(100)
    assert (world.phase("stay"), world.phase("back"), taken_back(world)) == ("Succeeded", "RolledBack", [])


@pytest.mark.row("D42")
def test_the_hold_after_an_ended_flight_has_the_command_that_overrules_it() -> None:
    world = running(BASE, TUNED)
    world.ask(promotion("ft_v1.1", "base_v1"))
    world.run(30)
    world.ask(promotion("base_v1", "ft_v1.1", name="brake", age=-30))
    world.run(100)
    assert world.policy.status.hold is not None
    assert '"despite":{"checks":["TakenBack"]' in world.policy.status.hold.message


@pytest.mark.row("D18")
def test_the_hold_proposes_no_other_try_that_would_be_refused() -> None:
    """Somebody went back further than the flight came from: its evidence says nothing of what is live now."""
    world = serving(live(TUNED, 1, BASE))
    world.ask(promotion("ft_v1.2", "ft_v1.1"))
    world.run(30)
    world.ask(promotion("base_v1", "ft_v1.2", name="brake", age=-30))
    world.run(100)
    hold = world.policy.status.hold
    assert hold is not None
    assert (world.phase("brake"), world.policy.status.serving) == ("Succeeded", "base_v1")
    assert "its evidence was measured against 'ft_v1.1', but live is 'base_v1'" in hold.message
    assert '"version":"ft_v1.2"' not in hold.message
    assert '"version":"base_v1"' in hold.message


@pytest.mark.row("D18")
def test_the_hold_proposes_a_reviewed_version_with_its_approval() -> None:
    reviewed = tuned(verdict="Review")
    assert reviewed.spec.evidence is not None
    approval = Approval(by="ann", evidence=reviewed.spec.evidence.digest)
    world = running(BASE, reviewed, behaviour={"ft_v1.1": "never"})
    world.ask(promotion("ft_v1.1", "base_v1", approval=approval))
    world.run(200)
    assert world.policy.status.hold is not None
    assert f'"approval":{{"by":"ann","evidence":"{approval.evidence}"}}' in world.policy.status.hold.message


@pytest.mark.row("D43")
def test_the_command_of_a_refused_promotion_comes_from_what_is_live() -> None:
    """It was applied again long after: what it came from is live no more, and the policy holds."""
    held = replace(live(NEXT, 3, BASE), hold=Hold(by="x", reason="RolledBack", message="x", since=NOW))
    world = running(NEXT, BASE, TUNED)
    world.policy = policy(memory.taken_back(held, live_version(TUNED), by="back", reason="x", now=NOW))
    world.ask(promotion("ft_v1.1", "base_v1"))
    world.run(10)
    message = world.promotions["to-ft-v1-1"].status.message
    assert world.phase("to-ft-v1-1") == "Failed"
    assert '"version":"ft_v1.1","from":"ft_v1.2","releaseHold":true,"despite":{"checks":["TakenBack"]' in message


def test_no_promotion_is_proposed_that_would_be_refused_for_its_evidence() -> None:
    world = serving(live(TUNED, 1, BASE))
    world.versions = (*world.versions, tuned("ft_v1.5", baseline="base_v1"))
    world.ask(promotion("ft_v1.5", "base_v1"))
    world.run(10)
    assert world.phase("to-ft-v1-5") == "Superseded"
    message = world.promotions["to-ft-v1-5"].status.message
    assert "but live is 'ft_v1.1'; 'ft_v1.5' cannot go live: its evidence was measured against 'base_v1'" in message
    assert "kubectl" not in message


@pytest.mark.row("D42")
def test_a_way_back_whose_object_was_deleted_is_flown_and_takes_back_what_is_left() -> None:
    newer = tuned("ft_v1.2", baseline="ft_v1.1")
    world = running(newer, BASE)
    world.policy = policy(live(newer, 3, TUNED))
    world.ask(promotion("ft_v1.1", "ft_v1.2", name="back", reason="wrong amounts"))
    world.run(150)
    assert world.target is not None
    assert (world.phase("back"), world.target.keys) == ("Succeeded", keys(TUNED))
    assert [entry.version for entry in world.policy.status.taken_back] == ["ft_v1.2"]
    world.ask(promotion("ft_v1.2", "ft_v1.1", name="forth"))
    world.run(20)
    assert world.promotions["forth"].status.message.startswith("'ft_v1.2' was taken back")
    barred = replace(world.policy.status, live=live(newer).live)
    world.policy = policy(memory.taken_back(barred, live_version(TUNED), by="x", reason="", now=NOW))
    world.versions = (BASE,)
    world.ask(promotion("ft_v1.1", "ft_v1.2", name="again"))
    world.run(20)
    assert (world.phase("again"), len(world.commits)) == ("Failed", 1), "what is known of its bytes counts"


@pytest.mark.row("D82")
@pytest.mark.parametrize("why", ["Quarantined", "TakenBack"])
def test_no_refusal_offers_to_overrule_what_a_person_rejected(why: str) -> None:
    """The command would be refused in its turn: nothing overrules a no."""
    no = Rejected(version="ft_v1.1", sha256=TUNED.spec.artifact.sha256, by="ann", at=NOW)
    status = replace(live(BASE, 3), rejected=(no,))
    if why == "Quarantined":
        status = memory.quarantined(status, live_version(TUNED), "Unhealthy", NOW)
    else:
        status = memory.taken_back(status, live_version(TUNED), by="back", reason="x", now=NOW)
    world = running(BASE, TUNED)
    world.policy = policy(status)
    world.ask(promotion("ft_v1.1", "base_v1"))
    world.run(10)
    ended = world.promotions["to-ft-v1-1"].status
    assert (ended.phase, ended.conditions[0].reason) == ("Failed", why)
    assert ended.message.endswith("'ann' rejected it in review; that is never promoted")
    assert "despite" not in ended.message
