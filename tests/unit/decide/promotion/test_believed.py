"""What a ModelVersion's record is worth: its gates and figures count, never its word (decision 13)."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from finetune_operator.api.figures import Figure
from finetune_operator.api.meta import Condition, ConditionStatus
from finetune_operator.api.model_version import ModelVersion, VersionEvidence
from finetune_operator.api.names import OWNER_KIND_LABEL, OWNER_NAME_LABEL, promotion_name, sha256_of
from finetune_operator.api.promotion import Approval, Promotion
from finetune_operator.api.record import Mark, Service
from finetune_operator.api.run import GateVerdict, Ruling
from finetune_operator.decide.gates.recorded import disbelief
from finetune_operator.decide.promotion.checks import judge
from finetune_operator.decide.promotion.eligibility import is_proven, made_by_run, passed_by_itself, was_live
from finetune_operator.decide.promotion.proposal import Clear, Proposal, Refuse
from unit.decide.policy.world import base, deployment, keys, live, policy, promotion, tuned, with_record

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
BASE = base()


def with_evidence(version: ModelVersion, **changes: Any) -> ModelVersion:
    evidence = version.spec.evidence
    assert evidence is not None
    return replace(version, spec=replace(version.spec, evidence=replace(evidence, **changes)))


def evidence_of(version: ModelVersion) -> VersionEvidence:
    assert version.spec.evidence is not None
    return version.spec.evidence


def asked(version: ModelVersion, *others: ModelVersion, approval: Approval | None = None) -> Clear | Refuse | object:
    request = promotion(version.spec.version, "base_v1", approval=approval)
    return judge(Proposal(request, policy(live(BASE)), (BASE, version, *others), deployment(keys(BASE))))


def gate(name: str = "regression", verdict: Any = "Pass", value: str = "0.000000", threshold: str = "") -> GateVerdict:
    limits = {"regression": "review at 1, reject above 3", "newSamples": "0.80"}
    return GateVerdict(name=name, verdict=verdict, value=value, threshold=threshold or limits.get(name, ""))


REGRESSION, NEW = evidence_of(tuned()).gates
FIGURES = evidence_of(tuned()).figures or ()
WITHOUT_MAP50 = tuple(f for f in FIGURES if f.name != "candidateMap50")
LIVE_MAP50 = Figure(name="liveMap50", value="0.990000")
FORGED = {
    "no gate": {"gates": ()},
    "only a gate that nobody knows": {"gates": (gate("trustMe"),)},
    "one of the gates is missing": {"gates": (REGRESSION,)},
    "one gate stands twice": {"gates": (REGRESSION, REGRESSION, NEW)},
    "a gate that says Reject beside a verdict that says Pass": {"gates": (gate(verdict="Reject", value="50"), NEW)},
    "an unknown gate that says Error": {"gates": (REGRESSION, NEW, gate("newer", "Error"))},
    "a drop that the figures do not make": {"gates": (gate(value="0.500000"), NEW)},
    "a rate that the figures do not have": {"gates": (REGRESSION, gate("newSamples", value="0.990000"))},
    "a gate without a value": {"gates": (gate(value=""), NEW)},
    "a gate without a threshold": {"gates": (replace(REGRESSION, threshold=""), NEW)},
    "a value that its threshold does not pass": {"gates": (gate(threshold="review at 0, reject above 3"), NEW)},
    "a rate that is its threshold and no more": {"gates": (REGRESSION, replace(NEW, threshold="0.90"))},
    "two thresholds of which one is passed": {"gates": (REGRESSION, replace(NEW, threshold="0.80 0.95"))},
    "three thresholds": {"gates": (gate(threshold="review at 1, reject above 3, or 5"), NEW)},
    "a rate that its threshold sends to review": {"gates": (REGRESSION, replace(NEW, threshold="0.95"))},
    "a rate of fresh samples that no figure has": {
        "gates": (REGRESSION, NEW, gate("newSamplesFresh", value="0.900000", threshold="0.80"))},
    "no figures": {"figures": ()},
    "a figure is missing": {"figures": WITHOUT_MAP50},
    "a gate and figures that are both missing": {"gates": (gate(value=""), NEW), "figures": WITHOUT_MAP50},
    "a drop that leaves out the live version, which was better": {"figures": (*FIGURES, LIVE_MAP50)},
    "a live version that was measured as no number": {"figures": (*FIGURES, replace(LIVE_MAP50, value="NaN"))},
    "the live version was measured and the base was not": {
        "figures": (LIVE_MAP50, *(f for f in FIGURES if f.name != "baseMap50"))},
    "the base was not measured": {"figures": tuple(f for f in FIGURES if f.name != "baseMap50")},
    "figures that are no numbers": {"figures": (*WITHOUT_MAP50, Figure(name="candidateMap50", value="NaN"))},
}  # fmt: skip


@pytest.mark.row("D48")
@pytest.mark.parametrize("changes", [pytest.param(changes, id=name) for name, changes in FORGED.items()])
def test_a_record_that_contradicts_itself_never_goes_live(changes: dict[str, Any]) -> None:
    forged = with_evidence(tuned(), **changes)
    finding = asked(forged)
    assert isinstance(finding, Refuse), finding
    assert finding.reason == "NotEligible"
    assert not passed_by_itself(forged)


@pytest.mark.row("D48")
def test_a_gate_that_could_not_judge_contradicts_nothing_and_never_passes() -> None:
    failed = evidence_of(with_evidence(tuned(), gates=(gate(verdict="Error", value=""), NEW), figures=()))
    assert disbelief(replace(failed, gates=(gate(verdict="Error", value=""), replace(NEW, verdict="Error")))) is None
    refused = asked(with_evidence(tuned(), gates=failed.gates))
    assert isinstance(refused, Refuse)
    assert "its verdict is Error" in refused.message


@pytest.mark.row("D48")
@pytest.mark.parametrize(("value", "goes"), [("3.000000", True), ("3.000100", False), ("6.000000", False)])
def test_no_approval_makes_a_review_of_what_its_figures_reject(value: str, goes: bool) -> None:
    map50 = f"{Decimal('0.96') - Decimal(value) / 100:.8f}"
    figures = (*WITHOUT_MAP50, Figure(name="candidateMap50", value=map50))
    claimed = with_evidence(
        tuned(), verdict="Review", gates=(gate(verdict="Review", value=value), NEW), figures=figures
    )
    finding = asked(claimed, approval=Approval(by="ann", evidence=evidence_of(claimed).digest))
    assert isinstance(finding, Clear if goes else Refuse), finding


@pytest.mark.row("D48")
def test_the_strictest_gate_counts_whatever_the_verdict_says() -> None:
    review = with_evidence(tuned(verdict="Review"), verdict="Pass")
    refused = asked(review)
    assert isinstance(refused, Refuse)
    assert "verdict is Review" in refused.message
    assert isinstance(asked(review, approval=Approval(by="ann", evidence=evidence_of(review).digest)), Clear)


@pytest.mark.row("D48")
def test_a_gate_of_a_later_release_counts_by_its_verdict() -> None:
    assert isinstance(asked(with_evidence(tuned(), gates=(REGRESSION, NEW, gate("newer")))), Clear)
    assert isinstance(asked(with_evidence(tuned(), gates=(REGRESSION, NEW, gate("newer", "Review")))), Refuse)


@pytest.mark.row("D49")
@pytest.mark.parametrize("by", ["gates", "Gates", " gates "])
def test_the_gates_approve_nothing_that_they_sent_to_review(by: str) -> None:
    review = tuned(verdict="Review")
    finding = asked(review, approval=Approval(by=by, evidence=evidence_of(review).digest))
    assert isinstance(finding, Refuse)
    assert finding.reason == "NotEligible"


@pytest.mark.row("D50")
def test_what_it_was_measured_against_is_known_by_digest() -> None:
    measured = with_evidence(tuned(), baseline_sha256=BASE.spec.artifact.sha256)
    assert isinstance(asked(measured), Clear)
    other = asked(with_evidence(tuned(), baseline_sha256="f" * 64))
    assert isinstance(other, Refuse)
    assert "with other bytes" in other.message


@pytest.mark.row("D50")
@pytest.mark.parametrize("baseline", ["base_v1", None])
def test_of_a_base_that_the_last_release_recorded_by_name_the_lineage_has_the_digest(baseline: str | None) -> None:
    version = tuned(baseline=baseline)
    assert version.spec.lineage is not None
    assert isinstance(asked(version), Clear)
    imported_anew = replace(version.spec.lineage, base_sha256=sha256_of(b"other bytes"))
    finding = asked(replace(version, spec=replace(version.spec, lineage=imported_anew)))
    assert isinstance(finding, Refuse)
    assert finding.reason == "NotEligible"


@pytest.mark.row("D51")
@pytest.mark.parametrize("where", ["status", "another Deployment"])
def test_having_served_elsewhere_says_nothing_here(where: str) -> None:
    version = tuned(baseline="ft_v1.7")
    if where == "status":
        served = replace(version, status=replace(version.status, live_since=NOW, last_live=NOW))
    else:
        served = with_record(version, Service(good=NOW), on="staging")
    assert not was_live(policy(live(BASE)), served)
    assert isinstance(asked(served), Refuse)
    assert isinstance(asked(with_record(version, Service(good=NOW))), Clear)


@pytest.mark.row("D258")
def test_having_served_in_the_namespace_that_it_was_copied_from_says_nothing_here() -> None:
    """People try a version in one namespace and copy it to another, whose Deployment is called alike."""
    copied = with_record(tuned(baseline="ft_v1.7"), Service(good=NOW, good_in="staging"))
    assert not was_live(policy(live(BASE)), copied)
    finding = asked(copied)
    assert isinstance(finding, Refuse)
    assert "measured against 'ft_v1.7', but live is 'base_v1'" in finding.message
    assert isinstance(asked(with_record(copied, Service(good=NOW, good_in="ml"))), Clear)


@pytest.mark.row("D258")
def test_a_base_that_served_in_another_namespace_does_not_replace_what_is_live() -> None:
    other = with_record(base("base_v2"), Service(good=NOW, good_in="staging"))
    finding = asked(other)
    assert isinstance(finding, Refuse)
    assert "a base goes live first" in finding.message


@pytest.mark.row("D51")
def test_what_is_live_on_record_is_put_live_again_whatever_it_was_measured_against() -> None:
    """Found on the Deployment, it passed no watch here; somebody took its keys, and a person puts it back."""
    adopted = tuned(baseline="ft_v1.7")
    status = replace(live(adopted), last_good=())
    again = promotion(adopted.spec.version, adopted.spec.version, release_hold=True)
    assert isinstance(judge(Proposal(again, policy(status), (adopted,), deployment())), Clear)


@pytest.mark.row("D52")
def test_a_persons_no_is_about_the_bytes_whatever_they_are_called() -> None:
    no = Ruling(verdict="Reject", by="ann", at=NOW, reason="bad")
    rejected = with_evidence(tuned("ft_v1.2", verdict="Review"), decision=no)
    renamed = tuned(artifact=rejected.spec.artifact)
    finding = asked(renamed, rejected)
    assert isinstance(finding, Refuse)
    assert "'ann' rejected it as 'ft_v1.2'" in finding.message
    assert isinstance(asked(tuned(), rejected), Clear)


@pytest.mark.row("D52")
def test_of_the_same_bytes_only_a_persons_no_counts() -> None:
    """The gates' no is about what was live when they measured, and a yes is none."""
    no = Ruling(verdict="Reject", by="gates", at=NOW, reason="a gate rejected it")
    others = {
        "the gates rejected it": with_evidence(tuned("ft_v1.2", verdict="Reject"), decision=no),
        "the gates could not judge it": with_evidence(tuned("ft_v1.2", verdict="Reject"), verdict="Error", decision=no),
        "a person approved it": with_evidence(
            tuned("ft_v1.2", verdict="Review"), decision=Ruling(verdict="Approve", by="ann", at=NOW)
        ),
        "nobody decided": tuned("ft_v1.2", verdict="Review"),
        "nothing was measured": tuned("ft_v1.2", verdict=None),
    }
    for what, other in others.items():
        assert isinstance(asked(tuned(artifact=other.spec.artifact), other), Clear), what


