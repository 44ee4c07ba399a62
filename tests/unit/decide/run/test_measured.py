"""What is believed of an evaluation: of what was asked for, as much as was drawn, and by whom it was made."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace as updated

from finetune_operator.api.meta import FileReference
from finetune_operator.api.model_version import ModelVersion
from finetune_operator.api.policy import PodTemplates, Serving
from finetune_operator.api.policy_status import LiveVersion, Rejected
from finetune_operator.api.run import Review, TestSet
from finetune_operator.decide.decision import CreateJob, CreateModelVersion, CreatePromotion
from unit.decide.run.results import (
    BASE,
    CANDIDATE,
    DIGESTS,
    LIVE,
    UID,
    evaluate_result,
    measured,
    prepare_result,
    scores,
    sha,
    train_result,
)
from unit.decide.run.world import World, base, made, policy, review, template

OTHER = "0f" * 32


def changed(**parts: Any) -> dict[str, Any]:
    """Return an evaluation that would pass, with some of its parts changed."""
    result = evaluate_result()
    for part, changes in parts.items():
        result[part] = {**result[part], **changes}
    return result


def models(**changes: Any) -> dict[str, Any]:
    return changed(models=changes)


LIES: dict[str, dict[str, Any]] = {
    "another test set": changed(testSet={"digest": OTHER}),
    "fewer test images": changed(testSet={"images": 1}),
    "other new samples": changed(newSet={"digest": OTHER}),
    "fewer documents": changed(newSet={"documents": 1, "fresh": 1}),
    "nothing fresh where everything was": changed(newSet={"fresh": 0}),
    "more fresh than there are": changed(newSet={"fresh": 61}),
    "fewer boxes for the candidate": models(candidate={**measured(CANDIDATE, "0.981000"), "pool": scores(9, 10)}),
    "fewer boxes for the base": models(base={**measured(BASE, "0.5"), "pool": scores(9, 10)}),
    "no boxes for the base": models(base={**measured(BASE, "0.5"), "pool": None}),
    "candidate and base swapped": models(candidate=measured(BASE, "0.981000"), base=measured(CANDIDATE, "0.985000")),
    "another candidate": models(candidate=measured(OTHER, "0.999000")),
    "a live version where none is": models(live=measured(LIVE, "0.5")),
}


@pytest.mark.row("R81")
@pytest.mark.parametrize("lie", LIES)
def test_an_evaluation_of_something_else_is_no_evidence(lie: str) -> None:
    world = World().trained()
    world.start("evaluate")
    world.complete("evaluate", LIES[lie])
    (attempt,) = [a for a in world.status.attempts if a.step == "evaluate"]
    assert (attempt.outcome, attempt.reason) == ("Failed", "EvidenceMismatch"), attempt.message
    assert world.status.verdict is None
    assert not [a for a in world.history if isinstance(a, CreateModelVersion | CreatePromotion)]


LISTED = {"digest": DIGESTS["pool"], "samples": 60, "withdrawn": 0, "outside": 60}


@pytest.mark.row("R315")
@pytest.mark.parametrize(
    ("said", "listed", "taken"),
    [
        ({}, {}, True),
        ({}, None, True),
        ({"withdrawn": 3}, {"withdrawn": 3}, True),
        ({"withdrawn": 1000}, {}, False),
        ({}, {"samples": 59}, False),
        ({}, {"outside": 59}, False),
        ({}, {"digest": OTHER}, False),
        ({"digests": {**DIGESTS, "pool": OTHER}}, {}, False),
    ],
    ids=[
        "the same",
        "earlier trainer",
        "withdrawn",
        "more withdrawn",
        "fewer",
        "fewer outside",
        "another pool",
        "prepare said another pool",
    ],
)
def test_what_prepare_says_of_the_pool_is_held_to_its_plan(
    said: dict[str, Any], listed: dict[str, Any] | None, taken: bool
) -> None:
    """Else an honest run gives way to it (R23), or ends by what was made of another pool (R62)."""
    world = World()
    world.trained(prepare_result(**said))
    world.start("evaluate")
    result = evaluate_result() | ({} if listed is None else {"pool": {**LISTED, **listed}})
    world.complete("evaluate", result)
    (attempt,) = [a for a in world.status.attempts if a.step == "evaluate"]
    assert (attempt.outcome, attempt.reason) == (("Succeeded", "") if taken else ("Failed", "EvidenceMismatch"))


@pytest.mark.row("R315")
def test_a_mix_that_an_earlier_release_recorded_is_held_to_nothing_that_it_did_not_count() -> None:
    world = World().trained()
    inputs = world.status.inputs
    assert inputs is not None
    before = updated(world.status, inputs=updated(inputs, outside=None, withdrawn=None))
    world.run = updated(world.run, status=before)
    world.start("evaluate")
    world.complete("evaluate", evaluate_result() | {"pool": {**LISTED, "withdrawn": 7}})
    (attempt,) = [a for a in world.status.attempts if a.step == "evaluate"]
    assert attempt.outcome == "Succeeded"


BELONGS_ELSEWHERE: dict[str, dict[str, Any]] = {
    "another owner": {"owner": "22222222-2222-3333-4444-555555555555"},
    "another attempt": {"attempt": 7},
    "a manifest of another owner's prefix": {
        "manifest": {"uri": "file:///artifacts/ml/other/manifest.json", "sha256": sha("manifest")}
    },
}


@pytest.mark.parametrize("case", BELONGS_ELSEWHERE)
def test_a_result_of_another_owner_or_attempt_is_not_taken(case: str) -> None:
    world = World().trained()
    world.start("evaluate")
    world.complete("evaluate", evaluate_result(), **BELONGS_ELSEWHERE[case])
    (attempt,) = [a for a in world.status.attempts if a.step == "evaluate"]
    assert (attempt.outcome, attempt.reason) == ("Failed", "ResultInvalid"), attempt.message
    assert world.status.verdict is None


HUGE: dict[str, dict[str, Any]] = {
    "new samples": {"newSet": {"documents": 10**17, "boxes": 1000, "fresh": 60}},
    "boxes": {"newSet": {"documents": 60, "boxes": 10**17, "fresh": 60}},
    "fresh documents": {"newSet": {"documents": 60, "boxes": 1000, "fresh": -1}},
    "test images": {"test": 10**17},
}


@pytest.mark.parametrize("case", HUGE)
def test_counts_that_no_data_set_has_are_not_taken(case: str) -> None:
    world = World()
    world.settle()
    world.start("prepare")
    world.complete("prepare", prepare_result(**HUGE[case]))
    (attempt,) = [a for a in world.status.attempts if a.step == "prepare"]
    assert (attempt.outcome, attempt.reason) == ("Failed", "ResultInvalid"), attempt.message


NEW_SET = {"documents": 60, "boxes": 1000, "fresh": 60}
DRAWN_OTHERWISE: dict[str, dict[str, Any]] = {
    "a mix that is not its parts": {"train": 1261},
    "a pool that is not its parts": {"pool": 10**9},
    "held out without a holdout": {"pool": 70, "fresh": 70, "heldOut": 10},
    "more old pages than there are": {"anchor": 1199},
    "more old pages than the ratio asks for": {"ratio": "19.9"},
    "more fresh than there are": {"fresh": 61},
    "not all fresh, and nothing tells": {"fresh": 59},
    "more documents than pages": {"newSet": NEW_SET | {"documents": 61, "fresh": 61}},
    "not all documents fresh, and nothing tells": {"newSet": NEW_SET | {"fresh": 59}},
    "more boxes than pages may have": {"newSet": NEW_SET | {"boxes": 60 * 300 + 1}},
    "boxes in no document": {"newSet": NEW_SET | {"documents": 0, "fresh": 0}},
    "fewer samples than are needed": {"pool": 1, "outside": 1, "new": 1, "fresh": 1, "train": 21, "old": 20,
                                      "newSet": {"documents": 1, "boxes": 9, "fresh": 1}},
}  # fmt: skip


@pytest.mark.row("R121")
@pytest.mark.parametrize("what", DRAWN_OTHERWISE)
def test_counts_of_a_mix_that_contradict_each_other_are_not_taken(what: str) -> None:
    world = World()
    world.settle()
    world.start("prepare")
    world.complete("prepare", prepare_result(**DRAWN_OTHERWISE[what]))
    (attempt,) = [a for a in world.status.attempts if a.step == "prepare"]
    assert (attempt.outcome, attempt.reason) == ("Failed", "ResultContradictory"), attempt.message


@pytest.mark.row("R121")
@pytest.mark.parametrize("images", [1259, 1261])
def test_a_training_on_another_number_of_images_than_the_mix_has_is_not_taken(images: int) -> None:
    world = World.at("train")
    world.complete("train", train_result(images=images))
    (attempt,) = [a for a in world.status.attempts if a.step == "train"]
    assert (attempt.outcome, attempt.reason) == ("Failed", "ResultContradictory"), attempt.message


@pytest.mark.row("R99")
@pytest.mark.parametrize("whose", ["good here", "rejected here", "another run's", "good on another Deployment"])
def test_bytes_that_are_another_versions_are_not_taken_as_trained(whose: str) -> None:
    """Else whoever may write a trainer's words, and reject, bars for good what was good here."""
    world = World().at("train")
    if whose == "good here":
        world.set_policy(last_good=(LiveVersion(version="ft_v1.0", model_version="m", uri="u", sha256=CANDIDATE),))
    elif whose == "rejected here":
        world.set_policy(rejected=(Rejected(version="ft_v1.0", sha256=CANDIDATE, by="ann", at=world.now),))
    else:
        world.versions += (another_runs("staging" if whose == "another run's" else "prod"),)
    world.complete("train", train_result())
    (attempt,) = [a for a in world.status.attempts if a.step == "train"]
    assert (attempt.outcome, attempt.reason) == ("Failed", "ResultInvalid"), attempt.message
    assert "byte by byte" in attempt.message


