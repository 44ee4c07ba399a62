"""A flight at its limits: what it records, when exactly it is given up, and what only looks like its end."""

from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.meta import Condition
from finetune_operator.api.policy_status import PolicyStatus, Quarantined
from finetune_operator.api.promotion import Despite, Overruled
from finetune_operator.decide.policy.machine import decide
from finetune_operator.decide.policy.returning import stuck
from finetune_operator.decide.views import DeploymentView, Problem
from unit.decide.policy.flight import (
    ASKED,
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
    watching,
)
from unit.decide.policy.test_flight import CRASHED
from unit.decide.policy.test_flight_returning import LATE, returning
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

FULL = Problem("Unschedulable", "0/3 nodes are available")
DEADLINE = 2 * 600 + 60
"""Seconds in which two replicas must be rolled out."""


@pytest.mark.row("D7")
class TestBegin:
    def test_a_flight_begins_with_one_event(self) -> None:
        assert events(start()) == ["Flipping"]

    def test_a_first_flight_blames_its_version_though_nothing_was_whole_before(self) -> None:
        """Without a model no pod gets ready: that is no trouble of before."""
        there = deployment(available=0, updated=0)
        decision = decide(view(policy(), there, promotion("base_v1"), versions=VERSIONS))
        flight = flight_of(decision)
        assert (flight.unsettled, flight.replicas) == (False, 0)

    @pytest.mark.row("P15")
    @pytest.mark.parametrize(("despite", "overrules"), [(None, False), ("NotSettled", True)])
    def test_what_its_promotion_overruled_is_remembered_to_its_end(
        self, despite: Overruled | None, overrules: bool
    ) -> None:
        word = None if despite is None else Despite(checks=(despite,), reason="it is sick")
        asked = promotion("ft_v1.1", "base_v1", despite=word)
        begun = decide(view(policy(live(BASE)), deployment(keys(BASE)), asked, versions=VERSIONS))
        assert flight_of(begun).overrules is overrules
        ended = decide(view(policy(begun.status), None, asked, versions=VERSIONS))
        assert ended.status.consumed[-1].overrules is overrules

    def test_a_flight_that_lifts_no_hold_forgets_no_reassertion(self) -> None:
        of = policy(replace(live(BASE), reasserted_at=(NOW,)))
        assert start(of=of).status.reasserted_at == (NOW,)


@pytest.mark.row("D9")
class TestApply:
    def test_keys_that_were_let_go_of_before_the_apply_are_still_to_be_written(self) -> None:
        asked = applied(decide(at(5, flying(), deployment(epoch=1, available=0))))
        assert asked is not None
        assert asked.version == "ft_v1.1"

    def test_at_its_deadline_it_counts_anew_and_is_still_to_be_applied(self) -> None:
        for age in (DEADLINE, 2000):
            decision = decide(at(age, flying(), deployment(keys(BASE))))
            flight, asked = flight_of(decision), applied(decision)
            assert (flight.phase, flight.phase_since) == ("Flipping", NOW + seconds(age))
            assert asked is not None
            assert asked.version == "ft_v1.1"
        assert flight_of(decide(at(DEADLINE - 1, flying(), deployment(keys(BASE))))).phase_since == NOW

    def test_after_an_hour_in_all_it_is_given_up(self) -> None:
        for age, phase in ((3599, "Flipping"), (3600, "Returning")):
            assert flight_of(decide(at(age, flying(), deployment(keys(BASE))))).phase == phase

    @pytest.mark.parametrize(
        ("status", "reason", "said"),
        [("False", "WriteRefused", True), ("True", "WriteRefused", False), ("False", "DeploymentTaken", False)],
    )
    def test_what_refused_the_apply_is_said_and_nothing_else(self, status: Any, reason: str, said: bool) -> None:
        of = flying()
        ready = Condition(type="Ready", status=status, reason=reason, message="no rights; tried again by itself soon")
        of = policy(replace(of.status, conditions=(ready,)))
        flight = flight_of(decide(at(4000, of, deployment(keys(BASE)))))
        words = "the keys could not be applied to the Deployment"
        assert flight.message == (f"{words}: no rights" if said else words)


