"""A ModelVersion: imported bases are measured once; every version shows what became of it."""

import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace as updated

from finetune_operator.api.figures import Figure
from finetune_operator.api.meta import find
from finetune_operator.api.model_version import ModelVersion, VersionStatus
from finetune_operator.api.policy import Policy, VerificationRules
from finetune_operator.api.policy_status import PolicyStatus, Quarantined
from finetune_operator.api.record import Service, services
from finetune_operator.api.run import Review
from finetune_operator.api.run_document import RunDocument, document_json
from finetune_operator.api.schema import misfit
from finetune_operator.api.value import parse, plain
from finetune_operator.decide.decision import Action, Annotate, CreateJob, CreateSnapshot, Decision, DeleteJob, Emit
from finetune_operator.decide.version.machine import decide, owner_policy
from finetune_operator.decide.version.view import VersionView
from finetune_operator.decide.views import JobView, Problem, Span, TemplateView
from unit.decide.run.results import BASE, LIVE, START, evaluate_result, prepare_result, sha
from unit.decide.run.world import World, base, deleted, ended, imported, live, policy, run, template


@dataclass
class Shelf:
    """The objects around one version."""

    version: ModelVersion = field(default_factory=imported)
    policies: tuple[Policy, ...] = field(default_factory=lambda: (policy(),))
    cpu_template: TemplateView | None = field(default_factory=lambda: template("cpu-trainer"))
    snapshot: RunDocument | None = None
    snapshot_problem: Problem | None = None
    jobs: tuple[JobView, ...] = ()
    now: datetime = START
    history: list[Action] = field(default_factory=list)

    def view(self) -> VersionView:
        return VersionView(
            version=self.version,
            now=self.now,
            policies=self.policies,
            cpu_template=self.cpu_template,
            nonce="0a1b",
            snapshot=self.snapshot,
            snapshot_problem=self.snapshot_problem,
            jobs=self.jobs,
        )

    def settle(self) -> Decision[VersionStatus]:
        for _ in range(10):
            before = self.view()
            decision = decide(before)
            self.version = updated(self.version, status=parse(plain(decision.status), VersionStatus))
            for action in decision.actions:
                self._carry_out(action)
            if self.view() == before and not decision.actions:
                return decision
        raise AssertionError("the version does not settle")

    def _carry_out(self, action: Action) -> None:
        self.history.append(action)
        match action:
            case CreateSnapshot():
                self.snapshot = parse(document_json(action.run_document), RunDocument)
            case CreateJob():
                job = JobView(name=action.name, uid=f"uid-of-{action.name}", step=action.step, attempt=action.attempt)
                self.jobs = (*self.jobs, replace(job, spans=(Span(self.now),), pods_gone=False))
            case DeleteJob():
                self.jobs = tuple(j for j in self.jobs if j.name != action.name)
            case Annotate():
                meta = self.version.metadata
                meta = updated(meta, annotations={**meta.annotations, action.key: action.text})
                self.version = updated(self.version, metadata=meta)
            case _:
                pass

    def end(self, state: str, text: str | None, code: int) -> None:
        changed = replace(
            self.jobs[-1],
            state=state,  # type: ignore[arg-type]
            termination_message=text,
            exit_code=code,
            pods_gone=True,
            finished_at=self.now,
            spans=ended(self.jobs[-1], self.now),
        )
        self.jobs = (*self.jobs[:-1], changed)
        self.settle()

    def say(self, result: dict[str, Any], **changes: Any) -> None:
        self.end("Complete", json.dumps({**self.envelope(), "result": result, **changes}), 0)

    def envelope(self) -> dict[str, Any]:
        return {
            "schema": "finetune-operator.io/step-result/v1",
            "step": "verify",
            "owner": self.version.metadata.uid,
            "attempt": self.jobs[-1].attempt,
            "outcome": "Succeeded",
        }

    def phase(self) -> str | None:
        return self.version.status.phase

    def verified(self) -> tuple[str, str]:
        shown = find(self.version.status.conditions, "Verified")
        assert shown is not None
        return shown.status, shown.reason

    def record(self) -> Service:
        """What the version did on the policy's Deployment, by its own record."""
        return services(self.version.metadata.annotations, BASE)[policy().spec.deployment]

    def live(self) -> tuple[str, str]:
        shown = find(self.version.status.conditions, "Live")
        assert shown is not None
        return shown.status, shown.reason


