"""ModelPromotion: its status mirrors what the policy's memory says of it (rows P1-P5)."""

from datetime import datetime
from typing import Final

from msgspec.structs import replace

from ...api.meta import ConditionStatus, find, is_true, set_condition
from ...api.policy import Consumed, FlightPhase, InFlight, Policy
from ...api.promotion import FINAL_PROMOTION_PHASES, Promotion, PromotionPhase, PromotionStatus
from .. import limits, times
from ..decision import Decision, Emit
from ..since import dated
from ..views import Problem
from .checks import judge
from .proposal import Clear, Proposal
from .view import PromotionView
from .waiting import identity

SHOWN_AS: Final[dict[FlightPhase, PromotionPhase]] = {
    "Flipping": "Flipping",
    "Watching": "Watching",
    "Returning": "Flipping",
}


def decide(view: PromotionView) -> Decision[PromotionStatus]:
    """Return what the promotion's status should say; it never changes anything else. Total."""
    promotion = view.promotion
    final = promotion.status.phase in FINAL_PROMOTION_PHASES
    if promotion.metadata.deletion_timestamp is not None or final:
        return Decision(promotion.status)
    if view.policy is None:
        return _policy_missing(view)
    entry = _consumed(view.policy, promotion)
    if entry is not None:
        return _finished(view, entry)
    flight = view.policy.status.in_flight
    if flight is not None and flight.promotion_uid == promotion.metadata.uid:
        return _in_flight(view, flight)
    return _pending(view, view.policy, flight)


def _consumed(policy: Policy, promotion: Promotion) -> Consumed | None:
    key = identity(promotion)
    return next((entry for entry in policy.status.consumed if (entry.name, entry.spec_hash) == key), None)


def _policy_missing(view: PromotionView) -> Decision[PromotionStatus]:
    name = view.promotion.spec.policy
    text = f"FineTunePolicy '{name}' is not in this namespace; create it or correct spec.policy"
    return _status(view, "Pending", text, ("False", "PolicyNotFound"))


def _finished(view: PromotionView, entry: Consumed) -> Decision[PromotionStatus]:
    status = view.promotion.status
    began = is_true(status.conditions, "Accepted") or entry.outcome in ("Succeeded", "RolledBack")
    accepted: tuple[ConditionStatus, str] = ("True", "ChecksPassed") if began else ("False", entry.reason)
    decision = _status(
        view, entry.outcome, entry.message, accepted, finished=("True", entry.reason), finished_at=entry.at
    )
    text = f"{entry.reason}: {entry.message}" if entry.message else entry.reason
    bad = entry.outcome in ("RolledBack", "Failed")
    return Decision(decision.status, (Emit("Warning" if bad else "Normal", entry.outcome, text),))


def _in_flight(view: PromotionView, flight: InFlight) -> Decision[PromotionStatus]:
    match flight.phase:
        case "Flipping":
            text = f"rolling out '{flight.to.version}'"
        case "Watching":
            text = f"'{flight.to.version}' is rolled out; watched until {flight.deadline:%Y-%m-%dT%H:%M:%SZ}"
        case "Returning":
            back = "nothing" if flight.back is None else f"'{flight.back.version}'"
            text = f"{flight.why}: going back to {back}: {flight.message}"
    return _status(view, SHOWN_AS[flight.phase], text, ("True", "ChecksPassed"), started_at=flight.started_at)


def _pending(view: PromotionView, policy: Policy, flight: InFlight | None) -> Decision[PromotionStatus]:
    finding = judge(Proposal(view.promotion, policy, view.versions, view.deployment, _problem(policy)))
    if not isinstance(finding, Clear):
        return _status(view, "Pending", finding.message, ("False", finding.reason))
    text = "next" if flight is None else f"waits for promotion '{flight.promotion}'"
    return _status(view, "Pending", text, ("True", "ChecksPassed"))


def _problem(policy: Policy) -> Problem | None:
    """Return what the policy's own reconciler found wrong with the Deployment; a refused apply blocks nothing."""
    ready = find(policy.status.conditions, "TargetReady")
    if ready is None or ready.status != "False" or ready.reason == "FieldOwned":
        return None
    return Problem(ready.reason, ready.message)


def _status(
    view: PromotionView,
    phase: PromotionPhase,
    message: str,
    accepted: tuple[ConditionStatus, str],
    *,
    finished: tuple[ConditionStatus, str] = ("Unknown", "NotYet"),
    started_at: datetime | None = None,
    finished_at: datetime | None = None,
) -> Decision[PromotionStatus]:
    promotion, old = view.promotion, view.promotion.status
    now, generation = times.moment(view.now), promotion.metadata.generation
    conditions = old.conditions
    for kind, (status, reason), text in (("Accepted", accepted, message), ("Finished", finished, "")):
        shown = text if status == "False" else ""
        conditions = set_condition(conditions, kind, status, reason, shown, generation=generation, now=now)
    new = replace(
        old,
        observed_generation=generation,
        phase=phase,
        message=message[: limits.HOLD_MESSAGE],
        started_at=started_at or old.started_at,
        finished_at=finished_at or old.finished_at,
        conditions=conditions,
    )
    return Decision(dated(old, new, now))
