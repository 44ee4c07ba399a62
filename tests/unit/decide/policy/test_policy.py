"""A policy at rest: what it finds wrong, adopts, re-asserts, leaves alone, refuses and remembers."""

from dataclasses import replace as with_changes
from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.meta import find
from finetune_operator.api.policy_status import Hold, PolicyStatus
from finetune_operator.decide import limits
from finetune_operator.decide.policy.machine import decide
from finetune_operator.decide.views import DeploymentView, Problem, ServedKeys, TemplateView
from unit.decide.policy.pair import ASKED, BASE, OTHER, TUNED, VERSIONS, condition
from unit.decide.policy.world import (
    NOW,
    ModelDeployment,
    World,
    applied,
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

TARGETS: dict[str, tuple[DeploymentView | None, dict[str, Any], str, str]] = {
    "missing": (None, {}, "DeploymentNotFound", "create it"),
    "going": (deployment(keys(BASE), deleting=True), {}, "DeploymentNotFound", "create it"),
    "unlabelled": (deployment(keys(BASE), managed=False), {}, "DeploymentNotManaged", "kubectl label deployment"),
    "with a null annotations map": (deployment(null_annotations=True), {}, "AnnotationsNull", "leave the map out"),
    "of an older policy": (deployment(keys(BASE)), {"rivals": ("older",)}, "DeploymentTaken", "'older'"),
}


class TestReadiness:
    @pytest.mark.row("D1")
    @pytest.mark.parametrize("case", TARGETS)
    @pytest.mark.parametrize("status", [PolicyStatus(), live(BASE)], ids=["nothing live", "something live"])
    def test_a_deployment_that_cannot_be_flipped_is_named_with_the_remedy_and_not_touched(
        self, case: str, status: PolicyStatus
    ) -> None:
        there, changes, reason, remedy = TARGETS[case]
        first = promotion("base_v1")
        decision = decide(view(policy(status), there, first, ASKED, versions=VERSIONS, **changes))
        ready = condition(decision, "TargetReady")
        assert (ready.status, ready.reason) == ("False", reason)
        assert remedy in ready.message
        assert condition(decision, "Ready").reason == reason
        assert applied(decision) is None
        assert decision.status.in_flight is None

    @pytest.mark.row("D2")
    @pytest.mark.parametrize(
        ("train", "reason", "hint"),
        [
            (None, "PodTemplateNotFound", "'gpu-trainer'"),
            (
                TemplateView(name="gpu-trainer", hash="", problem=Problem("NoTrainerContainer", "name it trainer")),
                "NoTrainerContainer",
                "name it trainer",
            ),
        ],
    )
    def test_a_pod_template_that_cannot_be_used_is_named(
        self, train: TemplateView | None, reason: str, hint: str
    ) -> None:
        decision = decide(view(policy(), deployment(), train_template=train))
        shown = condition(decision, "TemplatesReady")
        assert (shown.status, shown.reason) == ("False", reason)
        assert hint in shown.message
        assert condition(decision, "Ready").status == "False"
        assert condition(decision, "TargetReady").status == "True"

    def test_a_policy_with_all_in_place_is_ready_and_says_that_nothing_is_live(self) -> None:
        decision = decide(view(policy(), deployment()))
        assert {c.type: (c.status, c.reason) for c in decision.status.conditions} == {
            "Ready": ("True", "Operational"),
            "TargetReady": ("True", "DeploymentReady"),
            "TemplatesReady": ("True", "TemplatesFound"),
            "InSync": ("Unknown", "NothingLive"),
            "Available": ("Unknown", "NothingLive"),
            "Held": ("False", "NotHeld"),
            "Due": ("False", "NoTriggers"),
        }
        assert {c.observed_generation for c in decision.status.conditions} == {3}

    def test_a_deleted_policy_decides_nothing(self) -> None:
        of = policy(live(BASE))
        deleted = replace(of, metadata=replace(of.metadata, deletion_timestamp=NOW))
        decision = decide(view(deleted, deployment(), ASKED, versions=VERSIONS))
        assert (decision.status, decision.actions) == (of.status, ())


class TestAdoption:
    @pytest.mark.row("D3")
    @pytest.mark.row("D23")
    def test_a_policy_without_memory_takes_over_what_is_served_and_holds(self) -> None:
        restored = promotion("ft_v1.1", "base_v1", name="from-the-repository")
        decision = decide(view(policy(), deployment(keys(BASE), epoch=7), restored, versions=VERSIONS))
        status = decision.status
        assert status.live is not None
        assert (status.live.version, status.live.model_version, status.live.epoch) == (
            "base_v1",
            "invoice-fields-base-v1",
            7,
        )
        assert status.epoch == 7
        assert status.hold is not None
        assert status.hold.reason == "Adopted"
        assert applied(decision) is None
        again = decide(view(policy(status), deployment(keys(BASE), epoch=7), restored, versions=VERSIONS))
        assert (again.status, again.actions) == (status, ()), "the hold keeps the restored promotion from acting"

    @pytest.mark.row("D3")
    @pytest.mark.parametrize(
        "served",
        [
            ServedKeys("base_v1", None, None),
            ServedKeys("base_v1", "file:///a", "not hex"),
            ServedKeys("v" * 300, "file:///a", "a" * 64),
            ServedKeys("base_v1", "u" * 5000, "a" * 64),
        ],
        ids=["incomplete", "no digest", "endless name", "endless URI"],
    )
    def test_keys_that_name_no_version_are_not_adopted_but_held(self, served: ServedKeys) -> None:
        status = decide(view(policy(), deployment(served))).status
        assert status.live is None
        assert status.hold is not None
        assert status.hold.reason == "External"

    @pytest.mark.row("D3")
    def test_a_policy_with_memory_adopts_nothing(self) -> None:
        status = decide(view(policy(PolicyStatus(epoch=4)), deployment(keys(BASE)))).status
        assert status.live is None


class TestAtRest:
    @pytest.mark.row("D4")
    def test_keys_as_recorded_are_in_sync_and_nothing_happens(self) -> None:
        settled = decide(view(policy(live(BASE)), deployment(keys(BASE))))
        assert condition(settled, "InSync").status == "True"
        again = decide(view(policy(settled.status), deployment(keys(BASE)), now=NOW + seconds(9999)))
        assert (again.status, again.actions, again.requeue_after) == (settled.status, (), None)

    @pytest.mark.row("D5")
    @pytest.mark.parametrize("there", [deployment(uid="new"), deployment(epoch=1)], ids=["re-created", "swept"])
    def test_keys_that_are_gone_are_put_back_with_the_next_epoch(self, there: DeploymentView) -> None:
        decision = decide(view(policy(live(BASE)), there))
        asked = applied(decision)
        assert asked is not None
        assert (asked.uid, asked.version, asked.epoch) == (there.uid, "base_v1", 2)
        assert decision.status.live is not None
        assert decision.status.live.epoch == decision.status.epoch == 2
        assert events(decision) == ["Reasserted"]

    @pytest.mark.row("D5")
    def test_after_a_crash_it_is_repeated_and_counted_for_nobody_can_tell_it_from_a_conflict(self) -> None:
        first = decide(view(policy(live(BASE)), deployment(epoch=1)))
        again = applied(decide(view(policy(first.status), deployment(epoch=1))))
        assert again is not None
        assert again.epoch == 3

    @pytest.mark.row("D5")
    def test_after_two_in_ten_minutes_it_holds_and_writes_no_more(self) -> None:
        world = running(BASE)
        assert world.target is not None
        for _ in range(20):
            world.target.write(ServedKeys(), None, "argocd-controller")
            world.run(20)
        assert len(world.commits) == 2
        assert world.policy.status.hold is not None
        assert world.policy.status.hold.reason == "ConflictingWriter"
        in_sync = find(world.policy.status.conditions, "InSync")
        assert in_sync is not None
        assert "it is not put back any more; to put it back: echo" in in_sync.message
        world.run(3600, step=60)
        assert len(world.commits) == 2

    @pytest.mark.row("D5")
    def test_a_clock_that_was_set_back_makes_no_conflict_of_what_was_long_ago(self) -> None:
        ahead = (NOW + seconds(21_600), NOW + seconds(21_660))
        seen = view(policy(replace(live(BASE), reasserted_at=ahead)), deployment(uid="re-created"))
        decision = decide(seen)
        assert applied(decision) is not None
        assert (decision.status.hold, decision.status.reasserted_at) == (None, (NOW,))

    @pytest.mark.row("D5")
    def test_a_re_created_deployment_now_and_then_is_no_conflict(self) -> None:
        world = running(BASE)
        for number in range(4):
            world.target = ModelDeployment(now=world.now, uid=f"re-created-{number}", changed_at=world.now)
            world.run(900, step=30)
            assert world.target.keys == keys(BASE)
        assert [commit.epoch for commit in world.commits] == [2, 3, 4, 5]
        assert world.policy.status.hold is None

    @pytest.mark.row("D5")
    @pytest.mark.parametrize(
        ("versions", "expected"),
        [
            ((BASE, TUNED), True),
            ((BASE, tuned(verdict="Reject")), False),
            ((BASE, tuned(verdict="Review")), False),
            ((BASE, tuned(artifact=OTHER.spec.artifact)), False),
            ((BASE,), False),
        ],
        ids=["passed", "rejected", "in review", "of another digest", "unknown"],
    )
    def test_what_was_only_found_is_put_back_only_with_evidence(self, versions: Any, expected: bool) -> None:
        adopted = decide(view(policy(), deployment(keys(TUNED)), versions=versions)).status
        assert adopted.live is not None
        again = decide(view(policy(adopted), deployment(uid="re-created"), versions=versions))
        assert (applied(again) is not None) == expected
        assert condition(again, "InSync").reason == ("KeysAbsent" if expected else "NotPutBack")

    @pytest.mark.row("D274")
    def test_what_is_not_put_back_is_said_with_what_can_be_served_instead(self) -> None:
        """Somebody stayed with what was found, whose record is gone, and the Deployment was made anew since."""
        stayed = replace(live(TUNED), last_good=(live_version(BASE),))
        decision = decide(view(policy(stayed), deployment(uid="re-created"), versions=(BASE,)))
        assert applied(decision) is None
        in_sync = condition(decision, "InSync")
        assert (in_sync.status, in_sync.reason) == ("False", "NotPutBack")
        assert "nothing is served" in in_sync.message
        assert "to have 'base_v1' served" in in_sync.message
        assert "it is put back" not in in_sync.message
        assert decision.status.message == in_sync.message
        assert events(decision).count("NotPutBack") == 1
        again = decide(view(policy(decision.status), deployment(uid="re-created"), versions=(BASE,)))
        assert "NotPutBack" not in events(again)
        asked = promotion("base_v1", TUNED.spec.version)
        begun = applied(decide(view(policy(decision.status), deployment(uid="re-created"), asked, versions=(BASE,))))
        assert begun is not None
        assert begun.version == "base_v1", "what the message says is taken"

    @pytest.mark.row("D234")
    def test_where_nothing_was_good_a_measured_base_is_what_can_be_served(self) -> None:
        """What was found was no version of ours, and the base is an import of other bytes."""
        stayed, gone = replace(live(TUNED), last_good=()), deployment(uid="re-created")
        message = condition(decide(view(policy(stayed), gone, versions=(BASE,))), "InSync").message
        assert "to have 'base_v1' served: echo" in message
        flown = decide(view(policy(stayed), gone, promotion("base_v1", TUNED.spec.version), versions=(BASE,)))
        begun = applied(flown)
        assert begun is not None
        assert begun.version == "base_v1"
        assert flown.status.in_flight is not None
        assert flown.status.in_flight.back is None, "what was found is not put there by us"
        none = condition(decide(view(policy(stayed), gone)), "InSync").message
        assert none.endswith("it is not put back; import a base, and promote it")

    @pytest.mark.row("D5")
    def test_what_passed_a_watch_is_put_back_even_if_its_version_was_deleted(self) -> None:
        assert applied(decide(view(policy(live(TUNED, 2)), deployment(uid="re-created")))) is not None

    @pytest.mark.row("D6")
    def test_changed_keys_are_never_overwritten_and_the_hold_names_the_manager(self) -> None:
        there = deployment(keys(OTHER), keys_manager="kubectl-edit")
        decision = decide(view(policy(live(BASE)), there))
        hold = decision.status.hold
        assert hold is not None
        assert (hold.reason, hold.by) == ("External", "kubectl-edit")
        assert "ft_v9.9" in hold.message
        assert condition(decision, "InSync").status == "False"
        assert applied(decision) is None
        again = decide(view(policy(decision.status), there, now=NOW + seconds(99)))
        assert (again.status, again.actions) == (decision.status, ())

    @pytest.mark.row("D236")
    @pytest.mark.parametrize("adopted", [True, False])
    def test_who_could_not_stay_with_what_is_live_is_not_offered_to(self, adopted: bool) -> None:
        """It was found on the Deployment, and a base of other bytes was imported under its name since."""
        anew = replace(BASE, spec=replace(BASE.spec, artifact=TUNED.spec.artifact))
        status = replace(live(BASE), last_good=()) if adopted else live(BASE)
        there = deployment(keys(OTHER), keys_manager="kubectl-edit")
        hold = decide(view(policy(status), there, versions=(anew,))).status.hold
        assert hold is not None
        assert ("to lift the hold and stay with 'base_v1'" in hold.message) is not adopted
        assert "to undo that, let go of the keys" in hold.message

    @pytest.mark.row("D6")
    def test_after_rollout_undo_letting_go_of_the_keys_puts_live_back(self) -> None:
        world = running(TUNED, BASE)
        assert world.target is not None
        world.target.write(keys(BASE), None, "kubectl-rollout")
        world.run(60)
        assert world.commits == []
        world.target.write(ServedKeys(), None, "kubectl-patch")
        world.run(60)
        assert world.target.keys == keys(TUNED)
        assert world.policy.status.hold is not None, "only a promotion with releaseHold lifts the hold"

    @pytest.mark.row("D6")
    def test_rollout_undo_can_be_made_official_by_a_promotion(self) -> None:
        world = running(BASE, TUNED)
        world.ask(ASKED)
        world.run(150)
        assert world.target is not None
        world.target.write(keys(BASE), 1, "kubectl-rollout")
        world.run(20)
        world.ask(promotion("base_v1", "ft_v1.1", name="official", release_hold=True))
        world.run(150)
        assert world.phase("official") == "Succeeded"
        assert world.policy.status.hold is None
        assert len(world.commits) == 1, "what is there already is not written"


class TestPromotions:
    @pytest.mark.row("D7")
    def test_the_oldest_that_may_act_acts_and_a_waiting_one_blocks_nobody(self) -> None:
        waiting = promotion("ft_v1.7", "base_v1", age=500)
        younger = promotion("ft_v1.1", "base_v1", name="younger", age=10)
        decision = decide(view(policy(live(BASE)), deployment(keys(BASE)), younger, waiting, ASKED, versions=VERSIONS))
        assert decision.status.in_flight is not None
        assert decision.status.in_flight.promotion == "to-ft-v1-1"

    @pytest.mark.row("D7")
    def test_a_released_hold_is_lifted_as_the_flight_begins(self) -> None:
        held = replace(
            live(BASE),
            hold=Hold(by="finetune-operator", reason="RolledBack", message="x", since=NOW),
            reasserted_at=(NOW,),
        )
        asked = promotion("ft_v1.1", "base_v1", release_hold=True)
        decision = decide(view(policy(held), deployment(keys(BASE)), asked, versions=VERSIONS))
        assert decision.status.in_flight is not None
        assert (decision.status.hold, decision.status.reasserted_at) == (None, ())

    @pytest.mark.row("D8")
    def test_what_can_never_act_is_consumed_at_once_without_a_write(self) -> None:
        rejected = tuned(verdict="Reject")
        decision = decide(view(policy(live(BASE)), deployment(keys(BASE)), ASKED, versions=(BASE, rejected)))
        ended = decision.status.consumed[-1]
        assert (ended.name, ended.outcome, ended.reason) == ("to-ft-v1-1", "Failed", "NotEligible")
        assert applied(decision) is None
        assert events(decision) == ["NotEligible"]

    @pytest.mark.row("D8")
    def test_a_promotion_of_what_is_live_succeeds_and_releases_the_hold(self) -> None:
        held = replace(live(BASE), hold=Hold(by="x", reason="External", message="x", since=NOW))
        kept = decide(view(policy(held), deployment(keys(BASE)), promotion("base_v1", "x"), versions=VERSIONS))
        assert kept.status.consumed[-1].outcome == "Succeeded"
        assert kept.status.hold is not None
        asked = promotion("base_v1", "x", release_hold=True)
        lifted = decide(view(policy(held), deployment(keys(BASE)), asked, versions=VERSIONS))
        assert lifted.status.hold is None

    @pytest.mark.row("D8")
    def test_three_hundred_at_once_all_end_and_none_acts_twice(self) -> None:
        world = running(BASE, TUNED)
        world.ask(*(promotion("ft_v1.1", "base_v1", name=f"p-{n:03}", reason=str(n)) for n in range(300)))
        world.run(400, step=10)
        phases = [one.status.phase for one in world.promotions.values()]
        assert len(world.commits) == 1
        assert set(phases) == {"Succeeded"}, "one carried it out, for the others it is live already"
        assert len(world.policy.status.consumed) == limits.CONSUMED

    @pytest.mark.row("D8")
    def test_refusals_wait_until_earlier_ones_are_mirrored_rather_than_forget_them(self) -> None:
        asked = tuple(promotion("ft_v1.1", "ft_v1.0", name=f"p-{n:03}") for n in range(200))
        first = decide(view(policy(live(BASE)), deployment(keys(BASE)), *asked, versions=VERSIONS))
        assert len(first.status.consumed) == limits.CONSUMED_MESSAGES
        assert all("kubectl create -f -" in entry.message for entry in first.status.consumed), "the command is kept"
        assert first.requeue_after is not None
        again = decide(view(policy(first.status), deployment(keys(BASE)), *asked, versions=VERSIONS))
        assert (again.status, again.actions) == (first.status, ())

    @pytest.mark.row("D8")
    def test_of_many_that_are_refused_at_once_each_says_what_can_be_done(self) -> None:
        world = running(BASE, TUNED)
        world.ask(*(promotion("ft_v1.1", "ft_v1.0", name=f"p-{n:02}") for n in range(30)))
        world.run(60)
        assert {one.status.phase for one in world.promotions.values()} == {"Superseded"}
        silent = [name for name, one in world.promotions.items() if "kubectl create -f -" not in one.status.message]
        assert silent == []

    @pytest.mark.row("D8")
    def test_a_refused_one_that_a_finalizer_keeps_holds_up_no_other(self) -> None:
        asked = [promotion("ft_v1.1", "ft_v1.0", name=f"p-{n:02}") for n in range(10)]
        first = decide(view(policy(live(BASE)), deployment(keys(BASE)), *asked, versions=VERSIONS)).status
        going = [replace(one, metadata=replace(one.metadata, deletion_timestamp=NOW)) for one in asked[:8]]
        again = decide(view(policy(first), deployment(keys(BASE)), *going, *asked[8:], versions=VERSIONS)).status
        assert {entry.name for entry in again.consumed} == {one.metadata.name for one in asked}

    @pytest.mark.row("D8")
    def test_refusals_that_wait_do_not_keep_lost_keys_from_being_put_back(self) -> None:
        asked = tuple(promotion("ft_v1.1", "ft_v1.0", name=f"p-{n:03}") for n in range(200))
        full = decide(view(policy(live(BASE)), deployment(keys(BASE)), *asked, versions=VERSIONS)).status
        again = decide(view(policy(full), deployment(uid="new"), *asked, versions=VERSIONS))
        assert applied(again) is not None
        assert again.requeue_after is not None, "the refusals are looked at again"

    @pytest.mark.row("D8")
    def test_refusals_that_wait_do_not_keep_what_may_act_from_it(self) -> None:
        """A webhook that takes no record of how promotions ended would else keep people from going back, too."""
        refused = tuple(promotion("ft_v1.1", "ft_v1.0", name=f"p-{n:03}") for n in range(10))
        full = decide(view(policy(live(BASE)), deployment(keys(BASE)), *refused, versions=VERSIONS)).status
        later = replace(ASKED, metadata=replace(ASKED.metadata, creation_timestamp=NOW + seconds(60)))
        begun = decide(view(policy(full), deployment(keys(BASE)), *refused, later, versions=VERSIONS))
        flight = begun.status.in_flight
        assert flight is not None
        assert (flight.promotion, begun.status.consumed) == (ASKED.metadata.name, full.consumed)

    @pytest.mark.row("D21")
    def test_a_suspended_policy_starts_nothing_but_puts_back_what_is_lost(self) -> None:
        of = policy(live(BASE), suspend=True)
        assert applied(decide(view(of, deployment(keys(BASE)), ASKED, versions=VERSIONS))) is None
        assert applied(decide(view(of, deployment(uid="new"), ASKED, versions=VERSIONS))) is not None


def test_the_world_of_these_tests_refuses_stale_writes() -> None:
    """The tests above lean on it: a status decided from an old view is not written."""
    world = World(target=ModelDeployment(now=NOW), versions=(BASE,))
    old = world.view()
    world.ask(promotion("base_v1"))
    world.turn()
    before = world.policy
    world.turn(stale=with_changes(old, promotions=(promotion("base_v1", name="other"),)))
    assert world.policy == before
