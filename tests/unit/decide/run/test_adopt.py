"""What an earlier run made of the same is not made again: it is taken over, measured anew, or said to be of no help."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace as updated

from finetune_operator.api.meta import ObjectMeta
from finetune_operator.api.model_version import ModelVersion, VersionStatus
from finetune_operator.api.names import SERVICE_RECORD_KEY
from finetune_operator.api.policy import GainGate, Gates, ReviewRules
from finetune_operator.api.policy_status import Hold, LiveVersion, PolicyStatus, Quarantined, Rejected, TakenBack
from finetune_operator.api.record import Mark, Rejection, Service, record_text
from finetune_operator.api.run import Review, RunMixing
from finetune_operator.api.training import Training
from finetune_operator.decide.decision import CreateModelVersion, CreatePromotion, RecordMetric
from finetune_operator.decide.run.view import Queue
from finetune_operator.decide.snapshot import snapshot_of_run, spec_hash
from house.following import manifest, manifests
from unit.decide.run.attempts import error
from unit.decide.run.results import BASE, CANDIDATE, LIVE, START, UID, envelope, evaluate_result, prepare_result
from unit.decide.run.world import World, base, made, policy, review, run

LATER = START + timedelta(days=1)
EARLIER_HASH = "d24bd423d4f3eb344cafa8d83dc0ec0433265b8decb0a8976a6fb9efdb64f1a0"
"""What the release with two gates recorded of `run()` under `policy()`."""
HOLD = Hold(by="operator", reason="RolledBack", message="ft_v1.1 was rolled back", since=START)


@dataclass
class Again:
    """A second run that asks for the same with the same samples, after a first one that is over."""

    first: World
    created: Any = LATER
    name: str = "again"

    def play(
        self,
        *,
        crash: bool = False,
        pods_gone: bool = True,
        queue: Queue | None = None,
        made_anew: bool = False,
        review: Review | None = None,
    ) -> World:
        """Let it come as far as it comes without training or measuring; it dies after its first look if wanted."""
        policy = self.first.policy
        assert policy is not None
        meta = ObjectMeta(name=self.name, namespace="ml", uid="another", generation=1, creation_timestamp=self.created)
        world = World(run=updated(self.first.run, metadata=meta, status=World().status), policy=policy, now=LATER)
        world.run = updated(world.run, spec=updated(world.run.spec, review=review))
        world.versions = tuple(map(recorded, self.first.versions))
        world.settle()
        if queue is not None:
            world.run = updated(world.run, status=updated(world.status, place=None))
            world.queue = queue
        if made_anew:
            world.policy = updated(policy, status=PolicyStatus())
        job = world.job("prepare")
        text = json.dumps(envelope(job, prepare_result())).replace(UID, "another")
        world.change_job(job.name, state="Complete", exit_code=0, termination_message=text, pods_gone=pods_gone)
        world.decide(crash=crash)
        if not crash:
            world.settle()
        return world


def recorded(version: ModelVersion) -> ModelVersion:
    return updated(version, metadata=updated(version.metadata, creation_timestamp=START + timedelta(hours=1)))


def ended(world: World, phase: Any, reason: str = "") -> World:
    world.promotion_is(phase, reason)
    return world


def superseded_by(world: World, version: str = "ft_v1.9") -> World:
    world.versions = (*world.versions, base(version, LIVE, type="FineTuned", base="base_v1"))
    world.go_live(version)
    return world


def expired() -> World:
    world = World()
    world.set_rules(review=ReviewRules(timeout_seconds=60))
    world.in_review()
    world.wait(61)
    world.settle()
    assert world.phase() == "Expired"
    return world


def shows_the_first(again: World, verdict: str) -> None:
    assert (again.status.verdict, again.status.version, again.status.model_version) == (
        verdict, "ft_v1.1", "invoice-fields-ft-v1.1")  # fmt: skip
    assert again.status.gates != ()
    assert [again.jobs_made(step) for step in ("prepare", "train", "evaluate")] == [1, 0, 0]


@pytest.mark.row("R59")
def test_what_is_live_is_adopted_and_its_verdict_shown() -> None:
    first = ended(World().judged(), "Succeeded")
    first.go_live("ft_v1.1", CANDIDATE)
    again = Again(first).play()
    assert (again.phase(), again.condition("Finished")) == ("Adopted", ("True", "SameSpecAndInputs"))
    shows_the_first(again, "Pass")
    assert not [a for a in again.history if isinstance(a, RecordMetric) and a.metric.startswith("finetune_verdict")]
    spec = manifest(again.status.message, "FineTuneRun")["spec"]
    assert spec["mixing"]["seed"] > 0


@pytest.mark.row("R60")
def test_what_passed_and_is_not_live_goes_on_to_its_promotion() -> None:
    first = ended(World().judged(), "Failed", "TargetGone")
    again = Again(first).play()
    shows_the_first(again, "Pass")
    assert again.phase() == "Promoting"
    (asked,) = [a for a in again.history if isinstance(a, CreatePromotion)]
    assert (asked.spec.version, asked.spec.from_version) == ("ft_v1.1", None)
    assert asked.name != first.status.promotion
    again.promotion_is("Succeeded")
    assert (again.phase(), made(again, CreateModelVersion)) == ("Promoted", 0)


@pytest.mark.row("R60")
def test_an_approval_is_taken_over_with_the_evidence_that_it_names() -> None:
    first = World().in_review()
    review(first, "Approve")
    again = Again(ended(first, "Failed", "TargetGone")).play()
    shows_the_first(again, "Review")
    (asked,) = [a for a in again.history if isinstance(a, CreatePromotion)]
    assert first.status.evidence is not None
    assert asked.spec.approval is not None
    assert (asked.spec.approval.by, asked.spec.approval.evidence) == ("ann", first.status.evidence.digest)


@pytest.mark.row("R60")
@pytest.mark.parametrize("why", ["PromotionManual", "Held"])
def test_what_is_left_to_people_ends_with_the_promotion_to_apply(why: str) -> None:
    first = ended(World().judged(), "RolledBack", "Unschedulable")
    if why == "Held":
        first.set_policy(hold=HOLD)
    else:
        first.set_rules(promotion="Manual")
    again = Again(first).play()
    assert (again.phase(), again.condition("Finished")) == ("Passed", ("True", why))
    shows_the_first(again, "Pass")
    assert manifest(again.status.message, "ModelPromotion")["spec"]["version"] == "ft_v1.1"


@pytest.mark.row("R60")
def test_what_was_taken_over_is_measured_by_this_run_when_live_changes_after_all() -> None:
    again = superseded_by(Again(ended(World().judged(), "Failed", "TargetGone")).play())
    again.promotion_is("Superseded", "FromIsNotLive")
    assert again.phase() == "Evaluating"
    again.complete("evaluate", evaluate_result(live_map50="0.980000"))
    assert (again.phase(), again.status.version) == ("Promoting", "ft_v1.10")
    names = [a.name for a in again.history if isinstance(a, CreatePromotion)]
    assert len(set(names)) == 2


@pytest.mark.row("R60")
def test_a_record_that_was_deleted_after_its_promotion_was_asked_for_is_made_anew_by_measuring() -> None:
    world = Again(ended(World().judged(), "Failed", "TargetGone")).play(crash=True)
    assert world.status.promotion is not None
    world.versions = world.versions[:1]
    world.settle()
    assert (world.phase(), world.status.evidence) == ("Evaluating", None)


@pytest.mark.row("R20")
def test_what_an_earlier_result_is_worth_is_decided_anew_while_the_run_waits() -> None:
    first = superseded_by(ended(World().judged(), "Failed", "TargetGone"))
    again = Again(first).play(queue=Queue(taken=("other",)))
    assert (again.condition("Accepted"), again.status.verdict) == (("Unknown", "WaitingForTurn"), None)
    again.wait(300)
    writes = again.writes
    again.settle()
    assert again.writes == writes, "at rest there are no writes"
    again.go_live("ft_v1.1", CANDIDATE)
    again.settle()
    assert again.phase() == "Adopted"
    shows_the_first(again, "Pass")


@pytest.mark.row("R20")
def test_a_record_that_is_deleted_while_the_run_waits_is_no_longer_taken_over() -> None:
    first = superseded_by(ended(World().judged(), "Failed", "TargetGone"))
    again = Again(first).play(queue=Queue(taken=("other",)))
    again.versions, again.queue = again.versions[:1], Queue()
    again.settle()
    assert (again.phase(), again.status.candidate, again.status.adopted) == ("Training", None, None)
    assert again.condition("Trained")[0] == "Unknown"


@pytest.mark.row("R36")
@pytest.mark.parametrize("candidate", ["0.981000", "0.900000"])
def test_an_end_that_waits_for_pods_stays_the_same_end(candidate: str) -> None:
    first = World().judged(candidate=candidate)
    if first.promotion is not None:
        first.go_live("ft_v1.1", CANDIDATE)
        ended(first, "Succeeded")
    again = Again(first).play(pods_gone=False)
    assert again.phase() == "Preparing"
    again.change_job(again.job("prepare").name, pods_gone=True)
    again.settle()
    assert again.phase() == ("Adopted" if first.promotion is not None else "Rejected")
    assert made(again, CreatePromotion) == 0


@pytest.mark.row("R61")
@pytest.mark.parametrize("candidate", ["0.981000", "0.900000"])
def test_what_was_measured_against_another_version_is_measured_anew_and_not_trained(candidate: str) -> None:
    first = World().judged(candidate=candidate)
    if first.promotion is not None:
        ended(first, "Failed", "TargetGone")
    again = Again(superseded_by(first)).play()
    assert (again.phase(), again.status.verdict) == ("Evaluating", None)
    assert (again.jobs_made("train"), again.jobs_made("evaluate")) == (0, 1)
    assert again.condition("Trained") == ("True", "Adopted")
    again.complete("evaluate", evaluate_result(live_map50="0.980000"))
    assert (again.phase(), again.status.version) == ("Promoting", "ft_v1.10")
    (record,) = [a.spec for a in again.history if isinstance(a, CreateModelVersion)]
    old = again.versions[1].spec
    assert (record.artifact, record.checkpoint) == (old.artifact, old.checkpoint)
    assert record.lineage is not None
    assert old.lineage is not None
    assert (record.lineage.run, record.lineage.inputs, record.lineage.seed) == (
        "again", old.lineage.inputs, old.lineage.seed)  # fmt: skip


@pytest.mark.row("R61")
def test_a_run_made_after_a_review_expired_asks_for_a_review_again() -> None:
    again = Again(expired()).play()
    assert (again.phase(), again.jobs_made("train"), again.jobs_made("evaluate")) == ("Evaluating", 0, 1)
    again.complete("evaluate", evaluate_result(candidate="0.970000"))
    assert again.phase() == "InReview"
    review(again, "Approve")
    assert (again.phase(), again.status.version) == ("Promoting", "ft_v1.2")


@pytest.mark.row("R61")
@pytest.mark.parametrize(("name", "asks"), [("other", True), ("first", False)])
def test_within_one_second_it_is_the_name_that_tells_a_new_run_from_a_restored_one(name: str, asks: bool) -> None:
    again = Again(expired(), created=START + timedelta(hours=1), name=name).play()
    assert (again.phase() == "Evaluating") is asks


@pytest.mark.row("R63")
def test_a_run_that_is_older_than_the_expired_review_opens_no_other_one() -> None:
    again = Again(expired(), created=START).play()
    assert (again.phase(), again.condition("Finished")) == ("Expired", ("True", "ReviewExpired"))
    shows_the_first(again, "Review")
    assert manifest(again.status.message, "FineTuneRun")["spec"] == {"policy": "invoice-fields"}


@pytest.mark.row("R62")
def test_what_a_gate_rejects_is_rejected_again_without_another_try() -> None:
    again = Again(World().judged(candidate="0.900000")).play()
    assert (again.phase(), again.condition("Finished")) == ("Rejected", ("True", "JudgedBefore"))
    shows_the_first(again, "Reject")
    assert "seed" in manifest(again.status.message, "FineTuneRun")["spec"]["mixing"]


@pytest.mark.row("R155")
@pytest.mark.parametrize("candidate", ["0.900000", "0.981000"])
def test_a_policy_that_was_made_anew_tells_no_worth_while_nobody_has_looked_at_it(candidate: str) -> None:
    """It says that nothing is live, so whatever was measured against something would seem to be of now."""
    first = superseded_by(World().judged(candidate=candidate))
    again = Again(first).play(made_anew=True)
    assert again.condition("Accepted") == ("False", "PolicyNotReady"), again.status.message
    assert (again.phase(), again.status.adopted) == ("Preparing", None)
    again.policy = first.policy
    again.settle()
    assert (again.phase(), again.jobs_made("train"), again.jobs_made("evaluate")) == ("Evaluating", 0, 1)
    assert again.condition("Accepted")[0] == "True"


@pytest.mark.row("R155")
def test_an_end_by_an_earlier_result_does_not_say_for_ever_that_it_waits_for_the_policy() -> None:
    first = World().judged(candidate="0.900000")
    again = Again(first).play(made_anew=True)
    assert again.condition("Accepted") == ("False", "PolicyNotReady")
    again.policy = first.policy
    again.settle()
    assert (again.phase(), again.condition("Accepted")[0]) == ("Rejected", "True")


@pytest.mark.row("R62")
@pytest.mark.parametrize("changed", [False, True])
def test_what_a_person_rejected_is_not_put_before_people_again(changed: bool) -> None:
    first = World().in_review()
    review(first, "Reject")
    again = Again(superseded_by(first) if changed else first).play()
    assert (again.phase(), again.condition("Finished")) == ("Rejected", ("True", "JudgedBefore"))
    assert "rejected by ann: I looked" in again.status.message
    shows_the_first(again, "Review")


@pytest.mark.row("R62")
@pytest.mark.parametrize("carrier", ["policy", "version"])
@pytest.mark.parametrize("reason", ["Quarantined", "TakenBack"])
def test_what_production_or_people_turned_away_is_not_promoted_again(reason: str, carrier: str) -> None:
    first = ended(World().judged(), "RolledBack", "Unhealthy")
    mark = Mark(at=START, by="back", reason="Unhealthy")
    service = Service(quarantined=mark) if reason == "Quarantined" else Service(taken_back=mark)
    match carrier, reason:
        case "version", _:
            text = record_text(CANDIDATE, {"invoice-detector": service})
            old = first.versions[1]
            meta = updated(old.metadata, annotations={SERVICE_RECORD_KEY: text})
            first.versions = (first.versions[0], updated(old, metadata=meta))
        case _, "Quarantined":
            entry = Quarantined(version="ft_v1.1", sha256=CANDIDATE, reason="Unhealthy", since=START)
            first.set_policy(quarantined=(entry,))
        case _:
            first.set_policy(taken_back=(TakenBack(version="ft_v1.1", sha256=CANDIDATE, by="back", since=START),))
    again = Again(first).play()
    assert (again.phase(), again.condition("Finished")) == ("RolledBack", ("True", reason))
    shows_the_first(again, "Pass")
    spec = manifest(again.status.message, "ModelPromotion")["spec"]
    assert spec["despite"]["checks"] == [reason]


@pytest.mark.row("R62")
@pytest.mark.parametrize("served", [False, True])
def test_what_no_promotion_could_bring_back_is_trained_anew(served: bool) -> None:
    """It was measured against something else than is live; only what was live before needs no evidence."""
    first = superseded_by(ended(World().judged(), "RolledBack", "TakenBack"))
    good = (LiveVersion(version="ft_v1.1", model_version="m", uri="u", sha256=CANDIDATE),) if served else ()
    taken = TakenBack(version="ft_v1.1", sha256=CANDIDATE, by="back", since=START)
    first.set_policy(taken_back=(taken,), last_good=good)
    again = Again(first).play()
    assert (again.phase(), again.condition("Finished")) == ("RolledBack", ("True", "TakenBack"))
    kinds = [one["kind"] for one in manifests(again.status.message)]
    assert kinds == ["ModelPromotion" if served else "FineTuneRun"]


@pytest.mark.row("R60")
def test_what_passed_against_what_is_live_goes_on_from_there() -> None:
    first = World()
    first.go_live("base_v1", BASE)
    ended(first.judged(), "Failed", "TargetGone")
    again = Again(first).play()
    shows_the_first(again, "Pass")
    (asked,) = [a for a in again.history if isinstance(a, CreatePromotion)]
    assert (asked.spec.version, asked.spec.from_version) == ("ft_v1.1", "base_v1")


@pytest.mark.row("R62")
@pytest.mark.parametrize(
    ("service", "reason"),
    [
        (Service(quarantined=Mark(at=START, reason="Unhealthy")), "Quarantined"),
        (Service(taken_back=Mark(at=START, by="back")), "TakenBack"),
    ],
)
def test_what_one_record_of_the_bytes_says_of_production_counts_for_the_newer_ones(
    service: Service, reason: str
) -> None:
    first = ended(World().judged(), "Failed", "TargetGone")
    old = first.versions[1]
    newer = updated(old, metadata=updated(old.metadata, name="invoice-fields-ft-v1-2"))
    text = record_text(CANDIDATE, {"invoice-detector": service})
    marked = updated(old, metadata=updated(old.metadata, annotations={SERVICE_RECORD_KEY: text}))
    first.versions = (first.versions[0], marked, updated(newer, spec=updated(newer.spec, version="ft_v1.2")))
    again = Again(first).play()
    assert (again.phase(), again.condition("Finished")) == ("RolledBack", ("True", reason))


@pytest.mark.row("R62")
@pytest.mark.parametrize("outdated", [False, True])
def test_a_persons_no_to_the_bytes_counts_for_every_record_of_them(outdated: bool) -> None:
    """Measured twice: rejected in review, and passed another time, against what is live now or was then."""
    first = World().in_review()
    review(first, "Reject")
    rejected = first.versions[1]
    passed = ended(World().judged(), "Failed", "TargetGone").versions[1]
    named = updated(passed, metadata=updated(passed.metadata, name="invoice-fields-ft-v1-2"))
    first.versions = (*first.versions, updated(named, spec=updated(named.spec, version="ft_v1.2")))
    assert rejected.spec.artifact.sha256 == passed.spec.artifact.sha256
    again = Again(superseded_by(first) if outdated else first).play()
    assert (again.phase(), again.condition("Finished")) == ("Rejected", ("True", "JudgedBefore"))
    assert "rejected by ann" in again.status.message
    assert not [a for a in again.history if isinstance(a, CreatePromotion)]


@pytest.mark.row("R103")
@pytest.mark.parametrize("carrier", ["policy", "record"])
@pytest.mark.parametrize("verdict", ["Pass", "Review"])
def test_what_is_remembered_as_rejected_ends_the_run_though_no_review_of_it_is_there(
    verdict: str, carrier: str
) -> None:
    first = ended(World().judged(), "Failed", "TargetGone")
    old = first.versions[1]
    assert old.spec.evidence is not None
    if verdict == "Review":  # nobody decided: a run that comes later would ask again
        undecided = updated(old.spec.evidence, verdict="Review", decision=None)
        old = updated(old, spec=updated(old.spec, evidence=undecided))
    if carrier == "policy":
        first.set_policy(rejected=(Rejected(version="ft_v1.8", sha256=CANDIDATE, by="ann", at=START),))
    else:
        text = record_text(CANDIDATE, {}, Rejection(at=START, by="ann", version="ft_v1.8"))
        old = updated(old, metadata=updated(old.metadata, annotations={SERVICE_RECORD_KEY: text}))
    first.versions = (first.versions[0], old, *first.versions[2:])
    again = Again(first).play()
    assert (again.phase(), again.condition("Finished")) == ("Rejected", ("True", "JudgedBefore"))
    assert "it was rejected by ann as ft_v1.8" in again.status.message
    assert not [a for a in again.history if isinstance(a, CreatePromotion)]


@pytest.mark.row("D258")
def test_what_served_in_another_namespace_was_not_live_here() -> None:
    first = ended(World().judged(), "Failed", "TargetGone")
    text = record_text(CANDIDATE, {"invoice-detector": Service(good=START, good_in="staging")})
    old = first.versions[1]
    metadata = updated(old.metadata, annotations={SERVICE_RECORD_KEY: text})
    first.versions = (first.versions[0], updated(old, metadata=metadata), *first.versions[2:])
    again = Again(first).play()
    assert again.phase() == "Promoting"
    shows_the_first(again, "Pass")


@pytest.mark.row("R60")
@pytest.mark.parametrize("status", [VersionStatus(live_since=START), VersionStatus(last_live=START)])
def test_what_served_on_another_deployment_was_not_live_here(status: VersionStatus) -> None:
    """Two policies of a model, for trying and for use: what served on the one is what the other is to take over."""
    first = ended(World().judged(), "Failed", "TargetGone")
    text = record_text(CANDIDATE, {"staging": Service(good=START)})
    old = first.versions[1]
    metadata = updated(old.metadata, annotations={SERVICE_RECORD_KEY: text})
    first.versions = (first.versions[0], updated(old, metadata=metadata, status=status), *first.versions[2:])
    again = Again(first).play()
    assert again.phase() == "Promoting"
    shows_the_first(again, "Pass")


@pytest.mark.row("R63")
@pytest.mark.parametrize("nothing_is_live", [False, True])
@pytest.mark.parametrize("carrier", ["policy", "status", "record"])
def test_what_was_live_before_does_not_come_back_by_itself(carrier: str, nothing_is_live: bool) -> None:
    first = superseded_by(ended(World().judged(), "Succeeded"))
    old = first.versions[1]
    match carrier:
        case "policy":
            good = LiveVersion(version="ft_v1.1", model_version="m", uri="u", sha256=CANDIDATE)
            first.set_policy(last_good=(good,))
        case "status":
            old = updated(old, status=VersionStatus(last_live=START))
        case _:
            text = record_text(CANDIDATE, {"invoice-detector": Service(good=START)})
            old = updated(old, metadata=updated(old.metadata, annotations={SERVICE_RECORD_KEY: text}))
    first.versions = (first.versions[0], old, *first.versions[2:])
    if nothing_is_live:
        first.set_policy(live=None)
    again = Again(first).play()
    assert (again.phase(), again.condition("Finished")) == ("Adopted", ("True", "WasLive"))
    spec = manifest(again.status.message, "ModelPromotion")["spec"]
    assert (spec["version"], spec.get("from")) == ("ft_v1.1", None if nothing_is_live else "ft_v1.9")


@pytest.mark.row("R60")
def test_of_several_records_the_one_that_may_go_live_counts() -> None:
    """Measured twice, against the base and against what replaced it; the base is live again."""
    first = ended(World().judged(), "Failed", "TargetGone")
    second = Again(superseded_by(first)).play()
    second.complete("evaluate", evaluate_result(candidate="0.900000", live_map50="0.980000"))
    assert (second.phase(), second.status.version) == ("Rejected", "ft_v1.10")
    second.set_policy(live=None)
    third = Again(second).play()
    assert (third.phase(), third.status.version) == ("Promoting", "ft_v1.1")


@pytest.mark.row("R20")
def test_without_its_policy_nothing_is_taken_over_yet() -> None:
    first = ended(World().judged(), "Failed", "TargetGone")
    world = World(versions=first.versions, run=updated(run(), metadata=updated(run().metadata, name="again")))
    world.settle()
    kept, world.policy = world.policy, None
    world.complete("prepare", prepare_result())
    assert world.condition("Accepted") == ("False", "PolicyNotFound")
    world.policy = kept
    world.settle()
    assert world.phase() == "Promoting"


@pytest.mark.row("R67")
@pytest.mark.parametrize("own", [False, True], ids=["taken over", "its own, of an earlier round"])
def test_a_candidate_on_record_that_cannot_be_measured_any_more_ends_with_a_run_that_trains_anew(*, own: bool) -> None:
    """The same spec alone takes the record over, and ends as this one does: so does what an older release exported."""
    world = superseded_by(World().in_review()) if own else Again(expired()).play()
    world.settle()
    assert world.phase() == "Evaluating"
    world.fail("evaluate", 10, error("BadInput", "ContractViolated"))
    assert (world.phase(), world.condition("Finished")) == ("Failed", ("True", "ContractViolated"))
    same, anew = manifests(world.status.message)
    assert "seed" not in same["spec"].get("mixing", {})
    assert anew["spec"]["mixing"]["seed"] > 0


@pytest.mark.row("R67")
def test_a_command_of_a_long_spec_says_where_the_spec_is() -> None:
    first = World(run=run(mixing=RunMixing(ratio="20.00"), node_selector={f"key-{n}": "v" * 40 for n in range(12)}))
    first.judged(candidate="0.900000")
    assert manifests(first.status.message) == []
    assert "kubectl -n ml get finetunerun first -o yaml" in first.status.message


@pytest.mark.row("R20")
def test_a_run_whose_training_was_suspended_takes_over_what_another_made_of_the_same_meanwhile() -> None:
    world = World().prepared()
    world.start("train")
    world.edit(suspend=True)
    world.settle()
    world.remove_job(world.job("train").name)
    world.versions = tuple(map(recorded, World().judged().versions))
    world.settle()
    assert world.phase() == "Suspended", "it goes on when it is to, and not before"
    assert (world.status.candidate, made(world, CreatePromotion)) == (None, 0)
    world.go_live("ft_v1.1", CANDIDATE)
    world.edit(suspend=False)
    world.settle()
    assert (world.phase(), world.jobs_made("train")) == ("Adopted", 1)


def of_fewer_gates(version: ModelVersion) -> ModelVersion:
    """The record as a release wrote it that had two gates."""
    evidence = version.spec.evidence
    if evidence is None:
        return version
    gates = tuple(gate for gate in evidence.gates if gate.name in ("regression", "newSamples", "newSamplesFresh"))
    return updated(version, spec=updated(version.spec, evidence=updated(evidence, gates=gates, test_set=None)))


@pytest.mark.row("R61")
def test_what_passed_fewer_gates_is_measured_anew_by_all_of_them_and_not_trained() -> None:
    first = ended(World().judged(), "Failed", "TargetGone")
    first.versions = tuple(map(of_fewer_gates, first.versions))
    again = Again(first).play()
    assert [again.jobs_made(step) for step in ("prepare", "train", "evaluate")] == [1, 0, 1]
    assert again.status.verdict is None


def test_gates_that_came_later_make_no_other_run_of_an_earlier_one_until_somebody_edits_them() -> None:
    def asks(gates: Gates) -> str:
        stored = policy(gates=gates, training=Training(workers=0))  # the default of then stands in what was stored
        return spec_hash(snapshot_of_run(run(), stored, base()), run())

    assert asks(Gates()) == EARLIER_HASH
    assert asks(Gates(gain=GainGate(review=False))) != asks(Gates())


@pytest.mark.row("R252")
@pytest.mark.parametrize("approved", [False, True], ids=["", "and somebody approved"])
def test_a_run_whose_candidate_went_live_by_another_record_is_over_and_not_measured_against_itself(
    *, approved: bool
) -> None:
    """Its review had expired, and was asked for again; meanwhile a person promoted the first record with approval."""
    again = Again(expired()).play()
    again.complete("evaluate", evaluate_result(candidate="0.970000"))
    assert again.phase() == "InReview"
    again.go_live("ft_v1.1", CANDIDATE)
    if approved:
        assert again.status.evidence is not None
        again.edit(review=Review(decision="Approve", evidence=again.status.evidence.digest, by="ann"))
    again.settle()
    assert (again.phase(), again.condition("Finished")) == ("Adopted", ("True", "SameSpecAndInputs"))
    assert (again.status.version, again.jobs_made("evaluate")) == ("ft_v1.1", 1)
    assert manifest(again.status.message, "FineTuneRun")["spec"]["mixing"]["seed"] > 0
