"""Promotion checks: who may go live, who waits, who never will, and what each is told."""

import json
from dataclasses import replace as with_changes
from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.meta import Condition
from finetune_operator.api.model_version import ModelVersion, VersionStatus
from finetune_operator.api.names import OUTCOME_KEY
from finetune_operator.api.policy import Policy, Rollout, Serving
from finetune_operator.api.policy_status import Brake, Hold, InFlight, Lifted, PolicyStatus, Quarantined, TakenBack
from finetune_operator.api.promotion import Approval, Despite, Promotion
from finetune_operator.api.record import Outcome, Service, outcome_text
from finetune_operator.api.run import Ruling
from finetune_operator.decide.promotion.checks import judge
from finetune_operator.decide.promotion.proposal import Clear, Proposal, Refuse, Wait
from finetune_operator.decide.promotion.waiting import candidates, identity, spec_hash
from finetune_operator.decide.views import DeploymentView, Problem
from house.following import manifest
from unit.decide.policy.world import (
    NOW,
    base,
    deployment,
    keys,
    live,
    live_version,
    policy,
    promotion,
    seconds,
    tuned,
    with_record,
)

BASE, TUNED = base(), tuned()
HOLD = Hold(by="finetune-operator", reason="RolledBack", message="ft_v1.0 was rolled back", since=NOW)
SICK = Quarantined(version="ft_v1.1", sha256=TUNED.spec.artifact.sha256, reason="Unhealthy", since=NOW)
REVIEWED = tuned(verdict="Review")
NEWER = tuned("ft_v1.2", baseline="ft_v1.1")
DIGEST = REVIEWED.spec.evidence.digest if REVIEWED.spec.evidence else ""


def proposal(
    asked: Promotion | None = None,
    of: Policy | None = None,
    versions: tuple[ModelVersion, ...] = (BASE, TUNED),
    there: DeploymentView | None = None,
    problem: Problem | None = None,
) -> Proposal:
    """A fine-tune that may replace the live base, but for what a test changes."""
    return Proposal(
        promotion=asked or promotion("ft_v1.1", "base_v1"),
        policy=of or policy(live(BASE)),
        versions=versions,
        deployment=there or deployment(keys(BASE)),
        problem=problem,
    )


def nothing_live(version: ModelVersion, **spec: Any) -> Proposal:
    asked = promotion(version.spec.version, None, **spec)
    return proposal(asked, policy(), (version,), deployment(available=0, updated=0))


@pytest.mark.row("R85")
def test_a_version_that_was_judged_with_other_serving_settings_waits_with_the_way_to_set_them() -> None:
    other = tuned(serving=Serving(image_size=1280))
    obstacle = judge(proposal(versions=(BASE, other)))
    assert isinstance(obstacle, Wait)
    assert obstacle.reason == "ServingDiffers"
    assert "imageSize is 1280, the policy says 640" in obstacle.message
    assert '"imageSize":1280' in obstacle.message
    meant = policy(live(BASE))
    meant = replace(meant, spec=replace(meant.spec, serving=Serving(image_size=1280)))
    assert isinstance(judge(proposal(of=meant, versions=(BASE, other))), Clear)


@pytest.mark.row("R85")
def test_a_version_that_served_here_is_gone_back_to_whatever_the_policy_says_now() -> None:
    before = tuned(serving=Serving(image_size=1280))
    assert isinstance(judge(proposal(of=policy(live(BASE, 3, before)), versions=(BASE, before))), Clear)


def live_status(**changes: Any) -> PolicyStatus:
    return replace(live(BASE), **changes)


