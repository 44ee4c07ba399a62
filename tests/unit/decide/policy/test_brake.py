"""The emergency brake: a promotion back to what was good ends a flight at once, whatever state it is in."""

from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.meta import find
from finetune_operator.api.names import OWNER_KIND_LABEL, OWNER_NAME_LABEL, promotion_name
from finetune_operator.api.policy import Policy
from finetune_operator.api.policy_status import PolicyStatus, Quarantined, TakenBack
from finetune_operator.api.promotion import Despite, Promotion
from finetune_operator.decide.decision import Decision
from finetune_operator.decide.policy import machine
from finetune_operator.decide.policy.machine import decide
from finetune_operator.decide.promotion.view import PromotionView
from finetune_operator.decide.views import DeploymentView
from unit.decide.policy.flight import ASKED, BASE, COMPLETE, OTHER, TUNED, VERSIONS, flight_of, flying, served, watching
from unit.decide.policy.world import (
    NOW,
    ModelDeployment,
    applied,
    base,
    deployment,
    events,
    keys,
    live,
    live_version,
    mirrored,
    policy,
    promotion,
    running,
    seconds,
    tuned,
    view,
)

BRAKE = promotion("base_v1", "ft_v1.1", name="brake", age=-25)


def pull(of: Policy, there: DeploymentView | None, *asked: Promotion, age: float = 30) -> Decision[PolicyStatus]:
    return decide(view(of, there, ASKED, *(asked or (BRAKE,)), versions=VERSIONS, now=NOW + seconds(age)))


def braked(**changes: Any) -> Policy:
    """The policy right after the brake."""
    of = policy(pull(watching(), served(**COMPLETE)).status)
    assert of.status.in_flight is not None
    return policy(replace(of.status, in_flight=replace(of.status.in_flight, **changes)))


BACK = deployment(keys(BASE), epoch=3, generation=7, observed_generation=7)