SERVED = {"meanConfidence": "0.912345", "inferenceSeconds": "0.021400"}


def result(digest: str = BASE, map50: str = "0.951234", **changes: Any) -> dict[str, Any]:
    return {
        "settings": sha("s"),
        "evaluator": "finetune-trainer 0.1.0",
        "testSet": {"digest": sha("t"), "images": 200, "boxes": 1200},
        "models": {"base": {"sha256": digest, "map50": map50, **SERVED}},
        "artifact": {"uri": "file:///models/base_v1.onnx", "sha256": digest, "bytes": 3, "format": "onnx"},
        **changes,
    }


@pytest.mark.row("V1")
@pytest.mark.parametrize("policies", [(), (policy(model="letters"),)])
def test_a_base_without_a_policy_of_its_model_waits(policies: tuple[Policy, ...]) -> None:
    shelf = Shelf(policies=policies)
    shelf.settle()
    assert (shelf.phase(), shelf.verified(), shelf.jobs) == ("Imported", ("Unknown", "PolicyNotFound"), ())


@pytest.mark.row("V2")
def test_an_imported_base_is_measured_by_a_job_of_its_own() -> None:
    shelf = Shelf()
    shelf.settle()
    assert [type(a) for a in shelf.history] == [CreateSnapshot, CreateJob]
    document = document_json(shelf.snapshot) if shelf.snapshot else {}
    assert (document["mode"], document["owner"]["kind"]) == ("Verify", "ModelVersion")
    assert document["data"] == {"anchor": {"uri": "file:///data/anchor"}}
    assert not {"mixing", "holdout", "training", "gates"} & document.keys()
    assert shelf.jobs[0].step == "verify"
    assert shelf.phase() == "Imported"


@pytest.mark.row("V2")
@pytest.mark.parametrize("problem", [None, Problem("PodTemplateNotLabelled", "label it")])
def test_a_base_waits_for_a_usable_template(problem: Problem | None) -> None:
    shelf = Shelf(cpu_template=template("cpu-trainer", problem) if problem else None)
    shelf.settle()
    assert shelf.verified() == ("Unknown", problem.reason if problem else "PodTemplateNotFound")
    assert shelf.jobs == ()
    shelf.cpu_template = template("cpu-trainer")
    shelf.settle()
    assert len(shelf.jobs) == 1


@pytest.mark.row("V2")
def test_a_suspended_policy_starts_no_verification() -> None:
    shelf = Shelf(policies=(policy(suspend=True),))
    shelf.settle()
    assert (shelf.verified(), shelf.jobs) == (("Unknown", "PolicySuspended"), ())


@pytest.mark.row("V20")
def test_a_verification_whose_words_are_lost_measures_anew() -> None:
    shelf = Shelf()
    shelf.settle()
    shelf.end("Complete", None, 0)
    shelf.now += timedelta(minutes=10)
    shelf.settle()
    made = [action for action in shelf.history if isinstance(action, CreateJob)]
    assert [(job.attempt, job.collect) for job in made] == [(1, False), (2, False)]
    assert json.loads(made[0].step_inputs) == {"attempt": 1, "nonce": "0a1b"}


@pytest.mark.row("V4")
def test_a_measured_base_is_verified() -> None:
    shelf = Shelf()
    shelf.settle()
    shelf.say(result())
    assert (shelf.phase(), shelf.verified()) == ("Verified", ("True", "Verified"))
    assert shelf.version.status.map50 == "0.951234"
    status = shelf.version.status
    assert (status.mean_confidence, status.inference_seconds) == ("0.912345", "0.021400")
    made = len(shelf.history)
    shelf.now += timedelta(days=1)
    shelf.jobs, shelf.snapshot = (), None
    shelf.settle()
    assert len(shelf.history) == made, "it is measured once"