CLEAR = {
    "a fine-tune that passed against what is live": proposal(),
    "a fine-tune in review, approved by its evidence": proposal(
        promotion("ft_v1.1", "base_v1", approval=Approval(by="ann", evidence=DIGEST)), versions=(BASE, REVIEWED)
    ),
    "a fine-tune whose baseline is named by digest": proposal(
        versions=(BASE, tuned(baseline=BASE.spec.artifact.sha256))
    ),
    "a fine-tune that names no baseline, while its base is live": proposal(versions=(BASE, tuned(baseline=None))),
    "the first base, while pods still wait for a model": nothing_live(BASE),
    "a base that was live before": proposal(
        promotion("base_v1", "ft_v1.1"), policy(live(TUNED, 2, BASE)), there=deployment(keys(TUNED))
    ),
    "a base that served before the policy was re-created": proposal(
        promotion("base_v1", "ft_v1.1"),
        policy(live(TUNED, 2)),
        (with_record(BASE, Service(good=NOW)), TUNED),
        deployment(keys(TUNED)),
    ),
    "a way back whose ModelVersion was deleted": proposal(
        promotion("ft_v1.1", "ft_v1.2"),
        policy(live(NEWER, 3, TUNED)),
        (BASE, NEWER, base(model="receipts")),
        deployment(keys(NEWER)),
    ),
    "a way back to a base of which only another model's object is left": proposal(
        promotion("base_v1", "ft_v1.1"),
        policy(live(TUNED, 2, BASE)),
        (TUNED, base(model="receipts")),
        deployment(keys(TUNED)),
    ),
    "a rollback while what is live crashes": proposal(
        promotion("base_v1", "ft_v1.1"), policy(live(TUNED, 2, BASE)), there=deployment(keys(TUNED), available=0)
    ),
    "a rollback without a surge while what is live crashes": proposal(
        promotion("base_v1", "ft_v1.1"),
        policy(live(TUNED, 2, BASE)),
        there=deployment(keys(TUNED), available=0, can_surge=False),
    ),
    "the first base without a surge, while nobody serves": proposal(
        promotion("base_v1", None), policy(), (BASE,), deployment(available=0, updated=0, can_surge=False)
    ),
    "a reviewed fine-tune that was live before, unapproved": proposal(
        promotion("ft_v1.1", "base_v1"), policy(live(BASE, 3, REVIEWED)), (BASE, REVIEWED)
    ),
    "what people took back, when the promotion overrules that": proposal(
        promotion("ft_v1.1", "base_v1", despite=Despite(checks=("TakenBack",), reason="it was the camera")),
        policy(
            replace(
                live(BASE),
                taken_back=(TakenBack(version="v", sha256=TUNED.spec.artifact.sha256, by="back", since=NOW),),
            )
        ),
    ),
    "a digest whose quarantine was lifted": proposal(
        of=policy(replace(live(BASE), quarantined=(replace(SICK, lifted=Lifted(at=NOW, by="again")),)))
    ),
    "releaseHold while held": proposal(
        promotion("ft_v1.1", "base_v1", release_hold=True), policy(live_status(hold=HOLD))
    ),
    "releaseHold over foreign keys": proposal(
        promotion("ft_v1.1", "base_v1", release_hold=True), there=deployment(keys(tuned("ft_v9.9")))
    ),
    "no surge where downtime is allowed": proposal(
        of=policy(live(BASE), rollout=Rollout(capacity="AllowDowntime")), there=deployment(keys(BASE), can_surge=False)
    ),
}


@pytest.mark.row("D7")
@pytest.mark.parametrize("case", CLEAR)
def test_the_way_is_clear_for(case: str) -> None:
    finding = judge(CLEAR[case])
    assert isinstance(finding, Clear), finding
    assert finding.version.spec.version == CLEAR[case].promotion.spec.version


