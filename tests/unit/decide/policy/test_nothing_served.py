"""A flight that begins, or is given up, where nothing is served: what nobody would put back is no way back."""

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


@pytest.mark.row("D252")
def test_what_serves_is_gone_back_to_as_before() -> None:
    put = applied(looked(taken_off(ADOPTED, ON_IT), FAILS))
    assert put is not None
    assert put.version == "ft_v1.66"