@pytest.mark.row("V4")
@pytest.mark.parametrize("served", [{}, {"meanConfidence": "NaN", "inferenceSeconds": "-1"}])
def test_a_base_is_verified_without_what_alerts_hold_production_against(served: dict[str, str]) -> None:
    shelf = Shelf()
    shelf.settle()
    shelf.say(result(models={"base": {"sha256": BASE, "map50": "0.951234", **served}}))
    assert shelf.verified() == ("True", "Verified")
    assert (shelf.version.status.mean_confidence, shelf.version.status.inference_seconds) == (None, None)


@pytest.mark.row("V5")
@pytest.mark.parametrize(
    "said", [result("ff" * 32), result(artifact={"uri": "u", "sha256": "ff" * 32, "bytes": 1, "format": "onnx"})]
)
def test_bytes_that_are_not_the_named_ones_are_never_verified(said: dict[str, Any]) -> None:
    shelf = Shelf()
    shelf.settle()
    shelf.say(said)
    assert (shelf.phase(), shelf.verified()) == ("Imported", ("False", "DigestMismatch"))
    assert shelf.version.status.map50 is None


@pytest.mark.row("V4")
def test_a_measurement_that_is_no_number_verifies_nothing() -> None:
    shelf = Shelf()
    shelf.settle()
    shelf.say(result(map50="NaN"))
    assert shelf.verified() == ("False", "NotANumber")


@pytest.mark.row("V4")
@pytest.mark.parametrize(("map50", "verified"), [("0.000000", "False"), ("0.000001", "True")])
def test_a_base_that_finds_nothing_is_not_verified(map50: str, verified: str) -> None:
    shelf = Shelf()
    shelf.settle()
    shelf.say(result(map50=map50))
    assert shelf.verified() == (verified, "Verified" if verified == "True" else "FindsNothing")


def with_floor(least: str) -> tuple[Policy, ...]:
    """The policy with a least mAP50, and a younger one of its model that asks for more."""
    return tuple(
        updated(each, metadata=updated(each.metadata, name=name, creation_timestamp=START + timedelta(days=age)))
        for name, age, each in (
            ("younger", 1, policy(verification=VerificationRules(min_map50=Decimal("0.99")))),
            ("older", 0, policy(verification=VerificationRules(min_map50=Decimal(least)))),
        )
    )


@pytest.mark.row("V4")
@pytest.mark.parametrize(("map50", "verified"), [("0.699999", False), ("0.700000", True), ("0.951234", True)])
def test_a_base_below_the_floor_of_the_policy_that_measures_it_is_not_verified(map50: str, verified: bool) -> None:
    shelf = Shelf(policies=with_floor("0.7"))
    shelf.settle()
    shelf.say(result(map50=map50))
    assert shelf.verified() == (("True", "Verified") if verified else ("False", "BelowFloor"))
    assert shelf.phase() == ("Verified" if verified else "Imported")
    assert shelf.version.status.map50 == map50, "what was measured is shown in any case"
    if not verified:
        said = "mAP50 0.699999 on 200 test images is below 0.7, the minMap50 of FineTunePolicy older"
        assert shelf.version.status.message.startswith(said)
        assert [a.reason for a in shelf.history if isinstance(a, Emit) and a.type == "Warning"] == ["BelowFloor"]


@pytest.mark.row("V45")
def test_a_floor_that_is_lowered_verifies_by_the_figure_that_stands() -> None:
    shelf = Shelf(policies=with_floor("0.96"))
    shelf.settle()
    shelf.say(result())
    made = len([a for a in shelf.history if isinstance(a, CreateJob)])
    for least, verified in [("0.955", "False"), ("0.95", "True"), ("0.99", "True")]:
        shelf.now += timedelta(days=1)
        shelf.policies = with_floor(least)
        shelf.settle()
        assert shelf.verified()[0] == verified, least
    assert len([a for a in shelf.history if isinstance(a, CreateJob)]) == made, "it is measured once"