def another_runs(policy: str = "invoice-fields") -> ModelVersion:
    """Return the record that another run made of this run's bytes."""
    world = World().judged(candidate="0.981000")
    (version,) = [v for v in world.versions if v.spec.lineage is not None]
    assert version.spec.lineage is not None
    lineage = updated(version.spec.lineage, run="other", run_uid="other-uid", policy=policy, spec_hash="other")
    return updated(version, spec=updated(version.spec, version="ft_v1.8", lineage=lineage))


@pytest.mark.row("R110")
def test_a_candidate_that_another_run_records_meanwhile_is_nobodys_to_reject() -> None:
    """A liar names the bytes of a run that is still measured: a no to them would bar what goes live by that run."""
    world = World().in_review()
    world.versions += (another_runs(),)
    review(world, "Reject")
    world.settle()
    assert (world.phase(), world.status.decision) == ("Failed", None)
    assert "ft_v1.8, byte by byte" in world.status.message
    assert made(world, CreateModelVersion) == 0


@pytest.mark.row("R110")
def test_a_candidate_that_another_run_takes_over_stays_its_makers() -> None:
    world = World().judged(candidate="0.981000")
    world.versions += (another_runs(),)
    world.settle()
    assert world.phase() == "Promoting"


@pytest.mark.row("R123")
def test_bytes_of_a_version_that_serves_elsewhere_are_not_taken_as_trained() -> None:
    """Another policy of the model serves it: a no to a run that hands it in would bar it there, too."""
    world = World().at("train")
    world.versions = (*world.versions, base("ft_v1.7", CANDIDATE, type="FineTuned"))
    world.complete("train", train_result())
    (attempt,) = [a for a in world.status.attempts if a.step == "train"]
    assert (attempt.outcome, attempt.reason) == ("Failed", "ResultInvalid"), attempt.message
    assert "ft_v1.7, byte by byte" in attempt.message


