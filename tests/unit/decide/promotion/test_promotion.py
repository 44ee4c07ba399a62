"""A promotion's status: what the policy's memory says of it, and why it waits."""

from dataclasses import replace as with_changes
from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.meta import find
from finetune_operator.api.names import OUTCOME_KEY
from finetune_operator.api.policy import Policy
from finetune_operator.api.policy_status import PolicyStatus
from finetune_operator.api.promotion import Promotion, PromotionStatus
from finetune_operator.decide.decision import Annotate, Decision, Emit
from finetune_operator.decide.policy import machine as policy_decide
from finetune_operator.decide.policy.memory import consumed
from finetune_operator.decide.policy.returning import landed
from finetune_operator.decide.promotion.machine import decide
from finetune_operator.decide.promotion.view import PromotionView
from finetune_operator.decide.promotion.waiting import identity
from finetune_operator.decide.views import Problem
from unit.decide.policy.world import (
    NOW,
    annotated,
    base,
    deployment,
    keys,
    live,
    policy,
    promotion,
    seconds,
    tuned,
    view,
)

BASE, TUNED = base(), tuned()
ASKED = promotion("ft_v1.1", "base_v1")


def look(of: Policy | None, asked: Promotion = ASKED, **changes: Any) -> Decision[PromotionStatus]:
    given: dict[str, Any] = {"now": NOW, "deployment": deployment(keys(BASE)), "versions": (BASE, TUNED)}
    decision = decide(PromotionView(promotion=asked, policy=of, **(given | changes)))
    recorded = annotated(asked, decision)
    return decision if recorded == asked else decide(PromotionView(promotion=recorded, policy=of, **(given | changes)))


def facts(decision: Decision[PromotionStatus]) -> dict[str, tuple[str, str]]:
    return {c.type: (c.status, c.reason) for c in decision.status.conditions}


def recorded(of: Policy, asked: Promotion = ASKED) -> Promotion:
    """The promotion with what is put onto it when the policy has consumed it."""
    return annotated(asked, decide(PromotionView(promotion=asked, now=NOW, policy=of, versions=(BASE, TUNED))))


def flying(phase: str = "Flipping", **changes: Any) -> Policy:
    begun = policy_decide.decide(view(policy(live(BASE)), deployment(keys(BASE)), ASKED, versions=(BASE, TUNED)))
    assert begun.status.in_flight is not None
    return policy(replace(begun.status, in_flight=replace(begun.status.in_flight, phase=phase, **changes)))


@pytest.mark.row("P1")
@pytest.mark.parametrize(
    ("outcome", "reason", "accepted", "kind"),
    [
        ("Succeeded", "WatchPassed", ("True", "ChecksPassed"), "Normal"),
        ("RolledBack", "Unhealthy", ("True", "ChecksPassed"), "Warning"),
        ("Failed", "Quarantined", ("False", "Quarantined"), "Warning"),
        ("Superseded", "FromIsNotLive", ("False", "FromIsNotLive"), "Normal"),
    ],
)
def test_the_outcome_in_the_policys_memory_is_final(
    outcome: Any, reason: str, accepted: tuple[str, str], kind: str
) -> None:
    of = policy(consumed(live(BASE), (*identity(ASKED), ASKED.metadata.uid), outcome, reason, "what happened", NOW))
    decision = look(of)
    assert decision.status.phase == outcome
    assert decision.status.message == "what happened"
    assert decision.status.finished_at == NOW
    assert facts(decision) == {"Accepted": accepted, "Finished": ("True", reason)}
    assert decision.actions == (Emit(kind, outcome, f"{reason}: what happened"),)  # type: ignore[arg-type]
    ended = replace(recorded(of), status=decision.status)
    for later in (None, policy(), of, flying()):
        assert look(later, ended) == Decision(decision.status), "final means final"


@pytest.mark.row("P1")
def test_the_same_promotion_restored_has_happened_already() -> None:
    of = policy(consumed(live(TUNED), (*identity(ASKED), ASKED.metadata.uid), "Succeeded", "WatchPassed", "", NOW))
    restored = replace(ASKED, metadata=replace(ASKED.metadata, uid="restored"), status=PromotionStatus())
    assert look(of, restored).status.phase == "Succeeded"


@pytest.mark.row("P1")
def test_a_flight_that_failed_was_accepted_all_the_same() -> None:
    of = flying()
    assert of.status.in_flight is not None
    seen = replace(ASKED, status=look(of).status)
    failed = policy(landed(of.status, of.status.in_flight, "Failed", "TargetGone", "it went", NOW))
    assert facts(look(failed, seen)) == {"Accepted": ("True", "ChecksPassed"), "Finished": ("True", "TargetGone")}


def once(of: Policy | None, asked: Promotion) -> Decision[PromotionStatus]:
    """Return a single look's decision."""
    return decide(PromotionView(asked, NOW, of, deployment(keys(BASE)), (BASE, TUNED)))


