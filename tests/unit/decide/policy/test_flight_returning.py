"""The way back: the old keys, hold and quarantine, and what ends the waiting."""

from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.meta import find
from finetune_operator.api.policy import Policy
from finetune_operator.decide.policy import memory
from finetune_operator.decide.policy.machine import decide
from finetune_operator.decide.views import ServedKeys
from unit.decide.policy.flight import (
    ASKED,
    BASE,
    OTHER,
    TUNED,
    VERSIONS,
    at,
    flight_of,
    flying,
    served,
)
from unit.decide.policy.world import (
    NOW,
    applied,
    deployment,
    events,
    keys,
    live,
    live_version,
    policy,
    promotion,
    seconds,
    view,
)


def returning(*, first: bool = False, **changes: Any) -> Policy:
    given: dict[str, Any] = {"why": "RolloutFailed", "message": "1 of 2 updated", "epoch": 3, "generation": 6}
    given |= {"phase_since": NOW + seconds(100), "deadline": NOW + seconds(300)}
    return flying("Returning", first=first, **(given | changes))


LATE = 100 + 600 * 2 + 61
"""Beyond what a rollout of two replicas may take by Kubernetes' default deadline."""


class TestReturning:
    @pytest.mark.row("D17")
    def test_the_old_keys_are_applied_until_they_are_there(self) -> None:
        asked = applied(decide(at(110, returning(), served())))
        assert asked is not None
        assert (asked.version, asked.epoch) == ("base_v1", 3)

    @pytest.mark.row("D17")
    def test_an_apply_that_may_have_been_committed_is_repeated_under_the_next_epoch(self) -> None:
        """The generation moved: our apply and somebody's undo, or only a change of scale."""
        asked = applied(decide(at(110, returning(), served(generation=7, observed_generation=7))))
        assert asked is not None
        assert (asked.version, asked.epoch) == ("base_v1", 4)

    @pytest.mark.row("D17")
    def test_where_nothing_was_live_the_keys_are_released(self) -> None:
        asked = applied(decide(at(110, returning(first=True), served())))
        assert asked is not None
        assert ServedKeys(asked.version, asked.uri, asked.sha256).absent

    @pytest.mark.row("D17")
    def test_old_keys_that_never_left_are_written_once_to_fence_off_a_late_apply(self) -> None:
        asked = applied(decide(at(110, returning(generation=5), deployment(keys(BASE)))))
        assert asked is not None
        assert (asked.version, asked.epoch) == ("base_v1", 3)

    @pytest.mark.row("D18")
    def test_the_return_ends_in_a_hold_and_a_quarantine(self) -> None:
        decision = decide(at(130, returning(), deployment(keys(BASE), epoch=3)))
        status = decision.status
        assert (status.consumed[-1].outcome, status.consumed[-1].reason) == ("RolledBack", "RolloutFailed")
        assert status.hold is not None
        assert status.hold.reason == "RolledBack"
        assert [(entry.version, entry.sha256) for entry in status.quarantined] == [
            ("ft_v1.1", TUNED.spec.artifact.sha256)
        ]
        assert status.live is not None
        assert (status.live.version, status.live.epoch, status.live.since) == ("base_v1", 3, live(BASE).live.since)  # type: ignore[union-attr]
        assert events(decision) == ["RolledBack"]

    @pytest.mark.row("D18")
    @pytest.mark.parametrize("why", ["ConcurrentChange", "RolloutTimedOut", "Unschedulable", "QuotaExceeded"])
    def test_what_was_not_the_versions_fault_quarantines_nobody(self, why: str) -> None:
        status = decide(at(130, returning(why=why), deployment(keys(BASE), epoch=3))).status
        assert status.quarantined == ()
        assert status.hold is not None

    @pytest.mark.row("D18")
    def test_a_failed_first_promotion_leaves_nothing_live(self) -> None:
        there = deployment(epoch=3, available=0, updated=0)
        status = decide(at(130, returning(first=True), there)).status
        assert (status.live, status.in_flight) == (None, None)
        assert status.consumed[-1].outcome == "RolledBack"

    @pytest.mark.row("D18")
    def test_until_the_old_rollout_is_complete_the_return_goes_on(self) -> None:
        decision = decide(at(130, returning(), deployment(keys(BASE), epoch=3, updated=1, total=3)))
        assert flight_of(decision).phase == "Returning"
        assert applied(decision) is None

    @pytest.mark.row("D19")
    def test_a_return_that_does_not_complete_is_reported_and_waits_without_writing(self) -> None:
        stuck = deployment(keys(BASE), epoch=3, available=0, progress_deadline_seconds=70)
        decision = decide(at(301, returning(), stuck))
        ready = find(decision.status.conditions, "Ready")
        assert ready is not None
        assert (ready.status, ready.reason) == ("False", "RollbackBlocked")
        assert events(decision) == ["RollbackBlocked"]
        again = decide(at(400, policy(decision.status), stuck))
        assert (again.status, again.actions) == (decision.status, ())

    @pytest.mark.row("D19")
    def test_more_replicas_than_at_the_turn_are_waited_for_longer(self) -> None:
        growing = deployment(keys(BASE), epoch=3, replicas=10, available=2, updated=2)
        ready = find(decide(at(2000, returning(), growing)).status.conditions, "Ready")
        assert ready is not None
        assert ready.reason == "Operational"

    @pytest.mark.row("D19")
    def test_a_pause_is_named_with_the_command_that_ends_it(self) -> None:
        paused = deployment(keys(BASE), epoch=3, available=0, paused=True)
        ready = find(decide(at(LATE, returning(), paused)).status.conditions, "Ready")
        assert ready is not None
        assert "kubectl rollout resume deployment invoice-detector -n ml" in ready.message

    @pytest.mark.row("D19")
    def test_what_people_took_back_is_not_proposed_to_end_the_waiting(self) -> None:
        """That promotion would be refused."""
        of = returning()
        bad = memory.taken_back(of.status, live_version(OTHER), by="back", reason="wrong totals", now=NOW)
        bad = replace(bad, last_good=(live_version(BASE), live_version(OTHER)))
        decision = decide(at(LATE, policy(bad), deployment(keys(BASE), epoch=3, available=0)))
        ready = find(decision.status.conditions, "Ready")
        assert ready is not None
        assert "this one makes 'base_v1' live" in ready.message

    @pytest.mark.row("D19")
    def test_a_person_with_release_hold_ends_the_waiting(self) -> None:
        stuck = deployment(keys(BASE), epoch=3, available=0, progress_deadline_seconds=70)
        person = promotion("base_v0", "base_v1", release_hold=True, age=-200)
        decision = decide(view(returning(), stuck, ASKED, person, versions=VERSIONS, now=NOW + seconds(301)))
        assert decision.status.in_flight is None
        assert decision.status.consumed[-1].outcome == "RolledBack"

    @pytest.mark.row("D19")
    def test_not_before_the_deadline(self) -> None:
        stuck = deployment(keys(BASE), epoch=3, available=0, progress_deadline_seconds=70)
        person = promotion("base_v0", "base_v1", release_hold=True, age=-200)
        decision = decide(view(returning(), stuck, ASKED, person, versions=VERSIONS, now=NOW + seconds(299)))
        assert decision.status.in_flight is not None