@pytest.mark.row("V45")
def test_a_base_below_the_floor_stays_so_without_its_policy() -> None:
    shelf = Shelf(policies=with_floor("0.96"))
    shelf.settle()
    shelf.say(result())
    shelf.policies = ()
    shelf.settle()
    assert shelf.verified() == ("False", "BelowFloor")


@pytest.mark.row("V33")
@pytest.mark.parametrize(
    "counts", [{"images": -1}, {"boxes": -1}, {"images": 2**31}, {"boxes": 0}, {"boxes": 200 * 300 + 1}]
)
def test_a_measurement_that_contradicts_itself_verifies_nothing_and_is_made_again(counts: dict[str, int]) -> None:
    shelf = Shelf()
    shelf.settle()
    shelf.say(result(testSet={"digest": sha("t"), "images": 200, "boxes": 1200, **counts}))
    assert shelf.verified() == ("Unknown", "ResultContradictory")
    assert shelf.version.status.map50 is None


@pytest.mark.row("V4")
def test_a_figure_of_no_image_verifies_nothing() -> None:
    shelf = Shelf()
    shelf.settle()
    shelf.say(result(testSet={"digest": sha("t"), "images": 0, "boxes": 0}))
    assert shelf.verified() == ("False", "NotANumber")
    assert shelf.version.status.map50 is None


@pytest.mark.row("V33")
def test_a_measurement_on_a_test_split_without_a_digest_ends_its_attempt_and_is_made_again() -> None:
    """It was taken without a word, and the base waited for ever for a Job that was over."""
    shelf = Shelf()
    shelf.settle()
    shelf.say(result(testSet={"digest": "unknown", "images": 200, "boxes": 1200}))
    assert shelf.verified() == ("Unknown", "ResultInvalid")
    assert shelf.version.status.map50 is None


@pytest.mark.row("V3")
def test_a_refusal_of_the_trainer_is_final_with_its_words() -> None:
    shelf = Shelf()
    shelf.settle()
    error = {"class": "BadInput", "reason": "ClassListDiffers", "message": "m.", "remedy": "r."}
    shelf.end("Failed", json.dumps({**shelf.envelope(), "outcome": "Failed", "error": error}), 10)
    assert shelf.verified() == ("False", "ClassListDiffers")
    assert shelf.version.status.message == "m. r."
    assert sum(isinstance(a, CreateJob) for a in shelf.history) == 1


@pytest.mark.row("V8")
def test_what_is_not_the_bytes_fault_is_tried_again_without_end_and_ever_more_slowly() -> None:
    shelf = Shelf()
    shelf.settle()
    pauses = []
    for _ in range(15):
        shelf.end("Failed", None, 1)
        assert shelf.verified() == ("Unknown", "Internal"), "a promotion of it waits, and is not refused"
        assert [a.reason for a in shelf.history if isinstance(a, Emit)][-1:] == ["Internal"]
        pauses.append(shelf.settle().requeue_after)
        shelf.now += pauses[-1] or timedelta()
        shelf.settle()
    assert pauses[:3] == [timedelta(seconds=10), timedelta(seconds=20), timedelta(seconds=40)]
    assert pauses[-1] == max(p for p in pauses if p) == timedelta(minutes=30)
    assert len(shelf.version.status.attempts) <= 12
    assert shelf.version.status.attempts[-1].attempt == 16
    shelf.say(result())
    assert shelf.phase() == "Verified"


@pytest.mark.row("V8")
def test_a_runtime_that_loses_each_container_costs_no_pod_every_ten_seconds() -> None:
    """Nothing ends a verification that is nobody's fault, so its pauses grow all the same."""
    shelf = Shelf()
    shelf.settle()
    pauses = []
    for _ in range(12):
        shelf.jobs = (*shelf.jobs[:-1], replace(shelf.jobs[-1], disrupted=True))
        shelf.end("Failed", None, 255)
        assert shelf.verified() == ("Unknown", "Disrupted")
        pauses.append(shelf.settle().requeue_after)
        shelf.now += pauses[-1] or timedelta()
        shelf.settle()
    assert pauses[:3] == [timedelta(seconds=10), timedelta(seconds=20), timedelta(seconds=40)]
    assert pauses[-1] == timedelta(minutes=30)


