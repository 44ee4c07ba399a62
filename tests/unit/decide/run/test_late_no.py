"""A person's no that comes when the promotion is asked for already: it counts until that takes off."""

import pytest
from msgspec.structs import replace as updated

from finetune_operator.api.meta import FileReference
from finetune_operator.api.model_version import VersionEvidence
from finetune_operator.api.policy_status import InFlight, LiveVersion, Rejected
from finetune_operator.api.promotion import PromotionPhase
from finetune_operator.api.run import AdoptedResult, Review
from finetune_operator.api.value import plain
from finetune_operator.cluster.fields import moves_on, standing, whose_candidate_was_rejected
from finetune_operator.decide.decision import CreateModelVersion, CreatePromotion
from finetune_operator.decide.views import Problem
from house.following import manifest
from unit.decide.run.results import BASE, CANDIDATE, LIVE, START, evaluate_result
from unit.decide.run.test_adopt import Again, ended, superseded_by
from unit.decide.run.test_verdict import tuned
from unit.decide.run.world import World, digest, made, review


@pytest.mark.row("R170")
@pytest.mark.parametrize("passed", [True, False], ids=["by its gates", "by a person"])
@pytest.mark.parametrize("there", [True, False], ids=["its promotion is refused", "its promotion was deleted"])
def test_a_no_before_take_off_ends_the_run_when_its_promotion_is_over(passed: bool, there: bool) -> None:
    """The policy knows it from the run's status; which of the two was first, only the promotion's end tells."""
    world = World().judged() if passed else World().in_review()
    if not passed:
        review(world, "Approve")
    assert world.phase() == "Promoting"
    approved, before = made(world, CreatePromotion), standing(plain(world.run))
    review(world, "Reject")
    assert moves_on(before, standing(plain(world.run))), "it wakes the policy"
    assert world.phase() == "Promoting"
    assert "kubectl delete modelpromotion" in world.status.message
    assert "ann" in world.status.message
    assert standing(plain(world.run)).rejected[:2] == (CANDIDATE, "ann")
    if there:
        world.promotion_is("Failed", "NotEligible", "'ann' rejected it in review")
    else:
        world.promotion = None
        world.settle()
    assert (world.phase(), world.condition("Promoted")) == ("Rejected", ("False", "Rejected")), world.status.message
    assert made(world, CreatePromotion) == approved


@pytest.mark.row("R170")
def test_a_no_to_a_promotion_that_a_crash_lost_makes_none() -> None:
    world = World().trained()
    world.start("evaluate")
    world.complete("evaluate", evaluate_result())
    lost = World(run=world.run, policy=world.policy, versions=world.versions, snapshot=world.snapshot, jobs=world.jobs)
    review(lost, "Reject")
    lost.settle()
    assert (lost.phase(), made(lost, CreatePromotion)) == ("Rejected", 0), lost.status.message


@pytest.mark.row("R170")
@pytest.mark.parametrize("reason", ["FromIsNotLive", "Overtaken"])
def test_what_was_rejected_before_take_off_is_not_measured_again(reason: str) -> None:
    world = World().judged()
    review(world, "Reject")
    world.go_live("base_v1", BASE)
    world.promotion_is("Superseded", reason)
    assert (world.phase(), world.jobs_made("evaluate")) == ("Rejected", 1)


@pytest.mark.row("R171")
@pytest.mark.parametrize("ends", ["Succeeded", "RolledBack"])
def test_a_no_after_take_off_is_told_that_and_how_to_go_back(ends: PromotionPhase) -> None:
    world = World()
    world.go_live("base_v1", BASE)
    world.judged()
    assert world.promotion is not None
    flight = InFlight(
        promotion=world.promotion.metadata.name, promotion_uid="p", spec_hash="h", phase="Watching", epoch=2,
        to=LiveVersion(version="ft_v1.1", model_version="m", uri="u", sha256=CANDIDATE),
        deployment_uid="d", template_hash="t", started_at=START, phase_since=START, deadline=START,
    )  # fmt: skip
    world.set_policy(in_flight=flight)
    review(world, "Reject")
    assert world.phase() == "Promoting"
    assert "when it had taken off" in world.status.message
    spec = manifest(world.status.message, "ModelPromotion")["spec"]
    assert (spec["version"], spec["from"]) == ("base_v1", "ft_v1.1")
    assert standing(plain(world.run)).rejected[:2] == (CANDIDATE, "ann"), "it may be deleted before it ends"
    world.set_policy(in_flight=None)
    world.promotion_is(ends, ends)
    assert world.phase() == ("Promoted" if ends == "Succeeded" else "RolledBack")
    assert "when it had taken off" in world.status.message
    if ends == "Succeeded":
        assert manifest(world.status.message, "ModelPromotion")["spec"]["version"] == "base_v1"


