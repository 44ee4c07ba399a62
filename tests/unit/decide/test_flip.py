"""The flight of a promotion: what each observation leads to, and that whole flights end where they should."""

from dataclasses import replace as with_changes
from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.meta import find
from finetune_operator.api.names import FIELD_MANAGER
from finetune_operator.api.policy import InFlight, Policy, PolicyStatus, Watch
from finetune_operator.decide import flip
from finetune_operator.decide.actions import ApplyKeys, Decision
from finetune_operator.decide.policy import decide
from finetune_operator.decide.views import DeploymentView, PolicyView, Problem, ServedKeys

from .flip_world import (
    NOW,
    ModelDeployment,
    World,
    applied,
    base,
    deployment,
    events,
    keys,
    live,
    live_version,
    policy,
    promotion,
    running,
    seconds,
    tuned,
    view,
)

BASE, TUNED, OTHER = base(), tuned(), tuned("ft_v9.9")
ASKED = promotion("ft_v1.1", "base_v1")
VERSIONS = (BASE, TUNED)


def start(found: DeploymentView | None = None, of: Policy | None = None) -> Decision[PolicyStatus]:
    return decide(view(of or policy(live(BASE)), found or deployment(keys(BASE)), ASKED, versions=VERSIONS))


def flying(phase: str = "Flipping", *, first: bool = False, **changes: Any) -> Policy:
    """A policy in the middle of the flight from base_v1 (or from nothing) to ft_v1.1, begun at NOW as epoch 2."""
    status = PolicyStatus(epoch=1) if first else live(BASE)
    begun = start().status.in_flight
    assert begun is not None
    flight = replace(begun, phase=phase, **({"back": None} if first else {}), **changes)
    return policy(replace(status, in_flight=flight, epoch=flight.epoch))


def flight_of(decision: Decision[PolicyStatus]) -> InFlight:
    assert decision.status.in_flight is not None
    return decision.status.in_flight


def served(**changes: Any) -> DeploymentView:
    """The Deployment after the flip, still rolling out."""
    given: dict[str, Any] = {"epoch": 2, "updated": 1, "total": 3, "generation": 6, "observed_generation": 6}
    return deployment(keys(TUNED), **(given | changes))


def at(age: float, of: Policy, found: DeploymentView | None, **changes: Any) -> PolicyView:
    return view(of, found, ASKED, versions=VERSIONS, now=NOW + seconds(age), **changes)


COMPLETE: dict[str, Any] = {"updated": 2, "total": 2}


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
        found = deployment(keys(BASE), epoch=1, keys_manager="kubectl")
        decision = decide(view(policy(live(TUNED, 2, BASE)), found, asked, versions=VERSIONS))
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
        assert decision.requeue_after == seconds(60)

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
        decision = decide(at(120, flying(), served(deadline_exceeded=True)))
        flight, asked = flight_of(decision), applied(decision)
        assert (flight.phase, flight.why, flight.epoch) == ("Returning", "RolloutFailed", 3)
        assert asked is not None
        assert (asked.version, asked.epoch) == ("base_v1", 3)
        assert events(decision) == ["Returning"]

    @pytest.mark.row("D11")
    @pytest.mark.parametrize(
        ("ails", "why"),
        [
            ("ContainerFails", "RolloutFailed"),
            ("Unschedulable", "Unschedulable"),
            ("ImagePullFailed", "ImagePullFailed"),
            ("ContainerConfig", "ContainerConfig"),
        ],
    )
    def test_the_way_back_says_what_ails_the_pods_and_blames_no_version_that_never_ran(
        self, ails: str, why: str
    ) -> None:
        trouble = Problem(ails, "0/3 nodes are available")
        flight = flight_of(decide(at(120, flying(), served(deadline_exceeded=True, trouble=trouble))))
        assert (flight.phase, flight.why) == ("Returning", why)
        assert f"{ails}: 0/3 nodes are available" in flight.message

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
        ("found", "by"),
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
        self, phase: str, found: DeploymentView, by: str
    ) -> None:
        decision = decide(at(20, flying(phase), found))
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
        "found",
        [None, deployment(uid="another"), deployment(keys(TUNED), deleting=True)],
        ids=["gone", "replaced", "going"],
    )
    def test_without_its_deployment_a_flight_fails_and_live_stays_on_record(
        self, phase: str, found: DeploymentView | None
    ) -> None:
        decision = decide(at(20, flying(phase), found))
        assert decision.status.in_flight is None
        assert applied(decision) is None
        assert decision.status.consumed[-1].reason == "TargetGone"
        assert decision.status.live == live(BASE).live
        assert decision.status.hold is None

    @pytest.mark.row("D13")
    def test_on_the_way_back_it_counts_as_rolled_back(self) -> None:
        decision = decide(at(20, flying("Returning", why="Unhealthy", epoch=3), None))
        assert decision.status.consumed[-1].outcome == "RolledBack"
        assert [entry.version for entry in decision.status.quarantined] == ["ft_v1.1"]