WAIT = {
    "no such version yet": (proposal(versions=(BASE,)), "VersionNotFound", "kubectl delete modelpromotion to-ft-v1-1"),
    "no such base yet": (proposal(promotion("base_v1"), policy(), ()), "VersionNotFound", "import it"),
    "that version is of another model": (
        proposal(versions=(BASE, tuned(model="receipts"))),
        "VersionOfOtherModel",
        "receipts",
    ),
    "the version is being deleted": (
        proposal(
            versions=(BASE, replace(TUNED, metadata=replace(TUNED.metadata, deletion_timestamp=NOW))),
        ),
        "VersionNotFound",
        "ft_v1.1",
    ),
    "two objects claim the version": (
        proposal(versions=(BASE, TUNED, replace(TUNED, metadata=replace(TUNED.metadata, name="copy")))),
        "VersionAmbiguous",
        "copy",
    ),
    "the base is not verified yet": (nothing_live(base(verified=None)), "NotVerified", "goes on when it is"),
    "the base is being verified": (nothing_live(base(verified="Unknown")), "NotVerified", "goes on when it is"),
    "a hold": (proposal(of=policy(live_status(hold=HOLD))), "Held", "releaseHold: true"),
    "the policy is suspended": (proposal(of=policy(live(BASE), suspend=True)), "Suspended", "spec.suspend"),
    "the target has a problem": (
        proposal(problem=Problem("DeploymentNotManaged", "label it")),
        "TargetNotReady",
        "label it",
    ),
    "the Deployment is paused": (proposal(there=deployment(keys(BASE), paused=True)), "Paused", "rollout resume"),
    "the Deployment is scaled to zero": (
        proposal(there=deployment(keys(BASE), replicas=0, updated=0, available=0, total=0)),
        "NoReplicas",
        "scaled to zero",
    ),
    "another rollout is under way": (proposal(there=deployment(keys(BASE), updated=1)), "NotSettled", "1 updated"),
    "no room for a surge": (proposal(there=deployment(keys(BASE), can_surge=False)), "NoSurge", "AllowDowntime"),
    "no old pod that has to stay": (
        proposal(there=deployment(keys(BASE), can_surge=False)),
        "NoSurge",
        "maxUnavailable",
    ),
    "no room for a surge, and one pod that serves": (
        proposal(
            promotion("base_v1", "ft_v1.1"),
            policy(live(TUNED, 2, BASE)),
            there=deployment(keys(TUNED), available=1, can_surge=False),
        ),
        "NoSurge",
        "AllowDowntime",
    ),
    "somebody else's keys": (
        proposal(there=deployment(keys(tuned("ft_v9.9")), keys_manager="kubectl")),
        "ForeignKeys",
        "kubectl patch deployment invoice-detector",
    ),
    "our keys in somebody else's hands": (
        proposal(there=deployment(keys(BASE), keys_manager="argocd-controller")),
        "ForeignKeys",
        "argocd-controller",
    ),
}


@pytest.mark.row("P4")
@pytest.mark.parametrize("case", WAIT)
def test_a_promotion_waits_and_says_for_what_while(case: str) -> None:
    given, reason, hint = WAIT[case]
    finding = judge(given)
    assert isinstance(finding, Wait), finding
    assert finding.reason == reason
    assert hint in finding.message


def test_without_a_deployment_a_promotion_waits() -> None:
    assert judge(with_changes(proposal(), deployment=None)) == Wait(
        "TargetNotReady", "Deployment 'invoice-detector' is not there"
    )


def unverifiable() -> ModelVersion:
    return base(verified="False")


@pytest.mark.parametrize(("reason", "anew"), [("BelowFloor", False), ("DigestMismatch", True)])
def test_a_base_is_to_be_imported_anew_where_its_bytes_are_wrong_and_not_where_a_floor_is_high(
    reason: str, anew: bool
) -> None:
    version, message = base(), "import a better base, or lower it"
    conditions = (Condition(type="Verified", status="False", reason=reason, message=message),)
    finding = judge(nothing_live(replace(version, status=replace(version.status, conditions=conditions))))
    assert isinstance(finding, Refuse)
    assert f"({reason}: {message})" in finding.message
    assert ("import it anew" in finding.message) is anew


TAKEN = TakenBack(version="ft_v1.1", sha256=TUNED.spec.artifact.sha256, by="back", reason="wrong amounts", since=NOW)
DESPITE = Despite(checks=("TakenBack",), reason="it was the camera")


def rejected_by_a_person() -> ModelVersion:
    evidence = REVIEWED.spec.evidence
    assert evidence is not None
    ruling = Ruling(verdict="Reject", by="ann", at=NOW, reason="wrong crops")
    return replace(REVIEWED, spec=replace(REVIEWED.spec, evidence=replace(evidence, decision=ruling)))


