"""A flight that begins, or is given up, where nothing is served: what nobody would put back is no way back."""

from dataclasses import replace as replace_keys
from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.policy import Policy
from finetune_operator.api.policy_status import Hold, PolicyStatus, Rejected, TakenBack
from finetune_operator.decide.policy.machine import decide
from unit.decide.policy.flight import BASE, flight_of
from unit.decide.policy.world import (
    NOW,
    applied,
    deployment,
    keys,
    live,
    live_version,
    policy,
    promotion,
    seconds,
    tuned,
    view,
)

FOUND, GOOD = tuned("ft_v1.66", verdict="Review"), tuned("ft_v1.9")
WANTED = tuned("ft_v1.67", baseline="ft_v1.66")
VERSIONS = (BASE, FOUND, GOOD, WANTED)
SHA = FOUND.spec.artifact.sha256
HELD = Hold(by="finetune-operator", reason="Adopted", message="found", since=NOW - seconds(60))
TAKEN = TakenBack(version="ft_v1.66", sha256=SHA, by="bo", since=NOW - seconds(9))
NO = Rejected(version="ft_v1.66", sha256=SHA, by="ann", at=NOW - seconds(9))
ADOPTED = replace(live(FOUND), last_good=(), hold=HELD)
BARE, ON_IT = deployment(epoch=None), deployment(keys(FOUND))
FAILS = deployment(
    keys(WANTED), epoch=2, generation=6, observed_generation=6, updated=1, total=3, deadline_exceeded=True
)
STATUSES = {
    "found": ADOPTED,
    "found, and rejected": replace(ADOPTED, rejected=(NO,)),
    "taken back": replace(live(FOUND), taken_back=(TAKEN,), hold=HELD),
    "forgotten, and taken back": PolicyStatus(last_good=(live_version(FOUND),), taken_back=(TAKEN,), hold=HELD),
}


def said_no(status: PolicyStatus, version: Any) -> PolicyStatus:
    spec = version.spec
    no = Rejected(version=spec.version, sha256=spec.artifact.sha256, by="ann", at=NOW)
    return replace(status, rejected=(*status.rejected, no))


def taken_off(status: PolicyStatus, there: Any = BARE) -> Policy:
    asked = promotion("ft_v1.67", None if status.live is None else "ft_v1.66", release_hold=True)
    begun = decide(view(policy(status), there, asked, versions=VERSIONS))
    assert flight_of(begun).to.version == "ft_v1.67"
    return policy(begun.status)


def looked(of: Policy, there: Any, age: float = 120) -> Any:
    return decide(view(of, there, versions=VERSIONS, now=NOW + seconds(age)))


@pytest.mark.row("D252")
@pytest.mark.parametrize("status", STATUSES.values(), ids=STATUSES)
@pytest.mark.parametrize("ends", ["it fails", "it is rejected before its keys are there"])
def test_what_nobody_puts_back_is_no_way_back_where_nothing_is_served(ends: str, status: PolicyStatus) -> None:
    """Its keys were let go of, and D5 leaves it so; a flight that fails must not be what serves it again."""
    of = taken_off(status)
    assert flight_of(looked(of, BARE, 1)).back is None
    fails = ends == "it fails"
    back = looked(of if fails else policy(said_no(of.status, WANTED)), FAILS if fails else BARE)
    put, flight = applied(back), flight_of(back)
    assert (flight.phase, put is not None and put.version) == ("Returning", None)
    over = looked(policy(back.status), deployment(epoch=flight.epoch), 130).status
    assert (over.in_flight, over.live, over.hold.reason) == (None, None, "RolledBack")


@pytest.mark.row("D252")
@pytest.mark.parametrize("rejected", [False, True])
def test_what_was_good_is_a_way_back_also_where_nothing_is_served_unless_a_person_rejected_it(rejected: bool) -> None:
    """Then it is not gone back to what was merely found instead, either."""
    of = taken_off(replace(ADOPTED, last_good=(live_version(GOOD),)))
    assert flight_of(looked(of, BARE, 1)).back_version == "ft_v1.9"
    put = applied(looked(policy(said_no(of.status, GOOD)) if rejected else of, FAILS))
    assert put is not None
    assert put.version == (None if rejected else "ft_v1.9")


@pytest.mark.row("D252")
def test_what_is_put_back_by_itself_is_a_way_back_though_it_is_not_served_yet() -> None:
    of = taken_off(replace(live(FOUND), hold=HELD))
    put = applied(looked(of, FAILS))
    assert put is not None
    assert put.version == "ft_v1.66"


@pytest.mark.row("D252")
@pytest.mark.row("D251")
@pytest.mark.parametrize("when", ["before it is given up", "on its way back"])
def test_what_was_found_is_not_put_back_once_its_keys_are_gone(when: str) -> None:
    """It served when the flight began (D230); since then somebody removed it."""
    of = taken_off(ADOPTED, ON_IT)
    assert flight_of(looked(of, ON_IT, 1)).back_version == "ft_v1.66"
    of = policy(said_no(of.status, WANTED))
    given_up = looked(of, BARE if when == "before it is given up" else ON_IT)
    if when == "on its way back":
        assert flight_of(given_up).back_version == "ft_v1.66"
        given_up = looked(policy(given_up.status), BARE, 125)
    put = applied(given_up)
    assert put is not None
    assert put.version is None


@pytest.mark.row("D266")
@pytest.mark.parametrize(
    "there",
    [keys(GOOD), keys(WANTED), *(replace_keys(keys(FOUND), **lost) for lost in ({"sha256": None}, {"uri": ""}))],
    ids=["another version's", "those of the flight", "no digest", "no place"],
)
def test_what_was_found_is_no_way_back_where_the_deployment_has_other_keys(there: Any) -> None:
    """An older status was restored, or somebody took half of the keys: what is live on record serves no more."""
    put = applied(looked(taken_off(ADOPTED, deployment(there)), FAILS))
    assert put is not None
    assert put.version is None
    of = taken_off(replace(live(FOUND), hold=HELD), deployment(there))
    assert flight_of(looked(of, FAILS)).back_version == "ft_v1.66", "it was good"