@pytest.mark.row("R82")
def test_what_is_fresh_is_decided_against_what_is_live_at_the_evaluation() -> None:
    """Prepared while a fine-tune of the same samples was live; judged after the way back to the base."""
    listing = FileReference(uri="file:///earlier/plan.json", sha256="ab" * 32)
    earlier = base("ft_v1.1", LIVE, type="FineTuned", inputs=listing)
    world = World(versions=(base(), earlier))
    world.go_live("ft_v1.1")
    world.settle()
    world.start("prepare")
    world.complete("prepare", prepare_result(fresh=0, newSet={"documents": 60, "boxes": 1000, "fresh": 0}))
    assert world.status.inputs is not None
    assert world.status.inputs.new_set is not None
    assert (world.status.inputs.new_set.fresh, world.status.inputs.new_set.live) == (0, LIVE)
    world.start("train")
    world.go_live("base_v1", BASE)
    world.complete("train", train_result())
    world.start("evaluate")
    world.complete("evaluate", evaluate_result())
    assert "newSamplesFresh" in [gate.name for gate in world.status.gates]
    assert world.status.verdict == "Pass"


def digest_of(image: str, manifest: str = "manifest") -> str:
    """Return the evidence's digest of a run whose evaluator was that image."""
    world = World().trained()
    world.start("evaluate")
    world.change_job(world.job("evaluate").name, image_id=image)
    where = {"uri": f"file:///artifacts/ml/{UID}/manifest.json", "sha256": sha(manifest)}
    world.complete("evaluate", evaluate_result(), manifest=where)
    assert world.status.evidence is not None
    return world.status.evidence.digest