class TestFlipping:
    @pytest.mark.row("D58")
    def test_time_that_was_observed_is_recorded_in_every_phase(self) -> None:
        for of, there in ((flying(), served()), (watching(deadline=NOW + seconds(300)), served(**COMPLETE))):
            decision = decide(at(200, of, there, observed=seconds(140)))
            assert flight_of(decision).observed_seconds == 140

    @pytest.mark.row("D59")
    def test_nothing_is_taken_back_by_a_look_that_read_nothing(self) -> None:
        there = served(deadline_exceeded=True, fault=CRASHED)
        for age in (120, DEADLINE, DEADLINE + 100):
            blind = decide(at(age, flying(), there, read_anew=False))
            assert (flight_of(blind).phase, applied(blind)) == ("Flipping", None)
            assert blind.requeue_after == seconds(15), "it is looked at again, whatever time has passed"

    @pytest.mark.row("D11")
    def test_the_next_look_is_at_the_deadline_at_the_latest(self) -> None:
        assert decide(at(DEADLINE - 5, flying(), served())).requeue_after == seconds(5)
        assert decide(at(3, flying(), served())).requeue_after == seconds(15), "nothing was reported"

    @pytest.mark.row("D33")
    @pytest.mark.parametrize(
        ("flight", "changes", "phase"),
        [
            ({}, {}, "Watching"),
            ({"unsettled": False}, {}, "Flipping"),
            ({"replicas": 0}, {"available": 0}, "Flipping"),
            ({"replicas": 1}, {"available": 1}, "Watching"),
            ({}, {"trouble": None}, "Flipping"),
            ({}, {"total": 4}, "Flipping"),
            ({}, {"generation": 7}, "Flipping"),
        ],
        ids=["as far", "settled before", "none before", "one before", "no trouble", "an old pod", "not observed"],
    )
    def test_as_far_as_before_is_complete_only_where_nothing_else_is_open(
        self, flight: dict[str, Any], changes: dict[str, Any], phase: str
    ) -> None:
        of = flying(**({"unsettled": True, "replicas": 2} | flight))
        given: dict[str, Any] = {"replicas": 3, "updated": 3, "total": 3, "available": 2, "trouble": FULL}
        assert flight_of(decide(at(20, of, served(**(given | changes))))).phase == phase


@pytest.mark.row("D11")
class TestTurningBack:
    @pytest.mark.parametrize(
        "of",
        [flying(), watching(missing_since=NOW + seconds(40), unhealthy_since=NOW + seconds(40))],
        ids=["flipping", "watching"],
    )
    def test_the_way_back_begins_anew_in_every_count(self, of: Any) -> None:
        there = served(**COMPLETE, available=1, deadline_exceeded=True, fault=CRASHED, generation=8, epoch=5)
        decision = decide(at(DEADLINE, of, there))
        flight = flight_of(decision)
        assert (flight.phase, flight.epoch, decision.status.epoch, flight.generation) == ("Returning", 6, 6, 8)
        assert (flight.phase_since, flight.deadline) == (NOW + seconds(DEADLINE), NOW + seconds(2 * DEADLINE))
        assert (flight.missing_since, flight.unhealthy_since, flight.observed_seconds) == (None, None, 0)
        assert decision.requeue_after == seconds(15)

    @pytest.mark.row("D30")
    def test_a_template_that_changed_meanwhile_hides_no_persons_word(self) -> None:
        brake = promotion("base_v1", "ft_v1.1", name="brake", age=-25)
        there = served(**COMPLETE, template_hash="template-b")
        decision = decide(view(watching(), there, ASKED, brake, versions=VERSIONS, now=NOW + seconds(30)))
        assert flight_of(decision).why == "TakenBack"