def watching(**changes: Any) -> Policy:
    """Watched since 20 s after NOW, until 80 s after it."""
    given: dict[str, Any] = {"replicas": 2, "phase_since": NOW + seconds(20), "deadline": NOW + seconds(80)}
    return flying("Watching", **(given | changes))


class TestWatching:
    @pytest.mark.row("D16")
    def test_a_watch_that_passes_makes_the_version_live_and_good(self) -> None:
        decision = decide(at(80, watching(), served(**COMPLETE)))
        status = decision.status
        assert status.live is not None
        assert (status.live.version, status.live.epoch, status.live.since) == ("ft_v1.1", 2, NOW + seconds(80))
        assert [good.version for good in status.last_good] == ["ft_v1.1", "base_v1"]
        assert (status.consumed[-1].outcome, status.in_flight, status.hold) == ("Succeeded", None, None)
        assert applied(decision) is None
        assert events(decision) == ["Promoted"]

    @pytest.mark.row("D16")
    def test_not_a_second_earlier(self) -> None:
        decision = decide(at(79, watching(), served(**COMPLETE)))
        assert flight_of(decision).phase == "Watching"
        assert decision.requeue_after == seconds(1)

    @pytest.mark.row("D22")
    def test_an_edited_policy_does_not_move_the_end_of_a_watch(self) -> None:
        of = watching()
        edited = replace(of, spec=replace(of.spec, watch=Watch(seconds=86_400)))
        assert decide(at(80, edited, served(**COMPLETE))).status.in_flight is None

    @pytest.mark.row("D14")
    def test_pods_unavailable_for_half_a_minute_mean_back(self) -> None:
        sick = served(**COMPLETE, available=1)
        first = decide(at(30, watching(), sick))
        assert flight_of(first).unhealthy_since == NOW + seconds(30)
        assert first.requeue_after == seconds(30)
        of = policy(first.status)
        assert flight_of(decide(at(59, of, sick))).phase == "Watching"
        back = decide(at(60, of, sick))
        asked = applied(back)
        assert (flight_of(back).phase, flight_of(back).why) == ("Returning", "Unhealthy")
        assert asked is not None
        assert asked.version == "base_v1"

    @pytest.mark.row("D14")
    def test_a_blip_is_forgiven(self) -> None:
        first = decide(at(30, watching(), served(**COMPLETE, available=1)))
        again = decide(at(40, policy(first.status), served(**COMPLETE)))
        assert flight_of(again).unhealthy_since is None

    @pytest.mark.row("D14")
    def test_no_watch_ends_well_while_pods_are_unavailable(self) -> None:
        first = decide(at(79, watching(), served(**COMPLETE, available=1)))
        assert flight_of(decide(at(90, policy(first.status), served(**COMPLETE, available=1)))).phase == "Watching"

    @pytest.mark.row("D14")
    @pytest.mark.parametrize(
        "found",
        [
            served(replicas=5, updated=5, total=5, available=2),
            served(replicas=1, updated=1, total=1, available=1),
            served(replicas=0, updated=0, total=0, available=0),
        ],
        ids=["scaled up, new pods starting", "scaled down", "scaled to zero by its owner"],
    )
    def test_an_autoscaler_is_no_trouble(self, found: DeploymentView) -> None:
        decision = decide(at(80, watching(), found))
        assert decision.status.live is not None
        assert decision.status.live.version == "ft_v1.1"

    @pytest.mark.row("D15")
    def test_trouble_after_somebody_elses_change_goes_back_under_that_reason(self) -> None:
        found = served(**COMPLETE, template_hash="template-b", deadline_exceeded=True)
        assert flight_of(decide(at(40, watching(), found))).why == "ConcurrentChange"

    @pytest.mark.row("D15")
    def test_also_while_flipping(self) -> None:
        found = served(template_hash="template-b", deadline_exceeded=True)
        assert flight_of(decide(at(40, flying(), found))).why == "ConcurrentChange"

    @pytest.mark.row("D15")
    def test_somebody_elses_rollout_under_way_is_waited_for_beyond_the_watch(self) -> None:
        found = served(template_hash="template-b", available=1)
        decision = decide(at(200, watching(), found))
        assert flight_of(decision).phase == "Watching"
        assert decision.requeue_after is not None
        done = decide(at(230, policy(decision.status), served(**COMPLETE, template_hash="template-b")))
        assert done.status.live is not None
        assert done.status.live.version == "ft_v1.1"

    @pytest.mark.row("D15")
    def test_but_not_for_ever(self) -> None:
        decision = decide(at(5000, watching(), served(template_hash="template-b", available=1)))
        assert (flight_of(decision).phase, flight_of(decision).why) == ("Returning", "ConcurrentChange")