@pytest.mark.row("R80")
def test_the_evidence_is_bound_to_the_image_and_the_manifest_of_what_measured() -> None:
    honest = digest_of("trainer@sha256:aa")
    assert digest_of("trainer@sha256:aa") == honest
    assert digest_of("trainer@sha256:bb") != honest, "another image measured"
    assert digest_of("trainer@sha256:aa", "other") != honest, "another manifest"


@pytest.mark.row("R80")
def test_a_measurement_whose_words_are_lost_is_made_anew_not_collected() -> None:
    world = World().trained()
    world.start("evaluate")
    world.complete("evaluate", None)
    world.wait(60)
    world.settle()
    made = [a for a in world.history if isinstance(a, CreateJob) and a.step == "evaluate"]
    assert [(a.attempt, a.collect) for a in made] == [(1, False), (2, False)]


def beside_a_fine_tune(drawn: int, counted: int, *, listing: bool = True) -> World:
    """A run beside a live fine-tune: `drawn` fresh samples by `prepare`, `counted` by the evaluation."""
    inputs = FileReference(uri="file:///earlier/plan.json", sha256="ab" * 32) if listing else None
    world = World(versions=(base(), base("ft_v1.1", LIVE, type="FineTuned", inputs=inputs)))
    world.go_live("ft_v1.1")
    new_set = {"documents": 60, "boxes": 1000, "fresh": drawn}
    world.trained(prepare_result(fresh=drawn, newSet=new_set))
    world.start("evaluate")
    result = evaluate_result(live_map50="0.980000")
    result["newSet"]["fresh"] = counted
    for model in result["models"].values():
        complete = int(counted * model["fresh"]["matched"] / 1000)
        model["fresh"]["documentRate"] = f"{complete / counted:.6f}"
    world.complete("evaluate", result)
    return world


@pytest.mark.row("R81")
@pytest.mark.parametrize(
    ("drawn", "counted", "listing", "taken"),
    [
        (10, 10, True, True),
        (10, 9, True, False),
        (10, 60, True, False),
        (60, 60, False, True),
        (60, 10, False, False),
    ],
)
def test_as_much_is_fresh_as_the_plan_of_what_is_live_tells_and_all_where_none_tells(
    drawn: int, counted: int, listing: bool, taken: bool
) -> None:
    world = beside_a_fine_tune(drawn, counted, listing=listing)
    (attempt,) = [a for a in world.status.attempts if a.step == "evaluate"]
    assert (attempt.outcome, attempt.reason) == (("Succeeded", "") if taken else ("Failed", "EvidenceMismatch"))