@pytest.mark.row("V8")
def test_a_mended_template_verifies_at_once() -> None:
    shelf = Shelf()
    shelf.settle()
    for _ in range(4):
        shelf.end("Failed", None, 1)
        shelf.now += timedelta(seconds=100)
        shelf.settle()
    shelf.end("Failed", None, 1)
    made = len(shelf.jobs)
    shelf.cpu_template = template("cpu-trainer, mended")
    shelf.settle()
    assert len(shelf.jobs) == made + 1


@pytest.mark.row("V8")
@pytest.mark.parametrize("reason", ["BackoffLimitExceeded", "TooManyDisruptions"])
def test_a_base_that_the_last_release_gave_up_is_verified_again(reason: str) -> None:
    shelf = Shelf()
    shelf.settle()
    shelf.end("Failed", None, 1)
    given_up = tuple(
        updated(c, status="False", reason=reason) if c.type == "Verified" else c
        for c in shelf.version.status.conditions
    )
    shelf.version = updated(shelf.version, status=updated(shelf.version.status, conditions=given_up))
    shelf.now += timedelta(seconds=10)
    shelf.settle()
    shelf.say(result())
    assert shelf.phase() == "Verified"


@pytest.mark.row("V3")
@pytest.mark.row("V8")
@pytest.mark.parametrize(
    ("reason", "where", "verified"),
    [
        ("DigestMismatch", "file:///models/base_v1.onnx is another file", "False"),
        ("DigestMismatch", "file:///models/base_v1.pt is another file", "False"),
        ("BaseUnusable", "it is no detector", "False"),
        ("DigestMismatch", "file:///data/anchor/finetune-index.json is another file", "Unknown"),
        ("ClassListDiffers", "The anchor file:///data/anchor has other classes", "Unknown"),
        ("TestSplitMissing", "no test split", "Unknown"),
        ("DataUnreadable", "it may not read", "Unknown"),
        ("ContractViolated", "images of two releases", "Unknown"),
    ],
)
def test_only_a_finding_about_its_bytes_ends_a_verification(reason: str, where: str, verified: str) -> None:
    shelf = Shelf()
    shelf.settle()
    error = {"class": "BadInput", "reason": reason, "message": where, "remedy": "r."}
    shelf.end("Failed", json.dumps({**shelf.envelope(), "outcome": "Failed", "error": error}), 10)
    assert shelf.verified() == (verified, reason)
    assert where in shelf.version.status.message


@pytest.mark.row("V9")
def test_a_verification_that_never_ends_is_ended_and_tried_again() -> None:
    shelf = Shelf()
    shelf.settle()
    shelf.now += timedelta(hours=6) - timedelta(seconds=1)
    assert shelf.settle().requeue_after == timedelta(seconds=1)
    writes = shelf.version.status
    shelf.now += timedelta(seconds=1)
    shelf.settle()
    assert writes.attempts[0].ran_seconds == 6 * 3600 - 1, "much time is recorded by itself"
    assert shelf.verified() == ("Unknown", "DeadlineExceeded")
    assert any(isinstance(a, DeleteJob) for a in shelf.history)
    shelf.now += timedelta(seconds=10)
    shelf.settle()
    assert shelf.version.status.attempts[-1].attempt == 2
    shelf.say(result())
    assert shelf.phase() == "Verified"


@pytest.mark.row("R40")
def test_a_verification_counts_whatever_runs_on_beside_it() -> None:
    shelf = Shelf()
    shelf.settle()
    said = json.dumps({**shelf.envelope(), "result": result()})
    lingering = replace(
        shelf.jobs[-1],
        termination_message=said,
        exit_code=0,
        finished_at=shelf.now,
        spoke=True,
        lingers=True,
        idle=True,
    )
    shelf.jobs = (lingering,)
    shelf.settle()
    assert shelf.phase() == "Verified"
    assert len(shelf.jobs) == 0, "the Job is deleted"