@pytest.mark.row("D51")
@pytest.mark.parametrize(
    "service",
    [
        Service(taken_back=Mark(at=NOW, by="ann")),
        Service(quarantined=Mark(at=NOW, reason="CrashLoop"), lifted=Mark(at=NOW, by="ann")),
    ],
    ids=["taken back", "quarantined once"],
)
def test_a_record_that_says_no_watch_was_passed_is_no_service(service: Service) -> None:
    version = with_record(tuned(baseline="ft_v1.7"), service)
    assert not was_live(policy(live(BASE)), version)
    finding = asked(version)
    assert isinstance(finding, Refuse)
    assert finding.reason == "NotEligible"


@pytest.mark.row("D48")
def test_where_nothing_was_fresh_the_record_says_so_and_is_believed() -> None:
    nothing_fresh = replace(gate("newSamplesFresh"), value="", threshold="0.80")
    assert isinstance(asked(with_evidence(tuned(), gates=(REGRESSION, NEW, nothing_fresh))), Clear)
    figures = (*FIGURES, Figure(name="freshRate", value="0.500000"))
    hidden = asked(with_evidence(tuned(), gates=(REGRESSION, NEW, nothing_fresh), figures=figures))
    assert isinstance(hidden, Refuse), "its figures say that something was"


@pytest.mark.row("D53")
def test_what_is_live_is_proven_by_the_record_of_that_version_of_that_model_alone() -> None:
    """What somebody took from the Deployment is put back only if something here proves it."""
    adopted = tuned()
    status = replace(live(adopted), last_good=())
    no = Ruling(verdict="Reject", by="ann", at=NOW)
    others = {
        "no record": (),
        "another model's": (replace(adopted, spec=replace(adopted.spec, model="receipts")),),
        "another version's": (tuned("ft_v1.2", artifact=adopted.spec.artifact),),
        "of other bytes": (tuned(artifact=tuned("ft_v1.2").spec.artifact),),
        "nothing measured": (tuned(verdict=None),),
        "a review": (tuned(verdict="Review"),),
        "rejected by a person": (with_evidence(adopted, decision=no),),
    }
    for what, versions in others.items():
        assert not is_proven(policy(status), versions), what
    assert is_proven(policy(status), (adopted,))