@pytest.mark.row("R80")
def test_an_evaluation_is_told_what_to_measure_and_by_what_it_is_known() -> None:
    world = beside_a_fine_tune(10, 10)
    (made,) = [a for a in world.history if isinstance(a, CreateJob) and a.step == "evaluate"]
    (attempt,) = [a for a in world.status.attempts if a.step == "evaluate"]
    step_inputs = json.loads(made.step_inputs)
    assert world.status.inputs is not None
    assert (step_inputs["attempt"], step_inputs["nonce"], step_inputs["round"]) == (1, attempt.nonce, 1)
    assert attempt.nonce
    assert step_inputs["plan"]["sha256"] == world.status.inputs.plan.sha256
    assert step_inputs["candidate"]["sha256"] == CANDIDATE
    assert (step_inputs["live"]["version"], step_inputs["live"]["artifact"]["sha256"]) == ("ft_v1.1", LIVE)
    assert step_inputs["live"]["inputs"]["uri"] == "file:///earlier/plan.json"


@pytest.mark.row("R94")
@pytest.mark.parametrize(
    ("live", "splits", "verdict"),
    [
        (None, {"base_v1": "now"}, "Pass"),
        (None, {"base_v1": "before"}, "Review"),
        (None, {"base_v1": None}, "Pass"),  # nothing was measured yet: this is the yardstick from here on
        ("ft_v1.1", {"base_v1": "before", "ft_v1.1": "now"}, "Pass"),
        ("ft_v1.1", {"base_v1": "now", "ft_v1.1": "before"}, "Review"),
        ("ft_v1.1", {"base_v1": "now", "ft_v1.1": None}, "Review"),
    ],
)
def test_the_yardstick_is_that_of_what_is_live_or_of_the_base_where_nothing_is(
    live: str | None, splits: dict[str, str | None], verdict: str
) -> None:
    known = {"now": DIGESTS["testSet"], "before": OTHER}
    versions = []
    for name, split in splits.items():
        made = base() if name == "base_v1" else base(name, LIVE, type="FineTuned")
        test_set = None if split is None else TestSet(digest=known[split], images=200)
        versions.append(updated(made, status=updated(made.status, test_set=test_set)))
    world = World(versions=tuple(versions))
    if live is not None:
        world.go_live(live)
    world.trained()
    world.start("evaluate")
    world.complete("evaluate", evaluate_result(live_map50="0.980000" if live else None))
    (moved,) = [gate for gate in world.status.gates if gate.name == "yardstickMoved"]
    assert moved.verdict == verdict, moved.message


@pytest.mark.row("R122")
@pytest.mark.parametrize(
    ("base_map50", "live_map50", "verdict"),
    [("0.985000", "0.980000", "Pass"), ("0.995000", "0.980000", "Review"), ("0.985000", "0.960000", "Review")],
)
def test_base_and_live_version_are_measured_as_they_were_before_on_the_same_split(
    base_map50: str, live_map50: str, verdict: str
) -> None:
    versions = [
        updated(made, status=updated(made.status, map50=map50))
        for made, map50 in ((base(), base_map50), (base("ft_v1.1", LIVE, type="FineTuned"), live_map50))
    ]
    world = World(versions=tuple(versions))
    world.go_live("ft_v1.1")
    world.trained()
    world.start("evaluate")
    world.complete("evaluate", evaluate_result(live_map50="0.980000"))
    (moved,) = [gate for gate in world.status.gates if gate.name == "yardstickMoved"]
    assert moved.verdict == verdict, moved.message
    assert ("by the record of" in moved.message) == (verdict == "Review")


def measured_as(version: ModelVersion, name: str, map50: str) -> ModelVersion:
    """Return a record of the same bytes under another name, from before: all its models had that mAP50."""
    evidence = version.spec.evidence
    assert evidence is not None
    figures = tuple(updated(f, value=map50) if f.name.endswith("Map50") else f for f in evidence.figures or ())
    return updated(version, spec=updated(version.spec, version=name, evidence=updated(evidence, figures=figures)))