@pytest.mark.row("R172")
@pytest.mark.parametrize("how", ["the trainer fails", "a gate is an error"])
@pytest.mark.parametrize("recorded", [True, False], ids=["after its record", "in review"])
def test_a_no_to_an_earlier_round_is_kept_where_the_next_one_comes_to_no_judgement(how: str, recorded: bool) -> None:
    """The record of the earlier round says that it passed, and the next run of the same would take it over."""
    world = World().judged() if recorded else World().in_review()
    first = digest(world)
    world.go_live("base_v1", BASE)
    if recorded:
        world.promotion_is("Superseded", "FromIsNotLive")
    world.settle()
    world.edit(review=Review(decision="Reject", evidence=first, by="ann"))
    if how == "the trainer fails":
        world.fail(
            "evaluate", 10, {"class": "BadInput", "reason": "DataUnreadable", "message": "gone", "remedy": "put"}
        )
    else:
        world.complete("evaluate", evaluate_result(candidate="NaN"))
    assert (world.phase(), world.condition("Finished")) == ("Rejected", ("True", "Rejected")), world.status.message
    assert world.status.decision is not None
    assert world.status.decision.by == "ann"
    if recorded:
        assert standing(plain(world.run)).rejected[:2] == (CANDIDATE, "ann")
        assert list(whose_candidate_was_rejected(plain(world.run))) == ["invoice-fields"]


@pytest.mark.row("R172")
def test_a_no_to_a_round_without_a_record_bars_what_another_round_recorded() -> None:
    """The first round's record says that it passed; the second was overtaken while ann read its report."""
    world = World().judged()
    world.go_live("base_v1", BASE)
    world.promotion_is("Superseded", "FromIsNotLive")
    world.complete("evaluate", evaluate_result(candidate="0.970000"))
    assert world.phase() == "InReview", world.status.message
    second = digest(world)
    world.go_live(None)
    world.settle()
    world.edit(review=Review(decision="Reject", evidence=second, by="ann"))
    world.settle()
    if world.phase() == "Evaluating":
        world.complete("evaluate", evaluate_result(candidate="NaN"))
    assert (world.phase(), world.condition("Finished")) == ("Rejected", ("True", "Rejected")), world.status.message
    assert standing(plain(world.run)).rejected[:2] == (CANDIDATE, "ann")
    assert list(whose_candidate_was_rejected(plain(world.run))) == ["invoice-fields"]


@pytest.mark.row("R172")
def test_a_no_is_kept_until_the_pods_of_a_round_that_failed_are_gone_without_a_write_each_second() -> None:
    world = World().in_review()
    first = digest(world)
    world.go_live("base_v1", BASE)
    world.settle()
    world.start("evaluate")
    world.edit(review=Review(decision="Reject", evidence=first, by="ann"))
    world.snapshot_problem = Problem("SnapshotInvalid", "not what was written")
    world.settle()
    writes, job = world.writes, world.job("evaluate")
    assert job.deleting
    for _ in range(3):
        world.wait(1)
        world.settle()
    assert world.writes == writes
    world.change_job(job.name, state="Failed", pods_gone=True, finished_at=world.now)
    world.settle()
    assert (world.phase(), world.status.decision is not None) == ("Rejected", True), world.status.message


@pytest.mark.row("R172")
@pytest.mark.parametrize("how", ["it gives way", "its snapshot is not what was written"])
def test_a_no_is_kept_however_a_round_ends_that_comes_to_no_judgement(how: str) -> None:
    world = World().judged()
    first = digest(world)
    world.go_live("base_v1", BASE)
    world.promotion_is("Superseded", "FromIsNotLive")
    world.complete("evaluate", evaluate_result(candidate="0.970000"))
    assert world.phase() == "InReview", world.status.message
    if how == "it gives way":
        status = updated(world.status, verdict="Error")
        world.run = updated(world.run, status=status)
        world.versions = (*world.versions, tuned("ft_v1.9", LIVE, 61))
        world.go_live("ft_v1.9")
    else:
        world.snapshot_problem = Problem("SnapshotInvalid", "not what was written")
    world.edit(review=Review(decision="Reject", evidence=first, by="ann"))
    world.settle()
    assert world.phase() == "Rejected", world.status.message
    assert standing(plain(world.run)).rejected[:2] == (CANDIDATE, "ann")
    assert list(whose_candidate_was_rejected(plain(world.run))) == ["invoice-fields"]