@pytest.mark.row("D30")
class TestPulled:
    @pytest.mark.parametrize(
        ("of", "there"),
        [
            (watching(), served(**COMPLETE)),
            (flying(), served()),
            (flying(), deployment(keys(BASE))),
            (watching(), served(**COMPLETE, available=0)),
        ],
        ids=["watching", "flipping", "not applied yet", "sick"],
    )
    def test_one_look_applies_the_old_keys_and_ends_the_flights_promotion(
        self, of: Policy, there: DeploymentView
    ) -> None:
        decision = pull(of, there)
        flight, asked, ended = flight_of(decision), applied(decision), decision.status.consumed[-1]
        assert (flight.phase, flight.why, flight.back) == ("Returning", "TakenBack", live_version(BASE))
        assert asked is not None
        assert (asked.version, asked.epoch) == ("base_v1", 3)
        assert (ended.name, ended.outcome, ended.reason) == ("to-ft-v1-1", "RolledBack", "TakenBack")
        assert "'brake'" in ended.message
        assert decision.status.serving == "base_v1 (returning)"

    def test_from_may_name_what_is_live_on_record(self) -> None:
        made_since = promotion("base_v1", "base_v1", name="brake", age=-25, release_hold=True)
        assert flight_of(pull(watching(), served(**COMPLETE), made_since)).why == "TakenBack"

    def test_but_not_where_it_waited_before_the_flight_began(self) -> None:
        older = promotion("base_v1", "base_v1", name="older", age=60)
        assert flight_of(pull(watching(), served(**COMPLETE), older)).phase == "Watching"

    @pytest.mark.parametrize(
        ("came_from", "age", "brakes"),
        [
            ("ft_v1.1", 60, True),
            ("ft_v1.1", 61, False),
            ("base_v1", 0, True),
            ("base_v1", 1, False),
            (None, -25, False),
            ("ft_v9.9", -25, False),
        ],
    )
    def test_it_is_about_the_flight_that_its_author_could_know(
        self, came_from: str | None, age: float, brakes: bool
    ) -> None:
        """What names the version in flight is allowed a minute: clocks differ, and people are quick."""
        asked = promotion("base_v1", came_from, name="brake", age=age, release_hold=True)
        assert (flight_of(pull(watching(), served(**COMPLETE), asked)).why == "TakenBack") is brakes

    def test_a_suspended_policy_brakes_all_the_same(self) -> None:
        of = watching()
        suspended = replace(of, spec=replace(of.spec, suspend=True))
        assert flight_of(pull(suspended, served(**COMPLETE))).why == "TakenBack"

    def test_it_needs_no_object_of_the_version_that_it_goes_back_to(self) -> None:
        decision = decide(view(watching(), served(**COMPLETE), ASKED, BRAKE, now=NOW + seconds(30)))
        assert flight_of(decision).why == "TakenBack"

    @pytest.mark.parametrize(("there", "why"), [((), "TakenBack"), ((base("base_v0", verified="False"),), "")])
    def test_nor_of_an_older_good_one_unless_an_object_speaks_against_it(self, there: Any, why: str) -> None:
        status = replace(watching().status, last_good=(live_version(BASE), live_version(base("base_v0"))))
        asked = promotion("base_v0", "ft_v1.1", name="brake", age=-25)
        decision = decide(view(policy(status), served(**COMPLETE), ASKED, asked, versions=(*VERSIONS, *there)))
        assert flight_of(decision).why == why

    @pytest.mark.parametrize(
        ("despite", "why"),
        [
            (None, ""),
            (Despite(checks=("Quarantined",), reason="r"), ""),
            (Despite(checks=("TakenBack",), reason="r"), "TakenBack"),
        ],
    )
    def test_nor_is_what_people_took_back_gone_to_without_a_word_that_says_so(self, despite: Any, why: str) -> None:
        older = live_version(base("base_v0"))
        status = replace(
            watching().status,
            last_good=(live_version(BASE), older),
            taken_back=(TakenBack(version=older.version, sha256=older.sha256, by="ann", since=NOW),),
        )
        asked = promotion("base_v0", "ft_v1.1", name="brake", age=-25, despite=despite)
        decision = decide(view(policy(status), served(**COMPLETE), ASKED, asked, versions=VERSIONS))
        assert flight_of(decision).why == why

    def test_what_the_flight_would_go_back_to_needs_no_word_of_anybody(self) -> None:
        """It is where a failed flight lands by itself, whatever is known of it by now."""
        back = live_version(BASE)
        status = replace(
            watching().status, taken_back=(TakenBack(version=back.version, sha256=back.sha256, by="ann", since=NOW),)
        )
        assert flight_of(pull(policy(status), served(**COMPLETE))).why == "TakenBack"

    def test_the_bytes_in_flight_under_another_name_are_no_way_back(self) -> None:
        same = replace(live_version(base("base_v0")), sha256=TUNED.spec.artifact.sha256)
        status = replace(watching().status, last_good=(live_version(BASE), same))
        asked = promotion("base_v0", "ft_v1.1", name="brake", age=-25)
        assert flight_of(decide(view(policy(status), served(**COMPLETE), ASKED, asked, versions=VERSIONS))).why == ""

    def test_an_older_good_version_is_gone_to_directly(self) -> None:
        older = base("base_v0")
        status = replace(watching().status, last_good=(live_version(BASE), live_version(older)))
        asked = promotion("base_v0", "ft_v1.1", name="brake", age=-25)
        seen = view(policy(status), served(**COMPLETE), ASKED, asked, versions=(*VERSIONS, older))
        decision = decide(seen)
        flight = flight_of(decision)
        assert (flight.why, flight.back) == ("TakenBack", live_version(older))
        landed = deployment(keys(older), epoch=3, generation=7, observed_generation=7)
        done = decide(view(policy(decision.status), landed, ASKED, asked, versions=VERSIONS, now=NOW + seconds(60)))
        assert done.status.live is not None
        assert done.status.live.version == "base_v0"

    def test_the_oldest_of_two_is_taken_and_the_other_waits_and_succeeds(self) -> None:
        second = promotion("base_v1", "ft_v1.1", name="second", age=-26)
        both = pull(watching(), served(**COMPLETE), second, BRAKE)
        brake = flight_of(both).brake
        assert brake is not None
        assert brake.promotion == "brake"
        again = pull(policy(both.status), BACK, second, BRAKE, age=40)
        assert {c.name: c.outcome for c in again.status.consumed} == {"to-ft-v1-1": "RolledBack", "brake": "Succeeded"}
        last = pull(policy(again.status), BACK, second, BRAKE, age=50)
        assert last.status.consumed[-1].name == "second"
        assert last.status.consumed[-1].outcome == "Succeeded"

    def test_after_the_flight_it_is_a_rollback_like_any_other(self) -> None:
        live_now = deployment(keys(TUNED), epoch=2)
        decision = decide(view(policy(live(TUNED, 2, BASE)), live_now, BRAKE, versions=VERSIONS))
        assert flight_of(decision).promotion == "brake"