def returning(*, first: bool = False, **changes: Any) -> Policy:
    given: dict[str, Any] = {"why": "RolloutFailed", "message": "1 of 2 updated", "epoch": 3, "generation": 6}
    given |= {"phase_since": NOW + seconds(100), "deadline": NOW + seconds(300)}
    return flying("Returning", first=first, **(given | changes))


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
        assert _triple(ServedKeys(asked.version, asked.uri, asked.sha256)) == (None, None, None)

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
    @pytest.mark.parametrize("why", ["ConcurrentChange", "RolloutTimedOut", *sorted(flip.NEVER_RAN)])
    def test_what_was_not_the_versions_fault_quarantines_nobody(self, why: str) -> None:
        status = decide(at(130, returning(why=why), deployment(keys(BASE), epoch=3))).status
        assert status.quarantined == ()
        assert status.hold is not None

    @pytest.mark.row("D18")
    def test_a_failed_first_promotion_leaves_nothing_live(self) -> None:
        found = deployment(epoch=3, available=0, updated=0)
        status = decide(at(130, returning(first=True), found)).status
        assert (status.live, status.in_flight) == (None, None)
        assert status.consumed[-1].outcome == "RolledBack"

    @pytest.mark.row("D18")
    def test_until_the_old_rollout_is_complete_the_return_goes_on(self) -> None:
        decision = decide(at(130, returning(), deployment(keys(BASE), epoch=3, updated=1, total=3)))
        assert flight_of(decision).phase == "Returning"
        assert applied(decision) is None

    @pytest.mark.row("D19")
    def test_a_return_that_does_not_complete_is_reported_and_waits_without_writing(self) -> None:
        stuck = deployment(keys(BASE), epoch=3, available=0)
        decision = decide(at(301, returning(), stuck))
        ready = find(decision.status.conditions, "Ready")
        assert ready is not None
        assert (ready.status, ready.reason) == ("False", "RollbackBlocked")
        assert events(decision) == ["RollbackBlocked"]
        again = decide(at(400, policy(decision.status), stuck))
        assert (again.status, again.actions) == (decision.status, ())

    @pytest.mark.row("D19")
    def test_a_person_with_release_hold_ends_the_waiting(self) -> None:
        stuck = deployment(keys(BASE), epoch=3, available=0)
        person = promotion("base_v0", "base_v1", release_hold=True)
        decision = decide(view(returning(), stuck, ASKED, person, versions=VERSIONS, now=NOW + seconds(301)))
        assert decision.status.in_flight is None
        assert decision.status.consumed[-1].outcome == "RolledBack"

    @pytest.mark.row("D19")
    def test_not_before_the_deadline(self) -> None:
        stuck = deployment(keys(BASE), epoch=3, available=0)
        person = promotion("base_v0", "base_v1", release_hold=True)
        decision = decide(view(returning(), stuck, ASKED, person, versions=VERSIONS, now=NOW + seconds(299)))
        assert decision.status.in_flight is not None


@pytest.mark.row("D21")
@pytest.mark.parametrize("phase", ["Flipping", "Watching"])
def test_a_suspended_policy_finishes_its_flight(phase: str) -> None:
    of = flying(phase, deadline=NOW + seconds(80))
    suspended = replace(of, spec=replace(of.spec, suspend=True))
    decision = decide(at(80, suspended, served(**COMPLETE)))
    assert decision.status != of.status


