"""A person's no that comes while a flight is under way, and what ends the flight then."""

from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.policy import Policy, PolicyStatus, Rejected, TakenBack
from finetune_operator.api.promotion import Despite
from finetune_operator.decide.policy.machine import decide
from unit.decide.policy.flight import ASKED, BASE, COMPLETE, OTHER, TUNED, VERSIONS, flight_of, served, watching
from unit.decide.policy.world import NOW, deployment, keys, live, live_version, policy, promotion, seconds, view

NO = Rejected(version="base_v1", sha256=BASE.spec.artifact.sha256, by="ann", at=NOW)
DESPITE = Despite(checks=("TakenBack",), reason="it was the camera")


def ended(of: Policy, back: Any = OTHER, **changes: Any) -> PolicyStatus:
    """Return the status after a brake to base_v1, which is rejected by now, when `back` serves."""
    brake = promotion("base_v1", "ft_v1.1", name="brake", age=-25, **changes)
    versions = (*VERSIONS, OTHER)
    pulled = decide(view(of, served(**COMPLETE), ASKED, brake, versions=versions, now=NOW + seconds(30)))
    assert (flight_of(pulled).phase, flight_of(pulled).back) == ("Returning", live_version(back))
    there = deployment(keys(back), epoch=flight_of(pulled).epoch, generation=8, observed_generation=8)
    after = view(policy(pulled.status), there, ASKED, brake, versions=versions, now=NOW + seconds(60))
    return decide(after).status


def flown(*good: Any, taken: tuple[TakenBack, ...] = ()) -> Policy:
    """A flight from base_v1, which a person rejected since; `good` was good before."""
    of = watching()
    status = replace(live(BASE, 1, *good), in_flight=of.status.in_flight, epoch=of.status.epoch)
    return policy(replace(status, rejected=(NO,), taken_back=taken))


@pytest.mark.row("D113")
def test_what_a_brake_is_led_to_instead_is_freed_of_nothing() -> None:
    """Who overrules the taking back of what they name says nothing of what the flight goes back to instead."""
    old = TakenBack(version="ft_v9.9", sha256=OTHER.spec.artifact.sha256, by="bo", reason="bad", since=NOW - seconds(9))
    status = ended(flown(BASE, TUNED, OTHER, taken=(old,)), despite=DESPITE)
    assert status.live is not None
    assert status.live.version == "ft_v9.9"
    assert old in status.taken_back
    assert status.last_good[0] == live_version(BASE), "nobody said that the other one is good"


@pytest.mark.row("D113")
def test_the_promotion_that_is_led_elsewhere_says_why() -> None:
    done = ended(flown(BASE, OTHER)).consumed[-1]
    assert (done.name, done.outcome) == ("brake", "Succeeded")
    assert done.message == "went back to 'ft_v9.9', for 'base_v1': 'ann' rejected it in review"