@pytest.mark.row("R172")
@pytest.mark.parametrize("meanwhile", ["it is measured", "it is suspended", "another run promotes"])
def test_a_no_to_what_is_on_record_waits_for_no_other_round(meanwhile: str) -> None:
    """Until it counts, another run that asks for the same takes the record over, and puts it live."""
    world = World().judged()
    first = digest(world)
    world.go_live("base_v1", BASE)
    if meanwhile == "another run promotes":
        world.ahead = ("other",)
    world.promotion_is("Superseded", "FromIsNotLive")
    if meanwhile == "it is suspended":
        world.edit(suspend=True)
    if meanwhile == "it is measured":
        world.start("evaluate")
    world.settle()
    world.edit(review=Review(decision="Reject", evidence=first, by="ann"))
    world.settle()
    assert standing(plain(world.run)).rejected[:2] == (CANDIDATE, "ann"), "before its pods are gone"
    assert list(whose_candidate_was_rejected(plain(world.run))) == ["invoice-fields"]
    for job in world.jobs:
        world.change_job(job.name, state="Failed", pods_gone=True, finished_at=world.now)
    world.settle()
    assert world.phase() == "Rejected", world.status.message
    assert world.condition("Accepted")[0] == "True"


@pytest.mark.row("R111")
@pytest.mark.parametrize("promotion", ["Automatic", "Manual"])
def test_a_no_after_an_approval_counts_as_long_as_no_promotion_was_asked_for(promotion: str) -> None:
    """The record waits for the API server, say; until it is made, nothing says that a person approved it."""
    world = World().in_review()
    world.set_rules(promotion=promotion)
    world.edit(review=Review(decision="Approve", evidence=digest(world), by="ann"))
    world.decide(crash=True)
    assert (world.status.decision is not None, world.status.promotion) == (True, None)
    review(world, "Reject")
    assert (world.phase(), made(world, CreatePromotion)) == ("Rejected", 0), world.status.message
    (record,) = [v.spec.evidence for v in world.versions if v.spec.evidence is not None]
    assert record.persons_no is not None, "and the record says so"


@pytest.mark.row("R111")
def test_a_no_after_an_approval_that_was_taken_over_counts_too() -> None:
    first = World().in_review()
    review(first, "Approve")
    first.set_rules(promotion="Manual")
    again = Again(ended(first, "Failed", "TargetGone")).play(pods_gone=False)
    assert (again.phase(), again.status.verdict) == ("Preparing", "Review")
    review(again, "Reject")
    again.change_job(again.job("prepare").name, pods_gone=True)
    again.settle()
    assert (again.phase(), made(again, CreatePromotion)) == ("Rejected", 0), again.status.message


@pytest.mark.row("R241")
@pytest.mark.parametrize("meanwhile", ["the policy goes", "something else goes live"])
def test_a_no_to_what_was_taken_over_is_not_forgotten_while_the_run_waits_for_pods(meanwhile: str) -> None:
    """What an earlier result is worth is decided anew until something was done with it."""
    again = Again(World().judged(candidate="0.900000")).play(pods_gone=False)
    assert (again.phase(), again.status.verdict) == ("Preparing", "Reject")
    again.edit(review=Review(decision="Reject", evidence=digest(again), by="ann"))
    if meanwhile == "the policy goes":
        again.policy = None
    else:
        superseded_by(again)
    again.settle()
    assert standing(plain(again.run)).rejected[:2] == (CANDIDATE, "ann")
    again.change_job(again.job("prepare").name, pods_gone=True)
    again.settle()
    assert standing(plain(again.run)).rejected[:2] == (CANDIDATE, "ann")
    assert (again.phase(), again.jobs_made("evaluate")) != ("Evaluating", 1)


@pytest.mark.row("R242")
@pytest.mark.parametrize("when", ["before it was made", "while it is measured", "in its review"])
def test_a_no_to_the_record_that_is_measured_anew_is_one_to_its_bytes(when: str) -> None:
    """A reader has that evidence from the ModelVersion, by which the run calls its candidate."""
    first = World().judged()
    no = Review(decision="Reject", evidence=digest(first), by="ann")
    first = superseded_by(ended(first, "Failed", "TargetGone"))
    again = Again(first).play(review=no if when == "before it was made" else None)
    if when == "in its review":
        again.complete("evaluate", evaluate_result(candidate="0.970000", live_map50="0.980000"))
        assert again.phase() == "InReview"
    if when != "before it was made":
        again.edit(review=no)
        assert standing(plain(again.run)).rejected[:2] == (CANDIDATE, "ann"), "at once"
        again.settle()
    for job in again.jobs:
        again.change_job(job.name, state="Failed", pods_gone=True, finished_at=again.now)
    again.settle()
    assert (again.phase(), made(again, CreatePromotion)) == ("Rejected", 0), again.status.message
    assert standing(plain(again.run)).rejected[:2] == (CANDIDATE, "ann")