@pytest.mark.row("V3")
def test_a_foreign_document_is_not_used() -> None:
    shelf = Shelf(snapshot_problem=Problem("NameTaken", "somebody else's"))
    shelf.settle()
    assert (shelf.verified(), shelf.jobs) == (("False", "NameTaken"), ())


def serving(version: str | None, digest: str = BASE) -> tuple[Policy, ...]:
    status = PolicyStatus(live=live(version, digest) if version else None)
    return (updated(policy(), status=status),)


def tuned(verdict: str = "Pass") -> ModelVersion:
    """A version as a run makes it."""
    world = World().judged(candidate={"Pass": "0.981", "Reject": "0.9"}[verdict])
    return world.versions[-1]


@pytest.mark.row("V85")
def test_what_its_run_saw_of_production_stands_in_its_status() -> None:
    """And fits there, however many documents and fields its record names."""
    made = tuned()
    assert made.spec.evidence is not None
    names = ("productionDocuments", "productionConfidence", "productionDetected.0", "productionDetected.1")
    values = (str(2**31 - 1), "0.861200", "58", "41")
    seen = tuple(Figure(name=name, value=value) for name, value in zip(names, values, strict=True))
    evidence = updated(made.spec.evidence, figures=(*(made.spec.evidence.figures or ()), *seen))
    shelf = Shelf(version=updated(made, spec=updated(made.spec, evidence=evidence)), policies=serving(None))
    shelf.settle()
    status = shelf.version.status
    assert status.production is not None
    assert (status.production.mean_confidence, status.mean_confidence) == ("0.861200", "0.912345")
    assert [one.documents for one in status.production.fields] == [41, 58]
    assert misfit("ModelVersion", "status", status) is None


@pytest.mark.row("V6")
@pytest.mark.row("V16")
def test_going_live_and_ceasing_to_be_leave_their_times() -> None:
    made = tuned()
    shelf = Shelf(version=made, policies=serving(None))
    shelf.settle()
    assert (shelf.phase(), shelf.live(), shelf.verified()) == (
        "Candidate",
        ("False", "NeverLive"),
        ("True", "EvaluatedByRun"),
    )
    status = shelf.version.status
    assert (status.map50, status.mean_confidence, status.inference_seconds) == ("0.981000", "0.912345", "0.021400")
    shelf.policies = serving("ft_v1.1", made.spec.artifact.sha256)
    shelf.settle()
    assert (shelf.phase(), shelf.live(), shelf.version.status.live_since) == ("Live", ("True", "Live"), START)
    shelf.now += timedelta(hours=1)
    shelf.policies = serving("base_v1")
    shelf.settle()
    assert (shelf.phase(), shelf.live()) == ("Retired", ("False", "Retired"))
    assert shelf.version.status.last_live == START + timedelta(hours=1)
    assert shelf.version.status.message == "served until 2026-11-21T13:00:00Z"
    shelf.policies = serving("ft_v1.1", made.spec.artifact.sha256)
    shelf.settle()
    assert shelf.phase() == "Live"


def test_a_rejected_candidate_shows_as_rejected() -> None:
    shelf = Shelf(version=tuned("Reject"))
    shelf.settle()
    assert shelf.phase() == "Rejected"


@pytest.mark.parametrize(("decision", "phase"), [("Approve", "Candidate"), ("Reject", "Rejected")])
def test_a_candidate_keeps_what_a_human_decided_about_it(decision: str, phase: str) -> None:
    world = World().in_review()
    assert world.status.evidence is not None
    review = Review(decision=decision, evidence=world.status.evidence.digest, by="ann", reason="I looked")  # type: ignore[arg-type]
    world.edit(review=review)
    world.settle()
    made = world.versions[-1]
    assert made.spec.evidence is not None
    assert made.spec.evidence.decision is not None
    assert (made.spec.evidence.decision.by, made.spec.evidence.decision.reason) == ("ann", "I looked")
    shelf = Shelf(version=made)
    shelf.settle()
    assert shelf.phase() == phase


