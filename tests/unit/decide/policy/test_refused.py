"""An apply that met a field of somebody else's: hands off, and a hold."""

from dataclasses import replace as with_changes

import pytest
from msgspec.structs import replace

from finetune_operator.decide.policy.machine import decide, refused
from unit.decide.policy.pair import BASE, TUNED, condition, flying
from unit.decide.policy.world import (
    NOW,
    applied,
    deployment,
    events,
    keys,
    live,
    policy,
    seconds,
    view,
)


@pytest.mark.row("D20")
class TestRefused:
    def test_a_refused_flip_fails_names_the_owner_and_holds(self) -> None:
        decision = refused(view(flying(), deployment(keys(BASE))), "argocd-controller", "Apply failed with 1 conflict")
        status = decision.status
        assert (status.consumed[-1].outcome, status.consumed[-1].reason) == ("Failed", "FieldOwned")
        assert status.in_flight is None
        assert status.hold is not None
        assert (status.hold.reason, status.hold.by) == ("FieldOwned", "argocd-controller")
        assert "kubectl patch deployment invoice-detector -n ml --type=merge -p '{" in status.hold.message
        assert status.hold.message.endswith("}'"), "the whole command that mends it"
        assert "}' | kubectl create -f -; " in status.hold.message, "and how to go on"
        ready = condition(decision, "TargetReady")
        assert (ready.status, ready.reason) == ("False", "FieldOwned")
        assert applied(decision) is None
        assert events(decision) == ["FieldOwned"]

    @pytest.mark.row("D240")
    def test_an_owner_that_is_nobody_is_said_to_be_nobody(self) -> None:
        """An API server calls it so where managedFields were emptied: there is no such manager to look for."""
        status = refused(view(flying(), deployment(keys(BASE))), "before-first-apply", "conflict").status
        assert status.hold is not None
        for said in (status.hold.message, status.consumed[-1].message):
            assert "which is nobody: its metadata.managedFields were emptied" in said

    def test_it_still_shows_when_nothing_happens_afterwards(self) -> None:
        there = deployment(keys(BASE), keys_manager="argocd-controller")
        first = refused(view(flying(), there), "argocd-controller", "conflict")
        again = decide(view(policy(first.status), there, now=NOW + seconds(60)))
        assert (again.status, again.actions) == (first.status, ())

    def test_the_hold_and_its_commands_stay_while_somebody_else_owns_the_keys(self) -> None:
        first = refused(view(flying(), deployment(keys(BASE))), "argocd-controller", "conflict")
        there = deployment(keys(TUNED), keys_manager="argocd-controller")
        again = decide(view(policy(first.status), there, versions=(BASE, TUNED), now=NOW + seconds(60)))
        assert again.status.hold == first.status.hold
        assert first.status.hold is not None
        assert condition(again, "InSync").message == first.status.hold.message

    def test_a_refused_re_assertion_is_tried_twice_and_then_held(self) -> None:
        of, tries = policy(live(BASE)), 0
        for minute in range(30):
            seen = view(of, deployment(epoch=1), now=NOW + seconds(minute))
            decision = decide(seen)
            of = policy(decision.status)
            if applied(decision) is not None:
                tries += 1
                of = policy(refused(with_changes(seen, policy=of), "argocd-controller", "conflict").status)
        assert tries == 2
        assert of.status.hold is not None
        assert of.status.hold.reason == "ConflictingWriter"

    def test_a_refused_way_back_quarantines_what_failed(self) -> None:
        of = flying()
        assert of.status.in_flight is not None
        flight = replace(of.status.in_flight, phase="Returning", why="Unhealthy")
        decision = refused(
            view(policy(replace(of.status, in_flight=flight)), deployment(keys(TUNED))), "kubectl", "conflict"
        )
        assert [entry.version for entry in decision.status.quarantined] == ["ft_v1.1"]

    def test_without_a_known_manager_it_says_so(self) -> None:
        decision = refused(view(flying(), deployment(keys(BASE))), "", "conflict")
        assert decision.status.hold is not None
        assert decision.status.hold.by == "unknown"