@pytest.mark.row("D31")
class TestLanded:
    def test_the_braking_promotion_succeeds_when_its_version_is_rolled_out_and_the_policy_holds(self) -> None:
        decision = pull(braked(), BACK, age=40)
        status = decision.status
        assert status.in_flight is None
        assert [(c.name, c.outcome, c.reason) for c in status.consumed] == [
            ("to-ft-v1-1", "RolledBack", "TakenBack"),
            ("brake", "Succeeded", "FlightEnded"),
        ]
        assert status.live is not None
        assert (status.live.version, status.live.since) == ("base_v1", live(BASE).live.since)  # type: ignore[union-attr]
        assert status.hold is not None
        assert status.hold.reason == "RolledBack"
        assert status.quarantined == ()
        assert status.serving == "base_v1"

    def test_one_that_releases_holds_leaves_none(self) -> None:
        asked = promotion("base_v1", "ft_v1.1", name="brake", age=-25, release_hold=True)
        of = policy(pull(watching(), served(**COMPLETE), asked).status)
        status = pull(of, BACK, asked, age=40).status
        assert (status.hold, status.in_flight) == (None, None)

    def test_until_then_it_waits_and_nothing_more_is_written(self) -> None:
        there = deployment(keys(BASE), epoch=3, generation=7, observed_generation=7, updated=1, total=3)
        decision = pull(braked(), there, age=40)
        assert flight_of(decision).phase == "Returning"
        assert applied(decision) is None

    def test_it_acts_also_when_its_object_is_gone_by_then(self) -> None:
        status = decide(view(braked(), BACK, versions=VERSIONS, now=NOW + seconds(40))).status
        assert status.consumed[-1].name == "brake"

    @pytest.mark.parametrize(
        ("there", "outcome"),
        [
            (None, "Succeeded"),
            (deployment(keys(OTHER), epoch=3, keys_manager="kubectl"), "Failed"),
        ],
        ids=["the Deployment is gone", "somebody else's keys"],
    )
    def test_whatever_ends_the_way_back_ends_it(self, there: DeploymentView | None, outcome: str) -> None:
        status = pull(braked(), there, age=40).status
        ended = {c.name: c.outcome for c in status.consumed}
        assert ended == {"to-ft-v1-1": "RolledBack", "brake": outcome}
        assert status.in_flight is None

    def test_a_refused_way_back_is_its_end(self) -> None:
        status = machine.refused(view(braked(), served(**COMPLETE)), "argocd-controller", "conflict").status
        assert {c.name: c.outcome for c in status.consumed} == {"to-ft-v1-1": "RolledBack", "brake": "Failed"}


@pytest.mark.row("D78")
class TestWhatIsLeft:
    """Who ends a flight may leave more than what flew, and less."""

    OLDER = base("base_v0")

    def landed(self, of: Policy, **asked: Any) -> PolicyStatus:
        """The status after a brake to base_v0 is rolled out."""
        brake = promotion("base_v0", "ft_v1.1", name="brake", age=-25, reason="reads badly", **asked)
        flight = decide(view(of, served(**COMPLETE), ASKED, brake, versions=VERSIONS, now=NOW + seconds(30))).status
        there = deployment(keys(self.OLDER), epoch=3, generation=7, observed_generation=7)
        return decide(view(policy(flight), there, ASKED, brake, versions=VERSIONS, now=NOW + seconds(60))).status

    def status(self, **changes: Any) -> PolicyStatus:
        return replace(watching().status, last_good=(live_version(BASE), live_version(self.OLDER)), **changes)

    def took(self, status: PolicyStatus) -> set[str]:
        return {entry.version for entry in status.taken_back}

    def test_who_goes_back_further_than_the_flight_would_leaves_what_was_live_too(self) -> None:
        assert self.took(self.landed(policy(self.status()))) == {"base_v1", "ft_v1.1"}

    def test_and_what_was_live_alone_where_the_flight_was_a_way_back_itself(self) -> None:
        status = self.status()
        assert status.in_flight is not None
        going_back = replace(status, in_flight=replace(status.in_flight, takes_back=True))
        assert self.took(self.landed(policy(going_back))) == {"base_v1"}

    def test_who_goes_where_the_flight_would_says_nothing_of_what_was_live(self) -> None:
        """An adopted version is no way back while there is a good one (D55): nobody spoke against it."""
        status = self.status()
        assert status.in_flight is not None
        flight = replace(status.in_flight, back=live_version(self.OLDER))
        adopted = replace(status, last_good=(live_version(self.OLDER),), in_flight=flight)
        assert self.took(self.landed(policy(adopted))) == {"ft_v1.1"}

    def test_one_that_overrules_a_taking_back_ends_it(self) -> None:
        """Else what is live would be put back by nobody, and be no way back."""
        older = live_version(self.OLDER)
        spoken_of = TakenBack(version=older.version, sha256=older.sha256, by="ann", since=NOW)
        despite = Despite(checks=("TakenBack",), reason="it was the camera")
        status = self.landed(policy(self.status(taken_back=(spoken_of,))), despite=despite)
        assert self.took(status) == {"ft_v1.1"}
        assert status.last_good[0] == older
        bare = deployment(epoch=None, generation=8, observed_generation=8)
        put_back = applied(decide(view(policy(status), bare, versions=VERSIONS, now=NOW + seconds(90))))
        assert put_back is not None
        assert put_back.version == "base_v0"


