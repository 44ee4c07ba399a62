"""The flight of a promotion, from its begin to the complete rollout: what each observation leads to."""

from dataclasses import replace as with_changes
from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.names import FIELD_MANAGER
from finetune_operator.decide.decision import ApplyKeys
from finetune_operator.decide.policy.machine import decide
from finetune_operator.decide.views import DeploymentView, Fault, Problem, ServedKeys
from unit.decide.policy.flight import (
    BASE,
    COMPLETE,
    OTHER,
    TUNED,
    VERSIONS,
    at,
    flight_of,
    flying,
    served,
    start,
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

CRASHED = Fault("Ended", "container 'server' of pod 'a' ended with exit code 1: no such operator", NOW)


@pytest.mark.row("D7")
class TestBegin:
    def test_the_intent_stands_in_the_status_beside_the_one_conditional_write(self) -> None:
        decision = start()
        flight = flight_of(decision)
        assert (flight.phase, flight.to, flight.back) == ("Flipping", live_version(TUNED), live_version(BASE))
        assert decision.status.epoch == flight.epoch == 2
        assert applied(decision) == ApplyKeys(
            "invoice-detector", "deployment-uid", "100", *_triple(keys(TUNED)), epoch=2
        )
        assert decision.status.live == live(BASE).live, "live changes only when the watch has passed"

    def test_the_epoch_goes_beyond_what_the_deployment_shows(self) -> None:
        assert flight_of(start(deployment(keys(BASE), epoch=41))).epoch == 42

    def test_an_epoch_that_nobody_counted_to_is_not_continued(self) -> None:
        assert flight_of(start(deployment(keys(BASE), epoch=10**30))).epoch == 2

    def test_keys_that_are_there_already_are_not_written_again(self) -> None:
        """A person's `rollout undo`, made official by a promotion with releaseHold."""
        asked = promotion("base_v1", "ft_v1.1", release_hold=True)
        there = deployment(keys(BASE), epoch=1, keys_manager="kubectl")
        decision = decide(view(policy(live(TUNED, 2, BASE)), there, asked, versions=VERSIONS))
        assert flight_of(decision).to == live_version(BASE)
        assert applied(decision) is None

    @pytest.mark.parametrize(
        ("replicas", "progress_deadline", "expected"),
        [(1, 600, 660), (2, 60, 180), (1, 2**31 - 1, 660), (1, 0, 660), (1, 10**9, 86_460)],
    )
    def test_our_deadline_is_the_last_resort_behind_that_of_kubernetes(
        self, replicas: int, progress_deadline: int, expected: int
    ) -> None:
        size = {"replicas": replicas, "updated": replicas, "available": replicas, "total": replicas}
        flight = flight_of(start(deployment(keys(BASE), progress_deadline_seconds=progress_deadline, **size)))
        assert flight.deadline - NOW == seconds(expected)


def _triple(served_keys: ServedKeys) -> tuple[str | None, str | None, str | None]:
    return served_keys.version, served_keys.uri, served_keys.sha256


@pytest.mark.row("D9")
class TestAfterACrash:
    def test_the_keys_are_applied_again_and_the_status_stays(self) -> None:
        of = flying()
        decision = decide(at(5, of, deployment(keys(BASE))))
        asked = applied(decision)
        assert asked is not None
        assert (asked.version, asked.epoch) == ("ft_v1.1", 2)
        assert flight_of(decision) == of.status.in_flight

    def test_also_from_nothing(self) -> None:
        asked = applied(decide(at(5, flying(first=True), deployment(available=0, updated=0))))
        assert asked is not None
        assert asked.version == "ft_v1.1"

    def test_an_apply_that_may_have_been_committed_is_repeated_under_the_next_epoch(self) -> None:
        """A change of scale came between the intent and the write; or our keys were there, and were undone."""
        decision = decide(at(5, flying(), deployment(keys(BASE), generation=6, observed_generation=6)))
        asked = applied(decision)
        assert asked is not None
        assert asked.epoch == flight_of(decision).epoch == decision.status.epoch == 3

    def test_after_a_long_outage_time_counts_anew(self) -> None:
        decision = decide(at(2000, flying(), deployment(keys(BASE))))
        assert flight_of(decision).deadline == NOW + seconds(2000) + (flight_of(start()).deadline - NOW)
        assert applied(decision) is not None

    def test_a_flight_that_can_never_be_applied_is_given_up(self) -> None:
        decision = decide(at(4000, flying(), deployment(keys(BASE))))
        assert (flight_of(decision).phase, flight_of(decision).why) == ("Returning", "RolloutTimedOut")

    def test_a_decision_from_a_stale_view_never_writes_below_the_epoch_that_is_there(self) -> None:
        """The flight of the view is long over: the Deployment shows a later flip."""
        assert applied(decide(at(5, flying(), deployment(keys(BASE), epoch=3)))) is None

    def test_nothing_is_written_to_a_deployment_that_left_our_care(self) -> None:
        decision = decide(at(5, flying(), deployment(keys(BASE), managed=False)))
        assert applied(decision) is None
        assert flight_of(decision).phase == "Flipping"


class TestFlipping:
    @pytest.mark.row("D10")
    def test_a_complete_rollout_is_watched(self) -> None:
        decision = decide(at(20, flying(), served(**COMPLETE)))
        flight = flight_of(decision)
        assert (flight.phase, flight.replicas) == ("Watching", 2)
        assert flight.deadline == NOW + seconds(20 + 60)
        assert decision.requeue_after == seconds(15), "what nobody looks at does not count"

    @pytest.mark.row("D10")
    def test_completion_counts_even_if_seen_after_the_deadline(self) -> None:
        assert flight_of(decide(at(9999, flying(), served(**COMPLETE)))).phase == "Watching"

    @pytest.mark.row("D10")
    def test_zero_replicas_prove_nothing(self) -> None:
        nobody = served(replicas=0, updated=0, ready=0, available=0, total=0)
        decision = decide(at(20, flying(), nobody))
        assert flight_of(decision).phase == "Flipping"
        assert decision.requeue_after is not None

    @pytest.mark.row("D10")
    def test_a_rollout_under_way_changes_nothing(self) -> None:
        of = flying()
        decision = decide(at(20, of, served()))
        assert decision.status.in_flight == of.status.in_flight
        assert decision.actions == ()

    @pytest.mark.row("D11")
    def test_a_missed_progress_deadline_means_back(self) -> None:
        decision = decide(at(120, flying(), served(deadline_exceeded=True, fault=CRASHED)))
        flight, asked = flight_of(decision), applied(decision)
        assert (flight.phase, flight.why, flight.epoch) == ("Returning", "RolloutFailed", 3)
        assert "exit code 1: no such operator" in flight.evidence
        assert asked is not None
        assert (asked.version, asked.epoch) == ("base_v1", 3)
        assert events(decision) == ["Returning"]

    @pytest.mark.row("D28")
    @pytest.mark.parametrize(
        "ails",
        [
            "Unschedulable",
            "ImagePullFailed",
            "ContainerConfig",
            "ContainerCreating",
            "QuotaExceeded",
            "PodsRefused",
            "StorageUnavailable",
            "SidecarFails",
            "SidecarNotReady",
        ],
    )
    def test_the_way_back_says_what_ails_the_pods_and_blames_no_version_for_its_surroundings(self, ails: str) -> None:
        trouble = Problem(ails, "0/3 nodes are available")
        flight = flight_of(decide(at(120, flying(), served(deadline_exceeded=True, trouble=trouble))))
        assert (flight.phase, flight.why, flight.evidence) == ("Returning", ails, "")
        assert f"{ails}: 0/3 nodes are available" in flight.message

    @pytest.mark.row("D11")
    def test_an_autoscaler_that_adds_replicas_in_mid_flight_gives_them_their_time(self) -> None:
        grown = served(replicas=10, updated=3, total=12)
        late = NOW + seconds(600 * 2 + 60)
        decision = decide(at(600 * 2 + 61, flying(), grown))
        assert flight_of(decision).phase == "Flipping"
        assert decision.requeue_after == seconds(15)
        assert flight_of(start()).deadline == late, "what it would have been for two"
        assert flight_of(decide(at(600 * 10 + 60, flying(), grown))).why == "RolloutTimedOut"

    @pytest.mark.row("D11")
    def test_a_pod_that_counts_as_available_only_much_later_is_waited_for(self) -> None:
        """minReadySeconds may be beyond Kubernetes' default deadline where the Deployment has none."""
        slow = {"progress_deadline_seconds": 2**31 - 1, "min_ready_seconds": 900}
        begun = flight_of(start(deployment(keys(BASE), **slow)))
        assert begun.deadline == NOW + seconds(2 * (600 + 900) + 60)

    @pytest.mark.row("D28")
    def test_a_rollout_of_which_nobody_knows_what_ails_it_blames_nobody(self) -> None:
        assert flight_of(decide(at(120, flying(), served(deadline_exceeded=True)))).why == "RolloutTimedOut"

    @pytest.mark.row("D28")
    @pytest.mark.parametrize(("loads_since", "why"), [(0, "RolloutFailed"), (100, "ServerNotReady")])
    def test_a_server_that_is_not_ready_is_blamed_once_it_had_half_of_the_deadline(
        self, loads_since: int, why: str
    ) -> None:
        words = "container 'server' of pod 'a' runs and is not ready"
        fault = Fault("NotReady", words, NOW + seconds(loads_since))
        there = served(
            deadline_exceeded=True,
            progress_deadline_seconds=120,
            fault=fault,
            trouble=Problem("ServerNotReady", words),
        )
        assert flight_of(decide(at(120, flying(), there))).why == why

    @pytest.mark.row("D111")
    @pytest.mark.parametrize(
        ("began", "observed", "why"),
        [
            (119, 2, "ServerNotReady"),
            (-3600, 2, "ServerNotReady"),
            (-3600, 46, "RolloutFailed"),
            (50, 46, "RolloutFailed"),
            (3600, 44, "ServerNotReady"),
            (3600, 61, "RolloutFailed"),
        ],
        ids=[
            "just began",
            "just began, our clock is ahead",
            "saw it late",
            "both agree",
            "short of it",
            "our clock is behind",
        ],
    )
    def test_how_long_a_server_had_to_load_is_what_was_observed_of_it(
        self, began: int, observed: int, why: str
    ) -> None:
        words = "container 'server' of pod 'a' runs and is not ready"
        there = served(
            deadline_exceeded=True,
            progress_deadline_seconds=120,
            fault=Fault("NotReady", words, NOW + seconds(began)),
            trouble=Problem("ServerNotReady", words),
        )
        looked = with_changes(at(120, flying(), there), fault_observed=seconds(observed))
        assert flight_of(decide(looked)).why == why

    @pytest.mark.row("D28")
    def test_where_kubernetes_is_silent_a_crash_is_blamed_all_the_same(self) -> None:
        deadline = (flight_of(start()).deadline - NOW).total_seconds()
        assert flight_of(decide(at(deadline, flying(), served(fault=CRASHED)))).why == "RolloutFailed"

    @pytest.mark.row("D11")
    def test_a_rollout_under_way_is_looked_at_again_because_its_pods_are_not_watched(self) -> None:
        decision = decide(at(20, flying(), served()))
        assert decision.requeue_after is not None
        assert decision.requeue_after <= seconds(15)

    @pytest.mark.row("D11")
    def test_a_deadline_reported_at_once_is_that_of_the_rollout_before(self) -> None:
        decision = decide(at(3, flying(), served(deadline_exceeded=True)))
        assert flight_of(decision).phase == "Flipping"
        assert decision.requeue_after == seconds(7)

    @pytest.mark.row("D11")
    def test_a_deadline_reported_of_an_older_generation_does_not_count(self) -> None:
        decision = decide(at(120, flying(), served(deadline_exceeded=True, generation=7)))
        assert flight_of(decision).phase == "Flipping"

    @pytest.mark.row("D11")
    @pytest.mark.parametrize("why", [{"paused": True}, {"replicas": 0, "updated": 0, "available": 0, "total": 0}, {}])
    def test_where_kubernetes_is_silent_our_own_deadline_means_back(self, why: dict[str, Any]) -> None:
        deadline = flight_of(start()).deadline
        assert flight_of(decide(at((deadline - NOW).total_seconds() - 1, flying(), served(**why)))).phase == "Flipping"
        flight = flight_of(decide(at((deadline - NOW).total_seconds(), flying(), served(**why))))
        assert (flight.phase, flight.why) == ("Returning", "RolloutTimedOut")


class TestForeignHands:
    @pytest.mark.row("D12")
    @pytest.mark.parametrize("phase", ["Flipping", "Watching"])
    @pytest.mark.parametrize(
        ("there", "by"),
        [
            (deployment(keys(OTHER), epoch=2, keys_manager="kubectl-edit"), "kubectl-edit"),
            (deployment(keys(BASE), epoch=1, keys_manager="kubectl-rollout"), "kubectl-rollout"),
            (deployment(keys(BASE), epoch=2), "unknown"),
            (deployment(epoch=2), "unknown"),
            (deployment(with_changes(keys(TUNED), sha256=None), epoch=2, keys_manager="x"), "x"),
        ],
        ids=["other keys", "rollout undo", "old keys after ours", "keys removed", "one key removed"],
    )
    def test_the_flight_ends_without_a_write_and_the_hold_names_the_writer(
        self, phase: str, there: DeploymentView, by: str
    ) -> None:
        decision = decide(at(20, flying(phase), there))
        assert decision.status.in_flight is None
        assert decision.status.live == live(BASE).live
        assert applied(decision) is None
        ended = decision.status.consumed[-1]
        assert (ended.name, ended.outcome, ended.reason) == ("to-ft-v1-1", "Failed", "ConcurrentWriter")
        assert decision.status.hold is not None
        assert (decision.status.hold.reason, decision.status.hold.by) == ("External", by)
        assert decision.status.quarantined == ()

    @pytest.mark.row("D12")
    def test_on_the_way_back_a_foreign_version_is_left_alone_but_the_failed_one_is_quarantined(self) -> None:
        returning = flying("Returning", why="RolloutFailed", epoch=3)
        decision = decide(at(20, returning, deployment(keys(OTHER), epoch=2, keys_manager="kubectl")))
        assert applied(decision) is None
        assert decision.status.in_flight is None
        assert [entry.version for entry in decision.status.quarantined] == ["ft_v1.1"]

    @pytest.mark.row("D13")
    @pytest.mark.parametrize("phase", ["Flipping", "Watching"])
    @pytest.mark.parametrize(
        "there",
        [None, deployment(uid="another"), deployment(keys(TUNED), deleting=True)],
        ids=["gone", "replaced", "going"],
    )
    def test_without_its_deployment_a_flight_fails_and_live_stays_on_record(
        self, phase: str, there: DeploymentView | None
    ) -> None:
        decision = decide(at(20, flying(phase), there))
        assert decision.status.in_flight is None
        assert applied(decision) is None
        assert decision.status.consumed[-1].reason == "TargetGone"
        assert decision.status.live == live(BASE).live
        assert decision.status.hold is None

    @pytest.mark.row("D198")
    @pytest.mark.parametrize("phase", ["Flipping", "Watching"])
    def test_a_hold_that_it_lifted_is_there_again_when_its_deployment_is_gone(self, phase: str) -> None:
        """Restores bring Deployments back in several steps; what else waits is not what the hold was lifted for."""
        decision = decide(at(20, flying(phase, lifted_hold=True), None))
        assert (decision.status.in_flight, decision.status.consumed[-1].reason) == (None, "TargetGone")
        assert decision.status.hold is not None
        assert "was deleted or replaced while" in decision.status.hold.message
        assert "to try 'ft_v1.1' again" in decision.status.hold.message
        assert "to lift the hold and stay with 'base_v1'" in decision.status.hold.message

    @pytest.mark.row("D13")
    def test_on_the_way_back_it_counts_as_rolled_back(self) -> None:
        decision = decide(at(20, flying("Returning", why="Unhealthy", epoch=3), None))
        assert decision.status.consumed[-1].outcome == "RolledBack"
        assert [entry.version for entry in decision.status.quarantined] == ["ft_v1.1"]


@pytest.mark.row("D21")
@pytest.mark.parametrize("phase", ["Flipping", "Watching"])
def test_a_suspended_policy_finishes_its_flight(phase: str) -> None:
    of = flying(phase, deadline=NOW + seconds(80))
    suspended = replace(of, spec=replace(of.spec, suspend=True))
    decision = decide(at(80, suspended, served(**COMPLETE)))
    assert decision.status != of.status


def test_our_own_manager_is_no_foreign_writer() -> None:
    there = deployment(keys(BASE), keys_manager=FIELD_MANAGER)
    assert applied(decide(at(5, flying(), there))) is not None
