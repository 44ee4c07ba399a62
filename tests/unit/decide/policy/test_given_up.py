"""A flight that is given up before its keys are there: what serves stays, and a hold that it lifted is there again."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from finetune_operator.api.names import FIELD_MANAGER
from finetune_operator.api.policy import Policy
from finetune_operator.api.policy_status import Hold, Quarantined, Rejected, TakenBack
from finetune_operator.api.promotion import Promotion
from finetune_operator.decide.policy.machine import decide
from finetune_operator.decide.views import DeploymentView, PolicyView
from house.deep import part_of
from unit.decide.policy.flight import BASE, OTHER, TUNED, VERSIONS, flight_of
from unit.decide.policy.test_no_properties import BEHAVIOUR, EVENTS, ONE, Said
from unit.decide.policy.test_no_properties import VERSIONS as ALL
from unit.decide.policy.test_properties import lose_the_status
from unit.decide.policy.world import (
    NOW,
    Commit,
    ModelDeployment,
    World,
    applied,
    deployment,
    keys,
    live,
    live_version,
    policy,
    promotion,
    seconds,
    view,
)

SHA = BASE.spec.artifact.sha256
QUARANTINED = Quarantined(version="base_v1", sha256=SHA, reason="Unhealthy", since=NOW - seconds(9))
TAKEN = TakenBack(version="base_v1", sha256=SHA, by="bo", since=NOW - seconds(9))
NO = Rejected(version="ft_v1.1", sha256=TUNED.spec.artifact.sha256, by="ann", at=NOW)
HELD = Hold(by="finetune-operator", reason="Adopted", message="found", since=NOW - seconds(60))
RELEASES = promotion("ft_v1.1", "base_v1", release_hold=True)
UNAPPLIED = deployment(keys(BASE))
"""What serves when the flight begins serves still: a crash kept its keys from being applied."""


def taken_off(*, hold: Hold | None = HELD, **status: Any) -> Policy:
    """A flight to ft_v1.1 from base_v1, which was merely found on the Deployment; ft_v9.9 was good before."""
    adopted = replace(live(BASE), last_good=(live_version(OTHER),), hold=hold)
    of = policy(replace(adopted, **status))
    return policy(decide(view(of, UNAPPLIED, RELEASES, versions=(*VERSIONS, OTHER))).status)


def looked(of: Policy, there: DeploymentView | None, *asked: Promotion, age: float = 30) -> Any:
    return decide(view(of, there, *asked, versions=(*VERSIONS, OTHER), now=NOW + seconds(age)))


@pytest.mark.row("D230")
@pytest.mark.parametrize(
    "status",
    [{}, {"quarantined": (QUARANTINED,), "last_good": ()}, {"quarantined": (QUARANTINED,)}, {"taken_back": (TAKEN,)}],
    ids=["adopted", "quarantined, and there is no other", "quarantined", "taken back"],
)
@pytest.mark.parametrize("why", ["Rejected", "RolloutTimedOut"])
def test_what_serves_stays_when_a_flight_is_given_up_before_its_keys_are_there(why: str, status: Any) -> None:
    """It is no way back (D44), and none is needed: nothing of the flight ever served."""
    of, age = taken_off(**status), 30 if why == "Rejected" else 3601
    if why == "Rejected":
        of = policy(replace(of.status, rejected=(NO,)))
    given_up = looked(of, UNAPPLIED, RELEASES, age=age)
    assert flight_of(given_up).why == why
    put = applied(given_up)
    assert put is not None
    assert put.version == "base_v1", "the same keys under the next epoch"
    fenced = deployment(keys(BASE), epoch=put.epoch)
    over = looked(policy(given_up.status), fenced, RELEASES, age=age).status
    assert (over.in_flight, over.live.version) == (None, "base_v1")
    assert (over.hold.reason, applied(looked(policy(over), fenced, RELEASES, age=age))) == ("RolledBack", None)


@pytest.mark.row("D230")
def test_what_has_the_keys_of_live_and_fails_is_left() -> None:
    """Its keys were gone, and a person put it live anew: it is what the flight goes to."""
    again = promotion("base_v1", "base_v1", release_hold=True, name="again")
    of = policy(replace(live(BASE, 1, OTHER), hold=HELD))
    begun = looked(of, deployment(epoch=None), again, age=0)
    assert flight_of(begun).to.version == "base_v1"
    there = deployment(keys(BASE), epoch=2, available=0, updated=1, generation=6, observed_generation=6)
    back = looked(policy(begun.status), there, again, age=2000)
    put = applied(back)
    assert put is not None
    assert put.version == "ft_v9.9"


@pytest.mark.row("D251")
@pytest.mark.parametrize("status", [{}, {"quarantined": (QUARANTINED,)}, {"taken_back": (TAKEN,)}])
@pytest.mark.parametrize("there", ["the flight's keys", "none"])
def test_what_left_the_deployment_all_the_same_is_gone_back_to_only_as_a_way_back(there: str, status: Any) -> None:
    """An apply of the flight was on its way from a paused process, or somebody swept the keys, before ours came."""
    of = taken_off(**status)
    given_up = looked(policy(replace(of.status, rejected=(NO,))), UNAPPLIED, RELEASES)
    assert flight_of(given_up).back_version == "base_v1"
    left = deployment(epoch=None) if there == "none" else deployment(keys(TUNED), epoch=2, generation=6)
    after = looked(policy(given_up.status), left, RELEASES, age=40)
    put = applied(after)
    assert put is not None
    assert (put.version, flight_of(after).back_version) == ("ft_v9.9", "ft_v9.9")
    over = looked(policy(after.status), deployment(keys(OTHER), epoch=put.epoch), RELEASES, age=50).status
    assert (over.in_flight, over.live.version) == (None, "ft_v9.9")
    assert "'base_v1' had left the Deployment by then" in over.consumed[-1].message


@pytest.mark.row("D198")
@pytest.mark.parametrize("hold", [HELD, None], ids=["it lifted a hold", "there was none to lift"])
@pytest.mark.parametrize("asked", [(RELEASES,), ()], ids=["", "its promotion is gone"])
@pytest.mark.parametrize("ends", ["rejected", "its Deployment is gone"])
def test_a_hold_comes_again_where_one_was_lifted(ends: str, asked: tuple[Promotion, ...], hold: Hold | None) -> None:
    of = taken_off(hold=hold)
    assert flight_of(decide(view(of, UNAPPLIED, *asked, versions=VERSIONS))).lifted_hold is (hold is not None)
    if ends == "rejected":
        given_up = looked(policy(replace(of.status, rejected=(NO,))), UNAPPLIED, *asked).status
        over = looked(policy(given_up), deployment(keys(BASE), epoch=given_up.epoch), *asked).status
    else:
        over = looked(of, None, *asked).status
    assert over.in_flight is None
    assert (over.hold is not None) is (hold is not None)


@pytest.mark.row("D198")
@pytest.mark.row("D54")
def test_a_promotion_of_before_does_not_lift_the_hold_that_comes_when_its_deployment_is_gone() -> None:
    """Who made it knew of the flight, and not of its end."""
    next_one = promotion("ft_v9.9", "base_v1", release_hold=True, name="next", age=-10)
    of = taken_off()
    gone = looked(of, None, RELEASES, next_one)
    assert gone.status.hold is not None
    assert gone.status.hold.since == NOW + seconds(30)
    back = deployment(keys(BASE), uid="another")
    waits = looked(policy(gone.status), back, RELEASES, next_one, age=40)
    assert (waits.status.in_flight, waits.status.hold) == (None, gone.status.hold)
    known = promotion("ft_v9.9", "base_v1", release_hold=True, name="known", age=-35)
    flies = looked(policy(gone.status), back, RELEASES, next_one, known, age=40)
    assert flight_of(flies).promotion == "known"


@dataclass
class Flown(Said):
    """A world that notes which flights had their keys on the Deployment, and how each one ended."""

    flown: frozenset[str] = frozenset()
    """Promotions whose keys were there."""
    lost: tuple[str, ...] = ()

    def turn(self, *, crash: bool = False, stale: PolicyView | None = None) -> None:
        """Reconcile once; see what became of what serves, and of holds."""
        before, known = self.policy.status, len(self.commits)
        self._see()
        super().turn(crash=crash, stale=stale)
        after, flight = self.policy.status, before.in_flight
        for commit in self.commits[known:]:
            self._judge_return(commit)
        self._see()
        if flight is not None and after.in_flight is None and flight.lifted_hold and after.hold is None:
            ended, brake = after.consumed[-1], after.consumed[-1].name != flight.promotion
            if ended.outcome != "Succeeded" or (brake and not ended.overrules):
                self.lost += (f"{flight.promotion}: {ended.outcome} {ended.reason}",)

    def _see(self) -> None:
        flight = self.policy.status.in_flight
        if flight is not None and self.target is not None and self.target.keys.sha256 == flight.to.sha256:
            self.flown |= {flight.promotion_uid}

    def _judge_return(self, commit: Commit) -> None:
        flight, recorded = commit.status.in_flight, commit.status.live
        if flight is None or flight.phase != "Returning" or flight.promotion_uid in self.flown or recorded is None:
            return
        if commit.before.sha256 == recorded.sha256 != commit.after.sha256 and flight.why != "TakenBack":
            self.wrong += (f"{recorded.version} was taken down by a flight that never had its keys",)


def adopt(world: World) -> None:
    """Everything is forgotten, and what serves is found on the Deployment."""
    lose_the_status(world)
    world.run(30)


def blame(world: World) -> None:
    """What serves is quarantined by a record that comes to light."""
    recorded = world.policy.status.live
    if recorded is not None:
        entry = Quarantined(version=recorded.version, sha256=recorded.sha256, reason="Unhealthy", since=world.now)
        world.policy = replace(
            world.policy, status=replace(world.policy.status, quarantined=(*world.policy.status.quarantined, entry))
        )
        world.statuses.append(world.policy.status)


@pytest.mark.part
@pytest.mark.row("D198")
@pytest.mark.row("D230")
@settings(max_examples=part_of(100), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(script=st.lists(EVENTS | st.sampled_from([adopt, blame]), max_size=16))
def test_no_flight_loses_a_hold_nor_takes_down_what_it_never_replaced(script: list[Any]) -> None:
    target = ModelDeployment(now=NOW, behaviour=BEHAVIOUR)
    target.write(keys(ONE), 1, FIELD_MANAGER)
    target.changed_at = NOW - seconds(3600)
    world = Flown(target=target, versions=ALL, policy=policy(live(ONE, 1, ONE, BASE)))
    for event in script:
        event(world)
        world.turn()
        world.now += seconds(2)
    world.run(700, step=20)
    assert [*world.lost, *(one for one in world.wrong if "never had" in one)] == []