@pytest.mark.row("D42")
@pytest.mark.parametrize(
    "labels",
    [
        {},
        {OWNER_NAME_LABEL: "first"},
        {OWNER_NAME_LABEL: "first", OWNER_KIND_LABEL: "ModelVersion"},
        {OWNER_NAME_LABEL: "second", OWNER_KIND_LABEL: "FineTuneRun"},
    ],
)
def test_a_promotion_is_a_runs_by_its_name_and_by_the_labels_that_say_which(labels: dict[str, str]) -> None:
    named = promotion("ft_v1.1", name=promotion_name("first", "run-uid"))

    def with_labels(given: dict[str, str]) -> Promotion:
        return replace(named, metadata=replace(named.metadata, labels=given))

    assert not made_by_run(with_labels(labels))
    assert made_by_run(with_labels({OWNER_NAME_LABEL: "first", OWNER_KIND_LABEL: "FineTuneRun"}))


@pytest.mark.row("D53")
@pytest.mark.parametrize("verified", ["Unknown", "False", None])
def test_a_base_that_is_not_verified_is_proven_nowhere(verified: ConditionStatus | None) -> None:
    unproven = with_record(base(verified=verified), Service(good=NOW))
    assert not passed_by_itself(unproven)
    assert not was_live(policy(), unproven)
    first = Proposal(promotion("base_v1"), policy(), (unproven,), deployment())
    assert not isinstance(judge(first), Clear)
    again = Proposal(promotion("base_v1", "ft_v1.1"), policy(live(tuned(), 2, BASE)), (unproven, tuned()), deployment())
    assert not isinstance(judge(again), Clear)
    assert passed_by_itself(with_record(base(), Service(good=NOW)))