@pytest.mark.row("D30")
@pytest.mark.row("D78")
def test_a_flight_of_what_is_live_under_another_name_is_ended_and_nothing_is_left() -> None:
    """The message of the flight offers that way back; the bytes served well where they were."""
    moved = tuned("ft_v1.2", artifact=TUNED.spec.artifact)
    world = running(TUNED, moved)
    forth = promotion("ft_v1.2", "ft_v1.1", name="forth")
    world.ask(forth)
    world.run(20)
    world.ask(promotion("ft_v1.1", "ft_v1.2", name="back", release_hold=True))
    world.run(20)
    assert (world.phase("forth"), world.phase("back")) == ("RolledBack", "Succeeded")
    status = world.policy.status
    assert status.live is not None
    assert (status.live.version, status.taken_back, status.quarantined) == ("ft_v1.1", (), ())


@pytest.mark.row("D32")
class TestNoBrake:
    @pytest.mark.parametrize(
        "asked",
        [
            promotion("ft_v9.9", "ft_v1.1", name="never-good", age=-25),
            promotion("ft_v1.1", "base_v1", name="the-same", age=-25),
            promotion("base_v1", "ft_v0.9", name="from-elsewhere", age=-25),
            promotion("base_v1", None, name="from-nothing", age=-25),
        ],
        ids=lambda one: one.metadata.name,
    )
    def test_what_does_not_go_back_waits_its_turn(self, asked: Promotion) -> None:
        assert flight_of(pull(watching(), served(**COMPLETE), asked)).phase == "Watching"

    @pytest.mark.parametrize(("seconds_before", "phase"), [(30, "Returning"), (3600, "Watching")])
    def test_nor_does_one_that_was_made_long_before_the_flight(self, seconds_before: float, phase: str) -> None:
        """One that waited (a hold, its version), or was applied from Git with all the others after a restore."""
        take_off = flight_of(pull(watching(), served(**COMPLETE))).started_at
        age = (NOW - take_off).total_seconds() + seconds_before
        asked = promotion("base_v1", "ft_v1.1", name="from-before", age=age)
        assert flight_of(pull(watching(), served(**COMPLETE), asked)).phase == phase

    def test_nor_does_a_run_whose_version_was_good_before(self) -> None:
        """A restored run asks for what it made once; its `from` may be what is in flight just now."""
        labels = {OWNER_KIND_LABEL: "FineTuneRun", OWNER_NAME_LABEL: "first"}
        asked = replace(BRAKE, metadata=replace(BRAKE.metadata, name=promotion_name("first", "uid"), labels=labels))
        assert flight_of(pull(watching(), served(**COMPLETE), asked)).phase == "Watching"
        copied = replace(BRAKE, metadata=replace(BRAKE.metadata, labels=labels))
        assert flight_of(pull(watching(), served(**COMPLETE), copied)).phase == "Returning", "a person's, made from it"

    def test_nor_does_a_quarantined_version(self) -> None:
        older = base("base_v0")
        sick = Quarantined(version="base_v0", sha256=older.spec.artifact.sha256, reason="Unhealthy", since=NOW)
        status = replace(watching().status, last_good=(live_version(BASE), live_version(older)), quarantined=(sick,))
        asked = promotion("base_v0", "ft_v1.1", name="brake", age=-25)
        seen = view(policy(status), served(**COMPLETE), ASKED, asked, versions=(*VERSIONS, older))
        assert flight_of(decide(seen)).phase == "Watching"

    def test_a_way_back_is_not_braked(self) -> None:
        returning = flying("Returning", why="Unhealthy", epoch=3, generation=6)
        assert flight_of(pull(returning, served())).why == "Unhealthy"

    def test_without_the_deployment_the_flight_is_over_and_the_promotion_finds_what_it_wants(self) -> None:
        gone = pull(watching(), None)
        assert gone.status.consumed[-1].reason == "TargetGone"
        after = pull(policy(gone.status), None)
        assert (after.status.consumed[-1].name, after.status.consumed[-1].outcome) == ("brake", "Succeeded")

    def test_somebody_elses_keys_stay(self) -> None:
        decision = pull(watching(), served(**COMPLETE, keys=keys(OTHER), keys_manager="kubectl-edit"))
        assert applied(decision) is None
        assert decision.status.in_flight is None
        assert "ConcurrentWriter" in events(decision)

    def test_nothing_is_written_to_a_deployment_that_left_our_care(self) -> None:
        decision = pull(watching(), served(**COMPLETE, managed=False))
        assert flight_of(decision).phase == "Returning"
        assert applied(decision) is None