@pytest.mark.row("V15")
def test_quarantine_outweighs_everything_and_says_where_and_on_what_evidence() -> None:
    entry = Quarantined(version="base_v1", sha256=BASE, reason="Unhealthy", since=START, evidence="exit code 139")
    status = PolicyStatus(live=live("base_v1", BASE), quarantined=(entry,))
    shelf = Shelf(policies=(updated(policy(), status=status),))
    shelf.settle()
    assert shelf.phase() == "Quarantined"
    assert "on Deployment invoice-detector (Unhealthy, 2026-11-21" in shelf.version.status.message
    assert shelf.version.status.message.endswith(": exit code 139")


def test_a_live_base_that_is_not_measured_yet_is_live() -> None:
    shelf = Shelf(policies=serving("base_v1"))
    shelf.settle()
    assert (shelf.phase(), shelf.verified()[0]) == ("Live", "Unknown")


def test_a_fine_tune_that_no_run_made_is_never_verified() -> None:
    tuned = base("ft_v1.1", LIVE, type="FineTuned")
    shelf = Shelf(version=updated(tuned, status=updated(tuned.status, conditions=())))
    shelf.settle()
    assert (shelf.verified(), shelf.jobs) == (("False", "NoEvidence"), ())


@pytest.mark.row("V7")
def test_a_deleted_version_decides_nothing() -> None:
    version = updated(base(), metadata=deleted(base().metadata))
    decision = decide(replace(Shelf(policies=serving("base_v1")).view(), version=version))
    assert (decision.status, decision.actions) == (version.status, ())


def test_the_oldest_policy_of_the_model_measures_a_base() -> None:
    young = updated(policy(), metadata=updated(policy().metadata, name="a", creation_timestamp=START))
    old = updated(policy(), metadata=updated(policy().metadata, name="b", creation_timestamp=START - timedelta(days=1)))
    chosen = owner_policy(Shelf(policies=(young, old)).view())
    assert chosen is not None
    assert chosen.metadata.name == "b"


def rebuilt(verdict: str = "Pass") -> ModelVersion:
    """A base that a run made."""
    world = World(run=run(mode="Rebuild"))
    world.trained(prepare_result(train=1560, old=1500, ratio="0"), images=1560)
    world.start("evaluate")
    world.complete("evaluate", evaluate_result(candidate="0.981000" if verdict == "Pass" else "0.900000"))
    return world.versions[-1]


@pytest.mark.row("V80")
@pytest.mark.parametrize(("verdict", "phase"), [("Pass", "Candidate"), ("Reject", "Rejected")])
def test_a_rebuilt_base_was_measured_by_its_run_and_by_no_job_of_its_own(verdict: str, phase: str) -> None:
    shelf = Shelf(version=rebuilt(verdict))
    assert shelf.version.spec.type == "Base"
    shelf.settle()
    assert shelf.jobs == ()
    assert shelf.version.status.phase == phase
    verified = find(shelf.version.status.conditions, "Verified")
    assert verified is not None
    assert (verified.status, verified.reason) == ("True", "EvaluatedByRun")
    assert shelf.version.status.map50 == ("0.981000" if verdict == "Pass" else "0.900000")


@pytest.mark.row("V80")
def test_a_rebuilt_base_that_is_live_or_was_shows_it_as_any_version_does() -> None:
    shelf = Shelf(version=rebuilt())
    shown = live("base_v2", shelf.version.spec.artifact.sha256)
    shelf.policies = (updated(policy(), status=updated(policy().status, live=shown)),)
    phases = []
    for policies in (shelf.policies, (policy(),)):
        shelf.policies = policies
        shelf.settle()
        phases.append(shelf.version.status.phase)
    assert phases == ["Live", "Retired"]