@pytest.mark.row("R242")
@pytest.mark.parametrize("when", ["before it was made", "while its promotion waits"])
def test_a_no_to_any_record_of_what_is_taken_over_is_one_to_its_bytes(when: str) -> None:
    """They were measured twice; who says no looked at the one record, and the run takes over the other."""
    second = Again(superseded_by(ended(World().judged(), "Failed", "TargetGone"))).play()
    second.complete("evaluate", evaluate_result(candidate="0.900000", live_map50="0.980000"))
    no = Review(decision="Reject", evidence=digest(second), by="ann")
    second.set_policy(live=None)
    third = Again(second).play(review=no if when == "before it was made" else None)
    if when != "before it was made":
        assert (third.phase(), third.status.version) == ("Promoting", "ft_v1.1")
        third.edit(review=no)
        third.settle()
    assert standing(plain(third.run)).rejected[:2] == (CANDIDATE, "ann")
    if when == "before it was made":
        assert (third.phase(), made(third, CreatePromotion)) == ("Rejected", 0), third.status.message


@pytest.mark.row("R242")
def test_a_no_to_a_record_is_heard_however_many_others_there_are_of_these_bytes() -> None:
    """The status has eight digests at most; anybody who may make ModelVersions makes as many records as they like."""
    second = Again(superseded_by(ended(World().judged(), "Failed", "TargetGone"))).play()
    second.complete("evaluate", evaluate_result(candidate="0.900000", live_map50="0.980000"))
    no = Review(decision="Reject", evidence=digest(second), by="ann")
    second.set_policy(live=None)
    (made_first, *_) = [v for v in second.versions if v.spec.artifact.sha256 == CANDIDATE]
    assert made_first.spec.evidence is not None
    for i in range(9):
        evidence = updated(made_first.spec.evidence, digest="sha256:" + f"{i}".rjust(64, "f"))
        meta = updated(made_first.metadata, name=f"invoice-fields-ft-v1.{50 + i}")
        spec = updated(made_first.spec, version=f"ft_v1.{50 + i}", evidence=evidence, lineage=None)
        second.versions = (*second.versions, updated(made_first, metadata=meta, spec=spec))
    third = Again(second).play(review=no)
    assert (third.phase(), made(third, CreatePromotion)) == ("Rejected", 0), third.status.message
    assert standing(plain(third.run)).rejected[:2] == (CANDIDATE, "ann")


@pytest.mark.row("R244")
@pytest.mark.parametrize("approved", [False, True], ids=["", "and somebody approved"])
@pytest.mark.parametrize("carrier", ["the policy", "another record"])
def test_nobody_is_asked_about_bytes_that_were_rejected_meanwhile(carrier: str, *, approved: bool) -> None:
    """Two runs may ask about the same bytes: one whose review expired, and one that asks again."""
    world = World().in_review()
    writes = made(world, CreateModelVersion)
    if carrier == "the policy":
        world.set_policy(rejected=(Rejected(version="ft_v1.1", sha256=CANDIDATE, by="bo", at=START, run="other"),))
    else:
        spec = updated(tuned("ft_v1.8", CANDIDATE, 60).spec, evidence=rejected_evidence())
        world.versions = (*world.versions, updated(tuned("ft_v1.8", CANDIDATE, 60), spec=spec))
        world.run = updated(world.run, status=updated(world.status, adopted=taken_over()))
    if approved:
        world.edit(review=Review(decision="Approve", evidence=digest(world), by="ann"))
    world.settle()
    assert (world.phase(), world.condition("Finished")) == ("Rejected", ("True", "JudgedBefore")), world.status.message
    assert (made(world, CreateModelVersion), made(world, CreatePromotion)) == (writes, 0)
    assert "rejected it as 'ft_v1." in world.status.message
    assert manifest(world.status.message, "FineTuneRun")["spec"]["mixing"]["seed"] > 0


def rejected_evidence() -> VersionEvidence:
    """Return the evidence of a record that a person rejected."""
    world = World().in_review()
    review(world, "Reject")
    (record,) = [v.spec.evidence for v in world.versions if v.spec.evidence is not None]
    return record


def taken_over() -> AdoptedResult:
    plan = FileReference(uri="file:///p", sha256="a" * 64)
    return AdoptedResult(run="other", version="ft_v1.8", model_version="invoice-fields-ft-v1.8", plan=plan, seed=1)