class TestItsStatus:
    def look(self, of: Policy, asked: Promotion) -> tuple[str | None, str, tuple[str, str]]:
        status = mirrored(PromotionView(asked, NOW, of, served(**COMPLETE), VERSIONS))
        accepted = find(status.conditions, "Accepted")
        assert accepted is not None
        return status.phase, status.message, (accepted.status, accepted.reason)

    @pytest.mark.row("P6")
    def test_one_that_braked_shows_where_it_goes(self) -> None:
        phase, message, accepted = self.look(braked(), BRAKE)
        assert (phase, accepted) == ("Flipping", ("True", "ChecksPassed"))
        assert message == "ended the flight to 'ft_v1.1': going back to 'base_v1'"

    @pytest.mark.row("P6")
    def test_and_the_flights_own_promotion_has_ended(self) -> None:
        assert self.look(braked(), ASKED)[0] == "RolledBack"

    @pytest.mark.row("P7")
    def test_one_that_is_about_to_brake_says_so(self) -> None:
        phase, message, accepted = self.look(watching(), BRAKE)
        assert (phase, accepted) == ("Pending", ("True", "ChecksPassed"))
        assert message == "ends the flight of promotion 'to-ft-v1-1'"

    @pytest.mark.row("P8")
    def test_one_that_comes_while_returning_waits_and_says_for_what(self) -> None:
        returning = flying("Returning", why="Unhealthy", epoch=3)
        phase, message, accepted = self.look(returning, promotion("base_v1", "ft_v1.1", name="late"))
        assert (phase, accepted) == ("Pending", ("False", "FlightUnderway"))
        assert "waits for promotion 'to-ft-v1-1', which goes back to 'base_v1'" in message

    @pytest.mark.row("P8")
    def test_what_the_flight_does_to_the_deployment_is_nothing_to_mend(self) -> None:
        """Its keys are not those of live yet, and it is not whole: a command against that would break the flight."""
        other = promotion("ft_v1.1", "base_v1", name="same-again")
        phase, message, accepted = self.look(flying(), other)
        assert (phase, accepted) == ("Pending", ("False", "FlightUnderway"))
        assert message == "waits for promotion 'to-ft-v1-1'"

    @pytest.mark.row("P8")
    def test_another_check_that_fails_still_shows(self) -> None:
        phase, message, accepted = self.look(flying(), promotion("ft_v7.7", "ft_v1.1", name="unknown"))
        assert (phase, accepted) == ("Pending", ("False", "VersionNotFound"))
        assert "it waits for promotion 'to-ft-v1-1'" in message


def test_a_whole_flight_is_braked_in_its_watch_with_two_writes() -> None:
    world = running(BASE, TUNED)
    world.ask(ASKED)
    world.run(30)
    assert world.policy.status.serving == "ft_v1.1 (watching)"
    world.ask(replace(BRAKE, metadata=replace(BRAKE.metadata, creation_timestamp=world.now)))
    world.turn()
    assert isinstance(world.target, ModelDeployment)
    assert world.target.keys == keys(BASE), "one look"
    world.run(30)
    assert (world.phase("brake"), world.phase("to-ft-v1-1")) == ("Succeeded", "RolledBack")
    assert [commit.epoch for commit in world.commits] == [2, 3]