class TestWholeFlights:
    def test_a_good_version_goes_live_with_one_write(self) -> None:
        world = running(BASE, TUNED)
        world.ask(ASKED)
        world.run(200)
        assert world.phase("to-ft-v1-1") == "Succeeded"
        assert [(commit.after, commit.epoch) for commit in world.commits] == [(keys(TUNED), 2)]
        assert world.status_writes <= 7

    def test_a_person_rolls_back_to_the_base_and_forward_again(self) -> None:
        world = running(BASE, TUNED)
        world.ask(ASKED)
        world.run(200)
        world.ask(promotion("base_v1", "ft_v1.1", name="rollback"))
        world.run(200)
        assert world.phase("rollback") == "Succeeded"
        world.ask(promotion("ft_v1.1", "base_v1", name="forward", reason="it was the camera"))
        world.run(200)
        assert world.phase("forward") == "Succeeded"
        assert [commit.epoch for commit in world.commits] == [2, 3, 4]

    def test_a_version_that_never_starts_is_taken_back_and_never_tried_again(self) -> None:
        world = running(BASE, TUNED, behaviour={"ft_v1.1": "never"})
        world.ask(ASKED)
        world.run(400)
        assert world.phase("to-ft-v1-1") == "RolledBack"
        assert [commit.after for commit in world.commits] == [keys(TUNED), keys(BASE)]
        world.ask(promotion("ft_v1.1", "base_v1", name="again", release_hold=True))
        world.run(100)
        assert world.phase("again") == "Failed"
        assert len(world.commits) == 2

    def test_a_version_that_crashes_under_watch_is_taken_back(self) -> None:
        world = running(BASE, TUNED, behaviour={"ft_v1.1": "crash"})
        world.ask(ASKED)
        world.run(400)
        assert world.phase("to-ft-v1-1") == "RolledBack"
        assert world.policy.status.live is not None
        assert world.policy.status.live.version == "base_v1"

    @pytest.mark.parametrize("works", [True, False])
    def test_the_very_first_promotion(self, works: bool) -> None:
        behaviour = {} if works else {"base_v1": "never"}
        world = World(target=ModelDeployment(now=NOW, behaviour=behaviour), versions=(BASE,))
        world.ask(promotion("base_v1"))
        world.run(400)
        assert world.target is not None
        if works:
            assert world.phase("to-base-v1") == "Succeeded"
            assert world.target.keys == keys(BASE)
        else:
            assert world.phase("to-base-v1") == "RolledBack"
            assert world.target.keys.absent
            assert world.policy.status.live is None

    def test_of_two_promotions_from_one_version_the_younger_is_superseded(self) -> None:
        world = running(BASE, TUNED, tuned("ft_v1.2"))
        world.ask(promotion("ft_v1.2", "base_v1", age=10), promotion("ft_v1.1", "base_v1", age=20))
        world.run(300)
        assert (world.phase("to-ft-v1-1"), world.phase("to-ft-v1-2")) == ("Succeeded", "Superseded")

    def test_promotion_and_version_deleted_in_mid_flight_stop_nothing(self) -> None:
        world = running(BASE, TUNED)
        world.ask(ASKED)
        world.run(15)
        world.promotions.clear()
        world.versions = ()
        world.run(200)
        assert world.policy.status.live is not None
        assert world.policy.status.live.version == "ft_v1.1"
        assert len(world.commits) == 1

    def test_a_pause_in_mid_flight_is_waited_for_and_then_taken_back_without_blame(self) -> None:
        world = running(BASE, TUNED)
        world.ask(ASKED)
        world.turn()
        assert world.target is not None
        world.target.paused = True
        world.run(500)
        assert world.target.keys == keys(BASE)
        world.target.paused = False
        world.run(100)
        assert world.phase("to-ft-v1-1") == "RolledBack"
        assert world.policy.status.quarantined == ()

    def test_rollout_undo_in_mid_flight_wins(self) -> None:
        world = running(BASE, TUNED)
        world.ask(ASKED)
        world.run(15)
        assert world.target is not None
        world.target.write(keys(BASE), 1, "kubectl-rollout")
        world.run(200)
        assert world.target.keys == keys(BASE)
        assert world.phase("to-ft-v1-1") == "Failed"
        assert len(world.commits) == 1

    @pytest.mark.parametrize("behaviour", ["fine", "never", "crash"])
    @pytest.mark.parametrize("crash_at", range(8))
    def test_a_crash_between_status_and_write_ends_as_no_crash_does(self, behaviour: str, crash_at: int) -> None:
        ends = []
        for crash in (None, crash_at):
            world = running(BASE, TUNED, behaviour={"ft_v1.1": behaviour})
            world.ask(ASKED)
            for turn in range(200):
                world.turn(crash=turn == crash)
                world.now += seconds(2)
            assert world.target is not None
            status = world.policy.status
            ends.append((world.phase("to-ft-v1-1"), world.target.keys, world.target.epoch, status.live, status.epoch))
        assert _without_time(ends[0]) == _without_time(ends[1])


def _without_time(end: tuple[Any, ...]) -> tuple[Any, ...]:
    phase, served_keys, epoch, recorded, highest = end
    return phase, served_keys, epoch, None if recorded is None else replace(recorded, since=NOW), highest


def test_our_own_manager_is_no_foreign_writer() -> None:
    found = deployment(keys(BASE), keys_manager=FIELD_MANAGER)
    assert applied(decide(at(5, flying(), found))) is not None