@pytest.mark.row("R122")
@pytest.mark.parametrize("twice", [False, True], ids=["one record", "its review had expired before"])
def test_what_was_approved_since_a_newer_evaluator_measures_otherwise_is_what_counts(twice: bool) -> None:
    """Where a review expires and the next run measures the same bytes anew, there are two records of them."""
    verified = updated(base(), status=updated(base().status, map50="0.900000"))
    world = World(versions=(verified,)).judged()
    assert (world.phase(), world.status.verdict) == ("InReview", "Review")
    assert world.status.evidence is not None
    world.edit(review=Review(decision="Approve", evidence=world.status.evidence.digest, by="ann"))
    world.settle()
    [approved] = [a.spec for a in world.history if isinstance(a, CreateModelVersion)]
    of_live = updated(base("ft_v1.3", CANDIDATE), spec=updated(approved, version="ft_v1.3"))
    earlier = (measured_as(of_live, "ft_v1.1", "0.890000"),) if twice else ()
    again = World(versions=(verified, *earlier, of_live))
    again.go_live("ft_v1.3", CANDIDATE)
    again.settle()
    again.start("prepare")
    again.complete(
        "prepare", prepare_result(pool=61, outside=61, new=61, train=1261, digests={**DIGESTS, "pool": OTHER})
    )
    again.start("train")
    other = {"uri": train_result()["artifact"]["uri"], "sha256": OTHER, "bytes": 9, "format": "onnx"}
    again.complete("train", train_result(artifact=other, images=1261))
    again.start("evaluate")
    result = evaluate_result(live_map50="0.981000", matched=960)
    result["models"]["candidate"]["sha256"], result["models"]["live"]["sha256"] = OTHER, CANDIDATE
    again.complete("evaluate", result)
    (moved,) = [gate for gate in again.status.gates if gate.name == "yardstickMoved"]
    assert moved.verdict == "Pass", moved.message


@pytest.mark.row("R80")
def test_the_evidence_is_bound_to_what_prepare_counted() -> None:
    def digest_with(**counts: Any) -> str:
        world = World()
        world.trained(prepare_result(**counts))
        world.start("evaluate")
        world.complete("evaluate", evaluate_result())
        assert world.status.evidence is not None
        return world.status.evidence.digest

    assert digest_with() == digest_with()
    assert digest_with(anchor=1501) != digest_with()


@pytest.mark.row("R83")
@pytest.mark.parametrize("serving", [Serving(image_size=1280), Serving(max_detections=299)])
def test_a_base_that_is_served_otherwise_than_the_policy_says_begins_no_job(serving: Serving) -> None:
    world = World(versions=(_served(base(), serving),))
    world.settle()
    assert world.condition("Accepted") == ("False", "ServingDiffers")
    assert "the policy says" in world.message("Accepted")
    assert not [a for a in world.history if isinstance(a, CreateJob)]
    world.set_rules(serving=serving)
    world.settle()
    assert world.jobs_made("prepare") == 1, "it goes on when the policy says the same"


def _served(version: ModelVersion, serving: Serving) -> ModelVersion:
    return updated(version, spec=updated(version.spec, serving=serving))


@pytest.mark.row("R84")
def test_what_evaluates_can_have_a_pod_template_of_its_own() -> None:
    own = PodTemplates(train="gpu-trainer", cpu="cpu-trainer", evaluate="judge")
    world = World(policy=updated(policy(), spec=updated(policy().spec, pod_templates=own)))
    world.settle()
    assert world.condition("Accepted") == ("False", "PodTemplateNotFound")
    assert "'judge'" in world.message("Accepted")
    world.evaluate_template = template("judge")
    world.trained()
    made = {a.step: a.template for a in world.history if isinstance(a, CreateJob)}
    assert made == {"prepare": "cpu", "train": "train", "evaluate": "evaluate"}
