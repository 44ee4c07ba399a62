"""The end of a run that may go live: its promotion, or why that is left to people (rows R31 to R33)."""

from datetime import timedelta
from typing import Final

from msgspec.structs import replace

from ...api.meta import find
from ...api.names import promotion_name
from ...api.policy_status import PromotionOutcome
from ...api.promotion import FINAL_PROMOTION_PHASES, Approval, Overruled, Promotion, PromotionSpec
from ...api.run import RunPhase, RunStatus
from ..commands import overruling, promoting, run_command, with_remedy
from ..decision import CreatePromotion, Decision
from ..rejections import rejection_of
from ..snapshot import default_seed
from ..text import quoted
from .again import end_outrun, is_current, measure_again
from .grounds import grounds_of
from .late_no import came_late, is_stopped, standing_no, take_no
from .review import rejected
from .stage import Continue, RunContext
from .status import finish, mark, say

_ENDINGS: Final[dict[str, RunPhase]] = {
    "RolledBack": "RolledBack",
    "Failed": "Failed",
    "Superseded": "Superseded",
}

_UNSEEN: Final = timedelta(seconds=5)
"""What was made a moment ago is seen by then."""


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
    message = f"{status.version} may go live, but {why}"
    message = with_remedy(message, f"to promote it: {_by_hand(context, status)}")
    status = mark(context.view, status, "Promoted", "False", reason, message)
    return finish(context.view, status, "Passed", reason, message)


def promote(context: RunContext, status: RunStatus) -> Continue | Decision[RunStatus]:
    """Ask for the promotion, and end as it ends (R32, R33, R170)."""
    view, promotion = context.view, view_promotion(context, status)
    if status.promotion is not None:
        status = take_no(context, status, promotion)
    if promotion is not None:
        return _follow(context, status, promotion)
    name = status.promotion or _promotion_name(context, status)
    message = f"{status.version} goes live by ModelPromotion {name}"
    if status.promotion is None:
        status = mark(view, replace(status, promotion=name), "Promoted", "Unknown", "Requested", message)
        return Decision(say(status, "Promoting", message), (CreatePromotion(name, _promotion_spec(context, status)),))
    if _in_flight(context, name):
        return Decision(say(status, "Promoting", _with_late_no(context, status, message)))
    outcome = _outcome(context, name)
    if outcome is not None:
        return _ended(context, status, *outcome)
    if only_requested(status) and standing_no(status) is None:
        return Decision(say(status, "Promoting", message), (CreatePromotion(name, _promotion_spec(context, status)),))
    if only_requested(status):  # it may be there, and not be seen yet
        words = is_stopped(context, status)
        status = mark(view, status, "Promoted", "Unknown", "Rejected", words)
        return Decision(say(status, "Promoting", words), (), _UNSEEN)
    return _ended(context, status, *_deleted(name))


def view_promotion(context: RunContext, status: RunStatus) -> Promotion | None:
    """Return the promotion that the run asked for, if it is there."""
    promotion = context.view.promotion
    if promotion is None or status.promotion is None or promotion.metadata.name != status.promotion:
        return None
    return promotion


def _follow(context: RunContext, status: RunStatus, promotion: Promotion) -> Decision[RunStatus]:
    view, name = context.view, promotion.metadata.name
    if (promotion.spec.policy, promotion.spec.version) != (view.run.spec.policy, status.version):
        message = f"ModelPromotion {name} is there and is not of this run"
        return _ended(context, status, "Failed", "NameTaken", message)
    if promotion.status.phase in FINAL_PROMOTION_PHASES and not _in_flight(context, name):
        finished = find(promotion.status.conditions, "Finished")
        reason = finished.reason if finished else str(promotion.status.phase)
        return _ended(context, status, str(promotion.status.phase), reason, promotion.status.message)
    flies = _in_flight(context, name)
    if promotion.metadata.deletion_timestamp is not None and not flies:
        # Somebody's finalizer keeps it: it acts no more, and nothing is written to it any more.
        return _ended(context, status, *(_outcome(context, name) or _deleted(name)))
    if standing_no(status) is not None and not flies:
        words = is_stopped(context, status)
        return Decision(say(mark(view, status, "Promoted", "Unknown", "Rejected", words), "Promoting", words))
    accepted = find(promotion.status.conditions, "Accepted")
    waits = accepted is not None and accepted.status == "False"
    reason, why = (accepted.reason, accepted.message) if accepted and waits else ("Promoting", "")
    words = f"{status.version} goes live by ModelPromotion {name}" + (f": {why}" if why else "")
    words = _with_late_no(context, status, words) if flies else words
    status = mark(view, status, "Promoted", "Unknown", reason, words)
    return Decision(say(status, "Promoting", words))


