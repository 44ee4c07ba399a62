"""The stage that trains nothing twice: it takes over what an earlier run made of the same (rows R20, R59 to R63)."""

from typing import Final

from msgspec.structs import replace

from ...api.policy import Policy
from ...api.promotion import Approval, Overruled
from ...api.run import AdoptedResult, Evidence, RunPhase, RunStatus
from .. import limits
from ..commands import overruling, promoting, run_command, with_remedy
from ..decision import Decision
from ..rejections import rejection_of
from ..snapshot import default_seed, inputs_hash, spec_hash
from ..text import quarantined_in_words, quoted, taken_back_in_words
from .acceptance import live_is_unknown, policy_not_found
from .earlier import Earlier, Fate, is_current, results_of, served, worth
from .grounds import objections
from .review import decided_by, said_no
from .stage import Continue, RunContext, suspended
from .status import blocked, finish, mark, unblocked
from .view import trains
from .work import MAX_ROUNDS

_MOST_KNOWN: Final = limits.EARLIER_EVIDENCE - MAX_ROUNDS
"""Digests of evidence that are known from the beginning: each round of its own adds one."""

_ENDS: Final[dict[Fate, tuple[RunPhase, str]]] = {
    "Live": ("Adopted", "SameSpecAndInputs"),
    "WasLive": ("Adopted", "WasLive"),
    "Quarantined": ("RolledBack", "Quarantined"),
    "TakenBack": ("RolledBack", "TakenBack"),
    "RejectedByPerson": ("Rejected", "JudgedBefore"),
    "RejectedByGates": ("Rejected", "JudgedBefore"),
    "Expired": ("Expired", "ReviewExpired"),
}


def adopt(context: RunContext, status: RunStatus) -> Continue | Decision[RunStatus]:
    """Take over what can still help of an earlier run's result, or end and say how to ask again.

    That is decided anew until something was done with it: what it is worth may change while the run waits, and an
    end may have to wait for the pods of `prepare`. A run whose training was suspended has nothing of its own yet.
    """
    inputs, view = status.inputs, context.view
    assert inputs is not None
    if status.promotion is not None or trains(status.attempts) or any(a.step == "evaluate" for a in status.attempts):
        return Continue(status)
    # A no to what was taken over stands nowhere but in a review of that evidence, until somebody looked (R241).
    if (said_no(view, status) if status.adopted is not None else suspended(view)) is not None:
        return Continue(status)
    had_adopted, status = status.adopted is not None, _without_adopted(status)
    results = results_of(
        view.versions,
        spec_hash=spec_hash(context.run_document, view.run),
        inputs_hash=inputs_hash(inputs, context.run_document),
    )
    if not results:
        return Continue(_not_trained_yet(context, status) if had_adopted else status)
    if context.policy is None:
        problem = policy_not_found(view.run.spec.policy, view.run.metadata.namespace, context.run_document.model)
        return blocked(view, status, problem, status.phase or "Preparing")
    unknown = live_is_unknown(context.policy)
    if unknown is not None:
        return blocked(view, status, unknown, status.phase or "Preparing")
    fate, earlier = worth(context.policy, results, view.run.metadata)
    if fate in _ENDS:
        phase, reason = _ENDS[fate]
        shown = _with_evidence(context, context.policy, status, earlier)
        return finish(
            view, unblocked(view, shown), phase, reason, _how_it_ended(context, context.policy, fate, earlier)
        )
    if fate == "MayGoLive":
        return Continue(_with_evidence(context, context.policy, status, earlier))
    return Continue(_with_candidate(context, status, earlier))


def _not_trained_yet(context: RunContext, status: RunStatus) -> RunStatus:
    for kind in ("Trained", "Evaluated", "GatesPassed"):
        status = mark(context.view, status, kind, "Unknown", "NotYet")
    return status


def _without_adopted(status: RunStatus) -> RunStatus:
    """Return the status before anything was taken over; its conditions stay, so that the same again is no change."""
    if status.adopted is None:
        return status
    return replace(
        status,
        candidate=None,
        checkpoint=None,
        adopted=None,
        gates=(),
        figures=(),
        verdict=None,
        evidence=None,
        earlier_evidence=(),
        decision=None,
        version=None,
        model_version=None,
    )


def _with_candidate(context: RunContext, status: RunStatus, earlier: Earlier) -> RunStatus:
    """Take over the bytes, to be measured anew: nothing is trained twice."""
    spec, lineage = earlier.version.spec, earlier.lineage
    adopted = AdoptedResult(
        run=lineage.run,
        version=spec.version,
        model_version=earlier.version.metadata.name,
        plan=lineage.inputs,
        seed=lineage.seed,
    )
    # A no to any record of what is taken over is one to the same bytes, whatever is measured anew.
    known = _evidence_of(context, earlier)[-_MOST_KNOWN:]
    status = replace(
        status, candidate=spec.artifact, checkpoint=spec.checkpoint, adopted=adopted, earlier_evidence=known
    )
    message = f"run {lineage.run} trained the same on the same samples; its candidate, {spec.version}, is measured anew"
    return mark(context.view, status, "Trained", "True", "Adopted", message)