def test_a_base_is_verified_by_that_condition_alone() -> None:
    other = replace(base(verified=None), status=replace(BASE.status, conditions=(
        Condition(type="Live", status="True", reason="Live"),)))  # fmt: skip
    assert not passed_by_itself(other)


def rebuilt(verdict: Any = "Pass", **spec: Any) -> ModelVersion:
    """A base that a run made, judged against what is live."""
    return tuned("base_v2", verdict, type="Base", **spec)


@pytest.mark.row("V81")
def test_a_rebuilt_base_goes_live_by_its_evidence_while_another_version_is_live() -> None:
    assert isinstance(asked(rebuilt()), Clear)
    assert passed_by_itself(rebuilt())


@pytest.mark.row("V81")
@pytest.mark.parametrize("verdict", ["Review", "Reject", "Error"])
def test_a_rebuilt_base_that_did_not_pass_goes_live_by_nothing_that_its_status_says(verdict: Any) -> None:
    """A verification is of an imported base: no status of it stands for gates."""
    verified = (Condition(type="Verified", status="True", reason="Verified"),)
    version = rebuilt(verdict)
    version = replace(version, status=replace(version.status, conditions=verified))
    refusal = asked(version)
    assert isinstance(refusal, Refuse)
    assert refusal.reason == "NotEligible"
    assert not passed_by_itself(version)


@pytest.mark.row("V81")
def test_a_rebuilt_base_in_review_goes_live_by_an_approval_of_its_evidence() -> None:
    version = rebuilt("Review")
    assert isinstance(asked(version, approval=Approval(by="ann", evidence=evidence_of(version).digest)), Clear)


@pytest.mark.row("V81")
def test_a_rebuilt_base_that_was_measured_against_something_else_needs_a_new_run() -> None:
    refusal = asked(rebuilt(evidence=replace(evidence_of(tuned()), baseline="ft_v1.9")))
    assert isinstance(refusal, Refuse)
    assert "start a new run" in refusal.message


@pytest.mark.row("V81")
@pytest.mark.parametrize("forged", ["no gate", "a drop that the figures do not make"])
def test_a_rebuilt_base_is_believed_by_its_numbers(forged: str) -> None:
    assert isinstance(asked(with_evidence(rebuilt(), **dict(FORGED[forged]))), Refuse)  # type: ignore[call-overload]


@pytest.mark.row("V81")
def test_an_imported_base_keeps_its_own_way() -> None:
    refusal = asked(base("base_v2"))
    assert isinstance(refusal, Refuse)
    assert "a base goes live first, or again" in refusal.message
