"""The stages of a judged run: review, record, promotion (rows R23 to R34)."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from msgspec.structs import replace

from ...api.meta import Artifact, ConditionStatus, ModelArtifact, find
from ...api.model_version import Lineage, ModelVersion, VersionEvidence, VersionSpec
from ...api.names import model_version_name, promotion_name, series_of
from ...api.policy import Outcome, Policy
from ...api.promotion import FINAL_PROMOTION_PHASES, Approval, Promotion, PromotionSpec
from ...api.run import Decision as Ruling
from ...api.run import Evidence, Inputs, Measurements, RunPhase, RunStatus
from ..decision import CreateModelVersion, CreatePromotion, Decision, ReserveVersion
from ..snapshot import default_seed, inputs_hash, spec_hash
from .acceptance import policy_not_found
from .stage import Case, Go
from .status import blocked, finish, mark, say, unblocked
from .work import evaluate

_LONGEST: Final = 10**9
_ENDINGS: Final[dict[str, RunPhase]] = {
    "Succeeded": "Promoted",
    "RolledBack": "RolledBack",
    "Failed": "Failed",
    "Superseded": "Superseded",
}


@dataclass(frozen=True, slots=True)
class Judged:
    """What a verdict stands on; all of it is in the status once there is a verdict."""

    inputs: Inputs
    candidate: ModelArtifact
    checkpoint: Artifact
    evidence: Evidence
    measurements: Measurements | None
    """None when the gates could not be judged."""


def judged(status: RunStatus) -> Judged | None:
    """Return what the verdict stands on, or None when the status was tampered with."""
    if status.inputs is None or status.candidate is None or status.checkpoint is None or status.evidence is None:
        return None
    if status.verdict != "Error" and status.measurements is None:
        return None
    return Judged(status.inputs, status.candidate, status.checkpoint, status.evidence, status.measurements)


def still_current(case: Case, status: RunStatus) -> Go | Decision[RunStatus]:
    """Void a verdict that was measured against something else than what is live now (R23)."""
    if status.promotion is not None:
        return Go(status)
    view, found = case.view, judged(status)
    if found is None:
        told = "the status lost what the verdict stands on; make a new run"
        return finish(view, status, "Failed", "StatusIncomplete", told)
    if case.policy is None:
        problem = policy_not_found(view.run.spec.policy, view.run.metadata.namespace)
        return blocked(view, status, problem, status.phase or "Evaluating")
    status = unblocked(view, status)
    live = case.policy.status.live
    if (live.sha256 if live else None) == found.evidence.live_sha256:
        return Go(status)
    served = live.version if live else "nothing"
    if live and _pool_of(case, live.sha256) > found.inputs.pool:
        told = f"{live.version}, trained on a larger pool, went live meanwhile"
        status = mark(view, status, "GatesPassed", "Unknown", "LiveChanged", told)
        return finish(view, status, "Superseded", "NewerPoolIsLive", told)
    told = f"{served} is live now, {found.evidence.live or 'nothing'} was when this was measured: measuring again"
    return evaluate(case, _voided(case, status, told))


def gates_known(case: Case, status: RunStatus) -> Go | Decision[RunStatus]:
    """Show the verdict; end a run whose gates could not be judged (R26)."""
    view, told = case.view, _gates_text(status)
    match status.verdict:
        case "Pass":
            return Go(mark(view, status, "GatesPassed", "True", "Pass", told))
        case "Reject":
            return Go(mark(view, status, "GatesPassed", "False", "Reject", told))
        case "Review":
            return Go(status)
        case _:
            status = mark(view, status, "GatesPassed", "False", "GateError", told)
            return finish(view, status, "Failed", "GateError", told)


def reviewed(case: Case, status: RunStatus) -> Go | Decision[RunStatus]:
    """Wait for a human, until the review expires (R27 to R30)."""
    evidence, policy = status.evidence, case.policy
    if status.verdict != "Review" or status.decision is not None or evidence is None or policy is None:
        return Go(status)
    view, review = case.view, case.view.run.spec.review
    since = status.review_since or view.now
    status = replace(status, review_since=since)
    if review is not None and review.evidence == evidence.digest:
        ruling = Ruling(verdict=review.decision, by=review.by, at=view.now, reason=review.reason)
        approved = review.decision == "Approve"
        value: ConditionStatus = "True" if approved else "False"
        told = "approved" if approved else "rejected"
        words = f"{told} by {review.by}: {review.reason or 'no reason given'}; {_gates_text(status)}"
        return Go(mark(view, replace(status, decision=ruling), "GatesPassed", value, "Reviewed", words))
    left = since + _review_time(policy) - view.now
    if left <= timedelta():
        told = f"nobody decided within {int(_review_time(policy).total_seconds())} s"
        return Go(mark(view, status, "GatesPassed", "False", "ReviewExpired", told))
    reason, told = _review_needed(case, evidence)
    status = mark(view, status, "GatesPassed", "Unknown", reason, f"{told}; {_gates_text(status)}")
    return Decision(say(status, "InReview", f"{told}; {_gates_text(status)}"), (), left)


def recorded(case: Case, status: RunStatus) -> Go | Decision[RunStatus]:
    """Reserve a number and make the ModelVersion, once the judgement stands (R24)."""
    view, policy, found = case.view, case.policy, judged(status)
    if found is None or (status.promotion is not None and not _only_requested(status)):
        return Go(status)
    version = status.version or (_reserved(policy, case.uid) if policy else None)
    if version is None:
        series = series_of(case.document.base.version) or 1
        action = ReserveVersion(policy=view.run.spec.policy, run_uid=case.uid, series=series)
        return Decision(say(status, status.phase or "Evaluating", "reserving a version number"), (action,))
    name = model_version_name(case.document.model, version)
    existing = next((v for v in view.versions if v.metadata.name == name), None)
    if existing is not None and not _is_ours(existing, case):
        told = f"ModelVersion {name} is there and is not of this run; delete it if it is nobody's, and make a new run"
        return finish(view, status, "Failed", "NameTaken", told)
    status = replace(status, version=version, model_version=name)
    if existing is not None:
        return Go(status)
    return Go(status, (CreateModelVersion(name=name, spec=_version_spec(case, status, found, version)),))


def rejected(case: Case, status: RunStatus) -> Go | Decision[RunStatus]:
    """End what was rejected, by a gate or a human, or what nobody decided (R25, R28, R30)."""
    view, ruling = case.view, status.decision
    if ruling is None:
        condition = find(status.conditions, "GatesPassed")
        return finish(view, status, "Expired", "ReviewExpired", condition.message if condition else "")
    if ruling.verdict == "Reject":
        status = mark(view, status, "Promoted", "False", "Rejected", f"rejected by {ruling.by}")
        told = (
            f"{status.version} was rejected by {ruling.by}: {ruling.reason or 'no reason given'}; {_gates_text(status)}"
        )
        return finish(view, status, "Rejected", "Rejected", told)
    return Go(status)


def released(case: Case, status: RunStatus) -> Go | Decision[RunStatus]:
    """Leave the promotion to people where the policy says so, or holds (R31)."""
    policy = case.policy
    if status.promotion is not None or policy is None:
        return Go(status)
    if policy.status.hold is None and policy.spec.promotion == "Automatic":
        return Go(status)
    hold = policy.status.hold
    reason = "Held" if hold else "PromotionManual"
    why = f"the policy is held ({hold.reason})" if hold else "the policy promotes by hand only"
    told = (
        f"{status.version} may go live, but {why}; to promote it, apply a {_promotion_text(case, status, bool(hold))}"
    )
    status = mark(case.view, status, "Promoted", "False", reason, told)
    return finish(case.view, status, "Passed", reason, told)


def promoted(case: Case, status: RunStatus) -> Go | Decision[RunStatus]:
    """Ask for the promotion, and end as it ends (R32, R33)."""
    view, found = case.view, view_promotion(case, status)
    if isinstance(found, Promotion):
        return _follow(case, status, found)
    name = status.promotion or promotion_name(view.run.metadata.name, case.uid)
    told = f"{status.version} goes live by ModelPromotion {name}"
    if status.promotion is None:
        status = mark(view, replace(status, promotion=name), "Promoted", "Unknown", "Requested", told)
        return Decision(say(status, "Promoting", told), (CreatePromotion(name, _promotion_spec(case, status)),))
    outcome = _outcome(case, name)
    if outcome is not None:
        return _ended(case, status, *outcome)
    if _in_flight(case, name):
        return Decision(say(status, "Promoting", told))
    if _only_requested(status):
        return Decision(say(status, "Promoting", told), (CreatePromotion(name, _promotion_spec(case, status)),))
    gone = f"ModelPromotion {name} was deleted before it was carried out; apply one by hand to promote {status.version}"
    return _ended(case, status, "Failed", "PromotionDeleted", gone)


def view_promotion(case: Case, status: RunStatus) -> Promotion | None:
    """Return the promotion that the run asked for, if it is there."""
    promotion = case.view.promotion
    if promotion is None or status.promotion is None or promotion.metadata.name != status.promotion:
        return None
    return promotion


def _follow(case: Case, status: RunStatus, promotion: Promotion) -> Decision[RunStatus]:
    view, name = case.view, promotion.metadata.name
    if (promotion.spec.policy, promotion.spec.version) != (view.run.spec.policy, status.version):
        told = f"ModelPromotion {name} is there and is not of this run; make a new run"
        return _ended(case, status, "Failed", "NameTaken", told)
    if promotion.status.phase in FINAL_PROMOTION_PHASES:
        finished = find(promotion.status.conditions, "Finished")
        reason = finished.reason if finished else str(promotion.status.phase)
        return _ended(case, status, str(promotion.status.phase), reason, promotion.status.message)
    accepted = find(promotion.status.conditions, "Accepted")
    waits = accepted is not None and accepted.status == "False"
    reason, told = (accepted.reason, accepted.message) if accepted and waits else ("Promoting", "")
    words = f"{status.version} goes live by ModelPromotion {name}" + (f": {told}" if told else "")
    status = mark(view, status, "Promoted", "Unknown", reason, words)
    return Decision(say(status, "Promoting", words))


def _ended(case: Case, status: RunStatus, outcome: str, reason: str, message: str) -> Decision[RunStatus]:
    succeeded = outcome == "Succeeded"
    told = message or (f"{status.version} is live" if succeeded else f"the promotion of {status.version} {outcome}")
    status = mark(case.view, status, "Promoted", "True" if succeeded else "False", reason, told)
    return finish(case.view, status, _ENDINGS.get(outcome, "Failed"), reason, told)


def _outcome(case: Case, name: str) -> tuple[Outcome, str, str] | None:
    """Return how the policy remembers a promotion that is gone."""
    consumed = case.policy.status.consumed if case.policy else ()
    return next(((c.outcome, c.reason, c.message) for c in reversed(consumed) if c.name == name), None)


def _only_requested(status: RunStatus) -> bool:
    """Tell whether the promotion was never seen: a crash may have come before it and the version were made."""
    condition = find(status.conditions, "Promoted")
    return condition is not None and condition.reason == "Requested"


def _in_flight(case: Case, name: str) -> bool:
    flight = case.policy.status.in_flight if case.policy else None
    return flight is not None and flight.promotion == name


def _voided(case: Case, status: RunStatus, told: str) -> RunStatus:
    status = mark(case.view, status, "GatesPassed", "Unknown", "LiveChanged", told)
    status = mark(case.view, status, "Evaluated", "Unknown", "LiveChanged", told)
    return replace(
        status,
        verdict=None,
        gates=(),
        measurements=None,
        evidence=None,
        decision=None,
        review_since=None,
    )


def _pool_of(case: Case, sha256: str) -> int:
    """Return the pool size that the version of that digest was trained from; 0 for a base."""
    lineages = (v.spec.lineage for v in case.view.versions if v.spec.artifact.sha256 == sha256)
    return max((lineage.pool for lineage in lineages if lineage), default=0)


def _review_time(policy: Policy) -> timedelta:
    return timedelta(seconds=min(max(policy.spec.review.timeout_seconds, 0), _LONGEST))


def _review_needed(case: Case, evidence: Evidence) -> tuple[str, str]:
    """Return reason and message of a review that is to be made, with the command that makes it."""
    run, review = case.view.run, case.view.run.spec.review
    patch = f'{{"spec":{{"review":{{"decision":"Approve","evidence":"{evidence.digest}","by":"YOUR NAME"}}}}}}'
    command = f"kubectl -n {run.metadata.namespace} patch finetunerun {run.metadata.name} --type merge -p '{patch}'"
    if review is None:
        return "ReviewNeeded", f"a human decides (Approve or Reject): {command}"
    told = f"the review by {review.by[:64]} is of other evidence ({review.evidence[:80]}); look at {evidence.uri} and"
    return "ReviewNotForThisEvidence", f"{told} {command}"


def _reserved(policy: Policy, uid: str) -> str | None:
    return next((r.version for r in policy.status.reservations if r.run_uid == uid), None)


def _is_ours(version: ModelVersion, case: Case) -> bool:
    return version.spec.lineage is not None and version.spec.lineage.run_uid == case.uid


def _version_spec(case: Case, status: RunStatus, found: Judged, version: str) -> VersionSpec:
    """Return the immutable record. It is the same whenever it is made: nothing in it is read from the clock."""
    assert found.measurements is not None
    assert status.verdict is not None
    run, document = case.view.run, case.document
    return VersionSpec(
        model=document.model,
        version=version,
        type="FineTuned",
        artifact=found.candidate,
        checkpoint=found.checkpoint,
        classes=document.classes,
        serving=document.serving,
        base=document.base.version,
        lineage=Lineage(
            run=run.metadata.name,
            run_uid=case.uid,
            policy=run.spec.policy,
            base_sha256=document.base.artifact.sha256,
            inputs=found.inputs.plan,
            spec_hash=spec_hash(document, run),
            inputs_hash=inputs_hash(found.inputs, document),
            pool=found.inputs.pool,
            seed=document.mixing.seed if document.mixing else default_seed(case.uid),
            created_at=status.started_at or case.view.now,
        ),
        evidence=VersionEvidence(
            digest=found.evidence.digest,
            verdict=status.verdict,
            gates=status.gates,
            measurements=found.measurements,
            uri=found.evidence.uri,
            baseline=found.evidence.live,
            decision=status.decision,
        ),
    )


def _promotion_spec(case: Case, status: RunStatus) -> PromotionSpec:
    ruling, evidence = status.decision, status.evidence
    run = case.view.run
    approval = None
    if status.verdict == "Review" and ruling is not None and evidence is not None:
        approval = Approval(by=ruling.by, evidence=evidence.digest, reason=ruling.reason)
    why = f"approved by {approval.by}" if approval else "every gate passed"
    return PromotionSpec(
        policy=run.spec.policy,
        version=status.version or "",
        from_version=evidence.live if evidence else None,
        reason=f"FineTuneRun {run.metadata.name}: {why}",
        approval=approval,
    )


def _promotion_text(case: Case, status: RunStatus, held: bool) -> str:
    """Return a ModelPromotion as people write it."""
    spec = _promotion_spec(case, status)
    approval = f", approval: {{by: {spec.approval.by}, evidence: {spec.approval.evidence}}}" if spec.approval else ""
    source = f", from: {spec.from_version}" if spec.from_version else ""
    release = ", releaseHold: true" if held else ""
    return f"ModelPromotion {{policy: {spec.policy}, version: {spec.version}{source}{release}{approval}}}"


def _gates_text(status: RunStatus) -> str:
    """Return what the gates say, the ones that did not pass first."""
    ordered = sorted(status.gates, key=lambda gate: gate.verdict == "Pass")
    return "; ".join(f"{gate.name} {gate.verdict}: {gate.message}" for gate in ordered)