REFUSE = {
    "what people took back": (proposal(of=policy(live_status(taken_back=(TAKEN,)))), "Failed", "TakenBack"),
    "what people took back, under another name": (
        proposal(
            promotion("ft_v1.2", "base_v1"),
            policy(live_status(taken_back=(TAKEN,))),
            (BASE, tuned("ft_v1.2", artifact=TUNED.spec.artifact)),
        ),
        "Failed",
        "TakenBack",
    ),
    "what people took back, though another check is overruled": (
        proposal(
            promotion("ft_v1.1", "base_v1", despite=Despite(checks=("NotSettled",), reason="x")),
            policy(live_status(taken_back=(TAKEN,))),
        ),
        "Failed",
        "TakenBack",
    ),
    "what a person rejected, with an approval of that evidence": (
        proposal(
            promotion("ft_v1.1", "base_v1", approval=Approval(by="bo", evidence=DIGEST)),
            versions=(BASE, rejected_by_a_person()),
        ),
        "Failed",
        "NotEligible",
    ),
    "what a person rejected, even if it was live": (
        proposal(of=policy(live(BASE, 3, REVIEWED)), versions=(BASE, rejected_by_a_person())),
        "Failed",
        "NotEligible",
    ),
    "a quarantined digest": (proposal(of=policy(live_status(quarantined=(SICK,)))), "Failed", "Quarantined"),
    "a quarantined digest, releaseHold or not": (
        proposal(
            promotion("ft_v1.1", "base_v1", release_hold=True), policy(live_status(quarantined=(SICK,), hold=HOLD))
        ),
        "Failed",
        "Quarantined",
    ),
    "a quarantined digest under another name": (
        proposal(
            promotion("ft_v1.2", "base_v1"),
            policy(live_status(quarantined=(SICK,))),
            (BASE, tuned("ft_v1.2", artifact=TUNED.spec.artifact)),
        ),
        "Failed",
        "Quarantined",
    ),
    "what is live already": (proposal(promotion("base_v1", None)), "Succeeded", "AlreadyLive"),
    "from a version that is not live": (proposal(promotion("ft_v1.1", "ft_v1.0")), "Superseded", "FromIsNotLive"),
    "from nothing while something is live": (proposal(promotion("ft_v1.1", None)), "Superseded", "FromIsNotLive"),
    "from something while nothing is live": (
        proposal(promotion("ft_v1.1", "base_v1"), policy(), there=deployment()),
        "Superseded",
        "FromIsNotLive",
    ),
    "other classes than the policy's": (
        proposal(versions=(BASE, tuned(classes=("total", "number")))),
        "Failed",
        "NotEligible",
    ),
    "more classes than the policy's": (
        proposal(versions=(BASE, tuned(classes=("number", "total", "iban")))),
        "Failed",
        "NotEligible",
    ),
    "a base whose verification failed": (nothing_live(unverifiable()), "Failed", "NotEligible"),
    "a new base over what is live": (
        proposal(promotion("base_v2", "base_v1"), versions=(BASE, base("base_v2"))),
        "Failed",
        "NotEligible",
    ),
    "a fine-tune without evidence": (proposal(versions=(BASE, tuned(verdict=None))), "Failed", "NotEligible"),
    "a rejected fine-tune": (proposal(versions=(BASE, tuned(verdict="Reject"))), "Failed", "NotEligible"),
    "a fine-tune with a gate in error": (proposal(versions=(BASE, tuned(verdict="Error"))), "Failed", "NotEligible"),
    "a rejected fine-tune with an approval": (
        proposal(
            promotion("ft_v1.1", "base_v1", approval=Approval(by="ann", evidence=DIGEST)),
            versions=(BASE, tuned(verdict="Reject")),
        ),
        "Failed",
        "NotEligible",
    ),
    "a rejected fine-tune, even if it was live": (
        proposal(of=policy(live(BASE, 3, TUNED)), versions=(BASE, tuned(verdict="Reject"))),
        "Failed",
        "NotEligible",
    ),
    "a reviewed fine-tune without approval": (proposal(versions=(BASE, REVIEWED)), "Failed", "NotEligible"),
    "an approval of other evidence": (
        proposal(
            promotion("ft_v1.1", "base_v1", approval=Approval(by="ann", evidence="sha256:other")),
            versions=(BASE, REVIEWED),
        ),
        "Failed",
        "NotEligible",
    ),
    "a reviewed fine-tune that served elsewhere": (
        proposal(versions=(BASE, replace(REVIEWED, status=VersionStatus(live_since=NOW)))),
        "Failed",
        "NotEligible",
    ),
    "evidence against a version that is no longer live": (
        proposal(
            promotion("ft_v1.2", "ft_v1.1"),
            policy(live(TUNED, 2, BASE)),
            (BASE, TUNED, tuned("ft_v1.2", baseline="base_v1")),
            deployment(keys(TUNED)),
        ),
        "Failed",
        "NotEligible",
    ),
    "evidence that names no baseline, while a fine-tune is live": (
        proposal(
            promotion("ft_v1.2", "ft_v1.1"),
            policy(live(TUNED, 2, BASE)),
            (BASE, TUNED, tuned("ft_v1.2", baseline=None)),
            deployment(keys(TUNED)),
        ),
        "Failed",
        "NotEligible",
    ),
}