@pytest.mark.row("D267")
@pytest.mark.parametrize("gone", [True, False])
def test_what_was_found_is_not_put_back_where_it_was_removed_before_the_flights_own_keys_came(*, gone: bool) -> None:
    """Somebody let go of its keys and promoted another one; the operator saw the promotion first, or died between."""
    begun = looked(taken_off(ADOPTED, ON_IT), BARE if gone else ON_IT, 1)
    put, flight = applied(begun), flight_of(begun)
    assert put is not None
    assert (put.version, flight.bare, flight.back_version) == ("ft_v1.67", gone, None if gone else "ft_v1.66")
    put = applied(looked(policy(begun.status), FAILS))
    assert put is not None
    assert put.version == (None if gone else "ft_v1.66")


@pytest.mark.row("D267")
@pytest.mark.row("D264")
@pytest.mark.parametrize("gone", [True, False])
def test_a_brake_of_the_same_look_puts_nothing_back_that_was_merely_found_and_was_removed(*, gone: bool) -> None:
    asked = promotion("ft_v1.66", "ft_v1.67", name="brake", age=-30, release_hold=True)
    led = pulled(taken_off(ADOPTED, ON_IT), BARE if gone else ON_IT, asked, (BASE, GOOD, WANTED))
    put = applied(led)
    assert put is not None
    assert (put.version, flight_of(led).brake is None) == (("ft_v1.67", True) if gone else ("ft_v1.66", False))


@pytest.mark.row("D252")
def test_what_serves_is_gone_back_to_as_before() -> None:
    put = applied(looked(taken_off(ADOPTED, ON_IT), FAILS))
    assert put is not None
    assert put.version == "ft_v1.66"


BRAKE = promotion("ft_v1.9", "ft_v1.67", name="brake", age=-30, release_hold=True)


def good_beside_what_was_found(there: Any = BARE) -> Policy:
    """In flight, with what was found and serves no more on record as live, and another version that was good."""
    return taken_off(replace(ADOPTED, last_good=(live_version(GOOD),)), there)


def pulled(of: Policy, there: Any, asked: Any = BRAKE, versions: Any = VERSIONS) -> Any:
    return decide(view(of, there, asked, versions=versions, now=NOW + seconds(60)))


@pytest.mark.row("D263")
@pytest.mark.parametrize("there", [deployment(keys(WANTED), epoch=2), BARE], ids=["it serves", "not applied yet"])
def test_a_brake_to_what_a_person_rejected_meanwhile_puts_nothing_live_that_was_merely_found(there: Any) -> None:
    of = good_beside_what_was_found()
    assert flight_of(pulled(of, there)).back_version == "ft_v1.9"
    led = pulled(policy(said_no(of.status, GOOD)), there)
    put, flight = applied(led), flight_of(led)
    assert (flight.why, put is not None and put.version) == ("TakenBack", None)
    over = looked(policy(led.status), deployment(epoch=flight.epoch), 130).status
    assert (over.in_flight, over.live, [entry.version for entry in over.taken_back]) == (None, None, ["ft_v1.67"])
    done = over.consumed[-1]
    words = "went back to nothing, for 'ft_v1.9': 'ann' rejected it in review"
    assert (done.name, done.outcome, done.message) == ("brake", "Succeeded", words)


@pytest.mark.row("D263")
def test_a_brake_over_what_served_at_take_off_goes_back_to_that() -> None:
    of = good_beside_what_was_found(ON_IT)
    led = pulled(policy(said_no(of.status, GOOD)), deployment(keys(WANTED), epoch=2))
    assert flight_of(led).back_version == "ft_v1.66"


@pytest.mark.row("D263")
@pytest.mark.parametrize("brakes", [True, False], ids=["a brake", "by itself"])
def test_a_way_back_that_a_person_rejects_before_it_is_written_is_none_where_nothing_else_may_go_live(
    *, brakes: bool
) -> None:
    of, there = good_beside_what_was_found(), FAILS
    back = (pulled(of, there) if brakes else looked(of, there)).status
    assert back.in_flight.back_version == "ft_v1.9"
    led = looked(policy(said_no(back, GOOD)), there, 130)
    put = applied(led)
    assert put is not None
    assert (put.version, put.epoch) == (None, back.epoch + 1), "under an epoch of its own: the other may still come"
    over = looked(policy(led.status), deployment(epoch=led.status.epoch), 140).status
    assert (over.in_flight, over.live) == (None, None)
    if brakes:
        assert over.consumed[-1].message == "went back to nothing, for 'ft_v1.9': 'ann' rejected it in review"
        assert "ft_v1.66" not in [entry.version for entry in over.taken_back]


@pytest.mark.row("D264")
@pytest.mark.parametrize("serves", [True, False])
def test_a_brake_puts_nothing_live_anew_that_was_merely_found_and_has_no_object(*, serves: bool) -> None:
    """Its name, place and digest are whatever somebody wrote onto the Deployment."""
    of = taken_off(ADOPTED, ON_IT if serves else BARE)
    asked = promotion("ft_v1.66", "ft_v1.67", name="brake", age=-30, release_hold=True)
    led = pulled(of, deployment(keys(WANTED), epoch=2), asked, (BASE, GOOD, WANTED))
    put = applied(led)
    assert (put is not None and put.version) == ("ft_v1.66" if serves else False)
    assert (flight_of(led).brake is not None) == serves