@pytest.mark.row("D17")
class TestOldKeys:
    def test_a_repeated_apply_records_what_it_was_made_from(self) -> None:
        decision = decide(at(110, returning(), served(generation=7, observed_generation=7)))
        assert (flight_of(decision).generation, flight_of(decision).epoch, decision.status.epoch) == (7, 4, 4)

    def test_keys_that_were_let_go_of_on_the_way_are_written(self) -> None:
        asked = applied(decide(at(110, returning(generation=5), deployment(epoch=2, available=0))))
        assert asked is not None
        assert (asked.version, asked.epoch) == ("base_v1", 3)

    @pytest.mark.row("D12")
    @pytest.mark.parametrize("there", [served(epoch=3), deployment(epoch=3)], ids=["the new ones again", "none"])
    def test_after_the_apply_other_keys_are_somebody_elses(self, there: DeploymentView) -> None:
        decision = decide(at(110, returning(), there))
        assert applied(decision) is None
        assert decision.status.hold is not None
        assert decision.status.hold.reason == "External"

    @pytest.mark.row("D18")
    def test_old_keys_that_never_left_end_the_return_once_it_is_overdue(self) -> None:
        """The apply that would fence it may be refused for ever."""
        there = deployment(keys(BASE), epoch=2)
        for age, phase in ((LATE - 2, "Returning"), (LATE - 1, None)):
            flight = decide(at(age, returning(generation=5), there)).status.in_flight
            assert (None if flight is None else flight.phase) == phase

    @pytest.mark.row("D18")
    def test_a_return_is_looked_at_again_until_its_deadline(self) -> None:
        going = deployment(keys(BASE), epoch=3, updated=1, total=3)
        assert decide(at(130, returning(), going)).requeue_after == seconds(15)
        assert decide(at(LATE - 4, returning(), going)).requeue_after == seconds(3)


def settled(**changes: Any) -> DeploymentView:
    return deployment(keys(BASE), epoch=3, **changes)


@pytest.mark.row("D18")
class TestReturned:
    def test_what_is_live_after_it_serves_since_it_is_back(self) -> None:
        """A brake may go to an older version than the one on record."""
        older = returning(back=live_version(OTHER))
        other = decide(at(130, older, deployment(keys(OTHER), epoch=3))).status.live
        assert other is not None
        assert (other.version, other.epoch, other.since) == ("ft_v9.9", 3, NOW + seconds(130))

    def test_a_version_of_memory_is_live_after_it_though_nothing_was(self) -> None:
        of = returning()
        first = decide(at(130, policy(replace(of.status, live=None)), settled())).status.live
        assert first is not None
        assert (first.version, first.since) == ("base_v1", NOW + seconds(130))

    def test_without_a_way_back_nothing_is_live_whatever_was(self) -> None:
        status = decide(at(130, returning(back=None), deployment(epoch=3))).status
        assert (status.live, status.in_flight) == (None, None)

    def test_the_same_hold_is_no_second_hold_and_still_an_event(self) -> None:
        first = decide(at(130, returning(), settled())).status
        again = policy(replace(first, in_flight=returning().status.in_flight, quarantined=first.quarantined))
        decision = decide(at(140, again, settled()))
        assert decision.status.hold == first.hold
        assert events(decision) == ["RolledBack"]

    @pytest.mark.row("D31")
    @pytest.mark.parametrize("release", [True, False])
    def test_the_end_of_a_brake_is_said_whether_it_holds_or_not(self, release: bool) -> None:
        word = Despite(checks=("NotSettled",), reason="it is sick")
        brake = promotion("base_v1", "ft_v1.1", name="brake", age=-25, release_hold=release, despite=word)
        pulled = decide(
            view(watching(), served(**COMPLETE), ASKED, brake, versions=VERSIONS, now=NOW + seconds(30))
        ).status
        done = decide(at(40, policy(pulled), settled(generation=7, observed_generation=7)))
        assert events(done) == ["RolledBack"]
        ended = done.status.consumed[-1]
        assert (ended.name, ended.outcome, ended.overrules) == ("brake", "Succeeded", True)
        assert (done.status.hold is None) is release