@pytest.mark.row("D8")
@pytest.mark.parametrize("case", REFUSE)
def test_never_promoted(case: str) -> None:
    given, outcome, reason = REFUSE[case]
    finding = judge(given)
    assert isinstance(finding, Refuse), finding
    assert (finding.outcome, finding.reason) == (outcome, reason)
    assert finding.message


def test_the_refusal_of_what_was_taken_back_carries_who_why_and_the_command_that_overrules_it() -> None:
    finding = judge(proposal(of=policy(live_status(taken_back=(TAKEN,)))))
    assert isinstance(finding, Refuse)
    assert "by promotion 'back'" in finding.message
    assert "wrong amounts" in finding.message
    spec = json.loads(finding.message.partition("echo '")[2].partition("'")[0])["spec"]
    assert (spec["version"], spec["from"], spec["despite"]["checks"]) == ("ft_v1.1", "base_v1", ["TakenBack"])


@pytest.mark.row("D39")
def test_while_it_is_not_known_what_is_live_no_from_is_wrong() -> None:
    asked, there = promotion("ft_v1.1", "base_v1"), deployment(keys(TUNED), available=0)
    waits = judge(proposal(asked, policy(PolicyStatus(hold=HOLD)), there=there))
    assert isinstance(waits, Wait)
    assert waits.reason == "Held"


def test_what_is_live_but_was_overwritten_waits_for_its_keys_and_does_not_run_into_a_refusal() -> None:
    """After `rollout undo`, a releaseHold promotion of what is on record puts it back once the keys are let go of."""
    asked = promotion("base_v1", "base_v1", release_hold=True)
    waits = judge(proposal(asked, there=deployment(keys(TUNED), keys_manager="kubectl")))
    assert isinstance(waits, Wait)
    assert waits.reason == "ForeignKeys"
    assert "'base_v1', on record as live, is put back" in waits.message
    assert isinstance(judge(proposal(asked, there=deployment(keys(TUNED), keys_manager=None))), Clear)


def test_the_spec_hash_tells_specs_apart_and_only_specs() -> None:
    one = promotion("ft_v1.1", "base_v1")
    assert spec_hash(one.spec) == spec_hash(promotion("ft_v1.1", "base_v1", name="other").spec)
    assert spec_hash(one.spec) != spec_hash(promotion("ft_v1.1", "base_v1", release_hold=True).spec)
    assert len(spec_hash(one.spec)) == 16


def ended(asked: Promotion) -> Promotion:
    """The promotion with a record of how it ended, and without a status, as a backup brings it back."""
    name, hashed = identity(asked)
    outcome = Outcome(name=name, spec_hash=hashed, outcome="Succeeded", reason="WatchPassed", at=NOW)
    return replace(asked, metadata=replace(asked.metadata, annotations={OUTCOME_KEY: outcome_text(outcome)}))


