"""A person's no that comes while a flight is under way, and what ends the flight then."""

from dataclasses import replace as replace_view
from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.policy import Policy
from finetune_operator.api.policy_status import Brake, PolicyStatus, Rejected, TakenBack
from finetune_operator.api.promotion import Despite
from finetune_operator.decide.decision import Decision
from finetune_operator.decide.policy.machine import decide, refused
from finetune_operator.decide.views import DeploymentView
from unit.decide.policy.flight import (
    ASKED,
    BASE,
    COMPLETE,
    OTHER,
    TUNED,
    VERSIONS,
    flight_of,
    flying,
    served,
    watching,
)
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


def put_back(
    of: Policy, there: DeploymentView | None, then: DeploymentView | None = None
) -> tuple[str | None, PolicyStatus]:
    """Return what is put onto the Deployment after the flight ended there, and the status when it had ended.

    `then` is how it is by then, where that is otherwise.
    """
    versions = (*VERSIONS, OTHER)
    gone = decide(view(of, there, ASKED, versions=versions, now=NOW + seconds(30))).status
    assert gone.in_flight is None
    asked = applied(decide(view(policy(gone), then or there, ASKED, versions=versions, now=NOW + seconds(40))))
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


THEIRS = deployment(keys(tuned("ft_v5.5")), epoch=3, keys_manager="kubectl-edit")


@pytest.mark.row("D115")
@pytest.mark.parametrize("phase", ["Watching", "Returning"])
def test_what_a_person_rejected_does_not_come_back_once_others_let_go_of_their_keys(phase: str) -> None:
    of = flown(BASE, OTHER)
    assert of.status.in_flight is not None
    back = live_version(BASE if phase == "Watching" else OTHER)
    flight = replace(of.status.in_flight, phase=phase, back=back, why="RolloutTimedOut", message="")
    version, status = put_back(policy(replace(of.status, in_flight=flight)), THEIRS, BARE)
    assert version == "ft_v9.9"
    assert status.hold is not None
    assert "recorded as live is 'ft_v9.9'" in status.hold.message


@pytest.mark.row("D115")
def test_who_puts_what_is_live_onto_the_deployment_themselves_has_it_stay() -> None:
    undone = deployment(keys(BASE), epoch=1, keys_manager="kubectl-rollout")
    version, status = put_back(flown(BASE, OTHER), undone)
    assert (version, status.live) == (None, flown(BASE, OTHER).status.live)


def on_the_way_back(good: tuple[Any, ...] = (BASE, OTHER), **changes: Any) -> Policy:
    """On the way back to base_v1, which a person rejected since it began."""
    of = flown(*good)
    assert of.status.in_flight is not None
    flight = replace(of.status.in_flight, phase="Returning", why="RolloutTimedOut", message="slow", epoch=3)
    return policy(replace(of.status, in_flight=replace(flight, **changes), epoch=3))


def next_look(of: Policy, there: DeploymentView | None) -> Decision[PolicyStatus]:
    return decide(view(of, there, ASKED, versions=(*VERSIONS, OTHER), now=NOW + seconds(30)))


@pytest.mark.row("D116")
def test_a_way_back_that_was_not_applied_yet_leads_elsewhere_once_a_person_rejected_where_it_led() -> None:
    """A crash came between: what is put onto the Deployment now is a choice."""
    led = next_look(on_the_way_back(), served(**COMPLETE))
    put = applied(led)
    assert put is not None
    assert (put.version, put.epoch) == ("ft_v9.9", 4), "under an epoch of its own: the other apply may still come"
    there = deployment(keys(OTHER), epoch=4, generation=8, observed_generation=8)
    over = next_look(policy(led.status), there).status
    assert over.live is not None
    assert over.live.version == "ft_v9.9"
    assert "it went back to 'ft_v9.9', for 'base_v1' was live, but 'ann' rejected it" in over.consumed[-1].message


