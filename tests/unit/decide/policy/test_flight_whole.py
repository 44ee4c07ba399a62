"""Whole flights in virtual time end where they should."""

from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.model_version import ModelVersion
from finetune_operator.api.policy_status import Rejected
from finetune_operator.api.promotion import Despite, Promotion
from house.deep import in_turn
from unit.decide.policy.flight import (
    ASKED,
    BASE,
    TUNED,
)
from unit.decide.policy.world import (
    NOW,
    ModelDeployment,
    World,
    keys,
    live,
    live_version,
    policy,
    promotion,
    running,
    seconds,
    tuned,
)


class TestWholeFlights:
    def test_a_good_version_goes_live_with_one_write(self) -> None:
        world = running(BASE, TUNED)
        world.ask(ASKED)
        world.run(200)
        assert world.phase("to-ft-v1-1") == "Succeeded"
        assert [(commit.after, commit.epoch) for commit in world.commits] == [(keys(TUNED), 2)]
        assert world.status_writes <= 7

    @pytest.mark.row("D17")
    @pytest.mark.parametrize("shown", [2**51, 2**51 + 1, 2**52 - 1, 2**52, 2**52 + 1])
    def test_whatever_epoch_somebody_wrote_a_bad_version_is_taken_back_with_two_writes(self, shown: int) -> None:
        """Counted on from, the highest that is read leads to one that is not: applied again and again, for nothing."""
        world = running(BASE, TUNED, behaviour={"ft_v1.1": "never"})
        assert world.target is not None
        world.target.epoch = shown
        world.ask(ASKED)
        world.run(200)
        assert (world.phase("to-ft-v1-1"), len(world.commits)) == ("RolledBack", 2)

    def test_a_person_rolls_back_to_the_base_and_forward_again(self) -> None:
        world = running(BASE, TUNED)
        world.ask(ASKED)
        world.run(200)
        world.ask(promotion("base_v1", "ft_v1.1", name="rollback"))
        world.run(200)
        assert world.phase("rollback") == "Succeeded"
        world.ask(promotion("ft_v1.1", "base_v1", name="unsaid", reason="it was the camera"))
        world.run(200)
        assert world.phase("unsaid") == "Failed", "people went back from it: that must be overruled in words"
        despite = Despite(checks=("TakenBack",), reason="it was the camera")
        world.ask(promotion("ft_v1.1", "base_v1", name="forward", despite=despite))
        world.run(200)
        assert world.phase("forward") == "Succeeded"
        assert [commit.epoch for commit in world.commits] == [2, 3, 4]
        assert world.policy.status.taken_back == (), "and nothing is taken back by who corrects a taking back"
        world.ask(promotion("base_v1", "ft_v1.1", name="rollback-again"))
        world.run(200)
        assert world.phase("rollback-again") == "Succeeded"

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

    @pytest.mark.parametrize(("crash_at", "behaviour"), in_turn(range(8), ("fine", "never", "crash")))
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


class TestWhatWasSaidMeanwhile:
    """The way back is chosen by what is known when it begins."""

    NEXT = tuned("ft_v1.2", baseline="ft_v1.1")

    def world(self, *good: ModelVersion) -> World:
        """The fine-tune is live, and its successor never gets ready."""
        world = running(TUNED, BASE, self.NEXT, behaviour={"ft_v1.2": "never"})
        world.policy = policy(live(TUNED, 1, *good))
        world.ask(promotion("ft_v1.2", "ft_v1.1"))
        return world

    def reject(self, world: World) -> None:
        no = Rejected(version="ft_v1.1", sha256=TUNED.spec.artifact.sha256, by="ann", at=NOW, run="first")
        world.policy = replace(world.policy, status=replace(world.policy.status, rejected=(no,)))

    @pytest.mark.row("D79")
    @pytest.mark.parametrize("before", [0, 20])
    def test_a_failed_flight_goes_back_to_what_nobody_rejected(self, before: float) -> None:
        world = self.world(BASE)
        world.run(before)
        self.reject(world)
        world.run(300)
        status = world.policy.status
        assert status.live is not None
        assert status.hold is not None
        assert status.live.version == "base_v1"
        assert "for 'ft_v1.1' was live, but 'ann' rejected it in review" in status.hold.message
        assert world.commits[-1].after == keys(BASE)

    @pytest.mark.row("D79")
    def test_and_to_what_was_live_where_there_is_nothing_else(self) -> None:
        world = self.world()
        self.reject(world)
        world.run(300)
        status = world.policy.status
        assert status.live is not None
        assert (status.live.version, world.phase("to-ft-v1-2")) == ("ft_v1.1", "RolledBack")