class TestCandidates:
    @pytest.mark.row("P10")
    def test_the_record_of_another_promotion_keeps_none_from_acting(self) -> None:
        asked = promotion("ft_v1.1", "base_v1")
        for copy in (promotion("ft_v1.1", "base_v1", name="copy"), promotion("ft_v1.1", "base_v1", reason="other")):
            copied = replace(copy, metadata=replace(copy.metadata, annotations=ended(asked).metadata.annotations))
            assert candidates(policy(), (copied,)) == (copied,)

    def test_the_oldest_comes_first_and_ties_go_by_name(self) -> None:
        asked = (promotion("b", age=10), promotion("c", age=20, name="z"), promotion("c", age=20, name="a"))
        assert [one.metadata.name for one in candidates(policy(), asked)] == ["a", "z", "to-b"]

    def test_what_acted_once_never_acts_again(self) -> None:
        asked = promotion("ft_v1.1", "base_v1")
        final = replace(asked, status=replace(asked.status, phase="Superseded"))
        recorded = ended(asked)
        deleted = replace(asked, metadata=replace(asked.metadata, deletion_timestamp=NOW + seconds(1)))
        foreign = promotion("ft_v1.1", policy="other")
        assert candidates(policy(), (final, deleted, foreign, recorded)) == ()

    def test_a_restored_promotion_is_known_by_name_and_spec(self) -> None:
        from finetune_operator.decide.policy.memory import consumed

        asked = promotion("ft_v1.1", "base_v1")
        after = consumed(PolicyStatus(), (*identity(asked), asked.metadata.uid), "Succeeded", "WatchPassed", "", NOW)
        restored = replace(asked, metadata=replace(asked.metadata, uid="restored"))
        changed = promotion("ft_v1.1", "base_v1", reason="another spec under the same name")
        assert candidates(policy(after), (restored,)) == ()
        assert candidates(policy(after), (changed,)) == (changed,)


def test_what_a_version_becomes_is_what_its_object_says() -> None:
    made = live_version(TUNED)
    assert (made.version, made.model_version) == ("ft_v1.1", "invoice-fields-ft-v1.1")
    assert (made.uri, made.sha256) == (TUNED.spec.artifact.uri, TUNED.spec.artifact.sha256)


def test_a_version_in_review_is_refused_with_the_approval_that_lets_it_pass() -> None:
    refused = judge(proposal(versions=(BASE, REVIEWED)))
    assert isinstance(refused, Refuse)
    spec = manifest(refused.message, "ModelPromotion")["spec"]
    approval = Approval(by=spec["approval"]["by"], evidence=spec["approval"]["evidence"])
    asked = promotion(spec["version"], spec["from"], approval=approval)
    assert isinstance(judge(proposal(asked, versions=(BASE, REVIEWED))), Clear)


def test_a_review_of_what_is_outdated_is_not_asked_for() -> None:
    refused = judge(proposal(versions=(BASE, tuned(verdict="Review", baseline="ft_v0.9"))))
    assert isinstance(refused, Refuse)
    assert "start a new run" in refused.message
    assert "approve" not in refused.message


def test_what_is_in_flight_and_what_ended_it_wait_no_more() -> None:
    asked, brake, other = (promotion("ft_v1.1", "base_v1", name=name) for name in ("asked", "brake", "other"))
    to = live_version(TUNED)
    pulled = Brake(promotion="brake", promotion_uid="u", spec_hash=spec_hash(brake.spec))
    flight = InFlight(
        promotion="asked", promotion_uid="u", spec_hash=spec_hash(asked.spec), phase="Returning", to=to, epoch=2,
        deployment_uid="d", template_hash="t", generation=1, started_at=NOW, phase_since=NOW, deadline=NOW,
        brake=pulled,
    )  # fmt: skip
    flying = policy(replace(live(BASE), in_flight=flight))
    assert candidates(flying, (asked, brake, other)) == (other,)
    assert candidates(policy(replace(live(BASE), in_flight=replace(flight, brake=None))), (brake,)) == (brake,)