@pytest.mark.row("D116")
@pytest.mark.parametrize("there", [None, FRESH], ids=["gone", "made anew"])
def test_what_a_way_back_led_to_is_not_put_onto_another_deployment_once_a_person_rejected_it(
    there: DeploymentView | None,
) -> None:
    version, status = put_back(on_the_way_back(), there, FRESH)
    assert version == "ft_v9.9"
    assert status.consumed[-1].outcome == "RolledBack"


@pytest.mark.row("D116")
def test_keys_that_are_removed_on_the_way_back_come_back_as_those_of_another_version() -> None:
    bare = deployment(epoch=3, generation=7, observed_generation=7)
    assert put_back(on_the_way_back(), bare)[0] == "ft_v9.9"


@pytest.mark.row("D116")
def test_a_way_back_goes_on_where_it_leads_when_that_is_there_already_or_there_is_nothing_better() -> None:
    there = deployment(keys(BASE), epoch=3, generation=8, observed_generation=8)
    over = next_look(on_the_way_back(), there).status
    assert over.live is not None
    assert (over.in_flight, over.live.version) == (None, "base_v1"), "it serves: a no takes nothing down"
    alone = applied(next_look(on_the_way_back((BASE,)), served(**COMPLETE)))
    assert alone is not None
    assert alone.version == "base_v1"


@pytest.mark.row("D116")
def test_a_brake_that_is_led_elsewhere_on_its_way_says_so_and_frees_nothing() -> None:
    old = TakenBack(version="ft_v9.9", sha256=OTHER.spec.artifact.sha256, by="bo", reason="bad", since=NOW - seconds(9))
    brake = Brake(promotion="brake", promotion_uid="uid-brake", spec_hash="", corrects=True)
    message = "promotion 'brake' ended the flight to 'ft_v1.1' and goes back to 'base_v1'"
    of = on_the_way_back((BASE, TUNED, OTHER), why="TakenBack", message=message, brake=brake)
    led = next_look(policy(replace(of.status, taken_back=(old,))), served(**COMPLETE)).status
    there = deployment(keys(OTHER), epoch=4, generation=8, observed_generation=8)
    over = next_look(policy(led), there).status
    done = over.consumed[-1]
    words = "went back to 'ft_v9.9', for 'base_v1': 'ann' rejected it in review"
    assert (done.name, done.outcome, done.message) == ("brake", "Succeeded", words)
    assert old in over.taken_back


UNAPPLIED = deployment(keys(BASE))
"""The Deployment as the flight met it: a crash, or a refusal, kept its keys from being applied."""
NO_TO_IT = replace(NO, version="ft_v1.1", sha256=TUNED.spec.artifact.sha256)


@pytest.mark.row("D119")
@pytest.mark.parametrize("changes", [{}, {"template_hash": "theirs"}], ids=["", "the template was edited"])
def test_what_a_person_rejects_before_its_keys_are_there_never_gets_them(changes: dict[str, Any]) -> None:
    of = flying()
    put = applied(next_look(of, UNAPPLIED))
    assert put is not None
    assert put.version == "ft_v1.1"
    given_up = next_look(policy(replace(of.status, rejected=(NO_TO_IT,))), replace_view(UNAPPLIED, **changes))
    put = applied(given_up)
    assert put is not None
    assert (put.version, put.epoch) == ("base_v1", 3), "a late apply of the flight cannot be committed any more"
    fenced = deployment(keys(BASE), epoch=3, **changes)
    over = next_look(policy(given_up.status), fenced).status
    done = over.consumed[-1]
    assert (done.outcome, done.reason) == ("RolledBack", "Rejected")
    assert "'ann' rejected it in review, and its keys were not on the Deployment yet" in done.message
    assert (over.quarantined, over.live is not None and over.live.version) == ((), "base_v1")
    assert over.hold is None, "there is nothing to mend: the next promotion goes on"