class TestOutcome:
    CONSUMED = policy(
        consumed(live(BASE), (*identity(ASKED), ASKED.metadata.uid), "Failed", "Quarantined", "it failed here", NOW)
    )

    @pytest.mark.row("P9")
    def test_the_outcome_stands_on_the_object_before_its_status_is_final(self) -> None:
        first = once(self.CONSUMED, ASKED)
        assert first.status == ASKED.status
        assert [action.key for action in first.actions if isinstance(action, Annotate)] == [OUTCOME_KEY]
        second = once(self.CONSUMED, annotated(ASKED, first))
        assert second.status.phase == "Failed"

    @pytest.mark.row("P9")
    def test_an_older_entry_without_its_message_changes_no_outcome(self) -> None:
        known = recorded(self.CONSUMED)
        silent = policy(consumed(live(BASE), (*identity(ASKED), ASKED.metadata.uid), "Failed", "Quarantined", "", NOW))
        assert once(silent, known).status.message == "it failed here"

    @pytest.mark.row("P9")
    @pytest.mark.parametrize("text", ["junk", "{}"])
    def test_what_somebody_wrote_there_is_overwritten_when_it_ends(self, text: str) -> None:
        forged = replace(ASKED, metadata=replace(ASKED.metadata, annotations={OUTCOME_KEY: text}))
        assert once(policy(live(BASE)), forged).status.phase == "Pending", "it counts as none"
        assert annotated(forged, once(self.CONSUMED, forged)).metadata == recorded(self.CONSUMED).metadata

    @pytest.mark.row("P9")
    def test_a_promotion_that_the_last_release_ended_gets_its_outcome(self) -> None:
        ended = replace(ASKED, status=look(self.CONSUMED).status)
        assert annotated(ended, once(None, ended)) == replace(recorded(self.CONSUMED), status=ended.status)
        again = annotated(ended, once(None, ended))
        assert once(None, again) == Decision(again.status)

    @pytest.mark.row("P10")
    @pytest.mark.parametrize("of", [None, policy(), policy(live(TUNED))], ids=["no policy", "re-created", "moved on"])
    def test_an_outcome_is_final_whatever_the_policy_forgot(self, of: Policy | None) -> None:
        restored = recorded(self.CONSUMED)
        decision = once(of, restored)
        assert (decision.status.phase, decision.status.message) == ("Failed", "it failed here")
        assert decision.status.finished_at == NOW
        assert facts(decision) == {"Accepted": ("False", "Quarantined"), "Finished": ("True", "Quarantined")}
        assert decision.actions == (), "nothing happened now, so no Event says so"

    @pytest.mark.row("P10")
    def test_what_is_in_flight_has_no_outcome_yet(self) -> None:
        assert once(flying(), recorded(self.CONSUMED)).status.phase == "Flipping"


@pytest.mark.row("P2")
@pytest.mark.parametrize(
    ("phase", "shown", "hint"),
    [
        ("Flipping", "Flipping", "rolling out"),
        ("Watching", "Watching", "watched"),
        ("Returning", "Flipping", "Unhealthy"),
    ],
)
def test_a_flight_shows_its_phase(phase: str, shown: str, hint: str) -> None:
    decision = look(flying(phase, why="Unhealthy", message="1 of 2 available"))
    assert decision.status.phase == shown
    assert hint in decision.status.message
    assert decision.status.started_at == NOW
    assert facts(decision) == {"Accepted": ("True", "ChecksPassed"), "Finished": ("Unknown", "NotYet")}


@pytest.mark.row("P2")
def test_a_namesake_is_not_in_flight() -> None:
    namesake = replace(ASKED, metadata=replace(ASKED.metadata, uid="another"))
    assert look(flying(), namesake).status.phase == "Pending"


@pytest.mark.row("P3")
def test_without_its_policy_a_promotion_waits_and_says_so() -> None:
    decision = look(None)
    assert decision.status.phase == "Pending"
    assert facts(decision)["Accepted"] == ("False", "PolicyNotFound")
    assert "invoice-fields" in decision.status.message
    assert "make a promotion that names another" in decision.status.message, "its spec.policy cannot change"


@pytest.mark.row("P4")
def test_a_check_that_fails_shows_with_its_remedy() -> None:
    decision = look(policy(live(BASE), suspend=True))
    accepted = find(decision.status.conditions, "Accepted")
    assert accepted is not None
    assert (decision.status.phase, accepted.status, accepted.reason) == ("Pending", "False", "Suspended")
    assert "spec.suspend" in accepted.message
    assert decision.status.message == accepted.message


@pytest.mark.row("P4")
def test_what_the_policy_finds_wrong_with_its_deployment_shows_on_the_promotion() -> None:
    seen = policy_decide.decide(view(policy(live(BASE)), deployment(keys(BASE), managed=False)))
    decision = look(policy(seen.status))
    assert facts(decision)["Accepted"] == ("False", "TargetNotReady")
    assert "kubectl label" in decision.status.message


@pytest.mark.row("P4")
def test_a_deployment_that_is_not_whole_is_said_with_what_ails_its_pods() -> None:
    full = Problem("Unschedulable", "no node takes the pod: Insufficient cpu")
    short = deployment(keys(BASE), replicas=3, updated=3, total=3, available=2)
    seen = policy_decide.decide(view(policy(live(BASE)), with_changes(short, trouble=full)))
    decision = look(policy(seen.status), deployment=short)
    assert facts(decision)["Accepted"] == ("False", "NotSettled")
    assert "Unschedulable: no node takes the pod: Insufficient cpu" in decision.status.message


@pytest.mark.row("P5")
def test_when_all_checks_pass_it_is_accepted_and_waits_its_turn() -> None:
    assert look(policy(live(BASE))).status.phase == "Pending"
    assert facts(look(policy(live(BASE))))["Accepted"] == ("True", "ChecksPassed")
    younger = promotion("ft_v1.1", "base_v1", name="younger")
    assert "to-ft-v1-1" in look(flying(), younger).status.message


def test_at_rest_nothing_is_written_again() -> None:
    for of in (None, policy(live(BASE)), policy(PolicyStatus()), flying()):
        first = look(of)
        again = look(of, replace(ASKED, status=first.status), now=NOW + seconds(3600))
        assert (again.status, again.actions) == (first.status, ())


def test_a_deleted_promotion_decides_nothing() -> None:
    deleted = replace(ASKED, metadata=replace(ASKED.metadata, deletion_timestamp=NOW))
    assert look(policy(live(BASE)), deleted) == Decision(deleted.status)