class TestCrashBeforeTheFirstApply:
    """The keys are those of live, and the way back leads elsewhere."""

    @pytest.mark.row("D9")
    def test_where_live_is_no_way_back(self) -> None:
        world = running(TUNED, BASE, tuned("ft_v1.2", baseline="ft_v1.1"))
        world.policy = policy(replace(live(TUNED), last_good=(live_version(BASE),)))
        world.ask(promotion("ft_v1.2", "ft_v1.1"))
        world.turn(crash=True)
        world.run(200)
        assert (world.phase("to-ft-v1-2"), world.policy.status.hold) == ("Succeeded", None)

    @pytest.mark.row("D17")
    @pytest.mark.parametrize("crash", [False, True])
    def test_where_a_promotion_ends_the_flight_for_an_older_version(self, *, crash: bool) -> None:
        world = running(TUNED, BASE, tuned("ft_v1.2", baseline="ft_v1.1"))
        world.policy = policy(live(TUNED, 1, BASE))
        world.ask(promotion("ft_v1.2", "ft_v1.1"))
        world.turn(crash=True)
        world.ask(promotion("base_v1", "ft_v1.2", name="brake", release_hold=True))
        world.turn(crash=crash)
        world.run(60)
        assert (world.phase("brake"), world.policy.status.hold) == ("Succeeded", None)
        assert [commit.after for commit in world.commits] == [keys(BASE)]

    @pytest.mark.row("D12")
    def test_the_keys_of_live_by_another_hand_stay(self) -> None:
        world = running(TUNED, BASE, tuned("ft_v1.2", baseline="ft_v1.1"))
        world.policy = policy(replace(live(TUNED), last_good=(live_version(BASE),)))
        world.ask(promotion("ft_v1.2", "ft_v1.1"))
        world.turn(crash=True)
        assert world.target is not None
        world.target.manager = "kubectl-edit"
        world.run(60)
        assert (world.phase("to-ft-v1-2"), world.commits) == ("Failed", [])


class TestClocksThatDiffer:
    """Promotions are dated by the API server, holds and flights by the operator."""

    def made(self, world: World, asked: Promotion, *, ahead: float) -> Promotion:
        """A promotion that is made now, by an operator's clock that is so many seconds ahead."""
        return replace(asked, metadata=replace(asked.metadata, creation_timestamp=world.now - seconds(ahead)))

    def held(self, ahead: float) -> World:
        """The newest version failed, and the policy holds; by a clock that is so far ahead."""
        world = running(BASE, TUNED, behaviour={"ft_v1.1": "never"})
        world.now += seconds(ahead)
        world.ask(ASKED)
        world.run(300)
        assert world.policy.status.hold is not None
        return world

    @pytest.mark.row("D83")
    @pytest.mark.parametrize("ahead", [3600, 2 * 86_400])
    def test_a_release_lifts_a_hold_that_a_clock_far_ahead_dated(self, ahead: float) -> None:
        """Also when the clock was set right since: else nobody could lift it before its date."""
        for right in (False, True):
            world = self.held(ahead)
            release = promotion("base_v1", "base_v1", name="release", release_hold=True)
            asked = self.made(world, release, ahead=ahead)
            world.now -= seconds(ahead if right else 0)
            world.promotions["release"] = asked
            world.run(30)
            assert (world.phase("release"), world.policy.status.hold) == ("Succeeded", None)

    @pytest.mark.row("D83")
    def test_one_that_was_there_before_the_hold_lifts_nothing_by_that(self) -> None:
        world = running(BASE, TUNED, behaviour={"ft_v1.1": "never"})
        world.now += seconds(3600)
        eager = promotion("base_v1", "ft_v1.1", name="eager", release_hold=True, age=-5)
        world.promotions = {"to-ft-v1-1": ASKED, "eager": eager}
        world.run(300)
        assert world.policy.status.hold is not None

    @pytest.mark.row("D83")
    @pytest.mark.parametrize("ahead", [0, 90, 3600])
    def test_a_flight_is_ended_at_once_whatever_the_operators_clock_says(self, ahead: float) -> None:
        world = running(BASE, TUNED)
        world.now += seconds(ahead)
        world.ask(ASKED)
        world.run(30)
        brake = promotion("base_v1", "ft_v1.1", name="brake")
        world.promotions["brake"] = self.made(world, brake, ahead=ahead)
        world.turn()
        flight = world.policy.status.in_flight
        assert flight is not None
        assert (flight.phase, flight.why) == ("Returning", "TakenBack")
