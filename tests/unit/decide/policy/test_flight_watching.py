"""While a flip is watched: what means back, what is waited for, and when it is live."""

import pytest
from msgspec.structs import replace

from finetune_operator.api.policy import Watch
from finetune_operator.decide.policy.machine import decide
from finetune_operator.decide.views import DeploymentView, Fault, Problem
from unit.decide.policy.flight import (
    COMPLETE,
    at,
    flight_of,
    flying,
    served,
    watching,
)
from unit.decide.policy.world import (
    NOW,
    applied,
    events,
    policy,
    seconds,
)

CRASHED = Fault("Ended", "container 'server' of pod 'a' ended with exit code 1: no such operator", NOW)


class TestWatching:
    @pytest.mark.row("D16")
    def test_a_watch_that_passes_makes_the_version_live_and_good(self) -> None:
        decision = decide(at(80, watching(), served(**COMPLETE)))
        status = decision.status
        assert status.live is not None
        assert (status.live.version, status.live.epoch, status.live.since) == (
            "ft_v1.1",
            2,
            NOW + seconds(20),
        ), "since pods served it"
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
    def test_a_server_that_fails_for_half_a_minute_means_back(self) -> None:
        sick = served(**COMPLETE, available=1, fault=CRASHED)
        first = decide(at(30, watching(), sick))
        assert flight_of(first).unhealthy_since == NOW + seconds(30)
        assert first.requeue_after == seconds(15)
        of = policy(first.status)
        assert flight_of(decide(at(59, of, sick))).phase == "Watching"
        back = decide(at(60, of, sick))
        asked = applied(back)
        assert (flight_of(back).phase, flight_of(back).why) == ("Returning", "Unhealthy")
        assert "exit code 1" in flight_of(back).evidence
        assert asked is not None
        assert asked.version == "base_v1"

    @pytest.mark.row("D14")
    @pytest.mark.parametrize(("restarts", "phase"), [(2, "Watching"), (3, "Returning")])
    def test_a_server_that_comes_back_fast_is_sick_at_its_third_restart(self, restarts: int, phase: str) -> None:
        crashed = served(**COMPLETE, available=1, fault=Fault("Ended", "it crashed", NOW + seconds(25), restarts))
        assert flight_of(decide(at(30, watching(), crashed))).phase == phase

    @pytest.mark.row("D14")
    @pytest.mark.parametrize("ahead", [-3600, 0, 3600])
    def test_by_whatever_clock_its_node_says_when(self, ahead: float) -> None:
        crashed = served(**COMPLETE, available=1, fault=Fault("Ended", "it crashed", NOW + seconds(25 + ahead), 3))
        assert flight_of(decide(at(30, watching(), crashed))).phase == "Returning"

    @pytest.mark.row("D29")
    @pytest.mark.parametrize(
        "ails", [None, "PodReplaced", "PodStarting", "SidecarNotReady", "Unschedulable", "QuotaExceeded"]
    )
    def test_a_pod_on_its_way_is_waited_for_like_a_rollout(self, ails: str | None) -> None:
        trouble = None if ails is None else Problem(ails, "0/3 nodes are available")
        missing = served(**COMPLETE, available=1, trouble=trouble)
        first = decide(at(30, watching(), missing))
        of = policy(first.status)
        assert flight_of(decide(at(300, of, missing))).phase == "Watching", "beyond the end of the watch"
        whole = decide(at(75, of, served(**COMPLETE)))
        assert flight_of(whole).deadline == NOW + seconds(80 + 45), "the watch is longer by what was missing"
        late = flight_of(decide(at(30 + 600 * 2 + 60, of, missing)))
        assert (late.phase, late.why, late.evidence) == ("Returning", ails or "ReplicasMissing", "")

    @pytest.mark.row("D29")
    def test_a_container_beside_the_server_that_fails_means_back_and_blames_nobody(self) -> None:
        trouble = Problem("SidecarFails", "container 'log-shipper' ended with exit code 1")
        sick = served(**COMPLETE, available=1, trouble=trouble)
        of = policy(decide(at(30, watching(), sick)).status)
        back = flight_of(decide(at(60, of, sick)))
        assert (back.phase, back.why, back.evidence) == ("Returning", "SidecarFails", "")

    @pytest.mark.row("D29")
    def test_a_new_pod_that_still_loads_is_no_sickness(self) -> None:
        """An autoscaler went to zero and back: its server runs since a moment."""
        loads = Fault("NotReady", "container 'server' of pod 'b' runs and is not ready", NOW + seconds(25))
        starting = served(**COMPLETE, available=0, fault=loads)
        of = policy(decide(at(30, watching(), starting)).status)
        assert flight_of(decide(at(90, of, starting))).phase == "Watching"
        of = policy(decide(at(330, of, starting)).status)
        assert flight_of(decide(at(365, of, starting))).why == "Unhealthy"

    @pytest.mark.row("D14")
    def test_a_blip_is_forgiven(self) -> None:
        first = decide(at(30, watching(), served(**COMPLETE, available=1)))
        again = decide(at(40, policy(first.status), served(**COMPLETE)))
        assert (flight_of(again).unhealthy_since, flight_of(again).missing_since) == (None, None)

    @pytest.mark.row("D14")
    def test_no_watch_ends_well_while_pods_are_unavailable(self) -> None:
        first = decide(at(79, watching(), served(**COMPLETE, available=1)))
        assert flight_of(decide(at(90, policy(first.status), served(**COMPLETE, available=1)))).phase == "Watching"

    @pytest.mark.row("D14")
    @pytest.mark.parametrize(
        "there",
        [
            served(replicas=5, updated=5, total=5, available=2),
            served(replicas=1, updated=1, total=1, available=1),
        ],
        ids=["scaled up, new pods starting", "scaled down"],
    )
    def test_an_autoscaler_is_no_trouble(self, there: DeploymentView) -> None:
        decision = decide(at(80, watching(), there))
        assert decision.status.live is not None
        assert decision.status.live.version == "ft_v1.1"

    @pytest.mark.row("D15")
    def test_trouble_after_somebody_elses_change_goes_back_under_that_reason(self) -> None:
        there = served(**COMPLETE, template_hash="template-b", deadline_exceeded=True)
        assert flight_of(decide(at(40, watching(), there))).why == "ConcurrentChange"

    @pytest.mark.row("D15")
    def test_also_while_flipping(self) -> None:
        there = served(template_hash="template-b", deadline_exceeded=True)
        assert flight_of(decide(at(40, flying(), there))).why == "ConcurrentChange"

    @pytest.mark.row("D15")
    def test_somebody_elses_rollout_under_way_is_waited_for_beyond_the_watch(self) -> None:
        there = served(template_hash="template-b", available=1)
        decision = decide(at(200, watching(), there))
        assert flight_of(decision).phase == "Watching"
        assert decision.requeue_after is not None
        done = decide(at(230, policy(decision.status), served(**COMPLETE, template_hash="template-b")))
        assert done.status.live is not None
        assert done.status.live.version == "ft_v1.1"

    @pytest.mark.row("D15")
    def test_but_not_for_ever(self) -> None:
        decision = decide(at(5000, watching(), served(template_hash="template-b", available=1)))
        assert (flight_of(decision).phase, flight_of(decision).why) == ("Returning", "ConcurrentChange")