@pytest.mark.row("D119")
def test_a_first_version_that_a_person_rejects_before_its_keys_are_there_is_followed_by_nothing() -> None:
    of = flying(first=True)
    given_up = next_look(policy(replace(of.status, rejected=(NO_TO_IT,))), deployment(epoch=None))
    put = applied(given_up)
    assert put is not None
    assert put.version is None
    over = next_look(policy(given_up.status), deployment(epoch=3)).status
    assert (over.live, over.in_flight, over.consumed[-1].reason) == (None, None, "Rejected")


@pytest.mark.row("D198")
@pytest.mark.parametrize("first", [False, True], ids=["something is live", "nothing is"])
@pytest.mark.parametrize("holds", [True, False], ids=["it lifted a hold", "it overruled something else"])
def test_a_hold_that_was_lifted_for_what_never_got_its_keys_is_there_again(*, holds: bool, first: bool) -> None:
    """Whoever lifted it wanted that version served, and not what else waits for the hold to go."""
    of, there = flying(first=first, overrules=True, lifted_hold=holds), deployment(epoch=None) if first else UNAPPLIED
    given_up = next_look(policy(replace(of.status, rejected=(NO_TO_IT,))), there)
    over = next_look(policy(given_up.status), deployment(*(() if first else (keys(BASE),)), epoch=3)).status
    assert (over.in_flight, over.consumed[-1].reason) == (None, "Rejected")
    assert (over.hold is not None) == holds
    if over.hold is not None:
        assert over.hold.reason == "RolledBack"
        assert "it cannot be tried again as it is" in over.hold.message
        assert ("to lift the hold and stay with 'base_v1'" in over.hold.message) == (not first)


@pytest.mark.row("D199")
@pytest.mark.parametrize("edited", [False, True], ids=["", "its pods are made anew"])
def test_what_was_not_whole_before_a_rejected_flight_is_not_waited_for(*, edited: bool) -> None:
    """Its keys were never there, so the pods are as they were; a node that is gone may not come back for days."""
    of = flying(unsettled=True, replicas=1)
    given_up = next_look(policy(replace(of.status, rejected=(NO_TO_IT,))), deployment(keys(BASE), available=1))
    assert flight_of(given_up).why == "Rejected"
    fenced = deployment(keys(BASE), epoch=3, available=1, generation=6 if edited else 5)
    over = next_look(policy(given_up.status), fenced).status
    assert (over.in_flight is not None) == edited


@pytest.mark.row("D119")
def test_a_no_that_comes_when_the_keys_are_there_ends_no_flight_and_none_ends_the_only_way_back() -> None:
    flown_on = next_look(policy(replace(flying().status, rejected=(NO_TO_IT,))), served(**COMPLETE))
    assert flight_of(flown_on).phase == "Watching"
    of = flying()
    both = replace(of.status, last_good=(live_version(BASE), live_version(TUNED)), rejected=(NO, NO_TO_IT))
    put = applied(next_look(policy(both), UNAPPLIED))
    assert put is not None
    assert put.version == "ft_v1.1", "who is leaving what another one rejected has no better one"


@pytest.mark.row("D79")
@pytest.mark.row("D113")
@pytest.mark.parametrize("brakes", [False, True], ids=["by itself", "by a brake"])
def test_a_flight_that_never_got_its_keys_leaves_there_what_serves_though_a_person_rejected_it(*, brakes: bool) -> None:
    of = flying()
    good = (live_version(BASE), live_version(OTHER))
    noes = (NO,) if brakes else (NO, NO_TO_IT)
    brake = (promotion("base_v1", "ft_v1.1", name="brake", age=-25),) if brakes else ()
    seen = policy(replace(of.status, last_good=good, rejected=noes))
    looked = view(seen, UNAPPLIED, ASKED, *brake, versions=(*VERSIONS, OTHER), now=NOW + seconds(30))
    ended = decide(looked)
    assert flight_of(ended).phase == "Returning"
    put = applied(ended)
    assert put is not None
    assert put.version == "base_v1", "it serves: a no takes nothing down"