@pytest.mark.row("D12")
@pytest.mark.parametrize(
    ("of", "there", "says"),
    [
        (flying(), deployment(keys(OTHER), epoch=2), "set to 'ft_v9.9' by an unknown writer while 'ft_v1.1' was flip"),
        (watching(), deployment(epoch=2), "the keys were removed by an unknown writer while 'ft_v1.1' was watching"),
        (
            returning(),
            deployment(epoch=3),
            "removed by an unknown writer on the way back from 'ft_v1.1' (RolloutFailed)",
        ),
    ],
)
def test_who_wrote_into_a_flight_what_and_when_is_said(of: Any, there: DeploymentView, says: str) -> None:
    decision = decide(at(30, of, there))
    assert says in decision.status.consumed[-1].message
    assert events(decision) == ["ConcurrentWriter", "External"]


@pytest.mark.row("D13")
def test_a_deployment_that_goes_away_in_flight_is_an_event() -> None:
    assert events(decide(at(30, flying(), None))) == ["TargetGone"]


@pytest.mark.row("D19")
class TestStuck:
    def test_only_a_way_back_is_stuck_and_only_from_its_deadline_on(self) -> None:
        going = settled(available=0)
        assert stuck(at(LATE - 2, returning(), going)) is None
        assert stuck(at(LATE - 1, returning(), going)) is not None
        assert stuck(at(LATE, flying(), served())) is None
        assert stuck(at(LATE, watching(), served())) is None
        assert stuck(at(LATE, policy(live(BASE)), going)) is None

    @pytest.mark.parametrize(
        ("there", "says"),
        [
            (settled(available=0, paused=True), "is paused, run: kubectl rollout resume deployment invoice-detector"),
            (settled(available=0), "look at the pods of Deployment 'invoice-detector'"),
            (None, "the Deployment is gone; look at the pods of"),
        ],
    )
    def test_where_to_look_is_where_it_is_stuck(self, there: DeploymentView | None, says: str) -> None:
        assert says in str(stuck(at(LATE, returning(), there)))

    def test_where_nothing_was_live_nothing_is_proposed(self) -> None:
        assert "kubectl create" not in str(stuck(at(LATE, returning(first=True), deployment(epoch=3, paused=True))))

    @pytest.mark.parametrize(
        ("good", "against", "version", "despite"),
        [
            ((BASE, OTHER), None, "ft_v9.9", None),
            ((TUNED, BASE), None, "base_v1", None),
            ((BASE, OTHER), OTHER, "base_v1", None),
            ((BASE,), BASE, "base_v1", '"despite":{"checks":["Quarantined"]'),
        ],
        ids=[
            "another good one",
            "none but the one that failed",
            "one that failed, too",
            "what the way leads to failed",
        ],
    )
    def test_the_command_that_ends_the_waiting_lifts_the_hold_and_is_not_refused(
        self, good: tuple[Any, ...], against: Any, version: str, despite: str | None
    ) -> None:
        of = returning()
        status: PolicyStatus = replace(of.status, last_good=tuple(live_version(one) for one in good))
        if against is not None:
            sha256 = against.spec.artifact.sha256
            entry = Quarantined(version=against.spec.version, sha256=sha256, reason="Unhealthy", since=NOW)
            status = replace(status, quarantined=(entry,))
        said = str(stuck(at(LATE, policy(status), settled(available=0))))
        assert f"this one makes '{version}' live: " in said
        assert f'"version":"{version}","from":"base_v1","releaseHold":true' in said
        assert ("despite" in said) is (despite is not None)
        assert despite is None or despite in said

    @pytest.mark.parametrize(
        ("age", "release", "ends"),
        [(-200, True, True), (-200, False, False), (-99, True, False), (-100, True, True)],
        ids=["made since", "lifts no hold", "made before the way back", "made as it began"],
    )
    def test_only_a_promotion_of_since_then_that_lifts_holds_ends_it(
        self, age: float, release: bool, ends: bool
    ) -> None:
        person = promotion("base_v0", "base_v1", release_hold=release, age=age)
        seen = view(returning(), settled(available=0), ASKED, person, versions=VERSIONS, now=NOW + seconds(LATE))
        assert (decide(seen).status.in_flight is None) is ends
