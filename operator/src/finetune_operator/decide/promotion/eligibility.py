"""Whether a version may ever go live here: by its evidence, its verification, or because it served before."""

from ...api.meta import find, is_true
from ...api.model_version import ModelVersion
from ...api.names import OWNER_KIND_LABEL, OWNER_NAME_LABEL, is_promotion_of
from ...api.policy import Policy
from ...api.policy_status import Rejected
from ...api.promotion import Approval, Promotion
from ...api.record import services
from ...api.run import BY_GATES
from .. import text
from ..classes import begins, lacking
from ..commands import promoting
from ..gates.recorded import disbelief, recorded_verdict
from ..rejections import barred, rejection_of
from ..rejections import in_words as rejected_in_words
from ..views import DeploymentView
from .proposal import CheckContext, Obstacle, Refuse, Wait, quoted


def was_live(policy: Policy, version: ModelVersion) -> bool:
    """Tell whether the version has served here before: by this policy's memory, or by the version's own record.

    Its service record of this Deployment outlives a re-created policy, but an approval is not in it: it counts only for
    bases and for fine-tunes that passed by themselves. That it served on another Deployment, or on one that is called
    alike in the namespace that it was copied from, says nothing here.
    """
    live = () if policy.status.live is None else (policy.status.live,)
    if any(entry.sha256 == version.spec.artifact.sha256 for entry in (*live, *policy.status.last_good)):
        return True
    return _was_good_here(policy, version) and passed_by_itself(version)


def _was_good_here(policy: Policy, version: ModelVersion) -> bool:
    """Tell whether the version's own record says that it passed a watch on this Deployment."""
    here = services(version.metadata.annotations, version.spec.artifact.sha256).get(policy.spec.deployment)
    return here is not None and here.was_good_in(policy.metadata.namespace)


def made_by_run(promotion: Promotion) -> bool:
    """Tell whether a run asked for it, and not a person. Labels alone do not say so: people copy a run's promotion."""
    metadata = promotion.metadata
    is_labelled = metadata.labels.get(OWNER_KIND_LABEL) == "FineTuneRun"
    return is_labelled and is_promotion_of(metadata.name, metadata.labels.get(OWNER_NAME_LABEL, ""))


def takes_back(policy: Policy, promotion: Promotion, version: ModelVersion) -> bool:
    """Tell whether the promotion, if it succeeds, takes back what is live now (D42).

    It does where a person goes back to a version that was live on this Deployment before, by the policy's memory or by
    the version's own record. A run's promotion goes forward, whatever it promotes.
    """
    if policy.status.live is None or made_by_run(promotion):
        return False
    return policy.status.is_good(version.spec.artifact.sha256) or _was_good_here(policy, version)


def not_taken_back(context: CheckContext) -> Obstacle | None:
    """Return that people went back from the version for a reason, unless the promotion overrules that."""
    policy, spec, despite = context.policy, context.version.spec, context.promotion.spec.despite
    entry = policy.status.taken_back_of(spec.artifact.sha256)
    if entry is None or (despite is not None and "TakenBack" in despite.checks):
        return None
    asked, live = context.promotion.spec, policy.status.live
    again = promoting(
        policy,
        asked.version,
        None if live is None else live.version,
        release=asked.release_hold or policy.status.hold is not None,
        despite=(*(() if despite is None else despite.checks), "TakenBack"),
        approval=asked.approval,
    )
    never = rejected_by_a_person(context)
    way = f"if it shall go live all the same, say so and why: {again}"
    return Refuse(
        "Failed",
        "TakenBack",
        f"'{spec.version}' was {text.taken_back_in_words(entry, policy.spec.deployment)}; "
        f"{way if never is None else never.message}",
    )


def passed_by_itself(version: ModelVersion) -> bool:
    """Tell whether the object alone says that its version may serve: a verified import, or all gates passed."""
    if version.spec.is_import:
        return is_true(version.status.conditions, "Verified")
    evidence = version.spec.evidence
    if evidence is None or evidence.rejected_by is not None or disbelief(evidence) is not None:
        return False
    return recorded_verdict(evidence) == "Pass"


def is_proven(policy: Policy, versions: tuple[ModelVersion, ...]) -> bool:
    """Tell whether what is live may be put back by us: it passed a watch here, or was adopted and is known as passed.

    What was merely found on the Deployment is recorded, and never put live by the operator without evidence, nor where
    it was quarantined or taken back.
    """
    status, live = policy.status, policy.status.live
    if live is None or status.quarantine_of(live.sha256) is not None or status.taken_back_of(live.sha256) is not None:
        return False
    if status.is_good(live.sha256):
        return True
    return rejection_of(live.sha256, versions, status) is None and any(
        passed_by_itself(version)
        for version in versions
        if (version.spec.version, version.spec.artifact.sha256) == (live.version, live.sha256)
        and version.spec.model == policy.spec.model
    )


def nothing_comes(policy: Policy, deployment: DeploymentView, versions: tuple[ModelVersion, ...]) -> bool:
    """Tell whether nothing is served, and nobody puts live back (D5): there is nothing to wait for or to keep."""
    return deployment.keys.absent and not is_proven(policy, versions)


