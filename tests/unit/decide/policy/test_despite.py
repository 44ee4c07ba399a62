"""What a promotion overrules knowingly: an unsettled Deployment, a quarantine; and what is risked."""

from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.policy import Policy
from finetune_operator.api.policy_status import PolicyStatus, Quarantined
from finetune_operator.api.promotion import Despite, Overruled
from finetune_operator.decide.decision import Decision
from finetune_operator.decide.policy.machine import decide
from finetune_operator.decide.promotion.checks import judge
from finetune_operator.decide.promotion.proposal import Clear, Proposal, Refuse, Wait
from finetune_operator.decide.views import DeploymentView, Fault, Problem
from unit.decide.policy.flight import ASKED, BASE, TUNED, VERSIONS, flight_of, served
from unit.decide.policy.world import NOW, deployment, events, keys, live, policy, promotion, seconds, view

SICK = deployment(keys(BASE), available=0, ready=0)
FULL = Problem("Unschedulable", "no node takes the pod: Insufficient cpu")
SHORT = deployment(keys(BASE), replicas=3, updated=3, total=3, available=2, trouble=FULL)
CRASHED = Fault("Ended", "container 'server' of pod 'a' ended with exit code 1: no such operator", NOW)


def despite(*checks: Overruled, **spec: Any) -> Any:
    why = Despite(checks=checks, reason="the live one is sick")
    return promotion("ft_v1.1", "base_v1", name="despite", despite=why, **spec)


def begun(there: DeploymentView) -> Decision[PolicyStatus]:
    return decide(view(policy(live(BASE)), there, despite("NotSettled"), versions=VERSIONS))


@pytest.mark.row("D33")
class TestNotSettled:
    def test_a_sick_live_version_keeps_its_cure_waiting_and_the_message_says_how_and_what_is_risked(self) -> None:
        waits = judge(Proposal(ASKED, policy(live(BASE)), VERSIONS, SICK))
        assert isinstance(waits, Wait)
        assert waits.reason == "NotSettled"
        assert '"despite":{"checks":["NotSettled"]' in waits.message
        assert "nobody is quarantined, and the way back leads to 'base_v1' as it is" in waits.message

    def test_two_of_three_say_why_and_what_finds_room(self) -> None:
        waits = judge(Proposal(ASKED, policy(live(BASE)), VERSIONS, SHORT))
        assert isinstance(waits, Wait)
        assert "Unschedulable: no node takes the pod: Insufficient cpu" in waits.message
        assert "kubectl scale deployment invoice-detector -n ml --replicas=2" in waits.message

    def test_a_promotion_that_says_so_flies(self) -> None:
        flight = flight_of(begun(SICK))
        assert (flight.unsettled, flight.to.version) == (True, "ft_v1.1")

    def test_what_flies_from_a_whole_deployment_is_not_unsettled(self) -> None:
        assert not flight_of(begun(deployment(keys(BASE)))).unsettled

    def test_when_it_fails_nobody_is_quarantined(self) -> None:
        of = policy(begun(SICK).status)
        there = served(deadline_exceeded=True, fault=CRASHED)
        back = decide(view(of, there, ASKED, versions=VERSIONS, now=NOW + seconds(100)))
        assert flight_of(back).why == "RolloutFailed"
        landed = deployment(keys(BASE), epoch=3, generation=7, observed_generation=7)
        done = decide(view(policy(back.status), landed, ASKED, versions=VERSIONS, now=NOW + seconds(130)))
        assert done.status.consumed[-1].outcome == "RolledBack"
        assert done.status.quarantined == ()

    def test_as_many_as_there_were_are_complete_where_the_rest_finds_no_node(self) -> None:
        of = policy(begun(SHORT).status)
        as_before = served(replicas=3, updated=3, total=3, available=2, trouble=FULL)
        decision = decide(view(of, as_before, ASKED, versions=VERSIONS, now=NOW + seconds(20)))
        assert (flight_of(decision).phase, flight_of(decision).replicas) == ("Watching", 2)

    @pytest.mark.parametrize(
        "changes",
        [{"available": 1}, {"updated": 2}, {"trouble": Problem("SidecarFails", "x")}],
        ids=["fewer than before", "an old pod is there", "for another reason"],
    )
    def test_else_it_is_not_complete(self, changes: dict[str, Any]) -> None:
        given: dict[str, Any] = {"replicas": 3, "updated": 3, "total": 3, "available": 2, "trouble": FULL}
        of = policy(begun(SHORT).status)
        decision = decide(view(of, served(**(given | changes)), ASKED, versions=VERSIONS, now=NOW + seconds(20)))
        assert flight_of(decision).phase == "Flipping"


def quarantined() -> Policy:
    entry = Quarantined(
        version="ft_v1.1",
        sha256=TUNED.spec.artifact.sha256,
        reason="Unhealthy",
        since=NOW,
        evidence="container 'server' of pod 'a' ended with exit code 1",
    )
    return policy(replace(live(BASE), quarantined=(entry,)))


@pytest.mark.row("D34")
class TestQuarantined:
    def test_it_is_refused_with_its_evidence_and_the_way_past(self) -> None:
        refused = judge(Proposal(ASKED, quarantined(), VERSIONS, deployment(keys(BASE))))
        assert isinstance(refused, Refuse)
        assert refused.reason == "Quarantined"
        assert "container 'server' of pod 'a' ended with exit code 1" in refused.message
        assert '"despite":{"checks":["Quarantined"]' in refused.message

    def test_other_checks_are_not_overruled_with_it(self) -> None:
        asked = despite("NotSettled")
        assert isinstance(judge(Proposal(asked, quarantined(), VERSIONS, deployment(keys(BASE)))), Refuse)
        waits = judge(Proposal(despite("Quarantined"), quarantined(), VERSIONS, SICK))
        assert isinstance(waits, Wait)
        assert '"checks":["Quarantined","NotSettled"]' in waits.message, "what it says already stays"

    def test_at_take_off_it_is_lifted_and_recorded(self) -> None:
        asked = despite("Quarantined")
        assert isinstance(judge(Proposal(asked, quarantined(), VERSIONS, deployment(keys(BASE)))), Clear)
        decision = decide(view(quarantined(), deployment(keys(BASE)), asked, versions=VERSIONS))
        (entry,) = decision.status.quarantined
        assert entry.lifted is not None
        assert (entry.lifted.by, entry.lifted.reason) == ("despite", "the live one is sick")
        assert decision.status.quarantine_of(TUNED.spec.artifact.sha256) is None
        assert "QuarantineLifted" in events(decision)

    def test_a_new_fault_quarantines_anew(self) -> None:
        begun = decide(view(quarantined(), deployment(keys(BASE)), despite("Quarantined"), versions=VERSIONS))
        there = served(deadline_exceeded=True, fault=CRASHED)
        back = decide(view(policy(begun.status), there, versions=VERSIONS, now=NOW + seconds(100)))
        landed = deployment(keys(BASE), epoch=3, generation=7, observed_generation=7)
        done = decide(view(policy(back.status), landed, versions=VERSIONS, now=NOW + seconds(130)))
        (entry,) = done.status.quarantined
        assert (entry.lifted, entry.reason) == (None, "RolloutFailed")
        assert entry.evidence.startswith("2026-11-21T12:00:00Z: container 'server' of pod 'a' ended with exit code 1")