def _evidence_of(context: RunContext, earlier: Earlier) -> tuple[str, ...]:
    """Return the digests of the evidence that records of the same bytes have; that of the earlier result last.

    Before it the one that the run's review names: not all of them fit, and anybody may make more records.
    """
    review = context.view.run.spec.review
    records = [v for v in context.view.versions if v.spec.artifact.sha256 == earlier.sha256]
    known = {v.spec.evidence.digest for v in records if v.spec.evidence is not None} - {earlier.evidence.digest}
    named = known & {review.evidence} if review is not None else set[str]()
    return (*sorted(known - named), *named, earlier.evidence.digest)


def _with_evidence(context: RunContext, policy: Policy, status: RunStatus, earlier: Earlier) -> RunStatus:
    """Take over bytes and judgement, as if this run had measured."""
    status, evidence, live = _with_candidate(context, status, earlier), earlier.evidence, policy.status.live
    adopted = status.adopted
    assert adopted is not None
    measured_against = live if is_current(policy, earlier) else None
    text = f"run {earlier.lineage.run} trained and measured the same: {earlier.name}, verdict {evidence.verdict}"
    for kind in ("Trained", "Evaluated"):
        status = mark(context.view, status, kind, "True", "Adopted", text)
    return replace(
        status,
        adopted=replace(adopted, evidence=evidence.digest),
        earlier_evidence=status.earlier_evidence[:-1],  # what is taken over is the run's own
        gates=evidence.gates,
        figures=evidence.figures or (),
        verdict=evidence.verdict,
        evidence=Evidence(
            digest=evidence.digest,
            uri=evidence.uri,
            live=measured_against.version if measured_against is not None else evidence.baseline,
            live_sha256=measured_against.sha256 if measured_against is not None else None,
            round=0,
            test_set=evidence.test_set,
        ),
        decision=evidence.decision,
        version=earlier.name,
        model_version=earlier.version.metadata.name,
    )


def _how_it_ended(context: RunContext, policy: Policy, fate: Fate, earlier: Earlier) -> str:
    """Return what became of the earlier result, and how to ask again."""
    run, name = context.view.run, earlier.name
    what = f"run {earlier.lineage.run} trained the same on the same samples: {name}, verdict {earlier.evidence.verdict}"
    again = f"to train anew with another seed: {run_command(run, seed=default_seed(context.uid))}"
    no = rejection_of(earlier.sha256, context.view.versions, policy.status)
    match fate:
        case "Live":
            return with_remedy(f"{what}; it is live, so nothing is left to do", again)
        case "WasLive":
            live = policy.status.live
            text = f"{what}; it was live before {live.version if live else 'nothing'} was"
            return with_remedy(text, f"to go back to it: {_promotion(policy, earlier)}")
        case "Quarantined":
            entry = policy.status.quarantine_of(earlier.sha256)
            text = f"{what}; {quarantined_in_words(entry) if entry else 'quarantined here, by its record'}"
            if no is not None or not is_current(policy, earlier):
                return with_remedy(text, again)
            blameless = _promotion(policy, earlier, "Quarantined")
            return with_remedy(text, f"{again}; if it was not at fault: {blameless}")
        case "TakenBack":
            entry_ = policy.status.taken_back_of(earlier.sha256)
            deployment = policy.spec.deployment
            text = f"{what}; {taken_back_in_words(entry_, deployment) if entry_ else 'taken back, by its record'}"
            may_serve = no is None and (is_current(policy, earlier) or served(policy, earlier))
            anyway = f"to promote it all the same: {_promotion(policy, earlier, 'TakenBack')}"
            return with_remedy(text, anyway if may_serve else again)
        case "Expired":
            text = f"{what}; nobody reviewed it in time, and this run is older than that"
            return with_remedy(text, f"to ask for a review again, without training: {run_command(run)}")
        case "RejectedByPerson":
            return with_remedy(f"{what}; it was rejected by {_who_rejected(policy, earlier)}", again)
        case _:
            return with_remedy(f"{what}; {objections(earlier.evidence.gates)}", again)


def _who_rejected(policy: Policy, earlier: Earlier) -> str:
    """Return who rejected the bytes; of a review that is remembered alone, as which version, and not why."""
    ruling, no = earlier.evidence.persons_no, rejection_of(earlier.sha256, (earlier.version,), policy.status)
    if ruling is not None or no is None:
        return decided_by(ruling) if ruling is not None else "a person"
    return quoted(no.by, limits.BY) + (f" as {quoted(no.version, limits.BY)}" if no.version else "")


def _promotion(policy: Policy, earlier: Earlier, *despite: Overruled) -> str:
    """Return the command that promotes the earlier result; its record may bar it even if the policy forgot why."""
    live, evidence = policy.status.live, earlier.evidence
    ruling = evidence.decision if evidence.verdict == "Review" else None
    return promoting(
        policy,
        earlier.name,
        live.version if live is not None else None,
        release=policy.status.hold is not None,
        despite=overruling(policy.status, earlier.sha256) or despite,
        approval=Approval(by=ruling.by, evidence=evidence.digest) if ruling is not None else None,
    )


def owes_its_evidence(status: RunStatus) -> bool:
    """Tell whether the judgement in the status is an earlier run's."""
    adopted, evidence = status.adopted, status.evidence
    return adopted is not None and evidence is not None and adopted.evidence == evidence.digest