def what_comes_back(policy: Policy, versions: tuple[ModelVersion, ...]) -> str:
    """Return what is served once somebody lets go of the keys, in words (D5)."""
    live = policy.status.live
    if live is None:
        return "nothing is served then"
    if is_proven(policy, versions):
        no = rejection_of(live.sha256, versions, policy.status)
        though = "" if no is None else f", though {rejected_in_words(no, live.version)}"
        return f"the operator puts '{live.version}' back then{though}"
    return f"nothing is served then: nothing here proves '{live.version}', so it is not put back"


def eligible(context: CheckContext) -> Obstacle | None:
    """Return why the version can never go live here as things are, or what it still waits for."""
    rejected = rejected_by_a_person(context)
    if rejected is not None:
        return rejected
    if context.is_remembered:
        return None
    if not begins(context.policy.spec.classes, context.version.spec.classes):
        return _ineligible(context.version, _other_classes(context.policy.spec.classes, context.version.spec.classes))
    if context.version.spec.is_import:
        return _import_eligible(context)
    return _judged_eligible(context)


def _other_classes(ours: tuple[str, ...], theirs: tuple[str, ...]) -> str:
    more = lacking(ours, theirs)
    again = f"{text.appending(more)}, and make another promotion"
    remedy = again if more else "promote a version of the policy's classes"
    return f"its classes are not those that the policy's spec.classes begin with; {remedy}"


def _import_eligible(context: CheckContext) -> Obstacle | None:
    policy, version = context.policy, context.version
    name = version.spec.version
    if not is_true(version.status.conditions, "Verified"):
        verified = find(version.status.conditions, "Verified")
        if verified is None or verified.status == "Unknown":
            return Wait("NotVerified", f"'{name}' is not verified yet; the promotion goes on when it is")
        # The floor's message says itself what can be done; whatever else fails is about the bytes.
        remedy = "" if verified.reason == "BelowFloor" else "; import it anew"
        return _ineligible(version, f"its verification failed ({verified.reason}: {verified.message}){remedy}")
    if policy.status.live is None or was_live(policy, version):
        return None
    if context.deployment is not None and nothing_comes(policy, context.deployment, context.versions):
        return None
    return _ineligible(
        version, "a base goes live first, or again; while another version is live, promote a fine-tune of this base"
    )


def _judged_eligible(context: CheckContext) -> Obstacle | None:
    version = context.version
    evidence = version.spec.evidence
    if evidence is None:
        return _ineligible(version, "it carries no evidence; only a FineTuneRun can make a promotable fine-tune")
    verdict, contradiction = recorded_verdict(evidence), disbelief(evidence)
    if verdict in ("Reject", "Error"):
        return _ineligible(version, f"its verdict is {verdict}; that is never promoted")
    if contradiction is not None:
        return _ineligible(version, f"{contradiction}; only what a FineTuneRun recorded goes live, start a new run")
    if was_live(context.policy, version):
        return None
    outdated = _evidence_current(context.policy, version)
    if outdated is None and verdict == "Review":
        return _approved(context, evidence.digest)
    return outdated


def rejected_by_a_person(context: CheckContext) -> Refuse | None:
    """A person's no is about the bytes, whichever version has it on record, and also when none has it any more."""
    spec = context.version.spec
    no = barred(spec.artifact.sha256, (context.version, *context.versions), context.policy.status)
    return None if no is None else Refuse("Failed", "NotEligible", never_promoted(spec.version, no))


def never_promoted(version: str, no: Rejected) -> str:
    """Return the words for a version whose bytes a person rejected."""
    return f"'{version}' cannot go live: {rejected_in_words(no, version)}; that is never promoted"


def _approved(context: CheckContext, digest: str) -> Refuse | None:
    """A review is approved by a person who names the evidence; the gates approve nothing that they sent to review."""
    approval = context.promotion.spec.approval
    if approval is None or approval.evidence != digest or approval.by.strip().lower() == BY_GATES:
        return _ineligible(context.version, _how_to_approve(context, digest))
    return None


def _how_to_approve(context: CheckContext, digest: str) -> str:
    spec = context.promotion.spec
    command = promoting(
        context.policy,
        spec.version,
        spec.from_version,
        release=spec.release_hold,
        despite=() if spec.despite is None else spec.despite.checks,
        approval=Approval(by="YOUR NAME", evidence=digest),
    )
    return (
        f"its verdict is Review; a person's spec.approval must name {digest}; to approve what you looked at: {command}"
    )


def _evidence_current(policy: Policy, version: ModelVersion) -> Obstacle | None:
    """A verdict says something only against what was live when it was made (the base, where none is named)."""
    live, measured = policy.status.live, version.spec.measured_against
    if live is None or version.spec.was_measured_against(version=live.version, sha256=live.sha256):
        return None
    other = " with other bytes" if measured == live.version else ""
    return _ineligible(
        version,
        f"its evidence was measured against {quoted(measured)}, but live is '{live.version}'{other}; start a new run",
    )


def _ineligible(version: ModelVersion, why: str) -> Refuse:
    return Refuse("Failed", "NotEligible", f"'{version.spec.version}' cannot go live: {why}")