APPROVAL = Approval(by="ann", evidence=f"sha256:{'0' * 64}")
BYTES = REVIEWED.spec.artifact.sha256
TAKEN_BACK = TakenBack(version="ft_v1.1", sha256=BYTES, by="back", since=NOW)
FAILED = Quarantined(version="ft_v1.1", sha256=BYTES, reason="RolloutFailed", since=NOW)


@pytest.mark.parametrize(
    ("reason", "status", "came_from", "checks"),
    [
        ("TakenBack", {"taken_back": (TAKEN_BACK,)}, "base_v1", ["NotSettled", "TakenBack"]),
        ("Quarantined", {"quarantined": (FAILED,)}, "base_v1", ["NotSettled", "Quarantined"]),
        ("NotEligible", {}, "base_v1", ["NotSettled"]),
        ("FromIsNotLive", {}, "ft_v1.9", ["NotSettled"]),
    ],
)
def test_the_command_in_a_refusal_asks_for_all_that_the_promotion_asked_for(
    reason: str, status: dict[str, Any], came_from: str, checks: list[str]
) -> None:
    """Whoever runs it must not lose what they said: it would meet the next obstacle, or lift no hold."""
    asked = promotion(
        "ft_v1.1",
        came_from,
        release_hold=True,
        despite=Despite(checks=("NotSettled",), reason="the live one is sick"),
        approval=APPROVAL,
    )
    approved = reason == "FromIsNotLive"
    version = tuned() if approved else REVIEWED
    finding = judge(Proposal(asked, policy(replace(live(BASE), **status)), (BASE, version), deployment(keys(BASE))))
    assert isinstance(finding, Refuse), finding
    assert finding.reason == reason
    spec = manifest(finding.message, "ModelPromotion")["spec"]
    assert (spec["from"], spec["releaseHold"], spec["despite"]["checks"]) == ("base_v1", True, checks)
    assert spec["approval"]["by"] == ("YOUR NAME" if reason == "NotEligible" else "ann")


@pytest.mark.row("D54")
@pytest.mark.parametrize(
    ("asks", "age", "lifted"),
    [
        (True, -1, True),
        (True, 0, True),
        (True, 1, False),
        (True, None, False),
        (False, -1, False),
        (False, 1, False),
    ],
)
def test_a_hold_is_lifted_by_a_promotion_that_asks_for_it_and_was_made_when_it_was_there(
    asks: bool, age: float | None, lifted: bool
) -> None:
    asked = promotion("ft_v1.1", "base_v1", age=age or 0, release_hold=asks)
    if age is None:
        asked = replace(asked, metadata=replace(asked.metadata, creation_timestamp=None))
    finding = judge(proposal(asked, policy(replace(live(BASE), hold=HOLD))))
    assert isinstance(finding, Clear if lifted else Wait), finding
    assert lifted or (isinstance(finding, Wait) and finding.reason == "Held")


@pytest.mark.row("V87")
@pytest.mark.parametrize(
    ("classes", "remedy"),
    [
        (
            ("number", "total", "iban", "bic"),
            "append iban, bic to the policy's spec.classes, in this order, and make another promotion",
        ),
        (("total", "number"), "promote a version of the policy's classes"),
    ],
)
def test_a_version_of_other_classes_or_more_is_refused_with_what_mends_it(
    classes: tuple[str, ...], remedy: str
) -> None:
    """A policy that was restored from before an edit lacks what its versions have."""
    of = policy(live_status(), classes=("number", "total"))
    finding = judge(proposal(of=of, versions=(BASE, tuned(classes=classes))))
    assert isinstance(finding, Refuse)
    assert finding.reason == "NotEligible"
    assert remedy in finding.message


@pytest.mark.row("V87")
@pytest.mark.parametrize("classes", [("number", "total", "iban"), ("number", "total")])
def test_a_version_without_what_was_appended_since_may_go_live_and_back(classes: tuple[str, ...]) -> None:
    """The policy's list has grown: its last version goes on, and is the way back."""
    grown = policy(live_status(), classes=("number", "total", "iban"))
    case = proposal(of=grown, versions=(BASE, tuned(classes=classes)))
    assert isinstance(judge(case), Clear)