def _ended(context: RunContext, status: RunStatus, outcome: str, reason: str, message: str) -> Decision[RunStatus]:
    """End as the promotion ended; a verdict that was overtaken while it waited is made again first (R33, R65)."""
    if outcome == "Succeeded":
        text = _with_late_no(context, status, message or f"{status.version} is live")
        status = mark(context.view, status, "Promoted", "True", reason, text)
        return finish(context.view, status, "Promoted", reason, text)
    no = standing_no(status)
    if no is not None and outcome != "RolledBack":
        return rejected(context, status, no)
    overtaken = reason == "FromIsNotLive" or (reason == "NotEligible" and not _is_current(context, status))
    never = barred(context, status) or is_rejected(context, status)
    if overtaken and status.inputs is not None and not never:
        measured = measure_again(context, status, status.inputs.ever)
        return measured if isinstance(measured, Decision) else end_outrun(context, status)
    late, _ = came_late(context, status)
    text = (message or f"the promotion of {status.version} {outcome}") + (f"; {late}" if late else "")
    text = with_remedy(text, _remedy(context, status))
    status = mark(context.view, status, "Promoted", "False", reason, text)
    return finish(context.view, status, _ENDINGS.get(outcome, "Failed"), reason, text)


def _with_late_no(context: RunContext, status: RunStatus, text: str) -> str:
    """Return what is said of a promotion that took off, with a person's no that came too late for it (R171)."""
    late, way = came_late(context, status)
    if not late:
        return text
    return with_remedy(f"{text}; {late}", way) if way else f"{text}; {late}"


def barred(context: RunContext, status: RunStatus) -> tuple[Overruled, ...]:
    """Return what keeps the version from going live again unless a promotion overrules it knowingly."""
    policy, candidate = context.policy, status.candidate
    return () if policy is None or candidate is None else overruling(policy.status, candidate.sha256)


def is_rejected(context: RunContext, status: RunStatus) -> bool:
    """Tell whether a person rejected the bytes: no promotion overrules that, and nobody is asked again."""
    policy, candidate = context.policy, status.candidate
    if policy is None or candidate is None:
        return False
    return rejection_of(candidate.sha256, context.view.versions, policy.status) is not None


def _remedy(context: RunContext, status: RunStatus) -> str:
    """Return how a version that did not go live can still do so, or what to do instead."""
    run, obstacles, current = context.view.run, barred(context, status), _is_current(context, status)
    anew = f"to train anew with another seed: {run_command(run, seed=default_seed(context.uid))}"
    if all(version.metadata.name != status.model_version for version in context.view.versions):
        return f"ModelVersion {status.model_version} was deleted; to train another one: {run_command(run)}"
    if (obstacles and not current) or is_rejected(context, status):
        return anew  # no promotion of it would pass
    if "Quarantined" in obstacles:
        return f"{anew}; if it was not at fault: {_by_hand(context, status)}"
    if not current:
        return f"to measure it against what is live now, without training: {run_command(run)}"
    return f"to promote it again: {_by_hand(context, status)}"


def _is_current(context: RunContext, status: RunStatus) -> bool:
    grounds = grounds_of(status)
    return grounds is None or is_current(context, grounds)


def _outcome(context: RunContext, name: str) -> tuple[PromotionOutcome, str, str] | None:
    """Return how the policy remembers a promotion that is gone."""
    consumed = context.policy.status.consumed if context.policy else ()
    return next(((c.outcome, c.reason, c.message) for c in reversed(consumed) if c.name == name), None)


def _deleted(name: str) -> tuple[PromotionOutcome, str, str]:
    return "Failed", "PromotionDeleted", f"ModelPromotion {name} was deleted before it was carried out"


def only_requested(status: RunStatus) -> bool:
    """Tell whether the promotion was never seen: a crash may have come before it and the version were made."""
    condition = find(status.conditions, "Promoted")
    return condition is not None and condition.reason == "Requested"


def _in_flight(context: RunContext, name: str) -> bool:
    """Tell whether its flight is not over: one that a person ended has yet to go back, and the hold comes with that."""
    flight = context.policy.status.in_flight if context.policy else None
    return flight is not None and flight.promotion == name


def _promotion_spec(context: RunContext, status: RunStatus) -> PromotionSpec:
    ruling, evidence = status.decision, status.evidence
    run = context.view.run
    approval = None
    if status.verdict == "Review" and ruling is not None and evidence is not None:
        approval = Approval(by=ruling.by, evidence=evidence.digest, reason=ruling.reason)
    why = f"approved by {quoted(approval.by, 64)}" if approval else "every gate passed"
    return PromotionSpec(
        policy=run.spec.policy,
        version=status.version or "",
        from_version=evidence.live if evidence else None,
        reason=f"FineTuneRun {run.metadata.name}: {why}",
        approval=approval,
    )


def _by_hand(context: RunContext, status: RunStatus) -> str:
    """Return the command by which a person promotes the version now."""
    policy, live, version = context.policy, context.live, status.version or ""
    if policy is None or status.candidate is None:
        return f"create a ModelPromotion of {version}"
    return promoting(
        policy,
        version,
        live.version if live is not None else None,
        release=policy.status.hold is not None,
        despite=overruling(policy.status, status.candidate.sha256),
        approval=_promotion_spec(context, status).approval,
    )


def _promotion_name(context: RunContext, status: RunStatus) -> str:
    """Return a name of its own for each judgement: a promotion that has acted never acts again."""
    evidence, name = status.evidence, context.view.run.metadata.name
    first = evidence is None or evidence.round == 1
    return promotion_name(name, context.uid, "" if first or evidence is None else evidence.digest)
