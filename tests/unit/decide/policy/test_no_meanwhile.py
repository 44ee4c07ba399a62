"""A person's no that comes while a flight is under way, and what ends the flight then."""

from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.policy import Policy, PolicyStatus, Rejected, TakenBack
from finetune_operator.api.promotion import Despite
from finetune_operator.decide.policy.machine import decide, refused
from finetune_operator.decide.views import DeploymentView
from unit.decide.policy.flight import ASKED, BASE, COMPLETE, OTHER, TUNED, VERSIONS, flight_of, served, watching
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
    view,
)

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


@pytest.mark.row("D78")
@pytest.mark.parametrize("noes", [0, 1])
def test_a_no_to_where_a_brake_leads_takes_nothing_else_back(noes: int) -> None:
    """What was live was adopted (D55): the flight would have gone to the other one, too."""
    of, versions = watching(), (*VERSIONS, OTHER)
    assert of.status.in_flight is not None
    flight = replace(of.status.in_flight, back=live_version(OTHER))
    status = replace(live(BASE), last_good=(live_version(OTHER),), in_flight=flight, epoch=of.status.epoch)
    brake = promotion("ft_v9.9", "ft_v1.1", name="brake", age=-25)
    seen = view(policy(status), served(**COMPLETE), ASKED, brake, versions=versions, now=NOW + seconds(30))
    pulled = decide(seen).status
    no = replace(NO, version="ft_v9.9", sha256=OTHER.spec.artifact.sha256)
    there = deployment(keys(OTHER), epoch=pulled.epoch, generation=8, observed_generation=8)
    meanwhile = policy(replace(pulled, rejected=(no,) * noes))
    after = decide(view(meanwhile, there, ASKED, brake, versions=versions, now=NOW + seconds(60))).status
    assert [entry.version for entry in after.taken_back] == ["ft_v1.1"]


FRESH = deployment(epoch=None, uid="another")
"""Another Deployment of that name, without keys."""
BARE = deployment(epoch=None, generation=7, observed_generation=7)
"""The same one, from which somebody removed the keys."""


def put_back(of: Policy, there: DeploymentView) -> tuple[str | None, PolicyStatus]:
    """Return what is put onto the Deployment after the flight ended there, and the status when it had ended."""
    versions = (*VERSIONS, OTHER)
    gone = decide(view(of, there, ASKED, versions=versions, now=NOW + seconds(30))).status
    assert gone.in_flight is None
    asked = applied(decide(view(policy(gone), there, ASKED, versions=versions, now=NOW + seconds(40))))
    return None if asked is None else asked.version, gone


@pytest.mark.row("D115")
@pytest.mark.parametrize("there", [FRESH, BARE], ids=["made anew", "keys removed"])
def test_what_a_person_rejected_is_not_put_back_where_the_flight_had_replaced_it(there: DeploymentView) -> None:
    version, status = put_back(flown(BASE, OTHER), there)
    assert version == "ft_v9.9"
    words = "'ft_v9.9' counts as live, for 'base_v1' was, but 'ann' rejected it in review"
    assert words in status.consumed[-1].message


@pytest.mark.row("D115")
@pytest.mark.parametrize("there", [FRESH, BARE], ids=["made anew", "keys removed"])
def test_it_is_put_back_where_nobody_rejected_it_or_there_is_nothing_better(there: DeploymentView) -> None:
    of = flown(BASE, OTHER)
    old = TakenBack(version="ft_v9.9", sha256=OTHER.spec.artifact.sha256, by="bo", reason="bad", since=NOW - seconds(9))
    other = replace(NO, version="ft_v9.9", sha256=OTHER.spec.artifact.sha256)
    for status in (
        replace(of.status, rejected=()),
        replace(of.status, rejected=(NO, other)),
        flown(BASE, OTHER, taken=(old,)).status,
        flown(BASE).status,
    ):
        assert put_back(policy(status), there)[0] == "base_v1"


@pytest.mark.row("D115")
@pytest.mark.parametrize("there", [FRESH, BARE], ids=["made anew", "keys removed"])
def test_where_the_flight_went_back_to_what_was_good_that_is_put_back(there: DeploymentView) -> None:
    """A person was leaving what another one had rejected; there is no third version."""
    assert put_back(flown(BASE, TUNED), there)[0] == "ft_v1.1"
    taken = replace(NO, version="ft_v1.1", sha256=TUNED.spec.artifact.sha256)
    both = replace(flown(BASE, TUNED).status, rejected=(NO, taken))
    assert put_back(policy(both), there)[0] == "base_v1"


@pytest.mark.row("D115")
def test_a_way_back_that_is_refused_leads_where_it_would_have_led_once_the_keys_are_let_go() -> None:
    of, versions = flown(BASE, OTHER), (*VERSIONS, OTHER)
    assert of.status.in_flight is not None
    flight = replace(
        of.status.in_flight, phase="Returning", back=live_version(OTHER), why="RolloutTimedOut", message=""
    )
    of = policy(replace(of.status, in_flight=flight))
    owned = refused(view(of, served(**COMPLETE), ASKED, versions=versions, now=NOW + seconds(30)), "argocd", "conflict")
    assert owned.status.live is not None
    assert owned.status.live.version == "ft_v9.9"
    assert owned.status.hold is not None
    assert "the operator puts 'ft_v9.9' back then" in owned.status.hold.message
    served_on = view(of, deployment(keys(BASE)), ASKED, versions=versions, now=NOW + seconds(30))
    assert refused(served_on, "argocd", "conflict").status.live == of.status.live, "it serves: a no takes nothing down"
