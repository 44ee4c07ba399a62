"""The end of a run that may go live: its promotion, or why that is left to people (rows R31 to R33)."""

from typing import Final

from msgspec.structs import replace

from ...api.meta import find
from ...api.names import promotion_name
from ...api.policy import PromotionOutcome
from ...api.promotion import FINAL_PROMOTION_PHASES, Approval, Promotion, PromotionSpec
from ...api.run import RunPhase, RunStatus
from ..decision import CreatePromotion, Decision
from .stage import Continue, RunContext
from .status import finish, mark, say

_ENDINGS: Final[dict[str, RunPhase]] = {
    "Succeeded": "Promoted",
    "RolledBack": "RolledBack",
    "Failed": "Failed",
    "Superseded": "Superseded",
}


def leave_to_people(context: RunContext, status: RunStatus) -> Continue | Decision[RunStatus]:
    """Leave the promotion to people where the policy says so, or holds (R31)."""
    policy = context.policy
    if status.promotion is not None or policy is None:
        return Continue(status)
    if policy.status.hold is None and policy.spec.promotion == "Automatic":
        return Continue(status)
    hold = policy.status.hold
    reason = "Held" if hold else "PromotionManual"
    why = f"the policy is held ({hold.reason})" if hold else "the policy promotes by hand only"
    manifest = _promotion_text(context, status, bool(hold))
    message = f"{status.version} may go live, but {why}; to promote it, apply a {manifest}"
    status = mark(context.view, status, "Promoted", "False", reason, message)
    return finish(context.view, status, "Passed", reason, message)


def promote(context: RunContext, status: RunStatus) -> Continue | Decision[RunStatus]:
    """Ask for the promotion, and end as it ends (R32, R33)."""
    view, promotion = context.view, view_promotion(context, status)
    if promotion is not None:
        return _follow(context, status, promotion)
    name = status.promotion or promotion_name(view.run.metadata.name, context.uid)
    message = f"{status.version} goes live by ModelPromotion {name}"
    if status.promotion is None:
        status = mark(view, replace(status, promotion=name), "Promoted", "Unknown", "Requested", message)
        return Decision(say(status, "Promoting", message), (CreatePromotion(name, _promotion_spec(context, status)),))
    outcome = _outcome(context, name)
    if outcome is not None:
        return _ended(context, status, *outcome)
    if _in_flight(context, name):
        return Decision(say(status, "Promoting", message))
    if only_requested(status):
        return Decision(say(status, "Promoting", message), (CreatePromotion(name, _promotion_spec(context, status)),))
    gone = f"ModelPromotion {name} was deleted before it was carried out; apply one by hand to promote {status.version}"
    return _ended(context, status, "Failed", "PromotionDeleted", gone)


def view_promotion(context: RunContext, status: RunStatus) -> Promotion | None:
    """Return the promotion that the run asked for, if it is there."""
    promotion = context.view.promotion
    if promotion is None or status.promotion is None or promotion.metadata.name != status.promotion:
        return None
    return promotion


def _follow(context: RunContext, status: RunStatus, promotion: Promotion) -> Decision[RunStatus]:
    view, name = context.view, promotion.metadata.name
    if (promotion.spec.policy, promotion.spec.version) != (view.run.spec.policy, status.version):
        message = f"ModelPromotion {name} is there and is not of this run; make a new run"
        return _ended(context, status, "Failed", "NameTaken", message)
    if promotion.status.phase in FINAL_PROMOTION_PHASES:
        finished = find(promotion.status.conditions, "Finished")
        reason = finished.reason if finished else str(promotion.status.phase)
        return _ended(context, status, str(promotion.status.phase), reason, promotion.status.message)
    accepted = find(promotion.status.conditions, "Accepted")
    waits = accepted is not None and accepted.status == "False"
    reason, why = (accepted.reason, accepted.message) if accepted and waits else ("Promoting", "")
    words = f"{status.version} goes live by ModelPromotion {name}" + (f": {why}" if why else "")
    status = mark(view, status, "Promoted", "Unknown", reason, words)
    return Decision(say(status, "Promoting", words))


def _ended(context: RunContext, status: RunStatus, outcome: str, reason: str, message: str) -> Decision[RunStatus]:
    succeeded = outcome == "Succeeded"
    text = message or (f"{status.version} is live" if succeeded else f"the promotion of {status.version} {outcome}")
    status = mark(context.view, status, "Promoted", "True" if succeeded else "False", reason, text)
    return finish(context.view, status, _ENDINGS.get(outcome, "Failed"), reason, text)


def _outcome(context: RunContext, name: str) -> tuple[PromotionOutcome, str, str] | None:
    """Return how the policy remembers a promotion that is gone."""
    consumed = context.policy.status.consumed if context.policy else ()
    return next(((c.outcome, c.reason, c.message) for c in reversed(consumed) if c.name == name), None)


def only_requested(status: RunStatus) -> bool:
    """Tell whether the promotion was never seen: a crash may have come before it and the version were made."""
    condition = find(status.conditions, "Promoted")
    return condition is not None and condition.reason == "Requested"


def _in_flight(context: RunContext, name: str) -> bool:
    flight = context.policy.status.in_flight if context.policy else None
    return flight is not None and flight.promotion == name


def _promotion_spec(context: RunContext, status: RunStatus) -> PromotionSpec:
    ruling, evidence = status.decision, status.evidence
    run = context.view.run
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


def _promotion_text(context: RunContext, status: RunStatus, held: bool) -> str:
    """Return a ModelPromotion as people write it."""
    spec = _promotion_spec(context, status)
    approval = f", approval: {{by: {spec.approval.by}, evidence: {spec.approval.evidence}}}" if spec.approval else ""
    source = f", from: {spec.from_version}" if spec.from_version else ""
    release = ", releaseHold: true" if held else ""
    return f"ModelPromotion {{policy: {spec.policy}, version: {spec.version}{source}{release}{approval}}}"
